//! `[logging]`: how much is logged, and in which form.

use super::section::section;
use super::value::words;

words! {
    /// The form of a line of the log.
    LogFormat, "text or json" {
        /// For people.
        Text = "text",
        /// One JSON object a line, for programs.
        Json = "json",
    }
}

section! {
    /// The log, on standard error. Prompts, answers, passwords, codes and tokens are never in it.
    Logging in "logging" {
        /// `error`, `warn`, `info`, `debug` or `trace`, also by part: `info,base=debug` shows
        /// every statement. Of libraries only warnings are logged: they do not know what is secret.
        filter: String = "info".to_owned(),
        /// `text` or `json`.
        format: LogFormat = LogFormat::Text,
    }
}

impl Logging {
    pub(super) fn check(&self, wrong: &mut super::Problems) {
        if self.filter.parse::<tracing_subscriber::filter::Targets>().is_err() {
            wrong.add("logging.filter", "a level such as info, or a list such as info,base=debug");
        }
    }
}
