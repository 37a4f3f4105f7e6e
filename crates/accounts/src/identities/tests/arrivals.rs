//! Who is who (SEC-70 to SEC-73), and who gets a new account (SEC-9, SEC-11).

use super::*;
use crate::sign_in::Refused;
use crate::testing::PASSWORD;
use crate::{SecondFactorRules, SignUpMode};

/// SEC-70
#[tokio::test]
async fn sec_70_the_same_sub_at_two_providers_is_two_people_and_names_decide_nothing() {
    let t = crate::testing::accounts("arrive-key").await;
    let ann = vouched("ann");
    let first = t.signs_in(&ann, &rules()).await;
    let elsewhere = Vouched {
        issuer: "https://other.example".into(),
        email: Some("ann@other.example".into()),
        ..ann.clone()
    };
    let second = t.signs_in(&elsewhere, &ProviderRules { name: "other".into(), ..rules() }).await;
    assert_ne!(first.user.id, second.user.id);
    assert_eq!((first.user.username.as_str(), second.user.username.as_str()), ("ann", "ann-2"));
    // Another name, another address, the same person.
    let renamed =
        Vouched { username: Some("zoe".into()), email: Some("ann@other.example".into()), ..ann.clone() };
    assert_eq!(t.signs_in(&renamed, &rules()).await.user.id, first.user.id);
    // The same name and address, another sub: somebody else.
    let double = Vouched { subject: "sub-double".into(), ..ann };
    to_prove(t.arrives(&double, &rules()).await.unwrap());
    assert_eq!(t.list_identities(&first.user.id).await.unwrap()[0].shown_as, "zoe");
}

/// SEC-71
#[tokio::test]
async fn sec_71_an_address_links_only_if_trusted_vouched_for_and_confirmed() {
    let t = crate::testing::accounts("arrive-trust").await;
    let ann = t.person("ann").await;
    let unverified = Vouched { email_verified: false, ..vouched("ann") };
    for (vouched, rules) in
        [(vouched("ann"), rules()), (unverified.clone(), trusted()), (unverified.clone(), rules())]
    {
        to_prove(t.arrives(&vouched, &rules).await.unwrap());
    }
    t.unconfirm(&ann.id).await;
    to_prove(t.arrives(&vouched("ann"), &rules()).await.unwrap());
    to_prove(t.arrives(&unverified, &trusted()).await.unwrap());
    assert!(t.list_identities(&ann.id).await.unwrap().is_empty());
    t.db.run(sql!("UPDATE users SET email_verified_at = 1"), &[]).await.unwrap();
    let session = t.signs_in(&vouched("ann"), &trusted()).await;
    assert_eq!(session.user.id, ann.id);
    assert!(matches!(session.link, Some(LinkEnd::Linked { .. })));
    assert_eq!(t.list_identities(&ann.id).await.unwrap().len(), 1);
    assert_eq!(t.mails("identity_linked").await.len(), 1);
    let rows = t.list_sessions(&ann.id).await.unwrap();
    assert_eq!(rows[0].method, "provider:corp");
}

/// SEC-71, SEC-73
#[tokio::test]
async fn sec_71_a_trusted_address_links_after_the_second_factor_only() {
    let t = crate::testing::accounts("arrive-trust-totp").await;
    let ann = t.person("ann").await;
    let secret = t.with_totp(&ann.id).await;
    let first = factor(t.arrives(&vouched("ann"), &trusted()).await.unwrap());
    let Outcome::Challenge(challenge) = t.passes(first).await else { panic!("no second factor") };
    assert!(t.list_identities(&ann.id).await.unwrap().is_empty());
    let code = totp(&secret, t.clock.now());
    let from = client("192.0.2.77");
    let entered = t.answer_challenge(&challenge.token, Proof::Code(&code), &from).await.unwrap();
    assert!(matches!(session(entered.outcome).link, Some(LinkEnd::Linked { .. })));
    assert_eq!(t.list_identities(&ann.id).await.unwrap().len(), 1);
}

