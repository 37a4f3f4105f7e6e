//! Browsers that an account was used with. A long-lived cookie tells them apart, so that a sign-in
//! from a new one can be mailed (SEC-32). They are not trusted: nothing is skipped for a known one.

use base::db::DbError;
use base::random::token_hash;
use base::{Tx, args, sql};

use crate::Accounts;
use crate::gate::DeviceToken;
use crate::throttle::Client;

/// So many are remembered for an account; the one unused for longest goes.
const MAX_DEVICES: i64 = 50;

/// How a browser was met.
pub(crate) struct Met {
    /// The account was not used with it before.
    pub(crate) is_new: bool,
    /// For its cookie, where it has none yet.
    pub(crate) token: Option<DeviceToken>,
}

impl Accounts {
    /// Notes the browser of a sign-in. Programs keep no cookies: one that comes again from the same
    /// address with the same name is known by those.
    pub(crate) async fn meet_device(
        &self,
        tx: &mut Tx,
        user_id: &str,
        client: &Client,
    ) -> Result<Met, DbError> {
        let marks = match &client.device {
            Some(token) => vec![token.hash()],
            None => vec![token_hash(&format!("{} {}", client.key(), client.user_agent))],
        };
        let now = self.clock.now();
        let known = tx
            .run(
                sql!(
                    "UPDATE known_devices SET last_seen_at = $3
                     WHERE user_id = $1 AND token_hash IN (SELECT value FROM json_each($2))"
                ),
                args![user_id, &crate::throttle::json_list(&marks), now],
            )
            .await?;
        let token = client.device.is_none().then(|| DeviceToken::new(self.random.token()));
        let mut marks = if known > 0 { Vec::new() } else { marks };
        marks.extend(token.as_ref().map(DeviceToken::hash));
        if marks.is_empty() {
            return Ok(Met { is_new: false, token });
        }
        tx.run(
            sql!(
                "INSERT INTO known_devices (user_id, token_hash, user_agent, first_seen_at, last_seen_at)
                 SELECT $1, value, $3, $4, $4 FROM json_each($2)
                 WHERE TRUE ON CONFLICT (user_id, token_hash) DO NOTHING"
            ),
            args![user_id, &crate::throttle::json_list(&marks), &client.user_agent, now],
        )
        .await?;
        tx.run(
            sql!(
                "DELETE FROM known_devices WHERE user_id = $1 AND token_hash NOT IN
                   (SELECT token_hash FROM known_devices WHERE user_id = $1
                    ORDER BY last_seen_at DESC, token_hash LIMIT $2)"
            ),
            args![user_id, MAX_DEVICES],
        )
        .await?;
        Ok(Met { is_new: known == 0, token })
    }
}
