//! The crate on SQLite; the application's suite runs the same paths on PostgreSQL too.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

mod catalog;
mod ledger;
mod stats;

use base::db::Location;
use base::{DAY, Db, Micros, Random};
use usage::{Call, Outcome, Purpose, TokensSource};

/// 2026-11-20 14:17 UTC.
const NOW: Micros = 1_795_184_220_000_000;

/// A fresh database in a folder of its own.
async fn open(name: &str) -> Db {
    let folder = std::env::temp_dir().join(format!("anteroom-usage-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    Db::open(&Location::Sqlite(folder.join("anteroom.db")), NOW).await.unwrap()
}

/// A whole number from 0 up to and without `end`.
fn below(random: &Random, end: u32) -> i64 {
    i64::from(u32::from_le_bytes(random.bytes()) % end)
}

/// A plain answered prompt.
fn call<'a>(at: Micros, user_id: &'a str, model: &'a str) -> Call<'a> {
    Call {
        at,
        user_id,
        key_id: None,
        model,
        upstream_id: Some("up"),
        purpose: Purpose::Chat,
        outcome: Outcome::Done,
        error_code: None,
        tokens_in: 10,
        tokens_out: 100,
        tokens_source: TokensSource::Reported,
        ttft_micros: Some(400_000),
        duration_micros: 2_000_000,
        cost_micros: 7,
    }
}

async fn record(db: &Db, id: &str, call: &Call<'_>) {
    let mut tx = db.begin().await.unwrap();
    usage::record(&mut tx, id, call).await.unwrap();
    tx.commit().await.unwrap();
}

const USERS: [&str; 7] = ["u0", "u1", "u2", "u3", "u4", "u5", "u6"];
const MODELS: [&str; 3] = ["big", "mid", "small"];

/// `count` calls of any kind in the last `days` days before [`NOW`], in one transaction.
async fn history(db: &Db, random: &Random, count: u32, days: u32) {
    let mut tx = db.begin().await.unwrap();
    for n in 0..count {
        let at = NOW - below(random, days) * DAY - below(random, 86_400) * 1_000_000;
        let outcome = match below(random, 10) {
            0 => Outcome::Failed,
            1 => Outcome::Stopped,
            2 => Outcome::Interrupted,
            _ => Outcome::Done,
        };
        let purpose = match below(random, 6) {
            0 => Purpose::Title,
            1 => Purpose::Gateway,
            _ => Purpose::Chat,
        };
        let call = Call {
            purpose,
            outcome,
            error_code: outcome.is_error().then_some("server"),
            key_id: (purpose == Purpose::Gateway).then_some("key"),
            tokens_in: below(random, 5_000),
            tokens_out: below(random, 2_000),
            ttft_micros: (below(random, 4) > 0).then(|| below(random, 3_000_000)),
            duration_micros: below(random, 60_000_000),
            cost_micros: below(random, 900),
            ..call(at, USERS[below(random, 7) as usize], MODELS[below(random, 3) as usize])
        };
        usage::record(&mut tx, &format!("{n:08}"), &call).await.unwrap();
    }
    tx.commit().await.unwrap();
}
