use base::{Clock, DAY, Db, MINUTE, Random, SECOND, sql};
use usage::stats::{self, Cursor, Report};
use usage::{Call, Outcome, Range, Rankings};

use crate::{NOW, below, call, history, open, record};

async fn reports(db: &Db, now: i64) -> Vec<Report> {
    let mut reports = Vec::new();
    for range in Range::STANDARD {
        reports.push(stats::report(db, range, now, 1_000, None).await.unwrap());
    }
    reports
}

/// The reports without their age, to compare kept figures with those added up on the spot.
fn ageless(mut reports: Vec<Report>) -> Vec<Report> {
    for report in &mut reports {
        report.as_of = None;
        report.users.as_of = None;
    }
    reports
}

#[tokio::test]
async fn kept_figures_equal_those_added_up_on_the_spot() {
    let db = open("kept").await;
    let random = Random::seeded(3);
    history(&db, &random, 600, 200).await;
    let clock = Clock::manual(NOW);
    let mut rankings = Rankings::with_threshold(1);
    // Over many refreshes, with calls between them, across midnight and days without calls.
    for (round, step) in
        [30 * SECOND, 30 * SECOND, 9 * 60 * MINUTE, 45 * MINUTE, 30 * SECOND, 15 * MINUTE, 2 * DAY, MINUTE]
            .into_iter()
            .enumerate()
    {
        let now = clock.now();
        for n in 0..below(&random, 5) {
            let id = format!("new-{round}-{n}");
            record(&db, &id, &call(now - n * MINUTE, crate::USERS[n as usize], "mid")).await;
        }
        let live = {
            let other = Rankings::with_threshold(i64::MAX).refresh(&db, &clock).await.unwrap();
            assert!(other > 0 || round == 0, "below the threshold the rows go");
            reports(&db, now).await
        };
        assert!(live.iter().all(|report| report.as_of.is_none()));
        assert!(rankings.refresh(&db, &clock).await.unwrap() > 0);
        let kept = reports(&db, now).await;
        for (range, report) in Range::STANDARD.into_iter().zip(&kept) {
            let calls = !report.users.rows.is_empty();
            assert_eq!(report.as_of, calls.then_some(now), "{range:?} in round {round}");
            assert_eq!(report.users.as_of, report.as_of);
        }
        assert_eq!(ageless(kept), ageless(live), "round {round}");
        clock.advance(step);
    }
}

#[tokio::test]
async fn a_refresh_writes_only_what_changed_and_leaves_fresh_figures_alone() {
    let db = open("changed").await;
    history(&db, &Random::seeded(4), 300, 20).await;
    let clock = Clock::manual(NOW);
    let mut rankings = Rankings::with_threshold(1);
    let first = rankings.refresh(&db, &clock).await.unwrap();
    assert!(first > 40, "{first}");
    clock.advance(10 * SECOND);
    assert_eq!(Rankings::with_threshold(1).refresh(&db, &clock).await.unwrap(), 0);
    clock.advance(20 * SECOND);
    // The six sums alone, for they say when.
    assert_eq!(rankings.refresh(&db, &clock).await.unwrap(), 6);
    clock.advance(30 * SECOND);
    record(&db, "one", &call(clock.now(), "u1", "mid")).await;
    assert_eq!(rankings.refresh(&db, &clock).await.unwrap(), 18);
    let report = stats::report(&db, Range::Days7, clock.now(), 10, None).await.unwrap();
    assert_eq!(report.as_of, Some(clock.now()));
}

#[tokio::test]
async fn kept_figures_of_another_day_or_of_a_stopped_job_are_not_shown() {
    let db = open("stale").await;
    let midnight = (NOW / DAY + 1) * DAY;
    record(&db, "1", &call(midnight - MINUTE, "ann", "m")).await;
    let clock = Clock::manual(midnight - SECOND);
    Rankings::with_threshold(1).refresh(&db, &clock).await.unwrap();
    clock.advance(2 * SECOND);
    let today = stats::report(&db, Range::Today, clock.now(), 10, None).await.unwrap();
    assert_eq!((today.as_of, today.totals.sums.prompts), (None, 0));
    let week = stats::report(&db, Range::Days7, clock.now(), 10, None).await.unwrap();
    assert_eq!((week.as_of, week.totals.sums.prompts), (Some(midnight - SECOND), 1));
    clock.advance(11 * MINUTE);
    let week = stats::report(&db, Range::Days7, clock.now(), 10, None).await.unwrap();
    assert_eq!((week.as_of, week.totals.sums.prompts), (None, 1));
}

