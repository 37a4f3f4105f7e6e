//! The first Admin, by the set-up link.

use accounts::Cursor;
use base::HOUR;
use parts::http::{Client, Reply};

use crate::harness::{PASSWORD, TestApp, Wishes};

async fn link(app: &TestApp) -> String {
    let token = app.app.accounts.create_setup_token().await.unwrap().unwrap();
    format!("/setup?token={token}")
}

async fn set_up(client: &Client, page: &str, username: &str) -> Reply {
    let token = page.split_once('=').unwrap().1;
    let email = format!("{username}@example.org");
    let fields = [
        ("token", token),
        ("first_name", "Ada"),
        ("last_name", "Byron"),
        ("username", username),
        ("email", &email),
        ("password", PASSWORD),
    ];
    client.submit(page, "/setup", &fields).await
}

async fn admins(app: &TestApp) -> usize {
    let people = app.app.accounts.people("", &Cursor::Start).await.unwrap();
    people.rows.iter().filter(|person| person.is_admin).count()
}

/// SEC-4: the link makes the first Admin and signs in; then it is of no use.
#[tokio::test]
async fn sec_4_the_link_makes_the_first_admin_once() {
    let app = TestApp::start().await;
    assert!(app.anon().get("/login").await.body.contains("Nobody is Admin yet"));
    let page = link(&app).await;
    let client = app.anon();
    let shown = client.get(&page).await;
    assert_eq!((shown.status.as_u16(), shown.header("referrer-policy")), (200, Some("no-referrer")));
    // Looking uses nothing up (SEC-64).
    assert_eq!(client.get(&page).await.status, 200);
    let done = set_up(&client, &page, "root").await;
    assert_eq!((done.status.as_u16(), done.location()), (303, Some("/admin")), "{done:?}");
    assert_eq!(client.get("/admin").await.status, 200);
    let me = client.get_json("/api/v1/me").await.json();
    assert_eq!(me["email_verified"], true);
    assert!(client.get("/chat").await.body.contains("Welcome Chat"));
    assert_eq!(app.mails_to("welcome", "root@example.org").await.len(), 1);

    let used = app.anon().get(&page).await;
    assert_eq!(used.status, 404);
    assert!(used.body.contains("This link does not work"));
    assert!(app.app.accounts.create_setup_token().await.unwrap().is_none());
    assert!(!app.anon().get("/login").await.body.contains("Nobody is Admin yet"));
}

/// SEC-4: whoever signs up first is a User.
#[tokio::test]
async fn sec_4_signing_up_first_makes_no_admin() {
    let app = TestApp::start().await;
    let client = app.anon();
    let fields = [
        ("first_name", "Ada"),
        ("last_name", "Byron"),
        ("username", "ada"),
        ("email", "ada@example.org"),
        ("password", PASSWORD),
    ];
    assert_eq!(client.submit("/signup", "/signup", &fields).await.status, 303);
    assert_eq!((client.get_json("/admin").await.status.as_u16(), admins(&app).await), (403, 0));
    assert!(app.app.accounts.setup_needed().await.unwrap());
    // The link still waits for the operator, and without it there is nothing to set up.
    assert_eq!(app.anon().get("/setup").await.status, 404);
    assert_eq!(app.anon().get("/setup?token=made-up").await.status, 404);
    let page = link(&app).await;
    assert_eq!(set_up(&app.anon(), &page, "root").await.status, 303);
}

/// SEC-4, SEC-99: twenty at once make one Admin.
#[tokio::test]
async fn sec_99_twenty_at_once_make_one_admin() {
    let app = TestApp::start().await;
    let page = link(&app).await;
    let mut tries = Vec::new();
    for n in 0..20 {
        let (client, token) = (app.anon(), page.split_once('=').unwrap().1.to_owned());
        let csrf = app.csrf(&client).await;
        tries.push(tokio::spawn(async move {
            let (name, email) = (format!("root{n}"), format!("root{n}@example.org"));
            let fields = [
                ("csrf_token", csrf.as_str()),
                ("token", &token),
                ("first_name", "Ada"),
                ("last_name", "Byron"),
                ("username", &name),
                ("email", &email),
                ("password", PASSWORD),
            ];
            client.post("/setup", &fields).await.status.as_u16()
        }));
    }
    let mut statuses = Vec::new();
    for one in tries {
        statuses.push(one.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses[0], 303);
    assert!(statuses[1..].iter().all(|status| *status == 404), "{statuses:?}");
    assert_eq!(admins(&app).await, 1);
    assert_eq!(app.app.accounts.people_counts().await.unwrap().total, 1);
}

/// SEC-4: a link is good for 24 hours, and only the newest one.
#[tokio::test]
async fn sec_4_a_link_ends_after_24_hours_or_with_the_next_one() {
    let app = TestApp::start().await;
    let first = link(&app).await;
    let second = link(&app).await;
    assert_eq!(app.anon().get(&first).await.status, 404);
    app.clock.advance(24 * HOUR - 1);
    let client = app.anon();
    assert_eq!(client.get(&second).await.status, 200);
    let csrf = app.csrf(&client).await;
    app.clock.advance(1);
    assert_eq!(client.get(&second).await.status, 404);
    let token = second.split_once('=').unwrap().1;
    let email = "root@example.org";
    let fields = [
        ("csrf_token", csrf.as_str()),
        ("token", token),
        ("first_name", "Ada"),
        ("last_name", "Byron"),
        ("username", "root"),
        ("email", email),
        ("password", PASSWORD),
    ];
    assert_eq!(client.post("/setup", &fields).await.status, 404);
    assert_eq!(admins(&app).await, 0);
}

/// SEC-4: once there is an Admin, however made, the link does nothing.
#[tokio::test]
async fn sec_4_a_link_is_useless_once_there_is_an_admin() {
    let app = TestApp::start().await;
    let page = link(&app).await;
    let client = app.anon();
    let csrf = app.csrf(&client).await;
    app.account("operator", "Admin").await;
    assert_eq!(client.get(&page).await.status, 404);
    let token = page.split_once('=').unwrap().1;
    let fields = [
        ("csrf_token", csrf.as_str()),
        ("token", token),
        ("first_name", "Ada"),
        ("last_name", "Byron"),
        ("username", "second"),
        ("email", "second@example.org"),
        ("password", PASSWORD),
    ];
    assert_eq!(client.post("/setup", &fields).await.status, 404);
    assert_eq!(admins(&app).await, 1);
}

/// What is wrong is told at the fields, and the link is still good afterwards.
#[tokio::test]
async fn a_wrong_field_does_not_use_the_link_up() {
    let app = Wishes::default().set("ANTEROOM_SIGN_UP__MODE", "closed").start().await;
    let page = link(&app).await;
    let client = app.anon();
    let token = page.split_once('=').unwrap().1;
    let fields = [("token", token), ("first_name", "Ada"), ("username", "a b"), ("password", "short")];
    let wrong = client.submit(&page, "/setup", &fields).await;
    assert_eq!(wrong.status, 422);
    assert_eq!(parts::http::field(&wrong.body, "first_name").as_deref(), Some("Ada"));
    assert_eq!(parts::http::field(&wrong.body, "token").as_deref(), Some(token));
    assert!(!wrong.body.contains("short"));
    // SEC-10: the role is not the form's to name.
    let more = [("token", token), ("role", "User")];
    assert_eq!(client.submit(&page, "/setup", &more).await.status, 422);
    assert_eq!(set_up(&client, &page, "root").await.status, 303);
}
