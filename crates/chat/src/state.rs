//! What a generation is doing, and the words for it.

use base::Micros;
use base::db::{DbError, Row};
use upstream::Failure;

/// State of a generation; the word stands in `generations.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Accepted; nothing is sent yet.
    Queued,
    /// The request is with the upstream.
    Thinking,
    /// The first token came.
    Streaming,
    /// Answered to the end.
    Done,
    /// Stopped by its owner; what had come is kept.
    Stopped,
    /// The upstream failed; what had come is kept.
    Failed,
    /// The server went down or was shut down meanwhile; what had come is kept.
    Interrupted,
}

impl State {
    /// The word in the database.
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

    /// From the word in the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Queued,
            Self::Thinking,
            Self::Streaming,
            Self::Done,
            Self::Stopped,
            Self::Failed,
            Self::Interrupted,
        ]
        .into_iter()
        .find(|state| state.word() == word)
    }

    /// Whether more may come.
    pub fn live(self) -> bool {
        matches!(self, Self::Queued | Self::Thinking | Self::Streaming)
    }
}

/// The codes of failures that are not an upstream's.
pub(crate) const EMPTY: &str = "empty";
pub(crate) const INTERNAL: &str = "internal";

/// What happened and what to do, in plain words, for the code of a failed generation.
pub fn failure_words(code: &str) -> &'static str {
    match code {
        EMPTY => "The model ended without writing anything. Try again or choose another model.",
        INTERNAL => "This server could not ask the model. Try again; an Admin can see the cause.",
        code => Failure::from_code(code)
            .map_or("The answer could not be completed. Try again or choose another model.", Failure::words),
    }
}

/// A generation as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenView {
    /// For Stop and for following.
    pub id: String,
    pub state: State,
    /// For `failed`: see [`failure_words`].
    pub error_code: Option<String>,
    /// When the request went out, or before that when the prompt was accepted.
    pub started_at: Micros,
    pub first_token_at: Option<Micros>,
    pub finished_at: Option<Micros>,
    /// Tokens of the answer, reported or estimated; once it has ended.
    pub tokens_out: Option<i64>,
    /// From the request to the end.
    pub duration_micros: Option<Micros>,
    /// From the request to the first token of the answer's text.
    pub ttft_micros: Option<Micros>,
}

impl GenView {
    /// A generation that was just accepted.
    pub(crate) fn queued(id: String, at: Micros) -> Self {
        Self {
            id,
            state: State::Queued,
            error_code: None,
            started_at: at,
            first_token_at: None,
            finished_at: None,
            tokens_out: None,
            duration_micros: None,
            ttft_micros: None,
        }
    }

    /// Reads nine columns from `at` on, in the order of the fields; `None` where the id is NULL.
    pub(crate) fn read(row: &Row<'_>, at: usize) -> Result<Option<Self>, DbError> {
        let Some(id) = row.at::<Option<String>>(at)? else { return Ok(None) };
        Ok(Some(Self {
            id,
            state: read_state(row, at + 1)?,
            error_code: row.at(at + 2)?,
            started_at: row.at(at + 3)?,
            first_token_at: row.at(at + 4)?,
            finished_at: row.at(at + 5)?,
            tokens_out: row.at(at + 6)?,
            duration_micros: row.at(at + 7)?,
            ttft_micros: row.at(at + 8)?,
        }))
    }
}

fn read_state(row: &Row<'_>, at: usize) -> Result<State, DbError> {
    let word: String = row.at(at)?;
    State::from_word(&word).ok_or_else(|| DbError::Corrupt {
        column: "generations.state".into(),
        problem: format!("unknown state {word}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_states_agree() {
        for word in ["queued", "thinking", "streaming", "done", "stopped", "failed", "interrupted"] {
            assert_eq!(State::from_word(word).map(State::word), Some(word));
        }
        assert_eq!(State::from_word("else"), None);
        assert!(failure_words("rate_limited").contains("busy"));
        assert!(failure_words("empty").contains("without writing"));
        assert!(failure_words("never heard of").contains("Try again"));
    }
}
