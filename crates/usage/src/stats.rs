//! Statistics for a range of days: by user, by model, and all together.
//!
//! While a range has few roll-up rows they are added up on the spot; beyond
//! [`THRESHOLD`](crate::rankings::THRESHOLD) the figures that [`Rankings`](crate::Rankings) keeps
//! are read, and `as_of` says from when they are. Days are UTC.

use std::str::FromStr;

use base::{DAY, Db, DbError, FromRow, MINUTE, Micros, Row, args, sql};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::figures::{ModelRow, Summary, Sums, Times, Totals, UserRow, sort_models};
use crate::range::{Days, Range, day_of};

/// Kept figures older than this are not shown: the job that keeps them must have stopped.
const TOO_OLD: Micros = 10 * MINUTE;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// Where the next page begins; none on the last one.
    pub next: Option<Cursor>,
    /// When the figures were added up; none if that was just now.
    pub as_of: Option<Micros>,
}

/// The last row of a page of users, as `<prompts>.<user id>` in a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    prompts: i64,
    user_id: String,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.prompts, self.user_id)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (prompts, user_id) = text.split_once('.').ok_or(())?;
        Ok(Self { prompts: prompts.parse().map_err(drop)?, user_id: user_id.to_owned() })
    }
}

/// Everything that a page of statistics shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub users: Page<UserRow>,
    /// The fastest mean first.
    pub models: Vec<ModelRow>,
    pub totals: Totals,
    /// When the figures were added up; none if that was just now.
    pub as_of: Option<Micros>,
}

/// One page of users, by model, and all together, read once so that they agree.
pub async fn report(
    db: &Db,
    range: Range,
    now: Micros,
    limit: i64,
    after: Option<&Cursor>,
) -> Result<Report, DbError> {
    let (users, models, totals, as_of) = match kept(db, range, now).await? {
        Some(kept) => {
            let users = kept_users(db, range, limit, after).await?;
            (users, kept_models(db, range).await?, kept.totals, Some(kept.as_of))
        }
        None => {
            let summary = Summary::load(db, range, range.days(now)).await?;
            (live_users(&summary, limit, after), summary.model_rows(), summary.totals(), None)
        }
    };
    Ok(Report { users: page(db, users, limit, range.days(now), as_of).await?, models, totals, as_of })
}

/// One page of users, most prompts first.
pub async fn users(
    db: &Db,
    range: Range,
    now: Micros,
    limit: i64,
    after: Option<&Cursor>,
) -> Result<Page<UserRow>, DbError> {
    let (users, as_of) = match kept(db, range, now).await? {
        Some(kept) => (kept_users(db, range, limit, after).await?, Some(kept.as_of)),
        None => {
            let mut summary = Summary::default();
            match range {
                Range::All => summary.add_totals(db).await?,
                _ => summary.add_days(db, range.days(now)).await?,
            }
            (live_users(&summary, limit, after), None)
        }
    };
    page(db, users, limit, range.days(now), as_of).await
}

/// Every model that was called, the fastest mean first.
pub async fn models(db: &Db, range: Range, now: Micros) -> Result<Vec<ModelRow>, DbError> {
    match kept(db, range, now).await? {
        Some(_) => kept_models(db, range).await,
        None => Ok(Summary::load(db, range, range.days(now)).await?.model_rows()),
    }
}

/// A whole range.
pub async fn totals(db: &Db, range: Range, now: Micros) -> Result<Totals, DbError> {
    match kept(db, range, now).await? {
        Some(kept) => Ok(kept.totals),
        None => Ok(Summary::load(db, range, range.days(now)).await?.totals()),
    }
}

/// Today so far.
pub async fn today(db: &Db, now: Micros) -> Result<Totals, DbError> {
    totals(db, Range::Today, now).await
}

/// The figures of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRow {
    /// Days since 1970-01-01, UTC.
    pub day: i64,
    pub sums: Sums,
}

impl FromRow for DayRow {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { day: row.at(0)?, sums: Sums::at(row, 1)? })
    }
}

/// The last `days` days, the oldest first, days without calls included. Reads all their roll-ups.
pub async fn by_day(db: &Db, days: i64, now: Micros) -> Result<Vec<DayRow>, DbError> {
    let to = day_of(now);
    let from = to - days.clamp(1, 3_660) + 1;
    let mut used = db
        .report::<DayRow>(
            sql!(
                "SELECT day, CAST(SUM(prompts) AS BIGINT), CAST(SUM(errors) AS BIGINT), CAST(SUM(stops) AS BIGINT), \
                 CAST(SUM(tokens_in) AS BIGINT), CAST(SUM(tokens_out) AS BIGINT), \
                 CAST(SUM(cost_micros) AS BIGINT), CAST(SUM(answered) AS BIGINT), \
                 CAST(SUM(duration_micros) AS BIGINT), CAST(SUM(ttft_micros) AS BIGINT), \
                 CAST(SUM(ttft_count) AS BIGINT), CAST(SUM(answered_tokens_out) AS BIGINT) \
                 FROM usage_daily WHERE day >= $1 AND day <= $2 GROUP BY day ORDER BY day"
            ),
            args![from, to],
        )
        .await?
        .into_iter()
        .peekable();
    Ok((from..=to)
        .map(|day| used.next_if(|row| row.day == day).unwrap_or(DayRow { day, sums: Sums::default() }))
        .collect())
}

