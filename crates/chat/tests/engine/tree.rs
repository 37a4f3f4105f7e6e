//! Versions of answers, other people's chats, deletion, the first chat.

use base::{args, sql};
use chat::{ChatError, Cursor, Role, Welcome, chats, select_version};

use crate::house::{House, NOW};

#[tokio::test(flavor = "multi_thread")]
async fn regenerating_makes_versions_that_can_be_shown_again() {
    let house = House::new().await;
    let first = house.answered(None, "one", "old answer").await;
    let chat = first.chat_id.as_str();
    let follow_up = house.answered(Some(chat), "two", "about the old one").await;
    house.clock.advance(1_000);
    let second = house.engine.regenerate("ann", &first.message_id, None).await.unwrap();
    assert_eq!(second.user_message_id, first.user_message_id);
    let mut call = house.stub.stream().await;
    call.say("new answer").await;
    call.done().await;
    house.end_of(&second).await;

    let thread = house.messages(chat).await;
    assert_eq!(thread.len(), 2);
    assert!(thread[1].html.contains("new answer"));
    assert_eq!(thread[1].siblings(), (2, 2));
    assert_eq!(thread[1].versions, [first.message_id.clone(), second.message_id.clone()]);
    assert_eq!(thread[0].siblings(), (1, 1));

    // The old one comes back with what followed it.
    assert_eq!(select_version(&house.db, "ann", &first.message_id).await.unwrap(), chat);
    let thread = house.messages(chat).await;
    assert_eq!(thread.len(), 4);
    assert_eq!(thread[3].id, follow_up.message_id);
    assert_eq!(thread[1].siblings(), (1, 2));

    // The prompt itself may be answered again too; a greeting answers nothing.
    house.clock.advance(1_000);
    let third = house.engine.regenerate("ann", &first.user_message_id, Some("n")).await.unwrap();
    house.stub.stream().await.done().await;
    house.end_of(&third).await;
    let answer = house.answer(&third).await;
    assert_eq!((answer.siblings(), answer.model.as_deref()), ((3, 3), Some("n")));
    assert_eq!(answer.generation.unwrap().error_code.as_deref(), Some("empty"));
}

