//! `GET/POST /settings/email`: the address, whether it is confirmed, and changing it (SEC-59).

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::error::AppError;
use crate::guard::{Ctx, Member};
use crate::http::answer::{json, see_other_with, with_wait};
use crate::http::input::Input;
use crate::joining;
use crate::pages::recovery::above;
use crate::view::{Field, Flash, Kind, Page, filters};

const PATH: &str = "/settings/email";

#[derive(Template)]
#[template(path = "settings_email.html")]
struct EmailPage {
    page: Page,
    email: String,
    verified: bool,
    /// The address that waits to be confirmed, and until when.
    pending: Option<(String, i64)>,
    field: Field,
    error: Option<String>,
}

/// `GET /settings/email`
pub async fn page(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    show(&ctx, &member, StatusCode::OK, "", None).await
}

async fn show(
    ctx: &Ctx,
    member: &Member,
    status: StatusCode,
    typed: &str,
    error: Option<&AppError>,
) -> Result<Response, AppError> {
    let field = Field::email("email", "New address")
        .value(typed)
        .error(error.and_then(|error| error.fields()?.get("email").cloned()))
        .hint("It counts once you have opened the link in the mail to it. Your present address hears of the change.")
        .required();
    Ok(ctx.html_as(
        status,
        &EmailPage {
            page: ctx.page("E-mail"),
            email: member.email.clone(),
            verified: member.verified,
            pending: ctx.app.accounts.pending_email_change(&member.user_id).await?,
            field,
            error: error.and_then(|error| above(error, &["email"])),
        },
    ))
}

/// `POST /settings/email`, as a form or as JSON. `action` is `change` (where it is left out, too),
/// `cancel` or `verify`.
pub async fn submit(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let action = input.text("action");
    let typed = input.text("email");
    let done = match input.done() {
        Ok(()) => act(&ctx, &member, &action, &typed).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(words) if as_json => Ok(json(StatusCode::ACCEPTED, &serde_json::json!({ "message": words }))),
        Ok(words) => Ok(see_other_with(&ctx, PATH, Flash::new(Kind::Ok, words))),
        Err(error) if as_json => Err(error),
        Err(error) => {
            let shown = show(&ctx, &member, error.problem().status, &typed, Some(&error)).await?;
            Ok(with_wait(shown, &error))
        }
    }
}

async fn act(ctx: &Ctx, member: &Member, action: &str, typed: &str) -> Result<&'static str, AppError> {
    let accounts = &ctx.app.accounts;
    match action {
        "" | "change" => {
            accounts.request_email_change(member, typed, &ctx.client).await?;
            Ok("Open the link in the mail to the new address. Until then nothing changes.")
        }
        "cancel" => {
            accounts.cancel_email_change(&member.user_id).await?;
            Ok("Your address stays as it is.")
        }
        "verify" => {
            let user = accounts.user(&member.user_id).await?.ok_or(AppError::Unauthenticated)?;
            if !user.is_verified() {
                joining::mail_verification(&ctx.app, &user, &ctx.client).await?;
            }
            Ok(
                "A link to confirm your address is in your inbox, at most one an hour. Look into the spam folder, too.",
            )
        }
        _ => Err(AppError::field("action", "This is not an action of this page.")),
    }
}
