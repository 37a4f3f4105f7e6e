//! What a hostile reading of second factors and recovery found, each seen to fail before it was mended.

use accounts::SecondFactorRules;
use base::MINUTE;
use parts::http::{Client, field};
use serde_json::json;

use crate::harness::{PASSWORD, TestApp};

const ENROL: &str = "/login/2fa/enrol";

async fn generate(client: &Client, path: &str, token: Option<&str>) -> String {
    let reply = client.post_json(path, token, &json!({ "action": "generate" })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["secret"].as_str().unwrap().to_owned()
}

/// SEC-45, SEC-57: a secret that waits is shown to the session that proved itself to begin it. Another one of the
/// same account, perhaps a stolen one, neither sees nor confirms it.
#[tokio::test]
async fn sec_45_a_waiting_secret_is_shown_to_the_session_that_began_it() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let other = app.anon();
    assert_eq!(app.sign_in(&other, "ann").await.status, 200);
    let token = app.csrf(&ann).await;
    let secret = generate(&ann, "/settings/2fa", Some(&token)).await;
    assert_eq!(ann.get("/2fa/qrcode.png").await.status, 200);
    assert!(ann.get("/settings/2fa/setup").await.body.contains("id=\"secret\""));

    assert_eq!(other.get("/2fa/qrcode.png").await.status, 404);
    assert_eq!(other.get("/settings/2fa/setup").await.location(), Some("/settings/2fa"));
    let theirs = app.csrf(&other).await;
    let body = json!({ "action": "confirm", "code": app.code(&secret, 0) });
    assert_eq!(other.post_json("/settings/2fa", Some(&theirs), &body).await.status, 409);
    assert_eq!(ann.post_json("/settings/2fa", Some(&token), &body).await.status, 200);
}

/// SEC-35: nor does a sign-in that has to enrol take a secret that another one, who knew the password, began.
#[tokio::test]
async fn sec_35_an_enrolment_takes_no_secret_that_was_planted() {
    let app = TestApp::start().await;
    app.account("ann", "User").await;
    let rules = SecondFactorRules { required_of_everyone: true, grace_days: 0, ..Default::default() };
    app.app.accounts.save_second_factor("test", &rules).await.unwrap();
    let (stranger, ann) = (app.anon(), app.anon());
    for client in [&stranger, &ann] {
        assert_eq!(app.sign_in(client, "ann").await.status, 403);
    }
    let planted = generate(&stranger, ENROL, None).await;
    let page = ann.get(ENROL).await;
    assert!(page.status == 200 && !page.body.contains("id=\"secret\""), "{}", page.body);
    let body = json!({ "action": "confirm", "code": app.code(&planted, 0) });
    assert_eq!(ann.post_json(ENROL, None, &body).await.status, 422);
    let own = generate(&ann, ENROL, None).await;
    let body = json!({ "action": "confirm", "code": app.code(&own, 0) });
    assert_eq!(ann.post_json(ENROL, None, &body).await.status, 200);
}

/// SEC-96: a mail tells only what happened: a secret that waits is no app that could be turned off.
#[tokio::test]
async fn sec_96_a_waiting_secret_is_not_turned_off() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let token = app.csrf(&ann).await;
    generate(&ann, "/settings/2fa", Some(&token)).await;
    let reply = ann.post_json("/settings/2fa", Some(&token), &json!({ "action": "disable" })).await;
    assert_eq!(reply.status, 409, "{reply:?}");
    assert!(app.mails_to("totp_off", "ann@example.org").await.is_empty());
}

