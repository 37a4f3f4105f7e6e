//! `[upstreams.<name>]`: model servers that the operator names.

use upstream::parse_base_url;
use url::Url;

use super::section::section;
use super::value::{Secret, Value, Wrong, quoted};

section! {
    /// An OpenAI-compatible model server, under a name of your choice; there may be several. One
    /// named here is enabled for everybody. `OPENAI_BASE_URL` and `OPENAI_API_KEY` make one that
    /// is named `openai`.
    Upstream in "upstreams.<name>" {
        /// Where it is, for instance `https://api.openai.com/v1` or `http://localhost:11434`; an
        /// address without a path gets `/v1`.
        base_url: Option<BaseUrl> = None,
        /// Its key, where it wants one. It is sent to this address and nowhere else.
        api_key: Option<Secret> = None,
    }
}

impl Upstream {
    pub(super) fn check(&self, name: &str, wrong: &mut super::Problems) {
        if self.base_url.is_none() {
            wrong.missing(
                &format!("upstreams.{name}.base_url"),
                "an address such as https://api.openai.com/v1",
            );
        }
    }
}

/// Whether `name` may name an upstream.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    (1..=32).contains(&name.len()) && name.chars().all(allowed)
}

/// The base URL of a model server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(pub Url);

impl Value for BaseUrl {
    const EXPECTED: &'static str = "an address such as https://api.openai.com/v1";
    /// Somebody may have put a password into it.
    const SECRET: bool = true;

    fn from_text(text: &str) -> Result<Self, Wrong> {
        parse_base_url(text).map(Self).map_err(|error| Wrong::because(error.to_string()))
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self.0.as_str()))
    }
}
