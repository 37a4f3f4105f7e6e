//! What the crate's tests share.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use std::net::IpAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use base::db::Location;
use base::{Clock, DAY, Db, KeyRing, Random};

use crate::{
    Accounts, Client, FirstFactor, General, HashParams, NewAccount, NewSession, Options, Outcome, Prepared,
    ROLE_USER, Settings, SignUp, User,
};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// 12:00 UTC on a day.
pub(crate) const START: i64 = 20_000 * DAY + DAY / 2;
/// Cheap on purpose; the default is asserted elsewhere.
pub(crate) const TINY: HashParams = HashParams { memory_kib: 64, iterations: 1, parallelism: 1 };
/// Everyone's password here.
pub(crate) const PASSWORD: &str = "muffled otter parade";

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

/// Accounts on an empty database, with a clock that stands still.
pub(crate) struct TestAccounts {
    pub(crate) accounts: Accounts,
    _folder: Folder,
}

impl Deref for TestAccounts {
    type Target = Accounts;

    fn deref(&self) -> &Accounts {
        &self.accounts
    }
}

fn options() -> Options {
    Options {
        hash_params: TINY,
        hash_threads: Some(2),
        hash_queue: 200,
        settings: Settings {
            general: General { site_name: "Test Site".into(), default_model: None },
            sign_up: SignUp::default(),
            ..Settings::default()
        },
        ..Options::default()
    }
}

pub(crate) async fn accounts(name: &str) -> TestAccounts {
    let (db, folder) = database(name).await;
    let ring = KeyRing::new(&[b"a secret for tests, longer than 32 bytes"]);
    let accounts = Accounts::new(db, Clock::manual(START), Random::os(), ring, options());
    TestAccounts { accounts, _folder: folder }
}

/// Another replica on the same database, with options changed.
pub(crate) fn beside(t: &TestAccounts, change: impl FnOnce(&mut Options)) -> Accounts {
    let mut options = options();
    change(&mut options);
    Accounts::new(t.db.clone(), t.clock.clone(), Random::os(), t.ring.clone(), options)
}

pub(crate) fn client(ip: &str) -> Client {
    Client::new(ip.parse::<IpAddr>().unwrap(), "Browser/1.0")
}

/// A good sign-up form.
pub(crate) fn form(username: &str) -> NewAccount {
    NewAccount {
        first_name: "Given".into(),
        last_name: "Family".into(),
        username: username.into(),
        email: format!("{username}@example.org"),
        password: PASSWORD.into(),
    }
}

impl TestAccounts {
    pub(crate) async fn prepared(&self, username: &str) -> Prepared {
        let checked = self.check_new(form(username)).await.unwrap();
        self.prepare_new(checked).await.unwrap()
    }

    /// A confirmed person with a role beside User.
    pub(crate) async fn with_role(&self, username: &str, role: &str) -> User {
        let prepared = self.prepared(username).await;
        let mut tx = self.db.begin().await.unwrap();
        let created = self.insert_account(&mut tx, &prepared, role, true, None).await.unwrap();
        tx.commit().await.unwrap();
        created.user
    }

    pub(crate) async fn person(&self, username: &str) -> User {
        self.with_role(username, ROLE_USER).await
    }

    pub(crate) async fn first_factor(&self, username: &str) -> FirstFactor {
        self.sign_in(username, PASSWORD, &client("198.51.100.1")).await.unwrap()
    }

    /// Puts an authenticator app in place; gives its secret.
    pub(crate) async fn with_totp(&self, user_id: &str) -> Vec<u8> {
        let pending = self.begin_totp(user_id, "test", "ann").await.unwrap();
        let secret = data_encoding::BASE32_NOPAD.decode(pending.secret.as_bytes()).unwrap();
        self.db
            .run(
                base::sql!("UPDATE totp_factors SET confirmed_at = $2, expires_at = NULL WHERE user_id = $1"),
                base::args![user_id, self.clock.now()],
            )
            .await
            .unwrap();
        secret
    }

    /// Signs in.
    pub(crate) async fn session(&self, username: &str) -> NewSession {
        let first = self.first_factor(username).await;
        match self.complete_login(first, &client("198.51.100.1")).await.unwrap() {
            Outcome::Session(session) => session,
            Outcome::Challenge(_) => panic!("no factor is enrolled"),
        }
    }
}
