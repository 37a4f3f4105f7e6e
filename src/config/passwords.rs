//! `[passwords]`: what a password must be, and how it is hashed.

use std::path::PathBuf;

use super::Profile;
use super::section::section;

/// SEC-18, the OWASP minimum for argon2id with two passes and one lane.
const MEMORY_KIB: u32 = 19_456;
const ITERATIONS: u32 = 2;

section! {
    /// Passwords. There are no rules about digits or signs, and none expires (SEC-15).
    Passwords in "passwords" {
        /// Fewest characters of a new password, from 8 to 64 (SEC-13).
        min_length: u32 = 12,
        /// At least 15 characters, whatever `min_length` says.
        strict: bool = false,
        /// A file of further passwords to refuse, one a line (SEC-17).
        block_list_file: Option<PathBuf> = None,
        /// How many passwords are hashed at once; 0 is half of the processors (SEC-19).
        hash_threads: usize = 0,
        /// How many may wait for that; the next one is answered 503.
        hash_queue: usize = 32,
        /// Memory of one argon2id hash in KiB, at least 19456 (SEC-18).
        memory_kib: u32 = MEMORY_KIB,
        /// Passes of one argon2id hash, at least 2 (SEC-18).
        iterations: u32 = ITERATIONS,
    }
}

impl Passwords {
    pub(super) fn check(&self, profile: Profile, wrong: &mut super::Problems) {
        if !(8..=64).contains(&self.min_length) {
            wrong.add("passwords.min_length", "a whole number from 8 to 64");
        }
        if self.hash_threads > 1024 {
            wrong.add("passwords.hash_threads", "a whole number from 0 to 1024");
        }
        if !(1..=10_000).contains(&self.hash_queue) {
            wrong.add("passwords.hash_queue", "a whole number from 1 to 10000");
        }
        let testing = profile == Profile::Testing;
        let (memory, memory_words) = if testing {
            (8, "a whole number from 8 to 4194304")
        } else {
            (MEMORY_KIB, "a whole number from 19456 to 4194304 (less only in the testing profile)")
        };
        if !(memory..=4_194_304).contains(&self.memory_kib) {
            wrong.add("passwords.memory_kib", memory_words);
        }
        let (iterations, iteration_words) = if testing {
            (1, "a whole number from 1 to 100")
        } else {
            (ITERATIONS, "a whole number from 2 to 100 (less only in the testing profile)")
        };
        if !(iterations..=100).contains(&self.iterations) {
            wrong.add("passwords.iterations", iteration_words);
        }
    }

    /// Fewest code points of a new password.
    pub fn minimum(&self) -> u32 {
        if self.strict { self.min_length.max(15) } else { self.min_length }
    }

    /// How many passwords are hashed at once.
    pub fn threads(&self) -> usize {
        match self.hash_threads {
            0 => std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1)),
            threads => threads,
        }
    }
}
