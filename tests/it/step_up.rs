//! SEC-57, SEC-58, SEC-78: proving again who one is, on pages and in JSON.

use anteroom::router;
use base::{MINUTE, SECOND};
use parts::http::{Client, Reply, field};
use parts::totp;
use reqwest::Method;
use serde_json::json;

use crate::harness::{PASSWORD, TestApp, Wishes};

const PATH: &str = "/admin/settings/general";

async fn late_admin(app: &TestApp) -> Client {
    let root = app.admin().await;
    app.clock.advance(10 * MINUTE);
    root
}

fn carry(reply: &Reply) -> String {
    field(&reply.body, "step_up_carry").unwrap_or_else(|| panic!("no form to step up: {}", reply.body))
}

fn problem(reply: &Reply) -> String {
    reply.json()["type"].as_str().unwrap_or_default().to_owned()
}

async fn site_name(app: &TestApp) -> String {
    app.app.accounts.settings().general.site_name.clone()
}

/// SEC-58: every route that the requirement names, and every one that an Admin changes something with.
#[test]
fn sec_58_what_needs_a_fresh_proof() {
    for route in router::routes() {
        let changes = route.method != Method::GET;
        let named = route.path.starts_with("/admin")
            || route.path == "/assign_role_to_user"
            || [
                "/settings/password",
                "/settings/email",
                "/settings/2fa",
                "/settings/passkeys",
                "/settings/connections",
            ]
            .iter()
            .any(|path| route.path.starts_with(path));
        assert_eq!(route.step_up, changes && named, "{} {}", route.method, route.path);
    }
}

/// SEC-57, SEC-58: ten minutes after the sign-in none of them does a thing, by JSON or by form.
#[tokio::test]
async fn sec_58_without_it_no_such_route_does_anything() {
    let app = TestApp::start().await;
    let root = late_admin(&app).await;
    let token = app.csrf(&root).await;
    for route in router::routes().into_iter().filter(|route| route.step_up) {
        let path = route.path.replace("{id}", "nothing");
        let reply = root.post_json(&path, Some(&token), &json!({})).await;
        assert_eq!((reply.status.as_u16(), &*problem(&reply)), (403, "/problems/step-up-required"), "{path}");
        let reply = root.post(&path, &[("csrf_token", &token)]).await;
        assert_eq!(reply.status, 403, "{path}");
        carry(&reply);
    }
}

/// SEC-58: the form goes on with what was typed, once, after the password.
#[tokio::test]
async fn sec_58_a_page_goes_on_with_what_was_typed() {
    let app = TestApp::start().await;
    let root = late_admin(&app).await;
    let before = root.cookie("anteroom").unwrap();
    let token = app.csrf(&root).await;
    let typed = [("site_name", "Tern & Co")];
    let asked = app.post(&root, PATH, &typed).await;
    let sealed = carry(&asked);
    assert!(!asked.body.contains("Tern &amp; Co"), "sealed, also a password would be");
    assert_ne!(site_name(&app).await, "Tern & Co");

    let wrong = [("csrf_token", &*token), ("step_up_carry", &sealed), ("step_up_password", "not it at all")];
    let reply = root.post(PATH, &wrong).await;
    assert_eq!(reply.status, 403);
    assert!(reply.body.contains("The password is not right") && carry(&reply) == sealed, "{}", reply.body);
    assert_ne!(site_name(&app).await, "Tern & Co");

    let right = [("csrf_token", &*token), ("step_up_carry", &sealed), ("step_up_password", PASSWORD)];
    let reply = root.post(PATH, &right).await;
    assert_eq!(reply.status, 303, "{}", reply.body);
    assert_eq!(site_name(&app).await, "Tern & Co");
    // SEC-78: a new token, the same forms.
    let after = root.cookie("anteroom").unwrap();
    assert_ne!(before, after);
    let stale = app.anon();
    stale.set_cookie("anteroom", &before);
    assert_eq!(stale.get_json("/api/v1/me").await.status, 401);
    let again = root.post_json(PATH, Some(&token), &json!({ "site_name": "Tern" })).await;
    assert_eq!(again.status, 200, "{again:?}");
    // Ten minutes, and no longer.
    app.clock.advance(10 * MINUTE - SECOND);
    assert_eq!(root.post_json(PATH, Some(&token), &json!({ "site_name": "Tern" })).await.status, 200);
    app.clock.advance(SECOND);
    assert_eq!(root.post_json(PATH, Some(&token), &json!({ "site_name": "Tern" })).await.status, 403);
}

