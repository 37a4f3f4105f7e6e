//! Chats: beginning, finding, naming and deleting them; prompts that are not taken; versions; Stop.

use axum::body::Body;
use axum::extract::Request;
use base::{HOUR, MINUTE, SECOND};
use parts::http::Client;
use serde_json::json;
use tower::ServiceExt as _;

use crate::harness::{TestApp, Wishes};
use crate::page::{chats, composer, last, link, messages, models, text, titles};

async fn with_models() -> TestApp {
    Wishes::default().models().start().await
}

#[tokio::test]
async fn a_chat_begins_with_its_first_prompt_and_is_named_by_it() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    assert_eq!(titles(&ann.get("/chat").await.body), ["Welcome Chat"]);
    app.clock.advance(MINUTE);
    let prompt = "\n What is a <b>tern</b>?\r\nTell  me.\n";
    let chat = app.prompt(&ann, "echo", prompt).await;
    app.settle().await;
    let page = ann.get(&chat).await;
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("<h1 data-sync=\"title\">What is a &#60;b&#62;tern&#60;/b&#62;?</h1>"),
        "{}",
        page.body
    );
    assert_eq!(titles(&page.body), ["What is a <b>tern</b>?", "Welcome Chat"]);
    let [question, answer] = &messages(&page.body)[..] else { panic!("{}", page.body) };
    assert_eq!(parts::http::unescape(&question.html), "\n What is a <b>tern</b>?\nTell  me.");
    assert_eq!((answer.state.as_str(), answer.by.as_str()), ("done", "echo"));
    assert!(answer.answer().starts_with("What is a <b>tern</b>? Tell me."), "{}", answer.answer());
    // The model was told the prompt, and nothing of the greeting in the other chat.
    let seen = app.stub().requests().pop().unwrap();
    assert_eq!(seen.body["messages"].as_array().unwrap().len(), 1);
    // Another prompt does not rename it, and takes the first answer along.
    assert_eq!(
        app.post(&ann, &format!("{chat}/messages"), &[("prompt", "More"), ("model", "echo")]).await.status,
        303
    );
    app.settle().await;
    let page = ann.get(&chat).await.body;
    assert_eq!(titles(&page)[0], "What is a <b>tern</b>?");
    assert_eq!(messages(&page).len(), 4);
    assert_eq!(app.stub().requests().pop().unwrap().body["messages"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn json_gets_the_ids_of_what_it_began() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let csrf = app.csrf(&ann).await;
    let reply = ann.post_json("/chat", Some(&csrf), &json!({ "prompt": "Hello", "model": "echo" })).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let begun = reply.json();
    app.settle().await;
    let chat = format!("/chat/{}", begun["chat_id"].as_str().unwrap());
    assert_eq!(last(&ann.get(&chat).await.body).id, begun["message_id"].as_str().unwrap());
    let refused = ann.post_json("/chat", Some(&csrf), &json!({ "prompt": " ", "model": "echo" })).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["errors"]["prompt"].as_str()),
        (422, Some("Write a prompt first."))
    );
}

