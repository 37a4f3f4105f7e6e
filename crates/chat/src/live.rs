//! The text of an answer while it is written: one writer (the generation's task), any number of
//! followers. No follower has a queue: each reads the newest version of what changed since it last
//! looked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::follow::Event;
use crate::html;
use crate::render;
use crate::state::GenView;

/// The open block is rendered at most once in this time, and only if someone follows.
pub(crate) const RENDER_EVERY: Duration = Duration::from_millis(100);
/// Most blocks that a follower is given at once.
const BATCH: usize = 64;
/// A text longer than this is saved more rarely than at each tick, in bytes.
const SAVE_EACH_TICK: usize = 64 * 1024;
/// But at least each so many ticks.
const SAVE_AT_LEAST: usize = 10;

/// Why a generation's task shall end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Its owner wants it.
    Stop,
    /// The server stops, or another one has given it up.
    Interrupt,
}

/// A generation of this process.
pub(crate) struct Live {
    pub(crate) id: String,
    pub(crate) chat_id: String,
    pub(crate) message_id: Arc<str>,
    pub(crate) user_id: String,
    pub(crate) model: String,
    inner: Mutex<Inner>,
    wake: watch::Sender<()>,
    halt: AtomicU8,
    halted: Notify,
}

struct Inner {
    render: render::Live,
    /// For each block the number of its last change.
    seqs: Vec<u64>,
    /// The number of the last change.
    seq: u64,
    /// Text came since the blocks were last rendered.
    unrendered: bool,
    rendered_at: Option<Instant>,
    view: GenView,
    /// The number of the state's last change.
    view_seq: u64,
    /// Its row is in the database.
    begun: bool,
    /// Its text is complete, and the end is being written.
    ending: bool,
    /// Its task is gone: nothing will change any more.
    over: bool,
    /// Bytes of text that the database has.
    saved: usize,
    ticks_since_save: usize,
}

/// What a follower finds.
pub(crate) enum Found {
    /// Changes, oldest first, never empty.
    Events(Vec<Event>),
    /// Nothing new: wait to be woken.
    Nothing,
    /// Text that is not rendered yet: look again then.
    Later(Instant),
    /// Nothing more will come.
    Over,
}

/// What the tick saves of a generation.
pub(crate) struct Progress {
    pub(crate) view: GenView,
    /// The whole text, where it grew and it is time to save it.
    pub(crate) text: Option<String>,
}

