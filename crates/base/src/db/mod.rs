//! One portable SQL text over two real drivers. The other crates see only the types here.
//!
//! SQLite reads run inline on the calling thread; its writes go through one connection behind a
//! mutex, and the commit, which waits for the disk, runs on the blocking pool. PostgreSQL goes
//! through a connection pool.

mod error;
mod migrate;
mod postgres;
mod sqlite;
mod trace;
mod value;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

pub use error::{DbError, OpenError};
pub use migrate::{Migration, migrations};
pub use trace::count_statements;
pub use value::{Arg, Column, FromRow, Row};

/// A statement's text. Only [`sql!`](crate::sql) makes one, so that a test can find every
/// statement in the sources and prepare it on both engines.
#[derive(Clone, Copy, Debug)]
pub struct Sql(#[doc(hidden)] pub &'static str);

/// Marks a literal as a statement. Parameters are `$1`, `$2`, …; the text is the same for
/// both engines.
#[macro_export]
macro_rules! sql {
    ($text:literal) => {
        $crate::db::Sql($text)
    };
}

/// Builds the arguments of a statement: `args![user_id, now]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        &[$($crate::db::Arg::from($value)),*] as &[$crate::db::Arg<'_>]
    };
}

/// Where the data lives.
#[derive(Clone, Debug)]
pub enum Location {
    /// An SQLite file; its folder exists.
    Sqlite(PathBuf),
    /// A `postgres://` URL and how many connections may stand at once.
    Postgres { url: String, connections: u32 },
}

/// The two engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// The database. Cloning shares it.
#[derive(Clone)]
pub struct Db(Arc<Backend>);

enum Backend {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

impl Db {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// Every [`OpenError`] is one line that an operator can act on.
    pub async fn open(location: &Location, now: crate::Micros) -> Result<Self, OpenError> {
        let db = Self::connect(location).await?;
        match migrate::run(&db, now).await {
            Ok(()) => Ok(db),
            Err(error) => Err(match &*db.0 {
                Backend::Sqlite(sqlite) => error.in_file(sqlite.path()),
                Backend::Postgres(_) => error,
            }),
        }
    }

    /// Opens the database as it is. Most callers want [`Db::open`].
    pub async fn connect(location: &Location) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(match location {
            Location::Sqlite(path) => Backend::Sqlite(sqlite::Sqlite::open(path)?),
            Location::Postgres { url, connections } => {
                Backend::Postgres(postgres::Postgres::connect(url, *connections).await?)
            }
        })))
    }

    pub fn engine(&self) -> Engine {
        match &*self.0 {
            Backend::Sqlite(_) => Engine::Sqlite,
            Backend::Postgres(_) => Engine::Postgres,
        }
    }

    /// All rows of a short, indexed read.
    pub async fn all<T: FromRow>(&self, sql: Sql, args: &[Arg<'_>]) -> Result<Vec<T>, DbError> {
        let watch = trace::start(sql);
        let rows = match &*self.0 {
            Backend::Sqlite(sqlite) => sqlite.read(sql.0, args),
            Backend::Postgres(postgres) => postgres.read(sql.0, args).await,
        };
        watch.finish(rows.as_ref().map(Vec::len));
        rows
    }

    /// The first row of a short, indexed read, if there is one.
    pub async fn one<T: FromRow>(&self, sql: Sql, args: &[Arg<'_>]) -> Result<Option<T>, DbError> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// A read that may scan: on SQLite it runs on the blocking pool, a few at a time.
    pub async fn report<T: FromRow + Send + 'static>(
        &self,
        sql: Sql,
        args: &[Arg<'_>],
    ) -> Result<Vec<T>, DbError> {
        let watch = trace::start(sql);
        let rows = match &*self.0 {
            Backend::Sqlite(sqlite) => sqlite.report(sql.0, args).await,
            Backend::Postgres(postgres) => postgres.read(sql.0, args).await,
        };
        watch.finish(rows.as_ref().map(Vec::len));
        rows
    }

    /// One write in a transaction of its own; gives the number of rows it touched.
    pub async fn run(&self, sql: Sql, args: &[Arg<'_>]) -> Result<u64, DbError> {
        let mut tx = self.begin().await?;
        let rows = tx.run(sql, args).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Begins a write transaction. Keep it short; never hold it across hashing, mail or a
    /// model call. Dropped without [`Tx::commit`] it is rolled back.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        Ok(Tx(match &*self.0 {
            Backend::Sqlite(sqlite) => TxBackend::Sqlite(sqlite.begin().await?),
            Backend::Postgres(postgres) => TxBackend::Postgres(postgres.begin().await?),
        }))
    }

    /// Asks the engine to prepare a statement without running it.
    pub async fn prepare(&self, sql: &str) -> Result<(), DbError> {
        match &*self.0 {
            Backend::Sqlite(sqlite) => sqlite.prepare(sql),
            Backend::Postgres(postgres) => postgres.prepare(sql).await,
        }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.all::<i64>(sql!("SELECT CAST(1 AS BIGINT)"), &[]).await.map(drop)
    }

    /// Waits for running writes, moves SQLite's write-ahead log into the file, and closes.
    pub async fn close(&self) {
        match &*self.0 {
            Backend::Sqlite(sqlite) => sqlite.close().await,
            Backend::Postgres(postgres) => postgres.close().await,
        }
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Db").field(&self.engine()).finish()
    }
}

