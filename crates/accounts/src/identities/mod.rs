//! People at identity providers: trips there and back, what an arrival means for an account, and
//! the identities that are linked with one (SEC-68, SEC-70 to SEC-74).
//!
//! An identity is known by issuer and subject and by nothing else; addresses and names decide
//! nothing about who somebody is (SEC-70). How a provider is talked to is not known here: what it
//! vouched for comes in as [`Vouched`], verified.

mod arrive;
mod new_account;
mod own;
mod pending;
mod roles;
mod rules;
mod stored;
#[cfg(test)]
mod tests;
mod trips;

use std::sync::Arc;

use base::db::{DbError, FromRow, Row};
use base::{Micros, Tx, args, sql};
use serde_json::Value;

pub use arrive::{ArriveError, Arrived, Decision, Preview, Way};
pub use own::{LinkError, MAX_IDENTITIES};
pub use pending::{LinkEnd, MailedLink, PendingLink};
pub use rules::{ProviderRules, RoleClaim, Stands};
pub use stored::{MAX_PROVIDERS, StoreError, StoredProvider};
pub use trips::{FinishedTrip, NewTrip, TRIP_LIFETIME, TripPurpose, TripSecrets};

use crate::Accounts;
use crate::sign_up::clean_name;
use crate::words::cut;

/// So much of what a provider calls a person is kept, in code points.
const SHOWN_MAX: usize = 100;

/// A person as a provider vouches for them; everything in it was verified by whoever made it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vouched {
    /// With `subject` the key of the identity (SEC-70).
    pub issuer: String,
    pub subject: String,
    /// The provider's name here: its place in addresses.
    pub provider: String,
    pub username: Option<String>,
    pub first_name: String,
    pub last_name: String,
    pub email: Option<String>,
    /// Only the boolean `true` counts (SEC-71).
    pub email_verified: bool,
    pub acr: Option<String>,
    pub amr: Vec<String>,
    /// All claims, for the roles.
    pub claims: Value,
    /// When the person signed in there, Unix seconds.
    pub auth_time: Option<i64>,
}

impl Vouched {
    /// What the provider calls the person, for lists and mails.
    pub fn shown_as(&self) -> String {
        let name = format!("{} {}", self.first_name, self.last_name);
        let texts = [self.username.as_deref().unwrap_or(""), self.email.as_deref().unwrap_or(""), &name];
        let shown = texts.into_iter().map(clean_name).find(|text| !text.is_empty());
        cut(&shown.unwrap_or_else(|| clean_name(&self.subject)), SHOWN_MAX).to_owned()
    }
}

/// A provider that is in use, as [`Accounts::set_live_providers`] is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveProvider {
    pub name: String,
    /// For buttons and mails.
    pub label: String,
    /// Whose identities sign in by it; `None` where that may be several. A slash at its end does not count.
    pub issuer: Option<String>,
}

impl LiveProvider {
    /// Whether an identity signs in by this one: of its name, and not left by another provider that
    /// had the name before.
    fn serves(&self, provider: &str, issuer: &str) -> bool {
        let plain = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
        self.name == provider && self.issuer.as_deref().is_none_or(|own| plain(own) == plain(issuer))
    }
}

/// A linked identity in its owner's list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Identity {
    pub id: String,
    pub issuer: String,
    /// The provider's name.
    pub provider: String,
    /// What the provider calls the person.
    pub shown_as: String,
    pub created_at: Micros,
    pub last_used_at: Option<Micros>,
}

impl FromRow for Identity {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            issuer: row.get("issuer")?,
            provider: row.get("provider")?,
            shown_as: row.get("shown_as")?,
            created_at: row.get("created_at")?,
            last_used_at: row.get("last_used_at")?,
        })
    }
}

/// What is stored of an identity, wherever it comes from.
struct Named<'a> {
    issuer: &'a str,
    subject: &'a str,
    provider: &'a str,
    shown_as: &'a str,
}

/// What came of an insert.
#[derive(Debug, PartialEq, Eq)]
enum Inserted {
    New,
    /// It was this person's already.
    Theirs,
    /// It is somebody else's.
    Taken,
}

