//! `/settings/sessions`: where one is signed in, and signing out there (SEC-81).

use accounts::SessionRow;
use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use crate::app::App;
use crate::error::AppError;
use crate::guard::{Ctx, Member};
use crate::http::input::Input;
use crate::pages::done;
use crate::view::format::counted;
use crate::view::{Kind, Page, device, filters};

const PATH: &str = "/settings/sessions";

#[derive(Template)]
#[template(path = "settings_sessions.html")]
struct SessionsPage {
    page: Page,
    sessions: Vec<Line>,
}

struct Line {
    session: SessionRow,
    device: String,
    method: String,
    /// The one that asks.
    is_this: bool,
}

impl SessionsPage {
    fn others(&self) -> usize {
        self.sessions.iter().filter(|line| !line.is_this).count()
    }
}

/// `GET /settings/sessions`
pub async fn page(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    let line = |session: SessionRow| Line {
        device: device::name(&session.user_agent),
        method: method(&ctx.app, &session.method),
        is_this: session.id == member.session.id,
        session,
    };
    let mut sessions: Vec<Line> =
        ctx.app.accounts.list_sessions(&member.user_id).await?.into_iter().map(line).collect();
    // Stable: after this one the others stay as they are, last seen first.
    sessions.sort_by_key(|line| !line.is_this);
    Ok(ctx.html(&SessionsPage { page: ctx.page("Sessions"), sessions }))
}

/// `POST /settings/sessions/{id}/end`: also this very one, which is then signed out.
pub async fn end(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    let words = match ctx.app.accounts.end_session(&member.user_id, &id).await? {
        true => "That device is signed out.",
        false if as_json => return Err(AppError::NotFound),
        false => "That session had ended already.",
    };
    let back = if id == member.session.id { "/login?signed_out" } else { PATH };
    done(&ctx, as_json, back, Ok((Kind::Ok, words.to_owned())))
}

/// `POST /settings/sessions/end-others`
pub async fn end_others(ctx: Ctx, member: Member, input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    let ended = ctx.app.accounts.end_all_sessions(&member.user_id, Some(&member.session.id)).await?;
    let words = match i64::try_from(ended).unwrap_or(i64::MAX) {
        0 => "You are signed in nowhere else.".to_owned(),
        ended => {
            format!("You are signed out everywhere else: {} ended.", counted(ended, "session", "sessions"))
        }
    };
    done(&ctx, as_json, PATH, Ok((Kind::Ok, words)))
}

/// How someone signed in, in words: "password totp" is "Password, authenticator app".
pub(super) fn method(app: &App, method: &str) -> String {
    words(method, |name| app.accounts.provider_label(name))
}

/// The same with what a provider of a name is called.
fn words(method: &str, label: impl Fn(&str) -> String) -> String {
    let word = |(at, step): (usize, &str)| match (step, at) {
        ("password", 0) => "Password".to_owned(),
        ("passkey", 0) => "Passkey".to_owned(),
        ("totp", _) => "authenticator app".to_owned(),
        ("email", _) => "code by e-mail".to_owned(),
        ("backup-code", _) => "backup code".to_owned(),
        (other, _) => other.strip_prefix("provider:").map_or_else(|| other.to_owned(), &label),
    };
    let words: Vec<String> = method.split_whitespace().enumerate().map(word).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn ways_to_sign_in_are_told_in_words() {
        for (stored, told) in [
            ("password", "Password"),
            ("passkey", "Passkey"),
            ("password totp", "Password, authenticator app"),
            ("password passkey", "Password, passkey"),
            ("password backup-code", "Password, backup code"),
            ("password email", "Password, code by e-mail"),
            ("provider:corp", "Corp ID"),
            ("provider:corp passkey", "Corp ID, passkey"),
            ("provider:gone totp", "gone, authenticator app"),
        ] {
            let label = |name: &str| if name == "corp" { "Corp ID".to_owned() } else { name.to_owned() };
            assert_eq!(words(stored, label), told);
        }
    }
}
