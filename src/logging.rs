//! The log: one line an event on standard error, as text for people or as JSON for programs.
//!
//! Lines are written by a thread of their own, many at once. What a field holds cannot end a line
//! or begin another (SEC-97), and a field with the name of a secret is never written out.

mod line;
mod queue;

use std::io::{self, Write};

use base::Clock;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::line::Fields;
use self::queue::Queue;
use crate::config::{LogFormat, Logging};

/// What is never logged, at whatever level. The code does not put it into a field; a field that
/// has such a name all the same is written as `***` (see [`is_secret`]).
pub const NEVER_LOGGED: &[&str] = &[
    "prompts, answers, titles of chats and what a model is sent",
    "passwords, also wrong ones, and their hashes",
    "codes and secrets of second factors, backup codes",
    "tokens of sessions, challenges, links, forms and keys, and `Cookie` or `Authorization` headers",
    "keys of model servers, the secret key, the pepper, the mail password",
    "arguments of statements, bodies and query strings of requests",
    "bodies and recipients of mails",
];

/// Whether a field's name says that its value is a secret. The last part of the name counts:
/// `session.token`, `new_password`.
pub fn is_secret(field: &str) -> bool {
    /// Also as the end of a name: `new_password`.
    const ENDS: &[&str] = &["cookie", "key", "otp", "password", "pepper", "secret", "token"];
    const NAMES: &[&str] = &[
        "answer",
        "authorization",
        "backup_code",
        "body",
        "code",
        "csrf",
        "otp_code",
        "prompt",
        "query",
        "recipient",
    ];
    let name = field.rsplit('.').next().unwrap_or(field);
    let ends = |secret: &&str| match name.strip_suffix(*secret) {
        Some(before) => before.is_empty() || before.ends_with('_'),
        None => false,
    };
    NAMES.contains(&name) || ENDS.iter().any(ends)
}

/// The crates that know [`NEVER_LOGGED`]. Others, whose records may hold anything that passes through
/// them, get no further than their warnings, whatever the filter says (SEC-97).
const OURS: &[&str] = &["accounts", "anteroom", "base", "chat", "upstream", "usage"];

fn is_ours(target: &str) -> bool {
    OURS.contains(&target.split("::").next().unwrap_or(target))
}

/// Keeps the log going; dropping it writes out what waits.
#[must_use]
pub struct Log {
    queue: Queue,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Log {
    /// How many lines were dropped because the reader of the log did not keep up.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

/// Starts the log on standard error. To be called once, first of all.
///
/// # Errors
/// A line that says why there is no log.
pub fn start(config: &Logging) -> Result<Log, String> {
    let (log, subscriber) = prepare(config, Clock::system(), io::stderr())?;
    subscriber.try_init().map_err(|error| format!("the log could not be started: {error}"))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(log)
}

/// A panic is a line of the log like any other, with the request that it happened in.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let cause = panic.payload_as_str().unwrap_or("unknown");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(
        error.cause = cause,
        error.place = place,
        "panicked: a fault of this program, please report it"
    );
}

fn prepare(
    config: &Logging,
    clock: Clock,
    out: impl Write + Send + 'static,
) -> Result<(Log, impl Subscriber + Send + Sync), String> {
    let filter: Targets =
        config.filter.parse().map_err(|error| format!("logging.filter {:?}: {error}", config.filter))?;
    let queue = Queue::default();
    let drained = queue.clone();
    let writer = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || drained.write_to(out))
        .map_err(|error| format!("the log could not be started: {error}"))?;
    let lines = Lines { clock, format: config.format, queue: queue.clone() };
    let trusted = filter_fn(|meta| is_ours(meta.target()) || *meta.level() <= Level::WARN)
        .with_max_level_hint(LevelFilter::TRACE);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter.and(trusted)));
    Ok((Log { queue, writer: Some(writer) }, subscriber))
}

