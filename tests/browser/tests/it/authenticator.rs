//! Codes of another authenticator (pyotp), from the set-up to the turning off.

use browser_tests::browser::Driver;
use browser_tests::codes::Steps;
use browser_tests::house::{self, House, no_complaints, shown_codes, shown_secret};
use browser_tests::{Result, browser};

/// Sends a code from the page that is open and waits for its refusal.
async fn refused(driver: &Driver, button: &str, code: &str) -> Result {
    let field = driver.shown("input[autocomplete=one-time-code]").await?;
    field.clear().await?;
    field.send_keys(code).await?;
    // Marked, so that the refusal is the answer's and not an earlier one.
    driver.eval("document.body.dataset.before = '1'").await?;
    driver.click(button).await?;
    driver
        .wait("the refusal of a code", async || {
            let told = "return !document.body.dataset.before && !!document.querySelector('[aria-invalid], [role=alert]:not([hidden])')";
            Ok(driver.eval(told).await? == true)
        })
        .await?;
    house::answered(driver).await
}

async fn second_step(house: &House, driver: &Driver) -> Result {
    driver.delete_all_cookies().await?;
    house.first_step(driver, "ben").await?;
    driver.wait_url("/login/2fa").await
}

/// SEC-40, SEC-41, SEC-42: what pyotp makes of the secret on the page is taken, also a step late, but not two steps, nor
/// early; and a code that was used is used up for the sign-in, the step-up and what lies behind it.
#[tokio::test]
async fn codes_of_another_implementation_are_taken_once_and_a_step_late_at_most() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    ben.goto(house.at("/settings/2fa")).await?;
    ben.click("Set up an authenticator app").await?;
    ben.wait_url("/settings/2fa/setup").await?;
    let secret = shown_secret(&ben).await?;
    assert_eq!(secret.len(), 32, "{secret}");

    let steps = Steps::now().await;
    for off in [-2, 1] {
        refused(&ben, "Confirm", &steps.code(&secret, off).await?).await?;
    }
    let steps = Steps::now().await;
    let before = steps.code(&secret, -1).await?;
    ben.fill("code", &before).await?;
    ben.click("Confirm").await?;
    ben.wait_text("Your backup codes").await?;
    let codes = shown_codes(&ben).await?;
    assert_eq!(codes.len(), 10);
    house::finish_codes(&ben).await?;
    ben.wait_text("Active").await?;
    no_complaints(&ben).await?;

    // The sign-in: not the used one, none of the next step, then the present one.
    second_step(&house, &ben).await?;
    refused(&ben, "Continue", &before).await?;
    let steps = Steps::now().await;
    refused(&ben, "Continue", &steps.code(&secret, 1).await?).await?;
    let present = steps.code(&secret, 0).await?;
    ben.fill("code", &present).await?;
    ben.click("Continue").await?;
    ben.wait_url("/chat").await?;
    second_step(&house, &ben).await?;
    refused(&ben, "Continue", &present).await?;

    ben.fill("code", &codes[0]).await?;
    ben.click("Continue").await?;
    ben.wait_url("/chat").await?;

    // Neither of them proves anything any more: not for the turning off, which stays undone.
    house.forget_proofs().await?;
    ben.goto(house.at("/settings/2fa/disable")).await?;
    ben.click("Turn it off").await?;
    house::asked_again(&ben).await?;
    for used in [&before, &present, &codes[0]] {
        refused(&ben, "Go on", used).await?;
    }
    ben.goto(house.at("/settings/2fa")).await?;
    ben.wait_text("Active").await?;
    second_step(&house, &ben).await?;
    refused(&ben, "Continue", &present).await?;
    ben.quit().await
}

/// SEC-45: turning it off takes a fresh code, and then the password is enough again.
#[tokio::test]
async fn the_app_is_turned_off_with_a_fresh_code() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    let totp = house.set_up_totp(&ben).await?;
    house.forget_proofs().await?;
    ben.click("Turn off").await?;
    ben.wait_text("Your backup codes go too").await?;
    ben.click("Turn it off").await?;
    house::asked_again(&ben).await?;
    ben.fill("step_up_code", &Steps::now().await.code(&totp.secret, 0).await?).await?;
    ben.click("Go on").await?;
    ben.wait_url("/settings/2fa").await?;
    ben.wait_no_text("Active").await?;
    no_complaints(&ben).await?;
    ben.delete_all_cookies().await?;
    house.sign_in(&ben, "ben").await?;
    ben.quit().await
}
