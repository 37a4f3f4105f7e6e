//! What the crate's tests share.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use base::Db;
use base::db::Location;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A folder that goes with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("anteroom-accounts-{name}-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An empty database.
pub(crate) async fn database(name: &str) -> (Db, Folder) {
    let folder = Folder::new(name);
    let db = Db::open(&Location::Sqlite(folder.path().join("anteroom.db")), 1).await.unwrap();
    (db, folder)
}
