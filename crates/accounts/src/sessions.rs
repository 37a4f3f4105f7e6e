//! Sessions: opaque tokens, read together with the person's state and rights on every request
//! (SEC-77 to SEC-82).

use std::collections::BTreeMap;
use std::sync::Arc;

use base::db::{DbError, FromRow, Row};
use base::{Micros, SECOND, Tx, args, sql};
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::Accounts;
use crate::gate::{DeviceToken, SessionToken};
use crate::identities::LinkEnd;
use crate::permission::{Permission, Permissions};
use crate::principal::{FactorState, Principal, SessionInfo};
use crate::throttle::{Client, json_list};
use crate::user::User;

/// At most so many sessions a person; the one unseen for longest goes (SEC-81).
pub const MAX_SESSIONS: i64 = 50;
/// Last-seen times younger than this are not written again, in microseconds.
const SEEN_AFTER: Micros = 30 * SECOND;

/// A session just made. `Debug` shows its id and nothing that opens anything.
pub struct NewSession {
    /// For the cookie.
    pub token: SessionToken,
    pub id: String,
    pub csrf_secret: String,
    pub expires_at: Micros,
    pub user: User,
    /// For the browser's own cookie, where it has none yet (SEC-32).
    pub device: Option<DeviceToken>,
    /// What became of the identity that was to be linked by this sign-in, where there was one.
    pub link: Option<LinkEnd>,
}

impl std::fmt::Debug for NewSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewSession").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A session as its owner and the Admin see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub id: String,
    pub method: String,
    pub ip: String,
    pub user_agent: String,
    pub created_at: Micros,
    pub last_seen_at: Micros,
    pub expires_at: Micros,
}

impl FromRow for SessionRow {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            method: row.get("method")?,
            ip: row.get("ip")?,
            user_agent: row.get("user_agent")?,
            created_at: row.get("created_at")?,
            last_seen_at: row.get("last_seen_at")?,
            expires_at: row.get("expires_at")?,
        })
    }
}

/// Something ended on this replica; open streams of it close at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The session with this id.
    Session(String),
    /// Every session of the person with this id, or some of what they might do.
    User(String),
}

/// Last-seen times that wait to be written: session id to person and time.
pub(crate) type Seen = Arc<Mutex<BTreeMap<String, (String, Micros)>>>;

/// A session that is not over by itself.
struct Live {
    id: String,
    privileged: bool,
    factor: FactorState,
}

impl FromRow for Live {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            privileged: row.get("privileged")?,
            factor: FactorState::from_row(row)?,
        })
    }
}

impl FromRow for Principal {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let roles: Option<String> = row.get("roles")?;
        let permissions: Option<String> = row.get("permissions")?;
        let verified_at: Option<Micros> = row.get("email_verified_at")?;
        let permissions = Permissions::from_list(permissions.as_deref());
        Ok(Self {
            second_factor: FactorState::from_row(row)?,
            enrol_by: None,
            user_id: row.get("user_id")?,
            username: row.get("username")?,
            email: row.get::<Option<String>>("email")?.unwrap_or_default(),
            first_name: row.get("first_name")?,
            last_name: row.get("last_name")?,
            verified: verified_at.is_some(),
            roles: roles
                .unwrap_or_default()
                .lines()
                .filter_map(|line| line.split_once(' '))
                .map(|(id, name)| (id.to_owned(), name.to_owned()))
                .collect(),
            permissions,
            session: SessionInfo {
                id: row.get("session_id")?,
                csrf_secret: row.get("csrf_secret")?,
                method: row.get("method")?,
                created_at: row.get("created_at")?,
                last_seen_at: row.get("last_seen_at")?,
                step_up_at: row.get("step_up_at")?,
                expires_at: row.get("expires_at")?,
            },
        })
    }
}

