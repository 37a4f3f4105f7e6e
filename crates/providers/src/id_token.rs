//! Verifying an ID token (OpenID Connect Core, 3.1.3.7; SEC-69).
//!
//! The signature is checked over the token as it came. The library's claims check then sees the claims of the
//! protocol only: its types refuse a whole token for an e-mail flag that is text, where we only want not to
//! believe the flag (SEC-71).

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base::{Micros, SECOND};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKey, CoreJwsSigningAlgorithm as Alg};
use openidconnect::{
    AccessToken, AccessTokenHash, ClaimsVerificationError, ClientId, IssuerUrl, JsonWebKey as _,
    JsonWebKeyAlgorithm, JsonWebKeySet, JsonWebKeyUse as _, JwsSigningAlgorithm as _, Nonce,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::calls::Calls;
use crate::discovery::{Cache, Found, Key};
use crate::exchange::Tokens;
use crate::profile::seconds;
use crate::{ProviderError, TripOptions};

/// What may sign: public-key algorithms only, so neither `none` nor one that the client secret could forge.
const ALGORITHMS: [Alg; 9] = [
    Alg::RsaSsaPkcs1V15Sha256,
    Alg::RsaSsaPkcs1V15Sha384,
    Alg::RsaSsaPkcs1V15Sha512,
    Alg::RsaSsaPssSha256,
    Alg::RsaSsaPssSha384,
    Alg::RsaSsaPssSha512,
    Alg::EcdsaP256Sha256,
    Alg::EcdsaP384Sha384,
    Alg::EdDsa,
];
/// How far two clocks may be apart, in seconds.
const LEEWAY: i64 = 60;
/// A token comes straight after the code was redeemed: an older `iat` is a clock's fault, in seconds.
const OLDEST: i64 = 600;
/// How long ago a fresh sign-in may be, in seconds (SEC-57).
const FRESH: i64 = 300;
/// OpenID Connect Core, 2.
const SUBJECT_BYTES: usize = 255;
/// The claims that the library checks.
const CHECKED: [&str; 7] = ["iss", "sub", "aud", "azp", "exp", "iat", "nonce"];

/// A token's claims, verified.
pub(crate) struct Verified {
    pub issuer: String,
    pub subject: String,
    pub claims: Map<String, Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: Value,
    kid: Option<String>,
}

/// A token taken apart, and not believed yet.
struct Parts<'a> {
    token: &'a str,
    header: &'a str,
    signature: &'a str,
    alg: Alg,
    kid: Option<String>,
    claims: Map<String, Value>,
}

/// Verifies the ID token among `tokens`.
pub(crate) async fn verify(
    calls: &Calls<'_>,
    cache: &Cache,
    found: &Found,
    tokens: &Tokens,
    nonce: &str,
    options: TripOptions,
    now: Micros,
) -> Result<Verified, ProviderError> {
    let token = tokens.id_token.as_deref().ok_or_else(|| calls.not_verified("it sends no ID token"))?;
    let parts = take_apart(calls, token)?;
    let issuer = found
        .issuer
        .of_tenant(parts.claims.get("tid").and_then(Value::as_str))
        .ok_or_else(|| calls.not_verified("the ID token's tenant is not one that may sign in"))?;
    let key = key(calls, cache, found, &parts, &issuer).await?;
    check_signature(calls, &parts, &key)?;
    let now = now / SECOND;
    check_claims(calls, &parts, &key, &issuer, nonce, now)?;
    check_parties(calls, &parts.claims)?;
    check_access_token(calls, &parts, &key, &tokens.access_token)?;
    if options.fresh {
        check_fresh(calls, &parts.claims, now)?;
    }
    let subject = match parts.claims.get("sub").and_then(Value::as_str) {
        Some(subject) if (1..=SUBJECT_BYTES).contains(&subject.len()) => subject.to_owned(),
        _ => return Err(calls.not_verified("the ID token names nobody")),
    };
    Ok(Verified { issuer, subject, claims: parts.claims })
}

