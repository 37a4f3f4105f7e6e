//! The second step of a sign-in, forced enrolment, and proving again who one is.

use std::path::PathBuf;

use browser_tests::browser::Driver;
use browser_tests::codes::Steps;
use browser_tests::house::{self, House, PASSWORD, no_complaints, shown_codes, shown_secret};
use browser_tests::{Result, browser};
use parts::smtp::SmtpStub;
use serde_json::json;

async fn second_step(house: &House, driver: &Driver) -> Result {
    driver.delete_all_cookies().await?;
    house.first_step(driver, "ben").await?;
    driver.wait_url("/login/2fa").await
}

/// The digits in the newest mail with a code to that address; waits until there are more than `known` of them.
async fn mailed_code(driver: &Driver, smtp: &SmtpStub, to: &str, known: usize) -> Result<String> {
    let codes = || -> Vec<String> {
        let digits = |mail: &parts::smtp::Mail| {
            let text = mail.text();
            text.lines()
                .map(|line| line.chars().filter(|c| !c.is_whitespace()).collect::<String>())
                .find(|line| line.len() == 8 && line.bytes().all(|b| b.is_ascii_digit()))
        };
        smtp.to(to).iter().filter_map(digits).collect()
    };
    driver.wait("a mail with a code", async || Ok(codes().len() > known)).await?;
    codes().pop().ok_or_else(|| "no code".into())
}

/// SEC-39, SEC-50, SEC-51: a backup code, where the app's code is asked for and on a page of its own; once.
#[tokio::test]
async fn a_backup_code_in_either_place() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    let codes = house.set_up_totp(&ben).await?.backup_codes;

    second_step(&house, &ben).await?;
    ben.wait_text("authenticator app").await?;
    // As people type it: without the dash, in capitals.
    ben.fill("code", &codes[0].replace('-', "").to_uppercase()).await?;
    ben.click("Continue").await?;
    ben.wait_url("/chat").await?;
    ben.wait_text("Backup codes left: 9").await?;

    second_step(&house, &ben).await?;
    ben.click("Use a backup code").await?;
    ben.wait_url("/login/2fa/backup-code").await?;
    ben.fill("code", &codes[0]).await?;
    ben.click("Continue").await?;
    ben.wait("the refusal", async || {
        Ok(ben.eval("return !!document.querySelector('[aria-invalid]')").await? == true)
    })
    .await?;
    house::answered(&ben).await?;
    assert!(ben.current_url().await?.path().starts_with("/login/2fa"));
    ben.fill("code", &codes[1]).await?;
    ben.click("Continue").await?;
    ben.wait_url("/chat").await?;
    ben.wait_text("Backup codes left: 8").await?;
    ben.goto(house.at("/settings/2fa")).await?;
    ben.wait_text("8 left").await?;
    no_complaints(&ben).await?;
    ben.quit().await
}

/// SEC-3, SEC-35, SEC-50: who has to have a second factor and has none sets it up within the sign-in, keeps the codes
/// by copy or as a file, and is in.
#[tokio::test]
async fn a_forced_enrolment_ends_in_the_chat() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ben = house.member("ben").await?;
    house.command("role set User --second-factor required --grace-days 0").await?;
    // The session is over, and so is every way around the set-up.
    ben.goto(house.at("/chat")).await?;
    ben.wait_url("/login").await?;
    house::sign_in_here(&ben, "ben").await?;
    ben.wait_url("/login/2fa/enrol").await?;
    ben.goto(house.at("/chat")).await?;
    ben.wait_url("/login").await?;
    ben.goto(house.at("/login/2fa/enrol")).await?;
    ben.click("Set up an app").await?;
    let secret = shown_secret(&ben).await?;
    ben.fill("code", &Steps::now().await.code(&secret, 0).await?).await?;
    ben.click("Confirm and sign in").await?;
    ben.wait_text("Your backup codes").await?;
    let codes = shown_codes(&ben).await?;
    assert_eq!(codes.len(), 10);

    let may = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": house.server.url()});
    ben.cdp().send_raw("Browser.grantPermissions", may).await?;
    ben.click("Copy all").await?;
    ben.wait("the codes on the clipboard", async || {
        let copied = ben.eval("return navigator.clipboard.readText()").await?;
        Ok(copied.as_str().unwrap_or_default().split_whitespace().eq(codes.iter().map(String::as_str)))
    })
    .await?;
    let file = download(&ben, "anteroom-backup-codes.txt").await?;
    for code in &codes {
        assert!(file.contains(code.as_str()), "{code} is not in the file:\n{file}");
    }
    no_complaints(&ben).await?;

    let page = ben.current_url().await?;
    house::finish_codes(&ben).await?;
    ben.wait_url("/chat").await?;
    ben.wait_text("What is on your mind?").await?;
    // Shown once: no way leads back to them.
    ben.goto(page.as_str()).await?;
    ben.wait_no_text(&codes[0]).await?;
    ben.goto(house.at("/settings/2fa/backup-codes")).await?;
    ben.wait_text("of 10").await?;
    assert!(!ben.page_text().await?.contains(&codes[0]));
    ben.quit().await
}

