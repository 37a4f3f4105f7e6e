//! Sign-in by username or e-mail and password (SEC-24 to SEC-31).
//!
//! The order, so that nothing tells a known account from an unknown one:
//! 1. the address's limit; 2. the limit of the typed identifier, before any look-up; 3. the
//!    look-up; 4. the account's own limit and lock; 5. exactly one argon2id, a dummy where there is
//!    nothing to compare; 6. the failure is counted for identifier and account, or the success is
//!    left to the gate, which settles it in the transaction that makes the session.
//!
//! An unknown identifier has a shadow lock with the same figures, kept as throttle rows.

use base::db::{DbError, FromRow, Row};
use base::{DAY, HOUR, MINUTE, Micros, Tx, args, sql};

use crate::Accounts;
use crate::gate::{FirstFactor, Settlement};
use crate::identifier::Identifier;
use crate::password::Busy;
use crate::throttle::{Client, Limit, Limited, ThrottleError, count_up, json_list, seconds_until};
use crate::user::User;

/// Each tenth consecutive failure locks the account (SEC-28).
const FAILURES_PER_LOCK: i64 = 10;
/// From here on only recovery helps (SEC-28, NIST SP 800-63B-4 3.2.2).
const FAILURES_TO_RECOVERY: i64 = 100;
const LONGEST_LOCK: Micros = HOUR;
/// How long the failures of an unknown identifier are remembered.
const SHADOW: Micros = DAY;

/// The one text for every refusal of name and password (SEC-24).
pub const INVALID: &str = "The username, e-mail address or password is wrong, or this account cannot sign in. If \
    the account is new and its e-mail address is not confirmed yet, a new link is mailed to it.";

/// Why there is no sign-in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Unknown, wrong, deactivated, unconfirmed: one answer for all. For an unconfirmed account
    /// with the right password the caller mails the link again, within [`Limit::VerifyMail`].
    #[error("{INVALID}")]
    Invalid { resend_verification: Option<Box<User>> },
    #[error("{}", .limit.message())]
    Limited { limit: Limit, retry_after_secs: i64 },
    #[error("{}", Busy)]
    Busy { retry_after_secs: i64 },
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<Limited> for Refused {
    fn from(limited: Limited) -> Self {
        Self::Limited { limit: limited.limit, retry_after_secs: limited.retry_after_secs }
    }
}

impl From<ThrottleError> for Refused {
    fn from(error: ThrottleError) -> Self {
        match error {
            ThrottleError::Limited(limited) => limited.into(),
            ThrottleError::Db(error) => error.into(),
        }
    }
}

impl From<Busy> for Refused {
    fn from(_: Busy) -> Self {
        Self::Busy { retry_after_secs: Busy::RETRY_AFTER_SECS }
    }
}

impl Refused {
    fn invalid() -> Self {
        Self::Invalid { resend_verification: None }
    }
}

struct Account {
    user: User,
    password: Option<String>,
    failures: i64,
    locked_until: Option<Micros>,
}

impl FromRow for Account {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            user: User::from_row(row)?,
            password: row.get("password")?,
            failures: row.get("failures")?,
            locked_until: row.get("locked_until")?,
        })
    }
}

impl Account {
    fn locked_until(&self, now: Micros) -> Option<Micros> {
        lock_state(self.failures, self.locked_until, now)
    }
}

/// How long failed sign-ins keep an account locked (SEC-28).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    Until(Micros),
    /// Until an Admin or the operator unlocks it.
    Lasting,
}

/// The lock of an account with this history, if it has one.
pub(crate) fn lock(failures: i64, locked_until: Option<Micros>, now: Micros) -> Option<Lock> {
    if failures >= FAILURES_TO_RECOVERY {
        return Some(Lock::Lasting);
    }
    locked_until.filter(|until| *until > now).map(Lock::Until)
}

/// Until when whoever tries again is told to wait. How far a lasting lock goes is not told.
fn lock_state(failures: i64, locked_until: Option<Micros>, now: Micros) -> Option<Micros> {
    lock(failures, locked_until, now).map(|lock| match lock {
        Lock::Until(until) => until,
        Lock::Lasting => now + LONGEST_LOCK,
    })
}

/// How long the failure that makes it `failures` in a row locks: 15 minutes at the tenth, 30 at
/// the twentieth, an hour at each further tenth.
fn lock_after(failures: i64) -> Option<Micros> {
    (failures > 0 && failures % FAILURES_PER_LOCK == 0).then(|| {
        let doublings = (failures / FAILURES_PER_LOCK - 1).clamp(0, 8);
        ((15 * MINUTE) << doublings).min(LONGEST_LOCK)
    })
}

