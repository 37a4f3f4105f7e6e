//! The list of people, its counts, and finding one person.

use std::collections::HashMap;

use base::db::{DbError, FromRow, Row};
use base::{DAY, Micros, args, sql};

use crate::Accounts;
use crate::sign_in::{self, Lock};
use crate::throttle::json_list;
use crate::user::{ROLE_ADMIN, User};
use crate::words::{cut, like_anywhere};

/// People on a page.
pub const PAGE: i64 = 50;

/// A row of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub user: User,
    /// Names of the roles.
    pub roles: Vec<String>,
    pub is_admin: bool,
    pub factors: FactorGlance,
    failures: i64,
    locked_until: Option<Micros>,
    factor_locked_until: Option<Micros>,
}

/// The second factors of a person at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FactorGlance {
    /// An authenticator app that was confirmed.
    pub totp: bool,
    pub passkeys: i64,
    /// Codes by e-mail, where the settings allow them and the address is confirmed.
    pub email_codes: bool,
}

impl FactorGlance {
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl Person {
    /// Whether failed sign-ins keep the account locked now (SEC-28).
    pub fn lock(&self, now: Micros) -> Option<Lock> {
        sign_in::lock(self.failures, self.locked_until, now)
    }

    /// Until when wrong second factors keep it locked, if they do now (SEC-36).
    pub fn factor_lock(&self, now: Micros) -> Option<Micros> {
        self.factor_locked_until.filter(|until| *until > now)
    }
}

impl FromRow for Person {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let roles: Option<String> = row.get("roles")?;
        let roles: Vec<(String, String)> = roles
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(id, name)| (id.to_owned(), name.to_owned()))
            .collect();
        let user = User::from_row(row)?;
        let email_codes_since: Option<Micros> = row.get("email_codes_since")?;
        Ok(Self {
            factors: FactorGlance {
                totp: row.get::<i64>("totp")? > 0,
                passkeys: row.get("passkeys")?,
                email_codes: email_codes_since.is_some() && user.is_verified(),
            },
            user,
            is_admin: roles.iter().any(|(id, _)| id == ROLE_ADMIN),
            roles: roles.into_iter().map(|(_, name)| name).collect(),
            failures: row.get("failures")?,
            locked_until: row.get("locked_until")?,
            factor_locked_until: row.get("factor_locked_until")?,
        })
    }
}

/// Where a page starts: a canonical username that is not on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cursor {
    #[default]
    Start,
    After(String),
    Before(String),
}

/// A page of people by username, with the cursors of the pages around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    pub rows: Vec<Person>,
    /// For `before`, where there is an earlier page.
    pub previous: Option<String>,
    /// For `after`, where there is a later page.
    pub next: Option<String>,
}

/// How many people there are. Reserved names do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub total: i64,
    /// Seen since the UTC day began.
    pub active_today: i64,
    /// Seen in the last seven times 24 hours.
    pub active_7_days: i64,
    pub active_30_days: i64,
    pub deactivated: i64,
}

impl FromRow for Counts {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            total: row.get("total")?,
            active_today: row.get("today")?,
            active_7_days: row.get("week")?,
            active_30_days: row.get("month")?,
            deactivated: row.get("deactivated")?,
        })
    }
}

