//! A request id and one log line for each request.
//!
//! Logged: method, route (its pattern, for a path may hold a token), status, time, statements,
//! user id, client address. Never: queries, bodies, cookies, headers (SEC-97).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use accounts::Client;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use super::client::client;
use crate::app::App;

/// A request: what is known of it at once, and what the guard learns, for the log line.
#[derive(Debug)]
pub struct Seen {
    /// Its id, also in `X-Request-Id` and on error pages.
    pub id: Arc<str>,
    pub client: Client,
    pub route: OnceLock<&'static str>,
    pub user_id: OnceLock<String>,
}

impl Default for Seen {
    /// Nothing is known.
    fn default() -> Self {
        Self::new("-".into(), Client::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ""))
    }
}

impl Seen {
    fn new(id: Arc<str>, client: Client) -> Self {
        Self { id, client, route: OnceLock::new(), user_id: OnceLock::new() }
    }
}

/// Names the request, runs it, writes the line.
pub async fn line(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let start = app.clock.monotonic();
    let id: Arc<str> = base::random::hex(&app.random.bytes::<8>()).into();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), |info| info.0);
    let client = client(peer, request.headers(), &app.config.server.trusted_proxies);
    let seen = Arc::new(Seen::new(id.clone(), client));
    request.extensions_mut().insert(seen.clone());
    let method = request.method().clone();
    let span = tracing::info_span!("request", request.id = %id);
    let (mut response, statements) =
        base::db::count_statements(next.run(request).instrument(span.clone())).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    let micros = app.clock.monotonic() - start;
    let status = response.status().as_u16();
    let route = seen.route.get().copied().unwrap_or("-");
    let user = seen.user_id.get().map_or("-", String::as_str);
    let ip = seen.client.ip;
    let _entered = span.enter();
    if matches!(route, "/assets/{file}" | "/healthz" | "/readyz") && status < 500 {
        tracing::debug!(http.method = %method, http.route = route, http.status = status, micros, client.ip = %ip, "request");
    } else {
        tracing::info!(
            http.method = %method, http.route = route, http.status = status, micros, statements, user.id = user,
            client.ip = %ip, "request"
        );
    }
    response
}
