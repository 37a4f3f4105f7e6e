//! Providers that an Admin set up: rows with everything but the secret as text, and the secret sealed.
//! What the text means is the application's.

use base::db::DbError;
use base::{Micros, Tx, args, sql};

use crate::Accounts;

/// Providers that Admins may set up in all.
pub const MAX_PROVIDERS: i64 = 50;

/// A provider as an Admin set it up.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredProvider {
    /// Its place in addresses.
    pub name: String,
    /// Everything but the secret.
    pub settings: String,
    /// `None` where it cannot be opened: it was sealed with a key that is gone.
    pub secret: Option<String>,
    pub enabled: bool,
    pub updated_at: Micros,
}

impl std::fmt::Debug for StoredProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredProvider")
            .field("name", &self.name)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

/// Why a provider was not stored, in words for the page.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("There is a provider of that name already. Choose another name.")]
    Taken,
    #[error("{MAX_PROVIDERS} providers are the most. Remove one first.")]
    TooMany,
    #[error(transparent)]
    Db(#[from] DbError),
}

struct Stored {
    id: String,
    name: String,
    settings: String,
    secret: Option<String>,
    enabled: bool,
    updated_at: Micros,
}

impl base::db::FromRow for Stored {
    fn from_row(row: &base::db::Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            settings: row.get("settings")?,
            secret: row.get("secret")?,
            enabled: row.get("enabled")?,
            updated_at: row.get("updated_at")?,
        })
    }
}

impl Accounts {
    /// All of them, oldest first.
    pub async fn stored_providers(&self) -> Result<Vec<StoredProvider>, DbError> {
        let rows: Vec<Stored> = self
            .db
            .all(
                sql!(
                    "SELECT id, name, settings, secret, enabled, updated_at FROM providers ORDER BY created_at, id"
                ),
                &[],
            )
            .await?;
        let open = |row: Stored| {
            let plain =
                row.secret.as_deref().and_then(|sealed| self.ring.open(&context(&row.id), sealed).ok());
            StoredProvider {
                name: row.name,
                settings: row.settings,
                secret: plain.and_then(|plain| String::from_utf8(plain).ok()),
                enabled: row.enabled,
                updated_at: row.updated_at,
            }
        };
        Ok(rows.into_iter().map(open).collect())
    }

    /// Stores a new one, enabled.
    ///
    /// # Errors
    /// [`StoreError::Taken`], [`StoreError::TooMany`].
    pub async fn add_provider(&self, name: &str, settings: &str, secret: &str) -> Result<(), StoreError> {
        let now = self.clock.now();
        let id = self.random.id(now);
        let mut tx = self.db.begin().await?;
        let rows = tx
            .run(
                sql!(
                    "INSERT INTO providers (id, name, settings, secret, enabled, created_at, updated_at)
                     VALUES ($1, $2, $3, $4, TRUE, $5, $5) ON CONFLICT DO NOTHING"
                ),
                args![&id, name, settings, &self.seal(&id, secret)?, now],
            )
            .await?;
        if rows == 0 {
            return Err(StoreError::Taken);
        }
        let count: Option<i64> = tx.one(sql!("SELECT COUNT(*) FROM providers"), &[]).await?;
        if count.unwrap_or(0) > MAX_PROVIDERS {
            return Err(StoreError::TooMany);
        }
        tx.commit().await?;
        Ok(())
    }

    /// Changes one; without `secret` it keeps the one that it has. `false` where it is gone.
    pub async fn change_provider(
        &self,
        name: &str,
        settings: &str,
        secret: Option<&str>,
    ) -> Result<bool, DbError> {
        let mut tx = self.db.begin().await?;
        let Some(id) = hold(&mut tx, name).await? else { return Ok(false) };
        let sealed = secret.map(|secret| self.seal(&id, secret)).transpose()?;
        tx.run(
            sql!(
                "UPDATE providers SET settings = $2, secret = COALESCE($3, secret), updated_at = $4 WHERE id = $1"
            ),
            args![&id, settings, &sealed, self.clock.now()],
        )
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Switches one on or off. `false` where it is gone.
    pub async fn enable_provider(&self, name: &str, enabled: bool) -> Result<bool, DbError> {
        let rows = self
            .db
            .run(
                sql!("UPDATE providers SET enabled = $2, updated_at = $3 WHERE name = $1"),
                args![name, enabled, self.clock.now()],
            )
            .await?;
        Ok(rows > 0)
    }

    /// Removes one with its secret. What people linked stays, and works again if it comes back.
    /// `false` where it was gone.
    pub async fn remove_provider(&self, name: &str) -> Result<bool, DbError> {
        Ok(self.db.run(sql!("DELETE FROM providers WHERE name = $1"), args![name]).await? > 0)
    }

    /// How many people have an identity at each provider, by its name.
    pub async fn count_linked(&self) -> Result<Vec<(String, i64)>, DbError> {
        self.db
            .all(
                sql!(
                    "SELECT provider, COUNT(DISTINCT user_id) FROM identities GROUP BY provider ORDER BY provider"
                ),
                &[],
            )
            .await
    }

    fn seal(&self, id: &str, secret: &str) -> Result<String, DbError> {
        let sealed = self.ring.seal(&self.random, &context(id), secret.as_bytes());
        sealed
            .map(|sealed| sealed.to_string())
            .map_err(|error| DbError::Other(format!("a secret could not be sealed: {error}")))
    }
}

async fn hold(tx: &mut Tx, name: &str) -> Result<Option<String>, DbError> {
    tx.one(sql!("UPDATE providers SET name = name WHERE name = $1 RETURNING id"), args![name]).await
}

fn context(id: &str) -> String {
    format!("provider-secret:{id}")
}
