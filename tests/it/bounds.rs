//! What one person or one model server may not do to everybody else.

use parts::http::Client;
use reqwest::Method;

use crate::harness::{TestApp, Wishes};
use crate::page::{last, text};
use crate::sse::Events;

async fn with_models() -> TestApp {
    Wishes::default().models().start().await
}

/// SEC-100: servers that put the request into their refusal show an Admin no prompt.
#[tokio::test]
async fn sec_100_causes_hold_no_prompt() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let admin = app.admin().await;
    for (model, cause) in [
        ("quoting", "bad_request: HTTP 422: Field required (body.tools)"),
        ("quoting-400", "bad_request: HTTP 400: Unsupported content: ***"),
    ] {
        let chat = app.prompt(&ann, "echo", &format!("!{model} My salary is 4711 gold, tell nobody.")).await;
        app.settle().await;
        assert_eq!(last(&ann.get(&chat).await.body).state, "failed");
        let errors = admin.get("/admin/errors").await.body;
        assert!(text(&errors).contains(cause), "{}", text(&errors));
        assert!(!errors.contains("salary") && !errors.contains("4711"), "{}", text(&errors));
    }
}

/// A model server cannot stop answers or statistics by the counts that it reports.
#[tokio::test]
async fn senseless_token_counts_harm_nothing() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let admin = app.admin().await;
    for n in 0..3 {
        let chat = app.prompt(&ann, "echo", &format!("!huge-usage answer {n}")).await;
        app.settle().await;
        assert_eq!(last(&ann.get(&chat).await.body).state, "done");
    }
    for path in ["/admin", "/admin/stats"] {
        assert_eq!(admin.get(path).await.status, 200, "{path}");
    }
    let errors = text(&admin.get("/admin/errors").await.body);
    assert!(errors.contains("No errors"), "{errors}");
}

async fn live(app: &TestApp, client: &Client, prompts: usize) -> Vec<String> {
    let mut chats = Vec::new();
    for _ in 0..prompts {
        chats.push(app.prompt(client, "hold", "rest").await);
    }
    app.stub().wait_live(prompts).await;
    chats
}

/// One person's answers at once are bounded; the refused prompt is kept in its field.
#[tokio::test]
async fn answers_at_once_are_bounded_for_each_person() {
    let wishes = Wishes::default().models().set("ANTEROOM_LIMITS__GENERATIONS_PER_USER", "2");
    let app = wishes.start().await;
    let ann = app.user("ann").await;
    let ben = app.user("ben").await;
    live(&app, &ann, 2).await;
    let fields = [("prompt", "my precious prompt"), ("model", "hold")];
    let refused = app.post(&ann, "/chat", &fields).await;
    assert_eq!(refused.status, 409, "{refused:?}");
    let words = text(&refused.body);
    assert!(words.contains("2 answers are being written for you already"), "{words}");
    assert!(refused.body.contains("my precious prompt"));
    // Nobody else waits for that.
    app.prompt(&ben, "echo", "mine").await;
    app.stub().release();
    app.settle().await;
    app.prompt(&ann, "echo", "again").await;
    app.settle().await;
}

/// So are one person's open streams, over all of their sessions; one that closes makes room.
#[tokio::test]
async fn open_streams_are_bounded_for_each_person() {
    let wishes = Wishes::default().models().set("ANTEROOM_LIMITS__STREAMS_PER_USER", "3");
    let app = wishes.start().await;
    let ann = app.user("ann").await;
    let elsewhere = app.anon();
    app.sign_in(&elsewhere, "ann").await;
    let ben = app.user("ben").await;
    let chat = live(&app, &ann, 1).await.remove(0);
    let status = async |client: &Client, chat: &str| {
        let request = client.request(Method::GET, &format!("{chat}/events"));
        let response = request.header("accept", "text/event-stream").send().await.unwrap();
        let wait = response.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
        (response.status().as_u16(), wait)
    };
    let mut open = Vec::new();
    for client in [&ann, &elsewhere, &ann] {
        let mut stream = Events::open(client, &chat, None).await;
        stream.next().await.unwrap();
        open.push(stream);
    }
    for client in [&ann, &elsewhere] {
        assert_eq!(status(client, &chat).await, (429, Some("5".to_owned())));
    }
    let theirs = app.prompt(&ben, "hold", "rest").await;
    assert_eq!(status(&ben, &theirs).await.0, 200);
    drop(open.pop());
    let room = tokio::time::timeout(parts::PATIENCE, async {
        while status(&ann, &chat).await.0 != 200 {
            tokio::task::yield_now().await;
        }
    });
    room.await.unwrap();
    app.stub().release();
    app.settle().await;
}
