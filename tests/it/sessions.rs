//! What a session is to the browser and to the server, and when it ends.

use base::{DAY, HOUR};
use parts::http::{Client, Reply};
use serde_json::json;

use crate::harness::{PASSWORD, TestApp, Wishes};

fn set_cookie(reply: &Reply, name: &str) -> Option<String> {
    let mut values = reply.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
    values.find(|value| value.split('=').next() == Some(name)).map(str::to_owned)
}

async fn is_in(client: &Client) -> bool {
    client.get_json("/api/v1/me").await.status == 200
}

/// SEC-77
#[tokio::test]
async fn sec_77_the_cookie_on_plain_http() {
    let app = TestApp::start().await;
    app.account("ann", "User").await;
    let reply = app.sign_in(&app.anon(), "ann").await;
    let cookie = set_cookie(&reply, "anteroom").unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(pair.len(), "anteroom=".len() + 43, "256 bits as base64: {cookie}");
    assert_eq!(attributes, format!("Path=/; HttpOnly; SameSite=Lax; Max-Age={}", 14 * 24 * 3600));
}

/// SEC-77: on HTTPS every cookie is `__Host-` and `Secure`, and one without the prefix is no session.
#[tokio::test]
async fn sec_77_on_https_the_cookies_are_bound_to_the_host() {
    let app = Wishes::default().set("ANTEROOM_PUBLIC_URL", "https://chat.example.org").start().await;
    app.account("ann", "User").await;
    let client = app.anon();
    let page = client.get("/login").await;
    let reply = app.sign_in(&client, "ann").await;
    let refused = client.get("/admin").await;
    for (reply, name) in [(&page, "anteroom-visitor"), (&reply, "anteroom"), (&refused, "anteroom-flash")] {
        let cookie =
            set_cookie(reply, &format!("__Host-{name}")).unwrap_or_else(|| panic!("{name}: {reply:?}"));
        for attribute in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
        assert_eq!(set_cookie(reply, name), None);
    }
    let token = client.cookie("__Host-anteroom").unwrap();
    let other = app.anon();
    other.set_cookie("anteroom", &token);
    assert!(!is_in(&other).await);
    other.set_cookie("__Host-anteroom", &token);
    assert!(is_in(&other).await);
}

/// SEC-78: a session id that was there before the sign-in is not the one after it.
#[tokio::test]
async fn sec_78_a_planted_session_id_is_never_taken_over() {
    let app = TestApp::start().await;
    app.account("ann", "User").await;
    let planted = "A".repeat(43);
    let client = app.anon();
    client.set_cookie("anteroom", &planted);
    let page = client.get("/login").await;
    assert!(set_cookie(&page, "anteroom").unwrap().contains("Max-Age=0"), "a dead cookie is cleared");
    client.set_cookie("anteroom", &planted);
    let fields = [("username_or_email", "ann"), ("password", PASSWORD)];
    assert_eq!(client.submit("/login", "/login", &fields).await.status, 303);
    let first = client.cookie("anteroom").unwrap();
    assert_ne!(first, planted);
    // Nor one's own earlier one, and the cookie behind the forms of strangers is gone.
    assert_eq!(client.cookie("anteroom-visitor"), None);
    let again = app.anon();
    again.set_cookie("anteroom", &first);
    let token = app.csrf(&again).await;
    let body = json!({ "username_or_email": "ann", "password": PASSWORD });
    assert_eq!(again.post_json("/login", Some(&token), &body).await.status, 200);
    assert_ne!(again.cookie("anteroom"), Some(first));
    assert!(!is_in(&client).await);
    assert!(is_in(&again).await);
}

/// SEC-77: the token is not in the database.
#[tokio::test]
async fn sec_77_a_session_is_stored_as_a_hash() {
    let app = TestApp::start().await;
    let client = app.user("ann").await;
    let token = client.cookie("anteroom").unwrap();
    let hash = base::random::token_hash(&token);
    let other = app.anon();
    other.set_cookie("anteroom", &hash[..43]);
    assert!(!is_in(&other).await);
    let rows: Vec<String> = app.app.db.all(base::sql!("SELECT token_hash FROM sessions"), &[]).await.unwrap();
    assert_eq!(rows, [hash]);
}