/// SEC-72
#[tokio::test]
async fn sec_72_claiming_an_unconfirmed_account_leaves_nothing_of_its_maker() {
    let t = crate::testing::accounts("arrive-claim").await;
    let ann = t.person("ann").await;
    let makers = t.session("ann").await;
    t.with_totp(&ann.id).await;
    let Outcome::Challenge(open) = t.passes(t.first_factor("ann").await).await else {
        panic!("no challenge")
    };
    let mut tx = t.db.begin().await.unwrap();
    let evil = Named { issuer: "https://evil.example", subject: "1", provider: "evil", shown_as: "evil" };
    t.insert_identity(&mut tx, &ann.id, &evil).await.unwrap();
    t.create_token(&mut tx, crate::Purpose::ResetPassword, Some(&ann.id), Some(&ann.email)).await.unwrap();
    tx.run(
        sql!("INSERT INTO backup_code_sets (id, user_id, salt, created_at) VALUES ('b', $1, 's', 1)"),
        args![&ann.id],
    )
    .await
    .unwrap();
    tx.run(sql!("INSERT INTO backup_codes (set_id, hash) VALUES ('b', 'h')"), &[]).await.unwrap();
    tx.run(
        sql!(
            "INSERT INTO passkeys (id, user_id, credential_id, credential, user_verified, name, created_at)
             VALUES ('p', $1, 'c', '{}', TRUE, 'Laptop', 1)"
        ),
        args![&ann.id],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    t.unconfirm(&ann.id).await;
    let session = t.signs_in(&vouched("ann"), &trusted()).await;
    assert_eq!(session.user.id, ann.id);
    assert!(session.user.is_verified());
    assert_eq!(t.principal(&makers.token).await.unwrap(), None);
    assert_eq!(t.challenge(&open.token).await.unwrap(), None);
    let refused = t.sign_in("ann", PASSWORD, &client("192.0.2.9")).await;
    assert!(matches!(refused, Err(Refused::Invalid { .. })));
    let left = t.list_identities(&ann.id).await.unwrap();
    assert_eq!((left.len(), left[0].provider.as_str()), (1, "corp"));
    let standing = t.standing(&ann.id).await.unwrap().unwrap();
    assert!(standing.methods().is_empty() && !standing.password && standing.backup_codes_left == 0);
    assert_eq!(t.count(sql!("SELECT COUNT(*) FROM one_time_tokens")).await, 0);
}

/// SEC-73
#[tokio::test]
async fn sec_73_the_second_factor_is_asked_for_unless_the_provider_stands_for_it() {
    let t = crate::testing::accounts("arrive-stands").await;
    let ann = vouched("ann");
    let user = t.signs_in(&ann, &rules()).await.user;
    t.with_totp(&user.id).await;
    let first = factor(t.arrives(&ann, &rules()).await.unwrap());
    assert!(matches!(t.passes(first).await, Outcome::Challenge(_)));
    let strong = Stands::If { acr: vec!["gold".into()], amr: vec!["hwk".into()] };
    let when = ProviderRules { second_factor: strong, ..rules() };
    for (acr, amr, asked) in [
        (None, vec![], true),
        (Some("silver"), vec!["pwd"], true),
        (Some("gold"), vec![], false),
        (None, vec!["pwd", "hwk"], false),
    ] {
        let amr = amr.into_iter().map(str::to_owned).collect();
        let came = Vouched { acr: acr.map(str::to_owned), amr, ..ann.clone() };
        let first = factor(t.arrives(&came, &when).await.unwrap());
        assert_eq!(matches!(t.passes(first).await, Outcome::Challenge(_)), asked, "{came:?}");
    }
}

/// SEC-73, SEC-3
#[tokio::test]
async fn sec_73_where_it_stands_an_overdue_factor_is_not_asked_for_either() {
    let t = crate::testing::accounts("arrive-overdue").await;
    let ann = vouched("ann");
    t.signs_in(&ann, &rules()).await;
    let required =
        SecondFactorRules { required_of_everyone: true, grace_days: 0, ..SecondFactorRules::default() };
    t.save_second_factor("ann", &required).await.unwrap();
    let first = factor(t.arrives(&ann, &rules()).await.unwrap());
    let Outcome::Challenge(challenge) = t.passes(first).await else { panic!("no enrolment") };
    assert!(challenge.enrol);
    let stands = ProviderRules { second_factor: Stands::Always, ..rules() };
    let session = t.signs_in(&ann, &stands).await;
    let principal = t.as_principal(&session).await;
    assert_eq!(principal.enrol_by, None);
    let over = t.ended_among(&[session.id], crate::Permission::ChatUse).await.unwrap();
    assert!(over.is_empty());
}

/// SEC-9, SEC-11
#[tokio::test]
async fn sec_11_closed_doors_and_domains_are_told_in_words() {
    let t = crate::testing::accounts("arrive-policy").await;
    let no_mail = Vouched { email: None, ..vouched("ann") };
    assert!(
        matches!(t.arrives(&no_mail, &rules()).await, Err(ArriveError::NoEmail { provider }) if provider == "Corp")
    );
    let not_here = ProviderRules { sign_up: false, ..rules() };
    assert!(matches!(t.arrives(&vouched("ann"), &not_here).await, Err(ArriveError::ProviderClosed { .. })));
    let elsewhere = ProviderRules { allowed_domains: vec!["corp.example".into()], ..rules() };
    let refused = t.arrives(&vouched("ann"), &elsewhere).await.unwrap_err();
    assert!(refused.to_string().contains("corp.example"), "{refused}");
    let narrow = SignUp { allowed_domains: vec!["site.example".into()], ..SignUp::default() };
    t.save_sign_up("x", &narrow).await.unwrap();
    assert!(matches!(t.arrives(&vouched("ann"), &rules()).await, Err(ArriveError::Domain { .. })));
    let ben = t.person("ben").await;
    let closed = SignUp { mode: SignUpMode::Closed, ..SignUp::default() };
    t.save_sign_up("x", &closed).await.unwrap();
    assert!(matches!(t.arrives(&vouched("ann"), &rules()).await, Err(ArriveError::Closed)));
    assert_eq!(t.count(sql!("SELECT COUNT(*) FROM users")).await, 1);
    // Who has an account comes in all the same.
    assert_eq!(t.signs_in(&vouched("ben"), &trusted()).await.user.id, ben.id);
    t.db.run(sql!("UPDATE users SET deactivated_at = 1"), &[]).await.unwrap();
    let first = factor(t.arrives(&vouched("ben"), &rules()).await.unwrap());
    assert!(t.complete_login(first, &client("192.0.2.9")).await.is_err());
}

/// SEC-9
#[tokio::test]
async fn sec_9_where_addresses_are_confirmed_an_unverified_one_waits_without_its_identity() {
    let t = crate::testing::accounts("arrive-confirm").await;
    let needed = SignUp { verification_required: true, ..SignUp::default() };
    t.save_sign_up("x", &needed).await.unwrap();
    let ann = Vouched { email_verified: false, ..vouched("ann") };
    let Arrived::CheckMail { email, mail: Some((user, verify)) } = t.arrives(&ann, &rules()).await.unwrap()
    else {
        panic!("no mail")
    };
    assert_eq!((email.as_str(), user.is_pending()), ("ann@example.org", true));
    assert_eq!(t.count(sql!("SELECT COUNT(*) FROM identities")).await, 0);
    // Within the hour no second mail, and the first one stays good.
    let again = t.arrives(&ann, &rules()).await.unwrap();
    assert!(matches!(again, Arrived::CheckMail { mail: None, .. }));
    let mut tx = t.db.begin().await.unwrap();
    assert!(t.verify_email(&mut tx, &verify).await.unwrap().unwrap().was_pending);
    tx.commit().await.unwrap();
    to_prove(t.arrives(&ann, &rules()).await.unwrap());
    // A verified address needs no mail, and takes the place of a sign-up that nobody confirmed.
    let prepared = t.prepared("ben").await;
    let mut tx = t.db.begin().await.unwrap();
    t.insert_pending(&mut tx, &prepared, true).await.unwrap();
    tx.commit().await.unwrap();
    let Arrived::Created { user, first_factor } = t.arrives(&vouched("ben"), &rules()).await.unwrap() else {
        panic!("not new")
    };
    assert!(user.is_verified());
    session(t.passes(first_factor).await);
    assert!(t.sign_in("ben", PASSWORD, &client("192.0.2.9")).await.is_err());
}

#[tokio::test]
async fn usernames_are_made_valid_and_unique() {
    let t = crate::testing::accounts("arrive-names").await;
    let names = race(&t, |accounts, n| async move {
        let came = Vouched { username: Some("Zoë Öz".into()), ..vouched(&format!("zoe{n}")) };
        match arrive_from(&accounts, &came, &rules(), n).await.unwrap() {
            Arrived::Created { user, .. } => user.username,
            other => panic!("{other:?}"),
        }
    })
    .await;
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), usize::from(TRIES));
    assert!(
        distinct.contains(&"Zo-z".to_owned()) && distinct.contains(&"Zo-z-20".to_owned()),
        "{distinct:?}"
    );
    let made = |username: &str, email: &str| {
        let vouched = Vouched { username: Some(username.into()), ..vouched("x") };
        new_account::base_name(&vouched, &crate::Email::parse(email).unwrap())
    };
    for (username, email, name) in [
        ("ann@corp.example", "a@example.org", "ann"),
        ("", "ann+tag@example.org", "ann-tag"),
        ("al", "b@example.org", "Given.Family"),
        ("../..", "someone@example.org", "someone"),
        (&"x".repeat(99), "a@example.org", &"x".repeat(32)),
    ] {
        assert_eq!(made(username, email), name);
    }
}

