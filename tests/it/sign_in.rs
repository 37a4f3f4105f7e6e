//! Signing in by form and by JSON: the contract, one answer for every failure, where it leads.

use accounts::{Actor, HashParams};
use anteroom::config::Config;
use anteroom::options;
use parts::http::Reply;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp, Wishes};

const WRONG: &str = "tern-oxbow-quarry-18";

async fn form(app: &TestApp, who: &str, password: &str) -> Reply {
    app.anon().submit("/login", "/login", &[("username_or_email", who), ("password", password)]).await
}

/// A problem without what differs each time.
fn told(reply: &Reply) -> (u16, Value) {
    let mut problem = reply.json();
    problem.as_object_mut().unwrap().remove("request_id");
    (reply.status.as_u16(), problem)
}

/// A page without tokens, ids and what was typed.
fn shown(reply: &Reply, typed: &str) -> (u16, String) {
    let token = reply.csrf().unwrap();
    (reply.status.as_u16(), reply.body.replace(&token, "").replace(&format!("value=\"{typed}\""), ""))
}

#[tokio::test]
async fn by_username_or_address_in_any_case() {
    let app = TestApp::start().await;
    app.account("Ann.Lee", "User").await;
    for who in ["Ann.Lee", "ann.lee", "ANN.LEE", " ann.lee ", "ann.lee@example.org", "ANN.Lee@Example.ORG"] {
        let client = app.anon();
        assert_eq!(app.sign_in(&client, who).await.status, 200, "{who}");
        let reply = form(&app, who, PASSWORD).await;
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/chat")), "{who}");
    }
}

#[tokio::test]
async fn json_answers_the_user_and_a_token_that_works() {
    let app = TestApp::start().await;
    let id = app.account("ann", "User").await;
    let client = app.anon();
    let reply = app.sign_in(&client, "ann").await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, Some("application/json")));
    let body = reply.json();
    assert_eq!(
        (body["user"]["id"].as_str(), body["user"]["username"].as_str()),
        (Some(id.as_str()), Some("ann"))
    );
    assert!(body["message"].is_string() && !reply.body.contains("argon2"));
    assert!(client.cookie("anteroom").is_some());
    let token = body["csrf_token"].as_str().unwrap();
    assert_eq!(client.post_json("/logout", Some(token), &json!({})).await.status, 204);

    let wrong = app.sign_in_with(&client, "ann", WRONG).await;
    let problem = wrong.json();
    assert_eq!(wrong.header("content-type"), Some("application/problem+json"));
    assert_eq!(
        (wrong.status.as_u16(), problem["type"].as_str(), problem["status"].as_i64()),
        (401, Some("/problems/invalid-credentials"), Some(401))
    );
    assert_eq!(problem["request_id"].as_str(), wrong.header("x-request-id"));
}

/// With a session already: a page goes on, JSON with its token signs in anew and replaces the session.
#[tokio::test]
async fn with_a_session_already() {
    let app = TestApp::start().await;
    let client = app.user("ann").await;
    app.account("bob", "User").await;
    let page = client.get("/login").await;
    assert_eq!((page.status.as_u16(), page.location()), (303, Some("/chat")));
    let before = client.cookie("anteroom").unwrap();
    let body = json!({ "username_or_email": "bob", "password": PASSWORD });
    let refused = client.post_json("/login", None, &body).await;
    assert_eq!((refused.status.as_u16(), refused.json()["type"].as_str()), (403, Some("/problems/csrf")));
    assert_eq!(client.get_json("/api/v1/me").await.json()["username"], "ann");

    let token = app.csrf(&client).await;
    assert_eq!(client.post_json("/login", Some(&token), &body).await.status, 200);
    assert_eq!(client.get_json("/api/v1/me").await.json()["username"], "bob");
    let old = app.anon();
    old.set_cookie("anteroom", &before);
    assert_eq!(old.get_json("/api/v1/me").await.status, 401);
}

