//! Finds the formulas in Markdown before it is parsed: `$…$`, `$$…$$`, `\(…\)` and `\[…\]`.
//!
//! Each is replaced by a numbered token, so that Markdown leaves its inside alone. A token that
//! turns up in code or in an address becomes its source again, so the search may be generous.

use std::{borrow::Cow, collections::HashMap, fmt::Write as _};

use super::{
    sanitize::{MARK_CLOSE, MARK_OPEN},
    split::{fence, strip_markers},
};

/// The longest formula that is typeset, in bytes.
pub(super) const MAX_TEX: usize = 8 << 10;

/// One formula of a block.
#[derive(Debug)]
pub(super) struct Formula<'a> {
    /// As it was written, with its delimiters.
    pub source: &'a str,
    /// What stands between the delimiters.
    pub tex: Cow<'a, str>,
    pub display: bool,
    /// A token counts once, so that no text can multiply what it stands for.
    pub used: bool,
    /// What is put in after sanitizing.
    pub html: String,
}

/// The text with tokens for its formulas. Noncharacters that are ours become U+FFFD.
pub(super) fn extract(text: &str) -> (Cow<'_, str>, Vec<Formula<'_>>) {
    let forged = text.contains([MARK_OPEN, MARK_CLOSE]);
    if !forged && !text.contains('$') && !text.contains(r"\(") && !text.contains(r"\[") {
        return (Cow::Borrowed(text), Vec::new());
    }
    let marks = Marks::of(text);
    let (mut out, mut formulas, mut from) = (String::with_capacity(text.len()), Vec::new(), 0);
    let copy = |out: &mut String, part: &str| {
        if forged {
            out.push_str(&part.replace([MARK_OPEN, MARK_CLOSE], "\u{FFFD}"));
        } else {
            out.push_str(part);
        }
    };
    let mut at = 0;
    while at < marks.all.len() {
        let Some(end) = marks.partner(text, at) else {
            at += 1;
            continue;
        };
        let (open, close) = (marks.all[at], marks.all[end]);
        if let Some(display) = open.kind.display() {
            let source = &text[open.at..close.at + open.kind.len()];
            let tex = &source[open.kind.len()..source.len() - open.kind.len()];
            if tex.len() <= MAX_TEX
                && !tex.trim().is_empty()
                && !(forged && tex.contains([MARK_OPEN, MARK_CLOSE]))
            {
                copy(&mut out, &text[from..open.at]);
                // Writing to a String does not fail.
                let _ = write!(out, "{MARK_OPEN}{}{MARK_CLOSE}", formulas.len());
                formulas.push(Formula {
                    source,
                    tex: unquote(text, tex),
                    display,
                    used: false,
                    html: String::new(),
                });
                from = close.at + open.kind.len();
            }
        }
        at = end + 1;
    }
    copy(&mut out, &text[from..]);
    (Cow::Owned(out), formulas)
}

/// A formula over several lines of a quote carries the quote's marks.
fn unquote<'a>(text: &str, tex: &'a str) -> Cow<'a, str> {
    if !tex.contains('\n') || !text.trim_start().starts_with('>') {
        return Cow::Borrowed(tex);
    }
    let mut out = String::with_capacity(tex.len());
    for (n, line) in tex.split('\n').enumerate() {
        out.push_str(if n == 0 { line } else { line.trim_start_matches([' ', '>']) });
        out.push('\n');
    }
    Cow::Owned(out)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// A run of backticks, which may open a code span unless escaped.
    Ticks {
        len: usize,
        escaped: bool,
    },
    Dollar,
    Dollars,
    /// `\(` or `\[`, by its bracket.
    Open(u8),
    /// `\)` or `\]`, by the bracket that opens it.
    Close(u8),
}

