//! Using a passkey (WebAuthn Level 3, 7.2): as a second factor, for step-up, and alone.

use base::db::{DbError, FromRow, Row};
use base::{Tx, args, sql};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use webauthn_rs_core::WebauthnCore;
use webauthn_rs_core::error::WebauthnError;
use webauthn_rs_core::proto::{
    AuthenticationState, Credential, Mediation, PublicKeyCredential, RequestChallengeResponse,
    UserVerificationPolicy,
};

use super::ceremony::{Purpose, with_ceremony};
use super::{CheckPurpose, PasskeyError, PasskeyUse, corrupt, parse, refused};
use crate::Accounts;
use crate::gate::FirstFactor;
use crate::throttle::{Client, Limit};

/// What is remembered of a check.
#[derive(Serialize, Deserialize)]
struct Check {
    user_id: String,
    state: AuthenticationState,
}

/// A passkey with its public key.
pub(super) struct Stored {
    id: String,
    user_id: String,
    user_verified: bool,
    /// As the database has it, to see whether someone changed it meanwhile.
    text: String,
    pub(super) credential: Credential,
}

impl FromRow for Stored {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let text: String = row.get("credential")?;
        let credential = serde_json::from_str(&text).map_err(|error| DbError::Corrupt {
            column: "passkeys.credential".into(),
            problem: error.to_string(),
        })?;
        Ok(Self {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            user_verified: row.get("user_verified")?,
            text,
            credential,
        })
    }
}

impl Accounts {
    /// All of an account's, with their keys.
    pub(super) async fn credentials(&self, user_id: &str) -> Result<Vec<Stored>, DbError> {
        self.db
            .all(
                sql!(
                    "SELECT id, user_id, user_verified, credential FROM passkeys
                     WHERE user_id = $1 ORDER BY created_at, id"
                ),
                args![user_id],
            )
            .await
    }

    /// The first half of a second factor or a step-up:
    /// `{"ceremony": …, "publicKey": PublicKeyCredentialRequestOptionsJSON}`. Every passkey and
    /// security key of the account will do, by a touch.
    ///
    /// # Errors
    /// [`PasskeyError::Unavailable`], [`PasskeyError::NoneYet`].
    pub async fn begin_passkey_check(
        &self,
        holder: &str,
        user_id: &str,
        purpose: CheckPurpose,
    ) -> Result<Value, PasskeyError> {
        let webauthn = self.webauthn()?;
        let present = self.credentials(user_id).await?;
        if present.is_empty() {
            return Err(PasskeyError::NoneYet);
        }
        // Some devices do not show a passkey where verification is discouraged; someone with nothing but touch-only
        // keys is spared the PIN. Neither answer is refused.
        let policy = if present.iter().any(|stored| stored.user_verified) {
            UserVerificationPolicy::Preferred
        } else {
            UserVerificationPolicy::Discouraged_DO_NOT_USE
        };
        let credentials = present.into_iter().map(|stored| stored.credential).collect();
        let (options, state) =
            request(&webauthn, credentials, policy).map_err(|error| refused(&error, user_id))?;
        let check = Check { user_id: user_id.to_owned(), state };
        let id = self.open_ceremony(purpose.into(), holder, &check).await?;
        with_ceremony(&options, id)
    }

    /// The second half: `credential` is an AuthenticationResponseJSON, or its text. The signature is verified before
    /// anything but the ceremony is touched (SEC-55).
    ///
    /// Commit the transaction also where this is refused: then the ceremony is spent (SEC-53).
    /// Counting wrong ones against the account is the caller's (SEC-36).
    ///
    /// # Errors
    /// [`PasskeyError::Expired`], [`PasskeyError::NotAccepted`], [`PasskeyError::MayBeCopied`].
    pub async fn check_passkey(
        &self,
        tx: &mut Tx,
        holder: &str,
        user_id: &str,
        purpose: CheckPurpose,
        ceremony: &str,
        credential: &Value,
    ) -> Result<PasskeyUse, PasskeyError> {
        let webauthn = self.webauthn()?;
        let check: Check = self.take_ceremony(tx, purpose.into(), holder, ceremony).await?;
        if check.user_id != user_id {
            return Err(PasskeyError::Expired);
        }
        let answer: PublicKeyCredential = parse(credential)?;
        if answer.get_user_unique_id().is_some_and(|handle| handle != user_id.as_bytes()) {
            return Err(PasskeyError::NotAccepted);
        }
        let stored: Option<Stored> = tx
            .one(
                sql!(
                    "SELECT id, user_id, user_verified, credential FROM passkeys
                     WHERE credential_id = $1 AND user_id = $2"
                ),
                args![&URL_SAFE_NO_PAD.encode(answer.get_credential_id()), user_id],
            )
            .await?;
        let mut stored = stored.ok_or(PasskeyError::NotAccepted)?;
        // A touch is enough beside another factor. The library would go on requiring what was required when the
        // key was made; the stored policy stays as it is.
        let made_with = std::mem::replace(
            &mut stored.credential.registration_policy,
            UserVerificationPolicy::Discouraged_DO_NOT_USE,
        );
        let user_verified = verified(&webauthn, &answer, &check.state, &mut stored)?;
        stored.credential.registration_policy = made_with;
        self.record_use(tx, &stored).await?;
        Ok(PasskeyUse { passkey_id: stored.id, user_verified })
    }

