//! A person's own identities: listed, linked and unlinked by whoever is signed in (SEC-58: under
//! step-up). Each change ends the other sessions (SEC-61) and is mailed (SEC-96), in one transaction.

use base::db::DbError;
use base::{Tx, args, sql};

use super::{Identity, Inserted, Named, Vouched, has_identity};
use crate::Accounts;
use crate::notices::Notice;
use crate::principal::Principal;
use crate::throttle::{Client, Limited, ThrottleError};
use crate::user::User;

/// Identities that one account may have.
pub const MAX_IDENTITIES: i64 = 20;

/// Why an identity was not linked or unlinked, in words for the page.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(
        "That account of {provider} signs in to another account here. Sign in with it, unlink it there, and try \
         again."
    )]
    Taken { provider: String },
    #[error("20 linked accounts are the most. Unlink one first.")]
    TooMany,
    #[error("This is the only way you can sign in. Set a password or add a passkey, then unlink it.")]
    LastWayIn,
    #[error("There is no such linked account.")]
    NotThere,
    #[error("Your session has ended. Sign in again.")]
    SessionOver,
    /// The pending link is used, too old or unknown.
    #[error("This took too long or was used before. Sign in with the provider again.")]
    Expired,
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<ThrottleError> for LinkError {
    fn from(error: ThrottleError) -> Self {
        match error {
            ThrottleError::Limited(limited) => Self::Limited(limited),
            ThrottleError::Db(error) => Self::Db(error),
        }
    }
}

impl Accounts {
    /// A person's identities, oldest first.
    pub async fn list_identities(&self, user_id: &str) -> Result<Vec<Identity>, DbError> {
        self.db
            .all(
                sql!(
                    "SELECT id, issuer, provider, shown_as, created_at, last_used_at FROM identities
                     WHERE user_id = $1 ORDER BY created_at, id"
                ),
                args![user_id],
            )
            .await
    }

    /// Links what a provider vouched for with the account of whoever is signed in. The caller has
    /// seen to it that the trip was begun in this session ([`super::FinishedTrip::is_of`]). `false`
    /// where it was linked already: nothing changes then.
    ///
    /// # Errors
    /// [`LinkError::Taken`], [`LinkError::TooMany`].
    pub async fn link_identity(
        &self,
        principal: &Principal,
        vouched: &Vouched,
        client: &Client,
    ) -> Result<bool, LinkError> {
        let (mut tx, user) = self.begin_own(principal).await?;
        let shown_as = vouched.shown_as();
        let named = Named {
            issuer: &vouched.issuer,
            subject: &vouched.subject,
            provider: &vouched.provider,
            shown_as: &shown_as,
        };
        match self.insert_identity(&mut tx, &user.id, &named).await? {
            Inserted::Theirs => return Ok(false),
            Inserted::Taken => {
                return Err(LinkError::Taken { provider: self.provider_label(&vouched.provider) });
            }
            Inserted::New => {}
        }
        let count: Option<i64> =
            tx.one(sql!("SELECT COUNT(*) FROM identities WHERE user_id = $1"), args![&user.id]).await?;
        if count.unwrap_or(0) > MAX_IDENTITIES {
            return Err(LinkError::TooMany);
        }
        let notice = Notice::IdentityLinked {
            provider: self.provider_label(&vouched.provider),
            shown_as: shown_as.clone(),
        };
        self.finish_change(tx, &user, principal, &notice, client).await?;
        Ok(true)
    }

    /// Takes an identity away from the account of whoever is signed in.
    ///
    /// # Errors
    /// [`LinkError::LastWayIn`] where they could not sign in any more: there is no password, no passkey
    /// that verifies its holder, and no other identity of a provider in use.
    pub async fn unlink_identity(
        &self,
        principal: &Principal,
        id: &str,
        client: &Client,
    ) -> Result<Identity, LinkError> {
        let (mut tx, user) = self.begin_own(principal).await?;
        let removed: Option<Identity> = tx
            .one(
                sql!(
                    "DELETE FROM identities WHERE id = $1 AND user_id = $2
                     RETURNING id, issuer, provider, shown_as, created_at, last_used_at"
                ),
                args![id, &user.id],
            )
            .await?;
        let removed = removed.ok_or(LinkError::NotThere)?;
        // One of a provider that is gone is no way in, and may always go.
        if self.signs_in(&removed) && !self.has_another_way(&mut tx, &user.id).await? {
            return Err(LinkError::LastWayIn);
        }
        let notice = Notice::IdentityUnlinked {
            provider: self.provider_label(&removed.provider),
            shown_as: removed.shown_as.clone(),
        };
        self.finish_change(tx, &user, principal, &notice, client).await?;
        Ok(removed)
    }

    /// Holds the person's row; what ended their session while they waited for it ends this too (SEC-61).
    async fn begin_own(&self, principal: &Principal) -> Result<(Tx, User), LinkError> {
        let mut tx = self.db.begin().await?;
        let user = self.hold_user(&mut tx, &principal.user_id).await?;
        match user {
            Some(user) if self.still_stands(&mut tx, principal).await? => Ok((tx, user)),
            _ => Err(LinkError::SessionOver),
        }
    }

    async fn has_another_way(&self, tx: &mut Tx, user_id: &str) -> Result<bool, DbError> {
        let found: Option<String> = tx
            .one(
                sql!(
                    "SELECT u.id FROM users u WHERE u.id = $1 AND (u.password IS NOT NULL
                       OR EXISTS (SELECT 1 FROM passkeys p WHERE p.user_id = u.id AND p.user_verified))"
                ),
                args![user_id],
            )
            .await?;
        Ok(found.is_some() || has_identity(tx, user_id, &self.live_providers()).await?)
    }

    /// Mails, ends the other sessions and open challenges, and makes the change lasting.
    async fn finish_change(
        &self,
        mut tx: Tx,
        user: &User,
        principal: &Principal,
        notice: &Notice,
        client: &Client,
    ) -> Result<(), LinkError> {
        self.notify(&mut tx, user, notice, Some(client)).await?;
        tx.run(sql!("DELETE FROM challenges WHERE user_id = $1"), args![&user.id]).await?;
        let ended = self.end_all_in(&mut tx, &user.id, Some(&principal.session.id)).await?;
        tx.commit().await?;
        self.announce_sessions(ended);
        self.mail_waits();
        Ok(())
    }
}
