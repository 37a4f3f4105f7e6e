//! Sign-up by form and by JSON: the contract, the fields, what is taken, who may.

use parts::http::{Reply, unescape};
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp, Wishes};

const FIELDS: [&str; 5] = ["first_name", "last_name", "username", "email", "password"];

/// A good sign-up of this username.
fn new(username: &str) -> Value {
    json!({
        "first_name": "Ada", "last_name": "Byron", "username": username,
        "email": format!("{username}@example.org"), "password": PASSWORD,
    })
}

fn with(username: &str, field: &str, value: impl Into<Value>) -> Value {
    let mut body = new(username);
    body[field] = value.into();
    body
}

async fn post(app: &TestApp, body: &Value) -> Reply {
    app.anon().post_json("/signup", None, body).await
}

/// The same as a form, from the page.
async fn post_form(app: &TestApp, body: &Value) -> Reply {
    let fields: Vec<(&str, &str)> =
        FIELDS.iter().map(|name| (*name, body[*name].as_str().unwrap())).collect();
    app.anon().submit("/signup", "/signup", &fields).await
}

async fn accounts(app: &TestApp) -> i64 {
    app.app.accounts.people_counts().await.unwrap().total
}

/// SEC-4, SEC-8, SEC-38: JSON makes the account and no session; nobody becomes Admin by being first.
#[tokio::test]
async fn sec_4_json_answers_201_with_the_user_and_makes_no_session() {
    let app = TestApp::start().await;
    let client = app.anon();
    let reply = client.post_json("/signup", None, &new("Ada.L")).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (201, Some("application/json")),
        "{reply:?}"
    );
    let body = reply.json();
    assert!(body["message"].is_string());
    let user = &body["user"];
    for (name, value) in
        [("username", "Ada.L"), ("email", "ada.l@example.org"), ("first_name", "Ada"), ("last_name", "Byron")]
    {
        assert_eq!(user[name], value);
    }
    let id = user["id"].as_str().unwrap();
    assert!(id.len() == 36 && id.as_bytes()[14] == b'7', "{id} is no UUIDv7");
    assert!(!reply.body.contains(PASSWORD) && !reply.body.contains("argon2"));
    assert_eq!(client.cookie("anteroom"), None);
    assert_eq!(client.get_json("/api/v1/me").await.status, 401);

    assert_eq!(app.sign_in(&client, "ada.l").await.status, 200);
    let me = client.get_json("/api/v1/me").await.json();
    assert_eq!((&me["id"], &me["email_verified"]), (&user["id"], &json!(false)));
    assert_eq!(me["roles"].as_array().unwrap().len(), 1);
    assert_eq!(me["roles"][0]["name"], "User");
}

#[tokio::test]
async fn the_form_signs_in_and_there_is_a_welcome_chat_and_mail() {
    let app = TestApp::start().await;
    let client = app.anon();
    let fields = [
        ("first_name", "Ada"),
        ("last_name", "Byron"),
        ("username", "ada"),
        ("email", "ada@example.org"),
        ("password", PASSWORD),
    ];
    let reply = client.submit("/signup", "/signup", &fields).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/chat")), "{reply:?}");
    let page = client.get("/chat").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Welcome Chat"), "{}", page.body);
    let href = page.body.split("href=\"/chat/").nth(1).unwrap().split('"').next().unwrap();
    let chat = client.get(&format!("/chat/{href}")).await;
    assert!(chat.body.contains("Ada"), "the greeting does not know the name: {}", chat.body);

    let mails = app.mails_to("welcome", "ada@example.org").await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].link("/chat"), Some(format!("{}/chat", app.base)));
    assert!(!mails[0].data.contains(PASSWORD));
}

