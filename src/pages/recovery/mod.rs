//! The links that mails carry: setting a new password, confirming an address, taking a change back.

pub mod address;
pub mod forgot;
pub mod reset;

use accounts::{Busy, RecoveryError};
use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::error::AppError;
use crate::guard::Ctx;

impl From<RecoveryError> for AppError {
    fn from(error: RecoveryError) -> Self {
        let by_field = |errors: accounts::FieldErrors| {
            errors.0.into_iter().map(|(field, words)| (field.into(), words)).collect()
        };
        match error {
            RecoveryError::Fields(errors) => Self::Validation(by_field(errors)),
            RecoveryError::Taken(errors) => Self::Conflict(by_field(errors)),
            RecoveryError::BadToken => Self::NotFound,
            RecoveryError::SessionOver => Self::Unauthenticated,
            RecoveryError::Limited(limited) => Self::RateLimited(limited.retry_after_secs.unsigned_abs()),
            RecoveryError::Busy(_) => Self::Busy(Busy::RETRY_AFTER_SECS.unsigned_abs()),
            RecoveryError::Db(error) => error.into(),
        }
    }
}

/// A page whose address holds a token: it goes to nobody as a referrer (SEC-64). The page itself says
/// `strict-origin`, so that its form is known as ours.
pub fn private(ctx: &Ctx, status: StatusCode, page: &impl Template) -> Response {
    let mut response = ctx.html_as(status, page);
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// What stands above a form: an error that no field of the form says.
pub fn above(error: &AppError, fields: &[&str]) -> Option<String> {
    let problem = error.problem();
    match error.fields() {
        Some(errors) if errors.keys().all(|name| fields.contains(&&**name)) => None,
        Some(errors) => errors.values().next().cloned(),
        None => Some(format!("{}. {}", problem.title, problem.detail)),
    }
}
