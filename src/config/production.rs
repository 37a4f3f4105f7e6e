//! What production refuses, and what every operator is warned of.

use std::path::{Path, PathBuf};

use providers::Preset;

use super::error::{Origin, Problems, Warning};
use super::providers::Provider;
use super::secrets::{SECRET_BYTES, is_weak, read_key};
use super::sign_up::SignUpMode;
use super::{Config, source};

pub const NO_SECRET: &str = "missing; production needs a secret key of at least 32 random bytes, for instance from openssl rand -hex 32";
const WEAK: &str =
    "too short or too regular: it needs at least 32 random bytes, for instance from openssl rand -hex 32";

/// Checks what depends on the profile. `files` are those that were read: `anteroom.toml`, `.env`.
pub fn check(
    config: &Config,
    files: &[Option<PathBuf>; 2],
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) {
    check_secret(config, problems, warnings);
    if config.is_production() {
        check_url(config, problems);
        check_files(config, files, problems);
    }
    warn(config, warnings);
}

fn check_url(config: &Config, problems: &mut Problems) {
    if config.server.public_url.is_none() {
        problems.missing(
            "server.public_url",
            "the address that people use, such as https://chat.example.org (production; for a trial on this machine \
             listen on 127.0.0.1 or set the profile to development)",
        );
    } else if !config.is_https() {
        problems.add("server.public_url", "an address with https:// (production)");
    }
}

fn check_secret(config: &Config, problems: &mut Problems, warnings: &mut Vec<Warning>) {
    let (path, key) = match (config.secrets.configured_key(), &config.secrets.secret_key_file) {
        (Some(key), _) => ("secrets.secret_key", key.to_owned()),
        (None, Some(file)) => match read_key(file) {
            Ok(key) => ("secrets.secret_key_file", key),
            Err(error) => {
                let words = format!("{} cannot be read: {error}", file.display());
                return problems.say("secrets.secret_key_file", &words);
            }
        },
        (None, None) if config.is_production() => {
            let made = config.key_file();
            let words = if made.exists() {
                format!(
                    "{NO_SECRET}; to keep the one made in development, set secrets.secret_key_file to {}",
                    made.display()
                )
            } else {
                NO_SECRET.to_owned()
            };
            return problems.say("secrets.secret_key", &words);
        }
        (None, None) => return,
    };
    if key.is_empty() || (is_weak(&key) && config.is_production()) {
        problems.say(path, WEAK);
    } else if is_weak(&key) {
        warnings.push(Warning(format!(
            "{path} is weak (under {SECRET_BYTES} random bytes); production refuses it"
        )));
    }
}

/// A file with a secret in it must not be everybody's to read.
fn check_files(config: &Config, [toml, dotenv]: &[Option<PathBuf>; 2], problems: &mut Problems) {
    if let Some(file) = &config.secrets.secret_key_file
        && world_readable(file)
    {
        problems.say("secrets.secret_key_file", &readable(file));
    }
    if let Some(file) = dotenv
        && world_readable(file)
    {
        problems.say(".env", &readable(file));
    }
    let secret_in_toml = config.origins.iter().find(|(path, origin)| {
        matches!(origin, Origin::File(..)) && source::key_of(path).is_some_and(|key| key.secret)
    });
    if let (Some((path, _)), Some(file)) = (secret_in_toml, toml)
        && world_readable(file)
    {
        problems.say(path, &readable(file));
    }
}

fn readable(file: &Path) -> String {
    format!("every user of this machine can read {0}; run chmod o-rwx {0}", file.display())
}

#[cfg(unix)]
fn world_readable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn world_readable(_: &Path) -> bool {
    false
}

fn warn(config: &Config, warnings: &mut Vec<Warning>) {
    let mut say = |words: &str| warnings.push(Warning(words.to_owned()));
    let mail = &config.mail;
    if config.is_production() && config.sign_up.mode == SignUpMode::Open && !mail.is_configured() {
        say("sign-up is open, but without mail.server nobody gets the mail that confirms an address");
    }
    let local = matches!(mail.server.as_str(), "localhost" | "127.0.0.1" | "::1");
    if mail.is_configured() && !local && !mail.use_tls && !mail.use_ssl && !mail.password.is_empty() {
        say("mail.password is sent unencrypted; set mail.use_tls or mail.use_ssl");
    }
    if config.is_production() && config.server.trusted_proxies.is_empty() {
        say(
            "server.trusted_proxies is empty: behind a proxy all people seem to come from one address and share its \
             limits",
        );
    }
    if config.server.trusted_proxies.iter().any(|net| net.prefix_len() == 0) {
        say("server.trusted_proxies contains everybody: anyone can pretend to be any address");
    }
    if config.is_production() {
        warnings
            .extend(config.providers.iter().filter_map(|(name, provider)| anybody(config, name, provider)));
    }
}

/// A provider where anybody can have an account, with a sign-up that asks for nothing more.
fn anybody(config: &Config, name: &str, provider: &Provider) -> Option<Warning> {
    let sign_up = &config.sign_up;
    let open = sign_up.mode == SignUpMode::Open && sign_up.allowed_domains.is_empty();
    if !open || !provider.sign_up || !provider.allowed_domains.is_empty() {
        return None;
    }
    let setup = provider.setup(name);
    let public = match setup.preset {
        Preset::Google => true,
        Preset::GitLab | Preset::GitHub => setup.base_url.trim().is_empty(),
        Preset::Microsoft => matches!(setup.tenant.trim(), "common" | "organizations" | "consumers"),
        Preset::Oidc => false,
    };
    public.then(|| {
        Warning(format!(
            "providers.{name}: anybody with an account there may sign up here; set its allowed_domains, or sign_up to \
             false"
        ))
    })
}
