//! What stands before every handler: who is looked up, what is waited for, what a panic becomes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anteroom::http::{log, panics};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use base::DAY;
use parts::PATIENCE;
use parts::http::Reply;
use reqwest::Method;
use serde_json::json;
use tower::ServiceExt as _;

use crate::harness::{TestApp, Wishes};
use crate::page::{last, messages, text};
use crate::program::Program;
use crate::sse::Events;

/// Sends half a request and gives what comes until the server closes.
async fn half(base: &str, sent: &'static str) -> String {
    let address: SocketAddr = base.replace("http://localhost", "127.0.0.1").parse().unwrap();
    let talk = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map(|_| String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::task::spawn_blocking(talk).await.unwrap().unwrap_or_else(|error| panic!("{sent:?}: {error}"))
}

/// SEC-88: who stops in the middle of a request is not waited for.
#[tokio::test]
async fn sec_88_half_a_request_is_not_waited_for() {
    let app = Wishes::default().models().set("ANTEROOM_READ_TIMEOUT_SECONDS", "1").start().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "hold", "rest").await;
    let mut stream = Events::open(&ann, &chat, None).await;
    stream.until(|event| event.html().is_some()).await;
    let head = "POST /login HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    let (nothing, half_head, half_body) = tokio::join!(
        half(&app.base, ""),
        half(&app.base, "GET /login HTTP/1.1\r\nhost: x\r\nx-a"),
        half(
            &app.base,
            "POST /login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"a\":"
        ),
    );
    assert_eq!(nothing, "");
    assert!(!half_head.contains(" 200 "), "{half_head}");
    assert!(
        half_body.starts_with("HTTP/1.1 408 ") && half_body.contains("/problems/too-slow"),
        "{half_body}"
    );
    let chunked = Box::leak(format!("{head}transfer-encoding: chunked\r\n\r\n5\r\na=b&c").into_boxed_str());
    let page = half(&app.base, chunked).await;
    assert!(page.starts_with("HTTP/1.1 408 ") && page.contains("<html"), "{page}");
    // A stream may last as long as it likes.
    app.stub().release();
    assert!(stream.rest().await.iter().any(|event| event.state() == Some("done")));
    app.settle().await;
    assert_eq!(last(&ann.get(&chat).await.body).state, "done");
}

/// SEC-88: a handler that panics gives a page or a problem with the request id, and no cause.
#[tokio::test]
async fn sec_88_a_panic_is_answered() {
    async fn boom() -> &'static str {
        panic!("a secret cause")
    }
    let app = TestApp::start().await;
    let router = Router::new()
        .route("/boom", get(boom))
        .layer(from_fn_with_state(app.app.clone(), panics::catch))
        .layer(from_fn_with_state(app.app.clone(), log::line));
    for (accept, kind, part) in [
        ("text/html", "text/html; charset=utf-8", "Something went wrong here"),
        ("application/json", "application/problem+json", "/problems/internal"),
    ] {
        let request = Request::get("/boom").header("accept", accept);
        let request =
            request.extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 1)))).body(Body::empty());
        let response = router.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["content-type"], kind);
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(body.contains(part) && body.contains(&id), "{body}");
        assert!(!body.contains("secret cause"), "{body}");
    }
}

/// Files and health look up nobody, and say nothing about a session: they may be cached for everybody.
#[tokio::test]
async fn what_is_the_same_for_everybody_sets_no_cookie() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let page = ann.get("/chat").await.body;
    let asset = format!("/assets/{}", page.split("/assets/").nth(1).unwrap().split('"').next().unwrap());
    app.clock.advance(15 * DAY);
    for path in [asset.as_str(), "/assets/none.js", "/favicon.ico", "/healthz", "/readyz"] {
        let reply = ann.get(path).await;
        assert_eq!(reply.header("set-cookie"), None, "{path}: {reply:?}");
    }
    assert!(ann.cookie("anteroom").is_some());
    assert_eq!(ann.get("/login").await.status, 200);
    assert_eq!(ann.cookie("anteroom"), None, "a page clears the dead one");
}

/// SEC-82: signing out of a session that is over is no error.
#[tokio::test]
async fn sec_82_signing_out_twice_is_fine() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let cookie = ann.cookie("anteroom").unwrap();
    let token = app.csrf(&ann).await;
    app.clock.advance(15 * DAY);
    let own = ann.clone().with_header("origin", &app.base);
    let out = own.post("/logout", &[("csrf_token", &token)]).await;
    assert_eq!((out.status.as_u16(), out.location()), (303, Some("/login?signed_out")), "{out:?}");
    assert_eq!(ann.cookie("anteroom"), None);
    ann.set_cookie("anteroom", &cookie);
    let request = ann.request(Method::POST, "/logout").header("accept", "application/json");
    let out: Reply = ann.send(request).await;
    assert_eq!((out.status.as_u16(), ann.cookie("anteroom")), (204, None), "{out:?}");
    let anon = app.anon().post_json("/logout", None, &json!({})).await;
    assert_eq!(anon.status, 204);
    // Not at the wish of another site, and not without a token while there is a session to end.
    for origin in ["https://evil.example", "null"] {
        assert_eq!(app.anon().with_header("origin", origin).post("/logout", &[]).await.status, 403);
    }
    let ben = app.user("ben").await;
    assert_eq!(ben.post("/logout", &[]).await.status, 403);
    assert_eq!(ben.get("/chat").await.status, 200);
}