/// SEC-79: twelve hours idle.
#[tokio::test]
async fn sec_79_a_session_ends_after_12_idle_hours() {
    let app = TestApp::start().await;
    let client = app.user("ann").await;
    app.clock.advance(12 * HOUR - 1);
    assert_eq!(client.get("/settings").await.status, 200);
    app.app.accounts.flush_last_seen().await.unwrap();
    app.clock.advance(12 * HOUR - 1);
    assert_eq!(client.get("/settings").await.status, 200);
    app.app.accounts.flush_last_seen().await.unwrap();
    app.clock.advance(12 * HOUR);
    assert!(!is_in(&client).await);
    let page = client.get("/settings").await;
    assert_eq!(page.location(), Some("/login?next=%2Fsettings"));
    assert_eq!(client.cookie("anteroom"), None);
}

/// SEC-79: what an open page asks by itself is no sign of a person.
#[tokio::test]
async fn sec_79_an_open_page_alone_does_not_keep_a_session() {
    let app = TestApp::start().await;
    let client = app.user("ann").await;
    let chat = app.prompt(&client, "demo", "hello").await;
    app.settle().await;
    for hour in 0..12 {
        assert!(is_in(&client).await, "hour {hour}");
        assert_eq!(client.get(&format!("{chat}/events")).await.status, 200);
        app.app.accounts.flush_last_seen().await.unwrap();
        app.clock.advance(HOUR);
    }
    assert!(!is_in(&client).await);
}

/// SEC-79: fourteen days in all, however busy.
#[tokio::test]
async fn sec_79_a_session_ends_after_14_days() {
    let app = TestApp::start().await;
    let client = app.user("ann").await;
    for hour in 1..=(14 * 24) {
        assert_eq!(client.get("/settings").await.status, 200, "hour {hour}");
        app.app.accounts.flush_last_seen().await.unwrap();
        app.clock.advance(HOUR);
    }
    assert!(!is_in(&client).await);
}

/// SEC-79: the strict profile.
#[tokio::test]
async fn sec_79_strict_sessions_are_short() {
    let app = Wishes::default().set("ANTEROOM_SESSIONS__STRICT", "true").start().await;
    app.account("ann", "User").await;
    let client = app.anon();
    let reply = app.sign_in(&client, "ann").await;
    assert!(set_cookie(&reply, "anteroom").unwrap().contains(&format!("Max-Age={}", DAY / base::SECOND)));
    app.clock.advance(HOUR);
    assert!(!is_in(&client).await);
}

/// SEC-80: what an Admin does bites on the next request.
#[tokio::test]
async fn sec_80_deactivation_and_demotion_bite_on_the_next_request() {
    let app = TestApp::start().await;
    let root = app.admin().await;
    let (ann, bob) = (app.user("ann").await, app.person("bob", "Admin").await);
    assert_eq!(bob.get("/admin/users").await.status, 200);
    let users = root.get("/admin/users").await.body;
    let id_of = |name: &str| {
        let part = users.split(&format!("Actions for {name}")).nth(1).unwrap();
        part.split("/admin/users/").nth(1).unwrap().split('/').next().unwrap().to_owned()
    };
    let act = async |name: &str, what: &str| {
        let reply = app.post(&root, &format!("/admin/users/{}/{what}", id_of(name)), &[]).await;
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/admin/users")), "{reply:?}");
    };
    act("bob", "demote").await;
    assert_eq!(bob.get_json("/admin/users").await.status, 403);
    assert_eq!(bob.get("/chat").await.status, 200);
    act("bob", "promote").await;
    assert_eq!(bob.get("/admin/users").await.status, 200);

    act("ann", "deactivate").await;
    assert!(!is_in(&ann).await);
    assert_eq!(ann.get("/chat").await.location(), Some("/login?next=%2Fchat"));
    assert_eq!(app.sign_in(&ann, "ann").await.status, 401);
    act("ann", "reactivate").await;
    // The sessions of before stay ended.
    assert!(!is_in(&ann).await);
    assert_eq!(app.sign_in(&ann, "ann").await.status, 200);
}

