//! Renaming and deleting a chat.

use axum::extract::Path;
use axum::response::Response;
use chat::ChatError;

use super::app_error;
use crate::error::AppError;
use crate::guard::{Ctx, Member};
use crate::http::answer::see_other_with;
use crate::http::input::Input;
use crate::view::{Flash, Kind};

/// `POST /chat/{id}/rename`
pub async fn rename(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    mut input: Input,
) -> Result<Response, AppError> {
    let title = input.text("title");
    input.done()?;
    let path = format!("/chat/{id}");
    match chat::chats::rename(&ctx.app.db, &member.user_id, &id, &title).await {
        Ok(()) => Ok(see_other_with(&ctx, &path, Flash::new(Kind::Ok, "The chat is renamed."))),
        Err(ChatError::Invalid(text)) if ctx.json => Err(AppError::field("title", text)),
        Err(ChatError::Invalid(text)) => Ok(see_other_with(&ctx, &path, Flash::new(Kind::Bad, text))),
        Err(error) => Err(app_error(error)),
    }
}

/// `POST /chat/{id}/delete`
pub async fn delete(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    input.done()?;
    ctx.app.engine.delete(&member.user_id, &id).await.map_err(app_error)?;
    Ok(see_other_with(&ctx, "/chat", Flash::new(Kind::Ok, "The chat is deleted.")))
}