/// The demo is there only while there is nothing else, and only where it is wanted.
#[tokio::test]
async fn a_hidden_demo_does_not_answer() {
    for wishes in [Wishes::default().models(), Wishes::default().set("ANTEROOM_MODELS__DEMO", "false")] {
        let app = wishes.start().await;
        let ann = app.user("ann").await;
        let token = app.csrf(&ann).await;
        let before = ann.get("/chat").await.body.matches("href=\"/chat/").count();
        let json = ann.post_json("/chat", Some(&token), &json!({ "prompt": "hi", "model": "demo" })).await;
        assert_eq!(json.status, 422, "{json:?}");
        let page = app.post(&ann, "/chat", &[("prompt", "hi"), ("model", "demo")]).await;
        assert_eq!(page.status, 422);
        assert!(text(&page.body).contains("Choose another one"), "{}", page.body);
        assert_eq!(ann.get("/chat").await.body.matches("href=\"/chat/").count(), before);
        if app.models.is_some() {
            let chat = app.prompt(&ann, "echo", "hi").await;
            app.settle().await;
            let again = last(&ann.get(&chat).await.body).must("/regenerate");
            app.post(&ann, &again, &[("model", "demo")]).await;
            app.settle().await;
            assert_eq!(app.stub().count(), 1);
            let shown = messages(&ann.get(&chat).await.body);
            assert_eq!((shown.len(), shown[1].answer().as_str()), (2, "hi"));
        }
    }
}

/// What forbids a prompt now is told by its status, with the page and the prompt in it.
#[tokio::test]
async fn a_refused_prompt_has_the_status_of_its_reason() {
    let app = Wishes::default().models().start().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "hold", "rest").await;
    let to = format!("{chat}/messages");
    let prompt = [("prompt", "patience"), ("model", "echo")];
    let busy = app.post(&ann, &to, &prompt).await;
    assert_eq!((busy.status.as_u16(), busy.header("retry-after")), (409, None));
    assert_eq!(crate::page::composer(&busy.body), "patience");
    app.stub().release();
    app.settle().await;
    app.app.engine.shutdown(std::time::Duration::ZERO).await;
    for path in [to.as_str(), "/chat"] {
        let closing = app.post(&ann, path, &prompt).await;
        assert_eq!((closing.status.as_u16(), closing.header("retry-after")), (503, Some("5")));
        assert_eq!(crate::page::composer(&closing.body), "patience");
    }
    let token = app.csrf(&ann).await;
    let json = ann.post_json(&to, Some(&token), &json!({ "prompt": "patience", "model": "echo" })).await;
    assert_eq!((json.status.as_u16(), json.header("retry-after")), (503, Some("5")));
}

/// SEC-97: a line of the log has route and client, also for what the guard refuses, and no query.
#[tokio::test]
async fn sec_97_a_refused_request_is_logged_with_route_and_client() {
    let program = Program::on_sqlite().set("ANTEROOM_TRUSTED_PROXIES", "127.0.0.1/32");
    let server = program.serve().await;
    let client = server.client().with_header("x-forwarded-for", "192.0.2.77");
    assert_eq!(client.get("/chat/%01?x=private").await.status, 404);
    assert_eq!(client.get("/chat?older=%00").await.status, 400);
    assert_eq!(client.get("/nowhere").await.status, 404);
    let lines = async {
        loop {
            let log = program.log();
            let lines: Vec<String> =
                log.lines().filter(|line| line.contains("192.0.2.77")).map(str::to_owned).collect();
            if lines.len() >= 3 {
                return lines;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let lines = tokio::time::timeout(PATIENCE, lines).await.unwrap_or_else(|_| panic!("{}", program.log()));
    assert!(lines[0].contains("/chat/{id}") && lines[0].contains("404"), "{lines:?}");
    assert!(lines[1].contains("/chat") && lines[1].contains("400"), "{lines:?}");
    assert!(!program.log().contains("private") && !program.log().contains("/nowhere"), "{lines:?}");
}

/// A second signal ends the server at once, whatever the grace.
#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let stub = parts::model::ModelStub::start().await.unwrap();
    let program = Program::on_sqlite()
        .set("OPENAI_BASE_URL", &stub.base_url())
        .set("ANTEROOM_SHUTDOWN_GRACE_SECONDS", "600");
    program.account("ann", "User").await;
    let mut server = program.serve().await;
    let (ann, csrf) = server.sign_in("ann").await;
    let wait = async |ready: &dyn Fn(&str) -> bool, path: &str| {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !ready(&if path.is_empty() { program.log() } else { ann.get(path).await.body }) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("waited in vain for {path}: {}", program.log()));
    };
    wait(&|page| page.contains("value=\"hold\""), "/chat").await;
    let form = [("csrf_token", csrf.as_str()), ("prompt", "the rest"), ("model", "hold")];
    assert_eq!(ann.post("/chat", &form).await.status, 303);
    stub.wait_live(1).await;
    server.terminate();
    wait(&|log| log.contains("stopping"), "").await;
    server.terminate();
    assert!(server.ended().await.success());
    wait(&|log| log.contains("stopped at once"), "").await;
}
