//! `[providers.<name>]`: identity providers that people sign in with.

use providers::Preset;

use super::section::section;
use super::value::{Secret, words};
use crate::sign_in_providers::Setup;

words! {
    /// A provider whose addresses are known, or any.
    ProviderPreset, "google, gitlab, github, microsoft or oidc" {
        /// Google.
        Google = "google",
        /// GitLab, also a server of one's own.
        GitLab = "gitlab",
        /// GitHub.
        GitHub = "github",
        /// Microsoft Entra.
        Microsoft = "microsoft",
        /// Any OpenID Connect provider.
        Oidc = "oidc",
    }
}

words! {
    /// What a sign-in at a provider means for the second factor.
    ProviderFactor, "ask or stands" {
        /// The second factor is asked for as after a password.
        Ask = "ask",
        /// It stands for the second factor.
        Stands = "stands",
    }
}

section! {
    /// An identity provider that people sign in with, under a name of your choice; there may be several. The
    /// name is part of its addresses: `/login/<name>`, and `/login/<name>/authorized`, which the provider has to
    /// know. In a variable its hyphens are written as underscores. docs/sign-in-providers.md goes through it
    /// step by step.
    Provider in "providers.<name>" {
        /// `google`, `gitlab`, `github`, `microsoft` or `oidc`; not set, the one that it is named like.
        preset: Option<ProviderPreset> = None,
        /// What its button says; not set, the preset's name.
        label: String = String::new(),
        /// The client id that the provider gave you.
        client_id: String = String::new(),
        /// The client secret that the provider gave you.
        client_secret: Secret = Secret::default(),
        /// Of a GitLab or GitHub server of your own, such as `https://gitlab.example.org`.
        base_url: String = String::new(),
        /// Microsoft's tenant: its id or domain, or `organizations` for any.
        tenant: String = String::new(),
        /// Of an OpenID Connect provider, such as `https://id.example.org/realms/staff`.
        issuer: String = String::new(),
        /// Scopes beside those that are needed.
        scopes: Vec<String> = Vec::new(),
        /// Whether people who have no account get one, as far as sign-up is open.
        sign_up: bool = true,
        /// Mail domains of those, beside the rule for everybody; empty is any.
        allowed_domains: Vec<String> = Vec::new(),
        /// Whether an address that it says is verified proves an account with that address (SEC-71).
        trusted_email: bool = false,
        /// `ask` for the account's second factor after it, or let it stand for that (`stands`).
        second_factor: ProviderFactor = ProviderFactor::Ask,
        /// It stands only where the provider names one of these classes (`acr`).
        second_factor_acr: Vec<String> = Vec::new(),
        /// It stands only where the provider names one of these methods (`amr`).
        second_factor_amr: Vec<String> = Vec::new(),
        /// The claim that decides about roles: its name, a dotted path or a JSON pointer.
        role_claim: String = String::new(),
        /// Which of its values gives which role: `staff=User`. The roles named here follow the claim.
        roles: Vec<String> = Vec::new(),
        /// Whether signing out here also signs out there, where it offers that.
        logout: bool = false,
    }
}

impl Provider {
    /// What it comes to.
    pub fn setup(&self, name: &str) -> Setup {
        Setup {
            preset: self.preset(name),
            label: self.label.clone(),
            client_id: self.client_id.clone(),
            base_url: self.base_url.clone(),
            tenant: self.tenant.clone(),
            issuer: self.issuer.clone(),
            scopes: self.scopes.clone(),
            sign_up: self.sign_up,
            allowed_domains: self.allowed_domains.clone(),
            trusted_email: self.trusted_email,
            stands: self.second_factor == ProviderFactor::Stands,
            acr: self.second_factor_acr.clone(),
            amr: self.second_factor_amr.clone(),
            role_claim: self.role_claim.clone(),
            roles: self.roles.clone(),
            logout: self.logout,
        }
    }

    fn preset(&self, name: &str) -> Preset {
        match self.preset {
            None => Preset::parse(name).unwrap_or(Preset::Oidc),
            Some(ProviderPreset::Google) => Preset::Google,
            Some(ProviderPreset::GitLab) => Preset::GitLab,
            Some(ProviderPreset::GitHub) => Preset::GitHub,
            Some(ProviderPreset::Microsoft) => Preset::Microsoft,
            Some(ProviderPreset::Oidc) => Preset::Oidc,
        }
    }

    /// Whether it says nothing at all: a variable that Docker Compose passes on empty makes no provider.
    pub(super) fn is_empty(&self) -> bool {
        self.client_id.is_empty() && self.client_secret.is_empty() && self.issuer.is_empty()
    }

    pub(super) fn check(&self, name: &str, wrong: &mut super::Problems) {
        if let Err(errors) = self.setup(name).build(name, self.client_secret.expose()) {
            for (field, words) in errors {
                wrong.say(&format!("providers.{name}.{field}"), &words);
            }
        }
    }
}

/// Whether `name` may name a provider, as far as its letters go; [`Provider::check`] knows the rest.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=32).contains(&name.len()) && name.chars().all(allowed)
}
