//! Signing in by an identity provider: the first time, the next time, and who gets an account at all.

use accounts::SecondFactorRules;
use base::{DAY, HOUR, args, sql};
use parts::http::{Client, Reply};
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp, Wishes};
use crate::page::text;
use crate::providers_harness::{at_provider, begin, come_back, corp, corp_with, idp, is_in, travel};

/// Users, sessions, identities.
async fn counts(app: &TestApp) -> (i64, i64, i64) {
    let users = app.app.db.one(sql!("SELECT COUNT(*) FROM users"), &[]).await.unwrap();
    let sessions = app.app.db.one(sql!("SELECT COUNT(*) FROM sessions"), &[]).await.unwrap();
    let identities = app.app.db.one(sql!("SELECT COUNT(*) FROM identities"), &[]).await.unwrap();
    (users.unwrap(), sessions.unwrap(), identities.unwrap())
}

async fn me(client: &Client) -> Value {
    let reply = client.get_json("/api/v1/me").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// Nobody was let in, and the words say why.
fn refused(reply: &Reply, client: &Client, words: &str) {
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(text(&reply.body).contains(words), "{}", text(&reply.body));
    assert!(reply.body.contains("Sign in another way") && !is_in(client));
}

/// The first arrival makes an account with all that everybody finds on their first day; the second is to the same.
#[tokio::test]
async fn a_first_sign_in_makes_an_account_and_the_second_is_to_it() {
    let house = corp().await;
    let ada = house.app.anon();
    let reply = house.sign_in(&ada).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/chat")), "{reply:?}");
    let shown = ada.get("/chat").await.body;
    assert!(text(&shown).contains("Signed in as ada.") && shown.contains("Welcome Chat"), "{shown}");
    assert!(!ada.get("/chat").await.body.contains("Signed in as"), "it is said once");
    let first = me(&ada).await;
    for (field, value) in
        [("username", "ada"), ("email", "ada@example.com"), ("first_name", "Ada"), ("last_name", "Lovelace")]
    {
        assert_eq!(first[field], value, "{first}");
    }
    assert_eq!(first["email_verified"], true);
    let roles: Vec<_> = first["roles"].as_array().unwrap().iter().map(|role| &role["name"]).collect();
    assert_eq!(roles, ["User"]);
    assert_eq!(house.app.mails_to("welcome", "ada@example.com").await.len(), 1);
    assert_eq!(counts(&house.app).await, (1, 1, 1));

    let elsewhere = house.app.anon();
    let reply = house.sign_in(&elsewhere).await;
    assert_eq!(reply.location(), Some("/chat"));
    assert!(!elsewhere.get("/chat").await.body.contains("Signed in as"), "the account is not new");
    assert_eq!(me(&elsewhere).await["id"], first["id"]);
    assert_eq!(counts(&house.app).await, (1, 2, 1));
    assert_eq!(house.app.mails_to("welcome", "ada@example.com").await.len(), 1);
    // There is no password that anybody could have guessed.
    for password in ["", PASSWORD] {
        let reply = house.app.sign_in_with(&house.app.anon(), "ada", password).await;
        assert!(matches!(reply.status.as_u16(), 401 | 422), "{reply:?}");
    }
}

/// SEC-5, SEC-7: what a provider calls people makes a username that is valid and nobody else's.
#[tokio::test]
async fn sec_5_usernames_are_made_of_what_the_provider_says() {
    let house = corp().await;
    house.app.account("root", "Admin").await;
    let long = "x".repeat(60);
    for (n, (claims, name)) in [
        (json!({ "preferred_username": "grace" }), "grace"),
        (json!({ "preferred_username": "grace" }), "grace-2"),
        (json!({ "preferred_username": "GRACE" }), "GRACE-3"),
        (json!({ "preferred_username": "root" }), "root-2"),
        (json!({ "preferred_username": "grace@corp.example" }), "grace-4"),
        (json!({ "nickname": "Zoë Öz" }), "Zo-z"),
        (json!({ "preferred_username": "<script>alert(1)" }), "script-alert-1"),
        (json!({ "preferred_username": "../.." }), "person7"),
        (json!({}), "person8"),
        (json!({ "preferred_username": long }), &"x".repeat(32)),
        (json!({ "preferred_username": long }), &format!("{}-2", "x".repeat(30))),
        (json!({ "preferred_username": ["ada"], "given_name": 7 }), "person11"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut person = json!({ "sub": format!("s{n}"), "email": format!("person{n}@example.com"), "email_verified": true });
        person.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        house.idp.person(person);
        assert_eq!(house.who(&house.person().await).await, name, "{claims}");
    }
}

/// SEC-71: an address is verified by the boolean `true` and by nothing else, in the account too.
#[tokio::test]
async fn sec_71_an_address_is_confirmed_only_by_the_boolean() {
    let house = corp().await;
    for (n, (said, confirmed)) in [
        (json!(true), true),
        (json!(false), false),
        (json!("true"), false),
        (json!(1), false),
        (json!("1"), false),
        (json!([true]), false),
        (Value::Null, false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut person = json!({ "sub": format!("s{n}"), "email": format!("someone{n}@example.com") });
        if !said.is_null() {
            person["email_verified"] = said.clone();
        }
        house.idp.person(person);
        let client = house.person().await;
        assert_eq!(me(&client).await["email_verified"], confirmed, "{said}");
    }
}

/// Who may not sign up gets no account, and is told so; who has one comes in.
#[tokio::test]
async fn sign_up_is_open_to_whom_the_house_and_the_provider_let_in() {
    let closed = |w: Wishes| w.set("ANTEROOM_SIGN_UP__MODE", "closed");
    let domain = |w: Wishes| w.set("ANTEROOM_SIGN_UP__ALLOWED_DOMAINS", "corp.example");
    let not_here = |w: Wishes| w.corp("SIGN_UP", "false");
    let of_corp = |w: Wishes| w.corp("ALLOWED_DOMAINS", "corp.example");
    let wishes: [(&dyn Fn(Wishes) -> Wishes, &str); 4] = [
        (&closed, "Sign-up is closed here"),
        (&domain, "Only addresses of corp.example may sign up here"),
        (&not_here, "Nobody signs up here with Corp ID"),
        (&of_corp, "Only addresses of corp.example may sign up here"),
    ];
    for (wish, words) in wishes {
        let house = corp_with(|w| wish(w).corp("TRUSTED_EMAIL", "true")).await;
        let ada = house.app.anon();
        refused(&house.sign_in(&ada).await, &ada, words);
        assert_eq!(counts(&house.app).await, (0, 0, 0), "{words}");
        house.app.account("ben", "User").await;
        house.idp.person(json!({ "sub": "ben", "email": "ben@example.org", "email_verified": true }));
        assert_eq!(house.who(&house.person().await).await, "ben", "{words}");
        assert_eq!(house.who(&house.person().await).await, "ben", "{words}, by his identity now");
        house.idp.person(json!({ "sub": "c", "email": "cleo@corp.example", "email_verified": true }));
        let cleo = house.app.anon();
        let reply = house.sign_in(&cleo).await;
        assert_eq!(is_in(&cleo), words.starts_with("Only addresses"), "{words}: {reply:?}");
    }
}

/// SEC-9: the provider's domains would mean nothing for an address that nobody confirmed.
#[tokio::test]
async fn sec_9_a_rule_about_domains_needs_a_confirmed_address() {
    let house = corp_with(|w| w.corp("ALLOWED_DOMAINS", "corp.example")).await;
    house.idp.person(json!({ "sub": "e", "email": "eve@corp.example", "email_verified": "true" }));
    let eve = house.app.anon();
    let reply = house.sign_in(&eve).await;
    assert!(reply.body.contains("Check your mail") && !is_in(&eve), "{reply:?}");
    assert_eq!(counts(&house.app).await.2, 0);
}

/// SEC-9: where addresses have to be confirmed, there is neither session nor identity before.
#[tokio::test]
async fn sec_9_an_unconfirmed_address_waits_for_its_mail_without_the_identity() {
    let house =
        corp_with(|w| w.set("ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED", "true").corp("TRUSTED_EMAIL", "true"))
            .await;
    house.idp.person(json!({ "sub": "ada-1", "email": "ada@example.com", "preferred_username": "ada" }));
    let ada = house.app.anon();
    for _ in 0..2 {
        let reply = house.sign_in(&ada).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.body.contains("Check your mail") && reply.body.contains("ada@example.com"));
        assert!(!is_in(&ada));
        assert_eq!(counts(&house.app).await, (1, 0, 0));
    }
    let mails = house.app.mails_to("verify_email", "ada@example.com").await;
    assert_eq!(mails.len(), 1, "one mail an hour");
    let path = mails[0].link("/verify-email/").unwrap().strip_prefix(&house.app.base).unwrap().to_owned();
    assert!(ada.submit(&path, &path, &[]).await.status.as_u16() < 400);
    assert_eq!(house.app.mails_to("welcome", "ada@example.com").await.len(), 1);
    // The provider has still not said that the address is hers: the account is to be proved (SEC-71).
    let reply = house.sign_in(&ada).await;
    assert_eq!(reply.location(), Some("/login/link"), "{reply:?}");
    assert_eq!(counts(&house.app).await, (1, 0, 0));
    house.idp.person(json!({ "sub": "ada-1", "email": "ada@example.com", "email_verified": true }));
    assert_eq!(house.who(&house.person().await).await, "ada");
    assert_eq!(counts(&house.app).await, (1, 1, 1));
    // Who comes with a confirmed address needs no mail.
    house.idp.person(json!({ "sub": "ben-1", "email": "ben@example.com", "email_verified": true }));
    house.person().await;
    assert!(house.app.mails_to("verify_email", "ben@example.com").await.is_empty());
}

/// SEC-9: an account from a time when nobody had to confirm anything has to by now.
#[tokio::test]
async fn sec_9_an_old_identity_confirms_its_address_once_that_is_required() {
    let house = corp().await;
    let unconfirmed = json!({ "sub": "ada-1", "email": "ada@example.com", "preferred_username": "ada" });
    house.idp.person(unconfirmed.clone());
    house.person().await;
    let rules = accounts::SignUp { verification_required: true, ..accounts::SignUp::default() };
    house.app.app.accounts.save_sign_up("test", &rules).await.unwrap();
    let ada = house.app.anon();
    assert!(house.sign_in(&ada).await.body.contains("Check your mail") && !is_in(&ada));
    let mut elsewhere = unconfirmed;
    (elsewhere["email"], elsewhere["email_verified"]) = (json!("other@example.com"), json!(true));
    house.idp.person(elsewhere);
    assert!(house.sign_in(&ada).await.body.contains("Check your mail") && !is_in(&ada));
    house.idp.person(json!({ "sub": "ada-1", "email": "ada@example.com", "email_verified": true }));
    assert_eq!(me(&house.person().await).await["email_verified"], true);
}

/// SEC-70: issuer and subject are who somebody is; addresses and names are not.
#[tokio::test]
async fn sec_70_two_providers_with_one_subject_are_two_people() {
    let other = idp().await;
    let house = corp_with(|w| w.openid("other", "Other ID", &other)).await;
    let ada = house.person().await;
    other.person(json!({ "sub": "ada-1", "email": "ada@other.example", "email_verified": true }));
    let namesake = house.app.anon();
    travel(&namesake, "/login/other").await;
    let (first, second) = (me(&ada).await, me(&namesake).await);
    assert_ne!(first["id"], second["id"]);
    assert_eq!((first["username"].as_str(), second["username"].as_str()), (Some("ada"), Some("ada-2")));
    // Another name and address at the provider: the same person, and nothing of theirs changes here.
    house.idp.person(json!({
        "sub": "ada-1", "email": "ada@other.example", "email_verified": true, "preferred_username": "countess",
    }));
    let renamed = house.person().await;
    let again = me(&renamed).await;
    assert_eq!((&again["id"], &again["email"]), (&first["id"], &first["email"]));
    // The old address now belongs to somebody else there, who is somebody else here.
    house.idp.person(json!({ "sub": "ada-2", "email": "ada@example.com", "email_verified": true, "preferred_username": "ada" }));
    let double = house.app.anon();
    let reply = house.sign_in(&double).await;
    assert_eq!(reply.location(), Some("/login/link"), "{reply:?}");
    assert!(!is_in(&double));
    assert_eq!(counts(&house.app).await.2, 2);
    // A subject is compared to the letter.
    house.idp.person(json!({ "sub": "ADA-1", "email": "big@example.com", "email_verified": true }));
    assert_ne!(me(&house.person().await).await["id"], first["id"]);
}

/// SEC-38: a shut account stays shut, whichever way.
#[tokio::test]
async fn sec_38_a_deactivated_account_does_not_come_in() {
    let house = corp().await;
    let ada = house.person().await;
    let id = me(&ada).await["id"].as_str().unwrap().to_owned();
    let shut = sql!("UPDATE users SET deactivated_at = 1 WHERE id = $1");
    house.app.app.db.run(shut, args![&id]).await.unwrap();
    let ada = house.app.anon();
    refused(&house.sign_in(&ada).await, &ada, "This account cannot sign in. Ask an Admin.");
}

/// SEC-78: a sign-in over a live session ends that one; whoever it is then is the provider's person.
#[tokio::test]
async fn sec_78_a_sign_in_over_a_session_replaces_it() {
    let house = corp().await;
    house.app.account("ben", "User").await;
    let browser = house.app.anon();
    let callback = at_provider(&begin(&browser, "/login/corp").await).await;
    house.app.sign_in(&browser, "ben").await;
    let bens = browser.cookie("anteroom").unwrap();
    assert_eq!(come_back(&browser, &callback).await.location(), Some("/chat"));
    assert_eq!(house.who(&browser).await, "ada");
    let old = house.app.anon();
    old.set_cookie("anteroom", &bens);
    assert_eq!(old.get_json("/api/v1/me").await.status, 401);
    // Who is in has no use for the buttons.
    assert_eq!(browser.get("/login/corp").await.location(), Some("/chat"));
}

/// SEC-3, SEC-38: a second factor that is required is set up before anything else, unless the provider stands for it.
#[tokio::test]
async fn sec_3_a_required_second_factor_is_set_up_first() {
    for stands in [false, true] {
        let house = corp_with(|w| w.corp("SECOND_FACTOR", if stands { "stands" } else { "ask" })).await;
        let rules = SecondFactorRules { required_of_everyone: true, grace_days: 0, ..Default::default() };
        house.app.app.accounts.save_second_factor("test", &rules).await.unwrap();
        let ada = house.app.anon();
        let reply = house.sign_in(&ada).await;
        if stands {
            assert_eq!(reply.location(), Some("/chat"), "{reply:?}");
            house.advance(HOUR);
            assert_eq!(ada.get("/chat").await.status, 200, "the session stays good");
            assert_eq!(house.sign_in(&house.app.anon()).await.location(), Some("/chat"));
        } else {
            assert_eq!(reply.location(), Some("/login/2fa/enrol"), "{reply:?}");
            assert!(!is_in(&ada) && ada.cookie("anteroom-challenge").is_some());
        }
    }
}

/// SEC-3: an Admin's grace counts for provider sign-ins as for others.
#[tokio::test]
async fn sec_3_an_admins_grace_ends_for_provider_sign_ins_too() {
    let house = corp_with(|w| w.corp("TRUSTED_EMAIL", "true")).await;
    house.app.account("root", "Admin").await;
    house.idp.person(json!({ "sub": "r", "email": "root@example.org", "email_verified": true }));
    assert_eq!(house.who(&house.person().await).await, "root");
    house.advance(8 * DAY);
    let root = house.app.anon();
    assert_eq!(house.sign_in(&root).await.location(), Some("/login/2fa/enrol"));
}

/// The buttons stand on the pages, and lead on to where one wanted to go.
#[tokio::test]
async fn buttons_stand_on_sign_in_and_sign_up() {
    let other = idp().await;
    let house = corp_with(|w| w.openid("other", "Other <ID>", &other).corp("SIGN_UP", "false")).await;
    let page = house.app.anon().get("/login?next=/settings").await.body;
    assert!(page.contains("href=\"/login/corp?next=%2Fsettings\""), "{page}");
    let shown = text(&page);
    assert!(shown.contains("Continue with Corp ID") && shown.contains("Continue with Other <ID>"), "{shown}");
    let shown = text(&house.app.anon().get("/signup").await.body);
    assert!(!shown.contains("Continue with Corp ID") && shown.contains("Continue with Other"), "{shown}");
    assert_eq!(house.app.anon().get("/login/nobody").await.status, 404);
    assert_eq!(house.app.anon().get("/login/nobody/authorized?code=1&state=2").await.status, 404);
}

/// SEC-99: twenty first arrivals of one person at once are one account.
#[tokio::test]
async fn sec_99_twenty_first_arrivals_are_one_account() {
    let house = corp().await;
    let mut trips = Vec::new();
    for _ in 0..20 {
        let client = house.app.anon();
        let callback = at_provider(&begin(&client, "/login/corp").await).await;
        trips.push((client, callback));
    }
    let tries: Vec<_> = trips
        .into_iter()
        .map(|(client, callback)| tokio::spawn(async move { (come_back(&client, &callback).await, client) }))
        .collect();
    for one in tries {
        let (reply, client) = one.await.unwrap();
        assert_eq!(reply.location(), Some("/chat"), "{reply:?}");
        assert_eq!(house.who(&client).await, "ada");
    }
    assert_eq!(counts(&house.app).await, (1, 20, 1));
    assert_eq!(house.app.mails_to("welcome", "ada@example.com").await.len(), 1);
}

/// Without a label a button bears the provider's name.
#[tokio::test]
async fn a_label_that_is_not_set_is_the_providers_name() {
    let plain = idp().await;
    let house = corp_with(|w| w.openid("staff", "", &plain)).await;
    assert!(text(&house.app.anon().get("/login").await.body).contains("Continue with staff"));
}
