//! GitHub and GitLab by their published documents.

use base::sql;
use parts::github::{Fault, GitHubStub};
use parts::oidc::OidcStub;
use serde_json::{Value, json};

use crate::harness::{NOW, TestApp, Wishes};
use crate::page::text;
use crate::providers_harness::{at_provider, begin, come_back, is_in, param, travel};

async fn with_hub(wish: impl FnOnce(Wishes) -> Wishes) -> (TestApp, GitHubStub) {
    let hub = GitHubStub::start().await;
    let app = wish(Wishes::unlimited().set("ANTEROOM_LIMITS__TRIP_IP", "1000000").hub(&hub)).start().await;
    app.app.setup_done();
    (app, hub)
}

async fn comes_in(app: &TestApp) -> Value {
    let client = app.anon();
    let reply = travel(&client, "/login/hub").await;
    assert_eq!(reply.location(), Some("/chat"), "{reply:?}");
    client.get_json("/api/v1/me").await.json()
}

fn user(id: u64, login: &str) -> Value {
    json!({ "login": login, "id": id, "type": "User", "name": "Ada Lovelace", "email": "public@example.com" })
}

/// GitHub: OAuth 2 with PKCE and its API; the numeric id is who somebody is, the primary address is theirs.
#[tokio::test]
async fn github_signs_in_by_its_api() {
    let (app, hub) = with_hub(|w| w).await;
    let client = app.anon();
    let url = begin(&client, "/login/hub").await;
    assert!(url.as_str().starts_with(&format!("{}/login/oauth/authorize?", hub.base_url())));
    assert_eq!(param(url.as_str(), "scope").as_deref(), Some("read:user user:email"));
    assert_eq!(param(url.as_str(), "code_challenge_method").as_deref(), Some("S256"));
    assert_eq!(param(url.as_str(), "redirect_uri"), Some(format!("{}/login/hub/authorized", app.base)));
    assert_eq!(param(url.as_str(), "nonce"), None, "GitHub has no ID token");
    assert_eq!(come_back(&client, &at_provider(&url).await).await.location(), Some("/chat"));
    let me = client.get_json("/api/v1/me").await.json();
    assert_eq!((&me["username"], &me["email"]), (&json!("ada"), &json!("ada@example.com")));
    assert_eq!((&me["first_name"], &me["last_name"]), (&json!("Ada"), &json!("Lovelace")));
    assert_eq!(me["email_verified"], true);
    let key: Option<(String, String)> =
        app.app.db.one(sql!("SELECT issuer, subject FROM identities"), &[]).await.unwrap();
    assert_eq!(key, Some((hub.base_url().to_owned(), "583231".to_owned())));
}

/// SEC-70: a login name changes hands at GitHub, its number does not.
#[tokio::test]
async fn sec_70_a_github_login_is_nobody() {
    let (app, hub) = with_hub(|w| w).await;
    let first = comes_in(&app).await;
    let mail = |address: &str| json!([{ "email": address, "primary": true, "verified": true }]);
    hub.person(user(583_231, "countess"), mail("countess@example.com"));
    assert_eq!(comes_in(&app).await["id"], first["id"]);
    hub.person(user(99, "ada"), mail("other@example.com"));
    let second = comes_in(&app).await;
    assert_ne!(second["id"], first["id"]);
    assert_eq!(second["username"], "ada-2");
}

/// SEC-71: only the primary address counts, and only its own `verified`.
#[tokio::test]
async fn sec_71_githubs_addresses() {
    let (app, hub) = with_hub(|w| w.set("ANTEROOM_PROVIDERS__HUB__TRUSTED_EMAIL", "true")).await;
    app.account("ann", "User").await;
    let ann = |primary: bool, verified: bool| json!({ "email": "ann@example.org", "primary": primary, "verified": verified });
    // Unverified; or verified, and not the primary one.
    hub.person(user(1, "one"), json!([ann(true, false)]));
    assert_eq!(travel(&app.anon(), "/login/hub").await.location(), Some("/login/link"));
    hub.person(
        user(2, "two"),
        json!([ann(false, true), { "email": "two@example.com", "primary": true, "verified": false }]),
    );
    let two = comes_in(&app).await;
    assert_eq!((&two["email"], &two["email_verified"]), (&json!("two@example.com"), &json!(false)));
    // What /user shows is no proof of anything.
    let mut public = user(3, "three");
    public["email"] = json!("ann@example.org");
    public["email_verified"] = json!(true);
    hub.person(public, json!([]));
    let reply = travel(&app.anon(), "/login/hub").await;
    assert!(reply.status == 403 && text(&reply.body).contains("Your e-mail address is missing"), "{reply:?}");
    hub.person(user(4, "four"), json!([ann(true, true)]));
    assert_eq!(comes_in(&app).await["username"], "ann");
}

