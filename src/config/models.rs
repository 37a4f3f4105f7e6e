//! `[models]`: how long a model may take, and how much goes in and out.

use std::time::Duration;

use super::section::section;

section! {
    /// Talking to models.
    Models in "models" {
        /// Seconds that a model gets for its first word.
        first_token_seconds: u32 = 60,
        /// Seconds of silence within an answer after which it counts as failed.
        idle_seconds: u32 = 60,
        /// Longest prompt, in characters.
        max_prompt_chars: usize = 32_000,
        /// How much of a chat is sent along with a prompt, in characters, newest first.
        max_history_chars: usize = 200_000,
        /// Longest answer, in bytes; what came until there is kept.
        max_answer_bytes: usize = 2 * 1024 * 1024,
        /// Whether the built-in demo model answers while there is no other.
        demo: bool = true,
        /// Whether Ollama, LM Studio and llama.cpp are looked for on this machine at start. They
        /// are offered to the Admin and never used unasked.
        detect_local: bool = true,
    }
}

impl Models {
    pub(super) fn check(&self, wrong: &mut super::Problems) {
        if !(1..=3600).contains(&self.first_token_seconds) {
            wrong.add("models.first_token_seconds", "a whole number from 1 to 3600");
        }
        if !(1..=3600).contains(&self.idle_seconds) {
            wrong.add("models.idle_seconds", "a whole number from 1 to 3600");
        }
        if !(1..=1_000_000).contains(&self.max_prompt_chars) {
            wrong.add("models.max_prompt_chars", "a whole number from 1 to 1000000");
        }
        if !(self.max_prompt_chars..=100_000_000).contains(&self.max_history_chars) {
            wrong.add("models.max_history_chars", "a whole number from models.max_prompt_chars to 100000000");
        }
        if !(1024..=64 * 1024 * 1024).contains(&self.max_answer_bytes) {
            wrong.add("models.max_answer_bytes", "a whole number from 1024 to 67108864");
        }
    }

    pub fn first_token(&self) -> Duration {
        Duration::from_secs(self.first_token_seconds.into())
    }

    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds.into())
    }
}
