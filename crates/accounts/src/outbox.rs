//! Mail waiting to be sent. It is queued in the transaction of what it tells about, and its
//! bodies, which may hold live links, are sealed until they are sent (SEC-62, SEC-63).

use base::db::{DbError, FromRow, Row};
use base::{DAY, HOUR, MINUTE, Micros, Tx, args, sql};

use crate::Accounts;
use crate::words::cut;

/// How long a claimed mail is left to the worker that claimed it.
const CLAIM: Micros = 5 * MINUTE;
/// When a mail is given up after this long, the row stays for the Admin until it is swept.
pub const GIVE_UP_AFTER: Micros = 72 * HOUR;

/// A mail that waited so long is stuck, though no attempt failed: nobody sends it.
const STUCK_AFTER: Micros = 10 * MINUTE;

/// What keeps mail from leaving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailTrouble {
    /// Mails that wait after a failed attempt, or for more than ten minutes.
    pub waiting: i64,
    /// Mails of the last 30 days that will not be tried again.
    pub given_up: i64,
    /// When the oldest of those that wait was queued.
    pub oldest_at: Option<Micros>,
    /// Of the newest mail that failed.
    pub last_error: Option<String>,
}

impl FromRow for MailTrouble {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            waiting: row.get("waiting")?,
            given_up: row.get("given_up")?,
            oldest_at: row.get("oldest_at")?,
            last_error: row.get("last_error")?,
        })
    }
}

