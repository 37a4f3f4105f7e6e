//! Step-up: a person who is signed in proves again who they are, by a factor as strong as the
//! account has (SEC-57). It lasts ten minutes, for this session only.

use base::db::DbError;
use base::{MINUTE, Micros, SECOND, Tx};

use crate::Accounts;
use crate::factors::{CodeSent, FactorRefused, Holder, Left, Proof, Standing};
use crate::gate::{SecondFactor, SessionToken};
use crate::identities::{FinishedTrip, TripPurpose, Vouched};
use crate::notices::Notice;
use crate::principal::Principal;
use crate::throttle::Client;
use crate::user::User;

/// How long a step-up lasts, in microseconds. Signing in starts it too.
pub const STEP_UP_LIFETIME: Micros = 10 * MINUTE;

/// How old a sign-in at a provider may be that a step-up rests on (SEC-57).
const FRESH_FOR: Micros = 5 * MINUTE;
/// How far a provider's clock may be off.
const CLOCKS_APART: Micros = 30 * SECOND;

/// By what a person can prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUpWays {
    /// The password: for accounts without a second factor.
    pub password: bool,
    /// Second factors, best first. A code by e-mail is among them only where there is no app or
    /// passkey, which are stronger; it also serves accounts that have neither password nor factor.
    pub methods: Vec<SecondFactor>,
    /// Names of linked providers that are in use, for accounts that have neither: a fresh sign-in at
    /// one of them, where it says when that was ([`Accounts::step_up_by_provider`]).
    pub providers: Vec<String>,
}

impl StepUpWays {
    fn of(standing: &Standing) -> Self {
        let mut methods = standing.methods();
        if standing.totp || standing.passkeys {
            methods.retain(|method| *method != SecondFactor::Email);
        }
        match (methods.is_empty(), standing.password) {
            (false, _) => Self { password: false, methods, providers: Vec::new() },
            (true, true) => Self { password: true, methods, providers: Vec::new() },
            (true, false) => {
                Self { password: false, methods: vec![SecondFactor::Email], providers: Vec::new() }
            }
        }
    }
}

