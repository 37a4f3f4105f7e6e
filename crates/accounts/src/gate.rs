//! The one way to a session. Whatever the first factor was, it comes through
//! [`Accounts::complete_login`], which asks for the second one or makes the session
//! (SEC-33, 34, 38, 39).
//!
//! A challenge is no session: its token has a type of its own, lives in its own cookie and
//! table, and nothing that takes a session's token takes it.
//!
//! ```
//! use accounts::{Accounts, SessionToken};
//! async fn signed_in(accounts: &Accounts, token: &SessionToken) {
//!     let _ = accounts.principal(token).await;
//! }
//! ```
//! ```compile_fail,E0308
//! use accounts::{Accounts, ChallengeToken};
//! async fn signed_in(accounts: &Accounts, token: &ChallengeToken) {
//!     let _ = accounts.principal(token).await;
//! }
//! ```

use std::fmt;

use base::db::{DbError, FromRow, Row};
use base::random::token_hash;
use base::{MINUTE, Micros, Tx, args, sql};
use serde::{Deserialize, Serialize};

use crate::Accounts;
use crate::sessions::NewSession;
use crate::sign_in::Refused;
use crate::throttle::Client;
use crate::user::User;

/// How long a challenge lives (SEC-33), in microseconds.
pub const CHALLENGE_LIFETIME: Micros = 10 * MINUTE;

macro_rules! tokens {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// Reads a cookie's value. `None` where it cannot be a token of ours.
            pub fn from_cookie(value: &str) -> Option<Self> {
                let shaped = value.len() == 43
                    && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
                shaped.then(|| Self(value.to_owned()))
            }

            /// The value for the cookie.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub(crate) fn new(token: String) -> Self {
                Self(token)
            }

            pub(crate) fn hash(&self) -> String {
                token_hash(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

tokens! {
    /// The secret of a session (SEC-77).
    SessionToken;
    /// The secret of a challenge, which opens nothing but the second factor (SEC-33).
    ChallengeToken;
}

/// Proof that someone passed a first factor. Only this crate makes one, at the place where the
/// factor was checked.
pub struct FirstFactor {
    user_id: String,
    method: &'static str,
    settlement: Option<Settlement>,
}

/// What a right password still has to settle in the database.
pub(crate) struct Settlement {
    /// The PHC string that the password matched.
    pub(crate) stored: String,
    /// A newer hash of the same password.
    pub(crate) renewed: Option<String>,
    /// The counters to check and reset, in key order.
    pub(crate) throttle_keys: Vec<String>,
}

impl FirstFactor {
    pub(crate) fn by_password(user_id: &str, settlement: Settlement) -> Self {
        Self { user_id: user_id.to_owned(), method: "password", settlement: Some(settlement) }
    }

    /// The person set the password in this very request.
    pub(crate) fn new_password(user_id: &str) -> Self {
        Self { user_id: user_id.to_owned(), method: "password", settlement: None }
    }
}

impl fmt::Debug for FirstFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstFactor").field("user_id", &self.user_id).field("method", &self.method).finish()
    }
}

/// A kind of second factor, by its name in the JSON contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecondFactor {
    Totp,
    Email,
    BackupCode,
    Passkey,
}

/// What the gate decided.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a sign-in, taken apart at once")]
pub enum Outcome {
    Session(NewSession),
    Challenge(NewChallenge),
}

/// A challenge that waits for a second factor.
#[derive(Debug)]
pub struct NewChallenge {
    pub token: ChallengeToken,
    pub methods: Vec<SecondFactor>,
    pub expires_at: Micros,
}

/// A challenge as its holder comes back with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub id: String,
    pub user_id: String,
    /// Wrong codes so far.
    pub attempts: i64,
    pub expires_at: Micros,
}

impl FromRow for Challenge {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            attempts: row.get("attempts")?,
            expires_at: row.get("expires_at")?,
        })
    }
}

impl Accounts {
    /// Lets a person in who passed a first factor, or asks for the second one.
    ///
    /// # Errors
    /// [`Refused`] where the account was locked, deactivated or changed in between, or has to
    /// confirm its address first (SEC-9).
    pub async fn complete_login(&self, first: FirstFactor, client: &Client) -> Result<Outcome, Refused> {
        let factors = self.second_factors(&first.user_id).await?;
        self.complete_login_with(first, client, factors).await
    }

    /// The second factors of an account: the one place that says so (SEC-39). None can be
    /// enrolled in this version.
    async fn second_factors(&self, _user_id: &str) -> Result<Vec<SecondFactor>, DbError> {
        Ok(Vec::new())
    }

    pub(crate) async fn complete_login_with(
        &self,
        first: FirstFactor,
        client: &Client,
        factors: Vec<SecondFactor>,
    ) -> Result<Outcome, Refused> {
        let mut tx = self.db.begin().await?;
        if let Some(settlement) = &first.settlement {
            self.settle(&mut tx, &first.user_id, settlement).await?;
        }
        let Some(user) = self.admit(&mut tx, &first.user_id, factors.is_empty()).await? else {
            return Err(Refused::Invalid { resend_verification: None });
        };
        if factors.is_empty() {
            let (session, dropped) = self.create_session(&mut tx, user, first.method, client).await?;
            tx.commit().await?;
            self.announce_sessions(dropped);
            return Ok(Outcome::Session(session));
        }
        let challenge = self.create_challenge(&mut tx, &first, client, factors).await?;
        tx.commit().await?;
        Ok(Outcome::Challenge(challenge))
    }

