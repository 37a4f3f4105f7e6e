use upstream::probe::{Candidate, detect, list_models, test};
use upstream::{Failure, parse_base_url};

use crate::stub::{KEY, Reply, Stub, http};

fn list() -> Reply {
    Reply::json(r#"{"object":"list","data":[{"id":"big"},{"id":"small"}]}"#)
}

#[tokio::test]
async fn models_are_listed_with_the_key() {
    let stub = Stub::start(vec![list()]).await;
    let models = list_models(&http(), &stub.endpoint("e")).await.unwrap();
    assert_eq!(models, ["big", "small"]);
    let sent = stub.requests().remove(0);
    assert!(sent.starts_with("GET /v1/models HTTP/1.1\r\n"));
    assert!(sent.contains(&format!("authorization: Bearer {KEY}\r\n")));
}

#[tokio::test]
async fn a_bad_list_says_what_is_wrong() {
    let kind = async |reply: Reply| {
        let stub = Stub::start(vec![reply]).await;
        let failed = list_models(&http(), &stub.endpoint("e")).await.unwrap_err();
        assert!(!failed.cause.contains(KEY), "{failed}");
        failed.kind
    };
    assert_eq!(kind(Reply::json(&format!("<html>{KEY}"))).await, Failure::Garbage);
    assert_eq!(kind(Reply::of("403 No", "", KEY)).await, Failure::Unauthorized);
    let long = format!("[\"{}\"]", "x".repeat(1 << 20));
    assert_eq!(kind(Reply::json(&long)).await, Failure::TooLong);
}

#[tokio::test]
async fn a_test_lists_and_times() {
    let stub = Stub::start(vec![list(), Reply::words(&["Hello", "!"])]).await;
    let result = test(&http(), &stub.endpoint("e"), Some("small")).await.unwrap();
    assert_eq!(result.models, ["big", "small"]);
    let timed = result.timed.unwrap();
    assert_eq!((timed.model.as_str(), timed.text_sample.as_str()), ("small", "Hello!"));
    assert!(timed.ttft_micros > 0 && timed.ttft_micros <= timed.total_micros);
    assert!(stub.requests()[1].contains(r#""model":"small""#));

    let stub = Stub::start(vec![Reply::of("404 No", "", ""), Reply::words(&["Hi"])]).await;
    let result = test(&http(), &stub.endpoint("e"), Some("m")).await.unwrap();
    assert!(result.models.is_empty() && result.timed.is_some());

    let stub = Stub::start(vec![list()]).await;
    let result = test(&http(), &stub.endpoint("e"), None).await.unwrap();
    assert_eq!(result.timed, None);
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn local_servers_are_found_and_others_passed_over() {
    let ollama = Stub::start(vec![list()]).await;
    let website = Stub::start(vec![Reply::of("200 OK", "content-type: text/html\r\n", "<html>")]).await;
    let mute = Stub::start(vec![Reply::raw("").then_hangs()]).await;
    let candidate = |kind, address: std::net::SocketAddr| Candidate {
        kind,
        base_url: parse_base_url(&format!("http://{address}")).unwrap(),
    };
    let found = detect(
        &http(),
        vec![
            candidate("llama.cpp", website.address),
            candidate("LM Studio", mute.address),
            candidate("Ollama", ollama.address),
        ],
    )
    .await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, "Ollama");
    assert_eq!(found[0].models, ["big", "small"]);
    assert!(!ollama.requests()[0].contains("authorization"));
}
