//! `[database]`: SQLite in the data folder, or PostgreSQL.

use std::path::{Path, PathBuf};

use base::db::Location;
use url::Url;

use super::section::section;
use super::value::{Value, Wrong, quoted};

section! {
    /// Where everything is kept.
    Database in "database" {
        /// `postgres://user:password@host/name`, `sqlite:path/to/file`, or nothing for
        /// `anteroom.db` in the data folder. Variable: `DATABASE_URL`.
        url: DatabaseUrl = DatabaseUrl::Default,
        /// How many connections to PostgreSQL may stand at once.
        connections: u32 = 16,
    }
}

impl Database {
    pub(super) fn check(&self, wrong: &mut super::Problems) {
        if !(1..=1000).contains(&self.connections) {
            wrong.add("database.connections", "a whole number from 1 to 1000");
        }
    }

    /// What [`base::Db::open`] takes. A relative path starts at the working folder.
    pub(super) fn location(&self, cwd: &Path, data_dir: &Path) -> Location {
        match &self.url {
            DatabaseUrl::Default => Location::Sqlite(data_dir.join("anteroom.db")),
            DatabaseUrl::Sqlite(path) => Location::Sqlite(cwd.join(path)),
            DatabaseUrl::Postgres(url) => {
                Location::Postgres { url: url.as_str().to_owned(), connections: self.connections }
            }
        }
    }
}

/// The URL of a database. Its password never shows.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `anteroom.db` in the data folder.
    Default,
    Sqlite(PathBuf),
    Postgres(Url),
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.show().unwrap_or_else(|| "(default)".to_owned()))
    }
}

impl Value for DatabaseUrl {
    const EXPECTED: &'static str = "postgres://user:password@host/name or sqlite:path";
    const SECRET: bool = true;
    const TEXT: bool = true;

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::Default);
        }
        let (scheme, rest) = text.split_once(':').ok_or_else(Wrong::plain)?;
        match scheme {
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() || path == ":memory:" || path.contains('?') {
                    return Err(Wrong::because("sqlite: needs the path of a file, without options"));
                }
                Ok(Self::Sqlite(PathBuf::from(path)))
            }
            "postgres" | "postgresql" => match Url::parse(text) {
                Ok(url) if url.has_host() || url.query().is_some() => Ok(Self::Postgres(url)),
                _ => Err(Wrong::plain()),
            },
            scheme => Err(Wrong::because(format!(
                "expected {}; {} is not supported",
                Self::EXPECTED,
                quoted(&format!("{scheme}:"))
            ))),
        }
    }

    /// With `***` in the place of a password.
    fn show(&self) -> Option<String> {
        match self {
            Self::Default => Some(quoted("")),
            Self::Sqlite(path) => Some(quoted(&format!("sqlite:{}", path.display()))),
            Self::Postgres(url) => {
                let mut url = url.clone();
                if url.password().is_some() && url.set_password(Some("***")).is_err() {
                    return Some(quoted("postgres://***"));
                }
                if url.query().is_some_and(|query| query.contains("password")) {
                    url.set_query(Some("***"));
                }
                Some(quoted(url.as_str()))
            }
        }
    }
}
