//! `GET /chat/{id}/events`: the answer as it is written, as server-sent events.
//!
//! A stream ends with its answer, and at once when its session ends, wherever that was done
//! (SEC-80); the page then asks who it is talking as.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chat::Event;
use serde_json::json;

use crate::error::AppError;
use crate::guard::{Ctx, Member};

/// A comment this often keeps proxies from closing a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Seconds after which a person with too many streams may ask again.
const RETRY: u64 = 5;

/// `GET /chat/{id}/events`, resumable by `Last-Event-ID`.
pub async fn events(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, AppError> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let follow = ctx.app.engine.follow(&member.user_id, &id, last).await?.ok_or(AppError::NotFound)?;
    // Whether the session still stands is watched from outside the stream, so that nothing of an
    // ended one is told.
    let most = ctx.app.config.limits.streams_per_user as usize;
    let watch = ctx.app.streams.open(&member.session.id, &member.user_id, most);
    let watch = watch.ok_or(AppError::RateLimited(RETRY))?;
    let stream = futures_util::stream::unfold(Some((follow, watch)), |state| async move {
        let (mut follow, mut watch) = state?;
        let event = tokio::select! {
            biased;
            () = watch.ended() => None,
            event = follow.next() => event,
            () = tokio::time::sleep(KEEP_ALIVE) => {
                return Some((Ok::<_, std::convert::Infallible>(Bytes::from_static(b":\n\n")), Some((follow, watch))));
            }
        };
        match event {
            Some(event) => Some((Ok(bytes(&event)), Some((follow, watch)))),
            None => Some((Ok(Bytes::from_static(b"event: bye\ndata: {}\n\n")), None)),
        }
    });
    Ok((
        StatusCode::OK,
        [
            (header::CONTENT_TYPE, "text/event-stream"),
            // Proxies must hand it on as it comes.
            (header::HeaderName::from_static("x-accel-buffering"), "no"),
        ],
        Body::from_stream(stream),
    )
        .into_response())
}

fn bytes(event: &Event) -> Bytes {
    let (name, data) = match event {
        Event::Block { message, index, html, .. } => {
            ("block", json!({ "message": &**message, "index": index, "html": &**html }))
        }
        Event::State { message, generation, .. } => {
            ("state", json!({ "message": &**message, "state": generation.state.word() }))
        }
    };
    Bytes::from(format!("id: {}\nevent: {name}\ndata: {data}\n\n", event.id()))
}
