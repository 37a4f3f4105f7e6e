//! Changing the password while signed in (SEC-22, SEC-61).

use base::db::DbError;
use base::{Tx, args, sql};

use super::RecoveryError;
use crate::Accounts;
use crate::gate::SessionToken;
use crate::notices::Notice;
use crate::principal::Principal;
use crate::sign_in::Refused;
use crate::throttle::{Client, Limited};
use crate::tokens::Purpose;

impl Accounts {
    /// Whether the account has a password; one that has none sets its first without the current one.
    pub async fn has_password(&self, user_id: &str) -> Result<bool, DbError> {
        let stored: Option<Option<String>> =
            self.db.one(sql!("SELECT password FROM users WHERE id = $1"), args![user_id]).await?;
        Ok(stored.flatten().is_some())
    }

    /// Changes the password of someone signed in, who gives the current one too: wrong ones count as
    /// failed sign-ins. The other sessions end, links to set a password or an address are void, and
    /// this session goes on under the token that comes back (SEC-78).
    ///
    /// # Errors
    /// At the fields `current_password` and `password`; the limits of sign-in.
    pub async fn change_password(
        &self,
        principal: &Principal,
        session: &SessionToken,
        current: &str,
        new: &str,
        client: &Client,
    ) -> Result<SessionToken, RecoveryError> {
        let user = self.user(&principal.user_id).await?.ok_or(RecoveryError::SessionOver)?;
        self.check_new_password(&user, new).await?;
        let settlement = if self.has_password(&user.id).await? {
            if current.is_empty() {
                return Err(RecoveryError::field("current_password", "Enter your current password."));
            }
            let first = self.sign_in(&user.username, current, client).await.map_err(wrong_current)?;
            if current == new {
                return Err(RecoveryError::field("password", "This is the password that you have already."));
            }
            first.into_settlement()
        } else {
            None
        };
        let phc = self.hasher.hash(new).await?;

        let mut tx = self.db.begin().await?;
        match &settlement {
            // Compares the stored hash, so it comes before the new one.
            Some(settlement) => {
                self.settle(&mut tx, &user.id, settlement).await.map_err(wrong_current)?;
                self.store_password(&mut tx, &user.id, &phc).await?;
            }
            None => {
                if !self.store_first_password(&mut tx, &user.id, &phc).await? {
                    return Err(RecoveryError::field("current_password", "Enter your current password."));
                }
            }
        }
        let renewed = self.rotate_session(&mut tx, session).await?.ok_or(RecoveryError::SessionOver)?;
        for purpose in [Purpose::ResetPassword, Purpose::ChangeEmail] {
            self.void_tokens(&mut tx, purpose, Some(&user.id)).await?;
        }
        let ended = self.end_all_but(&mut tx, &user.id, Some(&principal.session.id)).await?;
        self.notify(&mut tx, &user, &Notice::PasswordChanged, Some(client)).await?;
        tx.commit().await?;
        self.announce_sessions(ended);
        self.mail_waits();
        Ok(renewed)
    }

    async fn store_password(&self, tx: &mut Tx, user_id: &str, phc: &str) -> Result<(), DbError> {
        tx.run(
            sql!("UPDATE users SET password = $2, password_changed_at = $3 WHERE id = $1"),
            args![user_id, phc, self.clock.now()],
        )
        .await?;
        Ok(())
    }

    /// `false` where the account has got a password meanwhile.
    async fn store_first_password(&self, tx: &mut Tx, user_id: &str, phc: &str) -> Result<bool, DbError> {
        let rows = tx
            .run(
                sql!("UPDATE users SET password = $2, password_changed_at = $3 WHERE id = $1 AND password IS NULL"),
                args![user_id, phc, self.clock.now()],
            )
            .await?;
        Ok(rows > 0)
    }

    /// A new token for the session. Its step-up stays as it was: the password alone is not as strong
    /// as what an account with a second factor steps up by (SEC-57).
    async fn rotate_session(
        &self,
        tx: &mut Tx,
        session: &SessionToken,
    ) -> Result<Option<SessionToken>, DbError> {
        let renewed = SessionToken::new(self.random.token());
        let rows = tx
            .run(
                sql!("UPDATE sessions SET token_hash = $2 WHERE token_hash = $1 AND expires_at > $3"),
                args![&session.hash(), &renewed.hash(), self.clock.now()],
            )
            .await?;
        Ok((rows > 0).then_some(renewed))
    }
}

fn wrong_current(refused: Refused) -> RecoveryError {
    match refused {
        Refused::Invalid { resend_verification: None } => {
            RecoveryError::field("current_password", "This is not your current password.")
        }
        Refused::Invalid { resend_verification: Some(_) } => RecoveryError::field(
            "current_password",
            "Confirm your e-mail address first, under Settings, E-mail. Then change the password.",
        ),
        Refused::Limited { limit, retry_after_secs } => Limited { limit, retry_after_secs }.into(),
        Refused::Busy { .. } => crate::password::Busy.into(),
        Refused::Db(error) => error.into(),
    }
}
