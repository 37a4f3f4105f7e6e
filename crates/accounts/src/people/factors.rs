//! Someone else's ways in: second factors taken away (SEC-60), a link for a new password (SEC-23).

use base::db::{DbError, Sql};
use base::{Tx, args, sql};

use super::change::{Actor, Changed, PeopleError};
use crate::Accounts;
use crate::identities::has_identity;
use crate::notices::Notice;
use crate::permission::{Permission, Permissions};

/// Shortest and longest reason, in code points.
const REASON: std::ops::RangeInclusive<usize> = 3..=200;

/// How many apps and passkeys someone has.
const STRONG_FACTORS: Sql = sql!(
    "SELECT (SELECT COUNT(*) FROM totp_factors WHERE user_id = $1 AND confirmed_at IS NOT NULL)
       + (SELECT COUNT(*) FROM passkeys WHERE user_id = $1)"
);

impl Accounts {
    /// Takes all second factors from a person: the app, the backup codes, codes by e-mail and
    /// passkeys. Their sessions and challenges end, and they are mailed who did it and why. The
    /// next sign-in sets up a new factor where a role requires one.
    ///
    /// # Errors
    /// The actor lacks `users.reset_factors`, holds less than the person, or means themselves; or
    /// the reason is not 3 to 200 code points on one line.
    pub async fn reset_factors<'a>(
        &self,
        actor: impl Into<Actor<'a>>,
        person: &str,
        reason: &str,
    ) -> Result<Changed, PeopleError> {
        let reason = reason.trim();
        if !REASON.contains(&reason.chars().count()) || reason.chars().any(char::is_control) {
            return Err(PeopleError::Reason);
        }
        let mut change = self.begin_change(actor.into(), person, Permission::UsersResetFactors).await?;
        let by = match change.actor {
            Actor::Person(actor) if actor.user_id == change.user.id => return Err(PeopleError::OwnFactors),
            Actor::Person(actor) => Some(actor.username.clone()),
            Actor::Operator => None,
        };
        change.allow(Permissions::NONE)?;
        let user = change.user.clone();
        let tx = &mut change.tx;
        // The users' row first, as everywhere: whoever uses a factor meanwhile holds it.
        tx.run(
            sql!("UPDATE users SET factor_failures = 0, factor_locked_until = NULL WHERE id = $1"),
            args![&user.id],
        )
        .await?;
        let mut taken = tx
            .run(
                sql!(
                    "UPDATE users SET email_codes_since = NULL, email_codes_used_at = NULL
                     WHERE id = $1 AND email_codes_since IS NOT NULL"
                ),
                args![&user.id],
            )
            .await?;
        for statement in [
            sql!("DELETE FROM totp_factors WHERE user_id = $1"),
            sql!("DELETE FROM backup_code_sets WHERE user_id = $1"),
            sql!("DELETE FROM passkeys WHERE user_id = $1"),
        ] {
            taken += tx.run(statement, args![&user.id]).await?;
        }
        tx.run(sql!("DELETE FROM email_codes WHERE user_id = $1"), args![&user.id]).await?;
        if taken == 0 {
            return change.finish(false).await;
        }
        tx.run(sql!("DELETE FROM challenges WHERE user_id = $1"), args![&user.id]).await?;
        let ended = self.end_all_in(tx, &user.id, None).await?;
        self.notify(tx, &user, &Notice::FactorsReset { by, reason: reason.to_owned() }, None).await?;
        // A passkey may have been the only way in (SEC-23: nobody sets a password for them).
        let live = self.live_providers();
        if user.is_active()
            && without_password(tx, &user.id).await?
            && !has_identity(tx, &user.id, &live).await?
        {
            self.queue_reset_link(tx, &user, None, true).await?;
        }
        let changed = change.finish(true).await?;
        self.announce_sessions(ended);
        self.announce_user(&user.id);
        self.mail_waits();
        Ok(changed)
    }

    /// Mails a person the link that sets a new password (SEC-23). Nothing is changed where the
    /// account is deactivated or not confirmed yet.
    ///
    /// # Errors
    /// The actor lacks `users.manage` or holds less than the person.
    pub async fn send_person_reset_link<'a>(
        &self,
        actor: impl Into<Actor<'a>>,
        person: &str,
    ) -> Result<Changed, PeopleError> {
        let mut change = self.begin_change(actor.into(), person, Permission::UsersManage).await?;
        change.allow(Permissions::NONE)?;
        let user = change.user.clone();
        let sends = user.is_active() && !user.is_pending() && !user.email.is_empty();
        if sends {
            self.queue_reset_link(&mut change.tx, &user, None, true).await?;
        }
        let changed = change.finish(sends).await?;
        if sends {
            self.mail_waits();
        }
        Ok(changed)
    }

    /// Whether someone has a second factor that may stand alone for an Admin too: an app or a
    /// passkey (SEC-47).
    pub async fn has_strong_factor(&self, user_id: &str) -> Result<bool, DbError> {
        let count: Option<i64> = self.db.one(STRONG_FACTORS, args![user_id]).await?;
        Ok(count.is_some_and(|count| count > 0))
    }
}

/// See [`Accounts::has_strong_factor`].
pub(super) async fn has_strong_factor(tx: &mut Tx, user_id: &str) -> Result<bool, DbError> {
    let count: Option<i64> = tx.one(STRONG_FACTORS, args![user_id]).await?;
    Ok(count.is_some_and(|count| count > 0))
}

async fn without_password(tx: &mut Tx, user_id: &str) -> Result<bool, DbError> {
    let found: Option<String> =
        tx.one(sql!("SELECT id FROM users WHERE id = $1 AND password IS NULL"), args![user_id]).await?;
    Ok(found.is_some())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
#[path = "factors_tests.rs"]
mod tests;
