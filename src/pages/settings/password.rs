//! `GET/POST /settings/password` (SEC-22, SEC-61).

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::error::AppError;
use crate::guard::{self, Ctx, Member};
use crate::http::answer::{json, see_other_with, with_wait};
use crate::http::cookies;
use crate::http::input::Input;
use crate::view::{Field, Flash, Kind, Page, filters};

const PATH: &str = "/settings/password";
const FIELDS: [&str; 2] = ["current_password", "password"];
const DONE: &str = "Your password is changed. Every other device is signed out.";

#[derive(Template)]
#[template(path = "settings_password.html")]
struct PasswordPage {
    page: Page,
    fields: Vec<Field>,
    /// The account has a password.
    has_one: bool,
    username: String,
    error: Option<String>,
}

/// `GET /settings/password`
pub async fn page(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    show(&ctx, &member, StatusCode::OK, None).await
}

async fn show(
    ctx: &Ctx,
    member: &Member,
    status: StatusCode,
    error: Option<&AppError>,
) -> Result<Response, AppError> {
    let of = |name: &str| error.and_then(|error| error.fields()?.get(name).cloned());
    let has_one = ctx.app.accounts.has_password(&member.user_id).await?;
    let new = Field::password("password", "New password", "new-password")
        .error(of("password"))
        .hint(ctx.app.accounts.policy.hint())
        .required();
    let current = Field::password("current_password", "Current password", "current-password")
        .error(of("current_password"))
        .aside("/forgot", "Forgot it?")
        .required();
    Ok(ctx.html_as(
        status,
        &PasswordPage {
            page: ctx.page("Password"),
            fields: if has_one { vec![current, new] } else { vec![new] },
            has_one,
            username: member.username.clone(),
            error: error.and_then(|error| crate::pages::recovery::above(error, &FIELDS)),
        },
    ))
}

/// `POST /settings/password`, as a form or as JSON: the session goes on with another token.
pub async fn change(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let current = input.text("current_password");
    let new = input.text("password");
    let token = ctx.session_token.as_ref().ok_or(AppError::Unauthenticated)?;
    let done = match input.done() {
        Ok(()) => ctx
            .app
            .accounts
            .change_password(&member, token, &current, &new, &ctx.client)
            .await
            .map_err(AppError::from),
        Err(error) => Err(error),
    };
    match done {
        Ok(renewed) => {
            let mut response = match as_json {
                true => json(StatusCode::OK, &serde_json::json!({ "message": DONE })),
                false => see_other_with(&ctx, PATH, Flash::new(Kind::Ok, DONE)),
            };
            let cookie = guard::session_cookie(&ctx.app, &renewed, member.session.expires_at);
            cookies::add(response.headers_mut(), cookie);
            Ok(response)
        }
        Err(error) if as_json => Err(error),
        Err(error) => {
            let shown = show(&ctx, &member, error.problem().status, Some(&error)).await?;
            Ok(with_wait(shown, &error))
        }
    }
}
