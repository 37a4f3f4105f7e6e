//! SEC-57: people with neither password nor second factor prove who they are by a fresh sign-in at their provider,
//! or by a mailed code.

use base::{MINUTE, SECOND};
use parts::github::GitHubStub;
use parts::http::{Client, Reply, field};
use parts::oidc::Fault;
use serde_json::json;

use crate::harness::Wishes;
use crate::providers_harness::{Corp, at_provider, come_back, corp, going_url, is_in, param};

const PATH: &str = "/settings/email";
const FIELDS: [(&str, &str); 2] = [("action", "change"), ("email", "ada@elsewhere.example")];

/// Ada, whose last proof is ten minutes old.
async fn late(house: &Corp) -> Client {
    let ada = house.person().await;
    house.advance(10 * MINUTE);
    ada
}

/// Asks for something; gives the answer, which asks for the proof, and what waits in it.
async fn ask(house: &Corp, client: &Client) -> (Reply, String) {
    let asked = house.app.post(client, PATH, &FIELDS).await;
    assert_eq!(asked.status, 403, "{asked:?}");
    let carry = field(&asked.body, "step_up_carry").unwrap();
    (asked, carry)
}

/// Goes to the provider from that form, and comes back.
async fn prove(house: &Corp, client: &Client, carry: &str) -> Reply {
    let fields = [("step_up_carry", carry), ("step_up_provider", "corp")];
    let url = going_url(&house.app.post(client, PATH, &fields).await);
    assert_eq!(param(url.as_str(), "max_age").as_deref(), Some("0"));
    come_back(client, &at_provider(&url).await).await
}

/// Whether what was asked has happened.
async fn happened(house: &Corp) -> bool {
    let count: Option<i64> = house
        .app
        .app
        .db
        .one(base::sql!("SELECT COUNT(*) FROM one_time_tokens WHERE purpose = 'change_email'"), &[])
        .await
        .unwrap();
    count.unwrap() > 0
}

/// A fresh sign-in renews the session, and what was typed goes on (SEC-58, SEC-78).
#[tokio::test]
async fn sec_57_a_fresh_sign_in_at_the_provider_is_a_proof() {
    let house = corp().await;
    let ada = late(&house).await;
    let (asked, carry) = ask(&house, &ada).await;
    assert!(asked.body.contains("Sign in with Corp ID again"), "{asked:?}");
    let before = ada.cookie("anteroom").unwrap();

    let back = prove(&house, &ada, &carry).await;
    assert_eq!(back.status, 200, "{back:?}");
    assert!(back.body.contains("That is confirmed") && back.body.contains("data-go-on"), "{back:?}");
    assert!(back.body.contains(&format!("action=\"{PATH}\"")), "{back:?}");
    assert!(!happened(&house).await, "only the form goes on");
    assert_ne!(ada.cookie("anteroom").unwrap(), before);
    let old = house.app.anon();
    old.set_cookie("anteroom", &before);
    assert_ne!(old.get("/settings").await.status, 200, "the old token is over");

    let token = back.csrf().unwrap();
    let carry = field(&back.body, "step_up_carry").unwrap();
    let done = ada.post(PATH, &[("csrf_token", &token), ("step_up_carry", &carry)]).await;
    assert_eq!((done.status.as_u16(), done.location()), (303, Some(PATH)), "{done:?}");
    assert!(happened(&house).await);
    // The proof holds ten minutes, and no longer.
    house.advance(10 * MINUTE);
    ask(&house, &ada).await;
}

/// A sign-in that the provider did not ask for anew, or does not date, proves nothing; the form stands there again
/// with the code by mail, which serves.
#[tokio::test]
async fn sec_57_a_stale_sign_in_is_no_proof_and_a_mailed_code_serves() {
    let house = corp().await;
    let ada = late(&house).await;
    let (_, carry) = ask(&house, &ada).await;
    let before = ada.cookie("anteroom").unwrap();
    let person = |auth_time: i64| json!({ "sub": "ada-1", "email": "ada@example.com", "email_verified": true, "auth_time": auth_time });
    house.idp.person(person(house.app.clock.now() / SECOND - 600));
    let stale = prove(&house, &ada, &carry).await;
    house.idp.fault(Fault::NoAuthTime);
    let undated = prove(&house, &ada, &carry).await;
    for reply in [&stale, &undated] {
        assert_eq!(reply.status, 403, "{reply:?}");
        assert!(
            reply.body.contains("Confirm that it is you") && reply.body.contains("role=\"alert\""),
            "{reply:?}"
        );
        assert!(reply.body.contains("step_up_send"), "{reply:?}");
        assert!(reply.body.contains(&format!("action=\"{PATH}\"")), "{reply:?}");
    }
    assert_eq!(ada.cookie("anteroom").unwrap(), before);
    let tried = house.app.post(&ada, PATH, &[("step_up_carry", &carry)]).await;
    assert_eq!((tried.status.as_u16(), happened(&house).await), (403, false));

    let carry = field(&stale.body, "step_up_carry").unwrap();
    let sent = house.app.post(&ada, PATH, &[("step_up_carry", &*carry), ("step_up_send", "email")]).await;
    assert!(sent.body.contains("A code is on its way"), "{sent:?}");
    let mail = house.app.mails_to("email_code", "ada@example.com").await.pop().unwrap();
    let is_code = |word: &&str| word.len() == 8 && word.bytes().all(|b| b.is_ascii_digit());
    let text = mail.text();
    let code = text.split(|c: char| !c.is_ascii_digit()).find(is_code).unwrap();
    let done = house.app.post(&ada, PATH, &[("step_up_carry", &*carry), ("step_up_code", code)]).await;
    assert_eq!(done.status, 303, "{done:?}");
    assert!(happened(&house).await);
}

