//! Tests of the worker: the real outbox, a mail server on loopback, a clock that is moved by hand.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use accounts::{Mail, Options};
use base::db::Location;
use base::{Db, KeyRing, Random, SECOND};
use parts::smtp::{Mode, SmtpStub};

use super::*;
use crate::config::{Config, Flags};

const START: Micros = 1_795_183_500_000_000;

struct Post {
    accounts: Accounts,
    clock: Clock,
    mailer: Mailer,
    stub: SmtpStub,
    folder: PathBuf,
}

impl Post {
    async fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("anteroom-outbox-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let clock = Clock::manual(START);
        let db = Db::open(&Location::Sqlite(folder.join("anteroom.db")), START).await.unwrap();
        let ring = KeyRing::new(&[b"a key for tests, nothing more, 32 bytes"]);
        let accounts = Accounts::new(db, clock.clone(), Random::seeded(1), ring, Options::default());
        let stub = SmtpStub::start().await.unwrap();
        let env = BTreeMap::from([
            ("MAIL_SERVER".to_owned(), stub.host()),
            ("MAIL_PORT".to_owned(), stub.port().to_string()),
        ]);
        let config = Config::load(&Flags::default(), &env, &folder).unwrap().0;
        Self { accounts, clock, mailer: Mailer::new(&config).unwrap(), stub, folder }
    }

    async fn queue(&self, recipient: &str, subject: &str) {
        let mut mail = self.mailer.welcome("Chat", recipient, "Ann", "https://chat.example.org/chat");
        mail.subject = subject.to_owned();
        self.queue_mail(&mail).await;
    }

    async fn queue_mail(&self, mail: &Mail) {
        let mut tx = self.accounts.db.begin().await.unwrap();
        self.accounts.queue_mail(&mut tx, mail).await.unwrap();
        tx.commit().await.unwrap();
        self.clock.advance(1);
    }

    async fn send_due(&self) -> usize {
        send_due(&self.accounts, &self.mailer, &self.clock).await.unwrap()
    }

    async fn waiting(&self) -> i64 {
        self.accounts.waiting_mail_count().await.unwrap()
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

#[tokio::test]
async fn what_is_queued_is_sent_once_and_in_order_for_each_recipient() {
    let post = Post::new().await;
    for number in 0..12 {
        post.queue(if number % 2 == 0 { "ann@example.org" } else { "bob@example.org" }, &number.to_string())
            .await;
    }
    assert_eq!((post.send_due().await, post.send_due().await, post.send_due().await), (8, 4, 0));
    let subjects = |to: &str| post.stub.to(to).iter().map(|mail| mail.subject()).collect::<Vec<_>>();
    assert_eq!(subjects("ann@example.org"), ["0", "2", "4", "6", "8", "10"]);
    assert_eq!(subjects("bob@example.org"), ["1", "3", "5", "7", "9", "11"]);
    assert_eq!(post.waiting().await, 0);
}

#[tokio::test]
async fn a_server_that_is_down_delays_mail() {
    let post = Post::new().await;
    post.stub.set_mode(Mode::HangUp);
    post.queue("ann@example.org", "patience").await;
    for wait in [MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 6 * HOUR, 6 * HOUR] {
        assert_eq!(post.send_due().await, 1);
        post.clock.advance(wait - SECOND);
        assert_eq!(post.send_due().await, 0, "{wait}");
        post.clock.advance(SECOND);
    }
    assert_eq!((post.stub.tries(), post.waiting().await), (6, 1));
    post.stub.set_mode(Mode::Accept);
    assert_eq!(post.send_due().await, 1);
    assert_eq!(post.stub.messages().len(), 1);
    assert_eq!(post.waiting().await, 0);
}

#[tokio::test]
async fn a_refused_recipient_is_given_up_and_holds_up_nobody() {
    let post = Post::new().await;
    post.stub.set_mode(Mode::Reject);
    post.queue("gone@example.org", "x").await;
    for _ in 0..REFUSALS {
        assert_eq!(post.send_due().await, 1);
        post.clock.advance(HOUR);
    }
    assert_eq!((post.send_due().await, post.waiting().await), (0, 0));
    post.stub.set_mode(Mode::Accept);
    let mut broken = post.mailer.welcome("Chat", "not an address", "Ann", "https://chat.example.org/chat");
    broken.kind = "broken".to_owned();
    post.queue_mail(&broken).await;
    post.queue("ann@example.org", "y").await;
    assert_eq!(post.send_due().await, 2);
    assert_eq!(post.stub.messages().len(), 1);
}

#[test]
fn trying_ends_after_three_days() {
    let later = SendError::Later(String::new());
    assert_eq!(retry_in(&later, 20, 60 * HOUR), Some(6 * HOUR));
    assert_eq!(retry_in(&later, 20, 66 * HOUR), Some(6 * HOUR));
    assert_eq!(retry_in(&later, 20, 67 * HOUR), None);
    let refused = SendError::Refused(String::new());
    assert_eq!((retry_in(&refused, 1, 0), retry_in(&refused, 3, 0)), (Some(MINUTE), None));
}
