//! `/healthz` and `/readyz`, for whoever watches the process.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::guard::Ctx;

/// The process runs.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// It can serve: the database answers within two seconds and no stop was asked for.
pub async fn ready(ctx: Ctx) -> Response {
    if ctx.app.stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    match tokio::time::timeout(Duration::from_secs(2), ctx.app.db.ping()).await {
        Ok(Ok(())) => "ready\n".into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response(),
    }
}
