//! A server with a model behind it over real HTTP, and the people who come to it.

use parts::model::ModelStub;
use parts::smtp::SmtpStub;

use crate::browser::{self, Driver};
use crate::codes::Steps;
use crate::idp::Idp;
use crate::server::{self, Server};
use crate::{Result, keys};

/// The password of everybody in the tests.
pub const PASSWORD: &str = "seven-lanterns-over-Ghent";

/// A running server whose one upstream is a stub; its default model is `echo`.
pub struct House {
    /// The model server.
    pub stub: ModelStub,
    /// The program.
    pub server: Server,
}

/// Starts both, with these further variables.
///
/// # Errors
/// Where one of them does not start.
pub async fn open(env: &[(&str, &str)]) -> Result<House> {
    open_at(parts::free_address()?.port(), env).await
}

/// The same on that port, where something has to know the address before.
///
/// # Errors
/// As [`open`].
pub async fn open_at(port: u16, env: &[(&str, &str)]) -> Result<House> {
    let stub = ModelStub::start().await?;
    let base = stub.base_url();
    let mut all = vec![("OPENAI_BASE_URL", base.as_str()), ("OPENAI_API_KEY", "sk-stub")];
    all.extend(env);
    let server = server::start_at(port, &all).await?;
    Ok(House { stub, server })
}

/// The same with a mail server.
///
/// # Errors
/// As [`open`].
pub async fn open_with_mail(env: &[(&str, &str)]) -> Result<(House, SmtpStub)> {
    let smtp = SmtpStub::start().await?;
    let (host, port) = (smtp.host(), smtp.port().to_string());
    let mut all = vec![
        ("MAIL_SERVER", host.as_str()),
        ("MAIL_PORT", port.as_str()),
        ("MAIL_FROM", "anteroom@example.org"),
    ];
    all.extend(env);
    Ok((open(&all).await?, smtp))
}

/// The same with an identity provider by the name `corp`, whose button says "Company account"; `provider` has further
/// keys of `[providers.corp]`.
///
/// # Errors
/// As [`open`].
pub async fn open_with_idp(provider: &[(&str, &str)], env: &[(&str, &str)]) -> Result<(House, Idp)> {
    let port = parts::free_address()?.port();
    let idp = Idp::start(&[format!("http://localhost:{port}/login/corp/authorized")]).await?;
    let variables = idp.variables("corp", provider);
    let mut all: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    all.extend(env);
    Ok((open_at(port, &all).await?, idp))
}

/// An authenticator app that was set up.
pub struct Totp {
    /// Base 32, as the page showed it.
    pub secret: String,
    /// The ten codes that came with it; empty where there were some already.
    pub backup_codes: Vec<String>,
}

