//! Talking to models: OpenAI-compatible servers over HTTP, and the built-in demo.
//!
//! [`Http`] is the product's one way out ([`address`] says where it may go), [`Endpoint`] is
//! one upstream, [`chat`] asks it, [`ChatStream`] is the answer as it comes, [`Pool`] spreads
//! calls over the endpoints that serve a model, and [`probe`] is behind the Admin's Test button.
//! No database and no web framework here.

pub mod address;
mod breaker;
mod client;
mod demo;
mod endpoint;
mod failure;
mod pool;
pub mod probe;
mod redact;
mod sse;
mod stream;
mod tokens;
pub mod wire;

pub use address::Reach;
pub use breaker::Circuit;
pub use client::{Http, HttpError, Lookup, Options};
pub use demo::{DEMO, DEMO_PACE};
pub use endpoint::{BadUrl, Endpoint, Secret, parse_base_url};
pub use failure::{Failed, Failure};
pub use pool::{Clock, EndpointState, InFlight, Pool, Route, Started};
pub use stream::{ChatStream, Delta, Limits, chat};
pub use tokens::estimate_tokens;
pub use wire::{ChatRequest, Message, Role};
