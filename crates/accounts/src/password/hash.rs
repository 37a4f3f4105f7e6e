//! argon2id in PHC strings, off the async threads and behind a bounded queue (SEC-18, 19, 20).

use std::collections::BTreeMap;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base::Random;
use base::seal::hmac_sha256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

const SALT: usize = 16;
const OUTPUT: usize = 32;

/// argon2id's cost. The default is OWASP's first choice (Password Storage Cheat Sheet).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HashParams {
    pub memory_kib: u32,
    pub iterations: u32,
    pub parallelism: u32,
}

impl Default for HashParams {
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2, parallelism: 1 }
    }
}

impl HashParams {
    /// Whether a stored string may ask for this much work (SEC-21).
    fn is_bounded(self) -> bool {
        self.memory_kib <= 128 * 1024 && self.iterations <= 10 && self.parallelism <= 4
    }

    fn is_weaker_than(self, other: Self) -> bool {
        self.memory_kib < other.memory_kib
            || self.iterations < other.iterations
            || self.parallelism < other.parallelism
    }
}

/// The queue is full; the caller answers 503 with Retry-After.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many people are signing in at this moment; try again in {} seconds", Self::RETRY_AFTER_SECS)]
pub struct Busy;

impl Busy {
    pub const RETRY_AFTER_SECS: i64 = 2;
}

/// What a verification found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub ok: bool,
    /// The password is right, and its hash is older or weaker than those made now.
    pub needs_rehash: bool,
}

/// Hashes and verifies passwords. Cloning shares the queue.
#[derive(Clone)]
pub struct Hasher(Arc<Inner>);

struct Inner {
    params: HashParams,
    pepper: Option<Pepper>,
    random: Random,
    /// Running and waiting calls.
    queue: Arc<Semaphore>,
    /// Permits of `queue` when nobody is there.
    places: usize,
    /// Running calls.
    slots: Arc<Semaphore>,
    /// argon2's memory while others wait: asking the system for 19 MiB each time costs a tenth of
    /// the hashes. Given back when nobody is left.
    spare: Mutex<Vec<Vec<Block>>>,
    calls: Mutex<BTreeMap<HashParams, u64>>,
}

struct Pepper {
    key: [u8; 32],
    /// Stored as the PHC string's `keyid`, so that a pepper can be added later.
    id: String,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher").field("params", &self.0.params).finish_non_exhaustive()
    }
}

impl Hasher {
    /// `threads` hashes run at once and `queue` more may wait.
    pub fn new(
        random: Random,
        params: HashParams,
        pepper: Option<[u8; 32]>,
        threads: usize,
        queue: usize,
    ) -> Self {
        let threads = threads.max(1);
        let pepper = pepper
            .map(|key| Pepper { id: STANDARD_NO_PAD.encode(&hmac_sha256(&key, b"pepper id")[..6]), key });
        Self(Arc::new(Inner {
            params,
            pepper,
            random,
            queue: Arc::new(Semaphore::new(threads + queue)),
            places: threads + queue,
            slots: Arc::new(Semaphore::new(threads)),
            spare: Mutex::default(),
            calls: Mutex::new(BTreeMap::new()),
        }))
    }

    /// The PHC string of a password, with a salt of its own.
    pub async fn hash(&self, password: &str) -> Result<String, Busy> {
        let inner = self.0.clone();
        let password = password.to_owned();
        self.run(move || {
            let salt = inner.random.bytes::<SALT>();
            let key_id = inner.pepper.as_ref().map(|pepper| pepper.id.clone());
            let output = inner.compute(inner.params, key_id.as_deref(), &salt, &password)?;
            Some(Phc { params: inner.params, key_id, salt: salt.to_vec(), output: output.to_vec() }.encode())
        })
        .await?
        .ok_or(Busy)
    }

    /// Compares a password with what is stored. Without anything stored (an unknown person, an
    /// account without password) the same work is done and the answer is no (SEC-25).
    pub async fn verify(&self, stored: Option<&str>, password: &str) -> Result<Verified, Busy> {
        let inner = self.0.clone();
        let stored = stored.map(str::to_owned);
        let password = password.to_owned();
        self.run(move || inner.verify(stored.as_deref(), &password)).await
    }

    /// How many argon2id computations ran so far, by their parameters.
    pub fn hash_calls(&self) -> BTreeMap<HashParams, u64> {
        self.0.calls.lock().clone()
    }

    /// The parameters of new hashes.
    pub fn params(&self) -> HashParams {
        self.0.params
    }

