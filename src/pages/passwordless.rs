//! Signing in by a passkey alone (SEC-54): the button on the sign-in page, and what the browser
//! offers in its fields.

use accounts::Onward;
use accounts::Outcome;
use axum::http::StatusCode;
use axum::response::Response;

use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::answer::{self, see_other_with};
use crate::http::cookies;
use crate::http::input::Input;
use crate::pages::{link, second_factor, sign_in};
use crate::view::{Flash, Kind};

/// `POST /login/passkey/options`: what the page hands to the browser.
pub async fn options(ctx: Ctx, mut input: Input) -> Result<Response, AppError> {
    let autofill = input.flag("autofill");
    // The form sends all it has.
    input.discard("next");
    input.discard("carry");
    input.discard("link");
    input.done()?;
    let options = ctx.app.accounts.begin_passwordless(&ctx.visitor_id(), &ctx.client, autofill).await?;
    let mut response = answer::json(StatusCode::OK, &options);
    cookies::add(response.headers_mut(), ctx.visitor_cookie());
    Ok(response)
}

/// `POST /login/passkey`: what the browser made of them.
pub async fn submit(ctx: Ctx, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let (ceremony, credential) = (input.text("ceremony"), input.value("credential"));
    let next = input.optional("next").filter(|next| sign_in::safe_next(next));
    let carry = input.optional("carry");
    // As with a password: only from the page that says so (SEC-71).
    let links = input.flag("link");
    input.done()?;
    let back = match links {
        true => link::PATH.to_owned(),
        false => sign_in::address(next.as_deref().unwrap_or("/")),
    };
    let credential = credential.ok_or_else(|| AppError::field("credential", "This is needed."))?;
    let accounts = &ctx.app.accounts;
    let onward = Onward { next, carry };
    let first = match accounts.finish_passwordless(&ctx.visitor_id(), &ceremony, &credential).await {
        Ok(first) => first.onward(onward.clone()).linking(ctx.link_cookie.as_ref().filter(|_| links)),
        Err(error) => {
            let words = error.to_string();
            return match AppError::from(error) {
                // A program hears that it was no sign-in; a person what to do.
                AppError::Refused(_) if as_json => Err(AppError::InvalidCredentials),
                AppError::Refused(_) => Ok(see_other_with(&ctx, &back, Flash::new(Kind::Bad, words))),
                error => Err(error),
            };
        }
    };
    match accounts.complete_login(first, &ctx.client).await {
        Ok(Outcome::Session(session)) => sign_in::enter(&ctx, &session, as_json, onward).await,
        Ok(Outcome::Challenge(challenge)) => second_factor::challenged(&ctx, challenge, as_json, None).await,
        Err(refused) if as_json => Err(refused.into()),
        Err(refused) => {
            let problem = AppError::from(refused).problem();
            Ok(see_other_with(&ctx, &back, Flash::new(Kind::Bad, problem.detail)))
        }
    }
}