impl Live {
    pub(crate) fn new(
        view: GenView,
        chat_id: String,
        message_id: &str,
        user_id: &str,
        model: &str,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: view.id.clone(),
            chat_id,
            message_id: message_id.into(),
            user_id: user_id.to_owned(),
            model: model.to_owned(),
            inner: Mutex::new(Inner {
                render: render::Live::new(),
                seqs: Vec::new(),
                seq: 1,
                unrendered: false,
                rendered_at: None,
                view,
                view_seq: 1,
                begun: false,
                ending: false,
                over: false,
                saved: 0,
                ticks_since_save: 0,
            }),
            wake: watch::Sender::new(()),
            halt: AtomicU8::new(0),
            halted: Notify::new(),
        })
    }

    fn wake(&self) {
        if self.wake.receiver_count() > 0 {
            self.wake.send_replace(());
        }
    }

    /// Woken at every change from now on. Take it before looking.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.wake.subscribe()
    }

    /// Tells the task to end; the first reason counts.
    pub(crate) fn halt(&self, why: Halt) {
        let value = match why {
            Halt::Stop => 1,
            Halt::Interrupt => 2,
        };
        if self.halt.compare_exchange(0, value, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // A permit: the task sees it even if it is not waiting now.
            self.halted.notify_one();
        }
    }

    /// Waits until the task shall end. For the task alone.
    pub(crate) async fn halted(&self) -> Halt {
        loop {
            match self.halt.load(Ordering::Acquire) {
                0 => self.halted.notified().await,
                1 => return Halt::Stop,
                _ => return Halt::Interrupt,
            }
        }
    }

    /// Its row is in the database: from now on the tick saves it.
    pub(crate) fn begun(&self) {
        self.inner.lock().begun = true;
    }

    /// Adds text; gives how many bytes there are now.
    pub(crate) fn push(&self, text: &str) -> usize {
        let length = {
            let mut inner = self.inner.lock();
            if text.contains('\0') {
                // PostgreSQL's TEXT holds no NUL.
                inner.render.push(&text.replace('\0', "\u{FFFD}"));
            } else {
                inner.render.push(text);
            }
            inner.unrendered = true;
            inner.render.text().len()
        };
        self.wake();
        length
    }

    /// Changes what is known about the generation, and tells followers.
    pub(crate) fn update(&self, change: impl FnOnce(&mut GenView)) {
        {
            let mut inner = self.inner.lock();
            change(&mut inner.view);
            inner.seq += 1;
            inner.view_seq = inner.seq;
        }
        self.wake();
    }

    /// The text as far as it came.
    pub(crate) fn text(&self) -> String {
        self.inner.lock().render.text().to_owned()
    }

    pub(crate) fn view(&self) -> GenView {
        self.inner.lock().view.clone()
    }

    /// The tick leaves its text alone from now on.
    pub(crate) fn ending(&self) {
        self.inner.lock().ending = true;
    }

    /// Renders the text for good; gives it and its HTML. It may be slow: call it where blocking
    /// is allowed.
    pub(crate) fn finish(&self) -> (String, String) {
        let done = {
            let mut inner = self.inner.lock();
            let changed = inner.render.finish();
            inner.note(changed);
            (inner.render.text().to_owned(), html::join(inner.render.blocks()))
        };
        self.wake();
        done
    }

    /// Nothing will change any more.
    pub(crate) fn over(&self) {
        self.inner.lock().over = true;
        self.wake();
    }

    /// The HTML as of now, and the id of the event that it is up to.
    pub(crate) fn snapshot(&self) -> (GenView, String, String) {
        let mut inner = self.inner.lock();
        inner.render_now();
        (inner.view.clone(), html::join(inner.render.blocks()), event_id(&self.id, inner.seq))
    }

    /// What changed after `seen`, which moves on.
    pub(crate) fn look(&self, seen: &mut u64) -> Found {
        let mut inner = self.inner.lock();
        if *seen > inner.seq {
            // Not ours: a client may send anything.
            *seen = 0;
        }
        if inner.unrendered {
            let due = inner.rendered_at.map(|at| at + RENDER_EVERY).filter(|due| *due > Instant::now());
            match due {
                Some(due) if *seen == inner.seq => return Found::Later(due),
                Some(_) => {}
                None => inner.render_now(),
            }
        }
        if *seen == inner.seq {
            return if inner.over { Found::Over } else { Found::Nothing };
        }
        let blocks = inner.seqs.iter().enumerate().map(|(index, seq)| (*seq, Some(index)));
        let mut changed: Vec<(u64, Option<usize>)> =
            blocks.chain([(inner.view_seq, None)]).filter(|(seq, _)| seq > seen).collect();
        changed.sort_unstable();
        changed.truncate(BATCH);
        let events: Vec<Event> = changed.iter().map(|&(seq, index)| self.event(&inner, seq, index)).collect();
        // Changes that a later one replaced have no number of their own any more.
        *seen = changed.last().map_or(inner.seq, |&(seq, _)| seq);
        if events.is_empty() { Found::Nothing } else { Found::Events(events) }
    }

    fn event(&self, inner: &Inner, seq: u64, index: Option<usize>) -> Event {
        let message = Arc::clone(&self.message_id);
        match index {
            Some(index) => Event::Block {
                id: event_id(&self.id, seq),
                message,
                index,
                // A block that turned out to be none is shown empty.
                html: inner.render.blocks().get(index).map_or_else(|| Arc::from(""), Arc::clone),
            },
            None => {
                let generation = inner.view.clone();
                let id = if generation.state.live() { event_id(&self.id, seq) } else { end_id(&self.id) };
                Event::State { id, message, generation }
            }
        }
    }

    /// What the tick saves now; `None` while its row is not there yet.
    pub(crate) fn progress(&self) -> Option<Progress> {
        let mut inner = self.inner.lock();
        if !inner.begun {
            return None;
        }
        let length = inner.render.text().len();
        let text = if inner.ending || length == inner.saved {
            None
        } else {
            inner.ticks_since_save += 1;
            let wait = (length / SAVE_EACH_TICK).min(SAVE_AT_LEAST);
            (inner.ticks_since_save > wait).then(|| inner.render.text().to_owned())
        };
        Some(Progress { view: inner.view.clone(), text })
    }

    /// The database has that many bytes now.
    pub(crate) fn saved(&self, length: usize) {
        let mut inner = self.inner.lock();
        inner.saved = length;
        inner.ticks_since_save = 0;
    }
}

impl Inner {
    fn render_now(&mut self) {
        if self.unrendered {
            let changed = self.render.changes();
            self.note(changed);
            self.rendered_at = Some(Instant::now());
        }
    }

