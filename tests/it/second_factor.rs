//! The second step of a sign-in: authenticator app and backup codes, on pages and in JSON.

use accounts::Actor;
use base::{MINUTE, SECOND};
use parts::http::{Client, Reply, field};
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp, Wishes};
use crate::page::{composer, text};

fn told(reply: &Reply) -> (u16, String) {
    (reply.status.as_u16(), reply.json()["type"].as_str().unwrap_or_default().to_owned())
}

fn invalid() -> (u16, String) {
    (401, "/problems/second-factor-invalid".to_owned())
}

fn gone() -> (u16, String) {
    (401, "/problems/unauthenticated".to_owned())
}

fn set_cookie(reply: &Reply, name: &str) -> Option<String> {
    let all = reply.headers.get_all("set-cookie").iter();
    all.map(|value| value.to_str().unwrap().to_owned()).find(|value| value.starts_with(&format!("{name}=")))
}

/// The password on the sign-in page; gives the answer.
async fn by_form(app: &TestApp, who: &str, more: &[(&str, &str)]) -> (Client, Reply) {
    let client = app.anon().with_header("origin", &app.base);
    let mut fields = vec![("username_or_email", who), ("password", PASSWORD)];
    fields.extend_from_slice(more);
    let reply = client.submit("/login", "/login", &fields).await;
    (client, reply)
}

async fn send(client: &Client, code: &str) -> Reply {
    client.submit("/login/2fa", "/login/2fa", &[("method", "totp"), ("code", code)]).await
}

