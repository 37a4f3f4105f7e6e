//! `anteroom doctor`: looks at everything that the server depends on, one line each, and changes nothing.

mod clock;
mod database;
mod folder;
mod mail;
mod network;
mod providers;
mod upstreams;

use std::fmt;

use clap::Args;

use self::database::State;
pub use self::mail::folder as mail_folder;
use super::Failure;
use crate::app::{App, Outside};
use crate::config::Config;

#[derive(Args)]
pub struct Doctor {
    /// Send a test mail to this address, at once and not through the outbox
    #[arg(long, value_name = "ADDRESS")]
    mail_to: Option<String>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// It works, but perhaps not as meant.
    Warn,
    /// Something does not work.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

/// One check's line: what was looked at, what was found, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    name: String,
    words: String,
}

impl Finding {
    fn new(verdict: Verdict, name: impl Into<String>, words: impl Into<String>) -> Self {
        Self { verdict, name: name.into(), words: words.into() }
    }

    fn ok(name: impl Into<String>, words: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, name, words)
    }

    fn warn(name: impl Into<String>, words: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, name, words)
    }

    fn fail(name: impl Into<String>, words: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, name, words)
    }
}

impl fmt::Display for Finding {
    /// Always one line: what others say may have more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(f, "{:<4}  {}: {words}", self.verdict, self.name)
    }
}

/// Prints each line as soon as it is known.
#[derive(Default)]
struct Report {
    warnings: usize,
    failures: usize,
}

impl Report {
    fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            match finding.verdict {
                Verdict::Ok => {}
                Verdict::Warn => self.warnings += 1,
                Verdict::Fail => self.failures += 1,
            }
            println!("{finding}");
        }
    }
}

/// Runs all checks.
///
/// # Errors
/// At least one failed.
pub async fn run(config: Config, doctor: &Doctor) -> Result<(), Failure> {
    let outside = Outside::real();
    let clock = outside.clock.clone();
    let mut report = Report::default();
    report.add(network::check(&config));
    report.add(folder::check(&config));
    let (state, findings) = database::check(&config, &clock).await;
    report.add(findings);
    // A database of an older version is left alone: building the application would change it.
    if state == State::Current {
        match App::build(config.clone(), outside.clone()).await {
            Ok(app) => {
                report.add([Finding::ok("secret key", "it is the one that sealed this database")]);
                report.add(mail::outbox(&app).await);
                report.add(upstreams::check(&config, &clock, Some(&app)).await);
                report.add(providers::check(&config, &clock, Some(&app)).await);
                app.db.close().await;
            }
            Err(error) => {
                report.add([Finding::fail("start", error.to_string())]);
                report.add(upstreams::check(&config, &clock, None).await);
                report.add(providers::check(&config, &clock, None).await);
            }
        }
    } else {
        report.add(upstreams::check(&config, &clock, None).await);
        report.add(providers::check(&config, &clock, None).await);
    }
    report.add(mail::check(&config, &outside, doctor.mail_to.as_deref()).await);
    match report.failures {
        0 => Ok(()),
        1 => Err(Failure::Failed("one check failed; its line says what to do".to_owned())),
        n => Err(Failure::Failed(format!("{n} checks failed; their lines say what to do"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_whatever_others_say() {
        let finding = Finding::fail("mail", "it said\r\n550 no\nsuch mailbox");
        assert_eq!(finding.to_string(), "FAIL  mail: it said 550 no such mailbox");
        assert_eq!(Finding::ok("clock", "good").to_string(), "ok    clock: good");
    }
}
