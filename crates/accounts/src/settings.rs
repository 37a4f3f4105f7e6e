//! Settings that an Admin changes while the server runs: typed sections over the table
//! `settings`, one JSON document a section, cached in memory.

use std::sync::Arc;

use base::db::DbError;
use base::{Micros, args, sql};
use serde::{Deserialize, Serialize};

use crate::Accounts;
use crate::identifier::{Email, canonical_domain};
use crate::words::cut;

/// Everything that can be set. What no one has set has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub sign_up: SignUp,
    pub general: General,
    pub second_factor: SecondFactorRules,
}

/// Whether people may make their own accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignUpMode {
    #[default]
    Open,
    Closed,
}

/// The sign-up section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SignUp {
    pub mode: SignUpMode,
    /// Mail domains as lower-case A-labels; empty allows every address.
    pub allowed_domains: Vec<String>,
    /// Whether an address must be confirmed before the first sign-in (SEC-9).
    pub verification_required: bool,
}

/// The general section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct General {
    /// The site's name in pages and mails.
    pub site_name: String,
    /// The model of a new chat, where one was chosen.
    pub default_model: Option<String>,
}

/// The section about second factors (SEC-3, SEC-47).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecondFactorRules {
    /// Everybody needs one, whatever their roles say.
    pub required_of_everyone: bool,
    /// When that was switched on; the grace of those who were there before counts from here.
    pub required_since: Micros,
    /// Days to set one up.
    pub grace_days: i64,
    /// Whether people may use codes by e-mail as a second factor.
    pub email_codes: bool,
}

impl Default for SecondFactorRules {
    fn default() -> Self {
        Self { required_of_everyone: false, required_since: 0, grace_days: 7, email_codes: false }
    }
}

impl SignUp {
    pub fn is_open(&self) -> bool {
        self.mode == SignUpMode::Open
    }

    /// Whether the address's domain is allowed; a sub-domain is a domain of its own.
    pub fn allows(&self, email: &Email) -> bool {
        self.allowed_domains.is_empty() || self.allowed_domains.iter().any(|domain| domain == email.domain())
    }

    /// Reads domains as an Admin types them, separated by commas, blanks or lines; a leading
    /// `@` is fine.
    ///
    /// # Errors
    /// Names the first text that is no domain.
    pub fn parse_domains(text: &str) -> Result<Vec<String>, String> {
        let mut domains = Vec::new();
        for word in
            text.split(|c: char| c == ',' || c == ';' || c.is_whitespace()).filter(|word| !word.is_empty())
        {
            let domain = canonical_domain(word.strip_prefix('@').unwrap_or(word)).ok_or_else(|| {
                format!("\"{}\" is no mail domain; write it like example.org.", cut(word, 80))
            })?;
            if !domains.contains(&domain) {
                domains.push(domain);
            }
        }
        Ok(domains)
    }
}

impl Accounts {
    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().clone()
    }

    /// Reads the settings from the database again, so that what another replica saved counts
    /// here too. Call it at start and every few seconds.
    pub async fn reload_settings(&self) -> Result<(), DbError> {
        let rows: Vec<(String, String)> = self.db.all(sql!("SELECT name, value FROM settings"), &[]).await?;
        let mut settings = (*self.defaults).clone();
        for (name, value) in rows {
            match name.as_str() {
                "sign_up" => settings.sign_up = section(&name, &value)?,
                "general" => settings.general = section(&name, &value)?,
                "second_factor" => settings.second_factor = section(&name, &value)?,
                // Of a newer version.
                _ => {}
            }
        }
        self.put(settings);
        Ok(())
    }

    /// Saves the sign-up section; where the configuration forces verification it stays required.
    pub async fn save_sign_up(&self, by: &str, section: &SignUp) -> Result<(), DbError> {
        self.save("sign_up", by, section).await
    }

    /// Saves the general section.
    pub async fn save_general(&self, by: &str, section: &General) -> Result<(), DbError> {
        self.save("general", by, section).await
    }

    /// Saves the section about second factors. Switched on, the requirement of everyone counts from
    /// now; saved again it keeps its time.
    pub async fn save_second_factor(&self, by: &str, section: &SecondFactorRules) -> Result<(), DbError> {
        let before = self.settings();
        let mut section = section.clone();
        section.required_since = match before.second_factor.required_of_everyone {
            true => before.second_factor.required_since,
            false => self.clock.now(),
        };
        self.save("second_factor", by, &section).await
    }

    async fn save<T: Serialize>(&self, name: &str, by: &str, section: &T) -> Result<(), DbError> {
        let value = serde_json::to_string(section).map_err(|error| DbError::Other(error.to_string()))?;
        self.db
            .run(
                sql!(
                    "INSERT INTO settings (name, value, updated_at, updated_by) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at,
                       updated_by = excluded.updated_by"
                ),
                args![name, &value, self.clock.now(), by],
            )
            .await?;
        self.reload_settings().await
    }

    fn put(&self, mut settings: Settings) {
        settings.sign_up.verification_required |= self.verification_forced;
        if settings.general.site_name.trim().is_empty() {
            settings.general.site_name.clone_from(&self.defaults.general.site_name);
        }
        let mut current = self.settings.write();
        if **current != settings {
            *current = Arc::new(settings);
        }
    }
}

fn section<T: for<'a> Deserialize<'a>>(name: &str, value: &str) -> Result<T, DbError> {
    serde_json::from_str(value).map_err(|error| DbError::Corrupt {
        column: format!("settings.value of {name}"),
        problem: error.to_string(),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn what_is_saved_counts_at_once_and_after_a_reload() {
        let t = testing::accounts("settings").await;
        assert!(t.settings().sign_up.is_open());
        let closed = SignUp {
            mode: SignUpMode::Closed,
            allowed_domains: SignUp::parse_domains("Example.org, @bücher.example\nexample.org").unwrap(),
            verification_required: true,
        };
        t.save_sign_up("ann", &closed).await.unwrap();
        assert_eq!(t.settings().sign_up, closed);
        assert_eq!(closed.allowed_domains, ["example.org", "xn--bcher-kva.example"]);
        let other = testing::beside(&t, |_| {});
        other.reload_settings().await.unwrap();
        assert_eq!(other.settings().sign_up, closed);
        t.save_general("ann", &General { site_name: " ".into(), default_model: Some("demo".into()) })
            .await
            .unwrap();
        assert_eq!(t.settings().general.site_name, "Test Site");
        assert_eq!(t.settings().general.default_model.as_deref(), Some("demo"));
    }

    /// SEC-11
    #[tokio::test]
    async fn sec_11_forced_verification_cannot_be_switched_off() {
        let t = testing::accounts("settings-forced").await;
        let forced = testing::beside(&t, |options| options.verification_forced = true);
        assert!(forced.settings().sign_up.verification_required);
        forced.save_sign_up("ann", &SignUp::default()).await.unwrap();
        assert!(forced.settings().sign_up.verification_required);
    }

    #[test]
    fn domains_match_whole() {
        let rule = SignUp { allowed_domains: vec!["example.org".into()], ..SignUp::default() };
        assert!(rule.allows(&Email::parse("a@EXAMPLE.org").unwrap()));
        for other in ["a@sub.example.org", "a@example.org.evil.example", "a@notexample.org"] {
            assert!(!rule.allows(&Email::parse(other).unwrap()), "{other}");
        }
        assert!(SignUp::default().allows(&Email::parse("a@b.example").unwrap()));
        assert!(SignUp::parse_domains("example.org, not a domain").unwrap_err().contains("\"not\""));
    }
}
