#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use base::{MINUTE, sql};
use parts::authenticator::{Authenticator, spoiled};
use serde_json::{Value, json};

use super::*;
use crate::testing::{self, TestAccounts, client};
use crate::{FirstFactor, Limit, RelyingParty};

mod security;

const ORIGIN: &str = "https://chat.example.org";
const HOLDER: &str = "the session";
const VISITOR: &str = "hash of a cookie";

/// A site with a name, and one person on it.
struct Site {
    t: TestAccounts,
    accounts: Accounts,
    ann: User,
}

impl Site {
    async fn new(name: &str) -> Self {
        let t = testing::accounts(&format!("passkeys-{name}")).await;
        let accounts = testing::beside(&t, |options| {
            options.relying_party =
                Some(RelyingParty { id: "chat.example.org".into(), origin: ORIGIN.into() });
        });
        let ann = t.person("ann").await;
        Self { t, accounts, ann }
    }

    async fn begin(&self, kind: PasskeyKind) -> Result<Value, PasskeyError> {
        let full_name = self.ann.full_name();
        self.accounts.begin_passkey(HOLDER, PasskeyUser::new(&self.ann, &full_name), kind).await
    }

    /// The second half, its transaction committed whatever came of it.
    async fn finish(&self, options: &Value, name: &str, answer: &Value) -> Result<PasskeyRow, PasskeyError> {
        let mut tx = self.accounts.db.begin().await.unwrap();
        let ceremony = options["ceremony"].as_str().unwrap();
        let done = self.accounts.finish_passkey(&mut tx, HOLDER, &self.ann.id, ceremony, name, answer).await;
        tx.commit().await.unwrap();
        done
    }

    async fn add(&self, device: &mut Authenticator, kind: PasskeyKind) -> PasskeyRow {
        let options = self.begin(kind).await.unwrap();
        let answer = device.create(&options);
        self.finish(&options, "", &answer).await.unwrap()
    }

    async fn ask(&self, purpose: CheckPurpose) -> Value {
        self.accounts.begin_passkey_check(HOLDER, &self.ann.id, purpose).await.unwrap()
    }

    async fn check(&self, options: &Value, answer: &Value) -> Result<PasskeyUse, PasskeyError> {
        self.check_as(HOLDER, CheckPurpose::SecondFactor, options, answer).await
    }

    async fn check_as(
        &self,
        holder: &str,
        purpose: CheckPurpose,
        options: &Value,
        answer: &Value,
    ) -> Result<PasskeyUse, PasskeyError> {
        let mut tx = self.accounts.db.begin().await.unwrap();
        let ceremony = options["ceremony"].as_str().unwrap();
        let done =
            self.accounts.check_passkey(&mut tx, holder, &self.ann.id, purpose, ceremony, answer).await;
        tx.commit().await.unwrap();
        done
    }

    async fn visit(&self) -> Value {
        self.accounts.begin_passwordless(VISITOR, &client("192.0.2.1"), false).await.unwrap()
    }

    async fn enter(&self, options: &Value, answer: &Value) -> Result<FirstFactor, PasskeyError> {
        let ceremony = options["ceremony"].as_str().unwrap();
        self.accounts.finish_passwordless(VISITOR, ceremony, answer).await
    }

    /// The stored keys as they are, to see that nothing was written.
    async fn stored(&self) -> Vec<(String, Option<i64>)> {
        let all = sql!("SELECT credential, last_used_at FROM passkeys ORDER BY id");
        self.accounts.db.all(all, &[]).await.unwrap()
    }

    async fn remove(&self, id: &str) -> Result<Option<PasskeyRow>, PasskeyError> {
        let mut tx = self.accounts.db.begin().await.unwrap();
        let done = self.accounts.remove_passkey(&mut tx, &self.ann.id, id).await;
        tx.commit().await.unwrap();
        done
    }
}

