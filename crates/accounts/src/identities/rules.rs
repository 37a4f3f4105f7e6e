//! What the operator decides about a provider, as far as accounts are concerned.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Vouched;
use crate::identifier::Email;

/// When a provider stands for the second factor (SEC-73).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stands {
    #[default]
    Never,
    Always,
    /// Where the sign-in there was of one of these classes, or by one of these methods (OpenID Connect
    /// Core, 2; RFC 8176).
    If {
        acr: Vec<String>,
        amr: Vec<String>,
    },
}

/// One provider's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderRules {
    /// Its place in addresses.
    pub name: String,
    /// For buttons and mails.
    pub label: String,
    /// Its verified addresses link with local accounts silently (SEC-71).
    pub trusted_email: bool,
    /// Whether people without an account get one.
    pub sign_up: bool,
    /// Mail domains of those as lower-case A-labels; empty allows all that the site allows.
    pub allowed_domains: Vec<String>,
    pub second_factor: Stands,
    /// Where the claim is that says the roles: its name, a dotted path or a JSON pointer (RFC 6901).
    pub role_claim: Option<String>,
    /// The claim's values and the roles that they stand for.
    pub roles: Vec<(String, String)>,
}

/// What a provider says about a person's roles (SEC-74).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleClaim {
    /// The roles (ids or names) that the provider decides about.
    pub mapped: Vec<String>,
    /// Those of them that the person is to have.
    pub granted: Vec<String>,
}

impl ProviderRules {
    /// Whether this sign-in stands for the second factor.
    pub fn stands(&self, vouched: &Vouched) -> bool {
        match &self.second_factor {
            Stands::Never => false,
            Stands::Always => true,
            Stands::If { acr, amr } => {
                vouched.acr.as_ref().is_some_and(|value| acr.contains(value))
                    || vouched.amr.iter().any(|value| amr.contains(value))
            }
        }
    }

    /// Whether a new account may have this address.
    pub(super) fn allows(&self, email: &Email) -> bool {
        self.allowed_domains.is_empty() || self.allowed_domains.iter().any(|domain| domain == email.domain())
    }

    /// What the claim says; `None` where it is not mapped or not there, and then nothing changes.
    pub fn role_claim(&self, vouched: &Vouched) -> Option<RoleClaim> {
        let path = self.role_claim.as_deref().filter(|path| !path.is_empty())?;
        let values = values(find(&vouched.claims, path)?)?;
        let distinct = |roles: &mut dyn Iterator<Item = &String>| {
            let mut found: Vec<String> = Vec::new();
            for role in roles {
                if !found.contains(role) {
                    found.push(role.clone());
                }
            }
            found
        };
        Some(RoleClaim {
            mapped: distinct(&mut self.roles.iter().map(|(_, role)| role)),
            granted: distinct(
                &mut self.roles.iter().filter(|(value, _)| values.contains(value)).map(|(_, role)| role),
            ),
        })
    }
}

/// The claim at a JSON pointer, by its whole name, or along a dotted path.
fn find<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    if path.starts_with('/') {
        return claims.pointer(path);
    }
    claims.get(path).or_else(|| path.split('.').try_fold(claims, |value, key| value.get(key)))
}

/// The values of a claim: a text, a list of texts, or the keys of an object. Anything else says
/// nothing.
fn values(claim: &Value) -> Option<Vec<String>> {
    match claim {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        Value::Object(fields) => Some(fields.keys().cloned().collect()),
        Value::Null => None,
        _ => {
            tracing::warn!("a claim that is to say roles is neither text nor list; it is passed over");
            None
        }
    }
}