impl Accounts {
    /// Who holds this session, with roles and permissions as they are now: one statement
    /// (SEC-80). `None` for an unknown, ended, expired or idle session, and for people who were
    /// deactivated.
    pub async fn principal(&self, token: &SessionToken) -> Result<Option<Principal>, DbError> {
        let now = self.clock.now();
        let found: Option<Principal> = self
            .db
            .one(
                sql!(
                    "SELECT s.id AS session_id, s.csrf_secret, s.method, s.created_at, s.last_seen_at, s.step_up_at, s.expires_at, s.stands,
                       u.id AS user_id, u.username, u.email, u.first_name, u.last_name, u.email_verified_at,
                       u.created_at AS user_created_at,
                       u.email_codes_since IS NOT NULL AND u.email_verified_at IS NOT NULL AS has_email_codes,
                       EXISTS (SELECT 1 FROM totp_factors t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL)
                         OR EXISTS (SELECT 1 FROM passkeys p WHERE p.user_id = u.id) AS has_factor,
                       (SELECT MIN(CASE WHEN ur.granted_at > r.second_factor_since THEN ur.granted_at
                                        ELSE r.second_factor_since END + r.grace_days * 86400000000)
                        FROM user_roles ur JOIN roles r ON r.id = ur.role_id
                        WHERE ur.user_id = u.id AND r.second_factor_required) AS role_due_at,
                       (SELECT string_agg(r.id || ' ' || r.name, $4 ORDER BY r.id)
                        FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.user_id = u.id) AS roles,
                       (SELECT string_agg(rp.permission, ',')
                        FROM user_roles ur JOIN role_permissions rp ON rp.role_id = ur.role_id
                        WHERE ur.user_id = u.id) AS permissions
                     FROM sessions s JOIN users u ON u.id = s.user_id
                     WHERE s.token_hash = $1 AND s.expires_at > $2 AND s.last_seen_at > $3
                       AND u.deactivated_at IS NULL AND (u.expires_at IS NULL OR u.expires_at > $2)"
                ),
                args![&token.hash(), now, now - self.session_idle, "\n"],
            )
            .await?;
        let rules = &self.settings().second_factor;
        // SEC-3: past the grace a session is over for whoever has not set up a factor.
        Ok(found.map(|principal| principal.under(rules)).filter(|p| p.enrol_by.is_none_or(|by| by > now)))
    }

