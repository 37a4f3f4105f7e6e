//! SQLite: one read connection a thread, one write connection behind an async mutex.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex as SyncMutex;
use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OpenFlags};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use super::{Arg, DbError, FromRow, OpenError, Row};

/// How many reports run at once; further ones wait.
const REPORTS: usize = 2;
const BUSY: Duration = Duration::from_secs(5);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static READERS: RefCell<HashMap<u64, Connection>> = RefCell::new(HashMap::new());
}

pub(super) struct Sqlite {
    id: u64,
    path: PathBuf,
    writer: Arc<Mutex<Connection>>,
    reports: Arc<Reports>,
}

struct Reports {
    slots: Arc<Semaphore>,
    idle: SyncMutex<Vec<Connection>>,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        if let Some(kind) = network_file_system(path) {
            return Err(OpenError::NetworkFileSystem { path: path.to_owned(), kind });
        }
        let writer = open_writer(path).map_err(|error| open_error(path, &error))?;
        // SQLite opens a file that may only be read without a word, until the first write.
        if writer.is_readonly("main").map_err(|error| open_error(path, &error))? {
            return Err(OpenError::Sqlite { path: path.to_owned(), problem: "it is read-only".into() });
        }
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            path: path.to_owned(),
            writer: Arc::new(Mutex::new(writer)),
            reports: Arc::new(Reports {
                slots: Arc::new(Semaphore::new(REPORTS)),
                idle: SyncMutex::new(Vec::new()),
            }),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read<T: FromRow>(&self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<T>, DbError> {
        READERS.with_borrow_mut(|readers| {
            let connection = match readers.entry(self.id) {
                Entry::Occupied(open) => open.into_mut(),
                Entry::Vacant(empty) => empty.insert(open_reader(&self.path)?),
            };
            query(connection, sql, args)
        })
    }

    pub(super) async fn report<T: FromRow + Send + 'static>(
        &self,
        sql: &'static str,
        args: &[Arg<'_>],
    ) -> Result<Vec<T>, DbError> {
        let _slot = self.reports.slots.acquire().await.map_err(|e| DbError::Busy(e.to_string()))?;
        let (reports, path) = (self.reports.clone(), self.path.clone());
        let args: Vec<OwnedArg> = args.iter().map(OwnedArg::from).collect();
        tokio::task::spawn_blocking(move || {
            let idle = reports.idle.lock().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => open_reader(&path)?,
            };
            let args: Vec<Arg<'_>> = args.iter().map(OwnedArg::borrow).collect();
            let rows = query(&connection, sql, &args);
            reports.idle.lock().push(connection);
            rows
        })
        .await
        .map_err(|e| DbError::Other(e.to_string()))?
    }

    pub(super) async fn begin(&self) -> Result<WriteTx, DbError> {
        let guard = self.writer.clone().lock_owned().await;
        match guard.execute_batch("BEGIN IMMEDIATE") {
            Ok(()) => Ok(WriteTx(Some(guard))),
            Err(_) => {
                // Another process (the command line) is writing: wait for it off this thread.
                tokio::task::spawn_blocking(move || {
                    guard.busy_timeout(BUSY)?;
                    let begun = guard.execute_batch("BEGIN IMMEDIATE");
                    guard.busy_timeout(Duration::ZERO)?;
                    begun?;
                    Ok(WriteTx(Some(guard)))
                })
                .await
                .map_err(|e| DbError::Other(e.to_string()))?
            }
        }
    }

    pub(super) fn prepare(&self, sql: &str) -> Result<(), DbError> {
        open_reader(&self.path)?.prepare(sql)?;
        Ok(())
    }

    pub(super) async fn close(&self) {
        let guard = self.writer.clone().lock_owned().await;
        let _ = tokio::task::spawn_blocking(move || {
            guard.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        })
        .await;
    }
}

/// A write transaction on the one write connection.
pub(super) struct WriteTx(Option<OwnedMutexGuard<Connection>>);

impl WriteTx {
    fn connection(&self) -> Result<&Connection, DbError> {
        self.0.as_deref().ok_or_else(|| DbError::Other("the transaction has ended".into()))
    }

