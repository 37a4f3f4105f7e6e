//! `/settings/2fa/backup-codes`: how many are left, and a new set, shown once (SEC-50, SEC-52).

use accounts::BackupCodes;
use accounts::factors::BACKUP_CODES;
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::{refusal, show_codes};
use crate::error::AppError;
use crate::guard::{Ctx, Member};
use crate::http::answer;
use crate::http::input::Input;
use crate::pages::done;
use crate::view::{Page, filters};

const PATH: &str = "/settings/2fa/backup-codes";

#[derive(Template)]
#[template(path = "settings_backup_codes.html")]
struct BackupCodesPage {
    page: Page,
    set: Option<BackupCodes>,
    total: usize,
    /// There is a second factor that they may stand in for.
    has_factor: bool,
}

impl BackupCodesPage {
    fn used(&self) -> i64 {
        self.set.as_ref().map_or(0, used)
    }

    fn low_words(&self) -> String {
        self.set.as_ref().map_or_else(String::new, low_words)
    }
}

/// How many codes of a set are spent.
pub(super) fn used(set: &BackupCodes) -> i64 {
    i64::try_from(BACKUP_CODES).unwrap_or(i64::MAX) - set.left
}

/// "Only 3 backup codes are left", for the warning at 3 or fewer.
pub(super) fn low_words(set: &BackupCodes) -> String {
    match set.left {
        0 => "No backup code is left".to_owned(),
        1 => "Only one backup code is left".to_owned(),
        left => format!("Only {left} backup codes are left"),
    }
}

/// `GET /settings/2fa/backup-codes`
pub async fn page(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    let accounts = &ctx.app.accounts;
    let set = accounts.backup_codes(&member.user_id).await?;
    let standing = accounts.standing(&member.user_id).await?.ok_or(AppError::Unauthenticated)?;
    if ctx.json {
        let left = set.map(|set| set.left);
        return Ok(answer::json(StatusCode::OK, &json!({ "backup_codes_left": left.unwrap_or(0) })));
    }
    Ok(ctx.html(&BackupCodesPage {
        page: ctx.page("Backup codes"),
        set,
        total: BACKUP_CODES,
        has_factor: !standing.methods().is_empty(),
    }))
}

/// `POST /settings/2fa/backup-codes`, as a form or as JSON: a new set; the old one is void.
pub async fn renew(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let action = input.text("action");
    input.done()?;
    if !matches!(action.as_str(), "" | "regenerate") {
        return Err(AppError::field("action", "Say regenerate, or nothing."));
    }
    match ctx.app.accounts.renew_backup_codes(&member, &ctx.client).await {
        Ok(codes) => {
            let words =
                "The codes you had before do not work any more, and you are signed out everywhere else.";
            Ok(show_codes(&ctx, &member, as_json, codes, words, PATH))
        }
        Err(refused) => done(&ctx, as_json, PATH, Err(refusal(refused))),
    }
}
