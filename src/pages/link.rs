//! `/login/link`: an identity waits for the proof that an account is its owner's (SEC-71): by signing
//! in to it in the usual way, or by a link that is mailed to its address.

use accounts::identities::MailedLink;
use accounts::{LinkEnd, LinkError, LinkToken, Outcome, PendingLink, Purpose, Refused};
use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::error::{AppError, wait_words};
use crate::guard::Ctx;
use crate::http::answer::{self, see_other, see_other_with, with_flash, with_wait};
use crate::http::cookies::{self, Cookie};
use crate::http::input::Input;
use crate::pages::recovery::private;
use crate::pages::{second_factor, sign_in};
use crate::view::{Field, Flash, Kind, Page, filters};

pub const PATH: &str = "/login/link";

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage {
    page: Page,
    /// `None` where nothing waits (any more).
    pending: Option<PendingLink>,
    /// What went wrong, and what to do.
    error: Option<(String, String)>,
    who: Field,
    password: Field,
    /// Whether this site can have passkeys.
    passkeys: bool,
}

#[derive(Template)]
#[template(path = "link_mailed.html")]
struct MailedPage {
    page: Page,
    token: String,
    /// `None` for a link that does not work here.
    link: Option<MailedLink>,
    /// It works in another browser.
    elsewhere: bool,
}

impl From<LinkError> for AppError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Limited(limited) => Self::RateLimited(limited.retry_after_secs.unsigned_abs()),
            LinkError::SessionOver => Self::Unauthenticated,
            LinkError::Db(error) => error.into(),
            error => Self::Refused(error.to_string()),
        }
    }
}

/// Remembers what waits in the browser.
pub fn set_cookie(ctx: &Ctx, token: &LinkToken, response: &mut Response) {
    let cookie = Cookie::Link.set(token.as_str(), None, ctx.app.https());
    cookies::add(response.headers_mut(), cookie);
}

/// The sign-in that was to link is through.
pub fn ended(ctx: &Ctx, end: &LinkEnd, response: &mut Response) {
    let kind = if matches!(end, LinkEnd::Linked { .. }) { Kind::Ok } else { Kind::Warn };
    with_flash(ctx, response, &Flash::new(kind, end.words()));
    cookies::add(response.headers_mut(), Cookie::Link.clear(ctx.app.https()));
}

/// What waits in this browser.
async fn pending(ctx: &Ctx) -> Result<Option<PendingLink>, AppError> {
    match &ctx.link_cookie {
        Some(token) => Ok(ctx.app.accounts.pending_link(token).await?),
        None => Ok(None),
    }
}

/// `GET /login/link`
pub async fn page(ctx: Ctx) -> Result<Response, AppError> {
    let pending = pending(&ctx).await?;
    let status = if pending.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    Ok(show(&ctx, status, pending, None, ""))
}

/// The page once more after a sign-in on it that failed; `None` where nothing waits any more.
pub async fn again(
    ctx: &Ctx,
    status: StatusCode,
    error: (String, String),
    typed: &str,
) -> Result<Option<Response>, AppError> {
    let pending = pending(ctx).await?;
    Ok(pending.map(|pending| show(ctx, status, Some(pending), Some(error), typed)))
}

fn show(
    ctx: &Ctx,
    status: StatusCode,
    pending: Option<PendingLink>,
    error: Option<(String, String)>,
    typed: &str,
) -> Response {
    let who = Field::text("username_or_email", "Username or e-mail")
        .autocomplete("username webauthn")
        .value(typed)
        .required()
        .tall();
    let password = Field::password("password", "Password", "current-password")
        .aside("/forgot", "Forgot it?")
        .required()
        .tall();
    let (who, password) =
        if typed.is_empty() { (who.autofocus(), password) } else { (who, password.autofocus()) };
    let title = if pending.is_some() { "Is this account yours?" } else { "Nothing waits here" };
    let passkeys = ctx.app.accounts.passkeys_available();
    ctx.html_as(status, &LinkPage { page: ctx.page(title), pending, error, who, password, passkeys })
}

