//! Promote, demote, deactivate, reactivate, unlock, sign out. Everything here runs under one lock, so that the
//! checks still hold when the change is made.

use base::db::DbError;
use base::{Tx, args, sql};

use crate::Accounts;
use crate::permission::{Permission, Permissions};
use crate::principal::Principal;
use crate::user::{ROLE_ADMIN, ROLE_USER, User};

/// Who makes a change.
#[derive(Clone, Copy, Debug)]
pub enum Actor<'a> {
    Person(&'a Principal),
    /// The operator at the command line, who may do everything.
    Operator,
}

impl<'a> From<&'a Principal> for Actor<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self::Person(principal)
    }
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub user: User,
    /// `false` where everything was so already.
    pub changed: bool,
}

/// Why a change was refused, in words for the page.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    #[error("There is no such person.")]
    NotFound,
    #[error("There is no such role.")]
    NoRole,
    #[error("You may not change other people's accounts.")]
    NotAllowed,
    #[error("This is the last active Admin. Make someone else an Admin first.")]
    LastAdmin,
    #[error("This concerns permissions that you do not have yourself. Ask someone who has them.")]
    MoreThanYou,
    #[error("You cannot deactivate your own account. Ask another Admin.")]
    Yourself,
    #[error("You cannot reset your own second factors. Ask another Admin.")]
    OwnFactors,
    #[error("Give a reason of 3 to 200 characters on one line; the person is told it.")]
    Reason,
    #[error("Days of grace are a whole number from 0 to 90.")]
    Grace,
    #[error("Set up your own second factor first: this would shut you out at once.")]
    OwnFactorFirst,
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Accounts {
    /// Adds a role (id or name) to a person (id or username); doing it twice is fine.
    pub async fn assign_role<'a>(
        &self,
        actor: impl Into<Actor<'a>>,
        person: &str,
        role: &str,
    ) -> Result<Changed, PeopleError> {
        let mut change = self.begin_change(actor.into(), person, Permission::UsersManage).await?;
        let role_id: Option<String> = change
            .tx
            .one(
                sql!("SELECT id FROM roles WHERE id = $1 OR name_canonical = $2"),
                args![role, &role.trim().to_lowercase()],
            )
            .await?;
        let role_id = role_id.ok_or(PeopleError::NoRole)?;
        let granted: Option<String> = change
            .tx
            .one(
                sql!(
                    "SELECT COALESCE(string_agg(permission, ','), '') FROM role_permissions WHERE role_id = $1"
                ),
                args![&role_id],
            )
            .await?;
        change.allow(Permissions::from_list(granted.as_deref()))?;
        let rows = self.grant(&mut change, &role_id).await?;
        change.finish(rows > 0).await
    }

    /// Makes a person an Admin.
    pub async fn promote<'a>(
        &self,
        actor: impl Into<Actor<'a>>,
        person: &str,
    ) -> Result<Changed, PeopleError> {
        self.assign_role(actor, person, ROLE_ADMIN).await
    }

    /// Takes the Admin role from a person, who stays a User. Open streams close at once; their
    /// pages ask anew what the person may see (SEC-80).
    pub async fn demote<'a>(
        &self,
        actor: impl Into<Actor<'a>>,
        person: &str,
    ) -> Result<Changed, PeopleError> {
        let mut change = self.begin_change(actor.into(), person, Permission::UsersManage).await?;
        change.allow(Permissions::NONE)?;
        change.keep_an_admin().await?;
        let rows = change
            .tx
            .run(
                sql!("DELETE FROM user_roles WHERE user_id = $1 AND role_id = $2"),
                args![&change.user.id, ROLE_ADMIN],
            )
            .await?;
        if rows > 0 {
            self.grant(&mut change, ROLE_USER).await?;
        }
        let changed = change.finish(rows > 0).await?;
        if rows > 0 {
            self.announce_user(&changed.user.id);
        }
        Ok(changed)
    }

    /// Shuts an account: its sessions and challenges end in the same transaction, open streams
    /// at once.
    pub async fn deactivate<'a>(
        &self,
        actor: impl Into<Actor<'a>>,
        person: &str,
    ) -> Result<Changed, PeopleError> {
        let mut change = self.begin_change(actor.into(), person, Permission::UsersManage).await?;
        change.allow(Permissions::NONE)?;
        if matches!(change.actor, Actor::Person(actor) if actor.user_id == change.user.id) {
            return Err(PeopleError::Yourself);
        }
        change.keep_an_admin().await?;
        let user_id = change.user.id.clone();
        let now = self.clock.now();
        let rows = change
            .tx
            .run(
                sql!("UPDATE users SET deactivated_at = $2 WHERE id = $1 AND deactivated_at IS NULL"),
                args![&user_id, now],
            )
            .await?;
        let ended = self.end_all_in(&mut change.tx, &user_id, None).await?;
        change.tx.run(sql!("DELETE FROM challenges WHERE user_id = $1"), args![&user_id]).await?;
        change.user.deactivated_at = change.user.deactivated_at.or(Some(now));
        let changed = change.finish(rows > 0).await?;
        self.announce_sessions(ended);
        self.announce_user(&user_id);
        Ok(changed)
    }

    /// Opens a shut account again, and forgets its failed sign-ins.
    pub async fn reactivate<'a>(
        &self,
        actor: impl Into<Actor<'a>>,
        person: &str,
    ) -> Result<Changed, PeopleError> {
        let mut change = self.begin_change(actor.into(), person, Permission::UsersManage).await?;
        change.allow(Permissions::NONE)?;
        let rows = change
            .tx
            .run(
                sql!(
                    "UPDATE users SET deactivated_at = NULL, failures = 0, locked_until = NULL, factor_failures = 0,
                       factor_locked_until = NULL
                     WHERE id = $1 AND deactivated_at IS NOT NULL"
                ),
                args![&change.user.id],
            )
            .await?;
        change.user.deactivated_at = None;
        change.finish(rows > 0).await
    }

    /// Lifts the locks that failed sign-ins and wrong second factors put on an account (SEC-28,
    /// SEC-36).
    pub async fn unlock<'a>(
        &self,
        actor: impl Into<Actor<'a>>,
        person: &str,
    ) -> Result<Changed, PeopleError> {
        let mut change = self.begin_change(actor.into(), person, Permission::UsersManage).await?;
        change.allow(Permissions::NONE)?;
        let rows = change
            .tx
            .run(
                sql!(
                    "UPDATE users SET failures = 0, locked_until = NULL, factor_failures = 0, factor_locked_until = NULL
                     WHERE id = $1 AND (failures > 0 OR locked_until IS NOT NULL OR factor_failures > 0
                       OR factor_locked_until IS NOT NULL)"
                ),
                args![&change.user.id],
            )
            .await?;
        change.finish(rows > 0).await
    }

    /// Ends every session of a person, and what they have begun of a sign-in; open streams close at
    /// once (SEC-81).
    pub async fn sign_out<'a>(
        &self,
        actor: impl Into<Actor<'a>>,
        person: &str,
    ) -> Result<Changed, PeopleError> {
        let mut change = self.begin_change(actor.into(), person, Permission::UsersManage).await?;
        change.allow(Permissions::NONE)?;
        let user_id = change.user.id.clone();
        // The users' row first, as everywhere: whoever signs in meanwhile holds it.
        change.tx.run(sql!("UPDATE users SET failures = failures WHERE id = $1"), args![&user_id]).await?;
        change.tx.run(sql!("DELETE FROM challenges WHERE user_id = $1"), args![&user_id]).await?;
        let ended = self.end_all_in(&mut change.tx, &user_id, None).await?;
        let changed = change.finish(!ended.is_empty()).await?;
        self.announce_sessions(ended);
        Ok(changed)
    }

    async fn grant(&self, change: &mut Change<'_>, role_id: &str) -> Result<u64, DbError> {
        let by = match change.actor {
            Actor::Person(actor) => Some(actor.user_id.as_str()),
            Actor::Operator => None,
        };
        change
            .tx
            .run(
                sql!(
                    "INSERT INTO user_roles (user_id, role_id, granted_at, granted_by) VALUES ($1, $2, $3, $4)
                     ON CONFLICT DO NOTHING"
                ),
                args![&change.user.id, role_id, self.clock.now(), by],
            )
            .await
    }

    /// Takes the lock, then reads the person, and what they and the actor hold; the actor must hold
    /// `needed`.
    pub(super) async fn begin_change<'a>(
        &self,
        actor: Actor<'a>,
        person: &str,
        needed: Permission,
    ) -> Result<Change<'a>, PeopleError> {
        let mut tx = self.db.begin().await?;
        tx.lock("admins").await?;
        let user: Option<User> = tx
            .one(
                sql!(
                    "SELECT id, username, email, first_name, last_name, created_at, email_verified_at,
                       deactivated_at, expires_at, last_seen_at
                     FROM users WHERE (id = $1 OR username_canonical = $2) AND email_canonical IS NOT NULL"
                ),
                args![person, &person.trim().to_ascii_lowercase()],
            )
            .await?;
        let theirs = match &user {
            Some(user) => held(&mut tx, &user.id).await?,
            None => Permissions::NONE,
        };
        let own = own(&mut tx, actor).await?;
        if !own.contains(needed) {
            return Err(PeopleError::NotAllowed);
        }
        let user = user.ok_or(PeopleError::NotFound)?;
        Ok(Change { tx, actor, own, theirs, user })
    }
}

