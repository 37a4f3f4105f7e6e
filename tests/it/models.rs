//! Model servers: from the configuration and from the Admin's page, tried out, switched, removed; keys that stay secret.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::any;
use base::{args, sql};
use parts::http::{Client, Reply};
use parts::model::{LISTED, ModelStub};
use serde_json::json;

use crate::harness::{TestApp, Wishes};
use crate::page::{last, models, text};

const PAGE: &str = "/admin/models";
/// A key as an Admin types it.
const KEY: &str = "sk-typed-by-the-admin-0123456789";

/// What the page says after a redirect.
async fn flash(client: &Client, reply: &Reply) -> String {
    assert_eq!(reply.status, 303, "{reply:?}");
    let page = client.get(reply.location().unwrap()).await.body;
    let (_, rest) = page.split_once("id=\"flashes\"").unwrap();
    text(
        rest.split("<section")
            .next()
            .unwrap()
            .split("<main")
            .next()
            .unwrap()
            .split("<header")
            .next()
            .unwrap(),
    )
}

/// The id of an upstream.
async fn id_of(app: &TestApp, name: &str) -> String {
    let all = usage::catalog::upstreams(&app.app.db).await.unwrap();
    all.into_iter().find(|upstream| upstream.name == name).unwrap_or_else(|| panic!("no upstream {name}")).id
}

async fn add(app: &TestApp, admin: &Client, name: &str, base_url: &str) -> Reply {
    app.post(admin, PAGE, &[("name", name), ("base_url", base_url), ("api_key", KEY)]).await
}

/// Sends one action to an upstream and gives the flash.
async fn act(app: &TestApp, admin: &Client, name: &str, action: &str) -> String {
    let path = format!("{PAGE}/upstreams/{}/{action}", id_of(app, name).await);
    let reply = app.post(admin, &path, &[]).await;
    flash(admin, &reply).await
}

/// The models that a person can choose.
async fn choices(client: &Client) -> Vec<String> {
    models(&client.get("/chat").await.body).0
}

#[tokio::test]
async fn an_upstream_of_the_environment_is_there_and_its_first_model_is_the_default() {
    let app = Wishes::default().models().start().await;
    let admin = app.admin().await;
    let page = admin.get(PAGE).await.body;
    let words = text(&page);
    assert!(words.contains("openai Configuration") && words.contains(&app.stub().base_url()), "{words}");
    assert!(words.contains("With a key") && words.contains("Enabled"), "{words}");
    let (names, chosen) = models(&admin.get("/chat").await.body);
    assert_eq!((names[0].as_str(), chosen.as_str()), ("echo", "echo"));
    assert!(!names.contains(&"demo".to_owned()));
    // It follows the configuration: it cannot be switched or removed here.
    for action in ["disable", "enable", "remove"] {
        assert!(act(&app, &admin, "openai", action).await.contains("configuration"), "{action}");
    }
    assert_eq!(choices(&admin).await, names);
    let chat = app.prompt(&admin, "echo", "hi").await;
    app.settle().await;
    assert_eq!(last(&admin.get(&chat).await.body).answer(), "hi");
    // SEC-98: the key goes along, as it should.
    assert_eq!(app.stub().requests()[0].authorization.as_deref(), Some("Bearer sk-test-key-of-the-stub"));
}

#[tokio::test]
async fn an_upstream_that_was_down_at_the_start_replaces_the_demo_once_it_is_up() {
    let address = parts::free_address().unwrap();
    let url = format!("http://{address}/v1");
    let app = Wishes::default().set("OPENAI_BASE_URL", &url).start().await;
    let admin = app.admin().await;
    assert_eq!(choices(&admin).await, ["demo"]);
    assert!(text(&admin.get("/admin").await.body).contains("Only the built-in demo answers"));
    let _stub = ModelStub::start_on(address).await.unwrap();
    app.app.models.refresh(&app.app).await;
    let names = choices(&admin).await;
    assert!(names.contains(&"markdown".to_owned()) && !names.contains(&"demo".to_owned()), "{names:?}");
    assert!(!text(&admin.get("/admin").await.body).contains("built-in demo answers"));
}

