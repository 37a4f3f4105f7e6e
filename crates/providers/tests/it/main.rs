//! The protocols against providers on loopback that can lie.

#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

mod github;
mod limits;
mod look;
mod openid;
mod sent;
mod settings;

use std::collections::BTreeMap;

use base::{Clock, Random, SECOND};
use parts::oidc::{CLIENT_ID, CLIENT_SECRET, OidcStub};
use providers::{Callback, Connector, Preset, Profile, ProviderError, Settings, TripOptions, TripSecrets};
use upstream::{Http, Options};
use url::Url;

/// Where the product waits for browsers.
const BACK: &str = "https://chat.example.com/login/corp/authorized";
/// 2027-01-15, Unix seconds.
const NOW: i64 = 1_800_000_000;
const ANEW: TripOptions = TripOptions { fresh: true, choose: false };

/// The product's side of a trip.
struct Side {
    connector: Connector,
    clock: Clock,
    random: Random,
}

impl Side {
    fn new() -> Self {
        let clock = Clock::manual(NOW * SECOND);
        let http = Http::new(&Options::default()).unwrap();
        Self { connector: Connector::new(http, clock.clone()), clock, random: Random::seeded(1) }
    }

    fn secrets(&self) -> TripSecrets {
        TripSecrets { nonce: self.random.token(), verifier: self.random.token() }
    }

    /// A whole sign-in: there, as a browser, and back.
    async fn sign_in(&self, settings: &Settings) -> Result<Profile, ProviderError> {
        self.sign_in_as(settings, TripOptions::default()).await
    }

    async fn sign_in_as(&self, settings: &Settings, options: TripOptions) -> Result<Profile, ProviderError> {
        let secrets = self.secrets();
        let callback = self.go(settings, &secrets, options).await?;
        self.connector.finish(settings, BACK, &callback, &secrets, options).await
    }

    /// The first half, and the browser's part.
    async fn go(
        &self,
        settings: &Settings,
        secrets: &TripSecrets,
        options: TripOptions,
    ) -> Result<Callback, ProviderError> {
        let state = self.random.token();
        let trip = self.connector.begin(settings, BACK, &state, secrets, options).await?;
        let browser = parts::http::Client::new("http://127.0.0.1:1");
        let reply = browser.get(trip.url.as_str()).await;
        let back = Url::parse(reply.location().unwrap_or_else(|| panic!("{reply:?}"))).unwrap();
        assert!(back.as_str().starts_with(BACK));
        let mut query: BTreeMap<String, String> = back.query_pairs().into_owned().collect();
        assert_eq!(query.remove("state"), Some(state));
        Ok(Callback { code: query.remove("code"), iss: query.remove("iss"), error: query.remove("error") })
    }
}

/// A stub whose clock agrees with the product's.
async fn stub() -> OidcStub {
    let stub = OidcStub::start().await;
    stub.set_time(NOW);
    stub
}

fn settings(preset: Preset) -> Settings {
    Settings {
        name: "corp".to_owned(),
        preset,
        label: "Corp".to_owned(),
        client_id: CLIENT_ID.to_owned(),
        client_secret: CLIENT_SECRET.to_owned(),
        base_url: None,
        tenant: None,
        issuer: None,
        scopes: Vec::new(),
    }
}

fn oidc(stub: &OidcStub) -> Settings {
    Settings { issuer: Some(Url::parse(stub.issuer()).unwrap()), ..settings(Preset::Oidc) }
}
