//! Codes of another authenticator: PyPI's pyotp, run by Python.

use std::time::Duration;

use tokio::process::Command;

use crate::Result;

/// One time step (RFC 6238), in seconds.
const STEP: i64 = 30;
/// What is left of a step at least, in seconds, when [`Steps::now`] gives it.
const LEFT: i64 = 10;

/// Prints the code of a secret (base 32) at a time (Unix seconds).
const PROGRAM: &str = "import sys, pyotp; print(pyotp.TOTP(sys.argv[1]).at(int(sys.argv[2])))";

/// The present time step and its neighbours.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// Unix seconds within it.
    at: i64,
}

impl Steps {
    /// The present step; where little of it is left, the next one. The server's clock is the machine's, so this is
    /// how a test knows for the next seconds which code is how far off.
    pub async fn now() -> Self {
        loop {
            let at = unix();
            let left = STEP - at.rem_euclid(STEP);
            if left >= LEFT {
                return Self { at };
            }
            tokio::time::sleep(Duration::from_secs(left.unsigned_abs())).await;
        }
    }

    /// The code of that secret, so many steps from this one.
    ///
    /// # Errors
    /// Where pyotp makes none.
    pub async fn code(self, secret: &str, steps: i64) -> Result<String> {
        code(secret, self.at + steps * STEP).await
    }
}

#[expect(clippy::disallowed_methods, reason = "the server under test reads the machine's clock")]
fn unix() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX))
}

/// What pyotp shows for that secret (base 32) at that time (Unix seconds).
///
/// # Errors
/// Where it fails.
///
/// # Panics
/// Where `ANTEROOM_TEST_PYTHON` names no interpreter.
pub async fn code(secret: &str, unix_seconds: i64) -> Result<String> {
    let python = std::env::var_os("ANTEROOM_TEST_PYTHON").unwrap_or_else(|| {
        panic!(
            "ANTEROOM_TEST_PYTHON is not set: run scripts/test, which installs pyotp, or name an interpreter that has it"
        )
    });
    let run = Command::new(python).args(["-c", PROGRAM, secret, &unix_seconds.to_string()]).output().await?;
    if run.status.success() {
        Ok(String::from_utf8(run.stdout)?.trim().to_owned())
    } else {
        Err(format!("pyotp failed: {}", String::from_utf8_lossy(&run.stderr)).into())
    }
}
