#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use super::*;
use crate::testing::{self, PASSWORD, TestAccounts, form};
use crate::tokens::SetUpError;
use crate::{Actor, SignUp};
use base::HOUR;

async fn insert(t: &TestAccounts, username: &str, email: &str) -> Result<User, SignUpError> {
    let checked = t.check_new(NewAccount { email: email.into(), ..form(username) }).await.unwrap();
    let prepared = t.prepare_new(checked).await.unwrap();
    let mut tx = t.db.begin().await.unwrap();
    let created = t.insert_account(&mut tx, &prepared, ROLE_USER, false, None).await?;
    tx.commit().await.unwrap();
    Ok(created.user)
}

async fn pending(t: &TestAccounts, username: &str, email: &str) -> Result<Pending, SignUpError> {
    let checked = t.check_new(NewAccount { email: email.into(), ..form(username) }).await.unwrap();
    let prepared = t.prepare_new(checked).await.unwrap();
    let mut tx = t.db.begin().await.unwrap();
    let pending = t.insert_pending(&mut tx, &prepared, true).await?;
    tx.commit().await.unwrap();
    Ok(pending)
}

/// What a form is refused for.
async fn wrong(t: &TestAccounts, new: NewAccount) -> FieldErrors {
    match t.check_new(new).await {
        Err(CheckError::Fields(errors)) => errors,
        other => panic!("{:?}", other.err()),
    }
}

