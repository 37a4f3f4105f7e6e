//! `POST /logout` (SEC-82).

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::answer::see_other;
use crate::http::cookies::{self, Cookie};
use crate::http::input::Input;

/// Where it is. Without a session it needs no form token: there is nothing to end.
pub const PATH: &str = "/logout";

/// Ends the session on the server and clears what the browser keeps.
pub async fn submit(ctx: Ctx, input: Input) -> Result<Response, AppError> {
    input.done()?;
    if let Some(principal) = &ctx.principal {
        ctx.app.accounts.end_session(&principal.user_id, &principal.session.id).await?;
    }
    // A sign-in that was not finished is over too.
    if let Some(challenge) = &ctx.challenge_cookie {
        ctx.app.accounts.cancel_challenge(challenge).await?;
    }
    let mut response =
        if ctx.json { StatusCode::NO_CONTENT.into_response() } else { see_other("/login?signed_out") };
    let headers = response.headers_mut();
    cookies::add(headers, Cookie::Session.clear(ctx.app.https()));
    cookies::add(headers, Cookie::Challenge.clear(ctx.app.https()));
    // Pages are never stored (no-store) and cookies are cleared one by one: "cookies" would also
    // take the chosen theme.
    headers.insert(HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"storage\""));
    Ok(response)
}
