//! What a challenge can do: be answered by a second factor, have a code mailed, or, where the
//! account has no factor and must have one, set one up (SEC-35 to SEC-37).

use base::{Tx, args, sql};
use serde_json::Value;

use super::{CHALLENGE_ATTEMPTS, Challenge, ChallengeToken, Entry, Onward, Outcome, SecondFactor, Waiting};
use crate::Accounts;
use crate::factors::{Attempt, ChangeRefused, CodeSent, FactorRefused, Holder, Left, Proof, totp_code};
use crate::notices::Notice;
use crate::passkeys::PasskeyError;
use crate::sign_in::Refused;
use crate::throttle::{Client, Limit, ThrottleError};
use crate::user::User;

/// A challenge passed.
#[derive(Debug)]
pub struct Entered {
    /// The session; or a challenge that can only enrol, for somebody whose e-mail code is not enough.
    pub outcome: Outcome,
    pub onward: Onward,
    /// Backup codes left, where one of them was used (SEC-52).
    pub backup_codes_left: Option<i64>,
}

/// A factor was set up in the middle of a sign-in, and the person is in. `Debug` leaves the codes out.
pub struct Enrolled {
    pub entered: Entered,
    /// The new set, where the account had none: shown now and never again.
    pub backup_codes: Option<Vec<String>>,
}

impl std::fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolled").field("entered", &self.entered).finish_non_exhaustive()
    }
}

/// A factor that was proved.
pub(crate) struct Proved {
    pub(crate) factor: SecondFactor,
    pub(crate) backup_codes_left: Option<i64>,
}

impl Accounts {
    /// Answers a challenge. Right, it is used up and there is a session; of parallel right answers
    /// one gets it (SEC-37). Each answer costs one of the challenge's five tries and counts towards
    /// the account's lock, whatever the factor.
    pub async fn answer_challenge(
        &self,
        token: &ChallengeToken,
        proof: Proof<'_>,
        client: &Client,
    ) -> Result<Entered, FactorRefused> {
        let challenge = self.challenge(token).await?.filter(|c| !c.enrol).ok_or(FactorRefused::Gone)?;
        let (mut tx, attempt, left) = self.begin_answer(&challenge).await?;
        let holder = Holder { user_id: &challenge.user.id, id: &challenge.id, for_step_up: false };
        let Some(proved) = self.prove(&mut tx, &challenge.user, holder, proof, client).await? else {
            return Err(self.answer_failed(tx, &challenge, &attempt, left, client).await?);
        };
        let (user, onward) = self.use_up(&mut tx, &challenge).await?;
        let method = format!("{} {}", challenge.method, proved.factor.name());
        let standing = self.standing_in(&mut tx, &user.id).await?;
        if standing.must_enrol(self.clock.now()) {
            let waiting = Waiting {
                method: &method,
                onward: &onward,
                failures_before: challenge.failures_before,
                methods: Vec::new(),
                link: challenge.link.as_deref(),
                client,
            };
            let next = self.create_challenge(&mut tx, &user, waiting).await?;
            tx.commit().await?;
            self.mail_waits();
            return Ok(Entered { outcome: Outcome::Challenge(next), onward, backup_codes_left: None });
        }
        let entered =
            self.enter_from(tx, user, method, &challenge, onward, proved.backup_codes_left, client).await?;
        Ok(entered)
    }

    /// Sets up an authenticator app in a challenge that can only enrol; the secret waits by
    /// [`Accounts::begin_totp`] with the challenge's id as holder.
    pub async fn enrol_totp(
        &self,
        token: &ChallengeToken,
        code: &str,
        client: &Client,
    ) -> Result<Enrolled, ChangeOrRefused> {
        let challenge = self.enrolling(token).await?;
        let code = totp_code(code).ok_or(ChangeRefused::WrongCode)?;
        let mut tx = self.begin_enrolment(&challenge).await?;
        if self.activate_totp(&mut tx, &challenge.user.id, &challenge.id, &code).await?.is_none() {
            // The person reads the secret: a mistyped code is no guess, only the tries are counted.
            self.forgive(&mut tx, &challenge.user.id).await?;
            tx.commit().await?;
            return Err(ChangeRefused::WrongCode.into());
        }
        self.enrolled(tx, &challenge, SecondFactor::Totp, &Notice::TotpOn, client).await
    }

