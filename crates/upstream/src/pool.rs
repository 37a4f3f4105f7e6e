//! The live set of endpoints and the models that each serves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use crate::breaker::{Circuit, Slot, Ticket};
use crate::client::Http;
use crate::demo::{DEMO, DEMO_PACE, Demo};
use crate::endpoint::Endpoint;
use crate::failure::{Failed, Failure};
use crate::stream::{ChatStream, Limits, chat};
use crate::wire::ChatRequest;

/// Gives Unix microseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// An endpoint serves a model.
#[derive(Clone, Debug)]
pub struct Route {
    /// The model's name.
    pub model: String,
    /// Who serves it.
    pub endpoint: Arc<Endpoint>,
    /// Among equally busy endpoints the lowest goes first.
    pub order: i64,
}

/// An answer that has begun: its first delta is there.
#[derive(Debug)]
pub struct Started {
    /// The answer.
    pub stream: ChatStream,
    /// Who answers: an upstream's id, or [`DEMO`].
    pub endpoint_id: String,
    /// Keep it as long as the stream: it counts the call as in flight.
    pub guard: InFlight,
}

/// Counts a call as in flight until it is dropped.
#[derive(Debug)]
pub struct InFlight {
    _ticket: Option<Ticket>,
}

/// The health of an endpoint, for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointState {
    /// Id of the upstream.
    pub endpoint_id: String,
    /// Its name.
    pub name: String,
    /// Calls in flight.
    pub in_flight: usize,
    /// The circuit breaker.
    pub circuit: Circuit,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// The last failure since it was configured, if any.
    pub last_failure: Option<Failure>,
}

#[derive(Debug, Clone)]
struct Entry {
    route: Route,
    slot: Arc<Slot>,
}

/// The pool. Share it in an `Arc`.
pub struct Pool {
    http: Http,
    now_micros: Clock,
    demo_pace: Duration,
    demo_offered: AtomicBool,
    entries: RwLock<Arc<Vec<Entry>>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("entries", &*self.entries.read()).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool without endpoints: it serves the demo model only.
    #[must_use]
    pub fn new(http: Http, now_micros: Clock) -> Self {
        Self {
            http,
            now_micros,
            demo_pace: DEMO_PACE,
            demo_offered: AtomicBool::new(true),
            entries: RwLock::default(),
        }
    }

    /// Sets the time between two words of the demo model.
    #[must_use]
    pub fn with_demo_pace(mut self, pace: Duration) -> Self {
        self.demo_pace = pace;
        self
    }

    /// Says whether people may choose the demo model. Answers of it that have begun go on.
    pub fn offer_demo(&self, offered: bool) {
        self.demo_offered.store(offered, Ordering::Relaxed);
    }

    /// The client that the pool calls with.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Replaces all routes. Calls under way go on; an endpoint that stays as it was keeps its
    /// counts and its circuit.
    pub fn replace(&self, routes: Vec<Route>) {
        let mut entries = self.entries.write();
        let mut slots: HashMap<String, (Arc<Endpoint>, Arc<Slot>)> = HashMap::new();
        for entry in entries.iter() {
            let endpoint = &entry.route.endpoint;
            slots.insert(endpoint.id.clone(), (Arc::clone(endpoint), Arc::clone(&entry.slot)));
        }
        let mut fresh = Vec::with_capacity(routes.len());
        for route in routes {
            let endpoint = &route.endpoint;
            let same = slots.get(&endpoint.id).filter(|(known, _)| {
                known.base_url == endpoint.base_url
                    && known.api_key == endpoint.api_key
                    && known.reach == endpoint.reach
            });
            let slot = match same {
                Some((_, slot)) => Arc::clone(slot),
                None => {
                    let slot = Slot::new(Arc::clone(&self.now_micros));
                    let known = (Arc::clone(endpoint), Arc::clone(&slot));
                    slots.insert(endpoint.id.clone(), known);
                    slot
                }
            };
            fresh.push(Entry { route, slot });
        }
        *entries = Arc::new(fresh);
    }