fn taken(error: SignUpError) -> Vec<&'static str> {
    match error {
        SignUpError::Taken(errors) => errors.0.into_keys().collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn all_errors_of_a_form_come_at_once() {
    let t = testing::accounts("sign-up-errors").await;
    let bad = NewAccount {
        first_name: " ".into(),
        last_name: "x".repeat(81),
        username: "no blanks".into(),
        email: "nowhere".into(),
        password: "short".into(),
    };
    let errors = wrong(&t, bad).await;
    assert_eq!(
        errors.0.keys().copied().collect::<Vec<_>>(),
        ["email", "first_name", "last_name", "password", "username"]
    );
    assert!(errors.0.values().all(|words| words.ends_with('.')), "{errors:?}");
    for name in ["a\nb", "a\u{202e}b", "a\u{0}b"] {
        let errors = wrong(&t, NewAccount { first_name: name.into(), ..form("ann") }).await;
        assert!(errors.get("first_name").is_some(), "{name:?}");
    }
    let checked = t.check_new(NewAccount { first_name: " Änne ".into(), ..form("ann") }).await.ok().unwrap();
    assert_eq!(checked.first_name, "Änne");
}

#[tokio::test]
async fn a_mail_domain_outside_the_rule_is_refused_at_sign_up_only() {
    let t = testing::accounts("sign-up-domain").await;
    let rule = SignUp { allowed_domains: vec!["corp.example".into()], ..SignUp::default() };
    t.save_sign_up("", &rule).await.unwrap();
    let Err(CheckError::Fields(errors)) = t.check_sign_up(form("ann")).await else { panic!("accepted") };
    assert!(errors.get("email").unwrap().contains("corp.example"));
    let fine = NewAccount { email: "ann@CORP.example".into(), ..form("ann") };
    assert!(t.check_sign_up(fine).await.is_ok());
    assert!(t.check_new(form("ann")).await.is_ok());
}

#[tokio::test]
async fn what_is_taken_is_said_by_field_whatever_the_case() {
    let t = testing::accounts("sign-up-taken").await;
    let ann = insert(&t, "Ann", "ann@example.org").await.unwrap();
    assert_eq!(taken(insert(&t, "aNN", "other@example.org").await.unwrap_err()), ["username"]);
    assert_eq!(taken(insert(&t, "ben", "ANN@example.org").await.unwrap_err()), ["email"]);
    assert_eq!(taken(insert(&t, "ANN", "Ann@example.org").await.unwrap_err()), ["email", "username"]);
    let person = t.find_person("ann").await.unwrap().unwrap();
    assert_eq!((person.user.id, person.roles.as_slice()), (ann.id, &["User".to_owned()][..]));
    let stored: Option<String> = t.db.one(sql!("SELECT password FROM users"), &[]).await.unwrap();
    assert!(stored.unwrap().starts_with("$argon2id$"));
    let mut tx = t.db.begin().await.unwrap();
    let prepared = t.prepared("eve").await;
    let error = t.insert_account(&mut tx, &prepared, "Emperor", true, None).await.unwrap_err();
    assert!(matches!(error, SignUpError::NoRole(_)));
}

/// Twenty sign-ups with one name at once: one account.
#[tokio::test]
async fn sec_99_parallel_sign_ups_with_one_name_make_one_account() {
    let t = testing::accounts("sign-up-race").await;
    let prepared = t.prepared("ann").await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (accounts, prepared) = (t.accounts.clone(), prepared.clone());
            tokio::spawn(async move {
                let mut tx = accounts.db.begin().await.unwrap();
                let made = accounts.insert_account(&mut tx, &prepared, ROLE_USER, true, None).await.is_ok();
                tx.commit().await.unwrap();
                made
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += usize::from(task.await.unwrap());
    }
    assert_eq!(made, 1);
}

/// SEC-11
#[tokio::test]
async fn sec_11_a_taken_address_is_not_told_and_its_sign_up_reserves_the_name() {
    let t = testing::accounts("sign-up-pending").await;
    let ann = t.person("ann").await;
    let Pending::EmailTaken { owner } = pending(&t, "newcomer", "ann@example.org").await.unwrap() else {
        panic!("a second account with one address")
    };
    assert_eq!(owner.id, ann.id);
    let Pending::Created { user, .. } = pending(&t, "fresh", "fresh@example.org").await.unwrap() else {
        panic!("not created")
    };
    assert_eq!(user.expires_at, Some(t.clock.now() + PENDING_LIFETIME));
    // Both names are gone now, and that is told the same way.
    for name in ["newcomer", "fresh"] {
        assert_eq!(taken(pending(&t, name, "third@example.org").await.unwrap_err()), ["username"]);
    }
    // Both taken: only the name is told.
    assert_eq!(taken(pending(&t, "ann", "ann@example.org").await.unwrap_err()), ["username"]);
    // A reserved name is nobody.
    assert!(t.find_person("newcomer").await.unwrap().is_none());
    assert_eq!(t.people_counts().await.unwrap().total, 2);
    // After 72 hours name and address are free again, also before the sweep.
    t.clock.advance(PENDING_LIFETIME);
    assert!(matches!(pending(&t, "newcomer", "fresh@example.org").await.unwrap(), Pending::Created { .. }));
    assert!(matches!(pending(&t, "fresh", "third@example.org").await.unwrap(), Pending::Created { .. }));
}

/// SEC-11: who signs up with an address that is not theirs does not keep its owner out.
#[tokio::test]
async fn sec_11_an_unconfirmed_sign_up_gives_way_to_the_next_one_for_its_address() {
    let t = testing::accounts("sign-up-squatted").await;
    let made = async |name: &str| match pending(&t, name, "ann@example.org").await.unwrap() {
        Pending::Created { user, verify_token } => (user, verify_token),
        Pending::EmailTaken { .. } => panic!("{name} was kept out"),
    };
    let (_, stale) = made("squatter").await;
    let (ann, token) = made("ann").await;
    assert_eq!(t.people_counts().await.unwrap().total, 1);
    assert_eq!(t.peek_token(Purpose::VerifyEmail, &stale).await.unwrap(), None);
    // The name is free again, and the same person may begin anew under the same one.
    assert!(matches!(pending(&t, "squatter", "other@example.org").await.unwrap(), Pending::Created { .. }));
    assert_eq!(taken(pending(&t, "squatter", "ann@example.org").await.unwrap_err()), ["username"]);
    assert!(t.peek_token(Purpose::VerifyEmail, &token).await.unwrap().is_some(), "a refusal changes nothing");
    let (again, token) = made("ann").await;
    assert_ne!(again.id, ann.id);
    // Where no mail may go out, the one that waits stays.
    let prepared = t.prepare_new(t.check_new(form("ann")).await.unwrap()).await.unwrap();
    let mut tx = t.db.begin().await.unwrap();
    assert_eq!(taken(t.insert_pending(&mut tx, &prepared, false).await.unwrap_err()), ["username"]);
    drop(tx);
    let mut tx = t.db.begin().await.unwrap();
    assert_eq!(t.verify_email(&mut tx, &token).await.unwrap().unwrap().user.id, again.id);
    tx.commit().await.unwrap();
    assert!(matches!(pending(&t, "late", "ann@example.org").await.unwrap(), Pending::EmailTaken { .. }));
}

/// SEC-9, SEC-63, SEC-64
#[tokio::test]
async fn sec_64_looking_at_the_link_changes_nothing_and_following_it_confirms_once() {
    let t = testing::accounts("verify").await;
    let Pending::Created { user, verify_token } = pending(&t, "ann", "ann@example.org").await.unwrap() else {
        panic!("not created")
    };
    let stored: Vec<String> = t.db.all(sql!("SELECT token_hash FROM one_time_tokens"), &[]).await.unwrap();
    assert!(!stored.contains(&verify_token));
    for _ in 0..2 {
        let info = t.peek_token(Purpose::VerifyEmail, &verify_token).await.unwrap().unwrap();
        assert_eq!(info.email.as_deref(), Some("ann@example.org"));
    }
    assert_eq!(t.peek_token(Purpose::SetUp, &verify_token).await.unwrap(), None);
    // A second link voids the first one.
    let mut tx = t.db.begin().await.unwrap();
    let second = t.renew_verification(&mut tx, &user).await.unwrap();
    assert_eq!(t.verify_email(&mut tx, &verify_token).await.unwrap(), None);
    tx.commit().await.unwrap();
    let mut tx = t.db.begin().await.unwrap();
    let confirmed = t.verify_email(&mut tx, &second).await.unwrap().unwrap();
    assert!(confirmed.was_pending && confirmed.user.is_verified() && !confirmed.user.is_pending());
    assert_eq!(t.verify_email(&mut tx, &second).await.unwrap(), None);
    tx.commit().await.unwrap();
    t.clock.advance(100 * HOUR);
    t.sweep().await.unwrap();
    t.session("ann").await;
}

/// SEC-99
#[tokio::test]
async fn sec_99_twenty_parallel_uses_of_a_link_are_one() {
    let t = testing::accounts("verify-race").await;
    let Pending::Created { verify_token, .. } = pending(&t, "ann", "ann@example.org").await.unwrap() else {
        panic!("not created")
    };
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (accounts, token) = (t.accounts.clone(), verify_token.clone());
            tokio::spawn(async move {
                let mut tx = accounts.db.begin().await.unwrap();
                let user = accounts.verify_email(&mut tx, &token).await.unwrap();
                tx.commit().await.unwrap();
                user.is_some()
            })
        })
        .collect();
    let mut confirmed = 0;
    for task in tasks {
        confirmed += usize::from(task.await.unwrap());
    }
    assert_eq!(confirmed, 1);
}

