//! The body of a streamed answer: prepared pieces, pauses from the runtime's one timer wheel, a gate, an end.
//! A thousand of these cost little: a piece is shared bytes, and nothing is allocated while one runs.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Live;

/// One step of an answer.
pub(super) enum Step {
    /// Send this.
    Send(Bytes),
    /// Send this so many times, once a tick where there is a ticker.
    Repeat(Bytes, u32),
    /// Wait until this is ready.
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// Drop the connection.
    Break,
}

/// The steps of one answer, played to whoever reads.
pub(super) struct Play {
    steps: VecDeque<Step>,
    ticker: Option<Interval>,
    _live: Live,
}

impl Play {
    /// Plays `steps`; `rate` repeats a second, 0 for no pause.
    pub(super) fn new(steps: impl Into<VecDeque<Step>>, rate: u32, live: Live) -> Self {
        let ticker = (rate > 0).then(|| {
            let mut ticker = interval(std::time::Duration::from_secs(1) / rate);
            ticker.set_missed_tick_behavior(MissedTickBehavior::Burst);
            ticker
        });
        Self { steps: steps.into(), ticker, _live: live }
    }
}

impl Stream for Play {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match this.steps.front_mut() {
                None => return Poll::Ready(None),
                Some(Step::Wait(gate)) => {
                    std::task::ready!(gate.as_mut().poll(context));
                    this.steps.pop_front();
                }
                Some(Step::Repeat(_, 0)) => drop(this.steps.pop_front()),
                Some(Step::Repeat(piece, left)) => {
                    if let Some(ticker) = &mut this.ticker {
                        std::task::ready!(ticker.poll_tick(context));
                    }
                    *left -= 1;
                    return Poll::Ready(Some(Ok(piece.clone())));
                }
                Some(Step::Send(piece)) => {
                    let piece = std::mem::take(piece);
                    this.steps.pop_front();
                    return Poll::Ready(Some(Ok(piece)));
                }
                Some(Step::Break) => {
                    this.steps.pop_front();
                    return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::ConnectionReset))));
                }
            }
        }
    }
}

/// An answer that never begins: it is live until its client hangs up.
pub(super) async fn never(live: Live) -> Infallible {
    let _live = live;
    std::future::pending().await
}