impl Accounts {
    /// Says which providers can be signed in with. Identities of others are no way in: they neither
    /// keep the last password or passkey removable nor are offered for step-up. To be called at
    /// start and at each change; until then there are none.
    pub fn set_live_providers(&self, providers: Vec<LiveProvider>) {
        *self.live_providers.write() = Arc::from(providers);
    }

    /// The providers in use.
    pub(crate) fn live_providers(&self) -> Arc<[LiveProvider]> {
        self.live_providers.read().clone()
    }

    /// Whether this identity is a way in now: its provider is in use, and still the one that it was.
    pub fn signs_in(&self, identity: &Identity) -> bool {
        self.live_providers.read().iter().any(|live| live.serves(&identity.provider, &identity.issuer))
    }

    /// What a provider is called: its label, or its name where it is no longer in use.
    pub fn provider_label(&self, name: &str) -> String {
        let live = self.live_providers.read();
        live.iter().find(|p| p.name == name).map_or_else(|| name.to_owned(), |p| p.label.clone())
    }

    /// The identity that is this person's, by issuer and subject (SEC-70).
    pub(crate) async fn identity_of(
        &self,
        tx: &mut Tx,
        user_id: &str,
        vouched: &Vouched,
    ) -> Result<Option<String>, DbError> {
        tx.one(
            sql!("SELECT id FROM identities WHERE issuer = $1 AND subject = $2 AND user_id = $3"),
            args![&vouched.issuer, &vouched.subject, user_id],
        )
        .await
    }

    /// Notes that an identity was used; `false` where it is not (any more) this person's.
    pub(crate) async fn use_identity(&self, tx: &mut Tx, user_id: &str, id: &str) -> Result<bool, DbError> {
        let rows = tx
            .run(
                sql!("UPDATE identities SET last_used_at = $3 WHERE id = $1 AND user_id = $2"),
                args![id, user_id, self.clock.now()],
            )
            .await?;
        Ok(rows > 0)
    }

    /// The names of the providers in use that the person has an identity at.
    pub(crate) async fn linked_providers(&self, user_id: &str) -> Result<Vec<String>, DbError> {
        let live = self.live_providers();
        let linked: Vec<(String, String)> = self
            .db
            .all(
                sql!("SELECT DISTINCT provider, issuer FROM identities WHERE user_id = $1 ORDER BY provider"),
                args![user_id],
            )
            .await?;
        let serving = |(name, issuer): &(String, String)| live.iter().any(|one| one.serves(name, issuer));
        let mut names: Vec<String> = linked.into_iter().filter(serving).map(|(name, _)| name).collect();
        names.dedup();
        Ok(names)
    }

    /// Stores an identity. The person's row is to be held.
    async fn insert_identity(
        &self,
        tx: &mut Tx,
        user_id: &str,
        named: &Named<'_>,
    ) -> Result<Inserted, DbError> {
        let now = self.clock.now();
        let rows = tx
            .run(
                sql!(
                    "INSERT INTO identities (id, user_id, issuer, subject, provider, shown_as, created_at, last_used_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
                     ON CONFLICT DO NOTHING"
                ),
                args![
                    &self.random.id(now),
                    user_id,
                    named.issuer,
                    named.subject,
                    named.provider,
                    named.shown_as,
                    now
                ],
            )
            .await?;
        if rows > 0 {
            return Ok(Inserted::New);
        }
        let owner: Option<String> = tx
            .one(
                sql!("SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2"),
                args![named.issuer, named.subject],
            )
            .await?;
        Ok(if owner.as_deref() == Some(user_id) { Inserted::Theirs } else { Inserted::Taken })
    }
}

/// Whether the person has an identity at one of the providers in use: a way in.
pub(crate) async fn has_identity(tx: &mut Tx, user_id: &str, live: &[LiveProvider]) -> Result<bool, DbError> {
    let linked: Vec<(String, String)> =
        tx.all(sql!("SELECT provider, issuer FROM identities WHERE user_id = $1"), args![user_id]).await?;
    Ok(linked.iter().any(|(name, issuer)| live.iter().any(|one| one.serves(name, issuer))))
}
