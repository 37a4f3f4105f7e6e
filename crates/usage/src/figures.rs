//! The figures of a user, a model or a whole range, and how they are added up from the roll-ups.

use std::collections::BTreeMap;

use base::{Db, DbError, FromRow, Micros, Row, args, sql};
use serde::{Deserialize, Serialize};

use crate::histogram;
use crate::range::{Days, Range};

/// Counts and sums over calls to models. Titles add tokens and cost, nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub prompts: i64,
    /// Failed and interrupted prompts.
    pub errors: i64,
    pub stops: i64,
    pub tokens_in: i64,
    pub tokens_out: i64,
    /// Millionths of the accounting currency.
    pub cost_micros: i64,
    /// Prompts that were answered to the end; the following sums are theirs.
    pub answered: i64,
    pub duration_micros: i64,
    pub ttft_micros: i64,
    /// How many of the answers have a time to first token.
    pub ttft_count: i64,
    pub answered_tokens_out: i64,
}

impl Sums {
    /// Errors by prompts, from 0 to 1; none without prompts.
    pub fn error_rate(&self) -> Option<f64> {
        ratio(self.errors, self.prompts)
    }

    /// Mean seconds of an answer from the request to its end; none without answers.
    pub fn mean_seconds(&self) -> Option<f64> {
        ratio(self.duration_micros, self.answered).map(|micros| micros / 1e6)
    }

    /// Mean seconds to the first token; none where no answer has one.
    pub fn ttft_mean_seconds(&self) -> Option<f64> {
        ratio(self.ttft_micros, self.ttft_count).map(|micros| micros / 1e6)
    }

    /// Output tokens of answers by the whole seconds they took, waiting included.
    pub fn tokens_per_second(&self) -> Option<f64> {
        ratio(self.answered_tokens_out, self.duration_micros).map(|rate| rate * 1e6)
    }

    fn add(&mut self, other: &Self) {
        let add = |sum: &mut i64, more: i64| *sum = sum.saturating_add(more);
        add(&mut self.prompts, other.prompts);
        add(&mut self.errors, other.errors);
        add(&mut self.stops, other.stops);
        add(&mut self.tokens_in, other.tokens_in);
        add(&mut self.tokens_out, other.tokens_out);
        add(&mut self.cost_micros, other.cost_micros);
        add(&mut self.answered, other.answered);
        add(&mut self.duration_micros, other.duration_micros);
        add(&mut self.ttft_micros, other.ttft_micros);
        add(&mut self.ttft_count, other.ttft_count);
        add(&mut self.answered_tokens_out, other.answered_tokens_out);
    }

    /// The eleven sums of a row, from column `first` on.
    pub(crate) fn at(row: &Row<'_>, first: usize) -> Result<Self, DbError> {
        Ok(Self {
            prompts: row.at(first)?,
            errors: row.at(first + 1)?,
            stops: row.at(first + 2)?,
            tokens_in: row.at(first + 3)?,
            tokens_out: row.at(first + 4)?,
            cost_micros: row.at(first + 5)?,
            answered: row.at(first + 6)?,
            duration_micros: row.at(first + 7)?,
            ttft_micros: row.at(first + 8)?,
            ttft_count: row.at(first + 9)?,
            answered_tokens_out: row.at(first + 10)?,
        })
    }
}

fn ratio(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Quantiles of answered prompts in microseconds, within 4.5 % ([`histogram`]); none without any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    pub median: Option<Micros>,
    pub p95: Option<Micros>,
    pub p99: Option<Micros>,
    pub ttft_median: Option<Micros>,
    pub ttft_p95: Option<Micros>,
}

impl Times {
    fn of(duration: &[(i64, i64)], ttft: &[(i64, i64)]) -> Self {
        Self {
            median: histogram::quantile(duration, 0.5),
            p95: histogram::quantile(duration, 0.95),
            p99: histogram::quantile(duration, 0.99),
            ttft_median: histogram::quantile(ttft, 0.5),
            ttft_p95: histogram::quantile(ttft, 0.95),
        }
    }
}

/// The figures of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// Users that are gone keep their rows.
    pub user_id: String,
    pub sums: Sums,
    /// Their last call up to the end of the range, titles included.
    pub last_at: Option<Micros>,
}

/// The figures of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRow {
    pub model: String,
    pub sums: Sums,
    pub times: Times,
}

/// The figures of a whole range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// How many users called a model.
    pub users: i64,
    pub sums: Sums,
    pub times: Times,
}

/// Roll-ups added up by user and by model. Both come from the same rows, so they always agree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub users: BTreeMap<String, Sums>,
    models: BTreeMap<String, Sums>,
    /// Counts by model, metric and bucket.
    latency: BTreeMap<(String, String), BTreeMap<i64, i64>>,
}