    /// Runs work of the processor's on the blocking pool, a few at a time; past the queue it is
    /// refused (SEC-19).
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let queued = self.0.queue.clone().try_acquire_owned().map_err(|_| Busy)?;
        let slot = self.0.slots.clone().acquire_owned().await.map_err(|_| Busy)?;
        tokio::task::spawn_blocking(move || {
            // Held here, so that a caller that goes away does not free the slot early.
            let _held = (queued, slot);
            work()
        })
        .await
        .map_err(|_| Busy)
    }
}

impl Inner {
    fn verify(&self, stored: Option<&str>, password: &str) -> Verified {
        let parsed = stored.and_then(Phc::parse).filter(|phc| phc.params.is_bounded());
        if stored.is_some() && parsed.is_none() {
            tracing::warn!("a stored password has a form that this version does not know");
        }
        let Some(phc) = parsed else {
            let key_id = self.pepper.as_ref().map(|pepper| pepper.id.as_str());
            let _ = self.compute(self.params, key_id, &[0; SALT], password);
            return Verified::default();
        };
        let Some(output) = self.compute(phc.params, phc.key_id.as_deref(), &phc.salt, password) else {
            return Verified::default();
        };
        let ok = bool::from(output.as_slice().ct_eq(&phc.output));
        let current_key = self.pepper.as_ref().map(|pepper| &pepper.id);
        let older = phc.params.is_weaker_than(self.params)
            || phc.salt.len() < SALT
            || (current_key.is_some() && phc.key_id.as_ref() != current_key);
        Verified { ok, needs_rehash: ok && older }
    }

    /// Nothing where the parameters are out of argon2's range, or the pepper is gone.
    fn compute(
        &self,
        params: HashParams,
        key_id: Option<&str>,
        salt: &[u8],
        password: &str,
    ) -> Option<[u8; OUTPUT]> {
        let peppered = match (key_id, &self.pepper) {
            (None, _) => None,
            (Some(id), Some(pepper)) if pepper.id == id => {
                Some(hmac_sha256(&pepper.key, password.as_bytes()))
            }
            (Some(_), _) => {
                tracing::error!("a password was stored with a pepper that is not configured");
                Some([0; 32])
            }
        };
        let input = peppered.as_ref().map_or(password.as_bytes(), <[u8; 32]>::as_slice);
        *self.calls.lock().entry(params).or_default() += 1;
        let costs =
            Params::new(params.memory_kib, params.iterations, params.parallelism, Some(OUTPUT)).ok()?;
        let mut output = [0; OUTPUT];
        let mut memory = self.spare.lock().pop().unwrap_or_default();
        memory.resize(costs.block_count(), Block::default());
        let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, costs)
            .hash_password_into_with_memory(input, salt, &mut output, &mut memory)
            .inspect_err(|error| tracing::error!(%error, "argon2 failed"));
        self.keep(memory);
        done.ok()?;
        Some(output)
    }

    /// Keeps a call's memory for the next one, if there is another than this.
    fn keep(&self, memory: Vec<Block>) {
        let mut spare = self.spare.lock();
        if self.queue.available_permits() + 1 < self.places {
            spare.push(memory);
        } else {
            *spare = Vec::new();
        }
    }
}

/// A stored argon2id hash:
/// `$argon2id$v=19$m=19456,t=2,p=1[,keyid=…]$<salt>$<output>`, base64 without padding.
#[derive(Debug, PartialEq, Eq)]
struct Phc {
    params: HashParams,
    key_id: Option<String>,
    salt: Vec<u8>,
    output: Vec<u8>,
}