#[tokio::test]
async fn the_list_is_newest_first_and_pages_by_key() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let me = app.app.accounts.find_person("ann").await.unwrap().unwrap().user.id;
    app.clock.advance(SECOND);
    for n in 0..45 {
        app.clock.advance(if n % 3 == 0 { 0 } else { SECOND });
        let id = chat::chats::create(&app.app.db, &app.app.random, app.clock.now(), &me, None).await.unwrap();
        chat::chats::rename(&app.app.db, &me, &id, &format!("Chat {n:02}")).await.unwrap();
    }
    app.clock.advance(SECOND);
    let mut page = ann.get("/chat").await.body;
    let mut seen = chats(&page);
    assert_eq!(seen.len(), 20);
    assert_eq!(seen[0].1, "Chat 44");
    // A chat that moves to the top between two pages neither hides nor repeats another one.
    let older = link(&page, "Older chats").unwrap();
    let new = app.prompt(&ann, "echo", "new").await;
    app.settle().await;
    page = ann.get(&older).await.body;
    seen.extend(chats(&page));
    let older = link(&page, "Older chats").unwrap();
    page = ann.get(&older).await.body;
    seen.extend(chats(&page));
    assert_eq!(link(&page, "Older chats"), None);
    let paths: std::collections::BTreeSet<_> = seen.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!((seen.len(), paths.len()), (46, 46));
    assert!(!paths.contains(&new));
    assert_eq!(seen[45].1, "Welcome Chat");
    // Chats of one moment may stand in any order, of different ones not.
    let numbers: Vec<usize> = seen[..45].iter().map(|(_, title)| title[5..].parse().unwrap()).collect();
    let moment = |n: &usize| n - n / 3;
    assert!(numbers.is_sorted_by(|a, b| moment(a) >= moment(b)), "{numbers:?}");
    // The rail of an open chat pages too, and keeps the chat open.
    let rail = link(&ann.get(&new).await.body, "Older chats").unwrap();
    assert!(rail.starts_with(&format!("{new}?older=")), "{rail}");
    assert_eq!(messages(&ann.get(&rail).await.body).len(), 2);
    // A cursor that somebody made up is no error.
    assert_eq!(ann.get("/chat?older=x.y").await.status, 200);
}

#[tokio::test]
async fn a_chat_is_renamed_for_good_and_deleted_for_good() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "echo", "First words").await;
    app.settle().await;
    let renamed = app.post(&ann, &format!("{chat}/rename"), &[("title", "  Sea\tbirds ")]).await;
    assert_eq!((renamed.status.as_u16(), renamed.location()), (303, Some(chat.as_str())));
    app.post(&ann, &format!("{chat}/messages"), &[("prompt", "Second words"), ("model", "echo")]).await;
    app.settle().await;
    let page = ann.get(&chat).await.body;
    assert!(titles(&page).contains(&"Sea birds".to_owned()), "{:?}", titles(&page));
    for (title, words) in
        [(" ", "Enter a title."), (&"x".repeat(201), "This title is too long: at most 200 characters.")]
    {
        assert_eq!(app.post(&ann, &format!("{chat}/rename"), &[("title", title)]).await.status, 303);
        let page = ann.get(&chat).await.body;
        assert!(page.contains(words) && page.contains("<h1 data-sync=\"title\">Sea birds</h1>"), "{page}");
        assert!(!ann.get(&chat).await.body.contains(words), "a flash is shown once");
    }
    let deleted = app.post(&ann, &format!("{chat}/delete"), &[]).await;
    assert_eq!((deleted.status.as_u16(), deleted.location()), (303, Some("/chat")));
    assert_eq!(ann.get(&chat).await.status, 404);
    assert_eq!(app.post(&ann, &format!("{chat}/delete"), &[]).await.status, 404);
    assert_eq!(titles(&ann.get("/chat").await.body), ["Welcome Chat"]);
}

#[tokio::test]
async fn deleting_a_chat_ends_its_answer() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "hold", "rest").await;
    app.stub().wait_live(1).await;
    assert_eq!(app.post(&ann, &format!("{chat}/delete"), &[]).await.status, 303);
    app.stub().wait_live(0).await;
    app.settle().await;
    assert_eq!(ann.get(&chat).await.status, 404);
}

