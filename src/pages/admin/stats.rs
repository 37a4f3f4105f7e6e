//! `GET /admin/stats`: who used what, and how fast the models answered.

use std::collections::HashMap;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use usage::stats::{Cursor, Report};
use usage::{ModelRow, Range, RangeError, Sums, Times};

use super::{ROWS, address, param};
use crate::error::AppError;
use crate::guard::Ctx;
use crate::view::{Field, Page, filters};

const PATH: &str = "/admin/stats";

#[derive(Template)]
#[template(path = "admin/stats.html")]
struct StatsPage {
    page: Page,
    ranges: Vec<RangeLink>,
    from: Field,
    to: Field,
    /// Two dates are chosen, or were meant to be.
    custom: bool,
    /// The dates of the range in words.
    dates: String,
    /// What is wrong with the range, if it is none of the dates.
    error: Option<String>,
    /// `None` where the range was not understood.
    figures: Option<Figures>,
}

/// A range to choose.
struct RangeLink {
    label: String,
    href: String,
    chosen: bool,
}

struct Figures {
    users: Vec<UserLine>,
    models: Vec<ModelLine>,
    /// Everybody and every model together.
    all: Numbers,
    user_count: i64,
    /// When the figures were added up; `None` if that was just now.
    as_of: Option<i64>,
    first: Option<String>,
    next: Option<String>,
}

struct UserLine {
    /// `None` where the account is gone.
    user: Option<accounts::User>,
    sums: Sums,
    last_at: Option<i64>,
}

struct ModelLine {
    model: String,
    numbers: Numbers,
}

/// The sums of a model or of all, with the means that the tables show. Times are microseconds.
struct Numbers {
    sums: Sums,
    times: Times,
    mean: Option<i64>,
    ttft_mean: Option<i64>,
    rate: Option<f64>,
}

impl Numbers {
    fn new(sums: Sums, times: Times) -> Self {
        let mean = |sum: i64, count: i64| (count > 0).then(|| (sum + count / 2) / count);
        Self {
            mean: mean(sums.duration_micros, sums.answered),
            ttft_mean: mean(sums.ttft_micros, sums.ttft_count),
            rate: sums.tokens_per_second(),
            sums,
            times,
        }
    }
}

/// `GET /admin/stats`
pub async fn page(ctx: Ctx) -> Result<Response, AppError> {
    let [range, from, to] = ["range", "from", "to"].map(|name| param(&ctx, name));
    let now = ctx.app.clock.now();
    let parsed = Range::parse(range.as_deref(), from.as_deref(), to.as_deref());
    let after: Option<Cursor> = param(&ctx, "after").and_then(|cursor| cursor.parse().ok());
    let figures = match &parsed {
        Ok(range) => {
            let report = usage::stats::report(&ctx.app.db, *range, now, ROWS, after.as_ref()).await?;
            Some(figures(&ctx, *range, report, after.is_some()).await?)
        }
        Err(_) => None,
    };
    let status = if parsed.is_ok() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let (from, to, error) = dates(&parsed, from, to, now);
    let ranges = Range::STANDARD
        .into_iter()
        .map(|range| RangeLink {
            label: range.label(),
            href: format!("{PATH}?{}", range.query()),
            chosen: parsed.as_ref().is_ok_and(|chosen| *chosen == range),
        })
        .collect();
    Ok(ctx.html_as(
        status,
        &StatsPage {
            page: ctx.page("Statistics"),
            ranges,
            custom: !matches!(&parsed, Ok(range) if !matches!(range, Range::Custom(_))),
            dates: match &parsed {
                Ok(Range::All) => "All time".to_owned(),
                Ok(range) => range.days(now).label(),
                Err(_) => String::new(),
            },
            from,
            to,
            error,
            figures,
        },
    ))
}

/// The two date fields with what was typed, each with its error; and an error of neither.
fn dates(
    parsed: &Result<Range, RangeError>,
    from: Option<String>,
    to: Option<String>,
    now: i64,
) -> (Field, Field, Option<String>) {
    let shown = match parsed {
        Ok(Range::All) | Err(_) => None,
        Ok(range) => Some(range.days(now)),
    };
    let (from, to) = match shown {
        Some(days) => (usage::range::iso_date(days.from), usage::range::iso_date(days.to)),
        None => (from.unwrap_or_default(), to.unwrap_or_default()),
    };
    let mut at_from = None;
    let mut at_to = None;
    let mut at_neither = None;
    if let Err(error) = parsed {
        let text = error.to_string();
        match error {
            RangeError::NotADate(wrong) if from.starts_with(wrong.as_str()) => at_from = Some(text),
            RangeError::NotADate(_) => at_to = Some(text),
            RangeError::OneDate if from.is_empty() => at_from = Some(text),
            RangeError::OneDate => at_to = Some(text),
            RangeError::FromAfterTo => at_from = Some(text),
            RangeError::Unknown(_) => at_neither = Some(text),
        }
    }
    (date("from", "From", from, at_from), date("to", "To", to, at_to), at_neither)
}

/// A date field. A browser empties one that holds no date, so what was typed wrongly stands in a text field.
fn date(name: &'static str, label: &'static str, value: String, error: Option<String>) -> Field {
    let is_date = value.is_empty() || Range::parse(None, Some(&value), Some(&value)).is_ok();
    let field = if is_date { Field::date(name, label) } else { Field::text(name, label) };
    field.value(value).error(error).required()
}

async fn figures(ctx: &Ctx, range: Range, report: Report, further: bool) -> Result<Figures, AppError> {
    let Report { users, models, totals, as_of } = report;
    let ids: Vec<&str> = users.rows.iter().map(|row| row.user_id.as_str()).collect();
    let mut names: HashMap<String, accounts::User> = ctx.app.accounts.people_by_id(&ids).await?;
    let lines = users
        .rows
        .into_iter()
        .map(|row| UserLine { user: names.remove(&row.user_id), sums: row.sums, last_at: row.last_at })
        .collect();
    let here = format!("{PATH}?{}", range.query());
    Ok(Figures {
        users: lines,
        models: models
            .into_iter()
            .map(|ModelRow { model, sums, times }| ModelLine { model, numbers: Numbers::new(sums, times) })
            .collect(),
        all: Numbers::new(totals.sums, totals.times),
        user_count: totals.users,
        as_of,
        first: further.then(|| format!("{here}#users")),
        next: users.next.map(|cursor| {
            let rest = address("", &[("after", &cursor.to_string())]);
            format!("{here}&{}#users", rest.trim_start_matches('?'))
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(from: &str, to: &str) -> (Option<String>, Option<String>) {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let parsed = Range::parse(None, given(from).as_deref(), given(to).as_deref());
        let (from_field, to_field, neither) = dates(&parsed, given(from), given(to), 0);
        assert_eq!(
            (from_field.value.as_str(), to_field.value.as_str()),
            (from, to),
            "what was typed is kept"
        );
        assert_eq!(neither, None);
        (from_field.error, to_field.error)
    }

    #[test]
    fn errors_stand_at_their_date() {
        assert!(matches!(errors("yesterday", "2026-11-20"), (Some(_), None)));
        assert!(matches!(errors("2026-11-20", "2026-11-31"), (None, Some(_))));
        assert!(matches!(errors("2026-11-20", ""), (None, Some(_))));
        assert!(matches!(errors("", "2026-11-20"), (Some(_), None)));
        assert!(matches!(errors("2026-11-21", "2026-11-20"), (Some(_), None)));
        assert_eq!(errors("2026-11-01", "2026-11-20"), (None, None));
        assert_eq!(date("to", "To", "2026-11-31".into(), None).kind, "text");
    }
}
