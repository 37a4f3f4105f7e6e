//! The event stream of an answer, over real HTTP.

use std::time::Duration;

use base::HOUR;
use parts::http::Client;
use reqwest::Method;

use crate::harness::{TestApp, Wishes};
use crate::page::{last, text};
use crate::sse::{Event, Events};

async fn with_models() -> TestApp {
    Wishes::default().models().start().await
}

fn says(event: &Event, words: &str) -> bool {
    event.html().is_some_and(|html| text(html).contains(words))
}

/// What a page shows after these events: its blocks in order, joined.
fn shown(events: &[Event]) -> String {
    let mut blocks = std::collections::BTreeMap::new();
    for event in events.iter().filter(|event| event.name == "block") {
        blocks.insert(event.data["index"].as_u64().unwrap(), event.html().unwrap().to_owned());
    }
    blocks.into_values().collect()
}

#[tokio::test]
async fn a_stream_tells_states_and_blocks_and_says_goodbye() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "hold", "rest").await;
    let mut stream = Events::open(&ann, &chat, None).await;
    let first = stream.until(|event| says(event, "three")).await;
    assert!(first.iter().any(|event| event.state() == Some("streaming")), "{first:?}");
    // Streaming is visible before the end.
    assert_eq!(app.stub().live(), 1);
    app.stub().release();
    let rest = stream.rest().await;
    let page = ann.get(&chat).await.body;
    let answer = last(&page);
    let generation = first[0].id.as_deref().unwrap().split_once('.').unwrap().0.to_owned();
    let all: Vec<Event> = first.into_iter().chain(rest).collect();
    let (bye, told) = all.split_last().unwrap();
    assert_eq!((bye.name.as_str(), bye.id.as_deref()), ("bye", None));
    for event in told {
        assert_eq!(event.data["message"], answer.id.as_str(), "{event:?}");
        assert!(event.id.as_deref().is_some_and(|id| id.starts_with(&format!("{generation}."))), "{event:?}");
    }
    let numbers: Vec<u64> = told.iter().filter_map(Event::seq).collect();
    assert!(numbers.len() > 2 && numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let end = &told[told.len() - 1];
    assert_eq!((end.state(), end.id.clone()), (Some("done"), Some(format!("{generation}.end"))));
    // Who followed sees what the page shows.
    assert_eq!(text(&shown(told)), "one two three rest");
    assert!(page.contains(&shown(told)), "{page}");
}

#[tokio::test]
async fn a_stream_resumes_behind_the_last_event() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "hold", "x\n\nSecond paragraph.\n\nThird one.").await;
    let mut stream = Events::open(&ann, &chat, None).await;
    let first = stream.until(|event| says(event, "three")).await;
    let last_seen = first[first.len() - 1].clone();
    drop(stream);
    app.stub().release();
    app.settle().await;
    // It ended meanwhile: all of it comes that is newer than the whole answer's beginning, and the end.
    let resumed = Events::open(&ann, &chat, last_seen.id.as_deref()).await.rest().await;
    assert_eq!(resumed[resumed.len() - 2].state(), Some("done"));
    let all: Vec<Event> = first.iter().cloned().chain(resumed).collect();
    assert_eq!(text(&shown(&all)), "one two three x Second paragraph. Third one.");
    // With the id of the end there is nothing more to tell.
    let end = all.iter().rev().find_map(|event| event.id.clone()).unwrap();
    let names: Vec<String> = Events::open(&ann, &chat, Some(&end))
        .await
        .rest()
        .await
        .into_iter()
        .map(|event| event.name)
        .collect();
    assert_eq!(names, ["bye"]);
}

