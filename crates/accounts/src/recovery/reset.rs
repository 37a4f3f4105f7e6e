//! Forgotten passwords: the request, the link, the new password.
//!
//! Asking does the same for every address: the request is noted, and the worker that sends mail
//! finds out whether anybody has the address (SEC-62).

use base::db::{DbError, FromRow, Row};
use base::{Micros, Tx, args, sql};

use super::RecoveryError;
use crate::Accounts;
use crate::identifier::Email;
use crate::notices::Notice;
use crate::throttle::{Client, Limit, ThrottleError, json_list};
use crate::tokens::Purpose;
use crate::user::User;

/// A request that was left lying for so long is no longer waited for.
const STALE: Micros = 24 * base::HOUR;

/// What a look at the noted requests came to.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Requests taken up.
    pub found: usize,
    /// Sign-ups among them that still wait for their confirmation, with where the request came from:
    /// they are helped by that link.
    pub unconfirmed: Vec<(User, Client)>,
}

struct Request {
    email: String,
    ip: String,
    created_at: Micros,
}

impl FromRow for Request {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            email: row.get("email_canonical")?,
            ip: row.get("ip")?,
            created_at: row.get("created_at")?,
        })
    }
}

impl Accounts {
    /// Notes that somebody wants a reset link mailed to this address. Past the address's own limit
    /// nothing is noted, and nothing tells so (SEC-66).
    ///
    /// # Errors
    /// A text that is no address, at the field `email`; [`Limit::ResetIp`].
    pub async fn request_reset(&self, email_typed: &str, client: &Client) -> Result<(), RecoveryError> {
        let email = Email::parse(email_typed).map_err(|error| RecoveryError::field("email", error))?;
        self.throttle(Limit::ResetIp, &client.key()).await?;
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        match self.throttle_in(&mut tx, Limit::ResetMail, email.as_str()).await {
            Ok(()) => {
                tx.run(
                    sql!(
                        "INSERT INTO reset_requests (id, email_canonical, ip, created_at) VALUES ($1, $2, $3, $4)"
                    ),
                    args![&self.random.id(now), email.as_str(), &client.ip.to_string(), now],
                )
                .await?;
            }
            Err(ThrottleError::Limited(_)) => {}
            Err(ThrottleError::Db(error)) => return Err(error.into()),
        }
        tx.commit().await?;
        self.mail_waits();
        Ok(())
    }

    /// Takes up to `n` noted requests, oldest first, and queues the link for each address that an
    /// account has. Each request is one transaction, so parallel workers share the work.
    pub async fn resolve_reset_requests(&self, n: i64) -> Result<Resolved, DbError> {
        let ids: Vec<String> = self
            .db
            .all(sql!("SELECT id FROM reset_requests ORDER BY created_at, id LIMIT $1"), args![n])
            .await?;
        let mut resolved = Resolved::default();
        for id in ids {
            let mut tx = self.db.begin().await?;
            let request: Option<Request> = tx
                .one(
                    sql!(
                        "DELETE FROM reset_requests WHERE id = $1 RETURNING email_canonical, ip, created_at"
                    ),
                    args![&id],
                )
                .await?;
            let Some(request) = request else { continue };
            resolved.found += 1;
            let unconfirmed = self.resolve(&mut tx, &request).await?;
            tx.commit().await?;
            resolved.unconfirmed.extend(unconfirmed);
        }
        if resolved.found > 0 {
            self.mail_waits();
        }
        Ok(resolved)
    }

    /// Queues the link; gives back a sign-up that waits for its confirmation instead.
    async fn resolve(&self, tx: &mut Tx, request: &Request) -> Result<Option<(User, Client)>, DbError> {
        let now = self.clock.now();
        if request.created_at + STALE <= now {
            return Ok(None);
        }
        let user: Option<User> = tx
            .one(
                sql!(
                    "SELECT id, username, email, first_name, last_name, created_at, email_verified_at, deactivated_at,
                       expires_at, last_seen_at
                     FROM users WHERE email_canonical = $1 AND deactivated_at IS NULL
                       AND (expires_at IS NULL OR expires_at > $2)"
                ),
                args![&request.email, now],
            )
            .await?;
        let (Some(user), Ok(ip)) = (user, request.ip.parse()) else { return Ok(None) };
        let client = Client::new(ip, "");
        if user.is_pending() {
            return Ok(Some((user, client)));
        }
        self.queue_reset_link(tx, &user, Some(&client), false).await?;
        Ok(None)
    }

