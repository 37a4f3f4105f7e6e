//! PostgreSQL through a pool of connections.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor, SqlSafeStr as _};

use super::{Arg, DbError, FromRow, OpenError, Row};

/// The oldest major version that is tested.
const OLDEST: i64 = 14;

pub(super) struct Postgres {
    pool: PgPool,
}

impl Postgres {
    pub(super) async fn connect(url: &str, connections: u32) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| OpenError::Postgres(format!("DATABASE_URL is not a PostgreSQL URL ({error})")))?
            .disable_statement_logging()
            .application_name("anteroom");
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(10))
            // A connection that died is noticed by its first statement; asking before each
            // one would double the round trips.
            .test_before_acquire(false)
            .connect_with(options)
            .await
            .map_err(|error| OpenError::Postgres(plain(&error)))?;
        let version: i64 = sqlx::query_scalar("SELECT CAST(current_setting('server_version_num') AS BIGINT)")
            .fetch_one(&pool)
            .await
            .map_err(|error| OpenError::Postgres(plain(&error)))?;
        if version / 10_000 < OLDEST {
            return Err(OpenError::Postgres(format!(
                "version {} is too old; {OLDEST} or newer is needed",
                version / 10_000
            )));
        }
        Ok(Self { pool })
    }

    pub(super) async fn read<T: FromRow>(
        &self,
        sql: &'static str,
        args: &[Arg<'_>],
    ) -> Result<Vec<T>, DbError> {
        let rows = sqlx::query_with(sql, bind(args)?).fetch_all(&self.pool).await?;
        rows.iter().map(|row| T::from_row(&Row::Postgres(row))).collect()
    }

    pub(super) async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, DbError> {
        Ok(self.pool.begin().await?)
    }

    pub(super) async fn prepare(&self, sql: &str) -> Result<(), DbError> {
        let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
        let mut connection = self.pool.acquire().await?;
        connection.prepare(sql).await?;
        Ok(())
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

pub(super) async fn query<T: FromRow>(
    on: impl Executor<'_, Database = sqlx::Postgres>,
    sql: &'static str,
    args: &[Arg<'_>],
) -> Result<Vec<T>, DbError> {
    let rows = sqlx::query_with(sql, bind(args)?).fetch_all(on).await?;
    rows.iter().map(|row| T::from_row(&Row::Postgres(row))).collect()
}

pub(super) async fn execute(
    on: impl Executor<'_, Database = sqlx::Postgres>,
    sql: &'static str,
    args: &[Arg<'_>],
) -> Result<u64, DbError> {
    Ok(sqlx::query_with(sql, bind(args)?).execute(on).await?.rows_affected())
}

pub(super) async fn batch(
    tx: &mut sqlx::Transaction<'static, sqlx::Postgres>,
    text: String,
) -> Result<(), DbError> {
    sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **tx).await?;
    Ok(())
}

fn bind(args: &[Arg<'_>]) -> Result<PgArguments, DbError> {
    use sqlx::Arguments as _;
    let mut out = PgArguments::default();
    for arg in args {
        match arg {
            Arg::Text(value) => out.add(*value),
            Arg::Int(value) => out.add(*value),
            Arg::Bool(value) => out.add(*value),
            Arg::Float(value) => out.add(*value),
        }
        .map_err(|error| DbError::Other(error.to_string()))?;
    }
    Ok(out)
}

fn plain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(inner) => inner.message().to_owned(),
        sqlx::Error::Io(inner) => inner.to_string(),
        sqlx::Error::PoolTimedOut => "no connection within 10 s".into(),
        other => other.to_string(),
    }
}
