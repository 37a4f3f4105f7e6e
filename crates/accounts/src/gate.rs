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

mod answer;
mod token;

use std::fmt;

use base::db::{DbError, FromRow, Row};
use base::{MINUTE, Micros, Tx, args, sql};
use serde::{Deserialize, Serialize};

pub(crate) use answer::Proved;
pub use answer::{ChangeOrRefused, Enrolled, Entered};
pub use token::{ChallengeToken, DeviceToken, SessionToken};

use crate::Accounts;
use crate::factors::Holder;
use crate::notices::Notice;
use crate::sessions::NewSession;
use crate::sign_in::Refused;
use crate::throttle::{Client, ThrottleError};
use crate::user::User;

/// How long a challenge lives (SEC-33), in microseconds.
pub const CHALLENGE_LIFETIME: Micros = 10 * MINUTE;
/// Tries that a challenge has (SEC-36).
pub const CHALLENGE_ATTEMPTS: i64 = 5;
/// One slip of the finger is not told (SEC-32).
const FAILURES_WORTH_A_MAIL: i64 = 2;

/// Proof that someone passed a first factor. Only this crate makes one, at the place where the
/// factor was checked.
pub struct FirstFactor {
    user_id: String,
    method: &'static str,
    settlement: Option<Settlement>,
    /// It proves possession and knowledge (or the finger) at once: a passkey that verified its user.
    is_both: bool,
    onward: Onward,
    /// The challenge of an earlier try, and whether it is to be answered at once.
    resumed: Option<(ChallengeToken, bool)>,
}

/// What a right password still has to settle in the database.
pub(crate) struct Settlement {
    /// The PHC string that the password matched.
    pub(crate) stored: String,
    /// A newer hash of the same password.
    pub(crate) renewed: Option<String>,
    /// The counters to check and reset, in key order.
    pub(crate) throttle_keys: Vec<String>,
    /// Failed sign-ins in a row before this one.
    pub(crate) failures: i64,
}

/// Where a person wanted to go when they signed in; it waits with the challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Onward {
    /// A path of ours.
    pub next: Option<String>,
    /// A prompt that met an ended session, sealed by the application.
    pub carry: Option<String>,
}

impl FirstFactor {
    fn new(user_id: &str, method: &'static str) -> Self {
        let user_id = user_id.to_owned();
        Self { user_id, method, settlement: None, is_both: false, onward: Onward::default(), resumed: None }
    }

    pub(crate) fn by_password(user_id: &str, settlement: Settlement) -> Self {
        Self { settlement: Some(settlement), ..Self::new(user_id, "password") }
    }

    /// The person set the password in this very request.
    pub(crate) fn new_password(user_id: &str) -> Self {
        Self::new(user_id, "password")
    }

    /// A passkey that verified its user: no second factor is asked for (SEC-54).
    pub(crate) fn by_passkey(user_id: &str) -> Self {
        Self { is_both: true, ..Self::new(user_id, "passkey") }
    }

    /// Remembers where to go afterwards.
    pub fn onward(self, onward: Onward) -> Self {
        Self { onward, ..self }
    }

    /// Comes back to the challenge of an earlier try, if it is good and of the same account, instead of
    /// making another one: where a code for it is at hand, or was mailed and is on its way (SEC-48).
    pub fn resuming(self, challenge: Option<ChallengeToken>, at_hand: bool) -> Self {
        Self { resumed: challenge.map(|token| (token, at_hand)), ..self }
    }

    /// What is left to settle, where only the factor counts and nobody signs in (step-up).
    pub(crate) fn into_settlement(self) -> Option<Settlement> {
        self.settlement
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

impl SecondFactor {
    /// The name in the JSON contract, in addresses and in `sessions.method`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Email => "email",
            Self::BackupCode => "backup-code",
            Self::Passkey => "passkey",
        }
    }
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
    /// Best first; empty where the account has to enrol.
    pub methods: Vec<SecondFactor>,
    pub expires_at: Micros,
    /// Nothing but setting up a factor is open (SEC-3, SEC-35).
    pub enrol: bool,
    /// A code by e-mail is on its way, because that is the only factor.
    pub code_sent: bool,
}

/// A challenge as its holder comes back with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub id: String,
    pub user: User,
    /// The first factor.
    pub method: String,
    /// Wrong codes so far.
    pub attempts: i64,
    pub expires_at: Micros,
    /// Nothing but setting up a factor is open.
    pub enrol: bool,
    pub onward: Onward,
    failures_before: i64,
}

impl FromRow for Challenge {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            user: User::from_row(row)?,
            id: row.get("challenge_id")?,
            method: row.get("method")?,
            attempts: row.get("attempts")?,
            expires_at: row.get("challenge_expires_at")?,
            enrol: row.get("enrol")?,
            onward: Onward { next: row.get("next_path")?, carry: row.get("carry")? },
            failures_before: row.get("failures_before")?,
        })
    }
}

/// How somebody got past the gate, for the session and its mails.
struct Entry<'a> {
    method: String,
    failures_before: i64,
    client: &'a Client,
}