impl Accounts {
    /// A page of the list. `search` matches any part of name, username or e-mail, whatever its
    /// case.
    pub async fn people(&self, search: &str, cursor: &Cursor) -> Result<People, DbError> {
        let search = search.trim();
        let pattern = (!search.is_empty()).then(|| like_anywhere(&cut(search, 100).to_lowercase()));
        let limit = PAGE + 1;
        let mut rows: Vec<Person> = match cursor {
            Cursor::Start | Cursor::After(_) => {
                let after = match cursor {
                    Cursor::After(after) => after.as_str(),
                    _ => "",
                };
                self.db
                    .report(
                        sql!(
                            "SELECT u.id, u.username, u.email, u.first_name, u.last_name, u.created_at,
                               u.email_verified_at, u.deactivated_at, u.expires_at, u.last_seen_at, u.failures, u.locked_until,
                               u.factor_locked_until, u.email_codes_since,
                               (SELECT COUNT(*) FROM totp_factors t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL) AS totp,
                               (SELECT COUNT(*) FROM passkeys p WHERE p.user_id = u.id) AS passkeys,
                               (SELECT string_agg(r.id || ' ' || r.name, $4 ORDER BY r.id)
                                FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.user_id = u.id) AS roles
                             FROM users u
                             WHERE u.username_canonical > $1 AND u.email_canonical IS NOT NULL
                               AND (CAST($2 AS TEXT) IS NULL OR u.search LIKE $2 ESCAPE '\\')
                             ORDER BY u.username_canonical LIMIT $3"
                        ),
                        args![after, &pattern, limit, "\n"],
                    )
                    .await?
            }
            Cursor::Before(before) => {
                self.db
                    .report(
                        sql!(
                            "SELECT u.id, u.username, u.email, u.first_name, u.last_name, u.created_at,
                               u.email_verified_at, u.deactivated_at, u.expires_at, u.last_seen_at, u.failures, u.locked_until,
                               u.factor_locked_until, u.email_codes_since,
                               (SELECT COUNT(*) FROM totp_factors t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL) AS totp,
                               (SELECT COUNT(*) FROM passkeys p WHERE p.user_id = u.id) AS passkeys,
                               (SELECT string_agg(r.id || ' ' || r.name, $4 ORDER BY r.id)
                                FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.user_id = u.id) AS roles
                             FROM users u
                             WHERE u.username_canonical < $1 AND u.email_canonical IS NOT NULL
                               AND (CAST($2 AS TEXT) IS NULL OR u.search LIKE $2 ESCAPE '\\')
                             ORDER BY u.username_canonical DESC LIMIT $3"
                        ),
                        args![before.as_str(), &pattern, limit, "\n"],
                    )
                    .await?
            }
        };
        let page = usize::try_from(PAGE).unwrap_or(usize::MAX);
        let more = rows.len() > page;
        rows.truncate(page);
        let backwards = matches!(cursor, Cursor::Before(_));
        if backwards {
            rows.reverse();
        }
        rows.iter_mut().for_each(|person| self.only_allowed_codes(person));
        let key = |person: Option<&Person>| person.map(|person| person.user.username.to_ascii_lowercase());
        let (earlier, later) = match cursor {
            Cursor::Start => (false, more),
            Cursor::After(_) => (true, more),
            Cursor::Before(_) => (more, true),
        };
        Ok(People {
            previous: key(rows.first()).filter(|_| earlier),
            next: key(rows.last()).filter(|_| later),
            rows,
        })
    }

    /// How many people there are and were seen.
    pub async fn people_counts(&self) -> Result<Counts, DbError> {
        let now = self.clock.now();
        let rows: Vec<Counts> = self
            .db
            .report(
                sql!(
                    "SELECT COUNT(*) AS total,
                       COALESCE(CAST(SUM(CASE WHEN last_seen_at >= $1 THEN 1 ELSE 0 END) AS BIGINT), 0) AS today,
                       COALESCE(CAST(SUM(CASE WHEN last_seen_at >= $2 THEN 1 ELSE 0 END) AS BIGINT), 0) AS week,
                       COALESCE(CAST(SUM(CASE WHEN last_seen_at >= $3 THEN 1 ELSE 0 END) AS BIGINT), 0) AS month,
                       COALESCE(CAST(SUM(CASE WHEN deactivated_at IS NOT NULL THEN 1 ELSE 0 END) AS BIGINT), 0)
                         AS deactivated
                     FROM users WHERE email_canonical IS NOT NULL"
                ),
                args![now - now.rem_euclid(DAY), now - 7 * DAY, now - 30 * DAY],
            )
            .await?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// The person with this id or username.
    pub async fn find_person(&self, id_or_username: &str) -> Result<Option<Person>, DbError> {
        let mut found: Option<Person> = self
            .db
            .one(
                sql!(
                    "SELECT u.id, u.username, u.email, u.first_name, u.last_name, u.created_at,
                       u.email_verified_at, u.deactivated_at, u.expires_at, u.last_seen_at, u.failures, u.locked_until,
                       u.factor_locked_until, u.email_codes_since,
                       (SELECT COUNT(*) FROM totp_factors t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL) AS totp,
                       (SELECT COUNT(*) FROM passkeys p WHERE p.user_id = u.id) AS passkeys,
                       (SELECT string_agg(r.id || ' ' || r.name, $3 ORDER BY r.id)
                        FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.user_id = u.id) AS roles
                     FROM users u
                     WHERE (u.id = $1 OR u.username_canonical = $2) AND u.email_canonical IS NOT NULL"
                ),
                args![id_or_username, &id_or_username.trim().to_ascii_lowercase(), "\n"],
            )
            .await?;
        found.iter_mut().for_each(|person| self.only_allowed_codes(person));
        Ok(found)
    }

    /// Codes by e-mail that the settings do not allow are no factor.
    fn only_allowed_codes(&self, person: &mut Person) {
        person.factors.email_codes &= self.settings().second_factor.email_codes;
    }

    /// The people with these ids, by id; for pages that hold only ids.
    pub async fn people_by_id<S: AsRef<str>>(&self, ids: &[S]) -> Result<HashMap<String, User>, DbError> {
        let users: Vec<User> = self
            .db
            .all(
                sql!(
                    "SELECT id, username, email, first_name, last_name, created_at, email_verified_at,
                       deactivated_at, expires_at, last_seen_at
                     FROM users WHERE id IN (SELECT value FROM json_each($1))"
                ),
                args![&json_list(ids)],
            )
            .await?;
        Ok(users.into_iter().map(|user| (user.id.clone(), user)).collect())
    }
}
