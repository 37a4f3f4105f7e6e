//! SEC-32: which sign-ins are told by mail.

use base::{HOUR, MINUTE, SECOND};
use parts::http::Client;

use crate::harness::{TestApp, Wishes};

const ANN: &str = "ann@example.org";
const WRONG: &str = "not-the-password-17";

async fn count(app: &TestApp, kind: &str) -> usize {
    app.mails_to(kind, ANN).await.len()
}

fn browser(app: &TestApp, name: &str) -> Client {
    app.anon().with_header("user-agent", name)
}

/// Signs in, the session before forgotten.
async fn sign_in(app: &TestApp, client: &Client) {
    client.set_cookie("anteroom", "");
    assert_eq!(app.sign_in(client, "ann").await.status, 200);
}

/// SEC-32: from a browser that was not seen before, but not at the very first sign-in.
#[tokio::test]
async fn sec_32_a_sign_in_from_a_new_device_is_mailed_once() {
    let app = Wishes::unlimited().start().await;
    app.account("ann", "User").await;
    let home = browser(&app, "Home/1.0");
    sign_in(&app, &home).await;
    assert_eq!(count(&app, "new_device").await, 0, "the first sign-in of all");
    let device = home.cookie("anteroom-device").unwrap();
    assert_eq!(device.len(), 43);
    // Known by its cookie, also under a new name after an update; the session's end changes nothing.
    let updated = browser(&app, "Home/2.0");
    updated.set_cookie("anteroom-device", &device);
    sign_in(&app, &updated).await;
    assert_eq!(count(&app, "new_device").await, 0);
    assert_eq!(updated.cookie("anteroom-device").unwrap(), device);

    let work = browser(&app, "Work/7.1 (Desk)");
    sign_in(&app, &work).await;
    let mails = app.mails_to("new_device", ANN).await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0].text().contains("127.0.0.1"), "{}", mails[0].text());
    sign_in(&app, &work).await;
    assert_eq!(count(&app, "new_device").await, 1);
    // A program keeps no cookies: it is known by its name and address.
    for _ in 0..3 {
        sign_in(&app, &browser(&app, "Script/3")).await;
        assert_eq!(count(&app, "new_device").await, 2);
    }
    // A cookie that was made up, or is another person's, makes nobody known.
    let made_up = browser(&app, "Home/1.0");
    made_up.set_cookie("anteroom-device", &"A".repeat(43));
    sign_in(&app, &made_up).await;
    assert_eq!(count(&app, "new_device").await, 3);
    app.account("ben", "User").await;
    let shared = browser(&app, "Home/1.0");
    assert_eq!(app.sign_in(&shared, "ben").await.status, 200);
    assert_eq!(app.mails_to("new_device", "ben@example.org").await.len(), 0, "ben's first");
    assert_eq!(count(&app, "new_device").await, 3);
}

/// SEC-32: with a second factor only who got past it signed in.
#[tokio::test]
async fn sec_32_a_challenge_is_no_sign_in() {
    let app = Wishes::unlimited().start().await;
    let (secret, _) = app.with_app("ann").await;
    let client = browser(&app, "New/1.0");
    assert_eq!(app.sign_in(&client, "ann").await.status, 401);
    assert_eq!(count(&app, "new_device").await, 0);
    assert_eq!(client.cookie("anteroom-device"), None);
    assert_eq!(app.answer(&client, &app.code(&secret, 0)).await.status, 200);
    assert_eq!(count(&app, "new_device").await, 1);
    assert!(client.cookie("anteroom-device").is_some());
}

/// SEC-32: one slip of the finger is not told, two are; also where the second factor stands between.
#[tokio::test]
async fn sec_32_a_success_after_failures_is_mailed() {
    let app = Wishes::unlimited().start().await;
    app.account("ann", "User").await;
    let ann = app.anon();
    let fail = async |times: usize| {
        for _ in 0..times {
            assert_eq!(app.sign_in_with(&app.anon(), "ann", WRONG).await.status, 401);
        }
    };
    fail(1).await;
    sign_in(&app, &ann).await;
    assert_eq!(count(&app, "signed_in_after_failures").await, 0);
    fail(2).await;
    sign_in(&app, &app.anon()).await;
    let mails = app.mails_to("signed_in_after_failures", ANN).await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0].text().contains("2 "), "{}", mails[0].text());
    sign_in(&app, &app.anon()).await;
    assert_eq!(count(&app, "signed_in_after_failures").await, 1, "the row is over");

    let id = app.app.accounts.find_person("ann").await.unwrap().unwrap().user.id;
    let secret = app.totp(&id).await;
    fail(3).await;
    let ann = app.challenged("ann").await;
    assert_eq!(count(&app, "signed_in_after_failures").await, 1, "not in yet");
    assert_eq!(app.answer(&ann, &app.code(&secret, 0)).await.status, 200);
    assert_eq!(count(&app, "signed_in_after_failures").await, 2);
}

/// SEC-32: a right password with a wrong second factor, at most once an hour; and the lock.
#[tokio::test]
async fn sec_32_a_wrong_second_factor_is_mailed_once_an_hour_and_the_lock_always() {
    let app = Wishes::unlimited().start().await;
    let (secret, _) = app.with_app("ann").await;
    let wrong = async |times: usize| {
        let ann = app.challenged("ann").await;
        for _ in 0..times {
            app.answer(&ann, "000000").await;
        }
    };
    wrong(1).await;
    assert_eq!(count(&app, "second_factor_failed").await, 1);
    wrong(4).await;
    app.clock.advance(59 * MINUTE);
    wrong(1).await;
    assert_eq!(count(&app, "second_factor_failed").await, 1);
    app.clock.advance(MINUTE + SECOND);
    wrong(1).await;
    assert_eq!(count(&app, "second_factor_failed").await, 2);
    assert_eq!(count(&app, "second_factor_locked").await, 0);
    wrong(3).await;
    assert_eq!(count(&app, "second_factor_locked").await, 1, "the tenth in a row");
    // Tries while it is locked tell nothing more.
    wrong(3).await;
    assert_eq!(
        (count(&app, "second_factor_locked").await, count(&app, "second_factor_failed").await),
        (1, 2)
    );
    // The mail holds neither code nor secret.
    for (_, mail) in app.mails().await {
        assert!(!mail.text().contains("000000") && !mail.text().contains(&secret));
    }
    app.clock.advance(HOUR);
    assert_eq!(app.answer(&app.challenged("ann").await, &app.code(&secret, 0)).await.status, 200);
    // A right factor is no news.
    assert_eq!(count(&app, "second_factor_failed").await, 2);
}