/// SEC-91, SEC-100: for anybody else, an Admin too, a chat does not exist, by whatever route.
#[tokio::test]
async fn sec_91_100_other_peoples_chats_are_not_there() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "echo", "a secret plan").await;
    app.settle().await;
    let old = last(&ann.get(&chat).await.body).id;
    app.post(&ann, &format!("/messages/{old}/regenerate"), &[("model", "hold")]).await;
    let page = app.page_until(&ann, &chat, |page| last(page).answer().contains("three")).await;
    let live = last(&page);
    let stop = live.must("/stop");
    let before = titles(&page);
    for (name, role) in [("ben", "User"), ("root", "Admin")] {
        let other = app.person(name, role).await;
        let csrf = app.csrf(&other).await;
        for path in [chat.clone(), format!("{chat}?before={old}"), format!("{chat}/events")] {
            for reply in [other.get(&path).await, other.get_json(&path).await] {
                assert_eq!(reply.status, 404, "{path}");
                assert!(!reply.body.contains("secret plan"));
            }
        }
        let send = format!("{chat}/messages");
        for (path, fields) in [
            (send.as_str(), vec![("prompt", "let me in"), ("model", "echo")]),
            (send.as_str(), vec![("prompt", " "), ("model", "echo")]),
            (&format!("{chat}/rename"), vec![("title", "mine")]),
            (&format!("{chat}/delete"), vec![]),
            (&format!("/messages/{old}/regenerate"), vec![]),
            (&format!("/messages/{old}/regenerate"), vec![("model", "no-such-model")]),
            (&format!("/messages/{old}/show"), vec![]),
            (&stop, vec![]),
        ] {
            let page = app.post(&other, path, &fields).await;
            assert_eq!(page.status, 404, "{path} {fields:?}: {page:?}");
            assert!(!page.body.contains("secret plan"));
            let body: serde_json::Map<_, _> =
                fields.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
            let reply = other.post_json(path, Some(&csrf), &body.into()).await;
            // A program is told first what is wrong with the form itself; that says nothing of the chat.
            let form = fields.contains(&("prompt", " "));
            assert_eq!(reply.status, if form { 422 } else { 404 }, "{path} {fields:?}: {reply:?}");
        }
    }
    let page = ann.get(&chat).await.body;
    assert_eq!((titles(&page), last(&page).id, last(&page).state), (before, live.id, "streaming".to_owned()));
    app.stub().release();
    app.settle().await;
    assert_eq!(last(&ann.get(&chat).await.body).state, "done");
}

#[tokio::test]
async fn a_chat_keeps_its_model() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let (names, chosen) = models(&ann.get("/chat").await.body);
    assert!(names.contains(&"markdown".to_owned()) && !names.contains(&"demo".to_owned()), "{names:?}");
    assert_eq!(chosen, names[0]);
    let chat = app.prompt(&ann, "markdown", "x").await;
    app.settle().await;
    assert_eq!(models(&ann.get(&chat).await.body).1, "markdown");
    app.post(&ann, &format!("{chat}/messages"), &[("prompt", "x"), ("model", "reasoning")]).await;
    app.settle().await;
    let page = ann.get(&chat).await.body;
    assert_eq!(models(&page).1, "reasoning");
    let by: Vec<String> = messages(&page).into_iter().map(|message| message.by).collect();
    assert_eq!(by, ["You", "markdown", "You", "reasoning"]);
    assert!(!last(&page).answer().contains("I think"), "thoughts are not the answer");
}

/// The composer of a page that refused a prompt: status, error, draft, chosen model.
async fn refused(
    app: &TestApp,
    client: &Client,
    path: &str,
    fields: &[(&str, &str)],
) -> (u16, String, String, String) {
    let reply = app.post(client, path, fields).await;
    let error = reply.body.split("id=\"prompt-error\"").nth(1).unwrap_or_default();
    let error = text(error.split_once("<b>").unwrap_or_default().1.split("</b>").next().unwrap_or_default());
    (reply.status.as_u16(), error, composer(&reply.body), models(&reply.body).1)
}

