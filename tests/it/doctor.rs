//! `anteroom doctor` beside working and broken surroundings.

use base::{Db, args, sql};
use parts::github::GitHubStub;
use parts::model::ModelStub;
use parts::oidc::{CLIENT_ID, CLIENT_SECRET, Fault, OidcStub, Part};
use parts::smtp::{Mode, SmtpStub};

use crate::program::{Left, Program};

/// The line of a check.
fn line<'a>(left: &'a Left, name: &str) -> &'a str {
    let is_it = |line: &&str| line.get(6..).is_some_and(|rest| rest.starts_with(&format!("{name}: ")));
    left.out.lines().find(is_it).unwrap_or_else(|| panic!("no line of {name}: {left:?}"))
}

async fn program(smtp: &SmtpStub, models: &ModelStub) -> Program {
    Program::new()
        .await
        .set("MAIL_SERVER", &smtp.host())
        .set("MAIL_PORT", &smtp.port().to_string())
        .set("OPENAI_BASE_URL", &models.base_url())
        .set("OPENAI_API_KEY", "sk-test-key-of-the-stub")
}

#[tokio::test]
async fn the_doctor_finds_nothing_where_all_is_well() {
    let (smtp, models) = (SmtpStub::start().await.unwrap(), ModelStub::start().await.unwrap());
    let program = program(&smtp, &models).await;
    assert_eq!(program.run(&["migrate"], "").await.code, Some(0));
    let left = program.run(&["doctor", "--mail-to", "mara@example.org"], "").await;
    assert_eq!((left.code, left.err.as_str()), (Some(0), ""), "{left:?}");
    assert!(left.out.lines().all(|line| line.starts_with("ok    ")), "{left:?}");
    assert!(line(&left, "schema").contains("version"));
    assert!(line(&left, "upstream openai").contains("models in"));
    assert!(line(&left, "clock").contains("agrees with"));
    assert!(line(&left, "test mail").contains("mara@example.org"));
    let mail = smtp.wait_to("mara@example.org").await;
    assert!(mail.data.contains("This is a test."), "{}", mail.data);
    assert!(!left.out.contains("sk-test-key"), "{left:?}");
}

#[tokio::test]
async fn the_doctor_names_what_is_broken_and_exits_with_1() {
    let (smtp, models) = (SmtpStub::start().await.unwrap(), ModelStub::start().await.unwrap());
    let base_url = models.base_url();
    let program = program(&smtp, &models).await.set("ANTEROOM_TRUSTED_PROXIES", "0.0.0.0/0");
    program.run(&["migrate"], "").await;
    smtp.set_mode(Mode::HangUp);
    drop(models);
    let left = program.run(&["doctor", "--mail-to", "mara@example.org"], "").await;
    assert_eq!(left.code, Some(1), "{left:?}");
    assert!(left.err.contains("checks failed"), "{left:?}");
    for name in ["mail", "test mail", "upstream openai", "proxies"] {
        assert!(line(&left, name).starts_with("FAIL"), "{name}: {left:?}");
    }
    assert!(line(&left, "upstream openai").contains(&base_url), "{left:?}");
    assert!(line(&left, "database").starts_with("ok"), "{left:?}");

    // A recipient that is refused.
    smtp.set_mode(Mode::Reject);
    let left = program.run(&["doctor", "--mail-to", "mara@example.org"], "").await;
    assert!(
        line(&left, "mail").starts_with("ok") && line(&left, "test mail").starts_with("FAIL"),
        "{left:?}"
    );
}

