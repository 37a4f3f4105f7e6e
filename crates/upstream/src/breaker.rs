//! The health of one endpoint: calls in flight and a circuit breaker. It opens after five
//! failures in a row; after 30 s one trial call is let through, and decides.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::failure::Failure;
use crate::pool::Clock;

const OPENS_AFTER: u32 = 5;
const OPEN_MICROS: i64 = 30_000_000;

/// The state of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// Calls go through.
    Closed,
    /// No calls until its time is over.
    Open,
    /// The next call, or the one under way, is the trial.
    HalfOpen,
}

impl Circuit {
    /// Its name, for display.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// One endpoint's health, shared by all calls to it.
pub(crate) struct Slot {
    now_micros: Clock,
    in_flight: AtomicUsize,
    health: Mutex<Health>,
}

#[derive(Clone, Copy, Default)]
struct Health {
    consecutive: u32,
    /// Unix microseconds.
    opened_at: Option<i64>,
    trial: bool,
    last_failure: Option<Failure>,
}

impl Health {
    fn circuit(&self, now: i64) -> Circuit {
        match self.opened_at {
            None => Circuit::Closed,
            // A clock that was set back must not hold the circuit open.
            Some(at) if (0..OPEN_MICROS).contains(&now.saturating_sub(at)) => Circuit::Open,
            Some(_) => Circuit::HalfOpen,
        }
    }

    fn close(&mut self) {
        self.consecutive = 0;
        self.opened_at = None;
    }
}

/// What a snapshot shows of a slot.
pub(crate) struct SlotState {
    pub(crate) in_flight: usize,
    pub(crate) circuit: Circuit,
    pub(crate) consecutive: u32,
    pub(crate) last_failure: Option<Failure>,
}

/// A call's place at an endpoint. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Ticket {
    slot: Arc<Slot>,
    trial: bool,
}

impl Slot {
    pub(crate) fn new(now_micros: Clock) -> Arc<Self> {
        Arc::new(Self { now_micros, in_flight: AtomicUsize::new(0), health: Mutex::default() })
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// A place, unless the circuit is open or its trial is under way.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Ticket> {
        let trial = {
            let mut health = self.health.lock();
            match health.circuit((self.now_micros)()) {
                Circuit::Closed => false,
                Circuit::HalfOpen if !health.trial => {
                    health.trial = true;
                    true
                }
                Circuit::HalfOpen | Circuit::Open => return None,
            }
        };
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Ticket { slot: Arc::clone(self), trial })
    }

    /// The first token is there: an open circuit closes. Failures in a row are forgotten only
    /// by a whole answer, so that a server which always breaks off does open its circuit.
    pub(crate) fn first_token(&self) {
        let mut health = self.health.lock();
        if health.opened_at.is_some() {
            health.close();
        }
    }

    /// The answer is complete.
    pub(crate) fn completed(&self) {
        self.health.lock().close();
    }

    /// The call failed.
    pub(crate) fn failed(&self, failure: Failure) {
        let mut health = self.health.lock();
        health.last_failure = Some(failure);
        if failure.endpoint_is_broken() {
            health.consecutive = health.consecutive.saturating_add(1);
            if health.consecutive >= OPENS_AFTER {
                health.opened_at = Some((self.now_micros)());
            }
        } else {
            health.close();
        }
    }

    pub(crate) fn state(&self) -> SlotState {
        let health = *self.health.lock();
        SlotState {
            in_flight: self.in_flight(),
            circuit: health.circuit((self.now_micros)()),
            consecutive: health.consecutive,
            last_failure: health.last_failure,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.slot.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.trial {
            // Also a trial that was stopped before it could decide makes room for the next.
            self.slot.health.lock().trial = false;
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}
