//! What it means for an account that a provider vouched for somebody.

use base::db::{DbError, FromRow, Row};
use base::{Micros, Tx, args, sql};

use super::{Inserted, Named, ProviderRules, RoleClaim, Vouched};
use crate::Accounts;
use crate::gate::{FirstFactor, LinkToken, Onward};
use crate::identifier::Email;
use crate::notices::Notice;
use crate::throttle::{Client, Limited, ThrottleError};
use crate::user::User;

/// How often an arrival is looked at anew where somebody else arrives at the same moment.
const TRIES: usize = 3;

/// What became of an arrival. The caller commits, then calls [`Accounts::after_arrival`].
#[derive(Debug)]
pub enum Arrived {
    /// Somebody with an account; on to [`Accounts::complete_login`].
    Known { first_factor: FirstFactor, way: Way },
    /// A new account without a password. The caller adds what everybody finds on their first day.
    Created { user: User, first_factor: FirstFactor },
    /// The address has to be confirmed first (SEC-9). `mail`: to whom the caller mails this
    /// verification token, in the same transaction; `None` where one went out within the hour.
    CheckMail { email: String, mail: Option<(User, String)> },
    /// There is an account with the address, and its owner has to prove that it is theirs (SEC-71).
    /// The token is for the browser's cookie.
    Prove { token: LinkToken, email: String },
}

/// How an account was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The identity is linked.
    Identity,
    /// By the verified address of a trusted provider; linked once the sign-in is through (SEC-71).
    Address,
    /// An unconfirmed account was taken over by the owner of its address, and emptied (SEC-72).
    Claimed,
}

/// Why nobody gets in, in words for the page.
#[derive(Debug, thiserror::Error)]
pub enum ArriveError {
    #[error(
        "{provider} did not tell your e-mail address. Make it visible there and sign in again, or sign up here \
         with a password."
    )]
    NoEmail { provider: String },
    #[error("Sign-up is closed here. Ask an Admin for an account, or sign in with the one that you have.")]
    Closed,
    #[error(
        "Nobody signs up here with {provider}. Sign in with the account that you have, and link {provider} in its \
         settings."
    )]
    ProviderClosed { provider: String },
    #[error("Only addresses of {} may sign up here. Use one of these, or ask an Admin.", .domains.join(", "))]
    Domain { domains: Vec<String> },
    #[error("This account cannot sign in. Ask an Admin.")]
    Inactive,
    #[error(
        "There is an account with your address, and only another provider said that the address is its owner's. Sign in \
         to it as you did before and link this one in the settings, or set a new password by “Forgot it?”, which \
         confirms the address."
    )]
    Unconfirmed,
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<ThrottleError> for ArriveError {
    fn from(error: ThrottleError) -> Self {
        match error {
            ThrottleError::Limited(limited) => Self::Limited(limited),
            ThrottleError::Db(error) => Self::Db(error),
        }
    }
}

/// What an arrival would come to, for "Test sign-in".
#[derive(Debug)]
pub struct Preview {
    pub decision: Decision,
    /// Of the account that there is or would be; `None` where nobody gets in.
    pub username: Option<String>,
    /// What the provider says about roles; `None` where it says nothing that counts.
    pub roles: Option<RoleClaim>,
    /// Whether the second factor would be left out.
    pub stands: bool,
}

/// The decision of an arrival.
#[derive(Debug)]
pub enum Decision {
    Known(Way),
    Created,
    CheckMail,
    Prove,
    Refused(ArriveError),
}

/// An identity with whose it is.
struct Found {
    identity_id: String,
    user: User,
}

impl FromRow for Found {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { identity_id: row.get("identity_id")?, user: User::from_row(row)? })
    }
}

/// One arrival on its way through the rules.
pub(super) struct Arrival<'a> {
    pub(super) vouched: &'a Vouched,
    pub(super) rules: &'a ProviderRules,
    pub(super) onward: &'a Onward,
    pub(super) client: &'a Client,
}

