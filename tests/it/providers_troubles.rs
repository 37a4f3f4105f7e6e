//! Providers that fail, and what is never kept or written of them (SEC-75, SEC-88, SEC-97, SEC-98).

use std::time::Duration;

use base::db::Engine;
use base::sql;
use parts::http::{Client, Reply};
use parts::oidc::{CLIENT_SECRET, Fault, OidcStub, Part};
use serde_json::json;

use crate::harness::{TestApp, Wishes};
use crate::page::text;
use crate::program::Program;
use crate::providers_harness::{Corp, at_provider, begin, come_back, corp, corp_with, is_in, param, travel};

/// The page of a trouble: status, title, words without a cause, another way in, the request's id.
fn is_told(reply: &Reply, client: &Client, status: u16, title: &str, cause: &str) {
    let shown = text(&reply.body);
    assert_eq!(reply.status.as_u16(), status, "{title}: {reply:?}");
    assert!(shown.contains(title), "{title}: {shown}");
    assert!(shown.contains("Sign in another way") && reply.body.contains("href=\"/login"), "{shown}");
    assert!(shown.contains(reply.header("x-request-id").unwrap()), "{title}: {shown}");
    assert!(cause.is_empty() || !shown.contains(cause), "{title}: {shown}");
    for word in ["127.0.0.1", "HTTP 5", "SEC-", "JSON", "invalid_client", "code-", "access-"] {
        assert!(!shown.contains(word), "{word} in {shown}");
    }
    assert!(!is_in(client), "{title}");
}

async fn people(app: &TestApp) -> i64 {
    app.app.db.one(sql!("SELECT COUNT(*) FROM users"), &[]).await.unwrap().unwrap()
}

/// What goes wrong on the way back is told in plain words, with the cause for the Admins; programs get a problem.
#[tokio::test]
async fn troubles_on_the_way_back_are_told() {
    let house = corp().await;
    let admin = house.app.admin().await;
    for (fault, status, title, cause) in [
        (Fault::AccessDenied, 403, "Corp ID did not let you through", "access_denied"),
        (Fault::InvalidClient, 502, "Corp ID does not know this site", "invalid_client"),
        (Fault::Error(Part::Token), 502, "Corp ID does not answer", "HTTP 500"),
        (Fault::Garbage(Part::Token), 502, "Corp ID does not answer", "something else than tokens"),
        (Fault::Huge(Part::Token), 502, "Corp ID does not answer", "too_long"),
        (Fault::Redirect(Part::Token), 502, "Corp ID does not answer", "not followed"),
        (Fault::Expired, 502, "A clock is wrong", "expired"),
        (Fault::BadSignature, 502, "What Corp ID sent does not hold", "signature"),
    ] {
        house.idp.fault(fault);
        let client = house.app.anon();
        let reply = house.sign_in(&client).await;
        is_told(&reply, &client, status, title, cause);
        let told = house.causes(&admin).await;
        assert!(told.contains(title) && told.contains(cause), "{fault:?}: {told}");
        assert!(told.contains(reply.header("x-request-id").unwrap()), "the id leads to the entry: {told}");
        assert!(
            !told.contains(CLIENT_SECRET) && !told.contains("code-") && !told.contains("access-"),
            "{told}"
        );

        let callback = at_provider(&begin(&client, "/login/corp").await).await;
        let problem = client.get_json(&callback).await;
        assert_eq!(problem.status.as_u16(), status, "{fault:?}: {problem:?}");
        assert_eq!(problem.header("content-type"), Some("application/problem+json"));
        let detail = problem.json().to_string();
        assert!(!detail.contains(cause) || status == 403, "{detail}");
        assert_eq!(problem.json()["request_id"].as_str(), problem.header("x-request-id"));
        assert!(!is_in(&client));
        house.idp.heal();
    }
    assert_eq!(people(&house.app).await, 1);
    // Where trying again may help there is a button for it, where it cannot there is none.
    for (fault, again) in [(Fault::AccessDenied, true), (Fault::InvalidClient, false)] {
        house.idp.fault(fault);
        let page = travel(&house.app.anon(), "/login/corp?next=/settings").await.body;
        assert_eq!(page.contains("/login/corp?next=%2Fsettings"), again, "{page}");
        assert!(page.contains("/login?next=%2Fsettings"), "{page}");
        house.idp.heal();
    }
    house.person().await;
}