/// SEC-58: a sealed form is good for its own session and address only.
#[tokio::test]
async fn sec_58_a_sealed_form_belongs_to_its_session_and_address() {
    let app = TestApp::start().await;
    let root = late_admin(&app).await;
    let sealed = carry(&app.post(&root, PATH, &[("site_name", "Mine")]).await);
    let other = app.anon();
    assert_eq!(app.sign_in(&other, "root").await.status, 200);
    for (client, path) in [(&other, PATH), (&root, "/admin/settings/sign-up")] {
        let reply =
            app.post(client, path, &[("step_up_carry", &sealed), ("step_up_password", PASSWORD)]).await;
        assert!(reply.status == 403 && reply.body.contains("out of date"), "{path}: {}", reply.body);
    }
    assert_ne!(site_name(&app).await, "Mine");
    let damaged = format!("{}AAAA", &sealed[..sealed.len() - 4]);
    let reply = app.post(&root, PATH, &[("step_up_carry", &damaged), ("step_up_password", PASSWORD)]).await;
    assert!(reply.status == 403 && reply.body.contains("out of date"));
}

/// SEC-57: JSON, for this session alone; it returns the token for `X-CSRFToken`.
#[tokio::test]
async fn sec_57_by_json_and_for_this_session_only() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    let elsewhere = app.anon();
    assert_eq!(app.sign_in(&elsewhere, "root").await.status, 200);
    app.clock.advance(11 * MINUTE);
    let token = app.csrf(&root).await;
    let step = async |body| root.post_json("/api/v1/step-up", Some(&token), &body).await;
    for bad in
        [json!({}), json!({ "password": PASSWORD, "code": "123456" }), json!({ "password": [PASSWORD] })]
    {
        assert_eq!(step(bad).await.status, 422);
    }
    let wrong = step(json!({ "password": "not it at all" })).await;
    assert_eq!((wrong.status.as_u16(), &*problem(&wrong)), (401, "/problems/invalid-credentials"));
    let code = step(json!({ "code": "123456" })).await;
    assert_eq!(code.status, 409, "{code:?}");
    let right = step(json!({ "password": PASSWORD })).await;
    assert_eq!(right.status, 200, "{right:?}");
    let token = right.json()["csrf_token"].as_str().unwrap().to_owned();
    assert_eq!(root.post_json(PATH, Some(&token), &json!({ "site_name": "Tern" })).await.status, 200);
    let theirs = app.csrf(&elsewhere).await;
    assert_eq!(elsewhere.post_json(PATH, Some(&theirs), &json!({ "site_name": "X" })).await.status, 403);
}

/// SEC-57: with a second factor the password is not enough, and SEC-42: a code counts once.
#[tokio::test]
async fn sec_57_as_strong_as_the_account_has() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    let id = root.get_json("/api/v1/me").await.json()["id"].as_str().unwrap().to_owned();
    let secret = app.totp(&id).await;
    app.clock.advance(11 * MINUTE);
    let token = app.csrf(&root).await;
    let step = async |body| root.post_json("/api/v1/step-up", Some(&token), &body).await;
    let password = step(json!({ "password": PASSWORD })).await;
    assert_eq!(password.status, 409, "{password:?}");
    let page = app.post(&root, PATH, &[("site_name", "Tern")]).await;
    assert!(!page.body.contains("step_up_password") && page.body.contains("step_up_code"), "{}", page.body);
    let sealed = carry(&page);
    let code = totp::code(&secret, app.clock.now() / SECOND);
    let reply = app.post(&root, PATH, &[("step_up_carry", &sealed), ("step_up_code", &code)]).await;
    assert_eq!(reply.status, 303, "{}", reply.body);
    assert_eq!(site_name(&app).await, "Tern");
    app.clock.advance(10 * MINUTE);
    let old = step(json!({ "code": code })).await;
    assert_eq!((old.status.as_u16(), &*problem(&old)), (401, "/problems/second-factor-invalid"));
    let next = totp::code(&secret, app.clock.now() / SECOND);
    assert_eq!(step(json!({ "code": next })).await.status, 200);
    // Spent, also for a sign-in.
    let elsewhere = app.anon();
    let body = json!({ "username_or_email": "root", "password": PASSWORD, "token": next });
    let reply = elsewhere.post_json("/login", None, &body).await;
    assert_eq!((reply.status.as_u16(), &*problem(&reply)), (401, "/problems/second-factor-invalid"));
}

