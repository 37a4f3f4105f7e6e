//! What surrounds every answer: security headers, CORS, limits on bodies, errors without causes, assets.

use std::collections::BTreeSet;

use parts::http::{Client, Reply, escape};
use reqwest::Method;
use serde_json::json;

use crate::harness::{PASSWORD, TestApp, Wishes};

/// SEC-86, to the letter.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; font-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self'";

async fn with(client: &Client, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = client.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.send(request).await
}

/// The addresses of the assets that a page names.
fn assets(page: &str) -> BTreeSet<String> {
    let parts = page.split("\"/assets/").skip(1).map(|part| part.split(['"', '#']).next().unwrap());
    parts.map(|name| format!("/assets/{name}")).collect()
}

/// One answer of each kind.
async fn answers(app: &TestApp) -> Vec<(&'static str, Reply)> {
    let (root, anon) = (app.admin().await, app.anon());
    let login = anon.get("/login").await;
    let asset = assets(&login.body).into_iter().next().unwrap();
    let mut all = vec![
        ("asset", anon.get(&asset).await),
        ("page", login),
        ("page signed in", root.get("/chat").await),
        ("admin page", root.get("/admin").await),
        ("redirect", anon.get("/chat").await),
        ("root", anon.get("/").await),
        ("not found", anon.get("/nothing").await),
        ("not found as JSON", anon.get_json("/nothing").await),
        ("missing asset", anon.get("/assets/nothing.js").await),
        ("wrong method", anon.get("/logout").await),
        ("JSON", root.get_json("/api/v1/me").await),
        ("problem", anon.get_json("/api/v1/me").await),
        ("forged", anon.post("/login", &[]).await),
        ("health", anon.get("/healthz").await),
        ("ready", anon.get("/readyz").await),
        ("icon", anon.get("/favicon.ico").await),
        ("HEAD", with(&anon, Method::HEAD, "/login", &[]).await),
    ];
    all.push(("sign-in", app.sign_in(&app.anon(), "root").await));
    all.push(("sign-out", app.post(&root, "/logout", &[]).await));
    all
}

/// SEC-86, SEC-87
#[tokio::test]
async fn sec_87_every_answer_carries_the_headers() {
    let app = TestApp::start().await;
    for (kind, reply) in answers(&app).await {
        assert_eq!(reply.header("content-security-policy"), Some(CSP), "{kind}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{kind}");
        assert_eq!(reply.header("referrer-policy"), Some("same-origin"), "{kind}");
        assert_eq!(reply.header("cross-origin-opener-policy"), Some("same-origin"), "{kind}");
        assert_eq!(reply.header("cross-origin-resource-policy"), Some("same-origin"), "{kind}");
        assert!(reply.header("permissions-policy").unwrap().contains("microphone=()"), "{kind}");
        assert_eq!(reply.header("strict-transport-security"), None, "{kind}");
        let cache = if kind == "asset" { "public, max-age=31536000, immutable" } else { "no-store" };
        assert_eq!(reply.header("cache-control"), Some(cache), "{kind}");
        let id = reply.header("x-request-id").unwrap();
        assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{kind}: {id}");
        assert_eq!(reply.header("access-control-allow-origin"), None, "{kind}");
        for name in ["server", "x-powered-by"] {
            assert_eq!(reply.header(name), None, "{kind}");
        }
    }
}

/// SEC-87: HSTS where people come by HTTPS.
#[tokio::test]
async fn sec_87_hsts_on_https_only() {
    let app = Wishes::default().set("ANTEROOM_PUBLIC_URL", "https://chat.example.org").start().await;
    for (kind, reply) in answers(&app).await {
        let hsts = reply.header("strict-transport-security").unwrap_or_else(|| panic!("{kind}"));
        let age: u64 = hsts.split("max-age=").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
        assert!(age >= 31_536_000, "{hsts}");
    }
}

/// SEC-86: no page has anything inline.
#[tokio::test]
async fn sec_86_nothing_is_inline() {
    let app = TestApp::start().await;
    let (root, anon) = (app.admin().await, app.anon());
    let mut pages = Vec::new();
    for path in ["/login", "/signup", "/setup", "/nothing", "/verify-email/x"] {
        pages.push((path, anon.get(path).await.body));
    }
    for path in [
        "/chat",
        "/settings",
        "/admin",
        "/admin/stats",
        "/admin/users",
        "/admin/models",
        "/admin/errors",
        "/admin/settings",
    ] {
        pages.push((path, root.get(path).await.body));
    }
    for (path, page) in pages {
        assert!(page.starts_with("<!doctype html>"), "{path}");
        assert!(!page.contains(" style=") && !page.contains("<style"), "{path}");
        for handler in [" onclick=", " onload=", " onerror=", " onsubmit=", " onchange=", "javascript:"] {
            assert!(!page.contains(handler), "{path} {handler}");
        }
        for script in page.split("<script").skip(1) {
            let (tag, rest) = script.split_once('>').unwrap();
            assert!(tag.contains(" src=\"/assets/") && rest.starts_with("</script>"), "{path}: {tag}");
        }
        for form in page.split("<form").skip(1).filter(|form| form.contains("method=\"post\"")) {
            let form = form.split("</form>").next().unwrap();
            assert!(form.contains("name=\"csrf_token\""), "{path}: {form}");
        }
    }
}

