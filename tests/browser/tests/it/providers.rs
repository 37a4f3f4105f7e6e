//! Sign-in with an identity provider that is not ours: a certified one, with its own pages and keys.

use browser_tests::browser::Driver;
use browser_tests::codes::Steps;
use browser_tests::house::{self, House, no_complaints};
use browser_tests::idp::{self, Idp};
use browser_tests::{Result, browser};

/// On the sign-in page and on that of connections.
const LABEL: &str = "Company account";

/// A house with the provider `corp`, set up with these further keys, and an empty browser.
async fn corp(provider: &[(&str, &str)]) -> Result<(House, Idp, Driver)> {
    let (house, idp) = house::open_with_idp(provider, &[]).await?;
    // Somebody is Admin: nothing of the set-up stands on the pages.
    house.create("root", "Admin").await?;
    Ok((house, idp, browser::open(1200, 800, false).await?))
}

/// Presses the provider's button on the sign-in page.
async fn press(house: &House, driver: &Driver) -> Result {
    driver.goto(house.at("/login")).await?;
    driver.click(&format!("Continue with {LABEL}")).await
}

/// Signed out here, and still signed in at the provider.
async fn leave(house: &House, driver: &Driver) -> Result {
    driver.goto(house.at("/login")).await?;
    driver.delete_all_cookies().await?;
    driver.goto(house.at("/login")).await?;
    driver.shown("[name=username_or_email]").await.map(drop)
}

/// SEC-68, SEC-69, SEC-70: the first time makes an account, the second one leads back into it, also behind another
/// signing key.
#[tokio::test]
async fn the_first_and_the_second_sign_in_and_a_new_key() -> Result {
    let _turn = browser::turn().await;
    let (house, idp, ann) = corp(&[]).await?;
    press(&house, &ann).await?;
    idp::sign_in(&ann, "ann").await?;
    ann.wait_url("/chat").await?;
    ann.wait_text("Signed in as ann").await?;
    ann.wait_text("Welcome").await?;
    ann.goto(house.at("/settings")).await?;
    ann.wait_text("Ann Archer").await?;
    ann.wait_text("ann@example.org").await?;
    ann.goto(house.at("/settings/connections")).await?;
    ann.wait_text("1 linked account").await?;
    no_complaints(&ann).await?;

    leave(&house, &ann).await?;
    idp.rotate_key().await?;
    // What the provider calls her changes; who she is does not.
    idp.change("ann", serde_json::json!({ "preferred_username": "annika", "email": "annika@example.org" }))
        .await?;
    press(&house, &ann).await?;
    ann.wait_url("/chat").await?;
    ann.goto(house.at("/settings/connections")).await?;
    ann.wait_text("annika").await?;
    ann.goto(house.at("/settings")).await?;
    ann.wait_text("ann@example.org").await?;
    no_complaints(&ann).await?;
    ann.quit().await
}

/// SEC-58, SEC-71: linked from the settings it signs in; unlinked it does not, until the account is proved by its
/// password.
#[tokio::test]
async fn linking_unlinking_and_proving_the_account() -> Result {
    let _turn = browser::turn().await;
    let (house, _idp, ben) = corp(&[]).await?;
    house.create("ben", "User").await?;
    house.sign_in(&ben, "ben").await?;
    ben.goto(house.at("/settings/connections")).await?;
    ben.click(&format!("Link {LABEL}")).await?;
    idp::sign_in(&ben, "ben").await?;
    ben.wait_url("/settings/connections").await?;
    ben.wait_text("1 linked account").await?;
    no_complaints(&ben).await?;

    leave(&house, &ben).await?;
    press(&house, &ben).await?;
    ben.wait_url("/chat").await?;
    ben.goto(house.at("/settings/connections")).await?;
    ben.click("Unlink").await?;
    ben.click_css("#confirm-yes").await?;
    ben.wait_no_text("1 linked account").await?;
    no_complaints(&ben).await?;

    leave(&house, &ben).await?;
    press(&house, &ben).await?;
    ben.wait_url("/login/link").await?;
    ben.wait_text("Is this account yours?").await?;
    ben.wait_text("b…@example.org").await?;
    ben.fill("username_or_email", "ben").await?;
    ben.fill("password", "not-the-password-of-ben").await?;
    ben.click("Sign in and link it").await?;
    ben.wait_text("is not right").await?;
    house::answered(&ben).await?;
    ben.wait_text("Is this account yours?").await?;
    house::sign_in_here(&ben, "ben").await?;
    ben.wait_url("/chat").await?;
    ben.wait_text("is linked").await?;

    leave(&house, &ben).await?;
    press(&house, &ben).await?;
    ben.wait_url("/chat").await?;
    no_complaints(&ben).await?;
    ben.quit().await
}

/// SEC-71, SEC-73: a trusted provider and a confirmed address link by themselves, but the second factor comes first.
#[tokio::test]
async fn the_second_factor_comes_before_the_link() -> Result {
    let _turn = browser::turn().await;
    let (house, _idp, ann) = corp(&[("trusted_email", "true")]).await?;
    house.create("ann", "User").await?;
    house.sign_in(&ann, "ann").await?;
    let totp = house.set_up_totp(&ann).await?;
    leave(&house, &ann).await?;
    press(&house, &ann).await?;
    idp::sign_in(&ann, "ann").await?;
    ann.wait_url("/login/2fa").await?;
    // Nothing opens before it.
    ann.goto(house.at("/chat")).await?;
    ann.wait_url("/login").await?;
    ann.goto(house.at("/login/2fa")).await?;
    ann.fill("code", &Steps::now().await.code(&totp.secret, 0).await?).await?;
    ann.click("Continue").await?;
    ann.wait_url("/chat").await?;
    ann.wait_text("is linked").await?;
    ann.goto(house.at("/settings/connections")).await?;
    ann.wait_text("1 linked account").await?;
    no_complaints(&ann).await?;
    ann.quit().await
}

