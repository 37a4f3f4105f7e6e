//! New accounts: checked all at once, hashed outside any transaction, inserted with the
//! database's own constraints deciding what is taken.

use std::collections::BTreeMap;
use std::fmt;

use base::db::DbError;
use base::{HOUR, Micros, Tx, args, sql};
use serde::{Deserialize, Serialize};

use crate::Accounts;
use crate::gate::FirstFactor;
use crate::identifier::{Email, Username};
use crate::password::{Busy, Context};
use crate::tokens::Purpose;
use crate::user::{ROLE_USER, User};
use crate::words::cut;

/// How long an unconfirmed sign-up stands (SEC-11), in microseconds.
pub const PENDING_LIFETIME: Micros = 72 * HOUR;
const NAME_MAX: usize = 80;
/// So much of each field a password is held against, in code points: as long as an address may be.
const CONTEXT_MAX: usize = 254;

/// The sign-up form as it was sent.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct NewAccount {
    pub first_name: String,
    pub last_name: String,
    pub username: String,
    pub email: String,
    pub password: String,
}

impl fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAccount").field("username", &self.username).finish_non_exhaustive()
    }
}

/// What is wrong, in words, by the form's field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FieldErrors(pub BTreeMap<&'static str, String>);

impl FieldErrors {
    /// Notes an error; the first one of a field stays.
    pub fn add(&mut self, field: &'static str, words: impl fmt::Display) {
        self.0.entry(field).or_insert_with(|| words.to_string());
    }

    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(field: &'static str, words: &str) -> Self {
        Self(BTreeMap::from([(field, words.to_owned())]))
    }
}

/// A form without errors.
#[derive(Clone)]
pub struct Checked {
    pub first_name: String,
    pub last_name: String,
    pub username: Username,
    pub email: Email,
    password: String,
}

/// A checked form with its password hashed.
#[derive(Clone)]
pub struct Prepared {
    pub first_name: String,
    pub last_name: String,
    pub username: Username,
    pub email: Email,
    /// `None` for somebody who comes by a provider and has no password.
    phc: Option<String>,
}

/// A new account, with the proof that its person just set the password.
#[derive(Debug)]
pub struct Created {
    pub user: User,
    /// For [`Accounts::complete_login`], where no confirmation is needed first.
    pub first_factor: FirstFactor,
}

/// What became of a sign-up where addresses are confirmed. Both answer the same to the person
/// who signed up (SEC-11).
#[derive(Debug)]
pub enum Pending {
    /// Waits for its link to be followed.
    Created { user: User, verify_token: String },
    /// The address has an account: its owner gets a mail instead. The chosen username is
    /// reserved all the same.
    EmailTaken { owner: User },
}

/// Why a form was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("some fields are wrong")]
    Fields(FieldErrors),
    #[error(transparent)]
    Busy(#[from] Busy),
}

/// Why no account was made.
#[derive(Debug, thiserror::Error)]
pub enum SignUpError {
    #[error("something is taken already")]
    Taken(FieldErrors),
    #[error("there is no role \"{0}\"")]
    NoRole(String),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Prepared {
    /// An account without a password; the names are cleaned by [`clean_name`].
    pub(crate) fn without_password(
        first_name: String,
        last_name: String,
        username: Username,
        email: Email,
    ) -> Self {
        Self { first_name, last_name, username, email, phc: None }
    }
}

impl Accounts {
    /// Checks every field, and gives all errors at once.
    pub async fn check_new(&self, new: NewAccount) -> Result<Checked, CheckError> {
        self.check(new, |_| None).await
    }

    /// [`Accounts::check_new`] for someone who signs up on their own: their mail domain must be
    /// allowed too. Whether sign-up is open is the caller's to check.
    pub async fn check_sign_up(&self, new: NewAccount) -> Result<Checked, CheckError> {
        let settings = self.settings();
        let domain = |email: &Email| {
            (!settings.sign_up.allows(email)).then(|| {
                format!(
                    "Only addresses of {} may sign up here. Use one of these, or ask an Admin.",
                    settings.sign_up.allowed_domains.join(", ")
                )
            })
        };
        self.check(new, domain).await
    }

    /// `refused` says what is wrong with a well-formed address.
    async fn check(
        &self,
        new: NewAccount,
        refused: impl Fn(&Email) -> Option<String>,
    ) -> Result<Checked, CheckError> {
        let mut errors = FieldErrors::default();
        let first_name = name(&new.first_name, "first name").map_err(|words| errors.add("first_name", words));
        let last_name = name(&new.last_name, "last name").map_err(|words| errors.add("last_name", words));
        let username = Username::parse(&new.username).map_err(|error| errors.add("username", error));
        let email = Email::parse(&new.email).map_err(|error| errors.add("email", error));
        if let Some(words) = email.as_ref().ok().and_then(refused) {
            errors.add("email", words);
        }
        if let Err(words) = self.check_password(&new).await? {
            errors.add("password", words);
        }
        match (first_name, last_name, username, email, errors.is_empty()) {
            (Ok(first_name), Ok(last_name), Ok(username), Ok(email), true) => {
                Ok(Checked { first_name, last_name, username, email, password: new.password })
            }
            _ => Err(CheckError::Fields(errors)),
        }
    }