/// A request id is ours: what a client calls its request is not taken over.
#[tokio::test]
async fn request_ids_are_made_here() {
    let app = TestApp::start().await;
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let reply = with(&app.anon(), Method::GET, "/healthz", &[("x-request-id", "mine")]).await;
        assert!(seen.insert(reply.header("x-request-id").unwrap().to_owned()));
    }
    assert!(!seen.contains("mine"));
    // The error page tells it.
    let page = app.anon().get("/nothing").await;
    assert!(page.body.contains(page.header("x-request-id").unwrap()));
}

/// SEC-85: off unless configured.
#[tokio::test]
async fn sec_85_without_an_allow_list_there_is_no_cors() {
    let app = TestApp::start().await;
    let client = app.user("ann").await;
    let ask = [("origin", "https://app.example.org"), ("access-control-request-method", "POST")];
    let preflight = with(&client, Method::OPTIONS, "/login", &ask).await;
    assert_eq!(preflight.status, 405);
    let reply = with(&client, Method::GET, "/api/v1/me", &ask[..1]).await;
    for reply in [preflight, reply] {
        assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
    }
}

/// SEC-85: the exact origins of the list, never `null`, never `*`; SEC-83: and a token all the same.
#[tokio::test]
async fn sec_85_the_allow_list_is_exact() {
    const APP: &str = "https://app.example.org";
    let app = Wishes::default().set("ANTEROOM_SERVER__CORS_ORIGINS", APP).start().await;
    let client = app.user("ann").await;
    let preflight = |origin: &'static str| {
        let client = client.clone();
        async move {
            let ask = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "x-csrftoken"),
            ];
            with(&client, Method::OPTIONS, "/assign_role_to_user", &ask).await
        }
    };
    let allowed = preflight(APP).await;
    assert_eq!((allowed.status.as_u16(), allowed.header("access-control-allow-origin")), (204, Some(APP)));
    assert_eq!(allowed.header("access-control-allow-credentials"), Some("true"));
    assert!(allowed.header("access-control-allow-headers").unwrap().contains("X-CSRFToken"));
    assert!(allowed.header("access-control-allow-methods").unwrap().contains("POST"));
    for other in [
        "null",
        "https://app.example.org.evil.example",
        "http://app.example.org",
        "https://app.example.org:444",
        "https://APP.example.org",
        "*",
        "",
    ] {
        let reply = preflight(other).await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{other}");
        assert_eq!(reply.header("access-control-allow-credentials"), None, "{other}");
        let reply = with(&client, Method::GET, "/api/v1/me", &[("origin", other)]).await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{other}");
        assert!(reply.headers.get_all("vary").iter().any(|vary| vary == "Origin"), "{other}");
    }
    let me =
        with(&client, Method::GET, "/api/v1/me", &[("origin", APP), ("accept", "application/json")]).await;
    assert_eq!((me.status.as_u16(), me.header("access-control-allow-origin")), (200, Some(APP)));
    assert!(me.headers.get_all("vary").iter().any(|vary| vary == "Origin"));
    // An answer without the header is one that a browser must not keep for another origin.
    let plain = client.get("/api/v1/me").await;
    assert!(plain.headers.get_all("vary").iter().any(|vary| vary == "Origin"));

    let token = app.csrf(&client).await;
    let out = async |token: Option<&str>| {
        let request = client
            .request(Method::POST, "/logout")
            .header("origin", APP)
            .header("sec-fetch-site", "same-site");
        let request = request.header("accept", "application/json").json(&json!({}));
        let request = match token {
            Some(token) => request.header("x-csrftoken", token),
            None => request,
        };
        client.send(request).await
    };
    let refused = out(None).await;
    assert_eq!((refused.status.as_u16(), refused.header("access-control-allow-origin")), (403, Some(APP)));
    assert_eq!(out(Some("AAAA")).await.status, 403);
    assert_eq!(out(Some(&token)).await.status, 204);
}

