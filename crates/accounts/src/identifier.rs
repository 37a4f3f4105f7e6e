//! What people are found by: usernames and e-mail addresses in one login namespace. A username
//! never holds an `@` and an address always does, so neither can equal the other (SEC-7).

use std::fmt;

use crate::words::cut;

/// The longest address, in bytes (RFC 5321, section 4.5.3.1.3, less the angle brackets).
const EMAIL_MAX: usize = 254;
const LOCAL_MAX: usize = 64;
/// A typed identifier is kept to this many code points for throttling.
const TYPED_MAX: usize = 320;

/// Why an identifier is refused, with what to do, for the form's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    #[error("Enter a username.")]
    UsernameMissing,
    #[error("Use 3 to 32 characters for the username.")]
    UsernameLength,
    #[error("Use only the letters a to z, digits, dots, hyphens and underscores in the username.")]
    UsernameCharacters,
    #[error("Enter an e-mail address.")]
    EmailMissing,
    #[error("Enter an e-mail address like name@example.org.")]
    EmailSyntax,
    #[error("This e-mail address is too long; use one of at most 254 characters.")]
    EmailLength,
}

/// A username: ASCII `[a-z0-9._-]{3,32}`, case-insensitive (SEC-5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username {
    typed: String,
    canonical: String,
}

impl Username {
    /// Reads what was typed; blanks around it are dropped.
    pub fn parse(typed: &str) -> Result<Self, IdentifierError> {
        let typed = typed.trim();
        if typed.is_empty() {
            return Err(IdentifierError::UsernameMissing);
        }
        if !typed.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            return Err(IdentifierError::UsernameCharacters);
        }
        if !(3..=32).contains(&typed.len()) {
            return Err(IdentifierError::UsernameLength);
        }
        Ok(Self { typed: typed.to_owned(), canonical: typed.to_ascii_lowercase() })
    }

    /// As typed, for showing.
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// As compared.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}

