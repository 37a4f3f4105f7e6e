//! The first factor that somebody passed, and what goes through the gate with it.

use std::fmt;

use super::{ChallengeToken, LinkToken};
use crate::identities::RoleClaim;

/// Proof that someone passed a first factor. Only this crate makes one, at the place where the
/// factor was checked.
pub struct FirstFactor {
    pub(super) user_id: String,
    /// For `sessions.method`: `password`, `passkey` or `provider:<name>`.
    pub(super) method: String,
    pub(super) settlement: Option<Settlement>,
    /// It proves possession and knowledge (or the finger) at once: a passkey that verified its user.
    pub(super) is_both: bool,
    /// The provider stands for the second factor (SEC-73).
    pub(super) stands: bool,
    /// The id of the identity that signed in: it counts only while it is the account's.
    pub(super) identity: Option<String>,
    /// What the provider says about roles (SEC-74).
    pub(super) roles: Option<RoleClaim>,
    /// The hash of the pending link that the sign-in ends with (SEC-71).
    pub(super) link: Option<String>,
    pub(super) onward: Onward,
    /// The challenge of an earlier try, to be answered now.
    pub(super) resumed: Option<(ChallengeToken, bool)>,
}

/// What a right password still has to settle in the database.
pub(crate) struct Settlement {
    /// The PHC string that the password matched.
    pub(crate) stored: String,
    /// A newer hash of the same password.
    pub(crate) renewed: Option<String>,
    /// The counters to check and reset, in key order.
    pub(crate) throttle_keys: Vec<String>,
    /// Failed sign-ins in a row before this one.
    pub(crate) failures: i64,
}

/// Where a person wanted to go when they signed in; it waits with the challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Onward {
    /// A path of ours.
    pub next: Option<String>,
    /// A prompt that met an ended session, sealed by the application.
    pub carry: Option<String>,
}

impl FirstFactor {
    fn new(user_id: &str, method: &str) -> Self {
        Self {
            user_id: user_id.to_owned(),
            method: method.to_owned(),
            settlement: None,
            is_both: false,
            stands: false,
            identity: None,
            roles: None,
            link: None,
            onward: Onward::default(),
            resumed: None,
        }
    }

    pub(crate) fn by_password(user_id: &str, settlement: Settlement) -> Self {
        Self { settlement: Some(settlement), ..Self::new(user_id, "password") }
    }

    /// The person set the password in this very request.
    pub(crate) fn new_password(user_id: &str) -> Self {
        Self::new(user_id, "password")
    }

    /// A passkey that verified its user: no second factor is asked for (SEC-54).
    pub(crate) fn by_passkey(user_id: &str) -> Self {
        Self { is_both: true, ..Self::new(user_id, "passkey") }
    }

    /// A sign-in at the provider of this name. The second factor is asked for all the same, unless
    /// [`FirstFactor::standing_for_both`] (SEC-73).
    pub(crate) fn by_provider(user_id: &str, provider: &str) -> Self {
        Self::new(user_id, &format!("provider:{provider}"))
    }

    /// The provider stands for the second factor, where `stands`.
    pub(crate) fn standing_for_both(self, stands: bool) -> Self {
        Self { stands, ..self }
    }

    /// The identity that signed in; without it at the gate there is no session.
    pub(crate) fn of_identity(self, identity_id: String) -> Self {
        Self { identity: Some(identity_id), ..self }
    }

    pub(crate) fn with_roles(self, roles: Option<RoleClaim>) -> Self {
        Self { roles, ..self }
    }

    pub(crate) fn linking_hash(self, hash: String) -> Self {
        Self { link: Some(hash), ..self }
    }

    /// Links the identity that waits under this token once there is a session: also after a
    /// challenge, and only where it waits for this very account (SEC-71). What became of it is in
    /// [`crate::NewSession::link`].
    pub fn linking(self, pending: Option<&LinkToken>) -> Self {
        match pending {
            Some(token) => self.linking_hash(token.hash()),
            None => self,
        }
    }

    /// Remembers where to go afterwards.
    pub fn onward(self, onward: Onward) -> Self {
        Self { onward, ..self }
    }

    /// Comes back to the challenge of an earlier try, if it is good and of the same account, instead of
    /// making another one: where a code for it is at hand, or was mailed and is on its way (SEC-48).
    pub fn resuming(self, challenge: Option<ChallengeToken>, at_hand: bool) -> Self {
        Self { resumed: challenge.map(|token| (token, at_hand)), ..self }
    }

    pub(crate) fn user_id(&self) -> &str {
        &self.user_id
    }

    /// What is left to settle, where only the factor counts and nobody signs in (step-up).
    pub(crate) fn into_settlement(self) -> Option<Settlement> {
        self.settlement
    }
}

impl fmt::Debug for FirstFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstFactor").field("user_id", &self.user_id).field("method", &self.method).finish()
    }
}
