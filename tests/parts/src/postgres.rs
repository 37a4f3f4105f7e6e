//! Empty databases in the PostgreSQL cluster that `scripts/test` starts.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// Makes each name in this process different.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The URL of a new, empty database, where `ANTEROOM_TEST_ENGINE` is `postgres`; `None` where the tests run on SQLite.
/// It stays when the test ends: the cluster is thrown away.
///
/// # Errors
/// Where `ANTEROOM_TEST_POSTGRES` does not lead to a cluster in which databases can be made.
pub async fn database() -> Result<Option<String>, Box<dyn std::error::Error + Send + Sync>> {
    if std::env::var("ANTEROOM_TEST_ENGINE").is_ok_and(|engine| engine == "postgres") {
        create().await.map(Some)
    } else {
        Ok(None)
    }
}

/// The URL of a new, empty database, on whatever engine the rest of the tests runs.
///
/// # Errors
/// As [`database`].
pub async fn create() -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let cluster = std::env::var("ANTEROOM_TEST_POSTGRES")
        .map_err(|_| "ANTEROOM_TEST_POSTGRES is not set: run scripts/test, which starts a PostgreSQL")?;
    let (server, _) = cluster.rsplit_once('/').ok_or("ANTEROOM_TEST_POSTGRES names no database")?;
    let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&cluster).await?;
    // An earlier run on a kept cluster may have had this process id.
    connection.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).await?;
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"))).await?;
    connection.close().await?;
    Ok(format!("{server}/{name}"))
}

/// Runs one statement on that database.
///
/// # Errors
/// Where there is no such database, or the statement fails.
pub async fn execute(url: &str, statement: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute(AssertSqlSafe(statement.to_owned())).await?;
    Ok(connection.close().await?)
}
