//! Sign-up where the e-mail must be confirmed: what is told, what is mailed, what the link does.

use base::HOUR;
use parts::http::{Client, Reply};
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp, Wishes};

/// Confirmation required, no limits but the one on mails.
async fn app() -> TestApp {
    Wishes::unlimited().set("ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED", "true").start().await
}

fn new(username: &str, email: &str) -> Value {
    json!({ "first_name": "Ada", "last_name": "Byron", "username": username, "email": email, "password": PASSWORD })
}

async fn sign_up(app: &TestApp, username: &str, email: &str) -> Reply {
    app.anon().post_json("/signup", None, &new(username, email)).await
}

/// The path of the newest link mailed to this address.
async fn link(app: &TestApp, email: &str) -> String {
    let mails = app.mails_to("verify_email", email).await;
    let links: Vec<String> = mails.iter().map(|mail| mail.link("/verify-email/").unwrap()).collect();
    // Of links sent at one moment of the tests' clock only one is alive.
    for link in &links {
        let path = link.strip_prefix(&app.base).unwrap();
        if app.anon().get(path).await.status == 200 {
            return path.to_owned();
        }
    }
    panic!("no live link to {email} in {links:?}");
}

async fn confirm(client: &Client, path: &str) -> Reply {
    client.submit(path, path, &[]).await
}

/// SEC-9: no session, no chat before the link was used; then a sign-in, and the welcome.
#[tokio::test]
async fn sec_9_there_is_no_session_before_the_address_is_confirmed() {
    let app = app().await;
    let client = app.anon();
    let reply = client.post_json("/signup", None, &new("ann", "ann@example.org")).await;
    assert_eq!(reply.status, 201);
    let body = reply.json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["message"], "{body}");
    let fields = [
        ("first_name", "Ada"),
        ("last_name", "Byron"),
        ("username", "bob"),
        ("email", "bob@example.org"),
        ("password", PASSWORD),
    ];
    let page = client.submit("/signup", "/signup", &fields).await;
    assert_eq!(page.status, 201);
    assert!(page.body.contains("Check your mail") && page.body.contains("bob@example.org"));
    assert_eq!(client.cookie("anteroom"), None);
    assert_eq!(app.sign_in(&client, "ann").await.status, 401);
    assert!(app.mails_to("welcome", "ann@example.org").await.is_empty());

    let path = link(&app, "ann@example.org").await;
    let done = confirm(&client, &path).await;
    assert_eq!((done.status.as_u16(), done.location()), (303, Some("/login")));
    assert_eq!(client.cookie("anteroom"), None);
    assert!(client.get("/login").await.body.contains("Your e-mail is confirmed"));
    assert_eq!(app.sign_in(&client, "ann").await.status, 200);
    assert_eq!(client.get_json("/api/v1/me").await.json()["email_verified"], true);
    assert!(client.get("/chat").await.body.contains("Welcome Chat"));
    assert_eq!(app.mails_to("welcome", "ann@example.org").await.len(), 1);
}

/// SEC-11: the same answer for a known address, whose owner is told; the username is reserved in both cases.
#[tokio::test]
async fn sec_11_a_taken_address_is_answered_like_a_free_one() {
    let app = app().await;
    app.account("owner", "User").await;
    let (free, taken) =
        (sign_up(&app, "one", "free@example.org").await, sign_up(&app, "two", "Owner@example.org").await);
    assert_eq!((free.status, &free.body), (taken.status, &taken.body));
    let names = |reply: &Reply| {
        let mut names: Vec<String> = reply.headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(names(&free), names(&taken));
    let mails = app.mails_to("already_registered", "owner@example.org").await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0].link("/login").is_some());
    assert!(mails[0].link("/verify-email/").is_none());
    assert!(app.mails_to("verify_email", "owner@example.org").await.is_empty());

    let form = async |username: &str, email: &str| {
        let fields = [
            ("first_name", "Ada"),
            ("last_name", "Byron"),
            ("username", username),
            ("email", email),
            ("password", PASSWORD),
        ];
        app.anon().submit("/signup", "/signup", &fields).await
    };
    let (free, taken) = (form("three", "later@example.org").await, form("four", "owner@example.org").await);
    assert_eq!(free.status, taken.status);
    assert_eq!(free.body.replace("later@", "owner@"), taken.body);

    for name in ["one", "TWO", "three", "Four", "owner"] {
        let again = sign_up(&app, name, "other@example.org").await;
        assert_eq!(again.status, 409, "{name}");
        let errors = again.json()["errors"].as_object().unwrap().clone();
        assert_eq!(errors.keys().collect::<Vec<_>>(), ["username"], "{name}");
    }
    // A taken name beside a taken address tells of the name alone.
    let both = sign_up(&app, "owner", "owner@example.org").await;
    assert_eq!(both.json()["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["username"]);
    // The reserved name opens nothing, and no row of it shows among the people.
    assert_eq!(app.sign_in(&app.anon(), "two").await.status, 401);
    assert_eq!(app.sign_in(&app.anon(), "owner").await.status, 200);
}

/// SEC-11: unconfirmed sign-ups and reserved names go after 72 hours.
#[tokio::test]
async fn sec_11_what_is_not_confirmed_in_72_hours_is_free_again() {
    let app = app().await;
    app.account("owner", "User").await;
    sign_up(&app, "ann", "ann@example.org").await;
    sign_up(&app, "bob", "owner@example.org").await;
    let path = link(&app, "ann@example.org").await;
    app.clock.advance(72 * HOUR - 1);
    assert_eq!(app.anon().get(&path).await.status, 200);
    assert_eq!(sign_up(&app, "ann", "new@example.org").await.status, 409);
    app.clock.advance(1);
    let gone = app.anon().get(&path).await;
    assert_eq!(gone.status, 404);
    assert!(gone.body.contains("does not work any more"));
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 401);
    // Whether or not the sweep came by.
    assert_eq!(sign_up(&app, "ann", "ann@example.org").await.status, 201);
    assert_eq!(sign_up(&app, "bob", "bob@example.org").await.status, 201);
    let path = link(&app, "bob@example.org").await;
    assert_eq!(confirm(&app.anon(), &path).await.status, 303);
}

