//! A forgotten password: asking, the mail, the link; and changing it while signed in.

use base::{HOUR, MINUTE};
use parts::http::{Client, Reply};
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp, Wishes};

/// Another password that passes the rules.
const NEW: &str = "granite-lantern-oboe-9";

async fn ask(app: &TestApp, client: &Client, email: &str) -> Reply {
    let asked = client.post_json("/forgot", None, &json!({ "email": email })).await;
    resolved(app).await;
    asked
}

/// Waits until the worker has taken up every request.
async fn resolved(app: &TestApp) {
    let waiting = async || -> i64 {
        let count = app.app.db.one(base::sql!("SELECT COUNT(*) FROM reset_requests"), &[]).await.unwrap();
        count.unwrap()
    };
    let waited = tokio::time::timeout(parts::PATIENCE, async {
        while waiting().await > 0 {
            app.app.accounts.mail_waits();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "a request still waits");
}

/// The path of the link in the newest reset mail to this address.
async fn link(app: &TestApp, email: &str) -> String {
    resolved(app).await;
    let mails = app.mails_to("reset_link", email).await;
    // Mails of one moment of the tests' clock have no order; the newest token is the one not seen yet.
    mails.last().unwrap().link("/reset/").unwrap().strip_prefix(&app.base).unwrap().to_owned()
}

fn names(reply: &Reply) -> Vec<String> {
    let mut names: Vec<String> = reply.headers.keys().map(ToString::to_string).collect();
    names.sort();
    names
}

/// SEC-62: the same answer, the same statements, and no mail within the request.
#[tokio::test]
async fn sec_62_the_answer_is_the_same_for_every_address() {
    let app = Wishes::unlimited().start().await;
    app.account("ann", "User").await;
    let (known, unknown) =
        (ask(&app, &app.anon(), "ann@example.org").await, ask(&app, &app.anon(), "nobody@example.org").await);
    assert_eq!((known.status.as_u16(), &known.body), (202, &unknown.body));
    assert_eq!((known.status, names(&known)), (unknown.status, names(&unknown)));
    assert_eq!(known.json().as_object().unwrap().keys().collect::<Vec<_>>(), ["message"]);
    let form = async |email: &str| app.anon().submit("/forgot", "/forgot", &[("email", email)]).await;
    let (known, unknown) = (form("ann@example.org").await, form("nobody@example.org").await);
    assert_eq!((known.status.as_u16(), &known.body), (202, &unknown.body));
    resolved(&app).await;
    assert_eq!(app.mails_to("reset_link", "ann@example.org").await.len(), 2);
    assert!(app.mails_to("reset_link", "nobody@").await.is_empty());

    let mut counts = Vec::new();
    for email in ["ann@example.org", "nobody@example.org"] {
        let client = accounts::Client::new("203.0.113.7".parse().unwrap(), "");
        let (asked, count) = base::db::count_statements(app.app.accounts.request_reset(email, &client)).await;
        asked.unwrap();
        counts.push(count);
    }
    assert_eq!(counts[0], counts[1]);
}

/// SEC-63, SEC-64, SEC-99: looking uses nothing up; of 20 at the same time one sets the password.
#[tokio::test]
async fn sec_99_a_reset_link_works_once_and_looking_does_not_use_it() {
    let app = Wishes::unlimited().start().await;
    app.account("ann", "User").await;
    ask(&app, &app.anon(), "ann@example.org").await;
    let first = link(&app, "ann@example.org").await;
    app.clock.advance(MINUTE);
    ask(&app, &app.anon(), "ann@example.org").await;
    let path = link(&app, "ann@example.org").await;
    assert_ne!(first, path);
    for _ in 0..3 {
        let page = app.anon().get(&path).await;
        assert_eq!((page.status.as_u16(), page.header("referrer-policy")), (200, Some("no-referrer")));
        assert!(page.body.contains(r#"<meta name="referrer" content="strict-origin">"#));
        assert!(page.body.contains("<b>ann</b>"));
    }
    assert_eq!(app.anon().post(&path, &[("password", NEW)]).await.status, 403, "no form token");
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 200);

    let mut tries = Vec::new();
    for n in 0..20 {
        let (client, path, password) = (app.anon(), path.clone(), format!("{NEW}-{n}"));
        let token = app.csrf(&client).await;
        tries.push(tokio::spawn(async move {
            let reply = match n % 2 {
                0 => client.post_json(&path, None, &json!({ "password": password })).await,
                _ => client.post(&path, &[("csrf_token", &token), ("password", &password)]).await,
            };
            (reply.status.as_u16(), password)
        }));
    }
    let mut replies = Vec::new();
    for one in tries {
        replies.push(one.await.unwrap());
    }
    let good: Vec<_> = replies.iter().filter(|(status, _)| matches!(status, 200 | 303)).collect();
    assert_eq!(good.len(), 1, "{replies:?}");
    assert_eq!(replies.iter().filter(|(status, _)| *status == 404).count(), 19, "{replies:?}");
    assert_eq!(app.sign_in_with(&app.anon(), "ann", &good[0].1).await.status, 200);
    // Its sibling is void with it.
    assert_eq!(app.anon().get(&first).await.status, 404);
    assert_eq!(app.mails_to("password_reset", "ann@example.org").await.len(), 1);
}

/// SEC-63: after half an hour the link is over, whoever asks.
#[tokio::test]
async fn sec_63_a_reset_link_ends_after_half_an_hour() {
    let app = Wishes::unlimited().start().await;
    let ann = app.user("ann").await;
    ask(&app, &app.anon(), "ann@example.org").await;
    let path = link(&app, "ann@example.org").await;
    app.clock.advance(30 * MINUTE);
    let gone = app.anon().get(&path).await;
    assert_eq!(gone.status, 404);
    assert!(gone.body.contains("does not work any more") && gone.body.contains("/forgot"));
    let late = app.anon().post_json(&path, None, &json!({ "password": NEW })).await;
    assert_eq!(late.status, 404);
    assert_eq!(ann.get("/settings").await.status, 200, "nothing ended");
}

/// SEC-64: links name the configured address, whatever a request says of itself.
#[tokio::test]
async fn sec_64_reset_links_come_from_the_configured_url() {
    let app = Wishes::unlimited().set("ANTEROOM_PUBLIC_URL", "https://chat.example.org").start().await;
    app.account("ann", "User").await;
    let client = app
        .anon()
        .with_header("host", "evil.example")
        .with_header("x-forwarded-host", "evil.example")
        .with_header("forwarded", "host=evil.example;proto=http");
    assert_eq!(ask(&app, &client, "ann@example.org").await.status, 202);
    let mails = app.mails_to("reset_link", "ann@example.org").await;
    assert!(mails[0].link("/reset/").unwrap().starts_with("https://chat.example.org/reset/"));
    assert!(!mails[0].data.contains("evil.example"));
}

/// SEC-65: every session ends, none begins; the weak password leaves the link good.
#[tokio::test]
async fn sec_65_a_reset_signs_everybody_out_and_nobody_in() {
    let app = Wishes::unlimited().start().await;
    let (one, two) = (app.user("ann").await, app.anon());
    assert_eq!(app.sign_in(&two, "ann").await.status, 200);
    ask(&app, &app.anon(), "ann@example.org").await;
    let path = link(&app, "ann@example.org").await;
    let client = app.anon();
    let weak = client.submit(&path, &path, &[("password", "short")]).await;
    assert_eq!((weak.status.as_u16(), weak.header("referrer-policy")), (422, Some("no-referrer")));
    assert!(weak.body.contains(r#"id="password-error""#) && !weak.body.contains("short\""));
    let odd = client.post_json(&path, None, &json!({ "password": [NEW] })).await;
    assert_eq!(odd.status, 422);
    assert_eq!(one.get("/settings").await.status, 200);

    let done = client.submit(&path, &path, &[("password", NEW)]).await;
    assert_eq!((done.status.as_u16(), done.location()), (303, Some("/login")));
    assert_eq!(client.cookie("anteroom"), None);
    assert!(client.get("/login").await.body.contains("Your new password is set"));
    for client in [&one, &two] {
        assert_eq!(client.get_json("/api/v1/me").await.status, 401);
    }
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 401);
    assert_eq!(app.sign_in_with(&app.anon(), "ann", NEW).await.status, 200);
    let mails = app.mails_to("password_reset", "ann@example.org").await;
    assert!(mails[0].text().contains("not you") && mails[0].html().unwrap().contains("/forgot"));
}

/// SEC-66: three mails an hour to an address, twenty requests a minute from one; CVE-2023-7028.
#[tokio::test]
async fn sec_66_limits_and_an_address_that_is_one_text() {
    let app = Wishes::unlimited().start().await;
    app.account("ann", "User").await;
    app.account("ben", "User").await;
    let client = app.anon();
    let bodies: [Value; 7] = [
        json!({ "email": ["ann@example.org", "thief@example.net"] }),
        json!({ "email": { "0": "ann@example.org", "1": "thief@example.net" } }),
        json!({ "email": "ann@example.org,thief@example.net" }),
        json!({ "email": "ann@example.org thief@example.net" }),
        json!({ "email": "ann@example.org\r\nCc: thief@example.net" }),
        json!({ "email": "" }),
        json!({ "email": "ann@example.org", "user_id": "1" }),
    ];
    for body in bodies {
        let reply = client.post_json("/forgot", None, &body).await;
        assert_eq!(reply.status, 422, "{body}");
    }
    for body in ["email=ann@example.org&email=thief@example.net", "email[]=ann@example.org"] {
        let token = app.csrf(&client).await;
        let request = client
            .request(reqwest::Method::POST, "/forgot")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("csrf_token={token}&{body}"));
        let status = client.send(request).await.status.as_u16();
        assert!(matches!(status, 400 | 422), "{body}: {status}");
    }
    resolved(&app).await;
    assert!(app.mails_to("reset_link", "").await.is_empty());

    let mut bodies = Vec::new();
    for _ in 0..5 {
        bodies.push(ask(&app, &client, "Ann@Example.org").await.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(app.mails_to("reset_link", "ann@example.org").await.len(), 3);
    app.clock.advance(HOUR);
    ask(&app, &client, "ann@example.org").await;
    assert_eq!(app.mails_to("reset_link", "ann@example.org").await.len(), 4);

    app.clock.advance(MINUTE);
    for n in 0..20 {
        assert_eq!(ask(&app, &client, &format!("p{n}@example.org")).await.status, 202);
    }
    let over = ask(&app, &client, "ben@example.org").await;
    assert_eq!((over.status.as_u16(), over.header("retry-after")), (429, Some("60")));
    let page = client.submit("/forgot", "/forgot", &[("email", "ben@example.org")]).await;
    assert_eq!(page.status, 429);
    assert!(page.body.contains(r#"value="ben@example.org""#), "what was typed stays");
    assert!(app.mails_to("reset_link", "ben@example.org").await.is_empty());
}

/// SEC-67: no page, answer or header holds the link, also where mails are files.
#[tokio::test]
async fn sec_67_no_page_and_no_answer_shows_a_link() {
    let app = Wishes::unlimited().start().await;
    let root = app.admin().await;
    app.account("ann", "User").await;
    let json = ask(&app, &app.anon(), "ann@example.org").await;
    let page = app.anon().submit("/forgot", "/forgot", &[("email", "ann@example.org")]).await;
    let token = link(&app, "ann@example.org").await.rsplit_once('/').unwrap().1.to_owned();
    assert_eq!(token.len(), 43);
    for reply in [&json, &page] {
        let all = format!("{:?} {}", reply.headers, reply.body);
        assert!(!all.contains("/reset/") && !all.contains(&token), "{all}");
    }
    for path in ["/admin", "/admin/users", "/admin/errors", "/settings"] {
        assert!(!root.get(path).await.body.contains(&token), "{path}");
    }
    assert!(app.anon().get("/forgot").await.body.contains("ask an Admin"), "no mail server is configured");
    assert!(app.anon().get("/login").await.body.contains(r#"href="/forgot""#));
}

/// A sign-up that waits is sent its own link; who is deactivated gets none, and nobody can tell.
#[tokio::test]
async fn sec_62_an_unconfirmed_sign_up_is_sent_its_own_link() {
    let app = Wishes::unlimited().set("ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED", "true").start().await;
    let new = json!({ "first_name": "Ada", "last_name": "Byron", "username": "ada", "email": "ada@example.org",
                      "password": PASSWORD });
    assert_eq!(app.anon().post_json("/signup", None, &new).await.status, 201);
    app.clock.advance(HOUR);
    ask(&app, &app.anon(), "ada@example.org").await;
    // Queued after the request is taken up.
    let again = tokio::time::timeout(parts::PATIENCE, async {
        while app.mails_to("verify_email", "ada@example.org").await.len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    assert!(again.await.is_ok(), "no second link");
    assert!(app.mails_to("reset_link", "ada@example.org").await.is_empty());

    let root = app.admin().await;
    let ben = app.account("ben", "User").await;
    app.post(&root, &format!("/admin/users/{ben}/deactivate"), &[]).await;
    ask(&app, &app.anon(), "ben@example.org").await;
    assert!(app.mails_to("reset_link", "ben@example.org").await.is_empty());
}

/// SEC-22, SEC-61, SEC-78: the current password is needed; other sessions end, this one has a new token.
#[tokio::test]
async fn sec_22_changing_the_password_needs_the_current_one() {
    let app = Wishes::unlimited().start().await;
    let (ann, other) = (app.user("ann").await, app.anon());
    assert_eq!(app.sign_in(&other, "ann").await.status, 200);
    let page = ann.get("/settings/password").await;
    assert!(page.body.contains(r#"autocomplete="current-password""#), "{}", page.body);
    assert!(page.body.contains(r#"autocomplete="new-password""#), "{}", page.body);
    let change = async |current: &str, new: &str| {
        app.post(&ann, "/settings/password", &[("current_password", current), ("password", new)]).await
    };
    for (current, new, at) in [
        ("wrong-wrong", NEW, "current_password"),
        ("", NEW, "current_password"),
        (PASSWORD, "short", "password"),
    ] {
        let reply = change(current, new).await;
        assert_eq!(reply.status, 422);
        assert!(reply.body.contains(&format!(r#"id="{at}-error""#)), "{current} {new}: {}", reply.body);
    }
    assert_eq!(other.get_json("/api/v1/me").await.status, 200);

    let before = ann.cookie("anteroom").unwrap();
    let done = change(PASSWORD, NEW).await;
    assert_eq!((done.status.as_u16(), done.location()), (303, Some("/settings/password")));
    let after = ann.cookie("anteroom").unwrap();
    assert_ne!(before, after);
    assert!(ann.get("/settings/password").await.body.contains("Your password is changed"));
    assert_eq!(other.get_json("/api/v1/me").await.status, 401);
    let old = app.anon();
    old.set_cookie("anteroom", &before);
    assert_eq!(old.get_json("/api/v1/me").await.status, 401);
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 401);
    assert_eq!(app.sign_in_with(&app.anon(), "ann", NEW).await.status, 200);
    assert_eq!(app.mails_to("password_changed", "ann@example.org").await.len(), 1);

    let token = app.csrf(&ann).await;
    let body = json!({ "current_password": NEW, "password": PASSWORD });
    let json = ann.post_json("/settings/password", Some(&token), &body).await;
    assert_eq!(json.status, 200, "{json:?}");
    assert_eq!(ann.get_json("/api/v1/me").await.status, 200);
}

/// SEC-22: throttled as a sign-in, with the same counters.
#[tokio::test]
async fn sec_22_wrong_current_passwords_are_throttled_as_sign_ins() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let token = app.csrf(&ann).await;
    let change = async |current: &str| {
        let body = json!({ "current_password": current, "password": NEW });
        ann.post_json("/settings/password", Some(&token), &body).await
    };
    for _ in 0..5 {
        let wrong = change("wrong-wrong").await;
        assert_eq!(wrong.status, 422);
        assert!(wrong.json()["errors"]["current_password"].is_string());
    }
    let over = change(PASSWORD).await;
    assert_eq!(over.status, 429);
    assert!(over.header("retry-after").is_some());
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 429);
}

/// SEC-65: the second factor is asked for as before, and sign-ins and changes of address begun before are over.
#[tokio::test]
async fn sec_65_a_reset_leaves_the_second_factor_and_ends_what_was_begun() {
    let app = Wishes::unlimited().start().await;
    let (secret, _) = app.with_app("ann").await;
    let ann = app.challenged("ann").await;
    assert_eq!(app.answer(&ann, &app.code(&secret, 0)).await.status, 200);
    app.clock.advance(MINUTE);
    app.post(&ann, "/settings/email", &[("action", "change"), ("email", "thief@example.net")]).await;
    let mails = app.mails_to("confirm_new_email", "thief@example.net").await;
    let confirm = mails[0].link("/confirm-email/").unwrap().strip_prefix(&app.base).unwrap().to_owned();
    let begun = app.challenged("ann").await;

    ask(&app, &app.anon(), "ann@example.org").await;
    let path = link(&app, "ann@example.org").await;
    assert_eq!(app.anon().post_json(&path, None, &json!({ "password": NEW })).await.status, 200);
    let reply = app.answer(&begun, &app.code(&secret, 0)).await;
    assert_eq!(reply.json()["type"], "/problems/unauthenticated", "{reply:?}");
    assert_eq!(app.anon().get(&confirm).await.status, 404);
    let ann = app.anon();
    let reply = app.sign_in_with(&ann, "ann", NEW).await;
    assert_eq!(reply.json()["type"], "/problems/second-factor-required", "{reply:?}");
    assert_eq!(app.answer(&ann, &app.code(&secret, 0)).await.status, 200);
}

/// SEC-61: a change of password voids reset links and changes of address that are on their way.
#[tokio::test]
async fn sec_61_a_change_of_password_voids_the_links_on_their_way() {
    let app = Wishes::unlimited().start().await;
    let ann = app.user("ann").await;
    ask(&app, &app.anon(), "ann@example.org").await;
    let reset = link(&app, "ann@example.org").await;
    app.post(&ann, "/settings/email", &[("action", "change"), ("email", "thief@example.net")]).await;
    let mails = app.mails_to("confirm_new_email", "thief@example.net").await;
    let confirm = mails[0].link("/confirm-email/").unwrap().strip_prefix(&app.base).unwrap().to_owned();
    for path in [&reset, &confirm] {
        assert_eq!(app.anon().get(path).await.status, 200);
    }
    let fields = [("current_password", PASSWORD), ("password", NEW)];
    assert_eq!(app.post(&ann, "/settings/password", &fields).await.status, 303);
    for path in [&reset, &confirm] {
        assert_eq!(app.anon().get(path).await.status, 404);
    }
}