/// What goes wrong on the way there as well: nobody is sent off.
#[tokio::test]
async fn troubles_on_the_way_there_are_told() {
    let house = corp().await;
    let admin = house.app.admin().await;
    for (fault, title, cause) in [
        (Fault::Error(Part::Discovery), "Corp ID does not answer", "HTTP 500"),
        (Fault::Garbage(Part::Discovery), "Corp ID does not answer", "sends no JSON"),
        (Fault::Huge(Part::Discovery), "Corp ID does not answer", "too_long"),
        (Fault::Redirect(Part::Discovery), "Corp ID does not answer", "not followed"),
        (Fault::ForeignDiscovery, "What Corp ID sent does not hold", "other.example"),
    ] {
        house.idp.fault(fault);
        let client = house.app.anon();
        is_told(&client.get("/login/corp").await, &client, 502, title, cause);
        is_told(&client.submit("/login", "/login/corp", &[]).await, &client, 502, title, cause);
        let problem = client.get_json("/login/corp").await;
        assert_eq!(
            (problem.status.as_u16(), problem.header("content-type")),
            (502, Some("application/problem+json"))
        );
        let told = house.causes(&admin).await;
        assert!(told.contains(title) && told.contains(cause), "{fault:?}: {told}");
        house.idp.heal();
    }
    begin(&house.app.anon(), "/login/corp").await;
    for fault in [Fault::Error(Part::Jwks), Fault::Garbage(Part::Jwks), Fault::Huge(Part::Jwks)] {
        house.idp.fault(fault);
        let client = house.app.anon();
        is_told(&house.sign_in(&client).await, &client, 502, "Corp ID does not answer", "Jwks");
        house.idp.heal();
    }
}

/// A provider that is gone, from one moment to the next, takes no other way in with it.
#[tokio::test]
async fn a_provider_that_is_gone_is_told() {
    let Corp { app, idp } = corp().await;
    let client = app.anon();
    let callback = at_provider(&begin(&client, "/login/corp").await).await;
    drop(idp);
    tokio::task::yield_now().await;
    is_told(&come_back(&client, &callback).await, &client, 502, "Corp ID does not answer", "refused");
    let ann = app.user("ann").await;
    assert_eq!(ann.get("/chat").await.status, 200);
}

/// SEC-75: a provider that never answers is given up after its five seconds, and nobody else waits meanwhile.
#[tokio::test]
async fn sec_75_a_silent_provider_is_given_up() {
    let house = corp().await;
    house.app.account("ann", "User").await;
    house.idp.fault(Fault::Silent(Part::Discovery));
    let client = house.app.anon();
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { client.get("/login/corp").await })
    };
    assert_eq!(house.app.sign_in(&house.app.anon(), "ann").await.status, 200);
    let reply = tokio::time::timeout(Duration::from_secs(9), waiting).await.unwrap().unwrap();
    is_told(&reply, &client, 502, "Corp ID does not answer", "timed out");
}

/// A provider that tells no address makes no account; with the address in UserInfo it does.
#[tokio::test]
async fn a_missing_address_is_told() {
    let house = corp().await;
    let admin = house.app.admin().await;
    for email in [json!(null), json!(""), json!("nobody"), json!(["a@example.com"]), json!("a b@example.com")]
    {
        house.idp.person(
            json!({ "sub": "n", "email": email, "email_verified": true, "preferred_username": "nemo" }),
        );
        let client = house.app.anon();
        is_told(&house.sign_in(&client).await, &client, 403, "Your e-mail address is missing", "UserInfo");
    }
    let told = house.causes(&admin).await;
    assert!(told.contains("Corp ID told no e-mail address") && told.contains("check the scopes"), "{told}");
    assert_eq!(people(&house.app).await, 1);
    house.idp.person(json!({ "sub": "n", "email": "nemo@example.com", "email_verified": true }));
    house.idp.fault(Fault::ThinToken);
    assert_eq!(house.who(&house.person().await).await, "nemo");
}

