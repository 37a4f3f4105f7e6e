//! A database, people, an engine, and what the tests ask of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base::db::Location;
use base::{Clock, Db, Random, args, sql};
use chat::{Engine, Event, Follow, MessageView, Options, Started, State};
use upstream::{Endpoint, Http, Pool, Reach, Route, parse_base_url};

use crate::stub::Stub;

pub const NOW: i64 = 1_800_000_000_000_000;
pub const LONG: Duration = Duration::from_secs(20);

pub struct House {
    pub db: Db,
    pub clock: Clock,
    pub random: Random,
    pub engine: Engine,
    pub stub: Stub,
    folder: PathBuf,
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl House {
    /// With the people `ann` and `bob`, and the model `m`.
    pub async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("anteroom-chat-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let db = Db::open(&Location::Sqlite(folder.join("anteroom.db")), NOW).await.unwrap();
        for name in ["ann", "bob"] {
            db.run(
                sql!(
                    "INSERT INTO users (id, username, username_canonical, first_name, last_name, created_at, search)
                     VALUES ($1, $1, $1, $1, $1, 0, $1)"
                ),
                args![name],
            )
            .await
            .unwrap();
        }
        let (clock, random, stub) = (Clock::manual(NOW), Random::os(), Stub::new().await);
        let engine = engine(&db, &clock, &stub);
        Self { db, clock, random, engine, stub, folder }
    }

    /// Another process on the same database.
    pub fn another_engine(&self) -> Engine {
        engine(&self.db, &self.clock, &self.stub)
    }

    pub async fn prompt(&self, chat: Option<&str>, prompt: &str) -> Started {
        self.clock.advance(1_000);
        self.engine.start("ann", chat, prompt, "m").await.unwrap()
    }

    /// A prompt and its whole answer.
    pub async fn answered(&self, chat: Option<&str>, prompt: &str, answer: &str) -> Started {
        let started = self.prompt(chat, prompt).await;
        let mut call = self.stub.stream().await;
        call.say(answer).await;
        call.done().await;
        assert_eq!(self.end_of(&started).await, State::Done);
        started
    }

    pub async fn follow(&self, started: &Started, last: Option<&str>) -> Follow {
        self.engine.follow("ann", &started.chat_id, last).await.unwrap().unwrap()
    }

    /// Waits for the end.
    pub async fn end_of(&self, started: &Started) -> State {
        let mut follow = self.follow(started, None).await;
        let events = rest(&mut follow).await;
        match events.last() {
            Some(Event::State { generation, .. }) => generation.state,
            other => panic!("the last event is {other:?}"),
        }
    }

    pub async fn messages(&self, chat: &str) -> Vec<MessageView> {
        self.engine.thread("ann", chat, 50, None).await.unwrap().unwrap().messages
    }

    pub async fn answer(&self, started: &Started) -> MessageView {
        let mut messages = self.messages(&started.chat_id).await;
        messages.retain(|message| message.id == started.message_id);
        messages.pop().unwrap()
    }

    /// Outcome, tokens in, tokens out, source of a generation in the ledger.
    pub async fn ledger(&self, generation: &str) -> Vec<(String, i64, i64, String)> {
        self.db
            .all(
                sql!("SELECT outcome, tokens_in, tokens_out, tokens_source FROM usage_events WHERE id = $1"),
                args![generation],
            )
            .await
            .unwrap()
    }

    pub async fn stored_text(&self, message: &str) -> String {
        self.db
            .one(sql!("SELECT markdown FROM messages WHERE id = $1"), args![message])
            .await
            .unwrap()
            .unwrap()
    }
}

fn engine(db: &Db, clock: &Clock, stub: &Stub) -> Engine {
    let time = clock.clone();
    let pool = Pool::new(Http::new(&upstream::Options::default()).unwrap(), Arc::new(move || time.now()))
        .with_demo_pace(Duration::ZERO);
    let endpoint = Arc::new(Endpoint {
        id: "up".into(),
        name: "Stub".into(),
        base_url: parse_base_url(&stub.base_url).unwrap(),
        api_key: None,
        reach: Reach::Configured,
    });
    let routes =
        ["m", "n"].map(|model| Route { model: model.into(), endpoint: Arc::clone(&endpoint), order: 0 });
    pool.replace(routes.into());
    Engine::new(db.clone(), clock.clone(), Random::os(), Arc::new(pool), Options::default())
}

pub async fn next(follow: &mut Follow) -> Event {
    tokio::time::timeout(LONG, follow.next()).await.expect("an event in time").expect("an event")
}

/// All events until the end.
pub async fn rest(follow: &mut Follow) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = tokio::time::timeout(LONG, follow.next()).await.expect("an event in time") {
        events.push(event);
    }
    events
}

/// Reads until a block holds `text`; gives the last event.
pub async fn until(follow: &mut Follow, text: &str) -> Event {
    loop {
        let event = next(follow).await;
        if matches!(&event, Event::Block { html, .. } if html.contains(text)) {
            return event;
        }
    }
}

/// The states that were told.
pub fn states(events: &[Event]) -> Vec<State> {
    let state = |event: &Event| match event {
        Event::State { generation, .. } => Some(generation.state),
        Event::Block { .. } => None,
    };
    events.iter().filter_map(state).collect()
}

/// The blocks as a page has them after the events.
pub fn blocks(events: &[Event]) -> Vec<String> {
    let mut out = Vec::new();
    for event in events {
        if let Event::Block { index, html, .. } = event {
            if *index >= out.len() {
                out.resize(index + 1, String::new());
            }
            out[*index] = html.to_string();
        }
    }
    out
}
