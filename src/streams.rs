//! The open event streams of this process, so that one whose session ends can be closed (SEC-80).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use accounts::{Ended, Permission};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use crate::app::App;

/// How often the database is asked, for what happened on other replicas.
const CHECK: Duration = Duration::from_secs(2);

/// Open streams by session.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<String, Open>>>);

struct Open {
    user_id: String,
    ended: watch::Sender<bool>,
}

/// Held by a stream as long as it is open.
pub struct Watch {
    streams: Streams,
    session_id: String,
    ended: Option<watch::Receiver<bool>>,
}

impl Streams {
    /// Notes an open stream of a session; `None` where the person has `most` of them already.
    pub fn open(&self, session_id: &str, user_id: &str, most: usize) -> Option<Watch> {
        let mut open = self.0.lock();
        let theirs = open.values().filter(|open| open.user_id == user_id);
        if theirs.map(|open| open.ended.receiver_count()).sum::<usize>() >= most {
            return None;
        }
        let entry = open
            .entry(session_id.to_owned())
            .or_insert_with(|| Open { user_id: user_id.to_owned(), ended: watch::Sender::new(false) });
        Some(Watch {
            streams: self.clone(),
            session_id: session_id.to_owned(),
            ended: Some(entry.ended.subscribe()),
        })
    }

    fn close(&self, is_over: impl Fn(&str, &Open) -> bool) {
        self.0.lock().retain(|id, open| {
            let over = is_over(id, open);
            if over {
                open.ended.send_replace(true);
            }
            !over
        });
    }

    fn session_ids(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }
}

impl Watch {
    /// Comes back when the session has ended; never before.
    pub async fn ended(&mut self) {
        if let Some(ended) = &mut self.ended {
            // The sender goes only after it has said so.
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock();
        self.ended = None;
        if open.get(&self.session_id).is_some_and(|entry| entry.ended.receiver_count() == 0) {
            open.remove(&self.session_id);
        }
    }
}

/// Closes streams as their sessions end: at once for what happens here, within two seconds for
/// what happens on another replica or by the clock.
pub async fn run(app: App) {
    let mut announced = app.accounts.watch_ended();
    let mut ticks = tokio::time::interval(CHECK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let ended = tokio::select! {
            () = app.stopped() => return,
            ended = announced.recv() => ended,
            _ = ticks.tick() => Err(broadcast::error::RecvError::Lagged(0)),
        };
        match ended {
            Ok(Ended::Session(session)) => app.streams.close(|id, _| id == session),
            Ok(Ended::User(user)) => app.streams.close(|_, open| open.user_id == user),
            Err(_) => check(&app).await,
        }
    }
}

async fn check(app: &App) {
    let open = app.streams.session_ids();
    if open.is_empty() {
        return;
    }
    match app.accounts.ended_among(&open, Permission::ChatUse).await {
        Ok(over) => app.streams.close(|id, _| over.iter().any(|ended| ended == id)),
        Err(error) => tracing::warn!(error.cause = %error, "open streams could not be checked"),
    }
}
