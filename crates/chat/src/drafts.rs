//! A prompt that waits in its author's composer: it met a session that had ended.

use base::db::{DbError, FromRow, Row};
use base::{Db, Micros, args, sql};

/// What stands in the composer. A person has at most one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// `None` for a chat that begins with it.
    pub chat_id: Option<String>,
    pub prompt: String,
    pub model: Option<String>,
}

impl FromRow for Draft {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { chat_id: row.get("chat_id")?, prompt: row.get("prompt")?, model: row.get("model")? })
    }
}

/// Keeps a draft in place of the one before.
pub async fn save(db: &Db, user_id: &str, draft: &Draft, now: Micros) -> Result<(), DbError> {
    db.run(
        sql!(
            "INSERT INTO drafts (user_id, chat_id, prompt, model, created_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (user_id) DO UPDATE SET chat_id = excluded.chat_id, prompt = excluded.prompt,
               model = excluded.model, created_at = excluded.created_at"
        ),
        args![user_id, &draft.chat_id, &draft.prompt, &draft.model, now],
    )
    .await?;
    Ok(())
}

/// The person's draft, if there is one.
pub async fn load(db: &Db, user_id: &str) -> Result<Option<Draft>, DbError> {
    db.one(sql!("SELECT chat_id, prompt, model FROM drafts WHERE user_id = $1"), args![user_id]).await
}

/// Forgets the person's draft: it was sent.
pub async fn clear(db: &Db, user_id: &str) -> Result<(), DbError> {
    db.run(sql!("DELETE FROM drafts WHERE user_id = $1"), args![user_id]).await?;
    Ok(())
}
