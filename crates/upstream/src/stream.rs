//! One answer, read as it comes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use tokio::time::{Instant, timeout_at};

use crate::breaker::Slot;
use crate::client::{Http, read_start};
use crate::demo::Demo;
use crate::endpoint::{Endpoint, Secret};
use crate::failure::{Failed, Failure, kind_of, looks_like_json};
use crate::sse::Sse;
use crate::wire::{ChatRequest, Chunk};

/// How much of an error's body is read for the cause.
const ERROR_BYTES: usize = 64 << 10;
/// After a finish reason only the counts are missing: how long to wait for them.
const GRACE: Duration = Duration::from_secs(2);
/// Bytes on the wire for a byte of text: a chunk of one word is some 250 bytes.
const WIRE_FACTOR: usize = 256;

/// Limits of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest wait from the request to the first byte of the answer's body.
    pub first_byte: Duration,
    /// Longest wait between two pieces of it.
    pub idle: Duration,
    /// Most bytes of text and reasoning.
    pub max_bytes: usize,
}

impl Default for Limits {
    /// 60 s for the first byte and between pieces, 4 MiB of text.
    fn default() -> Self {
        Self { first_byte: Duration::from_secs(60), idle: Duration::from_secs(60), max_bytes: 4 << 20 }
    }
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Text of the answer; never empty.
    Text(String),
    /// Text of the model's reasoning; never empty.
    Reasoning(String),
    /// Token counts as the upstream reports them; a later one replaces an earlier one.
    Usage {
        /// Tokens of the prompt.
        input: u64,
        /// Tokens of the answer.
        output: u64,
    },
    /// The answer is complete; nothing follows.
    Done {
        /// Why the model stopped (`stop`, `length`, …), if it said so.
        finish_reason: Option<String>,
    },
}

/// An answer as it comes. Dropping it stops the call.
#[derive(Debug)]
pub struct ChatStream {
    source: Source,
    /// Deltas that are read but not yet given out.
    ready: VecDeque<Delta>,
    ended: bool,
    /// Where the pool hears how it went.
    slot: Option<Arc<Slot>>,
}

#[derive(Debug)]
enum Source {
    Live(Box<Live>),
    Demo(Demo),
    Nothing,
}

/// Sends a chat request and comes back when the head of the answer is there.
///
/// # Errors
/// [`Failed`] if there is no answer, or its status or content type is not one of a chat.
pub async fn chat(
    http: &Http,
    endpoint: &Endpoint,
    request: &ChatRequest,
    limits: &Limits,
) -> Result<ChatStream, Failed> {
    let deadline = Instant::now() + limits.first_byte;
    let head = async {
        let first = send(http, endpoint, request).await;
        let refused_options = request.stream_options.is_some()
            && matches!(&first, Err(refused)
                if refused.failed.kind == Failure::BadRequest && refused.body.contains("stream_options"));
        if refused_options {
            // Older servers know streams, but not this option.
            let plain = ChatRequest { stream_options: None, ..request.clone() };
            return send(http, endpoint, &plain).await;
        }
        first
    };
    let response = timeout_at(deadline, head).await.map_err(|_| {
        let waited = limits.first_byte.as_millis();
        Failed::new(Failure::Silent, format!("no answer within {waited} ms"))
    })?;
    let mut response = response.map_err(|refused| refused.failed)?;
    let mode = mode_of(&response)?;
    // The headers share the connection's first read buffer, 8 KiB that would stay as long as they.
    drop(std::mem::take(response.headers_mut()));
    response.extensions_mut().clear();
    Ok(ChatStream::new(Source::Live(Box::new(Live {
        response,
        piece: Bytes::new(),
        mode,
        finish_reason: None,
        quiet_until: deadline,
        limits: *limits,
        text_bytes: 0,
        wire_bytes: 0,
        key: endpoint.api_key.clone(),
    }))))
}

/// A call that was not answered.
struct Refused {
    failed: Failed,
    /// The beginning of what came instead; only for looking something up in it.
    body: String,
}

impl From<Failed> for Refused {
    fn from(failed: Failed) -> Self {
        Self { failed, body: String::new() }
    }
}

async fn send(http: &Http, endpoint: &Endpoint, request: &ChatRequest) -> Result<reqwest::Response, Refused> {
    let key = endpoint.api_key.as_ref();
    let body =
        serde_json::to_vec(request).map_err(|error| Failed::new(Failure::BadRequest, error.to_string()))?;
    let mut call = reqwest::Request::new(http::Method::POST, endpoint.url("chat/completions"));
    let headers = call.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
    if let Some(authorization) = endpoint.authorization()? {
        headers.insert(AUTHORIZATION, authorization);
    }
    *call.body_mut() = Some(body.into());
    let mut response = http.execute(endpoint.reach, call).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    let body = read_start(&mut response, ERROR_BYTES).await;
    let failed = Failed::status(response.status(), response.headers(), &body, key);
    Err(Refused { failed, body })
}

