//! "Test sign-in" of the settings page.

use base::sql;
use parts::http::{Client, Reply, escape};
use parts::oidc::{CLIENT_SECRET, Fault, Part};
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::page::text;
use crate::providers_admin::{PATH, count, fields, json_post};
use crate::providers_harness::{at_provider, come_back, corp, corp_with, going_url, idp};

const TABLES: [&str; 7] =
    ["users", "identities", "sessions", "challenges", "pending_links", "chats", "mail_outbox"];

async fn counts(app: &TestApp) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in TABLES {
        counts.push(count(app, table).await);
    }
    counts
}

/// Tries a provider and gives the page that comes of it.
async fn try_it(app: &TestApp, client: &Client, name: &str) -> Reply {
    let reply = app.post(client, &format!("{PATH}/{name}/test"), &[]).await;
    come_back(client, &at_provider(&going_url(&reply)).await).await
}

/// What was tried shows everything and changes nothing.
#[tokio::test]
async fn a_test_shows_what_would_happen_and_changes_nothing() {
    let corp = corp_with(|wishes| {
        wishes
            .corp("ROLE_CLAIM", "groups")
            .corp("ROLES", "admins=Admin,staff=User,old=Gone")
            .corp("SECOND_FACTOR", "stands")
            .corp("SECOND_FACTOR_AMR", "mfa")
    })
    .await;
    let app = &corp.app;
    let root = app.admin().await;
    let person = |more: Value| {
        let mut claims = json!({
            "sub": "ada-1", "email": "ada@example.com", "email_verified": true, "given_name": "Ada",
            "family_name": "Lovelace", "preferred_username": "ada", "groups": ["staff", "<i>"], "amr": ["pwd", "mfa"],
            "note": "x".repeat(300),
        });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        corp.idp.person(claims);
    };
    person(json!({}));
    let before = counts(app).await;
    let page = try_it(app, &root, "corp").await;
    assert_eq!(page.status, 200, "{page:?}");
    let words = text(&page.body);
    for expected in [
        "Nothing was changed.",
        "A new account ada would be made",
        "With the role User",
        "This sign-in stands for it.",
        "Roles that would be given User",
        "Roles that would be taken Admin, Gone",
        "Roles that do not exist here Gone",
        corp.idp.issuer(),
        "ada-1",
        "E-mail confirmed there yes",
        "pwd, mfa",
        "2026-11-20T12:00:00Z",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    assert!(page.body.contains("[&#34;staff&#34;,&#34;&#60;i&#62;&#34;]"), "{page:?}");
    assert!(page.body.contains("All of it") && page.body.contains(&"x".repeat(300)));
    assert!(!page.body.contains("access-") && !page.body.contains("<code>nonce</code>"), "{page:?}");
    assert!(!page.body.contains("<code>at_hash</code>"));
    assert_eq!(counts(app).await, before, "{TABLES:?}");
    assert_eq!(app.principal(&root).await.username, "root", "still");

    // Each decision, as programs see it too.
    let decide = async || {
        let reply = json_post(app, &root, &format!("{PATH}/corp/test"), &json!({})).await;
        let url = url::Url::parse(reply.json()["url"].as_str().unwrap()).unwrap();
        let told = root.get_json(&at_provider(&url).await).await.json();
        (told["decision"].as_str().unwrap().to_owned(), told)
    };
    let (decision, told) = decide().await;
    assert_eq!((decision.as_str(), &told["username"]), ("created", &json!("ada")));
    assert_eq!(told["roles"], json!({ "mapped": ["Admin", "User", "Gone"], "granted": ["User"] }));
    assert_eq!(told["unknown_roles"], json!(["Gone"]));
    assert_eq!((&told["email_verified"], &told["claims"]["email_verified"]), (&json!(true), &json!(true)));
    person(json!({ "email_verified": "true", "groups": null, "amr": ["pwd"] }));
    let (_, told) = decide().await;
    assert_eq!((&told["email_verified"], &told["claims"]["email_verified"]), (&json!(false), &json!("true")));
    assert_eq!((&told["roles"], &told["stands_for_second_factor"]), (&Value::Null, &json!(false)));
    person(json!({ "email": null }));
    assert_eq!(decide().await.0, "refused");
    person(json!({ "email": "root@example.org" }));
    let (decision, told) = decide().await;
    assert_eq!((decision.as_str(), &told["lets_in"]), ("prove", &json!(false)));
    assert_eq!(counts(app).await, before, "{TABLES:?}");

    // Known, and then deactivated.
    person(json!({}));
    let ada = corp.person().await;
    let before = counts(app).await;
    let (decision, told) = decide().await;
    assert_eq!((decision.as_str(), &told["username"]), ("known", &json!("ada")));
    app.app.db.run(sql!("UPDATE users SET deactivated_at = 1 WHERE username = 'ada'"), &[]).await.unwrap();
    assert_eq!(decide().await.0, "refused");
    assert_eq!(counts(app).await, before);
    drop(ada);
}

/// A provider can be tried before anybody else may use it.
#[tokio::test]
async fn a_disabled_provider_is_tried_by_its_admin_only() {
    let (app, idp) = (TestApp::start().await, idp().await);
    let root = app.admin().await;
    app.post(&root, PATH, &fields("works", idp.issuer())).await;
    app.post(&root, &format!("{PATH}/works/disable"), &[]).await;
    let page = try_it(&app, &root, "works").await;
    assert!(page.status == 200 && text(&page.body).contains("A new account ada would be made"), "{page:?}");
    assert_eq!(app.anon().get("/login/works").await.status, 404);
}

/// SEC-68: what one session began no other finishes, nor the same one twice.
#[tokio::test]
async fn sec_68_a_test_ends_where_it_began() {
    let corp = corp().await;
    let app = &corp.app;
    let root = app.admin().await;
    let second = app.person("second", "Admin").await;
    let going = app.post(&root, &format!("{PATH}/corp/test"), &[]).await;
    let callback = at_provider(&going_url(&going)).await;
    let stranger = second.get(&callback).await;
    assert_eq!(stranger.status, 400, "{stranger:?}");
    // Not with the browser's cookie either.
    second.set_cookie("anteroom-trip", &root.cookie("anteroom-trip").unwrap());
    let reply = second.get(&callback).await;
    assert!(reply.status == 400 && !reply.body.contains("ada-1"), "{reply:?}");
    // That used it up.
    assert_eq!(root.get(&callback).await.status, 400);
    let page = try_it(app, &root, "corp").await;
    assert!(page.status == 200 && page.body.contains("ada-1"), "{page:?}");
}

/// The Admin who tries is told the cause; who signs in is not (SEC-88).
#[tokio::test]
async fn sec_88_the_cause_of_a_failed_test_is_for_the_admin() {
    let corp = corp().await;
    let app = &corp.app;
    let root = app.admin().await;
    corp.idp.fault(Fault::InvalidClient);
    let page = try_it(app, &root, "corp").await;
    assert_eq!(page.status, 502, "{page:?}");
    assert!(page.body.contains("The cause:") && page.body.contains("invalid_client"), "{page:?}");
    assert!(page.body.contains("href=\"/admin/settings#providers\""), "{page:?}");
    assert!(!page.body.contains(&escape(CLIENT_SECRET)) && !page.body.contains(CLIENT_SECRET));
    let other = corp.sign_in(&app.anon()).await;
    assert!(other.status == 502 && !other.body.contains("invalid_client"), "{other:?}");
    corp.idp.heal();
    corp.idp.fault(Fault::Error(Part::Token));
    let page = try_it(app, &root, "corp").await;
    assert!(page.status == 502 && page.body.contains("HTTP 500"), "{page:?}");
}
