//! Each factor by itself, and every one-time thing raced by twenty (SEC-99).
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use base::db::DbError;
use base::{DAY, HOUR, MINUTE, SECOND, args, sql};
use tokio::task::JoinSet;

use super::totp::STEP;
use super::*;
use crate::testing::{self, TestAccounts, client};
use crate::throttle::ThrottleError;
use crate::{Accounts, User};

mod gate;

const TRIES: usize = 20;

/// The same thing twenty times at once; gives what came of each.
async fn race<T, F, Fut>(accounts: &Accounts, act: F) -> Vec<T>
where
    T: Send + 'static,
    F: Fn(Accounts, usize) -> Fut,
    Fut: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for n in 0..TRIES {
        tasks.spawn(act(accounts.clone(), n));
    }
    tasks.join_all().await
}

fn step_code(secret: &[u8], now: i64, steps: i64) -> String {
    let secret = data_encoding::BASE32_NOPAD.encode(secret);
    parts::totp::code(&secret, (now + steps * STEP) / SECOND)
}

fn holder<'a>(user: &'a User, id: &'a str) -> Holder<'a> {
    Holder { user_id: &user.id, id, for_step_up: false }
}

impl TestAccounts {
    async fn spend(&self, user: &User, code: &str) -> bool {
        let mut tx = self.db.begin().await.unwrap();
        let right = self.spend_totp(&mut tx, &user.id, code).await.unwrap();
        tx.commit().await.unwrap();
        right
    }

    async fn codes(&self, user: &User) -> Vec<String> {
        let mut tx = self.db.begin().await.unwrap();
        let codes = self.make_backup_codes(&mut tx, &user.id).await.unwrap();
        tx.commit().await.unwrap();
        codes.iter().map(|code| code.replace('-', "")).collect()
    }

    async fn mail_to(&self, user: &User, id: &str) -> Result<CodeSent, ThrottleError> {
        let mut tx = self.db.begin().await.unwrap();
        let sent = self.mail_code(&mut tx, user, holder(user, id), &client("192.0.2.1")).await;
        tx.commit().await.unwrap();
        sent
    }

    /// The newest code that was mailed.
    async fn mailed(&self) -> String {
        let mails = self.claim_due_mail(100).await.unwrap();
        let text = mails.into_iter().rev().map(|m| m.mail.text).find(|t| t.contains("email_code: ")).unwrap();
        text.split('"').nth(1).unwrap().to_owned()
    }

    async fn spend_mailed(&self, user: &User, id: &str, code: &str) -> bool {
        let mut tx = self.db.begin().await.unwrap();
        let right = self.spend_email_code(&mut tx, holder(user, id), code).await.unwrap();
        tx.commit().await.unwrap();
        right
    }
}

/// SEC-42: a code is spent, and with it every older one.
#[tokio::test]
async fn sec_42_a_used_code_voids_itself_and_the_step_before() {
    let t = testing::accounts("totp-replay").await;
    let ann = t.person("ann").await;
    let secret = t.with_totp(&ann.id).await;
    let now = t.clock.now();
    assert!(t.spend(&ann, &step_code(&secret, now, 0)).await);
    for steps in [0, -1] {
        assert!(!t.spend(&ann, &step_code(&secret, now, steps)).await, "{steps}");
    }
    t.clock.advance(STEP);
    assert!(t.spend(&ann, &step_code(&secret, now, 1)).await);
    let ben = t.person("ben").await;
    t.with_totp(&ben.id).await;
    t.clock.advance(STEP);
    let anns = step_code(&secret, now, 2);
    assert!(!t.spend(&ben, &anns).await, "another person's code");
    assert!(t.spend(&ann, &anns).await);
}

/// SEC-42, SEC-99
#[tokio::test]
async fn sec_42_of_twenty_parallel_uses_of_a_code_one_counts() {
    let t = testing::accounts("totp-race").await;
    let ann = t.person("ann").await;
    let secret = t.with_totp(&ann.id).await;
    let code = step_code(&secret, t.clock.now(), 0);
    let right = race(&t.accounts, |accounts, _| {
        let (code, id) = (code.clone(), ann.id.clone());
        async move {
            let mut tx = accounts.db.begin().await.unwrap();
            let right = accounts.spend_totp(&mut tx, &id, &code).await.unwrap();
            tx.commit().await.unwrap();
            right
        }
    })
    .await;
    assert_eq!(right.iter().filter(|right| **right).count(), 1);
}

