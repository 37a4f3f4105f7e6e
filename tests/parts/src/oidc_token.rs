//! The ID tokens of the OpenID stub, honest and not.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::oidc::Fault;

/// The key that it signs with now.
pub(crate) struct Keys {
    seed: String,
    generation: u32,
}

impl Keys {
    pub fn new(seed: &str) -> Self {
        Self { seed: seed.to_owned(), generation: 0 }
    }

    pub fn rotate(&mut self) {
        self.generation += 1;
    }

    fn kid(&self) -> String {
        format!("key-{}", self.generation)
    }

    fn signing(&self) -> SigningKey {
        let secret = Sha256::digest(format!("{}#{}", self.seed, self.generation).as_bytes());
        SigningKey::from_slice(&secret).expect("a scalar")
    }

    /// The JWK Set (RFC 7517), with a key of a kind that nobody knows.
    pub fn public(&self) -> Value {
        let key = self.signing();
        let point = key.verifying_key().to_sec1_point(false);
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point.as_bytes()[range]);
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid(), "x": part(1..33), "y": part(33..65)},
            {"kty": "tomorrow", "kid": "unknown-kind"},
        ]})
    }
}

/// What goes into a token beside the person.
pub(crate) struct Making<'a> {
    pub issuer: &'a str,
    pub client: (&'a str, &'a str),
    pub nonce: Option<&'a str>,
    pub access_token: &'a str,
    pub now: i64,
    pub faults: &'a BTreeSet<Fault>,
}

impl Making<'_> {
    /// The token, as honest as the faults leave it.
    pub fn token(&self, keys: &Keys, person: Map<String, Value>) -> String {
        let has = |fault| self.faults.contains(&fault);
        let (alg, kid) = match () {
            () if has(Fault::AlgNone) => ("none", keys.kid()),
            () if has(Fault::Hs256) || has(Fault::Hs256PublicKey) => ("HS256", keys.kid()),
            () if has(Fault::UnknownKid) => ("ES256", "never-published".to_owned()),
            () => ("ES256", keys.kid()),
        };
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = encode(&json!({"alg": alg, "kid": kid, "typ": "JWT"}));
        let signed = format!("{header}.{}", encode(&Value::Object(self.claims(person))));
        let mut signature = match alg {
            "none" => Vec::new(),
            "HS256" => {
                let point = keys.signing().verifying_key().to_sec1_point(false);
                let secret = if has(Fault::Hs256) { self.client.1.as_bytes() } else { point.as_bytes() };
                let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
                mac.update(signed.as_bytes());
                mac.finalize().into_bytes().to_vec()
            }
            _ => {
                let signature: Signature = keys.signing().sign(signed.as_bytes());
                signature.to_bytes().to_vec()
            }
        };
        if has(Fault::BadSignature)
            && let Some(last) = signature.last_mut()
        {
            *last ^= 1;
        }
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn claims(&self, mut claims: Map<String, Value>) -> Map<String, Value> {
        let has = |fault| self.faults.contains(&fault);
        if has(Fault::ThinToken) {
            claims.retain(|claim, _| ["sub", "auth_time", "acr", "amr"].contains(&claim.as_str()));
        }
        if has(Fault::NoAuthTime) {
            claims.remove("auth_time");
        }
        let mut put = |claim: &str, value: Value| claims.insert(claim.to_owned(), value);
        put("iss", if has(Fault::WrongIssuer) { json!("https://other.example") } else { json!(self.issuer) });
        let client = self.client.0;
        put(
            "aud",
            match () {
                () if has(Fault::WrongAudience) => json!("someone-else"),
                () if has(Fault::TwoAudiences) || has(Fault::TwoAudiencesWithAzp) => json!([client, "more"]),
                () => json!(client),
            },
        );
        if has(Fault::TwoAudiencesWithAzp) {
            put("azp", json!(client));
        }
        if has(Fault::WrongAzp) {
            put("azp", json!("someone-else"));
        }
        let (iat, exp) = match () {
            () if has(Fault::FutureIat) => (self.now + 300, self.now + 900),
            () if has(Fault::Expired) => (self.now - 400, self.now - 100),
            () => (self.now, self.now + 300),
        };
        put("iat", json!(iat));
        put("exp", if has(Fault::GarbageClaims) { json!("tomorrow") } else { json!(exp) });
        if has(Fault::FutureNbf) {
            put("nbf", json!(self.now + 300));
        }
        let hashed = if has(Fault::WrongAtHash) { "another token" } else { self.access_token };
        put("at_hash", json!(URL_SAFE_NO_PAD.encode(&Sha256::digest(hashed.as_bytes())[..16])));
        match self.nonce {
            _ if has(Fault::WrongNonce) => {
                put("nonce", json!("another nonce"));
            }
            Some(nonce) if !has(Fault::NoNonce) => {
                put("nonce", json!(nonce));
            }
            _ => {}
        }
        claims
    }
}