/// SEC-73: where the provider stands for the second factor by its `amr`, it is asked for only without that.
#[tokio::test]
async fn a_second_factor_there_stands_for_the_one_here() -> Result {
    let _turn = browser::turn().await;
    let stands = [("trusted_email", "true"), ("second_factor", "stands"), ("second_factor_amr", "otp")];
    let (house, _idp, ann) = corp(&stands).await?;
    house.create("ann", "User").await?;
    house.sign_in(&ann, "ann").await?;
    house.set_up_totp(&ann).await?;
    leave(&house, &ann).await?;
    press(&house, &ann).await?;
    idp::sign_in_with_code(&ann, "ann").await?;
    ann.wait_url("/chat").await?;
    ann.wait_text("is linked").await?;
    no_complaints(&ann).await?;

    // Another browser, by the password there alone.
    let other = browser::open(1200, 800, false).await?;
    press(&house, &other).await?;
    idp::sign_in(&other, "ann").await?;
    other.wait_url("/login/2fa").await?;
    other.quit().await?;
    ann.quit().await
}

/// A no at the provider, and a provider that is not there, are pages with another way in.
#[tokio::test]
async fn a_denial_and_a_provider_that_is_down() -> Result {
    let _turn = browser::turn().await;
    let (house, idp, ann) = corp(&[]).await?;
    idp.down().await?;
    press(&house, &ann).await?;
    ann.wait_text(&format!("{LABEL} does not answer")).await?;
    idp.up().await?;
    ann.click(&format!("Try {LABEL} again")).await?;
    idp::cancel(&ann).await?;
    ann.wait_text("did not let you through").await?;
    ann.click("Sign in another way").await?;
    ann.wait_url("/login").await?;
    house::sign_in_here(&ann, "root").await?;
    ann.wait_url("/chat").await?;
    ann.goto(house.at("/admin/errors")).await?;
    ann.wait_text("access_denied").await?;
    ann.wait_text("503").await?;
    ann.quit().await
}

/// SEC-57: whoever has neither password nor second factor proves it by a fresh sign-in at the provider, and what was
/// asked goes on.
#[tokio::test]
async fn proving_it_again_at_the_provider() -> Result {
    let _turn = browser::turn().await;
    let (house, idp, ann) = corp(&[]).await?;
    press(&house, &ann).await?;
    idp::sign_in(&ann, "ann").await?;
    ann.wait_url("/chat").await?;
    house.forget_proofs().await?;
    ann.goto(house.at("/settings/email")).await?;
    ann.fill("email", "elsewhere@example.org").await?;
    ann.click_css("main section form button").await?;
    house::asked_again(&ann).await?;
    ann.click(&format!("Sign in with {LABEL} again")).await?;
    // The session there is not enough: it asks anew.
    idp::sign_in(&ann, "ann").await?;
    ann.wait_url("/settings/email").await?;
    ann.wait_text("Waits for its link to be opened").await?;
    no_complaints(&ann).await?;

    // Somebody else's sign-in there proves nothing.
    ann.goto(format!("{}/nowhere", idp.issuer())).await?;
    ann.delete_all_cookies().await?;
    house.forget_proofs().await?;
    ann.goto(house.at("/settings/email")).await?;
    ann.fill("email", "further@example.org").await?;
    ann.click_css("main section form button").await?;
    house::asked_again(&ann).await?;
    ann.click(&format!("Sign in with {LABEL} again")).await?;
    idp::sign_in(&ann, "dora").await?;
    ann.wait_text("another account").await?;
    ann.quit().await
}

/// Signing out here leads on to the sign-out there, and back.
#[tokio::test]
async fn signing_out_there_too() -> Result {
    let _turn = browser::turn().await;
    let (house, _idp, ann) = corp(&[("logout", "true")]).await?;
    press(&house, &ann).await?;
    idp::sign_in(&ann, "ann").await?;
    ann.wait_url("/chat").await?;
    ann.goto(house.at("/settings")).await?;
    ann.eval("document.querySelector('form[action=\"/logout\"]').requestSubmit(); return 1").await?;
    idp::sign_out(&ann).await?;
    ann.wait_url("/login").await?;
    ann.wait_text("You are signed out").await?;
    ann.goto(house.at("/chat")).await?;
    ann.wait_url("/login").await?;
    // There she is asked for her name again.
    press(&house, &ann).await?;
    idp::sign_in(&ann, "ann").await?;
    ann.wait_url("/chat").await?;
    no_complaints(&ann).await?;
    ann.quit().await
}

/// Every step works without scripts: the way there and back, and the page between a form and the provider.
#[tokio::test]
async fn without_scripts() -> Result {
    let _turn = browser::turn().await;
    let (house, _idp, ann) = corp(&[]).await?;
    ann.scripts(false).await?;
    press(&house, &ann).await?;
    idp::sign_in(&ann, "ann").await?;
    ann.wait_url("/chat").await?;
    house.forget_proofs().await?;
    ann.goto(house.at("/settings/connections")).await?;
    ann.click(&format!("Link another account of {LABEL}")).await?;
    ann.wait_text("Confirm that it is you").await?;
    ann.click(&format!("Sign in with {LABEL} again")).await?;
    idp::sign_in(&ann, "ann").await?;
    ann.click("Go on").await?;
    // On to the provider, which knows her, and back: it is linked already.
    ann.wait_url("/settings/connections").await?;
    ann.wait_text("1 linked account").await?;
    ann.quit().await
}