    /// Sets up a passkey in a challenge that can only enrol; its ceremony began by
    /// [`Accounts::begin_passkey`] with the challenge's id as holder.
    pub async fn enrol_passkey(
        &self,
        token: &ChallengeToken,
        ceremony: &str,
        name: &str,
        credential: &Value,
        client: &Client,
    ) -> Result<Enrolled, ChangeOrRefused> {
        let challenge = self.enrolling(token).await?;
        let mut tx = self.begin_enrolment(&challenge).await?;
        let user_id = &challenge.user.id;
        let added = self.finish_passkey(&mut tx, &challenge.id, user_id, ceremony, name, credential).await;
        let added = match added {
            Ok(added) => added,
            Err(PasskeyError::Db(error)) => return Err(error.into()),
            Err(error) => {
                // The ceremony is used up all the same (SEC-53), and no factor was guessed at.
                self.forgive(&mut tx, user_id).await?;
                tx.commit().await?;
                return Err(ChangeRefused::from(error).into());
            }
        };
        let notice = Notice::PasskeyAdded { name: added.name };
        self.enrolled(tx, &challenge, SecondFactor::Passkey, &notice, client).await
    }

    /// Mails a code for a challenge of an account that has codes by e-mail.
    pub async fn send_challenge_code(
        &self,
        token: &ChallengeToken,
        client: &Client,
    ) -> Result<CodeSent, FactorRefused> {
        let challenge = self.challenge(token).await?.filter(|c| !c.enrol).ok_or(FactorRefused::Gone)?;
        let mut tx = self.db.begin().await?;
        let user = self.hold_user(&mut tx, &challenge.user.id).await?.ok_or(FactorRefused::Gone)?;
        if !self.standing_in(&mut tx, &user.id).await?.email_codes {
            return Err(FactorRefused::NotOffered("This account does not use codes by e-mail."));
        }
        let holder = Holder { user_id: &user.id, id: &challenge.id, for_step_up: false };
        let sent = self.mail_code(&mut tx, &user, holder, client).await?;
        tx.commit().await?;
        self.mail_waits();
        Ok(sent)
    }

    async fn enrolling(&self, token: &ChallengeToken) -> Result<Challenge, FactorRefused> {
        self.challenge(token).await?.filter(|c| c.enrol).ok_or(FactorRefused::Gone)
    }

    /// Pays for a try: first from the account's budget, whose row is held from here on, then from
    /// the challenge's.
    async fn begin_answer(&self, challenge: &Challenge) -> Result<(Tx, Attempt, Left), FactorRefused> {
        let mut tx = self.db.begin().await?;
        let attempt = self.begin_attempt(&mut tx, &challenge.user.id).await?;
        let attempts: Option<i64> = tx
            .one(
                sql!(
                    "UPDATE challenges SET attempts = attempts + 1
                     WHERE id = $1 AND consumed_at IS NULL AND expires_at > $2 AND attempts < $3 RETURNING attempts"
                ),
                args![&challenge.id, self.clock.now(), CHALLENGE_ATTEMPTS],
            )
            .await?;
        let attempts = attempts.ok_or(FactorRefused::Gone)?;
        Ok((tx, attempt, Left { tries: CHALLENGE_ATTEMPTS - attempts }))
    }

    /// The same for an enrolment. It is open only while the account still must enrol: one that has got
    /// a factor meanwhile, as when codes by e-mail were allowed again, is asked for that (SEC-35).
    async fn begin_enrolment(&self, challenge: &Challenge) -> Result<Tx, FactorRefused> {
        let (mut tx, _, _) = self.begin_answer(challenge).await?;
        if !self.standing_in(&mut tx, &challenge.user.id).await?.must_enrol(self.clock.now()) {
            return Err(FactorRefused::Gone);
        }
        Ok(tx)
    }