    pub(crate) async fn create_session(
        &self,
        tx: &mut Tx,
        user: User,
        method: &str,
        stands: bool,
        client: &Client,
    ) -> Result<(NewSession, Vec<String>), DbError> {
        let now = self.clock.now();
        let session = NewSession {
            token: SessionToken::new(self.random.token()),
            id: self.random.id(now),
            csrf_secret: self.random.token(),
            expires_at: now + self.session_absolute,
            user,
            device: None,
            link: None,
        };
        tx.run(
            sql!(
                "INSERT INTO sessions (id, token_hash, user_id, csrf_secret, method, ip, user_agent, created_at,
                   last_seen_at, expires_at, step_up_at, stands)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $8, $10)"
            ),
            args![
                &session.id,
                &session.token.hash(),
                &session.user.id,
                &session.csrf_secret,
                method,
                &client.ip.to_string(),
                &client.user_agent,
                now,
                session.expires_at,
                stands
            ],
        )
        .await?;
        let dropped = tx
            .all(
                sql!(
                    "DELETE FROM sessions WHERE user_id = $1 AND id NOT IN
                       (SELECT id FROM sessions WHERE user_id = $1
                        ORDER BY CASE WHEN id = $3 THEN 0 ELSE 1 END, last_seen_at DESC, id DESC LIMIT $2)
                     RETURNING id"
                ),
                args![&session.user.id, MAX_SESSIONS, &session.id],
            )
            .await?;
        Ok((session, dropped))
    }

    /// Notes that the person was seen; [`Accounts::flush_last_seen`] writes it.
    pub fn touch(&self, principal: &Principal) {
        let now = self.clock.now();
        if now - principal.session.last_seen_at >= SEEN_AFTER {
            self.seen.lock().insert(principal.session.id.clone(), (principal.user_id.clone(), now));
        }
    }

    /// Writes the gathered last-seen times in one transaction; call it every tick. After a
    /// failure they wait for the next call.
    pub async fn flush_last_seen(&self) -> Result<(), DbError> {
        let seen = std::mem::take(&mut *self.seen.lock());
        let Some(at) = seen.values().map(|(_, at)| *at).max() else { return Ok(()) };
        let written = self.write_last_seen(&seen, at).await;
        if written.is_err() {
            let mut waiting = self.seen.lock();
            for (id, entry) in seen {
                waiting.entry(id).or_insert(entry);
            }
        }
        written
    }

    async fn write_last_seen(
        &self,
        seen: &BTreeMap<String, (String, Micros)>,
        at: Micros,
    ) -> Result<(), DbError> {
        let sessions: Vec<&String> = seen.keys().collect();
        let mut users: Vec<&String> = seen.values().map(|(user, _)| user).collect();
        users.sort_unstable();
        users.dedup();
        let mut tx = self.db.begin().await?;
        tx.run(
            sql!(
                "UPDATE users SET last_seen_at = $2 WHERE id IN (SELECT value FROM json_each($1))
                 AND (last_seen_at IS NULL OR last_seen_at < $2)"
            ),
            args![&json_list(&users), at],
        )
        .await?;
        tx.run(
            sql!(
                "UPDATE sessions SET last_seen_at = $2 WHERE id IN (SELECT value FROM json_each($1))
                 AND last_seen_at < $2"
            ),
            args![&json_list(&sessions), at],
        )
        .await?;
        tx.commit().await
    }

    /// Ends one session of a person; `false` where they have no such session.
    pub async fn end_session(&self, user_id: &str, session_id: &str) -> Result<bool, DbError> {
        let rows = self
            .db
            .run(sql!("DELETE FROM sessions WHERE id = $1 AND user_id = $2"), args![session_id, user_id])
            .await?;
        if rows > 0 {
            self.announce_sessions(vec![session_id.to_owned()]);
        }
        Ok(rows > 0)
    }

    /// Ends a person's sessions, but for the one with the id `except`; gives how many.
    pub async fn end_all_sessions(&self, user_id: &str, except: Option<&str>) -> Result<usize, DbError> {
        let mut tx = self.db.begin().await?;
        let ended = self.end_all_in(&mut tx, user_id, except).await?;
        tx.commit().await?;
        let count = ended.len();
        self.announce_sessions(ended);
        Ok(count)
    }

    /// The same in the caller's transaction; announce the ids after its commit.
    pub(crate) async fn end_all_in(
        &self,
        tx: &mut Tx,
        user_id: &str,
        except: Option<&str>,
    ) -> Result<Vec<String>, DbError> {
        tx.all(
            sql!(
                "DELETE FROM sessions WHERE user_id = $1 AND (CAST($2 AS TEXT) IS NULL OR id <> $2) RETURNING id"
            ),
            args![user_id, except],
        )
        .await
    }

    /// Whether the session that a request came with is still there. Ask with the person's row held:
    /// what ended the session may have held it while the request waited, and nothing of an ended
    /// session may be done after that (SEC-61).
    pub(crate) async fn still_stands(&self, tx: &mut Tx, principal: &Principal) -> Result<bool, DbError> {
        let id: Option<String> = tx
            .one(
                sql!("SELECT id FROM sessions WHERE id = $1 AND user_id = $2"),
                args![&principal.session.id, &principal.user_id],
            )
            .await?;
        Ok(id.is_some())
    }

    /// Whose session this is or was, as long as its row stands: also after it has ended by the
    /// clock. It proves nothing but whose work was under way.
    pub async fn session_owner(&self, token: &SessionToken) -> Result<Option<String>, DbError> {
        self.db.one(sql!("SELECT user_id FROM sessions WHERE token_hash = $1"), args![&token.hash()]).await
    }

    /// A person's live sessions, last seen first.
    pub async fn list_sessions(&self, user_id: &str) -> Result<Vec<SessionRow>, DbError> {
        let now = self.clock.now();
        self.db
            .all(
                sql!(
                    "SELECT id, method, ip, user_agent, created_at, last_seen_at, expires_at FROM sessions
                     WHERE user_id = $1 AND expires_at > $2 AND last_seen_at > $3
                     ORDER BY last_seen_at DESC, id DESC"
                ),
                args![user_id, now, now - self.session_idle],
            )
            .await
    }

    /// A new token for a session whose holder has just proved who they are; its id, CSRF secret
    /// and open streams stay (SEC-78). `None` where the session has ended or was renewed by
    /// another request with the same old token.
    pub(crate) async fn renew_session_in(
        &self,
        tx: &mut Tx,
        token: &SessionToken,
    ) -> Result<Option<SessionToken>, DbError> {
        let renewed = SessionToken::new(self.random.token());
        let now = self.clock.now();
        let rows = tx
            .run(
                sql!(
                    "UPDATE sessions SET token_hash = $2, step_up_at = $3, last_seen_at = $3
                     WHERE token_hash = $1 AND expires_at > $3"
                ),
                args![&token.hash(), &renewed.hash(), now],
            )
            .await?;
        Ok((rows > 0).then_some(renewed))
    }

    /// Which of these sessions are over, in one statement: ended, expired or idle, or held by
    /// someone who was deactivated, lost `needs`, or has not set up a second factor in time (SEC-3).
    /// Open streams ask this every two seconds, so that what happens on another replica closes them
    /// too (SEC-80).
    pub async fn ended_among(
        &self,
        session_ids: &[String],
        needs: Permission,
    ) -> Result<Vec<String>, DbError> {
        if session_ids.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let live: Vec<Live> = self
            .db
            .all(
                sql!(
                    "SELECT s.id, s.stands, u.created_at AS user_created_at,
                       u.email_codes_since IS NOT NULL AND u.email_verified_at IS NOT NULL AS has_email_codes,
                       EXISTS (SELECT 1 FROM totp_factors t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL)
                         OR EXISTS (SELECT 1 FROM passkeys p WHERE p.user_id = u.id) AS has_factor,
                       EXISTS (SELECT 1 FROM user_roles ur JOIN role_permissions rp ON rp.role_id = ur.role_id
                               WHERE ur.user_id = u.id AND rp.permission NOT IN ('chat.use', 'api_keys.use'))
                         AS privileged,
                       (SELECT MIN(CASE WHEN ur.granted_at > r.second_factor_since THEN ur.granted_at
                                        ELSE r.second_factor_since END + r.grace_days * 86400000000)
                        FROM user_roles ur JOIN roles r ON r.id = ur.role_id
                        WHERE ur.user_id = u.id AND r.second_factor_required) AS role_due_at
                     FROM sessions s JOIN users u ON u.id = s.user_id
                     WHERE s.id IN (SELECT value FROM json_each($1)) AND s.expires_at > $2 AND s.last_seen_at > $3
                       AND u.deactivated_at IS NULL
                       AND EXISTS (SELECT 1 FROM user_roles ur JOIN role_permissions rp ON rp.role_id = ur.role_id
                                   WHERE ur.user_id = u.id AND rp.permission = $4)"
                ),
                args![&json_list(session_ids), now, now - self.session_idle, needs.name()],
            )
            .await?;
        let settings = self.settings();
        let good: std::collections::HashSet<String> = live
            .into_iter()
            .filter(|live| {
                live.factor.enrol_by(&settings.second_factor, live.privileged).is_none_or(|by| by > now)
            })
            .map(|live| live.id)
            .collect();
        Ok(session_ids.iter().filter(|id| !good.contains(*id)).cloned().collect())
    }

    /// Hears what ends on this replica. A receiver that falls behind asks
    /// [`Accounts::ended_among`] instead.
    pub fn watch_ended(&self) -> broadcast::Receiver<Ended> {
        self.ended.subscribe()
    }

    pub(crate) fn announce_sessions(&self, ids: Vec<String>) {
        let mut seen = self.seen.lock();
        for id in ids {
            seen.remove(&id);
            // Nobody listening is fine.
            let _ = self.ended.send(Ended::Session(id));
        }
    }

    pub(crate) fn announce_user(&self, user_id: &str) {
        let _ = self.ended.send(Ended::User(user_id.to_owned()));
    }
}

#[cfg(test)]
mod tests;