impl Arrival<'_> {
    pub(super) fn first_factor(&self, user_id: &str) -> FirstFactor {
        FirstFactor::by_provider(user_id, &self.rules.name)
            .standing_for_both(self.rules.stands(self.vouched))
            .with_roles(self.rules.role_claim(self.vouched))
            .onward(self.onward.clone())
    }

    pub(super) fn label(&self) -> String {
        if self.rules.label.is_empty() { self.rules.name.clone() } else { self.rules.label.clone() }
    }
}

impl Accounts {
    /// Decides whose account this is, or makes one. Links without a question only by issuer and
    /// subject, or where the provider is trusted for addresses, vouches for this one, and the account
    /// has confirmed it (SEC-70 to SEC-72). After an error, roll back.
    pub async fn arrive(
        &self,
        tx: &mut Tx,
        vouched: &Vouched,
        rules: &ProviderRules,
        onward: &Onward,
        client: &Client,
    ) -> Result<Arrived, ArriveError> {
        let arrival = Arrival { vouched, rules, onward, client };
        for _ in 0..TRIES {
            if let Some(found) = self.known(tx, vouched).await? {
                return self.returned(tx, &arrival, found).await;
            }
            let email = vouched.email.as_deref().and_then(|email| Email::parse(email).ok());
            let email = email.ok_or_else(|| ArriveError::NoEmail { provider: arrival.label() })?;
            let arrived = match self.local_account(tx, &email, vouched.email_verified).await? {
                // Nobody has shown yet whose address it is: the next mail decides.
                Some(user) if user.is_pending() && user.is_active() && self.confirms(&arrival) => {
                    self.newcomer(tx, &arrival, &email).await?
                }
                Some(user) => match self.known(tx, vouched).await? {
                    // It was linked while this waited for the account's row.
                    Some(found) => Some(self.returned(tx, &arrival, found).await?),
                    None => Some(self.met(tx, &arrival, user).await?),
                },
                None => self.newcomer(tx, &arrival, &email).await?,
            };
            if let Some(arrived) = arrived {
                return Ok(arrived);
            }
        }
        Err(DbError::Busy("accounts changed at this moment".into()).into())
    }

    /// Tells open streams and the mail worker, after the commit.
    pub fn after_arrival(&self, arrived: &Arrived) {
        if let Arrived::Known { first_factor, way: Way::Claimed } = arrived {
            self.announce_user(first_factor.user_id());
        }
        self.mail_waits();
    }

    /// What [`Accounts::arrive`] would do; changes nothing.
    pub async fn preview_arrival(
        &self,
        vouched: &Vouched,
        rules: &ProviderRules,
        client: &Client,
    ) -> Result<Preview, DbError> {
        let mut tx = self.db.begin().await?;
        let arrived = self.arrive(&mut tx, vouched, rules, &Onward::default(), client).await;
        let mut username = None;
        let decision = match arrived {
            Ok(Arrived::Known { first_factor, way }) => {
                username = tx
                    .one(
                        sql!("SELECT username FROM users WHERE id = $1 AND deactivated_at IS NULL"),
                        args![first_factor.user_id()],
                    )
                    .await?;
                match username {
                    Some(_) => Decision::Known(way),
                    // As the gate would say.
                    None => Decision::Refused(ArriveError::Inactive),
                }
            }
            Ok(Arrived::Created { user, .. }) => {
                username = Some(user.username);
                Decision::Created
            }
            Ok(Arrived::CheckMail { mail, .. }) => {
                username = mail.map(|(user, _)| user.username);
                Decision::CheckMail
            }
            Ok(Arrived::Prove { .. }) => Decision::Prove,
            Err(ArriveError::Db(error)) => return Err(error),
            Err(error) => Decision::Refused(error),
        };
        // Never committed.
        drop(tx);
        Ok(Preview { decision, username, roles: rules.role_claim(vouched), stands: rules.stands(vouched) })
    }