/// SEC-42, SEC-44: a secret waits ten minutes for its first code, which is spent by it; the one before is good
/// until then.
#[tokio::test]
async fn sec_44_a_new_secret_counts_from_its_first_code_on() {
    let t = testing::accounts("totp-pending").await;
    let ann = t.person("ann").await;
    let old = t.with_totp(&ann.id).await;
    let decode = |text: &str| data_encoding::BASE32_NOPAD.decode(text.as_bytes()).unwrap();
    let given_up = decode(&t.begin_totp(&ann.id, "session", "ann").await.unwrap().secret);
    let pending = t.begin_totp(&ann.id, "session", "ann").await.unwrap();
    assert_eq!(pending.expires_at, t.clock.now() + 10 * MINUTE);
    assert_eq!(t.pending_totp(&ann.id, "session", "ann").await.unwrap().unwrap().secret, pending.secret);
    let new = decode(&pending.secret);
    let now = t.clock.now();
    assert!(!t.spend(&ann, &step_code(&new, now, 0)).await, "it waits");
    assert!(t.spend(&ann, &step_code(&old, now, 0)).await, "the old one is good");
    let activate = async |code: String| {
        let mut tx = t.db.begin().await.unwrap();
        let done = t.activate_totp(&mut tx, &ann.id, "session", &code).await.unwrap();
        tx.commit().await.unwrap();
        done
    };
    assert_eq!(activate(step_code(&given_up, now, 0)).await, None, "a secret begun before is gone");
    assert_eq!(activate(step_code(&new, now, 0)).await, Some(true));
    assert_eq!(
        t.pending_totp(&ann.id, "session", "ann").await.unwrap(),
        None,
        "shown only while it waits (SEC-45)"
    );
    assert!(!t.spend(&ann, &step_code(&new, now, 0)).await, "the confirming code is spent");
    t.clock.advance(STEP);
    assert!(!t.spend(&ann, &step_code(&old, now, 1)).await, "the old secret is gone");
    assert!(t.spend(&ann, &step_code(&new, now, 1)).await);

    let late = decode(&t.begin_totp(&ann.id, "session", "ann").await.unwrap().secret);
    t.clock.advance(10 * MINUTE);
    assert_eq!(t.pending_totp(&ann.id, "session", "ann").await.unwrap(), None);
    assert_eq!(activate(step_code(&late, t.clock.now(), 0)).await, None, "ten minutes are over");
}

/// SEC-44, SEC-99: parallel requests for a secret leave one, and parallel first codes make one factor.
#[tokio::test]
async fn sec_44_parallel_set_ups_leave_one_secret() {
    let t = testing::accounts("totp-begin-race").await;
    let ann = t.person("ann").await;
    let secrets = race(&t.accounts, |accounts, _| {
        let id = ann.id.clone();
        async move { accounts.begin_totp(&id, "session", "ann").await.unwrap().secret }
    })
    .await;
    let rows: Option<i64> = t.db.one(sql!("SELECT COUNT(*) FROM totp_factors"), &[]).await.unwrap();
    assert_eq!(rows, Some(1));
    let left = t.pending_totp(&ann.id, "session", "ann").await.unwrap().unwrap().secret;
    assert!(secrets.contains(&left));
    let code = parts::totp::code(&left, t.clock.now() / SECOND);
    let done = race(&t.accounts, |accounts, _| {
        let (id, code) = (ann.id.clone(), code.clone());
        async move {
            let mut tx = accounts.db.begin().await.unwrap();
            let done = accounts.activate_totp(&mut tx, &id, "session", &code).await.unwrap();
            tx.commit().await.unwrap();
            done.is_some()
        }
    })
    .await;
    assert_eq!(done.iter().filter(|done| **done).count(), 1);
}

