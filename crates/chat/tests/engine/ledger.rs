//! The ledger and an answer's end: neither keeps the other from being written.

use base::{args, sql};
use chat::{ChatError, State};

use crate::house::{House, rest, states, until};

/// Counts that no model can have are cut, so that sums of them stay numbers and answers go on.
#[tokio::test(flavor = "multi_thread")]
async fn senseless_token_counts_harm_nothing() {
    let house = House::new().await;
    for _ in 0..2 {
        let started = house.prompt(None, "hi").await;
        let mut call = house.stub.stream().await;
        call.say("ok").await;
        call.done_with(i64::MAX as u64, u64::MAX).await;
        assert_eq!(house.end_of(&started).await, State::Done);
        let counted = ("done".into(), 1_000_000_000, 1_000_000_000, "reported".into());
        assert_eq!(house.ledger(&started.generation_id).await, [counted]);
    }
    let sums: Option<(i64, i64)> =
        house.db.one(sql!("SELECT tokens_in, tokens_out FROM usage_total"), &[]).await.unwrap();
    assert_eq!(sums, Some((2_000_000_000, 2_000_000_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_the_ledger_refuses_is_written_without_it() {
    let house = House::new().await;
    let trigger = sql!(
        "CREATE TRIGGER in_the_way BEFORE INSERT ON usage_total BEGIN SELECT RAISE(ABORT, 'out of range'); END"
    );
    house.db.run(trigger, &[]).await.unwrap();
    let started = house.answered(None, "hi", "Precious").await;
    assert_eq!(house.stored_text(&started.message_id).await, "Precious");
    assert_eq!(house.ledger(&started.generation_id).await, []);
    while accounts::errors::list(&house.db, None).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let errors = accounts::errors::list(&house.db, None).await.unwrap();
    assert_eq!((errors.len(), errors[0].kind.as_str()), (1, "usage"));
    assert!(errors[0].cause.contains("out of range"), "{errors:?}");
    // The chat goes on.
    house.answered(Some(&started.chat_id), "more", "and more").await;

    // So it does after a crash.
    let left = house.prompt(Some(&started.chat_id), "hi").await;
    let _call = house.stub.stream().await;
    assert_eq!(house.another_engine().reap().await.unwrap(), 1);
    assert!(
        !house
            .another_engine()
            .thread("ann", &left.chat_id, 20, None)
            .await
            .unwrap()
            .unwrap()
            .messages
            .iter()
            .any(|message| message.live())
    );
}

/// A commit that took effect though it seemed to fail, and a deletion right after it.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_written_already_is_not_tried_for_ever() {
    let house = House::new().await;
    let started = house.prompt(None, "hi").await;
    let mut call = house.stub.stream().await;
    let mut follow = house.follow(&started, None).await;
    call.say("word").await;
    until(&mut follow, "word").await;
    let row = sql!(
        "INSERT INTO usage_events (id, at, user_id, model, purpose, outcome, tokens_in, tokens_out,
           tokens_source, duration_micros, cost_micros)
         VALUES ($1, 0, 'ann', 'm', 'chat', 'done', 0, 0, 'estimated', 0, 0)"
    );
    house.db.run(row, args![&started.generation_id]).await.unwrap();
    house.db.run(sql!("DELETE FROM chats WHERE id = $1"), args![&started.chat_id]).await.unwrap();
    call.done().await;
    assert_eq!(states(&rest(&mut follow).await).last(), Some(&State::Done));
    assert_eq!(house.engine.live_count(), 0);
    assert!(accounts::errors::list(&house.db, None).await.unwrap().is_empty());
}

/// As many answers at once as may be, also for prompts that come together; one person's are not another's.
#[tokio::test(flavor = "multi_thread")]
async fn answers_at_once_are_bounded_for_each_person() {
    let house = House::new().await;
    let prompts = (0..20).map(|_| {
        let engine = house.engine.clone();
        tokio::spawn(async move { engine.start("ann", None, "hi", "m").await })
    });
    let mut begun = Vec::new();
    for prompt in prompts.collect::<Vec<_>>() {
        match prompt.await.unwrap() {
            Ok(started) => begun.push(started),
            Err(ChatError::TooMany(8)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((begun.len(), house.engine.live_count()), (8, 8));
    let chats: Option<i64> = house.db.one(sql!("SELECT COUNT(*) FROM chats"), &[]).await.unwrap();
    assert_eq!(chats, Some(8), "a refused prompt leaves nothing");
    house.engine.start("bob", None, "hi", "m").await.unwrap();
    // One that ends makes room.
    house.engine.stop("ann", &begun[0].generation_id).await.unwrap();
    house.end_of(&begun[0]).await;
    while house.engine.live_count() > 8 {
        tokio::task::yield_now().await;
    }
    house.engine.start("ann", None, "hi", "m").await.unwrap();
}
