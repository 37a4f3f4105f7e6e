//! Markdown, as models write it, to HTML that is safe to show (SEC-89).
//!
//! A text is split into top-level blocks by its lines (`split`), each block is rendered alone:
//! formulas are taken out (`formulas`), the rest is parsed and written (`writer`) with code
//! coloured (`highlight`), passed through the sanitizer (`sanitize`), and the formulas are put in
//! as MathML (`latex`, `mathml`), which sanitizers drop. A growing answer takes the same way, so that what
//! was streamed and what is stored are the same.

mod blocks;
mod formulas;
mod highlight;
mod latex;
mod mathml;
mod sanitize;
mod split;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_hostile;
mod writer;

use std::{
    collections::BTreeMap,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use blocks::{Rendered, Shared, Stage};
use split::{Piece, Splitter};

/// Stored beside `messages.html`; raise it when output changes.
pub const VERSION: i64 = 1;

/// An open block larger than this, in bytes, is plain text until it closes, and is sent again
/// only when it has grown by an eighth.
const MAX_OPEN: usize = 64 << 10;

/// Renders a whole text: one sanitized HTML string for each top-level block.
pub fn render(markdown: &str) -> Vec<String> {
    let mut live = Live::new();
    live.push(markdown);
    live.finish();
    live.html.iter().map(|html| html.as_ref().to_owned()).collect()
}

/// A growing answer. Finished blocks are rendered once, only the open (last) one again; a block
/// that names what a later block defines once more at the end.
#[derive(Debug)]
pub struct Live {
    text: String,
    splitter: Splitter,
    shared: Shared,
    /// The finished blocks.
    pieces: Vec<Piece>,
    /// What has been rendered: finished blocks, then perhaps the open one.
    html: Vec<Arc<str>>,
    /// How many of `html` are of finished blocks.
    closed: usize,
    /// Blocks with labels that were not defined so far, and how many definitions there were then.
    unresolved: Vec<(usize, usize)>,
    /// Start and length of the open block when it was last rendered.
    shown: (usize, usize),
    finished: bool,
    /// Bytes of Markdown rendered so far, for the test of the cost.
    #[cfg(test)]
    rendered: usize,
}

/// Blocks by index, as they are now.
type Changes = BTreeMap<usize, Arc<str>>;

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

impl Live {
    /// An answer of which nothing has come yet.
    pub fn new() -> Self {
        Self {
            text: String::new(),
            splitter: Splitter::new(),
            shared: Shared::new(),
            pieces: Vec::new(),
            html: Vec::new(),
            closed: 0,
            unresolved: Vec::new(),
            shown: (0, 0),
            finished: false,
            #[cfg(test)]
            rendered: 0,
        }
    }

    /// Adds what came. Renders nothing; after [`finish`](Self::finish) it does nothing.
    pub fn push(&mut self, text: &str) {
        if !self.finished {
            self.text.push_str(text);
            self.splitter.advance(&self.text, &mut self.pieces);
        }
    }

    /// All that came so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The blocks as of the last [`changes`](Self::changes) or [`finish`](Self::finish).
    pub fn blocks(&self) -> &[Arc<str>] {
        &self.html
    }

    /// The blocks whose HTML changed since the last call, by index. The cost is that of the blocks
    /// that were finished since, and of the open one.
    pub fn changes(&mut self) -> Vec<(usize, Arc<str>)> {
        let mut changed = Changes::new();
        if self.finished {
            return Vec::new();
        }
        self.render_closed(&mut changed);
        if let Some(open) = self.splitter.open(&self.text)
            && self.worth(&open)
        {
            self.shown = (open.range.start, open.range.len());
            let html = if open.range.len() > MAX_OPEN {
                blocks::plain(&self.text[open.range]).into()
            } else {
                self.render_piece(&open, Stage::Open).html.into()
            };
            self.put(self.closed, html, &mut changed);
        }
        changed.into_iter().collect()
    }

    /// Ends the answer: the open block is rendered for good, and blocks whose labels were defined
    /// after them again. From now on [`blocks`](Self::blocks) equals [`render`] of the text.
    pub fn finish(&mut self) -> Vec<(usize, Arc<str>)> {
        let mut changed = Changes::new();
        if mem::replace(&mut self.finished, true) {
            return Vec::new();
        }
        self.splitter.finish(&self.text, &mut self.pieces);
        self.render_closed(&mut changed);
        self.html.truncate(self.closed);
        self.shared.begin_again();
        for (index, known) in mem::take(&mut self.unresolved) {
            if known < self.shared.len() {
                let html = self.render_piece(&self.pieces[index].clone(), Stage::Closed).html.into();
                self.put(index, html, &mut changed);
            }
        }
        changed.into_iter().collect()
    }

    fn render_closed(&mut self, changed: &mut Changes) {
        while let Some(piece) = self.pieces.get(self.closed).cloned() {
            let index = self.closed;
            let rendered = self.render_piece(&piece, Stage::Closed);
            if rendered.unresolved {
                self.unresolved.push((index, self.shared.len()));
            }
            self.closed += 1;
            self.put(index, rendered.html.into(), changed);
        }
    }

    fn put(&mut self, index: usize, html: Arc<str>, changed: &mut Changes) {
        match self.html.get_mut(index) {
            Some(old) if *old == html => return,
            Some(old) => *old = Arc::clone(&html),
            None => self.html.push(Arc::clone(&html)),
        }
        changed.insert(index, html);
    }

    /// Whether the open block has grown enough to be rendered again.
    fn worth(&self, open: &Piece) -> bool {
        let (start, len) = self.shown;
        let step = if len > MAX_OPEN { len / 8 } else { 1 };
        start != open.range.start || open.range.len() >= len + step || self.html.len() == self.closed
    }

    /// Renders a block. Should a parser panic on it, the block is shown as plain text.
    fn render_piece(&mut self, piece: &Piece, stage: Stage) -> Rendered {
        let text = &self.text[piece.range.clone()];
        #[cfg(test)]
        {
            self.rendered += text.len();
        }
        let shared = &mut self.shared;
        catch_unwind(AssertUnwindSafe(|| blocks::render(text, piece.form, stage, shared)))
            .unwrap_or_else(|_| Rendered { html: blocks::plain(text), unresolved: false })
    }
}
