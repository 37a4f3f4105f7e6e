//! Passkeys and security keys (WebAuthn Level 3): adding, using, renaming, removing (SEC-53 to
//! SEC-56).
//!
//! A ceremony has two halves. `begin_…` gives what the page hands to `navigator.credentials`,
//! with the ceremony's id; `finish_…` or `check_…` takes what the browser made of it. In between
//! the server keeps the challenge, bound to its purpose and to who asked, for five minutes and
//! for one use.
//!
//! The ceremonies are those of `webauthn-rs-core`. The crate on top of it knows either passkeys
//! that always verify their holder or keys that never do, and a second factor here is any of both.

mod ceremony;
mod check;
mod manage;
mod register;
#[cfg(test)]
mod tests;

use std::time::Duration;

use base::Micros;
use base::db::{DbError, FromRow, Row};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use webauthn_rs_core::WebauthnCore;
use webauthn_rs_core::error::WebauthnError;

use crate::Accounts;
use crate::throttle::{Limited, ThrottleError};
use crate::user::User;

/// Passkeys and security keys that one account may have (SEC-56).
pub const MAX_PASSKEYS: i64 = 20;
/// How long a ceremony may take (SEC-53), in microseconds.
pub const CEREMONY_LIFETIME: Micros = 5 * base::MINUTE;
/// The longest name of a passkey, in code points.
pub const MAX_NAME: usize = 60;

/// What someone wants to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PasskeyKind {
    /// Verifies its holder by finger, face or PIN: signs in alone, and is a second factor too.
    Passkey,
    /// Wants a touch only: a second factor, never the only one (SEC-54).
    SecurityKey,
}

impl PasskeyKind {
    /// The name of one that got none.
    fn default_name(self) -> &'static str {
        match self {
            Self::Passkey => "Passkey",
            Self::SecurityKey => "Security key",
        }
    }
}

/// What a passkey is asked for, where the account is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckPurpose {
    /// The second factor of a sign-in; the holder is the challenge's id.
    SecondFactor,
    /// Step-up (SEC-57); the holder is the session's id.
    StepUp,
}

/// For whom a passkey is made, as the authenticator shows it.
#[derive(Clone, Copy, Debug)]
pub struct PasskeyUser<'a> {
    pub id: &'a str,
    pub username: &'a str,
    /// First and last name; empty shows the username.
    pub display_name: &'a str,
}

impl<'a> PasskeyUser<'a> {
    /// `full_name` is [`User::full_name`], which has to live as long.
    pub fn new(user: &'a User, full_name: &'a str) -> Self {
        Self { id: &user.id, username: &user.username, display_name: full_name }
    }
}

/// One passkey or security key in its owner's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PasskeyRow {
    pub id: String,
    pub name: String,
    /// Whether it signs in without a password; otherwise it is a second factor only (SEC-54).
    pub user_verified: bool,
    pub created_at: Micros,
    pub last_used_at: Option<Micros>,
}

impl FromRow for PasskeyRow {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            user_verified: row.get("user_verified")?,
            created_at: row.get("created_at")?,
            last_used_at: row.get("last_used_at")?,
        })
    }
}

/// A passkey that was used as a second factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyUse {
    pub passkey_id: String,
    /// Whether its holder was verified this time.
    pub user_verified: bool,
}

