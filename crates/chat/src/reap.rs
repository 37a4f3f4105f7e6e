//! The reaper: generations whose process is gone become interrupted, with the text they had.

use base::db::{Engine as Db, FromRow, Row};
use base::{DbError, Micros, SECOND, args, sql};
use upstream::estimate_tokens;
use usage::{Outcome, Purpose, TokensSource};

use crate::engine::Engine;
use crate::finish::touch_chat;
use crate::history;

/// Without a heartbeat for this long a process is taken for dead.
const DEAD_AFTER: Micros = 15 * SECOND;
/// Most generations that are read at once.
const BATCH: i64 = 100;

struct Orphan {
    id: String,
    chat_id: String,
    user_id: String,
    model: String,
    upstream_id: Option<String>,
    started_at: Option<Micros>,
    first_token_at: Option<Micros>,
    heartbeat_at: Micros,
    prompt_id: Option<String>,
    markdown: String,
}

impl FromRow for Orphan {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            chat_id: row.get("chat_id")?,
            user_id: row.get("user_id")?,
            model: row.get("model")?,
            upstream_id: row.get("upstream_id")?,
            started_at: row.get("started_at")?,
            first_token_at: row.get("first_token_at")?,
            heartbeat_at: row.get("heartbeat_at")?,
            prompt_id: row.get("parent_id")?,
            markdown: row.get("markdown")?,
        })
    }
}

impl Engine {
    /// Ends what dead processes left behind; gives how many generations. On SQLite, which one
    /// server uses, every other process is dead; on PostgreSQL those that show no heartbeat. Their
    /// last text becomes HTML when it is first shown.
    ///
    /// # Errors
    /// [`DbError`]; what was ended until then stays ended.
    pub async fn reap(&self) -> Result<usize, DbError> {
        let shared = &self.0;
        let alone = shared.db.engine() == Db::Sqlite;
        let (mut reaped, mut after) = (0, String::new());
        loop {
            let orphans: Vec<Orphan> = shared
                .db
                .all(
                    sql!(
                        "SELECT g.id, g.chat_id, g.user_id, g.model, g.upstream_id, g.started_at, g.first_token_at,
                           g.heartbeat_at, m.parent_id, m.markdown
                         FROM generations g JOIN messages m ON m.id = g.message_id
                         WHERE g.finished_at IS NULL AND g.id > $1
                           AND (g.heartbeat_at < $2 OR (CAST($3 AS BOOLEAN) AND g.replica <> $4))
                         ORDER BY g.id LIMIT $5"
                    ),
                    args![&after, shared.clock.now() - DEAD_AFTER, alone, &shared.replica, BATCH],
                )
                .await?;
            let Some(last) = orphans.last() else { break };
            after.clone_from(&last.id);
            for orphan in &orphans {
                // One of ours may only be slow to be saved.
                if self.live(&orphan.id).is_some() {
                    continue;
                }
                let ended = match self.interrupt(orphan, true).await {
                    Err(error @ DbError::Busy(_)) => return Err(error),
                    // What the ledger does not take must not keep the chat from going on.
                    Err(error) => {
                        tracing::error!(generation.id = orphan.id, error = %error, "an answer is not counted");
                        self.interrupt(orphan, false).await?
                    }
                    Ok(ended) => ended,
                };
                reaped += usize::from(ended);
            }
        }
        if reaped > 0 {
            tracing::warn!(
                generations.interrupted = reaped,
                "answers of a stopped server are marked interrupted"
            );
        }
        Ok(reaped)
    }

    /// Marks one as interrupted and, if `counted`, writes its row in the ledger, if nobody else did.
    async fn interrupt(&self, orphan: &Orphan, counted: bool) -> Result<bool, DbError> {
        let shared = &self.0;
        let at = shared.clock.now();
        let told = match &orphan.prompt_id {
            Some(prompt) if orphan.started_at.is_some() => {
                history::tokens(&history::load(&shared.db, prompt, shared.options.history_chars).await?)
            }
            _ => 0,
        };
        let tokens_out = i64::try_from(estimate_tokens(&orphan.markdown)).unwrap_or(i64::MAX);
        // It was at work at least until its last heartbeat.
        let since_start = |at: Micros| orphan.started_at.map(|start| (at - start).max(0));
        let duration = since_start(orphan.heartbeat_at).unwrap_or(0);
        let ttft = orphan.first_token_at.and_then(since_start);
        let mut tx = shared.db.begin().await?;
        touch_chat(&mut tx, &orphan.chat_id, at).await?;
        let rows = tx
            .run(
                sql!(
                    "UPDATE generations SET state = 'interrupted', finished_at = $2, tokens_out = $3,
                       duration_micros = $4, ttft_micros = $5
                     WHERE id = $1 AND finished_at IS NULL"
                ),
                args![&orphan.id, at, tokens_out, duration, ttft],
            )
            .await?;
        if rows == 0 {
            return Ok(false);
        }
        let call = usage::Call {
            at,
            user_id: &orphan.user_id,
            key_id: None,
            model: &orphan.model,
            upstream_id: orphan.upstream_id.as_deref(),
            purpose: Purpose::Chat,
            outcome: Outcome::Interrupted,
            error_code: None,
            tokens_in: told,
            tokens_out,
            tokens_source: TokensSource::Estimated,
            ttft_micros: ttft,
            duration_micros: duration,
            cost_micros: 0,
        };
        if counted {
            usage::record(&mut tx, &orphan.id, &call).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}
