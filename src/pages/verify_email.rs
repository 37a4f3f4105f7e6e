//! `GET/POST /verify-email/{token}` (SEC-9, SEC-64).

use accounts::Purpose;
use askama::Template;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::answer::{json, see_other_with};
use crate::http::input::Input;
use crate::joining;
use crate::view::{Flash, Kind, Page, filters};

#[derive(Template)]
#[template(path = "verify_email.html")]
struct VerifyPage {
    page: Page,
    token: String,
    /// `None` for a link that does not work.
    email: Option<String>,
}

/// `GET` only shows: programs that look through mail follow links.
pub async fn page(ctx: Ctx, Path(token): Path<String>) -> Result<Response, AppError> {
    let email = ctx.app.accounts.peek_token(Purpose::VerifyEmail, &token).await?.and_then(|info| info.email);
    Ok(show(&ctx, token, email))
}

fn show(ctx: &Ctx, token: String, email: Option<String>) -> Response {
    let status = if email.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let page = VerifyPage { page: ctx.page("Confirm your e-mail"), token, email };
    let mut response = ctx.html_as(status, &page);
    // As for the set-up link: the address holds the token, and the page says `strict-origin` for its form.
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// `POST` confirms the address.
pub async fn submit(ctx: Ctx, Path(token): Path<String>, input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    match joining::verify_email(&ctx.app, &token).await? {
        true if as_json => {
            Ok(json(StatusCode::OK, &serde_json::json!({ "message": "The e-mail is confirmed. Sign in." })))
        }
        true => {
            Ok(see_other_with(&ctx, "/login", Flash::new(Kind::Ok, "Your e-mail is confirmed. Now sign in.")))
        }
        false if as_json => Err(AppError::NotFound),
        false => Ok(show(&ctx, token, None)),
    }
}