/// Makes a line of each event, with the fields of the spans that it is in.
struct Lines {
    clock: Clock,
    format: LogFormat,
    queue: Queue,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            record.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.inherit(outer);
            }
        }
        let meta = event.metadata();
        self.queue.push(&match self.format {
            LogFormat::Text => line::text(self.clock.now(), meta, &fields),
            LogFormat::Json => line::json(self.clock.now(), meta, &fields),
        });
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `events` log.
    fn logged(filter: &str, format: LogFormat, events: impl FnOnce()) -> String {
        let kept = Kept::default();
        let config = Logging { filter: filter.to_owned(), format };
        // 20 Nov 2026, 14:05:00.000042 UTC
        let clock = Clock::manual(1_795_183_500_000_042);
        let (log, subscriber) = prepare(&config, clock, kept.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, events);
        drop(log);
        let bytes = kept.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_has_time_level_place_message_and_fields() {
        let events = || {
            let span = tracing::info_span!("request", request.id = "0193-1", user.id = tracing::field::Empty);
            let _inside = span.enter();
            span.record("user.id", "7");
            tracing::info!(http.method = %"GET", http.status = 200, fast = true, ratio = 0.5, "answered");
            tracing::debug!("not asked for");
        };
        let place = module_path!();
        assert_eq!(
            logged("info", LogFormat::Text, events),
            format!(
                "2026-11-20T14:05:00.000042Z INFO  {place}: answered http.method=GET http.status=200 fast=true \
                 ratio=0.5 request.id=0193-1 user.id=7\n"
            )
        );
        let json = logged("info", LogFormat::Json, events);
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            object,
            serde_json::json!({
                "time": "2026-11-20T14:05:00.000042Z", "level": "INFO", "target": place, "message": "answered",
                "http.method": "GET", "http.status": 200, "fast": true, "ratio": 0.5,
                "request.id": "0193-1", "user.id": "7",
            })
        );
        assert!(json.ends_with("}\n") && json.matches('\n').count() == 1);
    }

    #[test]
    fn the_filter_goes_by_part() {
        let events = || {
            tracing::debug!(target: "base::db", "statement");
            tracing::debug!(target: "chat", "other");
        };
        let log = logged("info,base=debug", LogFormat::Text, events);
        assert!(log.contains("statement") && !log.contains("other"));
    }

    /// SEC-97: a library logs what it works on; only its warnings pass.
    #[test]
    fn sec_97_libraries_log_warnings_only() {
        let events = || {
            tracing::debug!(target: "html5ever::tree_builder", "a prompt");
            tracing::info!(target: "log", "a prompt");
            tracing::info!(target: "chatter", "a prompt");
            tracing::warn!(target: "rustls", "a warning");
            tracing::debug!(target: "chat", "ours");
        };
        for filter in ["trace", "html5ever=trace,log=trace,chatter=trace,rustls=warn,chat=debug"] {
            let log = logged(filter, LogFormat::Text, events);
            assert!(!log.contains("a prompt") && log.contains("a warning") && log.contains("ours"), "{log}");
        }
    }

    /// SEC-97: whatever a field or message holds, an event is one line and looks like no other.
    #[test]
    fn sec_97_a_field_cannot_forge_a_line_or_another_field() {
        let forged =
            "x\n2026-11-20T14:05:00Z INFO  anteroom: Admin signed in\r\u{1b}[31m\u{2028}\u{202e}\u{85}\0";
        let events = || {
            tracing::info!(user_agent = %forged, other = forged, debug = ?forged, "{forged}");
            tracing::info!(name = %"mara admin=true", quoted = %"a\"b", empty = %"", back = %"a\\nb", "m");
        };
        let text = logged("info", LogFormat::Text, events);
        assert_eq!(text.matches('\n').count(), 2, "{text}");
        assert!(
            !text.chars().any(|c| (c.is_control() && c != '\n') || "\u{2028}\u{202e}".contains(c)),
            "{text}"
        );
        assert!(text.contains(r#" m name="mara admin=true" quoted="a\"b" empty="" back="a\\nb""#), "{text}");
        assert!(text.contains(r"\r\u{1b}[31m\u{2028}\u{202e}\u{85}\u{0}"), "{text}");
        let json = logged("info", LogFormat::Json, events);
        assert_eq!(json.matches('\n').count(), 2);
        let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(first["user_agent"], forged);
        assert_eq!(first["message"], forged);
    }

    /// SEC-97: the list of what is never logged, as far as a name can tell.
    #[test]
    fn sec_97_fields_named_like_secrets_are_masked() {
        let secrets = || {
            tracing::info!(
                password = "s3cr3t", user.new_password = %"s3cr3t", session.token = "s3cr3t", api_key = ?"s3cr3t",
                prompt = "s3cr3t", code = 123_456, otp = "s3cr3t", cookie = "s3cr3t", authorization = "s3cr3t",
                mail.recipient = "s3cr3t", "signed in"
            );
        };
        for format in [LogFormat::Text, LogFormat::Json] {
            let log = logged("info", format, secrets);
            assert!(!log.contains("s3cr3t") && !log.contains("123456"), "{log}");
            assert_eq!(log.matches("***").count(), 10, "{log}");
        }
        for open in ["tokens.out", "http.status_code", "passwords", "decode", "request.id", "mail.kind"] {
            assert!(!is_secret(open), "{open}");
        }
    }

    #[test]
    fn the_same_field_of_an_outer_span_does_not_appear_twice() {
        let log = logged("info", LogFormat::Text, || {
            let _outer = tracing::info_span!("a", id = 1, outer = true).entered();
            let _inner = tracing::info_span!("b", id = 2).entered();
            tracing::info!("m");
        });
        assert!(log.ends_with("m id=2 outer=true\n"), "{log}");
    }

    /// Two threads of requests at 10,000 a second are far below what the queue takes.
    #[test]
    fn many_threads_log_whole_lines() {
        let kept = Kept::default();
        let config = Logging { filter: "info".to_owned(), format: LogFormat::Text };
        let (log, subscriber) = prepare(&config, Clock::manual(0), kept.clone()).unwrap();
        let dispatch = tracing::Dispatch::new(subscriber);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let dispatch = dispatch.clone();
                scope.spawn(move || {
                    tracing::dispatcher::with_default(&dispatch, || {
                        for number in 0..500 {
                            tracing::info!(thread, number, "m");
                        }
                    });
                });
            }
        });
        let dropped = log.dropped();
        drop(log);
        let text = String::from_utf8(kept.0.lock().clone()).unwrap();
        let whole = text.lines().filter(|line| line.contains(" m thread=")).count() as u64;
        assert_eq!(whole + dropped, 2_000);
        assert!(text.lines().all(|line| line.starts_with("1970-01-01T")));
    }
}
