//! One-time tokens: 256 bit, stored as SHA-256, used at most once (SEC-63, SEC-99). Looking at
//! a link shows; only posting consumes (SEC-64).

use base::db::{DbError, FromRow, Row};
use base::random::token_hash;
use base::{DAY, HOUR, MINUTE, Micros, Tx, args, sql};

use crate::Accounts;
use crate::sign_up::{Created, Prepared, SignUpError};
use crate::user::{ROLE_ADMIN, User};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Making the first Admin (SEC-4).
    SetUp,
    /// Confirming an e-mail address.
    VerifyEmail,
    /// Setting a new password (SEC-63).
    ResetPassword,
    /// Confirming the address that an account is to have (SEC-59).
    ChangeEmail,
    /// Going back to the address that an account had (SEC-59).
    RevertEmail,
    /// Proving by mail that an account is one's own, to link an identity with it (SEC-71).
    LinkIdentity,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::SetUp => "setup",
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::ChangeEmail => "change_email",
            Self::RevertEmail => "revert_email",
            Self::LinkIdentity => "link_identity",
        }
    }

    /// How long a token lives, in microseconds.
    pub fn lifetime(self) -> Micros {
        match self {
            Self::SetUp => 24 * HOUR,
            Self::VerifyEmail => 72 * HOUR,
            Self::ResetPassword | Self::LinkIdentity => 30 * MINUTE,
            Self::ChangeEmail => 24 * HOUR,
            Self::RevertEmail => 7 * DAY,
        }
    }

    /// Whether a new token voids the earlier ones. Not where a stranger may ask for one, who could
    /// take the owner's link away; nor for the way back to an address, which whoever holds the
    /// account must not be able to cut off by a second change.
    fn replaces(self) -> bool {
        matches!(self, Self::SetUp | Self::VerifyEmail | Self::ChangeEmail)
    }
}

/// What a good token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    pub user_id: Option<String>,
    /// The address that the link was mailed to; `None` for one that no mail carries.
    pub email: Option<String>,
    pub created_at: Micros,
    pub expires_at: Micros,
}

impl FromRow for TokenInfo {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            user_id: row.get("user_id")?,
            email: row.get("email_canonical")?,
            created_at: row.get("created_at")?,
            expires_at: row.get("expires_at")?,
        })
    }
}

/// An account whose address is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    pub user: User,
    /// It became an account just now: before it was a sign-up that waited for this.
    pub was_pending: bool,
}

