//! SEC-47 to SEC-49: codes by e-mail as a second factor.

use accounts::SecondFactorRules;
use base::{DAY, HOUR, MINUTE, SECOND, args, sql};
use parts::http::{Reply, field};
use serde_json::json;

use crate::harness::{PASSWORD, TestApp, Wishes};
use crate::page::text;

fn told(reply: &Reply) -> (u16, String) {
    (reply.status.as_u16(), reply.json()["type"].as_str().unwrap_or_default().to_owned())
}

fn invalid() -> (u16, String) {
    (401, "/problems/second-factor-invalid".to_owned())
}

async fn rules(app: &TestApp, rules: SecondFactorRules) {
    app.app.accounts.save_second_factor("test", &rules).await.unwrap();
}

async fn mailed(app: &TestApp) -> usize {
    app.mails_to("email_code", "ann@example.org").await.len()
}

/// SEC-47: off unless an Admin allows them; switched off again they are asked for no more.
#[tokio::test]
async fn sec_47_they_are_off_by_default_and_count_only_where_allowed() {
    assert!(!SecondFactorRules::default().email_codes);
    let app = Wishes::unlimited().start().await;
    app.with_email_codes("ann").await;
    let reply = app.sign_in(&app.anon(), "ann").await;
    assert_eq!((told(&reply).0, &reply.json()["methods"]), (401, &json!(["email"])));
    rules(&app, SecondFactorRules::default()).await;
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 200);
    // Nor with an address that is not confirmed.
    rules(&app, SecondFactorRules { email_codes: true, ..Default::default() }).await;
    app.app.db.run(sql!("UPDATE users SET email_verified_at = NULL"), &[]).await.unwrap();
    assert_eq!(app.sign_in(&app.anon(), "ann").await.status, 200);
}

/// SEC-48: eight digits, at once where nothing else is there, for five minutes and for this challenge.
#[tokio::test]
async fn sec_48_a_code_is_mailed_at_once_and_is_good_for_its_own_challenge() {
    let app = Wishes::unlimited().start().await;
    app.with_email_codes("ann").await;
    let first = app.challenged("ann").await;
    assert_eq!(mailed(&app).await, 1);
    let code = app.mailed_code("ann").await;
    app.clock.advance(MINUTE);
    let second = app.challenged("ann").await;
    let newer = app.mailed_code("ann").await;
    assert_eq!(mailed(&app).await, 2);
    assert_ne!(code, newer);
    assert_eq!(told(&app.answer(&second, &code).await), invalid(), "of another challenge");
    assert_eq!(told(&app.answer(&first, &newer).await), invalid());
    let reply = app.answer(&second, &format!("{} {}", &newer[..4], &newer[4..])).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    app.clock.advance(4 * MINUTE - SECOND);
    assert_eq!(app.answer(&first, &code).await.status, 200);

    let late = app.challenged("ann").await;
    let code = app.mailed_code("ann").await;
    app.clock.advance(5 * MINUTE);
    assert_eq!(told(&app.answer(&late, &code).await), invalid(), "the challenge lives, the code does not");
    // It is not for another person, either.
    let reply = app.sign_in(&app.anon(), "ann").await;
    assert_eq!(reply.json()["methods"], json!(["email"]));
}