impl House {
    /// The address of a page.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.server.url())
    }

    /// Becomes Admin through the set-up link, as `ada`.
    ///
    /// # Errors
    /// Where the pages do not lead there.
    pub async fn become_admin(&self, driver: &Driver) -> Result {
        driver.goto(self.server.setup_link().await?).await?;
        fill_account(driver, "ada", "Ada", "Byron").await?;
        driver.click("Become Admin").await?;
        driver.wait_url("/admin").await
    }

    /// Makes an account by the form, and is signed in.
    ///
    /// # Errors
    /// Where the pages do not lead there.
    pub async fn sign_up(&self, driver: &Driver, username: &str, first: &str, last: &str) -> Result {
        driver.goto(self.at("/signup")).await?;
        fill_account(driver, username, first, last).await?;
        driver.click_css("main form button:not([type=button])").await?;
        driver.wait_url("/chat").await
    }

    /// An account made on the command line, without a browser.
    ///
    /// # Errors
    /// Where it is refused.
    pub async fn create(&self, username: &str, role: &str) -> Result {
        let email = format!("{username}@example.org");
        let arguments =
            ["user", "create", "--username", username, "--email", &email, "--role", role, "--password-stdin"];
        self.run(&arguments, &format!("{PASSWORD}\n")).await
    }

    /// A command of the program that has to succeed, for instance `role set User --second-factor required`.
    ///
    /// # Errors
    /// Where it is refused.
    pub async fn command(&self, line: &str) -> Result {
        self.run(&line.split(' ').collect::<Vec<_>>(), "").await
    }

    async fn run(&self, arguments: &[&str], stdin: &str) -> Result {
        let output = self.server.command(arguments, stdin).await?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        }
    }

    /// Makes everybody's last proof of who they are too old to count.
    ///
    /// # Errors
    /// Where the database does not take it.
    pub async fn forget_proofs(&self) -> Result {
        self.server.sql("UPDATE sessions SET step_up_at = 0").await
    }

    /// Opens the sign-in and sends name and password; what comes next is the caller's to look for.
    ///
    /// # Errors
    /// Where there is no such form.
    pub async fn first_step(&self, driver: &Driver, username: &str) -> Result {
        driver.goto(self.at("/login")).await?;
        sign_in_here(driver, username).await
    }

    /// Sets up an authenticator app for who is signed in, with the code of the step before: the present one is left
    /// for the next sign-in. Ends at the settings.
    ///
    /// # Errors
    /// Where the pages do not lead there.
    pub async fn set_up_totp(&self, driver: &Driver) -> Result<Totp> {
        driver.goto(self.at("/settings/2fa")).await?;
        driver.click("Set up an authenticator app").await?;
        let secret = shown_secret(driver).await?;
        driver.fill("code", &Steps::now().await.code(&secret, -1).await?).await?;
        driver.click("Confirm").await?;
        driver.wait_text("Your backup codes").await?;
        let backup_codes = shown_codes(driver).await?;
        finish_codes(driver).await?;
        driver.wait_url("/settings/2fa").await?;
        Ok(Totp { secret, backup_codes })
    }

    /// Adds a passkey to the account of who is signed in, with the authenticator that is plugged in. Ends where the
    /// page leads.
    ///
    /// # Errors
    /// Where the pages do not lead there.
    pub async fn add_passkey(&self, driver: &Driver, name: &str, kind: keys::Kind) -> Result {
        driver.goto(self.at("/settings/passkeys")).await?;
        let (begin, end) = match kind {
            keys::Kind::Passkey => ("Add a passkey", "Make the passkey"),
            keys::Kind::SecurityKey => ("Add a security key", "Touch the key"),
        };
        driver.click(begin).await?;
        driver.wait_url("/settings/passkeys/new").await?;
        driver.fill("name", name).await?;
        driver.click(end).await
    }

    /// A new browser of 1200 × 800 in which that person is signed in, on the page of a new chat.
    ///
    /// # Errors
    /// Where the pages do not lead there.
    pub async fn member(&self, username: &str) -> Result<Driver> {
        self.create(username, "User").await?;
        let driver = browser::open(1200, 800, false).await?;
        self.sign_in(&driver, username).await?;
        Ok(driver)
    }

    /// Signs in by the form.
    ///
    /// # Errors
    /// Where the pages do not lead there.
    pub async fn sign_in(&self, driver: &Driver, username: &str) -> Result {
        driver.goto(self.at("/login")).await?;
        sign_in_here(driver, username).await?;
        driver.wait_url("/chat").await
    }
}

/// Fills in and sends the sign-in that is on the page.
///
/// # Errors
/// Where there is none.
pub async fn sign_in_here(driver: &Driver, username: &str) -> Result {
    driver.fill("username_or_email", username).await?;
    driver.fill("password", PASSWORD).await?;
    driver.click_css("main form button:not([type=button])").await
}

/// The set-up key that the page shows, as an app takes it.
///
/// # Errors
/// Where there is none.
pub async fn shown_secret(driver: &Driver) -> Result<String> {
    Ok(driver.shown("#secret").await?.text().await?.split_whitespace().collect())
}