    /// Mails a reset link to the account's stored address, for an Admin or the operator (SEC-23).
    /// `false` where there is no such active account, or it has no address.
    pub async fn send_reset_link(
        &self,
        user_id: &str,
        client: Option<&Client>,
        by_admin: bool,
    ) -> Result<bool, DbError> {
        let mut tx = self.db.begin().await?;
        let Some(user) = self.hold_lasting(&mut tx, user_id).await?.filter(|user| !user.email.is_empty())
        else {
            return Ok(false);
        };
        self.queue_reset_link(&mut tx, &user, client, by_admin).await?;
        tx.commit().await?;
        self.mail_waits();
        Ok(true)
    }

    /// The same in the caller's transaction, which wakes the worker after its commit.
    pub(crate) async fn queue_reset_link(
        &self,
        tx: &mut Tx,
        user: &User,
        client: Option<&Client>,
        by_admin: bool,
    ) -> Result<(), DbError> {
        let token = self.create_token(tx, Purpose::ResetPassword, Some(&user.id), Some(&user.email)).await?;
        self.notify(tx, user, &Notice::ResetLink { token, by_admin }, client).await
    }

    /// A reset token for the operator's own command line, and for nothing else: no page or answer
    /// may show it (SEC-67). It was mailed to nobody, so it confirms no address. `None` where there
    /// is no such active account.
    pub async fn make_reset_link_token(&self, user_id: &str) -> Result<Option<String>, DbError> {
        let mut tx = self.db.begin().await?;
        if self.hold_lasting(&mut tx, user_id).await?.is_none() {
            return Ok(None);
        }
        let token = self.create_token(&mut tx, Purpose::ResetPassword, Some(user_id), None).await?;
        tx.commit().await?;
        Ok(Some(token))
    }

    /// Sets the password by a reset link. Every session and challenge ends and no new one begins: the
    /// second factors are still asked for (SEC-65). A lock by failed passwords is lifted (SEC-28). Where the
    /// link is the first proof of the address, what was linked before is unlinked (SEC-72).
    ///
    /// # Errors
    /// [`RecoveryError::BadToken`], or what is wrong with the password, which leaves the link good.
    pub async fn reset_password(
        &self,
        token: &str,
        new_password: &str,
        client: &Client,
    ) -> Result<User, RecoveryError> {
        let user = self.link_holder(Purpose::ResetPassword, token).await?.ok_or(RecoveryError::BadToken)?;
        self.check_new_password(&user, new_password).await?;
        let phc = self.hasher.hash(new_password).await?;
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let user = self.hold_lasting(&mut tx, &user.id).await?.ok_or(RecoveryError::BadToken)?;
        let info = self.consume_token(&mut tx, Purpose::ResetPassword, token).await?;
        let info = info.ok_or(RecoveryError::BadToken)?;
        // Whoever reads the mail of an address that the account has has shown that it is theirs.
        let proved = info.email.as_deref() == Some(user.email.as_str());
        if info.email.is_some() && !proved {
            return Err(RecoveryError::BadToken);
        }
        let vouched = self.only_vouched(&mut tx, &user.id).await?;
        tx.run(
            sql!(
                "UPDATE users SET password = $2, password_changed_at = $3, failures = 0, locked_until = NULL,
                   email_verified_at = CASE WHEN $4 THEN COALESCE(email_verified_at, $3) ELSE email_verified_at END,
                   email_vouched_by = CASE WHEN $4 THEN NULL ELSE email_vouched_by END
                 WHERE id = $1"
            ),
            args![&user.id, &phc, now, proved],
        )
        .await?;
        if proved && (!user.is_verified() || vouched) {
            self.drop_identities(&mut tx, &user, None, client).await?;
        }
        self.void_tokens(&mut tx, Purpose::ChangeEmail, Some(&user.id)).await?;
        self.forget_failures(&mut tx, &user, client).await?;
        let ended = self.end_all_but(&mut tx, &user.id, None).await?;
        self.notify(&mut tx, &user, &Notice::PasswordReset, Some(client)).await?;
        tx.commit().await?;
        self.announce_sessions(ended);
        self.mail_waits();
        Ok(user)
    }

    /// Who has just set the password need not wait for the wrong ones typed before, here.
    async fn forget_failures(&self, tx: &mut Tx, user: &User, client: &Client) -> Result<(), DbError> {
        let key = client.key();
        let keys = [
            format!("typed {} from {key}", user.username.to_ascii_lowercase()),
            format!("typed {} from {key}", user.email),
            format!("account {} from {key}", user.id),
        ]
        .map(|subject| self.throttle_key(Limit::SignInAccountIp.key(), &subject));
        tx.run(
            sql!("DELETE FROM throttles WHERE key IN (SELECT value FROM json_each($1))"),
            args![&json_list(&keys)],
        )
        .await?;
        Ok(())
    }
}
