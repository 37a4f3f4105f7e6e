//! Ranges of UTC days, as pages ask for them.

use base::{DAY, Micros};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, Month};

const ISO: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const LONG: &[BorrowedFormatItem<'_>] = format_description!("[day padding:none] [month repr:long] [year]");
const DAY_AND_MONTH: &[BorrowedFormatItem<'_>] = format_description!("[day padding:none] [month repr:long]");
/// 1970-01-01 as a Julian day.
const EPOCH: i64 = 2_440_588;

/// The UTC day that `at` lies in, counted from 1970-01-01.
pub fn day_of(at: Micros) -> i64 {
    at.div_euclid(DAY)
}

/// A day's ISO 8601 date, `2026-11-20`.
pub fn iso_date(day: i64) -> String {
    format(day, ISO)
}

/// The days of a range, both included, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    pub from: i64,
    pub to: i64,
}

/// A range of whole UTC days; those that end today include what there is of today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Range {
    Today,
    Days7,
    #[default]
    Days30,
    Days90,
    /// The calendar month so far.
    Month,
    All,
    Custom(Days),
}

/// Why a range was not understood, in words for the form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("There is no range “{0}”. Choose one of the list, or give two dates.")]
    Unknown(String),
    #[error("“{0}” is not a date. Write it as year-month-day, for example 2026-11-20.")]
    NotADate(String),
    #[error("Give both dates: the first and the last day.")]
    OneDate,
    #[error("The first day lies after the last one. Exchange the two dates.")]
    FromAfterTo,
}

impl Range {
    /// The ranges that have a name, in the order of a menu.
    pub const STANDARD: [Self; 6] =
        [Self::Today, Self::Days7, Self::Days30, Self::Days90, Self::Month, Self::All];

    /// Reads the parameters of a query: `range=30d`, or `from=2026-11-01&to=2026-11-20`. Dates
    /// count where `range` is missing, empty or `custom`; with nothing given it is 30 days.
    ///
    /// # Errors
    /// [`RangeError`], whose text is for the person who gave the dates.
    pub fn parse(range: Option<&str>, from: Option<&str>, to: Option<&str>) -> Result<Self, RangeError> {
        let given = |value: Option<&str>| value.map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned);
        match given(range).as_deref() {
            None | Some("custom") => {}
            Some(name) => {
                return Self::STANDARD
                    .into_iter()
                    .find(|range| range.name() == name)
                    .ok_or_else(|| RangeError::Unknown(name.chars().take(40).collect()));
            }
        }
        match (given(from), given(to)) {
            (None, None) => Ok(Self::default()),
            (Some(from), Some(to)) => {
                let days = Days { from: parse_day(&from)?, to: parse_day(&to)? };
                if days.from > days.to { Err(RangeError::FromAfterTo) } else { Ok(Self::Custom(days)) }
            }
            _ => Err(RangeError::OneDate),
        }
    }

    /// The name in a query and in the table of rankings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Today => "today",
            Self::Days7 => "7d",
            Self::Days30 => "30d",
            Self::Days90 => "90d",
            Self::Month => "month",
            Self::All => "all",
            Self::Custom(_) => "custom",
        }
    }

    /// The query that [`Range::parse`] reads back.
    pub fn query(self) -> String {
        match self {
            Self::Custom(days) => format!("from={}&to={}", iso_date(days.from), iso_date(days.to)),
            named => format!("range={}", named.name()),
        }
    }

    /// The words for a menu or a heading.
    pub fn label(self) -> String {
        match self {
            Self::Today => "Today".into(),
            Self::Days7 => "7 days".into(),
            Self::Days30 => "30 days".into(),
            Self::Days90 => "90 days".into(),
            Self::Month => "This month".into(),
            Self::All => "All time".into(),
            Self::Custom(days) => days.label(),
        }
    }

    /// The days meant, as of `now`.
    pub fn days(self, now: Micros) -> Days {
        let to = day_of(now);
        let back = |days: i64| Days { from: to - (days - 1), to };
        match self {
            Self::Today => back(1),
            Self::Days7 => back(7),
            Self::Days30 => back(30),
            Self::Days90 => back(90),
            Self::Month => back(date(to).map_or(1, |date| i64::from(date.day()))),
            Self::All => Days { from: 0, to },
            Self::Custom(days) => days,
        }
    }
}