/// What is offered as proof.
#[derive(Clone, Copy)]
pub enum StepUpProof<'a> {
    Password(&'a str),
    Factor(Proof<'a>),
}

impl Principal {
    /// Whether the person proved who they are within the last ten minutes, in this session.
    pub fn stepped_up(&self, now: Micros) -> bool {
        self.session.step_up_at.saturating_add(STEP_UP_LIFETIME) > now
    }
}

impl Accounts {
    /// By what this person can step up.
    pub async fn step_up_ways(&self, user_id: &str) -> Result<StepUpWays, DbError> {
        let Some(standing) = self.standing(user_id).await? else {
            return Ok(StepUpWays { password: true, methods: Vec::new(), providers: Vec::new() });
        };
        let mut ways = StepUpWays::of(&standing);
        if standing.methods().is_empty() && !standing.password {
            ways.providers = self.linked_providers(user_id).await?;
        }
        Ok(ways)
    }

    /// Renews the session of somebody who proves who they are: a new token, the same id, CSRF secret
    /// and open streams (SEC-78). A wrong password is throttled as a sign-in (SEC-22), a wrong factor
    /// counts as one at sign-in does (SEC-36).
    pub async fn step_up(
        &self,
        principal: &Principal,
        token: &SessionToken,
        proof: StepUpProof<'_>,
        client: &Client,
    ) -> Result<SessionToken, FactorRefused> {
        let ways = self.step_up_ways(&principal.user_id).await?;
        match proof {
            StepUpProof::Password(_) if !ways.password => Err(FactorRefused::NotOffered(
                "Your account has a second factor: use a code of it or a passkey.",
            )),
            StepUpProof::Factor(_) if ways.password => {
                Err(FactorRefused::NotOffered("Your account has no second factor: enter your password."))
            }
            StepUpProof::Password(password) => {
                let first = self.sign_in(&principal.username, password, client).await?;
                let mut tx = self.db.begin().await?;
                if let Some(settlement) = first.into_settlement() {
                    self.settle(&mut tx, &principal.user_id, &settlement).await?;
                }
                self.renew(tx, token).await
            }
            StepUpProof::Factor(proof) => {
                let mut tx = self.db.begin().await?;
                let attempt = self.begin_attempt(&mut tx, &principal.user_id).await?;
                let user = self.hold_user(&mut tx, &principal.user_id).await?.ok_or(FactorRefused::Gone)?;
                let holder = holder(principal);
                if self.prove(&mut tx, &user, holder, proof, client).await?.is_some() {
                    self.forgive(&mut tx, &user.id).await?;
                    return self.renew(tx, token).await;
                }
                let locked = self.settle_failure(&mut tx, &user.id, &attempt).await?;
                if let Some(until) = locked {
                    self.notify(&mut tx, &user, &Notice::SecondFactorLocked { until }, Some(client)).await?;
                }
                tx.commit().await?;
                self.mail_waits();
                Err(match locked {
                    Some(until) => FactorRefused::Locked {
                        retry_after_secs: crate::throttle::seconds_until(until, self.clock.now()),
                    },
                    // The session stays; only the account's lock ends the tries.
                    None => FactorRefused::Wrong(Left { tries: i64::MAX }),
                })
            }
        }
    }

    /// Renews the session of somebody without password and factor who has just signed in anew at a
    /// provider: with an identity of their own, not before the trip began and within five minutes, by
    /// the provider's `auth_time` (SEC-57).
    pub async fn step_up_by_provider(
        &self,
        principal: &Principal,
        token: &SessionToken,
        trip: &FinishedTrip,
        vouched: &Vouched,
    ) -> Result<SessionToken, FactorRefused> {
        if trip.purpose != TripPurpose::StepUp || !trip.is_of(principal) || trip.provider != vouched.provider
        {
            return Err(FactorRefused::Gone);
        }
        let mut tx = self.db.begin().await?;
        let user = self.hold_user(&mut tx, &principal.user_id).await?.ok_or(FactorRefused::Gone)?;
        let standing = self.standing_in(&mut tx, &user.id).await?;
        if standing.password || !standing.methods().is_empty() {
            return Err(FactorRefused::NotOffered(
                "Your account has a password or a second factor: use that one.",
            ));
        }
        if !self.is_fresh(vouched, trip.began_at) {
            return Err(FactorRefused::NotOffered(
                "The provider did not ask you to sign in anew. Have a code mailed instead.",
            ));
        }
        let identity = self.identity_of(&mut tx, &user.id, vouched).await?;
        let Some(identity) = identity else {
            return Err(FactorRefused::NotOffered(
                "That was another account at the provider than the one that is linked here. Sign in there with that one.",
            ));
        };
        self.use_identity(&mut tx, &user.id, &identity).await?;
        self.renew(tx, token).await
    }

    fn is_fresh(&self, vouched: &Vouched, began_at: Micros) -> bool {
        let Some(at) = vouched.auth_time.and_then(|secs| secs.checked_mul(SECOND)) else { return false };
        let now = self.clock.now();
        // The clocks of two houses are never quite the same.
        let earliest = began_at.max(now - FRESH_FOR) - CLOCKS_APART;
        (earliest..=now + CLOCKS_APART).contains(&at)
    }

    /// Mails a code to step up with, where that is a way of this account's.
    pub async fn send_step_up_code(
        &self,
        principal: &Principal,
        client: &Client,
    ) -> Result<CodeSent, FactorRefused> {
        let mut tx = self.db.begin().await?;
        let user: User = self.hold_user(&mut tx, &principal.user_id).await?.ok_or(FactorRefused::Gone)?;
        let standing = self.standing_in(&mut tx, &user.id).await?;
        if !StepUpWays::of(&standing).methods.contains(&SecondFactor::Email) {
            return Err(FactorRefused::NotOffered("Your account does not use codes by e-mail."));
        }
        if !user.is_verified() {
            return Err(FactorRefused::NotOffered(
                "Your e-mail address is not confirmed. Sign out and in again instead.",
            ));
        }
        if let Some(until) = self.codes_used_up(&mut tx, &principal.session.id).await? {
            let retry_after_secs = crate::throttle::seconds_until(until, self.clock.now());
            return Err(FactorRefused::Locked { retry_after_secs });
        }
        let sent = self.mail_code(&mut tx, &user, holder(principal), client).await?;
        tx.commit().await?;
        self.mail_waits();
        Ok(sent)
    }

    async fn renew(&self, mut tx: Tx, token: &SessionToken) -> Result<SessionToken, FactorRefused> {
        let renewed = self.renew_session_in(&mut tx, token).await?.ok_or(FactorRefused::Gone)?;
        tx.commit().await?;
        self.mail_waits();
        Ok(renewed)
    }
}

fn holder(principal: &Principal) -> Holder<'_> {
    Holder { user_id: &principal.user_id, id: &principal.session.id, for_step_up: true }
}
