//! Roles as the Admin sees them, and whether one requires a second factor (SEC-3).

use base::db::{DbError, FromRow, Row};
use base::{DAY, Micros, args, sql};

use super::change::{Actor, PeopleError, own};
use super::factors::has_strong_factor;
use crate::Accounts;
use crate::permission::{Permission, Permissions};

/// Most days of grace.
const LONGEST_GRACE: i64 = 90;

/// A role with how many people it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRow {
    pub id: String,
    pub name: String,
    pub built_in: bool,
    pub permissions: Permissions,
    pub second_factor_required: bool,
    /// Days to set one up after getting the role.
    pub grace_days: i64,
    /// Active people with the role.
    pub people: i64,
    /// Those of them without a second factor that the role accepts.
    pub without_factor: i64,
}

impl FromRow for RoleRow {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let permissions: Option<String> = row.get("permissions")?;
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            built_in: row.get("built_in")?,
            permissions: Permissions::from_list(permissions.as_deref()),
            second_factor_required: row.get("second_factor_required")?,
            grace_days: row.get("grace_days")?,
            people: row.get("people")?,
            without_factor: row.get("without_factor")?,
        })
    }
}

/// What a change of a role did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleChanged {
    pub id: String,
    pub name: String,
    /// `false` where everything was so already.
    pub changed: bool,
}

/// What a role requires now.
struct Requirement {
    id: String,
    name: String,
    required: bool,
    since: Micros,
    grace_days: i64,
    permissions: Permissions,
}

impl FromRow for Requirement {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let permissions: Option<String> = row.get("permissions")?;
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            required: row.get("second_factor_required")?,
            since: row.get("second_factor_since")?,
            grace_days: row.get("grace_days")?,
            permissions: Permissions::from_list(permissions.as_deref()),
        })
    }
}

impl Accounts {
    /// Every role, the built-in ones first.
    pub async fn roles(&self) -> Result<Vec<RoleRow>, DbError> {
        let codes = i64::from(self.settings().second_factor.email_codes);
        self.db
            .report(
                sql!(
                    "SELECT r.id, r.name, r.built_in, r.second_factor_required, r.grace_days,
                       (SELECT string_agg(permission, ',') FROM role_permissions WHERE role_id = r.id) AS permissions,
                       (SELECT COUNT(*) FROM user_roles ur JOIN users u ON u.id = ur.user_id
                        WHERE ur.role_id = r.id AND u.deactivated_at IS NULL AND u.email_canonical IS NOT NULL) AS people,
                       (SELECT COUNT(*) FROM user_roles ur JOIN users u ON u.id = ur.user_id
                        WHERE ur.role_id = r.id AND u.deactivated_at IS NULL AND u.email_canonical IS NOT NULL
                          AND NOT EXISTS (SELECT 1 FROM totp_factors t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL)
                          AND NOT EXISTS (SELECT 1 FROM passkeys p WHERE p.user_id = u.id)
                          AND NOT (CAST($1 AS BIGINT) = 1 AND u.email_codes_since IS NOT NULL
                            AND u.email_verified_at IS NOT NULL
                            AND NOT EXISTS (SELECT 1 FROM role_permissions rp WHERE rp.role_id = r.id
                                AND rp.permission NOT IN ('chat.use', 'api_keys.use')))) AS without_factor
                     FROM roles r ORDER BY r.built_in DESC, r.name_canonical"
                ),
                args![codes],
            )
            .await
    }

    /// Says whether a role (id or name) requires a second factor, and how many days people have to
    /// set one up. Switched on, it counts from now for those who have the role already; switched on
    /// again it keeps its time.
    ///
    /// # Errors
    /// The actor lacks `roles.manage` or a permission of the role, or would be shut out by it at
    /// once; or `grace_days` is not within 0 to 90.
    pub async fn set_role_second_factor<'a>(
        &self,
        actor: impl Into<Actor<'a>>,
        role: &str,
        required: bool,
        grace_days: i64,
    ) -> Result<RoleChanged, PeopleError> {
        let actor = actor.into();
        if !(0..=LONGEST_GRACE).contains(&grace_days) {
            return Err(PeopleError::Grace);
        }
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        tx.lock("admins").await?;
        let own = own(&mut tx, actor).await?;
        if !own.contains(Permission::RolesManage) {
            return Err(PeopleError::NotAllowed);
        }
        let before: Option<Requirement> = tx
            .one(
                sql!(
                    "SELECT r.id, r.name, r.second_factor_required, r.second_factor_since, r.grace_days,
                       (SELECT string_agg(permission, ',') FROM role_permissions WHERE role_id = r.id) AS permissions
                     FROM roles r WHERE r.id = $1 OR r.name_canonical = $2"
                ),
                args![role, &role.trim().to_lowercase()],
            )
            .await?;
        let before = before.ok_or(PeopleError::NoRole)?;
        if !own.covers(before.permissions) {
            return Err(PeopleError::MoreThanYou);
        }
        let since = if required && !before.required { now } else { before.since };
        if let (true, Actor::Person(actor)) = (required, actor) {
            let granted: Option<Micros> = tx
                .one(
                    sql!("SELECT granted_at FROM user_roles WHERE role_id = $1 AND user_id = $2"),
                    args![&before.id, &actor.user_id],
                )
                .await?;
            let due = granted.map(|granted| granted.max(since) + grace_days * DAY);
            if due.is_some_and(|due| due <= now) && !has_strong_factor(&mut tx, &actor.user_id).await? {
                return Err(PeopleError::OwnFactorFirst);
            }
        }
        let changed = before.required != required || before.grace_days != grace_days;
        if changed {
            tx.run(
                sql!(
                    "UPDATE roles SET second_factor_required = $2, second_factor_since = $3, grace_days = $4 WHERE id = $1"
                ),
                args![&before.id, required, since, grace_days],
            )
            .await?;
        }
        tx.commit().await?;
        Ok(RoleChanged { id: before.id, name: before.name, changed })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
#[path = "roles_tests.rs"]
mod tests;
