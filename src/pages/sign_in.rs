//! `GET/POST /login`: the first factor.

use accounts::{NewSession, Onward, Outcome, Refused, SessionToken};
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::error::{AppError, wait_words};
use crate::guard::{Ctx, session_cookie};
use crate::http::answer::{json, see_other, with_wait};
use crate::http::cookies::{self, Cookie};
use crate::http::csrf;
use crate::http::input::Input;
use crate::joining;
use crate::pages::provider::{self, ProviderButton};
use crate::pages::{carried, link, second_factor};
use crate::view::{Field, Page, filters};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    page: Page,
    /// Kind, what happened, what to do.
    notice: Option<(&'static str, String, String)>,
    who: Field,
    password: Field,
    next: Option<String>,
    carry: Option<String>,
    /// Whether this site can have passkeys.
    passkeys: bool,
    providers: Vec<ProviderButton>,
}

/// How long a browser is known again, in seconds: as long as browsers keep a cookie.
const DEVICE_SECONDS: i64 = 400 * 24 * 3600;

/// The sign-in page that leads back to `next`.
pub fn address(next: &str) -> String {
    if next == "/" || !safe_next(next) {
        return "/login".to_owned();
    }
    let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
    format!("/login?next={next}")
}

/// Whether `next` is a path of ours and nothing else (SEC-76).
pub fn safe_next(next: &str) -> bool {
    next.starts_with('/')
        && !next.starts_with("//")
        && !next.starts_with("/\\")
        && next.len() <= 2_000
        && !next.chars().any(|c| c.is_control() || c == '\\')
}

/// `GET /login`
pub async fn page(ctx: Ctx) -> Response {
    let mut next = None;
    let mut notice = None;
    for (name, value) in url::form_urlencoded::parse(ctx.query.as_deref().unwrap_or("").as_bytes()) {
        match &*name {
            "next" if safe_next(&value) => next = Some(value.into_owned()),
            "signed_out" => {
                notice = Some(("ok", "You are signed out".to_owned(), "See you next time.".to_owned()));
            }
            _ => {}
        }
    }
    if notice.is_none() && next.is_some() {
        notice =
            Some(("warn", "Please sign in".to_owned(), "Then you go on where you wanted to.".to_owned()));
    }
    if ctx.app.setup_is_open() && notice.is_none() {
        notice = Some((
            "warn",
            "Nobody is Admin yet".to_owned(),
            "Open the set-up link that the server printed when it started.".to_owned(),
        ));
    }
    show(&ctx, StatusCode::OK, notice, "", next, None)
}