    /// A wrong answer: counted, and mailed, for somebody knows the first factor (SEC-32).
    async fn answer_failed(
        &self,
        mut tx: Tx,
        challenge: &Challenge,
        attempt: &Attempt,
        left: Left,
        client: &Client,
    ) -> Result<FactorRefused, FactorRefused> {
        let user = &challenge.user;
        let locked = self.settle_failure(&mut tx, &user.id, attempt).await?;
        if let Some(until) = locked {
            self.notify(&mut tx, user, &Notice::SecondFactorLocked { until }, Some(client)).await?;
        } else {
            match self.throttle_in(&mut tx, Limit::FactorMail, &user.id).await {
                Ok(()) => self.notify(&mut tx, user, &Notice::SecondFactorFailed, Some(client)).await?,
                Err(ThrottleError::Limited(_)) => {}
                Err(ThrottleError::Db(error)) => return Err(error.into()),
            }
        }
        tx.commit().await?;
        self.mail_waits();
        Ok(match locked {
            Some(until) => FactorRefused::Locked {
                retry_after_secs: crate::throttle::seconds_until(until, self.clock.now()),
            },
            None => FactorRefused::Wrong(left),
        })
    }

    /// The right answer: the challenge is used up, the row of failures is over, and the account may
    /// still come in.
    async fn use_up(&self, tx: &mut Tx, challenge: &Challenge) -> Result<(User, Onward), FactorRefused> {
        let now = self.clock.now();
        // What it carried is wanted once.
        let rows = tx
            .run(
                sql!(
                    "UPDATE challenges SET consumed_at = $2, carry = NULL WHERE id = $1 AND consumed_at IS NULL"
                ),
                args![&challenge.id, now],
            )
            .await?;
        if rows == 0 {
            return Err(FactorRefused::Gone);
        }
        self.forgive(tx, &challenge.user.id).await?;
        let user = self
            .admit(tx, &challenge.user.id)
            .await?
            .ok_or(Refused::Invalid { resend_verification: None })?;
        Ok((user, challenge.onward.clone()))
    }

    async fn enrolled(
        &self,
        mut tx: Tx,
        challenge: &Challenge,
        factor: SecondFactor,
        notice: &Notice,
        client: &Client,
    ) -> Result<Enrolled, ChangeOrRefused> {
        let (user, onward) = self.use_up(&mut tx, challenge).await?;
        let backup_codes = self.factor_added(&mut tx, &user, notice, client).await?;
        // Challenges begun before the factor was there end with it; no session can be left.
        tx.run(
            sql!("DELETE FROM challenges WHERE user_id = $1 AND id <> $2"),
            args![&user.id, &challenge.id],
        )
        .await?;
        let ended = self.end_all_in(&mut tx, &user.id, None).await?;
        let method = format!("{} {}", challenge.method, factor.name());
        let entered = self.enter_from(tx, user, method, challenge, onward, None, client).await?;
        self.announce_sessions(ended);
        Ok(Enrolled { entered, backup_codes })
    }

    #[expect(clippy::too_many_arguments, reason = "the last step of three ways in, each with what it knows")]
    async fn enter_from(
        &self,
        mut tx: Tx,
        user: User,
        method: String,
        challenge: &Challenge,
        onward: Onward,
        backup_codes_left: Option<i64>,
        client: &Client,
    ) -> Result<Entered, FactorRefused> {
        let entry = Entry {
            method,
            stands: false,
            failures_before: challenge.failures_before,
            link: challenge.link.as_deref(),
            client,
        };
        let (session, dropped) = self.enter(&mut tx, user, entry).await?;
        tx.commit().await?;
        self.announce_sessions(dropped);
        self.mail_waits();
        Ok(Entered { outcome: Outcome::Session(session), onward, backup_codes_left })
    }
}

/// Why a factor was not set up in the middle of a sign-in.
#[derive(Debug, thiserror::Error)]
pub enum ChangeOrRefused {
    #[error(transparent)]
    Change(#[from] ChangeRefused),
    #[error(transparent)]
    Refused(#[from] FactorRefused),
}

impl From<base::DbError> for ChangeOrRefused {
    fn from(error: base::DbError) -> Self {
        Self::Refused(error.into())
    }
}
