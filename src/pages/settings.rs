//! One's own pages. `GET /settings` is the first.

pub mod backup_codes;
pub mod connections;
pub mod email;
pub mod passkeys;
pub mod password;
pub mod second_factor;
pub mod sessions;

use accounts::{ChangeRefused, Factors, PasskeyError, SessionRow};
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::error::AppError;
use crate::guard::{Ctx, Member};
use crate::http::answer;
use crate::view::{Page, device, filters, format};

/// Sign-ins that the first page shows.
const LAST_SIGN_INS: usize = 5;

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    page: Page,
    name: String,
    username: String,
    email: String,
    verified: bool,
    roles: Vec<String>,
    factors: Factors,
    /// What is required of the account, in words.
    required: Option<String>,
    /// A second factor is required and missing.
    due: bool,
    /// Newest first.
    sign_ins: Vec<SignIn>,
}

struct SignIn {
    device: String,
    method: String,
    session: SessionRow,
    is_this: bool,
}

impl SettingsPage {
    /// The second factors in use, in words; empty for none.
    fn factor_words(&self) -> String {
        let standing = &self.factors.standing;
        let mut words = Vec::new();
        if standing.totp {
            words.push("authenticator app".to_owned());
        }
        if !self.factors.passkeys.is_empty() {
            let count = i64::try_from(self.factors.passkeys.len()).unwrap_or(i64::MAX);
            words.push(format::counted(count, "passkey or security key", "passkeys and security keys"));
        }
        if standing.email_codes {
            words.push("codes by e-mail".to_owned());
        }
        let mut words = words.join(", ");
        if let Some(first) = words.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        words
    }

    fn password_since(&self) -> i64 {
        self.factors.password_changed_at.unwrap_or(self.factors.standing.created_at)
    }
}

/// `GET /settings`
pub async fn page(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    let accounts = &ctx.app.accounts;
    let factors = accounts.factors(&member.user_id).await?.ok_or(AppError::Unauthenticated)?;
    let mut sessions = accounts.list_sessions(&member.user_id).await?;
    sessions.sort_by_key(|session| std::cmp::Reverse(session.created_at));
    let sign_in = |session: SessionRow| SignIn {
        device: device::name(&session.user_agent),
        method: sessions::method(&ctx.app, &session.method),
        is_this: session.id == member.session.id,
        session,
    };
    Ok(ctx.html(&SettingsPage {
        page: ctx.page("Profile"),
        name: member.full_name(),
        username: member.username.clone(),
        email: member.email.clone(),
        verified: member.verified,
        roles: member.roles.iter().map(|(_, name)| name.clone()).collect(),
        required: second_factor::requirement(&factors, ctx.app.clock.now()),
        due: factors.standing.to_enrol_by().is_some(),
        factors,
        sign_ins: sessions.into_iter().take(LAST_SIGN_INS).map(sign_in).collect(),
    }))
}

/// Why a change of factors was refused, at its field where it is about one.
fn refusal(refused: ChangeRefused) -> AppError {
    match refused {
        ChangeRefused::WrongCode => AppError::field("code", refused.to_string()),
        ChangeRefused::Passkey(PasskeyError::Name(words)) => AppError::field("name", words),
        ChangeRefused::Passkey(error) => error.into(),
        ChangeRefused::Db(error) => error.into(),
        ChangeRefused::SessionOver => AppError::Unauthenticated,
        refused => AppError::Refused(refused.to_string()),
    }
}

/// A new set of backup codes, in the answer to what made it and nowhere else (SEC-50).
fn show_codes(
    ctx: &Ctx,
    member: &Member,
    as_json: bool,
    codes: Vec<String>,
    words: &'static str,
    onward: &str,
) -> Response {
    if as_json {
        return answer::json(StatusCode::OK, &json!({ "message": words, "backup_codes": codes }));
    }
    crate::pages::backup_codes::shown_once(ctx, words, second_factor::account(member), codes, onward)
}
