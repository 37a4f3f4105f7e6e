//! Commands beside a running server, and several starts at once.

use anteroom::app::{App, Outside};
use anteroom::joining;
use base::db::Location;
use base::{Db, Random, args, sql};

use crate::harness::{PASSWORD, TestApp, Wishes};
use crate::program::Program;

/// The application as a command builds it, beside the server and without its upstreams.
async fn command(app: &TestApp) -> App {
    let mut config = app.app.config.clone();
    config.upstreams.clear();
    let outside = Outside { clock: app.clock.clone(), random: Random::os(), demo_pace: None };
    App::build(config, outside).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A command run without the server's variables leaves its model servers on.
#[tokio::test]
async fn a_command_does_not_touch_the_servers_models() {
    let app = Wishes::default().models().start().await;
    let names = app.app.models.names();
    assert!(!names.is_empty() && !names.contains(&"demo".to_owned()), "{names:?}");
    let beside = command(&app).await;
    assert_eq!(beside.models.names(), names, "it sees them too");
    app.app.models.reload(&app.app).await.unwrap();
    assert_eq!(app.app.models.names(), names);
    let upstreams = ::usage::catalog::upstreams(&app.app.db).await.unwrap();
    assert!(upstreams.iter().all(|upstream| upstream.enabled), "{upstreams:?}");
}

/// Once the command line has made an Admin, the sign-in page sends nobody to the set-up any more.
#[tokio::test]
async fn an_admin_made_by_a_command_ends_the_set_up() {
    let app = TestApp::start().await;
    let words = "Nobody is Admin yet";
    assert!(app.anon().get("/login").await.body.contains(words));
    let new = accounts::NewAccount {
        first_name: "Given".into(),
        last_name: "Family".into(),
        username: "root".into(),
        email: "root@example.org".into(),
        password: PASSWORD.into(),
    };
    joining::create(&command(&app).await, &new, "Admin").await.unwrap_or_else(|error| panic!("{error:?}"));
    app.page_until(&app.anon(), "/login", |page| !page.contains(words)).await;
}

/// SEC-28: the operator opens the door again where a stranger has locked out the only Admin.
#[tokio::test]
async fn sec_28_the_operator_unlocks_an_account() {
    let program = Program::new().await;
    program.account("root", "Admin").await;
    let db = Db::connect(&program.location()).await.unwrap();
    db.run(sql!("UPDATE users SET failures = 100, locked_until = 1 WHERE username = $1"), args!["root"])
        .await
        .unwrap();
    let server = program.serve().await;
    let body = serde_json::json!({ "username_or_email": "root", "password": PASSWORD });
    assert_eq!(server.client().post_json("/login", None, &body).await.status, 429);
    for (words, name) in [("root may sign in again.\n", "Root"), ("root was not locked.\n", "root")] {
        let left = program.run(&["user", "unlock", name], "").await;
        assert_eq!((left.code, left.out.as_str()), (Some(0), words), "{left:?}");
    }
    server.sign_in("root").await;
    let left = program.run(&["user", "unlock", "nobody"], "").await;
    assert_eq!((left.code, left.err.as_str()), (Some(1), "anteroom: There is no such person.\n"), "{left:?}");
}

/// SEC-60, SEC-23, SEC-28: the operator helps, and the person hears of it.
#[tokio::test]
async fn sec_60_the_operator_resets_factors_and_passwords() {
    let program = Program::new().await;
    program.account("root", "Admin").await;
    let db = Db::connect(&program.location()).await.unwrap();
    for statement in [
        sql!(
            "INSERT INTO totp_factors (id, user_id, secret, created_at, confirmed_at) SELECT 't', id, 's', 1, 1 FROM users"
        ),
        sql!("UPDATE users SET factor_failures = 10, factor_locked_until = 9000000000000000"),
    ] {
        db.run(statement, &[]).await.unwrap();
    }
    let run = async |arguments: &[&str]| {
        let left = program.run(arguments, "").await;
        assert_eq!(left.code, Some(0), "{left:?}");
        left.out
    };
    assert_eq!(run(&["user", "unlock", "root"]).await, "root may sign in again.\n");
    assert_eq!(run(&["user", "unlock", "root"]).await, "root was not locked.\n");
    let short = program.run(&["user", "reset-2fa", "root", "--reason", "x"], "").await;
    assert_eq!(short.code, Some(1), "{short:?}");
    assert!(short.err.contains("3 to 200 characters"), "{short:?}");
    let out = run(&["user", "reset-2fa", "Root"]).await;
    assert!(out.contains("root has no second factor any more") && out.contains("r•••@example.org"), "{out}");
    assert_eq!(run(&["user", "reset-2fa", "root"]).await, "root had no second factor.\n");
    let out = run(&["user", "reset-password", "root"]).await;
    assert!(
        out.contains("queued for root") && out.contains("data/mail") && !out.contains("/reset/"),
        "{out}"
    );
    let queued: Vec<String> = db.all(sql!("SELECT kind FROM mail_outbox ORDER BY kind"), &[]).await.unwrap();
    assert_eq!(queued, ["factors_reset", "reset_link"]);
    let out = run(&["user", "reset-password", "root", "--print"]).await;
    assert_eq!(out.lines().count(), 1, "{out}");
    let token = out.trim().split_once("/reset/").unwrap().1;
    assert!(token.len() >= 40, "{out}");
    let mails: Option<i64> = db.one(sql!("SELECT COUNT(*) FROM mail_outbox"), &[]).await.unwrap();
    assert_eq!(mails, Some(2), "a printed link is mailed to nobody");
    let nobody = program.run(&["user", "reset-password", "nobody"], "").await;
    assert_eq!((nobody.code, nobody.err.as_str()), (Some(1), "anteroom: There is no such person.\n"));
}

/// SEC-3
#[tokio::test]
async fn sec_3_the_operator_says_which_roles_require_a_second_factor() {
    let program = Program::new().await;
    program.account("root", "Admin").await;
    let run = async |arguments: &[&str]| program.run(arguments, "").await;
    let out = run(&["role", "list"]).await.out;
    assert!(out.contains("Admin: 1 person; second factor required after 7 days, 1 without one"), "{out}");
    assert!(out.contains("User: 1 person; second factor optional"), "{out}");
    let set = run(&["role", "set", "user", "--second-factor", "required", "--grace-days", "0"]).await;
    assert_eq!(set.out, "User requires a second factor, with 0 days to set one up.\n", "{set:?}");
    let set = run(&["role", "set", "Admin", "--second-factor", "optional"]).await;
    assert_eq!(set.out, "Admin does not require a second factor.\n", "{set:?}");
    let out = run(&["role", "list"]).await.out;
    assert!(out.contains("Admin: 1 person; second factor optional"), "{out}");
    for (arguments, code) in [
        (vec!["role", "set", "Emperor", "--second-factor", "required"], 1),
        (vec!["role", "set", "User", "--second-factor", "required", "--grace-days", "91"], 1),
        (vec!["role", "set", "User", "--second-factor", "perhaps"], 2),
    ] {
        assert_eq!(run(&arguments).await.code, Some(code), "{arguments:?}");
    }
}

/// Replicas that start at once on an empty database: one makes the tables, the others wait.
#[tokio::test]
async fn eight_first_starts_at_once_all_succeed() {
    let program = Program::new().await;
    let location = match program.location() {
        Location::Sqlite(_) => Location::Sqlite(program.folder.join("anteroom.db")),
        postgres => postgres,
    };
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let location = location.clone();
            tokio::spawn(async move { Db::open(&location, 1).await.map(drop) })
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap_or_else(|error| panic!("{error}"));
    }
}

/// A second start has nothing to say about tables that are there.
#[tokio::test]
async fn a_second_start_logs_no_notice_of_the_database() {
    let program = Program::new().await;
    for _ in 0..2 {
        assert_eq!(program.run(&["migrate"], "").await.code, Some(0));
    }
    assert!(!program.log().contains("already exists"), "{}", program.log());
}
