//! Helping people who lost a factor or a password, and what keeps that from being misused.

use base::{HOUR, args, sql};
use parts::http::{Client, Reply};
use serde_json::json;

use crate::harness::{TestApp, Wishes};

/// An authenticator app, a backup code and a passkey, as the tables hold them.
async fn enrol(app: &TestApp, user_id: &str) {
    for statement in [
        sql!(
            "INSERT INTO totp_factors (id, user_id, secret, created_at, confirmed_at) VALUES ('t' || $1, $1, 's', 1, 1)"
        ),
        sql!("INSERT INTO backup_code_sets (id, user_id, salt, created_at) VALUES ('b' || $1, $1, 's', 1)"),
        sql!("INSERT INTO backup_codes (set_id, hash) VALUES ('b' || $1, 'h')"),
        sql!(
            "INSERT INTO passkeys (id, user_id, credential_id, credential, user_verified, name, created_at)
             VALUES ('p' || $1, $1, 'c' || $1, '{}', TRUE, 'Laptop', 1)"
        ),
    ] {
        app.app.db.run(statement, args![user_id]).await.unwrap();
    }
}

async fn factors(app: &TestApp) -> i64 {
    let count = sql!(
        "SELECT (SELECT COUNT(*) FROM totp_factors) + (SELECT COUNT(*) FROM backup_codes)
           + (SELECT COUNT(*) FROM passkeys)"
    );
    app.app.db.one(count, &[]).await.unwrap().unwrap()
}

async fn reset(app: &TestApp, client: &Client, id: &str, reason: &str) -> Reply {
    app.post(client, &format!("/admin/users/{id}/reset-factors"), &[("reason", reason)]).await
}

/// A role with these permissions beside a User's, and someone signed in with it.
async fn helper(app: &TestApp, permissions: &[&str]) -> Client {
    let insert = sql!(
        "INSERT INTO roles (id, name, name_canonical, built_in, created_at) VALUES ('7', 'Helper', 'helper', FALSE, 1)"
    );
    app.app.db.run(insert, &[]).await.unwrap();
    for permission in ["chat.use", "api_keys.use", "users.read"].iter().chain(permissions) {
        let grant = sql!("INSERT INTO role_permissions (role_id, permission) VALUES ('7', $1)");
        app.app.db.run(grant, args![*permission]).await.unwrap();
    }
    app.person("helper", "Helper").await
}

/// SEC-60
#[tokio::test]
async fn sec_60_an_admin_resets_factors_with_a_reason_and_the_person_is_told() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    let ann = app.user("ann").await;
    let id = ann.get_json("/api/v1/me").await.json()["id"].as_str().unwrap().to_owned();
    assert!(!root.get("/admin/users").await.body.contains("/reset-factors"), "nobody has any");
    enrol(&app, &id).await;
    let page = root.get("/admin/users").await.body;
    assert!(page.contains("App, 1 passkey") && page.contains(&format!("/admin/users/{id}/reset-factors")));

    for reason in ["", "  x ", "two\nlines", &"x".repeat(201)] {
        let reply = reset(&app, &root, &id, reason).await;
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/admin/users")), "{reason:?}");
        assert!(root.get("/admin/users").await.body.contains("Give a reason of 3 to 200 characters"));
    }
    let token = app.csrf(&root).await;
    let path = format!("/admin/users/{id}/reset-factors");
    let reply = root.post_json(&path, Some(&token), &json!({})).await;
    assert!(reply.status == 422 && reply.json()["errors"]["reason"].is_string(), "{reply:?}");
    assert_eq!(factors(&app).await, 3);
    assert_eq!(ann.get_json("/api/v1/me").await.status, 200);

    reset(&app, &root, &id, "Lost the phone & laptop").await;
    let page = root.get("/admin/users").await.body;
    assert!(page.contains("ann has no second factor any more, is signed out everywhere"), "{page}");
    assert_eq!(factors(&app).await, 0);
    assert_eq!(ann.get_json("/api/v1/me").await.status, 401);
    let mails = app.mails_to("factors_reset", "ann@example.org").await;
    assert_eq!(mails.len(), 1);
    let text = &mails[0].data;
    assert!(text.contains("Lost the phone") && text.contains("root"), "{text}");
    assert!(app.mails_to("reset_link", "ann@example.org").await.is_empty(), "the password still stands");
    // The password alone signs in now.
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 200);
    reset(&app, &root, &id, "once more").await;
    assert!(root.get("/admin/users").await.body.contains("ann had no second factor."));
    assert_eq!(app.mails_to("factors_reset", "ann@example.org").await.len(), 1);
}

