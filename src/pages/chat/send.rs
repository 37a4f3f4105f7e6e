//! What starts and stops answers: a prompt, "answer again", Stop, another version.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chat::ChatError;
use chat::drafts;
use serde_json::json;

use super::app_error;
use super::show::{Typed, again};
use crate::error::AppError;
use crate::guard::{Ctx, Member};
use crate::http::answer::{self, see_other, see_other_with};
use crate::http::input::Input;
use crate::view::{Flash, Kind};

/// `POST /chat`: a chat that begins with its first prompt.
pub async fn create(
    ctx: Ctx,
    member: Member,
    headers: HeaderMap,
    input: Input,
) -> Result<Response, AppError> {
    take(ctx, member, headers, None, input).await
}

/// `POST /chat/{id}/messages`
pub async fn send(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    headers: HeaderMap,
    input: Input,
) -> Result<Response, AppError> {
    take(ctx, member, headers, Some(id), input).await
}

/// Back to the chat. A browser that sends the form itself, without our script, opens the page at its newest end.
fn to_chat(headers: &HeaderMap, chat: &str) -> Response {
    let navigates = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    see_other(&format!("/chat/{chat}{}", if navigates { "#end" } else { "" }))
}

async fn take(
    ctx: Ctx,
    member: Member,
    headers: HeaderMap,
    chat: Option<String>,
    mut input: Input,
) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let prompt = input.text("prompt");
    let model = input.optional("model");
    input.done()?;
    let chosen = match model.clone().or_else(|| ctx.app.models.default_name(&ctx.app)) {
        Some(model) => ctx.app.engine.start(&member.user_id, chat.as_deref(), &prompt, &model).await,
        None => Err(ChatError::Invalid(
            "No model is available yet. An Admin can add one under Administration, Models.".into(),
        )),
    };
    match chosen {
        Ok(started) => {
            settle_draft(&ctx, &member, &prompt).await;
            if as_json {
                return Ok(answer::json(
                    StatusCode::CREATED,
                    &json!({
                        "chat_id": started.chat_id,
                        "message_id": started.message_id,
                        "generation_id": started.generation_id,
                    }),
                ));
            }
            Ok(to_chat(&headers, &started.chat_id))
        }
        Err(error @ (ChatError::NotFound | ChatError::Db(_))) => Err(app_error(error)),
        Err(error) => {
            let typed = Typed { prompt, model, error: Some(error.to_string()) };
            let error = match error {
                ChatError::Invalid(text) => AppError::field("prompt", text),
                error => app_error(error),
            };
            if as_json { Err(error) } else { again(&ctx, &member, chat.as_deref(), typed, &error).await }
        }
    }
}

/// A waiting draft has served once it was sent. The prompt is on disk by then, so a failure here is no
/// failure of the request.
async fn settle_draft(ctx: &Ctx, member: &Member, prompt: &str) {
    let settled = async {
        let draft = drafts::load(&ctx.app.db, &member.user_id).await?;
        // A browser sends the ends of lines as it likes.
        if draft.is_some_and(|draft| draft.prompt.trim().lines().eq(prompt.trim().lines())) {
            drafts::clear(&ctx.app.db, &member.user_id).await?;
        }
        Ok::<_, base::DbError>(())
    };
    if let Err(error) = settled.await {
        tracing::warn!(error.cause = %error, "a draft that was sent stays");
    }
}

/// `POST /messages/{id}/regenerate`: a new answer beside the old one; Retry is the same.
pub async fn regenerate(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    headers: HeaderMap,
    mut input: Input,
) -> Result<Response, AppError> {
    let model = input.optional("model");
    input.done()?;
    let chat = chat::messages::chat_of(&ctx.app.db, &member.user_id, &id).await?.ok_or(AppError::NotFound)?;
    // A model that is gone meanwhile gives way to the default one.
    let mut started = ctx.app.engine.regenerate(&member.user_id, &id, model.as_deref()).await;
    if model.is_none()
        && matches!(started, Err(ChatError::Invalid(_)))
        && let Some(default) = ctx.app.models.default_name(&ctx.app)
    {
        started = ctx.app.engine.regenerate(&member.user_id, &id, Some(&default)).await;
    }
    match started {
        Ok(started) => Ok(to_chat(&headers, &started.chat_id)),
        Err(error @ (ChatError::NotFound | ChatError::Db(_))) => Err(app_error(error)),
        Err(error) if ctx.json => Err(app_error(error)),
        Err(error) => {
            Ok(see_other_with(&ctx, &format!("/chat/{chat}"), Flash::new(Kind::Warn, error.to_string())))
        }
    }
}

/// `POST /messages/{id}/show`: another version of an answer.
pub async fn show_version(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    headers: HeaderMap,
    input: Input,
) -> Result<Response, AppError> {
    input.done()?;
    let chat = chat::messages::select_version(&ctx.app.db, &member.user_id, &id).await.map_err(app_error)?;
    Ok(to_chat(&headers, &chat))
}

/// `POST /generations/{id}/stop`: what has come is kept.
pub async fn stop(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    headers: HeaderMap,
    input: Input,
) -> Result<Response, AppError> {
    input.done()?;
    let chat = ctx.app.engine.stop(&member.user_id, &id).await.map_err(app_error)?;
    Ok(to_chat(&headers, &chat))
}