fn take_apart<'a>(calls: &Calls<'_>, token: &'a str) -> Result<Parts<'a>, ProviderError> {
    let unreadable = || calls.not_verified("the ID token cannot be read");
    let mut pieces = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (pieces.next(), pieces.next(), pieces.next(), pieces.next())
    else {
        return Err(unreadable());
    };
    let decode = |piece: &str| URL_SAFE_NO_PAD.decode(piece).map_err(|_| unreadable());
    let head: Header = serde_json::from_slice(&decode(header)?).map_err(|_| unreadable())?;
    let Ok(Value::Object(claims)) = serde_json::from_slice(&decode(payload)?) else {
        return Err(unreadable());
    };
    let alg = serde_json::from_value::<Alg>(head.alg.clone()).ok().filter(|alg| ALGORITHMS.contains(alg));
    let alg = alg.ok_or_else(|| {
        calls.not_verified(&format!("the ID token is signed by {}, which is not accepted", head.alg))
    })?;
    Ok(Parts { token, header, signature, alg, kid: head.kid, claims })
}

/// The one key that the token may be signed with. Where none is known the keys are fetched again.
async fn key(
    calls: &Calls<'_>,
    cache: &Cache,
    found: &Found,
    parts: &Parts<'_>,
    issuer: &str,
) -> Result<CoreJsonWebKey, ProviderError> {
    let pick = |keys: Arc<Vec<Key>>| {
        let fits = |key: &&Key| {
            let by_id = parts.kid.as_deref().is_none_or(|kid| key.has_id(kid));
            by_id && key.signs_for(issuer) && is_for(&key.key, &parts.alg)
        };
        let mut fitting = keys.iter().filter(fits).map(|key| key.key.clone());
        (fitting.next(), fitting.next().is_some())
    };
    let mut picked = pick(cache.keys(calls, found).await?);
    if picked.0.is_none()
        && let Some(keys) = cache.keys_again(calls, found).await?
    {
        picked = pick(keys);
    }
    match picked {
        (Some(key), false) => Ok(key),
        (Some(_), true) => Err(calls.not_verified("several of its keys fit the ID token")),
        (None, _) => Err(calls.not_verified("the ID token is signed with a key that it does not publish")),
    }
}

/// Whether a key is of the kind that an algorithm needs, and for signing.
fn is_for(key: &CoreJsonWebKey, alg: &Alg) -> bool {
    let by_alg = match key.signing_alg() {
        JsonWebKeyAlgorithm::Unspecified => true,
        JsonWebKeyAlgorithm::Algorithm(own) => own == alg,
        JsonWebKeyAlgorithm::Unsupported => false,
    };
    by_alg
        && key.key_use().is_none_or(|key_use| key_use.allows_signature())
        && alg.key_type().as_ref() == Some(key.key_type())
}

fn check_signature(calls: &Calls<'_>, parts: &Parts<'_>, key: &CoreJsonWebKey) -> Result<(), ProviderError> {
    let wrong = || calls.not_verified("the ID token's signature is wrong");
    let signature = URL_SAFE_NO_PAD.decode(parts.signature).map_err(|_| wrong())?;
    let signed = &parts.token[..parts.token.len() - parts.signature.len() - 1];
    key.verify_signature(&parts.alg, signed.as_bytes(), &signature).map_err(|_| wrong())
}