/// SEC-73: GitHub says nothing of factors, whatever its API answers.
#[tokio::test]
async fn sec_73_github_claims_no_factor() {
    let (app, hub) = with_hub(|w| {
        w.set("ANTEROOM_PROVIDERS__HUB__SECOND_FACTOR", "stands")
            .set("ANTEROOM_PROVIDERS__HUB__SECOND_FACTOR_ACR", "gold")
    })
    .await;
    let me = comes_in(&app).await;
    app.totp(me["id"].as_str().unwrap()).await;
    let mut boasting = user(583_231, "ada");
    (boasting["acr"], boasting["amr"]) = (json!("gold"), json!(["gold"]));
    hub.person(boasting, json!([{ "email": "ada@example.com", "primary": true, "verified": true }]));
    assert_eq!(travel(&app.anon(), "/login/hub").await.location(), Some("/login/2fa"));
}

/// What GitHub answers with the status 200, and the rest of its troubles.
#[tokio::test]
async fn githubs_troubles_are_told() {
    let (app, hub) = with_hub(|w| w).await;
    let admin = app.admin().await;
    for (fault, status, title, cause) in [
        (Fault::AccessDenied, 403, "Hub did not let you through", "access_denied"),
        (Fault::WrongClient, 502, "Hub does not know this site", "incorrect_client_credentials"),
        (Fault::WrongRedirect, 502, "Hub does not know this site", "redirect_uri_mismatch"),
        (Fault::NoEmails, 403, "Your e-mail address is missing", "check the scopes"),
        (Fault::Down, 502, "Hub does not answer", "HTTP 500"),
    ] {
        hub.fault(fault);
        let client = app.anon();
        let reply = travel(&client, "/login/hub").await;
        let shown = text(&reply.body);
        assert_eq!(reply.status.as_u16(), status, "{fault:?}: {reply:?}");
        assert!(
            shown.contains(title) && shown.contains("Sign in another way") && !shown.contains(cause),
            "{shown}"
        );
        assert!(!is_in(&client));
        let told = text(&admin.get("/admin/errors").await.body);
        assert!(told.contains(cause), "{fault:?}: {told}");
        hub.heal();
    }
    comes_in(&app).await;
}

/// SEC-68: a GitHub code is bound to its trip as well.
#[tokio::test]
async fn sec_68_a_github_code_fits_its_own_trip_only() {
    let (app, _hub) = with_hub(|w| w).await;
    let (victim, thief) = (app.anon(), app.anon());
    let theirs = at_provider(&begin(&victim, "/login/hub").await).await;
    let own = at_provider(&begin(&thief, "/login/hub").await).await;
    let stolen = own.replace(&param(&own, "code").unwrap(), &param(&theirs, "code").unwrap());
    assert_eq!(come_back(&thief, &stolen).await.status, 502);
    assert_eq!(come_back(&thief, &theirs).await.status, 400);
    assert!(!is_in(&thief));
    // SEC-69: a code from elsewhere is named so by `iss`.
    let callback = at_provider(&begin(&victim, "/login/hub").await).await;
    let foreign = format!("{callback}&iss=https%3A%2F%2Fother.example");
    assert_eq!(come_back(&victim, &foreign).await.status, 502);
    assert!(!is_in(&victim));
}

/// GitLab on a server of one's own: found by its base URL, without the `iss` parameter, its groups as roles.
#[tokio::test]
async fn gitlab_signs_in_and_its_groups_give_roles() {
    let lab = OidcStub::gitlab().await;
    lab.set_time(NOW / base::SECOND);
    let app = Wishes::unlimited()
        .gitlab(&lab)
        .set("ANTEROOM_PROVIDERS__GITLAB__ROLE_CLAIM", "groups")
        .set("ANTEROOM_PROVIDERS__GITLAB__ROLES", "staff/engines=Admin")
        .start()
        .await;
    app.app.setup_done();
    app.account("root", "Admin").await;
    assert!(text(&app.anon().get("/login").await.body).contains("Continue with GitLab"));
    let client = app.anon();
    let url = begin(&client, "/login/gitlab").await;
    assert!(url.as_str().starts_with(&format!("{}/oauth/authorize?", lab.issuer())), "{url}");
    assert_eq!(come_back(&client, &at_provider(&url).await).await.location(), Some("/chat"));
    let me = client.get_json("/api/v1/me").await.json();
    assert_eq!((&me["username"], &me["email"]), (&json!("ada"), &json!("ada@example.com")));
    assert_eq!((&me["first_name"], &me["email_verified"]), (&json!("Ada"), &json!(true)));
    assert_eq!(client.get("/admin").await.status, 200, "{me}");
    assert_eq!(travel(&app.anon(), "/login/gitlab").await.location(), Some("/chat"));
    // SEC-69: what it never sends is refused where it names somebody else.
    let callback = at_provider(&begin(&app.anon(), "/login/gitlab").await).await;
    let other = app.anon();
    let own = at_provider(&begin(&other, "/login/gitlab").await).await;
    assert_eq!(come_back(&other, &format!("{own}&iss=https%3A%2F%2Fevil.example")).await.status, 502);
    assert_eq!(come_back(&other, &callback).await.status, 400);
    assert!(!is_in(&other));
}
