//! Who is asking: a signed-in person with what they may do, read afresh on every request.

use base::Micros;
use base::db::{DbError, FromRow, Row};

use crate::factors::due_at;
use crate::permission::{Permission, Permissions};
use crate::settings::SecondFactorRules;

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
    /// By when the person must have set up a second factor; `None` where none is needed or one is
    /// there (SEC-3).
    pub enrol_by: Option<Micros>,
    pub session: SessionInfo,
    pub(crate) second_factor: FactorState,
}

/// What decides whether a second factor is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FactorState {
    /// An authenticator app or a passkey.
    pub(crate) strong: bool,
    pub(crate) email_codes: bool,
    pub(crate) role_due_at: Option<Micros>,
    pub(crate) created_at: Micros,
    /// The provider that the session came by stood for the second factor (SEC-73).
    pub(crate) stands: bool,
}

/// The session that the request came with.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// For lists, logs and open streams; no secret.
    pub id: String,
    /// The forms' token is derived from this one.
    pub csrf_secret: String,
    /// By what the person signed in: `password`, `passkey` or `provider:<name>`, then the second factor.
    pub method: String,
    pub created_at: Micros,
    pub last_seen_at: Micros,
    /// When the person last proved who they are; step-up counts from here (SEC-57).
    pub step_up_at: Micros,
    pub expires_at: Micros,
}

impl std::fmt::Debug for SessionInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionInfo").field("id", &self.id).finish_non_exhaustive()
    }
}

impl FactorState {
    /// By when a factor must be set up; `None` where none is needed or one is there.
    pub(crate) fn enrol_by(&self, rules: &SecondFactorRules, is_privileged: bool) -> Option<Micros> {
        let enrolled =
            self.stands || self.strong || (self.email_codes && rules.email_codes && !is_privileged);
        if enrolled { None } else { due_at(rules, self.role_due_at, self.created_at) }
    }
}

impl FromRow for FactorState {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            strong: row.get("has_factor")?,
            email_codes: row.get("has_email_codes")?,
            role_due_at: row.get("role_due_at")?,
            created_at: row.get("user_created_at")?,
            stands: row.get("stands")?,
        })
    }
}

impl Principal {
    /// Applies the house's rules, as [`crate::Standing`] does for a sign-in.
    pub(crate) fn under(mut self, rules: &SecondFactorRules) -> Self {
        self.enrol_by = self.second_factor.enrol_by(rules, self.permissions.is_privileged());
        self
    }

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