/// SEC-46: what is stored is sealed, for this person and this factor.
#[tokio::test]
async fn sec_46_a_stored_secret_is_sealed_to_its_owner_and_row() {
    let t = testing::accounts("totp-sealed").await;
    let (ann, ben) = (t.person("ann").await, t.person("ben").await);
    let (secret, bens) = (t.with_totp(&ann.id).await, t.with_totp(&ben.id).await);
    let stored: Vec<(String, String)> =
        t.db.all(sql!("SELECT user_id, secret FROM totp_factors"), &[]).await.unwrap();
    for (_, stored) in &stored {
        for plain in [base::random::hex(&secret), data_encoding::BASE32_NOPAD.encode(&secret)] {
            assert!(!stored.contains(&plain));
        }
    }
    assert_ne!(secret, bens);
    // Whoever writes to the database cannot give one person the other's app.
    let of = |user: &User| stored.iter().find(|(id, _)| *id == user.id).unwrap().1.clone();
    t.db.run(sql!("UPDATE totp_factors SET secret = $2 WHERE user_id = $1"), args![&ann.id, &of(&ben)])
        .await
        .unwrap();
    let mut tx = t.db.begin().await.unwrap();
    let error = t.spend_totp(&mut tx, &ann.id, &step_code(&bens, t.clock.now(), 0)).await.unwrap_err();
    assert!(matches!(error, DbError::Corrupt { .. }), "{error:?}");
}

/// SEC-50, SEC-51, SEC-52
#[tokio::test]
async fn sec_50_ten_codes_are_stored_as_salted_hashes_and_each_is_good_once() {
    let t = testing::accounts("backup").await;
    let (ann, ben) = (t.person("ann").await, t.person("ben").await);
    t.with_totp(&ann.id).await;
    let codes = t.codes(&ann).await;
    let bens = t.codes(&ben).await;
    assert_eq!(codes.len(), 10);
    assert!(
        codes.iter().all(|code| code.len() == 16 && backup_codes::canonical(code).as_ref() == Some(code))
    );
    let mut different = codes.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 10);
    let stored: Vec<(String, String)> = t
        .db
        .all(
            sql!("SELECT b.hash, s.salt FROM backup_codes b JOIN backup_code_sets s ON s.id = b.set_id WHERE s.user_id = $1"),
            args![&ann.id],
        )
        .await
        .unwrap();
    assert_eq!(stored.len(), 10);
    assert!(stored.iter().all(|(hash, salt)| hash.len() == 64 && salt.len() == 32));
    assert!(stored.iter().all(|(hash, _)| codes.iter().all(|code| !hash.contains(code.as_str()))));

    let spend = async |user: &User, code: &str| {
        let mut tx = t.db.begin().await.unwrap();
        let left = t.spend_backup_code(&mut tx, &user.id, code).await.unwrap();
        tx.commit().await.unwrap();
        left
    };
    assert_eq!(spend(&ann, &bens[0]).await, None, "another person's");
    for (n, code) in codes.iter().enumerate() {
        let left = 9 - i64::try_from(n).unwrap();
        assert_eq!(spend(&ann, code).await, Some(left));
        assert_eq!(spend(&ann, code).await, None, "used before");
        let known = t.backup_codes(&ann.id).await.unwrap().unwrap();
        assert_eq!((known.left, known.is_low()), (left, left <= 3));
    }
    // A new set voids the whole one before (SEC-52).
    let again = t.codes(&ben).await;
    assert_eq!(spend(&ben, &bens[1]).await, None);
    assert_eq!(spend(&ben, &again[0]).await, Some(9));
}

/// SEC-51, SEC-99
#[tokio::test]
async fn sec_51_of_twenty_parallel_uses_of_a_backup_code_one_counts() {
    let t = testing::accounts("backup-race").await;
    let ann = t.person("ann").await;
    let code = t.codes(&ann).await.swap_remove(3);
    let left = race(&t.accounts, |accounts, _| {
        let (code, id) = (code.clone(), ann.id.clone());
        async move {
            let mut tx = accounts.db.begin().await.unwrap();
            let left = accounts.spend_backup_code(&mut tx, &id, &code).await.unwrap();
            tx.commit().await.unwrap();
            left
        }
    })
    .await;
    assert_eq!(left.into_iter().flatten().collect::<Vec<_>>(), [9]);
}