impl Days {
    /// The dates in words: `21 October to 20 November 2026`.
    pub fn label(self) -> String {
        let to = format(self.to, LONG);
        let year = |day| date(day).map(Date::year);
        if self.from == self.to {
            to
        } else if year(self.from) == year(self.to) {
            format!("{} to {to}", format(self.from, DAY_AND_MONTH))
        } else {
            format!("{} to {to}", format(self.from, LONG))
        }
    }
}

fn parse_day(text: &str) -> Result<i64, RangeError> {
    let wrong = || RangeError::NotADate(text.chars().take(40).collect());
    // Four digits, or the year would take more.
    let date = (text.len() == 10).then(|| Date::parse(text, ISO).ok()).flatten().ok_or_else(wrong)?;
    let first = Date::from_calendar_date(1970, Month::January, 1).map_err(|_| wrong())?;
    if date < first { Err(wrong()) } else { Ok(i64::from(date.to_julian_day()) - EPOCH) }
}

fn date(day: i64) -> Option<Date> {
    Date::from_julian_day(i32::try_from(day + EPOCH).ok()?).ok()
}

fn format(day: i64, format: &[BorrowedFormatItem<'_>]) -> String {
    date(day).and_then(|date| date.format(format).ok()).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;

    fn days(from: &str, to: &str) -> Days {
        Days { from: parse_day(from).unwrap(), to: parse_day(to).unwrap() }
    }

    #[test]
    fn days_end_at_midnight_utc() {
        let midnight = parse_day("2026-11-20").unwrap() * DAY;
        assert_eq!(midnight, 1_795_132_800_000_000);
        assert_eq!(day_of(midnight) - day_of(midnight - 1), 1);
        assert_eq!(day_of(midnight + DAY - 1), day_of(midnight));
        assert_eq!(iso_date(0), "1970-01-01");
    }

    #[test]
    fn standard_ranges_end_today() {
        let now = parse_day("2026-03-02").unwrap() * DAY + 5;
        assert_eq!(Range::Today.days(now), days("2026-03-02", "2026-03-02"));
        assert_eq!(Range::Days7.days(now), days("2026-02-24", "2026-03-02"));
        assert_eq!(Range::Days30.days(now), days("2026-02-01", "2026-03-02"));
        assert_eq!(Range::Month.days(now), days("2026-03-01", "2026-03-02"));
        assert_eq!(Range::All.days(now), days("1970-01-01", "2026-03-02"));
    }

    #[test]
    fn queries_are_read_back() {
        for range in Range::STANDARD {
            assert_eq!(Range::parse(Some(range.name()), None, None), Ok(range));
            assert_eq!(range.query(), format!("range={}", range.name()));
        }
        let custom = Range::parse(Some(""), Some("2026-11-01"), Some("2026-11-20")).unwrap();
        assert_eq!(custom, Range::Custom(days("2026-11-01", "2026-11-20")));
        assert_eq!(custom.query(), "from=2026-11-01&to=2026-11-20");
        assert_eq!(custom.label(), "1 November to 20 November 2026");
        assert_eq!(days("2025-12-31", "2026-01-01").label(), "31 December 2025 to 1 January 2026");
        assert_eq!(Range::parse(None, Some(" "), None), Ok(Range::Days30));
    }

    #[test]
    fn wrong_dates_are_told() {
        let parse = |from, to| Range::parse(None, Some(from), Some(to)).unwrap_err();
        assert_eq!(parse("2026-02-02", "2026-02-01"), RangeError::FromAfterTo);
        assert_eq!(parse("2026-02-02", ""), RangeError::OneDate);
        for wrong in ["2026-02-30", "02/01/2026", "yesterday", "1969-12-31", "+12026-01-01", "2026-1-1"] {
            assert_eq!(parse(wrong, "2026-02-01"), RangeError::NotADate(wrong.into()));
        }
        assert_eq!(Range::parse(Some("31d"), None, None), Err(RangeError::Unknown("31d".into())));
    }
}
