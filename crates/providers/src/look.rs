//! A look at a provider from afar: whether it is there, and what time it has. Nobody signs in, and no
//! client id or secret is sent.

use http::header::{ACCEPT, DATE};
use http::{Request, StatusCode};
use url::Url;

use crate::calls::Calls;
use crate::settings::Preset;
use crate::{Connector, ProviderError, Settings, discovery, github};

/// What a look finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// The host that was asked.
    pub host: String,
    /// The `Date` of the answer, as it was sent (RFC 9110, 6.6.1).
    pub date: Option<String>,
}

impl Connector {
    /// Asks for the provider's metadata, GitHub's API for nothing in particular, and believes nothing that was kept.
    ///
    /// # Errors
    /// [`ProviderError::Down`] where it does not answer or not as expected, [`ProviderError::NotVerified`] where it
    /// is another issuer.
    pub async fn look(&self, settings: &Settings) -> Result<Looked, ProviderError> {
        let calls = self.calls(settings);
        if settings.preset != Preset::GitHub {
            let url = discovery::address(&calls)?;
            let answer = calls.send(request(&calls, &url)?).await?;
            let place = format!("{}{}", url.host_str().unwrap_or_default(), url.path());
            if !answer.status().is_success() {
                return Err(calls.down(&format!("{place} answers HTTP {}", answer.status().as_u16())));
            }
            let document = serde_json::from_slice(answer.body())
                .map_err(|_| calls.down(&format!("{place} sends no JSON")))?;
            discovery::read(&calls, document)?;
            return Ok(looked(&url, &answer));
        }
        // Without a token it refuses, and that is GitHub's own answer.
        let url = github::api(&calls, "/user")?;
        let answer = calls.send(request(&calls, &url)?).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(calls.down("there is no GitHub API at this address"));
        }
        Ok(looked(&url, &answer))
    }
}

fn request(calls: &Calls<'_>, url: &Url) -> Result<Request<Vec<u8>>, ProviderError> {
    Request::get(url.as_str())
        .header(ACCEPT, "application/json")
        .body(Vec::new())
        .map_err(|_| calls.down("a request could not be made"))
}

fn looked(url: &Url, answer: &http::Response<Vec<u8>>) -> Looked {
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
    Looked { host: url.host_str().unwrap_or_default().to_owned(), date }
}
