//! Numbers, durations and times as people read them: in full, with their unit, in UTC.

use std::fmt::Write as _;

use time::{OffsetDateTime, UtcOffset};

/// Any whole number that a template may hold, by value or by reference.
pub trait Int: Copy {
    fn int(self) -> i64;
}

macro_rules! int {
    ($($kind:ty)*) => {$(
        impl Int for $kind {
            fn int(self) -> i64 {
                i64::try_from(self).unwrap_or(i64::MAX)
            }
        }
    )*};
}
int!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

impl<T: Int> Int for &T {
    fn int(self) -> i64 {
        (*self).int()
    }
}

/// Any number that a template may hold.
pub trait Num: Copy {
    fn num(self) -> f64;
}

impl Num for f64 {
    fn num(self) -> f64 {
        self
    }
}

impl<T: Num> Num for &T {
    fn num(self) -> f64 {
        (*self).num()
    }
}

/// What stands where there is no number.
pub const NONE: &str = "–";

/// "3,412"
pub fn count(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value < 0 {
        text.push('−');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1 chat", "3,412 chats": for sentences.
pub fn counted(value: i64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// Microseconds as seconds with three decimals, for columns that are compared: "0.381 s", "1,204.500 s".
pub fn seconds(micros: i64) -> String {
    let millis = (i128::from(micros) + 500).div_euclid(1_000);
    let whole = i64::try_from(millis.div_euclid(1_000)).unwrap_or(i64::MAX);
    format!("{}.{:03} s", count(whole), millis.rem_euclid(1_000))
}

/// A length of time as one says it: "0.4 s", "1 min 04 s", "2 h 05 min", "3 days".
pub fn duration(micros: i64) -> String {
    let micros = micros.max(0);
    let whole = micros / 1_000_000;
    match whole {
        0..60 => format!("{}.{} s", whole, micros % 1_000_000 / 100_000),
        60..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {:02} min", whole / 3_600, whole % 3_600 / 60),
        _ => counted(whole / 86_400, "day", "days"),
    }
}

/// A share with two decimals: `percent(0.0042)` is "0.42 %".
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.2} %", share * 100.0) } else { NONE.to_owned() }
}

/// A part of a whole: "0.42 %", and a dash where there is no whole.
pub fn percent_of(part: i64, whole: i64) -> String {
    if whole == 0 {
        return NONE.to_owned();
    }
    #[expect(clippy::as_conversions, reason = "a rounded share needs no more than 53 bits")]
    percent(part as f64 / whole as f64)
}

/// Tokens a second: "47 tok/s", below ten with one decimal.
pub fn rate(per_second: f64) -> String {
    if !per_second.is_finite() {
        NONE.to_owned()
    } else if per_second < 9.95 {
        format!("{per_second:.1} tok/s")
    } else {
        format!("{per_second:.0} tok/s")
    }
}

/// "812 B", "1.4 MB": powers of a thousand.
pub fn bytes(value: i64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    let value = value.max(0);
    if value < 1_000 {
        return format!("{value} B");
    }
    let mut tenths = value.saturating_add(50) / 100;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while tenths >= 10_000 {
        match units.next() {
            Some(next) => {
                unit = Some(next);
                tenths = (tenths + 500) / 1_000;
            }
            None => break,
        }
    }
    format!("{}.{} {}", count(tenths / 10), tenths % 10, unit.unwrap_or(&"B"))
}

/// How a `<time>` speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Day and time.
    At,
    /// Distance from now.
    Ago,
}

/// `<time datetime="2026-11-20T14:05:00Z">20 Nov 14:05</time>`; another year than the present one is said.
pub fn time_element(micros: i64, now_micros: i64, style: Style) -> String {
    let Some(at) = utc(micros) else {
        return NONE.to_owned();
    };
    let (mark, words) = match style {
        Style::At => ("", at_words(at, utc(now_micros))),
        Style::Ago => (" data-ago", ago_words(micros, now_micros)),
    };
    format!(r#"<time datetime="{}"{mark}>{words}</time>"#, iso(at))
}

/// "20 Nov 2026", UTC.
pub fn date(micros: i64) -> String {
    utc(micros).map_or_else(|| NONE.to_owned(), |at| format!("{} {} {}", at.day(), month(at), at.year()))
}

/// A day to come, with what is left until then: "Thursday 26 Nov, 3 days left", "tomorrow, Saturday 21 Nov,
/// 12:00 UTC", "today, 12:00 UTC". Days are counted as in a calendar.
pub fn deadline(due: i64, now: i64) -> String {
    let (Some(due), Some(now)) = (utc(due), utc(now)) else {
        return NONE.to_owned();
    };
    let day = format!("{} {} {}", due.weekday(), due.day(), month(due));
    let clock = format!("{:02}:{:02} UTC", due.hour(), due.minute());
    match i64::from(due.to_julian_day()) - i64::from(now.to_julian_day()) {
        ..=-1 => format!("{day}, which is over"),
        0 => format!("today, {clock}"),
        1 => format!("tomorrow, {day}, {clock}"),
        left => format!("{day}, {left} days left"),
    }
}

/// "2026-11-20", UTC: for date fields and addresses.
pub fn iso_date(micros: i64) -> String {
    utc(micros).map_or_else(
        || NONE.to_owned(),
        |at| format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day()),
    )
}

