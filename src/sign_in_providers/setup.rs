//! A provider as it is set up, by the configuration or on a page, and what it comes to.

use accounts::{ProviderRules, Stands};
use providers::{Preset, Settings};
use serde::{Deserialize, Serialize};
use url::Url;

use super::Provider;
use crate::error::FieldErrors;

/// Longest label, in characters.
pub const LABEL_MAX: usize = 40;

/// Everything about a provider but its name and its secret. As JSON it is what the database keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Setup {
    pub preset: Preset,
    /// What its button says; empty takes the preset's.
    pub label: String,
    pub client_id: String,
    pub base_url: String,
    pub tenant: String,
    pub issuer: String,
    pub scopes: Vec<String>,
    /// Whether people without an account get one.
    pub sign_up: bool,
    /// Mail domains of those.
    pub allowed_domains: Vec<String>,
    /// Its verified addresses link with local accounts silently (SEC-71).
    pub trusted_email: bool,
    /// Whether a sign-in there stands for the second factor (SEC-73).
    pub stands: bool,
    /// It does so only at one of these classes,
    pub acr: Vec<String>,
    /// or by one of these methods.
    pub amr: Vec<String>,
    /// The claim that says the roles.
    pub role_claim: String,
    /// `value=Role`
    pub roles: Vec<String>,
    /// Signing out here signs out there too, where it offers that.
    pub logout: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            preset: Preset::Oidc,
            label: String::new(),
            client_id: String::new(),
            base_url: String::new(),
            tenant: String::new(),
            issuer: String::new(),
            scopes: Vec::new(),
            sign_up: true,
            allowed_domains: Vec::new(),
            trusted_email: false,
            stands: false,
            acr: Vec::new(),
            amr: Vec::new(),
            role_claim: String::new(),
            roles: Vec::new(),
            logout: false,
        }
    }
}

impl Setup {
    /// As the database keeps it; `None` where that is nothing that this version writes.
    pub fn read(kept: &str) -> Option<Self> {
        serde_json::from_str(kept).ok()
    }

    /// What decides where the client secret is sent.
    pub fn place(&self) -> (Preset, &str, &str) {
        (self.preset, self.base_url.trim().trim_end_matches('/'), self.issuer.trim().trim_end_matches('/'))
    }

    /// The provider that this makes.
    ///
    /// # Errors
    /// What to do, by the name of the field; `name` and `client_secret` among them.
    pub fn build(&self, name: &str, secret: &str) -> Result<Provider, FieldErrors> {
        let mut errors = FieldErrors::new();
        let mut wrong = |field: &'static str, words: String| {
            errors.entry(field.into()).or_insert(words);
        };
        let mut address = |field, text: &str| match text.trim() {
            "" => None,
            text => match Url::parse(text) {
                Ok(url) => Some(url),
                Err(_) => {
                    wrong(field, "Use a full address that begins with https://.".to_owned());
                    None
                }
            },
        };
        let settings = Settings {
            name: name.to_owned(),
            preset: self.preset,
            label: self.label.trim().to_owned(),
            client_id: self.client_id.trim().to_owned(),
            client_secret: secret.trim().to_owned(),
            base_url: address("base_url", &self.base_url),
            tenant: Some(self.tenant.trim().to_owned()).filter(|tenant| !tenant.is_empty()),
            issuer: address("issuer", &self.issuer),
            scopes: self.scopes.clone(),
        };
        if let Err(error) = settings.check() {
            wrong(error.field, error.words.to_owned());
        }
        let label = &settings.label;
        if label.chars().count() > LABEL_MAX || label.chars().any(char::is_control) {
            wrong("label", format!("A label has up to {LABEL_MAX} characters on one line."));
        }
        let allowed_domains = accounts::SignUp::parse_domains(&self.allowed_domains.join("\n"))
            .unwrap_or_else(|words| {
                wrong("allowed_domains", words);
                Vec::new()
            });
        let roles = self.roles().unwrap_or_else(|words| {
            wrong("roles", words);
            Vec::new()
        });
        match (self.role_claim.trim().is_empty(), roles.is_empty()) {
            (true, false) => wrong("role_claim", "Name the claim that these roles come from.".to_owned()),
            (false, true) => {
                wrong("roles", "Say which value gives which role, such as staff=User.".to_owned())
            }
            _ => {}
        }
        let narrowed = !self.acr.is_empty() || !self.amr.is_empty();
        if narrowed && !self.stands {
            wrong(
                "second_factor",
                "acr and amr count only where the provider stands for the second factor.".to_owned(),
            );
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let rules = ProviderRules {
            name: name.to_owned(),
            label: settings.label().to_owned(),
            trusted_email: self.trusted_email,
            sign_up: self.sign_up,
            allowed_domains,
            second_factor: match (self.stands, self.acr.is_empty() && self.amr.is_empty()) {
                (false, _) => Stands::Never,
                (true, true) => Stands::Always,
                (true, false) => Stands::If { acr: self.acr.clone(), amr: self.amr.clone() },
            },
            role_claim: Some(self.role_claim.trim().to_owned()).filter(|claim| !claim.is_empty()),
            roles,
        };
        Ok(Provider { settings, rules, logout: self.logout, configured: false })
    }

    /// The pairs of `roles`. A value may hold the sign itself, a role's name may not.
    fn roles(&self) -> Result<Vec<(String, String)>, String> {
        let pairs = self.roles.iter().map(|line| {
            let pair = line.rsplit_once('=').map(|(value, role)| (value.trim(), role.trim()));
            match pair {
                Some((value, role)) if !value.is_empty() && !role.is_empty() => {
                    Ok((value.to_owned(), role.to_owned()))
                }
                _ => Err(format!("“{line}” is no pair: write value=Role, such as staff=User.")),
            }
        });
        pairs.collect()
    }
}
