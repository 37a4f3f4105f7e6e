//! Following an answer: blocks and states as they change, resumable by the id of the last event.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base::db::{FromRow, Row};
use base::{Db, DbError, Micros, args, sql};
use tokio::sync::watch;

use crate::engine::Engine;
use crate::live::{Found, Live, end_id};
use crate::render;
use crate::state::{GenView, State};

/// How often an answer that another process writes is read from the database.
pub(crate) const POLL: Duration = Duration::from_millis(500);

/// Something that changed. Its id goes to the client, who resumes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A block of an answer is now this sanitized HTML.
    Block { id: String, message: Arc<str>, index: usize, html: Arc<str> },
    /// A generation changed its state.
    State { id: String, message: Arc<str>, generation: GenView },
}

impl Event {
    /// `<generation>.<number>`.
    pub fn id(&self) -> &str {
        match self {
            Self::Block { id, .. } | Self::State { id, .. } => id,
        }
    }
}

/// A follower of a chat's answer.
pub struct Follow {
    db: Db,
    user: String,
    sources: VecDeque<Source>,
    ready: VecDeque<Event>,
}

enum Source {
    /// Written by this process.
    Local { live: Arc<Live>, wake: watch::Receiver<()>, seen: u64 },
    /// Ended, or written by another process: read from the database.
    Stored(Box<Stored>),
}

struct Stored {
    generation: String,
    render: render::Live,
    /// Of the state that was told last.
    told: Option<(State, Option<Micros>)>,
    seq: u64,
}

/// A generation that a chat's follower may want.
struct Candidate {
    id: Option<String>,
    ended: bool,
    created_at: Micros,
}

impl FromRow for Candidate {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.at(0)?,
            ended: row.at::<Option<Micros>>(1)?.is_some(),
            created_at: row.at::<Option<Micros>>(2)?.unwrap_or(0),
        })
    }
}

impl Engine {
    /// Follows the answer that is being written in the chat; where none is, gives the end of the
    /// one that the chat shows. `None` if the person has no such chat (SEC-91).
    ///
    /// With the id of the last event that a client has (`Last-Event-ID`), it gets only what
    /// changed since; if that one's generation has ended meanwhile, its end comes first.
    ///
    /// # Errors
    /// [`DbError`] if the database cannot be read.
    pub async fn follow(
        &self,
        user: &str,
        chat: &str,
        last_event_id: Option<&str>,
    ) -> Result<Option<Follow>, DbError> {
        let (last, position) = last_event_id.and_then(|id| id.rsplit_once('.')).unwrap_or_default();
        let mut found: Vec<Candidate> = self
            .0
            .db
            .all(
                sql!(
                    "SELECT g.id, g.finished_at, g.created_at
                     FROM chats c LEFT JOIN generations g ON g.chat_id = c.id
                       AND (g.finished_at IS NULL OR g.id = $3 OR g.message_id = c.leaf_id)
                     WHERE c.id = $1 AND c.user_id = $2"
                ),
                args![chat, user, last],
            )
            .await?;
        if found.is_empty() {
            return Ok(None);
        }
        found.sort_by_key(|candidate| candidate.created_at);
        let live = found.iter().any(|candidate| !candidate.ended);
        let mut sources = VecDeque::new();
        for Candidate { id, ended, .. } in found {
            let Some(id) = id else { continue };
            let resumed = id == last;
            // An ended one is of interest if the client has not seen its end, or if the chat shows
            // it and no other is live.
            let wanted = !ended || if resumed { position != "end" } else { !live };
            if !wanted {
                continue;
            }
            let seen = if resumed { position.parse().unwrap_or(0) } else { 0 };
            sources.push_back(match self.live(&id) {
                Some(live) => Source::Local { wake: live.subscribe(), live, seen },
                None => Source::Stored(Box::new(Stored::new(id))),
            });
        }
        Ok(Some(Follow { db: self.0.db.clone(), user: user.to_owned(), sources, ready: VecDeque::new() }))
    }
}