/// SEC-60, SEC-92: a permission of its own, never for oneself and never for who holds more.
#[tokio::test]
async fn sec_60_neither_oneself_nor_who_holds_more() {
    let app = TestApp::start().await;
    let boss = app.account("boss", "Admin").await;
    let ann = app.account("ann", "User").await;
    let helper = helper(&app, &["users.reset_factors"]).await;
    let me = helper.get_json("/api/v1/me").await.json()["id"].as_str().unwrap().to_owned();
    for id in [&boss, &ann, &me] {
        enrol(&app, id).await;
    }
    let page = helper.get("/admin/users").await.body;
    assert!(!page.contains(&format!("/admin/users/{me}/reset-factors")), "not offered for oneself");
    for (id, words) in
        [(&me, "You cannot reset your own second factors"), (&boss, "permissions that you do not have")]
    {
        reset(&app, &helper, id, "because I can").await;
        assert!(helper.get("/admin/users").await.body.contains(words), "{words}");
    }
    let token = app.csrf(&helper).await;
    let body = json!({ "reason": "because I can" });
    for (id, status) in [(&me, 409), (&boss, 403)] {
        let path = format!("/admin/users/{id}/reset-factors");
        assert_eq!(helper.post_json(&path, Some(&token), &body).await.status, status);
    }
    assert_eq!(factors(&app).await, 9);
    reset(&app, &helper, &ann, "lost the phone").await;
    assert_eq!(factors(&app).await, 6);
    // Managing people is not enough.
    let change = sql!(
        "UPDATE role_permissions SET permission = 'users.manage' WHERE permission = $1 AND role_id = '7'"
    );
    app.app.db.run(change, args!["users.reset_factors"]).await.unwrap();
    enrol(&app, &ann).await;
    let path = format!("/admin/users/{ann}/reset-factors");
    let reply = helper.post_json(&path, Some(&token), &body).await;
    assert_eq!((reply.status.as_u16(), reply.json()["type"].as_str()), (403, Some("/problems/forbidden")));
    assert_eq!(factors(&app).await, 9);
}

/// Whose only way in was a passkey gets the link for a password with it.
#[tokio::test]
async fn sec_60_an_account_without_a_password_gets_a_reset_link_too() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    let ann = app.account("ann", "User").await;
    enrol(&app, &ann).await;
    app.app.db.run(sql!("UPDATE users SET password = NULL WHERE id = $1"), args![&ann]).await.unwrap();
    reset(&app, &root, &ann, "lost the security key").await;
    assert_eq!(app.mails_to("factors_reset", "ann@example.org").await.len(), 1);
    assert_eq!(app.mails_to("reset_link", "ann@example.org").await.len(), 1);
}

/// SEC-28, SEC-36
#[tokio::test]
async fn sec_28_an_admin_lifts_the_lock_of_wrong_second_factors() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    let ann = app.account("ann", "User").await;
    let lock = sql!("UPDATE users SET factor_failures = 10, factor_locked_until = $2 WHERE id = $1");
    app.app.db.run(lock, args![&ann, app.app.clock.now() + HOUR]).await.unwrap();
    let page = root.get("/admin/users").await.body;
    assert!(
        page.contains("by wrong second factors until") && page.contains(&format!("{ann}/unlock")),
        "{page}"
    );
    app.post(&root, &format!("/admin/users/{ann}/unlock"), &[]).await;
    let page = root.get("/admin/users").await.body;
    assert!(page.contains("ann may sign in again.") && !page.contains("by wrong second factors"), "{page}");
    let left =
        sql!("SELECT COUNT(*) FROM users WHERE factor_failures > 0 OR factor_locked_until IS NOT NULL");
    assert_eq!(app.app.db.one::<i64>(left, &[]).await.unwrap(), Some(0));
}

/// SEC-23, SEC-92
#[tokio::test]
async fn sec_23_an_admin_sends_a_link_and_never_sees_it() {
    let app = Wishes::unlimited().start().await;
    let root = app.admin().await;
    let ann = app.account("ann", "User").await;
    let reply = app.post(&root, &format!("/admin/users/{ann}/send-reset"), &[]).await;
    assert!(!reply.body.contains("/reset/"), "{reply:?}");
    let page = root.get("/admin/users").await.body;
    assert!(page.contains("ann gets a mail with a link") && !page.contains("/reset/"), "{page}");
    assert_eq!(app.mails_to("reset_link", "ann@example.org").await.len(), 1);
    // The old password holds until a new one is set.
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 200);
    app.post(&root, &format!("/admin/users/{ann}/deactivate"), &[]).await;
    app.post(&root, &format!("/admin/users/{ann}/send-reset"), &[]).await;
    assert!(root.get("/admin/users").await.body.contains("so no link was sent"));
    assert_eq!(app.mails_to("reset_link", "ann@example.org").await.len(), 1);

    let helper = helper(&app, &["users.manage"]).await;
    let me = root.get_json("/api/v1/me").await.json()["id"].as_str().unwrap().to_owned();
    let token = app.csrf(&helper).await;
    let path = format!("/admin/users/{me}/send-reset");
    assert_eq!(helper.post_json(&path, Some(&token), &json!({})).await.status, 403);
    assert!(app.mails_to("reset_link", "root@example.org").await.is_empty());
}

/// SEC-60: codes by e-mail go with the other factors, and a sign-in that was begun before is over.
#[tokio::test]
async fn sec_60_codes_by_e_mail_and_begun_sign_ins_end_too() {
    let app = Wishes::unlimited().start().await;
    let root = app.admin().await;
    app.with_email_codes("ann").await;
    let id = app.app.accounts.find_person("ann").await.unwrap().unwrap().user.id;
    let ann = app.challenged("ann").await;
    let code = app.mailed_code("ann").await;
    reset(&app, &root, &id, "lost the mailbox").await;
    let reply = app.answer(&ann, &code).await;
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(reply.json()["type"], "/problems/unauthenticated", "not even a wrong code");
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 200);
    assert_eq!(app.mails_to("factors_reset", "ann@example.org").await.len(), 1);
}
