//! Tests of the gate itself.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use base::random::token_hash;

use super::*;
use crate::testing;

/// SEC-33, SEC-34, SEC-39
#[tokio::test]
async fn sec_33_with_a_second_factor_there_is_a_challenge_and_no_session() {
    let t = testing::accounts("gate").await;
    let ann = t.person("ann").await;
    let first = t.first_factor("ann").await;
    let client = testing::client("203.0.113.9");
    t.with_totp(&ann.id).await;
    let outcome = t.complete_login(first, &client).await.unwrap();
    let Outcome::Challenge(challenge) = outcome else { panic!("a session without the second factor") };
    assert_eq!(challenge.methods, [SecondFactor::Totp]);
    assert!(!challenge.enrol);
    assert_eq!(challenge.token.as_str().len(), 43);
    let sessions: Option<i64> = t.db.one(sql!("SELECT COUNT(*) FROM sessions"), &[]).await.unwrap();
    assert_eq!(sessions, Some(0));
    // Its token, put into the other cookie, opens nothing.
    let smuggled = SessionToken::from_cookie(challenge.token.as_str()).unwrap();
    assert_eq!(t.principal(&smuggled).await.unwrap(), None);
    assert_eq!(t.challenge(&challenge.token).await.unwrap().unwrap().user.id, ann.id);
    t.clock.advance(CHALLENGE_LIFETIME);
    assert_eq!(t.challenge(&challenge.token).await.unwrap(), None);
}

#[tokio::test]
async fn a_cancelled_challenge_is_gone_and_a_stored_token_is_only_a_hash() {
    let t = testing::accounts("gate-cancel").await;
    let ann = t.person("ann").await;
    t.with_totp(&ann.id).await;
    let first = t.first_factor("ann").await;
    let client = testing::client("203.0.113.9");
    let outcome = t.complete_login(first, &client).await.unwrap();
    let Outcome::Challenge(challenge) = outcome else { panic!("no challenge") };
    let stored: Option<String> = t.db.one(sql!("SELECT token_hash FROM challenges"), &[]).await.unwrap();
    assert_eq!(stored.unwrap(), token_hash(challenge.token.as_str()));
    t.cancel_challenge(&challenge.token).await.unwrap();
    assert_eq!(t.challenge(&challenge.token).await.unwrap(), None);
    assert_eq!(serde_json::to_string(&[SecondFactor::BackupCode]).unwrap(), "[\"backup-code\"]");
}

/// SEC-38
#[tokio::test]
async fn sec_38_who_was_deactivated_in_between_gets_no_session() {
    let t = testing::accounts("gate-late").await;
    let ann = t.person("ann").await;
    let first = t.first_factor("ann").await;
    t.db.run(sql!("UPDATE users SET deactivated_at = 1 WHERE id = $1"), args![&ann.id]).await.unwrap();
    let refused = t.complete_login(first, &testing::client("203.0.113.9")).await.unwrap_err();
    assert!(matches!(refused, Refused::Invalid { .. }));
}

#[test]
fn cookies_that_cannot_be_tokens_are_turned_away_early() {
    assert!(SessionToken::from_cookie(&"a".repeat(43)).is_some());
    for bad in ["", "a", &"a".repeat(44), &"ä".repeat(43), &format!("{}'", "a".repeat(42))] {
        assert!(SessionToken::from_cookie(bad).is_none(), "{bad}");
    }
    assert_eq!(format!("{:?}", SessionToken::from_cookie(&"a".repeat(43)).unwrap()), "SessionToken(…)");
}