impl Follow {
    /// The next event; waits for it. `None` when every answer that is followed has ended. A call
    /// that is dropped loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let over = match self.sources.front_mut()? {
                Source::Local { live, wake, seen } => {
                    wake.mark_unchanged();
                    match live.look(seen) {
                        Found::Events(events) => {
                            self.ready.extend(events);
                            false
                        }
                        Found::Nothing => wake.changed().await.is_err(),
                        Found::Later(due) => {
                            tokio::time::sleep_until(due).await;
                            false
                        }
                        Found::Over => true,
                    }
                }
                Source::Stored(stored) => {
                    if stored.told.is_some() {
                        tokio::time::sleep(POLL).await;
                    }
                    match stored.read(&self.db, &self.user, &mut self.ready).await {
                        Ok(over) => over,
                        Err(error) => {
                            tracing::warn!(error = %error, "an answer could not be read");
                            tokio::time::sleep(POLL).await;
                            false
                        }
                    }
                }
            };
            if over {
                self.sources.pop_front();
            }
        }
    }
}

struct StoredRow {
    message: String,
    markdown: String,
    view: Option<GenView>,
}

impl FromRow for StoredRow {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { message: row.at(0)?, markdown: row.at(1)?, view: GenView::read(row, 2)? })
    }
}

impl Stored {
    fn new(generation: String) -> Self {
        Self { generation, render: render::Live::new(), told: None, seq: 0 }
    }

    /// Reads what there is now; gives whether it is over.
    async fn read(&mut self, db: &Db, user: &str, ready: &mut VecDeque<Event>) -> Result<bool, DbError> {
        let row: Option<StoredRow> = db
            .one(
                sql!(
                    "SELECT m.id, m.markdown,
                       g.id, g.state, g.error_code, COALESCE(g.started_at, g.created_at), g.first_token_at,
                       g.finished_at, g.tokens_out, g.duration_micros, g.ttft_micros
                     FROM generations g JOIN messages m ON m.id = g.message_id JOIN chats c ON c.id = g.chat_id
                     WHERE g.id = $1 AND c.user_id = $2"
                ),
                args![&self.generation, user],
            )
            .await?;
        let Some((row, view)) = row.and_then(|mut row| row.view.take().map(|view| (row, view))) else {
            return Ok(true);
        };
        let message: Arc<str> = row.message.into();
        let now = (view.state, view.first_token_at);
        let ended = !view.state.live();
        let state_changed = self.told != Some(now);
        if !ended && state_changed {
            let (id, generation) = (self.event_id(), view.clone());
            ready.push_back(Event::State { id, message: Arc::clone(&message), generation });
        }
        // A long text takes its time, which other requests must not wait for. A call that is dropped
        // here begins anew with an empty one.
        let mut render = std::mem::take(&mut self.render);
        let (render, changed) = tokio::task::spawn_blocking(move || {
            let changed = catch_up(&mut render, &row.markdown, ended);
            (render, changed)
        })
        .await
        .map_err(|error| DbError::Other(format!("an answer could not be rendered: {error}")))?;
        self.render = render;
        for (index, html) in changed {
            ready.push_back(Event::Block { id: self.event_id(), message: Arc::clone(&message), index, html });
        }
        if ended {
            ready.push_back(Event::State { id: end_id(&self.generation), message, generation: view });
        }
        self.told = Some(now);
        Ok(ended)
    }

    /// Marked, as these numbers mean nothing to the process that writes the answer: it gives a
    /// client that resumes with one the whole answer.
    fn event_id(&mut self) -> String {
        self.seq += 1;
        format!("{}.r{}", self.generation, self.seq)
    }
}

/// Brings `render` to the text; gives the blocks that changed.
fn catch_up(render: &mut render::Live, text: &str, ended: bool) -> Vec<(usize, Arc<str>)> {
    match text.strip_prefix(render.text()) {
        Some(more) => render.push(more),
        None => {
            // Written anew: show it anew.
            *render = render::Live::new();
            render.push(text);
        }
    }
    let mut changed = render.changes();
    if ended {
        changed.extend(render.finish());
    }
    changed
}