#[tokio::test]
async fn twenty_arrivals_of_one_person_are_one_account() {
    let t = crate::testing::accounts("arrive-once").await;
    let ids = race(&t, |accounts, n| async move {
        let first = factor(arrive_from(&accounts, &vouched("ann"), &rules(), n).await.unwrap());
        first.user_id().to_owned()
    })
    .await;
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(t.count(sql!("SELECT COUNT(*) FROM users")).await, 1);
}

#[tokio::test]
async fn a_preview_changes_nothing() {
    let t = crate::testing::accounts("arrive-preview").await;
    let from = client("192.0.2.1");
    let made = t.preview_arrival(&vouched("ann"), &rules(), &from).await.unwrap();
    assert!(matches!(made.decision, Decision::Created));
    assert_eq!(made.username.as_deref(), Some("ann"));
    assert_eq!(t.count(sql!("SELECT COUNT(*) FROM users")).await, 0);
    t.person("ann").await;
    let met = t.preview_arrival(&vouched("ann"), &rules(), &from).await.unwrap();
    assert!(matches!(met.decision, Decision::Prove) && met.roles.is_none() && !met.stands);
    assert_eq!(t.count(sql!("SELECT COUNT(*) FROM pending_links")).await, 0);
    let closed = Vouched { email: None, ..vouched("ben") };
    let refused = t.preview_arrival(&closed, &rules(), &from).await.unwrap();
    assert!(matches!(refused.decision, Decision::Refused(ArriveError::NoEmail { .. })));
}