    pub(super) fn query<T: FromRow>(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<T>, DbError> {
        query(self.connection()?, sql, args)
    }

    pub(super) fn execute(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<u64, DbError> {
        let mut statement = self.connection()?.prepare_cached(sql)?;
        bind(&mut statement, args)?;
        Ok(statement.raw_execute()? as u64)
    }

    pub(super) fn batch(&mut self, text: &str) -> Result<(), DbError> {
        Ok(self.connection()?.execute_batch(text)?)
    }

    pub(super) async fn commit(mut self) -> Result<(), DbError> {
        let Some(guard) = self.0.take() else {
            return Err(DbError::Other("the transaction has ended".into()));
        };
        tokio::task::spawn_blocking(move || {
            let done = guard.execute_batch("COMMIT");
            if done.is_err() {
                let _ = guard.execute_batch("ROLLBACK");
            }
            done.map_err(DbError::from)
        })
        .await
        .map_err(|e| DbError::Other(e.to_string()))?
    }
}

impl Drop for WriteTx {
    fn drop(&mut self) {
        if let Some(guard) = self.0.take() {
            let _ = guard.execute_batch("ROLLBACK");
        }
    }
}

fn query<T: FromRow>(connection: &Connection, sql: &str, args: &[Arg<'_>]) -> Result<Vec<T>, DbError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, args)?;
    let mut rows = statement.raw_query();
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(T::from_row(&Row::Sqlite(row))?);
    }
    Ok(out)
}

/// Binds by number. SQLite takes `$2` for a name and counts parameters as they first appear in the
/// text; PostgreSQL, whose rule holds here, counts by the number.
fn bind(statement: &mut CachedStatement<'_>, args: &[Arg<'_>]) -> Result<(), DbError> {
    let count = statement.parameter_count();
    for index in 1..=count {
        let number = statement.parameter_name(index).and_then(|name| name.get(1..)?.parse::<usize>().ok());
        match number.and_then(|number| args.get(number.checked_sub(1)?)) {
            Some(arg) => statement.raw_bind_parameter(index, arg)?,
            None => {
                return Err(DbError::Other(format!(
                    "a statement lacks its argument {number:?} of {}",
                    args.len()
                )));
            }
        }
    }
    if count < args.len() {
        return Err(DbError::Other(format!("{} arguments for {count} parameters", args.len())));
    }
    Ok(())
}

/// Makes the file for its owner alone, if it is not there; what SQLite puts beside a database
/// has the database's mode.
pub(super) fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn open_writer(path: &Path) -> Result<Connection, rusqlite::Error> {
    // Where this fails, SQLite says why in the next line.
    let _ = create_private(path);
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What is acknowledged is on disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.set_prepared_statement_cache_capacity(256);
    keep_plans(&connection)?;
    connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
    connection.busy_timeout(Duration::ZERO)?;
    Ok(connection)
}

fn open_reader(path: &Path) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(128);
    keep_plans(&connection)?;
    Ok(connection)
}

/// A statement keeps its plan. Otherwise SQLite prepares one with a `LIMIT $n` anew whenever that argument was bound.
fn keep_plans(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn open_error(path: &Path, error: &rusqlite::Error) -> OpenError {
    use rusqlite::ErrorCode;
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path },
        Some(ErrorCode::CannotOpen) => {
            OpenError::Sqlite { path, problem: "the folder is missing or not writable".into() }
        }
        Some(ErrorCode::ReadOnly) => OpenError::Sqlite { path, problem: "it is read-only".into() },
        _ => OpenError::Sqlite { path, problem: error.to_string() },
    }
}

/// The kind of network file system that `path` lies on, if it does.
fn network_file_system(path: &Path) -> Option<String> {
    let folder = path.parent()?.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, target, kind) = (fields.next()?, fields.next()?, fields.next()?);
            let target = target.replace("\\040", " ");
            folder.starts_with(&target).then(|| (target.len(), kind.to_owned()))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind)
        .filter(|kind| {
            matches!(
                kind.as_str(),
                "nfs" | "nfs4" | "cifs" | "smb3" | "smbfs" | "fuse.sshfs" | "ceph" | "afs"
            )
        })
}

enum OwnedArg {
    Text(Option<String>),
    Other(Arg<'static>),
}

impl From<&Arg<'_>> for OwnedArg {
    fn from(arg: &Arg<'_>) -> Self {
        match arg {
            Arg::Text(text) => Self::Text(text.map(str::to_owned)),
            Arg::Int(value) => Self::Other(Arg::Int(*value)),
            Arg::Bool(value) => Self::Other(Arg::Bool(*value)),
            Arg::Float(value) => Self::Other(Arg::Float(*value)),
        }
    }
}

impl OwnedArg {
    fn borrow(&self) -> Arg<'_> {
        match self {
            Self::Text(text) => Arg::Text(text.as_deref()),
            Self::Other(arg) => *arg,
        }
    }
}
