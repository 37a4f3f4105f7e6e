//! The program as an operator meets it: wrong settings, folders and databases, its commands, its log.

use std::os::unix::fs::PermissionsExt as _;

use base::db::Location;
use base::{Db, args, sql};
use parts::authenticator::Authenticator;
use parts::model::ModelStub;
use serde_json::{Value, json};

use crate::harness::PASSWORD;
use crate::program::{Left, Program};

/// One clear line on standard error, that exit code, and nothing else.
fn complains(left: &Left, code: i32, part: &str) {
    assert_eq!(left.code, Some(code), "{left:?}");
    assert_eq!(left.out, "", "{left:?}");
    assert_eq!(left.err.lines().count(), 1, "{left:?}");
    assert!(left.err.starts_with("anteroom: ") && left.err.contains(part), "{part:?}: {left:?}");
    for noise in ["panicked", "stack backtrace", "Error {", "unwrap", "src/"] {
        assert!(!left.err.contains(noise), "{left:?}");
    }
}

#[tokio::test]
async fn a_wrong_setting_is_named_in_one_line() {
    for (name, value, part) in [
        ("ANTEROOM_LISTEN", "everywhere", "ANTEROOM_LISTEN"),
        ("ANTEROOM_MAIL__PORT", "many", "ANTEROOM_MAIL__PORT"),
        ("ANTEROOM_MAIL__SERVR", "mail.example.org", "ANTEROOM_MAIL__SERVR"),
        ("ANTEROOM_SESSIONS__IDLE_HOURS", "0", "sessions.idle_hours"),
        ("DATABASE_URL", "mysql://u:sesame-17@example.org/db", "DATABASE_URL"),
        ("OPENAI_BASE_URL", "ftp://u:sesame-17@example.org", "OPENAI_BASE_URL"),
        ("ANTEROOM_LOGGING__FILTER", "loud=very", "logging.filter"),
    ] {
        let left = Program::on_sqlite().set(name, value).run(&[], "").await;
        complains(&left, 2, part);
        assert!(!left.err.contains("sesame-17"), "{left:?}");
    }
    let program = Program::on_sqlite();
    std::fs::write(program.folder.join("anteroom.toml"), "[server]\nlistn = \"127.0.0.1:0\"\n").unwrap();
    let left = program.run(&[], "").await;
    complains(&left, 2, "anteroom.toml, line 2");
    assert!(!program.folder.join("data").exists(), "nothing was touched");
    let missing = Program::on_sqlite().run(&["--config", "nowhere.toml"], "").await;
    complains(&missing, 2, "nowhere.toml");
}

/// Production refuses what is unsafe (a weak secret, no HTTPS), each in its line.
#[tokio::test]
async fn production_refuses_what_is_unsafe() {
    let program = Program::on_sqlite().set("ANTEROOM_PROFILE", "production").set("SECRET_KEY", "changeme");
    let left = program.run(&[], "").await;
    assert_eq!(left.code, Some(2), "{left:?}");
    assert!(left.err.lines().count() >= 2 && left.err.lines().all(|line| line.starts_with("anteroom: ")));
    assert!(left.err.contains("public_url") && left.err.contains("secret_key"), "{left:?}");
    assert!(!left.err.contains("changeme"), "{left:?}");
}

#[tokio::test]
async fn an_occupied_port_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let program = Program::on_sqlite();
    let left = program.run(&["--listen", &address], "").await;
    complains(&left, 1, &format!("{address} is in use already"));
    assert!(!program.folder.join("data").exists(), "nothing was touched");
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_used_is_told() {
    let program = Program::on_sqlite();
    std::fs::write(program.folder.join("data"), "a file").unwrap();
    complains(&program.run(&[], "").await, 1, "data");
    let program = Program::on_sqlite().set("ANTEROOM_DATA_DIR", "file/data");
    std::fs::write(program.folder.join("file"), "a file").unwrap();
    complains(&program.run(&[], "").await, 1, "file/data");
}

