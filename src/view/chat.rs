//! The chat page: the rail with its chats, the messages of a thread, the composer.
//!
//! `assets/js/chat.js` brings these to life; what it expects of the mark-up stands at its top.

use std::sync::Arc;

use askama::Template;
use time::OffsetDateTime;

use super::format::{self, utc};
use super::{Choice, Page, filters};

/// A chat in the rail.
#[derive(Clone, Debug)]
pub struct ChatLink {
    pub id: String,
    pub title: String,
    /// Unix microseconds; newest first in the list.
    pub updated_at: i64,
    /// The one that is open.
    pub current: bool,
    /// An answer is being written in it.
    pub live: bool,
}

/// Chats of one span of time.
#[derive(Clone, Debug)]
pub struct RailGroup {
    pub label: String,
    pub chats: Vec<ChatLink>,
}

/// The list in the rail. Every page on `shell_chat.html` has one, named `rail`.
#[derive(Clone, Debug, Default)]
pub struct Rail {
    pub groups: Vec<RailGroup>,
    /// Address of the next page of older chats.
    pub more: Option<String>,
}

impl Rail {
    /// Groups chats, newest first, by day: Today, Yesterday, Last 7 days, then months. Days are UTC.
    pub fn new(chats: impl IntoIterator<Item = ChatLink>, now_micros: i64) -> Self {
        let mut groups: Vec<RailGroup> = Vec::new();
        for chat in chats {
            let label = span(chat.updated_at, now_micros);
            match groups.last_mut() {
                Some(group) if group.label == label => group.chats.push(chat),
                _ => groups.push(RailGroup { label, chats: vec![chat] }),
            }
        }
        Self { groups, more: None }
    }
}

fn span(micros: i64, now_micros: i64) -> String {
    let (Some(at), Some(now)) = (utc(micros), utc(now_micros)) else {
        return "Earlier".to_owned();
    };
    let days = now.to_julian_day() - at.to_julian_day();
    match days {
        ..1 => "Today".to_owned(),
        1 => "Yesterday".to_owned(),
        2..8 => "Last 7 days".to_owned(),
        8..31 => "Last 30 days".to_owned(),
        _ => month_of(at, now),
    }
}

fn month_of(at: OffsetDateTime, now: OffsetDateTime) -> String {
    if at.year() == now.year() { at.month().to_string() } else { format!("{} {}", at.month(), at.year()) }
}

/// State of an answer; the word stands in `data-state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Queued,
    Thinking,
    Streaming,
    Done,
    Stopped,
    Failed,
    Interrupted,
}

impl State {
    /// From the word in the database; an unknown one counts as interrupted, so that Retry is offered.
    pub fn from_word(word: &str) -> Self {
        match word {
            "queued" => Self::Queued,
            "thinking" => Self::Thinking,
            "streaming" => Self::Streaming,
            "done" => Self::Done,
            "stopped" => Self::Stopped,
            "failed" => Self::Failed,
            _ => Self::Interrupted,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Thinking => "thinking",
            Self::Streaming => "streaming",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether more may come.
    pub fn live(self) -> bool {
        matches!(self, Self::Queued | Self::Thinking | Self::Streaming)
    }
}

/// What a person wrote.
#[derive(Clone, Debug)]
pub struct Prompt {
    pub id: String,
    pub text: String,
}

/// What a model writes, wrote, or could not.
#[derive(Clone, Debug)]
pub struct Answer {
    pub id: String,
    /// For Stop.
    pub generation: String,
    pub state: State,
    pub model: String,
    /// Unix microseconds.
    pub started_at: i64,
    pub finished_at: Option<i64>,
    /// Sanitized HTML, each block in its `<div class="block">` (SEC-89: by the renderer, never from
    /// elsewhere).
    pub html: Arc<str>,
    /// What went wrong and what was kept, for `failed` and `interrupted`, in plain words.
    pub problem: Option<Problem>,
    /// Figures under a finished answer: "first token 0.412 s", "412 tokens", "58 tok/s".
    pub figures: Vec<String>,
    /// Where it was answered more than once.
    pub versions: Option<Versions>,
    /// Whether it can be answered again: not a greeting.
    pub again: bool,
}

/// Which of several answers to one prompt is shown.
#[derive(Clone, Debug)]
pub struct Versions {
    /// From 1.
    pub number: usize,
    pub count: usize,
    /// Message id of the one before.
    pub before: Option<String>,
    pub after: Option<String>,
}

impl Answer {
    /// Seconds and tenths from the start to now, as the running clock shows them without a script.
    pub fn elapsed(&self, now_micros: &i64) -> String {
        format::duration(now_micros.saturating_sub(self.started_at))
    }
}

/// A failure as its message shows it (SEC-88: never a cause).
#[derive(Clone, Debug)]
pub struct Problem {
    /// "No answer came"
    pub title: String,
    /// What happened, what was kept, what to do.
    pub text: String,
}

/// A message of the thread. In a template: `{% include "partials/message.html" %}` with `message` and `page`.
#[derive(Clone, Debug)]
pub enum Message {
    Prompt(Prompt),
    Answer(Box<Answer>),
}

/// The form under the thread.
#[derive(Clone, Debug)]
pub struct Composer {
    /// `/chat` for a new chat, else `/chat/{id}/messages`.
    pub action: String,
    pub models: Vec<Choice>,
    /// What stands in it: carried through a sign-in, or refused.
    pub draft: String,
    /// Why the last prompt was not taken, in plain words.
    pub error: Option<String>,
    /// What is left of a budget, if there is one.
    pub left: Option<String>,
}

/// `GET /chat` (a new one) and `GET /chat/{id}`.
#[derive(Template)]
#[template(path = "chat.html")]
pub struct ChatPage {
    pub page: Page,
    pub rail: Rail,
    /// `None` for a chat that begins with its first prompt.
    pub id: Option<String>,
    /// Address of the part of the thread before this one.
    pub earlier: Option<String>,
    pub thread: Vec<Message>,
    /// Whether an answer is being written: without scripts the page then loads itself again.
    pub live: bool,
    pub composer: Composer,
}
