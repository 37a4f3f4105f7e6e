//! Changing the e-mail address: confirmed at the new one, told to the old one, taken back from there.

use base::{HOUR, MINUTE};
use parts::http::{Client, Reply};
use serde_json::json;

use crate::harness::{PASSWORD, TestApp, Wishes};

async fn ask(app: &TestApp, client: &Client, email: &str) -> Reply {
    app.post(client, "/settings/email", &[("action", "change"), ("email", email)]).await
}

/// The path of the newest link of a kind.
async fn link(app: &TestApp, kind: &str, to: &str, part: &str) -> String {
    let mails = app.mails_to(kind, to).await;
    mails.last().unwrap().link(part).unwrap().strip_prefix(&app.base).unwrap().to_owned()
}

async fn asked(app: &TestApp, client: &Client, email: &str) -> String {
    let reply = ask(app, client, email).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/settings/email")), "{reply:?}");
    link(app, "confirm_new_email", email, "/confirm-email/").await
}

/// Posts the same link 20 times at once; gives how many went through.
async fn race(app: &TestApp, path: &str) -> usize {
    let mut tries = Vec::new();
    for n in 0..20 {
        let (client, path) = (app.anon(), path.to_owned());
        let token = app.csrf(&client).await;
        tries.push(tokio::spawn(async move {
            let reply = match n % 2 {
                0 => client.post_json(&path, None, &json!({})).await,
                _ => client.post(&path, &[("csrf_token", &token)]).await,
            };
            reply.status.as_u16()
        }));
    }
    let mut good = 0;
    for one in tries {
        match one.await.unwrap() {
            200 | 303 => good += 1,
            other => assert_eq!(other, 404),
        }
    }
    good
}

