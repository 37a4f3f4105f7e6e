//! Time-based one-time passwords (RFC 6238 on RFC 4226): SHA-1, six digits, 30 seconds, as every
//! authenticator app knows them (SEC-40 to SEC-46).

use base::db::{DbError, FromRow, Row};
use base::{MINUTE, Micros, SECOND, Tx, args, sql};
use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::Accounts;

/// How long a secret waits to be confirmed, in microseconds (SEC-44).
pub const PENDING_LIFETIME: Micros = 10 * MINUTE;
/// Length of a step (RFC 6238, X), in microseconds.
pub(super) const STEP: Micros = 30 * SECOND;
/// 160 bits, as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;

/// The code of a step (RFC 4226, 5.3), as six digits.
fn code_at(secret: &[u8], step: i64) -> [u8; 6] {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let offset = usize::from(digest[19] & 0x0f);
    let mut number = [0u8; 4];
    number.copy_from_slice(&digest[offset..offset + 4]);
    let mut rest = (u32::from_be_bytes(number) & 0x7fff_ffff) % 1_000_000;
    let mut code = [b'0'; 6];
    for digit in code.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    code
}

/// The step that `code` belongs to: the current one or the one before (SEC-41), newer than `after`
/// (SEC-42). Every candidate is compared, each in constant time (SEC-43).
fn step_of(secret: &[u8], code: &str, now: Micros, after: i64) -> Option<i64> {
    let current = now.div_euclid(STEP);
    let mut found = None;
    for step in [current - 1, current] {
        let same = base::seal::same(&code_at(secret, step), code.as_bytes());
        if same && step > after {
            found = Some(step);
        }
    }
    found
}

/// Whether a text has the shape of a code: six digits.
pub(super) fn is_code(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit())
}

/// The active factor, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totp {
    pub confirmed_at: Micros,
    pub last_used_at: Option<Micros>,
}

impl FromRow for Totp {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { confirmed_at: row.get("confirmed_at")?, last_used_at: row.get("last_used_at")? })
    }
}

/// A secret that waits for its first code. It is shown only while it does (SEC-45).
#[derive(Clone, PartialEq, Eq)]
pub struct PendingTotp {
    /// Base32 without padding, for typing.
    pub secret: String,
    /// What the QR code holds (the Key URI format of authenticator apps).
    pub uri: String,
    /// As the app will call it.
    pub issuer: String,
    pub account: String,
    pub expires_at: Micros,
}

impl std::fmt::Debug for PendingTotp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingTotp").field("account", &self.account).finish_non_exhaustive()
    }
}

impl PendingTotp {
    fn new(secret: &[u8], issuer: &str, account: &str, expires_at: Micros) -> Self {
        let secret = BASE32_NOPAD.encode(secret);
        // A colon separates the two in the label, so neither may hold one.
        let (issuer, account) = (issuer.replace(':', " "), account.replace(':', " "));
        let uri = format!(
            "otpauth://totp/{}:{}?secret={secret}&issuer={}&algorithm=SHA1&digits=6&period=30",
            percent(&issuer),
            percent(&account),
            percent(&issuer)
        );
        Self { secret, uri, issuer, account, expires_at }
    }

    /// The secret in groups of four, for reading aloud.
    pub fn grouped(&self) -> String {
        let groups: Vec<&str> =
            self.secret.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
        groups.join(" ")
    }
}

/// Percent-encoding of everything but unreserved characters (RFC 3986, 2.3); apps do not read `+`.
fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// A row of the table.
pub(super) struct Stored {
    pub(super) id: String,
    sealed: String,
    last_step: i64,
    expires_at: Option<Micros>,
}

impl FromRow for Stored {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            sealed: row.get("secret")?,
            last_step: row.get("last_step")?,
            expires_at: row.get("expires_at")?,
        })
    }
}

fn context(user_id: &str, id: &str) -> String {
    format!("totp:{user_id}:{id}")
}

