//! An identity provider that is not ours: npm's oidc-provider, which is certified, with the pages of `tests/oidc`.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Result;
use crate::browser::Driver;

/// The client that it knows.
pub const CLIENT_ID: &str = "anteroom";
/// That client's secret.
pub const CLIENT_SECRET: &str = "a secret of tests, long enough for HMAC-SHA-256";

/// How long the start and an answer to a control may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running provider, killed when dropped. Who may sign in: `ann` (ann@example.org, verified; groups: staff), `ben`
/// (ben@example.org, not verified; staff), `cleo` (no address, no groups), `dora` (dora@example.org, verified;
/// chat-admins). Whoever is signed in there is not asked again, except by `prompt=login` and `max_age`.
pub struct Idp {
    issuer: String,
    http: reqwest::Client,
    _child: Child,
}

impl Idp {
    /// Starts one whose client has these redirect URIs, and may come back from a sign-out to `/` and `/login` of their
    /// origins. What it says beside `sub`, `acr`, `amr` and `auth_time` is in UserInfo only.
    ///
    /// # Errors
    /// Where it does not come up; the error has what it printed.
    ///
    /// # Panics
    /// Where `ANTEROOM_TEST_NODE` or `ANTEROOM_TEST_OIDC` is not set.
    pub async fn start(redirect_uris: &[String]) -> Result<Self> {
        Self::start_with(redirect_uris, &[]).await
    }

    /// The same with further arguments of `tests/oidc/provider.mjs`, such as `--claims-in-id-token`.
    ///
    /// # Errors
    /// As [`Idp::start`].
    ///
    /// # Panics
    /// As [`Idp::start`].
    pub async fn start_with(redirect_uris: &[String], further: &[&str]) -> Result<Self> {
        parts::install_crypto();
        let mut command = Command::new(variable("ANTEROOM_TEST_NODE"));
        command.arg(variable("ANTEROOM_TEST_OIDC"));
        command.args(["--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET]);
        for uri in redirect_uris {
            let origin = reqwest::Url::parse(uri)?.origin().ascii_serialization();
            command.args(["--redirect-uri", uri]);
            for path in ["/", "/login"] {
                command.arg("--post-logout-redirect-uri").arg(format!("{origin}{path}"));
            }
        }
        command.args(further).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let Some(line) = tokio::time::timeout(PATIENCE, lines.next_line()).await?? else {
            let mut printed = String::new();
            if let Some(mut errors) = child.stderr.take() {
                errors.read_to_string(&mut printed).await?;
            }
            return Err(format!("the provider ended; it printed:\n{printed}").into());
        };
        let issuer = line.strip_prefix("listening on ").ok_or_else(|| format!("it printed {line:?}"))?;
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        Ok(Self { issuer: issuer.to_owned(), http, _child: child })
    }

    /// Its issuer, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The variables that set it up as `[providers.<name>]` of the program, with these further keys
    /// (`("trusted_email", "true")`).
    #[must_use]
    pub fn variables(&self, name: &str, further: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = [
            ("preset", "oidc"),
            ("label", "Company account"),
            ("issuer", self.issuer()),
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
        ];
        let variable =
            |key: &str| format!("ANTEROOM_PROVIDERS__{name}__{key}").replace('-', "_").to_uppercase();
        own.iter().chain(further).map(|(key, value)| (variable(key), (*value).to_owned())).collect()
    }

    /// Takes a new signing key; its JWKS has only that one then. Who is signed in there stays so.
    ///
    /// # Errors
    /// Where it does not obey.
    pub async fn rotate_key(&self) -> Result {
        self.control("rotate", Value::Null).await
    }

    /// Answers everything with 503 from now on.
    ///
    /// # Errors
    /// Where it does not obey.
    pub async fn down(&self) -> Result {
        self.control("down", Value::Null).await
    }

    /// Answers again.
    ///
    /// # Errors
    /// Where it does not obey.
    pub async fn up(&self) -> Result {
        self.control("up", Value::Null).await
    }

    /// Changes what it says about a person: `json!({"groups": ["chat-admins"], "email": null})`; null takes away.
    ///
    /// # Errors
    /// Where it does not obey.
    pub async fn change(&self, login: &str, claims: Value) -> Result {
        self.control("claims", json!({ "login": login, "claims": claims })).await
    }

    async fn control(&self, what: &str, body: Value) -> Result {
        let path = format!("{}/control/{what}", self.issuer);
        self.http.post(path).json(&body).send().await?.error_for_status()?;
        Ok(())
    }
}

/// Signs in on its page with that login name, by password alone: `acr` is `pwd`, `amr` is `["pwd"]`.
///
/// # Errors
/// Where the browser does not come to its page.
pub async fn sign_in(driver: &Driver, login: &str) -> Result {
    driver.wait_text(SIGN_IN).await?;
    driver.fill("login", login).await?;
    driver.click_css("button[value=sign-in]").await
}

/// The same with a second factor there: `acr` is `mfa`, `amr` is `["pwd", "otp"]`.
///
/// # Errors
/// As [`sign_in`].
pub async fn sign_in_with_code(driver: &Driver, login: &str) -> Result {
    driver.wait_text(SIGN_IN).await?;
    driver.click_css("input[name=otp]").await?;
    sign_in(driver, login).await
}

/// Says no on its page: `error=access_denied` comes back.
///
/// # Errors
/// As [`sign_in`].
pub async fn cancel(driver: &Driver) -> Result {
    driver.wait_text(SIGN_IN).await?;
    driver.click_css("button[value=cancel]").await
}

/// Agrees on its page to sign out there.
///
/// # Errors
/// Where the browser does not come to that page.
pub async fn sign_out(driver: &Driver) -> Result {
    driver.wait_text("Sign out of the test provider").await?;
    driver.click("Sign out").await
}

/// The head of its sign-in page.
const SIGN_IN: &str = "Sign in to the test provider";

fn variable(name: &str) -> OsString {
    std::env::var_os(name).unwrap_or_else(|| {
        panic!(
            "{name} is not set: run scripts/test, which installs a certified provider, or name a Node.js and \
             tests/oidc/provider.mjs beside its packages"
        )
    })
}