/// SEC-24: unknown, wrong, deactivated and unconfirmed hear and see the same.
#[tokio::test]
async fn sec_24_every_failure_has_one_answer() {
    let app = Wishes::default().set("ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED", "true").start().await;
    app.account("known", "User").await;
    app.account("gone", "User").await;
    app.app.accounts.deactivate(Actor::Operator, "gone").await.unwrap();
    let new = json!({ "first_name": "A", "last_name": "B", "username": "fresh", "email": "fresh@example.org", "password": PASSWORD });
    assert_eq!(app.anon().post_json("/signup", None, &new).await.status, 201);

    let tries = [
        ("known", WRONG),
        ("nobody", PASSWORD),
        ("gone", PASSWORD),
        ("gone", WRONG),
        ("fresh", PASSWORD),
        ("fresh", WRONG),
        ("not a name", PASSWORD),
        ("@", ""),
        ("", ""),
    ];
    let mut answers = Vec::new();
    let mut pages = Vec::new();
    for (who, password) in tries {
        answers.push(told(&app.sign_in_with(&app.anon(), who, password).await));
        let page = form(&app, who, password).await;
        assert!(!page.body.contains(PASSWORD) && !page.body.contains(WRONG));
        // The focus stands in the password once a name was typed.
        if !who.is_empty() {
            pages.push(shown(&page, who));
        }
    }
    assert_eq!(answers[0].0, 401);
    assert!(answers[0].1["detail"].as_str().unwrap().contains("confirmed"));
    for (answer, (who, _)) in answers.iter().zip(tries) {
        assert_eq!(answer, &answers[0], "{who}");
    }
    for page in &pages {
        assert_eq!(page, &pages[0]);
    }
    assert_eq!(pages[0].0, 401);
}

/// SEC-25: each try costs one argon2id of the real parameters, whoever it is for. SEC-18: these are they.
#[tokio::test]
async fn sec_25_an_unknown_person_costs_as_much_as_a_known_one() {
    let app = Wishes::unlimited()
        .set("ANTEROOM_PASSWORDS__MEMORY_KIB", "19456")
        .set("ANTEROOM_PASSWORDS__ITERATIONS", "2")
        .set("ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED", "true")
        .start()
        .await;
    app.account("known", "User").await;
    app.account("gone", "User").await;
    app.app.accounts.deactivate(Actor::Operator, "gone").await.unwrap();
    let new = json!({ "first_name": "A", "last_name": "B", "username": "fresh", "email": "fresh@example.org", "password": PASSWORD });
    assert_eq!(app.anon().post_json("/signup", None, &new).await.status, 201);
    let real = HashParams { memory_kib: 19_456, iterations: 2, parallelism: 1 };
    assert_eq!(options::accounts(&Config::default()).unwrap().hash_params, real, "what an operator gets");
    let calls = || {
        let calls = app.app.accounts.hasher.hash_calls();
        assert_eq!(calls.keys().collect::<Vec<_>>(), [&real]);
        calls[&real]
    };
    for (who, password) in [
        ("known", PASSWORD),
        ("known", WRONG),
        ("KNOWN@example.org", WRONG),
        ("nobody", WRONG),
        ("nobody@example.org", WRONG),
        ("no name at all", WRONG),
        ("gone", PASSWORD),
        ("fresh", PASSWORD),
        ("", ""),
    ] {
        let before = calls();
        app.sign_in_with(&app.anon(), who, password).await;
        assert_eq!(calls() - before, 1, "{who} {password}");
    }
    // Also once it is locked.
    for who in ["known", "nobody"] {
        for _ in 0..10 {
            app.sign_in_with(&app.anon(), who, WRONG).await;
        }
        let before = calls();
        assert_eq!(app.sign_in(&app.anon(), who).await.status, 429, "{who}");
        assert_eq!(calls() - before, 1, "{who}");
    }
}

