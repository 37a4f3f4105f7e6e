//! Who you are: users, passwords, sessions, roles, settings, and the mail that tells about them.

pub mod errors;
pub mod outbox;
pub mod permission;
mod principal;
#[cfg(test)]
mod testing;
mod words;

use base::{Clock, Db, KeyRing, Random};

pub use errors::{ErrorGroup, ErrorReport};
pub use outbox::{ClaimedMail, Mail};
pub use permission::{Permission, Permissions};
pub use principal::{Principal, SessionInfo};

/// The crate's one value: built once by the application, cheap to clone.
#[derive(Clone, Debug)]
pub struct Accounts {
    pub db: Db,
    pub clock: Clock,
    pub random: Random,
    pub ring: KeyRing,
}
