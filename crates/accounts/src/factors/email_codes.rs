//! Codes by e-mail: weaker than an app or a passkey, so off unless an Admin allows them (SEC-47 to
//! SEC-49). They also prove who somebody is that has neither password nor factor (SEC-57).

use base::db::DbError;
use base::random::hex;
use base::{MINUTE, Micros, SECOND, Tx, args, sql};

use super::Holder;
use crate::Accounts;
use crate::notices::Notice;
use crate::throttle::{Client, Limit, ThrottleError};
use crate::user::User;

/// How long a code is good, in microseconds (SEC-48).
pub const CODE_LIFETIME: Micros = 5 * MINUTE;
const EMAIL_CODE_DIGITS: usize = 8;
/// Wrong tries that a holder has, over all its codes (SEC-49).
const ATTEMPTS: i64 = 5;
/// How long after its last code a holder's wrong tries stay counted.
const TRIES_KEPT: Micros = 10 * MINUTE;
/// Seconds until another code may be sent.
const RESEND_AFTER_SECS: i64 = 60;

/// A code is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeSent {
    /// Seconds until another one may be asked for.
    pub resend_after_secs: i64,
    pub expires_at: Micros,
}

impl Accounts {
    /// Mails a new code; the one before is void, the wrong tries stay counted (SEC-49).
    pub(crate) async fn mail_code(
        &self,
        tx: &mut Tx,
        user: &User,
        holder: Holder<'_>,
        client: &Client,
    ) -> Result<CodeSent, ThrottleError> {
        // The longest wait is the one to tell, and a code that is not sent counts for none. The caller holds
        // the account's row, so nothing comes in between.
        let limits = [Limit::EmailCodeDay, Limit::EmailCodeHour, Limit::EmailCodeMinute];
        for limit in limits {
            let key = self.throttle_key(limit.key(), &user.id);
            self.check_throttles_in(tx, limit, &[key]).await?;
        }
        for limit in limits {
            self.throttle_in(tx, limit, &user.id).await?;
        }
        let number = u64::from_be_bytes(self.random.bytes::<8>()) % 100_000_000;
        let code = format!("{number:08}");
        let now = self.clock.now();
        let expires_at = now + CODE_LIFETIME;
        tx.run(
            sql!(
                "INSERT INTO email_codes (holder, user_id, mac, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (holder) DO UPDATE SET mac = excluded.mac, created_at = excluded.created_at,
                   expires_at = excluded.expires_at"
            ),
            args![holder.id, &user.id, &self.code_mac(holder.id, &code), now, expires_at],
        )
        .await?;
        let notice = Notice::EmailCode { code, for_step_up: holder.for_step_up };
        self.notify(tx, user, &notice, Some(client)).await?;
        Ok(CodeSent { resend_after_secs: RESEND_AFTER_SECS, expires_at })
    }

    /// Until when no code of this session's is taken any more, because five were wrong (SEC-49). A
    /// challenge ends then; a session waits, and after it the tries begin anew.
    pub(crate) async fn codes_used_up(
        &self,
        tx: &mut Tx,
        session_id: &str,
    ) -> Result<Option<Micros>, DbError> {
        let now = self.clock.now();
        tx.run(
            sql!("DELETE FROM email_codes WHERE holder = $1 AND attempts >= $2 AND expires_at <= $3"),
            args![session_id, ATTEMPTS, now - TRIES_KEPT],
        )
        .await?;
        tx.one(
            sql!("SELECT expires_at + $3 FROM email_codes WHERE holder = $1 AND attempts >= $2"),
            args![session_id, ATTEMPTS, TRIES_KEPT],
        )
        .await
    }

    /// Spends a code: one UPDATE counts the try, one DELETE takes the right code away.
    pub(super) async fn spend_email_code(
        &self,
        tx: &mut Tx,
        holder: Holder<'_>,
        code: &str,
    ) -> Result<bool, DbError> {
        let now = self.clock.now();
        let tries = tx
            .run(
                sql!(
                    "UPDATE email_codes SET attempts = attempts + 1
                     WHERE holder = $1 AND user_id = $2 AND expires_at > $3 AND attempts < $4"
                ),
                args![holder.id, holder.user_id, now, ATTEMPTS],
            )
            .await?;
        if tries == 0 {
            return Ok(false);
        }
        let rows = tx
            .run(
                sql!("DELETE FROM email_codes WHERE holder = $1 AND mac = $2 AND expires_at > $3"),
                args![holder.id, &self.code_mac(holder.id, code), now],
            )
            .await?;
        Ok(rows == 1)
    }

    /// When another code may be asked for by this holder, if one was sent within the minute.
    pub async fn code_sent(&self, holder: &str) -> Result<Option<CodeSent>, DbError> {
        let now = self.clock.now();
        let row: Option<(i64, i64)> = self
            .db
            .one(
                sql!("SELECT created_at, expires_at FROM email_codes WHERE holder = $1 AND expires_at > $2"),
                args![holder, now],
            )
            .await?;
        Ok(row.map(|(created_at, expires_at)| CodeSent {
            resend_after_secs: ((created_at + RESEND_AFTER_SECS * SECOND - now + SECOND - 1) / SECOND).max(0),
            expires_at,
        }))
    }

    fn code_mac(&self, holder: &str, code: &str) -> String {
        hex(&self.ring.mac("email-code", format!("{holder}:{code}").as_bytes()))
    }
}

/// Whether a text has the shape of a code: eight digits, perhaps with a blank.
pub(super) fn is_code(text: &str) -> bool {
    text.len() == EMAIL_CODE_DIGITS && text.bytes().all(|b| b.is_ascii_digit())
}
