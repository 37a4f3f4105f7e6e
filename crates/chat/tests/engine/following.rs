//! Followers: equal, resumable, on another process too.

use chat::{Event, State, render};

use crate::house::{House, blocks, next, rest, states, until};

#[tokio::test(flavor = "multi_thread")]
async fn two_followers_get_equal_blocks_and_a_new_one_all_of_them() {
    let house = House::new().await;
    let started = house.prompt(None, "hi").await;
    let mut call = house.stub.stream().await;
    let (mut one, mut two) = (house.follow(&started, None).await, house.follow(&started, None).await);
    let words = ["# Title\n\n", "Some ", "*text*.\n\n", "```rust\nfn ", "main() {}\n```\n", "\nEnd."];
    for word in words {
        call.say(word).await;
    }
    until(&mut one, "End.").await;
    let mut three = house.follow(&started, None).await;
    assert_eq!(states(&[next(&mut three).await]), [State::Streaming]);
    call.done().await;
    rest(&mut one).await;
    let (two, three) = (rest(&mut two).await, rest(&mut three).await);
    assert_eq!(blocks(&two), blocks(&three));
    assert_eq!(blocks(&two), render::render(&words.concat()));
    assert_eq!(states(&three), [State::Done]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_follower_gets_only_what_changed_since() {
    let house = House::new().await;
    let started = house.prompt(None, "hi").await;
    let mut call = house.stub.stream().await;
    let mut follow = house.follow(&started, None).await;
    call.say("First.\n\nSecond.\n\nThi").await;
    let last = until(&mut follow, "Thi").await;
    drop(follow);
    call.say("rd.").await;
    let mut again = house.follow(&started, Some(last.id())).await;
    assert!(matches!(until(&mut again, "Third.").await, Event::Block { index: 2, .. }));
    let page = house.answer(&started).await;
    assert!(page.live() && page.html.contains("Third."));
    call.done().await;
    assert_eq!(states(&rest(&mut again).await), [State::Done]);

    // Its end came while the client was away: what there is and the end, once.
    let mut late = house.follow(&started, page.event_id.as_deref()).await;
    let events = rest(&mut late).await;
    assert_eq!(blocks(&events), render::render("First.\n\nSecond.\n\nThird."));
    assert_eq!(states(&events), [State::Done]);
    let end = format!("{}.end", started.generation_id);
    assert!(house.follow(&started, Some(&end)).await.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_can_go_on_from_what_it_shows() {
    let house = House::new().await;
    let started = house.prompt(None, "hi").await;
    let mut call = house.stub.stream().await;
    let mut watch = house.follow(&started, None).await;
    call.say("Shown").await;
    until(&mut watch, "Shown").await;
    let page = house.answer(&started).await;
    let mut follow = house.follow(&started, page.event_id.as_deref()).await;
    call.say(" and more").await;
    assert!(matches!(next(&mut follow).await, Event::Block { html, .. } if html.contains("Shown and more")));
    call.done().await;
    rest(&mut follow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_missed_answer_comes_before_the_live_one() {
    let house = House::new().await;
    let started = house.prompt(None, "one").await;
    let mut call = house.stub.stream().await;
    let mut follow = house.follow(&started, None).await;
    call.say("first").await;
    let last = until(&mut follow, "first").await;
    drop(follow);
    call.done().await;
    house.end_of(&started).await;
    let second = house.prompt(Some(&started.chat_id), "two").await;
    let mut call = house.stub.stream().await;
    call.say("second").await;
    let mut follow = house.follow(&started, Some(last.id())).await;
    assert!(matches!(next(&mut follow).await, Event::Block { html, .. } if html.contains("first")));
    let end = next(&mut follow).await;
    assert_eq!(states(&[end]), [State::Done]);
    let event = until(&mut follow, "second").await;
    assert!(event.id().starts_with(&second.generation_id));
    call.done().await;
    rest(&mut follow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_follows_and_stops() {
    let house = House::new().await;
    let started = house.prompt(None, "hi").await;
    let mut call = house.stub.stream().await;
    let mut here = house.follow(&started, None).await;
    call.say("Some text").await;
    until(&mut here, "Some text").await;
    house.engine.tick().await.unwrap();

    let other = house.another_engine();
    let mut there = other.follow("ann", &started.chat_id, None).await.unwrap().unwrap();
    let event = until(&mut there, "Some text").await;
    // Its numbers are its own: resumed at the writer, they give all of it.
    let mut resumed = house.follow(&started, Some(event.id())).await;
    until(&mut resumed, "Some text").await;
    let page = other.thread("ann", &started.chat_id, 20, None).await.unwrap().unwrap();
    assert!(page.messages[1].live() && page.messages[1].html.contains("Some text"));

    assert_eq!(other.stop("ann", &started.generation_id).await.unwrap(), started.chat_id);
    house.engine.tick().await.unwrap();
    assert_eq!(states(&rest(&mut there).await), [State::Stopped]);
    call.hung_up().await;
    assert_eq!(house.stored_text(&started.message_id).await, "Some text");
}
