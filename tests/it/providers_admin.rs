//! Providers that Admins set up.

use anteroom::app::{App, Outside};
use base::{Db, Random, args, sql};
use parts::http::{Client, Reply, escape, field};
use parts::oidc::{CLIENT_ID, CLIENT_SECRET, OidcStub};
use serde_json::{Value, json};

use crate::harness::{TestApp, Wishes};
use crate::page::text;
use crate::program::Program;
use crate::providers_harness::{at_provider, begin, come_back, corp, idp};

pub const PATH: &str = "/admin/settings/providers";
const BACK: &str = "/admin/settings#providers";

/// The fields of a provider of the preset `oidc`.
pub fn fields<'a>(name: &'a str, issuer: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("preset", "oidc"),
        ("name", name),
        ("label", "Works ID"),
        ("issuer", issuer),
        ("client_id", CLIENT_ID),
        ("client_secret", CLIENT_SECRET),
        ("sign_up", "on"),
    ]
}

/// The same fields with another value for one.
fn with<'a>(fields: &[(&'a str, &'a str)], name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut all: Vec<_> = fields.iter().copied().filter(|(known, _)| *known != name).collect();
    all.push((name, value));
    all
}

pub async fn count(app: &TestApp, table: &'static str) -> i64 {
    let statement = match table {
        "users" => sql!("SELECT COUNT(*) FROM users"),
        "identities" => sql!("SELECT COUNT(*) FROM identities"),
        "sessions" => sql!("SELECT COUNT(*) FROM sessions"),
        "challenges" => sql!("SELECT COUNT(*) FROM challenges"),
        "pending_links" => sql!("SELECT COUNT(*) FROM pending_links"),
        "chats" => sql!("SELECT COUNT(*) FROM chats"),
        _ => sql!("SELECT COUNT(*) FROM mail_outbox"),
    };
    app.app.db.one(statement, &[]).await.unwrap().unwrap()
}

async fn kept(db: &Db, name: &str) -> (String, String) {
    let row = db.one(sql!("SELECT settings, secret FROM providers WHERE name = $1"), args![name]).await;
    row.unwrap().unwrap()
}

pub async fn json_post(app: &TestApp, client: &Client, path: &str, body: &Value) -> Reply {
    let token = app.csrf(client).await;
    client.post_json(path, Some(&token), body).await
}

async fn shows_button(app: &TestApp, name: &str) -> bool {
    app.anon().get("/login").await.body.contains(&format!("/login/{name}"))
}