    async fn known(&self, tx: &mut Tx, vouched: &Vouched) -> Result<Option<Found>, DbError> {
        tx.one(
            sql!(
                "SELECT i.id AS identity_id, u.id, u.username, u.email, u.first_name, u.last_name, u.created_at,
                   u.email_verified_at, u.deactivated_at, u.expires_at, u.last_seen_at
                 FROM identities i JOIN users u ON u.id = i.user_id WHERE i.issuer = $1 AND i.subject = $2"
            ),
            args![&vouched.issuer, &vouched.subject],
        )
        .await
    }

    /// Somebody whose identity is linked. An account from a time when addresses needed no
    /// confirmation has to have its own confirmed by now (SEC-9).
    async fn returned(
        &self,
        tx: &mut Tx,
        arrival: &Arrival<'_>,
        found: Found,
    ) -> Result<Arrived, ArriveError> {
        let Found { identity_id, user } = found;
        let vouched = arrival.vouched;
        if !user.is_verified() && self.settings().sign_up.verification_required && user.is_active() {
            let email = vouched.email.as_deref().and_then(|email| Email::parse(email).ok());
            if !vouched.email_verified || email.is_none_or(|email| email.as_str() != user.email) {
                let mail = match self.may_verify(tx, &user.email, arrival.client).await? {
                    true => Some((user.clone(), self.renew_verification(tx, &user).await?)),
                    false => None,
                };
                return Ok(Arrived::CheckMail { email: user.email, mail });
            }
            self.confirm_address(tx, &user).await?;
            self.note_voucher(tx, &user.id, arrival).await?;
        }
        // What lists show follows the provider.
        tx.run(
            sql!("UPDATE identities SET provider = $2, shown_as = $3 WHERE id = $1"),
            args![&identity_id, &arrival.rules.name, &vouched.shown_as()],
        )
        .await?;
        let first_factor = arrival.first_factor(&user.id).of_identity(identity_id);
        Ok(Arrived::Known { first_factor, way: Way::Identity })
    }

    /// The account with this address, its row held. A sign-up that waits for its confirmation is no
    /// account: whoever has shown that the address is theirs takes its place.
    async fn local_account(
        &self,
        tx: &mut Tx,
        email: &Email,
        verified: bool,
    ) -> Result<Option<User>, DbError> {
        let now = self.clock.now();
        tx.run(
            sql!(
                "DELETE FROM users WHERE email_canonical = $1 AND expires_at IS NOT NULL AND deactivated_at IS NULL
                   AND (expires_at <= $2 OR $3)"
            ),
            args![email.as_str(), now, verified],
        )
        .await?;
        tx.one(
            sql!(
                "UPDATE users SET failures = failures WHERE email_canonical = $1
                 RETURNING id, username, email, first_name, last_name, created_at, email_verified_at,
                   deactivated_at, expires_at, last_seen_at"
            ),
            args![email.as_str()],
        )
        .await
    }

    /// An unknown identity with the address of an account.
    async fn met(&self, tx: &mut Tx, arrival: &Arrival<'_>, user: User) -> Result<Arrived, ArriveError> {
        if !(arrival.rules.trusted_email && arrival.vouched.email_verified) {
            let token = self.create_pending(tx, &user.id, arrival).await?;
            return Ok(Arrived::Prove { token, email: masked(&user.email) });
        }
        if !user.is_active() {
            return Err(ArriveError::Inactive);
        }
        let shown = user.is_verified() && !self.only_vouched(tx, &user.id).await?;
        if shown {
            // The second factor comes first; then it is linked.
            let token = self.create_pending(tx, &user.id, arrival).await?;
            let first_factor = arrival.first_factor(&user.id).linking(Some(&token));
            return Ok(Arrived::Known { first_factor, way: Way::Address });
        }
        let standing = self.standing_in(tx, &user.id).await?;
        if user.is_verified() && (standing.password || standing.totp || standing.passkeys) {
            // They may be the owner's: nobody takes them away here.
            return Err(ArriveError::Unconfirmed);
        }
        self.claim(tx, &user).await?;
        let shown_as = arrival.vouched.shown_as();
        if self.insert_identity(tx, &user.id, &arrival.named(&shown_as)).await? != Inserted::New {
            return Err(DbError::Busy("an identity was linked at this moment".into()).into());
        }
        let notice = Notice::IdentityLinked { provider: arrival.label(), shown_as };
        self.notify(tx, &user, &notice, Some(arrival.client)).await?;
        Ok(Arrived::Known { first_factor: arrival.first_factor(&user.id), way: Way::Claimed })
    }