impl Kind {
    /// Whether what it opens is displayed; `None` if it opens no formula.
    fn display(self) -> Option<bool> {
        match self {
            Self::Dollar | Self::Open(b'(') => Some(false),
            Self::Dollars | Self::Open(_) => Some(true),
            Self::Ticks { .. } | Self::Close(_) => None,
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Dollar => 1,
            _ => 2,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    at: usize,
    kind: Kind,
    /// Which run of lines without a blank one; formulas and code spans end with it.
    paragraph: usize,
    line: usize,
}

/// Everything that may open or close a formula or a code span, in order, and by kind.
#[derive(Default)]
struct Marks {
    all: Vec<Mark>,
    /// Positions in `all`, ascending.
    by_kind: HashMap<Kind, Vec<usize>>,
}

impl Marks {
    fn of(text: &str) -> Self {
        let mut marks = Self::default();
        let (mut paragraph, mut open_fence, mut start) = (0, None, 0);
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let content = strip_markers(line).trim_end();
            match open_fence {
                Some(open) if super::split::Fence::closes(open, content) => open_fence = None,
                Some(_) => {}
                None if content.is_empty() => paragraph += 1,
                None if fence(content).is_some() => {
                    open_fence = fence(content);
                    paragraph += 1;
                }
                // A reference definition is no place for formulas.
                None if content.starts_with('[') && content.contains("]:") => {}
                None => marks.line(line, start, paragraph, number),
            }
            start += line.len();
        }
        marks
    }

    fn line(&mut self, line: &str, start: usize, paragraph: usize, number: usize) {
        let bytes = line.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let escaped = bytes[at] == b'\\';
            let next = bytes.get(at + usize::from(escaped)).copied();
            let (kind, len) = match (escaped, next) {
                (_, Some(b'`')) => {
                    let from = at + usize::from(escaped);
                    let len = bytes[from..].iter().take_while(|&&b| b == b'`').count();
                    (Some(Kind::Ticks { len, escaped }), len + usize::from(escaped))
                }
                (true, Some(b @ (b'(' | b'['))) => (Some(Kind::Open(b)), 2),
                (true, Some(b')')) => (Some(Kind::Close(b'(')), 2),
                (true, Some(b']')) => (Some(Kind::Close(b'[')), 2),
                (true, Some(b'\\' | b'$')) => (None, 2),
                (false, Some(b'$')) if bytes.get(at + 1) == Some(&b'$') => (Some(Kind::Dollars), 2),
                (false, Some(b'$')) => (Some(Kind::Dollar), 1),
                _ => (None, 1),
            };
            if let Some(kind) = kind {
                let index = self.all.len();
                self.all.push(Mark { at: start + at, kind, paragraph, line: number });
                let key = match kind {
                    Kind::Ticks { len, .. } => Kind::Ticks { len, escaped: false },
                    other => other,
                };
                self.by_kind.entry(key).or_default().push(index);
            }
            at += len;
        }
    }

    /// The mark that closes what the mark at `index` opens.
    fn partner(&self, text: &str, index: usize) -> Option<usize> {
        let open = self.all[index];
        let key = match open.kind {
            Kind::Ticks { escaped: true, .. } | Kind::Close(_) => return None,
            Kind::Open(bracket) => Kind::Close(bracket),
            other => other,
        };
        let places = self.by_kind.get(&key)?;
        let end = *places.get(places.partition_point(|&place| place <= index))?;
        let close = self.all[end];
        if close.paragraph != open.paragraph {
            return None;
        }
        (open.kind != Kind::Dollar || (open.line == close.line && encloses(text, open.at, close.at)))
            .then_some(end)
    }
}

/// Whether the dollars at `open` and `close` enclose a formula and are no sums of money: no space
/// inside them, no letter or digit outside.
fn encloses(text: &str, open: usize, close: usize) -> bool {
    let space = |c: Option<char>| c.is_none_or(char::is_whitespace);
    let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let inside = &text[open + 1..close];
    !space(inside.chars().next())
        && !space(inside.chars().next_back())
        && !word(text[..open].chars().next_back())
        && !word(text[close + 1..].chars().next())
}