#[tokio::test]
async fn a_prompt_that_is_not_taken_stays_in_the_composer() {
    let app = Wishes::default().models().set("ANTEROOM_MODELS__MAX_PROMPT_CHARS", "50").start().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "echo", &"ü".repeat(50)).await;
    app.settle().await;
    let long = format!("</textarea>\n{}", "ü".repeat(50));
    for path in ["/chat".to_owned(), format!("{chat}/messages")] {
        let (status, error, draft, model) =
            refused(&app, &ann, &path, &[("prompt", &long), ("model", "markdown")]).await;
        assert_eq!((status, draft, model.as_str()), (422, long.clone(), "markdown"));
        assert_eq!(error, "This prompt is too long: 62 characters, at most 50. Shorten it and send again.");
        let (status, error, draft, _) =
            refused(&app, &ann, &path, &[("prompt", " \n"), ("model", "echo")]).await;
        assert_eq!((status, error.as_str(), draft.as_str()), (422, "Write a prompt first.", " \n"));
        let (status, error, draft, model) =
            refused(&app, &ann, &path, &[("prompt", "Hm"), ("model", "gone")]).await;
        assert_eq!((status, draft.as_str()), (422, "Hm"));
        assert_eq!(error, "This model is not available any more. Choose another one.");
        assert_ne!(model, "gone");
    }
    let page = ann.get(&chat).await.body;
    assert_eq!((messages(&page).len(), titles(&page).len()), (2, 2), "nothing was kept of them");
}

/// The longest prompt fits through the form in any script.
#[tokio::test]
async fn the_longest_prompt_goes_through_in_the_widest_letters() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let prompt = "🐦".repeat(32_000);
    let chat = app.prompt(&ann, "tokens-200", &prompt).await;
    app.settle().await;
    let shown = messages(&ann.get(&chat).await.body);
    assert_eq!((shown[0].html.as_str(), shown[1].state.as_str()), (prompt.as_str(), "done"));
}

#[tokio::test]
async fn a_second_prompt_waits_for_the_first_answer() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "hold", "rest").await;
    app.stub().wait_live(1).await;
    let (status, error, draft, model) =
        refused(&app, &ann, &format!("{chat}/messages"), &[("prompt", "too soon"), ("model", "echo")]).await;
    assert_eq!((status, draft.as_str(), model.as_str()), (409, "too soon", "echo"));
    assert!(error.starts_with("An answer is still being written in this chat."), "{error}");
    let csrf = app.csrf(&ann).await;
    let body = json!({ "prompt": "too soon", "model": "echo" });
    assert_eq!(ann.post_json(&format!("{chat}/messages"), Some(&csrf), &body).await.status, 409);
    // So does "answer again".
    let message = last(&ann.get(&chat).await.body).id;
    let again = app.post(&ann, &format!("/messages/{message}/regenerate"), &[]).await;
    assert_eq!((again.status.as_u16(), again.location()), (303, Some(chat.as_str())));
    assert!(ann.get(&chat).await.body.contains("An answer is still being written"));
    // Another chat goes on meanwhile.
    let other = app.prompt(&ann, "echo", "elsewhere").await;
    app.page_until(&ann, &other, |page| last(page).state == "done").await;
    app.stub().release();
    app.settle().await;
    let page = ann.get(&chat).await.body;
    assert_eq!((messages(&page).len(), last(&page).answer().as_str()), (2, "one two three rest"));
}

