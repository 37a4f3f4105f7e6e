//! Which passwords are good enough. There are no composition rules (SEC-15): length, the block
//! list, the words around the account, and an estimate of the guesses it takes.

use zxcvbn::{Score, zxcvbn};

use super::block_list::BlockList;

/// The least that can be configured, in code points (SEC-13).
pub const FLOOR: usize = 8;
/// The default minimum, in code points.
pub const DEFAULT_MIN: usize = 12;
/// The strict profile's minimum, in code points.
pub const STRICT_MIN: usize = 15;
/// Longer passwords are refused, never cut (SEC-14), in code points.
pub const MAX: usize = 256;
/// What must be left of a password when the words around the account are taken out.
const OWN_CHARACTERS: usize = 8;

/// The rules for new passwords.
pub struct Policy {
    min: usize,
    product_words: Vec<String>,
    extra: BlockList,
}

/// The words around one account that its password must not be made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    pub username: &'a str,
    /// In its stored form.
    pub email: &'a str,
    pub first_name: &'a str,
    pub last_name: &'a str,
    pub site_name: &'a str,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy")
            .field("min", &self.min)
            .field("extra", &self.extra.len())
            .finish_non_exhaustive()
    }
}

impl Policy {
    /// `min` is raised to [`FLOOR`]. `product_words` (product, public host) are context for every
    /// account, `extra` are block list entries of the operator's.
    pub fn new<S: AsRef<str>>(
        min: usize,
        product_words: &[&str],
        extra: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            min: min.clamp(FLOOR, MAX),
            product_words: product_words.iter().map(|word| (*word).to_owned()).collect(),
            extra: BlockList::of(extra),
        }
    }

    /// The least length, in code points, for the form's hint.
    pub fn min(&self) -> usize {
        self.min
    }

    /// The rule in words, for the form.
    pub fn hint(&self) -> String {
        format!(
            "At least {} characters. A few unrelated words are easy to remember and hard to guess.",
            self.min
        )
    }

    /// Checks a new password. The estimate takes some milliseconds for long passwords, so call
    /// it on the blocking pool.
    ///
    /// # Errors
    /// The reason with what to do, in words for the form's field.
    pub fn check(&self, password: &str, context: &Context<'_>) -> Result<(), String> {
        let length = password.chars().count();
        if length == 0 {
            return Err("Enter a password.".into());
        }
        if length < self.min {
            return Err(format!(
                "Use at least {} characters; this password has {length}. A few unrelated words make a good one.",
                self.min
            ));
        }
        if length > MAX {
            return Err(format!("Use at most {MAX} characters; this password has {length}."));
        }
        if BlockList::built_in().contains(password) || self.extra.contains(password) {
            return Err("This password is on the list of common passwords that attackers try first. Choose \
                        another, for example a few unrelated words."
                .into());
        }
        let words = self.context_words(context);
        if own_characters(password, &words) < OWN_CHARACTERS {
            return Err(
                "This password is mostly made of your name, your e-mail address or the name of this site. \
                        Use words that have nothing to do with you."
                    .into(),
            );
        }
        let inputs: Vec<&str> = words.iter().map(String::as_str).collect();
        let estimate = zxcvbn(password, &inputs);
        if estimate.score() < Score::Three {
            return Err(weak(&estimate));
        }
        Ok(())
    }

    /// Lower-case words of at least three letters, longest first.
    fn context_words(&self, context: &Context<'_>) -> Vec<String> {
        let Context { username, email, first_name, last_name, site_name } = *context;
        let mut words: Vec<String> = Vec::new();
        let texts = [username, email, first_name, last_name, site_name];
        for text in texts.into_iter().chain(self.product_words.iter().map(String::as_str)) {
            let text = text.to_lowercase();
            words.extend(text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned));
            words.push(text.split_whitespace().collect());
            words.push(text);
        }
        words.retain(|word| {
            word.chars().count() >= 3 && !matches!(word.as_str(), "www" | "com" | "org" | "net")
        });
        words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        words.dedup();
        words
    }
}

