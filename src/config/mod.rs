//! The configuration: read once at the start, from `anteroom.toml`, a `.env` file, variables and
//! flags, the later ones over the earlier.
//!
//! Each section is one file with its keys, their defaults and its own check;
//! `docs/configuration.md` is printed from them.

mod database;
mod dotenv;
mod error;
mod limits;
mod logging;
mod mail;
mod models;
mod passwords;
mod print;
mod production;
mod providers;
mod reference;
mod secrets;
mod section;
mod server;
mod sessions;
mod sign_up;
mod source;
#[cfg(test)]
mod tests;
mod upstreams;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base::{Random, db::Location};
use url::{Host, Url};

pub use self::database::{Database, DatabaseUrl};
pub use self::error::{ConfigError, Origin, Warning};
use self::error::{Problem, Problems};
pub use self::limits::Limits;
pub use self::logging::{LogFormat, Logging};
pub use self::mail::Mail;
pub use self::models::Models;
pub use self::passwords::Passwords;
pub use self::providers::{Provider, ProviderFactor, ProviderPreset};
pub use self::reference::reference;
pub use self::secrets::Secrets;
use self::section::Section;
pub use self::server::{Profile, Server};
pub use self::sessions::Sessions;
pub use self::sign_up::{SignUp, SignUpMode};
use self::source::Named;
pub use self::upstreams::{BaseUrl, Upstream};
pub use self::value::{Secret, WebOrigin};

/// The flags that set something. They are strings here: a wrong one is reported like any other
/// wrong value.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// The configuration file, in place of anteroom.toml in the working folder
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:5000]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// What people type to get here, such as https://chat.example.org
    #[arg(long, global = true, value_name = "URL")]
    pub public_url: Option<String>,
    /// The folder of the database and the secret key [default: ./data]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// development, testing or production
    #[arg(long, global = true, value_name = "PROFILE")]
    pub profile: Option<String>,
}

