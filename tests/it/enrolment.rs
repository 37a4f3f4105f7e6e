//! SEC-3, SEC-35, SEC-38: a sign-in that has to set up a second factor first, and that no way in leads past it.

use accounts::SecondFactorRules;
use base::{DAY, MINUTE, args, sql};
use parts::authenticator::Authenticator;
use parts::http::{Client, Reply, unescape};
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp, Wishes};
use crate::page::text;

const PATH: &str = "/login/2fa/enrol";

fn told(reply: &Reply) -> (u16, String) {
    (reply.status.as_u16(), reply.json()["type"].as_str().unwrap_or_default().to_owned())
}

fn required() -> (u16, String) {
    (403, "/problems/second-factor-enrolment-required".to_owned())
}

async fn of_everyone(app: &TestApp, grace_days: i64) {
    let rules = SecondFactorRules { required_of_everyone: true, grace_days, ..Default::default() };
    app.app.accounts.save_second_factor("test", &rules).await.unwrap();
}

async fn enrolling(app: &TestApp, who: &str) -> Client {
    let client = app.anon();
    let reply = app.sign_in(&client, who).await;
    assert_eq!(told(&reply), required(), "{reply:?}");
    assert!(client.cookie("anteroom").is_none() && client.cookie("anteroom-challenge").is_some());
    client
}

async fn act(client: &Client, body: Value) -> Reply {
    client.post_json(PATH, None, &body).await
}

async fn generate(client: &Client) -> String {
    let reply = act(client, json!({ "action": "generate" })).await;
    assert_eq!((reply.status.as_u16(), reply.header("cache-control")), (200, Some("no-store")), "{reply:?}");
    reply.json()["secret"].as_str().unwrap().to_owned()
}

async fn confirm(client: &Client, code: &str) -> Reply {
    act(client, json!({ "action": "confirm", "code": code })).await
}

async fn by_form(app: &TestApp, who: &str) -> (Client, Reply) {
    let client = app.anon();
    let fields = [("username_or_email", who), ("password", PASSWORD), ("next", "/settings")];
    let reply = client.submit("/login", "/login", &fields).await;
    (client, reply)
}

/// SEC-3: after the grace an Admin's session is over, and the sign-in can only set up a factor.
#[tokio::test]
async fn sec_3_past_the_grace_an_admin_sets_up_an_app_and_is_in() {
    let app = TestApp::start().await;
    let id = app.account("root", "Admin").await;
    app.clock.advance(7 * DAY - MINUTE);
    let root = app.anon();
    assert_eq!(app.sign_in(&root, "root").await.status, 200);
    app.clock.advance(MINUTE);
    assert_eq!(root.get_json("/api/v1/me").await.status, 401, "the session is over");

    let root = enrolling(&app, "root").await;
    // SEC-35: there is nothing to verify, nor anything to be mailed.
    assert_eq!(told(&app.answer(&root, "000000").await), required());
    assert_eq!(told(&root.post_json("/login/2fa/email", None, &json!({})).await), required());
    assert_eq!(told(&root.post_json("/login/2fa/passkey/options", None, &json!({})).await), required());
    assert_eq!(root.get("/login/2fa").await.location(), Some(PATH));
    assert!(root.cookie("anteroom-challenge").is_some());
    assert_eq!(act(&root, json!({ "action": "disable" })).await.status, 422);
    assert_eq!(confirm(&root, "123456").await.status, 422, "nothing waits for a code");

    let secret = generate(&root).await;
    let wrong = confirm(&root, &app.code(&secret, 5)).await;
    assert_eq!((wrong.status.as_u16(), wrong.json()["errors"]["code"].is_string()), (422, true), "{wrong:?}");
    let done = confirm(&root, &app.code(&secret, 0)).await;
    assert_eq!(done.status, 200, "{done:?}");
    let body = done.json();
    assert_eq!(body["user"]["username"], "root");
    assert_eq!(body["backup_codes"].as_array().map(Vec::len), Some(10));
    assert_eq!(root.cookie("anteroom-challenge"), None);
    assert_eq!(root.get("/admin").await.status, 200);
    let token = body["csrf_token"].as_str().unwrap();
    assert_eq!(root.post_json("/logout", Some(token), &json!({})).await.status, 204);
    assert_eq!(app.mails_to("totp_on", "root@example.org").await.len(), 1);
    // From now on it is asked for; the confirming code was spent (SEC-42).
    let root = app.challenged("root").await;
    assert_eq!(told(&app.answer(&root, &app.code(&secret, 0)).await).0, 401);
    let failures: Option<i64> =
        app.app.db.one(sql!("SELECT factor_failures FROM users WHERE id = $1"), args![&id]).await.unwrap();
    assert_eq!(failures, Some(1), "mistyping one's own new code is no guess");
}

