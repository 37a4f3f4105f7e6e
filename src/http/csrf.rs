//! Tokens of forms and scripts (SEC-83), and where a request may come from.
//!
//! A token is a fresh nonce and an HMAC of it under the session's secret (or, signed out, under the
//! visitor cookie). It differs on each page, so that compression beside it tells nothing (BREACH).

use axum::http::{HeaderMap, header};
use base::Random;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Config;

const NONCE: usize = 12;
const MAC: usize = 16;

/// A new token under `secret`.
pub fn token(random: &Random, secret: &str) -> String {
    let nonce = random.bytes::<NONCE>();
    let mut out = nonce.to_vec();
    out.extend_from_slice(&mac(secret, &nonce)[..MAC]);
    URL_SAFE_NO_PAD.encode(out)
}

/// Whether `token` was made under `secret`. Takes the same time for any wrong token.
pub fn valid(secret: &str, token: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else { return false };
    let Some((nonce, given)) = bytes.split_at_checked(NONCE) else { return false };
    given.len() == MAC && base::seal::same(&mac(secret, nonce)[..MAC], given)
}

fn mac(secret: &str, nonce: &[u8]) -> [u8; 32] {
    let mut key = [0u8; 32];
    for (slot, byte) in key.iter_mut().zip(secret.bytes().chain(std::iter::repeat(0))) {
        *slot = byte;
    }
    base::seal::hmac_sha256(&key, nonce)
}

/// Where an unsafe request comes from, by `Sec-Fetch-Site` and `Origin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Our own page.
    Own,
    /// An origin of the CORS allow-list.
    Allowed,
    /// No browser said anything: a program.
    Unsaid,
    /// Anything else, `null` too: refused whatever the token.
    Foreign,
}

/// Judges where the request comes from.
pub fn source(headers: &HeaderMap, config: &Config) -> Source {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("null"));
    let site = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or(""));
    if let Some(origin) = text(header::ORIGIN) {
        if own_origin(origin, headers, config) {
            // Where both are sent, both must say so.
            return if site.is_none_or(|site| site == "same-origin") { Source::Own } else { Source::Foreign };
        }
        if config.server.cors_origins.iter().any(|allowed| allowed.as_str() == origin) {
            return Source::Allowed;
        }
        return Source::Foreign;
    }
    match site {
        Some("same-origin") => Source::Own,
        Some(_) => Source::Foreign,
        None => Source::Unsaid,
    }
}

/// The public URL's origin; in development also the loopback names on the own port.
fn own_origin(origin: &str, headers: &HeaderMap, config: &Config) -> bool {
    if origin == config.public_origin() {
        return true;
    }
    if !config.is_development() {
        return false;
    }
    let Some(host) = origin.strip_prefix("http://") else { return false };
    let (name, _port) = host.rsplit_once(':').unwrap_or((host, "80"));
    let loopback = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    // The browser sent it to the address that it is served from.
    loopback && headers.get(header::HOST).and_then(|host| host.to_str().ok()) == Some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-83
    #[test]
    fn sec_83_a_token_holds_only_for_its_secret_and_differs_each_time() {
        let random = Random::os();
        let secret = random.token();
        let (one, two) = (token(&random, &secret), token(&random, &secret));
        assert_ne!(one, two);
        assert!(valid(&secret, &one) && valid(&secret, &two));
        assert!(!valid(&random.token(), &one));
        assert!(!valid(&secret, ""));
        assert!(!valid(&secret, &one[..one.len() - 2]));
        assert!(!valid(&secret, "é"));
    }
}
