//! `anteroom setup-link`

use super::Failure;
use crate::app::App;

/// Prints a new set-up link; the one before stops working.
pub async fn run(app: &App) -> Result<(), Failure> {
    let token =
        app.accounts.create_setup_token().await.map_err(|error| Failure::Failed(error.to_string()))?;
    let Some(token) = token else {
        return Err(Failure::Failed(
            "there is an Admin already; they can promote others under Administration, Users".into(),
        ));
    };
    println!("{}", app.link(&format!("/setup?token={token}")));
    Ok(())
}