#[tokio::test]
async fn a_read_only_data_folder_is_told() {
    let program = Program::on_sqlite().unprivileged();
    let data = program.folder.join("data");
    std::fs::create_dir(&data).unwrap();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // Empty.
    mode(&data, 0o555);
    let left = program.run(&[], "").await;
    complains(&left, 1, "the data folder");
    // With a database and a key that may be read only.
    mode(&data, 0o777);
    assert_eq!(program.run(&["migrate"], "").await.code, Some(0));
    for entry in std::fs::read_dir(&data).unwrap() {
        mode(&entry.unwrap().path(), 0o444);
    }
    mode(&data, 0o555);
    complains(&program.run(&[], "").await, 1, "the data folder");
    // The folder may be written, the database not.
    mode(&data, 0o777);
    complains(&program.run(&[], "").await, 1, "anteroom.db");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    let program = Program::new().await;
    assert_eq!(program.run(&["migrate"], "").await.code, Some(0));
    let db = Db::connect(&program.location()).await.unwrap();
    db.run(
        sql!("INSERT INTO schema_migrations (version, name, applied_at) VALUES (9000, 'later', 0)"),
        args![],
    )
    .await
    .unwrap();
    db.close().await;
    drop(db);
    for arguments in [&[][..], &["migrate"], &["setup-link"]] {
        complains(&program.run(arguments, "").await, 1, "the database is from a newer version of Anteroom");
    }
}

#[tokio::test]
async fn a_damaged_database_is_told() {
    let program = Program::on_sqlite();
    assert_eq!(program.run(&["migrate"], "").await.code, Some(0));
    let Location::Sqlite(path) = program.location() else { panic!("SQLite was asked for") };
    let whole = std::fs::read(&path).unwrap();
    let mut holed = whole.clone();
    holed[4096..].fill(0x5A);
    let mut headless = whole.clone();
    headless[..16].copy_from_slice(b"no SQLite at all");
    let mut schemaless = whole.clone();
    schemaless[100..4096].fill(0xFF);
    for (what, bytes) in [
        ("garbage", b"This is no database.\n".repeat(500)),
        ("holed", holed),
        ("headless", headless),
        ("schemaless", schemaless),
        ("short", whole[..whole.len() / 2].to_vec()),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        for rest in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{rest}", path.display()));
        }
        let left = program.run(&[], "").await;
        assert_eq!(left.code, Some(1), "{what}: {left:?}");
        complains(&left, 1, "is damaged or no SQLite database; restore it from a backup");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{what}: the file is left as it is");
    }
}

#[tokio::test]
async fn a_database_server_that_is_not_there_is_told() {
    let address = parts::free_address().unwrap();
    let url = format!("postgres://ann:sesame-17@{address}/anteroom");
    let left = Program::on_sqlite().set("DATABASE_URL", &url).run(&[], "").await;
    complains(&left, 1, "cannot reach PostgreSQL");
    assert!(!left.err.contains("sesame-17"), "{left:?}");
}

#[tokio::test]
async fn a_secret_key_that_does_not_fit_stops_the_start() {
    let program = Program::new().await.set("SECRET_KEY", "first-0123456789abcdefghijklmnopqrstuvwxyz");
    assert_eq!(program.run(&["migrate"], "").await.code, Some(0));
    let program = program.set("SECRET_KEY", "other-0123456789abcdefghijklmnopqrstuvwxyz");
    for arguments in [&[][..], &["migrate"]] {
        let left = program.run(arguments, "").await;
        complains(&left, 1, "SECRET_KEY is not the key that sealed this database");
        assert!(!left.err.contains("0123456789"), "{left:?}");
    }
    // As a former key it opens what it sealed.
    let program = program.set("ANTEROOM_SECRETS__FORMER_KEYS", "first-0123456789abcdefghijklmnopqrstuvwxyz");
    assert_eq!(program.run(&["migrate"], "").await.code, Some(0));
}

