//! How often one may try to sign in, and who counts as one.

use base::MINUTE;
use parts::http::Reply;

use crate::harness::{PASSWORD, TestApp, Wishes};

const WRONG: &str = "tern-oxbow-quarry-18";

/// Behind a proxy that is trusted, so that tests choose their address.
async fn behind_a_proxy() -> TestApp {
    Wishes::default().set("ANTEROOM_SERVER__TRUSTED_PROXIES", "127.0.0.1/32").start().await
}

async fn from(app: &TestApp, ip: &str, who: &str, password: &str) -> Reply {
    app.sign_in_with(&app.anon().with_header("x-forwarded-for", ip), who, password).await
}

/// Status, wait and words.
fn told(reply: &Reply) -> (u16, Option<String>, String) {
    let wait = reply.header("retry-after").map(str::to_owned);
    (reply.status.as_u16(), wait, reply.json()["detail"].as_str().unwrap_or_default().to_owned())
}

/// SEC-26, SEC-27: five failures in five minutes for an account from an address; unknown ones hear the same.
#[tokio::test]
async fn sec_27_after_five_failures_from_one_address_wait() {
    let app = TestApp::start().await;
    app.account("ann", "User").await;
    let mut stories = Vec::new();
    for who in ["ann", "nobody", "nobody@example.org", "not a name"] {
        let mut story = Vec::new();
        for _ in 0..5 {
            story.push(told(&app.sign_in_with(&app.anon(), who, WRONG).await));
        }
        app.clock.advance(MINUTE);
        story.push(told(&app.sign_in(&app.anon(), who).await));
        stories.push(story);
    }
    for story in &stories {
        assert_eq!(story, &stories[0]);
        assert!(story[..5].iter().all(|(status, wait, _)| *status == 401 && wait.is_none()));
        assert_eq!((story[5].0, story[5].1.as_deref()), (429, Some("240")));
    }
    // Another spelling of the same name is the same name.
    assert_eq!(app.sign_in(&app.anon(), " ANN ").await.status, 429);
    // The same account by its address is the same account.
    assert_eq!(app.sign_in(&app.anon(), "ann@example.org").await.status, 429);
    let page =
        app.anon().submit("/login", "/login", &[("username_or_email", "ann"), ("password", PASSWORD)]).await;
    assert!(page.status == 429 && page.header("retry-after").is_some());
    assert!(page.body.contains("Too many tries"));
    app.clock.advance(5 * MINUTE);
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 200);
}

/// SEC-27: thirty posts a minute from an address; who is signed in already is not caught.
#[tokio::test]
async fn sec_27_thirty_sign_ins_a_minute_from_one_address() {
    let app = TestApp::start().await;
    let client = app.user("ann").await;
    for n in 1..30 {
        assert_eq!(app.sign_in_with(&app.anon(), &format!("nobody{n}"), WRONG).await.status, 401, "{n}");
    }
    let reply = app.sign_in(&app.anon(), "ann").await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some("60")));
    assert_eq!(reply.json()["type"], "/problems/rate-limited");
    assert_eq!(client.get("/chat").await.status, 200);
    assert_eq!(client.get("/login").await.location(), Some("/chat"));
    app.clock.advance(MINUTE);
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 200);
}

/// SEC-28: ten failures in a row lock for 15 minutes, then for 30, then for 60, also for who does not exist.
#[tokio::test]
async fn sec_28_ten_failures_in_a_row_lock_and_the_lock_doubles() {
    let app = behind_a_proxy().await;
    app.account("ann", "User").await;
    let mut stories = Vec::new();
    for (net, who) in [(1, "ann"), (2, "nobody")] {
        let mut story = Vec::new();
        let mut host = 0;
        for round in 0..4 {
            for _ in 0..10 {
                host += 1;
                let reply = from(&app, &format!("203.0.{net}.{host}"), who, WRONG).await;
                assert_eq!(reply.status, 401, "{who} {round}: {reply:?}");
            }
            host += 1;
            // The right password from an address never seen does not help.
            let locked = from(&app, &format!("203.0.{net}.{host}"), who, PASSWORD).await;
            let wait = [15, 30, 60, 60][round];
            assert_eq!(
                locked.header("retry-after"),
                Some((wait * 60).to_string().as_str()),
                "{who} {round}: {locked:?}"
            );
            story.push(told(&locked));
            app.clock.advance(i64::from(wait) * MINUTE);
        }
        stories.push(story);
    }
    assert_eq!(stories[0], stories[1]);
    assert_eq!(from(&app, "203.0.3.1", "ann", PASSWORD).await.status, 200);
}

