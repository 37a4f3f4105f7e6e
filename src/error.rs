//! One error for the whole application: a page for people, problem+json (RFC 9457) for programs.
//!
//! A handler gives an [`AppError`]; [`crate::http::answer`] turns it into what the request wants.
//! Causes are logged once here and never sent (SEC-88).

use std::collections::BTreeMap;

use accounts::{FactorRefused, Refused, SecondFactor};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// One text for unknown, wrong, deactivated and unconfirmed (SEC-24).
pub const GENERIC_SIGN_IN_ERROR: &str = "The username, e-mail or password is not right. If you signed up but have not \
    confirmed your e-mail yet, open the link in the mail; after a right password it is sent again.";

/// Messages by form field.
pub type FieldErrors = BTreeMap<std::borrow::Cow<'static, str>, String>;

/// What can go wrong with a request.
#[derive(Clone, Debug)]
pub enum AppError {
    /// No session, or one that has ended.
    Unauthenticated,
    /// Signed in, but without the permission.
    Forbidden,
    /// The form's token or its origin is wrong (SEC-83).
    Csrf,
    InvalidCredentials,
    /// The first factor was right; these finish the sign-in.
    SecondFactorRequired(Vec<SecondFactor>),
    /// Wrong, used before or too old. With the tries that are left, where they are counted here.
    SecondFactorInvalid(Option<i64>),
    /// The account has to set up a second factor before anything else (SEC-3).
    EnrolmentRequired,
    /// A proof of who one is, not older than ten minutes, is needed (SEC-58).
    StepUpRequired,
    Validation(FieldErrors),
    /// Something with that name is there already.
    Conflict(FieldErrors),
    /// The state of things forbids it; the text says why and what to do.
    Refused(String),
    /// A sign-in at a provider came to nothing; the text says why and what to do.
    SignInFailed(StatusCode, String),
    NotFound,
    MethodNotAllowed,
    UnsupportedMediaType,
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    BadRequest(String),
    /// Seconds until the next try.
    RateLimited(u64),
    /// Seconds until the next try.
    Busy(u64),
    /// The cause is logged already.
    Internal,
}

/// How an error is told.
pub struct Problem {
    pub status: StatusCode,
    /// `/problems/<name>`.
    pub name: &'static str,
    /// What happened.
    pub title: &'static str,
    /// What to do next.
    pub detail: String,
}

impl AppError {
    /// Status, name and words.
    pub fn problem(&self) -> Problem {
        use StatusCode as S;
        let (status, name, title, detail) = match self {
            Self::Unauthenticated => (
                S::UNAUTHORIZED,
                "unauthenticated",
                "You are not signed in",
                "Sign in and try again.".to_owned(),
            ),
            Self::Forbidden => (
                S::FORBIDDEN,
                "forbidden",
                "You may not do this",
                "Your roles do not allow it. Ask an Admin if you need it.".to_owned(),
            ),
            Self::Csrf => (
                S::FORBIDDEN,
                "csrf",
                "This form is out of date",
                "Open the page again and send it once more. Nothing was changed.".to_owned(),
            ),
            Self::InvalidCredentials => {
                (S::UNAUTHORIZED, "invalid-credentials", "Sign-in failed", GENERIC_SIGN_IN_ERROR.to_owned())
            }
            Self::SecondFactorRequired(_) => (
                S::UNAUTHORIZED,
                "second-factor-required",
                "One more step",
                "Send a code of your second factor, or use a passkey.".to_owned(),
            ),
            Self::SecondFactorInvalid(left) => (
                S::UNAUTHORIZED,
                "second-factor-invalid",
                "That was not right",
                match left {
                    Some(0) => {
                        "It was wrong or used before, and there are no tries left. Sign in again.".to_owned()
                    }
                    Some(1) => "It was wrong or used before. One try is left.".to_owned(),
                    Some(left) => format!("It was wrong or used before. {left} tries are left."),
                    None => "It was wrong or used before. Try again.".to_owned(),
                },
            ),
            Self::EnrolmentRequired => (
                S::FORBIDDEN,
                "second-factor-enrolment-required",
                "A second factor is required",
                "Your account has to set one up before you go on. Sign in on the page to do so.".to_owned(),
            ),
            Self::StepUpRequired => (
                S::FORBIDDEN,
                "step-up-required",
                "Confirm that it is you",
                "This needs a fresh proof of who you are. Send it to /api/v1/step-up and try again."
                    .to_owned(),
            ),
            Self::Validation(_) => (
                S::UNPROCESSABLE_ENTITY,
                "validation",
                "Some fields need another look",
                "See the message at each field. Nothing was changed.".to_owned(),
            ),
            Self::Conflict(_) => (
                S::CONFLICT,
                "conflict",
                "That is taken already",
                "See the message at each field. Nothing was changed.".to_owned(),
            ),
            Self::Refused(why) => (S::CONFLICT, "conflict", "That cannot be done", why.clone()),
            Self::SignInFailed(status, why) => {
                (*status, "sign-in-failed", "The sign-in did not work", why.clone())
            }
            Self::NotFound => (
                S::NOT_FOUND,
                "not-found",
                "There is nothing here",
                "It may have been deleted, or the address has a mistake in it.".to_owned(),
            ),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This address is not used that way",
                "Go back and use the button or link on the page.".to_owned(),
            ),
            Self::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "This content type is not understood",
                "Send application/json, or a form.".to_owned(),
            ),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "too-large",
                "That is too long",
                "Send less at once. Nothing was changed.".to_owned(),
            ),
            Self::TooSlow => (
                S::REQUEST_TIMEOUT,
                "too-slow",
                "That took too long to arrive",
                "Check your connection and send it again. Nothing was changed.".to_owned(),
            ),
            Self::BadRequest(what) => {
                (S::BAD_REQUEST, "bad-request", "This request is not understood", what.clone())
            }
            Self::RateLimited(seconds) => (
                S::TOO_MANY_REQUESTS,
                "rate-limited",
                "Too many tries",
                format!("Wait {} and try again.", wait_words(*seconds)),
            ),
            Self::Busy(seconds) => (
                S::SERVICE_UNAVAILABLE,
                "busy",
                "The server is busy",
                format!("Wait {} and try again. Nothing was changed.", wait_words(*seconds)),
            ),
            Self::Internal => (
                S::INTERNAL_SERVER_ERROR,
                "internal",
                "Something went wrong here",
                "It is not your fault. Try again; if it stays, give an Admin the request id.".to_owned(),
            ),
        };
        Problem { status, name, title, detail }
    }

    /// Messages by field, where there are some.
    pub fn fields(&self) -> Option<&FieldErrors> {
        match self {
            Self::Validation(fields) | Self::Conflict(fields) => Some(fields),
            _ => None,
        }
    }

    /// Seconds for `Retry-After`.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimited(seconds) | Self::Busy(seconds) => Some(*seconds),
            _ => None,
        }
    }

    /// One field's message.
    pub fn field(name: &'static str, message: impl Into<String>) -> Self {
        Self::Validation(FieldErrors::from([(name.into(), message.into())]))
    }
}