/// SEC-88: 16 KiB for everything but prompts.
#[tokio::test]
async fn sec_88_bodies_are_short() {
    let app = Wishes::unlimited().set("ANTEROOM_MODELS__MAX_PROMPT_CHARS", "1000").start().await;
    app.account("ann", "User").await;
    let long = "x".repeat(17 * 1024);
    for path in ["/login", "/signup", "/setup", "/logout", "/assign_role_to_user", "/verify-email/x"] {
        let reply = app.anon().post_json(path, None, &json!({ "username": long })).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["type"].as_str()),
            (413, Some("/problems/too-large")),
            "{path}"
        );
        let client = app.anon();
        let token = app.csrf(&client).await;
        let page = client.post(path, &[("csrf_token", &token), ("username", &long)]).await;
        assert_eq!(page.status, 413, "{path}");
        assert!(page.body.contains("That is too long"));
    }
    // The sign-in form may carry a sealed prompt, in that one field, and JSON has none.
    let client = app.anon();
    let token = app.csrf(&client).await;
    let fields = [
        ("csrf_token", token.as_str()),
        ("username_or_email", "ann"),
        ("password", PASSWORD),
        ("carry", &long),
    ];
    assert_eq!(client.post("/login", &fields).await.status, 303);
    let body = json!({ "username_or_email": "ann", "password": PASSWORD, "carry": long });
    assert_eq!(app.anon().post_json("/login", None, &body).await.status, 413);
    let longer = "x".repeat(40 * 1024);
    let client = app.anon();
    let token = app.csrf(&client).await;
    let fields = [("csrf_token", token.as_str()), ("carry", &longer)];
    assert_eq!(client.post("/login", &fields).await.status, 413);
}

/// SEC-88: what went wrong inside is told by a request id alone.
#[tokio::test]
async fn sec_88_errors_never_tell_their_cause() {
    let app = TestApp::start().await;
    let client = app.user("ann").await;
    app.app.db.run(base::sql!("ALTER TABLE chats RENAME TO elsewhere"), &[]).await.unwrap();
    let inside = async |name: &str| {
        let (page, problem) = (client.get("/chat").await, client.get_json("/chat").await);
        for reply in [&page, &problem] {
            assert_eq!(reply.status, 500, "{name}");
            assert!(reply.body.contains(reply.header("x-request-id").unwrap()), "{name}: {}", reply.body);
            let body = reply.body.to_lowercase();
            for cause in
                ["select", "sqlite", "postgres", "relation", "no such", "table ", "column", "panicked", ".rs"]
            {
                assert!(!body.contains(cause), "{name} tells {cause}: {body}");
            }
        }
        assert!(page.body.contains("Something went wrong here"), "{name}");
        assert_eq!(problem.json()["type"], "/problems/internal", "{name}");
    };
    inside("a handler's").await;
    app.app.db.run(base::sql!("ALTER TABLE sessions RENAME TO elsewhere_too"), &[]).await.unwrap();
    inside("the guard's").await;
    // Nobody is signed out by that.
    assert!(client.cookie("anteroom").is_some());
    app.app.db.run(base::sql!("ALTER TABLE elsewhere RENAME TO chats"), &[]).await.unwrap();
    app.app.db.run(base::sql!("ALTER TABLE elsewhere_too RENAME TO sessions"), &[]).await.unwrap();
    assert_eq!(client.get("/chat").await.status, 200);
}

/// In development the loopback names lead to the one that cookies and links use.
#[tokio::test]
async fn in_development_another_loopback_name_leads_to_localhost() {
    let app = Wishes::default()
        .set("ANTEROOM_PROFILE", "development")
        .set("ANTEROOM_PASSWORDS__MEMORY_KIB", "19456")
        .set("ANTEROOM_PASSWORDS__ITERATIONS", "2")
        .start()
        .await;
    app.account("ann", "User").await;
    let by_number = app.base.replace("localhost", "127.0.0.1");
    let client = Client::new(&by_number);
    let reply = client.get("/login?next=%2Fsettings").await;
    assert_eq!(reply.status, 307);
    assert_eq!(reply.location(), Some(format!("{}/login?next=%2Fsettings", app.base).as_str()));
    assert_eq!(reply.header("content-security-policy"), Some(CSP));
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_eq!(client.get("/readyz").await.status, 200);
    // A name that is not this machine's leads nowhere else.
    let foreign = with(&app.anon(), Method::GET, "/login", &[("host", "evil.example")]).await;
    assert_eq!(foreign.status, 200);
    assert!(!foreign.body.contains("evil.example"));
    // A program that posts to the number is not sent elsewhere, and its page is an own one.
    let own = client.with_header("origin", &by_number);
    assert_eq!(app.sign_in(&own, "ann").await.status, 200);
    let other = Client::new(&by_number).with_header("origin", "http://127.0.0.1:1");
    assert_eq!(app.sign_in(&other, "ann").await.status, 403);
}