/// The same on pages: the key, the codes once, and on to where one wanted to go.
#[tokio::test]
async fn sec_3_the_pages_of_an_enrolment() {
    let app = TestApp::start().await;
    app.account("ann", "User").await;
    of_everyone(&app, 0).await;
    let (ann, reply) = by_form(&app, "ann").await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some(PATH)));
    let page = ann.get(PATH).await;
    assert_eq!((page.status.as_u16(), page.header("cache-control")), (200, Some("no-store")));
    assert!(!page.body.contains("id=\"secret\""), "{}", page.body);
    let reply = ann.submit(PATH, PATH, &[("action", "generate")]).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some(PATH)));
    let page = ann.get(PATH).await.body;
    let secret = page.split_once("id=\"secret\"").unwrap().1.split_once('>').unwrap().1;
    let secret = unescape(secret.split_once('<').unwrap().0).replace(' ', "");
    assert!(page.contains("<svg"), "a QR code, drawn here");
    let wrong = ann.submit(PATH, PATH, &[("action", "confirm"), ("code", "000000")]).await;
    assert_eq!(wrong.status, 422);
    assert!(text(&wrong.body).contains("That code was not right"), "{}", text(&wrong.body));
    let fields = [("action", "confirm"), ("code", &*app.code(&secret, 0))];
    let done = ann.submit(PATH, PATH, &fields).await;
    assert_eq!((done.status.as_u16(), done.header("cache-control")), (200, Some("no-store")), "{done:?}");
    assert_eq!(done.body.matches("<li>").count(), 10);
    assert!(done.body.contains("action=\"/settings\""), "next survives");
    assert_eq!(ann.get("/settings").await.status, 200);
    // SEC-45, SEC-50: neither key nor codes are shown again.
    assert_eq!(ann.get(PATH).await.location(), Some("/chat"));
    let codes: Vec<&str> =
        done.body.split("<li>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    for path in ["/settings", "/settings/2fa", "/settings/2fa/backup-codes", "/settings/2fa/setup"] {
        let page = ann.get(path).await.body;
        assert!(!codes.iter().any(|code| page.contains(code)) && !page.contains(&secret), "{path}");
    }
}

/// SEC-35, SEC-36: an enrolment has five tries too, and ends after ten minutes.
#[tokio::test]
async fn sec_36_an_enrolment_has_five_tries_and_ten_minutes() {
    let app = Wishes::unlimited().start().await;
    app.account("ann", "User").await;
    of_everyone(&app, 0).await;
    let ann = enrolling(&app, "ann").await;
    let secret = generate(&ann).await;
    for _ in 0..5 {
        assert_eq!(confirm(&ann, &app.code(&secret, 9)).await.status, 422);
    }
    let gone = confirm(&ann, &app.code(&secret, 0)).await;
    assert_eq!(told(&gone), (401, "/problems/unauthenticated".to_owned()));
    let ann = enrolling(&app, "ann").await;
    let secret = generate(&ann).await;
    app.clock.advance(10 * MINUTE);
    assert_eq!(
        told(&confirm(&ann, &app.code(&secret, 0)).await),
        (401, "/problems/unauthenticated".to_owned())
    );
}

