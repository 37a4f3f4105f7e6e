use super::*;
use crate::testing::{self, TestAccounts};
use crate::{Principal, ROLE_ADMIN};

async fn acting(t: &TestAccounts, username: &str) -> Principal {
    let session = t.session(username).await;
    t.principal(&session.token).await.unwrap().unwrap()
}

/// Every kind of factor, as the tables hold them.
async fn enrol(t: &TestAccounts, user_id: &str) {
    for statement in [
        sql!(
            "INSERT INTO totp_factors (id, user_id, secret, created_at, confirmed_at) VALUES ('t' || $1, $1, 's', 1, 1)"
        ),
        sql!("INSERT INTO backup_code_sets (id, user_id, salt, created_at) VALUES ('b' || $1, $1, 's', 1)"),
        sql!("INSERT INTO backup_codes (set_id, hash) VALUES ('b' || $1, 'h')"),
        sql!(
            "INSERT INTO passkeys (id, user_id, credential_id, credential, user_verified, name, created_at)
             VALUES ('p' || $1, $1, 'c' || $1, '{}', TRUE, 'Laptop', 1)"
        ),
        sql!(
            "INSERT INTO email_codes (holder, user_id, mac, created_at, expires_at) VALUES ('h' || $1, $1, 'm', 1, 9)"
        ),
        sql!(
            "UPDATE users SET email_codes_since = 1, factor_failures = 10, factor_locked_until = 9000000000000000
             WHERE id = $1"
        ),
    ] {
        t.db.run(statement, args![user_id]).await.unwrap();
    }
}

async fn rows(t: &TestAccounts) -> i64 {
    t.db.one(
        sql!(
            "SELECT (SELECT COUNT(*) FROM totp_factors) + (SELECT COUNT(*) FROM backup_code_sets)
               + (SELECT COUNT(*) FROM backup_codes) + (SELECT COUNT(*) FROM passkeys)
               + (SELECT COUNT(*) FROM email_codes)
               + (SELECT COUNT(*) FROM users WHERE email_codes_since IS NOT NULL OR factor_failures > 0
                    OR factor_locked_until IS NOT NULL)"
        ),
        &[],
    )
    .await
    .unwrap()
    .unwrap()
}

/// SEC-60
#[tokio::test]
async fn sec_60_a_reset_takes_every_factor_ends_sessions_and_tells_the_person() {
    let t = testing::accounts("reset-factors").await;
    t.with_role("boss", ROLE_ADMIN).await;
    let ann = t.person("ann").await;
    let boss = acting(&t, "boss").await;
    let session = t.session("ann").await;
    assert!(!t.reset_factors(&boss, "ann", "lost phone").await.unwrap().changed, "there was nothing");
    assert!(t.principal(&session.token).await.unwrap().is_some(), "so nothing ended");
    enrol(&t, &ann.id).await;
    let person = t.find_person("ann").await.unwrap().unwrap();
    assert!(person.factors.totp && person.factors.passkeys == 1 && !person.factors.email_codes);
    assert_eq!(person.factor_lock(t.clock.now()), Some(9_000_000_000_000_000));
    assert!(t.reset_factors(&boss, "Ann", "  lost phone ").await.unwrap().changed);
    assert_eq!(rows(&t).await, 0);
    assert!(t.principal(&session.token).await.unwrap().is_none());
    let mails = t.claim_due_mail(10).await.unwrap();
    let mail = &mails.iter().find(|mail| mail.mail.kind == "factors_reset").unwrap().mail;
    assert_eq!(mail.recipient, "ann@example.org");
    assert!(mail.text.contains("\"lost phone\"") && mail.text.contains("boss"), "{}", mail.text);
    assert!(t.find_person("ann").await.unwrap().unwrap().factors.is_empty());
}

/// SEC-60, SEC-92
#[tokio::test]
async fn sec_60_not_oneself_not_above_oneself_and_not_without_a_reason() {
    let t = testing::accounts("reset-factors-no").await;
    let boss_user = t.with_role("boss", ROLE_ADMIN).await;
    let ann = t.person("ann").await;
    enrol(&t, &ann.id).await;
    enrol(&t, &boss_user.id).await;
    let before = rows(&t).await;
    let helper_role = sql!(
        "INSERT INTO roles (id, name, name_canonical, built_in, created_at) VALUES ('7', 'Helper', 'helper', FALSE, 1)"
    );
    t.db.run(helper_role, &[]).await.unwrap();
    for permission in ["chat.use", "api_keys.use", "users.reset_factors"] {
        let grant = sql!("INSERT INTO role_permissions (role_id, permission) VALUES ('7', $1)");
        t.db.run(grant, args![permission]).await.unwrap();
    }
    t.with_role("helper", "7").await;
    let helper = acting(&t, "helper").await;
    let reset = async |who: &str, reason: &str| t.reset_factors(&helper, who, reason).await;
    assert!(matches!(reset("boss", "lost phone").await, Err(PeopleError::MoreThanYou)));
    assert!(matches!(reset("helper", "lost phone").await, Err(PeopleError::OwnFactors)));
    assert!(matches!(reset("nobody", "lost phone").await, Err(PeopleError::NotFound)));
    for reason in ["", "  ab ", "two\nlines", "\u{7}bell", &"x".repeat(201)] {
        assert!(matches!(reset("ann", reason).await, Err(PeopleError::Reason)), "{reason:?}");
    }
    // `users.reset_factors` is a permission of its own, in both directions.
    assert!(matches!(t.deactivate(&helper, "ann").await, Err(PeopleError::NotAllowed)));
    t.db.run(sql!("UPDATE role_permissions SET permission = 'users.manage' WHERE permission = 'users.reset_factors' AND role_id = '7'"), &[])
        .await
        .unwrap();
    assert!(matches!(reset("ann", "lost phone").await, Err(PeopleError::NotAllowed)));
    assert_eq!(rows(&t).await, before);
    assert!(t.reset_factors(Actor::Operator, "boss", "üüü").await.unwrap().changed);
}

/// SEC-28
#[tokio::test]
async fn sec_28_unlock_lifts_the_lock_of_wrong_second_factors_too() {
    let t = testing::accounts("unlock-factors").await;
    let ann = t.person("ann").await;
    enrol(&t, &ann.id).await;
    assert!(t.unlock(Actor::Operator, "ann").await.unwrap().changed);
    assert!(!t.unlock(Actor::Operator, "ann").await.unwrap().changed);
    let person = t.find_person("ann").await.unwrap().unwrap();
    assert_eq!((person.factor_lock(t.clock.now()), person.factors.totp), (None, true));
}

/// SEC-60, SEC-80: an Admin whose session ended while the request waited for its turn changes nobody any more.
#[tokio::test]
async fn sec_60_an_ended_session_of_an_admin_changes_nobody() {
    let t = testing::accounts("reset-admin").await;
    t.with_role("boss", ROLE_ADMIN).await;
    let other = t.with_role("other", ROLE_ADMIN).await;
    t.person("ann").await;
    let (boss, stolen) = (acting(&t, "boss").await, acting(&t, "other").await);
    enrol(&t, &other.id).await;
    assert!(t.reset_factors(&boss, "other", "stolen laptop").await.unwrap().changed);
    let refused = t.promote(&stolen, "ann").await;
    assert!(matches!(refused, Err(PeopleError::NotAllowed)), "{refused:?}");
    let refused = t.set_role_second_factor(&stolen, "Admin", false, 7).await;
    assert!(matches!(refused, Err(PeopleError::NotAllowed)), "{refused:?}");
    assert!(t.promote(&boss, "ann").await.unwrap().changed);
}
