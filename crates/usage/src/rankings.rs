//! Keeps the figures of ranges whose roll-ups are too many to add up for a page.

use std::collections::{BTreeMap, HashMap};

use base::{Clock, Db, DbError, HOUR, MINUTE, Micros, SECOND, args, sql};
use serde::Serialize;

use crate::figures::Summary;
use crate::range::{Days, Range, day_of};
use crate::stats::{ModelFigures, json};

/// From this many roll-up rows on, a range's figures are kept instead of added up on the page.
pub const THRESHOLD: i64 = 20_000;
/// Another replica did the work if the figures are younger than this.
const YOUNG: Micros = 20 * SECOND;
/// A call that ended this long before its transaction still counts at once.
const LATE: Micros = 10 * MINUTE;

/// The job that keeps rankings; one a process. Call [`Rankings::refresh`] every 30 s.
///
/// It remembers the sums of the days that are over, so a refresh reads only today's roll-ups (and
/// the totals, for all time), and it writes only the rows that changed.
#[derive(Debug)]
pub struct Rankings {
    threshold: i64,
    closed: HashMap<&'static str, Closed>,
}

/// The sums of the days of a range that are over.
#[derive(Debug)]
struct Closed {
    days: Days,
    at: Micros,
    summary: Summary,
}

/// A row to write: scope, subject, position, figures.
#[derive(Serialize)]
struct Changed<'a> {
    scope: &'a str,
    subject: &'a str,
    position: i64,
    figures: &'a str,
}

impl Default for Rankings {
    fn default() -> Self {
        Self::with_threshold(THRESHOLD)
    }
}

impl Rankings {
    /// A job that keeps the ranges of at least `threshold` roll-up rows.
    pub fn with_threshold(threshold: i64) -> Self {
        Self { threshold, closed: HashMap::new() }
    }

    /// Brings the kept figures up to date, in one transaction, unless another replica has just
    /// done so. Gives how many rows were written.
    pub async fn refresh(&mut self, db: &Db, clock: &Clock) -> Result<u64, DbError> {
        let now = clock.now();
        let before = latest(db).await?;
        if before.is_some_and(|before| (now - YOUNG..=now).contains(&before)) {
            return Ok(0);
        }
        let mut kept = Vec::new();
        for range in Range::STANDARD {
            if self.is_large(db, range, now).await? {
                kept.push((range, self.summary(db, range, now).await?));
            } else {
                self.closed.remove(range.name());
            }
        }
        if kept.is_empty() && before.is_none() {
            return Ok(0);
        }
        let mut changes = Vec::new();
        for (range, summary) in kept {
            changes.push((range, difference(db, range, &rows(&summary)?).await?));
        }
        write(db, before, &changes, now).await
    }

    /// Whether a range has too many roll-up rows for a page; counts no further than it must.
    async fn is_large(&self, db: &Db, range: Range, now: Micros) -> Result<bool, DbError> {
        let days = range.days(now);
        let sums = match range {
            Range::All => {
                let counted = sql!("SELECT COUNT(*) FROM (SELECT 1 FROM usage_total LIMIT $1) AS counted");
                db.report::<i64>(counted, args![self.threshold]).await?
            }
            _ => {
                let counted = sql!(
                    "SELECT COUNT(*) FROM (SELECT 1 FROM usage_daily WHERE day >= $1 AND day <= $2 LIMIT $3) AS counted"
                );
                db.report(counted, args![days.from, days.to, self.threshold]).await?
            }
        };
        let sums = sums.first().copied().unwrap_or(0);
        if sums >= self.threshold {
            return Ok(true);
        }
        let counts = db
            .report::<i64>(
                sql!(
                    "SELECT COUNT(*) FROM (SELECT 1 FROM latency_hourly WHERE hour >= $1 AND hour <= $2 LIMIT $3) \
                     AS counted"
                ),
                args![days.from * 24, days.to * 24 + 23, self.threshold - sums],
            )
            .await?;
        Ok(sums + counts.first().copied().unwrap_or(0) >= self.threshold)
    }

    /// A range's sums: what is over from memory, read anew once an hour, and the rest added.
    async fn summary(&mut self, db: &Db, range: Range, now: Micros) -> Result<Summary, DbError> {
        let days = range.days(now);
        let open = Days { from: day_of(now - LATE).max(days.from), to: days.to };
        let over = Days { from: days.from, to: open.from - 1 };
        let known = self
            .closed
            .get(range.name())
            .filter(|closed| closed.days == over && (closed.at..closed.at + HOUR).contains(&now))
            .map(|closed| closed.summary.clone());
        let mut summary = match known {
            Some(summary) => summary,
            None => {
                let mut summary = Summary::default();
                if over.from <= over.to {
                    if range != Range::All {
                        summary.add_days(db, over).await?;
                    }
                    summary.add_latency(db, over).await?;
                }
                let closed = Closed { days: over, at: now, summary: summary.clone() };
                self.closed.insert(range.name(), closed);
                summary
            }
        };
        match range {
            Range::All => summary.add_totals(db).await?,
            _ => summary.add_days(db, open).await?,
        }
        summary.add_latency(db, open).await?;
        Ok(summary)
    }
}