#[tokio::test]
async fn what_was_typed_wrongly_is_kept_except_the_key() {
    let app = Wishes::default().models().start().await;
    let admin = app.admin().await;
    let stub = app.stub().base_url();
    for (name, base_url, key, told) in [
        ("gpu-1", "ftp://example.org/v1", KEY, "http"),
        ("gpu-1", "not a url", KEY, "address"),
        ("gpu-1", "http://user:pass@example.org/v1", KEY, ""),
        ("OpenAI", stub.as_str(), KEY, "There is an upstream of this name already."),
        (" ", stub.as_str(), KEY, ""),
        ("gpu-1", stub.as_str(), "sk two words 0123456789", "A key is one word"),
    ] {
        let reply = app.post(&admin, PAGE, &[("name", name), ("base_url", base_url), ("api_key", key)]).await;
        assert_eq!(reply.status, 422, "{name} {base_url}: {reply:?}");
        assert!(reply.body.contains("aria-invalid=\"true\""), "{name} {base_url}");
        assert!(text(&reply.body).contains("Nothing was added yet."));
        assert!(
            text(&reply.body).to_lowercase().contains(&told.to_lowercase()),
            "{told}: {}",
            text(&reply.body)
        );
        assert!(reply.body.contains(&format!("value=\"{name}\"")), "{name} is kept");
        assert!(reply.body.contains(&format!("value=\"{base_url}\"")), "{base_url} is kept");
        assert!(!reply.body.contains("0123456789"), "the key is never sent back");
    }
    let csrf = app.csrf(&admin).await;
    let body = json!({ "name": "gpu-1", "base_url": "ftp://x", "api_key": KEY });
    let reply = admin.post_json(PAGE, Some(&csrf), &body).await;
    assert_eq!(reply.status, 422);
    assert!(reply.json()["errors"]["base_url"].is_string() && !reply.body.contains(KEY));
    assert_eq!(usage::catalog::upstreams(&app.app.db).await.unwrap().len(), 1);
}

/// SEC-98: a key is sealed in the database and stands in no answer.
#[tokio::test]
async fn sec_98_a_key_is_never_shown_again() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let stub = ModelStub::start().await.unwrap();
    let added = add(&app, &admin, "gpu-1", &stub.base_url()).await;
    assert!(
        !added.body.contains(KEY)
            && !added.headers.iter().any(|(_, value)| value.to_str().unwrap().contains(KEY))
    );
    let told = flash(&admin, &added).await;
    assert!(told.contains(&format!("gpu-1 is added with {} models.", LISTED.len())), "{told}");
    let chat = app.prompt(&admin, "echo", "with the key").await;
    app.settle().await;
    assert_eq!(stub.requests()[0].authorization.as_deref(), Some(format!("Bearer {KEY}").as_str()));
    let id = id_of(&app, "gpu-1").await;
    let tested = app.post(&admin, &format!("{PAGE}/upstreams/{id}/test"), &[]).await;
    let csrf = app.csrf(&admin).await;
    let json = admin.post_json(&format!("{PAGE}/upstreams/{id}/test"), Some(&csrf), &json!({})).await;
    for reply in [
        tested,
        json,
        admin.get(PAGE).await,
        admin.get_json(PAGE).await,
        admin.get("/admin").await,
        admin.get("/admin/errors").await,
        admin.get("/admin/settings").await,
        admin.get(&chat).await,
        admin.get_json("/api/v1/me").await,
    ] {
        assert!(!reply.body.contains("typed-by-the-admin"), "{}", reply.body);
    }
    let sealed: Vec<String> =
        app.app.db.all(sql!("SELECT key_sealed FROM upstreams WHERE name = 'gpu-1'"), args![]).await.unwrap();
    assert!(!sealed[0].is_empty() && !sealed[0].contains("typed-by"), "{sealed:?}");
    // Two of one key are sealed differently.
    add(&app, &admin, "gpu-2", &stub.base_url()).await;
    let second: Vec<String> =
        app.app.db.all(sql!("SELECT key_sealed FROM upstreams WHERE name = 'gpu-2'"), args![]).await.unwrap();
    assert_ne!(sealed, second);
}

