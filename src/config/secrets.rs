//! `[secrets]`: the operator's secret key, which all keys are stretched from.

use std::path::{Path, PathBuf};

use base::{Random, random::hex};
use sha2::{Digest as _, Sha256};

use super::error::ConfigError;
use super::section::section;
use super::value::Secret;

/// RFC 5869 stretches what entropy there is; less than 256 bits of text is too little.
pub const SECRET_BYTES: usize = 32;

section! {
    /// Keys outside the database. Losing the secret key loses what is sealed with it: provider
    /// keys, second factors. It must be the same on every replica.
    Secrets in "secrets" {
        /// At least 32 random bytes, for instance from `openssl rand -hex 32`. Variable:
        /// `SECRET_KEY`. Outside production, without one, the server makes `secret.key` in the
        /// data folder at its first start.
        secret_key: Option<Secret> = None,
        /// A file that holds the secret key, in place of the key itself; not readable by others.
        secret_key_file: Option<PathBuf> = None,
        /// Keys used before, newest first: they still open what they sealed, and seal no more.
        former_keys: Vec<Secret> = Vec::new(),
        /// Mixed into every password hash (SEC-20), at least 32 random bytes. Set it before the
        /// first account and never change it: passwords hashed with another one do not verify.
        pepper: Option<Secret> = None,
    }
}

impl Secrets {
    pub(super) fn check(&self, wrong: &mut super::Problems) {
        if self.configured_key().is_some() && self.secret_key_file.is_some() {
            wrong.say("secrets.secret_key_file", "set this or secrets.secret_key, not both");
        }
        if let Some(pepper) = &self.pepper
            && !pepper.is_empty()
            && is_weak(pepper.expose())
        {
            wrong.say("secrets.pepper", "too short or too regular: it needs at least 32 random bytes");
        }
    }

    /// The secret key itself, where it is configured and no file is named.
    pub(super) fn configured_key(&self) -> Option<&str> {
        self.secret_key.as_ref().map(Secret::expose).filter(|key| !key.is_empty())
    }

    /// The key mixed into password hashes, if there is one.
    pub fn pepper_key(&self) -> Option<[u8; 32]> {
        let pepper = self.pepper.as_ref().filter(|pepper| !pepper.is_empty())?;
        Some(Sha256::new().chain_update("anteroom pepper\0").chain_update(pepper.expose()).finalize().into())
    }
}

/// Under 32 bytes, or of so few different ones that nobody drew them at random.
pub fn is_weak(secret: &str) -> bool {
    let mut different: Vec<u8> = secret.bytes().collect();
    different.sort_unstable();
    different.dedup();
    secret.len() < SECRET_BYTES || different.len() < 8
}

/// Reads a key file; white space around the key, such as the line's end, is not part of it.
pub(super) fn read_key(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned())
}

/// Reads the key file of the data folder, or makes it: 32 random bytes as hex, for its owner only.
/// Two servers that start at once agree on one key.
pub(super) fn read_or_make(path: &Path, random: &Random) -> Result<String, ConfigError> {
    let failed = |what: &str, error: std::io::Error| {
        ConfigError::one(format!("{}: the secret key cannot be {what}: {error}", path.display()))
    };
    match read_key(path) {
        Ok(key) if is_weak(&key) => Err(ConfigError::one(format!(
            "{}: not a secret key of at least {SECRET_BYTES} random bytes; restore the file from a backup",
            path.display()
        ))),
        Ok(key) => Ok(key),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = hex(&random.bytes::<32>());
            match write_new(path, &key, random) {
                Ok(()) => Ok(key),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    read_key(path).map_err(|error| failed("read", error))
                }
                Err(error) => Err(failed("written", error)),
            }
        }
        Err(error) => Err(failed("read", error)),
    }
}

/// Writes beside, then links: a file of that name is always complete.
fn write_new(path: &Path, key: &str, random: &Random) -> std::io::Result<()> {
    use std::io::Write as _;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(format!("key.{}", hex(&random.bytes::<8>())));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&beside).and_then(|mut file| {
        writeln!(file, "{key}")?;
        file.sync_all()
    });
    let linked = written.and_then(|()| std::fs::hard_link(&beside, path));
    let removed = std::fs::remove_file(&beside);
    linked.and(removed)
}