/// The JSON contract: the code may come with the password, if the challenge comes with it.
#[tokio::test]
async fn sec_48_with_the_password_the_code_needs_its_challenge() {
    let app = Wishes::unlimited().start().await;
    app.with_email_codes("ann").await;
    let ann = app.challenged("ann").await;
    let code = app.mailed_code("ann").await;
    let body = json!({ "username_or_email": "ann", "password": PASSWORD, "token": code });
    let stranger = app.anon();
    assert_eq!(told(&stranger.post_json("/login", None, &body).await), invalid());
    assert_eq!(mailed(&app).await, 1, "a new challenge within the minute mails nothing");
    let before = ann.cookie("anteroom-challenge");
    let reply = ann.post_json("/login", None, &body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(before.is_some() && ann.cookie("anteroom-challenge").is_none());
    assert_eq!(ann.get_json("/api/v1/me").await.status, 200);
}

/// SEC-49: another code takes the place of the one before and gives no new tries.
#[tokio::test]
async fn sec_49_a_resend_replaces_the_code_and_keeps_the_failures() {
    let app = Wishes::unlimited().start().await;
    app.with_email_codes("ann").await;
    let ann = app.challenged("ann").await;
    let first = app.mailed_code("ann").await;
    let early = ann.post_json("/login/2fa/email", None, &json!({})).await;
    assert_eq!(told(&early), (429, "/problems/rate-limited".to_owned()));
    assert_eq!(early.header("retry-after"), Some("60"));
    for _ in 0..3 {
        assert_eq!(told(&app.answer(&ann, "what?").await), invalid());
    }
    app.clock.advance(MINUTE);
    let sent = ann.post_json("/login/2fa/email", None, &json!({})).await;
    assert_eq!(sent.status, 202, "{sent:?}");
    assert_eq!(sent.json()["resend_after"], 60);
    assert!(sent.json()["message"].is_string());
    let second = app.mailed_code("ann").await;
    let reply = app.answer(&ann, &first).await;
    assert_eq!(told(&reply), invalid());
    assert!(reply.json()["detail"].as_str().unwrap().contains("One try"), "{reply:?}");
    assert_eq!(app.answer(&ann, &second).await.status, 200);

    // The last try is the last, whatever was sent.
    app.clock.advance(MINUTE);
    let ann = app.challenged("ann").await;
    for _ in 0..5 {
        assert_eq!(told(&app.answer(&ann, "00000000").await), invalid());
    }
    app.clock.advance(MINUTE);
    let gone = ann.post_json("/login/2fa/email", None, &json!({})).await;
    assert_eq!(told(&gone), (401, "/problems/unauthenticated".to_owned()));
}

/// SEC-49: five an hour and twenty a day to one account, over all its challenges.
#[tokio::test]
async fn sec_49_five_codes_an_hour_and_twenty_a_day() {
    let app = Wishes::unlimited().start().await;
    app.with_email_codes("ann").await;
    for day in [0, 1] {
        for hour in 0..4 {
            for n in 0..5 {
                app.challenged("ann").await;
                app.clock.advance(MINUTE);
                assert_eq!(mailed(&app).await, day * 20 + hour * 5 + n + 1);
            }
            let ann = app.challenged("ann").await;
            let refused = ann.post_json("/login/2fa/email", None, &json!({})).await;
            assert_eq!(refused.status, 429);
            let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
            assert!((50 * 60..=55 * 60).contains(&wait) || hour == 3, "{wait}");
            app.clock.advance(HOUR);
        }
        let refused = app.challenged("ann").await.post_json("/login/2fa/email", None, &json!({})).await;
        assert_eq!(refused.status, 429);
        assert_eq!(mailed(&app).await, (day + 1) * 20);
        app.clock.advance(DAY);
    }
}

/// With an authenticator app beside them nothing is mailed until somebody asks.
#[tokio::test]
async fn beside_another_factor_a_code_is_mailed_on_request_only() {
    let app = Wishes::unlimited().start().await;
    app.with_email_codes("ann").await;
    let id = app.app.accounts.find_person("ann").await.unwrap().unwrap().user.id;
    app.totp(&id).await;
    let ann = app.anon();
    let reply = app.sign_in(&ann, "ann").await;
    assert_eq!(reply.json()["methods"], json!(["totp", "email"]));
    assert_eq!(mailed(&app).await, 0);
    let page = ann.get("/login/2fa").await;
    assert_eq!(field(&page.body, "method").as_deref(), Some("totp"), "the stronger one first");
    let page = text(&ann.get("/login/2fa/email").await.body);
    assert!(page.contains("We send a code to a•••@example.org") && !page.contains("ann@"), "{page}");
    let sent = ann.submit("/login/2fa/email", "/login/2fa/email", &[]).await;
    assert_eq!((sent.status.as_u16(), sent.location()), (303, Some("/login/2fa/email")));
    assert!(text(&ann.get("/login/2fa/email").await.body).contains("eight digits that we sent"));
    let again = ann.submit("/login/2fa/email", "/login/2fa/email", &[]).await;
    assert_eq!((again.status.as_u16(), again.header("retry-after")), (429, Some("60")));
    assert!(text(&again.body).contains("A code was sent less than a minute ago"), "{}", text(&again.body));
    let code = app.mailed_code("ann").await;
    let fields = [("method", "email"), ("code", &*code)];
    let done = ann.submit("/login/2fa/email", "/login/2fa", &fields).await;
    assert_eq!((done.status.as_u16(), done.location()), (303, Some("/chat")));
    // Who has no such codes gets none.
    app.app
        .db
        .run(sql!("UPDATE users SET email_codes_since = NULL WHERE id = $1"), args![&id])
        .await
        .unwrap();
    app.clock.advance(HOUR);
    let none = app.challenged("ann").await.post_json("/login/2fa/email", None, &json!({})).await;
    assert_eq!(told(&none), (409, "/problems/conflict".to_owned()));
    assert_eq!(mailed(&app).await, 1);
}

/// SEC-48: a mailed code is kept as an HMAC, and counts once at a step-up too, where its holder lives on.
#[tokio::test]
async fn sec_48_the_database_holds_no_code_and_a_step_up_takes_it_once() {
    let app = Wishes::unlimited().start().await;
    app.with_email_codes("ann").await;
    let ann = app.challenged("ann").await;
    let code = app.mailed_code("ann").await;
    let macs: Vec<String> = app.app.db.all(sql!("SELECT mac FROM email_codes"), &[]).await.unwrap();
    assert_eq!(macs.len(), 1);
    assert!(macs[0].len() == 64 && !macs[0].contains(&code), "{macs:?}");
    assert_ne!(macs[0], base::random::token_hash(&code), "without the key every code could be tried");
    assert_eq!(app.answer(&ann, &code).await.status, 200);

    app.clock.advance(MINUTE);
    let token = app.csrf(&ann).await;
    let sent = ann.post_json("/api/v1/step-up/email", Some(&token), &json!({})).await;
    assert_eq!(sent.status, 202, "{sent:?}");
    let code = app.mailed_code("ann").await;
    let step_up = async || ann.post_json("/api/v1/step-up", Some(&token), &json!({ "code": code })).await;
    assert_eq!(step_up().await.status, 200);
    assert_eq!(told(&step_up().await), invalid());
}

/// SEC-49: five wrong ones void a code at a step-up too, and there is no other one for a while.
#[tokio::test]
async fn sec_49_five_wrong_ones_at_a_step_up_void_the_code() {
    let app = Wishes::unlimited().start().await;
    app.with_email_codes("ann").await;
    let ann = app.challenged("ann").await;
    assert_eq!(app.answer(&ann, &app.mailed_code("ann").await).await.status, 200);
    let token = app.csrf(&ann).await;
    let step_up =
        async |code: String| ann.post_json("/api/v1/step-up", Some(&token), &json!({ "code": code })).await;
    app.clock.advance(MINUTE);
    let send = async || ann.post_json("/api/v1/step-up/email", Some(&token), &json!({})).await.status;
    assert_eq!(send().await, 202);
    let code = app.mailed_code("ann").await;
    let wrong = if code == "00000000" { "11111111" } else { "00000000" };
    for _ in 0..5 {
        assert_eq!(told(&step_up(wrong.to_owned()).await), invalid());
    }
    assert_eq!(told(&step_up(code).await), invalid());
    app.clock.advance(MINUTE);
    assert_eq!(send().await, 429);
}

/// SEC-48: whoever signs in once more in the same browser meets the challenge that the mailed code is for.
#[tokio::test]
async fn sec_48_the_same_browser_comes_back_to_its_challenge() {
    let app = Wishes::unlimited().start().await;
    app.with_email_codes("ann").await;
    let ann = app.challenged("ann").await;
    assert_eq!(app.sign_in(&ann, "ann").await.status, 401);
    assert_eq!(mailed(&app).await, 1);
    let code = app.mailed_code("ann").await;
    assert_eq!(app.answer(&ann, &code).await.status, 200);
    // Another browser gets a challenge and, where the limits allow it, a code of its own.
    app.clock.advance(MINUTE);
    app.challenged("ann").await;
    assert_eq!(mailed(&app).await, 2);
}