/// SEC-64: looking uses nothing up; only a form of ours confirms. SEC-99: once, of 20 at the same time.
#[tokio::test]
async fn sec_99_a_link_works_once_and_looking_does_not_use_it() {
    let app = app().await;
    sign_up(&app, "ann", "ann@example.org").await;
    let path = link(&app, "ann@example.org").await;
    for _ in 0..3 {
        let page = app.anon().get(&path).await;
        assert_eq!((page.status.as_u16(), page.header("referrer-policy")), (200, Some("no-referrer")));
        assert!(page.body.contains("ann@example.org"));
    }
    assert_eq!(app.anon().post(&path, &[]).await.status, 403);
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 401);

    let mut tries = Vec::new();
    for n in 0..20 {
        let (client, path) = (app.anon(), path.clone());
        let token = app.csrf(&client).await;
        tries.push(tokio::spawn(async move {
            let reply = match n % 2 {
                0 => client.post_json(&path, None, &json!({})).await,
                _ => client.post(&path, &[("csrf_token", &token)]).await,
            };
            reply.status.as_u16()
        }));
    }
    let mut statuses = Vec::new();
    for one in tries {
        statuses.push(one.await.unwrap());
    }
    let good = statuses.iter().filter(|status| matches!(status, 200 | 303)).count();
    assert_eq!(good, 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 404).count(), 19, "{statuses:?}");
    assert_eq!(app.mails_to("welcome", "ann@example.org").await.len(), 1);
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 200);
}

/// SEC-24, SEC-101: a right password mails the link again, once an hour; the earlier link is void then.
#[tokio::test]
async fn sec_101_one_mail_an_hour_to_an_address() {
    let app = app().await;
    app.account("owner", "User").await;
    for name in ["one", "two", "three"] {
        assert_eq!(sign_up(&app, name, "owner@example.org").await.status, 201);
    }
    assert_eq!(app.mails_to("already_registered", "owner@example.org").await.len(), 1);
    sign_up(&app, "ann", "ann@example.org").await;
    let first = link(&app, "ann@example.org").await;
    let client = app.anon();
    let known = app.sign_in(&client, "ann").await;
    assert_eq!(app.mails_to("verify_email", "ann@example.org").await.len(), 1);
    app.clock.advance(HOUR);
    app.sign_in_with(&client, "ann", "wrong-wrong-wrong").await;
    assert_eq!(app.mails_to("verify_email", "ann@example.org").await.len(), 1);
    let again = app.sign_in(&client, "ann").await;
    assert_eq!(app.mails_to("verify_email", "ann@example.org").await.len(), 2);
    assert_eq!(app.anon().get(&first).await.status, 404);
    // The answer does not tell the difference.
    let unknown = app.sign_in(&client, "nobody").await;
    for reply in [&known, &again] {
        assert_eq!(reply.status, 401);
        assert_eq!(reply.json()["detail"], unknown.json()["detail"]);
    }
    let path = link(&app, "ann@example.org").await;
    assert_eq!(confirm(&client, &path).await.status, 303);
    assert_eq!(app.sign_in(&client, "ann").await.status, 200);
}

