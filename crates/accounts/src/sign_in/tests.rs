#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use std::collections::BTreeMap;

use super::*;
use crate::testing::{self, PASSWORD, TINY, TestAccounts, client};
use crate::{Accounts, HashParams, SignUp};

const WRONG: &str = "not this password";

async fn refused(t: &Accounts, typed: &str, password: &str, ip: &str) -> Refused {
    t.sign_in(typed, password, &client(ip)).await.unwrap_err()
}

fn is_invalid(refused: &Refused) -> bool {
    matches!(refused, Refused::Invalid { resend_verification: None })
}

fn retry_after(refused: &Refused) -> i64 {
    match refused {
        Refused::Limited { limit: Limit::SignInAccountIp, retry_after_secs } => *retry_after_secs,
        other => panic!("{other:?}"),
    }
}

/// A different network for each number.
fn ip(n: u32) -> String {
    format!("198.51.{}.{}", n / 200, n % 200)
}

async fn failures(t: &Accounts, username: &str) -> i64 {
    let row: Option<i64> =
        t.db.one(sql!("SELECT failures FROM users WHERE username_canonical = $1"), args![username])
            .await
            .unwrap();
    row.unwrap()
}

#[tokio::test]
async fn by_username_or_address_in_any_case() {
    let t = testing::accounts("sign-in").await;
    t.person("Ann").await;
    for typed in ["ann", " ANN ", "ann@example.org", "Ann@Example.ORG"] {
        assert!(t.sign_in(typed, PASSWORD, &client("203.0.113.9")).await.is_ok(), "{typed}");
    }
    assert_eq!(t.session("ann").await.user.username, "Ann");
}

/// SEC-24
#[tokio::test]
async fn sec_24_one_answer_for_unknown_wrong_deactivated_unconfirmed_and_no_password() {
    let t = testing::accounts("sign-in-generic").await;
    t.person("ann").await;
    t.person("shut").await;
    t.person("nopass").await;
    t.db.run(sql!("UPDATE users SET deactivated_at = 1 WHERE username_canonical = 'shut'"), &[])
        .await
        .unwrap();
    t.db.run(sql!("UPDATE users SET password = NULL WHERE username_canonical = 'nopass'"), &[])
        .await
        .unwrap();
    for (typed, password) in [
        ("nobody", PASSWORD),
        ("ann", WRONG),
        ("shut", PASSWORD),
        ("nopass", PASSWORD),
        ("not a name", ""),
        ("", ""),
    ] {
        let refused = refused(&t, typed, password, "203.0.113.9").await;
        assert!(is_invalid(&refused), "{typed}: {refused:?}");
        assert_eq!(refused.to_string(), INVALID);
    }
}

/// SEC-9, SEC-24
#[tokio::test]
async fn sec_24_an_unconfirmed_account_hears_the_same_and_its_owner_may_be_mailed() {
    let t = testing::accounts("sign-in-unconfirmed").await;
    t.save_sign_up("", &SignUp { verification_required: true, ..SignUp::default() }).await.unwrap();
    let prepared = t.prepared("ann").await;
    let mut tx = t.db.begin().await.unwrap();
    t.insert_pending(&mut tx, &prepared, true).await.unwrap();
    tx.commit().await.unwrap();
    let right = refused(&t, "ann", PASSWORD, "203.0.113.9").await;
    assert_eq!(right.to_string(), INVALID);
    let Refused::Invalid { resend_verification: Some(user) } = right else { panic!("{right:?}") };
    assert_eq!(user.email, "ann@example.org");
    assert!(is_invalid(&refused(&t, "ann", WRONG, "203.0.113.9").await));
    // Without the rule the same account signs in, and is lasting from then on.
    t.save_sign_up("", &SignUp::default()).await.unwrap();
    assert_eq!(t.session("ann").await.user.expires_at, None);
}

/// SEC-25
#[tokio::test]
async fn sec_25_every_try_costs_exactly_one_hash_with_the_same_parameters() {
    let t = testing::accounts("sign-in-hashes").await;
    t.person("ann").await;
    t.person("shut").await;
    t.person("nopass").await;
    t.person("locked").await;
    t.db.run(sql!("UPDATE users SET deactivated_at = 1 WHERE username_canonical = 'shut'"), &[])
        .await
        .unwrap();
    t.db.run(sql!("UPDATE users SET password = NULL WHERE username_canonical = 'nopass'"), &[])
        .await
        .unwrap();
    t.db.run(sql!("UPDATE users SET failures = 100 WHERE username_canonical = 'locked'"), &[]).await.unwrap();
    for (typed, password) in [
        ("ann", PASSWORD),
        ("ann", WRONG),
        ("nobody", WRONG),
        ("nobody@example.org", WRONG),
        ("not a name", WRONG),
        ("shut", PASSWORD),
        ("nopass", WRONG),
        ("locked", PASSWORD),
    ] {
        let before = t.hasher.hash_calls().get(&TINY).copied().unwrap_or(0);
        let _ = t.sign_in(typed, password, &client("203.0.113.9")).await;
        assert_eq!(t.hasher.hash_calls(), BTreeMap::from([(TINY, before + 1)]), "{typed}");
    }
}

