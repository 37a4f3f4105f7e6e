//! Setting factors up and taking them away, by their signed-in owner. Each change ends the other
//! sessions (SEC-61) and is mailed (SEC-96), in one transaction.

use base::db::DbError;
use base::{Micros, Tx, args, sql};
use serde_json::Value;

use super::{BackupCodes, Standing, Totp, totp};
use crate::Accounts;
use crate::notices::Notice;
use crate::passkeys::{PasskeyError, PasskeyRow};
use crate::principal::Principal;
use crate::throttle::Client;
use crate::user::User;

/// All of an account's factors, for its settings.
#[derive(Clone, Debug)]
pub struct Factors {
    pub standing: Standing,
    pub totp: Option<Totp>,
    pub backup_codes: Option<BackupCodes>,
    /// Since when codes by e-mail are on, and when one was used last.
    pub email_codes: Option<(Micros, Option<Micros>)>,
    pub passkeys: Vec<PasskeyRow>,
    pub password_changed_at: Option<Micros>,
}

/// A factor is in place. `Debug` leaves the codes out.
#[derive(PartialEq, Eq)]
pub struct FactorAdded {
    /// The new set, where the account had none: shown now and never again.
    pub backup_codes: Option<Vec<String>>,
    /// It took the place of an older one.
    pub replaced: bool,
}

impl std::fmt::Debug for FactorAdded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FactorAdded").field("replaced", &self.replaced).finish_non_exhaustive()
    }
}