/// SEC-35: a challenge of an account that has a factor sets up none, by whatever is sent.
#[tokio::test]
async fn sec_35_who_has_a_factor_cannot_enrol_another_between_the_factors() {
    let app = Wishes::unlimited().start().await;
    of_everyone(&app, 7).await;
    let (secret, _) = app.with_app("ann").await;
    app.clock.advance(30 * DAY);
    let ann = app.challenged("ann").await;
    for body in [
        json!({ "action": "generate" }),
        json!({ "action": "confirm", "code": app.code(&secret, 0) }),
        json!({ "action": "passkey", "ceremony": "x", "credential": {} }),
    ] {
        let reply = act(&ann, body).await;
        assert_eq!(reply.status, 409, "{reply:?}");
        assert!(!reply.body.contains("secret\""));
    }
    let options = ann.post_json("/login/2fa/enrol/passkey/options", None, &json!({})).await;
    assert_eq!(options.status, 409);
    assert_eq!(ann.get(PATH).await.location(), Some("/login/2fa"));
    // A challenge to enrol that was there before the factor is void with it.
    app.account("ben", "User").await;
    app.clock.advance(8 * DAY);
    let (old, new) = (enrolling(&app, "ben").await, enrolling(&app, "ben").await);
    let secret = generate(&new).await;
    assert_eq!(confirm(&new, &app.code(&secret, 0)).await.status, 200);
    assert_eq!(act(&old, json!({ "action": "generate" })).await.status, 401);
}

/// SEC-47: codes by e-mail are not enough for who may do more than chat: they lead on to setting up another factor.
#[tokio::test]
async fn sec_47_an_admin_with_codes_by_email_alone_has_to_enrol() {
    let app = Wishes::unlimited().start().await;
    let rules = SecondFactorRules { email_codes: true, ..Default::default() };
    app.app.accounts.save_second_factor("test", &rules).await.unwrap();
    let root = app.admin().await;
    // Switching them on alone is refused.
    let here = accounts::Client::new([127, 0, 0, 1].into(), "test");
    let principal = app.principal(&root).await;
    app.app.accounts.set_email_codes(&principal, true, &here).await.unwrap_err();
    // Somebody had them before becoming Admin.
    app.app
        .db
        .run(sql!("UPDATE users SET email_codes_since = 1 WHERE id = $1"), args![&principal.user_id])
        .await
        .unwrap();
    app.clock.advance(7 * DAY);
    let root = app.challenged("root").await;
    let code = app.mailed_code("root").await;
    assert_eq!(told(&app.answer(&root, &code).await), required());
    assert_eq!(root.cookie("anteroom"), None);
    let secret = generate(&root).await;
    assert_eq!(confirm(&root, &app.code(&secret, 0)).await.status, 200);
    assert_eq!(root.get("/admin").await.status, 200);
}

/// SEC-38: sign-up, set-up, form and JSON end at the same gate.
#[tokio::test]
async fn sec_38_no_way_in_leads_past_the_gate() {
    let app = Wishes::unlimited().start().await;
    of_everyone(&app, 0).await;
    // Signing up signs in, so far as the gate lets in.
    let ann = app.anon();
    let fields = [
        ("first_name", "Ann"),
        ("last_name", "Bee"),
        ("username", "ann"),
        ("email", "ann@example.org"),
        ("password", PASSWORD),
    ];
    let reply = ann.submit("/signup", "/signup", &fields).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some(PATH)), "{reply:?}");
    assert!(ann.cookie("anteroom").is_none() && ann.cookie("anteroom-challenge").is_some());
    let secret = generate(&ann).await;
    assert_eq!(confirm(&ann, &app.code(&secret, 0)).await.status, 200);
    // So does the set-up.
    let token = app.app.accounts.create_setup_token().await.unwrap().unwrap();
    let page = format!("/setup?token={token}");
    let root = app.anon();
    let mut fields = fields.to_vec();
    fields[2].1 = "root";
    fields[3].1 = "root@example.org";
    fields.push(("token", &token));
    let reply = root.submit(&page, "/setup", &fields).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some(PATH)), "{reply:?}");
    assert!(root.cookie("anteroom").is_none() && root.cookie("anteroom-challenge").is_some());
    assert_eq!(root.get_json("/api/v1/me").await.status, 401);
    // And who comes by the sign-in, in either form.
    enrolling(&app, "root").await;
    let (root, reply) = by_form(&app, "root").await;
    assert_eq!((reply.location(), root.cookie("anteroom")), (Some(PATH), None));
    // A reset of the password signs nobody in (SEC-65), so there is no fifth way but passkeys.
}