/// How many code points are left when the words are taken out.
fn own_characters(password: &str, words: &[String]) -> usize {
    let left = words.iter().fold(password.to_lowercase(), |left, word| left.replace(word.as_str(), ""));
    left.chars().filter(|c| !c.is_whitespace()).count()
}

fn weak(estimate: &zxcvbn::Entropy) -> String {
    let mut out = String::from("This password is easy to guess.");
    let feedback = estimate.feedback();
    if let Some(warning) = feedback.and_then(zxcvbn::feedback::Feedback::warning) {
        out.push(' ');
        out.push_str(&warning.to_string());
    }
    let suggestions = feedback.map_or(&[][..], zxcvbn::feedback::Feedback::suggestions);
    match suggestions.first() {
        Some(suggestion) => {
            out.push(' ');
            out.push_str(&suggestion.to_string());
        }
        None => out.push_str(" Add another uncommon word or two."),
    }
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;

    const ANN: Context<'static> = Context {
        username: "annlee",
        email: "ann.lee@harbourworks.example",
        first_name: "Annabel",
        last_name: "Lee",
        site_name: "Harbour Works",
    };

    fn policy(min: usize) -> Policy {
        Policy::new(min, &["Anteroom", "chat.harbourworks.example"], ["our secret handshake"])
    }

    fn refusal(password: &str) -> String {
        policy(DEFAULT_MIN).check(password, &ANN).unwrap_err()
    }

    /// SEC-13
    #[test]
    fn sec_13_length_counts_code_points_and_never_goes_below_eight() {
        assert!(refusal("kT9#vQ2!mZ4").starts_with("Use at least 12 characters; this password has 11."));
        assert_eq!(policy(DEFAULT_MIN).check("kT9#vQ2!mZ4w", &ANN), Ok(()));
        assert_eq!(policy(DEFAULT_MIN).check("жук-λόφος-駅前-Ωμ", &ANN), Ok(()));
        assert!(refusal("жук-λόφος").contains("this password has 9"));
        assert_eq!(policy(3).min(), 8);
        assert!(policy(STRICT_MIN).check("kT9#vQ2!mZ4w", &ANN).is_err());
        assert_eq!(refusal(""), "Enter a password.");
        assert!(policy(STRICT_MIN).hint().contains("15"));
    }

    /// SEC-14
    #[test]
    fn sec_14_long_passwords_are_taken_whole_or_refused() {
        let long: String = "violet anvil harbour ".chars().cycle().take(256).collect();
        assert_eq!(policy(DEFAULT_MIN).check(&long, &Context::default()), Ok(()));
        assert!(
            refusal(&format!("{long}x")).starts_with("Use at most 256 characters; this password has 257.")
        );
    }

    /// SEC-15
    #[test]
    fn sec_15_no_classes_of_characters_are_asked_for() {
        for fine in ["muffled otter parade", "velvetquarryinlet", "8261940375 7719", "MUFFLED OTTER PARADE"] {
            assert_eq!(policy(DEFAULT_MIN).check(fine, &ANN), Ok(()), "{fine}");
        }
    }

    /// SEC-17
    #[test]
    fn sec_17_common_weak_and_own_words_are_refused_with_their_reason() {
        for common in ["Password12345", "QWERTYqwerty", "letmeinletmein", "Our Secret Handshake"] {
            assert!(refusal(common).contains("list of common passwords"), "{common}");
        }
        for own in ["annlee-annabel-1", "harbourworks2026", "Ann.Lee@harbourworks", "Anteroom Lee 77"] {
            assert!(refusal(own).contains("your name"), "{own}: {}", refusal(own));
        }
        for weak in ["aaaaaaaaaaaab", "monkey monkey 9", "abcdefghijk1m"] {
            let words = refusal(weak);
            assert!(words.starts_with("This password is"), "{weak}: {words}");
            assert!(words.len() > 40, "{words}");
        }
        // A short name inside a long word is no reason.
        assert_eq!(policy(DEFAULT_MIN).check("sleeping gravel onward", &ANN), Ok(()));
    }
}
