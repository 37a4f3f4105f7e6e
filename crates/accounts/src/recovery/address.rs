//! Changing the e-mail address: asked for in the settings, confirmed at the new address, and taken
//! back from the old one (SEC-59).

use base::db::DbError;
use base::{Micros, Tx, args, sql};

use super::RecoveryError;
use crate::Accounts;
use crate::identifier::Email;
use crate::notices::Notice;
use crate::principal::Principal;
use crate::sign_up::FieldErrors;
use crate::throttle::{Client, Limit};
use crate::tokens::Purpose;
use crate::user::User;

impl Accounts {
    /// Mails a link to the address that the account is to have; nothing changes before it is followed.
    /// A request before is void. Where addresses are confirmed, one that another account has is answered
    /// like any other, and no mail goes out (SEC-11). The domains allowed for signing up count here too.
    ///
    /// # Errors
    /// At the field `email`; [`Limit::VerifyMail`] and [`Limit::VerifyMailTotal`] as for signing up.
    pub async fn request_email_change(
        &self,
        principal: &Principal,
        new_email: &str,
        client: &Client,
    ) -> Result<(), RecoveryError> {
        let email = Email::parse(new_email).map_err(|error| RecoveryError::field("email", error))?;
        let settings = self.settings();
        if !settings.sign_up.allows(&email) {
            return Err(RecoveryError::field(
                "email",
                format!(
                    "Only addresses of {} may be used here. Use one of these, or ask an Admin.",
                    settings.sign_up.allowed_domains.join(", ")
                ),
            ));
        }
        let mut tx = self.db.begin().await?;
        let user = self.hold_lasting(&mut tx, &principal.user_id).await?.ok_or(RecoveryError::SessionOver)?;
        if !self.still_stands(&mut tx, principal).await? {
            return Err(RecoveryError::SessionOver);
        }
        if user.email == email.as_str() {
            return Err(RecoveryError::field("email", "This is the address that your account has already."));
        }
        let taken = self.is_taken(&mut tx, email.as_str()).await?;
        if taken && !settings.sign_up.verification_required {
            return Err(taken_by_another());
        }
        let from = format!("{} from {}", email.as_str(), client.key());
        let account = format!("account {}", user.id);
        for (limit, subject) in [
            (Limit::VerifyMail, from.as_str()),
            (Limit::VerifyMailTotal, email.as_str()),
            (Limit::VerifyMailTotal, account.as_str()),
        ] {
            self.throttle_in(&mut tx, limit, subject).await?;
        }
        let token =
            self.create_token(&mut tx, Purpose::ChangeEmail, Some(&user.id), Some(email.as_str())).await?;
        if !taken {
            let notice = Notice::ConfirmNewEmail { token };
            self.notify_at(&mut tx, email.as_str(), &user, &notice, Some(client)).await?;
        }
        tx.commit().await?;
        self.mail_waits();
        Ok(())
    }

    /// The address that waits to be confirmed, and until when it may be.
    pub async fn pending_email_change(&self, user_id: &str) -> Result<Option<(String, Micros)>, DbError> {
        self.db
            .one(
                sql!(
                    "SELECT email_canonical, expires_at FROM one_time_tokens
                     WHERE user_id = $1 AND purpose = 'change_email' AND used_at IS NULL AND expires_at > $2
                     ORDER BY created_at DESC LIMIT 1"
                ),
                args![user_id, self.clock.now()],
            )
            .await
    }

