//! The OpenAI wire format, as far as a chat needs it: what we send is exact, what we read is
//! tolerant (unknown fields are ignored, optional ones of a wrong shape count as missing).

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::stream::Delta;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that stand before the conversation.
    System,
    /// The member.
    User,
    /// The model.
    Assistant,
}

/// One message of the conversation.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        let content = content.into();
        Self { role, content }
    }
}

/// Prompts are never logged (SEC-97), so `Debug` shows only their size.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({} bytes)", self.role, self.content.len())
    }
}

/// What the answer's stream shall carry besides the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StreamOptions {
    /// Ask for the token counts at the end.
    pub include_usage: bool,
}

/// The body of `POST /v1/chat/completions`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChatRequest {
    /// The model's name at the upstream.
    pub model: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Stream the answer.
    pub stream: bool,
    /// Options of the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
    /// Sampling temperature, 0 to 2; the upstream's default if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Most tokens to answer with; the upstream's default if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
}

impl ChatRequest {
    /// A streaming request that asks for token counts.
    #[must_use]
    pub fn new(model: impl Into<String>, messages: Vec<Message>) -> Self {
        Self {
            model: model.into(),
            messages,
            stream: true,
            stream_options: Some(StreamOptions { include_usage: true }),
            temperature: None,
            max_tokens: None,
        }
    }
}

/// A chunk of a streamed answer, or a whole answer: they differ in `delta` and `message` only.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Chunk {
    #[serde(default, deserialize_with = "lenient")]
    choices: Option<Vec<Choice>>,
    #[serde(default, deserialize_with = "lenient")]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default, deserialize_with = "lenient")]
    delta: Option<Part>,
    #[serde(default, deserialize_with = "lenient")]
    message: Option<Part>,
    #[serde(default, deserialize_with = "lenient")]
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default, deserialize_with = "lenient")]
    reasoning_content: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    reasoning: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    refusal: Option<String>,
}

/// Both numbers or nothing.
#[derive(Debug, Deserialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
}

/// An optional field of the wrong shape counts as missing.
fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// What one chunk says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) deltas: Vec<Delta>,
    pub(crate) finish_reason: Option<String>,
}

/// An error object inside an answer.
#[derive(Debug, PartialEq)]
pub(crate) struct WireError {
    pub(crate) message: String,
    /// Its `code`, where that is an HTTP status.
    pub(crate) status: Option<u16>,
}

impl Chunk {
    /// The chunk's deltas in order: reasoning, text, usage.
    pub(crate) fn said(self) -> Result<Said, WireError> {
        if let Some(error) = self.error.filter(|error| !error.is_null()) {
            let status = error
                .get("code")
                .and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()))
                .and_then(|code| u16::try_from(code).ok())
                .filter(|code| (400..600).contains(code));
            let message = described(&error).unwrap_or_else(|| "without a message".to_owned());
            return Err(WireError { message, status });
        }
        let mut said = Said::default();
        // One answer is asked for, so the first choice is all there is.
        if let Some(choice) = self.choices.unwrap_or_default().into_iter().next() {
            if let Some(part) = choice.delta.or(choice.message) {
                part.deltas(&mut said.deltas);
            }
            said.finish_reason = choice.finish_reason;
        }
        if let Some(usage) = self.usage {
            said.deltas.push(Delta::Usage { input: usage.prompt_tokens, output: usage.completion_tokens });
        }
        Ok(said)
    }

    /// Whether this looks like a chat answer at all.
    pub(crate) fn has_choices(&self) -> bool {
        self.choices.is_some() || self.error.is_some()
    }
}

impl Part {
    fn deltas(self, out: &mut Vec<Delta>) {
        let mut add = |reasoning: bool, text: String| {
            if !text.is_empty() {
                out.push(if reasoning { Delta::Reasoning(text) } else { Delta::Text(text) });
            }
        };
        add(true, self.reasoning_content.or(self.reasoning).unwrap_or_default());
        match self.content {
            Some(Value::String(text)) => add(false, text),
            // Some servers send content as typed parts; a thinking part holds parts itself.
            Some(Value::Array(parts)) => {
                for part in &parts {
                    match part.get("thinking") {
                        Some(thinking) => add(true, flat_text(thinking)),
                        None => add(false, flat_text(part)),
                    }
                }
            }
            _ => {}
        }
        add(false, self.refusal.unwrap_or_default());
    }
}

/// The text of a part, of a list of parts, or of a string.
fn flat_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        other => other.get("text").and_then(Value::as_str).unwrap_or_default().to_owned(),
    }
}

/// What an error says in a field made for that: its message, else its type and code; for a list of
/// validation errors what each says, and of which field. The rest may be a copy of the request
/// (FastAPI's `input`), which nobody else may read (SEC-100).
fn described(error: &Value) -> Option<String> {
    let text = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let joined = |parts: Vec<String>, by: &str| (!parts.is_empty()).then(|| parts.join(by));
    match error {
        Value::Array(list) => {
            let line = |entry: &Value| {
                let message = entry.get("msg").and_then(text)?;
                let field = entry.get("loc")?.as_array()?.iter().filter_map(text).collect();
                Some(
                    joined(field, ".")
                        .map_or_else(|| message.clone(), |field| format!("{message} ({field})")),
                )
            };
            joined(list.iter().filter_map(line).take(5).collect(), "; ")
        }
        Value::Object(_) => error.get("message").and_then(text).or_else(|| {
            joined(["type", "code"].iter().filter_map(|name| text(error.get(name)?)).collect(), ", ")
        }),
        other => text(other),
    }
}

