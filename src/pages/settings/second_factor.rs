//! `/settings/2fa`: the security of one's account, and the authenticator app (SEC-40 to SEC-47).

use accounts::{BackupCodes, ChangeRefused, FactorAdded, Factors, PasskeyRow, PendingTotp, Principal};
use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::{backup_codes, refusal, show_codes};
use crate::error::{AppError, internal};
use crate::guard::{Ctx, Member};
use crate::http::answer::{self, see_other, see_other_with};
use crate::http::input::Input;
use crate::pages::done;
use crate::view::qr::Qr;
use crate::view::{Flash, Kind, Page, filters, format};

pub(super) const PATH: &str = "/settings/2fa";
const SETUP: &str = "/settings/2fa/setup";

#[derive(Template)]
#[template(path = "settings_security.html")]
struct SecurityPage {
    page: Page,
    factors: Factors,
    /// A secret waits for its first code.
    pending: bool,
    /// Whether the Admin allows codes by e-mail here.
    email_codes_allowed: bool,
    email: String,
    verified: bool,
    required: Option<String>,
    devices: usize,
    /// Linked accounts elsewhere.
    connections: usize,
}

impl SecurityPage {
    fn is_on(&self) -> bool {
        !self.factors.standing.methods().is_empty()
    }

    fn low_codes(&self) -> Option<BackupCodes> {
        self.factors.backup_codes.filter(BackupCodes::is_low)
    }

    fn low_words(&self) -> String {
        self.low_codes().map_or_else(String::new, |set| backup_codes::low_words(&set))
    }

    fn used_codes(&self) -> i64 {
        self.factors.backup_codes.as_ref().map_or(0, backup_codes::used)
    }

    fn passkey_used_at(&self) -> Option<i64> {
        self.factors.passkeys.iter().filter_map(|key: &PasskeyRow| key.last_used_at).max()
    }

    fn password_since(&self) -> i64 {
        self.factors.password_changed_at.unwrap_or(self.factors.standing.created_at)
    }
}

/// What is required of the account, in words; `None` where nothing is.
pub(super) fn requirement(factors: &Factors, now: i64) -> Option<String> {
    let standing = &factors.standing;
    standing.due_at?;
    Some(match standing.to_enrol_by() {
        None => "required for your account".to_owned(),
        Some(due) => format!("required by {}", format::deadline(due, now)),
    })
}

/// `GET /settings/2fa`, as a page or as JSON.
pub async fn page(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    let accounts = &ctx.app.accounts;
    let factors = accounts.factors(&member.user_id).await?.ok_or(AppError::Unauthenticated)?;
    let pending = accounts.pending_totp(&member.user_id, &member.session.id, "").await?.is_some();
    if ctx.json {
        let status = json!({
            "totp": factors.standing.totp,
            "pending": pending,
            "backup_codes_left": factors.standing.backup_codes_left,
            "email_codes": factors.standing.email_codes,
            "passkeys": factors.passkeys.len(),
        });
        return Ok(answer::json(StatusCode::OK, &status));
    }
    Ok(ctx.html(&SecurityPage {
        page: ctx.page("Security"),
        required: requirement(&factors, ctx.app.clock.now()),
        factors,
        pending,
        email_codes_allowed: accounts.settings().second_factor.email_codes,
        email: member.email.clone(),
        verified: member.verified,
        devices: accounts.list_sessions(&member.user_id).await?.len(),
        connections: accounts.list_identities(&member.user_id).await?.len(),
    }))
}

#[derive(Template)]
#[template(path = "settings_totp.html")]
struct TotpPage {
    page: Page,
    pending: PendingTotp,
    /// `None` where the names are too long for one; the secret can be typed.
    qr: Option<Qr>,
    /// An app is in use, and stays so until the new one is confirmed (SEC-44).
    replaces: bool,
    /// Backup codes come with it.
    makes_codes: bool,
    /// What was wrong with the code.
    error: Option<String>,
}

impl TotpPage {
    /// The secret in groups of four.
    fn groups(&self) -> Vec<String> {
        self.pending.grouped().split(' ').map(str::to_owned).collect()
    }
}

/// `GET /settings/2fa/setup`: the secret while it waits, and only then (SEC-45).
pub async fn setup(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    show_setup(&ctx, &member, None).await
}

async fn show_setup(ctx: &Ctx, member: &Member, error: Option<&AppError>) -> Result<Response, AppError> {
    let accounts = &ctx.app.accounts;
    let Some(pending) = accounts.pending_totp(&member.user_id, &member.session.id, account(member)).await?
    else {
        return Ok(match error {
            None => see_other(PATH),
            Some(_) => {
                let words = ChangeRefused::NothingPending.to_string();
                see_other_with(ctx, PATH, Flash::new(Kind::Bad, words))
            }
        });
    };
    Ok(ctx.html_as(
        error.map_or(StatusCode::OK, |error| error.problem().status),
        &TotpPage {
            page: ctx.page("Authenticator app"),
            qr: Qr::new(&pending.uri),
            pending,
            replaces: accounts.standing(&member.user_id).await?.is_some_and(|standing| standing.totp),
            makes_codes: accounts.backup_codes(&member.user_id).await?.is_none(),
            error: error.and_then(|error| error.fields()?.get("code").cloned()),
        },
    ))
}

