//! Which name of a model stands for which behaviour.

use std::time::Duration;

/// What a request gets. [`Behaviour::parse`] reads it from a model's name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Behaviour {
    /// `echo`: the prompt, word by word.
    Echo,
    /// `markdown`: a rich fixed answer.
    Markdown,
    /// `hostile`: an answer that tries to run scripts, load pictures and break out of its box.
    Hostile,
    /// `reasoning`: thoughts in `reasoning_content` first, then the prompt.
    Reasoning,
    /// `slow` waits for a release before the first token, `slow-N` for N milliseconds; then as `echo`.
    Slow(Option<Duration>),
    /// `slow-hold` waits for a release before the first token, and as `hold` for another one after the third.
    SlowHold,
    /// `hold`: three tokens at once, the rest of the answer after a release.
    Hold,
    /// `tokens-N@R`: N tokens, R a second; `tokens-N` as fast as they are taken.
    Tokens {
        /// How many tokens the answer has.
        count: u32,
        /// Tokens a second; 0 for no pause.
        rate: u32,
    },
    /// `fail-401`, `fail-429` (with `Retry-After: 7`), `fail-500`, …: that status with an OpenAI error body.
    Fail(u16),
    /// `fail-503-once`: the first call of the server's life gets a 503, then as `echo`.
    FailOnce,
    /// `quoting`: status 422 with a copy of the request in its body, as FastAPI does it.
    Quoting,
    /// `quoting-400`: status 400 whose message quotes the prompt.
    QuotingMessage,
    /// `huge-usage`: as `echo`, with token counts that no model has.
    HugeUsage,
    /// `cut`: some tokens, then the connection is dropped without the end of the body.
    Cut,
    /// `cut-clean`: some tokens, then a proper end of the body, but no `[DONE]` and no finish reason.
    CutClean,
    /// `silent`: takes the request, and never answers.
    Silent,
    /// `garbage`: a page of HTML with status 200.
    Garbage,
    /// `garbage-stream`: an event stream of what is not JSON.
    GarbageStream,
    /// `error-in-stream`: some tokens, then an error object as an event.
    ErrorInStream,
    /// `json`: one JSON body, even where a stream was asked for.
    Json,
    /// `empty`: a proper stream without a single token.
    Empty,
}

/// The names that `/v1/models` lists.
pub const LISTED: &[&str] = &[
    "echo",
    "markdown",
    "hostile",
    "reasoning",
    "slow",
    "slow-300",
    "hold",
    "slow-hold",
    "tokens-100@20",
    "tokens-200",
    "fail-401",
    "fail-429",
    "fail-500",
    "fail-503-once",
    "cut",
    "cut-clean",
    "silent",
    "garbage",
    "garbage-stream",
    "error-in-stream",
    "json",
    "empty",
];

impl Behaviour {
    /// The behaviour that a model's name stands for; `None` for a name that none has.
    #[must_use]
    pub fn parse(model: &str) -> Option<Self> {
        Some(match model {
            "echo" => Self::Echo,
            "markdown" => Self::Markdown,
            "hostile" => Self::Hostile,
            "reasoning" => Self::Reasoning,
            "slow" => Self::Slow(None),
            "hold" => Self::Hold,
            "slow-hold" => Self::SlowHold,
            "fail-503-once" => Self::FailOnce,
            "quoting" => Self::Quoting,
            "quoting-400" => Self::QuotingMessage,
            "huge-usage" => Self::HugeUsage,
            "cut" => Self::Cut,
            "cut-clean" => Self::CutClean,
            "silent" => Self::Silent,
            "garbage" => Self::Garbage,
            "garbage-stream" => Self::GarbageStream,
            "error-in-stream" => Self::ErrorInStream,
            "json" => Self::Json,
            "empty" => Self::Empty,
            _ => return Self::parse_figures(model),
        })
    }

    fn parse_figures(model: &str) -> Option<Self> {
        if let Some(millis) = model.strip_prefix("slow-") {
            return Some(Self::Slow(Some(Duration::from_millis(millis.parse().ok()?))));
        }
        if let Some(figures) = model.strip_prefix("tokens-") {
            let (count, rate) = figures.split_once('@').unwrap_or((figures, "0"));
            return Some(Self::Tokens { count: count.parse().ok()?, rate: rate.parse().ok()? });
        }
        let status = model.strip_prefix("fail-")?.parse().ok()?;
        (400..600).contains(&status).then_some(Self::Fail(status))
    }
}
