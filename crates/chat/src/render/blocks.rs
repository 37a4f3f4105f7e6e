//! One block of Markdown to sanitized HTML.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use pulldown_cmark::{BrokenLink, CowStr, Options, Parser};

use super::{
    formulas,
    highlight::MAX_TEXT,
    sanitize::{self, MARK_CLOSE, MARK_OPEN, escape},
    split::{Form, footnote},
    writer::Writer,
};

/// How many bytes of addresses blocks may take over from other blocks, all together.
const MAX_SHARED: usize = 256 << 10;

/// Larger blocks stay plain text, in bytes.
const MAX_BLOCK: usize = 128 << 10;
/// How much text is sanitized at a time, in bytes.
const PART: usize = 32 << 10;

/// How much of the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The block may still grow: code stays plain, nothing it defines is kept.
    Open,
    Closed,
}

/// What one block says for the others: addresses of links and labels of footnotes. The first
/// definition of a label counts.
#[derive(Debug)]
pub(super) struct Shared {
    links: HashMap<String, String>,
    notes: HashSet<String>,
    /// How many bytes of addresses may still be taken over.
    budget: usize,
    /// How many bytes of code may still be coloured.
    colours: usize,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self { links: HashMap::new(), notes: HashSet::new(), budget: MAX_SHARED, colours: MAX_TEXT }
    }

    /// Blocks are rendered a second time: code is coloured again.
    pub(super) fn begin_again(&mut self) {
        self.colours = MAX_TEXT;
    }

    /// Grows with each definition.
    pub(super) fn len(&self) -> usize {
        self.links.len() + self.notes.len()
    }
}

/// A block's HTML, and whether it names labels that nothing has defined yet.
pub(super) struct Rendered {
    pub html: String,
    pub unresolved: bool,
}

fn normal(label: &str) -> String {
    label.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Renders a block alone. What it defines is added to `shared` when it is closed.
pub(super) fn render(text: &str, form: Form, stage: Stage, shared: &mut Shared) -> Rendered {
    match form {
        _ if text.len() > MAX_BLOCK => Rendered { html: plain(text), unresolved: false },
        Form::Footnote => {
            let Some((label, rest)) = footnote(text.trim_start()) else {
                return markdown(text, None, stage, shared);
            };
            if stage == Stage::Closed {
                shared.notes.insert(normal(label));
            }
            let mut inner = String::with_capacity(rest.len());
            for (n, line) in rest.split_inclusive('\n').enumerate() {
                let indent = line.bytes().take(4).take_while(|&b| b == b' ').count();
                inner.push_str(if n == 0 { line.trim_start_matches([' ', '\t']) } else { &line[indent..] });
            }
            markdown(&inner, Some(label), stage, shared)
        }
        Form::Plain => markdown(text, None, stage, shared),
    }
}

fn markdown(text: &str, note: Option<&str>, stage: Stage, shared: &mut Shared) -> Rendered {
    let (source, mut formulas) = formulas::extract(text);
    let budget = RefCell::new((shared.budget, false));
    let links = &shared.links;
    let mut other_block = |link: BrokenLink<'_>| {
        let mut budget = budget.borrow_mut();
        match links.get(&normal(&link.reference)) {
            Some(url) if url.len() <= budget.0 => {
                budget.0 -= url.len();
                Some((CowStr::from(url.clone()), CowStr::Borrowed("")))
            }
            _ => {
                budget.1 = true;
                None
            }
        }
    };
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_OLD_FOOTNOTES;
    let mut events =
        Parser::new_with_broken_link_callback(&source, options, Some(&mut other_block)).into_offset_iter();
    let colours = if stage == Stage::Closed { shared.colours } else { 0 };
    let mut writer = Writer::new(&source, &mut formulas, colours);
    if let Some(label) = note {
        writer.begin_note(label);
    }
    let mut unknown_note = false;
    for (event, range) in events.by_ref() {
        writer.event(event, range, |label| {
            let known = shared.notes.contains(&normal(label));
            unknown_note |= !known;
            known
        });
    }
    let (html, colours) = writer.finish();
    let mut defined: Vec<_> = events.reference_definitions().iter().collect();
    defined.sort_by_key(|(_, link)| link.span.start);
    let defined: Vec<_> = defined
        .into_iter()
        .filter_map(|(label, link)| Some((normal(label), sanitize::link(&link.dest)?.to_owned())))
        .collect();
    drop(events);
    let (left, unknown_link) = budget.into_inner();
    if stage == Stage::Closed {
        (shared.budget, shared.colours) = (left, colours);
        for (label, url) in defined {
            shared.links.entry(label).or_insert(url);
        }
    }
    let clean = sanitize::clean(&html);
    let html = if formulas.iter().any(|formula| formula.used) { typeset(&clean, &formulas) } else { clean };
    Rendered { html, unresolved: unknown_link || unknown_note }
}

/// Puts the MathML where the writer left its marks. Only the writer can: everything else that
/// held such a character lost it to `escape`.
fn typeset(html: &str, formulas: &[formulas::Formula<'_>]) -> String {
    let mut out = String::with_capacity(html.len() * 4);
    let mut parts = html.split(MARK_OPEN);
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (number, rest) = part.split_once(MARK_CLOSE).unwrap_or(("", part));
        if let Some(formula) = number.parse::<usize>().ok().and_then(|number| formulas.get(number)) {
            out.push_str(&formula.html);
        }
        out.push_str(rest);
    }
    out
}

/// Text as it is, for a block that is too large. It is sanitized in parts, as the sanitizer takes
/// more than linear time.
pub(super) fn plain(text: &str) -> String {
    let mut html = String::with_capacity(text.len() * 2);
    html.push_str("<pre tabindex=\"0\"><code>");
    let mut rest = text;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.floor_char_boundary(PART.min(rest.len())));
        let mut escaped = String::with_capacity(part.len() * 2);
        escape(&mut escaped, part);
        html.push_str(&sanitize::clean(&escaped));
        rest = after;
    }
    html.push_str("</code></pre>");
    html
}
