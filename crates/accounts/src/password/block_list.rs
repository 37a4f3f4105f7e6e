//! The block list: passwords that guessers try first, made by the generator below instead of
//! carried as a file (SEC-17, ASVS 6.2.4).
//!
//! Lists of leaked passwords are mostly too short for our length rule; what people do when they
//! are asked for twelve characters is to stretch a common word. So the generator stretches
//! common stems in the common ways and keeps what is at least [`SHORTEST`] long:
//! 1. a stem repeated, plain or with a separator, or with a common ending;
//! 2. a stem with a year (1950 to 2035), plain or with `!`, and a stem between digits;
//! 3. two stems after each other;
//! 4. walks over the keyboard's rows and columns, forwards and backwards, cut at every length;
//! 5. one character or a short group repeated;
//! 6. phrases that everyone knows.
//!
//! Entries and candidates are compared in one normal form (lower case, common substitutions
//! undone), as 64-bit hashes in a sorted list, made at the first use.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use super::stems::{ENDINGS, PHRASES, SEPARATORS, STEMS, WALKS};

/// Entries are at least this long, the default length rule; shorter ones that a lower
/// configured minimum lets through are left to the strength estimate.
pub const SHORTEST: usize = 12;
const LONGEST: usize = 40;

/// Passwords that are refused outright.
pub struct BlockList(Vec<u64>);

impl BlockList {
    /// A list of these entries, for what the operator adds.
    pub fn of<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Self {
        let mut hashes: Vec<u64> = entries
            .into_iter()
            .map(|entry| entry.as_ref().trim().to_owned())
            .filter(|entry| !entry.is_empty())
            .map(|entry| hash(&entry))
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self(hashes)
    }

    /// The list that comes with the product.
    pub fn built_in() -> &'static Self {
        static LIST: LazyLock<BlockList> = LazyLock::new(|| BlockList::of(generate()));
        &LIST
    }

    /// Whether the password stands on the list, whatever its case.
    pub fn contains(&self, password: &str) -> bool {
        self.0.binary_search(&hash(password)).is_ok()
    }

    /// How many different entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Every entry, some more than once.
fn generate() -> impl Iterator<Item = String> {
    repetitions()
        .chain(years())
        .chain(pairs())
        .chain(walks())
        .chain(groups())
        .chain(PHRASES.iter().map(|phrase| (*phrase).to_owned()))
        .filter(|entry| (SHORTEST..=LONGEST).contains(&entry.chars().count()))
}

fn repetitions() -> impl Iterator<Item = String> {
    let repeated = STEMS.iter().flat_map(|stem| {
        (1..=4)
            .flat_map(move |times| SEPARATORS.iter().map(move |separator| vec![*stem; times].join(separator)))
    });
    let ended = STEMS.iter().flat_map(|stem| {
        (1..=2).flat_map(move |times| {
            ENDINGS.iter().map(move |ending| format!("{}{ending}", stem.repeat(times)))
        })
    });
    repeated.chain(ended)
}

fn years() -> impl Iterator<Item = String> {
    STEMS.iter().flat_map(|stem| {
        let years = (1950..=2035)
            .flat_map(move |year| ["", "!"].into_iter().map(move |ending| format!("{stem}{year}{ending}")));
        let digits = ["1", "12", "123", "1234"].into_iter().map(move |n| format!("{n}{stem}{n}"));
        years.chain(digits)
    })
}

fn pairs() -> impl Iterator<Item = String> {
    STEMS.iter().flat_map(|first| STEMS.iter().map(move |second| format!("{first}{second}")))
}

fn walks() -> impl Iterator<Item = String> {
    WALKS.iter().flat_map(|walk| {
        let forwards: Vec<char> = walk.chars().collect();
        let backwards: Vec<char> = walk.chars().rev().collect();
        [forwards, backwards].into_iter().flat_map(|keys| {
            (0..keys.len()).flat_map(move |from| {
                let keys = keys.clone();
                (from + SHORTEST..=keys.len()).map(move |to| keys[from..to].iter().collect())
            })
        })
    })
}

fn groups() -> impl Iterator<Item = String> {
    let single = ('a'..='z').chain('0'..='9').chain("!@#$%^&*.-_ ".chars()).map(String::from);
    let short = [
        "ab", "abc", "abcd", "12", "123", "1234", "12345", "qwe", "asd", "zxc", "qaz", "wsx", "aA1!", "xyz",
        "ha", "la", "lol", "10", "01",
    ];
    single
        .chain(short.into_iter().map(str::to_owned))
        .flat_map(|group| (2..=LONGEST).map(move |times| group.repeat(times)))
}

/// The first 64 bits of SHA-256 over the normal form.
fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(normal(text));
    digest.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Lower case, with the substitutions undone that guessers try anyway.
fn normal(text: &str) -> String {
    text.chars()
        .flat_map(char::to_lowercase)
        .map(|c| match c {
            '0' => 'o',
            '1' | '|' => 'l',
            '3' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            '7' | '+' => 't',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-17
    #[test]
    fn sec_17_the_built_in_list_has_thousands_of_entries_that_pass_the_length_rule() {
        let list = BlockList::built_in();
        assert!(list.len() >= 3_000, "{}", list.len());
        assert!(generate().all(|entry| entry.chars().count() >= SHORTEST));
        // Enough are left for the strict profile's 15 too.
        assert!(BlockList::of(generate().filter(|entry| entry.chars().count() >= 15)).len() >= 3_000);
        for common in [
            "passwordpassword",
            "Password2024!",
            "P@ssw0rd2024!",
            "QWERTYUIOPAS",
            "qwerty123456",
            "aaaaaaaaaaaa",
            "123456789012",
            "correcthorsebatterystaple",
            "Welcome12345",
            "letmeinletmein",
            "1qaz2wsx3edc",
            "iloveyou1234",
            "admin-admin-admin",
            "anteroom2026",
        ] {
            assert!(list.contains(common), "{common}");
        }
        for fine in ["violet anvil harbour", "kT9#vQ2!mZ4w", "muffled otter parade"] {
            assert!(!list.contains(fine), "{fine}");
        }
    }

    #[test]
    fn the_operators_own_entries_count_whatever_their_case() {
        let list = BlockList::of(["  OurCompanyName  ", "", "ourcompanyname"]);
        assert_eq!(list.len(), 1);
        assert!(list.contains("ourCOMPANYname") && list.contains("0urCompanyName"));
        assert!(BlockList::of([""]).is_empty());
    }
}
