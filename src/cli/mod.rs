//! The command line. Every role of the program is a subcommand; without one it serves.
//!
//! Exit codes: 0 done, 1 it could not be done, 2 a wrong setting or a wrong call. An error is one
//! line on standard error.

mod config;
mod doctor;
mod role;
mod setup_link;
mod user;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::{App, Outside, StartError};
use crate::config::{Config, Flags};
use crate::{logging, serve};

/// Private LLM chat for a team, behind a front door that can be trusted.
#[derive(Parser)]
#[command(name = "anteroom", version, about)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (what it does without a command).
    Serve,
    /// Print a new set-up link, as long as nobody is Admin.
    SetupLink,
    /// Manage people.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Manage roles.
    #[command(subcommand)]
    Role(role::RoleCommand),
    /// Look at everything that the server depends on, and say what is wrong.
    Doctor(doctor::Doctor),
    /// Bring the database up to date and stop.
    Migrate,
    /// Print the configuration in force, secrets masked.
    Config {
        #[command(subcommand)]
        what: Option<config::ConfigCommand>,
    },
}

/// What a command ends with when it does not succeed.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 2.
    Setting(String),
    /// Exit code 1.
    Failed(String),
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(error) => Self::Setting(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Setting(text)) => complain(&text, 2),
        Err(Failure::Failed(text)) => complain(&text, 1),
    }
}

fn complain(text: &str, code: u8) -> ExitCode {
    for line in text.lines() {
        eprintln!("anteroom: {line}");
    }
    ExitCode::from(code)
}

fn run(cli: Cli) -> Result<(), Failure> {
    if let Some(Command::Config { what: Some(what) }) = &cli.command {
        return config::print(what);
    }
    let env: BTreeMap<String, String> = std::env::vars().collect();
    let cwd = std::env::current_dir()
        .map_err(|error| Failure::Failed(format!("the working folder cannot be read: {error}")))?;
    let (config, warnings) =
        Config::load(&cli.flags, &env, &cwd).map_err(|error| Failure::Setting(error.to_string()))?;
    if let Some(Command::Config { what: None }) = cli.command {
        print!("{}", config.print());
        return Ok(());
    }
    let _log = logging::start(&config.logging).map_err(Failure::Setting)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("the runtime did not start: {error}")))?;
    runtime.block_on(async {
        match cli.command {
            None | Some(Command::Serve) => Ok(serve::run(config).await?),
            Some(Command::Config { .. }) => Ok(()),
            // By itself: it looks at what keeps the application from being built, too.
            Some(Command::Doctor(doctor)) => doctor::run(config, &doctor).await,
            Some(command) => {
                let app = App::build(config, Outside::real()).await?;
                let done = with_app(&app, command).await;
                app.db.close().await;
                done
            }
        }
    })
}

/// The commands that work on the data.
async fn with_app(app: &App, command: Command) -> Result<(), Failure> {
    match command {
        Command::SetupLink => setup_link::run(app).await,
        Command::User(command) => user::run(app, command).await,
        Command::Role(command) => role::run(app, command).await,
        // Building the application did it.
        Command::Migrate => {
            println!("The database is up to date.");
            Ok(())
        }
        Command::Serve | Command::Doctor(_) | Command::Config { .. } => Ok(()),
    }
}