#[tokio::test]
async fn a_passkey_is_added_signs_in_alone_and_is_a_second_factor_too() {
    let site = Site::new("whole").await;
    let mut device = Authenticator::new(ORIGIN);
    let added = site.add(&mut device, PasskeyKind::Passkey).await;
    assert!(added.user_verified && added.name == "Passkey" && added.last_used_at.is_none());

    site.t.clock.advance(MINUTE);
    let options = site.visit().await;
    assert_eq!(options["publicKey"]["userVerification"], "required");
    assert_eq!(options["publicKey"]["allowCredentials"], json!([]));
    let answer = device.get(&options).unwrap();
    let first = site.enter(&options, &answer).await.unwrap();
    assert!(format!("{first:?}").contains(&site.ann.id));
    let used = site.accounts.list_passkeys(&site.ann.id).await.unwrap();
    assert_eq!(used[0].last_used_at, Some(site.t.clock.now()));

    for purpose in [CheckPurpose::SecondFactor, CheckPurpose::StepUp] {
        let options = site.ask(purpose).await;
        assert_eq!(options["publicKey"]["userVerification"], "preferred");
        // A form sends text where JSON sends an object.
        let answer = json!(device.get(&options).unwrap().to_string());
        let done = site.check_as(HOLDER, purpose, &options, &answer).await.unwrap();
        assert_eq!(done, PasskeyUse { passkey_id: added.id.clone(), user_verified: true });
    }
    // As a second factor a touch is enough, whatever was asked for when the key was made.
    device.verifies = false;
    let options = site.ask(CheckPurpose::SecondFactor).await;
    let answer = device.get(&options).unwrap();
    assert!(!site.check(&options, &answer).await.unwrap().user_verified);
    // … and that made no other key of it.
    let options = site.visit().await;
    let answer = device.get(&options).unwrap();
    assert!(matches!(site.enter(&options, &answer).await, Err(PasskeyError::NotVerified)));
}

#[tokio::test]
async fn a_security_key_wants_a_touch_only() {
    let site = Site::new("touch").await;
    let mut device = Authenticator::new(ORIGIN);
    let options = site.begin(PasskeyKind::SecurityKey).await.unwrap();
    let public = &options["publicKey"];
    assert_eq!(public["authenticatorSelection"]["userVerification"], "discouraged");
    assert_eq!(public["authenticatorSelection"]["residentKey"], "discouraged");
    assert_eq!(public["hints"], json!(["security-key"]));
    let answer = device.create(&options);
    let added = site.finish(&options, " Blue  key ", &answer).await.unwrap();
    assert!(!added.user_verified);
    assert_eq!(added.name, "Blue  key");
    let options = site.ask(CheckPurpose::SecondFactor).await;
    assert_eq!(options["publicKey"]["userVerification"], "discouraged");
    let answer = device.get(&options).unwrap();
    let done = site.check(&options, &answer).await.unwrap();
    assert_eq!(done, PasskeyUse { passkey_id: added.id, user_verified: false });
}

#[tokio::test]
async fn the_options_say_what_this_site_wants() {
    let site = Site::new("options").await;
    let mut device = Authenticator::new(ORIGIN);
    site.add(&mut device, PasskeyKind::Passkey).await;
    let options = site.begin(PasskeyKind::Passkey).await.unwrap();
    let public = &options["publicKey"];
    assert_eq!(public["rp"], json!({ "id": "chat.example.org", "name": "Test Site" }));
    assert_eq!(public["user"]["name"], "ann");
    assert_eq!(public["user"]["displayName"], "Given Family");
    assert_eq!(public["authenticatorSelection"]["userVerification"], "required");
    assert_eq!(public["authenticatorSelection"]["residentKey"], "preferred");
    assert_eq!(public["authenticatorSelection"]["requireResidentKey"], false);
    assert_eq!(public["attestation"], "none");
    assert_eq!(public["timeout"], 300_000);
    assert_eq!(
        public["extensions"]["credentialProtectionPolicy"],
        "userVerificationOptionalWithCredentialIDList"
    );
    assert_eq!(public["excludeCredentials"].as_array().unwrap().len(), 1);
    assert!(options.get("mediation").is_none());

    let visitor = client("192.0.2.1");
    let autofill = site.accounts.begin_passwordless(VISITOR, &visitor, true).await.unwrap();
    assert_eq!(autofill["mediation"], "conditional");
    assert!(site.visit().await.get("mediation").is_none());
}