/// Why the set-up did not go through.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    #[error(
        "This set-up link is used or too old. Restart the server: it prints a new one while there is no Admin."
    )]
    BadToken,
    #[error("There is an Admin already. Sign in.")]
    Done,
    #[error(transparent)]
    SignUp(#[from] SignUpError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Accounts {
    /// Makes a token. Where the purpose says so, earlier ones of the same person are void from then on.
    pub async fn create_token(
        &self,
        tx: &mut Tx,
        purpose: Purpose,
        user_id: Option<&str>,
        email: Option<&str>,
    ) -> Result<String, DbError> {
        let now = self.clock.now();
        if purpose.replaces() {
            self.void_tokens(tx, purpose, user_id).await?;
        }
        let token = self.random.token();
        tx.run(
            sql!(
                "INSERT INTO one_time_tokens (token_hash, purpose, user_id, email_canonical, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6)"
            ),
            args![&token_hash(&token), purpose.name(), user_id, email, now, now + purpose.lifetime()],
        )
        .await?;
        Ok(token)
    }

    /// What a token stands for while it is good; changes nothing.
    pub async fn peek_token(&self, purpose: Purpose, token: &str) -> Result<Option<TokenInfo>, DbError> {
        self.db
            .one(
                sql!(
                    "SELECT user_id, email_canonical, created_at, expires_at FROM one_time_tokens
                     WHERE token_hash = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3"
                ),
                args![&token_hash(token), purpose.name(), self.clock.now()],
            )
            .await
    }

    /// Uses the token up, and its siblings with it; of those that lead back to an address only the
    /// later ones, so that the earliest owner has the last word. Of any number of parallel tries one
    /// gets the answer; the others get `None`.
    pub async fn consume_token(
        &self,
        tx: &mut Tx,
        purpose: Purpose,
        token: &str,
    ) -> Result<Option<TokenInfo>, DbError> {
        let now = self.clock.now();
        let info: Option<TokenInfo> = tx
            .one(
                sql!(
                    "UPDATE one_time_tokens SET used_at = $3
                     WHERE token_hash = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3
                     RETURNING user_id, email_canonical, created_at, expires_at"
                ),
                args![&token_hash(token), purpose.name(), now],
            )
            .await?;
        if let Some(info) = &info {
            let since = if purpose == Purpose::RevertEmail { info.created_at } else { 0 };
            self.void_since(tx, purpose, info.user_id.as_deref(), since).await?;
        }
        Ok(info)
    }

    /// Makes a person's open tokens for this purpose useless.
    pub(crate) async fn void_tokens(
        &self,
        tx: &mut Tx,
        purpose: Purpose,
        user_id: Option<&str>,
    ) -> Result<(), DbError> {
        self.void_since(tx, purpose, user_id, 0).await
    }

    async fn void_since(
        &self,
        tx: &mut Tx,
        purpose: Purpose,
        user_id: Option<&str>,
        since: Micros,
    ) -> Result<(), DbError> {
        tx.run(
            sql!(
                "UPDATE one_time_tokens SET used_at = $3 WHERE purpose = $1 AND used_at IS NULL
                 AND (user_id = $2 OR (CAST($2 AS TEXT) IS NULL AND user_id IS NULL)) AND created_at >= $4"
            ),
            args![purpose.name(), user_id, self.clock.now(), since],
        )
        .await?;
        Ok(())
    }

    /// Whether no active Admin exists yet.
    pub async fn setup_needed(&self) -> Result<bool, DbError> {
        let admin: Option<String> = self.db.one(ADMIN_EXISTS, args![ROLE_ADMIN]).await?;
        Ok(admin.is_none())
    }

    /// A new set-up token while no Admin exists; the one before is void. Good for 24 hours.
    pub async fn create_setup_token(&self) -> Result<Option<String>, DbError> {
        if !self.setup_needed().await? {
            return Ok(None);
        }
        let mut tx = self.db.begin().await?;
        tx.lock("setup").await?;
        let token = self.create_token(&mut tx, Purpose::SetUp, None, None).await?;
        tx.commit().await?;
        Ok(Some(token))
    }

    /// Makes the first Admin. The lock and the token see to it that there is one of them
    /// however many try (SEC-4). The caller commits; check with [`Accounts::peek_token`] and
    /// hash before the transaction begins.
    pub async fn set_up(&self, tx: &mut Tx, token: &str, prepared: &Prepared) -> Result<Created, SetUpError> {
        tx.lock("setup").await?;
        if tx.one::<String>(ADMIN_EXISTS, args![ROLE_ADMIN]).await?.is_some() {
            return Err(SetUpError::Done);
        }
        if self.consume_token(tx, Purpose::SetUp, token).await?.is_none() {
            return Err(SetUpError::BadToken);
        }
        Ok(self.insert_account(tx, prepared, ROLE_ADMIN, true, None).await?)
    }

    /// Confirms the address that the link was mailed to. `None` where the link is used, too
    /// old, or the account's address has changed since. The caller commits.
    pub async fn verify_email(&self, tx: &mut Tx, token: &str) -> Result<Option<Confirmed>, DbError> {
        let Some(info) = self.consume_token(tx, Purpose::VerifyEmail, token).await? else {
            return Ok(None);
        };
        let now = self.clock.now();
        // The update first: its row is ours from then on.
        let user: Option<User> = tx
            .one(
                sql!(
                    "UPDATE users SET email_verified_at = COALESCE(email_verified_at, $3), email_vouched_by = NULL
                     WHERE id = $1 AND email_canonical = $2 AND deactivated_at IS NULL
                       AND (expires_at IS NULL OR expires_at > $3)
                     RETURNING id, username, email, first_name, last_name, created_at, email_verified_at,
                       deactivated_at, expires_at, last_seen_at"
                ),
                args![&info.user_id, &info.email, now],
            )
            .await?;
        let Some(mut user) = user else { return Ok(None) };
        let was_pending = user.expires_at.take().is_some();
        if was_pending {
            tx.run(sql!("UPDATE users SET expires_at = NULL WHERE id = $1"), args![&user.id]).await?;
        }
        Ok(Some(Confirmed { user, was_pending }))
    }
}

const ADMIN_EXISTS: base::Sql = sql!(
    "SELECT u.id FROM user_roles ur JOIN users u ON u.id = ur.user_id
     WHERE ur.role_id = $1 AND u.deactivated_at IS NULL LIMIT 1"
);
