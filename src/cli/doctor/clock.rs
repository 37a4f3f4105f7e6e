//! Clocks: codes of authenticator apps last 30 seconds, so a wrong clock locks people out (SEC-43).

use base::{Micros, SECOND};
use time::format_description::FormatItem;
use time::macros::format_description;
use time::{PrimitiveDateTime, UtcOffset};

use super::{Finding, Verdict};

/// RFC 9110, 5.6.7.
const HTTP_DATE: &[FormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
const SQL_TIME: &[FormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// Off by more than this, something keeps the clock from being set.
const SUSPICIOUS: Micros = 10 * SECOND;
/// Off by more than this, right codes are refused.
const BROKEN: Micros = 30 * SECOND;

/// Compares this machine's clock with another one, whose times are whole seconds.
pub fn compare(other: &str, own: Micros, theirs: Micros) -> Finding {
    compare_for("codes of authenticator apps", other, own, theirs)
}

/// The same where something else goes wrong first: `what`.
pub fn compare_for(what: &str, other: &str, own: Micros, theirs: Micros) -> Finding {
    // Within its second it may be any time.
    let off = if own >= theirs { (own - theirs - SECOND).max(0) } else { theirs - own };
    let direction = if own >= theirs { "ahead of" } else { "behind" };
    let seconds = off / SECOND;
    match off {
        ..=SUSPICIOUS => Finding::ok("clock", format!("agrees with {other}")),
        _ => Finding::new(
            if off > BROKEN { Verdict::Fail } else { Verdict::Warn },
            "clock",
            format!(
                "{seconds} s {direction} {other}: {what} {}; set the clocks by NTP",
                if off > BROKEN { "will be refused" } else { "begin to fail" }
            ),
        ),
    }
}

/// The time in a `Date` header.
pub fn http_date(value: &str) -> Option<Micros> {
    micros(PrimitiveDateTime::parse(value.trim(), HTTP_DATE).ok()?, UtcOffset::UTC)
}

/// `CURRENT_TIMESTAMP` as text: `2026-11-20 12:00:00`, perhaps with a fraction and an offset as
/// `+01` or `+05:30`.
pub fn sql_time(text: &str) -> Option<Micros> {
    let (whole, rest) = text.split_at_checked(19)?;
    let offset = match rest.rfind(['+', '-']) {
        None => UtcOffset::UTC,
        Some(at) => {
            let sign = if rest[at..].starts_with('-') { -1 } else { 1 };
            let mut parts = rest[at + 1..].split(':').map(str::parse::<i32>);
            let hours = parts.next()?.ok()?;
            let minutes = parts.next().transpose().ok()?.unwrap_or(0);
            UtcOffset::from_whole_seconds(sign * (hours * 3600 + minutes * 60)).ok()?
        }
    };
    micros(PrimitiveDateTime::parse(whole, SQL_TIME).ok()?, offset)
}

fn micros(at: PrimitiveDateTime, offset: UtcOffset) -> Option<Micros> {
    Some(at.assume_offset(offset).unix_timestamp() * SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Micros = 1_795_176_000 * SECOND;

    /// SEC-43
    #[test]
    fn sec_43_a_clock_that_is_off_is_told_from_10_s_and_fails_from_30_s() {
        let verdict = |own| compare("openai", own, NOON).verdict;
        for (seconds, expected) in [
            (0, Verdict::Ok),
            (-10, Verdict::Ok),
            (11, Verdict::Ok),
            (-11, Verdict::Warn),
            (12, Verdict::Warn),
            (-30, Verdict::Warn),
            (-31, Verdict::Fail),
            (32, Verdict::Fail),
            (-86_400, Verdict::Fail),
        ] {
            assert_eq!(verdict(NOON + seconds * SECOND), expected, "{seconds}");
        }
        let words = compare("openai", NOON - 40 * SECOND, NOON).words;
        assert!(words.starts_with("40 s behind openai"), "{words}");
    }

    #[test]
    fn times_are_read_as_servers_write_them() {
        assert_eq!(http_date("Fri, 20 Nov 2026 12:00:00 GMT"), Some(NOON));
        assert_eq!(http_date("yesterday"), None);
        for text in [
            "2026-11-20 12:00:00",
            "2026-11-20 12:00:00.123456+00",
            "2026-11-20 13:00:00+01",
            "2026-11-20 17:30:00.5+05:30",
            "2026-11-20 07:00:00-05",
        ] {
            assert_eq!(sql_time(text), Some(NOON), "{text}");
        }
        assert_eq!(sql_time("soon"), None);
    }
}
