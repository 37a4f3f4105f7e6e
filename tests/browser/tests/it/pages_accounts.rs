//! The pages of accounts as pictures: second factors, recovery, step-up, and what Admins see of them.

use browser_tests::codes::Steps;
use browser_tests::house::{self, PASSWORD, finish_codes};
use browser_tests::keys::{self, Kind};
use browser_tests::{Result, browser};
use parts::smtp::{Mode, SmtpStub};

use super::pages::{look, look_at};

/// Names and addresses of this length are the longest there are.
const LONG: &str = "a-very-long-username-of-thirty-2";

/// Codes by e-mail are allowed, as an Admin would.
async fn allow_email_codes(house: &house::House) -> Result {
    let ada = browser::open(1440, 900, false).await?;
    house.become_admin(&ada).await?;
    ada.goto(house.at("/admin/settings")).await?;
    ada.click_css("input[name=email_codes]").await?;
    ada.click("Save second factors").await?;
    ada.shown(".flashes .notice--ok").await?;
    ada.quit().await
}

#[tokio::test]
async fn the_second_step() -> Result {
    let _turn = browser::turn().await;
    let (house, smtp) = house::open_with_mail(&[]).await?;
    allow_email_codes(&house).await?;
    let ann = house.member(LONG).await?;
    keys::without_autofill(&ann).await?;
    let _key = keys::device(&ann).await?;
    house.set_up_totp(&ann).await?;
    house.add_passkey(&ann, "Laptop", Kind::Passkey).await?;
    ann.wait_text("Laptop").await?;
    look(&ann, "passkeys-added").await?;
    ann.goto(house.at("/settings/2fa")).await?;
    ann.click("Turn on codes by e-mail").await?;
    ann.clickable("Turn off codes by e-mail").await?;
    look(&ann, "security-all-on").await?;

    ann.delete_all_cookies().await?;
    house.first_step(&ann, LONG).await?;
    ann.wait_url("/login/2fa").await?;
    look(&ann, "second-step-passkey").await?;
    look_at(&ann, &house, "/login/2fa/totp", "second-step-app").await?;
    ann.fill("code", "000000").await?;
    ann.click("Continue").await?;
    ann.shown("[aria-invalid]").await?;
    look(&ann, "second-step-wrong").await?;
    look_at(&ann, &house, "/login/2fa/backup-code", "second-step-backup-code").await?;
    ann.click("I have none of these at hand").await?;
    look(&ann, "second-step-lost").await?;
    look_at(&ann, &house, "/login/2fa/email", "second-step-mail").await?;
    ann.click("Send a code").await?;
    ann.wait_text("eight digits").await?;
    look(&ann, "second-step-mail-sent").await?;
    ann.click("Send another code").await?;
    ann.wait_text("less than a minute ago").await?;
    look(&ann, "second-step-mail-too-soon").await?;
    smtp.wait_to(&format!("{LONG}@example.org")).await;
    ann.quit().await
}

#[tokio::test]
async fn the_enrolment() -> Result {
    let _turn = browser::turn().await;
    let house = house::open(&[]).await?;
    house.create(LONG, "User").await?;
    house.command("role set User --second-factor required --grace-days 3").await?;
    let ann = browser::open(1440, 900, false).await?;
    house.sign_in(&ann, LONG).await?;
    look(&ann, "enrol-grace-chat").await?;
    look_at(&ann, &house, "/settings", "enrol-grace-settings").await?;
    house.command("role set User --second-factor required --grace-days 0").await?;
    house.first_step(&ann, LONG).await?;
    ann.wait_url("/login/2fa/enrol").await?;
    look(&ann, "enrol").await?;
    ann.click("Set up an app").await?;
    ann.shown("#secret").await?;
    look(&ann, "enrol-app").await?;
    let secret = house::shown_secret(&ann).await?;
    ann.fill("code", "000000").await?;
    ann.click("Confirm and sign in").await?;
    ann.shown("[aria-invalid]").await?;
    look(&ann, "enrol-app-wrong").await?;
    ann.fill("code", &Steps::now().await.code(&secret, 0).await?).await?;
    ann.click("Confirm and sign in").await?;
    ann.wait_text("Your backup codes").await?;
    look(&ann, "enrol-codes").await?;
    finish_codes(&ann).await?;
    ann.wait_url("/chat").await?;
    ann.quit().await
}

