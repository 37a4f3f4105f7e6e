//! Accounts for those who arrive without one: whether they may have it, and under which name.

use base::db::DbError;
use base::random::hex;
use base::{Tx, args, sql};

use super::arrive::{Arrival, ArriveError, Arrived};
use super::{Inserted, Vouched};
use crate::Accounts;
use crate::identifier::{Email, Username};
use crate::sign_up::{Created, Pending, Prepared, SignUpError, clean_name};
use crate::throttle::{Client, Limit, ThrottleError, json_list};
use crate::user::ROLE_USER;

/// Names that are tried in order before one is drawn.
const NUMBERED: usize = 50;
/// How often another name is taken where people arrive at the same moment.
const TRIES: usize = 50;
const USERNAME_MAX: usize = 32;
const USERNAME_MIN: usize = 3;

impl Accounts {
    /// A new account with the role User. `None` where its address was taken at this moment.
    pub(super) async fn newcomer(
        &self,
        tx: &mut Tx,
        arrival: &Arrival<'_>,
        email: &Email,
    ) -> Result<Option<Arrived>, ArriveError> {
        let Arrival { vouched, rules, client, .. } = *arrival;
        let settings = self.settings();
        if !settings.sign_up.is_open() {
            return Err(ArriveError::Closed);
        }
        if !rules.sign_up {
            return Err(ArriveError::ProviderClosed { provider: arrival.label() });
        }
        if !settings.sign_up.allows(email) {
            return Err(ArriveError::Domain { domains: settings.sign_up.allowed_domains.clone() });
        }
        if !rules.allows(email) {
            return Err(ArriveError::Domain { domains: rules.allowed_domains.clone() });
        }
        self.throttle_in(tx, Limit::SignUpIp, &client.key()).await?;
        let confirm = self.confirms(arrival);
        if confirm && !self.may_verify(tx, email.as_str(), client).await? {
            return Ok(Some(Arrived::CheckMail { email: email.to_string(), mail: None }));
        }
        let base = base_name(vouched, email);
        for _ in 0..TRIES {
            let prepared = self.prepare_arrival(tx, vouched, email, &base).await?;
            if confirm {
                // Without its identity: an unconfirmed account holds none (SEC-9).
                match self.insert_pending(tx, &prepared, true).await {
                    Ok(Pending::Created { user, verify_token }) => {
                        let mail = Some((user, verify_token));
                        return Ok(Some(Arrived::CheckMail { email: email.to_string(), mail }));
                    }
                    Ok(Pending::EmailTaken { .. }) => {
                        return Err(DbError::Busy("an account changed at this moment".into()).into());
                    }
                    Err(SignUpError::Taken(_)) => continue,
                    Err(other) => return Err(unexpected(other)),
                }
            }
            match self.insert_account(tx, &prepared, ROLE_USER, vouched.email_verified, None).await {
                Ok(Created { user, .. }) => {
                    let shown_as = vouched.shown_as();
                    if self.insert_identity(tx, &user.id, &arrival.named(&shown_as)).await? != Inserted::New {
                        return Err(DbError::Busy("an identity was linked at this moment".into()).into());
                    }
                    self.note_voucher(tx, &user.id, arrival).await?;
                    let first_factor = arrival.first_factor(&user.id);
                    return Ok(Some(Arrived::Created { user, first_factor }));
                }
                Err(SignUpError::Taken(errors)) if errors.get("email").is_some() => return Ok(None),
                Err(SignUpError::Taken(_)) => {}
                Err(other) => return Err(unexpected(other)),
            }
        }
        Err(DbError::Busy("many people of one name arrive at this moment".into()).into())
    }

    /// Whether a new account of this arrival has to confirm its address first (SEC-9). The provider's
    /// rule about domains would mean nothing for an address that nobody has confirmed.
    pub(super) fn confirms(&self, arrival: &Arrival<'_>) -> bool {
        let needed =
            self.settings().sign_up.verification_required || !arrival.rules.allowed_domains.is_empty();
        needed && !arrival.vouched.email_verified
    }

    /// Whether a mail that confirms an address may go out: one an hour for each network that asks,
    /// and a few in all (SEC-101).
    pub(super) async fn may_verify(
        &self,
        tx: &mut Tx,
        address: &str,
        client: &Client,
    ) -> Result<bool, DbError> {
        let from = format!("{address} from {}", client.key());
        for (limit, subject) in [(Limit::VerifyMail, &*from), (Limit::VerifyMailTotal, address)] {
            match self.throttle_in(tx, limit, subject).await {
                Ok(()) => {}
                Err(ThrottleError::Limited(_)) => return Ok(false),
                Err(ThrottleError::Db(error)) => return Err(error),
            }
        }
        Ok(true)
    }

    async fn prepare_arrival(
        &self,
        tx: &mut Tx,
        vouched: &Vouched,
        email: &Email,
        base: &str,
    ) -> Result<Prepared, DbError> {
        let username = self.free_username(tx, base).await?;
        let (mut first, last) = (clean_name(&vouched.first_name), clean_name(&vouched.last_name));
        if first.is_empty() && last.is_empty() {
            first = username.as_str().to_owned();
        }
        Ok(Prepared::without_password(first, last, username, email.clone()))
    }

    /// The first of `base`, `base-2`, `base-3`… that nobody has.
    async fn free_username(&self, tx: &mut Tx, base: &str) -> Result<Username, DbError> {
        let names: Vec<String> = (1..=NUMBERED).map(|n| numbered(base, n)).collect();
        let canonical: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let taken: Vec<String> = tx
            .all(
                sql!(
                    "SELECT username_canonical FROM users
                     WHERE username_canonical IN (SELECT value FROM json_each($1))"
                ),
                args![&json_list(&canonical)],
            )
            .await?;
        let free = names.into_iter().find(|name| !taken.contains(&name.to_ascii_lowercase()));
        let drawn = || with_suffix(base, &format!("-{}", hex(&self.random.bytes::<6>())));
        Username::parse(&free.unwrap_or_else(drawn)).map_err(|error| DbError::Other(error.to_string()))
    }
}

fn unexpected(error: SignUpError) -> ArriveError {
    match error {
        SignUpError::Db(error) => error.into(),
        other => DbError::Other(other.to_string()).into(),
    }
}

/// A username out of what the provider calls the person, the address, or the name.
pub(super) fn base_name(vouched: &Vouched, email: &Email) -> String {
    let handle = vouched.username.as_deref().unwrap_or("");
    // Some call a person by their address.
    let handle = handle.split_once('@').map_or(handle, |(local, _)| local);
    let name = format!("{}.{}", vouched.first_name, vouched.last_name);
    [handle, email.local(), &name].into_iter().find_map(fit).unwrap_or_else(|| "user".to_owned())
}

/// `text` with everything that no username may have made a hyphen; nothing if too little is left.
fn fit(text: &str) -> Option<String> {
    let mut out = String::new();
    for c in text.chars().take(200) {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') {
            out.push(c);
        } else if !out.ends_with('-') {
            out.push('-');
        }
    }
    let out = with_suffix(out.trim_matches(['-', '.', '_']), "");
    (out.len() >= USERNAME_MIN).then_some(out)
}

fn numbered(base: &str, n: usize) -> String {
    if n == 1 { base.to_owned() } else { with_suffix(base, &format!("-{n}")) }
}

/// `base`, which is ASCII, cut so that `suffix` has room.
fn with_suffix(base: &str, suffix: &str) -> String {
    let room = USERNAME_MAX - suffix.len();
    let cut = base.get(..room).unwrap_or(base);
    format!("{}{suffix}", cut.trim_end_matches(['-', '.', '_']))
}