    /// The first half of signing in without a password (SEC-54). `holder` is a hash of the visitor's cookie.
    /// With `autofill` the browser offers passkeys in the form's fields (`"mediation": "conditional"`),
    /// otherwise it asks at once.
    ///
    /// # Errors
    /// [`PasskeyError::Unavailable`], [`PasskeyError::Limited`].
    pub async fn begin_passwordless(
        &self,
        holder: &str,
        client: &Client,
        autofill: bool,
    ) -> Result<Value, PasskeyError> {
        let webauthn = self.webauthn()?;
        self.throttle(Limit::PasskeyIp, &client.key()).await?;
        let (mut options, state) = request(&webauthn, Vec::new(), UserVerificationPolicy::Required)
            .map_err(|error| refused(&error, ""))?;
        options.mediation = autofill.then_some(Mediation::Conditional);
        let id = self.open_ceremony(Purpose::Passwordless, holder, &state).await?;
        with_ceremony(&options, id)
    }

    /// The second half: says who it is, by user handle and credential id. The gate decides what follows.
    ///
    /// # Errors
    /// [`PasskeyError::Expired`], [`PasskeyError::NotAccepted`], [`PasskeyError::NotVerified`],
    /// [`PasskeyError::SecondFactorOnly`], [`PasskeyError::MayBeCopied`].
    pub async fn finish_passwordless(
        &self,
        holder: &str,
        ceremony: &str,
        credential: &Value,
    ) -> Result<FirstFactor, PasskeyError> {
        let webauthn = self.webauthn()?;
        let mut tx = self.db.begin().await?;
        let taken = self.take_ceremony(&mut tx, Purpose::Passwordless, holder, ceremony).await;
        tx.commit().await?;
        let state: AuthenticationState = taken?;
        let answer: PublicKeyCredential = parse(credential)?;
        let user_id = answer
            .get_user_unique_id()
            .and_then(|handle| std::str::from_utf8(handle).ok())
            // PostgreSQL takes no NUL in a text.
            .filter(|handle| !handle.contains('\0'))
            .ok_or(PasskeyError::NotAccepted)?;
        let mut stored: Stored = self
            .db
            .one(
                sql!(
                    "SELECT p.id, p.user_id, p.user_verified, p.credential
                     FROM passkeys p JOIN users u ON u.id = p.user_id
                     WHERE p.credential_id = $1 AND p.user_id = $2
                       AND u.deactivated_at IS NULL AND (u.expires_at IS NULL OR u.expires_at > $3)"
                ),
                args![&URL_SAFE_NO_PAD.encode(answer.get_credential_id()), user_id, self.clock.now()],
            )
            .await?
            .ok_or(PasskeyError::NotAccepted)?;
        if !verified(&webauthn, &answer, &state, &mut stored)? {
            return Err(PasskeyError::NotVerified);
        }
        // Only after the signature: no one learns this of a key that is not theirs.
        if !stored.user_verified {
            return Err(PasskeyError::SecondFactorOnly);
        }
        let mut tx = self.db.begin().await?;
        self.record_use(&mut tx, &stored).await?;
        tx.commit().await?;
        Ok(FirstFactor::by_passkey(&stored.user_id))
    }

    /// Writes the counter and the time of use, unless another use came in between.
    async fn record_use(&self, tx: &mut Tx, stored: &Stored) -> Result<(), PasskeyError> {
        let text =
            serde_json::to_string(&stored.credential).map_err(|e| corrupt("passkeys.credential", e))?;
        let written = tx
            .run(
                sql!(
                    "UPDATE passkeys SET credential = $3, last_used_at = $4 WHERE id = $1 AND credential = $2"
                ),
                args![&stored.id, &stored.text, &text, self.clock.now()],
            )
            .await?;
        if written == 0 { Err(PasskeyError::NotAccepted) } else { Ok(()) }
    }
}

/// Options and state without the keys, which are read anew when the answer comes.
fn request(
    webauthn: &WebauthnCore,
    credentials: Vec<Credential>,
    policy: UserVerificationPolicy,
) -> Result<(RequestChallengeResponse, AuthenticationState), WebauthnError> {
    let builder = webauthn
        .new_challenge_authenticate_builder(credentials, Some(policy))?
        // A passkey that its owner lets synchronise later stays good.
        .allow_backup_eligible_upgrade(true);
    let (options, mut state) = webauthn.generate_challenge_authenticate(builder)?;
    state.set_allowed_credentials(Vec::new());
    Ok((options, state))
}

/// Verifies an answer, then brings the credential up to date in memory. Says whether the holder was verified.
fn verified(
    webauthn: &WebauthnCore,
    answer: &PublicKeyCredential,
    state: &AuthenticationState,
    stored: &mut Stored,
) -> Result<bool, PasskeyError> {
    match webauthn.authenticate_single_credential(answer, state, &stored.credential) {
        Ok(result) => {
            stored.credential.counter = result.counter();
            stored.credential.backup_state = result.backup_state();
            stored.credential.backup_eligible = result.backup_eligible();
            Ok(result.user_verified())
        }
        Err(WebauthnError::CredentialPossibleCompromise) => {
            tracing::warn!(
                user.id = %stored.user_id,
                passkey.id = %stored.id,
                "a passkey's counter went backwards"
            );
            Err(PasskeyError::MayBeCopied)
        }
        Err(error) => Err(refused(&error, &stored.user_id)),
    }
}
