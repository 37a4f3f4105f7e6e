//! Every statement is logged at debug (text, time, rows; never its arguments), at warn over
//! 100 ms, and counted for the request that runs it.

use std::cell::Cell;

use super::{DbError, Sql};
use crate::clock::{Clock, Micros};

const SLOW: Micros = 100_000;

tokio::task_local! {
    static COUNT: Cell<u32>;
}

static CLOCK: std::sync::LazyLock<Clock> = std::sync::LazyLock::new(Clock::system);

/// Runs `future` and gives how many statements it ran, commits left out. Within another count,
/// that one counts them too.
pub async fn count_statements<F: Future>(future: F) -> (F::Output, u32) {
    let (output, count) = COUNT
        .scope(Cell::new(0), async move {
            let output = future.await;
            (output, COUNT.with(Cell::get))
        })
        .await;
    let _ = COUNT.try_with(|outer| outer.set(outer.get() + count));
    (output, count)
}

pub(super) struct Watch {
    sql: Sql,
    start: Micros,
}

pub(super) fn start(sql: Sql) -> Watch {
    if sql.0 != "COMMIT" {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    }
    Watch { sql, start: CLOCK.monotonic() }
}

impl Watch {
    pub(super) fn finish(self, rows: Result<usize, &DbError>) {
        let micros = CLOCK.monotonic() - self.start;
        match rows {
            // What is taken and what is damaged is told by whoever asked.
            Err(error) if !matches!(error, DbError::Unique(_) | DbError::Damaged(_)) => {
                tracing::warn!(db.statement = self.sql.0, db.micros = micros, db.error = %error, "statement failed");
            }
            _ if micros > SLOW => {
                tracing::warn!(
                    db.statement = self.sql.0,
                    db.micros = micros,
                    db.rows = rows.ok(),
                    "slow statement"
                );
            }
            _ => {
                tracing::debug!(
                    db.statement = self.sql.0,
                    db.micros = micros,
                    db.rows = rows.ok(),
                    "statement"
                );
            }
        }
    }
}
