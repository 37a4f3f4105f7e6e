//! Listing, renaming and removing.

use base::db::DbError;
use base::{Tx, args, sql};

use super::{PasskeyError, PasskeyRow, name};
use crate::Accounts;
use crate::identities::has_identity;

impl Accounts {
    /// An account's passkeys and security keys, oldest first.
    pub async fn list_passkeys(&self, user_id: &str) -> Result<Vec<PasskeyRow>, DbError> {
        self.db
            .all(
                sql!(
                    "SELECT id, name, user_verified, created_at, last_used_at FROM passkeys
                     WHERE user_id = $1 ORDER BY created_at, id"
                ),
                args![user_id],
            )
            .await
    }

    /// Gives one another name. `false` where the account has no such passkey.
    ///
    /// # Errors
    /// [`PasskeyError::Name`].
    pub async fn rename_passkey(
        &self,
        user_id: &str,
        id: &str,
        typed_name: &str,
    ) -> Result<bool, PasskeyError> {
        let name = match name(typed_name, "")? {
            name if name.is_empty() => return Err(PasskeyError::Name("Type a name.")),
            name => name,
        };
        let rows = self
            .db
            .run(
                sql!("UPDATE passkeys SET name = $3 WHERE id = $1 AND user_id = $2"),
                args![id, user_id, &name],
            )
            .await?;
        Ok(rows > 0)
    }

    /// Removes one; `None` where the account has no such passkey. Locks the account's row.
    ///
    /// # Errors
    /// [`PasskeyError::LastWayIn`] where its owner could not sign in any more (SEC-56): there is no
    /// password, no other passkey that verifies its holder, and no identity of a provider that is in use.
    pub async fn remove_passkey(
        &self,
        tx: &mut Tx,
        user_id: &str,
        id: &str,
    ) -> Result<Option<PasskeyRow>, PasskeyError> {
        let has_password: Option<bool> = tx
            .one(
                sql!("UPDATE users SET username = username WHERE id = $1 RETURNING password IS NOT NULL"),
                args![user_id],
            )
            .await?;
        let removed: Option<PasskeyRow> = tx
            .one(
                sql!(
                    "SELECT id, name, user_verified, created_at, last_used_at FROM passkeys
                     WHERE id = $1 AND user_id = $2"
                ),
                args![id, user_id],
            )
            .await?;
        let Some(removed) = removed else { return Ok(None) };
        if removed.user_verified && has_password != Some(true) {
            let others: Option<i64> = tx
                .one(
                    sql!("SELECT COUNT(*) FROM passkeys WHERE user_id = $1 AND user_verified AND id <> $2"),
                    args![user_id, id],
                )
                .await?;
            let live = self.live_providers();
            if others.unwrap_or(0) == 0 && !has_identity(tx, user_id, &live).await? {
                return Err(PasskeyError::LastWayIn);
            }
        }
        tx.run(sql!("DELETE FROM passkeys WHERE id = $1 AND user_id = $2"), args![id, user_id]).await?;
        Ok(Some(removed))
    }
}
