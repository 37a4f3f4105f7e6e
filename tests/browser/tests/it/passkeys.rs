//! Passkeys and security keys, by Chromium's virtual authenticators.

use browser_tests::browser::Driver;
use browser_tests::house::{self, House, no_complaints};
use browser_tests::keys::{self, Kind};
use browser_tests::{Result, browser};

/// Signed out, at the second step.
async fn second_step(house: &House, driver: &Driver) -> Result {
    driver.delete_all_cookies().await?;
    house.first_step(driver, "ben").await?;
    driver.wait_url("/login/2fa").await
}

/// The page with the backup codes that come with a first factor, and on.
async fn keep_codes(driver: &Driver) -> Result {
    driver.wait_text("Your backup codes").await?;
    house::finish_codes(driver).await
}

/// SEC-53, SEC-54, SEC-55, SEC-56: added, renamed, used as the second step, alone and as a step-up, and removed.
#[tokio::test]
async fn a_passkey_from_the_first_to_the_last_day() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    keys::without_autofill(&ben).await?;
    let key = keys::device(&ben).await?;
    house.add_passkey(&ben, "Laptop", Kind::Passkey).await?;
    keep_codes(&ben).await?;
    ben.goto(house.at("/settings/passkeys")).await?;
    ben.wait_text("Laptop").await?;
    ben.wait_text("never used").await?;
    assert_eq!(key.credentials(&ben).await?.len(), 1);

    // The same device once more: the browser knows it, and the page says so.
    house.add_passkey(&ben, "Laptop again", Kind::Passkey).await?;
    ben.wait_text("This device has a passkey for your account already.").await?;
    assert_eq!(key.credentials(&ben).await?.len(), 1);

    ben.goto(house.at("/settings/passkeys")).await?;
    ben.click("Rename Laptop").await?;
    ben.fill("name", "Blue laptop").await?;
    ben.click_css("details[open] button").await?;
    ben.wait_text("Blue laptop").await?;
    no_complaints(&ben).await?;

    // After the password.
    second_step(&house, &ben).await?;
    ben.click("Use a passkey").await?;
    ben.wait_url("/chat").await?;
    ben.goto(house.at("/settings/passkeys")).await?;
    ben.wait_text("last used").await?;

    // Instead of it, by the button.
    ben.delete_all_cookies().await?;
    ben.goto(house.at("/login")).await?;
    ben.click("Sign in with a passkey").await?;
    ben.wait_url("/chat").await?;
    no_complaints(&ben).await?;

    // As a proof before what matters: its own removal.
    house.forget_proofs().await?;
    ben.goto(house.at("/settings/passkeys")).await?;
    ben.click("Remove Blue laptop").await?;
    ben.click_css("#confirm-yes").await?;
    house::asked_again(&ben).await?;
    ben.click("Use a passkey").await?;
    ben.wait_text("It is removed.").await?;
    ben.wait_url("/settings/passkeys").await?;
    ben.wait_no_text("Blue laptop is").await?;
    ben.wait("the list without it", async || {
        Ok(ben.eval("return !document.querySelector('#list')").await? == true)
    })
    .await?;
    no_complaints(&ben).await?;

    // The device has it still; here it opens nothing.
    ben.delete_all_cookies().await?;
    ben.goto(house.at("/login")).await?;
    ben.click("Sign in with a passkey").await?;
    ben.wait("the refusal", async || {
        let told = "return [...document.querySelectorAll('.notice--bad')].some(e => e.offsetParent)";
        Ok(ben.eval(told).await? == true)
    })
    .await?;
    assert!(ben.current_url().await?.path().starts_with("/login"));
    house.sign_in(&ben, "ben").await?;
    ben.quit().await
}

/// SEC-54: what the browser offers in the sign-in form's field leads in, without a click on the button.
#[tokio::test]
async fn the_browser_offers_the_passkey_in_the_field() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    let key = keys::device(&ben).await?;
    house.add_passkey(&ben, "Laptop", Kind::Passkey).await?;
    keep_codes(&ben).await?;
    ben.wait_url("/settings").await?;
    ben.delete_all_cookies().await?;
    ben.goto(house.at("/login")).await?;
    // A virtual authenticator takes the offer as soon as it is made.
    ben.wait_url("/chat").await?;
    assert_eq!(key.credentials(&ben).await?.len(), 1);
    no_complaints(&ben).await?;
    ben.quit().await
}

/// SEC-54, SEC-55: keys that can only be touched are the second step, and never the only one.
#[tokio::test]
async fn a_key_by_touch_is_the_second_step_only() -> Result {
    let _turn = browser::turn().await;
    for protocol in ["u2f", "ctap2"] {
        let house = house::open(&[]).await?;
        let ben = house.member("ben").await?;
        let key = keys::touch_only(&ben, protocol).await?;
        house.add_passkey(&ben, "Yellow key", Kind::SecurityKey).await?;
        keep_codes(&ben).await?;
        ben.goto(house.at("/settings/passkeys")).await?;
        ben.wait_text("Second step only").await?;

        second_step(&house, &ben).await?;
        ben.click("Use a passkey").await?;
        ben.wait_url("/chat").await?;
        no_complaints(&ben).await?;

        ben.delete_all_cookies().await?;
        ben.goto(house.at("/login")).await?;
        ben.click("Sign in with a passkey").await?;
        ben.shown("[data-passkey-error]").await?;
        assert!(ben.current_url().await?.path().starts_with("/login"), "{protocol}");
        let session =
            "return fetch('/api/v1/me', {headers: {accept: 'application/json'}}).then(r => r.status)";
        assert_eq!(ben.eval(session).await?, 401, "{protocol}");
        key.unplug(&ben).await?;
        ben.quit().await?;
    }
    Ok(())
}

/// A person who has to enrol may do so with a passkey, within the sign-in.
#[tokio::test]
async fn a_passkey_is_set_up_within_the_sign_in() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    house.create("ben", "User").await?;
    house.command("role set User --second-factor required --grace-days 0").await?;
    let ben = browser::open(1200, 800, false).await?;
    let key = keys::device(&ben).await?;
    house.first_step(&ben, "ben").await?;
    ben.wait_url("/login/2fa/enrol").await?;
    ben.click("Add a passkey").await?;
    keep_codes(&ben).await?;
    ben.wait_url("/chat").await?;
    assert_eq!(key.credentials(&ben).await?.len(), 1);
    no_complaints(&ben).await?;
    ben.quit().await
}