/// SEC-33: a challenge of 256 bit in its own cookie, for ten minutes, and no session.
#[tokio::test]
async fn sec_33_a_right_password_gives_a_challenge_and_no_session() {
    let app = TestApp::start().await;
    let (secret, _) = app.with_app("ann").await;
    let ann = app.anon();
    let reply = app.sign_in(&ann, "ann").await;
    assert_eq!(told(&reply), (401, "/problems/second-factor-required".to_owned()));
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(reply.json()["methods"], json!(["totp", "backup-code"]));
    let set = set_cookie(&reply, "anteroom-challenge").unwrap();
    for part in ["Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=600"] {
        assert!(set.contains(part), "{set}");
    }
    let token = ann.cookie("anteroom-challenge").unwrap();
    assert_eq!(token.len(), 43, "256 bit in base64url");
    assert_eq!(set_cookie(&reply, "anteroom"), None);
    assert_eq!(told(&ann.get_json("/api/v1/me").await), gone());
    assert_ne!(app.challenged("ann").await.cookie("anteroom-challenge"), Some(token));

    let (page, reply) = by_form(&app, "ann", &[]).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/login/2fa")));
    assert_eq!(page.cookie("anteroom"), None);
    assert_eq!(page.get("/chat").await.location(), Some("/login?next=%2Fchat"));

    let late = app.challenged("ann").await;
    app.clock.advance(10 * MINUTE - SECOND);
    assert_eq!(late.get("/login/2fa").await.status, 200);
    app.clock.advance(SECOND);
    assert_eq!(told(&app.answer(&late, &app.code(&secret, 0)).await), gone());
    assert_eq!(page.get("/login/2fa").await.location(), Some("/login"));
    assert!(text(&page.get("/login").await.body).contains("Start again"));

    let ann = app.challenged("ann").await;
    let reply = app.answer(&ann, &app.code(&secret, 0)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let done = reply.json();
    assert_eq!((done["user"]["username"].as_str(), done["message"].is_string()), (Some("ann"), true));
    assert_eq!(done["csrf_token"].as_str().map(str::is_empty), Some(false));
    assert!(set_cookie(&reply, "anteroom-challenge").unwrap().contains("Max-Age=0"));
    assert_eq!(ann.get_json("/api/v1/me").await.json()["username"], "ann");
    // Its token is good for the session, and the challenge is used up.
    let csrf = done["csrf_token"].as_str().unwrap();
    assert_eq!(ann.post_json("/logout", Some(csrf), &json!({})).await.status, 204);
}

/// SEC-41, SEC-42: the step of now and the one before; what was used is spent at every place that asks.
#[tokio::test]
async fn sec_42_a_code_counts_once_at_sign_in_and_step_up() {
    let app = Wishes::unlimited().start().await;
    let (secret, _) = app.with_app("ann").await;
    // Long after the one that confirmed it: what is refused is refused for its own time.
    app.clock.advance(5 * MINUTE);
    for steps in [1, -2, -3, 100] {
        let reply = app.answer(&app.challenged("ann").await, &app.code(&secret, steps)).await;
        assert_eq!(told(&reply), invalid(), "{steps}");
    }
    let ann = app.challenged("ann").await;
    let reply = app.answer(&ann, &app.code(&secret, -1)).await;
    assert_eq!(reply.status, 200, "a clock that is 30 seconds late");
    let step_up = async |client: &Client, code: &str| {
        let token = app.csrf(client).await;
        client.post_json("/api/v1/step-up", Some(&token), &json!({ "code": code })).await
    };
    let code = app.code(&secret, 0);
    assert_eq!(step_up(&ann, &code).await.status, 200);
    assert_eq!(told(&step_up(&ann, &code).await), invalid());
    assert_eq!(told(&app.answer(&app.challenged("ann").await, &code).await), invalid());
    app.clock.advance(30 * SECOND);
    // The older one counts no more, though its time is not over.
    assert_eq!(told(&app.answer(&app.challenged("ann").await, &code).await), invalid());
    let code = app.code(&secret, 0);
    let again = app.challenged("ann").await;
    assert_eq!(app.answer(&again, &code).await.status, 200);
    assert_eq!(told(&step_up(&again, &code).await), invalid());
    let reply = app.answer(&app.challenged("ann").await, &code).await;
    assert_eq!(told(&reply), invalid());
}

/// SEC-36: a challenge has five tries.
#[tokio::test]
async fn sec_36_the_fifth_wrong_code_ends_the_challenge() {
    let app = TestApp::start().await;
    let (secret, _) = app.with_app("ann").await;
    let ann = app.challenged("ann").await;
    for words in ["4 tries", "3 tries", "2 tries", "One try", "no tries"] {
        let reply = app.answer(&ann, &app.code(&secret, 7)).await;
        assert_eq!(told(&reply), invalid());
        assert!(reply.json()["detail"].as_str().unwrap().contains(words), "{reply:?}");
    }
    assert_eq!(ann.cookie("anteroom-challenge"), None);
    assert_eq!(told(&app.answer(&ann, &app.code(&secret, 0)).await), gone());

    app.answer(&app.challenged("ann").await, &app.code(&secret, 0)).await;
    let (page, _) = by_form(&app, "ann", &[]).await;
    let kept = page.cookie("anteroom-challenge").unwrap();
    for words in ["4 tries", "3 tries", "2 tries", "One try"] {
        let reply = send(&page, "000 000").await;
        assert_eq!(reply.status, 401);
        assert!(text(&reply.body).contains(words), "{}", text(&reply.body));
    }
    let last = send(&page, "000000").await;
    assert_eq!((last.status.as_u16(), last.location()), (303, Some("/login")));
    assert!(text(&page.get("/login").await.body).contains("Start again"));
    // Also for who keeps the cookie.
    page.set_cookie("anteroom-challenge", &kept);
    app.clock.advance(30 * SECOND);
    assert_eq!(told(&app.answer(&page, &app.code(&secret, 0)).await), gone());
}

/// SEC-36, SEC-51: ten wrong ones in a row over all challenges, steps and factors lock for 15 minutes.
#[tokio::test]
async fn sec_36_ten_wrong_ones_lock_the_account_whatever_the_challenge_and_factor() {
    let app = Wishes::unlimited().start().await;
    let (secret, codes) = app.with_app("ann").await;
    let wrong = ["000000", "12345678", "AAAA-BBBB-CCCC-DDDD", "what?"];
    let session = app.challenged("ann").await;
    assert_eq!(app.answer(&session, &app.code(&secret, 0)).await.status, 200);
    app.clock.advance(30 * SECOND);
    let fail = async |times: usize| {
        let ann = app.challenged("ann").await;
        for code in wrong.iter().cycle().take(times) {
            assert_eq!(told(&app.answer(&ann, code).await), invalid());
        }
        ann
    };
    // A right one begins the count anew.
    fail(5).await;
    let ann = fail(4).await;
    assert_eq!(app.answer(&ann, &codes[0]).await.status, 200);
    fail(4).await;
    let token = app.csrf(&session).await;
    for code in ["000000", "what?"] {
        let reply = session.post_json("/api/v1/step-up", Some(&token), &json!({ "code": code })).await;
        assert_eq!(told(&reply), invalid());
    }
    let ann = fail(3).await;
    let tenth = app.answer(&ann, "000000").await;
    assert_eq!(told(&tenth), (429, "/problems/rate-limited".to_owned()));
    assert_eq!(tenth.header("retry-after"), Some("900"));
    app.clock.advance(MINUTE);
    for code in [app.code(&secret, 0), codes[1].clone()] {
        for client in [ann.clone(), app.challenged("ann").await] {
            let reply = app.answer(&client, &code).await;
            assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some("840")), "{reply:?}");
        }
        let reply = session.post_json("/api/v1/step-up", Some(&token), &json!({ "code": code })).await;
        assert_eq!(reply.status, 429);
    }
    let (page, _) = by_form(&app, "ann", &[]).await;
    let reply = send(&page, &app.code(&secret, 0)).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some("840")));
    assert!(text(&reply.body).contains("Wait 14 minutes"), "{}", text(&reply.body));
    // Others are not kept out.
    let (bens, _) = app.with_app("ben").await;
    assert_eq!(app.answer(&app.challenged("ben").await, &app.code(&bens, 0)).await.status, 200);
    app.clock.advance(13 * MINUTE);
    let ann = app.challenged("ann").await;
    assert_eq!(app.answer(&ann, &app.code(&secret, 0)).await.status, 200, "the 15 minutes are over");
}

