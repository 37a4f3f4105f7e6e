//! The identity providers that people can sign in with now: those of the configuration and those
//! that Admins set up.

mod setup;

use std::sync::Arc;

use accounts::{LiveProvider, ProviderRules, StoredProvider, Vouched};
use base::{Clock, DbError};
use parking_lot::RwLock;
use providers::{Connector, Profile, Settings};
use upstream::Http;

pub use self::setup::{LABEL_MAX, Setup};
use crate::app::App;
use crate::config::Config;
use crate::error::FieldErrors;

/// A provider that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// How it is talked to.
    pub settings: Settings,
    /// What its word means for an account.
    pub rules: ProviderRules,
    /// Signing out here signs out there too.
    pub logout: bool,
    /// It stands in the configuration.
    pub configured: bool,
}

impl Provider {
    /// Its place in addresses.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// For buttons and words.
    pub fn label(&self) -> &str {
        self.settings.label()
    }

    /// The icon of its button.
    pub fn icon(&self) -> &'static str {
        use providers::Preset as P;
        match self.settings.preset {
            P::Google => "google",
            P::GitLab => "gitlab",
            P::GitHub => "github",
            P::Microsoft => "microsoft",
            P::Oidc => "link",
        }
    }

    /// A person as it vouches for them, in the words of `accounts`.
    pub fn vouched(&self, profile: Profile) -> Vouched {
        Vouched {
            issuer: profile.issuer,
            subject: profile.subject,
            provider: self.name().to_owned(),
            username: profile.username,
            first_name: profile.first_name,
            last_name: profile.last_name,
            email: profile.email,
            email_verified: profile.email_verified,
            acr: profile.acr,
            amr: profile.amr,
            claims: profile.claims,
            auth_time: profile.auth_time,
        }
    }
}

/// Why a provider that an Admin set up cannot be used, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("Its client secret was sealed with a key that is gone. Edit it and enter the secret again.")]
    Secret,
    #[error("Its settings cannot be read. Edit it and save them anew, or remove it.")]
    Settings,
    #[error("Its settings do not fit any more. Edit it: {}", .0.values().cloned().collect::<Vec<_>>().join(" "))]
    Fields(FieldErrors),
}

/// A provider that an Admin set up, whether or not it is enabled.
///
/// # Errors
/// [`Unusable`].
pub fn of_stored(stored: &StoredProvider) -> Result<Provider, Unusable> {
    let setup = Setup::read(&stored.settings).ok_or(Unusable::Settings)?;
    let secret = stored.secret.as_deref().ok_or(Unusable::Secret)?;
    setup.build(&stored.name, secret).map_err(Unusable::Fields)
}

/// The live set, and who talks to them.
pub struct SignInProviders {
    pub connector: Connector,
    configured: Vec<Arc<Provider>>,
    live: RwLock<Arc<Vec<Arc<Provider>>>>,
    /// Those that are disabled and could be used, to be tried by an Admin.
    resting: RwLock<Vec<Arc<Provider>>>,
    /// Those that are enabled and cannot be used, as the log has been told.
    broken: RwLock<Vec<(String, Unusable)>>,
    reloading: tokio::sync::Mutex<()>,
}

impl SignInProviders {
    /// Those of the configuration, which has been checked.
    pub fn new(config: &Config, http: Http, clock: Clock) -> Self {
        let build = |(name, provider): (&String, &crate::config::Provider)| {
            let built = provider.setup(name).build(name, provider.client_secret.expose()).ok()?;
            Some(Arc::new(Provider { configured: true, ..built }))
        };
        let configured: Vec<Arc<Provider>> = config.providers.iter().filter_map(build).collect();
        Self {
            connector: Connector::new(http, clock),
            live: RwLock::new(Arc::new(configured.clone())),
            resting: RwLock::default(),
            broken: RwLock::default(),
            reloading: tokio::sync::Mutex::default(),
            configured,
        }
    }

    /// Those that can be used now, those of the configuration first.
    pub fn live(&self) -> Arc<Vec<Arc<Provider>>> {
        self.live.read().clone()
    }

    /// The one of this name, if it can be used now.
    pub fn get(&self, name: &str) -> Option<Arc<Provider>> {
        self.live.read().iter().find(|provider| provider.name() == name).cloned()
    }

    /// The one of this name, also if it is disabled: for what only Admins do.
    pub fn known(&self, name: &str) -> Option<Arc<Provider>> {
        let resting = || self.resting.read().iter().find(|provider| provider.name() == name).cloned();
        self.get(name).or_else(resting)
    }

    /// Those of the configuration.
    pub fn configured(&self) -> &[Arc<Provider>] {
        &self.configured
    }

    /// Takes what Admins set up into use. One that no longer makes sense is left out with a word in the
    /// log; of two with one name the configuration's counts.
    pub async fn reload(&self, app: &App) -> Result<(), DbError> {
        // What was read first must not replace what was read after a change.
        let _one_at_a_time = self.reloading.lock().await;
        let mut live = self.configured.clone();
        let (mut resting, mut broken) = (Vec::new(), Vec::new());
        for stored in app.accounts.stored_providers().await? {
            if live.iter().any(|provider| provider.name() == stored.name) {
                continue;
            }
            match (of_stored(&stored), stored.enabled) {
                (Ok(provider), true) => live.push(Arc::new(provider)),
                (Ok(provider), false) => resting.push(Arc::new(provider)),
                (Err(_), false) => {}
                (Err(unusable), true) => broken.push((stored.name, unusable)),
            }
        }
        // Each is told once, not at each look.
        let told_before = std::mem::replace(&mut *self.broken.write(), broken.clone());
        for (name, unusable) in broken.iter().filter(|one| !told_before.contains(one)) {
            tracing::warn!(provider.name = name, %unusable, "a provider cannot be used");
        }
        let told = |provider: &Arc<Provider>| LiveProvider {
            name: provider.name().to_owned(),
            label: provider.label().to_owned(),
            issuer: provider.settings.known_issuer(),
        };
        app.accounts.set_live_providers(live.iter().map(told).collect());
        *self.live.write() = Arc::new(live);
        *self.resting.write() = resting;
        Ok(())
    }
}

/// Where a browser comes back to from the provider of this name, exactly as the provider knows it
/// (SEC-68): made of the configured public URL and of nothing else.
pub fn redirect_uri(app: &App, name: &str) -> String {
    app.link(&format!("/login/{name}/authorized"))
}
