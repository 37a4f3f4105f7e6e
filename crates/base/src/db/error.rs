//! What can go wrong with the database.

use std::path::{Path, PathBuf};

/// A failed statement or transaction.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A unique constraint refused the write. The text names its columns.
    #[error("unique constraint: {0}")]
    Unique(String),
    #[error("a row that this one refers to is missing: {0}")]
    ForeignKey(String),
    /// The engine is locked, restarting, or out of connections; the same call may work later.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// A stored value is not what the code expects there.
    #[error("unexpected value in {column}: {problem}")]
    Corrupt { column: String, problem: String },
    /// The file of the database is damaged.
    #[error("the database file is damaged ({0}); restore it from a backup")]
    Damaged(String),
    #[error("database: {0}")]
    Other(String),
}

impl DbError {
    /// Whether this is the unique constraint on `table.column`, on either engine.
    pub fn is_unique(&self, table: &str, column: &str) -> bool {
        matches!(self, Self::Unique(what)
            if what.contains(&format!("{table}.{column}")) || what.contains(&format!("{table}_{column}")))
    }

    pub(super) fn corrupt(column: &str, problem: impl std::fmt::Display) -> Self {
        Self::Corrupt { column: column.to_owned(), problem: problem.to_string() }
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match &error {
            rusqlite::Error::SqliteFailure(code, text) => {
                let text = text.clone().unwrap_or_else(|| code.to_string());
                match (code.code, code.extended_code) {
                    (_, rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
                    | (_, rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => Self::Unique(text),
                    (_, rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Self::ForeignKey(text),
                    (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => Self::Busy(text),
                    (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => Self::Damaged(text),
                    _ => Self::Other(text),
                }
            }
            rusqlite::Error::InvalidColumnType(_, column, kind) => Self::corrupt(column, kind),
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) => {
                let text = match inner.constraint() {
                    Some(name) => format!("{name}: {}", inner.message()),
                    None => inner.message().to_owned(),
                };
                match inner.code().as_deref() {
                    Some("23505") => Self::Unique(text),
                    Some("23503") => Self::ForeignKey(text),
                    // Serialisation failure, deadlock, too many connections, shutting down.
                    Some("40001" | "40P01" | "53300" | "57P01" | "57P02" | "57P03") => Self::Busy(text),
                    _ => Self::Other(text),
                }
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => {
                Self::Busy(error.to_string())
            }
            sqlx::Error::ColumnDecode { index, source } => Self::corrupt(index, source),
            _ => Self::Other(error.to_string()),
        }
    }
}

/// Why the database did not open. Each text is one line with the way out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open the database {}: {problem}", path.display())]
    Sqlite { path: PathBuf, problem: String },
    #[error("the file {} is damaged or no SQLite database; restore it from a backup", path.display())]
    Damaged { path: PathBuf },
    #[error(
        "the database {} lies on a network file system ({kind}), where SQLite's locks do not hold; \
         use a local disk, or PostgreSQL by DATABASE_URL", path.display()
    )]
    NetworkFileSystem { path: PathBuf, kind: String },
    #[error("cannot reach PostgreSQL: {0}")]
    Postgres(String),
    #[error(
        "the database is from a newer version of Anteroom (its schema is {found}, this program knows \
         up to {known}); start that version or a newer one"
    )]
    Newer { found: i64, known: i64 },
    #[error(
        "migration {name} failed and was rolled back: {problem}. The data is as it was before; \
         start the former version to go on working{}", snapshot.as_ref().map(|p| format!(
            ", or restore the snapshot {}", p.display())).unwrap_or_default()
    )]
    Migration { name: &'static str, problem: String, snapshot: Option<PathBuf> },
    #[error("the database did not answer: {0}")]
    Db(#[from] DbError),
}

impl OpenError {
    /// An error met in the file at `path`: damage is told as such, wherever it is first met.
    pub(super) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Db(DbError::Damaged(_)) => Self::Damaged { path: path.to_owned() },
            other => other,
        }
    }
}
