//! The end of the server in the middle of an answer: killed, and stopped.

use std::time::Duration;

use base::{Clock, Db, SECOND, args, sql};
use parts::http::Client;
use parts::model::ModelStub;

use crate::page::{last, messages};
use crate::program::{Program, Server};
use crate::sse::Events;

async fn installation(stub: &ModelStub) -> Program {
    let program = Program::new().await.set("OPENAI_BASE_URL", &stub.base_url());
    program.account("ann", "User").await;
    program
}

/// Asks again until the page shows it.
async fn until(client: &Client, path: &str, ready: impl Fn(&str) -> bool) -> String {
    let mut page = String::new();
    let waited = tokio::time::timeout(parts::PATIENCE, async {
        loop {
            page = client.get(path).await.body;
            if ready(&page) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{path} shows {page}");
    page
}

/// Prompts a model that waits after three words; comes back when they are shown.
async fn half_an_answer(server: &Server, stub: &ModelStub) -> (Client, String, String) {
    let (ann, csrf) = server.sign_in("ann").await;
    until(&ann, "/chat", |page| page.contains("value=\"hold\"")).await;
    let prompt = [("csrf_token", csrf.as_str()), ("prompt", "the rest of it"), ("model", "hold")];
    let chat = ann.post("/chat", &prompt).await.location().unwrap().to_owned();
    stub.wait_live(1).await;
    until(&ann, &chat, |page| last(page).answer() == "one two three").await;
    (ann, csrf, chat)
}

/// What the ledger has: outcomes, oldest first.
async fn outcomes(program: &Program) -> Vec<(String, i64)> {
    let db = Db::connect(&program.location()).await.unwrap();
    let rows =
        db.all(sql!("SELECT outcome, tokens_out FROM usage_events ORDER BY at, id"), args![]).await.unwrap();
    db.close().await;
    rows
}

#[tokio::test]
async fn after_kill_9_the_partial_answer_is_there_and_can_be_tried_again() {
    let stub = ModelStub::start().await.unwrap();
    let program = installation(&stub).await;
    let server = program.serve().await;
    let (ann, _, chat) = half_an_answer(&server, &stub).await;
    // The next tick has it on disk, without anybody's asking.
    let db = Db::connect(&program.location()).await.unwrap();
    let saved = async {
        loop {
            let texts: Vec<String> =
                db.all(sql!("SELECT markdown FROM messages WHERE model = 'hold'"), args![]).await.unwrap();
            if texts.iter().any(|text| text == "one two three") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(parts::PATIENCE, saved).await.unwrap();
    drop(db);
    let cookie = ann.cookie("anteroom").unwrap();
    server.kill();
    stub.wait_live(0).await;
    let server = program.serve().await;
    let ann = server.client();
    ann.set_cookie("anteroom", &cookie);
    let page = until(&ann, &chat, |page| last(page).state == "interrupted").await;
    let answer = last(&page);
    assert_eq!((messages(&page).len(), answer.answer().as_str()), (2, "one two three"));
    assert!(answer.text().contains("Interrupted. The server was stopped while the answer was being written. What had arrived is kept."), "{}", answer.text());
    assert_eq!(messages(&page)[0].text(), "the rest of it");
    let rows = outcomes(&program).await;
    assert!(matches!(&rows[..], [(outcome, tokens)] if outcome == "interrupted" && *tokens > 0), "{rows:?}");
    // Retry.
    let csrf = ann.get_json("/api/v1/csrf").await.json()["csrf_token"].as_str().unwrap().to_owned();
    let retried = ann.post(&answer.must("/regenerate"), &[("csrf_token", &csrf), ("model", "echo")]).await;
    assert_eq!(retried.status, 303);
    let page = until(&ann, &chat, |page| last(page).state == "done").await;
    assert_eq!(last(&page).answer(), "the rest of it");
    assert_eq!(outcomes(&program).await.len(), 2);
}

#[tokio::test]
async fn a_stop_waits_for_answers_that_end_in_time() {
    let stub = ModelStub::start().await.unwrap();
    let program = installation(&stub).await;
    let mut server = program.serve().await;
    let (ann, _, chat) = half_an_answer(&server, &stub).await;
    let mut stream = Events::open(&ann, &chat, None).await;
    server.terminate();
    // Asked to stop, it takes no new connections; the answer goes on.
    let address = server.base.trim_start_matches("http://").to_owned();
    while tokio::net::TcpStream::connect(&address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(stub.live(), 1);
    stub.release();
    let told = stream.rest().await;
    assert!(told.iter().any(|event| event.state() == Some("done")), "{told:?}");
    assert!(server.ended().await.success());
    let cookie = ann.cookie("anteroom").unwrap();
    let server = program.serve().await;
    let ann = server.client();
    ann.set_cookie("anteroom", &cookie);
    let answer = last(&ann.get(&chat).await.body);
    assert_eq!((answer.state.as_str(), answer.answer().as_str()), ("done", "one two three the rest of it"));
    assert_eq!(outcomes(&program).await[0].0, "done");
}

#[tokio::test]
async fn a_stop_keeps_what_came_of_answers_that_do_not() {
    let stub = ModelStub::start().await.unwrap();
    let program = installation(&stub).await.set("ANTEROOM_SERVER__SHUTDOWN_GRACE_SECONDS", "1");
    let mut server = program.serve().await;
    let (ann, _, chat) = half_an_answer(&server, &stub).await;
    let mut stream = Events::open(&ann, &chat, None).await;
    let clock = Clock::system();
    server.terminate();
    let told = stream.rest().await;
    assert!(told.iter().any(|event| event.state() == Some("interrupted")), "{told:?}");
    assert!(clock.monotonic() >= SECOND, "it had its grace");
    assert!(server.ended().await.success());
    stub.wait_live(0).await;
    let rows = outcomes(&program).await;
    assert!(matches!(&rows[..], [(outcome, tokens)] if outcome == "interrupted" && *tokens > 0), "{rows:?}");
    let log = program.log();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
    let cookie = ann.cookie("anteroom").unwrap();
    let server = program.serve().await;
    let ann = server.client();
    ann.set_cookie("anteroom", &cookie);
    let answer = last(&ann.get(&chat).await.body);
    assert_eq!((answer.state.as_str(), answer.answer().as_str()), ("interrupted", "one two three"));
    assert!(answer.action("/regenerate").is_some());
}

/// Nothing under way: a stop is quick, however many connections stand open.
#[tokio::test]
async fn an_idle_server_stops_at_once() {
    let program = Program::new().await;
    let mut server = program.serve().await;
    assert_eq!(server.client().get("/readyz").await.status, 200);
    let address = server.base.trim_start_matches("http://").to_owned();
    let _idle = tokio::net::TcpStream::connect(&address).await.unwrap();
    let clock = Clock::system();
    server.terminate();
    assert!(server.ended().await.success());
    assert!(clock.monotonic() < 5 * SECOND, "{} µs", clock.monotonic());
}
