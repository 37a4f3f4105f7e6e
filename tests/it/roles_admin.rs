//! Roles that require a second factor, the setting that requires one of everyone, and stuck mail.

use base::{DAY, args, sql};
use parts::http::{Client, Reply};
use serde_json::json;

use crate::harness::TestApp;

async fn set(app: &TestApp, client: &Client, role: &str, fields: &[(&str, &str)]) -> Reply {
    app.post(client, &format!("/admin/roles/{role}/second-factor"), fields).await
}

/// Whether the role requires one, since when and with how many days.
async fn stored(app: &TestApp, role: &str) -> (bool, i64, i64) {
    let row = app
        .app
        .db
        .one(
            sql!("SELECT second_factor_required, second_factor_since, grace_days FROM roles WHERE id = $1"),
            args![role],
        )
        .await;
    row.unwrap().unwrap()
}

/// An authenticator app, as far as counting goes.
async fn enrol(app: &TestApp, username: &str) {
    let insert = sql!(
        "INSERT INTO totp_factors (id, user_id, secret, created_at, confirmed_at)
         SELECT 't' || id, id, 's', 1, 1 FROM users WHERE username = $1"
    );
    app.app.db.run(insert, args![username]).await.unwrap();
}

/// SEC-3
#[tokio::test]
async fn sec_3_a_role_requires_a_second_factor_from_the_page() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    app.account("ann", "User").await;
    let page = root.get("/admin/roles").await.body;
    assert!(page.contains("href=\"/admin/roles\"") && page.contains("everything"), "{page}");
    assert!(page.contains("chat.use, api_keys.use"));
    let now = app.app.clock.now();
    let reply = set(&app, &root, "2", &[("second_factor", "on"), ("grace_days", "14")]).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/admin/roles")), "{reply:?}");
    assert!(root.get("/admin/roles").await.body.contains("User requires a second factor, with 14 days"));
    assert_eq!(stored(&app, "2").await, (true, now, 14));
    app.clock.advance(base::MINUTE);
    set(&app, &root, "2", &[("second_factor", "on"), ("grace_days", "20")]).await;
    assert_eq!(stored(&app, "2").await, (true, now, 20), "its time is kept");
    // An unchecked box is none.
    set(&app, &root, "2", &[("grace_days", "20")]).await;
    assert!(root.get("/admin/roles").await.body.contains("User does not require a second factor any more."));
    assert!(!stored(&app, "2").await.0);

    // What is wrong stands at the role, with what was typed.
    for (days, fields) in [
        ("91", [("second_factor", "on"), ("grace_days", "91")]),
        ("soon", [("second_factor", "on"), ("grace_days", "soon")]),
    ] {
        let reply = set(&app, &root, "2", &fields).await;
        assert_eq!(reply.status, 422);
        assert!(
            reply.body.contains("from 0 to 90") && reply.body.contains(&format!("value=\"{days}\"")),
            "{reply:?}"
        );
        assert!(reply.body.contains("aria-describedby=\"role-2-error\""));
    }
    let unknown = set(&app, &root, "nothing", &[("grace_days", "7")]).await;
    assert_eq!((unknown.status.as_u16(), unknown.location()), (303, Some("/admin/roles")));

    let token = app.csrf(&root).await;
    let path = "/admin/roles/2/second-factor";
    let reply = root.post_json(path, Some(&token), &json!({ "second_factor": true, "grace_days": 30 })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(stored(&app, "2").await, (true, app.app.clock.now(), 30));
    let reply = root.post_json(path, Some(&token), &json!({ "second_factor": true, "grace_days": -1 })).await;
    assert!(reply.status == 422 && reply.json()["errors"]["grace_days"].is_string(), "{reply:?}");
    let reply =
        root.post_json("/admin/roles/77/second-factor", Some(&token), &json!({ "grace_days": 7 })).await;
    assert_eq!(reply.status, 404);
}

/// SEC-3: an Admin does not shut the door on themselves, neither by a role nor for everyone.
#[tokio::test]
async fn sec_3_no_admin_requires_at_once_what_they_do_not_have() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    let reply = set(&app, &root, "1", &[("second_factor", "on"), ("grace_days", "0")]).await;
    assert_eq!(reply.status, 409);
    assert!(reply.body.contains("Set up your own second factor first"), "{reply:?}");
    assert_eq!(stored(&app, "1").await.2, 7);

    let everyone = [("required_of_everyone", "on"), ("grace_days", "0")];
    let reply = app.post(&root, "/admin/settings/second-factor", &everyone).await;
    assert_eq!(reply.status, 422);
    assert!(reply.body.contains("Set up your own second factor first"), "{reply:?}");
    assert!(!app.app.accounts.settings().second_factor.required_of_everyone);

    enrol(&app, "root").await;
    assert_eq!(set(&app, &root, "1", &[("second_factor", "on"), ("grace_days", "0")]).await.status, 303);
    assert_eq!(app.post(&root, "/admin/settings/second-factor", &everyone).await.status, 303);
    assert!(app.app.accounts.settings().second_factor.required_of_everyone);
    assert_eq!(root.get("/admin/settings").await.status, 200);
}