/// How the body is to be read, by its content type; without one it is taken for a stream.
fn mode_of(response: &reqwest::Response) -> Result<Mode, Failed> {
    let Some(value) = response.headers().get(CONTENT_TYPE) else {
        return Ok(Mode::Events(Sse::default()));
    };
    let value = String::from_utf8_lossy(value.as_bytes());
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("text/event-stream") {
        Ok(Mode::Events(Sse::default()))
    } else if essence.eq_ignore_ascii_case("application/json") {
        Ok(Mode::Whole(Vec::new()))
    } else {
        Err(Failed::new(
            Failure::Garbage,
            format!("the answer's content type is {essence}, not text/event-stream"),
        ))
    }
}

impl ChatStream {
    fn new(source: Source) -> Self {
        Self { source, ready: VecDeque::new(), ended: false, slot: None }
    }

    pub(crate) fn demo(demo: Demo) -> Self {
        Self::new(Source::Demo(demo))
    }

    /// Lets the pool hear the outcome.
    pub(crate) fn report_to(&mut self, slot: Arc<Slot>) {
        self.slot = Some(slot);
    }

    /// The next delta; `None` after [`Delta::Done`] or an error. Cancel-safe: a call that is
    /// dropped loses nothing and does not start the idle time again.
    pub async fn next(&mut self) -> Option<Result<Delta, Failed>> {
        loop {
            if let Some(delta) = self.ready.pop_front() {
                if matches!(delta, Delta::Done { .. }) {
                    self.end(None);
                }
                return Some(Ok(delta));
            }
            let step = match &mut self.source {
                Source::Live(live) if !self.ended => live.step(&mut self.ready).await,
                Source::Demo(demo) if !self.ended => {
                    self.ready.push_back(demo.next().await);
                    Ok(())
                }
                _ => return None,
            };
            if let Err(failed) = step {
                self.end(Some(failed.kind));
                return Some(Err(failed));
            }
        }
    }

    /// Waits until the first delta is there, without taking it.
    pub(crate) async fn peek(&mut self) -> Result<(), Failed> {
        match self.next().await {
            Some(Ok(delta)) => {
                self.ready.push_front(delta);
                Ok(())
            }
            Some(Err(failed)) => Err(failed),
            None => Err(Failed::new(Failure::Cut, "the stream is over")),
        }
    }

    /// Tells the outcome and gives the connection back.
    fn end(&mut self, failure: Option<Failure>) {
        self.ended = true;
        self.source = Source::Nothing;
        if let Some(slot) = self.slot.take() {
            match failure {
                Some(failure) => slot.failed(failure),
                None => slot.completed(),
            }
        }
    }
}

#[derive(Debug)]
enum Mode {
    Events(Sse),
    /// A server that does not stream: one JSON body.
    Whole(Vec<u8>),
}

/// An answer on the wire. Small on purpose: a thousand are open at once.
#[derive(Debug)]
struct Live {
    response: reqwest::Response,
    /// What came last and is not yet read.
    piece: Bytes,
    mode: Mode,
    finish_reason: Option<String>,
    /// Without data until then, the answer counts as silent.
    quiet_until: Instant,
    limits: Limits,
    text_bytes: usize,
    wire_bytes: usize,
    key: Option<Secret>,
}

impl Live {
    /// Reads on until there is something ready, or one more piece is there.
    async fn step(&mut self, ready: &mut VecDeque<Delta>) -> Result<(), Failed> {
        if !self.piece.is_empty() {
            return self.read_piece(ready);
        }
        let finished = self.finish_reason.is_some();
        match timeout_at(self.quiet_until, self.response.chunk()).await {
            Ok(Ok(Some(piece))) => self.take_piece(piece),
            Ok(Ok(None)) => self.end_of_body(ready),
            Ok(Err(_)) | Err(_) if finished => {
                self.done(ready);
                Ok(())
            }
            Ok(Err(error)) => Err(Failed::transport(error, self.key.as_ref())),
            Err(_) => Err(Failed::new(Failure::Silent, "no data within the idle time")),
        }
    }

    fn take_piece(&mut self, piece: Bytes) -> Result<(), Failed> {
        let wait = match self.finish_reason {
            Some(_) => self.limits.idle.min(GRACE),
            None => self.limits.idle,
        };
        self.quiet_until = Instant::now() + wait;
        self.wire_bytes += piece.len();
        if self.wire_bytes > self.limits.max_bytes.saturating_mul(WIRE_FACTOR) {
            return Err(too_long("the stream"));
        }
        match &mut self.mode {
            Mode::Events(_) => self.piece = piece,
            Mode::Whole(body) => {
                // JSON escapes make a body up to six times as long as its text.
                if body.len() + piece.len() > self.limits.max_bytes.saturating_mul(6) {
                    return Err(too_long("the body"));
                }
                body.extend_from_slice(&piece);
            }
        }
        Ok(())
    }

