//! `anteroom config …`: what can be printed without a running server.

use clap::Subcommand;

use super::Failure;
use crate::router;

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Print every route with its guard, as docs/routes.md holds it.
    Routes,
    /// Print every setting with its default and meaning, as docs/configuration.md holds it.
    Reference,
}

pub fn print(what: &ConfigCommand) -> Result<(), Failure> {
    match what {
        ConfigCommand::Routes => print!("{}", router::matrix()),
        ConfigCommand::Reference => print!("{}", crate::config::reference()),
    }
    Ok(())
}