/// SEC-92
#[tokio::test]
async fn sec_92_a_role_that_may_more_is_left_alone() {
    let app = TestApp::start().await;
    app.account("root", "Admin").await;
    let db = &app.app.db;
    let insert = sql!(
        "INSERT INTO roles (id, name, name_canonical, built_in, created_at) VALUES ('7', 'Helper', 'helper', FALSE, 1)"
    );
    db.run(insert, &[]).await.unwrap();
    for permission in ["chat.use", "api_keys.use", "roles.manage"] {
        let grant = sql!("INSERT INTO role_permissions (role_id, permission) VALUES ('7', $1)");
        db.run(grant, args![permission]).await.unwrap();
    }
    let helper = app.person("helper", "Helper").await;
    let page = helper.get("/admin/roles").await.body;
    assert!(page.contains("/admin/roles/2/second-factor") && !page.contains("/admin/roles/1/second-factor"));
    let reply = set(&app, &helper, "1", &[("grace_days", "7")]).await;
    assert_eq!(reply.location(), Some("/admin/roles"));
    assert!(helper.get("/admin/roles").await.body.contains("permissions that you do not have"));
    assert!(stored(&app, "1").await.0);
    let token = app.csrf(&helper).await;
    let body = json!({ "grace_days": 7 });
    assert_eq!(helper.post_json("/admin/roles/1/second-factor", Some(&token), &body).await.status, 403);
    assert_eq!(set(&app, &helper, "2", &[("second_factor", "on"), ("grace_days", "7")]).await.status, 303);
    assert!(stored(&app, "2").await.0);
}

/// SEC-47: codes by e-mail are off until an Admin allows them, and the page says that they are weaker.
#[tokio::test]
async fn sec_47_the_settings_allow_codes_by_e_mail_and_call_them_weaker() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    assert!(!app.app.accounts.settings().second_factor.email_codes);
    let page = root.get("/admin/settings").await.body;
    assert!(page.contains("Weaker than an app or a passkey") && page.contains("Never enough for an Admin"));
    let path = "/admin/settings/second-factor";
    let reply = app.post(&root, path, &[("email_codes", "on"), ("grace_days", "10")]).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/admin/settings#second-factors")));
    let rules = app.app.accounts.settings().second_factor.clone();
    assert!(rules.email_codes && rules.grace_days == 10 && !rules.required_of_everyone);
    let now = app.app.clock.now();
    app.post(&root, path, &[("required_of_everyone", "on"), ("grace_days", "5")]).await;
    app.clock.advance(base::MINUTE);
    app.post(&root, path, &[("required_of_everyone", "on"), ("grace_days", "6")]).await;
    let rules = app.app.accounts.settings().second_factor.clone();
    assert!(rules.required_of_everyone && !rules.email_codes);
    assert_eq!((rules.required_since, rules.grace_days), (now, 6), "its time is kept");
    let wrong = app.post(&root, path, &[("grace_days", "1000"), ("email_codes", "on")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("from 0 to 90") && wrong.body.contains("value=\"1000\""), "{wrong:?}");
    let token = app.csrf(&root).await;
    let reply = root.post_json(path, Some(&token), &json!({ "grace_days": 91 })).await;
    assert!(reply.status == 422 && reply.json()["errors"]["grace_days"].is_string());
}

/// SEC-62: a mail server that is down is seen where an Admin looks.
#[tokio::test]
async fn the_overview_says_when_mail_is_stuck() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    assert!(!root.get("/admin").await.body.contains("Mail is stuck"));
    let insert = sql!(
        "INSERT INTO mail_outbox (id, kind, recipient, subject, body_text, body_html, created_at, next_attempt_at, attempts, last_error)
         VALUES ($1, 'welcome', 'ann@example.org', 's', '', '', $2, $3, 3, 'connection refused <here>')"
    );
    let now = app.app.clock.now();
    app.app.db.run(insert, args!["m1", now - DAY, now + DAY]).await.unwrap();
    let page = root.get("/admin").await.body;
    assert!(page.contains("Mail is stuck") && page.contains("1 mail waits"), "{page}");
    assert!(page.contains("connection refused &#60;here&#62;") && page.contains("anteroom doctor"), "{page}");
    app.app.db.run(sql!("UPDATE mail_outbox SET next_attempt_at = $1"), args![i64::MAX]).await.unwrap();
    let page = root.get("/admin").await.body;
    assert!(
        page.contains("Some mail could not be delivered") && page.contains("1 mail was given up"),
        "{page}"
    );
}