/// All that an operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: Server,
    pub database: Database,
    pub secrets: Secrets,
    pub passwords: Passwords,
    pub sessions: Sessions,
    pub mail: Mail,
    pub sign_up: SignUp,
    pub models: Models,
    pub limits: Limits,
    pub logging: Logging,
    /// Model servers by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Identity providers by name.
    pub providers: BTreeMap<String, Provider>,
    profile: Profile,
    public_url: Url,
    cwd: PathBuf,
    /// Where each key that is set was set.
    origins: BTreeMap<String, Origin>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: Server::default(),
            database: Database::default(),
            secrets: Secrets::default(),
            passwords: Passwords::default(),
            sessions: Sessions::default(),
            mail: Mail::default(),
            sign_up: SignUp::default(),
            models: Models::default(),
            limits: Limits::default(),
            logging: Logging::default(),
            upstreams: BTreeMap::new(),
            providers: BTreeMap::new(),
            profile: Profile::Development,
            public_url: localhost(5000),
            cwd: PathBuf::new(),
            origins: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Reads all sources and checks what they say. The environment and the working folder come
    /// from the caller; files are read, nothing is written.
    ///
    /// # Errors
    /// A line for every wrong key and value.
    pub fn load(
        flags: &Flags,
        env: &BTreeMap<String, String>,
        cwd: &Path,
    ) -> Result<(Self, Vec<Warning>), ConfigError> {
        let gathered = source::gather(flags, env, cwd)?;
        let mut config = Self { cwd: cwd.to_owned(), ..Self::default() };
        let mut lines = gathered.faults;
        for entry in gathered.entries {
            config.set(entry, &mut lines);
        }
        // A guess at the profile is no ground for further errors.
        if !lines.is_empty() {
            return Err(ConfigError { lines });
        }
        let files = [gathered.toml, gathered.dotenv];
        let mut warnings = gathered.warnings;
        config.drop_idle_openai(&mut warnings);
        config.providers.retain(|_, provider| !provider.is_empty());
        config.resolve();
        let mut problems = Problems::default();
        config.check(&mut problems);
        production::check(&config, &files, &mut problems, &mut warnings);
        if !problems.0.is_empty() {
            return Err(ConfigError { lines: problems.0.iter().map(|p| config.line(p)).collect() });
        }
        Ok((config, warnings))
    }

    fn set(&mut self, entry: source::Entry, lines: &mut Vec<String>) {
        let source::Entry { path, raw, origin } = entry;
        let Some((section, name)) = path.rsplit_once('.') else { return };
        let target: Option<&mut dyn Section> = match Named::split(section) {
            Some((Named::Upstreams, name)) => Some(self.upstreams.entry(name.to_owned()).or_default()),
            Some((Named::Providers, name)) => Some(self.providers.entry(name.to_owned()).or_default()),
            None => self.section_mut(section),
        };
        let (Some(target), Some(key)) = (target, source::key_of(&path)) else { return };
        match target.set(name, &raw) {
            Ok(()) => {
                self.origins.insert(path, origin);
            }
            Err(wrong) => {
                let value = if key.secret { String::new() } else { format!(" = {}", raw.show()) };
                let words = wrong.0.unwrap_or_else(|| format!("expected {}", key.expected));
                lines.push(format!("{path}{value} ({origin}): {words}"));
            }
        }
    }

    /// `OPENAI_API_KEY` stands in many an environment for other programs: alone it sends nothing
    /// anywhere.
    fn drop_idle_openai(&mut self, warnings: &mut Vec<Warning>) {
        let stray = self.origins.get("upstreams.openai.api_key").is_some_and(|origin| {
            matches!(origin, Origin::Variable(name) | Origin::DotEnv(name, _) if name == "OPENAI_API_KEY")
        });
        if stray && self.upstreams.get("openai").is_some_and(|upstream| upstream.base_url.is_none()) {
            self.upstreams.remove("openai");
            warnings.push(Warning(
                "OPENAI_API_KEY is not used without OPENAI_BASE_URL; for OpenAI itself that is \
                 https://api.openai.com/v1"
                    .to_owned(),
            ));
        }
    }

    /// Fills in what depends on something else, and makes paths start at the working folder.
    fn resolve(&mut self) {
        let loopback = self.server.listen.ip().is_loopback();
        let by_address = if loopback { Profile::Development } else { Profile::Production };
        self.profile = self.server.profile.unwrap_or(by_address);
        let production = self.profile == Profile::Production;
        self.sign_up.verification_required.get_or_insert(production);
        self.sign_up.make_canonical();
        let port = self.server.listen.port();
        self.public_url = self.server.public_url.clone().unwrap_or_else(|| self.server.default_url(port));
        self.server.data_dir = self.cwd.join(&self.server.data_dir);
        for path in [&mut self.secrets.secret_key_file, &mut self.passwords.block_list_file] {
            *path = path.as_ref().map(|path| self.cwd.join(path));
        }
    }

    fn check(&self, problems: &mut Problems) {
        self.server.check(problems);
        self.database.check(problems);
        self.secrets.check(problems);
        self.passwords.check(self.profile, problems);
        self.sessions.check(problems);
        self.mail.check(problems);
        self.sign_up.check(self.profile, problems);
        self.models.check(problems);
        self.limits.check(problems);
        self.logging.check(problems);
        for (name, upstream) in &self.upstreams {
            upstream.check(name, problems);
        }
        for (name, provider) in &self.providers {
            provider.check(name, problems);
        }
    }

    /// One fault as one line.
    fn line(&self, (path, problem): &(String, Problem)) -> String {
        let origin = match self.origins.get(path) {
            Some(origin) => format!(" ({origin})"),
            None => String::new(),
        };
        match problem {
            Problem::Says(words) => format!("{path}{origin}: {words}"),
            Problem::Expected(expected) => {
                let shown = self.show(path).map_or(String::new(), |value| format!(" = {value}"));
                format!("{path}{shown}{origin}: expected {expected}")
            }
        }
    }

    /// The value at `path` as TOML, secrets masked.
    fn show(&self, path: &str) -> Option<String> {
        let (section, name) = path.rsplit_once('.')?;
        match Named::split(section) {
            Some((Named::Upstreams, upstream)) => self.upstreams.get(upstream)?.show(name),
            Some((Named::Providers, provider)) => self.providers.get(provider)?.show(name),
            None => self.section(section)?.show(name),
        }
    }

    fn sections(&self) -> [&dyn Section; 10] {
        [
            &self.server,
            &self.database,
            &self.secrets,
            &self.passwords,
            &self.sessions,
            &self.mail,
            &self.sign_up,
            &self.models,
            &self.limits,
            &self.logging,
        ]
    }

    fn section(&self, name: &str) -> Option<&dyn Section> {
        self.sections().into_iter().find(|section| section.name() == name)
    }

    fn section_mut(&mut self, name: &str) -> Option<&mut dyn Section> {
        let sections: [&mut dyn Section; 10] = [
            &mut self.server,
            &mut self.database,
            &mut self.secrets,
            &mut self.passwords,
            &mut self.sessions,
            &mut self.mail,
            &mut self.sign_up,
            &mut self.models,
            &mut self.limits,
            &mut self.logging,
        ];
        sections.into_iter().find(|section| section.name() == name)
    }

    /// The profile in force.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    pub fn is_production(&self) -> bool {
        self.profile == Profile::Production
    }

    pub fn is_development(&self) -> bool {
        self.profile == Profile::Development
    }

    /// What people type to get here; its path is `/`. Links and the origin check build on it.
    pub fn public_url(&self) -> &Url {
        &self.public_url
    }

    /// The public URL as an origin: `https://chat.example.org`, without a slash.
    pub fn public_origin(&self) -> String {
        self.public_url.origin().ascii_serialization()
    }

    /// The host of the public URL, without the port.
    pub fn public_host(&self) -> &str {
        self.public_url.host_str().unwrap_or("localhost")
    }

    /// Whether people come by HTTPS, so that cookies can be `Secure` (SEC-77).
    pub fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// Whether the public URL's host is an IP address: then there can be no passkeys.
    pub fn host_is_ip(&self) -> bool {
        matches!(self.public_url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)))
    }

    /// Takes over the address that the server really listens on, where it asked for port 0.
    pub fn bound_to(&mut self, address: SocketAddr) {
        self.server.listen = address;
        if self.server.public_url.is_none() {
            self.public_url = self.server.default_url(address.port());
        }
    }

    /// Where the data lives, for [`base::Db::open`].
    pub fn location(&self) -> Location {
        self.database.location(&self.cwd, &self.server.data_dir)
    }

    /// Whether new accounts have to confirm their address, before an Admin decides otherwise.
    pub fn verification_required(&self) -> bool {
        self.sign_up.verification_required.unwrap_or(self.is_production())
    }

    /// The sender of mails.
    pub fn mail_from(&self) -> String {
        match self.mail.from.as_str() {
            "" => match self.public_url.domain() {
                Some(domain) => format!("{} <anteroom@{domain}>", mail::phrase(&self.server.site_name)),
                None => format!("{} <anteroom@localhost>", mail::phrase(&self.server.site_name)),
            },
            from => from.to_owned(),
        }
    }

    /// The secrets for [`base::KeyRing::new`], newest first. Outside production, where none is
    /// configured, `secret.key` in the data folder is read, or made with 0600 at the first start.
    ///
    /// # Errors
    /// The key file cannot be read or written, or holds no key.
    pub fn secret_keys(&self, random: &Random) -> Result<Vec<String>, ConfigError> {
        let first = match (self.secrets.configured_key(), &self.secrets.secret_key_file) {
            (Some(key), _) => key.to_owned(),
            (None, Some(path)) => secrets::read_key(path).map_err(|error| {
                ConfigError::one(format!("{}: the secret key cannot be read: {error}", path.display()))
            })?,
            (None, None) if self.is_production() => {
                return Err(ConfigError::one(format!("secrets.secret_key: {}", production::NO_SECRET)));
            }
            (None, None) => secrets::read_or_make(&self.key_file(), random)?,
        };
        let former = self.secrets.former_keys.iter().map(|key| key.expose().to_owned());
        Ok(std::iter::once(first).chain(former.filter(|key| !key.is_empty())).collect())
    }

    /// The key file that the server makes itself.
    fn key_file(&self) -> PathBuf {
        self.server.data_dir.join("secret.key")
    }
}

/// The address of a server on this machine.
fn localhost(port: u16) -> Url {
    match Url::parse(&format!("http://localhost:{port}")) {
        Ok(url) => url,
        Err(_) => unreachable!("a host and a port make a URL"),
    }
}