    fn note(&mut self, changed: Vec<(usize, Arc<str>)>) {
        self.unrendered = false;
        for (index, _) in changed {
            self.seq += 1;
            if index >= self.seqs.len() {
                self.seqs.resize(index + 1, self.seq);
            }
            self.seqs[index] = self.seq;
        }
        for gone in self.render.blocks().len()..self.seqs.len() {
            self.seq += 1;
            self.seqs[gone] = self.seq;
        }
    }
}

/// The id of an event: `<generation>.<number of the change>`.
pub(crate) fn event_id(generation: &str, seq: u64) -> String {
    format!("{generation}.{seq}")
}

/// The id of a generation's last event.
pub(crate) fn end_id(generation: &str) -> String {
    format!("{generation}.end")
}

#[cfg(test)]
#[expect(clippy::panic, reason = "a test panics to fail")]
mod tests {
    use super::*;
    use crate::state::State;

    fn live() -> Arc<Live> {
        Live::new(GenView::queued("g".into(), 5), "c".into(), "m", "u", "demo")
    }

    fn events(live: &Live, seen: &mut u64) -> Vec<Event> {
        match live.look(seen) {
            Found::Events(events) => events,
            _ => panic!("nothing found"),
        }
    }

    fn ids(events: &[Event]) -> Vec<&str> {
        events.iter().map(Event::id).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn followers_get_what_changed_since_they_looked() {
        let live = live();
        let mut seen = 0;
        assert_eq!(ids(&events(&live, &mut seen)), ["g.1"]);
        assert!(matches!(live.look(&mut seen), Found::Nothing));
        live.push("One.\n\nTw");
        assert_eq!(ids(&events(&live, &mut seen)), ["g.2", "g.3"]);
        live.push("o.");
        let Found::Later(due) = live.look(&mut seen) else { panic!("rendered too often") };
        tokio::time::sleep_until(due).await;
        let again = events(&live, &mut seen);
        assert!(matches!(&again[..], [Event::Block { index: 1, html, .. }] if html.contains("Two.")));
        // A resumed follower gets only what is newer; a new one all of it, in order.
        assert_eq!(ids(&events(&live, &mut 2)), ["g.4"]);
        assert_eq!(ids(&events(&live, &mut 0)), ["g.1", "g.2", "g.4"]);
        // A number that was never given counts as none.
        assert_eq!(events(&live, &mut 99).len(), 3);

        live.update(|view| view.state = State::Done);
        live.over();
        assert_eq!(ids(&events(&live, &mut seen)), ["g.end"]);
        assert!(matches!(live.look(&mut seen), Found::Over));
    }

    #[tokio::test(start_paused = true)]
    async fn two_followers_share_one_rendering_and_get_equal_blocks() {
        let live = live();
        let (mut a, mut b) = (0, 0);
        live.push("Some *text*");
        let (first, second) = (events(&live, &mut a), events(&live, &mut b));
        assert_eq!(first, second);
        let (Event::Block { html: one, .. }, Event::Block { html: two, .. }) = (&first[1], &second[1]) else {
            panic!("no blocks")
        };
        assert!(Arc::ptr_eq(one, two));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_follower_reads_at_most_a_batch_of_the_newest_versions() {
        let live = live();
        for n in 0..200 {
            live.push(&format!("Paragraph {n}.\n\n"));
        }
        let mut seen = 0;
        let mut indices = Vec::new();
        while let Found::Events(events) = live.look(&mut seen) {
            assert!(events.len() <= BATCH);
            indices.extend(events.iter().filter_map(|event| match event {
                Event::Block { index, .. } => Some(*index),
                Event::State { .. } => None,
            }));
        }
        assert_eq!(indices, (0..200).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_halt_is_seen_later_too_and_the_first_counts() {
        let live = live();
        live.halt(Halt::Stop);
        live.halt(Halt::Interrupt);
        assert_eq!(live.halted().await, Halt::Stop);
        assert_eq!(live.halted().await, Halt::Stop);
    }

    #[test]
    fn long_texts_are_saved_more_rarely_and_no_text_holds_a_nul() {
        let live = live();
        assert!(live.progress().is_none());
        live.begun();
        live.push("a\0b");
        assert_eq!(live.progress().and_then(|p| p.text).as_deref(), Some("a\u{FFFD}b"));
        live.saved(5);
        assert!(live.progress().is_some_and(|p| p.text.is_none()));
        live.push(&"x".repeat(3 * SAVE_EACH_TICK));
        let due: Vec<bool> = (0..4).map(|_| live.progress().is_some_and(|p| p.text.is_some())).collect();
        assert_eq!(due, [false, false, false, true]);
        live.ending();
        assert!(live.progress().is_some_and(|p| p.text.is_none()));
    }
}