/// An e-mail address in its one stored form: lower case, the domain as A-labels (SEC-6,
/// RFC 5321, RFC 5890). Non-ASCII names before the `@` are refused, because their case mapping
/// is where addresses have been confused (CVE-2019-19844).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Reads what was typed; blanks around it are dropped.
    pub fn parse(typed: &str) -> Result<Self, IdentifierError> {
        let typed = typed.trim();
        if typed.is_empty() {
            return Err(IdentifierError::EmailMissing);
        }
        if typed.len() > 4 * EMAIL_MAX {
            return Err(IdentifierError::EmailLength);
        }
        let (local, domain) = typed.rsplit_once('@').ok_or(IdentifierError::EmailSyntax)?;
        if !is_dot_atom(local) {
            return Err(IdentifierError::EmailSyntax);
        }
        let domain = canonical_domain(domain).ok_or(IdentifierError::EmailSyntax)?;
        if local.len() > LOCAL_MAX || local.len() + 1 + domain.len() > EMAIL_MAX {
            return Err(IdentifierError::EmailLength);
        }
        Ok(Self(format!("{}@{domain}", local.to_ascii_lowercase())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    pub fn local(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(local, _)| local)
    }

    /// What stands after the `@`, as A-labels.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A mail domain in lower-case A-labels with at least two labels, or nothing.
pub(crate) fn canonical_domain(domain: &str) -> Option<String> {
    let ascii = idna::domain_to_ascii_strict(domain).ok()?.to_ascii_lowercase();
    let last = ascii.rsplit('.').next()?;
    // A domain whose last label is a number is an IP address (RFC 3696, section 2).
    (ascii.contains('.') && !last.bytes().all(|b| b.is_ascii_digit())).then_some(ascii)
}

/// RFC 5322 dot-atom.
fn is_dot_atom(local: &str) -> bool {
    !local.is_empty()
        && local.split('.').all(|atom| {
            !atom.is_empty()
                && atom.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
        })
}

/// What was typed into "username or e-mail", in the form that is looked up and throttled by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    Username(Username),
    Email(Email),
    /// Neither; no account can have it, yet it is throttled like any other.
    Nonsense(String),
}

impl Identifier {
    pub fn parse(typed: &str) -> Self {
        let read = if typed.contains('@') {
            Email::parse(typed).map(Self::Email)
        } else {
            Username::parse(typed).map(Self::Username)
        };
        read.unwrap_or_else(|_| Self::Nonsense(cut(typed.trim(), TYPED_MAX).to_lowercase()))
    }

    /// The one text that all spellings of this identifier share.
    pub fn canonical(&self) -> &str {
        match self {
            Self::Username(username) => username.canonical(),
            Self::Email(email) => email.as_str(),
            Self::Nonsense(text) => text,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;

    /// SEC-5
    #[test]
    fn sec_5_usernames_are_plain_ascii_and_compare_without_case() {
        let ann = Username::parse("  Ann.Lee-1_x ").unwrap();
        assert_eq!((ann.as_str(), ann.canonical()), ("Ann.Lee-1_x", "ann.lee-1_x"));
        for bad in ["аnn", "ann lee", "ann\u{200b}", "ı-am", "ann@x", "ann\u{0}", "ＡＮＮ", "K\u{212a}K"]
        {
            assert_eq!(Username::parse(bad), Err(IdentifierError::UsernameCharacters), "{bad:?}");
        }
        for bad in ["ab", &"a".repeat(33)] {
            assert_eq!(Username::parse(bad), Err(IdentifierError::UsernameLength));
        }
        assert_eq!(Username::parse("  "), Err(IdentifierError::UsernameMissing));
        assert!(Username::parse("abc").is_ok() && Username::parse(&"a".repeat(32)).is_ok());
    }

    /// SEC-6
    #[test]
    fn sec_6_addresses_have_one_form() {
        assert_eq!(Email::parse(" Ann@Example.ORG ").unwrap().as_str(), "ann@example.org");
        assert_eq!(Email::parse("x@bücher.example").unwrap().as_str(), "x@xn--bcher-kva.example");
        assert_eq!(Email::parse("x@BÜCHER.example"), Email::parse("x@xn--bcher-kva.EXAMPLE"));
        let email = Email::parse("o'neil+a@mail.example.org").unwrap();
        assert_eq!((email.local(), email.domain()), ("o'neil+a", "mail.example.org"));
        // CVE-2019-19844: these fold to ASCII letters.
        for bad in [
            "mıke@example.org",
            "m\u{212a}@example.org",
            "ann",
            "@example.org",
            "ann@",
            "ann@example",
            "a..b@example.org",
            ".a@example.org",
            "a b@example.org",
            "a@exa mple.org",
            "a@-x.org",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "a@b@example.org",
            "a\n@example.org",
            "a@example.org\nbcc:x@y.org",
            "a@example..org",
            "\"a\"@example.org",
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            Email::parse(&format!("{}@example.org", "a".repeat(65))),
            Err(IdentifierError::EmailLength)
        );
        assert!(Email::parse(&format!("{}@example.org", "a".repeat(64))).is_ok());
        assert!(Email::parse(&format!("a@{}.org", "b".repeat(64))).is_err());
        assert!(Email::parse(&"a".repeat(100_000)).is_err());
    }

    /// SEC-7
    #[test]
    fn sec_7_usernames_and_addresses_never_meet() {
        assert!(matches!(Identifier::parse("Ann"), Identifier::Username(_)));
        assert!(matches!(Identifier::parse("Ann@example.org"), Identifier::Email(_)));
        assert_eq!(Identifier::parse(" ANN ").canonical(), "ann");
        assert_eq!(Identifier::parse("Ann@Example.org").canonical(), "ann@example.org");
        let nonsense = Identifier::parse(&"Ü".repeat(9_999));
        assert!(matches!(nonsense, Identifier::Nonsense(_)));
        assert!(nonsense.canonical().chars().count() <= TYPED_MAX && nonsense.canonical().starts_with('ü'));
    }
}