impl Accounts {
    /// Lets a person in who passed a first factor, or asks for the second one.
    ///
    /// # Errors
    /// [`Refused`] where the account was locked, deactivated or changed in between, or has to
    /// confirm its address first (SEC-9).
    pub async fn complete_login(&self, first: FirstFactor, client: &Client) -> Result<Outcome, Refused> {
        let mut tx = self.db.begin().await?;
        let mut failures_before = 0;
        if let Some(settlement) = &first.settlement {
            failures_before = settlement.failures;
            self.settle(&mut tx, &first.user_id, settlement).await?;
        }
        let Some(user) = self.admit(&mut tx, &first.user_id).await? else {
            return Err(Refused::Invalid { resend_verification: None });
        };
        let standing = self.standing_in(&mut tx, &user.id).await?;
        if first.is_both && !standing.passkeys {
            // They were taken away since this one was checked (SEC-60).
            return Err(Refused::Invalid { resend_verification: None });
        }
        let methods = if first.is_both { Vec::new() } else { standing.methods() };
        if methods.is_empty() && !standing.must_enrol(self.clock.now()) {
            let entry = Entry { method: first.method.to_owned(), failures_before, client };
            let (session, dropped) = self.enter(&mut tx, user, entry).await?;
            tx.commit().await?;
            self.announce_sessions(dropped);
            self.mail_waits();
            return Ok(Outcome::Session(session));
        }
        if let Some(resumed) = self.resumed(&mut tx, &first, &methods).await? {
            tx.commit().await?;
            return Ok(Outcome::Challenge(resumed));
        }
        let waiting =
            Waiting { method: first.method, onward: &first.onward, failures_before, methods, client };
        let challenge = self.create_challenge(&mut tx, &user, waiting).await?;
        tx.commit().await?;
        self.mail_waits();
        Ok(Outcome::Challenge(challenge))
    }

    /// The challenge that this factor comes back to.
    async fn resumed(
        &self,
        tx: &mut Tx,
        first: &FirstFactor,
        methods: &[SecondFactor],
    ) -> Result<Option<NewChallenge>, DbError> {
        let Some((token, at_hand)) = first.resumed.clone() else { return Ok(None) };
        if methods.is_empty() || !(at_hand || methods.first() == Some(&SecondFactor::Email)) {
            return Ok(None);
        }
        let expires_at: Option<Micros> = tx
            .one(
                sql!(
                    "UPDATE challenges SET next_path = COALESCE($6, next_path), carry = COALESCE($7, carry)
                     WHERE token_hash = $1 AND user_id = $2 AND NOT enrol AND consumed_at IS NULL AND expires_at > $3
                       AND attempts < $4
                       AND ($5 OR EXISTS (SELECT 1 FROM email_codes e WHERE e.holder = challenges.id AND e.expires_at > $3))
                     RETURNING expires_at"
                ),
                args![
                    &token.hash(),
                    &first.user_id,
                    self.clock.now(),
                    CHALLENGE_ATTEMPTS,
                    at_hand,
                    &first.onward.next,
                    &first.onward.carry
                ],
            )
            .await?;
        let methods = methods.to_vec();
        Ok(expires_at.map(|expires_at| NewChallenge {
            token,
            methods,
            expires_at,
            enrol: false,
            code_sent: !at_hand,
        }))
    }

    /// The person, if the account may have a session now; its row is held from here on. An
    /// unconfirmed sign-up from a time when confirmation was required becomes lasting here, where it
    /// no longer is.
    async fn admit(&self, tx: &mut Tx, user_id: &str) -> Result<Option<User>, DbError> {
        tx.one(
            sql!(
                "UPDATE users SET expires_at = NULL
                 WHERE id = $1 AND deactivated_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
                   AND email_canonical IS NOT NULL AND (email_verified_at IS NOT NULL OR NOT $3)
                 RETURNING id, username, email, first_name, last_name, created_at, email_verified_at,
                   deactivated_at, expires_at, last_seen_at"
            ),
            args![user_id, self.clock.now(), self.settings().sign_up.verification_required],
        )
        .await
    }

    /// Makes the session, and the mails about a sign-in worth a second look (SEC-32).
    async fn enter(
        &self,
        tx: &mut Tx,
        user: User,
        entry: Entry<'_>,
    ) -> Result<(NewSession, Vec<String>), DbError> {
        let Entry { method, failures_before, client } = entry;
        let before: Option<Option<Micros>> =
            tx.one(sql!("SELECT last_sign_in_at FROM users WHERE id = $1"), args![&user.id]).await?;
        let is_first = before.flatten().is_none();
        tx.run(
            sql!("UPDATE users SET last_sign_in_at = $2, last_seen_at = $2 WHERE id = $1"),
            args![&user.id, self.clock.now()],
        )
        .await?;
        let met = self.meet_device(tx, &user.id, client).await?;
        if met.is_new && !is_first {
            self.notify(tx, &user, &Notice::NewDevice, Some(client)).await?;
        }
        if failures_before >= FAILURES_WORTH_A_MAIL {
            let notice = Notice::SignedInAfterFailures { failures: failures_before };
            self.notify(tx, &user, &notice, Some(client)).await?;
        }
        let (mut session, dropped) = self.create_session(tx, user, &method, client).await?;
        session.device = met.token;
        Ok((session, dropped))
    }

