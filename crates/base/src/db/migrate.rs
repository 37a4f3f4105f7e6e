//! Numbered, append-only migrations, one text for both engines.
//!
//! For PostgreSQL every `TEXT` column is `COLLATE "C"`, so that both engines sort alike. A
//! statement behind `-- only: postgres` or `-- only: sqlite` is for that engine alone; a blank
//! line ends it.

use std::borrow::Cow;

use super::{Backend, Db, DbError, Engine, OpenError, Tx, sqlite};
use crate::{Micros, args, sql};

/// One step of the schema.
pub struct Migration {
    pub version: i64,
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! migration {
    ($version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            text: include_str!(concat!("../../migrations/", $name, ".sql")),
        }
    };
}

const MIGRATIONS: &[Migration] =
    &[migration!(1, "0001_first"), migration!(2, "0002_second_factors"), migration!(3, "0003_providers")];

/// All migrations, oldest first.
pub fn migrations() -> &'static [Migration] {
    MIGRATIONS
}

impl Db {
    /// The version of the schema; 0 before the first migration.
    ///
    /// # Errors
    /// The database does not answer, or there are no tables yet.
    pub async fn schema_version(&self) -> Result<i64, DbError> {
        let version = self
            .one(sql!("SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM schema_migrations"), &[])
            .await?;
        Ok(version.unwrap_or(0))
    }

    /// The time by the clock of the database's machine, as it writes it: `2026-11-20 12:00:00`,
    /// perhaps with a fraction and an offset.
    pub async fn current_timestamp(&self) -> Result<Option<String>, DbError> {
        self.one(sql!("SELECT CAST(CURRENT_TIMESTAMP AS TEXT)"), &[]).await
    }
}

pub(super) async fn run(db: &Db, now: Micros) -> Result<(), OpenError> {
    let mut tx = db.begin().await.map_err(|error| first_write(db, error))?;
    take_turns(&mut tx, db.engine()).await?;
    tx.batch(Cow::Borrowed(
        "CREATE TABLE IF NOT EXISTS schema_migrations \
         (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)",
    ))
    .await
    .map_err(|error| first_write(db, error))?;
    let found: i64 = tx
        .one(sql!("SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM schema_migrations"), &[])
        .await?
        .unwrap_or(0);
    let known = MIGRATIONS.last().map_or(0, |m| m.version);
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    if found == known {
        // Nothing to write: leave the file as it is.
        return if found == 0 { Ok(tx.commit().await?) } else { Ok(()) };
    }
    if found == 0 {
        tx.commit().await?;
    } else {
        drop(tx);
    }
    let snapshot = if found > 0 { snapshot(db, found).await? } else { None };
    let mut tx = db.begin().await?;
    take_turns(&mut tx, db.engine()).await?;
    let found: i64 = tx
        .one(sql!("SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM schema_migrations"), &[])
        .await?
        .unwrap_or(0);
    for migration in MIGRATIONS.iter().filter(|m| m.version > found) {
        let step = async {
            tx.batch(Cow::Owned(for_engine(migration.text, db.engine()))).await?;
            tx.run(
                sql!("INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)"),
                args![migration.version, migration.name, now],
            )
            .await
        };
        if let Err(error) = step.await {
            return Err(OpenError::Migration { name: migration.name, problem: error.to_string(), snapshot });
        }
        tracing::info!(migration.name = migration.name, "schema migrated");
    }
    tx.commit().await.map_err(|error| OpenError::Migration {
        name: "commit",
        problem: error.to_string(),
        snapshot,
    })
}

/// Replicas that start at once take turns, from the first statement on: on PostgreSQL even
/// `CREATE TABLE IF NOT EXISTS` fails where two run it at once. It also says in a notice that the
/// table is there, at each start, which nobody needs to read.
async fn take_turns(tx: &mut Tx, engine: Engine) -> Result<(), DbError> {
    if engine == Engine::Postgres {
        // The number is "anteroom" in ASCII.
        tx.batch(Cow::Borrowed(
            "SET LOCAL client_min_messages = warning; SELECT pg_advisory_xact_lock(7020676848177606509)",
        ))
        .await?;
    }
    Ok(())
}

/// The first write shows whether the file may be written at all.
fn first_write(db: &Db, error: DbError) -> OpenError {
    match &*db.0 {
        Backend::Sqlite(_) if matches!(error, DbError::Damaged(_)) => OpenError::Db(error),
        Backend::Sqlite(sqlite) => {
            OpenError::Sqlite { path: sqlite.path().to_owned(), problem: error.to_string() }
        }
        Backend::Postgres(_) => OpenError::Db(error),
    }
}