/// A mail as the templates make it. `Debug` leaves its bodies out: they may hold a live link.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// What it is, for example `verify_email`.
    pub kind: String,
    /// The stored address (SEC-6).
    pub recipient: String,
    pub subject: String,
    pub text: String,
    pub html: String,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("kind", &self.kind).finish_non_exhaustive()
    }
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
            match (
                self.open_body(&row.id, "text", &row.body_text),
                self.open_body(&row.id, "html", &row.body_html),
            ) {
                (Some(text), Some(html)) => claimed.push(ClaimedMail {
                    mail: Mail { kind: row.kind, recipient: row.recipient, subject: row.subject, text, html },
                    id: row.id,
                    attempts: row.attempts,
                    created_at: row.created_at,
                }),
                _ => {
                    tracing::error!(
                        mail.id = row.id,
                        "a queued mail was sealed with a key that is gone; given up"
                    );
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

    /// Mail that does not get through, if there is any.
    pub async fn mail_trouble(&self) -> Result<Option<MailTrouble>, DbError> {
        let now = self.clock.now();
        let trouble: Option<MailTrouble> = self
            .db
            .one(
                sql!(
                    "SELECT COALESCE(CAST(SUM(CASE WHEN next_attempt_at < $1 THEN 1 ELSE 0 END) AS BIGINT), 0) AS waiting,
                       COALESCE(CAST(SUM(CASE WHEN next_attempt_at < $1 THEN 0 ELSE 1 END) AS BIGINT), 0) AS given_up,
                       MIN(CASE WHEN next_attempt_at < $1 THEN created_at END) AS oldest_at,
                       (SELECT last_error FROM mail_outbox WHERE sent_at IS NULL AND last_error IS NOT NULL
                        ORDER BY id DESC LIMIT 1) AS last_error
                     FROM mail_outbox
                     WHERE sent_at IS NULL
                       AND ((next_attempt_at < $1 AND (last_error IS NOT NULL OR created_at <= $2))
                         OR (next_attempt_at = $1 AND created_at > $3))"
                ),
                args![Micros::MAX, now - STUCK_AFTER, now - 30 * DAY],
            )
            .await?;
        Ok(trouble.filter(|trouble| trouble.waiting > 0 || trouble.given_up > 0))
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;
    use crate::testing::{self, TestAccounts};

    fn mail(to: &str) -> Mail {
        Mail {
            kind: "verify_email".into(),
            recipient: to.into(),
            subject: "Confirm".into(),
            text: "https://chat.example/verify-email/SECRET".into(),
            html: "<a href=\"https://chat.example/verify-email/SECRET\">".into(),
        }
    }

    async fn queue(t: &TestAccounts, to: &str) -> String {
        let mut tx = t.db.begin().await.unwrap();
        let id = t.queue_mail(&mut tx, &mail(to)).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// SEC-63
    #[tokio::test]
    async fn sec_63_a_queued_link_is_sealed_and_a_sent_one_is_forgotten() {
        let t = testing::accounts("outbox").await;
        let id = queue(&t, "ann@example.org").await;
        let stored = async || -> Vec<(String, String)> {
            t.db.all(sql!("SELECT body_text, body_html FROM mail_outbox"), &[]).await.unwrap()
        };
        assert!(
            stored().await.iter().all(|(text, html)| !text.contains("SECRET") && !html.contains("SECRET"))
        );
        let claimed = t.claim_due_mail(10).await.unwrap();
        assert_eq!(claimed[0].mail, mail("ann@example.org"));
        assert_eq!((claimed[0].attempts, claimed[0].id.as_str()), (1, id.as_str()));
        assert_eq!(t.waiting_mail_count().await.unwrap(), 1);
        t.mail_sent(&id).await.unwrap();
        assert_eq!(stored().await, [(String::new(), String::new())]);
        assert_eq!(t.waiting_mail_count().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_mail_is_claimed_once_retried_later_and_given_up_at_last() {
        let t = testing::accounts("outbox-retry").await;
        let first = queue(&t, "a@example.org").await;
        t.clock.advance(1);
        let second = queue(&t, "b@example.org").await;
        let ids = |mails: Vec<ClaimedMail>| mails.into_iter().map(|mail| mail.id).collect::<Vec<_>>();
        assert_eq!(ids(t.claim_due_mail(1).await.unwrap()), std::slice::from_ref(&first));
        assert_eq!(ids(t.claim_due_mail(5).await.unwrap()), std::slice::from_ref(&second));
        assert!(t.claim_due_mail(5).await.unwrap().is_empty());
        t.mail_failed(&first, "refused", Some(MINUTE)).await.unwrap();
        assert!(t.claim_due_mail(5).await.unwrap().is_empty());
        t.clock.advance(MINUTE);
        let again = t.claim_due_mail(5).await.unwrap();
        assert_eq!((again[0].id.as_str(), again[0].attempts), (first.as_str(), 2));
        t.mail_failed(&first, "refused", None).await.unwrap();
        // A worker that died gives its claim back.
        t.clock.advance(CLAIM);
        assert_eq!(ids(t.claim_due_mail(5).await.unwrap()), [second]);
        assert_eq!(t.waiting_mail_count().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn trouble_is_what_failed_waits_too_long_or_was_given_up() {
        let t = testing::accounts("outbox-trouble").await;
        let trouble = async || t.mail_trouble().await.unwrap();
        assert_eq!(trouble().await, None);
        let first = queue(&t, "a@example.org").await;
        let queued = t.clock.now();
        assert_eq!(t.claim_due_mail(5).await.unwrap().len(), 1);
        assert_eq!(trouble().await, None, "one that is just being sent is no trouble");
        t.mail_failed(&first, "no route", Some(MINUTE)).await.unwrap();
        let mut expected = MailTrouble {
            waiting: 1,
            given_up: 0,
            oldest_at: Some(queued),
            last_error: Some("no route".into()),
        };
        assert_eq!(trouble().await, Some(expected.clone()));
        t.mail_failed(&first, "no such mailbox", None).await.unwrap();
        t.clock.advance(1);
        let second = queue(&t, "b@example.org").await;
        t.clock.advance(STUCK_AFTER);
        expected.oldest_at = Some(queued + 1);
        expected.given_up = 1;
        expected.last_error = Some("no such mailbox".into());
        assert_eq!(trouble().await, Some(expected));
        t.mail_sent(&second).await.unwrap();
        t.clock.advance(30 * DAY);
        assert_eq!(trouble().await, None, "what was given up long ago is past");
    }

    #[tokio::test]
    async fn parallel_workers_never_send_one_mail_twice() {
        let t = testing::accounts("outbox-race").await;
        for n in 0..30 {
            queue(&t, &format!("p{n}@example.org")).await;
        }
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let accounts = t.accounts.clone();
                tokio::spawn(async move { accounts.claim_due_mail(5).await.unwrap() })
            })
            .collect();
        let mut claimed = Vec::new();
        for task in tasks {
            claimed.extend(task.await.unwrap().into_iter().map(|mail| mail.id));
        }
        claimed.sort();
        claimed.dedup();
        assert_eq!(claimed.len(), 30);
    }

    #[tokio::test]
    async fn a_mail_whose_key_is_gone_is_given_up() {
        let t = testing::accounts("outbox-key").await;
        queue(&t, "ann@example.org").await;
        let mut other = t.accounts.clone();
        other.ring = base::KeyRing::new(&[b"another secret, also longer than 32 bytes"]);
        assert!(other.claim_due_mail(5).await.unwrap().is_empty());
        assert_eq!(t.waiting_mail_count().await.unwrap(), 0);
    }
}