fn at_words(at: OffsetDateTime, now: Option<OffsetDateTime>) -> String {
    let mut words = format!("{} {}", at.day(), month(at));
    if now.is_none_or(|now| now.year() != at.year()) {
        // Writing to a String cannot fail.
        let _ = write!(words, " {}", at.year());
    }
    let _ = write!(words, " {:02}:{:02}", at.hour(), at.minute());
    words
}

fn ago_words(micros: i64, now_micros: i64) -> String {
    let seconds = now_micros.saturating_sub(micros) / 1_000_000;
    match seconds {
        ..60 => "now".to_owned(),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        86_400..172_800 => "yesterday".to_owned(),
        172_800..2_592_000 => format!("{} days ago", seconds / 86_400),
        _ => date(micros),
    }
}

fn iso(at: OffsetDateTime) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

fn month(at: OffsetDateTime) -> &'static str {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    NAMES.get(usize::from(u8::from(at.month())).wrapping_sub(1)).copied().unwrap_or(NONE)
}

/// `None` outside the years that the calendar knows.
pub(super) fn utc(micros: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
        .ok()
        .map(|at| at.to_offset(UtcOffset::UTC))
}

/// For the few places that write HTML without a template.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// `m•••@lindqvist.example`: enough to know which inbox, too little to write to it.
pub fn masked(email: &str) -> String {
    match email.split_once('@') {
        Some((local, domain)) => {
            format!("{}•••@{domain}", local.chars().next().map(String::from).unwrap_or_default())
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_795_183_500_000_000;

    #[test]
    fn numbers() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(3_412), "3,412");
        assert_eq!(count(-1_234_567), "−1,234,567");
        assert_eq!(count(i64::MIN), "−9,223,372,036,854,775,808");
        assert_eq!(counted(1, "chat", "chats"), "1 chat");
        assert_eq!(counted(0, "chat", "chats"), "0 chats");
    }

    #[test]
    fn lengths_of_time() {
        assert_eq!(seconds(381_000), "0.381 s");
        assert_eq!(seconds(381_499), "0.381 s");
        assert_eq!(seconds(381_500), "0.382 s");
        assert_eq!(seconds(1_204_500_000), "1,204.500 s");
        assert_eq!(duration(0), "0.0 s");
        assert_eq!(duration(3_290_000), "3.2 s");
        assert_eq!(duration(64_000_000), "1 min 04 s");
        assert_eq!(duration(7_500_000_000), "2 h 05 min");
        assert_eq!(duration(90_000_000_000), "1 day");
    }

    #[test]
    fn shares_rates_and_sizes() {
        assert_eq!(percent(0.0042), "0.42 %");
        assert_eq!(percent_of(42, 10_000), "0.42 %");
        assert_eq!(percent_of(1, 0), NONE);
        assert_eq!(rate(47.4), "47 tok/s");
        assert_eq!(rate(4.25), "4.2 tok/s");
        assert_eq!(rate(f64::NAN), NONE);
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(1_000), "1.0 kB");
        assert_eq!(bytes(1_449_000), "1.4 MB");
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(bytes(i64::MAX), "9,223.4 PB");
    }

    #[test]
    fn times_are_utc_and_say_another_year() {
        let at = |micros| time_element(micros, NOON, Style::At);
        assert_eq!(at(NOON), r#"<time datetime="2026-11-20T14:05:00Z">20 Nov 14:05</time>"#);
        assert_eq!(at(0), r#"<time datetime="1970-01-01T00:00:00Z">1 Jan 1970 00:00</time>"#);
        assert_eq!(at(i64::MAX), NONE);
        assert_eq!(date(NOON), "20 Nov 2026");
        assert_eq!(iso_date(NOON), "2026-11-20");
    }

    #[test]
    fn deadlines() {
        const HOUR: i64 = 3_600_000_000;
        assert_eq!(deadline(NOON + 6 * 24 * HOUR, NOON), "Thursday 26 Nov, 6 days left");
        assert_eq!(deadline(NOON + 34 * HOUR, NOON), "Sunday 22 Nov, 2 days left");
        assert_eq!(deadline(NOON + 10 * HOUR, NOON), "tomorrow, Saturday 21 Nov, 00:05 UTC");
        assert_eq!(deadline(NOON + 9 * HOUR, NOON), "today, 23:05 UTC");
        assert_eq!(deadline(NOON - 24 * HOUR, NOON), "Thursday 19 Nov, which is over");
        assert_eq!(deadline(i64::MAX, NOON), NONE);
    }

    #[test]
    fn distances_from_now() {
        let ago = |seconds: i64| ago_words(NOON - seconds * 1_000_000, NOON);
        assert_eq!(ago(-5), "now");
        assert_eq!(ago(59), "now");
        assert_eq!(ago(60), "1 min ago");
        assert_eq!(ago(7_200), "2 h ago");
        assert_eq!(ago(100_000), "yesterday");
        assert_eq!(ago(200_000), "2 days ago");
        assert_eq!(ago(3_000_000), "16 Oct 2026");
    }
}
