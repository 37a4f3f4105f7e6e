//! The stub's HTTP side: the OpenAI routes, the controls, and a page for browser harnesses.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::answer;
use super::behaviour::{Behaviour, LISTED};
use super::stream::{Play, Step, never};
use super::{Live, Seen, State};

pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(completions))
        .route("/control/release", post(release))
        .route("/control/requests", get(requests))
        .route("/", get(page))
        .with_state(state)
}

/// A listener whose connections send small pieces at once.
pub(super) struct NoDelay(pub TcpListener);

impl axum::serve::Listener for NoDelay {
    type Io = TcpStream;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
        // A connection that is gone already fails here, and is noticed by its first read.
        drop(stream.set_nodelay(true));
        (stream, address)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

async fn models() -> Json<Value> {
    let models: Vec<Value> = LISTED
        .iter()
        .map(|id| json!({"id": id, "object": "model", "created": 0, "owned_by": "stub"}))
        .collect();
    Json(json!({"object": "list", "data": models}))
}

async fn release(Shared(state): Shared<Arc<State>>) -> StatusCode {
    state.release();
    StatusCode::NO_CONTENT
}

async fn requests(Shared(state): Shared<Arc<State>>) -> Json<Value> {
    let count = state.requests.load(std::sync::atomic::Ordering::SeqCst);
    let live = state.live.load(std::sync::atomic::Ordering::SeqCst);
    Json(json!({"count": count, "live": live, "requests": *state.kept.lock()}))
}

/// The last user message's text; its text parts joined where it has parts.
pub(super) fn prompt(body: &Value) -> String {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let last = messages.iter().rev().find(|m| m["role"] == "user");
    match last.map(|m| &m["content"]) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(|p| p["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// Reads the behaviour: a prompt's `!name ` goes before the model's name.
fn behaviour(model: &str, prompt: &str) -> Option<(Behaviour, String)> {
    if let Some(rest) = prompt.strip_prefix('!') {
        let (name, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if let Some(behaviour) = Behaviour::parse(name) {
            return Some((behaviour, text.to_owned()));
        }
    }
    Behaviour::parse(model).map(|behaviour| (behaviour, prompt.to_owned()))
}

async fn completions(Shared(state): Shared<Arc<State>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return failure(400);
    };
    let authorization = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let model = body["model"].as_str().unwrap_or_default().to_owned();
    let prompt_text = prompt(&body);
    let prompt_tokens = prompt_text.split_whitespace().count();
    let streamed = body["stream"] == true;
    let with_usage = body["stream_options"]["include_usage"] == true;
    // Subscribed before the request is counted: who waits for the request and then releases, releases this one.
    let released = state.released.subscribe();
    let live = Live::new(&state);
    state.record(Seen { authorization, body: body.clone() });

    let Some((behaviour, text)) = behaviour(&model, &prompt_text) else {
        return failure(404);
    };
    match behaviour {
        Behaviour::Fail(status) => return failure(status),
        Behaviour::FailOnce if !std::mem::replace(&mut *state.failed_once.lock(), true) => {
            return failure(503);
        }
        Behaviour::Quoting => {
            return (StatusCode::UNPROCESSABLE_ENTITY, Json(answer::invalid(&body))).into_response();
        }
        Behaviour::QuotingMessage => {
            return (StatusCode::BAD_REQUEST, Json(answer::refused(&text))).into_response();
        }
        Behaviour::Silent => match never(live).await {},
        Behaviour::Garbage => return Html("<!doctype html><title>Welcome to nginx!</title>").into_response(),
        _ => {}
    }
    let mut script = Script::new(behaviour, &model, text, released);
    let usage = match behaviour {
        Behaviour::HugeUsage => json!({"prompt_tokens": i64::MAX, "completion_tokens": u64::MAX}),
        _ => answer::usage(prompt_tokens, script.tokens),
    };
    if !streamed || behaviour == Behaviour::Json {
        for step in script.steps {
            if let Step::Wait(gate) = step {
                gate.await;
            }
        }
        return Json(answer::whole(&model, &script.text, &usage)).into_response();
    }
    if script.ends {
        script.steps.push(Step::Send(answer::end(&model, with_usage.then_some(&usage))));
    }
    let body = Body::from_stream(Play::new(script.steps, script.rate, live));
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")], body).into_response()
}

fn failure(status: u16) -> Response {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (code, Json(answer::error(status))).into_response();
    if status == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("7"));
    }
    response
}

/// A streamed answer, laid out.
struct Script {
    steps: Vec<Step>,
    /// Repeats a second.
    rate: u32,
    /// The words in the answer.
    tokens: usize,
    /// The whole text.
    text: String,
    /// Whether the stream ends as it should.
    ends: bool,
}

impl Script {
    fn new(
        behaviour: Behaviour,
        model: &str,
        prompt: String,
        released: tokio::sync::watch::Receiver<u64>,
    ) -> Self {
        let mut rate = 0;
        let mut ends = true;
        let mut tokens = None;
        let start = *released.borrow();
        let gate = |nth: u64| {
            let mut released = released.clone();
            Box::pin(async move {
                // An error means that the stub is gone, which frees everyone too.
                drop(released.wait_for(|count| *count >= start + nth).await);
            })
        };
        let text = match behaviour {
            Behaviour::Markdown => answer::MARKDOWN.to_owned(),
            Behaviour::Hostile => answer::HOSTILE.to_owned(),
            Behaviour::Empty => String::new(),
            Behaviour::Tokens { count, .. } => " word".repeat(count as usize),
            Behaviour::Hold | Behaviour::SlowHold => format!("one two three {prompt}"),
            _ if prompt.is_empty() => "(an empty prompt)".to_owned(),
            _ => prompt,
        };
        let words = answer::words(&text);
        let mut steps = vec![Step::Send(answer::delta(model, &json!({"role": "assistant", "content": ""})))];
        let say = |words: &[&str]| -> Vec<Step> {
            words.iter().map(|word| Step::Send(answer::token(model, word))).collect()
        };
        match behaviour {
            Behaviour::Slow(pause) => {
                steps.clear();
                steps.push(Step::Wait(match pause {
                    Some(pause) => Box::pin(tokio::time::sleep(pause)),
                    None => gate(1),
                }));
                steps.extend(say(&words));
            }
            Behaviour::Hold | Behaviour::SlowHold => {
                let (first, rest) = words.split_at(words.len().min(3));
                let mut next = 1;
                if behaviour == Behaviour::SlowHold {
                    steps.clear();
                    steps.push(Step::Wait(gate(next)));
                    next += 1;
                }
                steps.extend(say(first));
                steps.push(Step::Wait(gate(next)));
                steps.extend(say(rest));
            }
            Behaviour::Tokens { count, rate: r } => {
                rate = r;
                tokens = Some(count as usize);
                steps.push(Step::Repeat(answer::token(model, " word"), count));
            }
            Behaviour::Reasoning => {
                for thought in ["First", " I", " think", "."] {
                    steps.push(Step::Send(answer::delta(model, &json!({"reasoning_content": thought}))));
                }
                steps.extend(say(&words));
            }
            Behaviour::Cut | Behaviour::CutClean | Behaviour::ErrorInStream => {
                ends = false;
                steps.extend(say(&["This", " answer", " breaks"]));
                match behaviour {
                    Behaviour::Cut => {
                        // One turn of the runtime, in which the head and the tokens are really sent.
                        steps.push(Step::Wait(Box::pin(tokio::task::yield_now())));
                        steps.push(Step::Break);
                    }
                    Behaviour::ErrorInStream => steps.push(Step::Send(answer::event(&answer::error(500)))),
                    _ => {}
                }
            }
            Behaviour::GarbageStream => {
                ends = false;
                steps = vec![Step::Send(Bytes::from_static(b"data: {\"id\": oops\n\ndata: <html>\n\n"))];
            }
            _ => steps.extend(say(&words)),
        }
        let tokens = tokens.unwrap_or(words.len());
        Self { steps, rate, tokens, text, ends }
    }
}

#[derive(serde::Deserialize)]
struct Said {
    #[serde(default)]
    say: String,
}

/// A page with one form, which shows what it was sent; with dark colours where they are preferred.
async fn page(Query(Said { say }): Query<Said>) -> Html<String> {
    let said: String = say.chars().filter(|c| c.is_alphanumeric() || *c == ' ').collect();
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Model stub</title><style>:root{{color-scheme:light dark}}</style><h1>Model stub</h1>\
         <form><label for=say>Say something</label> <input id=say name=say> <button>Send it</button></form>\
         <p id=said>{said}</p><a href=\"/?say=clicked\">Follow me</a></html>"
    ))
}