/// Whoever writes an address by hand gets known words only into the page and into the Admins' list.
#[tokio::test]
async fn an_error_that_a_browser_brings_is_a_word_only() {
    let house = corp().await;
    let admin = house.app.admin().await;
    for (error, status) in [
        ("%3Cscript%3Ealert(1)%3C/script%3E", 403),
        ("server_error", 502),
        ("unauthorized_client", 502),
        ("interaction_required", 403),
        ("", 403),
    ] {
        let client = house.app.anon();
        let callback = at_provider(&begin(&client, "/login/corp").await).await;
        let state = param(&callback, "state").unwrap();
        let path = format!("/login/corp/authorized?error={error}&error_description=%3Cb%3Eboo&state={state}");
        let reply = come_back(&client, &path).await;
        assert_eq!(reply.status.as_u16(), status, "{error}: {reply:?}");
        assert!(!reply.body.contains("alert(1)") && !reply.body.contains("boo") && !is_in(&client));
    }
    let list = admin.get("/admin/errors").await.body;
    assert!(!list.contains("alert(1)") && !list.contains("boo"), "{list}");
}

/// SEC-98: what discovery names in a private network is not called.
#[tokio::test]
async fn sec_98_discovery_leads_nowhere_private() {
    let house = corp().await;
    house.idp.fault(Fault::PrivateToken);
    let client = house.app.anon();
    is_told(&house.sign_in(&client).await, &client, 502, "Corp ID does not answer", "10.0.0.1");
    let admin = house.app.admin().await;
    let told = house.causes(&admin).await;
    assert!(told.contains("10.0.0.1") && told.contains("SEC-98"), "{told}");
}

/// Everything that the database and the data folder hold, as text.
async fn everything(app: &TestApp) -> String {
    let mut all = String::new();
    if app.app.db.engine() == Engine::Postgres {
        let dump = sql!("SELECT CAST(schema_to_xml('public', true, false, '') AS TEXT)");
        all.push_str(&app.app.db.one::<String>(dump, &[]).await.unwrap().unwrap());
    }
    let mut folders = vec![app.folder.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap()));
            }
        }
    }
    all
}

/// SEC-75: neither codes nor tokens are kept, nor what a trip took along once it is over, nor anything of it in clear
/// while it lasts.
#[tokio::test]
async fn sec_75_tokens_are_not_stored() {
    let house = corp_with(|w| w.corp("TRUSTED_EMAIL", "true")).await;
    house.app.account("ann", "User").await;
    house.person().await;
    house.idp.person(json!({ "sub": "a", "email": "ann@example.org", "email_verified": true }));
    house.person().await;
    house.idp.person(json!({ "sub": "z", "email": "ann@example.org", "email_verified": false }));
    house.sign_in(&house.app.anon()).await;
    house.idp.fault(Fault::BadSignature);
    house.sign_in(&house.app.anon()).await;
    let on_its_way = house.app.anon();
    let url = begin(&on_its_way, "/login/corp?next=/settings").await;
    house.app.mails().await;

    let all = everything(&house.app).await;
    assert!(all.contains("ada@example.com") && all.contains("/settings"), "the look finds what is there");
    let mut secrets = house.idp.handed_out();
    assert_eq!(secrets.len(), 12, "four codes, each for two tokens");
    secrets.push(CLIENT_SECRET.to_owned());
    secrets.extend(["state", "nonce"].iter().map(|name| param(url.as_str(), name).unwrap()));
    secrets.push(on_its_way.cookie("anteroom-trip").unwrap());
    for secret in secrets {
        assert!(!all.contains(&secret), "{secret} is kept");
    }
}