/// It looks, and makes nothing: neither a folder nor tables.
#[tokio::test]
async fn the_doctor_leaves_an_installation_as_it_is() {
    let program = Program::on_sqlite();
    let left = program.run(&["doctor"], "").await;
    assert_eq!(left.code, Some(0), "{left:?}");
    assert!(
        line(&left, "database").starts_with("warn") && line(&left, "upstreams").starts_with("warn"),
        "{left:?}"
    );
    assert!(line(&left, "mail").contains("files in"), "{left:?}");
    assert!(!program.folder.join("data").exists());

    let program = Program::new().await;
    program.run(&["migrate"], "").await;
    let db = Db::connect(&program.location()).await.unwrap();
    db.run(sql!("DELETE FROM schema_migrations WHERE version > $1"), args![1]).await.unwrap();
    let left = program.run(&["doctor"], "").await;
    assert!(line(&left, "schema").starts_with("warn"), "{left:?}");
    let versions: Option<i64> = db.one(sql!("SELECT COUNT(*) FROM schema_migrations"), &[]).await.unwrap();
    assert_eq!(versions, Some(1), "it migrates nothing");
    db.run(sql!("UPDATE schema_migrations SET version = 99"), &[]).await.unwrap();
    let left = program.run(&["doctor"], "").await;
    assert!(left.code == Some(1) && line(&left, "schema").starts_with("FAIL"), "{left:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_doctor_sees_a_folder_that_is_open_to_others_and_stuck_mail() {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    let program = Program::on_sqlite();
    program.run(&["migrate"], "").await;
    let data = program.folder.join("data");
    std::fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(data.join("secret.key"), Permissions::from_mode(0o644)).unwrap();
    let db = Db::connect(&program.location()).await.unwrap();
    let insert = sql!(
        "INSERT INTO mail_outbox (id, kind, recipient, subject, body_text, body_html, created_at, next_attempt_at, last_error)
         VALUES ('m', 'welcome', 'ann@example.org', 's', '', '', 1, 2, 'connection refused')"
    );
    db.run(insert, &[]).await.unwrap();
    let left = program.run(&["doctor"], "").await;
    assert!(line(&left, "data folder").starts_with("warn"), "{left:?}");
    assert!(line(&left, "secret key").starts_with("FAIL"), "{left:?}");
    assert!(
        line(&left, "outbox").contains("1 mail waits") && left.out.contains("connection refused"),
        "{left:?}"
    );
    assert_eq!(left.code, Some(1));
}

/// A program with the providers `corp` and `hub` in its configuration.
async fn with_providers(corp: &OidcStub, hub: &GitHubStub) -> Program {
    Program::new()
        .await
        .set("ANTEROOM_PROVIDERS__CORP__ISSUER", corp.issuer())
        .set("ANTEROOM_PROVIDERS__CORP__LABEL", "Corp ID")
        .set("ANTEROOM_PROVIDERS__CORP__CLIENT_ID", CLIENT_ID)
        .set("ANTEROOM_PROVIDERS__CORP__CLIENT_SECRET", CLIENT_SECRET)
        .set("ANTEROOM_PROVIDERS__HUB__PRESET", "github")
        .set("ANTEROOM_PROVIDERS__HUB__BASE_URL", hub.base_url())
        .set("ANTEROOM_PROVIDERS__HUB__CLIENT_ID", CLIENT_ID)
        .set("ANTEROOM_PROVIDERS__HUB__CLIENT_SECRET", CLIENT_SECRET)
}

/// Providers are looked at without signing in: those of the configuration also before there is a database.
#[tokio::test]
async fn the_doctor_looks_at_providers() {
    let (corp, hub) = (OidcStub::start().await, GitHubStub::start().await);
    let program = with_providers(&corp, &hub).await;
    for _ in 0..2 {
        let left = program.run(&["doctor"], "").await;
        assert_eq!(left.code, Some(0), "{left:?}");
        assert!(
            line(&left, "provider corp").starts_with("ok    provider corp: 127.0.0.1 answers in"),
            "{left:?}"
        );
        assert!(line(&left, "provider hub").starts_with("ok"), "{left:?}");
        assert!(left.out.contains("clock: agrees with Corp ID"), "{left:?}");
        assert_eq!((corp.calls(Part::Token), corp.asked(), hub.asked()), (0, None, None));
        program.run(&["migrate"], "").await;
    }
    corp.fault(Fault::ForeignDiscovery);
    let left = program.run(&["doctor"], "").await;
    let words = line(&left, "provider corp");
    assert!(words.starts_with("FAIL") && words.contains("https://other.example"), "{left:?}");
    corp.heal();
    for (fault, cause) in [(Part::Discovery, "HTTP 500"), (Part::Token, "answers in")] {
        corp.fault(Fault::Error(fault));
        let left = program.run(&["doctor"], "").await;
        assert!(line(&left, "provider corp").contains(cause), "{left:?}");
        corp.heal();
    }
    drop((corp, hub));
    let left = program.run(&["doctor"], "").await;
    assert_eq!(left.code, Some(1));
    for name in ["provider corp", "provider hub"] {
        assert!(line(&left, name).starts_with("FAIL"), "{name}: {left:?}");
    }
    assert!(!left.out.contains(CLIENT_SECRET), "{left:?}");
}

/// Those that Admins set up, too; a provider that cannot be used, and roles that do not exist.
#[tokio::test]
async fn the_doctor_looks_at_providers_of_admins() {
    let (corp, hub) = (OidcStub::start().await, GitHubStub::start().await);
    let program = with_providers(&corp, &hub)
        .await
        .set("ANTEROOM_PROVIDERS__CORP__ROLE_CLAIM", "groups")
        .set("ANTEROOM_PROVIDERS__CORP__ROLES", "staff=user,bosses=Boss");
    program.account("root", "Admin").await;
    let server = program.serve().await;
    let (root, csrf) = server.sign_in("root").await;
    for name in ["works", "resting", "broken"] {
        let body = serde_json::json!({
            "name": name, "preset": "oidc", "issuer": corp.issuer(), "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        });
        let reply = root.post_json("/admin/settings/providers", Some(&csrf), &body).await;
        assert_eq!(reply.status, 201, "{reply:?}");
    }
    drop(server);
    let db = Db::connect(&program.location()).await.unwrap();
    db.run(sql!("UPDATE providers SET enabled = FALSE WHERE name = 'resting'"), &[]).await.unwrap();
    db.run(sql!("UPDATE providers SET secret = 'gone' WHERE name = 'broken'"), &[]).await.unwrap();
    let left = program.run(&["doctor"], "").await;
    assert_eq!(left.code, Some(1), "{left:?}");
    assert!(line(&left, "provider works").starts_with("ok"), "{left:?}");
    assert!(!left.out.contains("provider resting"), "{left:?}");
    let broken = line(&left, "provider broken");
    assert!(broken.starts_with("FAIL") && broken.contains("enter the secret again"), "{left:?}");
    let corp = line(&left, "provider corp");
    assert!(corp.starts_with("warn") && corp.contains("name Boss, which does not exist"), "{left:?}");
}

/// A provider that describes itself rightly and whose clock stands still in 2010.
async fn slow_clock() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let metadata = serde_json::json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    let answer = async move || ([("date", "Sat, 20 Nov 2010 12:00:00 GMT")], axum::Json(metadata.clone()));
    let app = axum::Router::new().route("/.well-known/openid-configuration", axum::routing::get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    issuer
}

/// ID tokens from another time are refused, so a wrong clock is a failure.
#[tokio::test]
async fn the_doctor_compares_the_clocks_of_providers() {
    let program = Program::new()
        .await
        .set("ANTEROOM_PROVIDERS__CORP__ISSUER", &slow_clock().await)
        .set("ANTEROOM_PROVIDERS__CORP__CLIENT_ID", CLIENT_ID)
        .set("ANTEROOM_PROVIDERS__CORP__CLIENT_SECRET", CLIENT_SECRET);
    let left = program.run(&["doctor"], "").await;
    assert_eq!(left.code, Some(1), "{left:?}");
    assert!(line(&left, "provider corp").starts_with("ok"), "{left:?}");
    // The database has a clock too.
    let clock = left.out.lines().find(|line| line.contains("ahead of corp")).unwrap_or_default();
    assert!(
        clock.starts_with("FAIL  clock: ") && clock.contains("what it signs will be refused"),
        "{left:?}"
    );
}
