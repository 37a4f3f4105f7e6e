//! GitHub: OAuth 2 and its REST API. <https://docs.github.com/en/apps/oauth-apps>,
//! <https://docs.github.com/en/rest/users>

use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use crate::calls::Calls;
use crate::exchange::{ClientAuth, redeem};
use crate::{Profile, ProviderError, TripSecrets, profile};

const ACCEPTED: &str = "application/vnd.github+json";
const API: &str = "https://api.github.com";

/// One of `/user/emails`.
#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

/// Where a browser begins.
pub(crate) fn authorize_url(calls: &Calls<'_>) -> Result<Url, ProviderError> {
    address(calls, &calls.settings.root(), "/login/oauth/authorize")
}

/// Whether an `iss` parameter is GitHub's own. It has none today; its issuer in OAuth's sense has a path.
pub(crate) fn admits(calls: &Calls<'_>, iss: &str) -> bool {
    let root = calls.settings.root();
    let iss = iss.trim_end_matches('/');
    iss == root || iss.strip_prefix(&root) == Some("/login/oauth")
}

/// Redeems the code and asks who it is. The numeric id is the subject: a login name can change hands.
pub(crate) async fn finish(
    calls: &Calls<'_>,
    redirect_uri: &str,
    code: &str,
    secrets: &TripSecrets,
) -> Result<Profile, ProviderError> {
    let root = calls.settings.root();
    let endpoint = address(calls, &root, "/login/oauth/access_token")?;
    let tokens = redeem(calls, &endpoint, ClientAuth::Post, redirect_uri, code, secrets).await?;
    let token = Some(tokens.access_token.as_str());
    let user = calls.get(&api(calls, "/user")?, token, ACCEPTED).await?;
    // Refused where the scope was taken away: then there is no e-mail.
    let emails = calls.get_if_allowed(&api(calls, "/user/emails")?, token, ACCEPTED).await?;

    let Value::Object(mut claims) = user else { return Err(calls.down("/user is not a person")) };
    let Some(id) = claims.get("id").and_then(Value::as_u64) else {
        return Err(calls.down("/user names no id"));
    };
    // What /user shows is the public address, of which it does not say whether it is verified.
    claims.remove("email");
    claims.remove("email_verified");
    put_email(&mut claims, emails.unwrap_or_default());
    // These are claims of OpenID Connect, and words of nobody's here.
    for claim in ["auth_time", "acr", "amr"] {
        claims.remove(claim);
    }
    Ok(profile::of_claims(root, id.to_string(), claims))
}

/// The primary address, which is the one that GitHub itself writes to.
fn put_email(claims: &mut Map<String, Value>, emails: Value) {
    let all: Vec<Address> = serde_json::from_value(emails).unwrap_or_default();
    if let Some(primary) = all.into_iter().find(|address| address.primary) {
        claims.insert("email".to_owned(), primary.email.into());
        claims.insert("email_verified".to_owned(), primary.verified.into());
    }
}

/// An address of the API.
pub(crate) fn api(calls: &Calls<'_>, path: &str) -> Result<Url, ProviderError> {
    match calls.settings.base_url {
        Some(_) => address(calls, &calls.settings.root(), &format!("/api/v3{path}")),
        None => address(calls, API, path),
    }
}

fn address(calls: &Calls<'_>, root: &str, path: &str) -> Result<Url, ProviderError> {
    Url::parse(&format!("{root}{path}")).map_err(|_| calls.down("its base URL is not an address"))
}