/// What an error body says, where it is JSON of a known shape.
pub(crate) fn error_message(body: &str) -> Option<String> {
    let value: Value = serde_json::from_str(body).ok()?;
    let parts = ["error", "message", "detail"].iter().filter_map(|name| value.get(name));
    parts.filter_map(described).next().or_else(|| described(value.as_object().map(|_| &value)?))
}

/// The ids in the answer of `GET /v1/models` (`{"data":[{"id":…}]}`, or the bare list that a few
/// servers send), in their order. `None` if it is no such answer.
pub(crate) fn model_ids(body: &[u8]) -> Option<Vec<String>> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let list = value.get("data").unwrap_or(&value).as_array()?;
    let mut ids: Vec<String> = Vec::with_capacity(list.len());
    for id in list.iter().filter_map(|entry| entry.get("id")?.as_str()) {
        let fits = !id.is_empty() && id.len() <= 256 && !id.chars().any(char::is_control);
        if fits && !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    Some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: &str) -> Option<Said> {
        serde_json::from_str::<Chunk>(json).ok()?.said().ok()
    }

    #[test]
    fn odd_chunks_are_tolerated() {
        let text = |text: &str| Delta::Text(text.to_owned());
        let deltas = |json| said(json).map(|said| said.deltas);
        assert_eq!(deltas(r#"{"choices":[{"delta":{"content":"a","x":1}}],"y":[]}"#), Some(vec![text("a")]));
        assert_eq!(
            deltas(r#"{"choices":[{"delta":{"role":"assistant","content":null}}],"usage":null}"#),
            Some(vec![])
        );
        assert_eq!(deltas(r#"{"choices":[],"usage":{"prompt_tokens":3}}"#), Some(vec![]));
        assert_eq!(
            deltas(r#"{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":2}}"#),
            Some(vec![])
        );
        assert_eq!(
            deltas(r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#),
            Some(vec![Delta::Usage { input: 3, output: 2 }])
        );
        assert_eq!(
            deltas(r#"{"choices":[{"delta":{"reasoning_content":"hm","content":"a"}}]}"#),
            Some(vec![Delta::Reasoning("hm".into()), text("a")])
        );
        assert_eq!(
            deltas(
                r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"}]}}]}"#
            ),
            Some(vec![Delta::Reasoning("hm".into()), text("a")])
        );
        assert_eq!(
            deltas(r#"{"choices":[{"message":{"content":"whole"},"finish_reason":"stop"}]}"#),
            Some(vec![text("whole")])
        );
    }

    #[test]
    fn errors_inside_are_seen() {
        let error =
            |json: &str| serde_json::from_str::<Chunk>(json).ok().and_then(|chunk| chunk.said().err());
        assert_eq!(
            error(r#"{"error":{"message":"no","code":429}}"#),
            Some(WireError { message: "no".into(), status: Some(429) })
        );
        assert_eq!(error(r#"{"error":"no"}"#), Some(WireError { message: "no".into(), status: None }));
        assert_eq!(error(r#"{"error":null,"choices":[]}"#), None);
        let said = |body: &str| error_message(body).unwrap_or_default();
        assert_eq!(said(r#"{"detail":"gone"}"#), "gone");
        assert_eq!(
            said(r#"{"error":{"type":"invalid","code":"no_tools","param":"secret"}}"#),
            "invalid, no_tools"
        );
        assert_eq!(said(r#"{"object":"error","type":"invalid","code":400}"#), "invalid, 400");
        assert_eq!(said(" plain "), "");
        assert_eq!(said(r#"["secret"]"#), "");
    }

    /// SEC-100: validation errors repeat the request; only what is wrong with it is kept.
    #[test]
    fn sec_100_copies_of_the_request_are_left_out() {
        let body = r#"{"detail":[{"type":"missing","loc":["body","messages",0,"role"],"msg":"Field required","input":{"content":"secret"}},{"msg":"Bad","loc":[]}]}"#;
        assert_eq!(error_message(body).as_deref(), Some("Field required (body.messages.0.role); Bad"));
        assert_eq!(error_message(r#"{"request":{"content":"secret"}}"#), None);
        assert_eq!(error_message(r#"{"error":{"body":"secret"}}"#), None);
    }

    #[test]
    fn model_lists_are_read() {
        let ids = |json: &str| model_ids(json.as_bytes());
        assert_eq!(
            ids(r#"{"data":[{"id":"b"},{"id":"a"},{"id":"b"},{"x":1}]}"#),
            Some(vec!["b".into(), "a".into()])
        );
        assert_eq!(ids(r#"[{"id":"a"}]"#), Some(vec!["a".into()]));
        assert_eq!(ids(r#"{"hello":1}"#), None);
        assert_eq!(ids("<html>"), None);
    }

    #[test]
    fn requests_carry_only_what_is_set_and_hide_prompts_from_debug() {
        let request = ChatRequest::new("m", vec![Message::new(Role::User, "hush")]);
        let json = serde_json::to_string(&request).unwrap_or_default();
        assert_eq!(
            json,
            r#"{"model":"m","messages":[{"role":"user","content":"hush"}],"stream":true,"stream_options":{"include_usage":true}}"#
        );
        assert!(!format!("{request:?}").contains("hush"));
    }
}