/// SEC-39: how many factors are needed, and which, is never what a client says.
#[tokio::test]
async fn sec_39_nothing_that_a_client_sends_changes_what_is_needed() {
    let app = Wishes::unlimited().start().await;
    let (secret, _) = app.with_app("ann").await;
    let (bens, _) = app.with_app("ben").await;
    let base = json!({ "username_or_email": "ann", "password": PASSWORD });
    for (name, value) in [
        ("second_factor", json!(false)),
        ("methods", json!([])),
        ("enrol", json!(true)),
        ("method", json!("password")),
        ("user_id", json!("x")),
        ("verified", json!(true)),
    ] {
        let mut body = base.clone();
        body[name] = value.clone();
        let ann = app.anon();
        assert_eq!(ann.post_json("/login", None, &body).await.status, 422, "{name}");
        assert_eq!((ann.cookie("anteroom"), ann.cookie("anteroom-challenge")), (None, None));
        let ann = app.challenged("ann").await;
        let mut body = json!({ "code": "000000" });
        body[name] = value;
        let reply = ann.post_json("/login/2fa", None, &body).await;
        assert_eq!(reply.status, 422, "{name}: {reply:?}");
        assert_eq!(ann.cookie("anteroom"), None);
    }
    for token in [json!(""), json!(null), json!(app.code(&bens, 0)), json!("000000"), json!(PASSWORD)] {
        let mut body = base.clone();
        body["token"] = token.clone();
        let ann = app.anon();
        let reply = ann.post_json("/login", None, &body).await;
        assert_eq!((reply.status.as_u16(), ann.cookie("anteroom")), (401, None), "{token}");
    }
    for odd in [json!({ "token": true }), json!({ "token": ["000000"] }), json!({ "token": 0 })] {
        let mut body = base.clone();
        body["token"] = odd["token"].clone();
        let reply = app.anon().post_json("/login", None, &body).await;
        assert!(matches!(reply.status.as_u16(), 401 | 422), "{odd} {reply:?}");
    }
    // Another person's challenge is not taken over by one's own password.
    let ann = app.challenged("ben").await;
    let before = ann.cookie("anteroom-challenge");
    let mut body = base.clone();
    body["token"] = json!(app.code(&bens, 0));
    assert_eq!(told(&ann.post_json("/login", None, &body).await), invalid());
    assert_ne!(ann.cookie("anteroom-challenge"), before);
    assert_eq!(told(&app.answer(&ann, &app.code(&bens, 0)).await), invalid(), "it is ann's challenge");
    // The method is the page's name, no more: a right code is right by any, a wrong one by none.
    let ann = app.challenged("ann").await;
    for method in ["totp", "email", "backup-code", "passkey"] {
        let reply = ann.post_json("/login/2fa", None, &json!({ "method": method, "code": "000000" })).await;
        if method == "passkey" {
            break;
        }
        assert_eq!(told(&reply), invalid());
    }
    let right = json!({ "method": "email", "code": app.code(&secret, 0) });
    assert_eq!(ann.post_json("/login/2fa", None, &right).await.status, 200);
    // Who has no factor is not asked for one.
    app.account("cleo", "User").await;
    let body = json!({ "username_or_email": "cleo", "password": PASSWORD, "token": "000000" });
    assert_eq!(app.anon().post_json("/login", None, &body).await.status, 200);
}

