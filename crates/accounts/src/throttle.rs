//! Limits: counters in the database that all replicas share (SEC-26 to SEC-31). A window is
//! fixed: it starts with the first hit and forgets everything when it ends.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use base::db::DbError;
use base::random::hex;
use base::{DAY, HOUR, MINUTE, Micros, SECOND, Tx, args, sql};

use crate::Accounts;
use crate::gate::DeviceToken;
use crate::words::cut;

/// So many hits in so long a window, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: i64,
    pub window: Micros,
}

macro_rules! limits {
    ($($(#[$doc:meta])* $variant:ident $key:literal $count:literal per $window:expr, $message:literal;)*) => {
        /// One limit: its configuration key, default and message stand together.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Limit { $($(#[$doc])* $variant,)* }

        impl Limit {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The key under `[limits]` in the configuration.
            pub fn key(self) -> &'static str {
                match self { $(Self::$variant => $key,)* }
            }

            pub fn default_rate(self) -> Rate {
                match self { $(Self::$variant => Rate { count: $count, window: $window },)* }
            }

            /// What happened and what to do, for the page.
            pub fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }
        }
    };
}

limits! {
    /// Failed sign-ins of one account from one address (SEC-27).
    SignInAccountIp "sign_in_account_ip" 5 per 5 * MINUTE,
        "Too many failed sign-ins. Wait a few minutes, then try again.";
    /// Sign-in posts from one address, right or wrong (SEC-27).
    SignInIp "sign_in_ip" 30 per MINUTE,
        "Too many sign-ins from your network at this moment. Wait a minute, then try again.";
    /// Sign-ups from one address (SEC-101).
    SignUpIp "sign_up_ip" 5 per HOUR,
        "Too many accounts were made from your network. Try again in an hour.";
    /// Mails about signing up to one address, asked for from one network (SEC-101).
    VerifyMail "verify_mail" 1 per HOUR,
        "A mail was sent to this address less than an hour ago. Look into your inbox and the spam folder.";
    /// The same from all networks together: more than one, so that a stranger who types an address
    /// does not keep its owner's mail away; few, so that nobody's inbox is filled.
    VerifyMailTotal "verify_mail_total" 5 per HOUR,
        "Several mails were sent to this address already. Look into your inbox and the spam folder.";
    /// Reset mails to one address (SEC-66).
    ResetMail "reset_mail" 3 per HOUR,
        "Several mails were sent to this address already. Look into your inbox and the spam folder.";
    /// Reset requests from one address (SEC-66).
    ResetIp "reset_ip" 20 per MINUTE,
        "Too many requests from your network. Wait a minute, then try again.";
    /// Codes by e-mail to one account (SEC-49), as the two after it.
    EmailCodeMinute "email_code_minute" 1 per MINUTE,
        "A code was sent less than a minute ago. Look into your inbox, or wait a minute for another one.";
    EmailCodeHour "email_code_hour" 5 per HOUR,
        "Several codes were sent within the hour. Use the newest, or another way.";
    EmailCodeDay "email_code_day" 20 per DAY,
        "Many codes were sent today. Use another way, or ask an Admin for help.";
    /// Mails about wrong second factors to one account (SEC-32): a typing mistake is told once.
    FactorMail "factor_mail" 1 per HOUR,
        "A mail about this was sent within the hour.";
    /// Ceremonies that sign-in pages begin for passkeys, from one address: each leaves a row.
    PasskeyIp "passkey_ip" 60 per MINUTE,
        "Too many sign-ins from your network at this moment. Wait a minute, then try again.";
    /// Trips to providers that one address begins: each leaves a row (SEC-68).
    TripIp "trip_ip" 60 per MINUTE,
        "Too many sign-ins from your network at this moment. Wait a minute, then try again.";
    /// The same that carry a prompt: it is kept before anybody has shown who they are, and may be long.
    TripPromptIp "trip_prompt_ip" 10 per MINUTE,
        "Too many sign-ins from your network at this moment. Wait a minute, then try again.";
    /// Mails to one address that link an identity (SEC-71).
    LinkMail "link_mail" 3 per HOUR,
        "Several mails were sent to this address already. Look into your inbox and the spam folder.";
}

impl Limit {
    /// The limit with this configuration key.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|limit| limit.key() == key)
    }
}

/// The rates in force: the defaults, and what the configuration changed.
#[derive(Clone, Debug, Default)]
pub struct Limits(BTreeMap<Limit, Rate>);

impl Limits {
    pub fn set(&mut self, limit: Limit, rate: Rate) {
        self.0.insert(limit, rate);
    }

    pub fn rate(&self, limit: Limit) -> Rate {
        self.0.get(&limit).copied().unwrap_or_else(|| limit.default_rate())
    }
}

