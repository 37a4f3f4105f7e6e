//! An OpenAI-compatible model server over real HTTP, with faults. The model's name says what happens ([`Behaviour`]);
//! a prompt that begins with `!name ` asks for that behaviour whatever the model.

mod answer;
mod behaviour;
mod routes;
mod stream;

pub use behaviour::{Behaviour, LISTED};

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};

use crate::wait_until;

/// How many of the last requests are kept.
const KEPT_REQUESTS: usize = 64;

/// One request to `/v1/chat/completions`, as it came.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Seen {
    /// The `Authorization` header, or `None` without one.
    pub authorization: Option<String>,
    /// The JSON body.
    pub body: serde_json::Value,
}

impl Seen {
    /// The text of the last message with the role `user`; empty without one.
    #[must_use]
    pub fn prompt(&self) -> String {
        routes::prompt(&self.body)
    }

    /// The model asked for; empty without one.
    #[must_use]
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }
}

/// What the handlers share.
pub(crate) struct State {
    requests: AtomicUsize,
    kept: Mutex<Vec<Seen>>,
    /// Answers under way: counted from the request until its body is sent or its client is gone.
    live: AtomicUsize,
    /// Models whose first call has failed already (`fail-503-once`).
    failed_once: Mutex<bool>,
    /// Counts the releases; who waits, waits for a higher number than at its start.
    released: watch::Sender<u64>,
    changed: Notify,
}

impl State {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            requests: AtomicUsize::new(0),
            kept: Mutex::new(Vec::new()),
            live: AtomicUsize::new(0),
            failed_once: Mutex::new(false),
            released: watch::Sender::new(0),
            changed: Notify::new(),
        })
    }

    fn record(&self, seen: Seen) {
        let mut kept = self.kept.lock();
        if kept.len() == KEPT_REQUESTS {
            kept.remove(0);
        }
        kept.push(seen);
        self.requests.fetch_add(1, Ordering::SeqCst);
        drop(kept);
        self.changed.notify_waiters();
    }

    fn release(&self) {
        self.released.send_modify(|n| *n += 1);
    }
}

/// A running model server. Dropping it closes its listener; answers under way are still finished.
pub struct ModelStub {
    address: SocketAddr,
    state: Arc<State>,
    _stop: oneshot::Sender<()>,
}

impl ModelStub {
    /// Starts on a free port of loopback.
    ///
    /// # Errors
    /// Where the port cannot be bound.
    pub async fn start() -> std::io::Result<Self> {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Starts on that address: to come back where another one stood, or as a program.
    ///
    /// # Errors
    /// Where the address cannot be bound.
    pub async fn start_on(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let state = State::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let app = routes::router(state.clone());
        tokio::spawn(async move {
            let served = axum::serve(routes::NoDelay(listener), app).with_graceful_shutdown(async {
                // Ends when the stub is dropped, which is an error to the channel and no matter here.
                drop(stopped.await);
            });
            if let Err(error) = served.await {
                eprintln!("model stub: {error}");
            }
        });
        Ok(Self { address, state, _stop: stop })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The OpenAI base URL, `http://127.0.0.1:PORT/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The start of its own pages (a small form, for tests of a browser harness), `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn page_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets every answer go on that is held now (`hold`, `slow`). What starts later is held anew.
    pub fn release(&self) {
        self.state.release();
    }

    /// The last 64 requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.state.kept.lock().clone()
    }

    /// How many requests for an answer came since the start.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// How many answers are under way: it falls when an answer ends, or when its client hangs up.
    #[must_use]
    pub fn live(&self) -> usize {
        self.state.live.load(Ordering::SeqCst)
    }

    /// Waits until at least `n` requests have come.
    ///
    /// # Panics
    /// After [`crate::PATIENCE`].
    pub async fn wait_for(&self, n: usize) {
        wait_until(&self.state.changed, &format!("{n} requests to the model"), || self.count() >= n).await;
    }

    /// Waits until exactly `n` answers are under way.
    ///
    /// # Panics
    /// After [`crate::PATIENCE`].
    pub async fn wait_live(&self, n: usize) {
        wait_until(&self.state.changed, &format!("{n} live answers of the model"), || self.live() == n).await;
    }
}

/// Counts one answer as live while it stands.
pub(crate) struct Live(Arc<State>);

impl Live {
    fn new(state: &Arc<State>) -> Self {
        state.live.fetch_add(1, Ordering::SeqCst);
        state.changed.notify_waiters();
        Self(state.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
