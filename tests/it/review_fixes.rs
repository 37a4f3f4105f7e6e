//! What a hostile reading of second factors and recovery found, each seen to fail before it was mended.

use accounts::SecondFactorRules;
use parts::http::Client;
use serde_json::json;

use crate::harness::TestApp;

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