/// A change under way.
pub(super) struct Change<'a> {
    pub(super) tx: Tx,
    pub(super) actor: Actor<'a>,
    own: Permissions,
    theirs: Permissions,
    pub(super) user: User,
}

impl Change<'_> {
    /// SEC-92: neither what is granted nor what the person holds may go beyond the actor's own.
    pub(super) fn allow(&self, granted: Permissions) -> Result<(), PeopleError> {
        if self.own.covers(granted) && self.own.covers(self.theirs) {
            Ok(())
        } else {
            Err(PeopleError::MoreThanYou)
        }
    }

    /// SEC-93: refuses where the person is the only active Admin.
    async fn keep_an_admin(&mut self) -> Result<(), PeopleError> {
        if is_last_admin(&mut self.tx, &self.user.id).await? { Err(PeopleError::LastAdmin) } else { Ok(()) }
    }

    pub(super) async fn finish(self, changed: bool) -> Result<Changed, PeopleError> {
        self.tx.commit().await?;
        Ok(Changed { user: self.user, changed })
    }
}

/// Whether this is the only active Admin there is. The lock "admins" is to be held (SEC-93).
pub(crate) async fn is_last_admin(tx: &mut Tx, user_id: &str) -> Result<bool, DbError> {
    let admins: Vec<String> = tx
        .all(
            sql!(
                "SELECT u.id FROM user_roles ur JOIN users u ON u.id = ur.user_id
                 WHERE ur.role_id = $1 AND u.deactivated_at IS NULL AND u.expires_at IS NULL
                 ORDER BY u.id LIMIT 2"
            ),
            args![ROLE_ADMIN],
        )
        .await?;
    Ok(admins.len() == 1 && admins.first().is_some_and(|id| id == user_id))
}