#[tokio::test]
async fn the_settings_of_an_account() -> Result {
    let _turn = browser::turn().await;
    let (house, _smtp) = house::open_with_mail(&[]).await?;
    let ann = house.member(LONG).await?;
    for (path, name) in [
        ("/settings", "settings-bare"),
        ("/settings/2fa", "security-off"),
        ("/settings/2fa/backup-codes", "backup-codes-none"),
        ("/settings/passkeys", "passkeys-none"),
        ("/settings/password", "password"),
        ("/settings/email", "email"),
    ] {
        look_at(&ann, &house, path, name).await?;
    }
    ann.goto(house.at("/settings/password")).await?;
    for field in ann.find_all(thirtyfour::By::Css("main input[type=password]")).await? {
        field.send_keys("short").await?;
    }
    ann.click("Change password").await?;
    ann.shown("[aria-invalid], main [role=alert]").await?;
    look(&ann, "password-errors").await?;
    ann.goto(house.at("/settings/email")).await?;
    ann.fill("email", "another.rather.long.address.of.mine@mail.subdomain.example.org").await?;
    ann.click_css("main section form button").await?;
    ann.wait_text("Waits for its link").await?;
    look(&ann, "email-waiting").await?;

    ann.goto(house.at("/settings/2fa")).await?;
    ann.click("Set up an authenticator app").await?;
    let secret = house::shown_secret(&ann).await?;
    look(&ann, "totp").await?;
    look_at(&ann, &house, "/settings/2fa", "security-pending").await?;
    ann.click("Go on").await?;
    ann.fill("code", "000000").await?;
    ann.click("Confirm").await?;
    ann.shown("[aria-invalid]").await?;
    look(&ann, "totp-wrong").await?;
    ann.fill("code", &Steps::now().await.code(&secret, 0).await?).await?;
    ann.click("Confirm").await?;
    ann.wait_text("Your backup codes").await?;
    look(&ann, "backup-codes-once").await?;
    finish_codes(&ann).await?;
    ann.wait_text("Active").await?;
    look(&ann, "security-on").await?;
    look_at(&ann, &house, "/settings/2fa/disable", "totp-off").await?;
    look_at(&ann, &house, "/settings/2fa/backup-codes", "backup-codes").await?;
    house
        .server
        .sql("UPDATE backup_codes SET used_at = 1 WHERE hash NOT IN (SELECT MIN(hash) FROM backup_codes UNION SELECT MAX(hash) FROM backup_codes)")
        .await?;
    look_at(&ann, &house, "/settings/2fa", "security-low").await?;
    look_at(&ann, &house, "/settings/2fa/backup-codes", "backup-codes-low").await?;

    let key = keys::device(&ann).await?;
    ann.goto(house.at("/settings/passkeys")).await?;
    ann.click("Add a passkey").await?;
    ann.wait_url("/settings/passkeys/new").await?;
    look(&ann, "passkey-new").await?;
    house.add_passkey(&ann, "Laptop", Kind::Passkey).await?;
    ann.wait_text("Signs in without a password").await?;
    house.add_passkey(&ann, "Laptop", Kind::Passkey).await?;
    ann.wait_text("has a passkey for your account already").await?;
    look(&ann, "passkey-new-refused").await?;
    key.unplug(&ann).await?;
    let _touched = keys::touch_only(&ann, "u2f").await?;
    ann.goto(house.at("/settings/passkeys")).await?;
    ann.click("Add a security key").await?;
    ann.wait_url("/settings/passkeys/new").await?;
    look(&ann, "passkey-new-key").await?;
    house.add_passkey(&ann, "The yellow key on the ring with the others", Kind::SecurityKey).await?;
    ann.wait_text("Second step only").await?;
    look(&ann, "passkeys-two").await?;
    ann.click("Rename Laptop").await?;
    look(&ann, "passkeys-rename").await?;
    ann.click("Remove Laptop").await?;
    look(&ann, "passkeys-remove").await?;
    look_at(&ann, &house, "/settings", "settings-full").await?;
    ann.quit().await
}