#[tokio::test]
async fn an_old_link_confirms_nothing() {
    let t = testing::accounts("verify-old").await;
    let Pending::Created { verify_token, .. } = pending(&t, "ann", "ann@example.org").await.unwrap() else {
        panic!("not created")
    };
    t.clock.advance(Purpose::VerifyEmail.lifetime());
    assert_eq!(t.peek_token(Purpose::VerifyEmail, &verify_token).await.unwrap(), None);
    let mut tx = t.db.begin().await.unwrap();
    assert_eq!(t.verify_email(&mut tx, &verify_token).await.unwrap(), None);
}

/// SEC-4
#[tokio::test]
async fn sec_4_the_first_admin_comes_by_the_newest_link_and_never_by_signing_up_first() {
    let t = testing::accounts("setup").await;
    assert!(t.setup_needed().await.unwrap());
    t.person("first").await;
    assert!(t.setup_needed().await.unwrap(), "a plain sign-up made an Admin");
    let old = t.create_setup_token().await.unwrap().unwrap();
    let token = t.create_setup_token().await.unwrap().unwrap();
    assert_eq!(t.peek_token(Purpose::SetUp, &old).await.unwrap(), None);
    assert!(t.peek_token(Purpose::SetUp, &token).await.unwrap().is_some());
    let prepared = t.prepared("root-ann").await;
    for bad in [old.as_str(), "", "x"] {
        let mut tx = t.db.begin().await.unwrap();
        let error = t.set_up(&mut tx, bad, &prepared).await.unwrap_err();
        assert!(matches!(error, SetUpError::BadToken), "{error}");
    }
    // A taken name leaves the link good.
    let first = t.prepared("first").await;
    let mut tx = t.db.begin().await.unwrap();
    assert!(matches!(t.set_up(&mut tx, &token, &first).await.unwrap_err(), SetUpError::SignUp(_)));
    drop(tx);
    let mut tx = t.db.begin().await.unwrap();
    let created = t.set_up(&mut tx, &token, &prepared).await.unwrap();
    tx.commit().await.unwrap();
    assert!(created.user.is_verified());
    assert!(!t.setup_needed().await.unwrap());
    assert_eq!(t.create_setup_token().await.unwrap(), None);
    let person = t.find_person("root-ann").await.unwrap().unwrap();
    assert!(person.is_admin);
    assert_eq!(person.roles, ["Admin", "User"]);
    // The proof of the new password goes through the same gate.
    t.complete_login(created.first_factor, &testing::client("203.0.113.9")).await.unwrap();
}