#[tokio::test]
async fn people_are_made_on_the_command_line() {
    let program = Program::new().await;
    assert_eq!(program.run(&["migrate"], "").await.code, Some(0));
    let create = |username: &'static str, role: &'static str| {
        vec![
            "user",
            "create",
            "--username",
            username,
            "--email",
            "ann@example.org",
            "--role",
            role,
            "--password-stdin",
        ]
    };
    for (password, rule) in [
        ("short", "at least 12"),
        ("passwordpassword", "password: "),
        ("ann-ann-ann-ann", "password: "),
        ("", "password: "),
    ] {
        complains(&program.run(&create("ann", "Admin"), password).await, 1, rule);
    }
    complains(&program.run(&create("ann", "Wizard"), PASSWORD).await, 1, "role");
    complains(&program.run(&create("a b", "User"), PASSWORD).await, 1, "username: ");
    // The line's end is not part of the password.
    let made = program.run(&create("ann", "Admin"), &format!("{PASSWORD}\n")).await;
    assert_eq!((made.code, made.err.as_str()), (Some(0), ""), "{made:?}");
    assert!(made.out.starts_with("ann is made, with the id "), "{made:?}");
    let taken = program.run(&create("Ann", "User"), PASSWORD).await;
    assert_eq!(taken.code, Some(1), "{taken:?}");
    assert!(taken.err.contains("username: "), "{taken:?}");
    // Without --password-stdin, or with a flag that is none, it is a wrong call.
    assert_eq!(
        program.run(&["user", "create", "--username", "x", "--email", "x@y.org"], "").await.code,
        Some(2)
    );
    // An e-mail from the command line counts as confirmed, and no mail is sent.
    let server = program.serve().await;
    let (ann, _) = server.sign_in("ann").await;
    assert_eq!(ann.get("/admin").await.status, 200);
    assert!(!program.folder.join("data/mail").exists());
}

#[tokio::test]
async fn a_new_set_up_link_replaces_the_old_one() {
    let program = Program::new().await;
    let mut server = program.serve().await;
    let printed = server.setup_path();
    let left = program.run(&["setup-link", "--public-url", &server.base], "").await;
    assert_eq!(left.code, Some(0), "{left:?}");
    let path = left.out.trim().strip_prefix(&server.base).unwrap().to_owned();
    let nobody = server.client();
    assert!(!nobody.get(&printed).await.body.contains("name=\"password\""), "the printed one is void");
    let page = nobody.get(&path).await;
    assert!(page.body.contains("name=\"password\""), "{page:?}");
    let (_, token) = path.split_once("token=").unwrap();
    let fields = [
        ("token", token),
        ("first_name", "Ann"),
        ("last_name", "Admin"),
        ("username", "ann"),
        ("email", "ann@example.org"),
        ("password", PASSWORD),
    ];
    let done = nobody.submit(&path, "/setup", &fields).await;
    assert_eq!(done.status, 303, "{done:?}");
    assert_eq!(nobody.get("/admin").await.status, 200);
    complains(&program.run(&["setup-link"], "").await, 1, "there is an Admin already");
}

#[tokio::test]
async fn config_and_migrate_say_what_is_there() {
    let program = Program::new()
        .await
        .set("SECRET_KEY", "sesame-0123456789abcdefghijklmnopqrstuvwxyz")
        .set("OPENAI_BASE_URL", "http://u:sesame-1@localhost:11434")
        .set("OPENAI_API_KEY", "sesame-2")
        .set("MAIL_SERVER", "mail.example.org")
        .set("MAIL_FROM", "anteroom@example.org")
        .set("MAIL_USERNAME", "anteroom")
        .set("MAIL_PASSWORD", "sesame-3");
    let refused = program.run(&["config"], "").await;
    assert_eq!(refused.code, Some(2), "a URL with a password is refused: {refused:?}");
    assert!(!refused.err.contains("sesame"), "{refused:?}");
    let program = program.set("OPENAI_BASE_URL", "http://localhost:11434");
    let config = program.run(&["config"], "").await;
    assert_eq!((config.code, config.err.as_str()), (Some(0), ""));
    assert!(
        config.out.contains("[upstreams.openai]") && config.out.contains("# variable OPENAI_API_KEY"),
        "{config:?}"
    );
    assert!(config.out.contains("***") && !config.out.contains("sesame"), "{config:?}");
    let routes = program.run(&["config", "routes"], "").await;
    assert_eq!((routes.code, routes.out), (Some(0), anteroom::router::matrix()));
    assert!(!program.folder.join("data").exists(), "printing touches nothing");
    for _ in 0..2 {
        let migrated = program.run(&["migrate"], "").await;
        assert_eq!(
            (migrated.code, migrated.out.as_str()),
            (Some(0), "The database is up to date.\n"),
            "{migrated:?}"
        );
    }
    assert_eq!(program.run(&["no-such-command"], "").await.code, Some(2));
    assert!(program.run(&["--version"], "").await.out.starts_with("anteroom "));
}

