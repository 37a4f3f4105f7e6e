//! What an operator or an Admin says about a provider.

use serde::{Deserialize, Serialize};
use url::Url;

/// A provider whose addresses and quirks are known, or any OpenID Connect one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    Google,
    /// gitlab.com, or a server of one's own by `base_url`.
    GitLab,
    /// OAuth 2 with its API; no OpenID Connect.
    GitHub,
    /// By tenant; `organizations` and `common` accept any.
    Microsoft,
    /// Discovery at the issuer.
    Oidc,
}

/// One provider, as configured.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its place in addresses: `[a-z0-9-]{1,32}`.
    pub name: String,
    pub preset: Preset,
    /// What its button says; empty takes the preset's.
    pub label: String,
    pub client_id: String,
    pub client_secret: String,
    /// Of a GitLab or GitHub server of one's own.
    pub base_url: Option<Url>,
    /// Microsoft's tenant: an id or a domain.
    pub tenant: Option<String>,
    /// Of an OpenID Connect provider.
    pub issuer: Option<Url>,
    /// Beside those that are needed.
    pub scopes: Vec<String>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("name", &self.name).field("preset", &self.preset).finish_non_exhaustive()
    }
}

/// Settings that cannot be used, with the field and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {words}")]
pub struct SettingsError {
    pub field: &'static str,
    pub words: &'static str,
}