/// SEC-7, SEC-11: what is taken is told by field, whatever its case.
#[tokio::test]
async fn sec_11_taken_names_and_addresses_are_told_by_field() {
    let app = Wishes::unlimited().start().await;
    assert_eq!(post(&app, &new("ann")).await.status, 201);
    for (body, taken) in [
        (with("ANN", "email", "other@example.org"), vec!["username"]),
        (with("aNn", "email", "ANN@EXAMPLE.ORG"), vec!["email", "username"]),
        (with("bob", "email", " Ann@Example.Org "), vec!["email"]),
    ] {
        let reply = post(&app, &body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("content-type")),
            (409, Some("application/problem+json"))
        );
        let problem = reply.json();
        assert_eq!(problem["type"], "/problems/conflict");
        let named: Vec<&String> = problem["errors"].as_object().unwrap().keys().collect();
        assert_eq!(named, taken, "{body}");
        let page = post_form(&app, &body).await;
        assert_eq!(page.status, 409);
        for field in taken {
            assert!(page.body.contains(&format!("id=\"{field}-error\"")), "{field}: {}", page.body);
        }
    }
    assert_eq!(accounts(&app).await, 1);
}

/// SEC-99: of any number of sign-ups for one name one is made.
#[tokio::test]
async fn sec_99_twenty_at_once_for_one_name_make_one_account() {
    let app = Wishes::unlimited().start().await;
    let tries = (0..20).map(|n| {
        let (client, body) = (app.anon(), with("ann", "email", format!("ann{n}@example.org")));
        tokio::spawn(async move { client.post_json("/signup", None, &body).await.status.as_u16() })
    });
    let mut made = 0;
    for one in tries.collect::<Vec<_>>() {
        match one.await.unwrap() {
            201 => made += 1,
            status => assert_eq!(status, 409),
        }
    }
    assert_eq!((made, accounts(&app).await), (1, 1));
}

#[tokio::test]
async fn every_wrong_field_is_told_at_once_in_words() {
    let app = Wishes::unlimited().start().await;
    let body = json!({ "first_name": " ", "last_name": "x".repeat(81), "username": "a b", "email": "ann", "password": "short" });
    let reply = post(&app, &body).await;
    assert_eq!(reply.status, 422);
    let problem = reply.json();
    assert_eq!(problem["type"], "/problems/validation");
    let errors = problem["errors"].as_object().unwrap();
    for field in FIELDS {
        assert!(errors[field].as_str().unwrap().len() > 10, "{field}: {errors:?}");
    }
    let missing = post(&app, &json!({})).await;
    assert_eq!((missing.status.as_u16(), missing.json()["errors"].as_object().unwrap().len()), (422, 5));
    let page = post_form(&app, &body).await;
    assert_eq!(page.status, 422);
    for field in FIELDS {
        assert!(page.body.contains(&format!("id=\"{field}-error\"")), "{field}");
    }
    assert_eq!(accounts(&app).await, 0);
}

#[tokio::test]
async fn what_was_typed_stays_on_the_page_but_for_the_password() {
    let app = Wishes::unlimited().start().await;
    let secret = "no\"secret-of-mine<b>";
    let mut body = json!({ "first_name": "A\"><script>x</script>", "last_name": "O'Neil & Söhne", "username": "a b", "email": "<x>@y", "password": secret });
    let page = post_form(&app, &body).await;
    assert_eq!(page.status, 422);
    for field in ["first_name", "last_name", "username", "email"] {
        assert_eq!(parts::http::field(&page.body, field).as_deref(), body[field].as_str(), "{field}");
    }
    assert!(!page.body.contains("<script>x"));
    assert!(!unescape(&page.body).contains(secret));
    assert_eq!(parts::http::field(&page.body, "password").as_deref(), Some(""));
    // Nor in JSON, nor where only another field is wrong.
    assert!(!post(&app, &body).await.body.contains("secret-of-mine"));
    body["password"] = PASSWORD.into();
    assert!(!post_form(&app, &body).await.body.contains(PASSWORD));
}

