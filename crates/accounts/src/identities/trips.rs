//! A trip to a provider and back (SEC-68): what is kept of it, bound to the browser that began it,
//! for ten minutes and one use.

use base::db::{DbError, FromRow, Row};
use base::random::token_hash;
use base::{MINUTE, Micros, args, sql};
use serde::{Deserialize, Serialize};

use crate::Accounts;
use crate::gate::{Onward, TripToken};
use crate::principal::Principal;
use crate::throttle::{Client, Limit, ThrottleError};

/// How long a trip may take, in microseconds.
pub const TRIP_LIFETIME: Micros = 10 * MINUTE;

/// What somebody goes to a provider for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TripPurpose {
    SignIn,
    /// Somebody signed in links an identity.
    Link,
    /// Somebody signed in proves who they are (SEC-57).
    StepUp,
    /// An Admin tries the provider; nothing changes.
    Test,
}

impl TripPurpose {
    fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::Link => "link",
            Self::StepUp => "step-up",
            Self::Test => "test",
        }
    }
}

/// What is sent along and checked on return, 256 bit each.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TripSecrets {
    /// OpenID Connect Core, 3.1.2.1.
    pub nonce: String,
    /// RFC 7636; 43 characters.
    pub verifier: String,
}

impl std::fmt::Debug for TripSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TripSecrets(…)")
    }
}

/// A trip just begun.
#[derive(Debug)]
pub struct NewTrip {
    /// For the provider's address.
    pub state: String,
    /// For the browser's cookie.
    pub cookie: TripToken,
    pub secrets: TripSecrets,
}

/// A trip that came back; it is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedTrip {
    pub provider: String,
    pub purpose: TripPurpose,
    /// Who went, where somebody was signed in.
    pub user_id: Option<String>,
    pub session_id: Option<String>,
    pub secrets: TripSecrets,
    pub onward: Onward,
    pub began_at: Micros,
}

impl FinishedTrip {
    /// Whether it was begun in this very session.
    pub fn is_of(&self, principal: &Principal) -> bool {
        self.user_id.as_deref() == Some(&principal.user_id)
            && self.session_id.as_deref() == Some(&principal.session.id)
    }
}

struct Stored {
    purpose: String,
    secrets: String,
    user_id: Option<String>,
    session_id: Option<String>,
    onward: Onward,
    began_at: Micros,
}

impl FromRow for Stored {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            purpose: row.get("purpose")?,
            secrets: row.get("secrets")?,
            user_id: row.get("user_id")?,
            session_id: row.get("session_id")?,
            onward: Onward { next: row.get("next_path")?, carry: row.get("carry")? },
            began_at: row.get("created_at")?,
        })
    }
}

impl Accounts {
    /// Begins a trip to the provider of this name.
    ///
    /// # Errors
    /// [`Limit::TripIp`], [`Limit::TripPromptIp`].
    pub async fn begin_trip(
        &self,
        provider: &str,
        purpose: TripPurpose,
        principal: Option<&Principal>,
        onward: &Onward,
        client: &Client,
    ) -> Result<NewTrip, ThrottleError> {
        self.throttle(Limit::TripIp, &client.key()).await?;
        if principal.is_none() && onward.carry.is_some() {
            self.throttle(Limit::TripPromptIp, &client.key()).await?;
        }
        let now = self.clock.now();
        let trip = NewTrip {
            state: self.random.token(),
            cookie: TripToken::new(self.random.token()),
            secrets: TripSecrets { nonce: self.random.token(), verifier: self.random.token() },
        };
        let state_hash = token_hash(&trip.state);
        let plain = serde_json::to_vec(&trip.secrets).map_err(|error| DbError::Other(error.to_string()))?;
        let sealed = self
            .ring
            .seal(&self.random, &context(&state_hash), &plain)
            .map_err(|error| DbError::Other(format!("a secret could not be sealed: {error}")))?;
        self.db
            .run(
                sql!(
                    "INSERT INTO oauth_states (state_hash, cookie_hash, provider, purpose, secrets, user_id, session_id,
                       next_path, carry, created_at, expires_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
                ),
                args![
                    &state_hash,
                    &trip.cookie.hash(),
                    provider,
                    purpose.name(),
                    &sealed,
                    principal.map(|p| &p.user_id),
                    principal.map(|p| &p.session.id),
                    &onward.next,
                    &onward.carry,
                    now,
                    now + TRIP_LIFETIME
                ],
            )
            .await?;
        Ok(trip)
    }

    /// Uses a trip up. `None` for one that is unknown, used, too old, of another provider or of
    /// another browser; of any number of parallel tries one gets it. A stranger's try leaves it good.
    pub async fn finish_trip(
        &self,
        provider: &str,
        state: &str,
        cookie: &TripToken,
    ) -> Result<Option<FinishedTrip>, DbError> {
        let state_hash = token_hash(state);
        let mut tx = self.db.begin().await?;
        let stored: Option<Stored> = tx
            .one(
                sql!(
                    "DELETE FROM oauth_states
                     WHERE state_hash = $1 AND cookie_hash = $2 AND provider = $3 AND expires_at > $4
                     RETURNING purpose, secrets, user_id, session_id, next_path, carry, created_at"
                ),
                args![&state_hash, &cookie.hash(), provider, self.clock.now()],
            )
            .await?;
        tx.commit().await?;
        let Some(stored) = stored else { return Ok(None) };
        let corrupt = |column: &str, problem: String| DbError::Corrupt {
            column: format!("oauth_states.{column}"),
            problem,
        };
        let purpose = [TripPurpose::SignIn, TripPurpose::Link, TripPurpose::StepUp, TripPurpose::Test]
            .into_iter()
            .find(|purpose| purpose.name() == stored.purpose)
            .ok_or_else(|| corrupt("purpose", stored.purpose.clone()))?;
        let plain = self
            .ring
            .open(&context(&state_hash), &stored.secrets)
            .map_err(|error| corrupt("secrets", error.to_string()))?;
        let secrets =
            serde_json::from_slice(&plain).map_err(|error| corrupt("secrets", error.to_string()))?;
        Ok(Some(FinishedTrip {
            provider: provider.to_owned(),
            purpose,
            user_id: stored.user_id,
            session_id: stored.session_id,
            secrets,
            onward: stored.onward,
            began_at: stored.began_at,
        }))
    }
}

fn context(state_hash: &str) -> String {
    format!("oauth-state:{state_hash}")
}
