//! Identities that wait for the proof that a local account is their owner's (SEC-71): by a sign-in
//! with its second factor, or by a link that is mailed to its confirmed address.
//!
//! Whoever arrived holds the token of the pending link in a cookie. The mailed link alone links
//! nothing: it would be an invitation to click a stranger's identity into one's own account.

use base::db::{DbError, FromRow, Row};
use base::random::token_hash;
use base::{MINUTE, Micros, Tx, args, sql};

use super::arrive::{Arrival, masked};
use super::{Inserted, LinkError, MAX_IDENTITIES, Named};
use crate::Accounts;
use crate::gate::{FirstFactor, LinkToken, Onward};
use crate::notices::Notice;
use crate::throttle::{Client, Limit};
use crate::tokens::Purpose;
use crate::user::User;

/// How long an identity waits, in microseconds; a mailed link keeps it for the mail's time.
pub const PENDING_LINK_LIFETIME: Micros = 10 * MINUTE;

/// An identity that waits, as its page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingLink {
    pub provider: String,
    pub label: String,
    pub shown_as: String,
    /// The account's address, as far as one knows one's own by it.
    pub email: String,
    pub expires_at: Micros,
    /// Where the person wanted to go.
    pub onward: Onward,
}

/// What a mailed link would link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailedLink {
    pub label: String,
    pub shown_as: String,
}

/// What became of an identity that was to be linked by a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    Linked {
        provider: String,
        shown_as: String,
    },
    /// The sign-in was to another account than the one that it waits for.
    OtherAccount,
    /// It was used, or waited for too long.
    Expired,
    /// It was linked with another account meanwhile.
    Taken,
    /// The account has as many as it may have ([`MAX_IDENTITIES`]).
    TooMany,
}

impl LinkEnd {
    /// For the page after the sign-in.
    pub fn words(&self) -> String {
        match self {
            Self::Linked { provider, shown_as } => {
                format!("{provider} ({shown_as}) is linked: you can sign in with it from now on.")
            }
            Self::OtherAccount => {
                "Nothing was linked, for that was another account than the one with the address. \
                                   Link it in the settings instead."
                    .to_owned()
            }
            Self::Expired => {
                "Nothing was linked, for it took too long. Link it in the settings instead.".to_owned()
            }
            Self::Taken => "Nothing was linked: it signs in to another account here.".to_owned(),
            Self::TooMany => format!(
                "Nothing was linked: {MAX_IDENTITIES} linked accounts are the most. Unlink one in the settings first."
            ),
        }
    }
}

struct Waiting {
    user_id: String,
    issuer: String,
    subject: String,
    provider: String,
    shown_as: String,
    onward: Onward,
    expires_at: Micros,
}

/// Whose account it is, to somebody who reads the mail of its address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The address was confirmed: whoever reads its mail is the owner.
    Owners,
    /// Only a provider said so that is not trusted for addresses, and nothing but providers opens it.
    Vouched,
    /// Nobody has shown it, or the account has a password or a factor of somebody unknown.
    Nobodys,
}

impl FromRow for Waiting {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            user_id: row.get("user_id")?,
            issuer: row.get("issuer")?,
            subject: row.get("subject")?,
            provider: row.get("provider")?,
            shown_as: row.get("shown_as")?,
            onward: Onward { next: row.get("next_path")?, carry: row.get("carry")? },
            expires_at: row.get("expires_at")?,
        })
    }
}

impl Accounts {
    /// Lets an arrival wait for its proof; an earlier wait of the same is over.
    pub(super) async fn create_pending(
        &self,
        tx: &mut Tx,
        user_id: &str,
        arrival: &Arrival<'_>,
    ) -> Result<LinkToken, DbError> {
        let now = self.clock.now();
        let token = LinkToken::new(self.random.token());
        let vouched = arrival.vouched;
        tx.run(
            sql!("DELETE FROM pending_links WHERE user_id = $1 AND issuer = $2 AND subject = $3"),
            args![user_id, &vouched.issuer, &vouched.subject],
        )
        .await?;
        tx.run(
            sql!(
                "INSERT INTO pending_links (token_hash, user_id, issuer, subject, provider, shown_as, next_path, carry,
                   created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
            ),
            args![
                &token.hash(),
                user_id,
                &vouched.issuer,
                &vouched.subject,
                &arrival.rules.name,
                &vouched.shown_as(),
                &arrival.onward.next,
                &arrival.onward.carry,
                now,
                now + PENDING_LINK_LIFETIME
            ],
        )
        .await?;
        Ok(token)
    }

