//! What second factors an account has, and whether and by when it must have one (SEC-3).

use base::db::{DbError, FromRow, Row};
use base::{DAY, Micros, Tx, args, sql};

use crate::Accounts;
use crate::gate::SecondFactor;
use crate::settings::SecondFactorRules;

/// An account's factors, read afresh: the one place that says what a sign-in needs (SEC-39).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub password: bool,
    pub totp: bool,
    pub passkeys: bool,
    /// Switched on by the person, allowed by the settings, and the address is confirmed.
    pub email_codes: bool,
    /// Backup codes not used yet.
    pub backup_codes_left: i64,
    /// Holds more than chat and API keys: a code by e-mail is not enough then (SEC-47).
    pub privileged: bool,
    pub created_at: Micros,
    /// From when on a role of the account's requires a second factor.
    pub role_due_at: Option<Micros>,
    /// From when on a second factor is required, by role or of everyone.
    pub due_at: Option<Micros>,
}

impl FromRow for Standing {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let role_due_at = row.get("role_due_at")?;
        Ok(Self {
            password: row.get("has_password")?,
            totp: row.get("has_totp")?,
            passkeys: row.get("has_passkeys")?,
            email_codes: row.get("has_email_codes")?,
            backup_codes_left: row.get("backup_codes_left")?,
            privileged: row.get("privileged")?,
            created_at: row.get("created_at")?,
            role_due_at,
            due_at: role_due_at,
        })
    }
}

impl Standing {
    /// The second factors that a sign-in may be finished with, best first. None where the account
    /// has no factor; backup codes only beside another one.
    pub fn methods(&self) -> Vec<SecondFactor> {
        let mut methods = Vec::new();
        for (has, method) in [
            (self.passkeys, SecondFactor::Passkey),
            (self.totp, SecondFactor::Totp),
            (self.email_codes, SecondFactor::Email),
        ] {
            if has {
                methods.push(method);
            }
        }
        if !methods.is_empty() && self.backup_codes_left > 0 {
            methods.push(SecondFactor::BackupCode);
        }
        methods
    }

    /// Whether a requirement of a second factor is met.
    pub fn is_enrolled(&self) -> bool {
        self.totp || self.passkeys || (self.email_codes && !self.privileged)
    }

    /// By when a factor must be set up; `None` where none is needed or one is there.
    pub fn to_enrol_by(&self) -> Option<Micros> {
        self.due_at.filter(|_| !self.is_enrolled())
    }

    /// Whether nothing but setting up a factor is open to the account any more.
    pub fn must_enrol(&self, now: Micros) -> bool {
        self.to_enrol_by().is_some_and(|due| due <= now)
    }

    /// Applies the house's rules to what the database said.
    pub(crate) fn under(mut self, rules: &SecondFactorRules) -> Self {
        self.email_codes &= rules.email_codes;
        self.due_at = due_at(rules, self.role_due_at, self.created_at);
        self
    }
}

/// When a second factor is due, by the roles and by the rule for everyone; the earlier counts.
pub(crate) fn due_at(
    rules: &SecondFactorRules,
    by_role: Option<Micros>,
    created_at: Micros,
) -> Option<Micros> {
    let of_everyone = rules
        .required_of_everyone
        .then(|| created_at.max(rules.required_since).saturating_add(rules.grace_days.saturating_mul(DAY)));
    match (by_role, of_everyone) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Accounts {
    /// What factors the account has and needs; `None` for an account that is not there.
    pub async fn standing(&self, user_id: &str) -> Result<Option<Standing>, DbError> {
        let found: Option<Standing> = self.db.one(STANDING, args![user_id]).await?;
        Ok(found.map(|standing| standing.under(&self.settings().second_factor)))
    }

    /// The same inside a transaction.
    pub(crate) async fn standing_in(&self, tx: &mut Tx, user_id: &str) -> Result<Standing, DbError> {
        let found: Option<Standing> = tx.one(STANDING, args![user_id]).await?;
        match found {
            Some(standing) => Ok(standing.under(&self.settings().second_factor)),
            None => Err(DbError::Other("an account went away in the middle of a transaction".to_owned())),
        }
    }
}

const STANDING: base::db::Sql = sql!(
    "SELECT u.created_at, u.password IS NOT NULL AS has_password,
       EXISTS (SELECT 1 FROM totp_factors t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL) AS has_totp,
       EXISTS (SELECT 1 FROM passkeys p WHERE p.user_id = u.id) AS has_passkeys,
       u.email_codes_since IS NOT NULL AND u.email_verified_at IS NOT NULL AS has_email_codes,
       (SELECT COUNT(*) FROM backup_code_sets s JOIN backup_codes b ON b.set_id = s.id
        WHERE s.user_id = u.id AND b.used_at IS NULL) AS backup_codes_left,
       EXISTS (SELECT 1 FROM user_roles ur JOIN role_permissions rp ON rp.role_id = ur.role_id
               WHERE ur.user_id = u.id AND rp.permission NOT IN ('chat.use', 'api_keys.use')) AS privileged,
       (SELECT MIN(CASE WHEN ur.granted_at > r.second_factor_since THEN ur.granted_at ELSE r.second_factor_since END
                   + r.grace_days * 86400000000)
        FROM user_roles ur JOIN roles r ON r.id = ur.role_id
        WHERE ur.user_id = u.id AND r.second_factor_required) AS role_due_at
     FROM users u WHERE u.id = $1"
);