    /// Whether some endpoint serves the model, or it is the demo and that is offered.
    #[must_use]
    pub fn serves(&self, model: &str) -> bool {
        let entries = self.entries.read();
        (model == DEMO && self.demo_offered.load(Ordering::Relaxed))
            || entries.iter().any(|entry| entry.route.model == model)
    }

    /// Asks an endpoint that serves `model`: the least busy first, the next one if it fails
    /// before its first token and another could do better. Comes back when the first delta is
    /// there, so dropping this future stops the call. The demo model answers to [`DEMO`] unless
    /// a route serves that name.
    ///
    /// # Errors
    /// [`Failed`]: the last endpoint's failure; [`Failure::NotFound`] without any endpoint,
    /// [`Failure::Unreachable`] while every circuit is open.
    pub async fn start(
        &self,
        model: &str,
        request: &ChatRequest,
        limits: &Limits,
    ) -> Result<Started, Failed> {
        let entries = Arc::clone(&self.entries.read());
        let mut left: Vec<&Entry> = entries.iter().filter(|entry| entry.route.model == model).collect();
        if left.is_empty() {
            if model == DEMO {
                return Ok(self.start_demo(request));
            }
            let cause = format!("no enabled upstream serves the model “{model}”");
            return Err(Failed::new(Failure::NotFound, cause));
        }
        let mut last: Option<Failed> = None;
        while let Some(entry) = take_least_busy(&mut left) {
            let Some(ticket) = entry.slot.admit() else {
                continue;
            };
            let endpoint = &entry.route.endpoint;
            match first_delta(&self.http, endpoint, request, limits).await {
                Ok(mut stream) => {
                    entry.slot.first_token();
                    stream.report_to(Arc::clone(&entry.slot));
                    return Ok(Started {
                        stream,
                        endpoint_id: endpoint.id.clone(),
                        guard: InFlight { _ticket: Some(ticket) },
                    });
                }
                Err(failed) => {
                    let failed = failed.without(&request.messages);
                    entry.slot.failed(failed.kind);
                    tracing::warn!(
                        upstream.id = endpoint.id,
                        upstream.failure = failed.kind.code(),
                        "upstream failed before its first token"
                    );
                    let stop = !failed.kind.retryable_elsewhere();
                    last = Some(failed);
                    if stop {
                        break;
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| {
            let cause = "not tried: the circuit of every upstream is open after repeated failures";
            Failed::new(Failure::Unreachable, cause)
        }))
    }

    /// The health of every endpoint, in the order of the routes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<EndpointState> {
        let entries = Arc::clone(&self.entries.read());
        let mut states: Vec<EndpointState> = Vec::new();
        for entry in entries.iter() {
            let endpoint = &entry.route.endpoint;
            if states.iter().any(|state| state.endpoint_id == endpoint.id) {
                continue;
            }
            let state = entry.slot.state();
            states.push(EndpointState {
                endpoint_id: endpoint.id.clone(),
                name: endpoint.name.clone(),
                in_flight: state.in_flight,
                circuit: state.circuit,
                consecutive_failures: state.consecutive,
                last_failure: state.last_failure,
            });
        }
        states
    }

    fn start_demo(&self, request: &ChatRequest) -> Started {
        Started {
            stream: ChatStream::demo(Demo::new(request, self.demo_pace)),
            endpoint_id: DEMO.to_owned(),
            guard: InFlight { _ticket: None },
        }
    }
}

async fn first_delta(
    http: &Http,
    endpoint: &Endpoint,
    request: &ChatRequest,
    limits: &Limits,
) -> Result<ChatStream, Failed> {
    let mut stream = chat(http, endpoint, request, limits).await?;
    stream.peek().await?;
    Ok(stream)
}

fn take_least_busy<'a>(left: &mut Vec<&'a Entry>) -> Option<&'a Entry> {
    let (index, _) =
        left.iter().enumerate().min_by_key(|(_, entry)| (entry.slot.in_flight(), entry.route.order))?;
    Some(left.swap_remove(index))
}