#[tokio::test]
async fn health_and_readiness() {
    let app = TestApp::start().await;
    for (path, body) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let reply = app.anon().get(path).await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, body));
        assert_eq!(reply.header("set-cookie"), None);
    }
}

/// Sends as a browser does and gives the bytes on the wire.
async fn transferred(client: &Client, path: &str) -> (reqwest::header::HeaderMap, Vec<u8>) {
    let request = client.request(Method::GET, path).header("accept", "text/html,*/*;q=0.8");
    let response = request.header("accept-encoding", "gzip, deflate, br").send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    (response.headers().clone(), response.bytes().await.unwrap().to_vec())
}

fn unzipped(bytes: &[u8]) -> String {
    use std::io::Read as _;
    let mut out = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut out).unwrap();
    out
}

#[tokio::test]
async fn pages_and_assets_are_compressed_and_assets_are_kept_for_good() {
    let app = TestApp::start().await;
    let client = app.anon();
    let (headers, zipped) = transferred(&client, "/login").await;
    assert_eq!(headers["content-encoding"], "gzip");
    assert!(headers.get_all("vary").iter().any(|vary| vary == "accept-encoding"));
    let page = unzipped(&zipped);
    let plain = client.get("/login").await;
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(page.len(), plain.body.len());
    let named = assets(&page);
    assert!(named.len() >= 3, "{named:?}");
    for address in named {
        let (headers, zipped) = transferred(&client, &address).await;
        assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable", "{address}");
        assert!(headers.get("set-cookie").is_none(), "{address}");
        let plain = client.get(&address).await;
        if headers.contains_key("content-encoding") {
            assert_eq!(unzipped(&zipped), plain.body, "{address}");
        }
        let kind = plain.header("content-type").unwrap();
        let wanted = match address.rsplit_once('.').unwrap().1 {
            "css" => "text/css",
            "js" => "text/javascript",
            _ => "image/svg+xml",
        };
        assert!(kind.starts_with(wanted), "{address}: {kind}");
        // Another fingerprint is another file.
        let stale = client.get(&address.replace('-', "-0")).await;
        assert_eq!((stale.status.as_u16(), stale.header("cache-control")), (404, Some("no-store")));
    }
    for odd in ["/assets/..%2fCargo.toml", "/assets/%2e%2e%2fCargo.toml", "/assets/app.js"] {
        assert_eq!(client.get(odd).await.status, 404, "{odd}");
    }
}

/// All that a first visit transfers, HTML, style, scripts and symbols together, is under 60 KB.
#[tokio::test]
async fn a_first_visit_is_under_60_kilobytes() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let welcome = ann.get("/chat").await.body;
    let chat = welcome.split("href=\"/chat/").nth(1).unwrap().split('"').next().unwrap();
    for (client, path) in
        [(app.anon(), "/login".to_owned()), (ann.clone(), "/chat".to_owned()), (ann, format!("/chat/{chat}"))]
    {
        let (headers, zipped) = transferred(&client, &path).await;
        assert_eq!(headers["content-encoding"], "gzip");
        let mut total = zipped.len();
        let mut todo: Vec<String> = assets(&unzipped(&zipped)).into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(address) = todo.pop() {
            if seen.insert(address.clone()) {
                total += transferred(&client, &address).await.1.len();
                // Scripts and styles may name others.
                todo.extend(assets(&client.get(&address).await.body));
            }
        }
        assert!(
            seen.iter().any(|name| name.ends_with(".css")) && seen.iter().any(|name| name.ends_with(".js"))
        );
        assert!(total < 60_000, "{path}: {total} bytes in {} files", seen.len() + 1);
    }
}

/// SEC-86: what is typed into an address comes back as text.
#[tokio::test]
async fn what_an_address_says_is_never_markup() {
    let app = TestApp::start().await;
    let (root, anon) = (app.admin().await, app.anon());
    let hostile = escape("\"><script>x</script>");
    for path in ["/login?next=/", "/setup?token=", "/verify-email/", "/nothing/", "/login?"] {
        assert!(!anon.get(&format!("{path}{hostile}")).await.body.contains("<script>x"), "{path}");
    }
    for path in [
        "/admin/users?q=",
        "/admin/stats?from=",
        "/admin/errors?after=",
        "/chat?older=",
        "/chat/",
        "/admin/models?x=",
    ] {
        assert!(!root.get(&format!("{path}{hostile}")).await.body.contains("<script>x"), "{path}");
    }
}
