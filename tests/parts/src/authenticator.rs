//! An authenticator in software (WebAuthn Level 3, 6): it holds passkeys, and answers what a page would hand to
//! `navigator.credentials`. Its fields make it lie, as a broken or hostile one would.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// One device and the browser before it.
pub struct Authenticator {
    /// The page's origin, as the browser tells it.
    pub origin: String,
    /// Signs for this relying party instead of the one that asks.
    pub rp_id: Option<String>,
    /// Whether it checks who holds it (by PIN or finger), where it is not asked not to.
    pub verifies: bool,
    /// Whether it keeps keys that it finds again without their id.
    pub discoverable: bool,
    /// The signature counter after its last use. `None`: it does not count and says 0, as synchronised passkeys do.
    pub counter: Option<u32>,
    /// What its keys are made from: two of one seed are the same device.
    pub seed: u8,
    /// What it holds; whoever copies them has a copy of the device.
    pub keys: Vec<Key>,
}

/// A key pair with the account that it is for.
#[derive(Clone)]
pub struct Key {
    id: Vec<u8>,
    rp_id: String,
    user: Vec<u8>,
    signing: SigningKey,
}

impl Authenticator {
    /// One that behaves, before a page of this origin.
    pub fn new(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            rp_id: None,
            verifies: true,
            discoverable: true,
            counter: Some(0),
            seed: 1,
            keys: Vec::new(),
        }
    }

    /// `navigator.credentials.create`: makes a key. `options` is what the server answered, with `publicKey` in it.
    ///
    /// # Panics
    /// Where the options are not such, name a key to exclude that is here, or do not allow ES256.
    pub fn create(&mut self, options: &Value) -> Value {
        let options = &options["publicKey"];
        let algorithms = options["pubKeyCredParams"].as_array().expect("pubKeyCredParams");
        assert!(algorithms.iter().any(|one| one["alg"] == -7), "ES256 is not allowed");
        let excluded = ids(&options["excludeCredentials"]);
        assert!(self.keys.iter().all(|key| !excluded.contains(&key.id)), "this device is registered already");
        let rp_id = options["rp"]["id"].as_str().expect("rp.id").to_owned();
        let number = u8::try_from(self.keys.len()).expect("few keys");
        let secret = Sha256::digest([b'k', self.seed, number]);
        let key = Key {
            id: Sha256::digest([b'i', self.seed, number])[..16].to_vec(),
            rp_id,
            user: bytes(&options["user"]["id"]),
            signing: SigningKey::from_slice(&secret).expect("a scalar"),
        };
        let mut data = self.data(&key, 0x40, &options["authenticatorSelection"]["userVerification"]);
        data.extend([0; 16]);
        data.extend(u16::try_from(key.id.len()).expect("a short id").to_be_bytes());
        data.extend(&key.id);
        data.extend(cose(&key.signing));
        // CBOR: {"fmt": "none", "attStmt": {}, "authData": data}
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".to_vec();
        object.extend(u16::try_from(data.len()).expect("short data").to_be_bytes());
        object.extend(data);
        let client = self.client("webauthn.create", &options["challenge"]);
        let answer = json!({
            "id": text(&key.id),
            "rawId": text(&key.id),
            "type": "public-key",
            "clientExtensionResults": {},
            "response": {
                "attestationObject": text(&object),
                "clientDataJSON": text(client.as_bytes()),
                "transports": ["internal"],
            },
        });
        self.keys.push(key);
        answer
    }

    /// `navigator.credentials.get`: signs with a key that is allowed, or with the newest that is found without being
    /// named. `None` where there is none.
    ///
    /// # Panics
    /// Where the options are not such.
    pub fn get(&mut self, options: &Value) -> Option<Value> {
        let options = &options["publicKey"];
        let allowed = ids(&options["allowCredentials"]);
        let wanted = options["rpId"].as_str().expect("rpId");
        let found = |key: &&Key| {
            key.rp_id == wanted
                && if allowed.is_empty() { self.discoverable } else { allowed.contains(&key.id) }
        };
        let key = self.keys.iter().rev().find(found)?.clone();
        if let Some(counter) = &mut self.counter {
            *counter += 1;
        }
        let data = self.data(&key, 0, &options["userVerification"]);
        let client = self.client("webauthn.get", &options["challenge"]);
        let mut signed = data.clone();
        signed.extend(Sha256::digest(client.as_bytes()));
        let signature: Signature = key.signing.sign(&signed);
        let mut answer = json!({
            "id": text(&key.id),
            "rawId": text(&key.id),
            "type": "public-key",
            "clientExtensionResults": {},
            "response": {
                "authenticatorData": text(&data),
                "clientDataJSON": text(client.as_bytes()),
                "signature": text(signature.to_der().as_bytes()),
            },
        });
        // Only a key that was not named says whose it is.
        if allowed.is_empty() {
            answer["response"]["userHandle"] = json!(text(&key.user));
        }
        Some(answer)
    }

    /// Authenticator data (WebAuthn, 6.1) as far as it is the same in both ceremonies.
    fn data(&self, key: &Key, flags: u8, verification: &Value) -> Vec<u8> {
        const PRESENT: u8 = 0x01;
        const VERIFIED: u8 = 0x04;
        let verified = if self.verifies && verification != "discouraged" { VERIFIED } else { 0 };
        let mut data = Sha256::digest(self.rp_id.as_ref().unwrap_or(&key.rp_id)).to_vec();
        data.push(flags | PRESENT | verified);
        data.extend(self.counter.unwrap_or(0).to_be_bytes());
        data
    }

    fn client(&self, kind: &str, challenge: &Value) -> String {
        json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false })
            .to_string()
    }
}

/// The answer with one bit of its signature turned.
///
/// # Panics
/// Where it is not an answer of [`Authenticator::get`].
pub fn spoiled(mut answer: Value) -> Value {
    let mut signature = bytes(&answer["response"]["signature"]);
    *signature.last_mut().expect("a signature") ^= 1;
    answer["response"]["signature"] = json!(text(&signature));
    answer
}

/// The public key as a COSE_Key (RFC 9053, 7.1): EC2, ES256, P-256, x, y.
fn cose(signing: &SigningKey) -> Vec<u8> {
    let point = signing.verifying_key().to_sec1_point(false);
    // The uncompressed point: 0x04, then both coordinates of 32 bytes.
    let (x, y) = point.as_bytes()[1..].split_at(32);
    let mut out = b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20".to_vec();
    out.extend(x);
    out.extend(b"\x22\x58\x20");
    out.extend(y);
    out
}

fn ids(list: &Value) -> Vec<Vec<u8>> {
    list.as_array().map(|list| list.iter().map(|one| bytes(&one["id"])).collect()).unwrap_or_default()
}

fn bytes(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value.as_str().expect("text")).expect("base64url")
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