/// Clicks "Download", and gives what comes as that file.
async fn download(driver: &Driver, name: &str) -> Result<String> {
    let folder = tempfile::Builder::new().prefix("anteroom-download-").tempdir()?;
    let wanted = json!({"behavior": "allow", "downloadPath": folder.path()});
    driver.cdp().send_raw("Browser.setDownloadBehavior", wanted).await?;
    driver.click("Download").await?;
    let path: PathBuf = folder.path().join(name);
    driver.wait(&format!("the file {name}"), async || Ok(path.is_file())).await?;
    Ok(std::fs::read_to_string(path)?)
}

/// SEC-47, SEC-48, SEC-49: a code by e-mail as the second factor, over SMTP.
#[tokio::test]
async fn a_code_by_mail_signs_in() -> Result {
    let _turn = browser::turn().await;
    let (house, smtp) = house::open_with_mail(&[("ANTEROOM_LIMITS__EMAIL_CODE_MINUTE", "10")]).await?;
    let ada = browser::open(1200, 800, false).await?;
    house.become_admin(&ada).await?;
    ada.goto(house.at("/admin/settings")).await?;
    ada.click_css("input[name=email_codes]").await?;
    ada.click("Save second factors").await?;
    ada.wait("the setting to be kept", async || {
        Ok(ada.eval("return document.querySelector('.flashes .notice--ok') && document.querySelector('[name=email_codes]').checked").await? == true)
    })
    .await?;
    ada.quit().await?;

    let ben = house.member("ben").await?;
    ben.goto(house.at("/settings/2fa")).await?;
    ben.click("Turn on codes by e-mail").await?;
    ben.wait_url("/settings/2fa").await?;
    let to = "ben@example.org";
    second_step(&house, &ben).await?;
    // Nothing else could be meant, so it is on its way.
    ben.wait_text("eight digits that we sent to b•••@example.org").await?;
    let first = mailed_code(&ben, &smtp, to, 0).await?;
    // A second one, after which the first is void.
    ben.click("Send another code").await?;
    let second = mailed_code(&ben, &smtp, to, 1).await?;
    assert_ne!(first, second);
    ben.fill("code", &first).await?;
    ben.click("Continue").await?;
    ben.wait("the refusal", async || {
        Ok(ben.eval("return !!document.querySelector('[aria-invalid]')").await? == true)
    })
    .await?;
    house::answered(&ben).await?;
    ben.fill("code", &second).await?;
    ben.click("Continue").await?;
    ben.wait_url("/chat").await?;
    no_complaints(&ben).await?;
    ben.quit().await
}