/// `POST /login/link/mail`: mails a link that proves the account. The answer is the same for an
/// address that nobody has confirmed, which gets none.
pub async fn send_mail(ctx: Ctx, input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    let Some(pending) = pending(&ctx).await? else {
        return if as_json { Err(LinkError::Expired.into()) } else { Ok(see_other(PATH)) };
    };
    let sent = match &ctx.link_cookie {
        Some(token) => ctx.app.accounts.send_link_mail(token, &ctx.client).await,
        None => Err(LinkError::Expired),
    };
    match sent {
        Ok(()) => {
            let words = format!(
                "If {} is confirmed here, a link is on its way to it. Open it in this browser, within 30 minutes. If \
                 nothing comes, “Forgot it?” sets a new password by mail.",
                pending.email
            );
            Ok(if as_json {
                answer::json(StatusCode::ACCEPTED, &json!({ "message": words }))
            } else {
                see_other_with(&ctx, PATH, Flash::new(Kind::Ok, words))
            })
        }
        Err(error) if as_json => Err(error.into()),
        Err(LinkError::Expired) => Ok(see_other(PATH)),
        Err(LinkError::Limited(limited)) => {
            let error = AppError::RateLimited(limited.retry_after_secs.unsigned_abs());
            let told = (
                "Several mails went to this address already".to_owned(),
                format!(
                    "Look into the inbox and the spam folder, or wait {}.",
                    wait_words(limited.retry_after_secs.unsigned_abs())
                ),
            );
            let response = show(&ctx, error.problem().status, Some(pending), Some(told), "");
            Ok(with_wait(response, &error))
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /login/link/cancel`: the identity stays a stranger's.
pub async fn cancel(ctx: Ctx, input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    if let Some(token) = &ctx.link_cookie {
        ctx.app.accounts.forget_pending_link(token).await?;
    }
    let words = "Nothing was linked.";
    let mut response = if as_json {
        answer::json(StatusCode::OK, &json!({ "message": words }))
    } else {
        let back = if ctx.principal.is_some() { "/settings/connections" } else { "/login" };
        see_other_with(&ctx, back, Flash::new(Kind::Ok, words))
    };
    cookies::add(response.headers_mut(), Cookie::Link.clear(ctx.app.https()));
    Ok(response)
}

/// `GET /login/link/{token}` only shows: programs that look through mail follow links (SEC-64).
pub async fn mailed_page(ctx: Ctx, Path(token): Path<String>) -> Result<Response, AppError> {
    show_mailed(&ctx, token).await
}

/// `POST /login/link/{token}`: the account is proved by its address. Its second factor is asked for
/// before anything is linked (SEC-65).
pub async fn mailed(ctx: Ctx, Path(token): Path<String>, input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    let accounts = &ctx.app.accounts;
    // Read before it is used up.
    let onward = pending(&ctx).await?.map(|pending| pending.onward).unwrap_or_default();
    let first = match &ctx.link_cookie {
        Some(cookie) => accounts.confirm_link(&token, cookie, &ctx.client).await?,
        None => None,
    };
    let Some(first) = first else {
        return if as_json { Err(AppError::NotFound) } else { show_mailed(&ctx, token).await };
    };
    let first = first.resuming(ctx.challenge_cookie.clone(), false);
    match accounts.complete_login(first, &ctx.client).await {
        Ok(Outcome::Session(session)) => sign_in::enter(&ctx, &session, as_json, onward).await,
        Ok(Outcome::Challenge(challenge)) => second_factor::challenged(&ctx, challenge, as_json, None).await,
        Err(Refused::Invalid { .. }) if !as_json => {
            let words = "Nothing was linked: this account cannot sign in. Ask an Admin.";
            Ok(see_other_with(&ctx, "/login", Flash::new(Kind::Bad, words)))
        }
        Err(refused) => Err(refused.into()),
    }
}

async fn show_mailed(ctx: &Ctx, token: String) -> Result<Response, AppError> {
    let accounts = &ctx.app.accounts;
    let link = match &ctx.link_cookie {
        Some(cookie) => accounts.mailed_link(&token, cookie).await?,
        None => None,
    };
    let elsewhere = link.is_none() && accounts.peek_token(Purpose::LinkIdentity, &token).await?.is_some();
    let (status, title) = match link {
        Some(_) => (StatusCode::OK, "Link it with your account?"),
        None => (StatusCode::NOT_FOUND, "This link does not work here"),
    };
    Ok(private(ctx, status, &MailedPage { page: ctx.page(title), token, link, elsewhere }))
}
