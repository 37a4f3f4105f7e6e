//! The two halves of a trip: the address to send a browser to, and what it brings back.

use std::time::Duration;

use base::Clock;
use openidconnect::{PkceCodeChallenge, PkceCodeVerifier};
use serde_json::Value;
use upstream::Http;
use url::Url;

use crate::calls::{Calls, TIMEOUT};
use crate::discovery::{Cache, Found};
use crate::exchange::redeem;
use crate::settings::Preset;
use crate::{
    Callback, Profile, ProviderError, Settings, Trip, TripOptions, TripSecrets, github, id_token, profile,
};

/// Talks to providers. One for the process: it keeps what they say of themselves, and their keys, for an hour.
pub struct Connector {
    http: Http,
    clock: Clock,
    cache: Cache,
    timeout: Duration,
}

impl Connector {
    #[must_use]
    pub fn new(http: Http, clock: Clock) -> Self {
        Self { http, cache: Cache::new(clock.clone()), clock, timeout: TIMEOUT }
    }

    /// The same with another time for each call, for tests.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The address to send the browser to (SEC-68). `redirect_uri` is where it comes back to, exactly as the
    /// provider knows it; `state` is of 256 bit and bound to the browser by the caller.
    ///
    /// # Errors
    /// [`ProviderError::Down`] where the provider's metadata cannot be had, [`ProviderError::NotVerified`] where
    /// they are another issuer's, or where it cannot make a person sign in anew.
    pub async fn begin(
        &self,
        settings: &Settings,
        redirect_uri: &str,
        state: &str,
        secrets: &TripSecrets,
        options: TripOptions,
    ) -> Result<Trip, ProviderError> {
        let calls = self.calls(settings);
        if options.fresh && !settings.preset.can_sign_in_anew() {
            return Err(calls.not_verified("it cannot make a person sign in anew"));
        }
        let mut url = match settings.preset {
            Preset::GitHub => github::authorize_url(&calls)?,
            _ => self.cache.find(&calls).await?.authorize.clone(),
        };
        let challenge = challenge(&secrets.verifier).ok_or_else(|| calls.not_verified("no PKCE verifier"))?;
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", &settings.client_id)
                .append_pair("redirect_uri", redirect_uri)
                .append_pair("scope", &settings.scope())
                .append_pair("state", state)
                .append_pair("code_challenge", challenge.as_str())
                .append_pair("code_challenge_method", challenge.method().as_str());
            if settings.preset != Preset::GitHub {
                query.append_pair("nonce", &secrets.nonce);
            }
            if options.fresh {
                query.append_pair("max_age", "0").append_pair("prompt", "login");
            } else if options.choose && settings.preset.can_choose() {
                query.append_pair("prompt", "select_account");
            }
        }
        Ok(Trip { url })
    }

    /// The person, of what the browser brought back. The caller has checked and consumed `state`.
    ///
    /// # Errors
    /// [`ProviderError`], by who has to do something.
    pub async fn finish(
        &self,
        settings: &Settings,
        redirect_uri: &str,
        callback: &Callback,
        secrets: &TripSecrets,
        options: TripOptions,
    ) -> Result<Profile, ProviderError> {
        let calls = self.calls(settings);
        if let Some(error) = callback.error.as_deref() {
            return Err(refused(&calls, error));
        }
        if settings.preset == Preset::GitHub {
            if options.fresh {
                return Err(calls.not_verified("it cannot make a person sign in anew"));
            }
            let admitted = callback.iss.as_deref().is_none_or(|iss| github::admits(&calls, iss));
            check_iss(&calls, admitted)?;
            return github::finish(&calls, redirect_uri, code(&calls, callback)?, secrets).await;
        }
        let found = self.cache.find(&calls).await?;
        // Before the code is shown to anyone: it may be another provider's (RFC 9207, 2.4).
        check_iss(
            &calls,
            match callback.iss.as_deref() {
                Some(iss) => found.issuer.admits(iss),
                None => !found.sends_iss,
            },
        )?;
        let code = code(&calls, callback)?;
        let tokens = redeem(&calls, &found.token, found.client_auth, redirect_uri, code, secrets).await?;
        let mut verified =
            id_token::verify(&calls, &self.cache, &found, &tokens, &secrets.nonce, options, self.clock.now())
                .await?;
        self.add_user_info(&calls, &found, &tokens.access_token, &mut verified).await?;
        Ok(profile::of_claims(verified.issuer, verified.subject, verified.claims))
    }

    /// Where a browser may be sent to sign out at the provider too (OpenID Connect RP-Initiated Logout 1.0),
    /// coming back to `post_logout`. `None` where it offers no such thing, or cannot be asked now.
    pub async fn end_session(&self, settings: &Settings, post_logout: &str) -> Option<Url> {
        if settings.preset == Preset::GitHub {
            return None;
        }
        let mut url = self.cache.find(&self.calls(settings)).await.ok()?.end_session.clone()?;
        url.query_pairs_mut()
            .append_pair("client_id", &settings.client_id)
            .append_pair("post_logout_redirect_uri", post_logout);
        Some(url)
    }

    /// UserInfo (OpenID Connect Core, 5.3): needed where the ID token has no e-mail, and asked where groups are
    /// told only there. An answer about someone else ends the sign-in, a missing one only where it is needed.
    async fn add_user_info(
        &self,
        calls: &Calls<'_>,
        found: &Found,
        access_token: &str,
        verified: &mut id_token::Verified,
    ) -> Result<(), ProviderError> {
        let needed = profile::email(&verified.claims).is_none();
        let wanted = matches!(calls.settings.preset, Preset::GitLab | Preset::Oidc);
        let Some(url) = found.user_info.as_ref().filter(|_| needed || wanted) else { return Ok(()) };
        match calls.get(url, Some(access_token), "application/json").await {
            Ok(Value::Object(info)) => {
                if info.get("sub").and_then(Value::as_str) != Some(&verified.subject) {
                    return Err(calls.not_verified("its UserInfo is about someone else (sub)"));
                }
                profile::complete(&mut verified.claims, info);
                Ok(())
            }
            Ok(_) if needed => Err(calls.down("its UserInfo is no object")),
            Err(error) if needed => Err(error),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(provider.name = calls.settings.name, %error, "UserInfo left out");
                Ok(())
            }
        }
    }

    pub(crate) fn calls<'a>(&'a self, settings: &'a Settings) -> Calls<'a> {
        Calls { http: &self.http, settings, timeout: self.timeout }
    }
}

