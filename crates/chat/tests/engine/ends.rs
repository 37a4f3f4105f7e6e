//! How answers end: stopped, failed, cut off with their server, deleted; nothing is lost and
//! nothing counts twice.

use std::time::Duration;

use base::{SECOND, args, sql};
use chat::{ChatError, Event, State, failure_words};

use crate::house::{House, LONG, rest, states, until};

#[tokio::test(flavor = "multi_thread")]
async fn stopping_keeps_what_has_come() {
    let house = House::new().await;
    let started = house.prompt(None, "hi").await;
    let mut call = house.stub.stream().await;
    let mut follow = house.follow(&started, None).await;
    call.say("Half an ans").await;
    until(&mut follow, "Half an ans").await;
    assert_eq!(house.engine.stop("ann", &started.message_id).await.unwrap(), started.chat_id);
    call.hung_up().await;
    assert_eq!(states(&rest(&mut follow).await), [State::Stopped]);
    let answer = house.answer(&started).await;
    assert!(answer.html.contains("Half an ans"));
    let ledger = house.ledger(&started.generation_id).await;
    assert_eq!((ledger[0].0.as_str(), ledger[0].3.as_str()), ("stopped", "estimated"));
    // Twice is once.
    house.engine.stop("ann", &started.generation_id).await.unwrap();
    assert_eq!(house.ledger(&started.generation_id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_counts_before_the_first_token_too() {
    let house = House::new().await;
    let started = house.prompt(None, "hi").await;
    let call = house.stub.call().await;
    house.engine.stop("ann", &started.generation_id).await.unwrap();
    call.hung_up().await;
    assert_eq!(house.end_of(&started).await, State::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_show_on_the_message_and_their_cause_to_the_admin() {
    let house = House::new().await;
    let started = house.prompt(None, "hi").await;
    house.stub.call().await.refuse(401, "bad key").await;
    assert_eq!(house.end_of(&started).await, State::Failed);
    let generation = house.answer(&started).await.generation.unwrap();
    let code = generation.error_code.unwrap();
    assert_eq!(code, "unauthorized");
    assert!(failure_words(&code).contains("refused this site's key"));
    assert_eq!(house.ledger(&started.generation_id).await, [("failed".into(), 0, 0, "estimated".into())]);
    let errors = accounts::errors::list(&house.db, None).await.unwrap();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].cause.contains("bad key") && errors[0].subject.as_deref() == Some("m"));

    // A cut stream keeps its text; the answer to a second try stands beside it.
    house.clock.advance(1_000);
    let again = house.engine.regenerate("ann", &started.message_id, None).await.unwrap();
    let mut call = house.stub.stream().await;
    let mut follow = house.follow(&again, None).await;
    call.say("Kept").await;
    until(&mut follow, "Kept").await;
    drop(call);
    let events = rest(&mut follow).await;
    assert!(matches!(events.last(), Some(Event::State { generation, .. })
        if generation.error_code.as_deref() == Some("cut")));
    let answer = house.answer(&again).await;
    assert!(answer.html.contains("Kept") && answer.siblings() == (2, 2));
}

/// SEC-100: what the chat says is in no cause, whether the server quotes it before or within its answer.
#[tokio::test(flavor = "multi_thread")]
async fn sec_100_causes_do_not_quote_the_chat() {
    let house = House::new().await;
    let prompt = "My salary is 4711 gold\nand this is secret";
    let started = house.prompt(None, prompt).await;
    house.stub.call().await.refuse(400, &format!("invalid message: {prompt}\0")).await;
    assert_eq!(house.end_of(&started).await, State::Failed);

    let started = house.prompt(Some(&started.chat_id), "And now?").await;
    let mut call = house.stub.stream().await;
    let mut follow = house.follow(&started, None).await;
    call.say("Your answer is the number 42.").await;
    until(&mut follow, "42").await;
    call.fail(&format!("crashed on {prompt:?} and on: Your answer is the number 42.")).await;
    rest(&mut follow).await;
    let errors = accounts::errors::list(&house.db, None).await.unwrap();
    let mut causes: Vec<&str> = errors.iter().map(|error| error.cause.as_str()).collect();
    causes.sort_unstable();
    assert_eq!(
        causes,
        [
            "bad_request: HTTP 400: invalid message: *** ",
            "server: error in the answer: crashed on \"***\" and on: ***"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_grows_too_long_is_ended_with_its_text() {
    let house = House::new().await;
    let started = house.prompt(None, "hi").await;
    let mut call = house.stub.stream().await;
    let line = format!("{}\n\n", "word ".repeat(2_000));
    // It hangs up when it has had enough.
    let sender = tokio::spawn(async move {
        for _ in 0..210 {
            call.say(&line).await;
        }
        call.hung_up().await;
    });
    assert_eq!(house.end_of(&started).await, State::Failed);
    let _ = sender.await;
    let code = house.answer(&started).await.generation.unwrap().error_code;
    assert_eq!(code.as_deref(), Some("too_long"));
    assert!(house.stored_text(&started.message_id).await.len() > 2 << 20);
}

/// As after kill -9: the rows stay as the last tick left them, and another process begins.
#[tokio::test(flavor = "multi_thread")]
async fn the_reaper_marks_what_a_dead_process_left_and_keeps_its_text() {
    let house = House::new().await;
    let started = house.prompt(None, "hi").await;
    let mut call = house.stub.stream().await;
    let mut follow = house.follow(&started, None).await;
    house.clock.advance(SECOND);
    call.say("Partial *text*").await;
    until(&mut follow, "Partial").await;
    house.clock.advance(SECOND);
    house.engine.tick().await.unwrap();
    assert_eq!(house.stored_text(&started.message_id).await, "Partial *text*");
    house.clock.advance(20 * SECOND);
    assert_eq!(house.engine.reap().await.unwrap(), 0, "its own are alive");

    let next = house.another_engine();
    assert_eq!(next.reap().await.unwrap(), 1);
    assert_eq!(next.reap().await.unwrap(), 0);
    let page = next.thread("ann", &started.chat_id, 20, None).await.unwrap().unwrap();
    let generation = page.messages[1].generation.clone().unwrap();
    assert_eq!(generation.state, State::Interrupted);
    assert_eq!((generation.duration_micros, generation.ttft_micros), (Some(2 * SECOND), Some(SECOND)));
    assert!(page.messages[1].html.contains("<em>text</em>"));
    assert_eq!(house.ledger(&started.generation_id).await[0].0, "interrupted");

    // It was not dead after all: its text is kept, the ledger has it once, and it is told the end.
    call.say(" and its end").await;
    until(&mut follow, "and its end").await;
    call.done().await;
    assert_eq!(states(&rest(&mut follow).await), [State::Interrupted]);
    assert_eq!(house.stored_text(&started.message_id).await, "Partial *text* and its end");
    assert_eq!(house.ledger(&started.generation_id).await.len(), 1);
    // There is a way on.
    house.clock.advance(1_000);
    let again = next.regenerate("ann", &started.message_id, None).await.unwrap();
    let mut call = house.stub.stream().await;
    call.say("ok").await;
    call.done().await;
    let mut follow = next.follow("ann", &again.chat_id, None).await.unwrap().unwrap();
    assert_eq!(states(&rest(&mut follow).await).last(), Some(&State::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_cannot_be_written_is_tried_again() {
    let house = House::new().await;
    let started = house.prompt(None, "hi").await;
    let mut call = house.stub.stream().await;
    // The transaction fails until the trigger is gone.
    let trigger = sql!(
        "CREATE TRIGGER in_the_way BEFORE UPDATE OF html ON messages BEGIN SELECT RAISE(ABORT, 'full'); END"
    );
    house.db.run(trigger, &[]).await.unwrap();
    let mut follow = house.follow(&started, None).await;
    call.say("Precious").await;
    call.done().await;
    until(&mut follow, "Precious").await;
    // Its text is still shown, and it is still alive for everyone.
    assert!(tokio::time::timeout(Duration::from_millis(300), follow.next()).await.is_err());
    house.engine.tick().await.unwrap();
    let page = house.answer(&started).await;
    assert!(page.live() && page.html.contains("Precious"));
    house.db.run(sql!("DROP TRIGGER in_the_way"), &[]).await.unwrap();
    assert_eq!(states(&rest(&mut follow).await), [State::Done]);
    assert_eq!(house.stored_text(&started.message_id).await, "Precious");
    assert_eq!(house.ledger(&started.generation_id).await, [("done".into(), 11, 7, "reported".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_then_keeps_what_has_come() {
    let house = House::new().await;
    let (short, long) = (house.prompt(None, "short").await, house.stub.stream().await);
    // The first connection belongs to the first prompt.
    let mut short_call = long;
    let long = house.prompt(None, "long").await;
    let mut long_call = house.stub.stream().await;
    let mut follow = house.follow(&long, None).await;
    long_call.say("As far as it came").await;
    until(&mut follow, "As far as").await;
    let engine = house.engine.clone();
    let shutdown = tokio::spawn(async move { engine.shutdown(Duration::from_millis(500)).await });
    while !matches!(house.engine.start("ann", None, "late", "m").await, Err(ChatError::Closing)) {
        tokio::task::yield_now().await;
    }
    short_call.say("In time").await;
    short_call.done().await;
    tokio::time::timeout(LONG, shutdown).await.unwrap().unwrap();
    assert_eq!(house.engine.live_count(), 0);
    assert_eq!(states(&rest(&mut follow).await), [State::Interrupted]);
    assert_eq!(house.answer(&short).await.generation.unwrap().state, State::Done);
    let cut = house.answer(&long).await;
    assert_eq!(cut.generation.unwrap().state, State::Interrupted);
    assert!(cut.html.contains("As far as it came"));
    assert_eq!(house.ledger(&long.generation_id).await[0].0, "interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_chat_stops_its_answer_and_what_was_used_still_counts() {
    let house = House::new().await;
    let started = house.prompt(None, "hi").await;
    let mut call = house.stub.stream().await;
    let mut follow = house.follow(&started, None).await;
    call.say("word").await;
    until(&mut follow, "word").await;
    house.engine.delete("ann", &started.chat_id).await.unwrap();
    call.hung_up().await;
    assert!(house.engine.thread("ann", &started.chat_id, 20, None).await.unwrap().is_none());
    assert_eq!(house.ledger(&started.generation_id).await.len(), 1);

    // The same when the rows go without the engine's knowledge (a person is removed).
    let started = house.prompt(None, "hi").await;
    let mut call = house.stub.stream().await;
    let mut follow = house.follow(&started, None).await;
    call.say("word").await;
    until(&mut follow, "word").await;
    house.db.run(sql!("DELETE FROM users WHERE id = 'ann'"), &[]).await.unwrap();
    house.engine.tick().await.unwrap();
    call.hung_up().await;
    rest(&mut follow).await;
    assert_eq!(house.ledger(&started.generation_id).await.len(), 1);
    assert_eq!(house.engine.live_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tick_saves_all_that_run() {
    let house = House::new().await;
    let mut running = Vec::new();
    for n in 0..5 {
        let started = house.prompt(None, &format!("prompt {n}")).await;
        let mut call = house.stub.stream().await;
        let mut follow = house.follow(&started, None).await;
        call.say(&format!("text \u{1F600} {n}")).await;
        until(&mut follow, "text").await;
        running.push((started, call));
    }
    let (done, statements) = base::db::count_statements(house.engine.tick()).await;
    done.unwrap();
    assert_eq!(statements, 2);
    for (n, (started, _)) in running.iter().enumerate() {
        assert_eq!(house.stored_text(&started.message_id).await, format!("text \u{1F600} {n}"));
        let state: Option<String> = house
            .db
            .one(sql!("SELECT state FROM generations WHERE id = $1"), args![&started.generation_id])
            .await
            .unwrap();
        assert_eq!(state.as_deref(), Some("streaming"));
    }
    let (_, statements) = base::db::count_statements(house.engine.tick()).await;
    assert_eq!(statements, 1, "nothing grew: the heartbeat alone");
    for (started, call) in running {
        call.done().await;
        house.end_of(&started).await;
    }
    let (_, statements) = base::db::count_statements(house.engine.tick()).await;
    assert_eq!(statements, 0);
}