struct SumsRow {
    user_id: String,
    model: String,
    sums: Sums,
}

impl FromRow for SumsRow {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { user_id: row.at(0)?, model: row.at(1)?, sums: Sums::at(row, 2)? })
    }
}

impl Summary {
    /// Adds up a range.
    pub(crate) async fn load(db: &Db, range: Range, days: Days) -> Result<Self, DbError> {
        let mut summary = Self::default();
        match range {
            Range::All => summary.add_totals(db).await?,
            _ => summary.add_days(db, days).await?,
        }
        summary.add_latency(db, days).await?;
        Ok(summary)
    }

    /// Adds some days' rows of `usage_daily`.
    pub(crate) async fn add_days(&mut self, db: &Db, days: Days) -> Result<(), DbError> {
        let rows = db
            .report::<SumsRow>(
                sql!(
                    "SELECT user_id, model, CAST(SUM(prompts) AS BIGINT), CAST(SUM(errors) AS BIGINT), \
                     CAST(SUM(stops) AS BIGINT), CAST(SUM(tokens_in) AS BIGINT), CAST(SUM(tokens_out) AS BIGINT), \
                     CAST(SUM(cost_micros) AS BIGINT), CAST(SUM(answered) AS BIGINT), \
                     CAST(SUM(duration_micros) AS BIGINT), CAST(SUM(ttft_micros) AS BIGINT), \
                     CAST(SUM(ttft_count) AS BIGINT), CAST(SUM(answered_tokens_out) AS BIGINT) \
                     FROM usage_daily WHERE day >= $1 AND day <= $2 GROUP BY user_id, model"
                ),
                args![days.from, days.to],
            )
            .await?;
        self.add_rows(rows);
        Ok(())
    }

    /// Adds `usage_total`: all time.
    pub(crate) async fn add_totals(&mut self, db: &Db) -> Result<(), DbError> {
        let rows = db
            .report::<SumsRow>(
                sql!(
                    "SELECT user_id, model, prompts, errors, stops, tokens_in, tokens_out, cost_micros, answered, \
                     duration_micros, ttft_micros, ttft_count, answered_tokens_out FROM usage_total"
                ),
                &[],
            )
            .await?;
        self.add_rows(rows);
        Ok(())
    }

    fn add_rows(&mut self, rows: Vec<SumsRow>) {
        for row in rows {
            self.models.entry(row.model).or_default().add(&row.sums);
            self.users.entry(row.user_id).or_default().add(&row.sums);
        }
    }

    /// Adds some days' latency counts.
    pub(crate) async fn add_latency(&mut self, db: &Db, days: Days) -> Result<(), DbError> {
        let rows = db
            .report::<(String, String, i64, i64)>(
                sql!(
                    "SELECT model, metric, bucket, CAST(SUM(count) AS BIGINT) FROM latency_hourly \
                     WHERE hour >= $1 AND hour <= $2 GROUP BY model, metric, bucket"
                ),
                args![days.from * 24, days.to * 24 + 23],
            )
            .await?;
        for (model, metric, bucket, count) in rows {
            *self.latency.entry((model, metric)).or_default().entry(bucket).or_default() += count;
        }
        Ok(())
    }

    /// Every model, the fastest mean first; those that never answered last.
    pub(crate) fn model_rows(&self) -> Vec<ModelRow> {
        let mut rows: Vec<ModelRow> = self
            .models
            .iter()
            .map(|(model, sums)| ModelRow {
                model: model.clone(),
                sums: *sums,
                times: Times::of(&self.counts(Some(model), "duration"), &self.counts(Some(model), "ttft")),
            })
            .collect();
        sort_models(&mut rows);
        rows
    }

    /// Every model together.
    pub(crate) fn totals(&self) -> Totals {
        let mut sums = Sums::default();
        self.models.values().for_each(|model| sums.add(model));
        Totals {
            users: i64::try_from(self.users.len()).unwrap_or(i64::MAX),
            sums,
            times: Times::of(&self.counts(None, "duration"), &self.counts(None, "ttft")),
        }
    }

    fn counts(&self, model: Option<&str>, metric: &str) -> Vec<(i64, i64)> {
        self.latency
            .iter()
            .filter(|((of, what), _)| what == metric && model.is_none_or(|model| model == of))
            .flat_map(|(_, buckets)| buckets.iter().map(|(bucket, count)| (*bucket, *count)))
            .collect()
    }
}

/// The fastest mean first, those that never answered last, then by name.
pub(crate) fn sort_models(rows: &mut [ModelRow]) {
    rows.sort_by(|a, b| {
        let mean = |row: &ModelRow| row.sums.mean_seconds().unwrap_or(f64::INFINITY);
        mean(a).total_cmp(&mean(b)).then_with(|| a.model.cmp(&b.model))
    });
}