/// While an answer is live, only newer blocks are sent again.
#[tokio::test]
async fn a_live_stream_resumes_without_what_was_seen() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "hold", "rest").await;
    let mut stream = Events::open(&ann, &chat, None).await;
    let first = stream.until(|event| says(event, "three")).await;
    drop(stream);
    let id = first[first.len() - 1].id.clone().unwrap();
    let mut stream = Events::open(&ann, &chat, Some(&id)).await;
    let quiet = tokio::time::timeout(Duration::from_millis(200), stream.next()).await;
    assert!(quiet.is_err(), "nothing is newer: {quiet:?}");
    app.stub().release();
    let rest = stream.rest().await;
    assert!(
        rest.iter().filter_map(Event::seq).all(|seq| seq > first[first.len() - 1].seq().unwrap()),
        "{rest:?}"
    );
    // Ids that no stream gave are no error: all of it comes.
    for odd in ["", "x", "1.2.3", &format!("{}.999999", id.split_once('.').unwrap().0)] {
        let all = Events::open(&ann, &chat, Some(odd)).await.rest().await;
        assert!(text(&shown(&all)).contains("rest"), "{odd:?}: {all:?}");
    }
}

#[tokio::test]
async fn two_followers_see_the_same_and_one_that_leaves_changes_nothing() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "hold", "the rest\n\n- of\n- it").await;
    let mut streams = [
        Events::open(&ann, &chat, None).await,
        Events::open(&ann, &chat, None).await,
        Events::open(&ann, &chat, None).await,
    ];
    let mut seen = Vec::new();
    for stream in &mut streams {
        seen.push(stream.until(|event| says(event, "three")).await);
    }
    let [one, two, gone] = streams;
    drop(gone);
    assert_eq!(app.stub().live(), 1, "the model is asked on");
    app.stub().release();
    for (stream, seen) in [one, two].iter_mut().zip(&mut seen) {
        seen.extend(stream.rest().await);
    }
    assert_eq!(shown(&seen[0]), shown(&seen[1]));
    assert!(text(&shown(&seen[0])).ends_with("of it"), "{}", shown(&seen[0]));
    assert_eq!(last(&ann.get(&chat).await.body).state, "done");
}

/// Nobody follows, nobody is signed in: the answer is written all the same.
#[tokio::test]
async fn an_answer_needs_no_listener() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "hold", "rest").await;
    let mut stream = Events::open(&ann, &chat, None).await;
    stream.until(|event| says(event, "three")).await;
    drop(stream);
    app.post(&ann, "/logout", &[]).await;
    app.stub().release();
    app.settle().await;
    app.sign_in(&ann, "ann").await;
    assert_eq!(last(&ann.get(&chat).await.body).answer(), "one two three rest");
}

#[tokio::test]
async fn a_finished_chat_tells_its_end_and_closes() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "echo", "short").await;
    app.settle().await;
    let events = Events::open(&ann, &chat, None).await.rest().await;
    assert_eq!(text(&shown(&events)), "short");
    assert_eq!(events.iter().filter_map(Event::state).collect::<Vec<_>>(), ["done"]);
    assert_eq!(events[events.len() - 1].name, "bye");
}

/// Reads to the end of the stream, which must come without the answer's own end.
async fn closed(mut stream: Events) {
    let rest = tokio::time::timeout(parts::PATIENCE, stream.rest()).await.unwrap();
    assert_eq!(rest.last().map(|event| event.name.as_str()), Some("bye"), "{rest:?}");
    assert!(
        !rest.iter().any(|event| matches!(event.state(), Some("done" | "stopped" | "failed"))),
        "{rest:?}"
    );
}

async fn following(app: &TestApp, client: &Client) -> (String, Events) {
    let chat = app.prompt(client, "hold", "rest").await;
    let mut stream = Events::open(client, &chat, None).await;
    stream.until(|event| says(event, "three")).await;
    (chat, stream)
}

/// SEC-80: deactivation closes the open stream, at once, and the stream cannot be opened again.
#[tokio::test]
async fn sec_80_deactivation_closes_open_streams() {
    let app = with_models().await;
    let admin = app.admin().await;
    let ann = app.user("ann").await;
    let (chat, stream) = following(&app, &ann).await;
    let id = app.app.accounts.find_person("ann").await.unwrap().unwrap().user.id;
    let done = app.post(&admin, &format!("/admin/users/{id}/deactivate"), &[]).await;
    assert_eq!(done.status, 303);
    closed(stream).await;
    let again = ann.get_json(&format!("{chat}/events")).await;
    assert_eq!(again.status, 401);
}