/// SEC-19: past the queue 503 with Retry-After, and other pages do not wait for the hashes.
#[tokio::test]
async fn sec_19_a_full_queue_is_busy_and_other_pages_stay_fast() {
    // Slow on purpose; nobody has an account, so only the dummy is computed.
    let app = Wishes::unlimited()
        .set("ANTEROOM_PASSWORDS__MEMORY_KIB", "65536")
        .set("ANTEROOM_PASSWORDS__ITERATIONS", "40")
        .set("ANTEROOM_PASSWORDS__HASH_THREADS", "1")
        .set("ANTEROOM_PASSWORDS__HASH_QUEUE", "1")
        .start()
        .await;
    let tries: Vec<_> = (0..6)
        .map(|n| {
            let client = app.anon();
            let body = json!({ "username_or_email": format!("nobody{n}"), "password": "x" });
            tokio::spawn(async move { client.post_json("/login", None, &body).await })
        })
        .collect();
    let waited = tokio::time::timeout(parts::PATIENCE, async {
        while tries.iter().filter(|one| one.is_finished()).count() < 4 {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap();
    let watcher = app.anon();
    for _ in 0..20 {
        assert_eq!(watcher.get("/healthz").await.status, 200);
        assert_eq!(watcher.get("/login").await.status, 200);
    }
    let page = form(&app, "one more", "x").await;
    assert_eq!((page.status.as_u16(), page.header("retry-after")), (503, Some("2")));
    assert_eq!(tries.iter().filter(|one| !one.is_finished()).count(), 2, "the pages waited for the hashes");
    let mut busy = 0;
    for one in tries {
        if !one.is_finished() {
            one.abort();
            continue;
        }
        let reply = one.await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("2")));
        assert_eq!(reply.json()["type"], "/problems/busy");
        busy += 1;
    }
    assert_eq!(busy, 4);
}

/// SEC-38, SEC-39: nothing that a client sends changes what is asked of it.
#[tokio::test]
async fn sec_39_no_field_changes_what_is_needed() {
    let app = Wishes::unlimited().start().await;
    app.account("ann", "User").await;
    let ask = async |extra: Value| {
        let mut body = json!({ "username_or_email": "ann", "password": WRONG });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let client = app.anon();
        let reply = client.post_json("/login", None, &body).await;
        assert_eq!(client.cookie("anteroom"), None, "{body}");
        reply
    };
    for token in [json!("000000"), json!(""), json!(null)] {
        assert_eq!(ask(json!({ "token": token })).await.status, 401, "{token}");
    }
    for token in [json!(0), json!(true), json!(["000000"]), json!({"$ne": ""})] {
        assert_eq!(ask(json!({ "token": token })).await.status, 422, "{token}");
    }
    for field in ["methods", "second_factor", "mfa", "skip_2fa", "trusted", "user_id", "step_up", "role"] {
        let reply = ask(json!({ field: false })).await;
        assert_eq!(reply.status, 422, "{field}");
        assert!(reply.json()["errors"][field].is_string());
    }
    // A right password is enough where no factor is enrolled, whatever the token says.
    let body = json!({ "username_or_email": "ann", "password": PASSWORD, "token": "000000" });
    assert_eq!(app.anon().post_json("/login", None, &body).await.status, 200);
    // Types are strict: no object, list or number is taken for a text.
    for bad in [json!(7), json!(["ann"]), json!({"$gt": ""}), json!(true)] {
        let mut body = json!({ "username_or_email": "ann", "password": PASSWORD });
        for field in ["username_or_email", "password"] {
            let kept = std::mem::replace(&mut body[field], bad.clone());
            let reply = app.anon().post_json("/login", None, &body).await;
            assert_eq!(reply.status, 422, "{field} {bad}");
            assert!(reply.json()["errors"][field].is_string());
            body[field] = kept;
        }
    }
}

/// SEC-76: the sign-in leads to a page of ours, and nowhere else.
#[tokio::test]
async fn sec_76_next_leads_to_our_own_pages_only() {
    let app = Wishes::unlimited().start().await;
    app.account("ann", "User").await;
    let go = async |next: &str| {
        let fields = [("username_or_email", "ann"), ("password", PASSWORD), ("next", next)];
        let reply = app.anon().submit("/login", "/login", &fields).await;
        assert_eq!(reply.status, 303);
        reply.location().unwrap().to_owned()
    };
    for good in ["/settings", "/chat/1?x=2", "/admin/users?q=a%2Fb", "/%2f%2fevil.example"] {
        assert_eq!(go(good).await, good);
        let page = app.anon().get(&format!("/login?next={}", parts::http::escape(good))).await;
        assert_eq!(parts::http::field(&page.body, "next").as_deref(), Some(good));
    }
    for bad in [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/a\r\nLocation: https://evil.example",
        "chat",
        " /chat",
        "@evil.example",
        "",
    ] {
        let fallback = go(bad).await;
        assert_eq!(fallback, "/chat", "{bad:?}");
        let page = app.anon().get(&format!("/login?next={}", parts::http::escape(bad))).await;
        assert_eq!(parts::http::field(&page.body, "next"), None, "{bad:?}");
    }
}

/// Whoever has to sign in on the way comes back to where they wanted to go.
#[tokio::test]
async fn the_way_leads_back_to_the_page_that_was_asked_for() {
    let app = TestApp::start().await;
    app.account("root", "Admin").await;
    let client = app.anon();
    let asked = client.get("/admin/users?q=an%26n").await;
    let address = asked.location().unwrap().to_owned();
    let page = client.get(&address).await;
    assert!(page.body.contains("Please sign in"));
    let next = parts::http::field(&page.body, "next").unwrap();
    let wrong = client
        .submit(&address, "/login", &[("username_or_email", "root"), ("password", WRONG), ("next", &next)])
        .await;
    assert_eq!(parts::http::field(&wrong.body, "next").as_deref(), Some("/admin/users?q=an%26n"));
    assert_eq!(parts::http::field(&wrong.body, "username_or_email").as_deref(), Some("root"));
    let right = client
        .submit(&address, "/login", &[("username_or_email", "root"), ("password", PASSWORD), ("next", &next)])
        .await;
    assert_eq!(right.location(), Some("/admin/users?q=an%26n"));
    // After a form whose address takes no GET there is nothing to come back to.
    let lost = app.anon().post("/admin/users/x/promote", &[]).await;
    assert_eq!(lost.location(), Some("/login"));
}
