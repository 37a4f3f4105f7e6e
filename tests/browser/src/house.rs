//! A server with a model behind it over real HTTP, and the people who come to it.

use parts::model::ModelStub;

use crate::Result;
use crate::browser::{self, Driver};
use crate::server::{self, Server};

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
    let stub = ModelStub::start().await?;
    let base = stub.base_url();
    let mut all = vec![("OPENAI_BASE_URL", base.as_str()), ("OPENAI_API_KEY", "sk-stub")];
    all.extend(env);
    let server = server::start(&all).await?;
    Ok(House { stub, server })
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
        let output = self.server.command(&arguments, &format!("{PASSWORD}\n")).await?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        }
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
