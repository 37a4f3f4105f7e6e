use super::*;
use crate::testing::{self, TestAccounts};
use crate::{Principal, ROLE_ADMIN, ROLE_USER, SecondFactorRules};

async fn acting(t: &TestAccounts, username: &str) -> Principal {
    let session = t.session(username).await;
    t.principal(&session.token).await.unwrap().unwrap()
}

async fn role(t: &TestAccounts, id: &str) -> RoleRow {
    t.roles().await.unwrap().into_iter().find(|role| role.id == id).unwrap()
}

async fn since(t: &TestAccounts, id: &str) -> Micros {
    let since = t.db.one(sql!("SELECT second_factor_since FROM roles WHERE id = $1"), args![id]).await;
    since.unwrap().unwrap()
}

async fn app(t: &TestAccounts, user_id: &str) {
    let insert = sql!(
        "INSERT INTO totp_factors (id, user_id, secret, created_at, confirmed_at) VALUES ($1, $1, 's', 1, 1)"
    );
    t.db.run(insert, args![user_id]).await.unwrap();
}

/// SEC-3
#[tokio::test]
async fn sec_3_a_requirement_counts_from_when_it_is_switched_on() {
    let t = testing::accounts("role-factor").await;
    t.with_role("boss", ROLE_ADMIN).await;
    let boss = acting(&t, "boss").await;
    assert!(role(&t, ROLE_ADMIN).await.second_factor_required, "Admin requires it by default");
    assert!(!role(&t, ROLE_USER).await.second_factor_required);
    let set = async |required, days| t.set_role_second_factor(&boss, "user", required, days).await;
    assert_eq!(
        set(true, 14).await.unwrap(),
        RoleChanged { id: ROLE_USER.into(), name: "User".into(), changed: true }
    );
    let first = t.clock.now();
    assert_eq!(since(&t, ROLE_USER).await, first);
    t.clock.advance(base::HOUR);
    assert!(!set(true, 14).await.unwrap().changed);
    assert!(set(true, 30).await.unwrap().changed);
    assert_eq!(since(&t, ROLE_USER).await, first, "kept");
    set(false, 30).await.unwrap();
    set(true, 30).await.unwrap();
    assert_eq!(since(&t, ROLE_USER).await, t.clock.now());
    for days in [-1, 91, i64::MAX] {
        assert!(matches!(set(true, days).await, Err(PeopleError::Grace)), "{days}");
    }
    let unknown = t.set_role_second_factor(&boss, "emperor", true, 7).await;
    assert!(matches!(unknown, Err(PeopleError::NoRole)));
}

/// SEC-3: nobody shuts themselves out, neither by no grace at all nor by a shorter one.
#[tokio::test]
async fn sec_3_without_a_factor_of_ones_own_nobody_requires_one_at_once() {
    let t = testing::accounts("role-factor-own").await;
    let boss_user = t.with_role("boss", ROLE_ADMIN).await;
    t.clock.advance(3 * DAY);
    let boss = acting(&t, "boss").await;
    let set = async |role: &str, days| t.set_role_second_factor(&boss, role, true, days).await;
    assert!(matches!(set("User", 0).await, Err(PeopleError::OwnFactorFirst)));
    assert!(matches!(set("Admin", 2).await, Err(PeopleError::OwnFactorFirst)));
    assert!(set("Admin", 4).await.unwrap().changed);
    app(&t, &boss_user.id).await;
    assert!(set("Admin", 0).await.unwrap().changed);
    assert!(set("User", 0).await.unwrap().changed);
    assert!(t.set_role_second_factor(Actor::Operator, "1", false, 7).await.unwrap().changed);
}

/// SEC-92
#[tokio::test]
async fn sec_92_only_who_holds_all_of_a_role_changes_it() {
    let t = testing::accounts("role-factor-above").await;
    t.person("ann").await;
    let insert = sql!(
        "INSERT INTO roles (id, name, name_canonical, built_in, created_at) VALUES ('7', 'Helper', 'helper', FALSE, 1)"
    );
    t.db.run(insert, &[]).await.unwrap();
    for permission in ["chat.use", "api_keys.use", "roles.manage"] {
        let grant = sql!("INSERT INTO role_permissions (role_id, permission) VALUES ('7', $1)");
        t.db.run(grant, args![permission]).await.unwrap();
    }
    t.with_role("helper", "7").await;
    let helper = acting(&t, "helper").await;
    let above = t.set_role_second_factor(&helper, "1", false, 7).await;
    assert!(matches!(above, Err(PeopleError::MoreThanYou)));
    assert!(t.set_role_second_factor(&helper, "2", true, 7).await.unwrap().changed);
    let ann = acting(&t, "ann").await;
    let not = t.set_role_second_factor(&ann, "2", false, 7).await;
    assert!(matches!(not, Err(PeopleError::NotAllowed)));
}

#[tokio::test]
async fn a_role_counts_who_has_no_factor_that_it_accepts() {
    let t = testing::accounts("role-counts").await;
    let boss = t.with_role("boss", ROLE_ADMIN).await;
    let ann = t.person("ann").await;
    t.person("bob").await;
    t.person("shut").await;
    t.deactivate(Actor::Operator, "shut").await.unwrap();
    let counts = async |id: &str| {
        let role = role(&t, id).await;
        (role.people, role.without_factor)
    };
    assert_eq!((counts(ROLE_ADMIN).await, counts(ROLE_USER).await), ((1, 1), (3, 3)));
    for user in [&boss, &ann] {
        t.db.run(sql!("UPDATE users SET email_codes_since = 1 WHERE id = $1"), args![&user.id])
            .await
            .unwrap();
    }
    assert_eq!(counts(ROLE_USER).await, (3, 3), "codes by e-mail are off");
    t.save_second_factor("boss", &SecondFactorRules { email_codes: true, ..SecondFactorRules::default() })
        .await
        .unwrap();
    assert_eq!((counts(ROLE_ADMIN).await, counts(ROLE_USER).await), ((1, 1), (3, 1)), "SEC-47");
    app(&t, &boss.id).await;
    assert_eq!(counts(ROLE_ADMIN).await, (1, 0));
}
