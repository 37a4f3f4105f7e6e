//! Lines on their way to the writer: a bounded buffer, so that a log nobody reads never holds up a
//! request nor fills the memory.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Bytes that may wait; at 200 a line some seconds of 10,000 requests a second with a slow disk.
const MOST: usize = 4 * 1024 * 1024;
/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 64 * 1024;
/// The writer takes what gathers in this time at once: on a busy server it would be woken for each
/// line.
const GATHER: Duration = Duration::from_millis(5);

/// The buffer. Cloning shares it.
#[derive(Clone, Default)]
pub struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// In all, and those not told of yet.
    dropped: u64,
    untold: u64,
    closed: bool,
    /// The writer waits for a line, not for its pause to end.
    asleep: bool,
}

impl Queue {
    /// Adds a line, with its end. Where there is no room it is dropped and counted.
    pub fn push(&self, line: &str) {
        let mut state = self.0.state.lock();
        if state.waiting.len() + line.len() > MOST {
            state.dropped += 1;
            state.untold += 1;
            return;
        }
        state.waiting.extend_from_slice(line.as_bytes());
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.0.filled.notify_one();
        }
    }

    /// How many lines were dropped.
    pub fn dropped(&self) -> u64 {
        self.0.state.lock().dropped
    }

    /// Lets [`Queue::write_to`] come to its end.
    pub fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.filled.notify_one();
    }

    /// Writes lines until the queue is closed and empty.
    pub fn write_to(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        loop {
            let mut state = self.0.state.lock();
            while state.waiting.is_empty() && !state.closed {
                state.asleep = true;
                self.0.filled.wait(&mut state);
            }
            state.asleep = false;
            if state.waiting.is_empty() {
                return;
            }
            std::mem::swap(&mut state.waiting, &mut batch);
            let untold = std::mem::take(&mut state.untold);
            drop(state);
            if untold > 0 {
                let told = format!("({untold} lines of the log were dropped: it is not read fast enough)\n");
                batch.extend_from_slice(told.as_bytes());
            }
            // Without its log the server still serves; there is no other place to say it.
            drop(out.write_all(&batch).and_then(|()| out.flush()));
            batch.clear();
            if batch.capacity() > KEPT {
                batch = Vec::new();
            }
            let mut state = self.0.state.lock();
            if !state.closed {
                // Ended early by the close alone.
                self.0.filled.wait_for(&mut state, GATHER);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_lines_and_says_so() {
        let queue = Queue::default();
        let line = format!("{}\n", "x".repeat(1023));
        for _ in 0..MOST / 1024 + 3 {
            queue.push(&line);
        }
        assert_eq!(queue.dropped(), 3);
        queue.close();
        let mut out = Vec::new();
        queue.write_to(&mut out);
        assert!(out.ends_with(b"\n(3 lines of the log were dropped: it is not read fast enough)\n"));
        assert!(out.len() > MOST - 1024 && out.len() < MOST + 1024);
    }
}