/// What the job kept of a range as a whole.
struct Kept {
    totals: Totals,
    as_of: Micros,
}

/// The kept figures, if the range is large enough to have some and they still mean it.
async fn kept(db: &Db, range: Range, now: Micros) -> Result<Option<Kept>, DbError> {
    if matches!(range, Range::Custom(_)) {
        return Ok(None);
    }
    let row = db
        .one::<(String, i64)>(
            sql!("SELECT figures, computed_at FROM rankings WHERE range_name = $1 AND scope = 'sum' AND subject = ''"),
            args![range.name()],
        )
        .await?;
    let Some((figures, as_of)) = row else { return Ok(None) };
    // A day or a month that has just begun is small: yesterday's figures would be wrong for it.
    let begun =
        matches!(range, Range::Today | Range::Month) && range.days(as_of).from != range.days(now).from;
    if begun || (now - as_of).abs() > TOO_OLD {
        return Ok(None);
    }
    Ok(Some(Kept { totals: parse(&figures)?, as_of }))
}

async fn kept_users(
    db: &Db,
    range: Range,
    limit: i64,
    after: Option<&Cursor>,
) -> Result<Vec<(String, Sums)>, DbError> {
    let rows = match after {
        None => {
            db.all::<(String, String)>(
                sql!(
                    "SELECT subject, figures FROM rankings WHERE range_name = $1 AND scope = 'user' \
                     ORDER BY position, subject LIMIT $2"
                ),
                args![range.name(), limit + 1],
            )
            .await?
        }
        Some(after) => {
            db.all(
                sql!(
                    "SELECT subject, figures FROM rankings WHERE range_name = $1 AND scope = 'user' \
                     AND (position, subject) > ($2, $3) ORDER BY position, subject LIMIT $4"
                ),
                args![range.name(), -after.prompts, &after.user_id, limit + 1],
            )
            .await?
        }
    };
    rows.into_iter().map(|(user_id, figures)| Ok((user_id, parse(&figures)?))).collect()
}

/// A model's figures in the table of rankings.
#[derive(serde::Serialize, Deserialize)]
pub(crate) struct ModelFigures {
    pub sums: Sums,
    pub times: Times,
}

async fn kept_models(db: &Db, range: Range) -> Result<Vec<ModelRow>, DbError> {
    let rows = db
        .all::<(String, String)>(
            sql!("SELECT subject, figures FROM rankings WHERE range_name = $1 AND scope = 'model'"),
            args![range.name()],
        )
        .await?;
    let mut models = rows
        .into_iter()
        .map(|(model, figures)| {
            let ModelFigures { sums, times } = parse(&figures)?;
            Ok(ModelRow { model, sums, times })
        })
        .collect::<Result<Vec<_>, DbError>>()?;
    sort_models(&mut models);
    Ok(models)
}

/// Most prompts first, then by id, from the cursor on; one row more than `limit`.
fn live_users(summary: &Summary, limit: i64, after: Option<&Cursor>) -> Vec<(String, Sums)> {
    let mut users: Vec<(i64, &String, &Sums)> = summary
        .users
        .iter()
        .map(|(user_id, sums)| (-sums.prompts, user_id, sums))
        .filter(|(position, user_id, _)| {
            after.is_none_or(|after| (*position, *user_id) > (-after.prompts, &after.user_id))
        })
        .collect();
    users.sort_unstable_by_key(|(position, user_id, _)| (*position, *user_id));
    let limit = usize::try_from(limit).unwrap_or(0).saturating_add(1);
    users.into_iter().take(limit).map(|(_, user_id, sums)| (user_id.clone(), *sums)).collect()
}

/// Makes the page: cuts the one row too many, and looks up when each user last called.
async fn page(
    db: &Db,
    mut users: Vec<(String, Sums)>,
    limit: i64,
    days: Days,
    as_of: Option<Micros>,
) -> Result<Page<UserRow>, DbError> {
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = users.len() > limit;
    users.truncate(limit);
    let next = users
        .last()
        .filter(|_| more)
        .map(|(user_id, sums)| Cursor { prompts: sums.prompts, user_id: user_id.clone() });
    let ids: Vec<&str> = users.iter().map(|(user_id, _)| user_id.as_str()).collect();
    let last = if ids.is_empty() {
        Vec::new()
    } else {
        db.all::<(String, Option<i64>)>(
            sql!(
                "SELECT value, (SELECT MAX(at) FROM usage_events WHERE user_id = value AND at < $1) \
                 FROM json_each($2)"
            ),
            args![(days.to + 1) * DAY, &json(&ids)?],
        )
        .await?
    };
    let last: std::collections::HashMap<String, Option<i64>> = last.into_iter().collect();
    let rows = users
        .into_iter()
        .map(|(user_id, sums)| UserRow { last_at: last.get(&user_id).copied().flatten(), user_id, sums })
        .collect();
    Ok(Page { rows, next, as_of })
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(|error| DbError::Other(error.to_string()))
}

fn parse<T: DeserializeOwned>(figures: &str) -> Result<T, DbError> {
    serde_json::from_str(figures)
        .map_err(|error| DbError::Corrupt { column: "rankings.figures".into(), problem: error.to_string() })
}