/// A program sends the code with the password; wrong, it may go on with the challenge.
#[tokio::test]
async fn a_code_may_come_with_the_password() {
    let app = Wishes::unlimited().start().await;
    let (secret, codes) = app.with_app("ann").await;
    let body = |code: &str| json!({ "username_or_email": "ann", "password": PASSWORD, "token": code });
    let ann = app.anon();
    let reply = ann.post_json("/login", None, &body(&app.code(&secret, 0))).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["user"]["username"], "ann");
    assert_eq!(ann.get_json("/api/v1/me").await.status, 200);
    assert_eq!(
        app.anon().post_json("/login", None, &body(&codes[0])).await.status,
        200,
        "a backup code, too"
    );

    let ann = app.anon();
    assert_eq!(told(&ann.post_json("/login", None, &body("000000")).await), invalid());
    let challenge = ann.cookie("anteroom-challenge");
    assert!(challenge.is_some());
    // The same challenge pays for each try, with the password or without.
    for _ in 0..3 {
        assert_eq!(told(&ann.post_json("/login", None, &body("000000")).await), invalid());
        assert_eq!(ann.cookie("anteroom-challenge"), challenge);
    }
    let last = app.answer(&ann, "000000").await;
    assert!(last.json()["detail"].as_str().unwrap().contains("no tries"), "{last:?}");
    app.clock.advance(30 * SECOND);
    assert_eq!(ann.post_json("/login", None, &body(&app.code(&secret, 0))).await.status, 200);
    // A wrong password says nothing about the code, and does not spend it.
    app.clock.advance(30 * SECOND);
    let mut wrong = body(&app.code(&secret, 0));
    wrong["password"] = json!("not-the-password-17");
    let reply = app.anon().post_json("/login", None, &wrong).await;
    assert_eq!(told(&reply), (401, "/problems/invalid-credentials".to_owned()));
    let reply = app.anon().post_json("/login", None, &body(&app.code(&secret, 0))).await;
    assert_eq!(reply.status, 200);
    // On a page, too.
    app.clock.advance(30 * SECOND);
    let (_, reply) = by_form(&app, "ann", &[("token", &app.code(&secret, 0))]).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/chat")));
    let (page, reply) = by_form(&app, "ann", &[("token", "000000")]).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/login/2fa")));
    assert!(text(&page.get("/login/2fa").await.body).contains("The code was not right"));
}

#[tokio::test]
async fn the_page_offers_the_best_factor_the_others_and_a_way_back() {
    let app = TestApp::start().await;
    let (secret, codes) = app.with_app("ann").await;
    let (page, _) = by_form(&app, "ann", &[("next", "/settings?a=1")]).await;
    let shown = page.get("/login/2fa").await;
    assert_eq!((shown.status.as_u16(), shown.header("cache-control")), (200, Some("no-store")));
    assert_eq!(field(&shown.body, "method").as_deref(), Some("totp"));
    assert!(shown.body.contains("href=\"/login/2fa/backup-code\""));
    assert!(
        !shown.body.contains("href=\"/login/2fa/email\"") && !shown.body.contains("/login/2fa/passkey\"")
    );
    let backup = page.get("/login/2fa/backup-code").await;
    assert_eq!(field(&backup.body, "method").as_deref(), Some("backup-code"));
    assert!(backup.body.contains("href=\"/login/2fa/totp\""));
    // Ways that the account has not lead to those that it has.
    for none in ["/login/2fa/email", "/login/2fa/passkey", "/login/2fa/enrol"] {
        assert_eq!(page.get(none).await.location(), Some("/login/2fa"), "{none}");
    }
    let code = format!(" {} ", codes[4].to_lowercase().replace('-', " "));
    let fields = [("method", "backup-code"), ("code", &*code)];
    let reply = page.submit("/login/2fa/backup-code", "/login/2fa", &fields).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/settings?a=1")), "next survives");
    assert!(text(&page.get("/settings").await.body).contains("Backup codes left: 9"));
    // A form without a code is told so, and costs no try.
    let (page, _) = by_form(&app, "ann", &[]).await;
    assert_eq!(send(&page, "").await.status, 422);
    let wrong = page.submit("/login/2fa", "/login/2fa", &[("method", "backup-code"), ("code", "0")]).await;
    assert!(text(&wrong.body).contains("4 tries"), "{}", text(&wrong.body));
    assert_eq!(field(&wrong.body, "method").as_deref(), Some("backup-code"), "the page stays the same");

    let kept = page.cookie("anteroom-challenge").unwrap();
    let back = page.submit("/login/2fa", "/login/2fa/cancel", &[]).await;
    assert_eq!((back.status.as_u16(), back.location()), (303, Some("/login")));
    assert_eq!(page.cookie("anteroom-challenge"), None);
    page.set_cookie("anteroom-challenge", &kept);
    assert_eq!(told(&app.answer(&page, &app.code(&secret, 0)).await), gone(), "cancelled for good");
    // Another site's address is not gone on to (SEC-76).
    let (page, _) = by_form(&app, "ann", &[("next", "//evil.example")]).await;
    assert_eq!(send(&page, &app.code(&secret, 0)).await.location(), Some("/chat"));
}

