//! `GET/POST /confirm-email/{token}` and `/revert-email/{token}`: the two links of a changed address
//! (SEC-59, SEC-64).

use accounts::{Purpose, RecoveryError, User};
use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;

use super::private;
use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::answer::{json, see_other_with};
use crate::http::input::Input;
use crate::view::{Flash, Kind, Page, filters};

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Confirm,
    Revert,
}

#[derive(Template)]
#[template(path = "email_change.html")]
struct LinkPage {
    page: Page,
    token: String,
    reverts: bool,
    /// The account and the address that it is to have; `None` for a link that does not work.
    good: Option<(String, String)>,
    error: Option<String>,
}

impl Link {
    fn purpose(self) -> Purpose {
        match self {
            Self::Confirm => Purpose::ChangeEmail,
            Self::Revert => Purpose::RevertEmail,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Confirm => "Confirm your new address",
            Self::Revert => "Take the change back",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Confirm => "Your account has the new address now.",
            Self::Revert => {
                "Your account has this address again, and every device is signed out. A mail with a link to set a new \
                 password is on its way: use it before you sign in."
            }
        }
    }
}

/// `GET /confirm-email/{token}` only shows: programs that look through mail follow links.
pub async fn confirm_page(ctx: Ctx, Path(token): Path<String>) -> Result<Response, AppError> {
    show(&ctx, StatusCode::OK, Link::Confirm, token, None).await
}

/// `GET /revert-email/{token}`, likewise.
pub async fn revert_page(ctx: Ctx, Path(token): Path<String>) -> Result<Response, AppError> {
    show(&ctx, StatusCode::OK, Link::Revert, token, None).await
}

/// `POST /confirm-email/{token}` gives the account the address.
pub async fn confirm(ctx: Ctx, Path(token): Path<String>, input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    let done = ctx.app.accounts.confirm_email_change(&token, &ctx.client).await;
    let back = if ctx.principal.is_some() { "/settings/email" } else { "/login" };
    tell(&ctx, as_json, Link::Confirm, token, back, done).await
}

/// `POST /revert-email/{token}` gives the former address back.
pub async fn revert(ctx: Ctx, Path(token): Path<String>, input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    let done = ctx.app.accounts.revert_email(&token, &ctx.client).await;
    tell(&ctx, as_json, Link::Revert, token, "/login", done).await
}

async fn tell(
    ctx: &Ctx,
    as_json: bool,
    link: Link,
    token: String,
    back: &str,
    done: Result<User, RecoveryError>,
) -> Result<Response, AppError> {
    match done {
        Ok(_) if as_json => Ok(json(StatusCode::OK, &serde_json::json!({ "message": link.done() }))),
        Ok(_) => Ok(see_other_with(ctx, back, Flash::new(Kind::Ok, link.done()))),
        Err(error) if as_json => Err(error.into()),
        Err(error @ (RecoveryError::BadToken | RecoveryError::Taken(_))) => {
            let error = AppError::from(error);
            let words = error.fields().and_then(|fields| fields.values().next().cloned());
            show(ctx, error.problem().status, link, token, words).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn show(
    ctx: &Ctx,
    status: StatusCode,
    link: Link,
    token: String,
    error: Option<String>,
) -> Result<Response, AppError> {
    let accounts = &ctx.app.accounts;
    let info = accounts.peek_token(link.purpose(), &token).await?;
    let holder = accounts.link_holder(link.purpose(), &token).await?;
    let good = holder.zip(info.and_then(|info| info.email)).map(|(user, email)| (user.username, email));
    let (status, title) = match good {
        Some(_) => (status, link.title()),
        None => (StatusCode::NOT_FOUND, "This link does not work"),
    };
    let page = LinkPage { page: ctx.page(title), token, reverts: link == Link::Revert, good, error };
    Ok(private(ctx, status, &page))
}