    fn read_piece(&mut self, ready: &mut VecDeque<Delta>) -> Result<(), Failed> {
        while ready.is_empty() {
            let Mode::Events(sse) = &mut self.mode else {
                break;
            };
            match sse.next(&mut self.piece) {
                Ok(Some(event)) => self.read_event(&event, ready)?,
                Ok(None) => break,
                Err(_) => return Err(too_long("an event of the stream")),
            }
        }
        if self.piece.is_empty() {
            // An empty piece still holds the connection's buffer: without it that one is read into again.
            self.piece = Bytes::new();
        }
        Ok(())
    }

    fn read_event(&mut self, event: &[u8], ready: &mut VecDeque<Delta>) -> Result<(), Failed> {
        let event = event.trim_ascii();
        if event == b"[DONE]" {
            self.done(ready);
            return Ok(());
        }
        if event.is_empty() {
            return Ok(());
        }
        let chunk: Chunk =
            serde_json::from_slice(event).map_err(|error| self.garbage(&place(&error), event))?;
        self.say(chunk, ready)
    }

    fn say(&mut self, chunk: Chunk, ready: &mut VecDeque<Delta>) -> Result<(), Failed> {
        let said = chunk.said().map_err(|error| {
            // The head said 200, so without a code of its own that is the status.
            let kind = kind_of(error.status.unwrap_or(200), None, &error.message);
            let cause = format!("error in the answer: {}", error.message);
            Failed::foreign(kind, &cause, self.key.as_ref())
        })?;
        for delta in &said.deltas {
            if let Delta::Text(text) | Delta::Reasoning(text) = delta {
                self.text_bytes += text.len();
            }
        }
        if self.text_bytes > self.limits.max_bytes {
            return Err(too_long("the answer"));
        }
        ready.extend(said.deltas);
        if said.finish_reason.is_some() {
            self.finish_reason = said.finish_reason;
            self.quiet_until = self.quiet_until.min(Instant::now() + GRACE);
        }
        Ok(())
    }

    fn end_of_body(&mut self, ready: &mut VecDeque<Delta>) -> Result<(), Failed> {
        match &mut self.mode {
            Mode::Whole(body) => {
                let body = std::mem::take(body);
                let chunk: Chunk =
                    serde_json::from_slice(&body).map_err(|error| self.garbage(&place(&error), &body))?;
                if !chunk.has_choices() {
                    return Err(self.garbage("no choices", &body));
                }
                self.say(chunk, ready)?;
                self.done(ready);
                Ok(())
            }
            Mode::Events(sse) => {
                let last = sse.finish().map_err(|_| too_long("an event of the stream"))?;
                let strange = sse.is_strange();
                // An unfinished event that is not whole is the cut itself.
                if let Some(event) = last.filter(|event| is_whole(event)) {
                    self.read_event(&event, ready)?;
                }
                if matches!(ready.back(), Some(Delta::Done { .. })) {
                    return Ok(());
                }
                if self.finish_reason.is_some() {
                    self.done(ready);
                } else if strange && self.text_bytes == 0 {
                    return Err(Failed::new(Failure::Garbage, "the body is no stream of events"));
                } else if ready.is_empty() {
                    return Err(Failed::new(
                        Failure::Cut,
                        "the stream ended without [DONE] and without a finish reason",
                    ));
                }
                Ok(())
            }
        }
    }

    fn done(&mut self, ready: &mut VecDeque<Delta>) {
        ready.push_back(Delta::Done { finish_reason: self.finish_reason.take() });
    }

    /// With the data itself only where that is no part of an answer: nobody else may read one
    /// (SEC-100).
    fn garbage(&self, error: &str, data: &[u8]) -> Failed {
        let start = String::from_utf8_lossy(&data[..data.len().min(ERROR_BYTES)]);
        let cause = if self.text_bytes > 0 || looks_like_json(&start) {
            format!("not an answer ({error}): {} bytes", data.len())
        } else {
            format!("not an answer ({error}): {start}")
        };
        Failed::foreign(Failure::Garbage, &cause, self.key.as_ref())
    }
}

/// What is wrong with the JSON, without anything of what it says.
fn place(error: &serde_json::Error) -> String {
    if error.is_data() { "another shape".to_owned() } else { error.to_string() }
}

fn is_whole(event: &[u8]) -> bool {
    let event = event.trim_ascii();
    event == b"[DONE]" || serde_json::from_slice::<serde::de::IgnoredAny>(event).is_ok()
}

fn too_long(what: &str) -> Failed {
    Failed::new(Failure::TooLong, format!("{what} is over its size limit"))
}
