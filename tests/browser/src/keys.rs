//! Chromium's virtual authenticators (the WebAuthn domain of its DevTools protocol): passkeys without hardware.

use serde_json::{Value, json};

use crate::Result;
use crate::browser::Driver;

/// What the product tells apart.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Checks its owner: signs in without a password.
    Passkey,
    /// By touch: a second step.
    SecurityKey,
}

/// An authenticator in one browser tab. It does what it is asked at once, as if a person had agreed.
pub struct Key {
    id: String,
}

/// A device that keeps passkeys, and checks its owner by finger, face or PIN.
///
/// # Errors
/// Where the browser cannot emulate it.
pub async fn device(driver: &Driver) -> Result<Key> {
    add(driver, "ctap2", "internal", true).await
}

/// A security key without a PIN: it can only be touched. The protocol is `u2f` or `ctap2`.
///
/// # Errors
/// Where the browser cannot emulate it.
pub async fn touch_only(driver: &Driver, protocol: &str) -> Result<Key> {
    add(driver, protocol, "usb", false).await
}

async fn add(driver: &Driver, protocol: &str, transport: &str, checks_owner: bool) -> Result<Key> {
    driver.cdp().send_raw("WebAuthn.enable", json!({ "enableUI": false })).await?;
    let options = json!({
        "protocol": protocol,
        "transport": transport,
        "hasResidentKey": checks_owner,
        "hasUserVerification": checks_owner,
        "isUserVerified": checks_owner,
        "automaticPresenceSimulation": true,
    });
    let added =
        driver.cdp().send_raw("WebAuthn.addVirtualAuthenticator", json!({ "options": options })).await?;
    let id = added["authenticatorId"].as_str().ok_or("no authenticator")?.to_owned();
    Ok(Key { id })
}

/// From the next page on, this tab is of a browser that offers no passkeys in fields: a virtual authenticator takes the
/// offer as soon as it is made, and nobody would come to the button.
///
/// # Errors
/// Where the browser does not obey.
pub async fn without_autofill(driver: &Driver) -> Result {
    let source = "PublicKeyCredential.isConditionalMediationAvailable = async () => false";
    driver.cdp().send_raw("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source })).await?;
    Ok(())
}

impl Key {
    /// The credentials that it holds.
    ///
    /// # Errors
    /// Where the browser does not tell.
    pub async fn credentials(&self, driver: &Driver) -> Result<Vec<Value>> {
        let asked = json!({ "authenticatorId": self.id });
        let told = driver.cdp().send_raw("WebAuthn.getCredentials", asked).await?;
        Ok(told["credentials"].as_array().cloned().unwrap_or_default())
    }

    /// Unplugs it.
    ///
    /// # Errors
    /// Where the browser does not obey.
    pub async fn unplug(self, driver: &Driver) -> Result {
        let asked = json!({ "authenticatorId": self.id });
        driver.cdp().send_raw("WebAuthn.removeVirtualAuthenticator", asked).await?;
        Ok(())
    }
}
