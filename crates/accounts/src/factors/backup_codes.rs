//! Backup codes: ten codes of 80 bit, each good for one sign-in (SEC-50 to SEC-52).

use base::db::DbError;
use base::random::hex;
use base::{Micros, Tx, args, sql};
use sha2::{Digest, Sha256};

use crate::Accounts;

/// How many a set has.
pub const BACKUP_CODES: usize = 10;
/// Crockford's base 32: no letter that reads like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 16;

/// What is known of a set later: never the codes (SEC-50).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupCodes {
    pub left: i64,
    pub created_at: Micros,
}

impl BackupCodes {
    /// Few enough to make a new set (SEC-52).
    pub fn is_low(&self) -> bool {
        self.left <= 3
    }
}

/// A new code, in groups of four for reading.
fn code(bytes: [u8; 10]) -> String {
    let mut number = bytes.iter().fold(0u128, |number, byte| (number << 8) | u128::from(*byte));
    let mut digits = [0u8; LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(number & 31) as usize];
        number >>= 5;
    }
    let groups: Vec<String> =
        digits.chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join("-")
}

/// What was typed, as the bare code; `None` where it has not the shape of one. Blanks and dashes do
/// not matter, nor do small letters and the letters that read like digits.
pub(super) fn canonical(typed: &str) -> Option<String> {
    let mut out = String::with_capacity(LENGTH);
    for c in typed.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        let c = match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        };
        if out.len() == LENGTH || !c.is_ascii() || !ALPHABET.contains(&(c as u8)) {
            return None;
        }
        out.push(c);
    }
    (out.len() == LENGTH).then_some(out)
}

fn hash(salt: &str, code: &str) -> String {
    hex(&Sha256::new()
        .chain_update(salt.as_bytes())
        .chain_update(b":")
        .chain_update(code.as_bytes())
        .finalize())
}

impl Accounts {
    /// Makes a new set and voids the one before. The codes are given here and never again.
    pub(super) async fn make_backup_codes(&self, tx: &mut Tx, user_id: &str) -> Result<Vec<String>, DbError> {
        let now = self.clock.now();
        let id = self.random.id(now);
        let salt = hex(&self.random.bytes::<16>());
        let codes: Vec<String> = (0..BACKUP_CODES).map(|_| code(self.random.bytes::<10>())).collect();
        let hashes: Vec<String> = codes.iter().map(|code| hash(&salt, &code.replace('-', ""))).collect();
        tx.run(sql!("DELETE FROM backup_code_sets WHERE user_id = $1"), args![user_id]).await?;
        tx.run(
            sql!("INSERT INTO backup_code_sets (id, user_id, salt, created_at) VALUES ($1, $2, $3, $4)"),
            args![&id, user_id, &salt, now],
        )
        .await?;
        tx.run(
            sql!("INSERT INTO backup_codes (set_id, hash) SELECT $1, value FROM json_each($2)"),
            args![&id, &crate::throttle::json_list(&hashes)],
        )
        .await?;
        Ok(codes)
    }

    /// Spends a code by one conditional UPDATE; gives how many are left, or `None` for a wrong one.
    pub(super) async fn spend_backup_code(
        &self,
        tx: &mut Tx,
        user_id: &str,
        code: &str,
    ) -> Result<Option<i64>, DbError> {
        let set: Option<(String, String)> =
            tx.one(sql!("SELECT id, salt FROM backup_code_sets WHERE user_id = $1"), args![user_id]).await?;
        let Some((set_id, salt)) = set else { return Ok(None) };
        let rows = tx
            .run(
                sql!(
                    "UPDATE backup_codes SET used_at = $3 WHERE set_id = $1 AND hash = $2 AND used_at IS NULL"
                ),
                args![&set_id, &hash(&salt, code), self.clock.now()],
            )
            .await?;
        if rows == 0 {
            return Ok(None);
        }
        let left: Option<i64> = tx
            .one(
                sql!("SELECT COUNT(*) FROM backup_codes WHERE set_id = $1 AND used_at IS NULL"),
                args![&set_id],
            )
            .await?;
        Ok(Some(left.unwrap_or(0)))
    }

    /// How many codes are left of the account's set; `None` without one.
    pub async fn backup_codes(&self, user_id: &str) -> Result<Option<BackupCodes>, DbError> {
        let row: Option<(i64, i64)> = self
            .db
            .one(
                sql!(
                    "SELECT (SELECT COUNT(*) FROM backup_codes b WHERE b.set_id = s.id AND b.used_at IS NULL),
                       s.created_at
                     FROM backup_code_sets s WHERE s.user_id = $1"
                ),
                args![user_id],
            )
            .await?;
        Ok(row.map(|(left, created_at)| BackupCodes { left, created_at }))
    }
}

#[cfg(test)]
mod shape {
    use super::*;

    /// SEC-50
    #[test]
    fn sec_50_a_code_carries_80_bits_and_reads_back_as_it_is_typed() {
        assert_eq!(code([0xff; 10]), "ZZZZ-ZZZZ-ZZZZ-ZZZZ");
        assert_eq!(code([0; 10]), "0000-0000-0000-0000");
        let shown = code([0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x11, 0x22]);
        let bare = shown.replace('-', "");
        assert_eq!(canonical(&shown).as_deref(), Some(&*bare));
        assert_eq!(canonical(&bare.to_lowercase()).as_deref(), Some(&*bare));
        assert_eq!(canonical(" o0il-1111-1111-1111 ").as_deref(), Some("0011111111111111"));
        for wrong in
            ["", "123456", "12345678", "0000-0000-0000-000U", "00000000000000000", "é000-0000-0000-0000"]
        {
            assert_eq!(canonical(wrong), None, "{wrong}");
        }
    }
}