/// SEC-80: so does signing out, for that session alone.
#[tokio::test]
async fn sec_80_signing_out_closes_the_streams_of_that_session() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let elsewhere = app.anon();
    app.sign_in(&elsewhere, "ann").await;
    let (chat, stream) = following(&app, &ann).await;
    let mut other = Events::open(&elsewhere, &chat, None).await;
    app.post(&ann, "/logout", &[]).await;
    closed(stream).await;
    app.stub().release();
    let rest = other.rest().await;
    assert!(rest.iter().any(|event| event.state() == Some("done")), "{rest:?}");
}

/// SEC-80: so does a session that ends by the clock.
#[tokio::test]
async fn sec_80_an_expired_session_closes_its_streams() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let (_, stream) = following(&app, &ann).await;
    app.clock.advance(15 * 24 * HOUR);
    closed(stream).await;
}

/// SEC-3, SEC-80: so does the end of the days of grace for who has not set up a second factor.
#[tokio::test]
async fn sec_3_the_end_of_the_grace_closes_open_streams() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let (_, stream) = following(&app, &ann).await;
    let rules =
        accounts::SecondFactorRules { required_of_everyone: true, grace_days: 0, ..Default::default() };
    app.app.accounts.save_second_factor("test", &rules).await.unwrap();
    closed(stream).await;
    assert_eq!(ann.get_json("/api/v1/me").await.status, 401);
}

/// SEC-80: so does a demotion; what the person still may do, a new stream may too.
#[tokio::test]
async fn sec_80_a_demotion_closes_open_streams() {
    let app = with_models().await;
    let admin = app.admin().await;
    let second = app.person("second", "Admin").await;
    let (chat, stream) = following(&app, &second).await;
    let id = app.app.accounts.find_person("second").await.unwrap().unwrap().user.id;
    app.post(&admin, &format!("/admin/users/{id}/demote"), &[]).await;
    closed(stream).await;
    let mut again = Events::open(&second, &chat, None).await;
    app.stub().release();
    assert!(again.rest().await.iter().any(|event| event.state() == Some("done")));
}

/// SEC-89: what a model writes is sanitized in the stream as on the page.
#[tokio::test]
async fn sec_89_streamed_html_is_sanitized() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let chat = app.prompt(&ann, "hostile", "x").await;
    let events = Events::open(&ann, &chat, None).await.rest().await;
    app.settle().await;
    let page = last(&ann.get(&chat).await.body).html;
    let page =
        page.split_once("<div class=\"prose\">").unwrap().1.split("<footer").next().unwrap().to_owned();
    let streamed: String = events.iter().filter_map(Event::html).collect();
    assert!(text(&streamed).contains("The end of the hostile answer."), "{streamed}");
    for html in [&streamed, &page] {
        // Mark-up only: as text it may stand there.
        let tags: Vec<String> = html
            .split('<')
            .skip(1)
            .map(|rest| rest.split('>').next().unwrap_or_default().to_ascii_lowercase())
            .collect();
        for name in ["script", "img", "iframe", "form", "input", "object", "style", "link", "base"] {
            assert!(!tags.iter().any(|tag| tag.split([' ', '/']).next() == Some(name)), "{name} in {html}");
        }
        for part in [" on", " style=", " src=", "javascript:", "data:", " id="] {
            assert!(!tags.iter().any(|tag| tag.contains(part)), "{part} in {tags:?}");
        }
    }
}

/// SEC-91: nobody else's; and no stream at all for a chat that is not there.
#[tokio::test]
async fn sec_91_a_stream_is_its_owners() {
    let app = with_models().await;
    let ann = app.user("ann").await;
    let ben = app.user("ben").await;
    let (chat, _stream) = following(&app, &ann).await;
    for path in [format!("{chat}/events"), "/chat/nothing/events".to_owned()] {
        let request = ben.request(Method::GET, &path).header("accept", "text/event-stream");
        assert_eq!(ben.send(request.header("last-event-id", "1.1")).await.status, 404, "{path}");
    }
    assert_eq!(app.anon().get_json(&format!("{chat}/events")).await.status, 401);
}
