//! What people are told by mail: every sign-in worth a second look (SEC-32) and every change of a
//! credential, an address or a factor (SEC-96). The words are the application's; here stands what
//! happened. A notice is queued in the transaction of what it tells about.

use base::db::DbError;
use base::{Micros, Tx};

use crate::Accounts;
use crate::outbox::Mail;
use crate::throttle::Client;
use crate::user::User;

/// Something that an account's owner hears of. `Debug` shows its kind alone: it may hold a code or
/// a link.
#[derive(Clone, PartialEq, Eq)]
pub enum Notice {
    /// A sign-in from a browser that the account was not used with before.
    NewDevice,
    /// A sign-in after so many failed ones in a row.
    SignedInAfterFailures {
        failures: i64,
    },
    /// The password (or another first factor) was right and the second factor wrong.
    SecondFactorFailed,
    /// Too many wrong second factors: nobody gets in until then.
    SecondFactorLocked {
        until: Micros,
    },
    /// Changed in the settings.
    PasswordChanged,
    /// Set by a reset link.
    PasswordReset,
    TotpOn,
    /// A new secret took the place of the old one.
    TotpReplaced,
    TotpOff,
    BackupCodesMade,
    BackupCodeUsed {
        left: i64,
    },
    EmailCodesOn,
    EmailCodesOff,
    PasskeyAdded {
        name: String,
    },
    PasskeyRemoved {
        name: String,
    },
    /// An Admin (by username) or the operator (`None`) took all second factors away.
    FactorsReset {
        by: Option<String>,
        reason: String,
    },
    /// The code itself (SEC-48). `for_step_up`: someone signed in proves who they are; else a sign-in.
    EmailCode {
        code: String,
        for_step_up: bool,
    },
    /// The link that sets a new password. `by_admin`: an Admin or the operator asked for it.
    ResetLink {
        token: String,
        by_admin: bool,
    },
    /// To the new address: confirm it.
    ConfirmNewEmail {
        token: String,
    },
    /// To the old address: it was changed, and the link takes that back (SEC-59). An address that was
    /// never confirmed gets none.
    EmailChanged {
        new_email: String,
        revert_token: Option<String>,
    },
    /// To the address that is back.
    EmailReverted,
    /// From now on this identity signs in. `provider` is its label, `shown_as` what it calls the person.
    IdentityLinked {
        provider: String,
        shown_as: String,
    },
    IdentityUnlinked {
        provider: String,
        shown_as: String,
    },
    /// The link that proves the account, to link this identity with it (SEC-71).
    LinkIdentity {
        token: String,
        provider: String,
        shown_as: String,
    },
}

impl std::fmt::Debug for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notice({})", self.kind())
    }
}

impl Notice {
    /// What it holds, for [`Plain`].
    fn details(&self) -> String {
        match self {
            Self::SignedInAfterFailures { failures } => format!("failures: {failures}"),
            Self::SecondFactorLocked { until } => format!("until: {until}"),
            Self::BackupCodeUsed { left } => format!("left: {left}"),
            Self::PasskeyAdded { name } | Self::PasskeyRemoved { name } => format!("name: {name:?}"),
            Self::FactorsReset { by, reason } => format!("by: {by:?}, reason: {reason:?}"),
            Self::EmailCode { code, for_step_up } => format!("code: {code:?}, for_step_up: {for_step_up}"),
            Self::ResetLink { token, by_admin } => format!("token: {token:?}, by_admin: {by_admin}"),
            Self::ConfirmNewEmail { token } => format!("token: {token:?}"),
            Self::EmailChanged { new_email, revert_token } => {
                format!("new_email: {new_email:?}, revert_token: {revert_token:?}")
            }
            Self::IdentityLinked { provider, shown_as } | Self::IdentityUnlinked { provider, shown_as } => {
                format!("provider: {provider:?}, shown_as: {shown_as:?}")
            }
            Self::LinkIdentity { token, provider, shown_as } => {
                format!("token: {token:?}, provider: {provider:?}, shown_as: {shown_as:?}")
            }
            _ => String::new(),
        }
    }

    /// The kind of the mail in the outbox, for example `new_device`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NewDevice => "new_device",
            Self::SignedInAfterFailures { .. } => "signed_in_after_failures",
            Self::SecondFactorFailed => "second_factor_failed",
            Self::SecondFactorLocked { .. } => "second_factor_locked",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::TotpOn => "totp_on",
            Self::TotpReplaced => "totp_replaced",
            Self::TotpOff => "totp_off",
            Self::BackupCodesMade => "backup_codes_made",
            Self::BackupCodeUsed { .. } => "backup_code_used",
            Self::EmailCodesOn => "email_codes_on",
            Self::EmailCodesOff => "email_codes_off",
            Self::PasskeyAdded { .. } => "passkey_added",
            Self::PasskeyRemoved { .. } => "passkey_removed",
            Self::FactorsReset { .. } => "factors_reset",
            Self::EmailCode { .. } => "email_code",
            Self::ResetLink { .. } => "reset_link",
            Self::ConfirmNewEmail { .. } => "confirm_new_email",
            Self::EmailChanged { .. } => "email_changed",
            Self::EmailReverted => "email_reverted",
            Self::IdentityLinked { .. } => "identity_linked",
            Self::IdentityUnlinked { .. } => "identity_unlinked",
            Self::LinkIdentity { .. } => "link_identity",
        }
    }
}

/// When and from where it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circumstances {
    pub at: Micros,
    /// `None` for the operator at the command line.
    pub client: Option<Client>,
}

/// Turns notices into mails: the application's words, links and looks.
pub trait Notices: Send + Sync + std::fmt::Debug {
    /// The mail about `notice` to `to`, which is an address that the account has, had or will have.
    fn mail(&self, site: &str, to: &str, user: &User, notice: &Notice, about: &Circumstances) -> Mail;
}

/// Says nothing but what happened; for tests and until the application gives its own.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Notices for Plain {
    fn mail(&self, site: &str, to: &str, user: &User, notice: &Notice, _: &Circumstances) -> Mail {
        Mail {
            kind: notice.kind().to_owned(),
            recipient: to.to_owned(),
            subject: format!("{}: {}", site, notice.kind()),
            text: format!("{} {}: {}", user.username, notice.kind(), notice.details()),
            html: format!("<p>{}</p>", notice.kind()),
        }
    }
}

impl Accounts {
    /// Queues the mail about something that happened to `user`, to its stored address (SEC-6). After
    /// the commit the caller wakes the worker by [`Accounts::mail_waits`].
    pub async fn notify(
        &self,
        tx: &mut Tx,
        user: &User,
        notice: &Notice,
        client: Option<&Client>,
    ) -> Result<(), DbError> {
        self.notify_at(tx, &user.email, user, notice, client).await
    }

    /// The same to another address of the account: its former or its coming one.
    pub async fn notify_at(
        &self,
        tx: &mut Tx,
        to: &str,
        user: &User,
        notice: &Notice,
        client: Option<&Client>,
    ) -> Result<(), DbError> {
        if to.is_empty() {
            return Ok(());
        }
        let about = Circumstances { at: self.clock.now(), client: client.cloned() };
        let site = self.settings().general.site_name.clone();
        let mail = self.notices.mail(&site, to, user, notice, &about);
        self.queue_mail(tx, &mail).await?;
        Ok(())
    }

    /// Wakes the worker that sends mail.
    pub fn mail_waits(&self) {
        self.outbox.notify_one();
    }
}
