//! `GET/POST /reset/{token}`: setting a new password by the link of a mail (SEC-63 to SEC-65).

use accounts::Purpose;
use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;

use super::{above, private};
use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::answer::{json, see_other_with, with_wait};
use crate::http::input::Input;
use crate::view::{Field, Flash, Kind, Page, filters};

const DONE: &str = "Your new password is set, and every device is signed out. Now sign in.";

#[derive(Template)]
#[template(path = "reset.html")]
struct ResetPage {
    page: Page,
    token: String,
    /// Whose password; `None` for a link that does not work.
    username: Option<String>,
    password: Field,
    error: Option<String>,
}

/// `GET` only shows: programs that look through mail follow links.
pub async fn page(ctx: Ctx, Path(token): Path<String>) -> Result<Response, AppError> {
    show(&ctx, StatusCode::OK, token, None).await
}

async fn show(
    ctx: &Ctx,
    status: StatusCode,
    token: String,
    error: Option<&AppError>,
) -> Result<Response, AppError> {
    let holder = ctx.app.accounts.link_holder(Purpose::ResetPassword, &token).await?;
    let username = holder.map(|user| user.username);
    let password = Field::password("password", "New password", "new-password")
        .error(error.and_then(|error| error.fields()?.get("password").cloned()))
        .hint(ctx.app.accounts.policy.hint())
        .required()
        .tall()
        .autofocus();
    let (status, title) = match username {
        Some(_) => (status, "Set a new password"),
        None => (StatusCode::NOT_FOUND, "This link does not work"),
    };
    let error = error.and_then(|error| above(error, &["password"]));
    Ok(private(ctx, status, &ResetPage { page: ctx.page(title), token, username, password, error }))
}

/// `POST` sets the password and uses the link up. Nobody is signed in by it.
pub async fn submit(ctx: Ctx, Path(token): Path<String>, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let password = input.text("password");
    let done = match input.done() {
        Ok(()) => {
            ctx.app.accounts.reset_password(&token, &password, &ctx.client).await.map_err(AppError::from)
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(_) if as_json => Ok(json(StatusCode::OK, &serde_json::json!({ "message": DONE }))),
        Ok(_) => Ok(see_other_with(&ctx, "/login", Flash::new(Kind::Ok, DONE))),
        Err(error) if as_json => Err(error),
        Err(error) => {
            let shown = show(&ctx, error.problem().status, token, Some(&error)).await?;
            Ok(with_wait(shown, &error))
        }
    }
}