impl Accounts {
    /// Makes a new secret that waits for its first code; one that waited before is gone, an active
    /// one stays until then (SEC-44). It belongs to `holder`, the id of the session or the challenge:
    /// neither a second session sees it, nor does anybody confirm a secret that somebody else began.
    /// `account` is what the app shows beside the site's name.
    pub async fn begin_totp(
        &self,
        user_id: &str,
        holder: &str,
        account: &str,
    ) -> Result<PendingTotp, DbError> {
        let now = self.clock.now();
        let id = self.random.id(now);
        let secret = self.random.bytes::<SECRET_BYTES>();
        let sealed = self
            .ring
            .seal(&self.random, &context(user_id, &id), &secret)
            .map_err(|error| DbError::Other(format!("a secret could not be sealed: {error}")))?;
        let expires_at = now + PENDING_LIFETIME;
        let mut tx = self.db.begin().await?;
        // Parallel requests take turns on the person's row.
        tx.run(sql!("UPDATE users SET factor_failures = factor_failures WHERE id = $1"), args![user_id])
            .await?;
        tx.run(sql!("DELETE FROM totp_factors WHERE user_id = $1 AND confirmed_at IS NULL"), args![user_id])
            .await?;
        tx.run(
            sql!(
                "INSERT INTO totp_factors (id, user_id, secret, holder, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6)"
            ),
            args![&id, user_id, &sealed, holder, now, expires_at],
        )
        .await?;
        tx.commit().await?;
        Ok(PendingTotp::new(&secret, &self.settings().general.site_name, account, expires_at))
    }

    /// The secret of this holder that waits for its first code, if one does.
    pub async fn pending_totp(
        &self,
        user_id: &str,
        holder: &str,
        account: &str,
    ) -> Result<Option<PendingTotp>, DbError> {
        let stored: Option<Stored> = self
            .db
            .one(
                sql!(
                    "SELECT id, secret, last_step, expires_at FROM totp_factors
                     WHERE user_id = $1 AND holder = $3 AND confirmed_at IS NULL AND expires_at > $2"
                ),
                args![user_id, self.clock.now(), holder],
            )
            .await?;
        let Some(stored) = stored else { return Ok(None) };
        let secret = self.open_totp(user_id, &stored)?;
        let expires_at = stored.expires_at.unwrap_or_default();
        Ok(Some(PendingTotp::new(&secret, &self.settings().general.site_name, account, expires_at)))
    }

    /// Forgets a secret that waits.
    pub async fn cancel_totp(&self, user_id: &str) -> Result<(), DbError> {
        self.db
            .run(sql!("DELETE FROM totp_factors WHERE user_id = $1 AND confirmed_at IS NULL"), args![user_id])
            .await?;
        Ok(())
    }

    fn open_totp(&self, user_id: &str, stored: &Stored) -> Result<Vec<u8>, DbError> {
        self.ring.open(&context(user_id, &stored.id), &stored.sealed).map_err(|error| DbError::Corrupt {
            column: format!("totp_factors.secret of {}", stored.id),
            problem: error.to_string(),
        })
    }

    /// Spends a code of the active factor: right only once, and only newer than every code before
    /// (SEC-42), by one conditional UPDATE.
    pub(super) async fn spend_totp(&self, tx: &mut Tx, user_id: &str, code: &str) -> Result<bool, DbError> {
        let stored: Option<Stored> = tx
            .one(
                sql!(
                    "SELECT id, secret, last_step, expires_at FROM totp_factors
                     WHERE user_id = $1 AND confirmed_at IS NOT NULL"
                ),
                args![user_id],
            )
            .await?;
        let Some(stored) = stored else { return Ok(false) };
        let secret = self.open_totp(user_id, &stored)?;
        let now = self.clock.now();
        let Some(step) = step_of(&secret, code, now, stored.last_step) else { return Ok(false) };
        let rows = tx
            .run(
                sql!("UPDATE totp_factors SET last_step = $2, last_used_at = $3 WHERE id = $1 AND last_step < $2"),
                args![&stored.id, step, now],
            )
            .await?;
        Ok(rows == 1)
    }