impl Phc {
    fn encode(&self) -> String {
        let HashParams { memory_kib, iterations, parallelism } = self.params;
        let key_id = self.key_id.as_ref().map(|id| format!(",keyid={id}")).unwrap_or_default();
        format!(
            "$argon2id$v=19$m={memory_kib},t={iterations},p={parallelism}{key_id}${}${}",
            STANDARD_NO_PAD.encode(&self.salt),
            STANDARD_NO_PAD.encode(&self.output)
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('$');
        let ("", "argon2id", "v=19") = (parts.next()?, parts.next()?, parts.next()?) else {
            return None;
        };
        let (mut memory_kib, mut iterations, mut parallelism, mut key_id) = (None, None, None, None);
        for pair in parts.next()?.split(',') {
            let (name, value) = pair.split_once('=')?;
            match name {
                "m" => memory_kib = Some(value.parse().ok()?),
                "t" => iterations = Some(value.parse().ok()?),
                "p" => parallelism = Some(value.parse().ok()?),
                "keyid" => key_id = Some(value.to_owned()),
                _ => return None,
            }
        }
        let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let output = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        if parts.next().is_some() || output.len() != OUTPUT {
            return None;
        }
        let params =
            HashParams { memory_kib: memory_kib?, iterations: iterations?, parallelism: parallelism? };
        Some(Self { params, key_id, salt, output })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;

    const TINY: HashParams = HashParams { memory_kib: 64, iterations: 1, parallelism: 1 };

    fn hasher(pepper: Option<[u8; 32]>, params: HashParams) -> Hasher {
        Hasher::new(Random::os(), params, pepper, 2, 8)
    }

    /// SEC-18
    #[tokio::test]
    async fn sec_18_the_default_is_argon2id_with_owasps_parameters_and_a_salt_of_16_bytes() {
        let hasher = hasher(None, HashParams::default());
        let stored = hasher.hash("correct horse battery").await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_eq!(Phc::parse(&stored).unwrap().salt.len(), 16);
        assert_ne!(stored, hasher.hash("correct horse battery").await.unwrap());
        assert_eq!(
            hasher.verify(Some(&stored), "correct horse battery").await.unwrap(),
            Verified { ok: true, needs_rehash: false }
        );
        assert_eq!(hasher.verify(Some(&stored), "Correct horse battery").await.unwrap(), Verified::default());
        assert_eq!(hasher.hash_calls(), BTreeMap::from([(HashParams::default(), 4)]));
    }

    /// The string is a test vector of the argon2 reference implementation (its `test.c`).
    #[tokio::test]
    async fn a_string_of_another_implementation_verifies_and_is_renewed_when_weaker() {
        let theirs = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let verified = hasher(None, HashParams::default()).verify(Some(theirs), "password").await.unwrap();
        // Its salt is 8 bytes: right, and to be renewed.
        assert_eq!(verified, Verified { ok: true, needs_rehash: true });
        let weak = hasher(None, TINY).hash("pass").await.unwrap();
        let verified = hasher(None, HashParams::default()).verify(Some(&weak), "pass").await.unwrap();
        assert_eq!(verified, Verified { ok: true, needs_rehash: true });
    }

    #[tokio::test]
    async fn what_cannot_be_read_or_asks_for_too_much_costs_one_ordinary_hash_and_is_refused() {
        let hasher = hasher(None, TINY);
        let huge = "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        for stored in [None, Some(""), Some("md5:1"), Some(huge), Some("$argon2id$v=19$m=1$x$y")] {
            assert_eq!(hasher.verify(stored, "x").await.unwrap(), Verified::default());
        }
        assert_eq!(hasher.hash_calls(), BTreeMap::from([(TINY, 5)]));
    }

    /// SEC-20
    #[tokio::test]
    async fn sec_20_a_pepper_is_needed_and_can_be_added_later() {
        let plain = hasher(None, TINY).hash("pass").await.unwrap();
        let peppered = hasher(Some([7; 32]), TINY);
        assert_eq!(
            peppered.verify(Some(&plain), "pass").await.unwrap(),
            Verified { ok: true, needs_rehash: true }
        );
        let stored = peppered.hash("pass").await.unwrap();
        assert!(stored.contains(",keyid="), "{stored}");
        assert_eq!(
            peppered.verify(Some(&stored), "pass").await.unwrap(),
            Verified { ok: true, needs_rehash: false }
        );
        assert!(!hasher(None, TINY).verify(Some(&stored), "pass").await.unwrap().ok);
        assert!(!hasher(Some([8; 32]), TINY).verify(Some(&stored), "pass").await.unwrap().ok);
    }

    /// SEC-19
    #[tokio::test]
    async fn sec_19_past_its_queue_the_hasher_says_busy_at_once() {
        let hasher = Hasher::new(Random::os(), TINY, None, 1, 2);
        let slot = hasher.0.slots.clone().acquire_owned().await.unwrap();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.hash("x").await })
            })
            .collect();
        while hasher.0.queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hasher.hash("x").await, Err(Busy));
        assert!(hasher.0.spare.lock().is_empty());
        drop(slot);
        for task in waiting {
            task.await.unwrap().unwrap();
        }
        assert!(hasher.hash("x").await.is_ok());
        // Nobody waits, nothing is kept.
        assert!(hasher.0.spare.lock().is_empty());
    }

    #[tokio::test]
    async fn memory_that_another_call_used_changes_no_hash() {
        let hasher = hasher(None, TINY);
        let stored = hasher.hash("pass").await.unwrap();
        for size in [64, 128, 16] {
            hasher.0.spare.lock().push(vec![Block::new(); size]);
            assert!(hasher.verify(Some(&stored), "pass").await.unwrap().ok);
        }
        let _waiting = hasher.0.queue.clone().acquire_owned().await.unwrap();
        for right in [true, false, true, true] {
            let password = if right { "pass" } else { "other" };
            assert_eq!(hasher.verify(Some(&stored), password).await.unwrap().ok, right);
            assert_eq!(hasher.0.spare.lock().len(), 1);
        }
    }
}
