//! `anteroom user …`

use std::io::Read as _;

use accounts::{Actor, NewAccount};
use clap::{Args, Subcommand};

use super::Failure;
use crate::app::App;
use crate::joining;

#[derive(Subcommand)]
pub enum UserCommand {
    /// Make an account; its e-mail counts as verified and no mail is sent.
    Create(Create),
    /// Lift the lock that failed sign-ins put on an account.
    Unlock(Unlock),
}

#[derive(Args)]
pub struct Unlock {
    /// Username or id.
    name: String,
}

#[derive(Args)]
pub struct Create {
    #[arg(long)]
    username: String,
    #[arg(long)]
    email: String,
    /// Name or id of a role.
    #[arg(long, default_value = "User")]
    role: String,
    #[arg(long, default_value = "")]
    first_name: String,
    #[arg(long, default_value = "")]
    last_name: String,
    /// Read the password from standard input; one line end after it is not part of it.
    #[arg(long, required = true)]
    password_stdin: bool,
}

pub async fn run(app: &App, command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Create(create) => self::create(app, create).await,
        UserCommand::Unlock(unlock) => self::unlock(app, &unlock.name).await,
    }
}

/// SEC-28: the way back in where the only Admin is locked out.
async fn unlock(app: &App, name: &str) -> Result<(), Failure> {
    let changed = app
        .accounts
        .unlock(Actor::Operator, name)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let state = if changed.changed { "may sign in again" } else { "was not locked" };
    println!("{} {state}.", changed.user.username);
    Ok(())
}

async fn create(app: &App, create: Create) -> Result<(), Failure> {
    let mut password = String::new();
    std::io::stdin()
        .read_to_string(&mut password)
        .map_err(|error| Failure::Failed(format!("the password could not be read: {error}")))?;
    let password = password.strip_suffix('\n').unwrap_or(&password);
    let password = password.strip_suffix('\r').unwrap_or(password);
    let new = NewAccount {
        first_name: if create.first_name.is_empty() { create.username.clone() } else { create.first_name },
        last_name: create.last_name,
        username: create.username,
        email: create.email,
        password: password.to_owned(),
    };
    match joining::create(app, &new, &create.role).await {
        Ok(user) => {
            println!("{} is made, with the id {}.", user.username, user.id);
            Ok(())
        }
        Err(error) => Err(Failure::Failed(match error.fields() {
            Some(fields) => {
                fields.iter().map(|(field, text)| format!("{field}: {text}")).collect::<Vec<_>>().join("\n")
            }
            None => {
                let problem = error.problem();
                format!("{}: {}", problem.title, problem.detail)
            }
        })),
    }
}