/// Copies an SQLite database aside before it is changed.
async fn snapshot(db: &Db, version: i64) -> Result<Option<std::path::PathBuf>, OpenError> {
    let Backend::Sqlite(sqlite) = &*db.0 else { return Ok(None) };
    let mut path = sqlite.path().as_os_str().to_owned();
    path.push(format!(".before-{}", version + 1));
    let path = std::path::PathBuf::from(path);
    let source = sqlite.path().to_owned();
    let target = path.clone();
    let copied = tokio::task::spawn_blocking(move || -> Result<(), DbError> {
        if target.exists() {
            std::fs::remove_file(&target).map_err(|e| DbError::Other(e.to_string()))?;
        }
        sqlite::create_private(&target).map_err(|e| DbError::Other(e.to_string()))?;
        let connection = rusqlite::Connection::open(source)?;
        connection.execute("VACUUM INTO $1", [target.to_string_lossy()])?;
        Ok(())
    })
    .await
    .map_err(|e| DbError::Other(e.to_string()))
    .and_then(|done| done);
    match copied {
        Ok(()) => Ok(Some(path)),
        Err(error) => Err(OpenError::Migration {
            name: "snapshot before migrating",
            problem: error.to_string(),
            snapshot: None,
        }),
    }
}

/// The text of a migration as one engine wants it.
fn for_engine(text: &str, engine: Engine) -> String {
    let mut out = String::with_capacity(text.len() + 512);
    let mut only: Option<Engine> = None;
    for line in text.lines() {
        match line.trim() {
            "-- only: sqlite" => only = Some(Engine::Sqlite),
            "-- only: postgres" => only = Some(Engine::Postgres),
            "" => only = None,
            comment if comment.starts_with("--") => {}
            _ if only.is_some_and(|wanted| wanted != engine) => {}
            _ if engine == Engine::Postgres && only.is_none() => {
                out.push_str(&line.replace(" TEXT", " TEXT COLLATE \"C\""));
                out.push('\n');
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps() {
        for (i, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version, i as i64 + 1);
            assert!(migration.name.starts_with(&format!("{:04}_", migration.version)));
        }
    }

    /// People of the first version keep everything; Admins get their days of grace from when somebody
    /// was last seen.
    #[tokio::test]
    async fn an_older_database_is_brought_up_with_its_people() {
        let folder = std::env::temp_dir().join(format!("anteroom-base-older-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("anteroom.db");
        {
            let old = rusqlite::Connection::open(&file).unwrap();
            old.execute_batch(&for_engine(MIGRATIONS[0].text, Engine::Sqlite)).unwrap();
            old.execute_batch(
                "CREATE TABLE schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL);
                 INSERT INTO schema_migrations VALUES (1, '0001_first', 1);
                 INSERT INTO users (id, username, username_canonical, first_name, last_name, created_at, last_seen_at, search)
                   VALUES ('u', 'Ann', 'ann', 'Ann', 'Lee', 1, 777, 'ann');
                 INSERT INTO challenges (id, token_hash, user_id, method, ip, user_agent, created_at, expires_at)
                   VALUES ('c', 'h', 'u', 'password', '::1', '', 1, 2);",
            )
            .unwrap();
        }
        let db = Db::open(&super::super::Location::Sqlite(file), 1_000).await.unwrap();
        let rows: Vec<(String, bool, i64, i64)> = db
            .all(
                sql!("SELECT name, second_factor_required, second_factor_since, grace_days FROM roles ORDER BY id"),
                &[],
            )
            .await
            .unwrap();
        assert_eq!(rows, [("Admin".to_owned(), true, 777, 7), ("User".to_owned(), false, 0, 7)]);
        let enrol: Option<bool> = db.one(sql!("SELECT enrol FROM challenges"), &[]).await.unwrap();
        assert_eq!(enrol, Some(false));
        db.close().await;
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn each_engine_gets_its_own_text() {
        let text = "CREATE TABLE a (id TEXT);\n\n-- only: postgres\nCREATE FUNCTION f(x TEXT) …;\n\n-- only: sqlite\nSELECT 1;\n\nSELECT 2;";
        let sqlite = for_engine(text, Engine::Sqlite);
        assert_eq!(sqlite, "CREATE TABLE a (id TEXT);\nSELECT 1;\nSELECT 2;\n");
        let postgres = for_engine(text, Engine::Postgres);
        assert_eq!(
            postgres,
            "CREATE TABLE a (id TEXT COLLATE \"C\");\nCREATE FUNCTION f(x TEXT) …;\nSELECT 2;\n"
        );
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_database_what_lies_beside_it_and_a_snapshot_are_for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("anteroom-base-private-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let location = crate::db::Location::Sqlite(folder.join("anteroom.db"));
        let db = Db::open(&location, 1).await.unwrap();
        let snapshot = snapshot(&db, 1).await.unwrap().unwrap();
        assert!(std::fs::metadata(&snapshot).unwrap().len() > 4096, "it holds the data");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
            names.push(name);
        }
        names.sort();
        assert_eq!(names, ["anteroom.db", "anteroom.db-shm", "anteroom.db-wal", "anteroom.db.before-2"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