/// SEC-48: eight digits, five minutes, for one challenge, stored as a MAC.
#[tokio::test]
async fn sec_48_a_mailed_code_belongs_to_its_challenge_for_five_minutes() {
    let t = testing::accounts("mailed").await;
    let (ann, ben) = (t.person("ann").await, t.person("ben").await);
    let sent = t.mail_to(&ann, "one").await.unwrap();
    assert_eq!((sent.resend_after_secs, sent.expires_at), (60, t.clock.now() + 5 * MINUTE));
    let code = t.mailed().await;
    assert!(code.len() == 8 && code.bytes().all(|b| b.is_ascii_digit()), "{code}");
    let stored: Option<String> = t.db.one(sql!("SELECT mac FROM email_codes"), &[]).await.unwrap();
    assert!(stored.as_ref().is_some_and(|mac| mac.len() == 64 && !mac.contains(&code)));
    // A plain hash of eight digits would be undone in no time; this one needs the key.
    assert_ne!(stored.unwrap(), base::random::token_hash(&code));

    t.clock.advance(MINUTE);
    t.mail_to(&ann, "two").await.unwrap();
    assert!(!t.spend_mailed(&ann, "two", &code).await, "of another challenge");
    assert!(!t.spend_mailed(&ben, "one", &code).await, "of another person");
    assert!(t.spend_mailed(&ann, "one", &code).await);
    assert!(!t.spend_mailed(&ann, "one", &code).await, "used before");

    let code = t.mailed().await;
    t.clock.advance(5 * MINUTE);
    assert!(!t.spend_mailed(&ann, "two", &code).await, "too old");
    assert_eq!(t.code_sent("two").await.unwrap(), None);
}

/// SEC-48, SEC-99
#[tokio::test]
async fn sec_48_of_twenty_parallel_uses_of_a_mailed_code_one_counts() {
    let t = testing::accounts("mailed-race").await;
    let ann = t.person("ann").await;
    t.mail_to(&ann, "one").await.unwrap();
    let code = t.mailed().await;
    let right = race(&t.accounts, |accounts, _| {
        let (code, user) = (code.clone(), ann.clone());
        async move {
            let mut tx = accounts.db.begin().await.unwrap();
            let right = accounts.spend_email_code(&mut tx, holder(&user, "one"), &code).await.unwrap();
            tx.commit().await.unwrap();
            right
        }
    })
    .await;
    assert_eq!(right.iter().filter(|right| **right).count(), 1);
}

/// SEC-49: a code sent anew replaces the one before, and the wrong tries stay counted.
#[tokio::test]
async fn sec_49_five_tries_over_all_codes_of_a_challenge() {
    let t = testing::accounts("mailed-tries").await;
    let ann = t.person("ann").await;
    t.mail_to(&ann, "one").await.unwrap();
    let first = t.mailed().await;
    for _ in 0..3 {
        assert!(!t.spend_mailed(&ann, "one", "x").await);
    }
    t.clock.advance(MINUTE);
    t.mail_to(&ann, "one").await.unwrap();
    let second = t.mailed().await;
    assert_ne!(first, second);
    assert!(!t.spend_mailed(&ann, "one", &first).await, "replaced");
    t.clock.advance(MINUTE);
    t.mail_to(&ann, "one").await.unwrap();
    let third = t.mailed().await;
    assert!(!t.spend_mailed(&ann, "one", &second).await, "the fifth try");
    assert!(!t.spend_mailed(&ann, "one", &third).await, "no tries are left");
}