/// SEC-36: wrong codes of a session count towards the account's lock; SEC-22: wrong passwords as sign-ins.
#[tokio::test]
async fn sec_36_guessing_at_a_step_up_locks_too() {
    let app = Wishes::unlimited().start().await;
    let root = app.admin().await;
    let id = root.get_json("/api/v1/me").await.json()["id"].as_str().unwrap().to_owned();
    let secret = app.totp(&id).await;
    let token = app.csrf(&root).await;
    let step = async |body| root.post_json("/api/v1/step-up", Some(&token), &body).await;
    for n in 0..9 {
        assert_eq!(step(json!({ "code": "000000" })).await.status, 401, "{n}");
    }
    let tenth = step(json!({ "code": "000000" })).await;
    assert_eq!(tenth.status, 429);
    let code = totp::code(&secret, app.clock.now() / SECOND);
    let locked = step(json!({ "code": code })).await;
    assert_eq!(locked.status, 429);
    assert_eq!(locked.header("retry-after"), Some("900"));
    app.clock.advance(15 * MINUTE);
    let code = totp::code(&secret, app.clock.now() / SECOND);
    assert_eq!(step(json!({ "code": code })).await.status, 200);
}

/// SEC-57: people without password and factor prove themselves by a mailed code, which works once.
#[tokio::test]
async fn sec_57_without_password_and_factor_a_mailed_code_serves() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    app.app
        .db
        .run(
            base::sql!("UPDATE users SET password = NULL, email_verified_at = 1 WHERE username = 'ann'"),
            &[],
        )
        .await
        .unwrap();
    app.clock.advance(11 * MINUTE);
    let asked = app.post(&ann, "/settings/email", &[("email", "new@example.org")]).await;
    assert_eq!(asked.status, 403);
    assert!(asked.body.contains("Send a code by e-mail"), "{}", asked.body);
    let sealed = carry(&asked);
    let sent =
        app.post(&ann, "/settings/email", &[("step_up_carry", &sealed), ("step_up_send", "email")]).await;
    assert!(sent.body.contains("A code is on its way"), "{}", sent.body);
    let mails = app.mails_to("email_code", "ann@example.org").await;
    let code = mails[0].text().split_whitespace().find(|word| is_code(word)).unwrap().to_owned();
    let wrong =
        app.post(&ann, "/settings/email", &[("step_up_carry", &sealed), ("step_up_code", "00000000")]).await;
    assert!(wrong.body.contains("That was not right"), "{}", wrong.body);
    let right =
        app.post(&ann, "/settings/email", &[("step_up_carry", &sealed), ("step_up_code", &code)]).await;
    assert_ne!(right.status, 403, "{}", right.body);
    app.clock.advance(11 * MINUTE);
    let again =
        app.post(&ann, "/settings/email", &[("step_up_carry", &sealed), ("step_up_code", &code)]).await;
    assert_eq!(again.status, 403);
}

/// SEC-49: after five wrong mailed codes a session waits and is told so; then there are new tries.
#[tokio::test]
async fn sec_49_a_session_runs_out_of_tries_at_mailed_codes() {
    let app = Wishes::default().set("ANTEROOM_LIMITS__EMAIL_CODE_HOUR", "100").start().await;
    let ann = app.user("ann").await;
    let alone = base::sql!("UPDATE users SET password = NULL, email_verified_at = 1 WHERE username = 'ann'");
    app.app.db.run(alone, &[]).await.unwrap();
    let token = app.csrf(&ann).await;
    let send = async || ann.post_json("/api/v1/step-up/email", Some(&token), &json!({})).await;
    assert_eq!(send().await.status, 202);
    for n in 0..5 {
        let reply = ann.post_json("/api/v1/step-up", Some(&token), &json!({ "code": "00000000" })).await;
        assert_eq!(reply.status, 401, "{n}");
    }
    app.clock.advance(MINUTE);
    let refused = send().await;
    // The code is good for five minutes from the start, and its tries are kept ten minutes longer.
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, Some("840")));
    app.clock.advance(14 * MINUTE);
    assert_eq!(send().await.status, 202);
    let mails = app.mails_to("email_code", "ann@example.org").await;
    let code = mails.last().unwrap().text().split_whitespace().find(|word| is_code(word)).unwrap().to_owned();
    let right = ann.post_json("/api/v1/step-up", Some(&token), &json!({ "code": code })).await;
    assert_eq!(right.status, 200, "{right:?}");
}