    async fn create_challenge(
        &self,
        tx: &mut Tx,
        user: &User,
        waiting: Waiting<'_>,
    ) -> Result<NewChallenge, DbError> {
        let Waiting { method, onward, failures_before, methods, client } = waiting;
        let now = self.clock.now();
        let token = ChallengeToken::new(self.random.token());
        let id = self.random.id(now);
        let expires_at = now + CHALLENGE_LIFETIME;
        let enrol = methods.is_empty();
        tx.run(
            sql!(
                "INSERT INTO challenges (id, token_hash, user_id, method, ip, user_agent, created_at, expires_at,
                   enrol, next_path, carry, failures_before)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
            ),
            args![
                &id,
                &token.hash(),
                &user.id,
                method,
                &client.ip.to_string(),
                &client.user_agent,
                now,
                expires_at,
                enrol,
                &onward.next,
                &onward.carry,
                failures_before
            ],
        )
        .await?;
        let only_mail = methods.iter().all(|m| matches!(m, SecondFactor::Email | SecondFactor::BackupCode));
        let mut code_sent = false;
        if only_mail && !enrol {
            let holder = Holder { user_id: &user.id, id: &id, for_step_up: false };
            code_sent = match self.mail_code(tx, user, holder, client).await {
                Ok(_) => true,
                // The page says when to ask again.
                Err(ThrottleError::Limited(_)) => false,
                Err(ThrottleError::Db(error)) => return Err(error),
            };
        }
        Ok(NewChallenge { token, methods, expires_at, enrol, code_sent })
    }

    /// The challenge of this token while it is good.
    pub async fn challenge(&self, token: &ChallengeToken) -> Result<Option<Challenge>, DbError> {
        self.db
            .one(
                sql!(
                    "SELECT c.id AS challenge_id, c.method, c.attempts, c.expires_at AS challenge_expires_at, c.enrol,
                       c.next_path, c.carry, c.failures_before,
                       u.id, u.username, u.email, u.first_name, u.last_name, u.created_at, u.email_verified_at,
                       u.deactivated_at, u.expires_at, u.last_seen_at
                     FROM challenges c JOIN users u ON u.id = c.user_id
                     WHERE c.token_hash = $1 AND c.expires_at > $2 AND c.consumed_at IS NULL AND c.attempts < $3
                       AND u.deactivated_at IS NULL"
                ),
                args![&token.hash(), self.clock.now(), CHALLENGE_ATTEMPTS],
            )
            .await
    }

    /// Ends a challenge without a session ("Cancel").
    pub async fn cancel_challenge(&self, token: &ChallengeToken) -> Result<(), DbError> {
        self.db.run(sql!("DELETE FROM challenges WHERE token_hash = $1"), args![&token.hash()]).await?;
        Ok(())
    }
}

/// What a new challenge keeps.
struct Waiting<'a> {
    method: &'a str,
    onward: &'a Onward,
    failures_before: i64,
    methods: Vec<SecondFactor>,
    client: &'a Client,
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
        t.with_totp(&ann.id).await;
        let outcome = t.complete_login(first, &client).await.unwrap();
        let Outcome::Challenge(challenge) = outcome else { panic!("a session without the second factor") };
        assert_eq!(challenge.methods, [SecondFactor::Totp]);
        assert!(!challenge.enrol);
        assert_eq!(challenge.token.as_str().len(), 43);
        let sessions: Option<i64> = t.db.one(sql!("SELECT COUNT(*) FROM sessions"), &[]).await.unwrap();
        assert_eq!(sessions, Some(0));
        // Its token, put into the other cookie, opens nothing.
        let smuggled = SessionToken::from_cookie(challenge.token.as_str()).unwrap();
        assert_eq!(t.principal(&smuggled).await.unwrap(), None);
        assert_eq!(t.challenge(&challenge.token).await.unwrap().unwrap().user.id, ann.id);
        t.clock.advance(CHALLENGE_LIFETIME);
        assert_eq!(t.challenge(&challenge.token).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_cancelled_challenge_is_gone_and_a_stored_token_is_only_a_hash() {
        let t = testing::accounts("gate-cancel").await;
        let ann = t.person("ann").await;
        t.with_totp(&ann.id).await;
        let first = t.first_factor("ann").await;
        let client = testing::client("203.0.113.9");
        let outcome = t.complete_login(first, &client).await.unwrap();
        let Outcome::Challenge(challenge) = outcome else { panic!("no challenge") };
        let stored: Option<String> = t.db.one(sql!("SELECT token_hash FROM challenges"), &[]).await.unwrap();
        assert_eq!(stored.unwrap(), base::random::token_hash(challenge.token.as_str()));
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