/// When the kept figures were last brought up to date.
async fn latest(db: &Db) -> Result<Option<Micros>, DbError> {
    let latest = sql!(
        "SELECT MAX(computed_at) FROM rankings WHERE range_name IN ('today', '7d', '30d', '90d', 'month', 'all') \
         AND scope = 'sum' AND subject = ''"
    );
    Ok(db.report::<Option<i64>>(latest, &[]).await?.into_iter().next().flatten())
}

/// Position and figures by scope and subject.
type Rows = BTreeMap<(String, String), (i64, String)>;

fn rows(summary: &Summary) -> Result<Rows, DbError> {
    let mut rows = Rows::new();
    for (user_id, sums) in &summary.users {
        rows.insert(("user".into(), user_id.clone()), (-sums.prompts, json(sums)?));
    }
    for row in summary.model_rows() {
        let figures = json(&ModelFigures { sums: row.sums, times: row.times })?;
        rows.insert(("model".into(), row.model), (-row.sums.prompts, figures));
    }
    rows.insert(("sum".into(), String::new()), (0, json(&summary.totals())?));
    Ok(rows)
}

/// What must change in the table so that it holds a range's rows.
struct Difference {
    /// The changed rows as a JSON list of [`Changed`].
    changed: String,
    /// The users and the models that the range has no more, as JSON lists.
    gone: Vec<(&'static str, String)>,
}

async fn difference(db: &Db, range: Range, rows: &Rows) -> Result<Difference, DbError> {
    let old: Rows = db
        .report::<(String, String, i64, String)>(
            sql!("SELECT scope, subject, position, figures FROM rankings WHERE range_name = $1"),
            args![range.name()],
        )
        .await?
        .into_iter()
        .map(|(scope, subject, position, figures)| ((scope, subject), (position, figures)))
        .collect();
    let changed: Vec<Changed<'_>> = rows
        .iter()
        // The sum is always written: it says when.
        .filter(|(key, row)| key.0 == "sum" || old.get(*key) != Some(*row))
        .map(|((scope, subject), (position, figures))| Changed {
            scope,
            subject,
            position: *position,
            figures,
        })
        .collect();
    let mut gone = Vec::new();
    for scope in ["model", "user"] {
        let subjects: Vec<&str> = old
            .keys()
            .filter(|key| key.0 == scope && !rows.contains_key(*key))
            .map(|key| key.1.as_str())
            .collect();
        if !subjects.is_empty() {
            gone.push((scope, json(&subjects)?));
        }
    }
    Ok(Difference { changed: json(&changed)?, gone })
}

/// Writes it all, unless another replica did meanwhile.
async fn write(
    db: &Db,
    before: Option<Micros>,
    changes: &[(Range, Difference)],
    now: Micros,
) -> Result<u64, DbError> {
    let kept: Vec<&str> = changes.iter().map(|(range, _)| range.name()).collect();
    let mut written = 0;
    let mut tx = db.begin().await?;
    tx.lock("rankings").await?;
    let latest = tx
        .one::<Option<i64>>(
            sql!(
                "SELECT MAX(computed_at) FROM rankings \
                 WHERE range_name IN ('today', '7d', '30d', '90d', 'month', 'all') AND scope = 'sum' AND subject = ''"
            ),
            &[],
        )
        .await?
        .flatten();
    if latest != before {
        return Ok(0);
    }
    written += tx
        .run(
            sql!("DELETE FROM rankings WHERE range_name NOT IN (SELECT value FROM json_each($1))"),
            args![&json(&kept)?],
        )
        .await?;
    for (range, difference) in changes {
        for (scope, subjects) in &difference.gone {
            written += tx
                .run(
                    sql!(
                        "DELETE FROM rankings WHERE range_name = $1 AND scope = $2 \
                         AND subject IN (SELECT value FROM json_each($3))"
                    ),
                    args![range.name(), *scope, subjects],
                )
                .await?;
        }
        written += tx
            .run(
                sql!(
                    "INSERT INTO rankings (range_name, scope, subject, position, figures, computed_at) \
                     SELECT CAST($1 AS TEXT), json_extract(value, '$.scope'), json_extract(value, '$.subject'), \
                     CAST(json_extract(value, '$.position') AS BIGINT), json_extract(value, '$.figures'), \
                     CAST($2 AS BIGINT) FROM json_each($3) WHERE TRUE \
                     ON CONFLICT (range_name, scope, subject) DO UPDATE SET position = excluded.position, \
                     figures = excluded.figures, computed_at = excluded.computed_at"
                ),
                args![range.name(), now, &difference.changed],
            )
            .await?;
    }
    tx.commit().await?;
    Ok(written)
}
