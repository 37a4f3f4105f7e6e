//! Talking to identity providers: OpenID Connect and, for GitHub, OAuth 2 with its API.
//!
//! The crate knows the protocols and nothing of accounts: it gives the address that a browser is
//! sent to, and makes of what the browser brings back a [`Profile`] that has been verified. What
//! that means for an account is for `accounts`. All calls go through the product's one outgoing
//! client: no redirects, five seconds, one MiB (SEC-75, SEC-98).

mod calls;
mod connector;
mod discovery;
mod exchange;
mod github;
mod id_token;
mod look;
mod profile;
mod settings;

pub use calls::{BODY_CAP, TIMEOUT};
pub use connector::Connector;
pub use look::Looked;
pub use settings::{Preset, Settings, SettingsError};

use std::fmt;

use serde_json::Value;
use url::Url;

/// What is kept between the two halves of a trip (SEC-68): all of 256 bit, made by the caller.
#[derive(Clone, PartialEq, Eq)]
pub struct TripSecrets {
    /// In the ID token (OpenID Connect Core, 3.1.2.1).
    pub nonce: String,
    /// PKCE (RFC 7636), S256: 43 to 128 characters of its alphabet.
    pub verifier: String,
}

impl fmt::Debug for TripSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TripSecrets").finish_non_exhaustive()
    }
}

/// What a trip is for, as far as the provider is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TripOptions {
    /// The person must sign in anew there (`max_age=0`, `prompt=login`): `auth_time` is checked
    /// on return (SEC-57).
    pub fresh: bool,
    /// The person shall choose an account there, where it can offer that, and not go through with the
    /// one that they happen to be signed in with.
    pub choose: bool,
}

/// What a browser brings back, as its address says it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Callback {
    pub code: Option<String>,
    /// RFC 9207.
    pub iss: Option<String>,
    /// RFC 6749, 4.1.2.1: `access_denied` and the like.
    pub error: Option<String>,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The code is a secret until it is used.
        f.debug_struct("Callback").field("iss", &self.iss).field("error", &self.error).finish_non_exhaustive()
    }
}

/// A person as a provider vouches for them. Everything in it was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The verified issuer; for GitHub its address. With `subject` the key of the identity (SEC-70).
    pub issuer: String,
    pub subject: String,
    /// What the provider calls the person: a handle, where it has one.
    pub username: Option<String>,
    pub first_name: String,
    pub last_name: String,
    pub email: Option<String>,
    /// Only the boolean `true` counts (SEC-71).
    pub email_verified: bool,
    /// When the person signed in there, Unix seconds.
    pub auth_time: Option<i64>,
    pub acr: Option<String>,
    pub amr: Vec<String>,
    /// All claims, for role mapping and for "Test sign-in".
    pub claims: Value,
}

/// Where a browser goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trip {
    pub url: Url,
}

/// Why a sign-in at a provider did not come about. `Display` is for the log and the Admin; pages use
/// [`ProviderError::kind`].
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached, is slow, or answers with an error of its own.
    #[error("{name} is not there: {cause}")]
    Down { name: String, cause: String },
    /// The person said no, or the provider did.
    #[error("{name} refused: {error}")]
    Denied { name: String, error: String },
    /// Client id, secret or redirect address are not what the provider knows.
    #[error("{name} does not accept this client: {cause}")]
    Client { name: String, cause: String },
    /// What came back does not hold: signature, issuer, audience, nonce, time, algorithm.
    #[error("{name} sent something that does not hold: {cause}")]
    NotVerified { name: String, cause: String },
    /// The clocks are too far apart.
    #[error("the clock here and that of {name} are apart: {cause}")]
    Clock { name: String, cause: String },
}

impl ProviderError {
    /// The kind as one word: `down`, `denied`, `client`, `not_verified` or `clock`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Down { .. } => "down",
            Self::Denied { .. } => "denied",
            Self::Client { .. } => "client",
            Self::NotVerified { .. } => "not_verified",
            Self::Clock { .. } => "clock",
        }
    }
}
