//! `anteroom role …`

use accounts::Actor;
use clap::{Args, Subcommand, ValueEnum};

use super::Failure;
use crate::app::App;
use crate::view::format;

#[derive(Subcommand)]
pub enum RoleCommand {
    /// Print the roles: what they require, and how many people have them.
    List,
    /// Change what a role requires.
    Set(Set),
}

#[derive(Clone, Copy, ValueEnum)]
enum Requirement {
    Required,
    Optional,
}

#[derive(Args)]
pub struct Set {
    /// Name or id.
    role: String,
    /// Whether the role requires a second factor.
    #[arg(long)]
    second_factor: Requirement,
    /// Days to set one up, 0 to 90; unsaid, they stay as they are.
    #[arg(long, value_name = "N")]
    grace_days: Option<i64>,
}

pub async fn run(app: &App, command: RoleCommand) -> Result<(), Failure> {
    match command {
        RoleCommand::List => list(app).await,
        RoleCommand::Set(set) => self::set(app, &set).await,
    }
}

async fn list(app: &App) -> Result<(), Failure> {
    let roles = app.accounts.roles().await.map_err(|error| Failure::Failed(error.to_string()))?;
    for role in roles {
        let people = format::counted(role.people, "person", "people");
        let requirement = match (role.second_factor_required, role.grace_days) {
            (false, _) => "second factor optional".to_owned(),
            (true, days) => format!(
                "second factor required after {}, {} without one",
                format::counted(days, "day", "days"),
                role.without_factor
            ),
        };
        println!("{}: {people}; {requirement}", role.name);
    }
    Ok(())
}

async fn set(app: &App, set: &Set) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let required = matches!(set.second_factor, Requirement::Required);
    let grace_days = match set.grace_days {
        Some(days) => days,
        None => {
            let roles = app.accounts.roles().await.map_err(|error| failed(&error))?;
            let is_it = |id: &str, name: &str| id == set.role || name.eq_ignore_ascii_case(set.role.trim());
            // Where there is none, the change says so.
            roles.iter().find(|role| is_it(&role.id, &role.name)).map_or(0, |role| role.grace_days)
        }
    };
    let role = app
        .accounts
        .set_role_second_factor(Actor::Operator, &set.role, required, grace_days)
        .await
        .map_err(|error| failed(&error))?;
    match required {
        true => println!(
            "{} requires a second factor, with {} to set one up.",
            role.name,
            format::counted(grace_days, "day", "days")
        ),
        false => println!("{} does not require a second factor.", role.name),
    }
    Ok(())
}
