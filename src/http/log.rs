//! A request id and one log line for each request.
//!
//! Logged: method, route (its pattern, for a path may hold a token), status, time, statements,
//! user id, client address. Never: queries, bodies, cookies, headers (SEC-97).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use crate::app::App;

/// The id of a request, also in `X-Request-Id` and on error pages.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// What the guard learns of a request, for the log line.
#[derive(Clone, Debug)]
pub struct Seen {
    pub route: &'static str,
    pub user_id: Option<String>,
}

/// Names the request, runs it, writes the line.
pub async fn line(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let start = app.clock.monotonic();
    let id: Arc<str> = base::random::hex(&app.random.bytes::<8>()).into();
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let span = tracing::info_span!("request", request.id = %id);
    let (mut response, statements) =
        base::db::count_statements(next.run(request).instrument(span.clone())).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    let micros = app.clock.monotonic() - start;
    let status = response.status().as_u16();
    let seen = response.extensions().get::<Seen>();
    let route = seen.map_or("-", |seen| seen.route);
    let user = seen.and_then(|seen| seen.user_id.as_deref()).unwrap_or("-");
    let _entered = span.enter();
    if matches!(route, "/assets/{file}" | "/healthz" | "/readyz") && status < 500 {
        tracing::debug!(http.method = %method, http.route = route, http.status = status, micros, "request");
    } else {
        tracing::info!(
            http.method = %method, http.route = route, http.status = status, micros, statements, user.id = user,
            "request"
        );
    }
    response
}
