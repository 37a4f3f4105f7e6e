//! What the stub says, and the wire form of its pieces (OpenAI chat completions, streamed and whole).

use bytes::Bytes;
use serde_json::{Value, json};

/// A rich answer: headings, lists, a table, code, math, a link.
pub(super) const MARKDOWN: &str = include_str!("markdown.md");
/// An answer that means harm.
pub(super) const HOSTILE: &str = include_str!("hostile.md");

/// A fixed time for `created`, in Unix seconds: the stub's answers are the same on every run.
const CREATED: u64 = 1_767_225_600;
const ID: &str = "chatcmpl-stub";

/// Splits at the starts of words, so that the pieces together are the text again.
pub(super) fn words(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut blank = true;
    for (at, c) in text.char_indices() {
        if c.is_whitespace() && !blank {
            pieces.push(&text[start..at]);
            start = at;
        }
        blank = c.is_whitespace();
    }
    if start < text.len() {
        pieces.push(&text[start..]);
    }
    pieces
}

/// The `usage` object; the stub counts a word as a token.
pub(super) fn usage(prompt_tokens: usize, completion_tokens: usize) -> Value {
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    })
}

/// One server-sent event.
pub(super) fn event(data: &Value) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

fn chunk(model: &str, choices: &Value) -> Value {
    json!({"id": ID, "object": "chat.completion.chunk", "created": CREATED, "model": model, "choices": choices})
}

/// A chunk whose only choice has this delta.
pub(super) fn delta(model: &str, delta: &Value) -> Bytes {
    event(&chunk(model, &json!([{"index": 0, "delta": delta, "finish_reason": null}])))
}

/// The chunk of one piece of text.
pub(super) fn token(model: &str, text: &str) -> Bytes {
    delta(model, &json!({"content": text}))
}

/// The proper end of a stream: the finish reason, the usage if asked for, `[DONE]`.
pub(super) fn end(model: &str, usage: Option<&Value>) -> Bytes {
    let finish = chunk(model, &json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]));
    let mut text = format!("data: {finish}\n\n");
    if let Some(usage) = usage {
        let mut last = chunk(model, &json!([]));
        last["usage"] = usage.clone();
        text.push_str(&format!("data: {last}\n\n"));
    }
    text.push_str("data: [DONE]\n\n");
    Bytes::from(text)
}

/// The whole answer as one body.
pub(super) fn whole(model: &str, text: &str, usage: &Value) -> Value {
    json!({
        "id": ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": usage,
    })
}

/// FastAPI's body for a request that does not fit: a copy of it stands in `input`.
pub(super) fn invalid(request: &Value) -> Value {
    json!({"detail": [
        {"type": "missing", "loc": ["body", "tools"], "msg": "Field required", "input": request}
    ]})
}

/// An error whose message quotes the prompt, behind a NUL, which PostgreSQL does not take.
pub(super) fn refused(prompt: &str) -> Value {
    json!({"error": {"message": format!("Unsupported content:\0 {prompt}"), "type": "invalid_request_error"}})
}

/// The error body for a status.
pub(super) fn error(status: u16) -> Value {
    let (kind, message) = match status {
        401 => ("invalid_request_error", "Incorrect API key provided: sk-stub-secret."),
        404 => ("invalid_request_error", "The model does not exist."),
        429 => ("rate_limit_error", "Rate limit reached for this model."),
        503 => ("server_error", "The model is loading."),
        _ => ("server_error", "The server had an error while processing your request."),
    };
    json!({"error": {"message": message, "type": kind, "param": null, "code": status.to_string()}})
}