fn is_code(word: &str) -> bool {
    word.len() == 8 && word.bytes().all(|b| b.is_ascii_digit())
}

/// Old names lead to the pages; nothing is done at them, signed in or not.
#[tokio::test]
async fn names_of_earlier_applications_lead_on() {
    let app = TestApp::start().await;
    let anon = app.anon();
    for (old, new) in router::MOVED {
        let reply = anon.get(old).await;
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some(*new)), "{old}");
        let reply = anon.post(old, &[("otp_code", "123456")]).await;
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some(*new)), "{old}");
    }
    assert_eq!(router::MOVED.len(), 11);
}

/// SEC-57: an address that nobody confirmed gets no code to prove somebody with.
#[tokio::test]
async fn sec_57_no_code_goes_to_an_unconfirmed_address() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let bare = base::sql!("UPDATE users SET password = NULL, email_verified_at = NULL");
    app.app.db.run(bare, &[]).await.unwrap();
    let token = app.csrf(&ann).await;
    let sent = ann.post_json("/api/v1/step-up/email", Some(&token), &json!({})).await;
    assert_eq!(sent.status, 409, "{sent:?}");
    assert!(sent.json()["detail"].as_str().unwrap().contains("not confirmed"), "{sent:?}");
    assert!(app.mails_to("email_code", "").await.is_empty());
    // Nor does one go to who has a password to enter.
    let root = app.admin().await;
    let token = app.csrf(&root).await;
    let sent = root.post_json("/api/v1/step-up/email", Some(&token), &json!({})).await;
    assert_eq!(sent.status, 409, "{sent:?}");
}

/// SEC-57, SEC-78: a change of password is no step-up: the password alone is less than a second factor.
#[tokio::test]
async fn sec_57_a_change_of_password_does_not_start_the_minutes_anew() {
    let app = Wishes::unlimited().start().await;
    let root = app.admin().await;
    app.clock.advance(9 * MINUTE);
    let token = app.csrf(&root).await;
    let body = json!({ "current_password": PASSWORD, "password": "granite-lantern-oboe-9" });
    assert_eq!(root.post_json("/settings/password", Some(&token), &body).await.status, 200);
    app.clock.advance(MINUTE);
    let reply = root.post_json(PATH, Some(&token), &json!({ "site_name": "Tern" })).await;
    assert_eq!((reply.status.as_u16(), &*problem(&reply)), (403, "/problems/step-up-required"));
}

/// SEC-58: a sealed form waits half an hour, and is no proof by itself.
#[tokio::test]
async fn sec_58_a_sealed_form_ends_after_half_an_hour() {
    let app = TestApp::start().await;
    let root = late_admin(&app).await;
    let before = site_name(&app).await;
    let sealed = carry(&app.post(&root, PATH, &[("site_name", "Late")]).await);
    let send =
        async || app.post(&root, PATH, &[("step_up_carry", &*sealed), ("step_up_password", PASSWORD)]).await;
    app.clock.advance(30 * MINUTE);
    assert_eq!(send().await.status, 403);
    assert_eq!(site_name(&app).await, before);
    let sealed = carry(&app.post(&root, PATH, &[("site_name", "In time")]).await);
    app.clock.advance(30 * MINUTE - SECOND);
    let bare = app.post(&root, PATH, &[("step_up_carry", &*sealed)]).await;
    assert_eq!((bare.status.as_u16(), site_name(&app).await), (403, before));
    let fields = [("step_up_carry", &*sealed), ("step_up_password", PASSWORD)];
    assert_eq!(app.post(&root, PATH, &fields).await.status, 303);
    assert_eq!(site_name(&app).await, "In time");
}