/// SEC-91: someone else's is not found, whatever is asked of it.
#[tokio::test(flavor = "multi_thread")]
async fn sec_91_someone_elses_chat_is_not_found() {
    let house = House::new().await;
    let started = house.answered(None, "mine", "yours").await;
    let (engine, chat) = (&house.engine, started.chat_id.as_str());
    assert!(engine.thread("bob", chat, 20, None).await.unwrap().is_none());
    assert!(engine.thread("bob", chat, 20, Some(&started.message_id)).await.unwrap().is_none());
    assert!(engine.follow("bob", chat, None).await.unwrap().is_none());
    let last = format!("{}.1", started.generation_id);
    assert!(engine.follow("bob", chat, Some(&last)).await.unwrap().is_none());
    assert!(!chats::exists(&house.db, "bob", chat).await.unwrap());
    assert!(chats::list(&house.db, "bob", None, 20).await.unwrap().items.is_empty());
    let refused = [
        engine.start("bob", Some(chat), "hi", "m").await.unwrap_err(),
        engine.regenerate("bob", &started.message_id, None).await.unwrap_err(),
        engine.regenerate("bob", &started.message_id, Some("m")).await.unwrap_err(),
        engine.stop("bob", &started.generation_id).await.unwrap_err(),
        engine.stop("bob", &started.message_id).await.unwrap_err(),
        engine.delete("bob", chat).await.unwrap_err(),
        chats::rename(&house.db, "bob", chat, "mine").await.unwrap_err(),
        select_version(&house.db, "bob", &started.message_id).await.unwrap_err(),
    ];
    assert!(refused.iter().all(|error| matches!(error, ChatError::NotFound)), "{refused:?}");
    // Nor is a message of another chat of one's own a place in this one.
    let other = house.answered(None, "other", "chat").await;
    let mixed = engine.thread("ann", chat, 20, Some(&other.message_id)).await.unwrap().unwrap();
    assert!(mixed.messages.is_empty());
    assert_eq!(house.messages(chat).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_has_pages_a_search_and_names() {
    let house = House::new().await;
    for n in 0..5 {
        let id = chats::create(&house.db, &house.random, NOW + n / 2, "ann", None).await.unwrap();
        chats::rename(&house.db, "ann", &id, &format!("  Chat\t{n} 100% ")).await.unwrap();
    }
    let mut titles = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = chats::list(&house.db, "ann", after.as_ref(), 2).await.unwrap();
        titles.extend(page.items.into_iter().map(|item| item.title));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(titles.len(), 5);
    assert_eq!(titles[0], "Chat 4 100%");
    let found = chats::search(&house.db, "ann", "cHAT 3 100%", None, 20).await.unwrap();
    assert_eq!(found.items.len(), 1);
    assert!(chats::search(&house.db, "ann", "0_%", None, 20).await.unwrap().items.is_empty());
    let chat = &found.items[0].id;
    for title in ["", " \n", &"x".repeat(201)] {
        let error = chats::rename(&house.db, "ann", chat, title).await.unwrap_err();
        assert!(matches!(error, ChatError::Invalid(_)));
    }
    assert_eq!(chats::count_chats(&house.db).await.unwrap(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_names_its_chat_until_a_person_does() {
    let house = House::new().await;
    let chat = chats::create(&house.db, &house.random, NOW, "ann", None).await.unwrap();
    house.answered(Some(&chat), "The first prompt", "a").await;
    house.answered(Some(&chat), "The second prompt", "b").await;
    let title = |house: &House| {
        let db = house.db.clone();
        async move { chats::list(&db, "ann", None, 1).await.unwrap().items[0].title.clone() }
    };
    assert_eq!(title(&house).await, "The first prompt");
    chats::rename(&house.db, "ann", &chat, "Mine").await.unwrap();
    house.answered(Some(&chat), "The third prompt", "c").await;
    assert_eq!(title(&house).await, "Mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_welcome_chat_greets_and_can_be_gone_on_with() {
    let house = House::new().await;
    let mut tx = house.db.begin().await.unwrap();
    let welcome = Welcome { user_id: "ann", first_name: "Ann", site: "Anteroom", model: Some("m") };
    let chat = chat::welcome(&mut tx, &house.random, NOW, &welcome).await.unwrap();
    tx.commit().await.unwrap();
    let thread = house.engine.thread("ann", &chat, 20, None).await.unwrap().unwrap();
    assert_eq!((thread.chat.title.as_str(), thread.chat.model.as_deref()), ("Welcome Chat", Some("m")));
    assert_eq!((thread.messages.len(), thread.messages[0].role), (1, Role::Assistant));
    assert!(thread.messages[0].html.contains("Hello Ann"));
    let error = house.engine.regenerate("ann", &thread.messages[0].id, None).await.unwrap_err();
    assert!(matches!(error, ChatError::Invalid(_)));
    let started = house.prompt(Some(&chat), "hello").await;
    let call = house.stub.stream().await;
    assert_eq!(call.told(), [("user".into(), "hello".into())]);
    call.done().await;
    house.end_of(&started).await;
    assert_eq!(house.messages(&chat).await.len(), 3);
    assert_eq!(chats::list(&house.db, "ann", None, 1).await.unwrap().items[0].title, "Welcome Chat");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_very_long_chat_can_be_deleted_and_its_owner_too() {
    let house = House::new().await;
    for (user, by_user) in [("ann", false), ("bob", true)] {
        let chat = chats::create(&house.db, &house.random, NOW, user, None).await.unwrap();
        let mut tx = house.db.begin().await.unwrap();
        let mut parent: Option<String> = None;
        for n in 0..3_000 {
            let id = house.random.id(NOW + n);
            tx.run(
                sql!(
                    "INSERT INTO messages (id, chat_id, parent_id, role, markdown, created_at)
                     VALUES ($1, $2, $3, 'user', 'x', $4)"
                ),
                args![&id, &chat, &parent, NOW],
            )
            .await
            .unwrap();
            parent = Some(id);
        }
        tx.commit().await.unwrap();
        if by_user {
            house.db.run(sql!("DELETE FROM users WHERE id = $1"), args![user]).await.unwrap();
        } else {
            house.engine.delete(user, &chat).await.unwrap();
        }
        let left: Vec<i64> = house
            .db
            .all(sql!("SELECT COUNT(*) FROM messages WHERE chat_id = $1"), args![&chat])
            .await
            .unwrap();
        assert_eq!(left, [0]);
    }
}