#[tokio::test]
async fn a_provider_lives_and_dies_on_the_page() {
    let (app, idp) = (TestApp::start().await, idp().await);
    let root = app.admin().await;
    let page = root.get("/admin/settings").await.body;
    assert!(page.contains("href=\"#providers\"") && text(&page).contains("There is none yet."), "{page}");
    for preset in ["google", "gitlab", "github", "microsoft", "oidc"] {
        assert!(page.contains(&format!("{PATH}/new?preset={preset}")), "{preset}");
        let form = root.get(&format!("{PATH}/new?preset={preset}")).await;
        assert_eq!(form.status, 200, "{form:?}");
        let has = |name: &str| form.body.contains(&format!(" name=\"{name}\""));
        assert_eq!(field(&form.body, "preset").as_deref(), Some(preset));
        assert!(has("client_id") && has("client_secret") && has("role_claim") && has("trusted_email"));
        assert_eq!(has("issuer"), preset == "oidc", "{preset}");
        assert_eq!(has("tenant"), preset == "microsoft", "{preset}");
        assert_eq!(has("base_url"), ["gitlab", "github", "microsoft"].contains(&preset), "{preset}");
        let name = if preset == "oidc" { "sso" } else { preset };
        assert_eq!(field(&form.body, "name").as_deref(), Some(name));
        assert!(form.body.contains(&format!("/login/{name}/authorized</code>")), "{form:?}");
    }
    let no_preset = root.get(&format!("{PATH}/new")).await;
    assert_eq!(no_preset.location(), Some("/admin/settings#add-provider"));

    // Added: it counts at once.
    let works = fields("works", idp.issuer());
    let reply = app.post(&root, PATH, &works).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some(BACK)), "{reply:?}");
    let page = root.get("/admin/settings").await.body;
    assert!(text(&page).contains("Works ID is added"), "{page}");
    assert!(text(&page).contains("nobody has linked it") && page.contains("/login/works/authorized</code>"));
    assert!(
        page.contains("data-confirm=\"Remove Works ID?\"")
            && page.contains("data-copy=\"#redirect-works-stored\"")
    );
    assert!(shows_button(&app, "works").await);
    let ada = app.anon();
    let callback = at_provider(&begin(&ada, "/login/works").await).await;
    assert_eq!(come_back(&ada, &callback).await.status, 303);
    assert_eq!(app.principal(&ada).await.username, "ada");
    assert!(text(&root.get("/admin/settings").await.body).contains("linked by 1 person"));

    // Edited: what stands there is shown, but for the secret.
    let form = root.get(&format!("{PATH}/works")).await.body;
    assert_eq!(field(&form, "label").as_deref(), Some("Works ID"));
    assert_eq!(field(&form, "issuer").as_deref(), Some(idp.issuer()));
    assert!(!form.contains(" name=\"name\"") && form.contains("Empty keeps the one that is there"), "{form}");
    let more = [
        ("label", "Works <b>"),
        ("issuer", idp.issuer()),
        ("client_id", CLIENT_ID),
        ("client_secret", ""),
        ("allowed_domains", "@Example.org\r\nexample.com"),
        ("second_factor", "stands"),
        ("second_factor_amr", "mfa, hwk"),
        ("role_claim", "groups"),
        ("roles", "cn=chat,dc=example=User\nadmins=Admin"),
        ("logout", "on"),
    ];
    let reply = app.post(&root, &format!("{PATH}/works"), &more).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some(BACK)), "{reply:?}");
    let provider = app.app.providers.get("works").unwrap();
    assert_eq!(provider.rules.allowed_domains, ["example.org", "example.com"]);
    let amr = ["mfa".to_owned(), "hwk".to_owned()].into();
    assert_eq!(provider.rules.second_factor, accounts::Stands::If { acr: Vec::new(), amr });
    let roles = [("cn=chat,dc=example", "User"), ("admins", "Admin")];
    assert_eq!(provider.rules.roles, roles.map(|(value, role)| (value.to_owned(), role.to_owned())));
    assert!(provider.logout && !provider.rules.sign_up && !provider.rules.trusted_email);
    assert_eq!(provider.settings.client_secret, CLIENT_SECRET, "kept");
    let form = root.get(&format!("{PATH}/works")).await.body;
    assert!(form.contains("<details class=\"more\" open>") && form.contains("admins=Admin"), "{form}");
    assert!(form.contains("value=\"Works &#60;b&#62;\""), "{form}");

    // Off and on.
    let reply = app.post(&root, &format!("{PATH}/works/disable"), &[]).await;
    assert_eq!(reply.location(), Some(BACK));
    assert!(!shows_button(&app, "works").await);
    assert_eq!(app.anon().get("/login/works").await.status, 404);
    assert_eq!(app.anon().get("/login/works/authorized?state=x&code=y").await.status, 404);
    let page = root.get("/admin/settings").await.body;
    assert!(
        page.contains(&format!("{PATH}/works/enable")) && !page.contains(&format!("{PATH}/works/disable"))
    );
    assert!(text(&page).contains("nobody signs in by it any more"), "{page}");
    app.post(&root, &format!("{PATH}/works/enable"), &[]).await;
    assert!(shows_button(&app, "works").await);

    // Gone; what was linked stays.
    let reply = app.post(&root, &format!("{PATH}/works/remove"), &[]).await;
    assert_eq!(reply.location(), Some(BACK));
    assert!(!shows_button(&app, "works").await);
    assert_eq!(count(&app, "identities").await, 1);
    assert_eq!(root.get(&format!("{PATH}/works")).await.status, 404);
    for action in ["", "/enable", "/disable", "/remove", "/test"] {
        let reply = app.post(&root, &format!("{PATH}/works{action}"), &[]).await;
        assert_eq!(reply.location(), Some(BACK), "{action}");
        assert!(text(&root.get("/admin/settings").await.body).contains("This provider is gone"), "{action}");
    }
}

