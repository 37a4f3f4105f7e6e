//! The configuration in the words of each crate.

use std::io;
use std::sync::Arc;

use accounts::{General, HashParams, Rate, Settings};

use crate::config::{Config, ConfigError, SignUpMode};
use crate::mail::AccountMails;

/// What `accounts` is told.
///
/// # Errors
/// [`ConfigError`] where the block list cannot be read.
pub fn accounts(config: &Config) -> Result<accounts::Options, ConfigError> {
    let mut limits = accounts::Limits::default();
    for (limit, count) in config.limits.all() {
        limits.set(limit, Rate { count: i64::from(count), ..limit.default_rate() });
    }
    Ok(accounts::Options {
        password_min: min_chars(config),
        block_list: block_list(config)?,
        public_host: config.public_host().to_owned(),
        pepper: config.secrets.pepper_key(),
        hash_params: HashParams {
            memory_kib: config.passwords.memory_kib,
            iterations: config.passwords.iterations,
            parallelism: 1,
        },
        hash_threads: Some(config.passwords.threads()),
        hash_queue: config.passwords.hash_queue,
        session_idle: config.sessions.idle(),
        session_absolute: config.sessions.absolute(),
        limits,
        settings: Settings {
            general: General { site_name: config.server.site_name.clone(), default_model: None },
            sign_up: accounts::SignUp {
                mode: match config.sign_up.mode {
                    SignUpMode::Open => accounts::SignUpMode::Open,
                    SignUpMode::Closed => accounts::SignUpMode::Closed,
                },
                allowed_domains: config.sign_up.allowed_domains.clone(),
                verification_required: config.verification_required(),
            },
            second_factor: accounts::SecondFactorRules::default(),
        },
        verification_forced: config.is_production(),
        notices: Arc::new(AccountMails::new(config)),
        relying_party: relying_party(config),
    })
}

/// Where passkeys belong (SEC-53): nowhere, where the public URL's host is an IP address.
fn relying_party(config: &Config) -> Option<accounts::RelyingParty> {
    (!config.host_is_ip()).then(|| accounts::RelyingParty {
        id: config.public_host().to_owned(),
        origin: config.public_origin(),
    })
}

/// What `chat` is told.
pub fn chat(config: &Config) -> chat::Options {
    chat::Options {
        prompt_chars: config.models.max_prompt_chars,
        history_chars: config.models.max_history_chars,
        answer_bytes: config.models.max_answer_bytes,
        generations_per_user: config.limits.generations_per_user as usize,
        first_byte: config.models.first_token(),
        idle: config.models.idle(),
    }
}

/// Least length of a new password, in code points (SEC-13).
pub fn min_chars(config: &Config) -> usize {
    usize::try_from(config.passwords.minimum()).unwrap_or(12)
}

fn block_list(config: &Config) -> Result<Vec<String>, ConfigError> {
    let Some(path) = &config.passwords.block_list_file else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path).map_err(|error: io::Error| {
        ConfigError::one(format!("passwords.block_list_file: {} cannot be read: {error}", path.display()))
    })?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}