/// Why a change of factors was refused, in words for the page.
#[derive(Debug, thiserror::Error)]
pub enum ChangeRefused {
    #[error(
        "That code was not right. Enter the one that the app shows now, and check the clock of your phone."
    )]
    WrongCode,
    #[error("The key was not confirmed within ten minutes. Start again.")]
    NothingPending,
    #[error("A second factor is required for your account. Set up another one first.")]
    Required,
    #[error("There is nothing to turn off.")]
    NotThere,
    /// The session has ended meanwhile.
    #[error("The session has ended.")]
    SessionOver,
    #[error("An Admin has not allowed codes by e-mail here.")]
    EmailCodesNotAllowed,
    #[error("Confirm your e-mail address first.")]
    EmailNotConfirmed,
    #[error(
        "Set up an authenticator app or a passkey first: for your role, codes by e-mail are not enough alone."
    )]
    EmailCodesTooWeak,
    #[error("Backup codes go with a second factor. Set one up first.")]
    NoFactor,
    #[error(transparent)]
    Passkey(PasskeyError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<PasskeyError> for ChangeRefused {
    fn from(error: PasskeyError) -> Self {
        match error {
            PasskeyError::Db(error) => Self::Db(error),
            error => Self::Passkey(error),
        }
    }
}

impl Accounts {
    /// Everything about an account's factors.
    pub async fn factors(&self, user_id: &str) -> Result<Option<Factors>, DbError> {
        let Some(standing) = self.standing(user_id).await? else { return Ok(None) };
        let totp = self
            .db
            .one(
                sql!(
                    "SELECT confirmed_at, last_used_at FROM totp_factors
                     WHERE user_id = $1 AND confirmed_at IS NOT NULL"
                ),
                args![user_id],
            )
            .await?;
        let row: Option<(Option<i64>, Option<i64>, Option<i64>)> = self
            .db
            .one(
                sql!("SELECT email_codes_since, email_codes_used_at, password_changed_at FROM users WHERE id = $1"),
                args![user_id],
            )
            .await?;
        let (since, used_at, password_changed_at) = row.unwrap_or_default();
        Ok(Some(Factors {
            standing,
            totp,
            backup_codes: self.backup_codes(user_id).await?,
            email_codes: since.map(|since| (since, used_at)),
            passkeys: self.list_passkeys(user_id).await?,
            password_changed_at,
        }))
    }

    /// Confirms the waiting secret of an authenticator app by its first code. The first factor of an
    /// account comes with a set of backup codes.
    pub async fn confirm_totp(
        &self,
        principal: &Principal,
        code: &str,
        client: &Client,
    ) -> Result<FactorAdded, ChangeRefused> {
        let code = totp_code(code).ok_or(ChangeRefused::WrongCode)?;
        let holder = &principal.session.id;
        let (mut tx, user) = self.begin_own_change(principal).await?;
        let Some(replaced) = self.activate_totp(&mut tx, &user.id, holder, &code).await? else {
            drop(tx);
            let waits = self.pending_totp(&user.id, holder, "").await?.is_some();
            return Err(if waits { ChangeRefused::WrongCode } else { ChangeRefused::NothingPending });
        };
        let notice = if replaced { Notice::TotpReplaced } else { Notice::TotpOn };
        let backup_codes = self.factor_added(&mut tx, &user, &notice, client).await?;
        self.finish_own_change(tx, principal).await?;
        Ok(FactorAdded { backup_codes, replaced })
    }

    /// Turns the authenticator app off.
    pub async fn disable_totp(&self, principal: &Principal, client: &Client) -> Result<(), ChangeRefused> {
        let (mut tx, user) = self.begin_own_change(principal).await?;
        let rows = tx
            .run(
                sql!("DELETE FROM totp_factors WHERE user_id = $1 AND confirmed_at IS NOT NULL"),
                args![&user.id],
            )
            .await?;
        if rows == 0 {
            return Err(ChangeRefused::NotThere);
        }
        self.factor_gone(&mut tx, &user, &Notice::TotpOff, client).await?;
        self.finish_own_change(tx, principal).await
    }

    /// A new set of backup codes; the one before is void (SEC-52).
    pub async fn renew_backup_codes(
        &self,
        principal: &Principal,
        client: &Client,
    ) -> Result<Vec<String>, ChangeRefused> {
        let (mut tx, user) = self.begin_own_change(principal).await?;
        if self.standing_in(&mut tx, &user.id).await?.methods().is_empty() {
            return Err(ChangeRefused::NoFactor);
        }
        let codes = self.make_backup_codes(&mut tx, &user.id).await?;
        self.notify(&mut tx, &user, &Notice::BackupCodesMade, Some(client)).await?;
        self.finish_own_change(tx, principal).await?;
        Ok(codes)
    }

    /// Turns codes by e-mail on or off (SEC-47).
    pub async fn set_email_codes(
        &self,
        principal: &Principal,
        on: bool,
        client: &Client,
    ) -> Result<(), ChangeRefused> {
        let (mut tx, user) = self.begin_own_change(principal).await?;
        let standing = self.standing_in(&mut tx, &user.id).await?;
        if on {
            if !self.settings().second_factor.email_codes {
                return Err(ChangeRefused::EmailCodesNotAllowed);
            }
            if !user.is_verified() {
                return Err(ChangeRefused::EmailNotConfirmed);
            }
            if standing.privileged && !standing.is_enrolled() {
                return Err(ChangeRefused::EmailCodesTooWeak);
            }
            tx.run(
                sql!("UPDATE users SET email_codes_since = COALESCE(email_codes_since, $2) WHERE id = $1"),
                args![&user.id, self.clock.now()],
            )
            .await?;
            self.notify(&mut tx, &user, &Notice::EmailCodesOn, Some(client)).await?;
        } else {
            let rows = tx
                .run(
                    sql!(
                        "UPDATE users SET email_codes_since = NULL, email_codes_used_at = NULL
                         WHERE id = $1 AND email_codes_since IS NOT NULL"
                    ),
                    args![&user.id],
                )
                .await?;
            if rows == 0 {
                return Err(ChangeRefused::NotThere);
            }
            self.factor_gone(&mut tx, &user, &Notice::EmailCodesOff, client).await?;
        }
        self.finish_own_change(tx, principal).await
    }

    /// The second half of adding a passkey; the first is [`Accounts::begin_passkey`] with the
    /// session's id as holder.
    pub async fn add_passkey(
        &self,
        principal: &Principal,
        ceremony: &str,
        name: &str,
        credential: &Value,
        client: &Client,
    ) -> Result<FactorAdded, ChangeRefused> {
        let (mut tx, user) = self.begin_own_change(principal).await?;
        let added =
            self.finish_passkey(&mut tx, &principal.session.id, &user.id, ceremony, name, credential).await;
        let added = match added {
            Ok(added) => added,
            Err(PasskeyError::Db(error)) => return Err(error.into()),
            Err(error) => {
                // The ceremony is used up all the same (SEC-53).
                tx.commit().await?;
                return Err(error.into());
            }
        };
        let backup_codes =
            self.factor_added(&mut tx, &user, &Notice::PasskeyAdded { name: added.name }, client).await?;
        self.finish_own_change(tx, principal).await?;
        Ok(FactorAdded { backup_codes, replaced: false })
    }

    /// Takes a passkey away. `false` where there is none with this id.
    pub async fn drop_passkey(
        &self,
        principal: &Principal,
        id: &str,
        client: &Client,
    ) -> Result<bool, ChangeRefused> {
        let (mut tx, user) = self.begin_own_change(principal).await?;
        let Some(row) = self.remove_passkey(&mut tx, &user.id, id).await? else { return Ok(false) };
        self.factor_gone(&mut tx, &user, &Notice::PasskeyRemoved { name: row.name }, client).await?;
        self.finish_own_change(tx, principal).await?;
        Ok(true)
    }

    /// A transaction that holds the person's own row, in a session that still stands.
    async fn begin_own_change(&self, principal: &Principal) -> Result<(Tx, User), ChangeRefused> {
        let mut tx = self.db.begin().await?;
        match self.hold_user(&mut tx, &principal.user_id).await? {
            Some(user) if self.still_stands(&mut tx, principal).await? => Ok((tx, user)),
            _ => Err(ChangeRefused::SessionOver),
        }
    }

    /// Mails about a new factor and makes backup codes where there are none.
    pub(crate) async fn factor_added(
        &self,
        tx: &mut Tx,
        user: &User,
        notice: &Notice,
        client: &Client,
    ) -> Result<Option<Vec<String>>, DbError> {
        self.notify(tx, user, notice, Some(client)).await?;
        let set: Option<String> =
            tx.one(sql!("SELECT id FROM backup_code_sets WHERE user_id = $1"), args![&user.id]).await?;
        match set {
            Some(_) => Ok(None),
            None => Ok(Some(self.make_backup_codes(tx, &user.id).await?)),
        }
    }

    /// After a factor is gone: refuses where one is required by now, and drops backup codes that
    /// stand beside nothing.
    async fn factor_gone(
        &self,
        tx: &mut Tx,
        user: &User,
        notice: &Notice,
        client: &Client,
    ) -> Result<(), ChangeRefused> {
        let standing = self.standing_in(tx, &user.id).await?;
        if standing.must_enrol(self.clock.now()) {
            return Err(ChangeRefused::Required);
        }
        if standing.privileged && standing.email_codes && !standing.is_enrolled() {
            return Err(ChangeRefused::EmailCodesTooWeak);
        }
        if standing.methods().is_empty() {
            tx.run(sql!("DELETE FROM backup_code_sets WHERE user_id = $1"), args![&user.id]).await?;
        }
        self.notify(tx, user, notice, Some(client)).await?;
        Ok(())
    }

    /// Ends the person's other sessions and open challenges, and makes the change lasting.
    async fn finish_own_change(&self, mut tx: Tx, principal: &Principal) -> Result<(), ChangeRefused> {
        tx.run(sql!("DELETE FROM challenges WHERE user_id = $1"), args![&principal.user_id]).await?;
        let ended = self.end_all_in(&mut tx, &principal.user_id, Some(&principal.session.id)).await?;
        tx.commit().await?;
        self.announce_sessions(ended);
        self.mail_waits();
        Ok(())
    }
}

/// What was typed, as six digits: apps show them with a blank in the middle.
pub(crate) fn totp_code(typed: &str) -> Option<String> {
    let code: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
    totp::is_code(&code).then_some(code)
}