/// SEC-4, SEC-99
#[tokio::test]
async fn sec_4_twenty_parallel_set_ups_make_one_admin() {
    let t = testing::accounts("setup-race").await;
    let token = t.create_setup_token().await.unwrap().unwrap();
    let mut tasks = Vec::new();
    for n in 0..20 {
        let prepared = t.prepared(&format!("admin{n}")).await;
        let (accounts, token) = (t.accounts.clone(), token.clone());
        tasks.push(tokio::spawn(async move {
            let mut tx = accounts.db.begin().await.unwrap();
            let made = accounts.set_up(&mut tx, &token, &prepared).await.is_ok();
            if made {
                tx.commit().await.unwrap();
            }
            made
        }));
    }
    let mut made = 0;
    for task in tasks {
        made += usize::from(task.await.unwrap());
    }
    assert_eq!(made, 1);
    assert_eq!(t.people_counts().await.unwrap().total, 1);
}

/// SEC-4
#[tokio::test]
async fn sec_4_the_link_ends_after_a_day() {
    let t = testing::accounts("setup-old").await;
    let token = t.create_setup_token().await.unwrap().unwrap();
    t.clock.advance(24 * HOUR);
    assert_eq!(t.peek_token(Purpose::SetUp, &token).await.unwrap(), None);
    let prepared = t.prepared("ann").await;
    let mut tx = t.db.begin().await.unwrap();
    assert!(matches!(t.set_up(&mut tx, &token, &prepared).await.unwrap_err(), SetUpError::BadToken));
}

#[tokio::test]
async fn the_operator_makes_accounts_by_role_name_and_no_secret_is_printed() {
    let t = testing::accounts("operator").await;
    let boss = t.with_role("boss", "admin").await;
    assert!(t.find_person(&boss.id).await.unwrap().unwrap().is_admin);
    assert!(t.promote(Actor::Operator, "boss").await.is_ok_and(|changed| !changed.changed));
    assert!(!format!("{:?}", form("ann")).contains(PASSWORD));
}

/// SEC-19: estimates wait where hashes wait, and past the queue they are refused at once.
#[tokio::test]
async fn sec_19_the_check_of_a_password_is_bounded_like_its_hash() {
    let t = testing::accounts("sign-up-busy").await;
    let narrow = testing::beside(&t, |options| {
        options.hash_threads = Some(1);
        options.hash_queue = 0;
    });
    let (free, wait) = std::sync::mpsc::channel::<()>();
    let hasher = narrow.hasher.clone();
    let (begun, running) = tokio::sync::oneshot::channel();
    let work = tokio::spawn(async move {
        let held = move || {
            let _ = begun.send(());
            let _ = wait.recv();
        };
        hasher.run(held).await
    });
    running.await.unwrap();
    assert!(matches!(narrow.check_new(form("ann")).await, Err(CheckError::Busy(_))));
    free.send(()).unwrap();
    work.await.unwrap().unwrap();
    assert!(narrow.check_new(form("ann")).await.is_ok());
    // The other fields may be of any length.
    let long = NewAccount { first_name: "anvil ".repeat(3_000), ..form("ann") };
    assert!(wrong(&t, long).await.get("first_name").is_some());
}