/// The backup codes that the page shows.
///
/// # Errors
/// Where there are none.
pub async fn shown_codes(driver: &Driver) -> Result<Vec<String>> {
    driver.shown("#codes li").await?;
    let codes =
        driver.eval("return [...document.querySelectorAll('#codes li')].map(li => li.innerText.trim())");
    Ok(serde_json::from_value(codes.await?)?)
}

/// Waits until the page asks once more who is there, before it does what was asked.
///
/// # Errors
/// When it does not ask.
pub async fn asked_again(driver: &Driver) -> Result {
    driver.wait_text("Confirm that it is you").await?;
    answered(driver).await
}

/// Forgets the status of a refusal, which the browser's console tells as a failed load.
///
/// # Errors
/// With what else the console tells.
pub async fn answered(driver: &Driver) -> Result {
    let told = driver.console_errors().await?;
    let others: Vec<_> = told.iter().filter(|line| !line.contains("responded with a status of 4")).collect();
    if others.is_empty() { Ok(()) } else { Err(format!("the console has {others:#?}").into()) }
}

/// Says that the backup codes are kept, and goes on.
///
/// # Errors
/// Where the page does not show them.
pub async fn finish_codes(driver: &Driver) -> Result {
    driver.click_css("main form input[type=checkbox]").await?;
    driver.click("Finish").await?;
    // The page after it may stand at the same address.
    driver.wait_no_text("I have put these codes in a safe place").await
}

async fn fill_account(driver: &Driver, username: &str, first: &str, last: &str) -> Result {
    driver.fill("first_name", first).await?;
    driver.fill("last_name", last).await?;
    driver.fill("username", username).await?;
    driver.fill("email", &format!("{username}@example.org")).await?;
    driver.fill("password", PASSWORD).await
}

/// Writes a prompt and sends it by Enter.
///
/// # Errors
/// Where there is no composer.
pub async fn prompt(driver: &Driver, text: &str) -> Result {
    driver.fill("prompt", text).await?;
    driver.key(thirtyfour::Key::Enter).await
}

/// Waits until the last answer is in that state.
///
/// # Errors
/// When it does not come to it.
pub async fn wait_state(driver: &Driver, state: &str) -> Result {
    driver
        .wait(&format!("the last answer to be {state}"), async || {
            Ok(last_state(driver).await?.as_deref() == Some(state))
        })
        .await
}

/// The state of the last answer.
///
/// # Errors
/// Where there is no page.
pub async fn last_state(driver: &Driver) -> Result<Option<String>> {
    let state =
        driver.eval("return [...document.querySelectorAll('.msg[data-state]')].at(-1)?.dataset.state");
    Ok(state.await?.as_str().map(str::to_owned))
}

/// The text of the last answer itself, without its head and foot.
///
/// # Errors
/// Where there is no page.
pub async fn last_answer(driver: &Driver) -> Result<String> {
    let text =
        driver.eval("return [...document.querySelectorAll('.msg .prose')].at(-1)?.innerText.trim() ?? ''");
    Ok(text.await?.as_str().unwrap_or_default().to_owned())
}

/// Sends a form's fields to a path of ours from a signed-in page, without leaving it; gives the address of the answer.
///
/// # Errors
/// Where it is refused.
pub async fn post(driver: &Driver, path: &str, fields: &[(&str, &str)]) -> Result<String> {
    let fields = serde_json::to_string(fields)?;
    let script = format!(
        "const body = new URLSearchParams({fields}); \
         body.set('csrf_token', document.querySelector('input[name=csrf_token]').value); \
         return fetch('{path}', {{method: 'POST', body}}).then(answer => answer.ok ? answer.url : 'refused: ' + answer.status)"
    );
    let answer = driver.eval(&script).await?.as_str().unwrap_or_default().to_owned();
    if answer.starts_with("http") { Ok(answer) } else { Err(format!("{path}: {answer}").into()) }
}

/// Fails where the browser's console has errors.
///
/// # Errors
/// With those errors.
pub async fn no_complaints(driver: &Driver) -> Result {
    let errors = driver.console_errors().await?;
    if errors.is_empty() { Ok(()) } else { Err(format!("the console has {errors:#?}").into()) }
}
