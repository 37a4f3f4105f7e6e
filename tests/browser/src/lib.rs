//! What the browser tests stand on: a real Chromium, driven through chromedriver, and the real server program.
//! `scripts/test` starts what they need; by hand: `chromedriver --port=9515`, `cargo build`, then
//! `ANTEROOM_TEST_WEBDRIVER=http://127.0.0.1:9515 ANTEROOM_TEST_PYTHON=… ANTEROOM_TEST_NODE=… ANTEROOM_TEST_OIDC=…
//! cargo test -p browser-tests` with a Python that has pyotp, and a Node.js and `provider.mjs` beside its packages.

pub mod browser;
pub mod codes;
pub mod house;
pub mod idp;
pub mod keys;
pub mod server;

/// What a test gives back: any error fails it.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

use std::path::PathBuf;

/// The folder of this build's results (`target`), from where the test itself was built to.
///
/// # Errors
/// Where the test does not stand in such a folder.
pub fn target_dir() -> Result<PathBuf> {
    // target/debug/deps/browser-0123abcd
    let own = std::env::current_exe()?;
    Ok(own.ancestors().nth(3).ok_or("the test stands in no target folder")?.to_owned())
}
