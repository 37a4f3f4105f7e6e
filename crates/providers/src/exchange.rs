//! The code for tokens (RFC 6749, 4.1.3; RFC 7636, 4.5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use crate::calls::Calls;
use crate::{ProviderError, Settings, TripSecrets};

/// How the client shows who it is (OpenID Connect Core, 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    Basic,
    Post,
}

/// What the token endpoint gives. Kept for as long as the trip takes, never stored.
#[derive(Deserialize)]
pub(crate) struct Tokens {
    pub access_token: String,
    pub id_token: Option<String>,
}

/// RFC 6749, 5.2. GitHub sends it with the status 200.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Redeems a code.
pub(crate) async fn redeem(
    calls: &Calls<'_>,
    endpoint: &Url,
    auth: ClientAuth,
    redirect_uri: &str,
    code: &str,
    secrets: &TripSecrets,
) -> Result<Tokens, ProviderError> {
    let settings = calls.settings;
    let form = form(settings, auth, redirect_uri, code, secrets);
    let mut request = Request::post(endpoint.as_str())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if auth == ClientAuth::Basic {
        request = request.header(AUTHORIZATION, basic(&settings.client_id, &settings.client_secret));
    }
    let request =
        request.body(form.into_bytes()).map_err(|_| calls.client("client id or secret cannot be sent"))?;
    let answer = calls.send(request).await?;
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(answer.body()) {
        return Err(refused(calls, &refusal, code, secrets));
    }
    match answer.status().as_u16() {
        200..=299 => serde_json::from_slice(answer.body())
            .map_err(|_| calls.down("the token endpoint sends something else than tokens")),
        401 | 403 => Err(calls.client("the token endpoint answers HTTP 401 or 403")),
        status => Err(calls.down(&format!("the token endpoint answers HTTP {status}"))),
    }
}

/// RFC 6749, 4.1.3, with RFC 7636, 4.5.
fn form(
    settings: &Settings,
    auth: ClientAuth,
    redirect_uri: &str,
    code: &str,
    secrets: &TripSecrets,
) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code)
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("code_verifier", &secrets.verifier);
    if auth == ClientAuth::Post {
        form.append_pair("client_id", &settings.client_id)
            .append_pair("client_secret", &settings.client_secret);
    }
    form.finish()
}

/// RFC 6749, 2.3.1: both parts are form-encoded before they are joined.
fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(id), encode(secret))))
}

fn refused(calls: &Calls<'_>, refusal: &Refusal, code: &str, secrets: &TripSecrets) -> ProviderError {
    let text = format!("{}: {}", refusal.error, refusal.error_description);
    let cause = calls.scrub(text.trim_end_matches([':', ' ']), code, secrets);
    let description = refusal.error_description.to_ascii_lowercase();
    let names_redirect =
        ["redirect_uri", "redirect uri", "redirect url"].iter().any(|w| description.contains(w));
    match refusal.error.as_str() {
        "server_error" | "temporarily_unavailable" | "slow_down" => calls.down(&cause),
        "access_denied" => calls.denied(&cause),
        // RFC 6749 has no error of its own for a redirect address that is not the registered one.
        "invalid_grant" | "bad_verification_code" if !names_redirect => calls.not_verified(&cause),
        _ => calls.client(&cause),
    }
}