/// SEC-97: at debug the log has every statement with its time and rows, and none of what is secret.
#[tokio::test]
async fn sec_97_the_log_holds_statements_and_no_secrets() {
    let stub = ModelStub::start().await.unwrap();
    let program = Program::new()
        .await
        .set("ANTEROOM_LOGGING__FILTER", "debug")
        .set("ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED", "true")
        .set("SECRET_KEY", "operator-0123456789abcdefghijklmnopqrstuvwxyz")
        .set("OPENAI_BASE_URL", &stub.base_url())
        .set("OPENAI_API_KEY", "sk-of-the-operator-17");
    let mut server = program.serve().await;
    let setup = server.setup_path();
    let (_, setup_token) = setup.split_once("token=").unwrap();
    let mut secrets = vec![
        setup_token.to_owned(),
        PASSWORD.to_owned(),
        "operator-0123456789".to_owned(),
        "sk-of-the-operator".to_owned(),
        "sk-typed-by-hand".to_owned(),
        "mistyped-password".to_owned(),
        "password-in-the-wrong-field".to_owned(),
        "confidential".to_owned(),
        "one two three".to_owned(),
        "Secret title".to_owned(),
        "findme".to_owned(),
        "$argon2".to_owned(),
    ];
    let admin = server.client();
    let person = |username: &'static str, email: &'static str| {
        [
            ("first_name", "Ann"),
            ("last_name", "Admin"),
            ("username", username),
            ("email", email),
            ("password", PASSWORD),
        ]
    };
    let mut fields = person("root", "root@example.org").to_vec();
    fields.push(("token", setup_token));
    assert_eq!(admin.submit(&setup, "/setup", &fields).await.status, 303);
    // A sign-up that is confirmed by its mail.
    let ann = server.client();
    let page = ann.submit("/signup", "/signup", &person("ann", "ann@example.org")).await;
    secrets.extend(page.csrf());
    let link = mail_link(&program).await;
    let path = link.strip_prefix(&server.base).unwrap().to_owned();
    secrets.push(path.rsplit('/').next().unwrap().to_owned());
    assert!(ann.submit(&path, &path, &[]).await.status.as_u16() < 400);
    for (who, password) in [("ann", "mistyped-password-1"), ("password-in-the-wrong-field", "x")] {
        let body = json!({ "username_or_email": who, "password": password });
        assert_eq!(ann.post_json("/login", None, &body).await.status, 401);
    }
    let (ann, csrf) = server.sign_in("ann").await;
    let chat =
        ann.post("/chat", &[("csrf_token", &csrf), ("prompt", "confidential plan"), ("model", "hold")]).await;
    let chat = chat.location().unwrap().to_owned();
    stub.wait_live(1).await;
    stub.release();
    while !ann.get(&chat).await.body.contains("data-state=\"done\"") {
        tokio::task::yield_now().await;
    }
    ann.post(&format!("{chat}/rename"), &[("csrf_token", &csrf), ("title", "Secret title")]).await;
    ann.post("/chat", &[("csrf_token", &csrf), ("prompt", "confidential failure"), ("model", "fail-401")])
        .await;
    let token = admin.get_json("/api/v1/csrf").await.json()["csrf_token"].as_str().unwrap().to_owned();
    admin.get("/admin/users?q=findme").await;
    let upstream =
        [("name", "spare"), ("base_url", "http://127.0.0.1:9/v1"), ("api_key", "sk-typed-by-hand")];
    let add: Vec<_> = [("csrf_token", token.as_str())].into_iter().chain(upstream).collect();
    assert_eq!(admin.post("/admin/models", &add).await.status, 303);
    for client in [&ann, &admin] {
        secrets.extend(
            ["anteroom", "anteroom-visitor", "anteroom-flash"].iter().filter_map(|name| client.cookie(name)),
        );
    }
    secrets.extend([csrf, token]);
    server.terminate();
    assert!(server.ended().await.success());
    let log = program.log();
    for secret in &secrets {
        assert!(
            secret.len() > 5 && !log.contains(secret.as_str()),
            "{secret} is in the log: {:?}",
            log.lines().find(|line| line.contains(secret.as_str()))
        );
    }
    for address in ["ann@example.org", "root@example.org"] {
        assert!(!log.contains(address), "{address} is in the log");
    }
    let statement =
        log.lines().find(|line| line.contains(" base::db") && line.contains("FROM sessions s JOIN users u"));
    let statement = statement.unwrap_or_else(|| panic!("no statement in {log}"));
    assert!(statement.contains("DEBUG") && statement.contains("db.statement=\"SELECT "), "{statement}");
    for field in [" db.micros=", " db.rows=1", " request.id="] {
        assert!(statement.contains(field), "{field} in {statement}");
    }
    // A request's line names its route by the pattern, since a path may hold a token.
    let line = log.lines().find(|line| line.contains("http.route=/verify-email/{token}"));
    let line = line.unwrap_or_else(|| panic!("no line of the request in {log}"));
    for field in [" http.method=", " http.status=", " micros=", " statements=", " request.id="] {
        assert!(line.contains(field), "{field} in {line}");
    }
    assert!(log.lines().all(|line| line.starts_with("20")), "every line begins with its time");
}

