#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use base::random::token_hash;
use base::{DAY, HOUR, MINUTE};

use super::*;
use crate::testing;
use crate::{Actor, ROLE_ADMIN};

/// SEC-77
#[tokio::test]
async fn sec_77_the_token_is_256_bits_and_only_its_hash_is_stored() {
    let t = testing::accounts("sessions").await;
    t.person("ann").await;
    let session = t.session("ann").await;
    assert_eq!(session.token.as_str().len(), 43);
    let stored: Option<String> = t.db.one(sql!("SELECT token_hash FROM sessions"), &[]).await.unwrap();
    assert_eq!(stored.unwrap(), token_hash(session.token.as_str()));
    assert!(!format!("{session:?}").contains(session.token.as_str()));
}

async fn renewed(t: &testing::TestAccounts, token: &SessionToken) -> Option<SessionToken> {
    let mut tx = t.db.begin().await.unwrap();
    let renewed = t.renew_session_in(&mut tx, token).await.unwrap();
    tx.commit().await.unwrap();
    renewed
}

/// SEC-78
#[tokio::test]
async fn sec_78_each_sign_in_and_renewal_has_a_token_of_its_own() {
    let t = testing::accounts("sessions-renew").await;
    t.person("ann").await;
    let session = t.session("ann").await;
    let other = t.session("ann").await;
    assert_ne!(session.token, other.token);
    assert_ne!(session.csrf_secret, other.csrf_secret);
    t.clock.advance(HOUR);
    let after = renewed(&t, &session.token).await.unwrap();
    assert_eq!(t.principal(&session.token).await.unwrap(), None);
    let principal = t.principal(&after).await.unwrap().unwrap();
    assert_eq!(principal.session.id, session.id);
    assert_eq!(principal.session.csrf_secret, session.csrf_secret);
    assert_eq!(principal.session.step_up_at, t.clock.now());
    assert_eq!(renewed(&t, &session.token).await, None);
    assert!(t.principal(&other.token).await.unwrap().is_some());
}

/// SEC-79
#[tokio::test]
async fn sec_79_a_session_ends_by_idleness_and_by_age() {
    let t = testing::accounts("sessions-age").await;
    t.person("ann").await;
    let idle = t.session("ann").await.token;
    let used = t.session("ann").await.token;
    let start = t.clock.now();
    while t.clock.now() - start < 14 * DAY - 6 * HOUR {
        t.clock.advance(6 * HOUR);
        let principal = t.principal(&used).await.unwrap();
        let Some(principal) = principal else { panic!("ended after {}", t.clock.now() - start) };
        t.touch(&principal);
        t.flush_last_seen().await.unwrap();
        let is_idle = t.clock.now() - start >= 12 * HOUR;
        assert_eq!(t.principal(&idle).await.unwrap().is_none(), is_idle);
    }
    t.clock.advance(6 * HOUR);
    assert_eq!(t.principal(&used).await.unwrap(), None);
    let strict = testing::beside(&t, |options| options.session_idle = HOUR);
    let token = t.session("ann").await.token;
    t.clock.advance(HOUR);
    assert!(t.principal(&token).await.unwrap().is_some());
    assert_eq!(strict.principal(&token).await.unwrap(), None);
}

/// SEC-80
#[tokio::test]
async fn sec_80_roles_and_state_are_read_afresh_in_one_statement() {
    let t = testing::accounts("sessions-fresh").await;
    let ann = t.person("ann").await;
    t.with_role("boss", ROLE_ADMIN).await;
    let token = t.session("ann").await.token;
    let (principal, statements) = base::db::count_statements(t.principal(&token)).await;
    let principal = principal.unwrap().unwrap();
    assert_eq!(statements, 1);
    assert_eq!(principal.roles, [("2".to_owned(), "User".to_owned())]);
    assert!(principal.may(Permission::ChatUse) && !principal.may(Permission::UsersManage));
    assert_eq!((principal.username.as_str(), principal.email.as_str()), ("ann", "ann@example.org"));
    t.promote(Actor::Operator, "ann").await.unwrap();
    let principal = t.principal(&token).await.unwrap().unwrap();
    assert!(principal.has_role(ROLE_ADMIN) && principal.may(Permission::UsersManage));
    assert_eq!(principal.permissions, Permissions::all());
    t.demote(Actor::Operator, "ann").await.unwrap();
    assert!(!t.principal(&token).await.unwrap().unwrap().may(Permission::UsersManage));
    // Out on the next request, even where the row outlived the deactivation.
    t.db.run(sql!("UPDATE users SET deactivated_at = 1 WHERE id = $1"), args![&ann.id]).await.unwrap();
    assert_eq!(t.principal(&token).await.unwrap(), None);
}

