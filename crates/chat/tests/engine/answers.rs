//! A prompt and its answer: what is stored, shown and told to the model.

use base::db::count_statements;
use base::{args, sql};
use chat::{ChatError, Event, Role, State, chats, render};

use crate::house::{House, NOW, blocks, next, rest, states, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_through_its_states_in_order() {
    let house = House::new().await;
    let started = house.prompt(None, "What is 1+1?\r\nPlease.  \n").await;
    let mut follow = house.follow(&started, None).await;
    let call = house.stub.call().await;
    let Event::State { generation, message, .. } = next(&mut follow).await else { panic!("a block first") };
    assert!(matches!(generation.state, State::Queued | State::Thinking));
    assert_eq!((&*message, generation.id.as_str()), (&*started.message_id, &*started.generation_id));
    assert_eq!(call.told(), [("user".into(), "What is 1+1?\nPlease.".into())]);
    house.clock.advance(250_000);
    drop(call);

    // The upstream failed before its first token: the prompt is kept, and asked again.
    assert_eq!(states(&rest(&mut follow).await).last(), Some(&State::Failed));
    house.clock.advance(1_000);
    let again = house.engine.regenerate("ann", &started.message_id, None).await.unwrap();
    let mut call = house.stub.stream().await;
    house.clock.advance(250_000);
    let mut follow = house.follow(&again, None).await;
    call.say("It is ").await;
    until(&mut follow, "It is").await;
    house.clock.advance(750_000);
    call.say("**two**.").await;
    until(&mut follow, "<strong>two</strong>").await;
    call.done().await;
    let events = rest(&mut follow).await;
    assert_eq!(states(&events), [State::Done]);
    let Some(Event::State { id, generation, .. }) = events.last() else { panic!("no state") };
    assert_eq!(*id, format!("{}.end", again.generation_id));
    assert_eq!((generation.ttft_micros, generation.duration_micros), (Some(250_000), Some(1_000_000)));
    assert_eq!(generation.tokens_out, Some(7));

    let answer = house.answer(&again).await;
    assert_eq!(answer.html, chat::html::join(&render::render("It is **two**.")));
    assert_eq!(answer.generation.as_ref(), Some(generation));
    assert_eq!(house.ledger(&again.generation_id).await, [("done".into(), 11, 7, "reported".into())]);
    assert_eq!(house.engine.live_count(), 0);
    let list = chats::list(&house.db, "ann", None, 20).await.unwrap();
    assert_eq!(list.items[0].title, "What is 1+1?");
    assert!(!list.items[0].live && list.next.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_model_answers_without_an_upstream() {
    let house = House::new().await;
    let started = house.engine.start("ann", None, "Hello there", upstream::DEMO).await.unwrap();
    let mut follow = house.follow(&started, None).await;
    let events = rest(&mut follow).await;
    assert_eq!(states(&events).last(), Some(&State::Done));
    let text = house.stored_text(&started.message_id).await;
    assert!(text.contains("built-in demo"));
    assert_eq!(blocks(&events), render::render(&text));
    assert_eq!(house.answer(&started).await.html, chat::html::join(&render::render(&text)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_is_told_the_path_and_no_more_than_fits() {
    let house = House::new().await;
    let started = house.answered(None, "one", "first").await;
    let chat = Some(started.chat_id.as_str());
    house.answered(chat, "two", "second").await;
    // Another version of the second answer: the first version is not on the path any more.
    let thread = house.messages(&started.chat_id).await;
    house.clock.advance(1_000);
    let again = house.engine.regenerate("ann", &thread[3].id, Some("n")).await.unwrap();
    let mut call = house.stub.stream().await;
    assert_eq!(call.request["model"], "n");
    call.say("better").await;
    call.done().await;
    house.end_of(&again).await;
    let last = house.prompt(chat, "three").await;
    let call = house.stub.stream().await;
    let told = ["one", "first", "two", "better", "three"];
    assert_eq!(call.told().into_iter().map(|(_, text)| text).collect::<Vec<_>>(), told);
    house.engine.stop("ann", &last.generation_id).await.unwrap();
    call.hung_up().await;
    house.end_of(&last).await;

    // 200,000 characters fit: one prompt with 31,990 of them six times, and the newest.
    for _ in 0..7 {
        house.answered(chat, &"x".repeat(31_990), "y").await;
    }
    let last = house.prompt(chat, "end").await;
    let mut call = house.stub.stream().await;
    let told = call.told();
    assert_eq!(told.len(), 13, "six prompts with answers, and the newest");
    assert_eq!((told[0].0.as_str(), told[12].1.as_str()), ("user", "end"));
    call.say("ok").await;
    call.done().await;
    house.end_of(&last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_and_models_are_checked_in_words() {
    let house = House::new().await;
    for (prompt, model, part) in [
        (" \n ", "m", "Write a prompt"),
        ("hi", "gone", "not available"),
        (&"ä".repeat(32_001), "m", "at most 32000"),
    ] {
        let error = house.engine.start("ann", None, prompt, model).await.unwrap_err();
        assert!(matches!(&error, ChatError::Invalid(words) if words.contains(part)), "{error}");
    }
    assert!(house.engine.check_prompt(&"ä".repeat(32_000)).is_ok());
    assert_eq!(house.engine.check_prompt("a\0b\r\nc  ").unwrap(), "a\u{FFFD}b\nc");
    assert!(chats::list(&house.db, "ann", None, 20).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_answer_a_chat_at_a_time_also_in_a_race() {
    let house = House::new().await;
    let chat = chats::create(&house.db, &house.random, NOW, "ann", Some("m")).await.unwrap();
    let tries: Vec<_> = (0..20)
        .map(|_| {
            let (engine, chat) = (house.engine.clone(), chat.clone());
            tokio::spawn(async move { engine.start("ann", Some(&chat), "hi", "m").await })
        })
        .collect();
    let (mut begun, mut busy) = (Vec::new(), 0);
    for task in tries {
        match task.await.unwrap() {
            Ok(started) => begun.push(started),
            Err(ChatError::Busy) => busy += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((begun.len(), busy), (1, 19));
    assert_eq!(house.engine.live_count(), 1);
    assert_eq!(house.messages(&chat).await.len(), 2);
    assert!(chats::list(&house.db, "ann", None, 20).await.unwrap().items[0].live);
    house.engine.stop("ann", &begun[0].message_id).await.unwrap();
    house.end_of(&begun[0]).await;
}

/// The page's promise: its thread and its list are one statement each.
#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_one_statement_and_so_is_the_list() {
    let house = House::new().await;
    let mut started = house.answered(None, "prompt 0", "answer 0").await;
    for n in 1..12 {
        started =
            house.answered(Some(&started.chat_id), &format!("prompt {n}"), &format!("answer {n}")).await;
    }
    let chat = &started.chat_id;
    let (thread, statements) = count_statements(house.engine.thread("ann", chat, 20, None)).await;
    let thread = thread.unwrap().unwrap();
    assert_eq!((statements, thread.messages.len(), thread.has_earlier), (1, 20, true));
    assert_eq!(thread.messages[0].text, "prompt 2");
    assert!(thread.messages[19].html.contains("answer 11"));
    assert!(thread.messages.iter().all(|message| message.html.is_empty() == (message.role == Role::User)));

    let before = Some(thread.messages[0].id.as_str());
    let earlier = house.engine.thread("ann", chat, 20, before).await.unwrap().unwrap();
    assert_eq!((earlier.messages.len(), earlier.has_earlier), (4, false));
    assert_eq!(earlier.messages[0].text, "prompt 0");
    let (list, statements) = count_statements(chats::list(&house.db, "ann", None, 20)).await;
    assert_eq!((statements, list.unwrap().items.len()), (1, 1));
}

/// SEC-89: a mended renderer mends the past.
#[tokio::test(flavor = "multi_thread")]
async fn sec_89_html_of_an_older_renderer_is_made_anew_and_kept() {
    let house = House::new().await;
    let started = house.answered(None, "hi", "Hello *you*").await;
    house
        .db
        .run(
            sql!("UPDATE messages SET html = '<script>', renderer = 0 WHERE id = $1"),
            args![&started.message_id],
        )
        .await
        .unwrap();
    assert!(house.answer(&started).await.html.contains("<em>you</em>"));
    let kept: Option<(String, i64)> = house
        .db
        .one(sql!("SELECT html, renderer FROM messages WHERE id = $1"), args![&started.message_id])
        .await
        .unwrap();
    let (html, renderer) = kept.unwrap();
    assert!(html.contains("<em>you</em>") && renderer == render::VERSION);
    let (_, statements) = count_statements(house.engine.thread("ann", &started.chat_id, 20, None)).await;
    assert_eq!(statements, 1);
}
