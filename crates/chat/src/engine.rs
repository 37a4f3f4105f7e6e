//! The engine: it owns the generations of this process, which outlive the request that began them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base::{Clock, Db, DbError, Random, args, sql};
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use upstream::{Limits, Pool};

use crate::chats;
use crate::error::ChatError;
use crate::live::{Halt, Live};
use crate::messages::{self, Thread};

/// How long the deletion of a chat waits for its answer to end.
const DELETE_WAIT: Duration = Duration::from_secs(2);
/// How long the last writes may take after the grace of a shutdown.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What may be configured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longest prompt, in characters.
    pub prompt_chars: usize,
    /// How much of a chat a model is told, in characters, from the newest message back.
    pub history_chars: usize,
    /// Longest answer, in bytes.
    pub answer_bytes: usize,
    /// Most answers that are being written for one person at once, in this process.
    pub generations_per_user: usize,
    /// Longest wait for the upstream's first byte.
    pub first_byte: Duration,
    /// Longest wait between two pieces of its answer.
    pub idle: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            prompt_chars: 32_000,
            history_chars: 200_000,
            answer_bytes: 2 << 20,
            generations_per_user: 8,
            first_byte: limits.first_byte,
            idle: limits.idle,
        }
    }
}

impl Options {
    /// The upstream's limits. Reasoning is not kept, so it may be longer than the answer.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            first_byte: self.first_byte,
            idle: self.idle,
            max_bytes: self.answer_bytes.saturating_mul(4),
        }
    }
}

/// The engine. Cloning shares it.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) pool: Arc<Pool>,
    pub(crate) options: Options,
    /// This process, in `generations.replica`.
    pub(crate) replica: String,
    /// By generation.
    pub(crate) live: Mutex<HashMap<String, Arc<Live>>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) closing: AtomicBool,
    /// The shutdown's time is over: ends are not tried again.
    pub(crate) giving_up: AtomicBool,
    /// Held by a tick from reading texts to the commit.
    pub(crate) ticking: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("replica", &self.0.replica)
            .field("live", &self.live_count())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without generations. [`Engine::run_ticker`] must run beside it.
    pub fn new(db: Db, clock: Clock, random: Random, pool: Arc<Pool>, options: Options) -> Self {
        let replica = random.id(clock.now());
        Self(Arc::new(Shared {
            db,
            clock,
            random,
            pool,
            options,
            replica,
            live: Mutex::new(HashMap::new()),
            tasks: TaskTracker::new(),
            closing: AtomicBool::new(false),
            giving_up: AtomicBool::new(false),
            ticking: tokio::sync::Mutex::new(()),
        }))
    }

    /// How many answers this process is writing.
    pub fn live_count(&self) -> usize {
        self.0.live.lock().len()
    }

    pub(crate) fn live(&self, generation: &str) -> Option<Arc<Live>> {
        self.0.live.lock().get(generation).cloned()
    }

    pub(crate) fn all_live(&self) -> Vec<Arc<Live>> {
        self.0.live.lock().values().cloned().collect()
    }

    /// The last `limit` messages of a chat's thread, or of its part before the message `before`,
    /// in one statement; answers that are being written are as new as this process knows them.
    /// `None` if the person has no such chat (SEC-91).
    ///
    /// # Errors
    /// [`DbError`] if the database cannot be read.
    pub async fn thread(
        &self,
        user: &str,
        chat: &str,
        limit: usize,
        before: Option<&str>,
    ) -> Result<Option<Thread>, DbError> {
        let Some(mut loaded) = messages::load(&self.0.db, user, chat, limit, before).await? else {
            return Ok(None);
        };
        if self.ended_meanwhile(&loaded) {
            match messages::load(&self.0.db, user, chat, limit, before).await? {
                Some(again) => loaded = again,
                None => return Ok(None),
            }
        }
        let messages::Loaded { mut thread, mut unrendered, live } = loaded;
        for (index, _) in live {
            let Some(message) = thread.messages.get_mut(index) else { continue };
            let found = message.generation.as_ref().and_then(|generation| self.live(&generation.id));
            if let Some(found) = found {
                let (view, html, event_id) = found.snapshot();
                message.html = html;
                message.event_id = view.state.live().then_some(event_id);
                message.generation = Some(view);
                unrendered.retain(|(unrendered, _)| *unrendered != index);
            }
        }
        messages::render_missing(&self.0.db, &mut thread, unrendered).await;
        Ok(Some(thread))
    }

    /// Whether an answer of this process ended between reading its row and looking for its text.
    fn ended_meanwhile(&self, loaded: &messages::Loaded) -> bool {
        loaded.live.iter().any(|(index, replica)| {
            let generation =
                loaded.thread.messages.get(*index).and_then(|message| message.generation.as_ref());
            *replica == self.0.replica
                && generation.is_some_and(|generation| self.live(&generation.id).is_none())
        })
    }

    /// Stops a generation, named by its own or its message's id; what has come is kept. One that
    /// has ended already stays as it is. Gives the chat's id.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] if the person has no such generation.
    pub async fn stop(&self, user: &str, id: &str) -> Result<String, ChatError> {
        let found: Option<(String, String, Option<i64>)> = self
            .0
            .db
            .one(
                sql!(
                    "SELECT id, chat_id, finished_at FROM generations
                     WHERE (id = $1 OR message_id = $1) AND user_id = $2"
                ),
                args![id, user],
            )
            .await?;
        let (generation, chat, finished_at) = found.ok_or(ChatError::NotFound)?;
        if finished_at.is_some() {
            return Ok(chat);
        }
        if let Some(live) = self.live(&generation) {
            live.halt(Halt::Stop);
        }
        // The process that writes it sees this at its next tick.
        self.0
            .db
            .run(
                sql!(
                    "UPDATE generations SET stop_requested_at = $2
                     WHERE id = $1 AND finished_at IS NULL AND stop_requested_at IS NULL"
                ),
                args![&generation, self.0.clock.now()],
            )
            .await?;
        Ok(chat)
    }

    /// Deletes a chat with its messages; an answer that is being written ends first.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] if the person has no such chat.
    pub async fn delete(&self, user: &str, chat: &str) -> Result<(), ChatError> {
        let of_chat: Vec<Arc<Live>> = {
            let live = self.0.live.lock();
            live.values().filter(|live| live.chat_id == chat && live.user_id == user).cloned().collect()
        };
        for live in of_chat {
            let mut wake = live.subscribe();
            live.halt(Halt::Stop);
            let ended = async { while self.live(&live.id).is_some() && wake.changed().await.is_ok() {} };
            // Not ending in time, it ends without its rows.
            let _ = tokio::time::timeout(DELETE_WAIT, ended).await;
        }
        if chats::delete(&self.0.db, user, chat).await? { Ok(()) } else { Err(ChatError::NotFound) }
    }

    /// Takes no more prompts, lets answers go on for `grace`, then keeps what has come of the rest
    /// and marks them interrupted. The ticker must run until this comes back.
    pub async fn shutdown(&self, grace: Duration) {
        self.0.closing.store(true, Ordering::SeqCst);
        self.0.tasks.close();
        if tokio::time::timeout(grace, self.0.tasks.wait()).await.is_ok() {
            return;
        }
        for live in self.all_live() {
            live.halt(Halt::Interrupt);
        }
        if tokio::time::timeout(LAST_WRITES, self.0.tasks.wait()).await.is_err() {
            self.0.giving_up.store(true, Ordering::SeqCst);
            tracing::error!(
                generations.lost = self.live_count(),
                "answers could not be ended; the next start marks them interrupted"
            );
        }
    }
}