#[tokio::test]
async fn programs_set_up_providers_by_json() {
    let (app, idp) = (TestApp::start().await, idp().await);
    let root = app.admin().await;
    let body = json!({
        "name": "works", "preset": "oidc", "issuer": idp.issuer(), "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET, "sign_up": true, "scopes": ["groups"], "allowed_domains": ["example.org"],
        "role_claim": "groups", "roles": ["staff=User"],
    });
    let reply = json_post(&app, &root, PATH, &body).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let uri = format!("{}/login/works/authorized", app.app.config.public_origin());
    assert_eq!(reply.json()["provider"], json!({ "name": "works", "redirect_uri": uri }));
    let reply = json_post(&app, &root, PATH, &body).await;
    assert_eq!(reply.status, 422);
    assert!(reply.json()["errors"]["name"].as_str().unwrap().contains("already"), "{reply:?}");

    let told = root.get_json(&format!("{PATH}/works")).await.json();
    assert_eq!((&told["enabled"], &told["settings"]["scopes"]), (&json!(true), &json!(["groups"])));
    assert!(!told.to_string().contains("secret"), "{told}");
    let change = json!({ "label": "Works", "issuer": idp.issuer(), "client_id": CLIENT_ID });
    assert_eq!(json_post(&app, &root, &format!("{PATH}/works"), &change).await.status, 200);
    let provider = app.app.providers.get("works").unwrap();
    assert_eq!((provider.label(), provider.settings.client_secret.as_str()), ("Works", CLIENT_SECRET));
    assert!(provider.settings.scopes.is_empty() && !provider.rules.sign_up);

    // What is not known, and what is of another kind.
    let odd = json!({ "issuer": 7, "client_id": CLIENT_ID, "roles": [1], "is_admin": true, "second_factor": "maybe" });
    let reply = json_post(&app, &root, &format!("{PATH}/works"), &odd).await;
    let errors = reply.json()["errors"].clone();
    assert_eq!(reply.status, 422);
    for name in ["issuer", "roles", "is_admin", "second_factor"] {
        assert!(errors[name].is_string(), "{name}: {errors}");
    }
    let reply = json_post(&app, &root, PATH, &json!({ "name": "x", "preset": "yahoo" })).await;
    assert!(reply.json()["errors"]["preset"].is_string(), "{reply:?}");

    for (action, status) in
        [("disable", 200), ("enable", 200), ("remove", 200), ("remove", 404), ("test", 404)]
    {
        let reply = json_post(&app, &root, &format!("{PATH}/works/{action}"), &json!({})).await;
        assert_eq!(reply.status, status, "{action}: {reply:?}");
    }
    assert_eq!(root.get_json(&format!("{PATH}/works")).await.status, 404);
}