impl Accounts {
    /// The first factor by password.
    pub async fn sign_in(
        &self,
        typed: &str,
        password: &str,
        client: &Client,
    ) -> Result<FirstFactor, Refused> {
        self.throttle(Limit::SignInIp, &client.key()).await?;
        let identifier = Identifier::parse(typed);
        let mut keys = vec![self.throttle_key(
            Limit::SignInAccountIp.key(),
            &format!("typed {} from {}", identifier.canonical(), client.key()),
        )];
        self.check_throttles(Limit::SignInAccountIp, &keys).await?;

        let account = self.account_by(&identifier).await?;
        let now = self.clock.now();
        let refused = match &account {
            Some(account) => {
                keys.push(self.throttle_key(
                    Limit::SignInAccountIp.key(),
                    &format!("account {} from {}", account.user.id, client.key()),
                ));
                match account.locked_until(now) {
                    Some(until) => Some(locked(until, now)),
                    None => match self.check_throttles(Limit::SignInAccountIp, &keys).await {
                        Ok(()) => None,
                        Err(ThrottleError::Limited(limited)) => Some(limited.into()),
                        Err(ThrottleError::Db(error)) => return Err(error.into()),
                    },
                }
            }
            None => self.shadow_lock(&identifier).await?.map(|until| locked(until, now)),
        };
        keys.sort_unstable();

        // The account that the password may open; everything else costs the dummy.
        let candidate = if refused.is_some() { None } else { account.as_ref() };
        let stored = candidate.and_then(|account| account.password.as_deref());
        let verified = self.hasher.verify(stored, password).await?;
        if let Some(refused) = refused {
            return Err(refused);
        }
        let Some(account) = account else {
            return Err(self.unknown_failed(&identifier, &keys).await?);
        };
        let Some(stored) = account.password.as_deref().filter(|_| verified.ok) else {
            return Err(self.failed(&account.user.id, &keys, None).await?);
        };
        if !account.user.is_active() {
            return Err(self.failed(&account.user.id, &keys, None).await?);
        }
        if !account.user.is_verified() && self.settings().sign_up.verification_required {
            return Err(self.failed(&account.user.id, &keys, Some(account.user.clone())).await?);
        }
        // Failing to renew a hash is no reason to keep someone out.
        let renewed = if verified.needs_rehash { self.hasher.hash(password).await.ok() } else { None };
        Ok(FirstFactor::by_password(
            &account.user.id,
            Settlement {
                stored: stored.to_owned(),
                renewed,
                throttle_keys: keys,
                failures: account.failures,
            },
        ))
    }

    /// Settles a right password in the gate's transaction: it counts only while nothing has
    /// locked, limited, changed or deactivated the account since it was looked up. Resets the
    /// account's counters, never the address's (SEC-29).
    pub(crate) async fn settle(
        &self,
        tx: &mut Tx,
        user_id: &str,
        settlement: &Settlement,
    ) -> Result<(), Refused> {
        let now = self.clock.now();
        // This row also makes parallel attempts on one account wait for each other.
        let rows = tx
            .run(
                sql!(
                    "UPDATE users SET failures = 0, locked_until = NULL, password = COALESCE($4, password)
                     WHERE id = $1 AND password = $3 AND failures < $5
                       AND (locked_until IS NULL OR locked_until <= $2)"
                ),
                args![user_id, now, &settlement.stored, &settlement.renewed, FAILURES_TO_RECOVERY],
            )
            .await?;
        if rows == 0 {
            return Err(Refused::invalid());
        }
        self.check_throttles_in(tx, Limit::SignInAccountIp, &settlement.throttle_keys).await?;
        tx.run(
            sql!("DELETE FROM throttles WHERE key IN (SELECT value FROM json_each($1))"),
            args![&json_list(&settlement.throttle_keys)],
        )
        .await?;
        Ok(())
    }

    async fn account_by(&self, identifier: &Identifier) -> Result<Option<Account>, DbError> {
        self.db
            .one(
                sql!(
                    "SELECT id, username, email, first_name, last_name, created_at, email_verified_at, deactivated_at,
                       expires_at, last_seen_at, password, failures, locked_until
                     FROM users WHERE (username_canonical = $1 OR email_canonical = $1)
                       AND (expires_at IS NULL OR expires_at > $2)"
                ),
                args![identifier.canonical(), self.clock.now()],
            )
            .await
    }

