//! One call to a provider: where it may go, how long it may take, and what its status means (SEC-75).

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION};
use http::{Request, Response};
use serde_json::Value;
use upstream::{Http, Reach};
use url::Url;

use crate::settings::{Settings, is_loopback};
use crate::{ProviderError, TripSecrets};

/// The longest that one call may take, from connecting to the last byte.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer, in bytes.
pub const BODY_CAP: usize = 1024 * 1024;
/// The longest piece of a provider's words that goes into a cause, in characters.
const WORDS: usize = 200;

/// Calls to one provider.
pub(crate) struct Calls<'a> {
    pub http: &'a Http,
    pub settings: &'a Settings,
    pub timeout: Duration,
}

impl Calls<'_> {
    /// Sends a request. An answer of 5xx, of 429 or a redirect is [`ProviderError::Down`]; others come back as
    /// they are.
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ProviderError> {
        let url = Url::parse(&request.uri().to_string()).map_err(|_| self.down("an address is not one"))?;
        let reach = self.reach(&url)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let answer = self
            .http
            .fetch(reach, request, self.timeout, BODY_CAP)
            .await
            .map_err(|failed| self.down(&format!("{host}: {failed}")))?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(self.down(&format!("{host} redirects, which is not followed (SEC-75)")));
        }
        if status.is_server_error() || status.as_u16() == 429 {
            return Err(self.down(&format!("{host} answers HTTP {}", status.as_u16())));
        }
        Ok(answer)
    }

    /// GET of a JSON document, with a Bearer token where one is given.
    pub async fn get(&self, url: &Url, token: Option<&str>, accept: &str) -> Result<Value, ProviderError> {
        self.get_if_allowed(url, token, accept).await?.map_err(|status| {
            self.down(&format!("{}{} answers HTTP {status}", url.host_str().unwrap_or_default(), url.path()))
        })
    }

    /// The same, where a 4xx is an answer too: it comes back as its status.
    pub async fn get_if_allowed(
        &self,
        url: &Url,
        token: Option<&str>,
        accept: &str,
    ) -> Result<Result<Value, u16>, ProviderError> {
        let mut request = Request::get(url.as_str()).header(ACCEPT, accept);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Vec::new()).map_err(|_| self.down("a request could not be made"))?;
        let answer = self.send(request).await?;
        if !answer.status().is_success() {
            return Ok(Err(answer.status().as_u16()));
        }
        let place = format!("{}{}", url.host_str().unwrap_or_default(), url.path());
        serde_json::from_slice(answer.body())
            .map(Ok)
            .map_err(|_| self.down(&format!("{place} sends no JSON")))
    }

    /// The host that the operator wrote may be private; any other that a provider names must be public, and be
    /// called by https.
    fn reach(&self, url: &Url) -> Result<Reach, ProviderError> {
        let own = self.settings.own().filter(|own| own.host() == url.host());
        let plain_allowed = own.is_some_and(|own| own.scheme() == "http" && is_loopback(own));
        match (url.scheme(), own) {
            ("https", Some(_)) => Ok(Reach::Configured),
            ("https", None) => Ok(Reach::Public),
            ("http", Some(_)) if plain_allowed => Ok(Reach::Configured),
            _ => Err(self.down(&format!("{} is not https", url.host_str().unwrap_or_default()))),
        }
    }

    /// Whether a browser may be sent to an address that the provider names.
    pub fn for_browser(&self, url: &Url) -> Result<Url, ProviderError> {
        self.reach(url).map(|_| url.clone())
    }

    fn name(&self) -> String {
        self.settings.label().to_owned()
    }

    pub fn down(&self, cause: &str) -> ProviderError {
        ProviderError::Down { name: self.name(), cause: words(cause) }
    }

    pub fn denied(&self, error: &str) -> ProviderError {
        ProviderError::Denied { name: self.name(), error: words(error) }
    }

    pub fn client(&self, cause: &str) -> ProviderError {
        ProviderError::Client { name: self.name(), cause: words(cause) }
    }

    pub fn not_verified(&self, cause: &str) -> ProviderError {
        ProviderError::NotVerified { name: self.name(), cause: words(cause) }
    }

    pub fn clock(&self, cause: &str) -> ProviderError {
        ProviderError::Clock { name: self.name(), cause: words(cause) }
    }

    /// What a provider says, without what it may have copied from our request.
    pub fn scrub(&self, text: &str, code: &str, secrets: &TripSecrets) -> String {
        [self.settings.client_secret.as_str(), code, secrets.verifier.as_str(), secrets.nonce.as_str()]
            .iter()
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(*secret, "***"))
    }
}

/// One line, cut to size.
fn words(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS).collect()
}