/// Of 20 prompts at once into one chat one is answered; none is half there.
#[tokio::test]
async fn prompts_at_once_make_one_answer() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "echo", "first").await;
    app.settle().await;
    let csrf = app.csrf(&ann).await;
    let path = format!("{chat}/messages");
    let tries: Vec<_> = (0..20)
        .map(|_| {
            let (ann, csrf, path) = (ann.clone(), csrf.clone(), path.clone());
            tokio::spawn(async move {
                ann.post(&path, &[("csrf_token", &csrf), ("prompt", "x"), ("model", "hold")]).await
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for task in tries {
        statuses.push(task.await.unwrap().status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1], statuses[19]), (303, 409, 409), "{statuses:?}");
    app.stub().release();
    app.settle().await;
    assert_eq!(messages(&ann.get(&chat).await.body).len(), 4);
}

#[tokio::test]
async fn earlier_messages_are_a_link_away() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "echo", "prompt 00").await;
    app.settle().await;
    for n in 1..15 {
        app.clock.advance(SECOND);
        app.post(
            &ann,
            &format!("{chat}/messages"),
            &[("prompt", &format!("prompt {n:02}")), ("model", "echo")],
        )
        .await;
        app.settle().await;
    }
    let page = ann.get(&chat).await.body;
    assert_eq!(messages(&page).len(), 20);
    let earlier = ann.get(&link(&page, "Earlier messages").unwrap()).await.body;
    assert_eq!(link(&earlier, "Earlier messages"), None);
    let all: Vec<String> =
        messages(&earlier).iter().chain(&messages(&page)).map(|message| message.text()).collect();
    let prompts: Vec<_> = all.into_iter().step_by(2).collect();
    assert_eq!(prompts, (0..15).map(|n| format!("prompt {n:02}")).collect::<Vec<_>>());
}

/// A page with 20 chats and 20 messages takes three statements: who asks, the thread, the list.
#[tokio::test]
async fn a_chat_page_takes_three_statements() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let me = app.app.accounts.find_person("ann").await.unwrap().unwrap().user.id;
    for _ in 0..25 {
        chat::chats::create(&app.app.db, &app.app.random, app.clock.now(), &me, None).await.unwrap();
    }
    app.clock.advance(HOUR);
    let chat = app.prompt(&ann, "markdown", "0").await;
    app.settle().await;
    for _ in 0..12 {
        app.clock.advance(SECOND);
        app.post(&ann, &format!("{chat}/messages"), &[("prompt", "1"), ("model", "markdown")]).await;
        app.settle().await;
    }
    let router = anteroom::router::router(&app.app);
    let cookie = format!("anteroom={}", ann.cookie("anteroom").unwrap());
    for path in [chat.as_str(), "/chat"] {
        let request = Request::get(path)
            .header("host", app.base.trim_start_matches("http://"))
            .header("cookie", &cookie)
            .body(Body::empty())
            .unwrap();
        let (response, statements) = base::db::count_statements(router.clone().oneshot(request)).await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(chats(&body).len(), 20);
        if path == chat {
            assert_eq!(messages(&body).len(), 20);
        }
        assert!((1..=3).contains(&statements), "{path} took {statements} statements");
    }
}

#[tokio::test]
async fn answers_have_versions_and_one_can_go_back() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "echo", "say this").await;
    app.settle().await;
    let first = last(&ann.get(&chat).await.body);
    assert!(!first.text().contains(" of "), "{}", first.text());
    app.clock.advance(SECOND);
    let again = app.post(&ann, &first.must("/regenerate"), &[("model", "markdown")]).await;
    assert_eq!((again.status.as_u16(), again.location()), (303, Some(chat.as_str())));
    app.settle().await;
    let page = ann.get(&chat).await.body;
    let second = last(&page);
    assert_eq!((messages(&page).len(), second.by.as_str()), (2, "markdown"));
    assert!(second.text().contains("2 of 2") && second.html.contains("<table"), "{}", second.html);
    // Back to the first one, and on from there.
    app.post(&ann, &second.must("/show"), &[]).await;
    let page = ann.get(&chat).await.body;
    assert_eq!((last(&page).id, last(&page).answer().as_str()), (first.id.clone(), "say this"));
    assert!(last(&page).text().contains("1 of 2"));
    app.clock.advance(SECOND);
    app.post(&ann, &format!("{chat}/messages"), &[("prompt", "go on"), ("model", "echo")]).await;
    app.settle().await;
    let told = app.stub().requests().pop().unwrap();
    let told: Vec<_> =
        told.body["messages"].as_array().unwrap().iter().map(|m| m["content"].as_str().unwrap()).collect();
    assert_eq!(told, ["say this", "say this", "go on"]);
    // The other version has no such continuation; coming back finds it again.
    let page = ann.get(&chat).await.body;
    let shown = messages(&page);
    assert_eq!(shown.len(), 4);
    app.post(&ann, &shown[1].must("/show"), &[]).await;
    assert_eq!(messages(&ann.get(&chat).await.body).len(), 2);
    app.post(&ann, &format!("/messages/{}/show", first.id), &[]).await;
    assert_eq!(messages(&ann.get(&chat).await.body).len(), 4);
}