/// SEC-97: at debug the log tells of trips, and none of what is secret on them.
#[tokio::test]
async fn sec_97_the_log_holds_nothing_of_a_trip() {
    let idp = OidcStub::start().await;
    let mut program = Program::new().await.set("ANTEROOM_LOGGING__FILTER", "debug");
    for (key, value) in [
        ("ISSUER", idp.issuer()),
        ("CLIENT_ID", parts::oidc::CLIENT_ID),
        ("CLIENT_SECRET", CLIENT_SECRET),
        ("LABEL", "Corp ID"),
        ("ROLE_CLAIM", "groups"),
        ("ROLES", "boss=Admin"),
    ] {
        program = program.set(&format!("ANTEROOM_PROVIDERS__CORP__{key}"), value);
    }
    program.account("root", "Admin").await;
    let mut server = program.serve().await;
    idp.person(json!({ "sub": "subject-of-ada", "email": "ada@example.com", "email_verified": true, "groups": ["boss", "gossip-club"] }));
    let mut secrets = Vec::new();
    for fault in [None, Some(Fault::InvalidClient), Some(Fault::WrongNonce), Some(Fault::AccessDenied), None]
    {
        if let Some(fault) = fault {
            idp.fault(fault);
        }
        let client = server.client();
        let url = begin(&client, "/login/corp?next=/settings%3Fq%3Dfindme").await;
        for name in ["state", "nonce", "code_challenge"] {
            secrets.push(param(url.as_str(), name).unwrap());
        }
        secrets.extend(client.cookie("anteroom-trip"));
        let callback = at_provider(&url).await;
        come_back(&client, &callback).await;
        // A replay, and one of another browser.
        come_back(&client, &callback).await;
        come_back(&server.client(), &callback).await;
        secrets.extend(["anteroom", "anteroom-flash"].iter().filter_map(|name| client.cookie(name)));
        idp.heal();
    }
    server.terminate();
    assert!(server.ended().await.success());
    let log = program.log();
    assert!(log.contains("http.route=/login/{provider}/authorized"), "{log}");
    assert!(log.contains("a sign-in at a provider failed"), "{log}");
    secrets.extend(idp.handed_out());
    for known in [CLIENT_SECRET, "ada@example.com", "subject-of-ada", "gossip-club", "findme"] {
        secrets.push(known.to_owned());
    }
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{secret} is in the log: {line:?}");
    }
}

/// SEC-88: a provider's set-up that makes no sense stops the start, with the field and what to do, and no secret.
#[tokio::test]
async fn sec_88_a_provider_that_makes_no_sense_stops_the_start() {
    let program = Program::new()
        .await
        .set("ANTEROOM_PROVIDERS__CORP__ISSUER", "http://id.example.org")
        .set("ANTEROOM_PROVIDERS__CORP__CLIENT_ID", "x")
        .set("ANTEROOM_PROVIDERS__CORP__CLIENT_SECRET", "very-secret-words");
    let left = program.run(&["doctor"], "").await;
    let told = format!("{}{}", left.out, left.err);
    assert!(left.code != Some(0) && told.contains("providers.corp.issuer"), "{left:?}");
    assert!(told.contains("https://") && !told.contains("very-secret-words"), "{told}");
}

/// A provider of which the environment names nothing but empty values is none.
#[tokio::test]
async fn a_provider_without_a_set_up_is_not_there() {
    let app = Wishes::unlimited().set("ANTEROOM_PROVIDERS__CORP__CLIENT_ID", "").start().await;
    for path in ["/login/corp", "/login/corp/authorized?code=1&state=2"] {
        assert_eq!(app.anon().get(path).await.status, 404);
        assert_eq!(app.anon().get_json(path).await.json()["type"], "/problems/not-found");
    }
    assert!(!text(&app.anon().get("/login").await.body).contains("Continue with"));
}
