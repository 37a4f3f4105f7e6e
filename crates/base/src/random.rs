//! Randomness and ids. Tokens come from the operating system; a seeded source exists for tests.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::clock::Micros;

/// The source of randomness. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Random(Option<Arc<Mutex<Seeded>>>);

#[derive(Debug)]
struct Seeded {
    seed: u64,
    counter: u64,
}

impl Random {
    /// The operating system's generator.
    pub fn os() -> Self {
        Self(None)
    }

    /// A repeatable sequence. For tests only: it is no secret.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(Seeded { seed, counter: 0 }))))
    }

    /// `N` random bytes. Without working randomness nothing here is safe, so a failing
    /// operating system generator ends the process.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0u8; N];
        match &self.0 {
            None => {
                if let Err(error) = getrandom::fill(&mut out) {
                    eprintln!("anteroom: the system's random generator failed: {error}");
                    std::process::abort();
                }
            }
            Some(seeded) => {
                let mut seeded = seeded.lock();
                for chunk in out.chunks_mut(32) {
                    seeded.counter += 1;
                    let block = Sha256::new()
                        .chain_update(seeded.seed.to_le_bytes())
                        .chain_update(seeded.counter.to_le_bytes())
                        .finalize();
                    chunk.copy_from_slice(&block[..chunk.len()]);
                }
            }
        }
        out
    }

    /// A 256-bit token as 43 URL-safe characters.
    pub fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<32>())
    }

    /// A UUIDv7 (RFC 9562): ids sort by time and are never secrets (SEC-8).
    pub fn id(&self, now: Micros) -> String {
        let random = self.bytes::<10>();
        let millis = u64::try_from(now / 1_000).unwrap_or(0);
        let mut id = uuid::Builder::from_unix_timestamp_millis(millis, &random);
        // RFC 9562, method 3: the fraction of the millisecond in rand_a, so that ids of one
        // millisecond sort too.
        let fraction = u16::try_from((now.rem_euclid(1_000)) * 4096 / 1_000).unwrap_or(0);
        let mut bytes = *id.as_uuid().as_bytes();
        bytes[6] = 0x70 | u8::try_from(fraction >> 8).unwrap_or(0);
        bytes[7] = (fraction & 0xff) as u8;
        id = uuid::Builder::from_bytes(bytes);
        id.into_uuid().to_string()
    }
}

/// What the database keeps of a 256-bit token: its SHA-256 as lower-case hex. A plain hash is
/// enough because the token itself cannot be guessed.
pub fn token_hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-8
    #[test]
    fn sec_8_ids_are_uuid_v7_and_sort_by_time_within_a_millisecond() {
        let random = Random::os();
        let ids: Vec<String> = (0..2_000).map(|i| random.id(1_800_000_000_000_000 + i * 3)).collect();
        let mut sorted = ids.clone();
        sorted.sort();
        assert_eq!(ids, sorted);
        assert!(ids.iter().all(|id| id.len() == 36 && id.as_bytes()[14] == b'7'));
    }

    #[test]
    fn a_token_carries_256_bits() {
        let random = Random::os();
        assert_eq!(random.token().len(), 43);
        assert_ne!(random.token(), random.token());
        assert_eq!(token_hash("x").len(), 64);
    }
}