/// What the app shows beside the site's name.
pub(super) fn account(principal: &Principal) -> &str {
    if principal.email.is_empty() { &principal.username } else { &principal.email }
}

#[derive(Template)]
#[template(path = "settings_totp_off.html")]
struct TotpOffPage {
    page: Page,
    /// Nothing else would be left.
    last: bool,
    required: bool,
    /// The account must have another one first.
    refused: bool,
}

/// `GET /settings/2fa/disable`: what turning the app off means, and the button.
pub async fn disable_page(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    let standing = ctx.app.accounts.standing(&member.user_id).await?.ok_or(AppError::Unauthenticated)?;
    if !standing.totp {
        return Ok(see_other(PATH));
    }
    let mut without = standing.clone();
    without.totp = false;
    Ok(ctx.html(&TotpOffPage {
        page: ctx.page("Turn off the authenticator app"),
        last: without.methods().is_empty(),
        required: standing.due_at.is_some(),
        refused: without.must_enrol(ctx.app.clock.now()),
    }))
}

/// `POST /settings/2fa`, as a form or as JSON: `action` says what.
pub async fn submit(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let action = input.text("action");
    // Two names: the second is what older clients of such pages send.
    let code = input.optional("code").or_else(|| input.optional("otp_code")).unwrap_or_default();
    input.discard("otp_code");
    input.done()?;
    let accounts = &ctx.app.accounts;
    let change = match action.as_str() {
        "generate" => {
            let pending = accounts.begin_totp(&member.user_id, &member.session.id, account(&member)).await?;
            return Ok(if as_json { secret(&pending) } else { see_other(SETUP) });
        }
        "confirm" => return confirm(&ctx, &member, as_json, &code).await,
        "cancel" => {
            accounts.cancel_totp(&member.user_id).await?;
            Ok("Nothing was changed.")
        }
        "disable" => accounts
            .disable_totp(&member, &ctx.client)
            .await
            .map(|()| "The authenticator app is off. You are signed out everywhere else."),
        "email-on" => accounts
            .set_email_codes(&member, true, &ctx.client)
            .await
            .map(|()| "Codes by e-mail are on. You are signed out everywhere else."),
        "email-off" => accounts
            .set_email_codes(&member, false, &ctx.client)
            .await
            .map(|()| "Codes by e-mail are off. You are signed out everywhere else."),
        _ => {
            let words = "Say generate, confirm, cancel, disable, email-on or email-off.";
            return Err(AppError::field("action", words));
        }
    };
    let result = change.map(|words| (Kind::Ok, words.to_owned())).map_err(refusal);
    done(&ctx, as_json, PATH, result)
}

/// The one answer in JSON that holds the secret.
pub fn secret(pending: &PendingTotp) -> Response {
    answer::json(
        StatusCode::OK,
        &json!({
            "secret": pending.secret,
            "uri": pending.uri,
            "issuer": pending.issuer,
            "account": pending.account,
            "expires_at": pending.expires_at,
        }),
    )
}

async fn confirm(ctx: &Ctx, member: &Member, as_json: bool, code: &str) -> Result<Response, AppError> {
    match ctx.app.accounts.confirm_totp(member, code, &ctx.client).await {
        Ok(FactorAdded { backup_codes: Some(codes), .. }) => {
            let words = "The authenticator app is set up, and you are signed out everywhere else.";
            Ok(show_codes(ctx, member, as_json, codes, words, PATH))
        }
        Ok(FactorAdded { replaced, .. }) => {
            let words = if replaced {
                "The new authenticator app is in place; the old one is off. You are signed out everywhere else."
            } else {
                "The authenticator app is set up. You are signed out everywhere else."
            };
            done(ctx, as_json, PATH, Ok((Kind::Ok, words.to_owned())))
        }
        Err(refused) if as_json => Err(refusal(refused)),
        Err(refused @ (ChangeRefused::WrongCode | ChangeRefused::NothingPending)) => {
            show_setup(ctx, member, Some(&refusal(refused))).await
        }
        Err(refused) => done(ctx, as_json, PATH, Err(refusal(refused))),
    }
}

/// `GET /2fa/qrcode.png`: the waiting secret as a picture, for programs; 404 where none waits (SEC-45).
pub async fn qr_code(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    let pending =
        ctx.app.accounts.pending_totp(&member.user_id, &member.session.id, account(&member)).await?;
    let pending = pending.ok_or(AppError::NotFound)?;
    let png = Qr::new(&pending.uri).and_then(|qr| qr.png());
    let png = png.ok_or_else(|| internal("a key was too long for a QR code"))?;
    Ok(([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "no-store")], png).into_response())
}
