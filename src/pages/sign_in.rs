//! `GET/POST /login`: the first factor.

use accounts::{NewSession, Outcome, Refused, SessionToken};
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::error::{AppError, internal, wait_words};
use crate::guard::Ctx;
use crate::http::answer::{json, see_other, with_wait};
use crate::http::cookies::{self, Cookie};
use crate::http::csrf;
use crate::http::input::Input;
use crate::joining;
use crate::pages::carried;
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
}

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
        .autocomplete("username")
        .value(typed)
        .required()
        .tall();
    let mut password = Field::password("password", "Password", "current-password").required().tall();
    if typed.is_empty() {
        who = who.autofocus();
    } else {
        password = password.autofocus();
    }
    ctx.html_as(status, &SignInPage { page: ctx.page("Sign in"), notice, who, password, next, carry })
}

/// `POST /login`, as a form or as JSON.
pub async fn submit(ctx: Ctx, mut input: Input) -> Result<Response, AppError> {
    let typed = input.text("username_or_email");
    let password = input.text("password");
    // Second factors read it; the number of factors needed never depends on it (SEC-39).
    input.discard("token");
    let next = input.optional("next").filter(|next| safe_next(next));
    let carry = input.optional("carry");
    let as_json = ctx.json || input.is_json();
    if let Err(mut errors) = input.finish() {
        if as_json {
            return Err(AppError::Validation(errors));
        }
        let text = errors.pop_first().map(|(_, text)| text).unwrap_or_default();
        let notice = Some(("bad", "That did not work".to_owned(), text));
        return Ok(show(&ctx, StatusCode::UNPROCESSABLE_ENTITY, notice, &typed, next, carry));
    }
    let done = match ctx.app.accounts.sign_in(&typed, &password, &ctx.client).await {
        Ok(factor) => ctx.app.accounts.complete_login(factor, &ctx.client).await,
        Err(refused) => Err(refused),
    };
    let refused = match done {
        Ok(Outcome::Session(session)) => return enter(&ctx, &session, as_json, next, carry).await,
        Ok(Outcome::Challenge(_)) => {
            // No factor can be enrolled yet, so the gate never asks for one.
            return Err(internal("the gate asked for a second factor that no route can take"));
        }
        Err(refused) => refused,
    };
    let error = match refused {
        Refused::Invalid { resend_verification } => {
            if let Some(user) = resend_verification {
                joining::mail_verification(&ctx.app, &user, &ctx.client).await?;
            }
            AppError::InvalidCredentials
        }
        Refused::Limited { retry_after_secs, .. } => AppError::RateLimited(retry_after_secs.unsigned_abs()),
        Refused::Busy { retry_after_secs } => AppError::Busy(retry_after_secs.unsigned_abs()),
        Refused::Db(error) => error.into(),
    };
    if as_json {
        return Err(error);
    }
    let problem = error.problem();
    let title = match &error {
        AppError::RateLimited(seconds) => format!("Too many tries. Wait {}.", wait_words(*seconds)),
        _ => problem.title.to_owned(),
    };
    let response = show(&ctx, problem.status, Some(("bad", title, problem.detail)), &typed, next, carry);
    Ok(with_wait(response, &error))
}

/// Past the gate: the session is there.
async fn enter(
    ctx: &Ctx,
    session: &NewSession,
    as_json: bool,
    next: Option<String>,
    carry: Option<String>,
) -> Result<Response, AppError> {
    if let Some(principal) = &ctx.principal {
        // Signed in anew over a live session: the old one ends.
        ctx.app.accounts.end_session(&principal.user_id, &principal.session.id).await?;
    }
    let draft = match carry {
        Some(sealed) => carried::keep(ctx, &session.user.id, &sealed).await?,
        None => None,
    };
    Ok(signed_in(ctx, session, as_json, draft.or(next).as_deref().unwrap_or("/chat")))
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
    let https = ctx.app.https();
    let headers = response.headers_mut();
    let age = (session.expires_at - ctx.app.clock.now()) / base::SECOND;
    cookies::add(headers, Cookie::Session.set(session.token.as_str(), Some(age), https));
    cookies::add(headers, Cookie::Visitor.clear(https));
    response
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