/// A write transaction.
pub struct Tx(TxBackend);

enum TxBackend {
    Sqlite(sqlite::WriteTx),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Tx {
    /// All rows; `RETURNING` works here too.
    pub async fn all<T: FromRow>(&mut self, sql: Sql, args: &[Arg<'_>]) -> Result<Vec<T>, DbError> {
        let watch = trace::start(sql);
        let rows = match &mut self.0 {
            TxBackend::Sqlite(tx) => tx.query(sql.0, args),
            TxBackend::Postgres(tx) => postgres::query(&mut **tx, sql.0, args).await,
        };
        watch.finish(rows.as_ref().map(Vec::len));
        rows
    }

    /// The first row, if there is one.
    pub async fn one<T: FromRow>(&mut self, sql: Sql, args: &[Arg<'_>]) -> Result<Option<T>, DbError> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// Runs a statement; gives the number of rows it touched.
    pub async fn run(&mut self, sql: Sql, args: &[Arg<'_>]) -> Result<u64, DbError> {
        let watch = trace::start(sql);
        let rows = match &mut self.0 {
            TxBackend::Sqlite(tx) => tx.execute(sql.0, args),
            TxBackend::Postgres(tx) => postgres::execute(&mut **tx, sql.0, args).await,
        };
        watch.finish(rows.as_ref().map(|n| usize::try_from(*n).unwrap_or(usize::MAX)));
        rows
    }

    /// Holds the named lock until the transaction ends. SQLite has one writer anyway; on
    /// PostgreSQL the lock row makes the others wait.
    pub async fn lock(&mut self, name: &str) -> Result<(), DbError> {
        let rows = self.run(sql!("UPDATE locks SET taken = taken + 1 WHERE name = $1"), args![name]).await?;
        if rows == 0 { Err(DbError::Other(format!("no lock row is named {name}"))) } else { Ok(()) }
    }

    /// Makes everything lasting. On return it is on disk.
    pub async fn commit(self) -> Result<(), DbError> {
        let watch = trace::start(Sql("COMMIT"));
        let done = match self.0 {
            TxBackend::Sqlite(tx) => tx.commit().await,
            TxBackend::Postgres(tx) => tx.commit().await.map_err(DbError::from),
        };
        watch.finish(done.as_ref().map(|()| 0));
        done
    }

    pub(crate) async fn batch(&mut self, text: Cow<'static, str>) -> Result<(), DbError> {
        match &mut self.0 {
            TxBackend::Sqlite(tx) => tx.batch(&text),
            TxBackend::Postgres(tx) => postgres::batch(tx, text.into_owned()).await,
        }
    }
}