/// What is wrong stands at its field, and all that was typed is there again but the secret.
#[tokio::test]
async fn a_form_that_needs_another_look_keeps_what_was_typed() {
    let idp = idp().await;
    let app = Wishes::default().openid("corp", "Corp", &idp).start().await;
    let root = app.admin().await;
    let good = fields("works", idp.issuer());
    let secret = "typed secret of nobody";
    for (name, value, words) in [
        ("name", "Works!", "1 to 32 of a-z"),
        ("name", "passkey", "taken by a page"),
        ("name", "new", "taken by a page"),
        ("name", "corp", "The configuration has a provider of that name"),
        ("label", "An endless label of more than forty letters", "up to 40"),
        ("client_id", " ", "Enter the client id"),
        ("issuer", "works", "full address"),
        ("issuer", "http://works.example", "https://"),
        ("allowed_domains", "example.org\nno domain", ""),
        ("scopes", "gro\"ups", "one word"),
        ("roles", "staff", "is no pair"),
        ("second_factor_amr", "mfa", "acr and amr count only"),
    ] {
        let bad = with(&with(&good, name, value), "client_secret", secret);
        let bad = if name == "roles" { with(&bad, "role_claim", "groups") } else { bad };
        let reply = app.post(&root, PATH, &bad).await;
        assert_eq!(reply.status, 422, "{name} {value}: {reply:?}");
        assert!(
            reply.body.contains("Some fields need another look") && text(&reply.body).contains(words),
            "{name} {value}: {reply:?}"
        );
        let place = if name == "second_factor_amr" { "factor" } else { name };
        assert!(reply.body.contains(&format!("id=\"{place}-error\"")), "{name}: {reply:?}");
        assert!(!reply.body.contains(secret) && reply.body.contains("never sent back"), "{reply:?}");
        for (field_name, typed) in &bad {
            let lines =
                ["client_secret", "preset", "sign_up", "allowed_domains", "roles", "second_factor_amr"];
            if !lines.contains(field_name) {
                assert_eq!(field(&reply.body, field_name).as_deref(), Some(*typed), "{field_name}");
            }
        }
        for (_, typed) in bad.iter().filter(|(name, _)| ["roles", "second_factor_amr"].contains(name)) {
            assert!(reply.body.contains(&format!("\n{}</textarea>", escape(typed))), "{reply:?}");
        }
    }
    let roles = with(&with(&good, "role_claim", "groups"), "roles", "staff=User\nbosses=Boss");
    let reply = app.post(&root, PATH, &roles).await;
    assert!(reply.status == 422 && text(&reply.body).contains("There is no role “Boss”."), "{reply:?}");
    // A field that this preset does not have is told above.
    let reply = app.post(&root, PATH, &with(&good, "tenant", "common")).await;
    assert!(text(&reply.body).contains("tenant: Only Microsoft has tenants."), "{reply:?}");
    assert_eq!(app.app.accounts.stored_providers().await.unwrap(), []);

    assert_eq!(app.post(&root, PATH, &good).await.status, 303);
    let again = app.post(&root, PATH, &good).await;
    assert!(again.status == 422 && text(&again.body).contains("There is a provider of that name already"));
    let worse = with(&with(&good, "client_id", ""), "client_secret", secret);
    let worse: Vec<_> = worse.into_iter().filter(|(name, _)| *name != "name").collect();
    let reply = app.post(&root, &format!("{PATH}/works"), &worse).await;
    assert!(reply.status == 422 && reply.body.contains("id=\"client_id-error\""), "{reply:?}");
    assert!(!reply.body.contains(secret) && reply.body.contains("has to be typed again"), "{reply:?}");
    assert_eq!(app.app.providers.get("works").unwrap().settings.client_secret, CLIENT_SECRET);
    // One of the configuration is no page's to change.
    assert_eq!(root.get(&format!("{PATH}/corp")).await.status, 404);
    let page = root.get("/admin/settings").await.body;
    assert!(
        page.contains("<span class=\"tag\">Configuration</span>")
            && !page.contains(&format!("{PATH}/corp/remove"))
    );
    assert!(page.contains(&format!("{PATH}/corp/test")), "{page}");
}