    /// Makes the secret that waits for this holder the active one if `code` is its own; the code is
    /// spent with it. Gives whether an older one went, or `None` for a wrong code or where nothing waits.
    pub(crate) async fn activate_totp(
        &self,
        tx: &mut Tx,
        user_id: &str,
        holder: &str,
        code: &str,
    ) -> Result<Option<bool>, DbError> {
        let now = self.clock.now();
        let stored: Option<Stored> = tx
            .one(
                sql!(
                    "SELECT id, secret, last_step, expires_at FROM totp_factors
                     WHERE user_id = $1 AND holder = $3 AND confirmed_at IS NULL AND expires_at > $2"
                ),
                args![user_id, now, holder],
            )
            .await?;
        let Some(stored) = stored else { return Ok(None) };
        let secret = self.open_totp(user_id, &stored)?;
        let Some(step) = step_of(&secret, code, now, stored.last_step) else { return Ok(None) };
        let replaced = tx
            .run(
                sql!("DELETE FROM totp_factors WHERE user_id = $1 AND confirmed_at IS NOT NULL"),
                args![user_id],
            )
            .await?;
        let rows = tx
            .run(
                sql!(
                    "UPDATE totp_factors SET confirmed_at = $2, expires_at = NULL, holder = NULL, last_step = $3
                     WHERE id = $1 AND confirmed_at IS NULL"
                ),
                args![&stored.id, now, step],
            )
            .await?;
        Ok((rows == 1).then_some(replaced > 0))
    }
}

#[cfg(test)]
mod rfc {
    use super::*;

    /// SEC-40: the last six digits of the published test values (RFC 6238, appendix B).
    #[test]
    fn sec_40_the_codes_are_those_of_rfc_6238() {
        let secret = b"12345678901234567890";
        for (seconds, code) in [
            (59, b"287082"),
            (1_111_111_109, b"081804"),
            (1_111_111_111, b"050471"),
            (1_234_567_890, b"005924"),
            (2_000_000_000, b"279037"),
            (20_000_000_000_i64, b"353130"),
        ] {
            assert_eq!(&code_at(secret, seconds / 30), code);
        }
    }

    /// SEC-41, SEC-42
    #[test]
    fn sec_41_the_step_and_the_one_before_and_no_older_or_later_one() {
        let secret = b"12345678901234567890";
        let now = 1_111_111_111 * SECOND;
        let step = now / STEP;
        let text = |step| String::from_utf8_lossy(&code_at(secret, step)).into_owned();
        assert_eq!(step_of(secret, &text(step), now, 0), Some(step));
        assert_eq!(step_of(secret, &text(step - 1), now, 0), Some(step - 1));
        for wrong in [step - 2, step + 1] {
            assert_eq!(step_of(secret, &text(wrong), now, 0), None);
        }
        assert_eq!(step_of(secret, &text(step - 1), now, step - 1), None);
        assert_eq!(step_of(secret, "", now, 0), None);
    }

    /// SEC-40
    #[test]
    fn sec_40_the_uri_names_issuer_and_account_and_holds_no_loose_characters() {
        let pending = PendingTotp::new(&[0; 20], "Büro: Chat & Co", "ann+1@example.org", 1);
        assert_eq!(
            pending.uri,
            "otpauth://totp/B%C3%BCro%20%20Chat%20%26%20Co:ann%2B1%40example.org\
             ?secret=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA&issuer=B%C3%BCro%20%20Chat%20%26%20Co\
             &algorithm=SHA1&digits=6&period=30"
        );
        assert_eq!(pending.grouped(), ["AAAA"; 8].join(" "));
        assert!(!format!("{pending:?}").contains("AAAA"));
    }
}