/// Why a passkey could not be added, used or removed. The texts are for the page.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    /// A relying party is a domain, so a site that is reached by an IP address has none (SEC-53).
    #[error(
        "Passkeys do not work here, because the address of this site is an IP address. Whoever runs it can \
         set a public URL with a name."
    )]
    Unavailable,
    #[error("You have 20 passkeys and security keys, which is the most. Remove one first.")]
    TooMany,
    /// The account has none to ask for.
    #[error("This account has no passkey and no security key. Use another way.")]
    NoneYet,
    /// No such ceremony, or one of another purpose or holder (SEC-53).
    #[error("This took too long or was used before. Try again.")]
    Expired,
    #[error("This passkey was not accepted. Try again, or use another way.")]
    NotAccepted,
    /// User verification was required and did not happen (SEC-54).
    #[error(
        "Your device did not check that it is you. Try again, and use your fingerprint, face or PIN when it asks."
    )]
    NotVerified,
    /// A touch-only key was used to sign in alone (SEC-54).
    #[error("This security key is a second step only. Sign in with your password first.")]
    SecondFactorOnly,
    /// The signature counter went backwards (WebAuthn, 6.1.1).
    #[error(
        "This passkey was not accepted, because it may have been copied. Use another way, then remove it from \
         your account and add it again."
    )]
    MayBeCopied,
    #[error("This passkey has been added already.")]
    AlreadyAdded,
    #[error("{0}")]
    Name(&'static str),
    #[error(
        "This is the only way you can sign in. Set a password or add another passkey, then remove this one."
    )]
    LastWayIn,
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<ThrottleError> for PasskeyError {
    fn from(error: ThrottleError) -> Self {
        match error {
            ThrottleError::Limited(limited) => Self::Limited(limited),
            ThrottleError::Db(error) => Self::Db(error),
        }
    }
}

impl Accounts {
    /// Whether this site can have passkeys at all.
    pub fn passkeys_available(&self) -> bool {
        self.webauthn().is_ok()
    }

    /// The relying party, from the configuration only (SEC-53), under the site's present name.
    fn webauthn(&self) -> Result<WebauthnCore, PasskeyError> {
        let party = self.relying_party.as_ref().ok_or(PasskeyError::Unavailable)?;
        let origin = Url::parse(&party.origin).map_err(|_| PasskeyError::Unavailable)?;
        if origin.domain() != Some(party.id.as_str()) {
            return Err(PasskeyError::Unavailable);
        }
        let settings = self.settings();
        let name = match settings.general.site_name.as_str() {
            "" => party.id.as_str(),
            name => name,
        };
        let lifetime = Duration::from_micros(CEREMONY_LIFETIME.unsigned_abs());
        // Neither subdomains nor other ports.
        let strict = Some(false);
        Ok(WebauthnCore::new_unsafe_experts_only(name, &party.id, vec![origin], lifetime, strict, strict))
    }
}

/// The name that someone gave a passkey.
fn name(typed: &str, default: &'static str) -> Result<String, PasskeyError> {
    let name = typed.trim();
    if name.is_empty() {
        return Ok(default.to_owned());
    }
    if name.chars().any(char::is_control) {
        return Err(PasskeyError::Name("The name has characters that cannot be shown. Type it anew."));
    }
    if name.chars().count() > MAX_NAME {
        return Err(PasskeyError::Name("The name is too long. Use at most 60 characters."));
    }
    Ok(name.to_owned())
}

/// What the browser sent: an object, or its text where it came by a form.
fn parse<T: DeserializeOwned>(credential: &Value) -> Result<T, PasskeyError> {
    let parsed = match credential {
        Value::String(text) => serde_json::from_str(text),
        other => T::deserialize(other),
    };
    parsed.map_err(|error| {
        tracing::info!(reason = %error, "what a browser sent is no passkey");
        PasskeyError::NotAccepted
    })
}

/// Why the library refused; the log gets its words, the page ours.
fn refused(error: &WebauthnError, user_id: &str) -> PasskeyError {
    tracing::info!(user.id = user_id, reason = %error, "a passkey was refused");
    match error {
        WebauthnError::UserNotVerified => PasskeyError::NotVerified,
        _ => PasskeyError::NotAccepted,
    }
}

/// Our own state or credential could not be written or read as JSON.
fn corrupt(column: &str, error: impl std::fmt::Display) -> PasskeyError {
    PasskeyError::Db(DbError::Corrupt { column: column.to_owned(), problem: error.to_string() })
}