    /// What waits under this token.
    pub async fn pending_link(&self, token: &LinkToken) -> Result<Option<PendingLink>, DbError> {
        let Some(waiting) = self.waiting(token).await? else { return Ok(None) };
        let email: Option<Option<String>> =
            self.db.one(sql!("SELECT email FROM users WHERE id = $1"), args![&waiting.user_id]).await?;
        Ok(Some(PendingLink {
            label: self.provider_label(&waiting.provider),
            provider: waiting.provider,
            shown_as: waiting.shown_as,
            email: masked(&email.flatten().unwrap_or_default()),
            expires_at: waiting.expires_at,
            onward: waiting.onward,
        }))
    }

    async fn waiting(&self, token: &LinkToken) -> Result<Option<Waiting>, DbError> {
        self.db
            .one(
                sql!(
                    "SELECT user_id, issuer, subject, provider, shown_as, next_path, carry, expires_at FROM pending_links
                     WHERE token_hash = $1 AND expires_at > $2"
                ),
                args![&token.hash(), self.clock.now()],
            )
            .await
    }

    /// Ends the wait ("Cancel").
    pub async fn forget_pending_link(&self, token: &LinkToken) -> Result<(), DbError> {
        self.db.run(sql!("DELETE FROM pending_links WHERE token_hash = $1"), args![&token.hash()]).await?;
        Ok(())
    }

    /// Mails a link to the account's address that proves it in place of a sign-in. To an address that
    /// was never confirmed, or of an account that is shut, nothing is sent, and nothing tells so.
    ///
    /// # Errors
    /// [`LinkError::Expired`], [`LinkError::Limited`] by [`Limit::LinkMail`].
    pub async fn send_link_mail(&self, token: &LinkToken, client: &Client) -> Result<(), LinkError> {
        let waiting = self.waiting(token).await?.ok_or(LinkError::Expired)?;
        let mut tx = self.db.begin().await?;
        let user = self.hold_user(&mut tx, &waiting.user_id).await?;
        self.throttle_in(&mut tx, Limit::LinkMail, &waiting.user_id).await?;
        // An account that nobody but a provider vouches for may be a stranger's: whatever else opens it stays
        // with a new password by mail.
        let whose = match &user {
            Some(user) => self.whose(&mut tx, user).await?,
            None => Whose::Nobodys,
        };
        if let Some(user) = user.filter(|user| whose != Whose::Nobodys && !user.is_pending()) {
            let mailed =
                self.create_token(&mut tx, Purpose::LinkIdentity, Some(&user.id), Some(&user.email)).await?;
            let until = self.clock.now() + Purpose::LinkIdentity.lifetime();
            tx.run(
                sql!("UPDATE pending_links SET mail_hash = $2, expires_at = $3 WHERE token_hash = $1"),
                args![&token.hash(), &token_hash(&mailed), until],
            )
            .await?;
            let notice = Notice::LinkIdentity {
                token: mailed,
                provider: self.provider_label(&waiting.provider),
                shown_as: waiting.shown_as,
            };
            self.notify(&mut tx, &user, &notice, Some(client)).await?;
        }
        tx.commit().await?;
        self.mail_waits();
        Ok(())
    }

    /// What a mailed link would link, while it is good and opened in the browser that asked for it;
    /// changes nothing (SEC-64).
    pub async fn mailed_link(&self, mailed: &str, token: &LinkToken) -> Result<Option<MailedLink>, DbError> {
        if self.peek_token(Purpose::LinkIdentity, mailed).await?.is_none() {
            return Ok(None);
        }
        let row: Option<(String, String)> = self
            .db
            .one(
                sql!(
                    "SELECT provider, shown_as FROM pending_links
                     WHERE token_hash = $1 AND mail_hash = $2 AND expires_at > $3"
                ),
                args![&token.hash(), &token_hash(mailed), self.clock.now()],
            )
            .await?;
        Ok(row.map(|(provider, shown_as)| MailedLink { label: self.provider_label(&provider), shown_as }))
    }

