//! Adding a passkey or a security key (WebAuthn Level 3, 7.1).

use base::{Tx, args, sql};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use webauthn_rs_core::proto::{
    AttestationConveyancePreference, AuthenticatorAttachment, CredProtect, CredentialProtectionPolicy,
    PublicKeyCredentialHints, RegisterPublicKeyCredential, RegistrationState, RequestRegistrationExtensions,
    ResidentKeyRequirement, UserVerificationPolicy,
};

use super::ceremony::{Purpose, with_ceremony};
use super::{
    MAX_PASSKEYS, PasskeyError, PasskeyKind, PasskeyRow, PasskeyUser, corrupt, name, parse, refused,
};
use crate::Accounts;

/// What is remembered of a registration.
#[derive(Serialize, Deserialize)]
struct Registration {
    user_id: String,
    kind: PasskeyKind,
    state: RegistrationState,
}

impl Accounts {
    /// The first half of adding one: `{"ceremony": …, "publicKey": PublicKeyCredentialCreationOptionsJSON}`.
    /// `holder` is the id of the session, or of the challenge that enrols.
    ///
    /// # Errors
    /// [`PasskeyError::Unavailable`], [`PasskeyError::TooMany`].
    pub async fn begin_passkey(
        &self,
        holder: &str,
        user: PasskeyUser<'_>,
        kind: PasskeyKind,
    ) -> Result<Value, PasskeyError> {
        let webauthn = self.webauthn()?;
        let present = self.credentials(user.id).await?;
        if i64::try_from(present.len()).unwrap_or(i64::MAX) >= MAX_PASSKEYS {
            return Err(PasskeyError::TooMany);
        }
        let exclude = present.into_iter().map(|stored| stored.credential.cred_id).collect();
        let display_name = if user.display_name.is_empty() { user.username } else { user.display_name };
        let builder = webauthn
            .new_challenge_register_builder(user.id.as_bytes(), user.username, display_name)
            .map_err(|error| refused(&error, user.id))?
            .attestation(AttestationConveyancePreference::None)
            .exclude_credentials(Some(exclude));
        let builder = match kind {
            PasskeyKind::Passkey => builder
                .user_verification_policy(UserVerificationPolicy::Required)
                .extensions(Some(protected())),
            PasskeyKind::SecurityKey => builder
                .user_verification_policy(UserVerificationPolicy::Discouraged_DO_NOT_USE)
                .authenticator_attachment(Some(AuthenticatorAttachment::CrossPlatform))
                .hints(Some(vec![PublicKeyCredentialHints::SecurityKey])),
        };
        let (mut options, state) =
            webauthn.generate_challenge_register(builder).map_err(|error| refused(&error, user.id))?;
        if let (PasskeyKind::Passkey, Some(selection)) =
            (kind, options.public_key.authenticator_selection.as_mut())
        {
            // The library knows only "required" and "discouraged". A discoverable key is offered by the browser
            // on the sign-in page; one that cannot be is still good after the username.
            selection.resident_key = Some(ResidentKeyRequirement::Preferred);
        }
        let registration = Registration { user_id: user.id.to_owned(), kind, state };
        let id = self.open_ceremony(Purpose::Register, holder, &registration).await?;
        with_ceremony(&options, id)
    }

    /// The second half: verifies first, then writes (SEC-55). `credential` is a RegistrationResponseJSON, or its
    /// text. A blank `typed_name` becomes "Passkey" or "Security key".
    ///
    /// Commit the transaction also where this is refused: then the ceremony is spent (SEC-53).
    ///
    /// # Errors
    /// [`PasskeyError::Expired`], [`PasskeyError::NotAccepted`], [`PasskeyError::NotVerified`],
    /// [`PasskeyError::AlreadyAdded`], [`PasskeyError::TooMany`], [`PasskeyError::Name`].
    pub async fn finish_passkey(
        &self,
        tx: &mut Tx,
        holder: &str,
        user_id: &str,
        ceremony: &str,
        typed_name: &str,
        credential: &Value,
    ) -> Result<PasskeyRow, PasskeyError> {
        let webauthn = self.webauthn()?;
        // The row of the account makes those wait who add one at the same moment, so that the count below holds.
        tx.run(sql!("UPDATE users SET username = username WHERE id = $1"), args![user_id]).await?;
        let registration: Registration = self.take_ceremony(tx, Purpose::Register, holder, ceremony).await?;
        if registration.user_id != user_id {
            return Err(PasskeyError::Expired);
        }
        let kind = registration.kind;
        let name = name(typed_name, kind.default_name())?;
        let answer: RegisterPublicKeyCredential = parse(credential)?;
        let made = webauthn
            .register_credential(&answer, &registration.state, None)
            .map_err(|error| refused(&error, user_id))?;
        let count: Option<i64> =
            tx.one(sql!("SELECT COUNT(*) FROM passkeys WHERE user_id = $1"), args![user_id]).await?;
        if count.unwrap_or(0) >= MAX_PASSKEYS {
            return Err(PasskeyError::TooMany);
        }
        let now = self.clock.now();
        let row = PasskeyRow {
            id: self.random.id(now),
            name,
            user_verified: kind == PasskeyKind::Passkey && made.user_verified,
            created_at: now,
            last_used_at: None,
        };
        let stored = serde_json::to_string(&made).map_err(|error| corrupt("passkeys.credential", error))?;
        let written = tx
            .run(
                sql!(
                    "INSERT INTO passkeys (id, user_id, credential_id, credential, user_verified, name, created_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (credential_id) DO NOTHING"
                ),
                args![
                    &row.id,
                    user_id,
                    &URL_SAFE_NO_PAD.encode(&made.cred_id),
                    &stored,
                    row.user_verified,
                    &row.name,
                    now
                ],
            )
            .await?;
        if written == 0 { Err(PasskeyError::AlreadyAdded) } else { Ok(row) }
    }
}

/// CTAP 2.1, 12.1: the key shows itself to no one who was not verified, and works by a touch where it is named, as
/// it is for a second factor.
fn protected() -> RequestRegistrationExtensions {
    RequestRegistrationExtensions {
        cred_protect: Some(CredProtect {
            credential_protection_policy:
                CredentialProtectionPolicy::UserVerificationOptionalWithCredentialIDList,
            enforce_credential_protection_policy: Some(false),
        }),
        ..RequestRegistrationExtensions::default()
    }
}