/// SEC-18
#[tokio::test]
async fn sec_18_a_weaker_hash_is_renewed_by_a_right_password() {
    let t = testing::accounts("sign-in-rehash").await;
    t.person("ann").await;
    let params = HashParams { memory_kib: 128, iterations: 1, parallelism: 1 };
    let stronger = testing::beside(&t, |options| options.hash_params = params);
    let stored = async || {
        let row: Option<String> =
            t.db.one(sql!("SELECT password FROM users WHERE username_canonical = 'ann'"), &[]).await.unwrap();
        row.unwrap()
    };
    assert!(stored().await.contains("m=64,"));
    let _ = stronger.sign_in("ann", WRONG, &client("203.0.113.9")).await;
    assert!(stored().await.contains("m=64,"));
    let first = stronger.sign_in("ann", PASSWORD, &client("203.0.113.9")).await.unwrap();
    stronger.complete_login(first, &client("203.0.113.9")).await.unwrap();
    assert!(stored().await.contains("m=128,"));
    t.session("ann").await;
}

/// SEC-26, SEC-27
#[tokio::test]
async fn sec_27_five_failures_from_one_address_wait_and_the_unknown_hear_the_same() {
    let t = testing::accounts("sign-in-limit").await;
    t.person("ann").await;
    for typed in ["ann", "nobody", "nobody@example.org", "not a name"] {
        for _ in 0..5 {
            assert!(is_invalid(&refused(&t, typed, WRONG, "203.0.113.9").await), "{typed}");
        }
        let sixth = refused(&t, typed, WRONG, "203.0.113.9").await;
        assert_eq!(retry_after(&sixth), 300, "{typed}");
        assert_eq!(sixth.to_string(), Limit::SignInAccountIp.message());
        // Other spellings of the name are the same name.
        assert_eq!(
            retry_after(&refused(&t, &format!(" {} ", typed.to_uppercase()), WRONG, "203.0.113.9").await),
            300
        );
        t.clock.advance(MINUTE);
    }
    // The right password waits too, but not from elsewhere.
    assert_eq!(retry_after(&refused(&t, "ann", PASSWORD, "203.0.113.9").await), 60);
    assert_eq!(retry_after(&refused(&t, "ann@example.org", PASSWORD, "203.0.113.9").await), 60);
    assert!(t.sign_in("ann", PASSWORD, &client("203.0.113.10")).await.is_ok());
    t.clock.advance(MINUTE);
    assert!(t.sign_in("ann", PASSWORD, &client("203.0.113.9")).await.is_ok());
}

/// SEC-27
#[tokio::test]
async fn sec_27_thirty_posts_a_minute_from_one_address() {
    let t = testing::accounts("sign-in-ip").await;
    t.person("ann").await;
    for _ in 0..30 {
        assert!(t.sign_in("ann", PASSWORD, &client("2001:db8::1")).await.is_ok());
    }
    let refusal = refused(&t, "ann", PASSWORD, "2001:db8::2").await;
    assert!(
        matches!(refusal, Refused::Limited { limit: Limit::SignInIp, retry_after_secs: 60 }),
        "{refusal:?}"
    );
    assert!(t.sign_in("ann", PASSWORD, &client("2001:db8:0:1::1")).await.is_ok());
    t.clock.advance(MINUTE);
    assert!(t.sign_in("ann", PASSWORD, &client("2001:db8::2")).await.is_ok());
}

async fn fail_times(t: &TestAccounts, typed: &str, from: u32, times: u32) {
    for n in from..from + times {
        assert!(is_invalid(&refused(t, typed, WRONG, &ip(n)).await), "{typed} at {n}");
    }
}

/// SEC-26, SEC-28
#[tokio::test]
async fn sec_28_each_tenth_failure_locks_longer_for_known_and_unknown_alike() {
    let t = testing::accounts("sign-in-lock").await;
    t.person("ann").await;
    for typed in ["ann", "nobody"] {
        for (round, minutes) in [(0, 15), (1, 30), (2, 60), (3, 60)] {
            fail_times(&t, typed, round * 10, 10).await;
            let locked = refused(&t, typed, PASSWORD, &ip(500)).await;
            assert_eq!(retry_after(&locked), minutes * 60, "{typed} in round {round}");
            t.clock.advance(minutes * MINUTE);
        }
    }
    assert_eq!(failures(&t, "ann").await, 40);
    t.session("ann").await;
    assert_eq!(failures(&t, "ann").await, 0);
}

