//! Whether the key ring is the one that sealed this database.

use base::db::DbError;
use base::{args, sql};

use crate::Accounts;

const NAME: &str = "key_check";

impl Accounts {
    /// Opens the value that the first start sealed, or seals it. `false` where it does not open:
    /// nothing sealed here could be read with these keys.
    pub async fn key_fits(&self) -> Result<bool, DbError> {
        let sealed: Option<String> =
            self.db.one(sql!("SELECT value FROM settings WHERE name = $1"), args![NAME]).await?;
        if let Some(sealed) = sealed {
            return Ok(self.ring.open(NAME, &sealed).is_ok());
        }
        let sealed = self
            .ring
            .seal(&self.random, NAME, NAME.as_bytes())
            .map_err(|error| DbError::Other(error.to_string()))?;
        // Two replicas may start at once: the first one's value stays, and both must open it.
        self.db
            .run(
                sql!("INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING"),
                args![NAME, &sealed, self.clock.now()],
            )
            .await?;
        let kept: Option<String> =
            self.db.one(sql!("SELECT value FROM settings WHERE name = $1"), args![NAME]).await?;
        Ok(kept.is_some_and(|kept| self.ring.open(NAME, &kept).is_ok()))
    }
}
