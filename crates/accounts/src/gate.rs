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
mod first;
mod token;

use base::db::{DbError, FromRow, Row};
use base::{MINUTE, Micros, Tx, args, sql};
use serde::{Deserialize, Serialize};

pub(crate) use answer::Proved;
pub use answer::{ChangeOrRefused, Enrolled, Entered};
pub(crate) use first::Settlement;
pub use first::{FirstFactor, Onward};
pub use token::{ChallengeToken, DeviceToken, LinkToken, SessionToken, TripToken};

use crate::Accounts;
use crate::factors::Holder;
use crate::identities::LinkEnd;
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
    /// The hash of the pending link that it ends with.
    link: Option<String>,
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
            link: row.get("link_hash")?,
        })
    }
}

/// How somebody got past the gate, for the session and its mails.
struct Entry<'a> {
    method: String,
    /// The provider stood for the second factor.
    stands: bool,
    failures_before: i64,
    /// The hash of the pending link to settle.
    link: Option<&'a str>,
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
        if first.roles.is_some() {
            // Before the person's row: one order of locks everywhere.
            tx.lock("admins").await?;
        }
        let mut failures_before = 0;
        if let Some(settlement) = &first.settlement {
            failures_before = settlement.failures;
            self.settle(&mut tx, &first.user_id, settlement).await?;
        }
        let Some(user) = self.admit(&mut tx, &first.user_id).await? else {
            return Err(Refused::Invalid { resend_verification: None });
        };
        if let Some(identity) = &first.identity
            && !self.use_identity(&mut tx, &user.id, identity).await?
        {
            return Err(Refused::Invalid { resend_verification: None });
        }
        // What a provider says of an identity that is to be linked counts once it is.
        let mut changed = match &first.roles {
            Some(claim) if first.link.is_none() => self.apply_roles(&mut tx, &user.id, claim).await?,
            _ => false,
        };
        let standing = self.standing_in(&mut tx, &user.id).await?;
        if first.is_both && !standing.passkeys {
            // They were taken away since this one was checked (SEC-60).
            return Err(Refused::Invalid { resend_verification: None });
        }
        let methods = if first.is_both || first.stands { Vec::new() } else { standing.methods() };
        if methods.is_empty() && (first.stands || !standing.must_enrol(self.clock.now())) {
            let entry = Entry {
                method: first.method,
                stands: first.stands,
                failures_before,
                link: first.link.as_deref(),
                client,
            };
            let (session, dropped) = self.enter(&mut tx, user, entry).await?;
            if let (Some(claim), Some(LinkEnd::Linked { .. })) = (&first.roles, &session.link) {
                changed = self.apply_roles(&mut tx, &session.user.id, claim).await?;
            }
            tx.commit().await?;
            self.announce_changed(changed, &session.user.id);
            self.announce_sessions(dropped);
            self.mail_waits();
            return Ok(Outcome::Session(session));
        }
        if let Some(resumed) = self.resumed(&mut tx, &first, &methods).await? {
            tx.commit().await?;
            self.announce_changed(changed, &user.id);
            return Ok(Outcome::Challenge(resumed));
        }
        let waiting = Waiting {
            method: &first.method,
            onward: &first.onward,
            failures_before,
            methods,
            link: first.link.as_deref(),
            client,
        };
        let challenge = self.create_challenge(&mut tx, &user, waiting).await?;
        tx.commit().await?;
        self.announce_changed(changed, &user.id);
        self.mail_waits();
        Ok(Outcome::Challenge(challenge))
    }

    /// Open streams ask anew what somebody may see whose roles changed.
    fn announce_changed(&self, changed: bool, user_id: &str) {
        if changed {
            self.announce_user(user_id);
        }
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
                    "UPDATE challenges SET next_path = COALESCE($6, next_path), carry = COALESCE($7, carry),
                       link_hash = $8
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
                    &first.onward.carry,
                    &first.link
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
        let Entry { method, stands, failures_before, link, client } = entry;
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
        let link = match link {
            Some(hash) => Some(self.link_pending(tx, &user, hash, client).await?),
            None => None,
        };
        let (mut session, dropped) = self.create_session(tx, user, &method, stands, client).await?;
        session.device = met.token;
        session.link = link;
        Ok((session, dropped))
    }

    async fn create_challenge(
        &self,
        tx: &mut Tx,
        user: &User,
        waiting: Waiting<'_>,
    ) -> Result<NewChallenge, DbError> {
        let Waiting { method, onward, failures_before, methods, link, client } = waiting;
        let now = self.clock.now();
        let token = ChallengeToken::new(self.random.token());
        let id = self.random.id(now);
        let expires_at = now + CHALLENGE_LIFETIME;
        let enrol = methods.is_empty();
        tx.run(
            sql!(
                "INSERT INTO challenges (id, token_hash, user_id, method, ip, user_agent, created_at, expires_at,
                   enrol, next_path, carry, failures_before, link_hash)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
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
                failures_before,
                link
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
                       c.next_path, c.carry, c.failures_before, c.link_hash,
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
    link: Option<&'a str>,
    client: &'a Client,
}

#[cfg(test)]
mod tests;