/// SEC-57: by a factor as strong as the account has: beside an app no code by e-mail is mailed or taken.
#[tokio::test]
async fn sec_57_a_mailed_code_is_no_step_up_beside_an_app() {
    let app = TestApp::start().await;
    app.with_email_codes("ann").await;
    let ann = app.challenged("ann").await;
    let entered = app.answer(&ann, &app.mailed_code("ann").await).await;
    assert_eq!(entered.status, 200, "{entered:?}");
    let token = app.csrf(&ann).await;
    app.clock.advance(11 * MINUTE);
    let send = async || ann.post_json("/api/v1/step-up/email", Some(&token), &json!({})).await;
    assert_eq!(send().await.status, 202, "alone it serves");
    let id = app.principal(&ann).await.user_id;
    app.totp(&id).await;
    // One that is on its way since before counts no more.
    let code = app.mailed_code("ann").await;
    let step_up = ann.post_json("/api/v1/step-up", Some(&token), &json!({ "code": code })).await;
    assert_eq!(step_up.status, 401, "{step_up:?}");
    app.clock.advance(2 * MINUTE);
    assert_eq!(send().await.status, 409);
    let page = app.post(&ann, "/settings/2fa", &[("action", "generate")]).await;
    assert!(
        page.body.contains("step_up_code") && !page.body.contains("Send a code by e-mail"),
        "{}",
        page.body
    );
    // At the sign-in it is a way as before.
    assert_eq!(app.challenged("ann").await.get("/login/2fa/email").await.status, 200);
}

/// SEC-33: who knows the password and nothing else is not told the whole address of the account.
#[tokio::test]
async fn sec_33_the_second_step_tells_no_address() {
    let app = TestApp::start().await;
    app.with_app("ann").await;
    let ann = app.challenged("ann").await;
    for path in ["/login/2fa", "/login/2fa/totp", "/login/2fa/backup-code"] {
        let page = ann.get(path).await;
        assert!(page.status == 200 && !page.body.contains("ann@example.org"), "{path}: {}", page.body);
    }
}

/// SEC-78: what a page asks by itself may have set out before a step-up renewed the session: its late answer takes
/// no cookie away. A page that somebody opens still clears one that is over.
#[tokio::test]
async fn sec_78_a_late_answer_takes_no_cookie_away() {
    let app = TestApp::start().await;
    let stale = app.anon();
    let over = "a".repeat(43);
    stale.set_cookie("anteroom", &over);
    assert_eq!(stale.get_json("/api/v1/me").await.status, 401);
    assert_eq!(stale.cookie("anteroom"), Some(over));
    stale.get("/settings").await;
    assert_eq!(stale.cookie("anteroom"), None);
}

/// SEC-50: after the codes it goes on where it was to, with its query: a prompt that waits stands in the composer.
#[tokio::test]
async fn sec_50_the_way_on_from_the_codes_keeps_its_query() {
    let app = TestApp::start().await;
    app.account("ann", "User").await;
    let rules = SecondFactorRules { required_of_everyone: true, grace_days: 0, ..Default::default() };
    app.app.accounts.save_second_factor("test", &rules).await.unwrap();
    let ann = app.anon();
    let fields = [("username_or_email", "ann"), ("password", PASSWORD), ("next", "/chat?draft&q=a%26b")];
    assert_eq!(ann.submit("/login", "/login", &fields).await.location(), Some(ENROL));
    let secret = generate(&ann, ENROL, None).await;
    let done = ann.submit(ENROL, ENROL, &[("action", "confirm"), ("code", &app.code(&secret, 0))]).await;
    assert!(done.body.contains("action=\"/chat\""), "{}", done.body);
    assert_eq!(field(&done.body, "draft").as_deref(), Some(""));
    assert_eq!(field(&done.body, "q").as_deref(), Some("a&b"));
}

/// SEC-28: no waiting helps after a hundred failures, so whoever has to wait is told the other way too: known and
/// unknown alike.
#[tokio::test]
async fn sec_28_who_has_to_wait_is_told_of_the_other_way() {
    let app = TestApp::start().await;
    app.account("ann", "User").await;
    for who in ["ann", "nobody"] {
        let client = app.anon();
        let fields = [("username_or_email", who), ("password", "not it at all")];
        for _ in 0..5 {
            assert_eq!(client.submit("/login", "/login", &fields).await.status, 401);
        }
        let page = client.submit("/login", "/login", &fields).await;
        assert_eq!(page.status, 429);
        assert!(page.body.contains("set a new password by “Forgot it?”"), "{}", page.body);
    }
}
