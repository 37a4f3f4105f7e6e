//! Who is asking: a signed-in person with what they may do, read afresh on every request.

use base::Micros;

use crate::permission::{Permission, Permissions};

/// A signed-in person (SEC-80).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub user_id: String,
    pub username: String,
    /// The stored address; empty for an account without one.
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    /// Whether the address was confirmed.
    pub verified: bool,
    /// Ids and names, by id.
    pub roles: Vec<(String, String)>,
    pub permissions: Permissions,
    pub session: SessionInfo,
}

/// The session that the request came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// For lists, logs and open streams; no secret.
    pub id: String,
    /// The forms' token is derived from this one.
    pub csrf_secret: String,
    pub created_at: Micros,
    pub last_seen_at: Micros,
    /// When the person last proved who they are; step-up counts from here (SEC-57).
    pub step_up_at: Micros,
    pub expires_at: Micros,
}

impl Principal {
    /// Whether any of the person's roles grants `permission`.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(permission)
    }

    /// Whether the person has the role with this id.
    pub fn has_role(&self, role_id: &str) -> bool {
        self.roles.iter().any(|(id, _)| id == role_id)
    }

    /// First and last name.
    pub fn full_name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name).trim().to_owned()
    }
}
