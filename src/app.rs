//! The application: one value with everything in it, built once, cloned as an `Arc`.

use std::fs::DirBuilder;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use accounts::Accounts;
use base::db::{Location, OpenError};
use base::{Clock, Db, KeyRing, Random};
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};

use crate::config::{Config, ConfigError};
use crate::mail::Mailer;
use crate::models::Models;
use crate::options;
use crate::sign_in_providers::SignInProviders;
use crate::streams::Streams;
use crate::view::Site;

/// Shared by every handler and job.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What the application is made of.
pub struct Parts {
    pub config: Config,
    pub clock: Clock,
    pub random: Random,
    pub ring: KeyRing,
    pub db: Db,
    pub accounts: Accounts,
    pub engine: chat::Engine,
    pub models: Models,
    pub providers: SignInProviders,
    pub streams: Streams,
    pub rankings: tokio::sync::Mutex<usage::Rankings>,
    pub mailer: Mailer,
    /// Wakes the worker that sends mail.
    pub outbox: Arc<Notify>,
    site: RwLock<Arc<Site>>,
    setup_open: AtomicBool,
    stop: watch::Sender<bool>,
}

impl Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("App")
    }
}

/// What comes from outside the process, and what tests put in its place.
#[derive(Clone, Debug)]
pub struct Outside {
    pub clock: Clock,
    pub random: Random,
    /// Time between two words of the demo model.
    pub demo_pace: Option<Duration>,
}

impl Outside {
    /// The machine's clock and randomness.
    pub fn real() -> Self {
        Self { clock: Clock::system(), random: Random::os(), demo_pace: None }
    }
}

/// Why the application did not start. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the data folder {folder} cannot be used: {problem}")]
    DataFolder { folder: String, problem: String },
    #[error(transparent)]
    Database(#[from] OpenError),
    #[error(
        "SECRET_KEY is not the key that sealed this database; start with the former key, or put it into \
         secrets.former_keys"
    )]
    WrongKey,
    #[error("{0}")]
    Other(String),
}

impl From<base::DbError> for StartError {
    fn from(error: base::DbError) -> Self {
        Self::Database(error.into())
    }
}

/// Makes the data folder for its owner alone; one that is there stays as it is.
fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Whether files can be made in it, as SQLite will: told before anything is half done.
fn check_writable(folder: &Path, random: &Random) -> io::Result<()> {
    let probe = folder.join(format!(".writable-{}", base::random::hex(&random.bytes::<8>())));
    std::fs::write(&probe, [])?;
    std::fs::remove_file(probe)
}

impl App {
    /// Opens the database and builds everything on it. Nothing listens and no job runs yet, and the
    /// catalog of models stays as it is: only the server makes it follow its configuration, for a
    /// command may run with another one beside it.
    pub async fn build(config: Config, outside: Outside) -> Result<Self, StartError> {
        let Outside { clock, random, demo_pace } = outside;
        let folder = &config.server.data_dir;
        let unusable = |error: io::Error| StartError::DataFolder {
            folder: folder.display().to_string(),
            problem: error.to_string(),
        };
        create_folder(folder).map_err(unusable)?;
        if matches!(config.location(), Location::Sqlite(_)) {
            check_writable(folder, &random).map_err(unusable)?;
        }
        let keys = config.secret_keys(&random)?;
        let ring = KeyRing::new(&keys.iter().map(String::as_bytes).collect::<Vec<_>>());
        let db = Db::open(&config.location(), clock.now()).await?;
        let accounts = Accounts::new(
            db.clone(),
            clock.clone(),
            random.clone(),
            ring.clone(),
            options::accounts(&config)?,
        );
        if !accounts.key_fits().await? {
            return Err(StartError::WrongKey);
        }
        accounts.reload_settings().await?;
        let models =
            Models::new(&config, &clock, demo_pace).map_err(|error| StartError::Other(error.to_string()))?;
        let providers = SignInProviders::new(&config, models.http.clone(), clock.clone());
        let engine = chat::Engine::new(
            db.clone(),
            clock.clone(),
            random.clone(),
            models.pool.clone(),
            options::chat(&config),
        );
        let mailer = Mailer::new(&config).map_err(|error| StartError::Other(error.to_string()))?;
        let app = Self(Arc::new(Parts {
            streams: Streams::default(),
            rankings: tokio::sync::Mutex::new(usage::Rankings::default()),
            outbox: accounts.outbox.clone(),
            site: RwLock::new(Arc::new(Site {
                name: config.server.site_name.clone(),
                signup_open: false,
                mail: !config.mail.server.is_empty(),
            })),
            setup_open: AtomicBool::new(accounts.setup_needed().await?),
            stop: watch::Sender::new(false),
            config,
            clock,
            random,
            ring,
            db,
            accounts,
            engine,
            models,
            providers,
            mailer,
        }));
        app.refresh_site();
        app.providers.reload(&app).await?;
        app.models.reload(&app).await.map_err(|error| StartError::Other(error.to_string()))?;
        Ok(app)
    }

    /// The installation as pages show it.
    pub fn site(&self) -> Arc<Site> {
        self.site.read().clone()
    }

    /// Takes changed settings over into [`App::site`].
    pub fn refresh_site(&self) {
        let settings = self.accounts.settings();
        let fresh = Site {
            name: settings.general.site_name.clone(),
            signup_open: settings.sign_up.is_open(),
            mail: !self.config.mail.server.is_empty(),
        };
        *self.site.write() = Arc::new(fresh);
    }

    /// Whether people reach it by HTTPS.
    pub fn https(&self) -> bool {
        self.config.is_https()
    }

    /// An absolute link, built from the configured public URL and never from a request (SEC-64).
    pub fn link(&self, path: &str) -> String {
        format!("{}{path}", self.config.public_origin())
    }

    /// Whether `host` is another name of this machine's loopback than the public URL's.
    pub fn other_loopback_name(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
            _ => (host, "80"),
        };
        matches!(name, "localhost" | "127.0.0.1" | "[::1]")
            && matches!(self.config.public_host(), "localhost" | "127.0.0.1" | "[::1]")
            && name != self.config.public_host()
            && port.parse().ok() == self.config.public_url().port_or_known_default()
    }

    /// Whether nobody is Admin yet.
    pub fn setup_is_open(&self) -> bool {
        self.setup_open.load(Ordering::Relaxed)
    }

    /// Looks again, as long as nobody was Admin when last seen: the command line or another replica
    /// may have made the first one.
    pub async fn refresh_setup(&self) -> Result<(), base::DbError> {
        if self.setup_is_open() && !self.accounts.setup_needed().await? {
            self.setup_done();
        }
        Ok(())
    }

    /// The first Admin is there.
    pub fn setup_done(&self) {
        self.setup_open.store(false, Ordering::Relaxed);
    }

    /// A stop was asked for.
    pub fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Asks everything to come to an end.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Comes back when a stop was asked for.
    pub async fn stopped(&self) {
        // The sender lives as long as the application, so this ends by a stop only.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}