/// RFC 7636, 4.2. `None` for a verifier that is not one (4.1).
fn challenge(verifier: &str) -> Option<PkceCodeChallenge> {
    let is_verifier = (43..=128).contains(&verifier.len())
        && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    is_verifier
        .then(|| PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.to_owned())))
}

fn code<'a>(calls: &Calls<'_>, callback: &'a Callback) -> Result<&'a str, ProviderError> {
    callback
        .code
        .as_deref()
        .filter(|code| !code.is_empty())
        .ok_or_else(|| calls.not_verified("the browser came back without a code"))
}

fn check_iss(calls: &Calls<'_>, admitted: bool) -> Result<(), ProviderError> {
    if admitted {
        Ok(())
    } else {
        Err(calls.not_verified("the browser came back from another issuer, or one that is not named (iss)"))
    }
}

/// Errors by which nobody is let through: of RFC 6749, of OpenID Connect Core, and of its addition Unmet
/// Authentication Requirements.
const DENIALS: [&str; 6] = [
    "access_denied",
    "login_required",
    "account_selection_required",
    "consent_required",
    "interaction_required",
    "unmet_authentication_requirements",
];

/// An error that the browser brought (RFC 6749, 4.1.2.1; OpenID Connect Core, 3.1.2.6). Anyone can write such an
/// address, so only known words are passed on.
fn refused(calls: &Calls<'_>, error: &str) -> ProviderError {
    match error {
        "server_error" | "temporarily_unavailable" => calls.down(error),
        "unauthorized_client"
        | "invalid_client"
        | "invalid_request"
        | "invalid_scope"
        | "invalid_resource"
        | "redirect_uri_mismatch"
        | "application_suspended"
        | "unsupported_response_type" => calls.client(error),
        known if DENIALS.contains(&known) => calls.denied(known),
        _ => calls.denied("an error that is none of the protocol's"),
    }
}