    /// Uses a mailed link up, in the browser whose cookie holds the pending link: the account is
    /// proved by its address and the provider, and the gate asks for the second factor (SEC-65). Where this is
    /// the first proof of the address, what was linked before is unlinked (SEC-72). `None` for a link that
    /// does not work (any more), or not here.
    pub async fn confirm_link(
        &self,
        mailed: &str,
        token: &LinkToken,
        client: &Client,
    ) -> Result<Option<FirstFactor>, DbError> {
        let Some(waiting) = self.waiting(token).await? else { return Ok(None) };
        let mut tx = self.db.begin().await?;
        let user = self.hold_user(&mut tx, &waiting.user_id).await?;
        let Some(user) = user.filter(|user| !user.is_pending()) else { return Ok(None) };
        let whose = self.whose(&mut tx, &user).await?;
        if whose == Whose::Nobodys {
            return Ok(None);
        }
        let rows = tx
            .run(
                sql!(
                    "UPDATE pending_links SET mail_hash = NULL
                     WHERE token_hash = $1 AND user_id = $2 AND mail_hash = $3 AND expires_at > $4"
                ),
                args![&token.hash(), &user.id, &token_hash(mailed), self.clock.now()],
            )
            .await?;
        if rows == 0 {
            return Ok(None);
        }
        let info = self.consume_token(&mut tx, Purpose::LinkIdentity, mailed).await?;
        let is_theirs = info.is_some_and(|info| {
            info.user_id.as_ref() == Some(&user.id) && info.email.as_ref() == Some(&user.email)
        });
        if !is_theirs {
            return Ok(None);
        }
        let mut ended = Vec::new();
        if whose == Whose::Vouched {
            self.drop_identities(&mut tx, &user, Some(&token.hash()), client).await?;
            tx.run(sql!("DELETE FROM challenges WHERE user_id = $1"), args![&user.id]).await?;
            ended = self.end_all_in(&mut tx, &user.id, None).await?;
            tx.run(sql!("UPDATE users SET email_vouched_by = NULL WHERE id = $1"), args![&user.id]).await?;
        }
        tx.commit().await?;
        self.announce_sessions(ended);
        self.mail_waits();
        let first_factor = FirstFactor::by_provider(&user.id, &waiting.provider);
        Ok(Some(first_factor.linking(Some(token)).onward(waiting.onward)))
    }

    /// Who has shown that the account is theirs, as far as a mail to its address can tell.
    async fn whose(&self, tx: &mut Tx, user: &User) -> Result<Whose, DbError> {
        if !user.is_verified() {
            return Ok(Whose::Nobodys);
        }
        if !self.only_vouched(tx, &user.id).await? {
            return Ok(Whose::Owners);
        }
        let standing = self.standing_in(tx, &user.id).await?;
        let has_own = standing.password || standing.totp || standing.passkeys;
        Ok(if has_own { Whose::Nobodys } else { Whose::Vouched })
    }

    /// Unlinks everything from an account whose address is shown to be somebody's for the first time (SEC-72):
    /// it may be of somebody who only said so. The wait under the hash `but` goes on.
    pub(crate) async fn drop_identities(
        &self,
        tx: &mut Tx,
        user: &User,
        but: Option<&str>,
        client: &Client,
    ) -> Result<(), DbError> {
        let gone: Vec<(String, String)> = tx
            .all(
                sql!("DELETE FROM identities WHERE user_id = $1 RETURNING provider, shown_as"),
                args![&user.id],
            )
            .await?;
        tx.run(
            sql!(
                "DELETE FROM pending_links WHERE user_id = $1 AND (CAST($2 AS TEXT) IS NULL OR token_hash <> $2)"
            ),
            args![&user.id, but],
        )
        .await?;
        for (provider, shown_as) in gone {
            let notice = Notice::IdentityUnlinked { provider: self.provider_label(&provider), shown_as };
            self.notify(tx, user, &notice, Some(client)).await?;
        }
        Ok(())
    }

    /// Links what waits under this hash, if it waits for `user`, whose row is held; at most once.
    pub(crate) async fn link_pending(
        &self,
        tx: &mut Tx,
        user: &User,
        hash: &str,
        client: &Client,
    ) -> Result<LinkEnd, DbError> {
        let now = self.clock.now();
        let waiting: Option<Waiting> = tx
            .one(
                sql!(
                    "DELETE FROM pending_links WHERE token_hash = $1 AND user_id = $2 AND expires_at > $3
                     RETURNING user_id, issuer, subject, provider, shown_as, next_path, carry, expires_at"
                ),
                args![hash, &user.id, now],
            )
            .await?;
        let Some(waiting) = waiting else {
            let other: Option<String> = tx
                .one(
                    sql!(
                        "SELECT user_id FROM pending_links WHERE token_hash = $1 AND user_id <> $2 AND expires_at > $3"
                    ),
                    args![hash, &user.id, now],
                )
                .await?;
            return Ok(if other.is_some() { LinkEnd::OtherAccount } else { LinkEnd::Expired });
        };
        let count: Option<i64> =
            tx.one(sql!("SELECT COUNT(*) FROM identities WHERE user_id = $1"), args![&user.id]).await?;
        if count.unwrap_or(0) >= MAX_IDENTITIES {
            return Ok(LinkEnd::TooMany);
        }
        let Waiting { issuer, subject, provider, shown_as, .. } = waiting;
        let named = Named { issuer: &issuer, subject: &subject, provider: &provider, shown_as: &shown_as };
        let label = self.provider_label(&provider);
        let linked = LinkEnd::Linked { provider: label.clone(), shown_as: shown_as.clone() };
        match self.insert_identity(tx, &user.id, &named).await? {
            Inserted::Taken => Ok(LinkEnd::Taken),
            Inserted::Theirs => Ok(linked),
            Inserted::New => {
                self.notify(tx, user, &Notice::IdentityLinked { provider: label, shown_as }, Some(client))
                    .await?;
                Ok(linked)
            }
        }
    }
}
