use base::{DAY, Db, DbError, FromRow, HOUR, Random, Row, args, sql};
use usage::{Call, Outcome, Purpose, Range, Sums, stats};

use crate::{NOW, call, history, open, record};

/// The sums of a whole table.
#[derive(Debug, PartialEq)]
struct Whole(Sums);

impl FromRow for Whole {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self(Sums {
            prompts: row.at(0)?,
            errors: row.at(1)?,
            stops: row.at(2)?,
            tokens_in: row.at(3)?,
            tokens_out: row.at(4)?,
            cost_micros: row.at(5)?,
            answered: row.at(6)?,
            duration_micros: row.at(7)?,
            ttft_micros: row.at(8)?,
            ttft_count: row.at(9)?,
            answered_tokens_out: row.at(10)?,
        }))
    }
}

/// What the ledger itself says of some days.
async fn ledger(db: &Db, from: i64, to: i64) -> Sums {
    let whole = db
        .one::<Whole>(
            sql!(
                "SELECT CAST(COALESCE(SUM(CASE WHEN purpose <> 'title' THEN 1 ELSE 0 END), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(CASE WHEN purpose <> 'title' AND outcome IN ('failed', 'interrupted') THEN 1 \
                 ELSE 0 END), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(CASE WHEN purpose <> 'title' AND outcome = 'stopped' THEN 1 ELSE 0 END), 0) \
                 AS BIGINT), \
                 CAST(COALESCE(SUM(tokens_in), 0) AS BIGINT), CAST(COALESCE(SUM(tokens_out), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(cost_micros), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(CASE WHEN purpose <> 'title' AND outcome = 'done' THEN 1 ELSE 0 END), 0) \
                 AS BIGINT), \
                 CAST(COALESCE(SUM(CASE WHEN purpose <> 'title' AND outcome = 'done' THEN duration_micros \
                 ELSE 0 END), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(CASE WHEN purpose <> 'title' AND outcome = 'done' THEN ttft_micros \
                 ELSE 0 END), 0) AS BIGINT), \
                 COUNT(CASE WHEN purpose <> 'title' AND outcome = 'done' THEN ttft_micros END), \
                 CAST(COALESCE(SUM(CASE WHEN purpose <> 'title' AND outcome = 'done' THEN tokens_out \
                 ELSE 0 END), 0) AS BIGINT) \
                 FROM usage_events WHERE at >= $1 AND at < $2"
            ),
            args![from * DAY, (to + 1) * DAY],
        )
        .await
        .unwrap();
    whole.unwrap().0
}

fn add_up<'a>(rows: impl Iterator<Item = &'a Sums>) -> Sums {
    rows.fold(Sums::default(), |a, b| Sums {
        prompts: a.prompts + b.prompts,
        errors: a.errors + b.errors,
        stops: a.stops + b.stops,
        tokens_in: a.tokens_in + b.tokens_in,
        tokens_out: a.tokens_out + b.tokens_out,
        cost_micros: a.cost_micros + b.cost_micros,
        answered: a.answered + b.answered,
        duration_micros: a.duration_micros + b.duration_micros,
        ttft_micros: a.ttft_micros + b.ttft_micros,
        ttft_count: a.ttft_count + b.ttft_count,
        answered_tokens_out: a.answered_tokens_out + b.answered_tokens_out,
    })
}