#[tokio::test]
async fn the_test_button_times_a_prompt_or_says_what_is_wrong() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let stub = ModelStub::start().await.unwrap();
    add(&app, &admin, "gpu-1", &stub.base_url()).await;
    let path = format!("{PAGE}/upstreams/{}/test", id_of(&app, "gpu-1").await);
    let page = app.post(&admin, &path, &[]).await;
    assert_eq!(page.status, 200);
    let words = text(&page.body);
    assert!(
        words.contains(&format!(
            "gpu-1 works It lists {} models. echo gave its first token after 0.",
            LISTED.len()
        )),
        "{words}"
    );
    assert!(words.contains("and the whole answer after 0."), "{words}");
    let csrf = app.csrf(&admin).await;
    let reply = admin.post_json(&path, Some(&csrf), &json!({ "model": "slow-300" })).await.json();
    assert_eq!((&reply["ok"], &reply["models"]), (&json!(true), &json!(LISTED.len())));
    assert!(reply["timed"]["ttft_micros"].as_i64().unwrap() >= 300_000, "{reply}");
    let failed = app.post(&admin, &path, &[("model", "fail-401")]).await;
    assert!(
        text(&failed.body).contains("gpu-1 failed the test: it refused the API key"),
        "{}",
        text(&failed.body)
    );
    // What an Admin tries out is nobody's prompt.
    assert!(text(&admin.get("/admin").await.body).contains("Prompts today 0"));
    // A port on which nothing listens.
    let dead = format!("http://{}/v1", parts::free_address().unwrap());
    let added = add(&app, &admin, "dead", &dead).await;
    let told = flash(&admin, &added).await;
    assert!(told.contains("dead is added, but did not list its models: it cannot be reached"), "{told}");
    let path = format!("{PAGE}/upstreams/{}/test", id_of(&app, "dead").await);
    let page = text(&app.post(&admin, &path, &[]).await.body);
    assert!(
        page.contains(
            "dead failed the test: it cannot be reached: wrong address, no network, or it is not running"
        ),
        "{page}"
    );
    let reply = admin.post_json(&path, Some(&csrf), &json!({})).await.json();
    assert_eq!((&reply["ok"], &reply["timed"]), (&json!(false), &json!(null)));
    assert!(reply["failure"]["words"].as_str().unwrap().starts_with("it cannot be reached"));
    assert_eq!(app.post(&admin, &format!("{PAGE}/upstreams/nothing/test"), &[]).await.status, 404);
}

#[tokio::test]
async fn models_and_servers_are_switched_and_removed() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let ann = app.user("ann").await;
    let stub = ModelStub::start().await.unwrap();
    add(&app, &admin, "gpu-1", &stub.base_url()).await;
    assert_eq!(choices(&ann).await.len(), LISTED.len());
    // A model.
    let off = app.post(&admin, "/admin/models/disable", &[("model", "markdown")]).await;
    assert!(flash(&admin, &off).await.contains("markdown is disabled."));
    assert!(!choices(&ann).await.contains(&"markdown".to_owned()));
    let refused = app.post(&ann, "/chat", &[("prompt", "x"), ("model", "markdown")]).await;
    assert_eq!(refused.status, 422);
    // It stays so when the server lists it again.
    app.app.models.refresh(&app.app).await;
    assert!(!choices(&ann).await.contains(&"markdown".to_owned()));
    let on = app.post(&admin, "/admin/models/enable", &[("model", "markdown")]).await;
    assert!(flash(&admin, &on).await.contains("markdown is enabled."));
    assert!(choices(&ann).await.contains(&"markdown".to_owned()));
    let none = app.post(&admin, "/admin/models/disable", &[("model", "no-such")]).await;
    assert!(flash(&admin, &none).await.contains("There is no such model any more."));
    // A server: an answer under way goes on.
    let chat = app.prompt(&ann, "hold", "rest").await;
    app.page_until(&ann, &chat, |page| last(page).answer() == "one two three").await;
    assert!(
        act(&app, &admin, "gpu-1", "disable").await.contains("gpu-1 is disabled; answers under way go on.")
    );
    assert_eq!(choices(&ann).await, ["demo"]);
    stub.release();
    app.settle().await;
    assert_eq!(last(&ann.get(&chat).await.body).answer(), "one two three rest");
    // "Answer again" of a model that is gone is taken by the default one.
    app.post(&ann, &last(&ann.get(&chat).await.body).must("/regenerate"), &[]).await;
    app.settle().await;
    let answers = ann.get(&chat).await.body;
    assert!(answers.contains("aria-label=\"demo\"") || last(&answers).by == "demo", "{answers}");
    assert!(act(&app, &admin, "gpu-1", "enable").await.contains("gpu-1 is enabled."));
    assert_eq!(choices(&ann).await.len(), LISTED.len());
    assert!(act(&app, &admin, "gpu-1", "remove").await.contains("gpu-1 is removed, and its key with it."));
    assert_eq!(choices(&ann).await, ["demo"]);
    assert!(text(&admin.get(PAGE).await.body).contains("There is none yet."));
    assert_eq!(ann.get(&chat).await.status, 200, "what it wrote stays");
}

