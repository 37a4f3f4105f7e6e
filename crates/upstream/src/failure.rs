//! What can go wrong with a call, in words for the member, and its cause for the Admin.

use std::error::Error;

use crate::address::Refused;
use crate::endpoint::Secret;
use crate::redact;
use crate::wire::Message;

/// Longest cause that is kept, in bytes.
const CAUSE_BYTES: usize = 2048;
/// Longest wait that an upstream may ask for, in seconds.
const RETRY_AFTER_MAX: u64 = 86_400;

/// The kind of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: name, network or TLS, or the circuit is open.
    Unreachable,
    /// 401, 402 or 403: the key, its rights or its credit.
    Unauthorized,
    /// 429; the wait in seconds, if the upstream named one.
    RateLimited {
        /// Seconds to wait, from `Retry-After`.
        retry_after: Option<u64>,
    },
    /// 404: the upstream does not know the model, or no upstream serves it.
    NotFound,
    /// Another 4xx: the upstream does not take the request.
    BadRequest,
    /// The conversation does not fit the model's context.
    ContextFull,
    /// 5xx, or an error object inside an answer that had begun well (`status` 200).
    Server {
        /// HTTP status.
        status: u16,
    },
    /// The connection ended before the answer did.
    Cut,
    /// No data for the time allowed.
    Silent,
    /// The answer is not one of the chat protocol.
    Garbage,
    /// The address may not be called, or the upstream redirects (SEC-98, SEC-75).
    Blocked,
    /// The answer passed the size allowed.
    TooLong,
}

impl Failure {
    /// The name that is stored.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unauthorized => "unauthorized",
            Self::RateLimited { .. } => "rate_limited",
            Self::NotFound => "not_found",
            Self::BadRequest => "bad_request",
            Self::ContextFull => "context_full",
            Self::Server { .. } => "server",
            Self::Cut => "cut",
            Self::Silent => "silent",
            Self::Garbage => "garbage",
            Self::Blocked => "blocked",
            Self::TooLong => "too_long",
        }
    }

    /// The failure that a stored code names; its numbers are not stored.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Some(match code {
            "unreachable" => Self::Unreachable,
            "unauthorized" => Self::Unauthorized,
            "rate_limited" => Self::RateLimited { retry_after: None },
            "not_found" => Self::NotFound,
            "bad_request" => Self::BadRequest,
            "context_full" => Self::ContextFull,
            "server" => Self::Server { status: 500 },
            "cut" => Self::Cut,
            "silent" => Self::Silent,
            "garbage" => Self::Garbage,
            "blocked" => Self::Blocked,
            "too_long" => Self::TooLong,
            _ => return None,
        })
    }

    /// What happened and what to do, for the member.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "The model server cannot be reached. Try again in a minute or choose another model."
            }
            Self::Unauthorized => {
                "The model server refused this site's key. Choose another model; an Admin can see the cause."
            }
            Self::RateLimited { .. } => {
                "The model server is busy and asks to wait. Try again in a minute or choose another model."
            }
            Self::NotFound => "The model server does not know this model any more. Choose another model.",
            Self::BadRequest => {
                "The model server did not take this request. Choose another model; an Admin can see the cause."
            }
            Self::ContextFull => {
                "This chat is too long for the model. Start a new chat, or choose a model with a larger context."
            }
            Self::Server { .. } => {
                "The model server had an error of its own. Try again or choose another model."
            }
            Self::Cut => "The model server closed the connection before the answer was complete. Try again.",
            Self::Silent => "The model server sent nothing for too long. Try again or choose another model.",
            Self::Garbage => {
                "The model server sent something that is not an answer. Try again; an Admin can see the cause."
            }
            Self::Blocked => {
                "This site may not call the model server's address. Choose another model; an Admin can see the cause."
            }
            Self::TooLong => "The answer became too long and was stopped. Ask for a shorter one.",
        }
    }

    /// Whether another endpoint could do better with the same request.
    #[must_use]
    pub fn retryable_elsewhere(self) -> bool {
        !matches!(self, Self::BadRequest | Self::ContextFull | Self::TooLong)
    }

    /// Whether the endpoint itself seems broken, which is what opens its circuit. A refusal
    /// (429, a bad key, an unknown model) is an answer.
    #[must_use]
    pub fn endpoint_is_broken(self) -> bool {
        matches!(self, Self::Unreachable | Self::Server { .. } | Self::Cut | Self::Silent | Self::Garbage)
    }
}

/// A failed call: its kind, and its cause for the Admin's error list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {cause}", kind.code())]
pub struct Failed {
    /// What happened.
    pub kind: Failure,
    /// The technical cause: at most 2 KB, and without the API key.
    pub cause: String,
}

impl Failed {
    /// A failure with its cause, in one line and cut to size.
    #[must_use]
    pub fn new(kind: Failure, cause: impl Into<String>) -> Self {
        let mut cause = cause.into();
        if cause.contains(char::is_control) {
            cause = cause.chars().map(redact::visible).collect();
        }
        if cause.len() > CAUSE_BYTES {
            cause.truncate(cause.floor_char_boundary(CAUSE_BYTES));
        }
        Self { kind, cause }
    }

    /// The failure without what the messages say: its cause is for Admins, who may not read chats
    /// (SEC-100).
    #[must_use]
    pub fn without(mut self, messages: &[Message]) -> Self {
        self.cause = redact::cut_out(&self.cause, messages.iter().map(|message| message.content.as_str()));
        self
    }