/// A passkey will do, too.
#[tokio::test]
async fn sec_35_a_passkey_is_set_up_in_the_middle_of_a_sign_in() {
    let app = Wishes::unlimited().start().await;
    app.account("ann", "User").await;
    of_everyone(&app, 0).await;
    let mut device = Authenticator::new(&app.base);
    let (ann, stranger) = (enrolling(&app, "ann").await, enrolling(&app, "ann").await);
    let options =
        ann.post_json("/login/2fa/enrol/passkey/options", None, &json!({ "kind": "passkey" })).await;
    assert_eq!(options.status, 200, "{options:?}");
    let options = options.json();
    let credential = device.create(&options);
    let body = json!({ "action": "passkey", "kind": "passkey", "name": "Laptop",
        "ceremony": options["ceremony"], "credential": credential });
    // SEC-53: the ceremony belongs to the challenge that began it.
    assert_ne!(act(&stranger, body.clone()).await.status, 200);
    let done = act(&ann, body.clone()).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(done.json()["backup_codes"].as_array().map(Vec::len), Some(10));
    assert_eq!(ann.get_json("/api/v1/me").await.status, 200);
    assert_eq!(app.mails_to("passkey_added", "ann@example.org").await.len(), 1);
    let reply = app.sign_in(&app.anon(), "ann").await;
    assert_eq!(reply.json()["methods"], json!(["passkey", "backup-code"]));
    let token = app.csrf(&ann).await;
    assert_eq!(ann.post_json(PATH, Some(&token), &body).await.status, 401, "the challenge is used up");
}

/// SEC-35: where the account has a factor again meanwhile, the challenge to enrol sets up no other one.
#[tokio::test]
async fn sec_35_an_enrolment_ends_when_there_is_a_factor_again() {
    let app = Wishes::unlimited().start().await;
    app.with_email_codes("ann").await;
    of_everyone(&app, 0).await;
    let ann = enrolling(&app, "ann").await;
    let secret = generate(&ann).await;
    let rules = SecondFactorRules {
        email_codes: true,
        required_of_everyone: true,
        grace_days: 0,
        ..Default::default()
    };
    app.app.accounts.save_second_factor("test", &rules).await.unwrap();
    let reply = confirm(&ann, &app.code(&secret, 0)).await;
    assert_eq!(told(&reply), (401, "/problems/unauthenticated".to_owned()));
    assert_eq!(app.sign_in(&app.anon(), "ann").await.json()["methods"], json!(["email"]));
}

/// SEC-3, SEC-61: a session that ended because a factor was missing does not come back once there is one.
#[tokio::test]
async fn sec_61_an_enrolment_brings_no_old_session_back() {
    let app = Wishes::unlimited().start().await;
    let old = app.user("ann").await;
    of_everyone(&app, 0).await;
    let ann = enrolling(&app, "ann").await;
    let secret = generate(&ann).await;
    assert_eq!(confirm(&ann, &app.code(&secret, 0)).await.status, 200);
    for (client, status) in [(&ann, 200), (&old, 401)] {
        assert_eq!(client.get_json("/api/v1/me").await.status, status);
    }
}