    /// Forgets the address that waits to be confirmed.
    pub async fn cancel_email_change(&self, user_id: &str) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        self.void_tokens(&mut tx, Purpose::ChangeEmail, Some(user_id)).await?;
        tx.commit().await
    }

    /// Gives the account the address that the link was mailed to. The former address hears of it; if
    /// it was confirmed, with a link that takes the change back. (One that never was may be a
    /// stranger's, mistyped: they get no way into the account.) Sessions go on.
    ///
    /// # Errors
    /// [`RecoveryError::BadToken`]; [`RecoveryError::Taken`] where another account has got it meanwhile.
    pub async fn confirm_email_change(&self, token: &str, client: &Client) -> Result<User, RecoveryError> {
        let user = self.link_holder(Purpose::ChangeEmail, token).await?.ok_or(RecoveryError::BadToken)?;
        let mut tx = self.db.begin().await?;
        let former = self.hold_lasting(&mut tx, &user.id).await?.ok_or(RecoveryError::BadToken)?;
        let info = self.consume_token(&mut tx, Purpose::ChangeEmail, token).await?;
        let email = info.and_then(|info| info.email).ok_or(RecoveryError::BadToken)?;
        let user = self.store_address(&mut tx, &former, &email).await?;
        self.void_tokens(&mut tx, Purpose::ResetPassword, Some(&user.id)).await?;
        let revert_token = match former.is_verified() && former.email != email {
            true => {
                let to = Some(former.email.as_str());
                Some(self.create_token(&mut tx, Purpose::RevertEmail, Some(&user.id), to).await?)
            }
            false => None,
        };
        let notice = Notice::EmailChanged { new_email: email, revert_token };
        self.notify_at(&mut tx, &former.email, &user, &notice, Some(client)).await?;
        tx.commit().await?;
        self.mail_waits();
        Ok(user)
    }

    /// Gives the account its former address back, ends every session and challenge, takes away the
    /// factors and links that were set up since the change, and mails a link to set a new password:
    /// whoever changed the address may know the old one, and may have left a passkey or an account
    /// at a provider behind.
    ///
    /// # Errors
    /// As [`Accounts::confirm_email_change`].
    pub async fn revert_email(&self, token: &str, client: &Client) -> Result<User, RecoveryError> {
        let user = self.link_holder(Purpose::RevertEmail, token).await?.ok_or(RecoveryError::BadToken)?;
        let mut tx = self.db.begin().await?;
        let user = self.hold_lasting(&mut tx, &user.id).await?.ok_or(RecoveryError::BadToken)?;
        let info = self.consume_token(&mut tx, Purpose::RevertEmail, token).await?;
        let info = info.ok_or(RecoveryError::BadToken)?;
        let email = info.email.ok_or(RecoveryError::BadToken)?;
        let user = self.store_address(&mut tx, &user, &email).await?;
        self.drop_factors_since(&mut tx, &user.id, info.created_at).await?;
        for purpose in [Purpose::ChangeEmail, Purpose::ResetPassword] {
            self.void_tokens(&mut tx, purpose, Some(&user.id)).await?;
        }
        let ended = self.end_all_but(&mut tx, &user.id, None).await?;
        self.notify(&mut tx, &user, &Notice::EmailReverted, Some(client)).await?;
        self.queue_reset_link(&mut tx, &user, Some(client), false).await?;
        tx.commit().await?;
        self.announce_sessions(ended);
        self.mail_waits();
        Ok(user)
    }

    /// Second factors and linked accounts that whoever changed the address could have set up since.
    async fn drop_factors_since(&self, tx: &mut Tx, user_id: &str, since: Micros) -> Result<(), DbError> {
        let newer = [
            sql!("DELETE FROM passkeys WHERE user_id = $1 AND created_at >= $2"),
            sql!("DELETE FROM identities WHERE user_id = $1 AND created_at >= $2"),
            sql!(
                "DELETE FROM totp_factors WHERE user_id = $1 AND (confirmed_at IS NULL OR confirmed_at >= $2)"
            ),
            sql!("DELETE FROM backup_code_sets WHERE user_id = $1 AND created_at >= $2"),
            sql!("UPDATE users SET email_codes_since = NULL WHERE id = $1 AND email_codes_since >= $2"),
        ];
        for statement in newer {
            tx.run(statement, args![user_id, since]).await?;
        }
        Ok(())
    }

    /// Sets the address, confirmed as of now. A sign-up that only waits for it gives way, as to the
    /// next sign-up. After an error, roll back.
    async fn store_address(&self, tx: &mut Tx, user: &User, email: &str) -> Result<User, RecoveryError> {
        let now = self.clock.now();
        tx.run(
            sql!("DELETE FROM users WHERE email_canonical = $1 AND expires_at IS NOT NULL AND id <> $2"),
            args![email, &user.id],
        )
        .await?;
        let search =
            format!("{} {} {} {email}", user.first_name, user.last_name, user.username).to_lowercase();
        tx.run(
            sql!(
                "UPDATE users SET email = $2, email_canonical = $2, email_verified_at = $3, email_vouched_by = NULL, search = $4
                 WHERE id = $1"
            ),
            args![&user.id, email, now, &search],
        )
        .await
        .map_err(|error| match error {
            error if error.is_unique("users", "email_canonical") => taken_by_another(),
            error => error.into(),
        })?;
        Ok(User { email: email.to_owned(), email_verified_at: Some(now), ..user.clone() })
    }

    /// Whether a lasting account has the address.
    async fn is_taken(&self, tx: &mut Tx, email: &str) -> Result<bool, DbError> {
        let owner: Option<String> = tx
            .one(sql!("SELECT id FROM users WHERE email_canonical = $1 AND expires_at IS NULL"), args![email])
            .await?;
        Ok(owner.is_some())
    }
}

fn taken_by_another() -> RecoveryError {
    let mut errors = FieldErrors::default();
    errors.add("email", "Another account has this address. Use a different one, or ask an Admin.");
    RecoveryError::Taken(errors)
}