/// What the actor holds. Afresh: they may have been demoted or signed out since the request began.
pub(super) async fn own(tx: &mut Tx, actor: Actor<'_>) -> Result<Permissions, DbError> {
    match actor {
        Actor::Person(actor) => held_while_active(tx, actor).await,
        Actor::Operator => Ok(Permissions::all()),
    }
}

/// What a person's roles grant, also while the account is shut.
async fn held(tx: &mut Tx, user_id: &str) -> Result<Permissions, DbError> {
    let list: Option<String> = tx
        .one(
            sql!(
                "SELECT COALESCE(string_agg(rp.permission, ','), '')
                 FROM user_roles ur JOIN role_permissions rp ON rp.role_id = ur.role_id
                 WHERE ur.user_id = $1"
            ),
            args![user_id],
        )
        .await?;
    Ok(Permissions::from_list(list.as_deref()))
}

/// What a person's roles grant; nothing while the account is shut, nor once the session has ended
/// that the request came with.
async fn held_while_active(tx: &mut Tx, actor: &Principal) -> Result<Permissions, DbError> {
    let list: Option<String> = tx
        .one(
            sql!(
                "SELECT COALESCE(string_agg(rp.permission, ','), '')
                 FROM users u JOIN user_roles ur ON ur.user_id = u.id
                   JOIN role_permissions rp ON rp.role_id = ur.role_id
                 WHERE u.id = $1 AND u.deactivated_at IS NULL
                   AND EXISTS (SELECT 1 FROM sessions s WHERE s.id = $2 AND s.user_id = u.id)"
            ),
            args![&actor.user_id, &actor.session.id],
        )
        .await?;
    Ok(Permissions::from_list(list.as_deref()))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
