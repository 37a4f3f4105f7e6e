//! Getting back in and keeping others out: forgotten passwords, and changes of password and address
//! (SEC-22, SEC-59, SEC-62 to SEC-67).
//!
//! Every transaction here begins with the person's row, so that no two of them wait for each other
//! in a circle.

mod address;
mod password;
mod reset;
#[cfg(test)]
mod tests;

use base::db::DbError;
use base::{Tx, args, sql};

use crate::Accounts;
use crate::password::{Busy, Context};
use crate::sign_up::FieldErrors;
use crate::throttle::{Limited, ThrottleError};
use crate::tokens::Purpose;
use crate::user::User;

pub use reset::Resolved;

/// Why a password or an address stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// By the form's field.
    #[error("some fields are wrong")]
    Fields(FieldErrors),
    /// Another account has the address; by the form's field.
    #[error("the address is taken")]
    Taken(FieldErrors),
    /// The link was used before, is too old, or a later change made it void.
    #[error("This link does not work any more.")]
    BadToken,
    /// The session has ended meanwhile.
    #[error("The session has ended.")]
    SessionOver,
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<ThrottleError> for RecoveryError {
    fn from(error: ThrottleError) -> Self {
        match error {
            ThrottleError::Limited(limited) => Self::Limited(limited),
            ThrottleError::Db(error) => Self::Db(error),
        }
    }
}

impl RecoveryError {
    fn field(name: &'static str, words: impl std::fmt::Display) -> Self {
        let mut errors = FieldErrors::default();
        errors.add(name, words);
        Self::Fields(errors)
    }
}

impl Accounts {
    /// The person whom a link is for, while it is good; changes nothing (SEC-64).
    pub async fn link_holder(&self, purpose: Purpose, token: &str) -> Result<Option<User>, DbError> {
        let Some(info) = self.peek_token(purpose, token).await? else { return Ok(None) };
        let Some(id) = info.user_id else { return Ok(None) };
        self.user(&id).await
    }

    /// The account with this id, unless it is deactivated or a sign-up that waits.
    pub async fn user(&self, id: &str) -> Result<Option<User>, DbError> {
        self.db
            .one(
                sql!(
                    "SELECT id, username, email, first_name, last_name, created_at, email_verified_at, deactivated_at,
                       expires_at, last_seen_at
                     FROM users WHERE id = $1 AND deactivated_at IS NULL AND expires_at IS NULL"
                ),
                args![id],
            )
            .await
    }

    /// The account, its row held until the transaction ends; `None` where it may not act any more.
    pub(crate) async fn hold_user(&self, tx: &mut Tx, user_id: &str) -> Result<Option<User>, DbError> {
        tx.one(
            sql!(
                "UPDATE users SET failures = failures WHERE id = $1 AND deactivated_at IS NULL
                 RETURNING id, username, email, first_name, last_name, created_at, email_verified_at,
                   deactivated_at, expires_at, last_seen_at"
            ),
            args![user_id],
        )
        .await
    }

    /// The same, without sign-ups that wait for their confirmation.
    async fn hold_lasting(&self, tx: &mut Tx, id: &str) -> Result<Option<User>, DbError> {
        Ok(self.hold_user(tx, id).await?.filter(|user| !user.is_pending()))
    }

    /// Holds a new password against the rules, where passwords are hashed (SEC-17, SEC-19).
    async fn check_new_password(&self, user: &User, password: &str) -> Result<(), RecoveryError> {
        let (policy, user, password) = (self.policy.clone(), user.clone(), password.to_owned());
        let settings = self.settings();
        let checked = self
            .hasher
            .run(move || {
                policy.check(
                    &password,
                    &Context {
                        username: &user.username,
                        email: &user.email,
                        first_name: &user.first_name,
                        last_name: &user.last_name,
                        site_name: &settings.general.site_name,
                    },
                )
            })
            .await?;
        checked.map_err(|words| RecoveryError::field("password", words))
    }

    /// Ends the person's sessions but for `except`, and their challenges. Announce the ids after the
    /// commit.
    async fn end_all_but(
        &self,
        tx: &mut Tx,
        user_id: &str,
        except: Option<&str>,
    ) -> Result<Vec<String>, DbError> {
        tx.run(sql!("DELETE FROM challenges WHERE user_id = $1"), args![user_id]).await?;
        self.end_all_in(tx, user_id, except).await
    }
}