#[tokio::test]
async fn the_recovery() -> Result {
    let _turn = browser::turn().await;
    let (house, smtp) = house::open_with_mail(&[]).await?;
    let ann = house.member(LONG).await?;
    let (old, new) = (format!("{LONG}@example.org"), "new.address.of.mine@mail.subdomain.example.org");
    ann.goto(house.at("/settings/email")).await?;
    ann.fill("email", new).await?;
    ann.click_css("main section form button").await?;
    let confirm = smtp.wait_to(new).await.link("/confirm-email/").ok_or("no link")?;
    ann.goto(&confirm).await?;
    look(&ann, "confirm-email").await?;
    ann.click("Confirm").await?;
    ann.wait_no_text("Confirm your new address").await?;
    look(&ann, "confirm-email-done").await?;
    ann.goto(&confirm).await?;
    look(&ann, "confirm-email-dead").await?;
    let revert = || smtp.to(&old).iter().rev().find_map(|mail| mail.link("/revert-email/"));
    ann.wait("the way back", async || Ok(revert().is_some())).await?;
    ann.goto(revert().ok_or("no link")?).await?;
    look(&ann, "revert-email").await?;
    ann.click("Take it back").await?;
    ann.wait_no_text("Take the change back?").await?;
    look(&ann, "revert-email-done").await?;
    look_at(&ann, &house, "/revert-email/none", "revert-email-dead").await?;

    look_at(&ann, &house, "/forgot", "forgot").await?;
    ann.fill("email", &old).await?;
    ann.click("Send the link").await?;
    ann.wait_text("Check your mail").await?;
    look(&ann, "forgot-sent").await?;
    let reset = || smtp.to(&old).iter().rev().find_map(|mail| mail.link("/reset/"));
    ann.wait("the link", async || Ok(reset().is_some())).await?;
    ann.goto(reset().ok_or("no link")?).await?;
    look(&ann, "reset").await?;
    ann.fill("password", "short").await?;
    ann.eval("document.querySelector('main form').noValidate = true").await?;
    ann.click("Set the password").await?;
    ann.shown("[aria-invalid], main [role=alert]").await?;
    look(&ann, "reset-errors").await?;
    look_at(&ann, &house, "/reset/none", "reset-dead").await?;
    ann.quit().await?;

    // Without a mail server nobody is told of mail.
    let house = house::open(&[]).await?;
    let ann = browser::open(1440, 900, false).await?;
    look_at(&ann, &house, "/forgot", "forgot-no-mail").await?;
    ann.fill("email", &old).await?;
    ann.click("Send the link").await?;
    ann.wait_text("Ask an Admin").await?;
    look(&ann, "forgot-no-mail-sent").await?;
    ann.quit().await
}

#[tokio::test]
async fn the_administration_of_accounts() -> Result {
    let _turn = browser::turn().await;
    let smtp = SmtpStub::start().await?;
    smtp.set_mode(Mode::Later);
    let (host, port) = (smtp.host(), smtp.port().to_string());
    let house = house::open(&[("MAIL_SERVER", &host), ("MAIL_PORT", &port)]).await?;
    let ann = house.member(LONG).await?;
    house.set_up_totp(&ann).await?;
    ann.quit().await?;
    let ada = browser::open(1440, 900, false).await?;
    house.become_admin(&ada).await?;
    look_at(&ada, &house, "/admin/roles", "roles").await?;
    ada.eval("for (const f of document.forms) f.noValidate = true").await?;
    ada.fill("grace_days", "500").await?;
    ada.click("Save Admin").await?;
    ada.shown("[aria-invalid]").await?;
    look(&ada, "roles-error").await?;

    ada.goto(house.at("/admin/users")).await?;
    ada.click(&format!("Actions for {LONG}")).await?;
    ada.click("Reset second factors").await?;
    look(&ada, "users-reset").await?;
    ada.goto(house.at("/admin/users")).await?;
    ada.click(&format!("Actions for {LONG}")).await?;
    ada.click("Send a reset link").await?;
    ada.shown(".flashes .notice").await?;
    look(&ada, "users-reset-link").await?;
    smtp.wait_tries(1).await;
    ada.wait("the stuck mail", async || {
        ada.goto(house.at("/admin")).await?;
        Ok(ada.page_text().await?.to_lowercase().contains("mail server"))
    })
    .await?;
    look(&ada, "admin-stuck-mail").await?;

    house.forget_proofs().await?;
    let ask = async |name: &str| -> Result {
        ada.goto(house.at("/admin/settings")).await?;
        ada.fill("site_name", "Tulips").await?;
        ada.click("Save name").await?;
        ada.wait_text("Confirm that it is you").await?;
        look(&ada, name).await
    };
    ask("step-up-password").await?;
    ada.fill("step_up_password", "wrong").await?;
    ada.click("Go on").await?;
    ada.shown("[aria-invalid]").await?;
    look(&ada, "step-up-wrong").await?;
    ada.fill("step_up_password", PASSWORD).await?;
    ada.click("Go on").await?;
    ada.wait_text("This site is called Tulips").await?;
    house.set_up_totp(&ada).await?;
    house.forget_proofs().await?;
    ask("step-up-code").await?;
    ada.fill("step_up_code", "000000").await?;
    ada.click("Go on").await?;
    ada.shown("[aria-invalid]").await?;
    assert!(!ada.page_text().await?.contains("on its way"), "nothing was sent");
    look(&ada, "step-up-code-wrong").await?;
    house.server.sql("UPDATE sessions SET step_up_at = created_at").await?;
    let _key = keys::device(&ada).await?;
    house.add_passkey(&ada, "Laptop", Kind::Passkey).await?;
    ada.wait_text("Signs in without a password").await?;
    house.forget_proofs().await?;
    ask("step-up-passkey").await?;
    look_at(&ada, &house, "/admin/users", "users-factors").await?;
    ada.quit().await
}