/// Everything but passkeys works without scripts: set-up, codes, sign-in by app and by backup code, step-up.
#[tokio::test]
async fn the_second_step_needs_no_script() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    house.create("ben", "User").await?;
    let ben = browser::open(390, 844, false).await?;
    ben.scripts(false).await?;
    house.sign_in(&ben, "ben").await?;
    let totp = house.set_up_totp(&ben).await?;

    second_step(&house, &ben).await?;
    ben.fill("code", "000000").await?;
    ben.click("Continue").await?;
    ben.wait_url("/login/2fa").await?;
    ben.shown("[aria-invalid]").await?;
    house::answered(&ben).await?;
    ben.fill("code", &Steps::now().await.code(&totp.secret, 0).await?).await?;
    ben.click("Continue").await?;
    ben.wait_url("/chat").await?;
    second_step(&house, &ben).await?;
    ben.click("Use a backup code").await?;
    ben.fill("code", &totp.backup_codes[0]).await?;
    ben.click("Continue").await?;
    ben.wait_url("/chat").await?;

    house.forget_proofs().await?;
    ben.goto(house.at("/settings/2fa/backup-codes")).await?;
    ben.click("Make new codes").await?;
    house::asked_again(&ben).await?;
    ben.fill("step_up_code", &totp.backup_codes[1]).await?;
    ben.click("Go on").await?;
    ben.wait_text("Your backup codes").await?;
    assert!(!shown_codes(&ben).await?.contains(&totp.backup_codes[2]), "a new set");
    no_complaints(&ben).await?;

    // Leaving the second step leads back to the first.
    second_step(&house, &ben).await?;
    ben.click("Cancel and sign in as someone else").await?;
    ben.shown("input[name=password]").await?;

    // Where a passkey is the way, the page says what it needs.
    house.command("role set User --second-factor required --grace-days 0").await?;
    house.create("eve", "User").await?;
    house.first_step(&ben, "eve").await?;
    ben.wait_url("/login/2fa/enrol").await?;
    ben.wait_text("Passkeys need scripts").await?;
    ben.click("Set up an app").await?;
    let secret = shown_secret(&ben).await?;
    ben.fill("code", &Steps::now().await.code(&secret, 0).await?).await?;
    ben.click("Confirm and sign in").await?;
    ben.wait_text("Your backup codes").await?;
    house::finish_codes(&ben).await?;
    ben.wait_url("/chat").await?;
    no_complaints(&ben).await?;
    ben.quit().await
}

/// SEC-57, SEC-58: what was typed waits for the proof, through a wrong one too, and is done after it. SEC-3: an Admin
/// without a second factor is told until when.
#[tokio::test]
async fn what_was_typed_is_done_after_the_proof() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    let ada = browser::open(1200, 800, false).await?;
    house.become_admin(&ada).await?;
    ada.wait_text("Set up a second factor by").await?;
    house.forget_proofs().await?;
    ada.goto(house.at("/admin/settings")).await?;
    ada.fill("site_name", "Tulips & Sons").await?;
    ada.click("Save name").await?;
    house::asked_again(&ada).await?;
    assert_eq!(ada.eval("return document.activeElement.name").await?, "step_up_password");
    ada.fill("step_up_password", "not the password").await?;
    ada.click("Go on").await?;
    ada.shown("[aria-invalid], [role=alert]").await?;
    house::answered(&ada).await?;
    ada.fill("step_up_password", PASSWORD).await?;
    ada.click("Go on").await?;
    ada.wait_url("/admin/settings").await?;
    ada.wait("the new name", async || {
        Ok(ada.eval("return document.querySelector('[name=site_name]').value").await? == "Tulips & Sons")
    })
    .await?;
    assert!(ada.title().await?.contains("Tulips & Sons"), "{}", ada.title().await?);

    // With an app it is a code.
    let totp = house.set_up_totp(&ada).await?;
    ada.wait_no_text("Set up a second factor by").await?;
    house.forget_proofs().await?;
    ada.goto(house.at("/admin/settings")).await?;
    ada.fill("site_name", "Tulips").await?;
    ada.click("Save name").await?;
    house::asked_again(&ada).await?;
    assert_eq!(ada.eval("return document.activeElement.name").await?, "step_up_code");
    ada.fill("step_up_code", &Steps::now().await.code(&totp.secret, 0).await?).await?;
    ada.click("Go on").await?;
    ada.wait("the new name", async || {
        Ok(ada.eval("return document.querySelector('[name=site_name]').value").await? == "Tulips")
    })
    .await?;
    no_complaints(&ada).await?;
    ada.quit().await
}