/// SEC-49: once a minute, five an hour, twenty a day, over all challenges of the account.
#[tokio::test]
async fn sec_49_codes_are_mailed_once_a_minute_five_an_hour_and_twenty_a_day() {
    let t = testing::accounts("mailed-often").await;
    let (ann, ben) = (t.person("ann").await, t.person("ben").await);
    let limit = |sent: Result<CodeSent, ThrottleError>| match sent {
        Ok(_) => None,
        Err(ThrottleError::Limited(limited)) => Some((limited.limit.key(), limited.retry_after_secs)),
        Err(ThrottleError::Db(error)) => panic!("{error}"),
    };
    assert_eq!(limit(t.mail_to(&ann, "one").await), None);
    t.clock.advance(15 * SECOND);
    assert_eq!(limit(t.mail_to(&ann, "two").await), Some(("email_code_minute", 45)));
    assert_eq!(limit(t.mail_to(&ben, "three").await), None, "another account");
    let mut sent = 1;
    let mut hours = 0;
    while sent < 20 {
        t.clock.advance(MINUTE);
        match limit(t.mail_to(&ann, &sent.to_string()).await) {
            None => sent += 1,
            Some((key, _)) => {
                assert_eq!((key, sent % 5), ("email_code_hour", 0));
                hours += 1;
                t.clock.advance(HOUR);
            }
        }
    }
    assert_eq!(hours, 3);
    t.clock.advance(HOUR);
    assert_eq!(limit(t.mail_to(&ann, "more").await).map(|(key, _)| key), Some("email_code_day"));
    t.clock.advance(DAY);
    assert_eq!(limit(t.mail_to(&ann, "more").await), None);
}

/// Secrets that nobody confirmed and codes that nobody used do not stay behind; what is in use does.
#[tokio::test]
async fn what_waited_in_vain_is_swept() {
    let t = testing::accounts("factors-sweep").await;
    let (ann, ben) = (t.person("ann").await, t.person("ben").await);
    t.with_totp(&ann.id).await;
    t.begin_totp(&ann.id, "session", "ann").await.unwrap();
    t.mail_to(&ben, "one").await.unwrap();
    let left = async || {
        let count = sql!("SELECT (SELECT COUNT(*) FROM totp_factors), (SELECT COUNT(*) FROM email_codes)");
        let left: Option<(i64, i64)> = t.db.one(count, &[]).await.unwrap();
        left.unwrap()
    };
    t.clock.advance(10 * MINUTE - SECOND);
    t.sweep().await.unwrap();
    assert_eq!(left().await, (2, 1));
    t.clock.advance(SECOND);
    t.sweep().await.unwrap();
    assert_eq!(left().await, (1, 1), "the wrong tries of a challenge count as long as it lives");
    t.clock.advance(5 * MINUTE);
    t.sweep().await.unwrap();
    assert_eq!(left().await, (1, 0));
    assert!(t.standing(&ann.id).await.unwrap().unwrap().totp);
}

/// SEC-61: what a session asked for that ended while the request waited is not done: neither a factor of its own nor
/// another address.
#[tokio::test]
async fn sec_61_an_ended_session_changes_nothing_more() {
    let t = testing::accounts("ended-session").await;
    let ann = t.person("ann").await;
    let rules = crate::SecondFactorRules { email_codes: true, ..Default::default() };
    t.save_second_factor("test", &rules).await.unwrap();
    let session = t.session("ann").await;
    let principal = t.principal(&session.token).await.unwrap().unwrap();
    let pending = t.begin_totp(&ann.id, &session.id, "ann").await.unwrap();
    let code = parts::totp::code(&pending.secret, t.clock.now() / SECOND);
    // The guard has let the request in; then the person changes the password elsewhere.
    t.end_all_sessions(&ann.id, None).await.unwrap();
    let here = client("198.51.100.1");
    let refused = t.confirm_totp(&principal, &code, &here).await;
    assert!(matches!(refused, Err(ChangeRefused::SessionOver)), "{refused:?}");
    let refused = t.set_email_codes(&principal, true, &here).await;
    assert!(matches!(refused, Err(ChangeRefused::SessionOver)), "{refused:?}");
    let refused = t.request_email_change(&principal, "mine@example.org", &here).await;
    assert!(matches!(refused, Err(crate::RecoveryError::SessionOver)), "{refused:?}");
    assert_eq!(t.standing(&ann.id).await.unwrap().unwrap().methods(), []);
    assert_eq!(t.pending_email_change(&ann.id).await.unwrap(), None);
}