/// SEC-10: five fields and no other, by form as by JSON.
#[tokio::test]
async fn sec_10_fields_nobody_asked_for_are_refused() {
    let app = Wishes::unlimited().start().await;
    for field in ["role", "is_admin", "verified", "id", "roles", "email_verified_at", "First_name"] {
        let reply = post(&app, &with("ann", field, "1")).await;
        assert_eq!(reply.status, 422, "{field}");
        assert!(reply.json()["errors"][field].is_string(), "{field}: {reply:?}");
        let fields: Vec<(String, String)> = FIELDS
            .iter()
            .map(|name| ((*name).to_owned(), new("ann")[*name].as_str().unwrap().to_owned()))
            .chain([(field.to_owned(), "1".to_owned())])
            .collect();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let page = app.anon().submit("/signup", "/signup", &fields).await;
        assert_eq!(page.status, 422, "{field}");
        assert!(page.body.contains("This field is not known here."), "{field}");
    }
    // Nor is one field given twice.
    let twice = app.anon().submit("/signup", "/signup", &[("username", "ann"), ("username", "bob")]).await;
    assert_eq!(twice.status, 400);
    assert_eq!(accounts(&app).await, 0);
}

/// SEC-66, SEC-88: every field is a text, and the body JSON or a form.
#[tokio::test]
async fn sec_88_types_are_strict() {
    let app = Wishes::unlimited().start().await;
    for field in FIELDS {
        for value in [json!(7), json!(["a"]), json!({"a": "b"}), json!(true), json!("a\u{0}b")] {
            let reply = post(&app, &with("ann", field, value.clone())).await;
            assert_eq!(reply.status, 422, "{field} {value}");
            assert!(reply.json()["errors"][field].is_string(), "{field} {value}: {reply:?}");
        }
        assert_eq!(post(&app, &with("ann", field, Value::Null)).await.status, 422, "{field} null");
    }
    for (kind, status) in [
        ("text/plain", 415),
        ("application/xml", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonx", 415),
        ("application/json", 201),
    ] {
        let client = app.anon();
        let request = client.request(reqwest::Method::POST, "/signup").header("accept", "application/json");
        let reply = client.send(request.header("content-type", kind).body(new("ann").to_string())).await;
        assert_eq!(reply.status, status, "{kind}: {reply:?}");
    }
    for broken in ["[]", "{", "\"x\"", "{\"username\":\"\\ud800\"}", "nul"] {
        let client = app.anon();
        let request = client.request(reqwest::Method::POST, "/signup").header("accept", "application/json");
        let reply = client.send(request.header("content-type", "application/json").body(broken)).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("content-type")),
            (400, Some("application/problem+json"))
        );
    }
    assert_eq!(accounts(&app).await, 1);
}

/// SEC-5, SEC-7
#[tokio::test]
async fn sec_5_usernames_that_look_like_others_are_refused() {
    let app = Wishes::unlimited().start().await;
    for bad in [
        "аnn",
        "ann\u{200b}",
        "a nn",
        "ı-am",
        "ａｎｎ",
        "an",
        "ann@example.org",
        "ann\u{301}",
        "ann/..",
        "K\u{212a}K",
    ] {
        let reply = post(&app, &with(bad, "email", "ann@example.org")).await;
        assert_eq!(reply.status, 422, "{bad:?}");
        assert!(reply.json()["errors"]["username"].is_string(), "{bad:?}: {reply:?}");
    }
    assert_eq!(post(&app, &with(&"a".repeat(33), "email", "ann@example.org")).await.status, 422);
    assert_eq!(post(&app, &with(&"a".repeat(32), "email", "a@example.org")).await.status, 201);
    assert_eq!(
        post(&app, &with(" a-b_c.9 ", "email", "b@example.org")).await.json()["user"]["username"],
        "a-b_c.9"
    );
}