    /// A failure whose cause comes from outside: scrubbed of the key, then cut to size.
    pub(crate) fn foreign(kind: Failure, cause: &str, key: Option<&Secret>) -> Self {
        Self::new(kind, scrub(cause, key))
    }

    /// A failure of the transport. Without the URL: the endpoint is known to the reader.
    pub(crate) fn transport(error: reqwest::Error, key: Option<&Secret>) -> Self {
        let kind = if chain(&error).any(|cause| cause.is::<Refused>()) {
            Failure::Blocked
        } else if error.is_connect() || error.is_dns() || error.is_builder() {
            Failure::Unreachable
        } else if error.is_timeout() {
            Failure::Silent
        } else {
            Failure::Cut
        };
        let error = error.without_url();
        let mut cause = String::new();
        for link in chain(&error) {
            let text = link.to_string();
            // Some links of the chain already print the next one.
            if !cause.ends_with(&text) {
                if !cause.is_empty() {
                    cause.push_str(": ");
                }
                cause.push_str(&text);
            }
        }
        Self::foreign(kind, &cause, key)
    }

    /// The failure that an HTTP status other than 2xx stands for, with what the body says.
    pub(crate) fn status(
        status: http::StatusCode,
        headers: &http::HeaderMap,
        body: &str,
        key: Option<&Secret>,
    ) -> Self {
        if status.is_redirection() {
            let target = headers
                .get(http::header::LOCATION)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("nowhere");
            let cause = format!(
                "HTTP {} to {target}: redirects are not followed; enter the final address",
                status.as_u16()
            );
            return Self::foreign(Failure::Blocked, &cause, key);
        }
        let retry_after = headers
            .get(http::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok())
            .map(|seconds| seconds.min(RETRY_AFTER_MAX));
        let message = match crate::wire::error_message(body) {
            Some(message) => message,
            // What proxies and crashed servers say. A refusal may be a copy of the request instead.
            None if status.is_server_error() && !looks_like_json(body) => body.trim().to_owned(),
            None => String::new(),
        };
        let kind = kind_of(status.as_u16(), retry_after, body);
        let cause = format!("HTTP {}: {message}", status.as_u16());
        Self::foreign(kind, cause.trim_end_matches([':', ' ']), key)
    }
}

/// Maps a status (or the numeric code of an error object) to a kind.
pub(crate) fn kind_of(status: u16, retry_after: Option<u64>, text: &str) -> Failure {
    match status {
        400 | 413 | 422 if names_context(text) => Failure::ContextFull,
        401..=403 => Failure::Unauthorized,
        404 => Failure::NotFound,
        429 => Failure::RateLimited { retry_after },
        400..=499 => Failure::BadRequest,
        status => Failure::Server { status },
    }
}

/// Whether an error text says that the prompt does not fit; there is no common code for it.
fn names_context(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["context_length", "context length", "context size", "context_size", "context window"]
        .iter()
        .any(|phrase| text.contains(phrase))
}

/// Whether it begins as JSON does, whole or not.
pub(crate) fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[', '"'])
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Removes the key, also one that a cut body shows only the beginning of.
fn scrub(text: &str, key: Option<&Secret>) -> String {
    let Some(key) = key.map(Secret::expose).filter(|key| !key.is_empty()) else {
        return text.to_owned();
    };
    let mut text = text.replace(key, "***");
    let cut = (4..key.len())
        .rev()
        .filter(|&length| key.is_char_boundary(length))
        .find(|&length| text.ends_with(&key[..length]));
    if let Some(length) = cut {
        text.truncate(text.len() - length);
        text.push_str("***");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_and_words_are_sentences() {
        for code in [
            "unreachable",
            "unauthorized",
            "rate_limited",
            "not_found",
            "bad_request",
            "context_full",
            "server",
            "cut",
            "silent",
            "garbage",
            "blocked",
            "too_long",
        ] {
            let failure = Failure::from_code(code);
            assert_eq!(failure.map(Failure::code), Some(code));
            assert!(failure.is_some_and(|failure| failure.words().ends_with('.')));
        }
        assert_eq!(Failure::from_code("other"), None);
    }

    #[test]
    fn sec_98_causes_are_scrubbed_and_cut() {
        let key = Secret::new("sk-0123456789");
        let failed = Failed::foreign(Failure::Garbage, "a sk-0123456789 b sk-01234", Some(&key));
        assert_eq!(failed.cause, "a *** b ***");
        let long = "é".repeat(4000);
        let failed = Failed::foreign(Failure::Garbage, &long, Some(&key));
        assert!(failed.cause.len() <= CAUSE_BYTES);
    }

    #[test]
    fn causes_are_one_line_that_any_database_takes() {
        let failed = Failed::new(Failure::Garbage, "a\0b\r\nc\u{1b}[0m");
        assert_eq!(failed.cause, "a b  c [0m");
    }

    #[test]
    fn statuses_have_kinds() {
        assert_eq!(kind_of(403, None, ""), Failure::Unauthorized);
        assert_eq!(kind_of(400, None, "maximum context length is 8"), Failure::ContextFull);
        assert_eq!(kind_of(400, None, "no"), Failure::BadRequest);
        assert_eq!(kind_of(503, None, ""), Failure::Server { status: 503 });
    }
}
