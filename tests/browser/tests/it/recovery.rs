//! Getting back in by mail, over a real SMTP server.

use browser_tests::browser::Driver;
use browser_tests::codes::Steps;
use browser_tests::house::{self, no_complaints};
use browser_tests::{Result, browser};
use parts::smtp::SmtpStub;

/// Another password.
const NEW: &str = "granite-lantern-oboe-9";

/// The link in the newest mail to that address which has one of that kind.
async fn link(driver: &Driver, smtp: &SmtpStub, to: &str, part: &str) -> Result<String> {
    let newest = || smtp.to(to).iter().rev().find_map(|mail| mail.link(part));
    driver.wait(&format!("a mail with {part:?}"), async || Ok(newest().is_some())).await?;
    newest().ok_or_else(|| "no link".into())
}

/// SEC-62, SEC-63, SEC-64: by the link in the mail to a new password; and the second factor is asked for as ever.
#[tokio::test]
async fn a_forgotten_password() -> Result {
    let _turn = browser::turn().await;
    let (house, smtp) = house::open_with_mail(&[]).await?;
    let ben = house.member("ben").await?;
    let totp = house.set_up_totp(&ben).await?;
    ben.delete_all_cookies().await?;
    ben.goto(house.at("/login")).await?;
    ben.click("Forgot").await?;
    ben.wait_url("/forgot").await?;
    ben.fill("email", "ben@example.org").await?;
    ben.click("Send the link").await?;
    ben.wait_text("Check your mail").await?;
    let reset = link(&ben, &smtp, "ben@example.org", "/reset/").await?;
    assert!(reset.starts_with(&house.server.url()), "{reset}");
    ben.goto(&reset).await?;
    ben.wait_text("Set a new password").await?;
    // Looking uses nothing up.
    ben.refresh().await?;
    ben.fill("password", NEW).await?;
    ben.click("Set the password").await?;
    ben.wait_url("/login").await?;
    ben.shown(".notice--ok").await?;

    house::sign_in_here(&ben, "ben").await?;
    ben.wait_text("is not right").await?;
    house::answered(&ben).await?;
    ben.fill("password", NEW).await?;
    ben.click_css("main form button:not([type=button])").await?;
    ben.wait_url("/login/2fa").await?;
    ben.fill("code", &Steps::now().await.code(&totp.secret, 0).await?).await?;
    ben.click("Continue").await?;
    ben.wait_url("/chat").await?;
    no_complaints(&ben).await?;

    ben.goto(&reset).await?;
    ben.wait_text("does not work any more").await?;
    ben.quit().await
}

/// SEC-59: the new address confirms the change, the old one takes it back.
#[tokio::test]
async fn an_address_is_changed_and_taken_back() -> Result {
    let _turn = browser::turn().await;
    let (house, smtp) = house::open_with_mail(&[]).await?;
    let ben = house.member("ben").await?;
    ben.goto(house.at("/settings/email")).await?;
    ben.fill("email", "thief@example.org").await?;
    ben.click_css("main section form button").await?;
    ben.wait_text("Waits for its link to be opened").await?;
    ben.goto(link(&ben, &smtp, "thief@example.org", "/confirm-email/").await?).await?;
    ben.wait_text("Confirm your new address").await?;
    ben.click("Confirm").await?;
    ben.wait_no_text("Confirm your new address").await?;
    ben.goto(house.at("/settings/email")).await?;
    ben.wait_text("thief@example.org").await?;
    no_complaints(&ben).await?;

    // Who owns the old address reads the mail elsewhere.
    let owner = browser::open(390, 844, true).await?;
    owner.goto(link(&owner, &smtp, "ben@example.org", "/revert-email/").await?).await?;
    owner.wait_text("Take the change back?").await?;
    owner.click("Take it back").await?;
    owner.wait_no_text("Take the change back?").await?;
    ben.goto(house.at("/settings/email")).await?;
    ben.wait_url("/login").await?;
    owner.goto(link(&owner, &smtp, "ben@example.org", "/reset/").await?).await?;
    owner.fill("password", NEW).await?;
    owner.click("Set the password").await?;
    owner.wait_url("/login").await?;
    owner.fill("username_or_email", "ben@example.org").await?;
    owner.fill("password", NEW).await?;
    owner.click_css("main form button:not([type=button])").await?;
    owner.wait_url("/chat").await?;
    owner.goto(house.at("/settings/email")).await?;
    owner.wait_text("ben@example.org").await?;
    no_complaints(&owner).await?;
    owner.quit().await?;
    ben.quit().await
}
