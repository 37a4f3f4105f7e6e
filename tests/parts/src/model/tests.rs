#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use super::ModelStub;
use crate::http::Client;
use serde_json::{Value, json};

async fn ask(stub: &ModelStub, model: &str, prompt: &str) -> reqwest::Response {
    crate::install_crypto();
    let body = json!({
        "model": model, "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": prompt}],
    });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/chat/completions", stub.base_url());
    client.post(url).bearer_auth("sk-test").json(&body).send().await.unwrap()
}

/// The text of a stream's deltas.
fn text(stream: &str) -> String {
    stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"))
        .filter_map(|rest| serde_json::from_str::<Value>(&format!("{{{rest}")).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn echo_says_the_prompt_with_usage_and_keeps_the_request() {
    let stub = ModelStub::start().await.unwrap();
    let answer = ask(&stub, "echo", "hello  wide world").await.text().await.unwrap();
    assert_eq!(text(&answer), "hello  wide world");
    assert!(answer.contains(r#""prompt_tokens":3"#) && answer.ends_with("data: [DONE]\n\n"), "{answer}");
    let seen = &stub.requests()[0];
    assert_eq!(seen.authorization.as_deref(), Some("Bearer sk-test"));
    assert_eq!((seen.model(), seen.prompt().as_str()), ("echo", "hello  wide world"));
    let listed = Client::new(&stub.page_url()).get("/v1/models").await.json();
    assert!(listed["data"].as_array().unwrap().iter().any(|m| m["id"] == "hold"));
}

#[tokio::test]
async fn hold_shows_a_live_stream_until_it_is_released() {
    let stub = ModelStub::start().await.unwrap();
    let mut answer = ask(&stub, "hold", "the rest").await;
    let mut got = String::new();
    while !text(&got).ends_with("three") {
        got.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
    }
    stub.wait_live(1).await;
    stub.release();
    while let Some(more) = answer.chunk().await.unwrap() {
        got.push_str(std::str::from_utf8(&more).unwrap());
    }
    assert_eq!(text(&got), "one two three the rest");
    stub.wait_live(0).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_is_noticed() {
    let stub = ModelStub::start().await.unwrap();
    let answer = ask(&stub, "hold", "x").await;
    stub.wait_live(1).await;
    drop(answer);
    stub.wait_live(0).await;
}

#[tokio::test]
async fn faults_are_what_their_names_say() {
    let stub = ModelStub::start().await.unwrap();
    for (model, status) in
        [("fail-401", 401), ("fail-500", 500), ("fail-503-once", 503), ("fail-503-once", 200)]
    {
        assert_eq!(ask(&stub, model, "x").await.status(), status, "{model}");
    }
    let busy = ask(&stub, "echo", "!fail-429 x").await;
    assert_eq!((busy.status().as_u16(), busy.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    assert_eq!(ask(&stub, "no-such-model", "x").await.status(), 404);
    assert!(ask(&stub, "cut", "x").await.text().await.is_err());
    let clean = ask(&stub, "cut-clean", "x").await.text().await.unwrap();
    assert!(text(&clean) == "This answer breaks" && !clean.contains("[DONE]"));
    assert!(ask(&stub, "error-in-stream", "x").await.text().await.unwrap().contains(r#""error":{"#));
    assert!(ask(&stub, "garbage", "x").await.text().await.unwrap().starts_with("<!doctype"));
    let whole: Value = ask(&stub, "json", "all at once").await.json().await.unwrap();
    assert_eq!(whole["choices"][0]["message"]["content"], "all at once");
    assert!(text(&ask(&stub, "markdown", "x").await.text().await.unwrap()).contains("| Saturn  |"));
    let many = ask(&stub, "tokens-50@1000", "x").await.text().await.unwrap();
    assert_eq!(text(&many), " word".repeat(50));
    assert!(many.contains(r#""completion_tokens":50"#));
}

#[tokio::test]
async fn slow_waits_for_a_release_and_silent_for_ever() {
    let stub = ModelStub::start().await.unwrap();
    let silent = ask(&stub, "silent", "x");
    let slow = async {
        let answer = ask(&stub, "slow", "late").await;
        stub.release();
        answer.text().await.unwrap()
    };
    tokio::select! {
        _ = silent => panic!("silent spoke"),
        late = slow => assert_eq!(text(&late), "late"),
    }
}

#[tokio::test]
async fn another_one_can_stand_where_one_was() {
    let stub = ModelStub::start().await.unwrap();
    let address = stub.address();
    assert!(ask(&stub, "echo", "x").await.status().is_success());
    drop(stub);
    // The listener closes in its own task.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let again = ModelStub::start_on(address).await.unwrap();
    assert!(ask(&again, "echo", "x").await.status().is_success());
}
