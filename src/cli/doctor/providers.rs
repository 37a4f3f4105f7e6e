//! The identity providers: whether each is there, is who it should be, and has the same time. Nobody signs
//! in, and no client id or secret is sent.

use accounts::StoredProvider;
use base::Clock;
use providers::Connector;

use super::{Finding, clock};
use crate::app::App;
use crate::config::Config;
use crate::models::Models;
use crate::sign_in_providers::{Provider, of_stored};

/// Those of the configuration, and with `app` those that an Admin added and enabled. No line where there are none.
pub async fn check(config: &Config, clock: &Clock, app: Option<&App>) -> Vec<Finding> {
    let (found, mut findings) = found(config, app).await;
    if found.is_empty() {
        return findings;
    }
    let own;
    let connector = match app {
        Some(app) => &app.providers.connector,
        None => match Models::new(config, clock, None) {
            Ok(models) => {
                own = Connector::new(models.http, clock.clone());
                &own
            }
            Err(error) => return vec![Finding::fail("providers", error.to_string())],
        },
    };
    let roles = match app {
        Some(app) => app.accounts.roles().await.ok(),
        None => None,
    };
    for provider in found {
        let name = format!("provider {}", provider.name());
        let start = clock.monotonic();
        let looked = match connector.look(&provider.settings).await {
            Ok(looked) => looked,
            Err(error) => {
                findings.push(Finding::fail(name, error.to_string()));
                continue;
            }
        };
        let millis = (clock.monotonic() - start) / 1_000;
        let exists = |named: &str| {
            roles.as_ref().is_none_or(|roles| {
                roles.iter().any(|role| role.id == named || role.name.to_lowercase() == named.to_lowercase())
            })
        };
        let unknown = provider.rules.roles.iter().map(|(_, role)| role).find(|role| !exists(role));
        findings.push(match unknown {
            Some(role) => Finding::warn(
                name,
                format!(
                    "{} answers in {millis} ms; its roles name {role}, which does not exist",
                    looked.host
                ),
            ),
            None => Finding::ok(name, format!("{} answers in {millis} ms", looked.host)),
        });
        let theirs = looked.date.as_deref().and_then(clock::http_date);
        findings.extend(
            theirs.map(|theirs| clock::compare_for("what it signs", provider.label(), clock.now(), theirs)),
        );
    }
    findings
}

async fn found(config: &Config, app: Option<&App>) -> (Vec<Provider>, Vec<Finding>) {
    let build = |(name, provider): (&String, &crate::config::Provider)| {
        // What does not fit has stopped the program before.
        provider.setup(name).build(name, provider.client_secret.expose()).ok()
    };
    let mut found: Vec<Provider> = config.providers.iter().filter_map(build).collect();
    let mut findings = Vec::new();
    let stored: Vec<StoredProvider> = match app {
        None => Vec::new(),
        Some(app) => match app.accounts.stored_providers().await {
            Ok(stored) => stored,
            Err(error) => {
                findings.push(Finding::fail("providers", error.to_string()));
                Vec::new()
            }
        },
    };
    for stored in
        stored.iter().filter(|stored| stored.enabled && !config.providers.contains_key(&stored.name))
    {
        match of_stored(stored) {
            Ok(provider) => found.push(provider),
            Err(unusable) => {
                findings.push(Finding::fail(format!("provider {}", stored.name), unusable.to_string()))
            }
        }
    }
    (found, findings)
}
