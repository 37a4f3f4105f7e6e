//! Roles that a provider decides about, made so at each sign-in there (SEC-74).

use base::db::DbError;
use base::{Tx, args, sql};

use super::RoleClaim;
use crate::Accounts;
use crate::people::is_last_admin;
use crate::user::ROLE_ADMIN;

impl Accounts {
    /// Gives and takes the mapped roles as the provider says; the others stay. The last active Admin
    /// stays one (SEC-93). The lock "admins" and the person's row are to be held. Gives whether
    /// anything changed.
    pub(crate) async fn apply_roles(
        &self,
        tx: &mut Tx,
        user_id: &str,
        claim: &RoleClaim,
    ) -> Result<bool, DbError> {
        let known: Vec<(String, String)> = tx.all(sql!("SELECT id, name_canonical FROM roles"), &[]).await?;
        let held: Vec<String> =
            tx.all(sql!("SELECT role_id FROM user_roles WHERE user_id = $1"), args![user_id]).await?;
        let id_of = |role: &String| {
            let canonical = role.trim().to_lowercase();
            let found = known.iter().find(|(id, name)| id == role || *name == canonical);
            if found.is_none() {
                tracing::warn!(role.name = %role, "a provider's roles name one that does not exist");
            }
            found.map(|(id, _)| id)
        };
        let mapped: Vec<&String> = claim.mapped.iter().filter_map(id_of).collect();
        let granted: Vec<&String> = mapped
            .iter()
            .copied()
            .filter(|id| {
                claim.granted.iter().any(|role| {
                    let canonical = role.trim().to_lowercase();
                    known.iter().any(|(known, name)| known == *id && (known == role || *name == canonical))
                })
            })
            .collect();
        let mut changed = false;
        for role_id in mapped {
            let (has, shall) = (held.contains(role_id), granted.contains(&role_id));
            if shall && !has {
                tx.run(
                    sql!(
                        "INSERT INTO user_roles (user_id, role_id, granted_at) VALUES ($1, $2, $3)
                         ON CONFLICT DO NOTHING"
                    ),
                    args![user_id, role_id, self.clock.now()],
                )
                .await?;
                changed = true;
            } else if has && !shall {
                if role_id == ROLE_ADMIN && is_last_admin(tx, user_id).await? {
                    tracing::warn!(
                        user.id = user_id,
                        "a provider takes the role from the last Admin; it stays"
                    );
                    continue;
                }
                tx.run(
                    sql!("DELETE FROM user_roles WHERE user_id = $1 AND role_id = $2"),
                    args![user_id, role_id],
                )
                .await?;
                changed = true;
            }
        }
        Ok(changed)
    }
}
