//! Mail waiting to be sent. It is queued in the transaction of what it tells about, and its
//! bodies, which may hold live links, are sealed until they are sent (SEC-62, SEC-63).

use base::db::{DbError, FromRow, Row};
use base::{HOUR, MINUTE, Micros, Tx, args, sql};

use crate::Accounts;
use crate::words::cut;

/// How long a claimed mail is left to the worker that claimed it.
const CLAIM: Micros = 5 * MINUTE;
/// When a mail is given up after this long, the row stays for the Admin until it is swept.
pub const GIVE_UP_AFTER: Micros = 72 * HOUR;

/// A mail as the templates make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// What it is, for example `verify_email`.
    pub kind: String,
    /// The stored address (SEC-6).
    pub recipient: String,
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// A mail that this worker may send now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedMail {
    pub id: String,
    pub mail: Mail,
    /// Attempts with this one, from 1.
    pub attempts: i64,
    pub created_at: Micros,
}

struct ClaimedRow {
    id: String,
    kind: String,
    recipient: String,
    subject: String,
    body_text: String,
    body_html: String,
    attempts: i64,
    created_at: Micros,
}

impl FromRow for ClaimedRow {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            kind: row.get("kind")?,
            recipient: row.get("recipient")?,
            subject: row.get("subject")?,
            body_text: row.get("body_text")?,
            body_html: row.get("body_html")?,
            attempts: row.get("attempts")?,
            created_at: row.get("created_at")?,
        })
    }
}

impl Accounts {
    /// Puts a mail into the outbox; it is sent once the transaction is committed. Gives its id.
    pub async fn queue_mail(&self, tx: &mut Tx, mail: &Mail) -> Result<String, DbError> {
        let now = self.clock.now();
        let id = self.random.id(now);
        let text = self.seal_body(&id, "text", &mail.text)?;
        let html = self.seal_body(&id, "html", &mail.html)?;
        tx.run(
            sql!(
                "INSERT INTO mail_outbox (id, kind, recipient, subject, body_text, body_html, created_at, next_attempt_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $7)"
            ),
            args![&id, &mail.kind, &mail.recipient, &mail.subject, &text, &html, now],
        )
        .await?;
        Ok(id)
    }

    /// Claims up to `n` mails that are due, oldest first. Two workers never get the same one;
    /// a claim not followed by [`Accounts::mail_sent`] or [`Accounts::mail_failed`] within five
    /// minutes is free again.
    pub async fn claim_due_mail(&self, n: i64) -> Result<Vec<ClaimedMail>, DbError> {
        let now = self.clock.now();
        // Most ticks find nothing: ask before taking the writer.
        let due: Option<i64> = self
            .db
            .one(
                sql!(
                    "SELECT next_attempt_at FROM mail_outbox WHERE sent_at IS NULL AND next_attempt_at <= $1
                     AND (claimed_until IS NULL OR claimed_until <= $1) LIMIT 1"
                ),
                args![now],
            )
            .await?;
        if due.is_none() {
            return Ok(Vec::new());
        }
        let mut tx = self.db.begin().await?;
        let mut rows: Vec<ClaimedRow> = tx
            .all(
                sql!(
                    "UPDATE mail_outbox SET claimed_until = $2, attempts = attempts + 1
                     WHERE id IN (SELECT id FROM mail_outbox WHERE sent_at IS NULL AND next_attempt_at <= $1
                         AND (claimed_until IS NULL OR claimed_until <= $1) ORDER BY next_attempt_at, id LIMIT $3)
                       AND sent_at IS NULL AND (claimed_until IS NULL OR claimed_until <= $1)
                     RETURNING id, kind, recipient, subject, body_text, body_html, attempts, created_at"
                ),
                args![now, now + CLAIM, n],
            )
            .await?;
        tx.commit().await?;
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        let mut claimed = Vec::with_capacity(rows.len());
        for row in rows {
            match (self.open_body(&row.id, "text", &row.body_text), self.open_body(&row.id, "html", &row.body_html)) {
                (Some(text), Some(html)) => claimed.push(ClaimedMail {
                    mail: Mail { kind: row.kind, recipient: row.recipient, subject: row.subject, text, html },
                    id: row.id,
                    attempts: row.attempts,
                    created_at: row.created_at,
                }),
                _ => {
                    tracing::error!(mail.id = row.id, "a queued mail was sealed with a key that is gone; given up");
                    self.mail_failed(&row.id, "sealed with a key that is not in the key ring", None).await?;
                }
            }
        }
        Ok(claimed)
    }

    /// Notes that the mail was handed over; its bodies are forgotten.
    pub async fn mail_sent(&self, id: &str) -> Result<(), DbError> {
        self.db
            .run(
                sql!(
                    "UPDATE mail_outbox SET sent_at = $2, claimed_until = NULL, last_error = NULL, body_text = '',
                     body_html = '' WHERE id = $1"
                ),
                args![id, self.clock.now()],
            )
            .await?;
        Ok(())
    }

    /// Notes a failed attempt: the mail is due again in `retry_in` microseconds, or given up
    /// where that is `None`.
    pub async fn mail_failed(&self, id: &str, error: &str, retry_in: Option<Micros>) -> Result<(), DbError> {
        let next = retry_in.map_or(Micros::MAX, |by| self.clock.now().saturating_add(by));
        self.db
            .run(
                sql!(
                    "UPDATE mail_outbox SET next_attempt_at = $2, claimed_until = NULL, last_error = $3
                     WHERE id = $1 AND sent_at IS NULL"
                ),
                args![id, next, cut(error, 500)],
            )
            .await?;
        Ok(())
    }

    /// How many mails wait to be sent; those given up are not among them.
    pub async fn waiting_mail_count(&self) -> Result<i64, DbError> {
        let count = self
            .db
            .one(
                sql!("SELECT COUNT(*) FROM mail_outbox WHERE sent_at IS NULL AND next_attempt_at < $1"),
                args![Micros::MAX],
            )
            .await?;
        Ok(count.unwrap_or(0))
    }

    fn seal_body(&self, id: &str, part: &str, body: &str) -> Result<String, DbError> {
        self.ring
            .seal(&self.random, &format!("mail-{part}:{id}"), body.as_bytes())
            .map_err(|error| DbError::Other(format!("a mail could not be sealed: {error}")))
    }

    fn open_body(&self, id: &str, part: &str, sealed: &str) -> Option<String> {
        let plain = self.ring.open(&format!("mail-{part}:{id}"), sealed).ok()?;
        String::from_utf8(plain).ok()
    }
}
