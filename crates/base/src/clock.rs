//! Time as the product sees it: Unix microseconds, UTC, from one source that tests can hold still.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Unix microseconds, UTC.
pub type Micros = i64;

pub const SECOND: Micros = 1_000_000;
pub const MINUTE: Micros = 60 * SECOND;
pub const HOUR: Micros = 60 * MINUTE;
pub const DAY: Micros = 24 * HOUR;

/// The source of time. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System(Instant),
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// A clock that stands at `now` until it is moved.
    pub fn manual(now: Micros) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(now))))
    }

    /// Wall time in Unix microseconds.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> Micros {
        match &self.0 {
            Source::System(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)),
            Source::Manual(at) => at.load(Ordering::SeqCst),
        }
    }

    /// Microseconds that never go back, for measuring durations.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn monotonic(&self) -> Micros {
        match &self.0 {
            Source::System(start) => {
                i64::try_from(Instant::now().duration_since(*start).as_micros()).unwrap_or(i64::MAX)
            }
            Source::Manual(at) => at.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock on by `by` microseconds; the machine's clock is left alone.
    pub fn advance(&self, by: Micros) {
        if let Source::Manual(at) = &self.0 {
            at.fetch_add(by, Ordering::SeqCst);
        }
    }
}