    /// Counts a failure of a known account, and gives the refusal. A parallel failure that comes
    /// in after the one that locked the account hears of the lock and does not count.
    async fn failed(
        &self,
        user_id: &str,
        keys: &[String],
        resend_verification: Option<User>,
    ) -> Result<Refused, Refused> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let failures: Option<i64> = tx
            .one(
                sql!(
                    "UPDATE users SET failures = failures + 1
                     WHERE id = $1 AND (locked_until IS NULL OR locked_until <= $2) RETURNING failures"
                ),
                args![user_id, now],
            )
            .await?;
        let mut until = None;
        match failures {
            None => {
                let lock: Option<Option<Micros>> =
                    tx.one(sql!("SELECT locked_until FROM users WHERE id = $1"), args![user_id]).await?;
                until = lock.flatten();
            }
            Some(failures) => {
                if let Some(by) = lock_after(failures) {
                    tx.run(
                        sql!("UPDATE users SET locked_until = $2 WHERE id = $1"),
                        args![user_id, now + by],
                    )
                    .await?;
                }
            }
        }
        let limited = self.raise(&mut tx, keys).await?;
        tx.commit().await?;
        let resend_verification = resend_verification.map(Box::new);
        Ok(match (limited, until) {
            (Some(limited), _) => limited.into(),
            (None, Some(until)) => locked(until, now),
            (None, None) => Refused::Invalid { resend_verification },
        })
    }

    /// Counts a failure of an identifier that no account has, by the same rules.
    async fn unknown_failed(&self, identifier: &Identifier, keys: &[String]) -> Result<Refused, Refused> {
        let now = self.clock.now();
        let (count_key, lock_key) = (self.shadow_key(identifier), self.shadow_lock_key(identifier));
        let mut tx = self.db.begin().await?;
        // Counting first makes parallel failures wait for each other.
        let (failures, _) = count_up(&mut tx, &count_key, SHADOW, now).await?;
        let until: Option<Micros> = tx
            .one(
                sql!("SELECT window_ends_at FROM throttles WHERE key = $1 AND window_ends_at > $2"),
                args![&lock_key, now],
            )
            .await?;
        if until.is_some() {
            tx.run(sql!("UPDATE throttles SET count = count - 1 WHERE key = $1"), args![&count_key]).await?;
        } else if let Some(by) = lock_after(failures) {
            count_up(&mut tx, &lock_key, by, now).await?;
        }
        let limited = self.raise(&mut tx, keys).await?;
        tx.commit().await?;
        Ok(match (limited, until) {
            (Some(limited), _) => limited.into(),
            (None, Some(until)) => locked(until, now),
            (None, None) => Refused::invalid(),
        })
    }

    /// One more failure on each key; the limit if one went past it. Of many parallel attempts
    /// only as many as the limit allows hear whether they were right.
    async fn raise(&self, tx: &mut Tx, keys: &[String]) -> Result<Option<Limited>, DbError> {
        let mut limited = None;
        for key in keys {
            match self.hit(tx, Limit::SignInAccountIp, key).await {
                Ok(()) => {}
                Err(ThrottleError::Limited(reached)) => limited = Some(reached),
                Err(ThrottleError::Db(error)) => return Err(error),
            }
        }
        Ok(limited)
    }

    /// Until when an unknown identifier is locked, as an account with its failures would be.
    async fn shadow_lock(&self, identifier: &Identifier) -> Result<Option<Micros>, DbError> {
        let (count_key, lock_key) = (self.shadow_key(identifier), self.shadow_lock_key(identifier));
        let now = self.clock.now();
        let rows: Vec<(String, i64, i64)> = self
            .db
            .all(
                sql!(
                    "SELECT key, count, window_ends_at FROM throttles
                     WHERE key IN (SELECT value FROM json_each($1)) AND window_ends_at > $2"
                ),
                args![&json_list(&[&count_key, &lock_key]), now],
            )
            .await?;
        let failures = rows.iter().find(|row| row.0 == count_key).map_or(0, |row| row.1);
        let until = rows.iter().find(|row| row.0 == lock_key).map(|row| row.2);
        Ok(lock_state(failures, until, now))
    }

    fn shadow_key(&self, identifier: &Identifier) -> String {
        self.throttle_key("unknown", identifier.canonical())
    }

    fn shadow_lock_key(&self, identifier: &Identifier) -> String {
        self.throttle_key("unknown_lock", identifier.canonical())
    }
}

fn locked(until: Micros, now: Micros) -> Refused {
    Refused::Limited { limit: Limit::SignInAccountIp, retry_after_secs: seconds_until(until, now) }
}

#[cfg(test)]
mod tests;