/// A prompt that met an ended session waits through the second step, too, and arrives once.
#[tokio::test]
async fn a_carried_prompt_survives_the_second_step() {
    let app = Wishes::default().models().start().await;
    let (secret, _) = app.with_app("ann").await;
    let ann = app.anon().with_header("origin", &app.base);
    app.sign_in(&ann, "ann").await;
    assert_eq!(app.answer(&ann, &app.code(&secret, 0)).await.status, 200);
    let token = app.csrf(&ann).await;
    app.clock.advance(15 * base::DAY);
    let form = [("csrf_token", &*token), ("prompt", "do not lose me"), ("model", "markdown")];
    let page = ann.post("/chat", &form).await;
    assert_eq!(page.status, 401);
    let mut fields = vec![("username_or_email", "ann".to_owned()), ("password", PASSWORD.to_owned())];
    for name in ["csrf_token", "next", "carry"] {
        fields.extend(field(&page.body, name).map(|value| (name, value)));
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(ann.post("/login", &fields).await.location(), Some("/login/2fa"));
    assert_eq!(send(&ann, "000000").await.status, 401);
    assert_eq!(send(&ann, &app.code(&secret, 0)).await.location(), Some("/chat?draft"));
    assert_eq!(composer(&ann.get("/chat?draft").await.body), "do not lose me");
    let left: Option<i64> = app
        .app
        .db
        .one(base::sql!("SELECT COUNT(*) FROM challenges WHERE carry IS NOT NULL"), &[])
        .await
        .unwrap();
    assert_eq!(left, Some(0), "no copy stays behind");
}

/// SEC-50, SEC-51, SEC-52: each code signs in once, its use is mailed, and few are warned of.
#[tokio::test]
async fn sec_51_a_backup_code_signs_in_once() {
    let app = Wishes::unlimited().start().await;
    let (_, codes) = app.with_app("ann").await;
    assert_eq!(codes.len(), 10);
    for (n, code) in codes.iter().enumerate() {
        let (page, _) = by_form(&app, "ann", &[]).await;
        let reply = send(&page, code).await;
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/chat")), "{n}");
        let shown = text(&page.get("/chat").await.body);
        let left = 9 - n;
        assert_eq!(shown.contains("Make a new set"), left <= 3, "{left}: {shown}");
        if left < 9 {
            assert_eq!(told(&app.answer(&app.challenged("ann").await, code).await), invalid(), "used before");
        }
        // Wrong ones in a row are not the matter here.
        if left == 5 {
            assert_eq!(app.mails_to("backup_code_used", "ann@example.org").await.len(), 5);
        }
    }
    assert_eq!(app.mails_to("backup_code_used", "ann@example.org").await.len(), 10);
    // None is left, so none is offered.
    let reply = app.sign_in(&app.anon(), "ann").await;
    assert_eq!(reply.json()["methods"], json!(["totp"]));
}

/// SEC-78, SEC-38: over a live session the new sign-in takes its place, once it is complete.
#[tokio::test]
async fn sec_78_signing_in_anew_ends_the_session_before_only_when_it_is_complete() {
    let app = Wishes::unlimited().start().await;
    let (secret, codes) = app.with_app("ann").await;
    let ann = app.challenged("ann").await;
    assert_eq!(app.answer(&ann, &app.code(&secret, 0)).await.status, 200);
    let before = ann.cookie("anteroom");
    let token = app.csrf(&ann).await;
    let body = json!({ "username_or_email": "ann", "password": PASSWORD });
    assert_eq!(ann.post_json("/login", Some(&token), &body).await.status, 401);
    assert_eq!(
        (ann.cookie("anteroom"), ann.get_json("/api/v1/me").await.status.as_u16()),
        (before.clone(), 200)
    );
    let code: Value = json!({ "code": codes[0] });
    assert_eq!(told(&ann.post_json("/login/2fa", None, &code).await), (403, "/problems/csrf".to_owned()));
    assert_eq!(ann.post_json("/login/2fa", Some(&token), &code).await.status, 200);
    assert_ne!(ann.cookie("anteroom"), before);
    let old = app.anon();
    old.set_cookie("anteroom", &before.unwrap());
    assert_eq!(old.get_json("/api/v1/me").await.status, 401);
}

/// SEC-35, SEC-38: a challenge ends with the account, its factors or its password as they were.
#[tokio::test]
async fn sec_35_a_challenge_ends_with_what_it_was_made_from() {
    let app = Wishes::unlimited().start().await;
    let (secret, codes) = app.with_app("ann").await;
    let accounts = &app.app.accounts;
    let ann = app.challenged("ann").await;
    let kept = ann.cookie("anteroom-challenge").unwrap();
    accounts.deactivate(Actor::Operator, "ann").await.unwrap();
    assert_eq!(told(&app.answer(&ann, &codes[0]).await), gone());
    assert_eq!(ann.get("/login/2fa").await.location(), Some("/login"));
    accounts.reactivate(Actor::Operator, "ann").await.unwrap();
    ann.set_cookie("anteroom-challenge", &kept);
    assert_eq!(told(&app.answer(&ann, &codes[0]).await), gone(), "it does not come back to life");

    // Somebody changes the password while a stranger stands between the factors.
    let stranger = app.challenged("ann").await;
    let ann = app.challenged("ann").await;
    assert_eq!(app.answer(&ann, &app.code(&secret, 0)).await.status, 200);
    let fields = [("current_password", PASSWORD), ("password", "heron-lintel-basalt-42")];
    let reply = app.post(&ann, "/settings/password", &fields).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    assert_eq!(told(&app.answer(&stranger, &codes[1]).await), gone());

    let late = app.anon();
    assert_eq!(app.sign_in_with(&late, "ann", "heron-lintel-basalt-42").await.status, 401);
    accounts.reset_factors(Actor::Operator, "ann", "lost the phone").await.unwrap();
    assert_eq!(told(&app.answer(&late, &codes[2]).await), gone());
    assert_eq!(app.sign_in_with(&late, "ann", "heron-lintel-basalt-42").await.status, 200);
}

/// SEC-42: only codes newer than the last one used count, though the time of an older one is not over.
#[tokio::test]
async fn sec_42_an_older_code_counts_no_more() {
    let app = Wishes::unlimited().start().await;
    let (secret, _) = app.with_app("ann").await;
    let ann = app.challenged("ann").await;
    assert_eq!(app.answer(&ann, &app.code(&secret, 0)).await.status, 200);
    let older = app.code(&secret, -1);
    assert_eq!(told(&app.answer(&app.challenged("ann").await, &older).await), invalid());
    let token = app.csrf(&ann).await;
    let step_up = ann.post_json("/api/v1/step-up", Some(&token), &json!({ "code": older })).await;
    assert_eq!(told(&step_up), invalid());
}

/// SEC-51: wrong backup codes cost the challenge's tries, and the hash of a code is salted.
#[tokio::test]
async fn sec_51_a_wrong_backup_code_is_a_try_and_hashes_are_salted() {
    let app = Wishes::unlimited().start().await;
    let (_, codes) = app.with_app("ann").await;
    let ann = app.challenged("ann").await;
    for _ in 0..5 {
        assert_eq!(told(&app.answer(&ann, "AAAA-BBBB-CCCC-DDDD").await), invalid());
    }
    assert_eq!(told(&app.answer(&ann, &codes[0]).await), gone());
    let hashes: Vec<String> = app.app.db.all(base::sql!("SELECT hash FROM backup_codes"), &[]).await.unwrap();
    assert!(hashes.iter().all(|hash| !codes.iter().any(|code| hash.contains(&code.replace('-', "")))));
    // With another salt the same hashes are of other codes.
    app.app.db.run(base::sql!("UPDATE backup_code_sets SET salt = 'other'"), &[]).await.unwrap();
    assert_eq!(told(&app.answer(&app.challenged("ann").await, &codes[0]).await), invalid());
}
