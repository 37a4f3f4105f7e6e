//! How many wrong second factors an account takes: five a challenge, and ten in a row over all
//! challenges, sessions and factors (SEC-36, SEC-51).

use base::db::DbError;
use base::{HOUR, MINUTE, Micros, Tx, args, sql};

use crate::Accounts;
use crate::passkeys::PasskeyError;
use crate::sign_in::Refused;
use crate::throttle::{Limit, Limited, ThrottleError, seconds_until};

/// Each tenth consecutive wrong factor locks: for 15 minutes, then 30, then an hour each time, so that
/// whoever knows the first factor gets no further by patience.
const FAILURES_PER_LOCK: i64 = 10;
const LOCK: Micros = 15 * MINUTE;
const LONGEST_LOCK: Micros = HOUR;

/// How long the wrong factor locks that makes it `failures` in a row.
fn lock_after(failures: i64) -> Micros {
    let doublings = (failures / FAILURES_PER_LOCK - 1).clamp(0, 8);
    (LOCK << doublings).min(LONGEST_LOCK)
}

/// What is left after a wrong factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Tries with this challenge; 0: it is over, and the sign-in starts again.
    pub tries: i64,
}

/// Why a second factor did not pass.
#[derive(Debug, thiserror::Error)]
pub enum FactorRefused {
    /// Wrong, used before or too old: one answer for all.
    #[error("That was not right, or it was used before.")]
    Wrong(Left),
    /// Too many wrong ones in a row (SEC-36).
    #[error("Too many wrong codes. Wait, then try again.")]
    Locked { retry_after_secs: i64 },
    /// The challenge is over: used, expired, cancelled or out of tries.
    #[error("This sign-in took too long or had too many tries. Start again.")]
    Gone,
    /// A mail with a code cannot be sent now (SEC-49).
    #[error("{}", .limit.message())]
    Limited { limit: Limit, retry_after_secs: i64 },
    /// The account has no such factor, or it is not enough for it.
    #[error("{0}")]
    NotOffered(&'static str),
    /// The first factor, where that is what is proved, or the state of the account.
    #[error(transparent)]
    Refused(Refused),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<Refused> for FactorRefused {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Limited> for FactorRefused {
    fn from(limited: Limited) -> Self {
        Self::Limited { limit: limited.limit, retry_after_secs: limited.retry_after_secs }
    }
}

impl From<ThrottleError> for FactorRefused {
    fn from(error: ThrottleError) -> Self {
        match error {
            ThrottleError::Limited(limited) => limited.into(),
            ThrottleError::Db(error) => error.into(),
        }
    }
}

/// A try that is paid for: it counts as a failure until it is forgiven.
pub(crate) struct Attempt {
    failures: i64,
}

impl Accounts {
    /// Counts a try before it is looked at, so that parallel ones cannot slip past; this holds the
    /// account's row until the transaction ends. Nothing is counted while it is locked.
    pub(crate) async fn begin_attempt(&self, tx: &mut Tx, user_id: &str) -> Result<Attempt, FactorRefused> {
        let now = self.clock.now();
        let failures: Option<i64> = tx
            .one(
                sql!(
                    "UPDATE users SET factor_failures = factor_failures + 1
                     WHERE id = $1 AND deactivated_at IS NULL
                       AND (factor_locked_until IS NULL OR factor_locked_until <= $2)
                     RETURNING factor_failures"
                ),
                args![user_id, now],
            )
            .await?;
        match failures {
            Some(failures) => Ok(Attempt { failures }),
            None => {
                let until: Option<Option<Micros>> = tx
                    .one(
                        sql!(
                            "SELECT factor_locked_until FROM users WHERE id = $1 AND deactivated_at IS NULL"
                        ),
                        args![user_id],
                    )
                    .await?;
                Err(match until.flatten() {
                    Some(until) => FactorRefused::Locked { retry_after_secs: seconds_until(until, now) },
                    None => FactorRefused::Gone,
                })
            }
        }
    }

    /// The try was right: the row of wrong ones is over.
    pub(crate) async fn forgive(&self, tx: &mut Tx, user_id: &str) -> Result<(), DbError> {
        tx.run(
            sql!("UPDATE users SET factor_failures = 0, factor_locked_until = NULL WHERE id = $1"),
            args![user_id],
        )
        .await?;
        Ok(())
    }

    /// The try was wrong: locks the account where it was the tenth in a row. Gives until when.
    pub(crate) async fn settle_failure(
        &self,
        tx: &mut Tx,
        user_id: &str,
        attempt: &Attempt,
    ) -> Result<Option<Micros>, DbError> {
        if attempt.failures % FAILURES_PER_LOCK != 0 {
            return Ok(None);
        }
        let until = self.clock.now() + lock_after(attempt.failures);
        tx.run(sql!("UPDATE users SET factor_locked_until = $2 WHERE id = $1"), args![user_id, until])
            .await?;
        Ok(Some(until))
    }
}

/// What a refused passkey means for the try that it was part of: `None` is a wrong one.
pub(crate) fn passkey_failure(error: PasskeyError) -> Result<(), FactorRefused> {
    match error {
        PasskeyError::Db(error) => Err(error.into()),
        PasskeyError::Unavailable => Err(FactorRefused::NotOffered(
            "Passkeys do not work at this address: the site's public URL is an IP address.",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-36
    #[test]
    fn sec_36_locks_grow_up_to_an_hour() {
        let minutes = [10, 20, 30, 40, 1_000].map(|failures| lock_after(failures) / MINUTE);
        assert_eq!(minutes, [15, 30, 60, 60, 60]);
    }
}