#[tokio::test]
async fn names_are_trimmed_bounded_and_shown() {
    let site = Site::new("names").await;
    let mut device = Authenticator::new(ORIGIN);
    let added = site.add(&mut device, PasskeyKind::SecurityKey).await;
    assert_eq!(added.name, "Security key");
    let long = "ä".repeat(61);
    for bad in ["", "  ", "a\u{7}b", "a\nb", &long] {
        let refused = site.accounts.rename_passkey(&site.ann.id, &added.id, bad).await;
        assert!(matches!(refused, Err(PasskeyError::Name(_))), "{bad:?}");
    }
    let name = &long[2..];
    assert!(site.accounts.rename_passkey(&site.ann.id, &added.id, name).await.unwrap());
    assert!(!site.accounts.rename_passkey("someone else", &added.id, "Mine").await.unwrap());
    assert_eq!(site.accounts.list_passkeys(&site.ann.id).await.unwrap()[0].name, name);
    // A bad name for a new one is told before anything is written.
    let options = site.begin(PasskeyKind::Passkey).await.unwrap();
    let answer = Authenticator { seed: 2, ..Authenticator::new(ORIGIN) }.create(&options);
    assert!(matches!(site.finish(&options, &long, &answer).await, Err(PasskeyError::Name(_))));
    assert_eq!(site.accounts.list_passkeys(&site.ann.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn where_the_host_is_an_ip_address_there_are_none_and_the_words_say_why() {
    let t = testing::accounts("passkeys-none").await;
    let refused = t.begin_passwordless(VISITOR, &client("192.0.2.1"), true).await.unwrap_err();
    assert!(!t.passkeys_available());
    assert!(refused.to_string().contains("IP address"), "{refused}");
    let by_ip = testing::beside(&t, |options| {
        options.relying_party =
            Some(RelyingParty { id: "192.0.2.7".into(), origin: "https://192.0.2.7".into() });
    });
    assert!(!by_ip.passkeys_available());
    let site = Site::new("some").await;
    assert!(site.accounts.passkeys_available());
}

#[tokio::test]
async fn visitors_cannot_fill_the_table_and_what_expired_is_swept() {
    let site = Site::new("flood").await;
    let count = async || {
        let all: Option<i64> =
            site.t.db.one(sql!("SELECT COUNT(*) FROM passkey_ceremonies"), &[]).await.unwrap();
        all.unwrap()
    };
    let visitor = client("192.0.2.1");
    for _ in 0..Limit::PasskeyIp.default_rate().count {
        site.accounts.begin_passwordless(VISITOR, &visitor, false).await.unwrap();
    }
    // A few tabs of one browser, no more.
    assert_eq!(count().await, 4);
    let refused = site.accounts.begin_passwordless("another visitor", &visitor, false).await;
    assert!(matches!(refused, Err(PasskeyError::Limited(_))));
    let elsewhere = client("192.0.2.2");
    site.accounts.begin_passwordless("another visitor", &elsewhere, false).await.unwrap();
    site.begin(PasskeyKind::Passkey).await.unwrap();
    site.begin(PasskeyKind::SecurityKey).await.unwrap();
    assert_eq!(count().await, 6, "one of a purpose and holder");
    site.t.clock.advance(CEREMONY_LIFETIME);
    site.accounts.sweep().await.unwrap();
    assert_eq!(count().await, 0);
}