/// SEC-82
#[tokio::test]
async fn sec_82_signing_out_ends_the_session_on_the_server() {
    let app = TestApp::start().await;
    let client = app.user("ann").await;
    let token = client.cookie("anteroom").unwrap();
    let other_browser = app.anon();
    app.sign_in(&other_browser, "ann").await;
    assert_eq!(client.get("/logout").await.status, 405);
    assert_eq!(client.post("/logout", &[]).await.status, 403);
    assert!(is_in(&client).await);

    let out = app.post(&client, "/logout", &[]).await;
    assert_eq!((out.status.as_u16(), out.location()), (303, Some("/login?signed_out")));
    assert!(out.header("clear-site-data").unwrap().contains("\"storage\""));
    assert_eq!(client.cookie("anteroom"), None);
    assert!(client.get("/login?signed_out").await.body.contains("You are signed out"));
    client.set_cookie("anteroom", &token);
    assert!(!is_in(&client).await);
    assert!(is_in(&other_browser).await);
    let csrf = app.csrf(&other_browser).await;
    assert_eq!(other_browser.post_json("/logout", Some(&csrf), &json!({})).await.status, 204);
    assert!(!is_in(&other_browser).await);
}

/// SEC-81: fifty sessions a person; the one unseen for longest goes, never the new one.
#[tokio::test]
async fn sec_81_the_oldest_of_more_than_fifty_sessions_goes() {
    let app = Wishes::unlimited().start().await;
    let id = app.account("ann", "User").await;
    let mut clients = Vec::new();
    for _ in 0..52 {
        let client = app.anon();
        assert_eq!(app.sign_in(&client, "ann").await.status, 200);
        assert!(is_in(&client).await);
        clients.push(client);
        app.clock.advance(base::SECOND);
    }
    for (n, client) in clients.iter().enumerate() {
        assert_eq!(is_in(client).await, n >= 2, "session {n}");
    }
    // Also where many are made at one moment.
    let tries: Vec<_> = (0..55)
        .map(|_| {
            let client = app.anon();
            let body = json!({ "username_or_email": "ann", "password": PASSWORD });
            tokio::spawn(async move { client.post_json("/login", None, &body).await.status.as_u16() })
        })
        .collect();
    for one in tries {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(app.app.accounts.list_sessions(&id).await.unwrap().len(), 50);
}

/// SEC-83: the forms' token is the session's own, and ends with it.
#[tokio::test]
async fn sec_83_a_token_of_another_session_is_refused() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let (anns, bobs) = (app.csrf(&ann).await, app.csrf(&bob).await);
    assert_ne!(anns, app.csrf(&ann).await, "a token differs on each page");
    let prompt = async |client: &Client, token: &str| {
        client
            .post("/chat", &[("csrf_token", token), ("prompt", "hello"), ("model", "demo")])
            .await
            .status
            .as_u16()
    };
    assert_eq!(prompt(&ann, &bobs).await, 403);
    assert_eq!(prompt(&ann, &anns).await, 303);
    // Signed in anew, the token of the earlier session is out of date.
    app.post(&ann, "/logout", &[]).await;
    app.sign_in(&ann, "ann").await;
    assert_eq!(prompt(&ann, &anns).await, 403);
    // The token of a stranger's form holds for their browser alone.
    let (one, two) = (app.anon(), app.anon());
    let (ones, _) = (app.csrf(&one).await, app.csrf(&two).await);
    let fields = [("csrf_token", ones.as_str()), ("username_or_email", "ann"), ("password", PASSWORD)];
    assert_eq!(two.post("/login", &fields).await.status, 403);
    assert_eq!(one.post("/login", &fields).await.status, 303);
}