#[tokio::test]
async fn roll_ups_and_statistics_add_up_to_the_ledger() {
    for seed in 0..6 {
        let db = open(&format!("reconcile-{seed}")).await;
        let random = Random::seeded(seed);
        history(&db, &random, 150 * (seed as u32), 200).await;
        let whole = ledger(&db, 0, NOW / DAY).await;
        for table in [
            sql!(
                "SELECT CAST(COALESCE(SUM(prompts), 0) AS BIGINT), CAST(COALESCE(SUM(errors), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(stops), 0) AS BIGINT), CAST(COALESCE(SUM(tokens_in), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(tokens_out), 0) AS BIGINT), CAST(COALESCE(SUM(cost_micros), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(answered), 0) AS BIGINT), CAST(COALESCE(SUM(duration_micros), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(ttft_micros), 0) AS BIGINT), CAST(COALESCE(SUM(ttft_count), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(answered_tokens_out), 0) AS BIGINT) \
                 FROM usage_hourly"
            ),
            sql!(
                "SELECT CAST(COALESCE(SUM(prompts), 0) AS BIGINT), CAST(COALESCE(SUM(errors), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(stops), 0) AS BIGINT), CAST(COALESCE(SUM(tokens_in), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(tokens_out), 0) AS BIGINT), CAST(COALESCE(SUM(cost_micros), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(answered), 0) AS BIGINT), CAST(COALESCE(SUM(duration_micros), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(ttft_micros), 0) AS BIGINT), CAST(COALESCE(SUM(ttft_count), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(answered_tokens_out), 0) AS BIGINT) \
                 FROM usage_daily"
            ),
            sql!(
                "SELECT CAST(COALESCE(SUM(prompts), 0) AS BIGINT), CAST(COALESCE(SUM(errors), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(stops), 0) AS BIGINT), CAST(COALESCE(SUM(tokens_in), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(tokens_out), 0) AS BIGINT), CAST(COALESCE(SUM(cost_micros), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(answered), 0) AS BIGINT), CAST(COALESCE(SUM(duration_micros), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(ttft_micros), 0) AS BIGINT), CAST(COALESCE(SUM(ttft_count), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(answered_tokens_out), 0) AS BIGINT) \
                 FROM usage_total"
            ),
        ] {
            assert_eq!(db.one::<Whole>(table, &[]).await.unwrap(), Some(Whole(whole)));
        }
        let counted = db
            .all::<(String, i64)>(
                sql!("SELECT metric, CAST(SUM(count) AS BIGINT) FROM latency_hourly GROUP BY metric ORDER BY metric"),
                &[],
            )
            .await
            .unwrap();
        if whole.answered > 0 {
            assert_eq!(
                counted,
                [("duration".to_owned(), whole.answered), ("ttft".to_owned(), whole.ttft_count)]
            );
        }

        let custom = Range::parse(None, Some("2026-09-01"), Some("2026-10-15")).unwrap();
        for range in Range::STANDARD.into_iter().chain([custom]) {
            let days = range.days(NOW);
            let expected = ledger(&db, days.from, days.to).await;
            let report = stats::report(&db, range, NOW, 1_000, None).await.unwrap();
            assert_eq!(report.as_of, None);
            assert_eq!(report.totals.sums, expected, "{range:?}");
            assert_eq!(add_up(report.users.rows.iter().map(|row| &row.sums)), expected, "{range:?}");
            assert_eq!(add_up(report.models.iter().map(|row| &row.sums)), expected, "{range:?}");
            assert_eq!(report.totals.users, report.users.rows.len() as i64);
            assert_eq!(stats::totals(&db, range, NOW).await.unwrap(), report.totals);
            assert_eq!(stats::models(&db, range, NOW).await.unwrap(), report.models);
            assert_eq!(stats::users(&db, range, NOW, 1_000, None).await.unwrap(), report.users);
        }
        let by_day = stats::by_day(&db, 90, NOW).await.unwrap();
        assert_eq!(by_day.len(), 90);
        let quarter = stats::totals(&db, Range::Days90, NOW).await.unwrap();
        assert_eq!(add_up(by_day.iter().map(|row| &row.sums)), quarter.sums);
    }
}

#[tokio::test]
async fn the_same_call_is_never_counted_twice() {
    let db = open("twice").await;
    record(&db, "1", &call(NOW, "ann", "m")).await;
    let mut tx = db.begin().await.unwrap();
    let error = usage::record(&mut tx, "1", &call(NOW, "ann", "m")).await.unwrap_err();
    assert!(matches!(error, DbError::Unique(_)), "{error}");
    drop(tx);
    assert_eq!(stats::today(&db, NOW).await.unwrap().sums.prompts, 1);
}

#[tokio::test]
async fn an_interrupted_call_is_an_error_and_a_stopped_one_is_not() {
    let db = open("outcomes").await;
    let outcomes = [Outcome::Done, Outcome::Stopped, Outcome::Failed, Outcome::Interrupted];
    for (n, outcome) in outcomes.into_iter().enumerate() {
        record(&db, &n.to_string(), &Call { outcome, ..call(NOW, "ann", "m") }).await;
    }
    let title = Call { purpose: Purpose::Title, outcome: Outcome::Failed, ..call(NOW, "ann", "m") };
    record(&db, "title", &title).await;
    let sums = stats::today(&db, NOW).await.unwrap().sums;
    assert_eq!((sums.prompts, sums.errors, sums.stops, sums.answered), (4, 2, 1, 1));
    assert_eq!((sums.tokens_in, sums.cost_micros), (50, 35));
    assert_eq!(sums.error_rate(), Some(0.5));
    assert_eq!(sums.mean_seconds(), Some(2.0));
    assert_eq!(sums.tokens_per_second(), Some(50.0));
}

#[tokio::test]
async fn a_call_counts_in_the_utc_day_and_hour_of_its_end() {
    let db = open("borders").await;
    let midnight = NOW / DAY * DAY;
    record(&db, "before", &call(midnight - 1, "ann", "m")).await;
    record(&db, "after", &call(midnight, "ann", "m")).await;
    let prompts = |now| {
        let db = db.clone();
        async move { stats::today(&db, now).await.unwrap().sums.prompts }
    };
    assert_eq!(prompts(midnight - 1).await, 1);
    assert_eq!(prompts(midnight).await, 1);
    assert_eq!(prompts(midnight + DAY).await, 0);
    assert_eq!(stats::totals(&db, Range::Days7, midnight).await.unwrap().sums.prompts, 2);
    let last = |from, to| {
        let db = db.clone();
        async move {
            let range = Range::Custom(usage::Days { from, to });
            stats::users(&db, range, midnight, 10, None).await.unwrap().rows[0].last_at
        }
    };
    let day = midnight / DAY;
    assert_eq!(last(day - 1, day - 1).await, Some(midnight - 1));
    assert_eq!(last(day - 1, day).await, Some(midnight));
    let hours = db.all::<i64>(sql!("SELECT hour FROM usage_hourly ORDER BY hour"), &[]).await.unwrap();
    assert_eq!(hours, [midnight / HOUR - 1, midnight / HOUR]);
}
