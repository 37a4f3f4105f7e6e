//! A year of calls to models: the ledger with its roll-ups, as the application would have kept them.

use std::collections::BTreeMap;

use base::db::Arg;
use base::{DAY, Db, HOUR, Micros, Random, args, sql};
use usage::histogram::bucket;

use crate::Result;
use crate::world::Person;

/// Rows in one transaction.
const ROWS: usize = 100_000;
const DAYS: u64 = 365;
const MODELS: [&str; 5] = ["aspen-large", "aspen-small", "birch", "cedar", "juniper"];

/// Prompts, errors, tokens in, tokens out, answered, duration, ttft, ttft count, answered tokens out.
type Sums = [i64; 9];

struct Call {
    at: Micros,
    user: usize,
    model: usize,
    failed: bool,
    tokens_in: i64,
    tokens_out: i64,
    ttft: i64,
    duration: i64,
}

/// SplitMix64: the same calls on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// Writes `count` calls of these people, spread evenly over the 365 days before `now` and over five models: with a
/// million of them nearly each has a roll-up row of its own, which is the worst that can be.
pub async fn fill(db: &Db, random: &Random, now: Micros, people: &[Person], count: usize) -> Result<()> {
    let mut dice = Dice(7);
    let users = people.len() as u64;
    let mut calls: Vec<Call> = (0..count)
        .map(|_| {
            let ttft = 100_000 + dice.below(900_000) as i64;
            Call {
                at: now - (dice.below(DAYS * DAY as u64) as i64) - 1,
                user: dice.below(users) as usize,
                model: dice.below(MODELS.len() as u64) as usize,
                failed: dice.below(50) == 0,
                tokens_in: dice.below(2000) as i64,
                tokens_out: 1 + dice.below(800) as i64,
                ttft,
                duration: ttft + dice.below(20_000_000) as i64,
            }
        })
        .collect();
    calls.sort_unstable_by_key(|call| call.at);
    events(db, random, people, &calls).await?;
    roll_ups(db, people, &calls).await?;
    latencies(db, &calls).await
}

async fn events(db: &Db, random: &Random, people: &[Person], calls: &[Call]) -> Result<()> {
    for chunk in calls.chunks(ROWS) {
        let mut tx = db.begin().await?;
        for call in chunk {
            let outcome = if call.failed { "failed" } else { "done" };
            let code = call.failed.then_some("server_error");
            let ttft = (!call.failed).then_some(call.ttft);
            tx.run(
                sql!(
                    "INSERT INTO usage_events (id, at, user_id, model, purpose, outcome, error_code, tokens_in, tokens_out,
                       tokens_source, ttft_micros, duration_micros, cost_micros)
                     VALUES ($1, $2, $3, $4, 'chat', $5, $6, $7, $8, 'reported', $9, $10, 0)"
                ),
                args![
                    &random.id(call.at),
                    call.at,
                    &people[call.user].id,
                    MODELS[call.model],
                    outcome,
                    code,
                    call.tokens_in,
                    call.tokens_out,
                    ttft,
                    call.duration
                ],
            )
            .await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Sums by a span of time, user and model, in the order of the tables' keys.
fn sums(
    people: &[Person],
    calls: &[Call],
    span: impl Fn(Micros) -> i64,
) -> BTreeMap<(i64, usize, usize), Sums> {
    // Users by the order of their ids, which is that of the key.
    let mut order: Vec<usize> = (0..people.len()).collect();
    order.sort_unstable_by_key(|index| &people[*index].id);
    let mut place = vec![0; people.len()];
    for (position, index) in order.into_iter().enumerate() {
        place[index] = position;
    }
    let mut sums: BTreeMap<(i64, usize, usize), Sums> = BTreeMap::new();
    for call in calls {
        let done = i64::from(!call.failed);
        let added = [
            1,
            1 - done,
            call.tokens_in,
            call.tokens_out,
            done,
            done * call.duration,
            done * call.ttft,
            done,
            done * call.tokens_out,
        ];
        let kept = sums.entry((span(call.at), place[call.user], call.model)).or_default();
        for (kept, added) in kept.iter_mut().zip(added) {
            *kept += added;
        }
    }
    sums
}

async fn roll_ups(db: &Db, people: &[Person], calls: &[Call]) -> Result<()> {
    let mut sorted: Vec<&str> = people.iter().map(|person| person.id.as_str()).collect();
    sorted.sort_unstable();
    let totals = sql!(
        "INSERT INTO usage_total (user_id, model, purpose, prompts, errors, stops, tokens_in, tokens_out, cost_micros,
           answered, duration_micros, ttft_micros, ttft_count, answered_tokens_out)
         VALUES ($2, $3, 'chat', $4, $5, $1, $6, $7, 0, $8, $9, $10, $11, $12)"
    );
    let days = sql!(
        "INSERT INTO usage_daily (day, user_id, model, purpose, prompts, errors, stops, tokens_in, tokens_out, cost_micros,
           answered, duration_micros, ttft_micros, ttft_count, answered_tokens_out)
         VALUES ($1, $2, $3, 'chat', $4, $5, 0, $6, $7, 0, $8, $9, $10, $11, $12)"
    );
    let hours = sql!(
        "INSERT INTO usage_hourly (hour, user_id, model, purpose, prompts, errors, stops, tokens_in, tokens_out,
           cost_micros, answered, duration_micros, ttft_micros, ttft_count, answered_tokens_out)
         VALUES ($1, $2, $3, 'chat', $4, $5, 0, $6, $7, 0, $8, $9, $10, $11, $12)"
    );
    let parts = [
        // One span for all time; its number, 0, stands for the stops.
        (totals, sums(people, calls, |_| 0)),
        (days, sums(people, calls, |at| at.div_euclid(DAY))),
        (hours, sums(people, calls, |at| at.div_euclid(HOUR))),
    ];
    for (statement, sums) in parts {
        let rows: Vec<_> = sums.into_iter().collect();
        for chunk in rows.chunks(ROWS) {
            let mut tx = db.begin().await?;
            for ((span, user, model), sums) in chunk {
                let mut row: Vec<Arg<'_>> = vec![(*span).into(), sorted[*user].into(), MODELS[*model].into()];
                row.extend(sums.iter().map(|sum| Arg::from(*sum)));
                tx.run(statement, &row).await?;
            }
            tx.commit().await?;
        }
    }
    Ok(())
}

async fn latencies(db: &Db, calls: &[Call]) -> Result<()> {
    let mut counts: BTreeMap<(i64, &str, &str, i64), i64> = BTreeMap::new();
    for call in calls.iter().filter(|call| !call.failed) {
        for (metric, time) in [("duration", call.duration), ("ttft", call.ttft)] {
            *counts
                .entry((call.at.div_euclid(HOUR), MODELS[call.model], metric, bucket(time)))
                .or_default() += 1;
        }
    }
    let rows: Vec<_> = counts.into_iter().collect();
    for chunk in rows.chunks(ROWS) {
        let mut tx = db.begin().await?;
        for ((hour, model, metric, bucket), count) in chunk {
            tx.run(
                sql!("INSERT INTO latency_hourly (hour, model, metric, bucket, count) VALUES ($1, $2, $3, $4, $5)"),
                args![*hour, *model, *metric, *bucket, *count],
            )
            .await?;
        }
        tx.commit().await?;
    }
    Ok(())
}