/// Where a request came from, as far as the trusted proxies tell (SEC-30).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub ip: IpAddr,
    /// At most 256 code points of what the browser calls itself.
    pub user_agent: String,
    /// The cookie by which the browser is known again.
    pub device: Option<DeviceToken>,
}

impl Client {
    /// The strings are the client's: they are cut here, and control characters dropped.
    pub fn new(ip: IpAddr, user_agent: &str) -> Self {
        let user_agent = cut(user_agent, 256).chars().filter(|c| !c.is_control()).collect();
        Self { ip: ip.to_canonical(), user_agent, device: None }
    }

    /// The same with the browser's cookie.
    pub fn with_device(self, device: Option<DeviceToken>) -> Self {
        Self { device, ..self }
    }

    /// What limits count by: an IPv4 address, or an IPv6 network of 64 bits, since one
    /// subscriber commonly has a whole one.
    pub fn key(&self) -> String {
        match self.ip.to_canonical() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("{}/64", Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        }
    }
}

/// A limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .limit.message())]
pub struct Limited {
    pub limit: Limit,
    /// For the Retry-After header; at least 1.
    pub retry_after_secs: i64,
}

/// Why a counted action may not go on.
#[derive(Debug, thiserror::Error)]
pub enum ThrottleError {
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Whole seconds until `at`, rounded up, at least 1.
pub(crate) fn seconds_until(at: Micros, now: Micros) -> i64 {
    (at.saturating_sub(now).saturating_add(SECOND - 1) / SECOND).max(1)
}

impl Accounts {
    /// Counts one hit of `subject` (an address, a [`Client::key`], …), or says that the limit is
    /// reached. Past the limit nothing more is written.
    pub async fn throttle(&self, limit: Limit, subject: &str) -> Result<(), ThrottleError> {
        let key = self.throttle_key(limit.key(), subject);
        self.check_throttles(limit, std::slice::from_ref(&key)).await?;
        let mut tx = self.db.begin().await?;
        let hit = self.hit(&mut tx, limit, &key).await;
        tx.commit().await?;
        hit
    }

    /// Whether the limit is reached already, without counting a hit: before work that costs.
    pub async fn check_limit(&self, limit: Limit, subject: &str) -> Result<(), ThrottleError> {
        self.check_throttles(limit, &[self.throttle_key(limit.key(), subject)]).await
    }

    /// Like [`Accounts::throttle`], inside the caller's transaction.
    pub async fn throttle_in(&self, tx: &mut Tx, limit: Limit, subject: &str) -> Result<(), ThrottleError> {
        let key = self.throttle_key(limit.key(), subject);
        self.hit(tx, limit, &key).await
    }

    /// Whether one of these counters has reached the limit; reads only.
    pub(crate) async fn check_throttles(&self, limit: Limit, keys: &[String]) -> Result<(), ThrottleError> {
        let now = self.clock.now();
        let rows: Vec<(i64, i64)> = self
            .db
            .all(
                sql!(
                    "SELECT count, window_ends_at FROM throttles
                     WHERE key IN (SELECT value FROM json_each($1)) AND window_ends_at > $2"
                ),
                args![&json_list(keys), now],
            )
            .await?;
        self.judge(limit, &rows, now).map_err(ThrottleError::Limited)
    }

    /// The same inside a transaction.
    pub(crate) async fn check_throttles_in(
        &self,
        tx: &mut Tx,
        limit: Limit,
        keys: &[String],
    ) -> Result<(), ThrottleError> {
        let now = self.clock.now();
        let rows: Vec<(i64, i64)> = tx
            .all(
                sql!(
                    "SELECT count, window_ends_at FROM throttles
                     WHERE key IN (SELECT value FROM json_each($1)) AND window_ends_at > $2"
                ),
                args![&json_list(keys), now],
            )
            .await?;
        self.judge(limit, &rows, now).map_err(ThrottleError::Limited)
    }

    fn judge(&self, limit: Limit, rows: &[(i64, i64)], now: Micros) -> Result<(), Limited> {
        let rate = self.limits.rate(limit);
        let ends = rows.iter().filter(|(count, _)| *count >= rate.count).map(|(_, ends)| *ends).max();
        ends.map_or(Ok(()), |ends| Err(Limited { limit, retry_after_secs: seconds_until(ends, now) }))
    }

    /// Counts one hit; refuses the one that goes past the limit.
    pub(crate) async fn hit(&self, tx: &mut Tx, limit: Limit, key: &str) -> Result<(), ThrottleError> {
        let now = self.clock.now();
        let rate = self.limits.rate(limit);
        let (count, ends) = count_up(tx, key, rate.window, now).await?;
        if count > rate.count {
            return Err(Limited { limit, retry_after_secs: seconds_until(ends, now) }.into());
        }
        Ok(())
    }