/// SEC-80
#[tokio::test]
async fn sec_80_open_streams_hear_of_it_here_and_find_out_elsewhere() {
    let t = testing::accounts("sessions-streams").await;
    let ann = t.person("ann").await;
    t.person("ben").await;
    t.with_role("boss", ROLE_ADMIN).await;
    let here = t.session("ann").await;
    let ben = t.session("ben").await;
    let mut watch = t.watch_ended();
    let replica = testing::beside(&t, |_| {});
    let ids = vec![here.id.clone(), ben.id.clone(), "gone".to_owned()];
    assert_eq!(replica.ended_among(&ids, Permission::ChatUse).await.unwrap(), ["gone"]);
    assert_eq!(replica.ended_among(&ids, Permission::StatsRead).await.unwrap(), ids);
    t.deactivate(Actor::Operator, "ann").await.unwrap();
    assert_eq!(watch.try_recv().unwrap(), Ended::Session(here.id.clone()));
    assert_eq!(watch.try_recv().unwrap(), Ended::User(ann.id));
    let (ended, statements) =
        base::db::count_statements(replica.ended_among(&ids, Permission::ChatUse)).await;
    assert_eq!(ended.unwrap(), [here.id, "gone".to_owned()]);
    assert_eq!(statements, 1);
    assert!(replica.ended_among(&[], Permission::ChatUse).await.unwrap().is_empty());
}

/// SEC-81
#[tokio::test]
async fn sec_81_at_most_fifty_sessions_and_any_can_be_ended() {
    let t = testing::accounts("sessions-many").await;
    let ann = t.person("ann").await;
    let ben = t.person("ben").await;
    let first = t.session("ann").await;
    for _ in 0..50 {
        t.clock.advance(MINUTE);
        t.session("ann").await;
    }
    assert_eq!(t.principal(&first.token).await.unwrap(), None);
    let list = t.list_sessions(&ann.id).await.unwrap();
    assert_eq!(list.len(), 50);
    assert!(list.is_sorted_by(|a, b| a.last_seen_at > b.last_seen_at));
    assert_eq!((list[0].method.as_str(), list[0].user_agent.as_str()), ("password", "Browser/1.0"));
    // Only one's own.
    assert!(!t.end_session(&ben.id, &list[0].id).await.unwrap());
    assert!(t.end_session(&ann.id, &list[0].id).await.unwrap());
    assert!(!t.end_session(&ann.id, &list[0].id).await.unwrap());
    assert_eq!(t.end_all_sessions(&ann.id, Some(&list[1].id)).await.unwrap(), 48);
    assert_eq!(t.list_sessions(&ann.id).await.unwrap(), list[1..2]);
    assert_eq!(t.end_all_sessions(&ann.id, None).await.unwrap(), 1);
}

#[tokio::test]
async fn last_seen_times_are_gathered_and_written_together() {
    let t = testing::accounts("sessions-seen").await;
    let mut principals = Vec::new();
    for name in ["ann", "ben", "cem"] {
        t.person(name).await;
        let token = t.session(name).await.token;
        principals.push(t.principal(&token).await.unwrap().unwrap());
    }
    t.clock.advance(10 * SECOND);
    principals.iter().for_each(|principal| t.touch(principal));
    let ((), none) = base::db::count_statements(async { t.flush_last_seen().await.unwrap() }).await;
    assert_eq!(none, 0, "too young to write");
    t.clock.advance(20 * SECOND);
    principals.iter().for_each(|principal| t.touch(principal));
    let ((), statements) = base::db::count_statements(async { t.flush_last_seen().await.unwrap() }).await;
    assert_eq!(statements, 2);
    let now = t.clock.now();
    let seen: Vec<i64> =
        t.db.all(sql!("SELECT last_seen_at FROM sessions UNION ALL SELECT last_seen_at FROM users"), &[])
            .await
            .unwrap();
    assert_eq!(seen, [now; 6]);
    assert_eq!(t.people_counts().await.unwrap().active_today, 3);
}