    /// The person, if the account may have a session now. An unconfirmed sign-up from a time
    /// when confirmation was required becomes lasting here, where it no longer is.
    async fn admit(&self, tx: &mut Tx, user_id: &str, is_whole: bool) -> Result<Option<User>, DbError> {
        tx.one(
            sql!(
                "UPDATE users SET expires_at = NULL,
                   last_sign_in_at = CASE WHEN $4 THEN $2 ELSE last_sign_in_at END,
                   last_seen_at = CASE WHEN $4 THEN $2 ELSE last_seen_at END
                 WHERE id = $1 AND deactivated_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
                   AND email_canonical IS NOT NULL AND (email_verified_at IS NOT NULL OR NOT $3)
                 RETURNING id, username, email, first_name, last_name, created_at, email_verified_at,
                   deactivated_at, expires_at, last_seen_at"
            ),
            args![user_id, self.clock.now(), self.settings().sign_up.verification_required, is_whole],
        )
        .await
    }

    async fn create_challenge(
        &self,
        tx: &mut Tx,
        first: &FirstFactor,
        client: &Client,
        methods: Vec<SecondFactor>,
    ) -> Result<NewChallenge, DbError> {
        let now = self.clock.now();
        let token = ChallengeToken::new(self.random.token());
        let expires_at = now + CHALLENGE_LIFETIME;
        tx.run(
            sql!(
                "INSERT INTO challenges (id, token_hash, user_id, method, ip, user_agent, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
            ),
            args![
                &self.random.id(now),
                &token.hash(),
                &first.user_id,
                first.method,
                &client.ip.to_string(),
                &client.user_agent,
                now,
                expires_at
            ],
        )
        .await?;
        Ok(NewChallenge { token, methods, expires_at })
    }

    /// The challenge of this token while it is good.
    pub async fn challenge(&self, token: &ChallengeToken) -> Result<Option<Challenge>, DbError> {
        self.db
            .one(
                sql!(
                    "SELECT c.id, c.user_id, c.attempts, c.expires_at
                     FROM challenges c JOIN users u ON u.id = c.user_id
                     WHERE c.token_hash = $1 AND c.expires_at > $2 AND c.consumed_at IS NULL
                       AND u.deactivated_at IS NULL"
                ),
                args![&token.hash(), self.clock.now()],
            )
            .await
    }

    /// Ends a challenge without a session ("Cancel").
    pub async fn cancel_challenge(&self, token: &ChallengeToken) -> Result<(), DbError> {
        self.db.run(sql!("DELETE FROM challenges WHERE token_hash = $1"), args![&token.hash()]).await?;
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;
    use crate::testing;

    /// SEC-33, SEC-34, SEC-39
    #[tokio::test]
    async fn sec_33_with_a_second_factor_there_is_a_challenge_and_no_session() {
        let t = testing::accounts("gate").await;
        let ann = t.person("ann").await;
        let first = t.first_factor("ann").await;
        let client = testing::client("203.0.113.9");
        let outcome = t.complete_login_with(first, &client, vec![SecondFactor::Totp]).await.unwrap();
        let Outcome::Challenge(challenge) = outcome else { panic!("a session without the second factor") };
        assert_eq!(challenge.methods, [SecondFactor::Totp]);
        assert_eq!(challenge.token.as_str().len(), 43);
        let sessions: Option<i64> = t.db.one(sql!("SELECT COUNT(*) FROM sessions"), &[]).await.unwrap();
        assert_eq!(sessions, Some(0));
        // Its token, put into the other cookie, opens nothing.
        let smuggled = SessionToken::from_cookie(challenge.token.as_str()).unwrap();
        assert_eq!(t.principal(&smuggled).await.unwrap(), None);
        assert_eq!(t.challenge(&challenge.token).await.unwrap().unwrap().user_id, ann.id);
        t.clock.advance(CHALLENGE_LIFETIME);
        assert_eq!(t.challenge(&challenge.token).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_cancelled_challenge_is_gone_and_a_stored_token_is_only_a_hash() {
        let t = testing::accounts("gate-cancel").await;
        t.person("ann").await;
        let first = t.first_factor("ann").await;
        let client = testing::client("203.0.113.9");
        let outcome = t.complete_login_with(first, &client, vec![SecondFactor::Email]).await.unwrap();
        let Outcome::Challenge(challenge) = outcome else { panic!("no challenge") };
        let stored: Option<String> = t.db.one(sql!("SELECT token_hash FROM challenges"), &[]).await.unwrap();
        assert_eq!(stored.unwrap(), token_hash(challenge.token.as_str()));
        t.cancel_challenge(&challenge.token).await.unwrap();
        assert_eq!(t.challenge(&challenge.token).await.unwrap(), None);
        assert_eq!(serde_json::to_string(&[SecondFactor::BackupCode]).unwrap(), "[\"backup-code\"]");
    }

    /// SEC-38
    #[tokio::test]
    async fn sec_38_who_was_deactivated_in_between_gets_no_session() {
        let t = testing::accounts("gate-late").await;
        let ann = t.person("ann").await;
        let first = t.first_factor("ann").await;
        t.db.run(sql!("UPDATE users SET deactivated_at = 1 WHERE id = $1"), args![&ann.id]).await.unwrap();
        let refused = t.complete_login(first, &testing::client("203.0.113.9")).await.unwrap_err();
        assert!(matches!(refused, Refused::Invalid { .. }));
    }

    #[test]
    fn cookies_that_cannot_be_tokens_are_turned_away_early() {
        assert!(SessionToken::from_cookie(&"a".repeat(43)).is_some());
        for bad in ["", "a", &"a".repeat(44), &"ä".repeat(43), &format!("{}'", "a".repeat(42))] {
            assert!(SessionToken::from_cookie(bad).is_none(), "{bad}");
        }
        assert_eq!(format!("{:?}", SessionToken::from_cookie(&"a".repeat(43)).unwrap()), "SessionToken(…)");
    }
}