    /// The counter's key: the subject stands in it only as an HMAC, so that the table holds no
    /// addresses.
    pub(crate) fn throttle_key(&self, limit: &str, subject: &str) -> String {
        format!("{limit}:{}", hex(&self.ring.mac("throttle", subject.as_bytes())[..16]))
    }
}

/// One more hit; gives the count in the running window and the window's end.
pub(crate) async fn count_up(
    tx: &mut Tx,
    key: &str,
    window: Micros,
    now: Micros,
) -> Result<(i64, i64), DbError> {
    let row = tx
        .one(
            sql!(
                "INSERT INTO throttles (key, count, window_ends_at) VALUES ($1, 1, $2)
                 ON CONFLICT (key) DO UPDATE SET
                   count = CASE WHEN throttles.window_ends_at <= $3 THEN 1 ELSE throttles.count + 1 END,
                   window_ends_at = CASE WHEN throttles.window_ends_at <= $3 THEN excluded.window_ends_at
                     ELSE throttles.window_ends_at END
                 RETURNING count, window_ends_at"
            ),
            args![key, now.saturating_add(window), now],
        )
        .await?;
    row.ok_or_else(|| DbError::Other("an upsert gave no row".into()))
}

/// A JSON array of texts, for `IN (SELECT value FROM json_each($1))`.
pub(crate) fn json_list<S: AsRef<str>>(items: &[S]) -> String {
    serde_json::Value::from(items.iter().map(AsRef::as_ref).collect::<Vec<&str>>()).to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;
    use crate::testing;

    fn limited(result: Result<(), ThrottleError>) -> Option<i64> {
        match result {
            Err(ThrottleError::Limited(limited)) => Some(limited.retry_after_secs),
            Err(ThrottleError::Db(error)) => panic!("{error}"),
            Ok(()) => None,
        }
    }

    /// SEC-30
    #[test]
    fn sec_30_addresses_count_whole_and_ipv6_by_its_64_bits() {
        let key = |ip: &str| Client::new(ip.parse().unwrap(), "").key();
        assert_eq!(key("203.0.113.9"), "203.0.113.9");
        assert_eq!(key("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::1"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        let client = Client::new("::1".parse().unwrap(), &format!("a\nb{}", "ü".repeat(999)));
        assert_eq!(client.user_agent.chars().count(), 255);
        assert!(!client.user_agent.contains('\n'));
    }

    /// SEC-101
    #[tokio::test]
    async fn sec_101_five_sign_ups_an_hour_and_the_window_ends() {
        let t = testing::accounts("throttle").await;
        for _ in 0..5 {
            assert_eq!(limited(t.throttle(Limit::SignUpIp, "203.0.113.9").await), None);
        }
        t.clock.advance(10 * MINUTE);
        assert_eq!(limited(t.throttle(Limit::SignUpIp, "203.0.113.9").await), Some(3_000));
        assert_eq!(limited(t.throttle(Limit::SignUpIp, "203.0.113.10").await), None);
        t.clock.advance(50 * MINUTE);
        assert_eq!(limited(t.throttle(Limit::SignUpIp, "203.0.113.9").await), None);
        assert_eq!(limited(t.throttle(Limit::VerifyMail, "ann@example.org").await), None);
        assert_eq!(limited(t.throttle(Limit::VerifyMail, "ann@example.org").await), Some(3_600));
        let keys: Vec<String> = t.db.all(sql!("SELECT key FROM throttles"), &[]).await.unwrap();
        assert!(keys.iter().all(|key| !key.contains("ann") && !key.contains("203")), "{keys:?}");
    }

    /// SEC-31
    #[tokio::test]
    async fn sec_31_parallel_hits_are_all_counted() {
        let t = testing::accounts("throttle-race").await;
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let accounts = t.accounts.clone();
                tokio::spawn(async move { limited(accounts.throttle(Limit::SignUpIp, "x").await).is_none() })
            })
            .collect();
        let mut allowed = 0;
        for task in tasks {
            allowed += usize::from(task.await.unwrap());
        }
        assert_eq!(allowed, 5);
    }

    #[test]
    fn limits_are_found_by_key_and_can_be_changed() {
        let mut limits = Limits::default();
        for limit in Limit::ALL {
            assert_eq!(Limit::from_key(limit.key()), Some(*limit));
            assert_eq!(limits.rate(*limit), limit.default_rate());
        }
        limits.set(Limit::SignUpIp, Rate { count: 1, window: MINUTE });
        assert_eq!(limits.rate(Limit::SignUpIp).count, 1);
    }
}