#[tokio::test]
async fn new_chats_begin_with_the_model_that_an_admin_chose() {
    let app = Wishes::default().models().start().await;
    let admin = app.admin().await;
    let ann = app.user("ann").await;
    let saved = app.post(&admin, "/admin/models/default", &[("model", "reasoning")]).await;
    assert!(flash(&admin, &saved).await.contains("New chats begin with reasoning."));
    assert_eq!(models(&ann.get("/chat").await.body).1, "reasoning");
    let reply = app.post(&ann, "/chat", &[("prompt", "no model named")]).await;
    app.settle().await;
    assert_eq!(last(&ann.get(reply.location().unwrap()).await.body).by, "reasoning");
    // While it is disabled the first one stands in, and the Admin is told.
    app.post(&admin, "/admin/models/disable", &[("model", "reasoning")]).await;
    assert_eq!(models(&ann.get("/chat").await.body).1, "echo");
    assert!(text(&admin.get(PAGE).await.body).contains("The chosen model cannot be used now"));
    let wrong = app.post(&admin, "/admin/models/default", &[("model", "no-such")]).await;
    assert!(flash(&admin, &wrong).await.contains("Nobody can choose this model now."));
    app.post(&admin, "/admin/models/enable", &[("model", "reasoning")]).await;
    assert_eq!(models(&ann.get("/chat").await.body).1, "reasoning");
    let first = app.post(&admin, "/admin/models/default", &[("model", "")]).await;
    assert!(flash(&admin, &first).await.contains("New chats begin with the first model."));
    assert_eq!(models(&ann.get("/chat").await.body).1, "echo");
}

#[tokio::test]
async fn members_have_no_business_here() {
    let app = Wishes::default().models().start().await;
    let ann = app.user("ann").await;
    let id = id_of(&app, "openai").await;
    assert_eq!(ann.get(PAGE).await.location(), Some("/chat"));
    for action in ["test", "disable", "remove"] {
        let reply = app.post(&ann, &format!("{PAGE}/upstreams/{id}/{action}"), &[]).await;
        assert_eq!(reply.location(), Some("/chat"), "{action}");
    }
    assert_eq!(add(&app, &ann, "mine", &app.stub().base_url()).await.location(), Some("/chat"));
    assert_eq!(usage::catalog::upstreams(&app.app.db).await.unwrap().len(), 1);
}

/// SEC-98: link-local and metadata addresses are not called, however they are written; an Admin's own loopback is.
#[tokio::test]
async fn sec_98_addresses_that_no_model_has_are_not_called() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for (n, address) in [
        "http://169.254.169.254/v1",
        "http://[fe80::1]/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://2852039166/v1",
        "http://[fd00:ec2::254]/v1",
    ]
    .into_iter()
    .enumerate()
    {
        let reply = add(&app, &admin, &format!("bad-{n}"), address).await;
        if reply.status == 422 {
            continue;
        }
        let told = flash(&admin, &reply).await;
        assert!(told.contains("its address may not be called"), "{address}: {told}");
    }
    assert_eq!(choices(&admin).await, ["demo"]);
}

/// SEC-98: a redirect is not followed, so that a key goes to its own address only.
#[tokio::test]
async fn sec_98_a_redirect_does_not_get_the_key() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let stub = ModelStub::start().await.unwrap();
    let target = stub.base_url();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(any(move || {
        let target = format!("{target}/chat/completions");
        async move { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response() }
    }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let reply = add(&app, &admin, "mover", &format!("http://{address}/v1")).await;
    let told = flash(&admin, &reply).await;
    assert!(told.contains("redirects are not followed; enter the final address"), "{told}");
    let path = format!("{PAGE}/upstreams/{}/test", id_of(&app, "mover").await);
    let page = app.post(&admin, &path, &[("model", "echo")]).await;
    assert!(text(&page.body).contains("mover failed the test"), "{}", text(&page.body));
    assert_eq!(stub.count(), 0);
}

/// A server that is found on this machine is offered, and not used before an Admin adds it.
#[tokio::test]
async fn a_local_server_is_offered_and_not_used_unasked() {
    // The port of LM Studio; another run of these tests may hold it for a moment.
    let address = "127.0.0.1:1234".parse().unwrap();
    let stub = tokio::time::timeout(parts::PATIENCE, async {
        loop {
            match ModelStub::start_on(address).await {
                Ok(stub) => return stub,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    let stub = stub.await.unwrap_or_else(|_| panic!("port 1234 is taken by another program"));
    let app = Wishes::default().set("ANTEROOM_MODELS__DETECT_LOCAL", "true").start().await;
    let admin = app.admin().await;
    let page = app.page_until(&admin, PAGE, |page| page.contains("LM Studio runs on this machine")).await;
    assert!(text(&page).contains("It is not used until you add it."), "{}", text(&page));
    assert_eq!(choices(&admin).await, ["demo"]);
    assert_eq!(stub.count(), 0, "no prompt went there");
    let name = parts::http::field(&page, "name").unwrap();
    let base_url = parts::http::field(&page, "base_url").unwrap();
    let added = app.post(&admin, PAGE, &[("name", &name), ("base_url", &base_url)]).await;
    assert!(flash(&admin, &added).await.contains("LM Studio is added with "));
    assert!(!admin.get(PAGE).await.body.contains("runs on this machine"), "it is not offered twice");
    assert_eq!(choices(&admin).await.len(), LISTED.len());
}
