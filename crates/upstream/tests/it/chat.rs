use std::time::Duration;

use upstream::{Endpoint, Failed, Failure, Limits, chat};

use crate::stub::{Answer, KEY, Reply, Stub, http, limits, read, request};

async fn ask(reply: Reply) -> Result<Answer, Failed> {
    let stub = Stub::start(vec![reply]).await;
    let stream = chat(&http(), &stub.endpoint("e"), &request(), &limits()).await?;
    Ok(read(stream).await)
}

async fn head_failure(reply: Reply) -> Failed {
    ask(reply).await.unwrap_err()
}

async fn stream_failure(reply: Reply) -> Failed {
    ask(reply).await.unwrap().failed.unwrap()
}

#[tokio::test]
async fn an_answer_streams_with_usage_and_end() {
    let stub = Stub::start(vec![Reply::words(&["Hi", " there"])]).await;
    let stream = chat(&http(), &stub.endpoint("e"), &request(), &limits()).await.unwrap();
    let answer = read(stream).await;
    assert_eq!(answer.text, "Hi there");
    assert_eq!(answer.usage, Some((7, 2)));
    assert_eq!(answer.finish_reason, Some(Some("stop".to_owned())));
    assert_eq!(answer.failed, None);

    let sent = stub.requests().remove(0);
    assert!(sent.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"));
    assert!(sent.contains(&format!("authorization: Bearer {KEY}\r\n")));
    assert!(sent.contains(r#""stream":true,"stream_options":{"include_usage":true}"#));
}

#[tokio::test]
async fn single_bytes_and_chunked_encoding_give_the_same_answer() {
    let answer = ask(Reply::words(&["Zoë", " ✓"]).byte_by_byte()).await.unwrap();
    assert_eq!(answer.text, "Zoë ✓");
    assert_eq!(answer.failed, None);

    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\r\n\r\n";
    let chunks: String = event.chars().map(|byte| format!("1\r\n{byte}\r\n")).collect();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = ask(Reply::raw(format!("{head}{chunks}0\r\n\r\n"))).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.failed), ("a", None));
}

#[tokio::test]
async fn reasoning_is_apart_from_text() {
    let body = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";
    let answer = ask(Reply::sse(body)).await.unwrap();
    assert_eq!((answer.reasoning.as_str(), answer.text.as_str()), ("hm", "a"));
    assert_eq!(answer.finish_reason, Some(None));
}

#[tokio::test]
async fn one_json_body_counts_as_an_answer() {
    let body = r#"{"choices":[{"message":{"role":"assistant","content":"whole"},"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let answer = ask(Reply::json(body)).await.unwrap();
    assert_eq!(answer.text, "whole");
    assert_eq!(answer.usage, Some((1, 2)));
    assert_eq!(answer.finish_reason, Some(Some("length".to_owned())));
}

#[tokio::test]
async fn a_stream_may_end_without_done_after_its_finish_reason() {
    let body = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n";
    let answer = ask(Reply::sse(body)).await.unwrap();
    assert_eq!(answer.finish_reason, Some(Some("stop".to_owned())));
    // Nor need it close the connection.
    let answer = ask(Reply::sse(body).then_hangs()).await.unwrap();
    assert_eq!(answer.finish_reason, Some(Some("stop".to_owned())));
    // Nor end its last line.
    let answer = ask(Reply::sse("data: {\"choices\":[]}\n\ndata: [DONE]")).await.unwrap();
    assert_eq!(answer.finish_reason, Some(None));
}

#[tokio::test]
async fn a_cut_stream_keeps_its_text_and_says_so() {
    let body = "data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\ndata: {\"choi";
    let answer = ask(Reply::sse(body)).await.unwrap();
    assert_eq!(answer.text, "half");
    assert_eq!(answer.failed.unwrap().kind, Failure::Cut);
    assert_eq!(answer.finish_reason, None);
    let failed = stream_failure(Reply::sse("")).await;
    assert_eq!(failed.kind, Failure::Cut);
    let short = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 999\r\n\r\n";
    assert_eq!(stream_failure(Reply::raw(short)).await.kind, Failure::Cut);
    assert_eq!(head_failure(Reply::raw("")).await.kind, Failure::Cut);
}

#[tokio::test]
async fn silence_before_and_within_an_answer_is_noticed() {
    let body = "data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n";
    let answer = ask(Reply::sse(body).then_hangs()).await.unwrap();
    assert_eq!(answer.text, "half");
    assert_eq!(answer.failed.unwrap().kind, Failure::Silent);

    let stub = Stub::start(vec![Reply::raw("").then_hangs()]).await;
    let hasty = Limits { first_byte: Duration::from_millis(50), ..limits() };
    let failed = chat(&http(), &stub.endpoint("e"), &request(), &hasty).await.unwrap_err();
    assert_eq!(failed.kind, Failure::Silent);
}

#[tokio::test]
async fn a_reader_that_looks_away_does_not_start_the_idle_time_again() {
    let stub = Stub::start(vec![Reply::sse(": ping\n\n").then_hangs()]).await;
    let mut stream = chat(&http(), &stub.endpoint("e"), &request(), &limits()).await.unwrap();
    let failed = loop {
        match tokio::time::timeout(Duration::from_millis(10), stream.next()).await {
            Ok(delta) => break delta.unwrap().unwrap_err(),
            Err(_) => continue,
        }
    };
    assert_eq!(failed.kind, Failure::Silent);
}

#[tokio::test]
async fn garbage_is_named() {
    let html = "content-type: text/html\r\n";
    let failed = head_failure(Reply::of("200 OK", html, "<html>Welcome</html>")).await;
    assert_eq!(failed.kind, Failure::Garbage);
    assert!(failed.cause.contains("text/html"));
    let failed = stream_failure(Reply::sse("data: <html>\n\n")).await;
    assert_eq!(failed.kind, Failure::Garbage);
    assert!(failed.cause.contains("<html>"));
    assert_eq!(stream_failure(Reply::json("[]")).await.kind, Failure::Garbage);
    assert_eq!(stream_failure(Reply::json(r#"{"ok":true}"#)).await.kind, Failure::Garbage);
    assert_eq!(stream_failure(Reply::sse("<html></html>\n")).await.kind, Failure::Garbage);
}

#[tokio::test]
async fn an_error_inside_the_stream_keeps_its_message() {
    let failed = stream_failure(Reply::sse("data: {\"error\":{\"message\":\"GPU on fire\"}}\n\n")).await;
    assert_eq!(failed.kind, Failure::Server { status: 200 });
    assert!(failed.cause.contains("GPU on fire"));
    let failed = stream_failure(Reply::json(r#"{"error":{"message":"slow down","code":429}}"#)).await;
    assert_eq!(failed.kind, Failure::RateLimited { retry_after: None });
}

#[tokio::test]
async fn statuses_become_failures() {
    let status =
        async |line: &str, headers: &str, body: &str| head_failure(Reply::of(line, headers, body)).await;
    let failed = status("401 Unauthorized", "", r#"{"error":{"message":"bad key"}}"#).await;
    assert_eq!((failed.kind, failed.cause.as_str()), (Failure::Unauthorized, "HTTP 401: bad key"));
    let failed = status("404 Not Found", "", r#"{"error":"no such model"}"#).await;
    assert_eq!(failed.kind, Failure::NotFound);
    let failed = status("429 Too Many Requests", "retry-after: 17\r\n", "").await;
    assert_eq!(failed.kind, Failure::RateLimited { retry_after: Some(17) });
    let failed = status("500 Oh", "", "oh no").await;
    assert_eq!((failed.kind, failed.cause.as_str()), (Failure::Server { status: 500 }, "HTTP 500: oh no"));
    let failed =
        status("400 Bad Request", "", r#"{"error":{"code":"context_length_exceeded","message":"too much"}}"#)
            .await;
    assert_eq!(failed.kind, Failure::ContextFull);
    // A refusal in no known shape may be a copy of the request.
    for body in ["", "no: {\"messages\":[]}", r#"{"messages":[{"content":"hi"}]}"#] {
        let failed = status("422 No", "", body).await;
        assert_eq!((failed.kind, failed.cause.as_str()), (Failure::BadRequest, "HTTP 422"));
    }
    let failed = status("500 Oh", "", r#"{"messages":[{"content":"hi"}]}"#).await;
    assert_eq!(failed.cause, "HTTP 500");
    let failed = status("422 No", "", "").await;
    assert_eq!((failed.kind, failed.cause.as_str()), (Failure::BadRequest, "HTTP 422"));
}

#[tokio::test]
async fn an_upstream_that_refuses_the_usage_option_is_asked_without_it() {
    let refusal = Reply::of("400 Bad Request", "", "unknown field stream_options");
    let stub = Stub::start(vec![refusal, Reply::words(&["ok"])]).await;
    let stream = chat(&http(), &stub.endpoint("e"), &request(), &limits()).await.unwrap();
    assert_eq!(read(stream).await.text, "ok");
    assert!(!stub.requests()[1].contains("stream_options"));
}

#[tokio::test]
async fn answers_are_bounded() {
    let word = "x".repeat(6000);
    let failed = stream_failure(Reply::words(&[&word, &word])).await;
    assert_eq!(failed.kind, Failure::TooLong);
    let body = format!(r#"{{"choices":[{{"message":{{"content":"{}"}}}}]}}"#, "x".repeat(70_000));
    assert_eq!(stream_failure(Reply::json(&body)).await.kind, Failure::TooLong);
    let endless = ": ping\n\n".repeat(400_000);
    assert_eq!(stream_failure(Reply::sse(&endless)).await.kind, Failure::TooLong);
}

#[tokio::test]
async fn sec_98_the_key_is_in_no_cause() {
    let echo = format!("your key {KEY} is bad, {KEY}!");
    let replies = [
        Reply::of("401 Unauthorized", "", &format!(r#"{{"error":"{echo}"}}"#)),
        Reply::of("301 Moved", &format!("location: http://x/?key={KEY}\r\n"), ""),
        Reply::sse(&format!("data: {echo}\n\n")),
        Reply::sse(&format!("data: {{\"error\":{{\"message\":\"{echo}\"}}}}\n\n")),
        Reply::json(&echo),
        // The part of a body that is read may end within the key.
        Reply::of("500 Oh", "", &format!("{}{}", KEY.repeat(170), &KEY[..20])),
    ];
    for reply in replies {
        let failed = match ask(reply).await {
            Ok(answer) => answer.failed.unwrap(),
            Err(failed) => failed,
        };
        assert!(failed.cause.contains("***"), "{failed}");
        assert!(!failed.cause.contains(&KEY[..8]), "{failed}");
        assert!(failed.cause.len() <= 2048);
    }
    let unsendable = Endpoint {
        api_key: Some(upstream::Secret::new("two\nlines")),
        ..crate::stub::endpoint("e", "http://127.0.0.1:9")
    };
    let failed = chat(&http(), &unsendable, &request(), &limits()).await.unwrap_err();
    assert_eq!(failed.kind, Failure::Unauthorized);
    assert!(!failed.cause.contains("two"));
}

/// SEC-100: a chunk that cannot be read may hold an answer, so nothing of it is told.
#[tokio::test]
async fn sec_100_garbled_answers_are_in_no_cause() {
    for chunk in [r#"{"choices":[{"delta":{"content":"secret"#, "\"secret\""] {
        let failed = stream_failure(Reply::sse(&format!("data: {chunk}\n\n"))).await;
        assert_eq!(failed.kind, Failure::Garbage, "{failed}");
        assert!(!failed.cause.contains("secret"), "{failed}");
    }
    let begun = "data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\ndata: secret\n\n";
    let failed = ask(Reply::sse(begun)).await.unwrap().failed.unwrap();
    assert!(!failed.cause.contains("secret"), "{failed}");
}