#[tokio::test]
async fn a_greeting_is_not_answered_again() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let page = ann.get("/chat").await.body;
    let (welcome, _) = chats(&page).remove(0);
    let page = ann.get(&welcome).await.body;
    let greeting = last(&page);
    assert!(greeting.text().contains("Hello Given, welcome to Anteroom"), "{}", greeting.text());
    assert_eq!(greeting.action("/regenerate"), None);
    let tried = app.post(&ann, &format!("/messages/{}/regenerate", greeting.id), &[]).await;
    assert_eq!(tried.status, 303);
    assert_eq!(messages(&ann.get(&welcome).await.body).len(), 1);
    // It is a chat like any other, but no model is told of the greeting.
    app.post(&ann, &format!("{welcome}/messages"), &[("prompt", "hi"), ("model", "echo")]).await;
    app.settle().await;
    assert_eq!(last(&ann.get(&welcome).await.body).answer(), "hi");
    assert_eq!(app.stub().requests().pop().unwrap().body["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn stop_keeps_the_text_and_hangs_up() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "hold", "rest").await;
    let page = app.page_until(&ann, &chat, |page| last(page).answer() == "one two three").await;
    assert_eq!(last(&page).state, "streaming");
    let stop = last(&page).must("/stop");
    let stopped = app.post(&ann, &stop, &[]).await;
    assert_eq!((stopped.status.as_u16(), stopped.location()), (303, Some(chat.as_str())));
    app.stub().wait_live(0).await;
    app.settle().await;
    let page = ann.get(&chat).await.body;
    let answer = last(&page);
    assert_eq!((answer.state.as_str(), answer.answer().as_str()), ("stopped", "one two three"));
    assert!(answer.text().contains("Stopped. What had arrived is kept."), "{}", answer.text());
    // A second Stop changes nothing, and the prompt can be answered again.
    assert_eq!(app.post(&ann, &stop, &[]).await.status, 303);
    assert_eq!(last(&ann.get(&chat).await.body).state, "stopped");
    app.post(&ann, &answer.must("/regenerate"), &[("model", "echo")]).await;
    app.settle().await;
    assert_eq!(last(&ann.get(&chat).await.body).answer(), "rest");
}

/// Stop before the first word.
#[tokio::test]
async fn stop_while_the_model_thinks() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "slow", "x").await;
    app.stub().wait_live(1).await;
    let thinking = last(&ann.get(&chat).await.body);
    assert!(thinking.text().contains("Thinking…"), "{}", thinking.text());
    app.post(&ann, &thinking.must("/stop"), &[]).await;
    app.stub().wait_live(0).await;
    app.settle().await;
    let stopped = last(&ann.get(&chat).await.body);
    assert_eq!((stopped.state.as_str(), stopped.answer().as_str()), ("stopped", ""));
}

/// Without any model the built-in demo answers, and says what it is.
#[tokio::test]
async fn the_demo_answers_without_a_model_server() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    assert_eq!(models(&ann.get("/chat").await.body), (vec!["demo".to_owned()], "demo".to_owned()));
    let reply = app.post(&ann, "/chat", &[("prompt", "Is anybody there?")]).await;
    app.settle().await;
    let answer = last(&ann.get(reply.location().unwrap()).await.body);
    assert_eq!((answer.state.as_str(), answer.by.as_str()), ("done", "demo"));
    assert!(answer.text().contains("demo"), "{}", answer.text());
}