fn show(
    ctx: &Ctx,
    status: StatusCode,
    notice: Option<(&'static str, String, String)>,
    typed: &str,
    next: Option<String>,
    carry: Option<String>,
) -> Response {
    let mut who = Field::text("username_or_email", "Username or e-mail")
        .autocomplete("username webauthn")
        .value(typed)
        .required()
        .tall();
    let mut password = Field::password("password", "Password", "current-password")
        .aside("/forgot", "Forgot it?")
        .required()
        .tall();
    if typed.is_empty() {
        who = who.autofocus();
    } else {
        password = password.autofocus();
    }
    let passkeys = ctx.app.accounts.passkeys_available();
    let providers = provider::buttons(ctx, next.as_deref(), false);
    ctx.html_as(
        status,
        &SignInPage { page: ctx.page("Sign in"), notice, who, password, next, carry, passkeys, providers },
    )
}

/// The sign-in page after another way in came to nothing, with the prompt that waits.
pub fn another_way(ctx: &Ctx, status: StatusCode, title: String, what: String, onward: &Onward) -> Response {
    show(ctx, status, Some(("bad", title, what)), "", onward.next.clone(), onward.carry.clone())
}

/// `POST /login`, as a form or as JSON.
pub async fn submit(ctx: Ctx, mut input: Input) -> Result<Response, AppError> {
    let typed = input.text("username_or_email");
    let password = input.text("password");
    // A code of the second factor, if the sender has one at hand. How many factors are needed never
    // depends on it (SEC-39).
    let code = input.optional("token");
    let next = input.optional("next").filter(|next| safe_next(next));
    let carry = input.optional("carry");
    // Only from the page that says so: somebody else's identity may wait in this browser (SEC-71).
    let links = input.flag("link");
    let as_json = ctx.json || input.is_json();
    if let Err(mut errors) = input.finish() {
        if as_json {
            return Err(AppError::Validation(errors));
        }
        let text = errors.pop_first().map(|(_, text)| text).unwrap_or_default();
        let told = ("That did not work".to_owned(), text);
        let onward = Onward { next, carry };
        return again(&ctx, StatusCode::UNPROCESSABLE_ENTITY, told, &typed, onward, links).await;
    }
    let onward = Onward { next, carry };
    let done = match ctx.app.accounts.sign_in(&typed, &password, &ctx.client).await {
        Ok(factor) => {
            let earlier = ctx.challenge_cookie.clone();
            let factor = factor.onward(onward.clone()).resuming(earlier, code.is_some());
            let factor = factor.linking(ctx.link_cookie.as_ref().filter(|_| links));
            ctx.app.accounts.complete_login(factor, &ctx.client).await
        }
        Err(refused) => Err(refused),
    };
    let refused = match done {
        Ok(Outcome::Session(session)) => return enter(&ctx, &session, as_json, onward).await,
        Ok(Outcome::Challenge(challenge)) => {
            return second_factor::challenged(&ctx, challenge, as_json, code.as_deref()).await;
        }
        Err(refused) => refused,
    };
    let error = match refused {
        Refused::Invalid { resend_verification: Some(user) } => {
            joining::mail_verification(&ctx.app, &user, &ctx.client).await?;
            AppError::InvalidCredentials
        }
        refused => refused.into(),
    };
    if as_json {
        return Err(error);
    }
    let problem = error.problem();
    let told = match &error {
        // After a hundred failures no waiting helps (SEC-28); how far it is, is not told.
        AppError::RateLimited(seconds) => (
            format!("Too many tries. Wait {}.", wait_words(*seconds)),
            "Then try again. Or set a new password by “Forgot it?”, which also lifts a lock.".to_owned(),
        ),
        _ => (problem.title.to_owned(), problem.detail),
    };
    let response = again(&ctx, problem.status, told, &typed, onward, links).await?;
    Ok(with_wait(response, &error))
}

/// The page that the form was on, once more.
async fn again(
    ctx: &Ctx,
    status: StatusCode,
    told: (String, String),
    typed: &str,
    onward: Onward,
    links: bool,
) -> Result<Response, AppError> {
    if links && let Some(page) = link::again(ctx, status, told.clone(), typed).await? {
        return Ok(page);
    }
    let (title, what) = told;
    Ok(show(ctx, status, Some(("bad", title, what)), typed, onward.next, onward.carry))
}

/// Past the gate: the session is there.
pub async fn enter(
    ctx: &Ctx,
    session: &NewSession,
    as_json: bool,
    onward: Onward,
) -> Result<Response, AppError> {
    let path = go_on(ctx, session, onward).await?;
    Ok(signed_in(ctx, session, as_json, &path))
}

/// Where a person goes after signing in, with the prompt that they brought.
pub async fn go_on(ctx: &Ctx, session: &NewSession, onward: Onward) -> Result<String, AppError> {
    if let Some(principal) = &ctx.principal {
        // Signed in anew over a live session: the old one ends.
        ctx.app.accounts.end_session(&principal.user_id, &principal.session.id).await?;
    }
    let draft = match onward.carry {
        Some(sealed) => carried::keep(ctx, &session.user.id, &sealed).await?,
        None => None,
    };
    Ok(draft.or(onward.next).unwrap_or_else(|| "/chat".to_owned()))
}

/// The answer that carries the new session's cookie.
pub fn signed_in(ctx: &Ctx, session: &NewSession, as_json: bool, path: &str) -> Response {
    let mut response = if as_json {
        json(
            StatusCode::OK,
            &serde_json::json!({
                "message": "You are signed in.",
                "user": joining::user_json(&session.user),
                "csrf_token": csrf::token(&ctx.app.random, &session.csrf_secret),
            }),
        )
    } else {
        see_other(path)
    };
    set_cookies(ctx, session, &mut response);
    response
}

/// The cookies of somebody who has just come in.
pub fn set_cookies(ctx: &Ctx, session: &NewSession, response: &mut Response) {
    let https = ctx.app.https();
    let headers = response.headers_mut();
    cookies::add(headers, session_cookie(&ctx.app, &session.token, session.expires_at));
    cookies::add(headers, Cookie::Visitor.clear(https));
    cookies::add(headers, Cookie::Challenge.clear(https));
    if let Some(end) = &session.link {
        link::ended(ctx, end, response);
    }
    let headers = response.headers_mut();
    if let Some(device) = &session.device {
        cookies::add(headers, Cookie::Device.set(device.as_str(), Some(DEVICE_SECONDS), https));
    }
}

/// The sign-in page for a prompt whose session has ended: the prompt waits in it, sealed.
pub async fn with_prompt(ctx: &Ctx, input: Input, dead_session: Option<&SessionToken>) -> Response {
    let (next, carry) = carried::seal(ctx, input, dead_session).await;
    let notice = (
        "warn",
        "Your session has ended".to_owned(),
        "Sign in and your prompt stands in the composer again.".to_owned(),
    );
    show(ctx, StatusCode::UNAUTHORIZED, Some(notice), "", next, carry)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-76
    #[test]
    fn sec_76_next_is_a_path_of_ours_only() {
        for good in ["/chat", "/chat/1?x=2", "/admin/users?q=a%2Fb"] {
            assert!(safe_next(good), "{good}");
        }
        for bad in
            ["//e", "/\\e", "https:e", "https://e", "", "chat", "/a\nb", "/a\\b", "javascript:x", "/\te"]
        {
            assert!(!safe_next(bad), "{bad:?}");
        }
    }
}
