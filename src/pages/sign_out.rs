//! `POST /logout` (SEC-82).

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use url::Url;

use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::answer::{see_other, with_flash};
use crate::http::cookies::{self, Cookie};
use crate::http::input::Input;
use crate::pages::provider;
use crate::view::{Flash, Kind};

/// Where it is. Without a session it needs no form token: there is nothing to end.
pub const PATH: &str = "/logout";
/// The page afterwards.
const AFTERWARDS: &str = "/login?signed_out";
/// Where a provider sends people back to that has signed them out too; it has to know the address to
/// the letter.
const BACK: &str = "/login";

/// Ends the session on the server and clears what the browser keeps; then, where the operator wants
/// it, the browser goes on to the provider that signed the person in.
pub async fn submit(mut ctx: Ctx, input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    if let Some(principal) = &ctx.principal {
        ctx.app.accounts.end_session(&principal.user_id, &principal.session.id).await?;
    }
    // A sign-in that was not finished is over too.
    if let Some(challenge) = &ctx.challenge_cookie {
        ctx.app.accounts.cancel_challenge(challenge).await?;
    }
    let there = if as_json { None } else { there(&ctx).await };
    // The page is for nobody any more.
    ctx.principal = None;
    let mut response = match there {
        _ if as_json => StatusCode::NO_CONTENT.into_response(),
        Some((label, url)) => {
            let what = format!("You are signed out here. On to {label}, to sign out there too.");
            let mut response = provider::going(&ctx, "Signed out here", &what, &label, &url);
            // The address to come back to is registered there, so it says nothing of its own.
            with_flash(&ctx, &mut response, &Flash::new(Kind::Ok, "You are signed out."));
            response
        }
        None => see_other(AFTERWARDS),
    };
    let headers = response.headers_mut();
    cookies::add(headers, Cookie::Session.clear(ctx.app.https()));
    cookies::add(headers, Cookie::Challenge.clear(ctx.app.https()));
    // Pages are never stored (no-store) and cookies are cleared one by one: "cookies" would also
    // take the chosen theme.
    headers.insert(HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"storage\""));
    Ok(response)
}

/// Where to sign out at the provider that this session came by. `None` where it did not, nobody wants
/// it, or the provider cannot be asked now.
async fn there(ctx: &Ctx) -> Option<(String, Url)> {
    let method = &ctx.principal.as_ref()?.session.method;
    let name = method.split_whitespace().next()?.strip_prefix("provider:")?;
    let provider = ctx.app.providers.get(name).filter(|provider| provider.logout)?;
    let url = ctx.app.providers.connector.end_session(&provider.settings, &ctx.app.link(BACK)).await?;
    Some((provider.label().to_owned(), url))
}
