//! The facade on SQLite; the application's suite runs the same paths on both engines.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use base::db::{Location, OpenError};
use base::{Db, args, sql};

fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("anteroom-base-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

async fn open(name: &str) -> (Db, std::path::PathBuf) {
    let path = folder(name).join("anteroom.db");
    (Db::open(&Location::Sqlite(path.clone()), 1).await.unwrap(), path)
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing() {
    let (db, _) = open("drop").await;
    let mut tx = db.begin().await.unwrap();
    tx.run(
        sql!("INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3)"),
        args!["a", "1", 5_i64],
    )
    .await
    .unwrap();
    drop(tx);
    let rows: Vec<String> = db.all(sql!("SELECT value FROM settings"), &[]).await.unwrap();
    assert!(rows.is_empty());
    let n = db
        .run(
            sql!("INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3)"),
            args!["a", "1", 5_i64],
        )
        .await
        .unwrap();
    assert_eq!(n, 1);
    let twice = db
        .run(
            sql!("INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3)"),
            args!["a", "2", 5_i64],
        )
        .await
        .unwrap_err();
    assert!(twice.is_unique("settings", "name"), "{twice}");
    let listed: Vec<String> = db
        .report(
            sql!("SELECT value FROM settings WHERE name IN (SELECT value FROM json_each($1))"),
            args!["[\"a\"]"],
        )
        .await
        .unwrap();
    assert_eq!(listed, ["1"]);
}

#[tokio::test]
async fn statements_of_one_task_are_counted() {
    let (db, _) = open("count").await;
    let ((), n) = base::db::count_statements(async {
        db.ping().await.unwrap();
        db.ping().await.unwrap();
    })
    .await;
    assert_eq!(n, 2);
}

#[tokio::test]
async fn a_database_from_a_newer_version_is_refused() {
    let (db, path) = open("newer").await;
    db.run(sql!("INSERT INTO schema_migrations (version, name, applied_at) VALUES (9999, 'x', 1)"), &[])
        .await
        .unwrap();
    let error = Db::open(&Location::Sqlite(path), 1).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 9999, .. }), "{error}");
    assert!(!error.to_string().contains('\n'));
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let path = folder("damaged").join("anteroom.db");
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    let error = Db::open(&Location::Sqlite(path), 1).await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn concurrent_writers_take_turns() {
    let (db, _) = open("turns").await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut tx = db.begin().await.unwrap();
                tx.lock("admins").await.unwrap();
                tx.commit().await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let taken: Option<i64> =
        db.one(sql!("SELECT taken FROM locks WHERE name = 'admins'"), &[]).await.unwrap();
    assert_eq!(taken, Some(20));
}

#[tokio::test]
async fn parameters_count_by_their_number_not_by_their_place() {
    let (db, _) = open("order").await;
    db.run(
        sql!("INSERT INTO settings (value, name, updated_at) VALUES ($2, $1, $3)"),
        args!["the name", "the value", 5_i64],
    )
    .await
    .unwrap();
    db.run(
        sql!("UPDATE settings SET value = $3 WHERE name = $1 AND value = $2"),
        args!["the name", "the value", "new"],
    )
    .await
    .unwrap();
    let value: Option<String> = db
        .one(sql!("SELECT value FROM settings WHERE name = $1 AND name = $1"), args!["the name"])
        .await
        .unwrap();
    assert_eq!(value.as_deref(), Some("new"));
    let missing = db.all::<String>(sql!("SELECT value FROM settings WHERE name = $2"), args!["a"]).await;
    assert!(missing.is_err());
}
