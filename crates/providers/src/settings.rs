//! What an operator or an Admin says about a provider.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// A provider whose addresses and quirks are known, or any OpenID Connect one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    #[default]
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
    /// Of a GitLab or GitHub server of one's own, or of Microsoft's sign-in in a national cloud.
    pub base_url: Option<Url>,
    /// Microsoft's tenant: an id, a domain, `organizations`, `consumers` or `common`.
    pub tenant: Option<String>,
    /// Of an OpenID Connect provider.
    pub issuer: Option<Url>,
    /// Beside those that are needed.
    pub scopes: Vec<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("name", &self.name)
            .field("preset", &self.preset)
            .finish_non_exhaustive()
    }
}

/// Settings that cannot be used, with the field and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {words}")]
pub struct SettingsError {
    pub field: &'static str,
    pub words: &'static str,
}

/// Names that are taken by pages under `/login/`.
const RESERVED: [&str; 3] = ["2fa", "passkey", "link"];
const SCOPES: [&str; 3] = ["openid", "email", "profile"];
/// GitHub's, for `/user` and `/user/emails`.
const GITHUB_SCOPES: [&str; 2] = ["read:user", "user:email"];
/// Microsoft's names for more than one tenant.
const TENANTS: [&str; 3] = ["common", "organizations", "consumers"];

impl Preset {
    /// All of them, in the order of menus.
    pub const ALL: [Self; 5] = [Self::Google, Self::GitLab, Self::GitHub, Self::Microsoft, Self::Oidc];

    /// The name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::GitLab => "gitlab",
            Self::GitHub => "github",
            Self::Microsoft => "microsoft",
            Self::Oidc => "oidc",
        }
    }

    /// The preset of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == name)
    }

    /// Whether it can make a person sign in anew and prove it by `auth_time` (SEC-57). GitHub has no
    /// such thing; Google ignores `max_age`.
    #[must_use]
    pub fn can_sign_in_anew(self) -> bool {
        !matches!(self, Self::GitHub | Self::Google)
    }

    /// Whether it is known to show its accounts to choose from on `prompt=select_account`.
    pub(crate) fn can_choose(self) -> bool {
        matches!(self, Self::GitHub | Self::Google | Self::Microsoft)
    }
}

impl Settings {
    /// What its button says: the label given, the preset's, or the name.
    #[must_use]
    pub fn label(&self) -> &str {
        match self.preset {
            _ if !self.label.trim().is_empty() => self.label.trim(),
            Preset::Google => "Google",
            Preset::GitLab => "GitLab",
            Preset::GitHub => "GitHub",
            Preset::Microsoft => "Microsoft",
            Preset::Oidc => &self.name,
        }
    }

    /// Whether they can be used, without asking the provider.
    ///
    /// # Errors
    /// [`SettingsError`] for the first field that is missing or wrong.
    pub fn check(&self) -> Result<(), SettingsError> {
        let wrong = |field, words| Err(SettingsError { field, words });
        let name_fits = (1..=32).contains(&self.name.len())
            && self.name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !name_fits {
            return wrong("name", "Use 1 to 32 of a-z, 0-9 and the hyphen.");
        }
        if RESERVED.contains(&self.name.as_str()) {
            return wrong("name", "This name is taken by a page; choose another.");
        }
        if self.client_id.trim().is_empty() {
            return wrong("client_id", "Enter the client id that the provider gave you.");
        }
        if self.client_secret.trim().is_empty() {
            return wrong("client_secret", "Enter the client secret that the provider gave you.");
        }
        if self.scopes.iter().any(|scope| scope.is_empty() || !scope.bytes().all(is_scope_byte)) {
            return wrong("scopes", "Each scope is one word without spaces, quotes or backslashes.");
        }
        match (self.preset, &self.base_url) {
            (Preset::Google | Preset::Oidc, Some(_)) => {
                return wrong("base_url", "Only GitLab, GitHub and Microsoft take a base URL.");
            }
            (_, Some(base)) if !is_sound(base) => {
                return wrong("base_url", "Use an https:// address without query or user name.");
            }
            _ => {}
        }
        match (self.preset, self.tenant.as_deref()) {
            (Preset::Microsoft, None) => {
                return wrong("tenant", "Enter the tenant's id or domain, or organizations for any.");
            }
            (Preset::Microsoft, Some(tenant)) if !is_tenant(tenant) => {
                return wrong("tenant", "Use an id, a domain, organizations, consumers or common.");
            }
            (Preset::Microsoft, _) | (_, None) => {}
            (_, Some(_)) => return wrong("tenant", "Only Microsoft has tenants."),
        }
        match (self.preset, &self.issuer) {
            (Preset::Oidc, None) => wrong("issuer", "Enter the provider's issuer, an https:// address."),
            (Preset::Oidc, Some(issuer)) if !is_sound(issuer) => {
                wrong("issuer", "Use an https:// address without query or user name.")
            }
            (Preset::Oidc, _) | (_, None) => Ok(()),
            (_, Some(_)) => wrong("issuer", "Only a provider of the preset oidc takes an issuer."),
        }
    }