/// SEC-28
#[tokio::test]
async fn sec_28_after_a_hundred_failures_only_recovery_or_an_admin_helps() {
    let t = testing::accounts("sign-in-hundred").await;
    t.person("ann").await;
    for typed in ["ann", "nobody"] {
        for round in 0..10 {
            fail_times(&t, typed, round * 10, 10).await;
            t.clock.advance(HOUR);
        }
        assert_eq!(retry_after(&refused(&t, typed, PASSWORD, &ip(500)).await), 3_600, "{typed}");
    }
    t.clock.advance(365 * DAY);
    assert_eq!(retry_after(&refused(&t, "ann", PASSWORD, &ip(500)).await), 3_600);
    t.unlock(crate::Actor::Operator, "ann").await.unwrap();
    t.session("ann").await;
}

/// SEC-29
#[tokio::test]
async fn sec_29_a_success_resets_the_accounts_counters_and_not_the_addresses() {
    let t = testing::accounts("sign-in-reset").await;
    t.person("ann").await;
    let from = client("203.0.113.9");
    for _ in 0..3 {
        for _ in 0..4 {
            assert!(is_invalid(&refused(&t, "ann", WRONG, "203.0.113.9").await));
        }
        let first = t.sign_in("ann", PASSWORD, &from).await.unwrap();
        t.complete_login(first, &from).await.unwrap();
        assert_eq!(failures(&t, "ann").await, 0);
    }
    let posts: Option<i64> =
        t.db.one(sql!("SELECT count FROM throttles WHERE key LIKE 'sign_in_ip:%'"), &[]).await.unwrap();
    assert_eq!(posts, Some(15));
}

/// SEC-27, SEC-99: of parallel guesses only as many are answered as the limit allows.
#[tokio::test]
async fn sec_27_parallel_guesses_do_not_slip_past_the_limit() {
    let t = testing::accounts("sign-in-parallel").await;
    t.person("ann").await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let accounts = t.accounts.clone();
            tokio::spawn(async move { refused(&accounts, "ann", WRONG, "203.0.113.9").await })
        })
        .collect();
    let mut answered = 0;
    for task in tasks {
        answered += usize::from(is_invalid(&task.await.unwrap()));
    }
    assert!(answered <= 5, "{answered}");
    assert!(failures(&t, "ann").await <= 10);
    // A right guess that was checked before the failures came in is not let through after them.
    t.clock.advance(HOUR);
    let early = t.sign_in("ann", PASSWORD, &client("203.0.113.9")).await.unwrap();
    for _ in 0..5 {
        assert!(is_invalid(&refused(&t, "ann", WRONG, "203.0.113.9").await));
    }
    let late = t.complete_login(early, &client("203.0.113.9")).await.unwrap_err();
    assert_eq!(retry_after(&late), 300);
}

/// SEC-31
#[tokio::test]
async fn sec_31_replicas_share_the_counters() {
    let t = testing::accounts("sign-in-replicas").await;
    t.person("ann").await;
    let other = testing::beside(&t, |_| {});
    for n in 0..5 {
        let on: &Accounts = if n % 2 == 0 { &t } else { &other };
        assert!(is_invalid(&refused(on, "ann", WRONG, "203.0.113.9").await));
    }
    assert_eq!(retry_after(&refused(&other, "ann", PASSWORD, "203.0.113.9").await), 300);
}

/// SEC-19
#[tokio::test]
async fn sec_19_a_full_queue_is_busy_and_no_failure() {
    let t = testing::accounts("sign-in-busy").await;
    t.person("ann").await;
    let tight = testing::beside(&t, |options| {
        options.hash_threads = Some(1);
        options.hash_queue = 0;
        options.hash_params = HashParams { memory_kib: 8_192, iterations: 2, parallelism: 1 };
    });
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let tight = tight.clone();
            tokio::spawn(async move { tight.sign_in("ann", PASSWORD, &client(&ip(n))).await.map(drop) })
        })
        .collect();
    let mut busy = 0;
    for task in tasks {
        match task.await.unwrap() {
            Err(Refused::Busy { retry_after_secs }) => busy += retry_after_secs.min(1),
            Err(other) => panic!("{other:?}"),
            Ok(()) => {}
        }
    }
    // Whether they met is up to the machine; what counts is that none of it was a failure.
    assert!(busy <= 8);
    assert_eq!(failures(&t, "ann").await, 0);
}

/// SEC-28: from twenty networks at once, ten are told that they were wrong, known or not.
#[tokio::test]
async fn sec_28_parallel_guesses_from_many_addresses_stop_at_the_lock() {
    let t = testing::accounts("sign-in-spread").await;
    t.person("ann").await;
    for typed in ["ann", "nobody"] {
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let accounts = t.accounts.clone();
                tokio::spawn(async move { refused(&accounts, typed, WRONG, &ip(n)).await })
            })
            .collect();
        let mut answered = 0;
        for task in tasks {
            answered += usize::from(is_invalid(&task.await.unwrap()));
        }
        assert_eq!(answered, 10, "{typed}");
        assert_eq!(retry_after(&refused(&t, typed, PASSWORD, &ip(500)).await), 900, "{typed}");
    }
}