    /// Checks a new password where passwords are hashed, for the estimate takes its time (SEC-19);
    /// the inner error is for the form's field.
    async fn check_password(&self, new: &NewAccount) -> Result<Result<(), String>, Busy> {
        let (policy, new, settings) = (self.policy.clone(), new.clone(), self.settings());
        self.hasher
            .run(move || {
                // The other fields may be wrong, and then of any length.
                let word = |text: &'_ str| cut(text.trim(), CONTEXT_MAX).to_owned();
                policy.check(
                    &new.password,
                    &Context {
                        username: &word(&new.username),
                        email: &word(&new.email),
                        first_name: &word(&new.first_name),
                        last_name: &word(&new.last_name),
                        site_name: &settings.general.site_name,
                    },
                )
            })
            .await
    }

    /// Hashes the password. No transaction may be open (it takes tens of milliseconds).
    pub async fn prepare_new(&self, checked: Checked) -> Result<Prepared, Busy> {
        let phc = self.hasher.hash(&checked.password).await?;
        let Checked { first_name, last_name, username, email, .. } = checked;
        Ok(Prepared { first_name, last_name, username, email, phc: Some(phc) })
    }

    /// Inserts the account with a role (id or name) beside User's. With `verified` its address
    /// counts as confirmed; `expires` is when an unconfirmed one goes. The caller commits.
    ///
    /// # Errors
    /// [`SignUpError::Taken`] names the taken fields.
    pub async fn insert_account(
        &self,
        tx: &mut Tx,
        prepared: &Prepared,
        role: &str,
        verified: bool,
        expires: Option<Micros>,
    ) -> Result<Created, SignUpError> {
        let now = self.clock.now();
        let role_id: Option<String> = tx
            .one(
                sql!("SELECT id FROM roles WHERE id = $1 OR name_canonical = $2"),
                args![role, &role.to_lowercase()],
            )
            .await?;
        let role_id = role_id.ok_or_else(|| SignUpError::NoRole(role.to_owned()))?;
        self.remove_expired(tx, prepared, now).await?;
        let user = User {
            id: self.random.id(now),
            username: prepared.username.as_str().to_owned(),
            email: prepared.email.as_str().to_owned(),
            first_name: prepared.first_name.clone(),
            last_name: prepared.last_name.clone(),
            created_at: now,
            email_verified_at: verified.then_some(now),
            deactivated_at: None,
            expires_at: expires,
            last_seen_at: None,
        };
        let search = format!(
            "{} {} {} {}",
            user.first_name,
            user.last_name,
            prepared.username.canonical(),
            prepared.email.as_str()
        )
        .to_lowercase();
        let rows = tx
            .run(
                sql!(
                    "INSERT INTO users (id, username, username_canonical, email, email_canonical, email_verified_at,
                       first_name, last_name, password, created_at, expires_at, search)
                     VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8, $9, $10, $11)
                     ON CONFLICT DO NOTHING"
                ),
                args![
                    &user.id,
                    &user.username,
                    prepared.username.canonical(),
                    &user.email,
                    user.email_verified_at,
                    &user.first_name,
                    &user.last_name,
                    &prepared.phc,
                    now,
                    expires,
                    &search
                ],
            )
            .await?;
        if rows == 0 {
            return Err(SignUpError::Taken(self.taken(tx, prepared).await?));
        }
        let mut roles = vec![ROLE_USER, role_id.as_str()];
        roles.sort_unstable();
        roles.dedup();
        for role_id in roles {
            tx.run(
                sql!("INSERT INTO user_roles (user_id, role_id, granted_at) VALUES ($1, $2, $3)"),
                args![&user.id, role_id, now],
            )
            .await?;
        }
        Ok(Created { first_factor: FirstFactor::new_password(&user.id), user })
    }

    /// Inserts a sign-up that waits for its confirmation. With `replace` (where a mail may go out)
    /// one that waits for the same address already goes, with its link and its name: nobody has
    /// shown that the address is theirs, so nobody keeps it from the next. The caller queues the
    /// mail in the same transaction (to the new person, or to the owner of the taken address) and
    /// commits.
    ///
    /// # Errors
    /// A taken username is told; a taken address is not. After an error, roll back.
    pub async fn insert_pending(
        &self,
        tx: &mut Tx,
        prepared: &Prepared,
        replace: bool,
    ) -> Result<Pending, SignUpError> {
        let expires = self.clock.now() + PENDING_LIFETIME;
        // A second time, where another sign-up for the address came in between.
        for _ in 0..2 {
            if replace {
                tx.run(
                    sql!("DELETE FROM users WHERE email_canonical = $1 AND expires_at IS NOT NULL"),
                    args![prepared.email.as_str()],
                )
                .await?;
            }
            let errors = match self.insert_account(tx, prepared, ROLE_USER, false, Some(expires)).await {
                Ok(Created { user, .. }) => {
                    let verify_token = self
                        .create_token(tx, Purpose::VerifyEmail, Some(&user.id), Some(&user.email))
                        .await?;
                    return Ok(Pending::Created { user, verify_token });
                }
                Err(SignUpError::Taken(errors)) => errors,
                Err(other) => return Err(other),
            };
            let owner = self.owner_of(tx, prepared.email.as_str()).await?;
            if replace && owner.as_ref().is_some_and(User::is_pending) {
                continue;
            }
            if let Some(words) = errors.get("username") {
                return Err(SignUpError::Taken(FieldErrors::of("username", words)));
            }
            if let Some(owner) = owner {
                self.reserve_username(tx, prepared, expires).await?;
                return Ok(Pending::EmailTaken { owner });
            }
        }
        Err(DbError::Busy("an account changed at this moment".into()).into())
    }

    /// A new confirmation link for an unconfirmed account; earlier ones are void.
    pub async fn renew_verification(&self, tx: &mut Tx, user: &User) -> Result<String, DbError> {
        self.create_token(tx, Purpose::VerifyEmail, Some(&user.id), Some(&user.email)).await
    }

    pub(crate) async fn owner_of(&self, tx: &mut Tx, email: &str) -> Result<Option<User>, DbError> {
        tx.one(
            sql!(
                "SELECT id, username, email, first_name, last_name, created_at, email_verified_at, deactivated_at,
                   expires_at, last_seen_at
                 FROM users WHERE email_canonical = $1"
            ),
            args![email],
        )
        .await
    }

    /// The chosen name of a sign-up whose address is taken: without it a second try would tell
    /// the two cases apart.
    async fn reserve_username(
        &self,
        tx: &mut Tx,
        prepared: &Prepared,
        expires: Micros,
    ) -> Result<(), SignUpError> {
        let now = self.clock.now();
        let rows = tx
            .run(
                sql!(
                    "INSERT INTO users (id, username, username_canonical, first_name, last_name, created_at,
                       expires_at, search)
                     VALUES ($1, $2, $3, '', '', $4, $5, $3)
                     ON CONFLICT DO NOTHING"
                ),
                args![
                    &self.random.id(now),
                    prepared.username.as_str(),
                    prepared.username.canonical(),
                    now,
                    expires
                ],
            )
            .await?;
        if rows == 0 {
            return Err(SignUpError::Taken(FieldErrors::of("username", USERNAME_TAKEN)));
        }
        Ok(())
    }

    async fn remove_expired(&self, tx: &mut Tx, prepared: &Prepared, now: Micros) -> Result<(), DbError> {
        tx.run(
            sql!(
                "DELETE FROM users WHERE (username_canonical = $1 OR email_canonical = $2)
                 AND expires_at IS NOT NULL AND expires_at <= $3"
            ),
            args![prepared.username.canonical(), prepared.email.as_str(), now],
        )
        .await?;
        Ok(())
    }

    /// Which fields the refused insert ran into.
    async fn taken(&self, tx: &mut Tx, prepared: &Prepared) -> Result<FieldErrors, DbError> {
        let rows: Vec<(String, Option<String>)> = tx
            .all(
                sql!(
                    "SELECT username_canonical, email_canonical FROM users
                     WHERE username_canonical = $1 OR email_canonical = $2"
                ),
                args![prepared.username.canonical(), prepared.email.as_str()],
            )
            .await?;
        let mut errors = FieldErrors::default();
        for (username, email) in rows {
            if username == prepared.username.canonical() {
                errors.add("username", USERNAME_TAKEN);
            }
            if email.as_deref() == Some(prepared.email.as_str()) {
                errors.add("email", "An account has this e-mail address already. Sign in instead.");
            }
        }
        if errors.is_empty() {
            return Err(DbError::Busy("an account changed at this moment".into()));
        }
        Ok(errors)
    }
}

const USERNAME_TAKEN: &str = "This username is taken. Choose another.";

/// What somebody else calls a person, made fit for a name; it may come out empty.
pub(crate) fn clean_name(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !c.is_control() && !turns(*c)).collect();
    cut(kept.trim(), NAME_MAX).trim_end().to_owned()
}

/// Characters that turn the direction of the text make one name look like another.
fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A trimmed name of 1 to 80 code points without control and direction characters.
fn name(typed: &str, what: &str) -> Result<String, String> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Err(format!("Enter your {what}."));
    }
    if typed.chars().count() > NAME_MAX {
        return Err(format!("Use at most {NAME_MAX} characters for the {what}."));
    }
    if typed.chars().any(|c| c.is_control() || turns(c)) {
        return Err(format!("Leave control characters out of the {what}."));
    }
    Ok(typed.to_owned())
}

#[cfg(test)]
mod tests;