/// SEC-64: links name the configured address, whatever a request says of itself.
#[tokio::test]
async fn sec_64_links_come_from_the_configured_url_and_not_from_the_request() {
    let app = Wishes::unlimited()
        .set("ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED", "true")
        .set("ANTEROOM_PUBLIC_URL", "https://chat.example.org")
        .start()
        .await;
    let client = app
        .anon()
        .with_header("host", "evil.example")
        .with_header("x-forwarded-host", "evil.example")
        .with_header("forwarded", "host=evil.example;proto=http")
        .with_header("x-forwarded-proto", "http");
    assert_eq!(client.post_json("/signup", None, &new("ann", "ann@example.org")).await.status, 201);
    let mails = app.mails_to("verify_email", "ann@example.org").await;
    assert!(mails[0].link("/verify-email/").unwrap().starts_with("https://chat.example.org/verify-email/"));
    assert!(!mails[0].data.contains("evil.example"));
}

/// SEC-6, SEC-9: a mail holds no more than its link: no password, and a name that carries no message.
#[tokio::test]
async fn a_stranger_cannot_put_words_into_the_mail() {
    let app = app().await;
    let mut body = new("ann", "victim@example.org");
    body["first_name"] = "You won! http://evil.example".into();
    assert_eq!(app.anon().post_json("/signup", None, &body).await.status, 201);
    let mails = app.mails_to("verify_email", "victim@example.org").await;
    assert!(!mails[0].data.contains("evil.example") && !mails[0].data.contains(PASSWORD));
    assert_eq!(mails[0].header("To").as_deref(), Some("victim@example.org"));
}

/// SEC-11, SEC-101: who signed up first with an address that is not theirs keeps neither the address nor the mail
/// from its owner.
#[tokio::test]
async fn sec_11_a_squatter_does_not_keep_the_owner_out() {
    let app = Wishes::unlimited()
        .set("ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED", "true")
        .set("ANTEROOM_SERVER__TRUSTED_PROXIES", "127.0.0.1/32")
        .start()
        .await;
    let sign_up = async |ip: &str, username: &str| {
        let client = app.anon().with_header("x-forwarded-for", ip);
        client.post_json("/signup", None, &new(username, "ann@example.org")).await
    };
    let mails = async |kind: &str| app.mails_to(kind, "ann@example.org").await.len();
    let stranger = sign_up("203.0.113.9", "squatter").await;
    assert_eq!((stranger.status.as_u16(), mails("verify_email").await), (201, 1));
    // Once more from there: no mail, and the first link stays good.
    let first = link(&app, "ann@example.org").await;
    sign_up("203.0.113.9", "squatter2").await;
    assert_eq!(mails("verify_email").await, 1);
    assert_eq!(app.anon().get(&first).await.status, 200);

    let owner = sign_up("198.51.100.7", "ann").await;
    assert_eq!((owner.status, &owner.body), (stranger.status, &stranger.body));
    assert_eq!((mails("verify_email").await, mails("already_registered").await), (2, 0));
    assert_eq!(app.anon().get(&first).await.status, 404, "the stranger's link is void");
    let path = link(&app, "ann@example.org").await;
    assert_eq!(confirm(&app.anon(), &path).await.status, 303);
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 200);
    assert_eq!(app.sign_in(&app.anon(), "squatter").await.status, 401);
    // From the fourth network on there have been enough mails for an hour.
    for n in 1..=5 {
        sign_up(&format!("192.0.2.{n}"), &format!("late{n}")).await;
    }
    assert_eq!(mails("already_registered").await, 3);
}

/// An address confirmed later brings no second Welcome Chat and no second welcome.
#[tokio::test]
async fn who_was_welcomed_is_not_welcomed_again_on_confirming() {
    let app = Wishes::unlimited().start().await;
    let root = app.admin().await;
    assert!(sign_up(&app, "ann", "ann@example.org").await.json()["user"].is_object());
    let fields = [("mode", "open"), ("allowed_domains", ""), ("verification_required", "on")];
    assert_eq!(app.post(&root, "/admin/settings/sign-up", &fields).await.status, 303);
    let client = app.anon();
    assert_eq!(app.sign_in(&client, "ann").await.status, 401);
    let path = link(&app, "ann@example.org").await;
    assert_eq!(confirm(&client, &path).await.status, 303);
    assert_eq!(app.sign_in(&client, "ann").await.status, 200);
    assert_eq!(app.mails_to("welcome", "ann@example.org").await.len(), 1);
    let chats: Option<i64> = app
        .app
        .db
        .one(
            base::sql!("SELECT COUNT(*) FROM chats c JOIN users u ON u.id = c.user_id WHERE u.username = $1"),
            base::args!["ann"],
        )
        .await
        .unwrap();
    assert_eq!(chats, Some(1));
}