/// The link of the first mail that has one, once it is written.
async fn mail_link(program: &Program) -> String {
    let folder = program.folder.join("data/mail");
    let waited = tokio::time::timeout(parts::PATIENCE, async {
        loop {
            for entry in std::fs::read_dir(&folder).into_iter().flatten() {
                let data = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
                let mail = parts::mail::Mail { from: String::new(), to: Vec::new(), data };
                if let Some(link) = mail.link("/verify-email/") {
                    return link;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("no mail came"))
}

/// SEC-55: the log says that a passkey's counter went back, and whose.
#[tokio::test]
async fn sec_55_a_counter_that_goes_back_is_logged() {
    let program = Program::new().await;
    program.account("root", "Admin").await;
    let mut server = program.serve().await;
    let (root, csrf) = server.sign_in("root").await;
    let mut device = Authenticator::new(&server.base);
    let send = async |path: &str, body: Value| {
        let reply = root.post_json(path, Some(&csrf), &body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    };
    let asked = send("/settings/passkeys/options", json!({ "kind": "passkey" })).await;
    let made = device.create(&asked);
    let body = json!({ "kind": "passkey", "ceremony": asked["ceremony"], "credential": made });
    send("/settings/passkeys", body).await;
    let mut statuses = Vec::new();
    for counter in [40, 1] {
        device.counter = Some(counter);
        let client = server.client();
        let asked = client.post_json("/login/passkey/options", None, &json!({})).await.json();
        let answer = device.get(&asked).unwrap();
        let body = json!({ "ceremony": asked["ceremony"], "credential": answer });
        statuses.push(client.post_json("/login/passkey", None, &body).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 401]);
    server.terminate();
    assert!(server.ended().await.success());
    let log = program.log();
    let line = log.lines().find(|line| line.contains("counter went backwards"));
    let line = line.unwrap_or_else(|| panic!("nothing of it in {log}"));
    assert!(line.contains("user.id=") && line.contains("passkey.id="), "{line}");
}
