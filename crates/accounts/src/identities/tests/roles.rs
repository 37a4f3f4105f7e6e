//! Roles by claim (SEC-74).

use serde_json::json;

use super::*;
use crate::{ROLE_ADMIN, ROLE_USER};

fn mapped() -> ProviderRules {
    ProviderRules {
        role_claim: Some("realm.roles".into()),
        roles: vec![
            ("admins".into(), "Admin".into()),
            ("owners".into(), "Admin".into()),
            ("ghosts".into(), "Ghost".into()),
        ],
        ..rules()
    }
}

fn with_roles(name: &str, roles: &[&str]) -> Vouched {
    Vouched { claims: json!({ "realm": { "roles": roles } }), ..vouched(name) }
}

async fn roles_of(t: &TestAccounts, session: &NewSession) -> Vec<String> {
    t.as_principal(session).await.roles.into_iter().map(|(id, _)| id).collect()
}

/// SEC-74
#[tokio::test]
async fn sec_74_role_claims_rule_where_mapped_and_present() {
    let t = crate::testing::accounts("roles").await;
    t.with_role("root", ROLE_ADMIN).await;
    let rules = mapped();
    let session = t.signs_in(&with_roles("ann", &["owners", "ghosts", "nobody"]), &rules).await;
    assert_eq!(roles_of(&t, &session).await, [ROLE_ADMIN, ROLE_USER]);
    for nothing in [json!({}), json!({ "realm": { "roles": null } }), json!({ "realm": { "roles": 7 } })] {
        let came = Vouched { claims: nothing, ..vouched("ann") };
        let session = t.signs_in(&came, &rules).await;
        assert_eq!(roles_of(&t, &session).await, [ROLE_ADMIN, ROLE_USER], "absent: nothing changes");
    }
    let session = t.signs_in(&with_roles("ann", &[]), &rules).await;
    assert_eq!(roles_of(&t, &session).await, [ROLE_USER], "roles outside the map stay");
    let unmapped = ProviderRules { role_claim: None, ..rules };
    let session = t.signs_in(&with_roles("ann", &["admins"]), &unmapped).await;
    assert_eq!(roles_of(&t, &session).await, [ROLE_USER]);
}

/// SEC-74, SEC-93
#[tokio::test]
async fn sec_74_twenty_sign_ins_never_take_the_last_admin() {
    let t = crate::testing::accounts("roles-last").await;
    let rules = mapped();
    for name in ["ann", "ben"] {
        t.signs_in(&with_roles(name, &["admins"]), &rules).await;
    }
    race(&t, |accounts, n| async move {
        let name = if n % 2 == 0 { "ann" } else { "ben" };
        let first = factor(arrive_from(&accounts, &with_roles(name, &[]), &mapped(), n).await.unwrap());
        accounts.complete_login(first, &client("192.0.2.7")).await.unwrap();
    })
    .await;
    let admins = t.count(sql!("SELECT COUNT(*) FROM user_roles WHERE role_id = '1'")).await;
    assert_eq!(admins, 1);
}

#[test]
fn claims_are_found_by_name_path_and_pointer_in_every_shape() {
    let rules = |path: &str| ProviderRules { role_claim: Some(path.into()), ..mapped() };
    let claims = json!({
        "https://corp.example/roles": ["admins"],
        "groups": "owners",
        "a": { "b/c": ["admins", 7] },
        "project": { "admins": { "org": 1 } },
    });
    let came = Vouched { claims, ..vouched("ann") };
    for path in ["https://corp.example/roles", "groups", "/a/b~1c", "a.b/c", "project"] {
        let claim = rules(path).role_claim(&came).unwrap();
        assert_eq!(claim.granted, ["Admin"], "{path}");
        assert_eq!(claim.mapped, ["Admin", "Ghost"]);
    }
    for path in ["nothing", "a.x", "/a/x", ""] {
        assert_eq!(rules(path).role_claim(&came), None, "{path}");
    }
}
