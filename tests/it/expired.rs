//! A prompt that meets an ended session survives the sign-in, for its author alone.

use base::DAY;
use parts::http::{Client, Reply, field};

use crate::harness::{PASSWORD, TestApp, Wishes};
use crate::page::{composer, last, messages, models, text};

async fn with_models() -> TestApp {
    Wishes::default().models().start().await
}

/// A person at a browser, which names its origin.
async fn browser(app: &TestApp, username: &str) -> Client {
    app.account(username, "User").await;
    let client = app.anon().with_header("origin", &app.base);
    assert_eq!(app.sign_in(&client, username).await.status, 200);
    client
}

/// Lets every session run out, then sends the form of a page that was opened before.
async fn too_late(app: &TestApp, client: &Client, path: &str, prompt: &str, model: &str) -> Reply {
    let token = app.csrf(client).await;
    app.clock.advance(15 * DAY);
    client.post(path, &[("csrf_token", &token), ("prompt", prompt), ("model", model)]).await
}

/// Fills in the sign-in form of that page.
async fn sign_in_there(client: &Client, page: &Reply, who: &str, password: &str) -> Reply {
    let mut fields = vec![("username_or_email", who.to_owned()), ("password", password.to_owned())];
    for name in ["csrf_token", "next", "carry"] {
        fields.extend(field(&page.body, name).map(|value| (name, value)));
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    client.post("/login", &fields).await
}

#[tokio::test]
async fn a_prompt_to_a_chat_stands_in_its_composer_after_the_sign_in() {
    let app = with_models().await;
    let ann = browser(&app, "ann").await;
    let chat = app.prompt(&ann, "echo", "before").await;
    app.settle().await;
    let prompt = "dear \"model\",\n\n<b>count</b> & list 🐦 </textarea>";
    let page = too_late(&app, &ann, &format!("{chat}/messages"), prompt, "markdown").await;
    assert_eq!(page.status, 401);
    assert!(text(&page.body).contains("Your session has ended"), "{}", page.body);
    assert!(!page.body.contains("dear") && !page.body.contains("🐦"), "the prompt is sealed in the page");
    assert_eq!(app.stub().count(), 1, "nothing was sent");
    // A typing mistake in the password loses nothing.
    let wrong = sign_in_there(&ann, &page, "ann", "not-the-password-17").await;
    assert_eq!(wrong.status, 401);
    let right = sign_in_there(&ann, &wrong, "ann", PASSWORD).await;
    assert_eq!((right.status.as_u16(), right.location()), (303, Some(format!("{chat}?draft").as_str())));
    let page = ann.get(right.location().unwrap()).await;
    assert_eq!((composer(&page.body).as_str(), models(&page.body).1.as_str()), (prompt, "markdown"));
    assert_eq!(messages(&page.body).len(), 2);
    // It is sent by its author, and gone then.
    app.post(&ann, &format!("{chat}/messages"), &[("prompt", prompt), ("model", "echo")]).await;
    app.settle().await;
    assert_eq!(messages(&ann.get(&chat).await.body).len(), 4);
    assert_eq!(composer(&ann.get(&format!("{chat}?draft")).await.body), "");
}

#[tokio::test]
async fn a_prompt_that_would_begin_a_chat_stands_in_the_new_one() {
    let app = with_models().await;
    let ann = browser(&app, "ann").await;
    let page = too_late(&app, &ann, "/chat", "begin here", "echo").await;
    assert_eq!(page.status, 401);
    let signed_in = sign_in_there(&ann, &page, "ann", PASSWORD).await;
    assert_eq!(signed_in.location(), Some("/chat?draft"));
    let page = ann.get("/chat?draft").await.body;
    assert_eq!((composer(&page).as_str(), models(&page).1.as_str()), ("begin here", "echo"));
    assert_eq!(composer(&ann.get("/chat").await.body), "", "other pages do not show it");
    // Reloading does not lose it; sending does away with it.
    assert_eq!(composer(&ann.get("/chat?draft").await.body), "begin here");
    let chat = app.prompt(&ann, "echo", "begin here").await;
    app.settle().await;
    assert_eq!(last(&ann.get(&chat).await.body).answer(), "begin here");
    assert_eq!(composer(&ann.get("/chat?draft").await.body), "");
}

/// The longest prompt in the widest letters comes through, too.
#[tokio::test]
async fn the_longest_prompt_is_carried() {
    let app = with_models().await;
    let ann = browser(&app, "ann").await;
    let prompt = "🐦".repeat(32_000);
    let page = too_late(&app, &ann, "/chat", &prompt, "echo").await;
    assert_eq!(page.status, 401);
    assert_eq!(sign_in_there(&ann, &page, "ann", PASSWORD).await.location(), Some("/chat?draft"));
    assert_eq!(composer(&ann.get("/chat?draft").await.body), prompt);
}

/// SEC-100: who else signs in on that page does not get it.
#[tokio::test]
async fn sec_100_another_person_does_not_get_the_prompt() {
    let app = with_models().await;
    let ann = browser(&app, "ann").await;
    app.account("ben", "User").await;
    let chat = app.prompt(&ann, "echo", "before").await;
    app.settle().await;
    for path in ["/chat".to_owned(), format!("{chat}/messages")] {
        app.sign_in(&ann, "ann").await;
        let page = too_late(&app, &ann, &path, "for nobody else", "echo").await;
        assert_eq!(page.status, 401);
        let ben = sign_in_there(&ann, &page, "ben", PASSWORD).await;
        assert_eq!(ben.status, 303);
        assert!(!ben.location().unwrap().contains("draft"), "{ben:?}");
        assert_eq!(composer(&ann.get("/chat?draft").await.body), "");
        app.post(&ann, "/logout", &[]).await;
    }
    // Where the browser has dropped the cookie already, the chat tells whose it is.
    app.sign_in(&ann, "ann").await;
    let token = app.csrf(&ann).await;
    ann.clear_cookies();
    let form = [("csrf_token", token.as_str()), ("prompt", "for nobody else"), ("model", "echo")];
    let page = ann.post(&format!("{chat}/messages"), &form).await;
    assert_eq!(page.status, 401);
    sign_in_there(&ann, &page, "ben", PASSWORD).await;
    assert_eq!(composer(&ann.get("/chat?draft").await.body), "");
    ann.clear_cookies();
    let page = ann.post(&format!("{chat}/messages"), &form).await;
    let own = sign_in_there(&ann, &page, "ann", PASSWORD).await;
    assert_eq!(composer(&ann.get(own.location().unwrap()).await.body), "for nobody else");
}

#[tokio::test]
async fn a_carried_prompt_that_is_old_or_made_up_is_ignored() {
    let app = with_models().await;
    let ann = browser(&app, "ann").await;
    let page = too_late(&app, &ann, "/chat", "stale", "echo").await;
    let carry = field(&page.body, "carry").unwrap();
    let flipped = if carry.ends_with('A') { "B" } else { "A" };
    let forged = [
        "x".to_owned(),
        "e30".to_owned(),
        r#"{"user_id":null,"chat_id":null,"prompt":"evil","model":null,"at":1}"#.to_owned(),
        format!("{}{flipped}", &carry[..carry.len() - 1]),
        carry[..carry.len() / 2].to_owned(),
    ];
    app.clock.advance(DAY + 1);
    for carry in forged.iter().chain([&carry]) {
        let token = ann.get("/login").await.csrf().unwrap();
        let fields = [
            ("csrf_token", token.as_str()),
            ("username_or_email", "ann"),
            ("password", PASSWORD),
            ("carry", carry.as_str()),
        ];
        let reply = ann.post("/login", &fields).await;
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/chat")), "{carry}");
        assert_eq!(composer(&ann.get("/chat?draft").await.body), "");
        app.post(&ann, "/logout", &[]).await;
    }
}

/// SEC-83: only a page of ours hands a prompt over; a foreign one cannot plant one.
#[tokio::test]
async fn sec_83_a_foreign_page_plants_no_prompt() {
    let app = with_models().await;
    app.account("ann", "User").await;
    for origin in ["https://evil.example", "null"] {
        let there = app.anon().with_header("origin", origin);
        let reply = there.post("/chat", &[("prompt", "planted"), ("model", "echo")]).await;
        assert_eq!(reply.status, 403);
        assert_eq!(field(&reply.body, "carry"), None);
    }
    // A program is told what it needs to know.
    let program = app.anon().post_json("/chat", None, &serde_json::json!({ "prompt": "x" })).await;
    assert_eq!(
        (program.status.as_u16(), program.json()["type"].as_str()),
        (401, Some("/problems/unauthenticated"))
    );
}

/// The sign-in page may be overtaken by a sign-in in another tab: its form still hands the prompt over.
#[tokio::test]
async fn a_carried_prompt_arrives_after_a_sign_in_in_another_tab() {
    let app = with_models().await;
    let ann = browser(&app, "ann").await;
    let page = too_late(&app, &ann, "/chat", "do not lose me", "echo").await;
    assert_eq!(page.status, 401);
    assert_eq!(app.sign_in(&ann, "ann").await.status, 200);
    let session = ann.cookie("anteroom");
    let reply = sign_in_there(&ann, &page, "ann", PASSWORD).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/chat?draft")), "{reply:?}");
    assert_eq!(ann.cookie("anteroom"), session, "the session of the other tab goes on");
    assert_eq!(composer(&ann.get("/chat?draft").await.body), "do not lose me");
    // Someone else who has signed in there does not get it.
    app.account("ben", "User").await;
    app.post(&ann, "/logout", &[]).await;
    app.sign_in(&ann, "ben").await;
    assert_eq!(sign_in_there(&ann, &page, "ann", PASSWORD).await.location(), Some("/chat"));
    assert_eq!(composer(&ann.get("/chat?draft").await.body), "");
    // No other site hands anything over.
    let foreign = ann.clone().with_header("origin", "https://evil.example");
    assert_eq!(sign_in_there(&foreign, &page, "ann", PASSWORD).await.status, 403);
}

/// SEC-83: a form of the session before sends nothing; its prompt is kept for who is signed in now.
#[tokio::test]
async fn sec_83_a_prompt_from_a_page_out_of_date_stands_in_the_composer() {
    let app = with_models().await;
    let ann = browser(&app, "ann").await;
    let chat = app.prompt(&ann, "echo", "before").await;
    app.settle().await;
    let old = app.csrf(&ann).await;
    app.post(&ann, "/logout", &[]).await;
    app.sign_in(&ann, "ann").await;
    let form = [("csrf_token", old.as_str()), ("prompt", "typed long ago"), ("model", "markdown")];
    let navigating = ann.clone().with_header("sec-fetch-mode", "navigate");
    for path in [chat.as_str(), "/chat"] {
        let to = if path == "/chat" { path.to_owned() } else { format!("{path}/messages") };
        let reply = navigating.post(&to, &form).await;
        let there = format!("{path}?draft");
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some(there.as_str())), "{reply:?}");
        let page = ann.get(&there).await.body;
        assert_eq!((composer(&page).as_str(), models(&page).1.as_str()), ("typed long ago", "markdown"));
        assert!(text(&page).contains("nothing was sent"), "{page}");
    }
    assert_eq!(app.stub().count(), 1);
    // A script keeps the prompt in its page, so it hears the refusal; so does everybody else.
    app.post(&ann, "/chat", &[("prompt", "typed long ago"), ("model", "echo")]).await;
    let evil =
        ann.clone().with_header("origin", "https://evil.example").with_header("sec-fetch-mode", "navigate");
    for client in [&ann, &evil] {
        assert_eq!(client.post("/chat", &form).await.status, 403);
    }
    let ben = browser(&app, "ben").await.with_header("sec-fetch-mode", "navigate");
    assert_eq!(ben.post(&format!("{chat}/messages"), &form).await.status, 403, "it is another's chat");
    assert_eq!(composer(&ben.get("/chat?draft").await.body), "");
    assert_eq!(composer(&ann.get("/chat?draft").await.body), "");
}

/// Another prompt leaves a waiting one alone.
#[tokio::test]
async fn a_waiting_prompt_waits_until_it_is_sent() {
    let app = with_models().await;
    let ann = browser(&app, "ann").await;
    let page = too_late(&app, &ann, "/chat", "one\r\ntwo", "echo").await;
    sign_in_there(&ann, &page, "ann", PASSWORD).await;
    app.prompt(&ann, "echo", "something else").await;
    assert_eq!(composer(&ann.get("/chat?draft").await.body).lines().collect::<Vec<_>>(), ["one", "two"]);
    app.prompt(&ann, "echo", "one\ntwo").await;
    assert_eq!(composer(&ann.get("/chat?draft").await.body), "");
}
