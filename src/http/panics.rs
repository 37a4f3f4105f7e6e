//! A handler that panics still gives an answer.

use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;

use crate::app::App;
use crate::error::AppError;
use crate::guard;

/// Answers 500 in the form that was asked for. The cause is in the log: see [`crate::logging`].
pub async fn catch(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let head = parts.clone();
    let running = AssertUnwindSafe(next.run(Request::from_parts(parts, body)));
    if let Ok(response) = running.catch_unwind().await {
        return response;
    }
    let told = guard::tell(&app, Request::from_parts(head, Body::empty()), AppError::Internal);
    // What panicked may be what finds out who asks.
    AssertUnwindSafe(told).catch_unwind().await.unwrap_or_else(|_| AppError::Internal.into_response())
}
