//! SEC-37, SEC-99: what counts once counts once, also where twenty ask for it at the same time.

use std::time::Duration;

use parts::http::{Client, Reply};
use serde_json::json;

use crate::harness::{PASSWORD, TestApp, Wishes};

/// How long all are given to come as far as they can.
const TO_THE_START: Duration = Duration::from_millis(150);

/// All at once, each by the JSON body that goes with it. Nobody can write to an account before all have looked at
/// what they ask about: checks that a write does not repeat are passed by all of them.
async fn at_once(app: &TestApp, tries: Vec<(Client, &'static str, serde_json::Value)>) -> Vec<Reply> {
    let mut held = app.app.db.begin().await.unwrap();
    held.run(base::sql!("UPDATE users SET failures = failures"), &[]).await.unwrap();
    let tasks: Vec<_> = tries
        .into_iter()
        .map(|(client, path, body)| tokio::spawn(async move { client.post_json(path, None, &body).await }))
        .collect();
    tokio::time::sleep(TO_THE_START).await;
    drop(held);
    let mut replies = Vec::new();
    for task in tasks {
        replies.push(task.await.unwrap());
    }
    replies
}

fn count(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

async fn sessions(app: &TestApp) -> i64 {
    app.app.db.one(base::sql!("SELECT COUNT(*) FROM sessions"), &[]).await.unwrap().unwrap()
}

/// Somebody else at the same browser: the same challenge, cookies of their own.
fn copy(app: &TestApp, of: &Client) -> Client {
    let client = app.anon();
    client.set_cookie("anteroom-challenge", &of.cookie("anteroom-challenge").unwrap());
    client
}

async fn twenty(app: &TestApp, who: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(app.challenged(who).await);
    }
    clients
}

/// SEC-37: one challenge makes one session, by one code or by many.
#[tokio::test]
async fn sec_37_twenty_answers_to_one_challenge_make_one_session() {
    let app = Wishes::unlimited().start().await;
    let (secret, codes) = app.with_app("ann").await;
    let code = app.code(&secret, 0);
    for many in [false, true] {
        let ann = app.challenged("ann").await;
        let before = sessions(&app).await;
        let body = |n: usize| json!({ "code": if many { &codes[n % 10] } else { &code } });
        let tries = (0..20).map(|n| (copy(&app, &ann), "/login/2fa", body(n))).collect();
        let replies = at_once(&app, tries).await;
        assert_eq!((count(&replies, 200), count(&replies, 401)), (1, 19), "{replies:?}");
        assert_eq!(sessions(&app).await - before, 1);
        let in_now = replies.iter().filter(|reply| reply.body.contains("csrf_token"));
        assert_eq!(in_now.count(), 1);
    }
    // The challenge was what ended the race, so one backup code is spent.
    let reply = app.sign_in(&app.anon(), "ann").await;
    assert_eq!(reply.json()["methods"], json!(["totp", "backup-code"]));
    let id = app.app.accounts.find_person("ann").await.unwrap().unwrap().user.id;
    assert_eq!(app.app.accounts.backup_codes(&id).await.unwrap().unwrap().left, 9);
}

/// SEC-37, SEC-42: one code of the app, twenty challenges.
#[tokio::test]
async fn sec_42_a_code_of_the_app_passes_one_of_twenty_challenges() {
    let app = Wishes::unlimited().start().await;
    let (secret, _) = app.with_app("ann").await;
    let clients = twenty(&app, "ann").await;
    let code = app.code(&secret, 0);
    let before = sessions(&app).await;
    let tries = clients.into_iter().map(|client| (client, "/login/2fa", json!({ "code": code }))).collect();
    let replies = at_once(&app, tries).await;
    assert_eq!(count(&replies, 200), 1, "{replies:?}");
    // Nine of the others were wrong, the tenth of them locked the account.
    assert_eq!((count(&replies, 401), count(&replies, 429)), (9, 10), "{replies:?}");
    assert_eq!(sessions(&app).await - before, 1);
}

/// SEC-37, SEC-51: one backup code, twenty challenges.
#[tokio::test]
async fn sec_51_a_backup_code_passes_one_of_twenty_challenges() {
    let app = Wishes::unlimited().start().await;
    let (_, codes) = app.with_app("ann").await;
    let clients = twenty(&app, "ann").await;
    let before = sessions(&app).await;
    let tries =
        clients.into_iter().map(|client| (client, "/login/2fa", json!({ "code": codes[0] }))).collect();
    let replies = at_once(&app, tries).await;
    assert_eq!(count(&replies, 200), 1, "{replies:?}");
    assert_eq!(count(&replies, 401) + count(&replies, 429), 19);
    assert_eq!(sessions(&app).await - before, 1);
    assert_eq!(app.mails_to("backup_code_used", "ann@example.org").await.len(), 1);
}

/// SEC-37, SEC-48: one mailed code, twenty answers to its challenge.
#[tokio::test]
async fn sec_48_a_mailed_code_makes_one_session() {
    let app = Wishes::unlimited().start().await;
    app.with_email_codes("ann").await;
    let ann = app.challenged("ann").await;
    let code = app.mailed_code("ann").await;
    let before = sessions(&app).await;
    let tries = (0..20).map(|_| (copy(&app, &ann), "/login/2fa", json!({ "code": code }))).collect();
    let replies = at_once(&app, tries).await;
    assert_eq!((count(&replies, 200), count(&replies, 401)), (1, 19), "{replies:?}");
    assert_eq!(sessions(&app).await - before, 1);
}

/// SEC-37, SEC-49: twenty ask for a code at the same time, one is mailed.
#[tokio::test]
async fn sec_49_of_twenty_that_ask_for_a_code_one_is_mailed() {
    let app = Wishes::unlimited().start().await;
    app.with_email_codes("ann").await;
    let ann = app.challenged("ann").await;
    app.clock.advance(base::MINUTE);
    let tries = (0..20).map(|_| (copy(&app, &ann), "/login/2fa/email", json!({}))).collect();
    let replies = at_once(&app, tries).await;
    assert_eq!((count(&replies, 202), count(&replies, 429)), (1, 19), "{replies:?}");
    assert_eq!(app.mails_to("email_code", "ann@example.org").await.len(), 2);
}

/// SEC-36: parallel wrong codes do not slip past the tries of a challenge, nor past the lock.
#[tokio::test]
async fn sec_36_parallel_wrong_codes_are_counted_one_by_one() {
    let app = Wishes::unlimited().start().await;
    let (secret, _) = app.with_app("ann").await;
    let ann = app.challenged("ann").await;
    let tries = (0..20).map(|_| (copy(&app, &ann), "/login/2fa", json!({ "code": "000000" }))).collect();
    let replies = at_once(&app, tries).await;
    let wrong = replies.iter().filter(|reply| reply.body.contains("second-factor-invalid"));
    assert_eq!(wrong.count(), 5, "{replies:?}");
    let with_password = json!({ "username_or_email": "ann", "password": PASSWORD, "token": "000000" });
    let tries = (0..20).map(|_| (app.anon(), "/login", with_password.clone())).collect();
    let replies = at_once(&app, tries).await;
    assert_eq!((count(&replies, 401), count(&replies, 429)), (4, 16), "{replies:?}");
    assert_eq!(app.answer(&app.challenged("ann").await, &app.code(&secret, 0)).await.status, 429);
}