#[tokio::test]
async fn pages_of_users_go_on_where_the_last_one_ended() {
    let db = open("pages").await;
    let ids: Vec<String> = (0..23).map(|n| format!("user-{n:02}")).collect();
    for (n, id) in ids.iter().enumerate() {
        for prompt in 0..=(n % 4) {
            record(&db, &format!("{id}-{prompt}"), &call(NOW - 1, id, "m")).await;
        }
    }
    for threshold in [i64::MAX, 1] {
        Rankings::with_threshold(threshold).refresh(&db, &Clock::manual(NOW)).await.unwrap();
        let whole = stats::users(&db, Range::Days7, NOW, 100, None).await.unwrap();
        assert_eq!(whole.as_of.is_some(), threshold == 1);
        assert_eq!(whole.next, None);
        let order: Vec<(i64, &str)> =
            whole.rows.iter().map(|row| (-row.sums.prompts, row.user_id.as_str())).collect();
        assert!(order.is_sorted() && order.len() == 23);
        let (mut pages, mut after) = (Vec::new(), None::<Cursor>);
        loop {
            let page = stats::users(&db, Range::Days7, NOW, 5, after.as_ref()).await.unwrap();
            assert!(page.rows.len() <= 5);
            pages.extend(page.rows);
            match page.next {
                Some(next) => after = Some(next.to_string().parse().unwrap()),
                None => break,
            }
        }
        assert_eq!(pages, whole.rows);
    }
    assert!("17".parse::<Cursor>().is_err());
}

#[tokio::test]
async fn models_come_fastest_first_with_their_quantiles() {
    let db = open("models").await;
    for n in 0..100_i64 {
        let slow = Call { duration_micros: (n + 1) * 100_000, ..call(NOW, "ann", "slow") };
        record(&db, &format!("slow-{n}"), &slow).await;
    }
    record(&db, "fast", &Call { duration_micros: 1_234_567, ttft_micros: None, ..call(NOW, "ann", "fast") })
        .await;
    record(&db, "broken", &Call { outcome: Outcome::Failed, ..call(NOW, "ann", "broken") }).await;
    let models = stats::models(&db, Range::Today, NOW).await.unwrap();
    let names: Vec<&str> = models.iter().map(|row| row.model.as_str()).collect();
    assert_eq!(names, ["fast", "slow", "broken"]);
    assert_eq!(models[0].sums.mean_seconds(), Some(1.234_567));
    assert_eq!((models[0].times.ttft_median, models[0].sums.ttft_mean_seconds()), (None, None));
    assert_eq!(models[1].sums.mean_seconds(), Some(5.05));
    let near = |found: Option<i64>, exact: f64| (found.unwrap() as f64 / exact - 1.0).abs() < 0.045;
    let times = models[1].times;
    assert!(near(times.median, 5e6) && near(times.p95, 9.5e6) && near(times.p99, 9.9e6), "{times:?}");
    assert!(near(times.ttft_median, 4e5) && near(times.ttft_p95, 4e5), "{times:?}");
    assert_eq!((models[2].sums.mean_seconds(), models[2].times.median), (None, None));
    assert_eq!(models[2].sums.error_rate(), Some(1.0));
}

#[tokio::test]
async fn an_empty_ledger_gives_empty_figures() {
    let db = open("empty").await;
    assert_eq!(Rankings::default().refresh(&db, &Clock::manual(NOW)).await.unwrap(), 0);
    for report in reports(&db, NOW).await {
        assert_eq!(report.totals, usage::Totals::default());
        assert!(report.users.rows.is_empty() && report.models.is_empty());
    }
    let rows = db.all::<String>(sql!("SELECT range_name FROM rankings"), &[]).await.unwrap();
    assert!(rows.is_empty());
}
