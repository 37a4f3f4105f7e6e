#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use base::{DAY, HOUR, args, sql};

use super::*;
use crate::testing::{self, PASSWORD, TestAccounts, client};
use crate::{Cursor, Lock, Refused};

/// The principal of someone who just signed in.
async fn acting(t: &TestAccounts, username: &str) -> Principal {
    let session = t.session(username).await;
    t.principal(&session.token).await.unwrap().unwrap()
}

/// A role with these permissions.
async fn role(t: &TestAccounts, name: &str, permissions: &[Permission]) {
    let mut tx = t.db.begin().await.unwrap();
    tx.run(
        sql!(
            "INSERT INTO roles (id, name, name_canonical, built_in, created_at) VALUES ($1, $1, $1, FALSE, 1)"
        ),
        args![name],
    )
    .await
    .unwrap();
    for permission in permissions {
        tx.run(
            sql!("INSERT INTO role_permissions (role_id, permission) VALUES ($1, $2)"),
            args![name, permission.name()],
        )
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn promote_and_demote_say_whether_they_changed_anything() {
    let t = testing::accounts("people").await;
    t.with_role("boss", ROLE_ADMIN).await;
    let ann = t.person("ann").await;
    let boss = acting(&t, "boss").await;
    assert!(t.promote(&boss, "Ann").await.unwrap().changed);
    assert!(!t.promote(&boss, &ann.id).await.unwrap().changed);
    assert_eq!(t.find_person("ann").await.unwrap().unwrap().roles, ["Admin", "User"]);
    assert!(t.demote(&boss, "ann").await.unwrap().changed);
    assert!(!t.demote(&boss, "ann").await.unwrap().changed);
    assert_eq!(t.find_person("ann").await.unwrap().unwrap().roles, ["User"]);
    assert!(t.assign_role(&boss, "ann", "ADMIN").await.unwrap().changed);
    assert!(matches!(t.assign_role(&boss, "ann", "emperor").await, Err(PeopleError::NoRole)));
    assert!(matches!(t.promote(&boss, "nobody").await, Err(PeopleError::NotFound)));
    let by: Vec<Option<String>> = t
        .db
        .all(sql!("SELECT granted_by FROM user_roles WHERE user_id = $1 AND role_id = '1'"), args![&ann.id])
        .await
        .unwrap();
    assert_eq!(by, [Some(boss.user_id)]);
}

/// SEC-80
#[tokio::test]
async fn sec_80_deactivation_ends_sessions_and_reactivation_lets_sign_in_again() {
    let t = testing::accounts("people-shut").await;
    t.with_role("boss", ROLE_ADMIN).await;
    t.person("ann").await;
    let boss = acting(&t, "boss").await;
    let session = t.session("ann").await;
    let changed = t.deactivate(&boss, "ann").await.unwrap();
    assert!(changed.changed && !changed.user.is_active());
    assert_eq!(t.principal(&session.token).await.unwrap(), None);
    let refused = t.sign_in("ann", PASSWORD, &client("203.0.113.9")).await.unwrap_err();
    assert!(matches!(refused, Refused::Invalid { .. }));
    assert!(!t.deactivate(&boss, "ann").await.unwrap().changed);
    assert_eq!(t.people_counts().await.unwrap().deactivated, 1);
    assert!(t.reactivate(&boss, "ann").await.unwrap().changed);
    assert!(!t.reactivate(&boss, "ann").await.unwrap().changed);
    assert_eq!(t.principal(&session.token).await.unwrap(), None, "the old session came back");
    t.session("ann").await;
    assert!(matches!(t.deactivate(&boss, "boss").await, Err(PeopleError::Yourself)));
}

/// SEC-92
#[tokio::test]
async fn sec_92_nobody_grants_what_they_lack_nor_touches_who_holds_more() {
    let t = testing::accounts("people-rank").await;
    role(
        &t,
        "helpdesk",
        &[Permission::UsersRead, Permission::UsersManage, Permission::ChatUse, Permission::ApiKeysUse],
    )
    .await;
    role(&t, "auditor", &[Permission::AuditRead]).await;
    t.with_role("boss", ROLE_ADMIN).await;
    t.with_role("helper", "helpdesk").await;
    t.with_role("eva", "auditor").await;
    t.person("ann").await;
    let helper = acting(&t, "helper").await;
    assert!(matches!(t.promote(&helper, "ann").await, Err(PeopleError::MoreThanYou)));
    assert!(matches!(t.promote(&helper, "helper").await, Err(PeopleError::MoreThanYou)));
    assert!(matches!(t.assign_role(&helper, "ann", "auditor").await, Err(PeopleError::MoreThanYou)));
    for above in ["boss", "eva"] {
        assert!(matches!(t.deactivate(&helper, above).await, Err(PeopleError::MoreThanYou)), "{above}");
        assert!(matches!(t.demote(&helper, above).await, Err(PeopleError::MoreThanYou)), "{above}");
        assert!(matches!(t.unlock(&helper, above).await, Err(PeopleError::MoreThanYou)), "{above}");
    }
    assert!(t.assign_role(&helper, "ann", "helpdesk").await.unwrap().changed);
    assert!(t.deactivate(&helper, "ann").await.unwrap().changed);
    assert!(matches!(t.reactivate(&helper, "boss").await, Err(PeopleError::MoreThanYou)));
    // Rights are read when the change is made, not when the request began.
    t.db.run(sql!("DELETE FROM user_roles WHERE role_id = 'helpdesk'"), &[]).await.unwrap();
    assert!(matches!(t.reactivate(&helper, "ann").await, Err(PeopleError::NotAllowed)));
    let boss = acting(&t, "boss").await;
    t.db.run(sql!("UPDATE users SET deactivated_at = 1 WHERE id = $1"), args![&boss.user_id]).await.unwrap();
    assert!(matches!(t.promote(&boss, "ann").await, Err(PeopleError::NotAllowed)));
    let eva = acting(&t, "eva").await;
    assert!(matches!(t.deactivate(&eva, "nobody").await, Err(PeopleError::NotAllowed)));
}

/// SEC-93
#[tokio::test]
async fn sec_93_the_last_active_admin_stays() {
    let t = testing::accounts("people-last").await;
    t.with_role("boss", ROLE_ADMIN).await;
    let boss = acting(&t, "boss").await;
    assert!(matches!(t.demote(&boss, "boss").await, Err(PeopleError::LastAdmin)));
    assert!(matches!(t.demote(Actor::Operator, "boss").await, Err(PeopleError::LastAdmin)));
    assert!(matches!(t.deactivate(Actor::Operator, "boss").await, Err(PeopleError::LastAdmin)));
    // A deactivated Admin does not count.
    t.with_role("second", ROLE_ADMIN).await;
    t.deactivate(&boss, "second").await.unwrap();
    assert!(matches!(t.demote(&boss, "boss").await, Err(PeopleError::LastAdmin)));
    t.demote(&boss, "second").await.unwrap();
    t.reactivate(&boss, "second").await.unwrap();
    t.promote(&boss, "second").await.unwrap();
    assert!(t.demote(&boss, "boss").await.unwrap().changed);
}

/// SEC-93
#[tokio::test]
async fn sec_93_fifty_parallel_tries_leave_one_admin() {
    let t = testing::accounts("people-race").await;
    for n in 0..10 {
        t.with_role(&format!("admin{n}"), ROLE_ADMIN).await;
    }
    let tasks: Vec<_> = (0..50)
        .map(|n: u32| {
            let accounts = t.accounts.clone();
            tokio::spawn(async move {
                let person = format!("admin{}", n % 10);
                let done = if n.is_multiple_of(2) {
                    accounts.demote(Actor::Operator, &person).await
                } else {
                    accounts.deactivate(Actor::Operator, &person).await
                };
                assert!(matches!(done, Ok(_) | Err(PeopleError::LastAdmin)), "{done:?}");
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let admins: Option<i64> =
        t.db.one(
            sql!(
                "SELECT COUNT(*) FROM user_roles ur JOIN users u ON u.id = ur.user_id
                 WHERE ur.role_id = '1' AND u.deactivated_at IS NULL"
            ),
            &[],
        )
        .await
        .unwrap();
    assert_eq!(admins, Some(1));
    assert!(!t.setup_needed().await.unwrap());
}

#[tokio::test]
async fn the_list_goes_forwards_and_backwards_by_username() {
    let t = testing::accounts("people-list").await;
    let prepared = t.prepared("zoe").await;
    let mut tx = t.db.begin().await.unwrap();
    t.insert_account(&mut tx, &prepared, ROLE_USER, true, None).await.unwrap();
    for n in 0..119 {
        let name = format!("user{n:03}");
        tx.run(
            sql!(
                "INSERT INTO users (id, username, username_canonical, email, email_canonical, first_name, last_name,
                   created_at, search) VALUES ($1, $1, $1, $2, $2, 'A', 'B', 1, $1)"
            ),
            args![&name, &format!("{name}@x.example")],
        )
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    let mut names = Vec::new();
    let mut cursor = Cursor::Start;
    let mut pages = Vec::new();
    loop {
        let page = t.people("", &cursor).await.unwrap();
        names.extend(page.rows.iter().map(|person| person.user.username.clone()));
        let next = page.next.clone();
        pages.push(page);
        match next {
            Some(next) => cursor = Cursor::After(next),
            None => break,
        }
    }
    assert_eq!((names.len(), pages.len()), (120, 3));
    assert!(names.is_sorted());
    assert_eq!(pages[0].previous, None);
    let back = t.people("", &Cursor::Before(pages[2].previous.clone().unwrap())).await.unwrap();
    assert_eq!(back.rows, pages[1].rows);
    let back = t.people("", &Cursor::Before(back.previous.unwrap())).await.unwrap();
    assert_eq!((&back.rows, back.previous), (&pages[0].rows, None));
}

#[tokio::test]
async fn the_search_takes_any_part_literally() {
    let t = testing::accounts("people-search").await;
    t.person("ann_lee").await;
    t.person("annalee").await;
    let found = async |search: &str| -> Vec<String> {
        let page = t.people(search, &Cursor::Start).await.unwrap();
        page.rows.into_iter().map(|person| person.user.username).collect()
    };
    assert_eq!(found("ANN_").await, ["ann_lee"]);
    assert_eq!(found(" lee@EXAMPLE ").await, ["ann_lee", "annalee"]);
    assert_eq!(found("given family").await.len(), 2);
    for nothing in ["%", "x%", "\\", "nobody"] {
        assert!(found(nothing).await.is_empty(), "{nothing}");
    }
    let users = t.people_by_id(&[t.find_person("annalee").await.unwrap().unwrap().user.id]).await.unwrap();
    assert_eq!(users.values().map(|user| user.username.as_str()).collect::<Vec<_>>(), ["annalee"]);
}

#[tokio::test]
async fn people_are_counted_by_when_they_were_seen() {
    let t = testing::accounts("people-counts").await;
    for (name, ago) in [("today", HOUR), ("week", 3 * DAY), ("month", 20 * DAY), ("year", 200 * DAY)] {
        let user = t.person(name).await;
        t.db.run(
            sql!("UPDATE users SET last_seen_at = $2 WHERE id = $1"),
            args![&user.id, t.clock.now() - ago],
        )
        .await
        .unwrap();
    }
    t.person("never").await;
    assert_eq!(
        t.people_counts().await.unwrap(),
        crate::Counts { total: 5, active_today: 1, active_7_days: 2, active_30_days: 3, deactivated: 0 }
    );
}

/// SEC-28: ten failures lock for a while, a hundred until someone unlocks it, and the list says so.
#[tokio::test]
async fn sec_28_a_lock_is_seen_and_lifted() {
    let t = testing::accounts("people-lock").await;
    let ann = t.with_role("ann", ROLE_ADMIN).await;
    let lock = async || t.find_person("ann").await.unwrap().unwrap().lock(t.clock.now());
    let set = async |failures: i64, until: Option<base::Micros>| {
        let args = args![&ann.id, failures, until];
        t.db.run(sql!("UPDATE users SET failures = $2, locked_until = $3 WHERE id = $1"), args)
            .await
            .unwrap();
    };
    assert_eq!(lock().await, None);
    let until = t.clock.now() + HOUR;
    set(10, Some(until)).await;
    assert_eq!(lock().await, Some(Lock::Until(until)));
    assert_eq!(t.people("", &Cursor::Start).await.unwrap().rows[0].lock(until), None);
    set(100, Some(t.clock.now())).await;
    assert_eq!(lock().await, Some(Lock::Lasting));
    let refused = t.sign_in("ann", PASSWORD, &client("198.51.100.1")).await.unwrap_err();
    assert!(matches!(refused, Refused::Limited { .. }));
    assert!(t.unlock(Actor::Operator, "Ann").await.unwrap().changed);
    assert!(!t.unlock(Actor::Operator, "ann").await.unwrap().changed);
    assert_eq!(lock().await, None);
    t.session("ann").await;
}

/// SEC-81, SEC-92
#[tokio::test]
async fn sec_81_signing_someone_out_ends_every_session_and_needs_as_much_as_they_have() {
    let t = testing::accounts("people-sign-out").await;
    t.with_role("boss", ROLE_ADMIN).await;
    role(&t, "helper", &[Permission::UsersManage]).await;
    t.with_role("hal", "helper").await;
    let ann = t.person("ann").await;
    let (boss, hal) = (acting(&t, "boss").await, acting(&t, "hal").await);
    let (first, second) = (t.session("ann").await, t.session("ann").await);
    let mut heard = t.watch_ended();
    assert!(matches!(t.sign_out(&hal, "boss").await, Err(PeopleError::MoreThanYou)));
    let annie = acting(&t, "ann").await;
    assert!(matches!(t.sign_out(&annie, "boss").await, Err(PeopleError::NotAllowed)));
    assert!(t.sign_out(&boss, &ann.id).await.unwrap().changed);
    assert!(!t.sign_out(&boss, &ann.id).await.unwrap().changed);
    for session in [&first, &second] {
        assert_eq!(t.principal(&session.token).await.unwrap(), None);
    }
    assert!(matches!(heard.try_recv(), Ok(crate::Ended::Session(_))));
    assert_eq!(t.list_sessions(&boss.user_id).await.unwrap().len(), 1, "nobody else's");
}