/// SEC-6: one form of an address, and mail goes to that one.
#[tokio::test]
async fn sec_6_addresses_are_stored_and_compared_in_one_form() {
    let app = Wishes::unlimited().start().await;
    let reply = post(&app, &with("ann", "email", "  Ann@BÜCHER.example ")).await;
    assert_eq!(reply.json()["user"]["email"], "ann@xn--bcher-kva.example", "{reply:?}");
    assert_eq!(app.mails_to("welcome", "ann@xn--bcher-kva.example").await.len(), 1);
    for again in ["ann@bücher.example", "ANN@xn--BCHER-kva.example"] {
        assert_eq!(post(&app, &with("bob", "email", again)).await.status, 409, "{again}");
    }
    // CVE-2019-19844: what folds to the same letters is no such address at all.
    for bad in [
        "m\u{131}ke@example.org",
        "an\u{212a}@example.org",
        "a@b",
        "a b@example.org",
        "a@example.org\r\nBcc: x@y.example",
        "a@127.0.0.1",
    ] {
        let reply = post(&app, &with("bob", "email", bad)).await;
        assert_eq!(reply.status, 422, "{bad:?}");
        assert!(reply.json()["errors"]["email"].is_string());
    }
    let client = app.anon();
    assert_eq!(app.sign_in(&client, "ANN@Bücher.example").await.status, 200);
}

/// SEC-4, SEC-101
#[tokio::test]
async fn sec_101_five_sign_ups_an_hour_from_one_address() {
    let app = TestApp::start().await;
    for n in 0..5 {
        // What is wrong does not count.
        assert_eq!(post(&app, &json!({})).await.status, 422);
        assert_eq!(post(&app, &new(&format!("ann{n}"))).await.status, 201);
    }
    let reply = post(&app, &new("bob")).await;
    assert_eq!((reply.status.as_u16(), reply.json()["type"].as_str()), (429, Some("/problems/rate-limited")));
    assert_eq!(reply.header("retry-after"), Some("3600"));
    // Past it a form is not even looked at.
    assert_eq!(post(&app, &json!({})).await.status, 429);
    let page = post_form(&app, &new("bob")).await;
    assert_eq!((page.status.as_u16(), page.header("retry-after")), (429, Some("3600")));
    assert_eq!(parts::http::field(&page.body, "username").as_deref(), Some("bob"));
    app.clock.advance(base::HOUR);
    assert_eq!(post(&app, &new("bob")).await.status, 201);
}

#[tokio::test]
async fn closed_sign_up_is_closed_to_page_and_json() {
    let app = Wishes::unlimited().set("ANTEROOM_SIGN_UP__MODE", "closed").start().await;
    let page = app.anon().get("/signup").await;
    assert!(page.body.contains("Sign-up is closed") && page.csrf().is_none(), "{}", page.body);
    assert!(!app.anon().get("/login").await.body.contains("href=\"/signup\""));
    let client = app.anon();
    let reply = client.post_json("/signup", None, &new("ann")).await;
    assert_eq!(reply.status, 409);
    assert!(reply.json()["detail"].as_str().unwrap().contains("closed"));
    let token = app.csrf(&client).await;
    let form = client.post("/signup", &[("csrf_token", &token), ("username", "ann")]).await;
    assert_eq!(form.status, 409);
    assert_eq!(accounts(&app).await, 0);
}

#[tokio::test]
async fn only_allowed_domains_may_sign_up() {
    let app = Wishes::unlimited()
        .set("ANTEROOM_SIGN_UP__ALLOWED_DOMAINS", "example.org,bücher.example")
        .start()
        .await;
    for bad in ["a@example.com", "a@sub.example.org", "a@example.org.evil.example", "a@notexample.org"] {
        let reply = post(&app, &with("ann", "email", bad)).await;
        assert_eq!(reply.status, 422, "{bad}");
        assert!(reply.json()["errors"]["email"].as_str().unwrap().contains("example.org"), "{reply:?}");
    }
    assert_eq!(post(&app, &with("ann", "email", "a@EXAMPLE.org")).await.status, 201);
    assert_eq!(post(&app, &with("bob", "email", "b@xn--bcher-kva.example")).await.status, 201);
}