/// Header, issuer, audience, times and nonce, by the library.
fn check_claims(
    calls: &Calls<'_>,
    parts: &Parts<'_>,
    key: &CoreJsonWebKey,
    issuer: &str,
    nonce: &str,
    now: i64,
) -> Result<(), ProviderError> {
    let unreadable = |_| calls.not_verified("the ID token lacks a claim that it must have");
    let checked: Map<_, _> = CHECKED
        .iter()
        .filter_map(|claim| Some(((*claim).to_owned(), parts.claims.get(*claim)?.clone())))
        .collect();
    let payload = URL_SAFE_NO_PAD.encode(Value::Object(checked).to_string());
    let token: CoreIdToken =
        format!("{}.{payload}.{}", parts.header, parts.signature).parse().map_err(unreadable)?;
    let issuer =
        IssuerUrl::new(issuer.to_owned()).map_err(|_| calls.not_verified("its issuer is no address"))?;
    let earliest = now - LEEWAY;
    let verifier = CoreIdTokenVerifier::new_public_client(
        ClientId::new(calls.settings.client_id.clone()),
        issuer,
        JsonWebKeySet::new(vec![key.clone()]),
    )
    // The signature was checked over the whole token; here is only a part of it.
    .insecure_disable_signature_check()
    // Others may be named beside us, if the token was issued to us: see check_parties.
    .set_other_audience_verifier_fn(|_| true)
    .set_time_fn(move || (UNIX_EPOCH + Duration::from_secs(u64::try_from(earliest).unwrap_or(0))).into())
    .set_issue_time_verifier_fn(move |issued| match issued.timestamp() - now {
        ahead if ahead > LEEWAY => Err(format!("the ID token was issued {ahead} s in the future")),
        ahead if ahead < -OLDEST => Err(format!("the ID token was issued {} s ago", -ahead)),
        _ => Ok(()),
    });
    match token.claims(&verifier, &Nonce::new(nonce.to_owned())) {
        Ok(_) => check_not_before(calls, &parts.claims, now),
        Err(ClaimsVerificationError::Expired(cause)) => Err(calls.clock(&cause)),
        Err(error) => Err(calls.not_verified(&error.to_string())),
    }
}

/// `nbf` (RFC 7519, 4.1.5): OpenID Connect does not need it, some providers send it.
fn check_not_before(calls: &Calls<'_>, claims: &Map<String, Value>, now: i64) -> Result<(), ProviderError> {
    match claims.get("nbf").map(seconds) {
        None => Ok(()),
        Some(None) => Err(calls.not_verified("the ID token says in no number from when on it holds (nbf)")),
        Some(Some(from)) if from.saturating_sub(now) > LEEWAY => {
            Err(calls.clock("the ID token holds only from a later time on (nbf)"))
        }
        Some(Some(_)) => Ok(()),
    }
}

/// `azp`: who the token was issued to. With several audiences it must say so.
fn check_parties(calls: &Calls<'_>, claims: &Map<String, Value>) -> Result<(), ProviderError> {
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    match claims.get("azp") {
        Some(azp) if azp.as_str() == Some(&calls.settings.client_id) => Ok(()),
        Some(_) => Err(calls.not_verified("the ID token was issued to another client (azp)")),
        None if several => Err(calls.not_verified("the ID token has several audiences and no azp")),
        None => Ok(()),
    }
}

/// `at_hash` (3.1.3.8): the access token belongs to this ID token.
fn check_access_token(
    calls: &Calls<'_>,
    parts: &Parts<'_>,
    key: &CoreJsonWebKey,
    access_token: &str,
) -> Result<(), ProviderError> {
    let Some(told) = parts.claims.get("at_hash") else { return Ok(()) };
    let access_token = AccessToken::new(access_token.to_owned());
    let computed = AccessTokenHash::from_token(&access_token, &parts.alg, key)
        .map_err(|_| calls.not_verified("at_hash cannot be computed"))?;
    if told.as_str() == Some(computed.as_str()) {
        Ok(())
    } else {
        Err(calls.not_verified("the access token is not the ID token's (at_hash)"))
    }
}

/// The person signed in there just now (SEC-57). A provider that does not say when has not shown it.
fn check_fresh(calls: &Calls<'_>, claims: &Map<String, Value>, now: i64) -> Result<(), ProviderError> {
    let Some(at) = claims.get("auth_time").and_then(seconds) else {
        return Err(calls.not_verified("it does not say when the person signed in (auth_time)"));
    };
    match now.saturating_sub(at) {
        ago if ago < -LEEWAY => Err(calls.clock(&format!("the person signed in {} s in the future", -ago))),
        ago if ago > FRESH => Err(calls.not_verified(&format!("the person signed in {ago} s ago, not anew"))),
        _ => Ok(()),
    }
}
