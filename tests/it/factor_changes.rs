//! What changes of factors do to what was there before: other sessions, begun sign-ins, begun additions.

use base::{MINUTE, args, sql};
use parts::authenticator::Authenticator;
use parts::http::Client;
use serde_json::{Value, json};

use crate::harness::{NOW, TestApp, Wishes};
use crate::settings_factors::{CODES, KEYS, action, add, again, code, codes, enrol, key_ids, send};

/// SEC-47: a confirmed address is not enough where an Admin has not allowed codes by e-mail.
#[tokio::test]
async fn sec_47_nobody_turns_them_on_unless_allowed() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    app.app.db.run(sql!("UPDATE users SET email_verified_at = $1"), args![Some(NOW)]).await.unwrap();
    let reply = action(&app, &ann, "email-on").await;
    assert_eq!(reply.status, 409, "{reply:?}");
    assert!(reply.json()["detail"].as_str().unwrap().contains("not allowed codes by e-mail"), "{reply:?}");
    assert!(app.mails_to("email_codes_on", "ann@example.org").await.is_empty());
}

/// SEC-50: every sign of a code is random; no place has the same one in all ten.
#[tokio::test]
async fn sec_50_all_of_a_code_is_random() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let (_, done) = enrol(&app, &ann).await;
    let codes: Vec<String> = codes(&done).iter().map(|code| code.replace('-', "")).collect();
    for place in 0..16 {
        let signs: std::collections::BTreeSet<u8> = codes.iter().map(|code| code.as_bytes()[place]).collect();
        assert!(signs.len() > 1, "{place}: {codes:?}");
    }
}

/// SEC-56: two that add their twentieth at the same time do not have twenty-one.
#[tokio::test]
async fn sec_56_the_cap_holds_for_what_was_begun_before() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let begin = async |device: &mut Authenticator| {
        let reply = send(&app, &ann, "/settings/passkeys/options", json!({ "kind": "passkey" })).await;
        let options = reply.json();
        (options["ceremony"].clone(), device.create(&options))
    };
    let finish = async |(ceremony, credential): (Value, Value)| {
        let body =
            json!({ "kind": "passkey", "name": "One", "ceremony": ceremony, "credential": credential });
        send(&app, &ann, KEYS, body).await
    };
    let first = begin(&mut Authenticator::new(&app.base)).await;
    assert_eq!(finish(first).await.status, 200);
    let late = begin(&mut Authenticator { seed: 2, ..Authenticator::new(&app.base) }).await;
    let copy = sql!(
        "INSERT INTO passkeys (id, user_id, credential_id, credential, user_verified, name, created_at)
         SELECT id || $1, user_id, credential_id || $1, credential, user_verified, name, created_at FROM passkeys
         WHERE id = $2"
    );
    let id = key_ids(&ann).await.remove(0);
    for number in 1..20 {
        app.app.db.run(copy, args![&number.to_string(), &id]).await.unwrap();
    }
    let reply = finish(late).await;
    assert_eq!(reply.status, 409, "{reply:?}");
    assert_eq!(key_ids(&ann).await.len(), 20);
}

/// SEC-61: the change also ends sign-ins that wait for their second step.
#[tokio::test]
async fn sec_61_a_change_of_factors_ends_begun_sign_ins() {
    let app = Wishes::unlimited().start().await;
    let ann = app.user("ann").await;
    let (secret, _) = enrol(&app, &ann).await;
    let other = app.anon();
    assert_eq!(app.sign_in(&other, "ann").await.status, 401);
    assert_eq!(send(&app, &ann, CODES, json!({ "action": "regenerate" })).await.status, 200);
    app.clock.advance(MINUTE);
    let reply = other.post_json("/login/2fa", None, &json!({ "code": code(&app, &secret) })).await;
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(reply.json()["type"], "/problems/unauthenticated");
}

/// SEC-61: adding and removing a passkey and codes by e-mail end the other sessions, too.
#[tokio::test]
async fn sec_61_passkeys_and_codes_by_e_mail_end_the_other_sessions() {
    let app = Wishes::unlimited().start().await;
    let ann = app.user("ann").await;
    app.app.db.run(sql!("UPDATE users SET email_verified_at = $1"), args![Some(NOW)]).await.unwrap();
    let mut rules = app.app.accounts.settings().second_factor.clone();
    rules.email_codes = true;
    app.app.accounts.save_second_factor("test", &rules).await.unwrap();
    let is_in = async |client: &Client| client.get_json("/api/v1/me").await.status == 200;

    let other = again(&app, "ann").await;
    assert_eq!(action(&app, &ann, "email-on").await.status, 200);
    assert_eq!((is_in(&ann).await, is_in(&other).await), (true, false), "on");
    let second = |code: String| {
        let app = &app;
        async move {
            let client = app.challenged("ann").await;
            let code = if code.is_empty() { app.mailed_code("ann").await } else { code };
            assert_eq!(app.answer(&client, &code).await.status, 200);
            client
        }
    };
    let other = second(String::new()).await;
    assert_eq!(action(&app, &ann, "email-off").await.status, 200);
    assert_eq!((is_in(&ann).await, is_in(&other).await), (true, false), "off");

    let other = again(&app, "ann").await;
    let mut device = Authenticator::new(&app.base);
    let added = add(&app, &ann, &mut device, "passkey", "Laptop").await;
    assert_eq!((is_in(&ann).await, is_in(&other).await), (true, false), "added");
    let code = added.body.split("<li>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let other = second(code).await;
    let id = key_ids(&ann).await.remove(0);
    assert_eq!(send(&app, &ann, &format!("{KEYS}/{id}/remove"), json!({})).await.status, 200);
    assert_eq!((is_in(&ann).await, is_in(&other).await), (true, false), "removed");
}
