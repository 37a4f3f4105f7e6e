//! Second factors: what an account has, what it must have, and how each one is proved.

mod backup_codes;
mod budget;
mod change;
mod email_codes;
mod prove;
mod standing;
#[cfg(test)]
mod tests;
mod totp;

pub use backup_codes::{BACKUP_CODES, BackupCodes};
pub use budget::{FactorRefused, Left};
pub use change::{ChangeRefused, FactorAdded, Factors};
pub use email_codes::{CODE_LIFETIME, CodeSent};
pub use standing::Standing;
pub use totp::{PENDING_LIFETIME, PendingTotp, Totp};

pub(crate) use budget::Attempt;
pub(crate) use change::totp_code;
pub(crate) use standing::due_at;

/// What is offered as proof of a second factor.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// A code, tried against every factor whose shape fits.
    Code(&'a str),
    /// The answer to a ceremony of [`crate::Accounts::begin_passkey_check`].
    Passkey { ceremony: &'a str, credential: &'a serde_json::Value },
}

impl std::fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Code(_) => "Code(…)",
            Self::Passkey { .. } => "Passkey(…)",
        })
    }
}

/// Where a proof belongs: codes by e-mail and passkey ceremonies are bound to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder<'a> {
    pub(crate) user_id: &'a str,
    /// The id of the challenge or of the session.
    pub(crate) id: &'a str,
    pub(crate) for_step_up: bool,
}
