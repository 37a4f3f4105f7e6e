//! Trying an endpoint out: its models, a timed prompt, and local servers that could be offered.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use tokio::time::Instant;
use url::Url;

use crate::address::Reach;
use crate::client::Http;
use crate::endpoint::Endpoint;
use crate::failure::{Failed, Failure};
use crate::stream::{Delta, Limits, chat};
use crate::wire::{ChatRequest, Message, Role, model_ids};

const LIST_TIMEOUT: Duration = Duration::from_secs(10);
const LIST_BYTES: usize = 1 << 20;
const ERROR_BYTES: usize = 4096;
const LOCAL_TIMEOUT: Duration = Duration::from_millis(300);
const SAMPLE_BYTES: usize = 300;
const TEST_PROMPT: &str = "Say hello in one short sentence.";
const TEST_TOKENS: u32 = 256;

/// What a test found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// The models that the endpoint lists; empty if it has no list.
    pub models: Vec<String>,
    /// The timed prompt, if a model was named.
    pub timed: Option<Timed>,
}

/// A timed prompt. Times are in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// The model that was asked.
    pub model: String,
    /// From the request to the first token, reasoning counted.
    pub ttft_micros: i64,
    /// From the request to the end.
    pub total_micros: i64,
    /// The beginning of the answer.
    pub text_sample: String,
}

/// Where a local server may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What commonly listens there.
    pub kind: &'static str,
    /// Its base URL.
    pub base_url: Url,
}

/// A local server that answered. It is offered to the Admin, never used unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `Ollama`, `LM Studio` or `llama.cpp`, by its port.
    pub kind: &'static str,
    /// Its base URL.
    pub base_url: Url,
    /// The models that it lists.
    pub models: Vec<String>,
}

/// Asks the endpoint for its models, in its order.
///
/// # Errors
/// [`Failed`] without a list within 10 s and 1 MiB.
pub async fn list_models(http: &Http, endpoint: &Endpoint) -> Result<Vec<String>, Failed> {
    list_within(http, endpoint, LIST_TIMEOUT).await
}

async fn list_within(http: &Http, endpoint: &Endpoint, timeout: Duration) -> Result<Vec<String>, Failed> {
    let key = endpoint.api_key.as_ref();
    let mut request = http::Request::new(Vec::new());
    *request.uri_mut() = endpoint
        .url("models")
        .as_str()
        .parse()
        .map_err(|_| Failed::new(Failure::Unreachable, "the address is not a URI"))?;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(authorization) = endpoint.authorization()? {
        headers.insert(AUTHORIZATION, authorization);
    }
    let answer = http.fetch(endpoint.reach, request, timeout, LIST_BYTES).await?;
    let body = answer.body();
    let start = String::from_utf8_lossy(&body[..body.len().min(ERROR_BYTES)]);
    if !answer.status().is_success() {
        return Err(Failed::status(answer.status(), answer.headers(), &start, key));
    }
    model_ids(body).ok_or_else(|| {
        let cause = format!("not a list of models: {start}");
        Failed::foreign(Failure::Garbage, &cause, key)
    })
}

/// Lists the endpoint's models and, if one is named, times a short prompt to it.
///
/// # Errors
/// [`Failed`] if the list or the prompt fails. A missing list (404) is forgiven where a model
/// is named: some servers have none.
pub async fn test(http: &Http, endpoint: &Endpoint, model: Option<&str>) -> Result<TestResult, Failed> {
    let models = match list_models(http, endpoint).await {
        Err(failed) if failed.kind == Failure::NotFound && model.is_some() => Vec::new(),
        listed => listed?,
    };
    let timed = match model {
        Some(model) => Some(time_prompt(http, endpoint, model).await?),
        None => None,
    };
    Ok(TestResult { models, timed })
}

async fn time_prompt(http: &Http, endpoint: &Endpoint, model: &str) -> Result<Timed, Failed> {
    let mut request = ChatRequest::new(model, vec![Message::new(Role::User, TEST_PROMPT)]);
    request.max_tokens = Some(TEST_TOKENS);
    let limits = Limits { max_bytes: 64 << 10, ..Limits::default() };
    let start = Instant::now();
    let micros = || i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX);
    let mut stream = chat(http, endpoint, &request, &limits).await?;
    let mut first = None;
    let mut text_sample = String::new();
    while let Some(delta) = stream.next().await {
        match delta? {
            Delta::Text(text) => {
                first.get_or_insert_with(micros);
                text_sample.push_str(&text);
                text_sample.truncate(text_sample.floor_char_boundary(SAMPLE_BYTES));
            }
            Delta::Reasoning(_) => {
                first.get_or_insert_with(micros);
            }
            Delta::Usage { .. } | Delta::Done { .. } => {}
        }
    }
    let total_micros = micros();
    Ok(Timed {
        model: model.to_owned(),
        ttft_micros: first.unwrap_or(total_micros),
        total_micros,
        text_sample,
    })
}

/// Looks for Ollama (11434), LM Studio (1234) and llama.cpp (8080) on 127.0.0.1, for at most
/// 300 ms. Without a key and with a list request only.
pub async fn detect_local(http: &Http) -> Vec<Found> {
    let usual = [("Ollama", 11434), ("LM Studio", 1234), ("llama.cpp", 8080)];
    let candidates: Vec<Candidate> = usual
        .into_iter()
        .filter_map(|(kind, port)| {
            let base_url = Url::parse(&format!("http://127.0.0.1:{port}/v1")).ok()?;
            Some(Candidate { kind, base_url })
        })
        .collect();
    detect(http, candidates).await
}

/// [`detect_local`] for other places.
pub async fn detect(http: &Http, candidates: Vec<Candidate>) -> Vec<Found> {
    let mut asking = tokio::task::JoinSet::new();
    for (order, candidate) in candidates.into_iter().enumerate() {
        let http = http.clone();
        asking.spawn(async move {
            let endpoint = Endpoint {
                id: candidate.kind.to_owned(),
                name: candidate.kind.to_owned(),
                base_url: candidate.base_url,
                api_key: None,
                reach: Reach::Configured,
            };
            let models = list_within(&http, &endpoint, LOCAL_TIMEOUT).await.ok()?;
            let found = Found { kind: candidate.kind, base_url: endpoint.base_url, models };
            Some((order, found))
        });
    }
    let mut found: Vec<(usize, Found)> = asking.join_all().await.into_iter().flatten().collect();
    found.sort_by_key(|(order, _)| *order);
    found.into_iter().map(|(_, found)| found).collect()
}
