//! Clearing away what is over, in small batches, so that no write waits long.

use base::db::DbError;
use base::{DAY, args, sql};

use crate::Accounts;

/// Rows of one kind that one call removes at most.
const BATCH: i64 = 500;
/// An ended session says for a while whose prompt was under way (see `session_owner`).
const KEEP_SESSION_DAYS: i64 = 7;
/// How long a sent or given-up mail stays for the Admin.
const KEEP_MAIL_DAYS: i64 = 30;
/// How long a used or expired token stays, so that its link can say so.
const KEEP_TOKEN_DAYS: i64 = 7;

/// What a call removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub rows: u64,
    /// Whether another call now would find more.
    pub more: bool,
}

impl Accounts {
    /// Removes expired sessions, challenges, ceremonies, trips to providers, pending links, codes by
    /// e-mail, secrets that nobody confirmed, tokens, counters and unconfirmed sign-ups, requests for
    /// reset links that nobody took up, and old mail: at most 500 of each. The clean-up job calls it
    /// again while there is more.
    pub async fn sweep(&self) -> Result<Swept, DbError> {
        let now = self.clock.now();
        let batches = [
            (
                sql!("DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at <= $1 LIMIT $2)"),
                now - KEEP_SESSION_DAYS * DAY,
            ),
            (
                sql!("DELETE FROM challenges WHERE id IN (SELECT id FROM challenges WHERE expires_at <= $1 LIMIT $2)"),
                now,
            ),
            (
                sql!(
                    "DELETE FROM passkey_ceremonies WHERE id IN
                       (SELECT id FROM passkey_ceremonies WHERE expires_at <= $1 LIMIT $2)"
                ),
                now,
            ),
            (
                sql!(
                    "DELETE FROM oauth_states WHERE state_hash IN
                       (SELECT state_hash FROM oauth_states WHERE expires_at <= $1 LIMIT $2)"
                ),
                now,
            ),
            (
                sql!(
                    "DELETE FROM totp_factors WHERE id IN
                       (SELECT id FROM totp_factors WHERE confirmed_at IS NULL AND expires_at <= $1 LIMIT $2)
                     AND confirmed_at IS NULL"
                ),
                now,
            ),
            (
                sql!(
                    "DELETE FROM pending_links WHERE token_hash IN
                       (SELECT token_hash FROM pending_links WHERE expires_at <= $1 LIMIT $2) AND expires_at <= $1"
                ),
                now,
            ),
            (
                sql!(
                    "DELETE FROM email_codes WHERE holder IN
                       (SELECT holder FROM email_codes WHERE expires_at <= $1 LIMIT $2) AND expires_at <= $1"
                ),
                // The wrong tries count as long as a challenge may live (SEC-49).
                now - crate::gate::CHALLENGE_LIFETIME,
            ),
            (
                sql!(
                    "DELETE FROM reset_requests WHERE id IN
                       (SELECT id FROM reset_requests WHERE created_at <= $1 LIMIT $2)"
                ),
                now - DAY,
            ),
            (
                sql!(
                    "DELETE FROM one_time_tokens WHERE token_hash IN
                       (SELECT token_hash FROM one_time_tokens WHERE expires_at <= $1 LIMIT $2)"
                ),
                now - KEEP_TOKEN_DAYS * DAY,
            ),
            (
                sql!(
                    "DELETE FROM throttles WHERE key IN
                       (SELECT key FROM throttles WHERE window_ends_at <= $1 LIMIT $2) AND window_ends_at <= $1"
                ),
                now,
            ),
            (
                sql!(
                    "DELETE FROM users WHERE id IN
                       (SELECT id FROM users WHERE expires_at IS NOT NULL AND expires_at <= $1 LIMIT $2)
                     AND expires_at IS NOT NULL AND expires_at <= $1"
                ),
                now,
            ),
            (
                sql!(
                    "DELETE FROM mail_outbox WHERE id IN
                       (SELECT id FROM mail_outbox WHERE sent_at <= $1 LIMIT $2)"
                ),
                now - KEEP_MAIL_DAYS * DAY,
            ),
            (
                sql!(
                    "DELETE FROM mail_outbox WHERE id IN
                       (SELECT id FROM mail_outbox WHERE sent_at IS NULL AND next_attempt_at = 9223372036854775807
                          AND created_at <= $1 LIMIT $2)"
                ),
                now - KEEP_MAIL_DAYS * DAY,
            ),
        ];
        let mut swept = Swept::default();
        for (statement, before) in batches {
            // Most sweeps find little: a transaction each keeps them short.
            let rows = self.db.run(statement, args![before, BATCH]).await?;
            swept.rows += rows;
            swept.more |= rows >= u64::try_from(BATCH).unwrap_or(u64::MAX);
        }
        Ok(swept)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;
    use crate::testing;
    use base::HOUR;

    /// SEC-11
    #[tokio::test]
    async fn sec_11_unconfirmed_sign_ups_go_and_the_confirmed_stay() {
        let t = testing::accounts("sweep").await;
        let ann = t.person("ann").await;
        let prepared = t.prepared("ben").await;
        let mut tx = t.db.begin().await.unwrap();
        t.insert_pending(&mut tx, &prepared, true).await.unwrap();
        tx.commit().await.unwrap();
        t.session("ann").await;
        assert_eq!(t.sweep().await.unwrap(), Swept::default());
        t.clock.advance(72 * HOUR);
        assert_eq!(t.sweep().await.unwrap().rows, 1 + 1, "the sign-up and one counter");
        let left: Vec<String> = t.db.all(sql!("SELECT id FROM users"), &[]).await.unwrap();
        assert_eq!(left, [ann.id]);
        t.clock.advance(30 * DAY);
        let swept = t.sweep().await.unwrap();
        assert!(swept.rows >= 1 && !swept.more);
        let left: Option<i64> = t.db.one(sql!("SELECT COUNT(*) FROM sessions"), &[]).await.unwrap();
        assert_eq!(left, Some(0));
    }

    #[tokio::test]
    async fn a_large_heap_goes_batch_by_batch() {
        let t = testing::accounts("sweep-many").await;
        let mut tx = t.db.begin().await.unwrap();
        for n in 0..700 {
            crate::throttle::count_up(&mut tx, &format!("k{n}"), 10, 1).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(t.sweep().await.unwrap(), Swept { rows: 500, more: true });
        assert_eq!(t.sweep().await.unwrap(), Swept { rows: 200, more: false });
    }
}
