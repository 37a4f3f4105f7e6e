//! A prompt that met an ended session or a page that is out of date: it stands in its author's
//! composer afterwards.

use std::time::Duration;

use accounts::SessionToken;
use axum::response::Response;
use chat::drafts::{self, Draft};
use serde::{Deserialize, Serialize};

use super::sign_in::safe_next;
use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::answer::{see_other, see_other_with};
use crate::http::input::Input;
use crate::view::{Flash, Kind};

/// How long a prompt waits, sealed in the sign-in page.
const WAITS: Duration = Duration::from_secs(24 * 3600);
/// What the seal is for.
const PURPOSE: &str = "carried-prompt";

/// The prompt on its way.
#[derive(Serialize, Deserialize)]
struct Carried {
    /// The person whose session it was, where that is still known: nobody else gets the prompt.
    user_id: Option<String>,
    chat_id: Option<String>,
    prompt: String,
    model: Option<String>,
    at: i64,
}

impl Carried {
    /// What a form of the composer holds, sent to its address.
    fn of(ctx: &Ctx, input: &mut Input, user_id: Option<String>) -> Self {
        let chat_id = ctx.path.strip_prefix("/chat/").and_then(|rest| rest.split('/').next());
        Self {
            user_id,
            chat_id: chat_id.map(str::to_owned),
            prompt: input.text("prompt"),
            model: input.optional("model"),
            at: ctx.app.clock.now(),
        }
    }

    /// Puts the prompt into the person's composer. Gives the page to go to.
    async fn keep(self, ctx: &Ctx, user_id: &str) -> Result<Option<String>, AppError> {
        if self.prompt.is_empty() || self.user_id.as_ref().is_some_and(|id| id != user_id) {
            return Ok(None);
        }
        let chat_id = match &self.chat_id {
            Some(id) if chat::chats::exists(&ctx.app.db, user_id, id).await? => Some(id.clone()),
            // Nobody knows whose it is, and the chat is not this person's.
            Some(_) if self.user_id.is_none() => return Ok(None),
            _ => None,
        };
        let draft = Draft { chat_id: chat_id.clone(), prompt: self.prompt, model: self.model };
        drafts::save(&ctx.app.db, user_id, &draft, ctx.app.clock.now()).await?;
        Ok(Some(match chat_id {
            Some(id) => format!("/chat/{id}?draft"),
            None => "/chat?draft".to_owned(),
        }))
    }
}

/// Seals a prompt whose session has ended, for the sign-in page. Gives the address to go on to, and
/// the prompt.
pub async fn seal(
    ctx: &Ctx,
    mut input: Input,
    dead_session: Option<&SessionToken>,
) -> (Option<String>, Option<String>) {
    let user_id = match dead_session {
        Some(token) => ctx.app.accounts.session_owner(token).await.unwrap_or(None),
        None => None,
    };
    let carried = Carried::of(ctx, &mut input, user_id);
    let next = carried.chat_id.as_ref().map(|id| format!("/chat/{id}"));
    let plain = serde_json::to_vec(&carried).ok();
    (next, plain.and_then(|plain| ctx.app.ring.seal(&ctx.app.random, PURPOSE, &plain).ok()))
}

/// Whether this is a prompt that was sealed here.
pub fn is_sealed(ctx: &Ctx, sealed: &str) -> bool {
    ctx.app.ring.open(PURPOSE, sealed).is_ok()
}

/// Keeps a sealed prompt for the person who signed in there. Gives the page to go to, if it is theirs.
pub async fn keep(ctx: &Ctx, user_id: &str, sealed: &str) -> Result<Option<String>, AppError> {
    let opened = ctx.app.ring.open(PURPOSE, sealed).ok();
    let Some(carried) = opened.and_then(|plain| serde_json::from_slice::<Carried>(&plain).ok()) else {
        return Ok(None);
    };
    let age = ctx.app.clock.now() - carried.at;
    if age > i64::try_from(WAITS.as_micros()).unwrap_or(i64::MAX) {
        return Ok(None);
    }
    carried.keep(ctx, user_id).await
}

/// A form for people who are signed out, sent by one who has signed in meanwhile in another tab: they
/// go on, with the prompt that waits in the form.
pub async fn signed_in_already(ctx: &Ctx, user_id: &str, mut input: Input) -> Response {
    let next = input.optional("next").filter(|next| safe_next(next));
    let kept = match input.optional("carry") {
        Some(sealed) => keep(ctx, user_id, &sealed).await,
        None => Ok(None),
    };
    match kept {
        Ok(path) => see_other(path.or(next).as_deref().unwrap_or("/chat")),
        Err(error) => crate::http::answer::error(ctx, &error),
    }
}

/// A prompt from a page of the session before: kept, not sent. `None` where there is nothing to keep.
pub async fn out_of_date(ctx: &Ctx, user_id: &str, mut input: Input) -> Option<Response> {
    let kept = Carried::of(ctx, &mut input, None).keep(ctx, user_id).await;
    let words =
        "That page was out of date, so nothing was sent. Your prompt stands in the field: send it once more.";
    match kept {
        Ok(path) => path.map(|path| see_other_with(ctx, &path, Flash::new(Kind::Warn, words))),
        Err(error) => Some(crate::http::answer::error(ctx, &error)),
    }
}