/// Somebody else's sign-in there proves nothing about who sits here, and a trip serves once.
#[tokio::test]
async fn sec_57_another_identity_is_no_proof() {
    let house = corp().await;
    let ada = late(&house).await;
    let (_, carry) = ask(&house, &ada).await;
    house.idp.person(json!({ "sub": "eve-1", "email": "eve@example.com", "email_verified": true }));
    let reply = prove(&house, &ada, &carry).await;
    assert!(reply.body.contains("another account at the provider"), "{reply:?}");
    let tried = house.app.post(&ada, PATH, &[("step_up_carry", &carry)]).await;
    assert_eq!((tried.status.as_u16(), happened(&house).await), (403, false));
    assert_eq!(house.who(&ada).await, "ada");
}

/// The trip is of this session: another's way back does not renew it.
#[tokio::test]
async fn sec_57_a_proof_is_of_the_session_that_set_out() {
    let house = corp().await;
    let ada = late(&house).await;
    let (_, carry) = ask(&house, &ada).await;
    let fields = [("step_up_carry", &*carry), ("step_up_provider", "corp")];
    let callback = at_provider(&going_url(&house.app.post(&ada, PATH, &fields).await)).await;
    let other = house.person().await;
    house.advance(10 * MINUTE - SECOND);
    other.set_cookie("anteroom-trip", &ada.cookie("anteroom-trip").unwrap());
    let reply = come_back(&other, &callback).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    house.advance(SECOND);
    ask(&house, &other).await;
}

/// Denied or down at the provider: the form stands there again with the other way.
#[tokio::test]
async fn a_trip_that_comes_to_nothing_keeps_what_was_typed() {
    let house = corp().await;
    let ada = late(&house).await;
    let (_, carry) = ask(&house, &ada).await;
    house.idp.fault(Fault::AccessDenied);
    let reply = prove(&house, &ada, &carry).await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(reply.body.contains("did not let you through. Use another way"), "{reply:?}");
    assert!(
        field(&reply.body, "step_up_carry").is_some() && reply.body.contains("step_up_send"),
        "{reply:?}"
    );
}

/// GitHub dates no sign-in, so it is not offered, nor taken.
#[tokio::test]
async fn sec_57_github_is_not_offered() {
    let hub = GitHubStub::start().await;
    let app = Wishes::unlimited().hub(&hub).start().await;
    app.app.setup_done();
    let ada = app.anon();
    let reply = crate::providers_harness::travel(&ada, "/login/hub").await;
    assert!(is_in(&ada), "{reply:?}");
    app.clock.advance(10 * MINUTE);
    let asked = app.post(&ada, PATH, &FIELDS).await;
    assert_eq!(asked.status, 403, "{asked:?}");
    assert!(!asked.body.contains("step_up_provider") && asked.body.contains("step_up_send"), "{asked:?}");
    let carry = field(&asked.body, "step_up_carry").unwrap();
    let fields = [("step_up_carry", &*carry), ("step_up_provider", "hub")];
    let forced = app.post(&ada, PATH, &fields).await;
    assert_eq!(forced.status, 403, "{forced:?}");
    assert!(!forced.body.contains("http-equiv"), "{forced:?}");
}

/// Who has a password proves by that, whatever is linked.
#[tokio::test]
async fn sec_57_a_provider_does_not_stand_for_the_password() {
    let house = corp().await;
    let ada = house.person().await;
    let set = house.app.post(&ada, "/settings/password", &[("password", "granite-lantern-oboe-9")]).await;
    assert_eq!(set.status, 303, "{set:?}");
    house.advance(10 * MINUTE);
    let (asked, carry) = ask(&house, &ada).await;
    assert!(asked.body.contains("step_up_password") && !asked.body.contains("step_up_provider"), "{asked:?}");
    let fields = [("step_up_carry", &*carry), ("step_up_provider", "corp")];
    let forced = house.app.post(&ada, PATH, &fields).await;
    assert_eq!(forced.status, 403, "{forced:?}");
    assert!(!forced.body.contains("http-equiv"), "{forced:?}");
}
