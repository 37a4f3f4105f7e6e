//! `anteroom user …`

use std::io::Read as _;

use accounts::{Actor, NewAccount};
use clap::{Args, Subcommand};

use super::{Failure, doctor};
use crate::app::App;
use crate::joining;
use crate::view::format::masked;

#[derive(Subcommand)]
pub enum UserCommand {
    /// Make an account; its e-mail counts as verified and no mail is sent.
    Create(Create),
    /// Lift the locks that failed sign-ins and wrong second factors put on an account.
    Unlock(Unlock),
    /// Take all second factors from someone who lost them, and tell them by mail.
    #[command(name = "reset-2fa")]
    ResetFactors(ResetFactors),
    /// Mail someone a link that sets a new password.
    ResetPassword(ResetPassword),
}

#[derive(Args)]
pub struct Unlock {
    /// Username or id.
    name: String,
}

#[derive(Args)]
pub struct ResetFactors {
    /// Username or id.
    name: String,
    /// Why, in 3 to 200 characters; the person is told it.
    #[arg(long, default_value = "The operator reset them at the command line.")]
    reason: String,
}

#[derive(Args)]
pub struct ResetPassword {
    /// Username or id.
    name: String,
    /// Print the link, and mail nothing.
    #[arg(long)]
    print: bool,
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
        UserCommand::ResetFactors(reset) => reset_factors(app, &reset).await,
        UserCommand::ResetPassword(reset) => reset_password(app, &reset).await,
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

/// SEC-60
async fn reset_factors(app: &App, reset: &ResetFactors) -> Result<(), Failure> {
    let changed = app
        .accounts
        .reset_factors(Actor::Operator, &reset.name, &reset.reason)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let username = &changed.user.username;
    if !changed.changed {
        println!("{username} had no second factor.");
        return Ok(());
    }
    println!("{username} has no second factor any more and is signed out everywhere.");
    println!("{}", mail_words(app, &changed.user.email));
    Ok(())
}

/// SEC-23: nobody sets a lasting password for someone else.
async fn reset_password(app: &App, reset: &ResetPassword) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let found = app.accounts.find_person(&reset.name).await.map_err(|error| failed(&error))?;
    let user = found.ok_or_else(|| failed(&accounts::PeopleError::NotFound))?.user;
    let not_active = || {
        failed(&format!(
            "{} is deactivated or has not confirmed the sign-up; no link was made",
            user.username
        ))
    };
    if reset.print {
        let token = app.accounts.make_reset_link_token(&user.id).await.map_err(|error| failed(&error))?;
        let token = token.ok_or_else(not_active)?;
        println!("{}", app.link(&format!("/reset/{token}")));
        return Ok(());
    }
    if !app.accounts.send_reset_link(&user.id, None, true).await.map_err(|error| failed(&error))? {
        return Err(not_active());
    }
    println!("A link that sets a new password is queued for {}.", user.username);
    println!("{}", mail_words(app, &user.email));
    Ok(())
}

/// Where the mail goes and when.
fn mail_words(app: &App, email: &str) -> String {
    let to = masked(email);
    if app.config.mail.is_configured() {
        format!("The mail to {to} leaves with the running server.")
    } else {
        let folder = doctor::mail_folder(&app.config);
        format!("The mail to {to} is written to {folder} by the running server: no mail server is set.")
    }
}

/// An address as far as its owner knows it again: `a…@example.org`.
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