/// The secret stands nowhere: not on pages, in answers, in the log, nor readable in the database.
#[tokio::test]
async fn sec_97_a_client_secret_is_sealed_and_shown_to_nobody() {
    let idp = OidcStub::start().await;
    let program = Program::new().await.set("ANTEROOM_LOGGING__FILTER", "debug");
    program.account("root", "Admin").await;
    let server = program.serve().await;
    let (root, csrf) = server.sign_in("root").await;
    let secret = "a-secret-that-nobody-sees-9d1f";
    let mut shown = Vec::new();
    let body = json!({
        "name": "works", "preset": "oidc", "label": "Works", "issuer": idp.issuer(), "client_id": CLIENT_ID,
        "client_secret": secret,
    });
    shown.push(root.post_json(PATH, Some(&csrf), &body).await);
    assert_eq!(shown[0].status, 201, "{shown:?}");
    shown.push(root.post_json(PATH, Some(&csrf), &body).await);
    let change = json!({ "issuer": "x", "client_id": "", "client_secret": secret });
    shown.push(root.post_json(&format!("{PATH}/works"), Some(&csrf), &change).await);
    shown.push(root.post_json(&format!("{PATH}/works/test"), Some(&csrf), &json!({})).await);
    assert_eq!(shown[3].status, 200, "{shown:?}");
    for path in
        [PATH.trim_end_matches("/providers"), "/admin/settings/providers/works", "/login", "/admin/errors"]
    {
        shown.push(root.get(path).await);
    }
    shown.push(root.get_json("/admin/settings/providers/works").await);
    // A way back that the provider refuses, with all that the log then says.
    let url = shown[3].json()["url"].as_str().unwrap().to_owned();
    shown.push(root.get(&at_provider(&url::Url::parse(&url).unwrap()).await).await);
    assert!(shown.iter().all(|reply| !format!("{reply:?}").contains(secret)), "{shown:?}");
    let log = program.log();
    assert!(log.contains("a sign-in provider was added") && log.contains("root"), "{log}");
    assert!(!log.contains(secret), "{log}");
    let db = Db::connect(&program.location()).await.unwrap();
    let (settings, sealed) = kept(&db, "works").await;
    assert!(!settings.contains(secret) && !sealed.contains(secret), "{settings} {sealed}");
}

/// Another process on the same database sees what changed here.
#[tokio::test]
async fn other_processes_follow() {
    let (app, idp) = (TestApp::start().await, idp().await);
    let root = app.admin().await;
    let outside = Outside { clock: app.clock.clone(), random: Random::os(), demo_pace: None };
    let other = App::build(app.app.config.clone(), outside).await.unwrap_or_else(|error| panic!("{error}"));
    let works = fields("works", idp.issuer());
    assert_eq!(app.post(&root, PATH, &works).await.status, 303);
    assert!(other.providers.get("works").is_none());
    other.providers.reload(&other).await.unwrap();
    let there = other.providers.get("works").unwrap();
    assert_eq!((there.label(), there.settings.client_secret.as_str()), ("Works ID", CLIENT_SECRET));
    app.post(&root, &format!("{PATH}/works/disable"), &[]).await;
    other.providers.reload(&other).await.unwrap();
    assert!(other.providers.get("works").is_none());
    other.db.close().await;
}

