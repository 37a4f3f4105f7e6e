//! One upstream: where it is and the key that only it gets.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use url::Url;

use crate::address::Reach;
use crate::failure::{Failed, Failure};

/// An API key. It never shows in `Debug`, and causes are scrubbed of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a key; white space around it (a pasted line end) is dropped.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self(Arc::from(key.trim()))
    }

    /// The key itself, for sending or sealing it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// An OpenAI-compatible server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Stable id of the upstream.
    pub id: String,
    /// The name an Admin gave it.
    pub name: String,
    /// Base URL as [`parse_base_url`] gives it.
    pub base_url: Url,
    /// Sent as a bearer token to this base URL and nowhere else.
    pub api_key: Option<Secret>,
    /// How far its address may lead.
    pub reach: Reach,
}

impl Endpoint {
    /// The URL of an API method, such as `chat/completions`.
    #[must_use]
    pub fn url(&self, method: &str) -> Url {
        let mut url = self.base_url.clone();
        let base = url.path().trim_end_matches('/');
        let path = format!("{base}/{method}");
        url.set_path(&path);
        url
    }

    /// The `Authorization` header, marked sensitive; `None` without a key.
    pub(crate) fn authorization(&self) -> Result<Option<HeaderValue>, Failed> {
        let Some(key) = self.api_key.as_ref().filter(|key| !key.0.is_empty()) else {
            return Ok(None);
        };
        let mut value = HeaderValue::try_from(format!("Bearer {}", key.0)).map_err(|_| {
            Failed::new(Failure::Unauthorized, "the API key holds characters that no HTTP header can carry")
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// Why a text is not a base URL, in words for the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUrl(&'static str);

/// Reads the base URL of an upstream. A bare host (`http://localhost:11434`) gets `/v1`; any
/// path given is kept as it is, without a slash at its end.
///
/// # Errors
/// [`BadUrl`] for anything but an http or https URL with a host and without user, password,
/// query or fragment.
pub fn parse_base_url(text: &str) -> Result<Url, BadUrl> {
    const EXAMPLE: &str =
        "This is not a web address. Enter the server's base URL, such as https://api.openai.com/v1.";
    let mut url = Url::parse(text.trim()).map_err(|_| BadUrl(EXAMPLE))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadUrl("The address must begin with http:// or https://."));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(BadUrl(EXAMPLE));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadUrl(
            "The address must not contain a user name or password. Enter the key in its own field.",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(BadUrl("The address must not contain “?” or “#”. Enter only the base URL."));
    }
    let path = match url.path().trim_end_matches('/') {
        "" => "/v1",
        path => path,
    }
    .to_owned();
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_completed_and_joined() {
        for (given, base, chat) in [
            (
                "http://localhost:11434",
                "http://localhost:11434/v1",
                "http://localhost:11434/v1/chat/completions",
            ),
            (
                "http://localhost:11434/",
                "http://localhost:11434/v1",
                "http://localhost:11434/v1/chat/completions",
            ),
            (
                " https://api.openai.com/v1 ",
                "https://api.openai.com/v1",
                "https://api.openai.com/v1/chat/completions",
            ),
            (
                "https://api.openai.com/v1/",
                "https://api.openai.com/v1",
                "https://api.openai.com/v1/chat/completions",
            ),
            ("https://host/openai/v3", "https://host/openai/v3", "https://host/openai/v3/chat/completions"),
            ("http://[::1]:8080", "http://[::1]:8080/v1", "http://[::1]:8080/v1/chat/completions"),
        ] {
            let Ok(url) = parse_base_url(given) else {
                panic!("refused {given}");
            };
            assert_eq!(url.as_str(), base);
            let endpoint = Endpoint {
                id: "e".into(),
                name: "E".into(),
                base_url: url,
                api_key: None,
                reach: Reach::Configured,
            };
            assert_eq!(endpoint.url("chat/completions").as_str(), chat);
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused_in_words() {
        for given in [
            "",
            "localhost:11434",
            "ftp://host",
            "file:///etc/passwd",
            "http://",
            "http://user@host",
            "http://user:pw@host/v1",
            "http://host/v1?key=1",
            "http://host/v1#x",
            "javascript:alert(1)",
        ] {
            let error = parse_base_url(given).err().map(|error| error.to_string());
            assert!(error.is_some_and(|words| words.ends_with('.')), "{given}");
        }
    }

    #[test]
    fn a_secret_does_not_show() {
        assert_eq!(format!("{:?}", Secret::new("sk-very-secret")), "***");
        assert_eq!(Secret::new(" sk-1\n").expose(), "sk-1");
    }
}