/// "a moment", "40 seconds", "12 minutes", "2 hours".
pub fn wait_words(seconds: u64) -> String {
    match seconds {
        0..=5 => "a moment".to_owned(),
        6..=90 => format!("{seconds} seconds"),
        91..=5400 => format!("{} minutes", seconds.div_ceil(60)),
        _ => format!("{} hours", seconds.div_ceil(3600)),
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let mut response = self.problem().status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<base::DbError> for AppError {
    fn from(error: base::DbError) -> Self {
        match error {
            base::DbError::Busy(_) => Self::Busy(2),
            _ => internal(error),
        }
    }
}

impl From<accounts::PeopleError> for AppError {
    fn from(error: accounts::PeopleError) -> Self {
        use accounts::PeopleError as E;
        match error {
            E::NotFound => Self::NotFound,
            E::NotAllowed | E::MoreThanYou => Self::Forbidden,
            E::Reason => Self::field("reason", error.to_string()),
            E::Grace => Self::field("grace_days", error.to_string()),
            E::NoRole | E::LastAdmin | E::Yourself | E::OwnFactors | E::OwnFactorFirst => {
                Self::Refused(error.to_string())
            }
            E::Db(error) => error.into(),
        }
    }
}

impl From<FactorRefused> for AppError {
    fn from(refused: FactorRefused) -> Self {
        match refused {
            FactorRefused::Wrong(left) => {
                Self::SecondFactorInvalid(Some(left.tries).filter(|tries| *tries < i64::MAX))
            }
            FactorRefused::Locked { retry_after_secs } | FactorRefused::Limited { retry_after_secs, .. } => {
                Self::RateLimited(retry_after_secs.unsigned_abs())
            }
            FactorRefused::Gone => Self::Unauthenticated,
            FactorRefused::NotOffered(why) => Self::Refused(why.to_owned()),
            FactorRefused::Refused(refused) => refused.into(),
            FactorRefused::Db(error) => error.into(),
        }
    }
}

impl From<accounts::passkeys::PasskeyError> for AppError {
    fn from(error: accounts::passkeys::PasskeyError) -> Self {
        use accounts::passkeys::PasskeyError as E;
        match error {
            E::Limited(limited) => Self::RateLimited(limited.retry_after_secs.unsigned_abs()),
            E::Db(error) => error.into(),
            error => Self::Refused(error.to_string()),
        }
    }
}

impl From<Refused> for AppError {
    /// Without the mail that an unconfirmed account is sent: only the sign-in page does that.
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid { .. } => Self::InvalidCredentials,
            Refused::Limited { retry_after_secs, .. } => Self::RateLimited(retry_after_secs.unsigned_abs()),
            Refused::Busy { retry_after_secs } => Self::Busy(retry_after_secs.unsigned_abs()),
            Refused::Db(error) => error.into(),
        }
    }
}

/// Logs a cause and gives the error that hides it.
pub fn internal(cause: impl std::fmt::Display) -> AppError {
    tracing::error!(error.cause = %cause, "request failed");
    AppError::Internal
}