    /// SEC-72: whoever made the account never showed that the address is theirs. Nothing that could
    /// let them in stays.
    async fn claim(&self, tx: &mut Tx, user: &User) -> Result<(), DbError> {
        tx.run(
            sql!(
                "UPDATE users SET password = NULL, password_changed_at = NULL, failures = 0, locked_until = NULL,
                   factor_failures = 0, factor_locked_until = NULL, email_codes_since = NULL, email_codes_used_at = NULL,
                   expires_at = NULL, email_verified_at = $2, email_vouched_by = NULL
                 WHERE id = $1"
            ),
            args![&user.id, self.clock.now()],
        )
        .await?;
        for statement in [
            sql!("DELETE FROM challenges WHERE user_id = $1"),
            sql!("DELETE FROM sessions WHERE user_id = $1"),
            sql!("DELETE FROM identities WHERE user_id = $1"),
            sql!("DELETE FROM pending_links WHERE user_id = $1"),
            sql!("DELETE FROM oauth_states WHERE user_id = $1"),
            sql!("DELETE FROM totp_factors WHERE user_id = $1"),
            sql!("DELETE FROM backup_code_sets WHERE user_id = $1"),
            sql!("DELETE FROM email_codes WHERE user_id = $1"),
            sql!("DELETE FROM passkeys WHERE user_id = $1"),
            sql!("DELETE FROM known_devices WHERE user_id = $1"),
            sql!("DELETE FROM one_time_tokens WHERE user_id = $1"),
        ] {
            tx.run(statement, args![&user.id]).await?;
        }
        Ok(())
    }

    /// Notes where the address of an account is only this provider's word, and it is not trusted for
    /// that.
    pub(super) async fn note_voucher(
        &self,
        tx: &mut Tx,
        user_id: &str,
        arrival: &Arrival<'_>,
    ) -> Result<(), DbError> {
        if arrival.vouched.email_verified && !arrival.rules.trusted_email {
            tx.run(
                sql!("UPDATE users SET email_vouched_by = $2 WHERE id = $1"),
                args![user_id, &arrival.rules.name],
            )
            .await?;
        }
        Ok(())
    }

    /// Whether nobody but a provider that is not trusted for addresses has said that the address is the
    /// account's: whoever made the account there may have lied (SEC-72).
    pub(crate) async fn only_vouched(&self, tx: &mut Tx, user_id: &str) -> Result<bool, DbError> {
        let found: Option<String> = tx
            .one(sql!("SELECT id FROM users WHERE id = $1 AND email_vouched_by IS NOT NULL"), args![user_id])
            .await?;
        Ok(found.is_some())
    }

    async fn confirm_address(&self, tx: &mut Tx, user: &User) -> Result<(), DbError> {
        let now: Micros = self.clock.now();
        tx.run(
            sql!(
                "UPDATE users SET email_verified_at = COALESCE(email_verified_at, $3), expires_at = NULL
                 WHERE id = $1 AND email_canonical = $2"
            ),
            args![&user.id, &user.email, now],
        )
        .await?;
        Ok(())
    }
}

impl Arrival<'_> {
    pub(super) fn named<'b>(&'b self, shown_as: &'b str) -> Named<'b> {
        Named {
            issuer: &self.vouched.issuer,
            subject: &self.vouched.subject,
            provider: &self.rules.name,
            shown_as,
        }
    }
}

/// Enough of an address to know one's own by: `a…@example.org`.
pub(super) fn masked(email: &str) -> String {
    let (local, domain) = email.rsplit_once('@').unwrap_or((email, ""));
    let first: String = local.chars().take(1).collect();
    format!("{first}…@{domain}")
}
