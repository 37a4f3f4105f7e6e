//! One event as one line. Control characters, line separators and marks that turn the direction
//! of writing are written as escapes.

use std::fmt::{self, Write as _};

use base::Micros;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tracing::Metadata;
use tracing::field::{Field, Visit};

use super::is_secret;

/// The fields of an event or a span, as they will be written.
#[derive(Debug, Default)]
pub struct Fields {
    message: String,
    list: Vec<(&'static str, Value)>,
}

impl Fields {
    /// Adds the fields of an outer span; the inner one's stay.
    pub fn inherit(&mut self, outer: &Self) {
        for (name, value) in &outer.list {
            if !self.list.iter().any(|(known, _)| known == name) {
                self.list.push((name, value.clone()));
            }
        }
    }

    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        let value = if is_secret(field.name()) { Value::from("***") } else { value.into() };
        match self.list.iter_mut().find(|(name, _)| *name == field.name()) {
            Some((_, old)) => *old = value,
            None => self.list.push((field.name(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        if field.name() == "message" {
            self.message = value;
        } else {
            self.add(field, value);
        }
    }
}

/// For people: `2026-11-20T14:05:00.000042Z INFO  anteroom::serve: message field=value`.
pub fn text(now: Micros, meta: &Metadata<'_>, fields: &Fields) -> String {
    let mut line = String::with_capacity(200);
    time_to(now, &mut line);
    let _ = write!(line, " {:<5} {}: ", meta.level().as_str(), meta.target());
    escape_to(&fields.message, &mut line);
    for (name, value) in &fields.list {
        let _ = write!(line, " {name}=");
        match value {
            Value::String(text) if is_plain(text) => line.push_str(text),
            Value::String(text) => {
                line.push('"');
                escape_to(&text.replace('\\', "\\\\").replace('"', "\\\""), &mut line);
                line.push('"');
            }
            other => {
                let _ = write!(line, "{other}");
            }
        }
    }
    line.push('\n');
    line
}

/// For programs: an object with `time`, `level`, `target`, `message` and the fields.
pub fn json(now: Micros, meta: &Metadata<'_>, fields: &Fields) -> String {
    let mut time = String::with_capacity(32);
    time_to(now, &mut time);
    let mut object = Map::new();
    for (name, value) in &fields.list {
        object.insert((*name).to_owned(), value.clone());
    }
    // Last, so that no field takes their place.
    object.insert("time".to_owned(), time.into());
    object.insert("level".to_owned(), meta.level().as_str().into());
    object.insert("target".to_owned(), meta.target().into());
    object.insert("message".to_owned(), fields.message.as_str().into());
    let mut line = Value::Object(object).to_string();
    line.push('\n');
    line
}

/// RFC 3339, UTC, with microseconds.
fn time_to(now: Micros, out: &mut String) {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(now) * 1_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    let _ = write!(
        out,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.microsecond()
    );
}

/// Whether the text cannot be taken for more than one value.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '='))
}

/// White space after a line's end belongs to the layout of a statement and is left out.
fn escape_to(text: &str, out: &mut String) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if is_unsafe(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        if c == '\n' {
            while chars.next_if_eq(&' ').is_some() {}
        }
    }
}

/// Control characters (C0, C1), separators of lines and paragraphs, marks of direction.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}