/// SEC-59, SEC-64, SEC-99: the whole way there and back, each link once, looking uses nothing up.
#[tokio::test]
async fn sec_59_a_change_is_confirmed_told_and_taken_back() {
    let app = Wishes::unlimited().start().await;
    let ann = app.user("ann").await;
    let confirm = asked(&app, &ann, "new@example.org").await;
    let page = ann.get("/settings/email").await.body;
    assert!(page.contains("ann@example.org") && page.contains("new@example.org"), "{page}");
    assert!(!page.contains("/confirm-email/"), "no page shows a link");
    assert_eq!(ann.get_json("/api/v1/me").await.json()["email"], "ann@example.org");

    for path in [&confirm] {
        for _ in 0..3 {
            let page = app.anon().get(path).await;
            assert_eq!((page.status.as_u16(), page.header("referrer-policy")), (200, Some("no-referrer")));
            assert!(page.body.contains("new@example.org") && page.body.contains("<b>ann</b>"));
            assert!(page.body.contains(r#"<meta name="referrer" content="strict-origin">"#));
        }
        assert_eq!(app.anon().post(path, &[]).await.status, 403);
    }
    assert_eq!(race(&app, &confirm).await, 1);
    assert_eq!(app.anon().get(&confirm).await.status, 404);
    let me = ann.get_json("/api/v1/me").await.json();
    assert_eq!((me["email"].as_str(), me["email_verified"].as_bool()), (Some("new@example.org"), Some(true)));
    assert_eq!(app.sign_in(&app.anon(), "new@example.org").await.status, 200);
    assert_eq!(app.sign_in(&app.anon(), "ann@example.org").await.status, 401);

    let told = app.mails_to("email_changed", "ann@example.org").await;
    assert_eq!(told.len(), 1);
    assert!(told[0].text().contains("not you"));
    let revert = link(&app, "email_changed", "ann@example.org", "/revert-email/").await;
    assert!(app.anon().get(&revert).await.body.contains("Take the change back"));
    assert_eq!(race(&app, &revert).await, 1);
    assert_eq!(ann.get_json("/api/v1/me").await.status, 401, "every session ended");
    assert_eq!(app.mails_to("email_reverted", "ann@example.org").await.len(), 1);
    assert_eq!(app.mails_to("reset_link", "ann@example.org").await.len(), 1);
    assert!(app.mails_to("reset_link", "new@example.org").await.is_empty());
    let back = app.anon();
    assert_eq!(app.sign_in(&back, "ann@example.org").await.status, 200);
    assert_eq!(app.sign_in(&app.anon(), "new@example.org").await.status, 401);
}

/// SEC-59: the links end, and a newer request takes the place of the one before.
#[tokio::test]
async fn sec_59_links_of_a_change_end() {
    let app = Wishes::unlimited().start().await;
    let ann = app.user("ann").await;
    let first = asked(&app, &ann, "one@example.org").await;
    let second = asked(&app, &ann, "two@example.org").await;
    assert_eq!(app.anon().get(&first).await.status, 404);
    app.post(&ann, "/settings/email", &[("action", "cancel")]).await;
    assert_eq!(app.anon().get(&second).await.status, 404);
    assert!(!ann.get("/settings/email").await.body.contains("two@example.org"));
    let third = asked(&app, &ann, "three@example.org").await;
    app.clock.advance(24 * HOUR);
    let gone = app.anon().get(&third).await;
    assert_eq!(gone.status, 404);
    assert!(gone.body.contains("does not work any more"));
    assert_eq!(app.anon().post_json(&third, None, &json!({})).await.status, 404);
}

/// SEC-7, SEC-11: what is taken is said where addresses need no confirmation, and hidden where they do.
#[tokio::test]
async fn sec_11_a_taken_address_is_answered_by_the_rule_of_signing_up() {
    let app = Wishes::unlimited().start().await;
    let ann = app.user("ann").await;
    app.account("ben", "User").await;
    let token = app.csrf(&ann).await;
    let json = ann.post_json("/settings/email", Some(&token), &json!({ "email": "BEN@example.org" })).await;
    assert_eq!(json.status, 409, "{json:?}");
    assert!(json.json()["errors"]["email"].is_string());
    for bad in ["ann", "ann@example.org", "a@x.org,b@x.org", ""] {
        let reply = ask(&app, &ann, bad).await;
        assert_eq!(reply.status, 422, "{bad}");
        assert!(reply.body.contains(r#"id="email-error""#), "{bad}");
    }
    let odd = ann.post_json("/settings/email", Some(&token), &json!({ "email": ["x@example.org"] })).await;
    assert_eq!(odd.status, 422);

    let app = Wishes::unlimited().set("ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED", "true").start().await;
    let ann = app.user("ann").await;
    app.account("ben", "User").await;
    let (free, taken) = (ask(&app, &ann, "free@example.org").await, ask(&app, &ann, "ben@example.org").await);
    assert_eq!((free.status, free.location()), (taken.status, taken.location()));
    assert!(ann.get("/settings/email").await.body.contains("ben@example.org"));
    assert!(app.mails_to("confirm_new_email", "ben@example.org").await.is_empty());
}

/// SEC-101: one mail an hour to an address, and a few changes an hour in all.
#[tokio::test]
async fn sec_101_changes_are_limited() {
    let app = Wishes::unlimited().start().await;
    let ann = app.user("ann").await;
    asked(&app, &ann, "new@example.org").await;
    let again = ask(&app, &ann, "new@example.org").await;
    assert_eq!(again.status, 429);
    assert!(again.header("retry-after").is_some());
    for n in 0..4 {
        asked(&app, &ann, &format!("p{n}@example.org")).await;
    }
    assert_eq!(ask(&app, &ann, "p9@example.org").await.status, 429);
}

/// SEC-59: a session that is not the owner's cannot cut the way back off by changing twice.
#[tokio::test]
async fn sec_59_the_first_owner_has_the_last_word() {
    let app = Wishes::unlimited().start().await;
    let thief = app.user("ann").await;
    for (from, to) in [("ann@example.org", "one@example.net"), ("one@example.net", "two@example.net")] {
        let confirm = asked(&app, &thief, to).await;
        assert_eq!(app.anon().submit(&confirm, &confirm, &[]).await.status, 303);
        assert_eq!(app.mails_to("email_changed", from).await.len(), 1);
        app.clock.advance(MINUTE);
    }
    let revert = link(&app, "email_changed", "ann@example.org", "/revert-email/").await;
    let done = app.anon().submit(&revert, &revert, &[]).await;
    assert_eq!((done.status.as_u16(), done.location()), (303, Some("/login")));
    assert_eq!(thief.get_json("/api/v1/me").await.status, 401);
    let later = link(&app, "email_changed", "one@example.net", "/revert-email/").await;
    assert_eq!(app.anon().get(&later).await.status, 404);
    assert_eq!(app.sign_in(&app.anon(), "ann@example.org").await.status, 200);
}

/// The link to confirm the present address is sent again from the settings.
#[tokio::test]
async fn an_unconfirmed_address_can_be_confirmed_from_the_settings() {
    let app = Wishes::unlimited().start().await;
    let new = json!({ "first_name": "Ada", "last_name": "Byron", "username": "ada", "email": "ada@example.org",
                      "password": PASSWORD });
    let ada = app.anon();
    assert_eq!(ada.post_json("/signup", None, &new).await.status, 201);
    assert_eq!(app.sign_in(&ada, "ada").await.status, 200);
    let page = ada.get("/settings/email").await.body;
    assert!(page.contains("Not confirmed") && page.contains(r#"value="verify""#));
    for _ in 0..2 {
        assert_eq!(app.post(&ada, "/settings/email", &[("action", "verify")]).await.status, 303);
    }
    let mails = app.mails_to("verify_email", "ada@example.org").await;
    assert_eq!(mails.len(), 1);
    let path = mails[0].link("/verify-email/").unwrap().strip_prefix(&app.base).unwrap().to_owned();
    assert_eq!(ada.submit(&path, &path, &[]).await.status, 303);
    assert!(!ada.get("/settings/email").await.body.contains(r#"value="verify""#));
}

/// The path of the reset link in the newest mail to this address.
async fn reset_link(app: &TestApp, email: &str) -> String {
    let asked = app.anon().post_json("/forgot", None, &json!({ "email": email })).await;
    assert_eq!(asked.status, 202);
    let found = tokio::time::timeout(parts::PATIENCE, async {
        loop {
            if !app.mails_to("reset_link", email).await.is_empty() {
                return link(app, "reset_link", email, "/reset/").await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    found.await.unwrap()
}

/// SEC-59, SEC-63: links to the address before end with the change, and what a thief has asked for ends when it is
/// taken back. A link of one kind is no link of another.
#[tokio::test]
async fn sec_59_a_change_and_its_taking_back_void_the_links_on_their_way() {
    let app = Wishes::unlimited().start().await;
    let thief = app.user("ann").await;
    app.app.db.run(base::sql!("UPDATE users SET email_verified_at = 1"), &[]).await.unwrap();
    let old = reset_link(&app, "ann@example.org").await;
    let confirm = asked(&app, &thief, "one@example.net").await;
    for path in [confirm.replace("/confirm-email/", "/reset/"), old.replace("/reset/", "/confirm-email/")] {
        assert_eq!(app.anon().get(&path).await.status, 404, "{path}");
        let body = match path.contains("/reset/") {
            true => json!({ "password": "granite-lantern-oboe-9" }),
            false => json!({}),
        };
        assert_eq!(app.anon().post_json(&path, None, &body).await.status, 404, "{path}");
    }
    assert_eq!(app.anon().get(&old).await.status, 200);
    assert_eq!(app.anon().submit(&confirm, &confirm, &[]).await.status, 303);
    assert_eq!(app.anon().get(&old).await.status, 404);
    let late = app.anon().post_json(&old, None, &json!({ "password": "granite-lantern-oboe-9" })).await;
    assert_eq!(late.status, 404);

    let reset = reset_link(&app, "one@example.net").await;
    let next = asked(&app, &thief, "two@example.net").await;
    let revert = link(&app, "email_changed", "ann@example.org", "/revert-email/").await;
    assert_eq!(app.anon().submit(&revert, &revert, &[]).await.status, 303);
    for path in [reset, next] {
        assert_eq!(app.anon().get(&path).await.status, 404, "{path}");
    }
}

/// SEC-59, SEC-63: the links are stored as hashes only.
#[tokio::test]
async fn sec_63_the_database_holds_no_link() {
    let app = Wishes::unlimited().start().await;
    let ann = app.user("ann").await;
    let paths = [reset_link(&app, "ann@example.org").await, asked(&app, &ann, "new@example.org").await];
    let all = base::sql!("SELECT token_hash FROM one_time_tokens");
    let hashes: Vec<String> = app.app.db.all(all, &[]).await.unwrap();
    for path in paths {
        let token = path.rsplit_once('/').unwrap().1;
        assert!(hashes.contains(&base::random::token_hash(token)));
        assert!(!hashes.iter().any(|hash| hash.contains(token)));
    }
}

/// SEC-59: what was set up since the change goes with it, so that whoever made it keeps no way in.
#[tokio::test]
async fn sec_59_taking_a_change_back_takes_newer_factors_away() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let verified = base::sql!("UPDATE users SET email_verified_at = 1");
    app.app.db.run(verified, &[]).await.unwrap();
    let id = ann.get_json("/api/v1/me").await.json()["id"].as_str().unwrap().to_owned();
    let older = base::sql!(
        "INSERT INTO passkeys (id, user_id, credential_id, credential, user_verified, name, created_at)
         VALUES ($1, $2, $1, '{}', TRUE, 'mine', $3)"
    );
    app.app.db.run(older, base::args!["older", &id, app.clock.now()]).await.unwrap();
    app.clock.advance(MINUTE);
    assert_eq!(app.post(&ann, "/settings/email", &[("email", "thief@example.net")]).await.status, 303);
    let confirm = link(&app, "confirm_new_email", "thief@example.net", "/confirm-email/").await;
    assert_eq!(app.anon().submit(&confirm, &confirm, &[]).await.status, 303);
    app.clock.advance(MINUTE);
    app.app.db.run(older, base::args!["newer", &id, app.clock.now()]).await.unwrap();
    app.totp(&id).await;
    let revert = link(&app, "email_changed", "ann@example.org", "/revert-email/").await;
    assert_eq!(app.anon().submit(&revert, &revert, &[]).await.status, 303);
    let left: Vec<String> = app.app.db.all(base::sql!("SELECT id FROM passkeys"), &[]).await.unwrap();
    assert_eq!(left, ["older"]);
    assert!(!app.app.accounts.standing(&id).await.unwrap().unwrap().totp);
}
