//! Secrets at rest: a key ring stretched from the operator's secret key (HKDF-SHA-256, RFC 5869)
//! and XChaCha20-Poly1305 with the owner's ids as associated data (SEC-46).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::random::{Random, hex};

/// Keys derived from the configured secrets: the first seals, all of them open.
#[derive(Clone)]
pub struct KeyRing(Vec<Key>);

#[derive(Clone)]
struct Key {
    id: String,
    root: [u8; 32],
}

/// A sealed value as stored: `v1.<key id>.<nonce and ciphertext in base64url>`.
pub type Sealed = String;

/// Why a sealed value did not open.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the value was sealed with a key that is not in the key ring")]
    UnknownKey,
    #[error("the sealed value is damaged or belongs elsewhere")]
    Damaged,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

impl KeyRing {
    /// A ring from the operator's secrets, newest first. At least one is needed for sealing;
    /// an empty list gives a ring that opens nothing.
    pub fn new(secrets: &[&[u8]]) -> Self {
        Self(
            secrets
                .iter()
                .map(|secret| {
                    let root = expand(secret, b"anteroom root");
                    let id = hex(&expand(&root, b"key id")[..4]);
                    Key { id, root }
                })
                .collect(),
        )
    }

    /// The id of the sealing key: eight hex digits that say nothing about the key itself.
    pub fn current_id(&self) -> &str {
        self.0.first().map_or("", |key| &key.id)
    }

    /// Seals `plain` so that it opens only with the same `context`
    /// (for example `upstream-key:<id>`).
    pub fn seal(&self, random: &Random, context: &str, plain: &[u8]) -> Result<Sealed, SealError> {
        let key = self.0.first().ok_or(SealError::UnknownKey)?;
        let nonce = random.bytes::<24>();
        let mut out = nonce.to_vec();
        out.extend(
            cipher(key)
                .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: context.as_bytes() })
                .map_err(|_| SealError::Damaged)?,
        );
        Ok(format!("v1.{}.{}", key.id, URL_SAFE_NO_PAD.encode(out)))
    }

    /// Opens what [`KeyRing::seal`] made with the same `context`.
    pub fn open(&self, context: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let mut parts = sealed.splitn(3, '.');
        let (Some("v1"), Some(id), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SealError::Damaged);
        };
        let key = self.0.iter().find(|key| key.id == id).ok_or(SealError::UnknownKey)?;
        let data = URL_SAFE_NO_PAD.decode(data).map_err(|_| SealError::Damaged)?;
        let Some((nonce, ciphertext)) = data.split_first_chunk::<24>() else {
            return Err(SealError::Damaged);
        };
        cipher(key)
            .decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: context.as_bytes() })
            .map_err(|_| SealError::Damaged)
    }

    /// HMAC-SHA-256 over `data` with a sub-key for `purpose`, by the sealing key.
    pub fn mac(&self, purpose: &str, data: &[u8]) -> [u8; 32] {
        let root = self.0.first().map_or([0u8; 32], |key| key.root);
        hmac_sha256(&expand(&root, purpose.as_bytes()), data)
    }
}

/// HMAC-SHA-256 (RFC 2104) with a 256-bit key.
pub fn hmac_sha256(key: &[u8; 32], data: &[u8]) -> [u8; 32] {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(data);
            mac.finalize().into_bytes().into()
        }
        Err(_) => unreachable!("HMAC takes keys of any length"),
    }
}

/// Compares in constant time. Different lengths are different.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    use subtle::ConstantTimeEq as _;
    a.ct_eq(b).into()
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&expand(&key.root, b"seal").into())
}

fn expand(secret: &[u8], info: &[u8]) -> [u8; 32] {
    let mut out = [0u8; 32];
    if Hkdf::<Sha256>::new(Some(b"anteroom"), secret).expand(info, &mut out).is_err() {
        unreachable!("32 bytes are within HKDF's limit");
    }
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;

    /// SEC-46
    #[test]
    fn sec_46_a_sealed_value_opens_only_in_its_own_context_and_with_its_key() {
        let random = Random::os();
        let old = KeyRing::new(&[b"old secret old secret old secret old"]);
        let both =
            KeyRing::new(&[b"new secret new secret new secret new", b"old secret old secret old secret old"]);
        let sealed = old.seal(&random, "upstream-key:1", b"sk-123").unwrap();
        assert!(!sealed.contains("sk-123"));
        assert_eq!(both.open("upstream-key:1", &sealed).unwrap(), b"sk-123");
        assert!(matches!(old.open("upstream-key:2", &sealed), Err(SealError::Damaged)));
        let other = KeyRing::new(&[b"another secret another secret another"]);
        assert!(matches!(other.open("upstream-key:1", &sealed), Err(SealError::UnknownKey)));
        assert!(both.seal(&random, "x", b"y").unwrap().starts_with(&format!("v1.{}.", both.current_id())));
    }
}