/// What no longer makes sense breaks no page, says what to do, and can be mended.
#[tokio::test]
async fn a_broken_provider_is_told_and_mended() {
    let idp = idp().await;
    let app = Wishes::default().openid("corp", "Corp", &idp).start().await;
    let root = app.admin().await;
    for name in ["garbled", "sealed", "odd"] {
        assert_eq!(app.post(&root, PATH, &fields(name, idp.issuer())).await.status, 303);
    }
    app.app.accounts.add_provider("corp", "{}", "s").await.unwrap();
    let db = &app.app.db;
    db.run(sql!("UPDATE providers SET settings = $1 WHERE name = 'garbled'"), args!["{]"]).await.unwrap();
    db.run(sql!("UPDATE providers SET secret = $1 WHERE name = 'sealed'"), args!["gone"]).await.unwrap();
    let odd = r#"{"preset":"oidc","label":"Odd one","client_id":"","issuer":"nowhere"}"#;
    db.run(sql!("UPDATE providers SET settings = $1 WHERE name = 'odd'"), args![odd]).await.unwrap();
    app.app.providers.reload(&app.app).await.unwrap();
    let names: Vec<String> = app.app.providers.live().iter().map(|one| one.name().to_owned()).collect();
    assert_eq!(names, ["corp"]);
    let page = root.get("/admin/settings").await;
    assert_eq!(page.status, 200);
    let words = text(&page.body);
    for expected in [
        "cannot be read",
        "sealed with a key that is gone",
        "do not fit any more",
        "that one counts",
        "Cannot be used",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    assert!(!page.body.contains(&format!("{PATH}/sealed/test")));
    let form = root.get(&format!("{PATH}/sealed")).await;
    assert!(form.status == 200 && text(&form.body).contains("It cannot be used as it is"), "{form:?}");
    assert_eq!(root.get(&format!("{PATH}/garbled?preset=gitlab")).await.status, 200);

    // Without a new secret there is none.
    let mut works = fields("sealed", idp.issuer());
    works.retain(|(name, _)| *name != "name");
    let reply = app.post(&root, &format!("{PATH}/sealed"), &with(&works, "client_secret", "")).await;
    assert!(reply.status == 422 && reply.body.contains("id=\"client_secret-error\""), "{reply:?}");
    for name in ["sealed", "garbled", "odd"] {
        assert_eq!(app.post(&root, &format!("{PATH}/{name}"), &works).await.status, 303);
        assert!(shows_button(&app, name).await, "{name}");
    }
}

/// SEC-92: a provider decides who signs in as whom, so it takes every permission to set one up.
#[tokio::test]
async fn sec_92_settings_alone_do_not_set_up_providers() {
    let corp = corp().await;
    let app = &corp.app;
    let root = app.admin().await;
    app.post(&root, PATH, &fields("works", corp.idp.issuer())).await;
    let insert = sql!(
        "INSERT INTO roles (id, name, name_canonical, built_in, created_at) VALUES ('7', 'Helper', 'helper', FALSE, 1)"
    );
    app.app.db.run(insert, &[]).await.unwrap();
    for permission in ["chat.use", "settings.manage", "roles.manage", "users.manage"] {
        let grant = sql!("INSERT INTO role_permissions (role_id, permission) VALUES ('7', $1)");
        app.app.db.run(grant, args![permission]).await.unwrap();
    }
    let helper = app.person("helper", "Helper").await;
    let page = helper.get("/admin/settings").await.body;
    assert!(text(&page).contains("Only somebody with every permission"), "{page}");
    assert!(text(&page).contains("Works ID") && !page.contains(&format!("{PATH}/")), "{page}");
    let before = app.app.accounts.stored_providers().await.unwrap();
    for path in
        ["", "/works", "/works/enable", "/works/disable", "/works/remove", "/works/test", "/corp/test"]
    {
        let all = fields("mine", corp.idp.issuer());
        let sent: &[(&str, &str)] = if path.ends_with("works") || path.is_empty() { &all } else { &[] };
        let reply = app.post(&helper, &format!("{PATH}{path}"), sent).await;
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some(BACK)), "{path}: {reply:?}");
        let page = helper.get("/admin/settings").await.body;
        assert!(page.matches("Only somebody with every permission").count() == 2, "{path}: {page}");
        let body = if sent.is_empty() { json!({}) } else { json!({ "name": "mine", "preset": "oidc" }) };
        let reply = json_post(app, &helper, &format!("{PATH}{path}"), &body).await;
        assert_eq!(reply.status, 403, "{path}: {reply:?}");
    }
    for path in ["/new?preset=google", "/works"] {
        assert_eq!(helper.get(&format!("{PATH}{path}")).await.location(), Some(BACK), "{path}");
        assert_eq!(helper.get_json(&format!("{PATH}{path}")).await.status, 403, "{path}");
    }
    assert_eq!(app.app.accounts.stored_providers().await.unwrap(), before);
    assert!(app.app.providers.get("works").is_some() && app.app.providers.get("mine").is_none());
}
