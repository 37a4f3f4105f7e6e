//! Holding a proof against the factors of an account.

use base::db::DbError;
use base::{Tx, args, sql};

use super::budget::passkey_failure;
use super::{FactorRefused, Holder, Proof, backup_codes, email_codes, totp_code};
use crate::Accounts;
use crate::gate::{Proved, SecondFactor};
use crate::notices::Notice;
use crate::passkeys::CheckPurpose;
use crate::throttle::Client;
use crate::user::User;

impl Accounts {
    /// The factor that the proof proves, spent; `None` for a wrong one. The caller has counted the
    /// try and holds the account's row. The shape of a code says which factor it can be of; what a
    /// client says beside it changes nothing (SEC-39).
    pub(crate) async fn prove(
        &self,
        tx: &mut Tx,
        user: &User,
        holder: Holder<'_>,
        proof: Proof<'_>,
        client: &Client,
    ) -> Result<Option<Proved>, FactorRefused> {
        match proof {
            Proof::Passkey { ceremony, credential } => {
                let purpose =
                    if holder.for_step_up { CheckPurpose::StepUp } else { CheckPurpose::SecondFactor };
                match self.check_passkey(tx, holder.id, &user.id, purpose, ceremony, credential).await {
                    Ok(_) => Ok(Some(Proved { factor: SecondFactor::Passkey, backup_codes_left: None })),
                    Err(error) => passkey_failure(error).map(|()| None),
                }
            }
            Proof::Code(typed) => Ok(self.prove_code(tx, user, holder, typed, client).await?),
        }
    }

    async fn prove_code(
        &self,
        tx: &mut Tx,
        user: &User,
        holder: Holder<'_>,
        typed: &str,
        client: &Client,
    ) -> Result<Option<Proved>, DbError> {
        let standing = self.standing_in(tx, &user.id).await?;
        if let Some(code) = totp_code(typed) {
            let right = standing.totp && self.spend_totp(tx, &user.id, &code).await?;
            return Ok(right.then_some(Proved { factor: SecondFactor::Totp, backup_codes_left: None }));
        }
        let digits: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
        // Without password or factor a mailed code is what proves a person in a session (SEC-57).
        let alone = holder.for_step_up && !standing.password && standing.methods().is_empty();
        if email_codes::is_code(&digits) {
            // One that was mailed before an app or a passkey was there proves nothing in a session any more.
            let weaker = holder.for_step_up && (standing.totp || standing.passkeys);
            let counts = (standing.email_codes && !weaker) || alone;
            let right = counts && self.spend_email_code(tx, holder, &digits).await?;
            if right {
                tx.run(
                    sql!("UPDATE users SET email_codes_used_at = $2 WHERE id = $1"),
                    args![&user.id, self.clock.now()],
                )
                .await?;
            }
            return Ok(right.then_some(Proved { factor: SecondFactor::Email, backup_codes_left: None }));
        }
        let (Some(code), false) = (backup_codes::canonical(typed), standing.methods().is_empty()) else {
            return Ok(None);
        };
        let Some(left) = self.spend_backup_code(tx, &user.id, &code).await? else { return Ok(None) };
        self.notify(tx, user, &Notice::BackupCodeUsed { left }, Some(client)).await?;
        Ok(Some(Proved { factor: SecondFactor::BackupCode, backup_codes_left: Some(left) }))
    }
}