    /// The issuer as far as it is known beforehand, without a slash at its end; for GitHub its address.
    pub(crate) fn root(&self) -> String {
        let base = |known: &str| match &self.base_url {
            Some(base) => base.as_str().trim_end_matches('/').to_owned(),
            None => known.to_owned(),
        };
        match self.preset {
            Preset::Google => "https://accounts.google.com".to_owned(),
            Preset::GitLab => base("https://gitlab.com"),
            Preset::GitHub => base("https://github.com"),
            Preset::Microsoft => {
                let tenant = self.tenant.as_deref().unwrap_or("organizations");
                format!("{}/{tenant}/v2.0", base("https://login.microsoftonline.com"))
            }
            Preset::Oidc => self
                .issuer
                .as_ref()
                .map(|issuer| issuer.as_str().trim_end_matches('/').to_owned())
                .unwrap_or_default(),
        }
    }

    /// The issuer of everybody who signs in by it, but for a slash at its end. `None` where that is known only
    /// from the provider: of a Microsoft tenant that is not given by its id.
    #[must_use]
    pub fn known_issuer(&self) -> Option<String> {
        let is_open = self.preset == Preset::Microsoft && !self.tenant.as_deref().is_some_and(is_guid);
        (!is_open).then(|| self.root())
    }

    /// The address that the operator wrote, if any: its host may be private, all others may not (SEC-98).
    pub(crate) fn own(&self) -> Option<&Url> {
        match self.preset {
            Preset::Oidc => self.issuer.as_ref(),
            Preset::Google => None,
            Preset::GitLab | Preset::GitHub | Preset::Microsoft => self.base_url.as_ref(),
        }
    }

    /// What is asked for, separated by spaces, each once.
    pub(crate) fn scope(&self) -> String {
        let needed: &[&str] = if self.preset == Preset::GitHub { &GITHUB_SCOPES } else { &SCOPES };
        let mut all = needed.to_vec();
        for scope in self.scopes.iter().map(String::as_str) {
            if !all.contains(&scope) {
                all.push(scope);
            }
        }
        all.join(" ")
    }
}

/// RFC 6749, 3.3.
fn is_scope_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

/// https, or http on this machine; nothing but scheme, host, port and path.
fn is_sound(url: &Url) -> bool {
    let scheme = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url));
    scheme
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

/// Whether the host is this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(v4)) => v4.is_loopback(),
        Some(Host::Ipv6(v6)) => v6.is_loopback(),
        None => false,
    }
}

fn is_tenant(tenant: &str) -> bool {
    let is_domain = tenant.len() <= 253
        && tenant.contains('.')
        && tenant
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    TENANTS.contains(&tenant) || is_guid(tenant) || is_domain
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, as Microsoft writes tenants.
pub(crate) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
