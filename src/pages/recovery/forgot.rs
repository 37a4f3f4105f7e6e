//! `GET/POST /forgot`: asking for a link to set a new password (SEC-62, SEC-66).

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::above;
use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::answer::{json, with_wait};
use crate::http::input::Input;
use crate::view::{Field, Page, filters};

/// The one answer, whoever has the address.
const SENT: &str =
    "If an account uses this address, a mail with a link is on its way. The link works for 30 minutes.";

#[derive(Template)]
#[template(path = "forgot.html")]
struct ForgotPage {
    page: Page,
    /// `None` once it was asked for.
    email: Option<Field>,
    error: Option<String>,
    sent: &'static str,
}

/// `GET /forgot`
pub async fn page(ctx: Ctx) -> Response {
    form(&ctx, StatusCode::OK, "", None)
}

fn form(ctx: &Ctx, status: StatusCode, typed: &str, error: Option<&AppError>) -> Response {
    let of_field = error.and_then(|error| error.fields()?.get("email").cloned());
    let email = Field::email("email", "E-mail of your account")
        .value(typed)
        .error(of_field)
        .required()
        .tall()
        .autofocus();
    show(ctx, status, Some(email), error.and_then(|error| above(error, &["email"])))
}

fn show(ctx: &Ctx, status: StatusCode, email: Option<Field>, error: Option<String>) -> Response {
    let title = if email.is_some() { "Forgot your password?" } else { "Check your mail" };
    ctx.html_as(status, &ForgotPage { page: ctx.page(title), email, error, sent: SENT })
}

/// `POST /forgot`, as a form or as JSON.
pub async fn submit(ctx: Ctx, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let typed = input.text("email");
    let asked = match input.done() {
        Ok(()) => ctx.app.accounts.request_reset(&typed, &ctx.client).await.map_err(AppError::from),
        Err(error) => Err(error),
    };
    match asked {
        Ok(()) if as_json => Ok(json(StatusCode::ACCEPTED, &serde_json::json!({ "message": SENT }))),
        Ok(()) => Ok(show(&ctx, StatusCode::ACCEPTED, None, None)),
        Err(error) if as_json => Err(error),
        Err(error) => {
            let shown = form(&ctx, error.problem().status, &typed, Some(&error));
            Ok(with_wait(shown, &error))
        }
    }
}
