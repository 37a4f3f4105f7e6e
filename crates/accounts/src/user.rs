//! A person as other parts see them: no secrets in it.

use base::Micros;
use base::db::{DbError, FromRow, Row};

/// The id of the built-in role that holds every permission.
pub const ROLE_ADMIN: &str = "1";
/// The id of the built-in role that everyone gets.
pub const ROLE_USER: &str = "2";

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct User {
    pub id: String,
    /// As typed.
    pub username: String,
    /// The stored address; empty while only the name is reserved (SEC-11).
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub created_at: Micros,
    /// When the address was confirmed.
    pub email_verified_at: Option<Micros>,
    pub deactivated_at: Option<Micros>,
    /// An unconfirmed sign-up goes at this time.
    pub expires_at: Option<Micros>,
    pub last_seen_at: Option<Micros>,
}

impl User {
    pub fn is_verified(&self) -> bool {
        self.email_verified_at.is_some()
    }

    /// Whether this is a sign-up that nobody confirmed yet.
    pub fn is_pending(&self) -> bool {
        self.expires_at.is_some()
    }

    pub fn is_active(&self) -> bool {
        self.deactivated_at.is_none()
    }

    /// First and last name.
    pub fn full_name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name).trim().to_owned()
    }
}

impl FromRow for User {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            username: row.get("username")?,
            email: row.get::<Option<String>>("email")?.unwrap_or_default(),
            first_name: row.get("first_name")?,
            last_name: row.get("last_name")?,
            created_at: row.get("created_at")?,
            email_verified_at: row.get("email_verified_at")?,
            deactivated_at: row.get("deactivated_at")?,
            expires_at: row.get("expires_at")?,
            last_seen_at: row.get("last_seen_at")?,
        })
    }
}