/// SEC-29: a success forgets the account's failures, and not those of the address.
#[tokio::test]
async fn sec_29_a_success_resets_the_account_and_not_the_address() {
    let app = behind_a_proxy().await;
    app.account("ann", "User").await;
    for round in 0..3 {
        for n in 0..9 {
            // Four from an address at most, so that only the account counts up.
            let ip = format!("198.51.{round}.{}", n / 4);
            assert_eq!(from(&app, &ip, "ann", WRONG).await.status, 401, "{round} {n}");
        }
        assert_eq!(from(&app, &format!("198.51.{round}.0"), "ann", PASSWORD).await.status, 200, "{round}");
    }
    for n in 0..15 {
        assert_eq!(from(&app, "192.0.2.1", &format!("nobody{n}"), WRONG).await.status, 401);
        assert_eq!(from(&app, "192.0.2.1", "ann", PASSWORD).await.status, 200);
    }
    assert_eq!(from(&app, "192.0.2.1", "ann", PASSWORD).await.status, 429);
}

/// SEC-30: without a trusted proxy the header is words of a stranger.
#[tokio::test]
async fn sec_30_a_rotated_forwarding_header_changes_nothing() {
    let app = TestApp::start().await;
    app.account("ann", "User").await;
    for n in 0..5 {
        assert_eq!(from(&app, &format!("203.0.113.{n}"), "ann", WRONG).await.status, 401);
    }
    for header in ["x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip", "true-client-ip"] {
        let client = app.anon().with_header(header, "203.0.113.77");
        assert_eq!(app.sign_in(&client, "ann").await.status, 429, "{header}");
    }
}

/// SEC-30: behind a trusted proxy the address nearest to it counts; of IPv6 the first 64 bits.
#[tokio::test]
async fn sec_30_behind_a_trusted_proxy_each_client_counts_alone() {
    let app = behind_a_proxy().await;
    app.account("ann", "User").await;
    for n in 0..5 {
        // What stands further left was written by the client.
        let forwarded = format!("10.1.1.{n}, 203.0.113.5");
        assert_eq!(from(&app, &forwarded, "ann", WRONG).await.status, 401);
    }
    assert_eq!(from(&app, "203.0.113.5", "ann", PASSWORD).await.status, 429);
    assert_eq!(from(&app, "::ffff:203.0.113.5", "ann", PASSWORD).await.status, 429);
    assert_eq!(from(&app, "203.0.113.6", "ann", PASSWORD).await.status, 200);
    for n in 0..5 {
        assert_eq!(from(&app, &format!("2001:db8:1:2:{n}::{n}"), "ann", WRONG).await.status, 401);
    }
    assert_eq!(from(&app, "2001:db8:1:2:ffff::1", "ann", PASSWORD).await.status, 429);
    assert_eq!(from(&app, "2001:db8:1:3::1", "ann", PASSWORD).await.status, 200);
}

/// SEC-26, SEC-31: twenty guesses at once are counted one by one.
#[tokio::test]
async fn sec_26_parallel_guesses_do_not_slip_past_the_limit() {
    let app = TestApp::start().await;
    app.account("ann", "User").await;
    for who in ["ann", "nobody"] {
        let guesses: Vec<_> = (0..12)
            .map(|_| {
                let client = app.anon();
                let body = serde_json::json!({ "username_or_email": who, "password": WRONG });
                tokio::spawn(async move { client.post_json("/login", None, &body).await.status.as_u16() })
            })
            .collect();
        let mut told_wrong = 0;
        for guess in guesses {
            match guess.await.unwrap() {
                401 => told_wrong += 1,
                status => assert_eq!(status, 429),
            }
        }
        assert_eq!(told_wrong, 5, "{who}");
    }
}
