//! Where one top-level block ends and the next begins, decided line by line.
//!
//! Each complete line is looked at once, so a growing answer costs linear time however it is cut
//! into pieces. The rules follow the block structure of CommonMark 0.31 closely enough that a
//! block rendered alone looks as it would in place; where in doubt a block is kept whole.

use std::ops::Range;

/// What a finished block is, as far as rendering must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Markdown that stands on its own.
    Plain,
    /// A footnote definition, `[^label]: …`.
    Footnote,
}

/// A block: its bytes in the whole text and its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub range: Range<usize>,
    pub form: Form,
}

/// The block that is open at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Paragraph,
    Fence(Fence),
    Math(&'static str),
    Quote,
    Indented,
    List(List),
    Footnote { blank: bool },
}

/// A fence: its character and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fence {
    pub mark: u8,
    pub len: usize,
}

/// A list: the character that makes it this list, the column where the item's content starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct List {
    kind: u8,
    content: usize,
    blank: bool,
    fence: Option<Fence>,
}

/// What a line does to the open block.
enum Step {
    /// It belongs to the block.
    Keep(Open),
    /// It is the last line of the block.
    Last,
    /// The block ended before this line.
    Before,
}

/// Splits a growing text. The text itself is kept by the caller and passed in again.
#[derive(Debug)]
pub(super) struct Splitter {
    open: Open,
    /// First byte of the open block.
    start: usize,
    /// First byte of the line that is not complete yet.
    line: usize,
    /// No newline stands between `line` and here.
    seen: usize,
}

impl Splitter {
    pub(super) fn new() -> Self {
        Self { open: Open::Nothing, start: 0, line: 0, seen: 0 }
    }

    /// Looks at the lines of `text` that became complete since the last call.
    pub(super) fn advance(&mut self, text: &str, done: &mut Vec<Piece>) {
        while let Some(at) = text[self.seen..].find('\n') {
            let end = self.seen + at + 1;
            self.take(text, end, done);
        }
        self.seen = text.len();
    }

    /// The text is complete: its last line counts, and the open block ends.
    pub(super) fn finish(&mut self, text: &str, done: &mut Vec<Piece>) {
        self.advance(text, done);
        if self.line < text.len() {
            self.take(text, text.len(), done);
        }
        self.close(text.len(), done);
        self.start = text.len();
    }

    /// The open block as it stands, an incomplete last line included.
    pub(super) fn open(&self, text: &str) -> Option<Piece> {
        let start = if self.open == Open::Nothing { self.line } else { self.start };
        (!text[start..].trim().is_empty()).then(|| Piece { range: start..text.len(), form: self.form() })
    }

    fn form(&self) -> Form {
        match self.open {
            Open::Footnote { .. } => Form::Footnote,
            _ => Form::Plain,
        }
    }

    /// The line from `self.line` to `end` is complete.
    fn take(&mut self, text: &str, end: usize, done: &mut Vec<Piece>) {
        let at = self.line;
        let line = Line::new(&text[at..end]);
        self.line = end;
        self.seen = end;
        match self.open.step(line) {
            Step::Keep(open) => self.open = open,
            Step::Last => self.close(end, done),
            Step::Before => {
                self.close(at, done);
                self.start = at;
                match Open::begin(line) {
                    Step::Keep(open) => self.open = open,
                    _ if line.is_blank() => {}
                    _ => {
                        self.open = Open::Paragraph;
                        self.close(end, done);
                    }
                }
            }
        }
    }

    fn close(&mut self, end: usize, done: &mut Vec<Piece>) {
        if self.open != Open::Nothing {
            done.push(Piece { range: self.start..end, form: self.form() });
            self.open = Open::Nothing;
        }
    }
}

impl Open {
    /// The block that a line starts; `Last` if the line is a block by itself or blank.
    fn begin(line: Line<'_>) -> Step {
        if line.is_blank() {
            return Step::Last;
        }
        if line.indent >= 4 {
            return Step::Keep(Self::Indented);
        }
        if let Some(fence) = fence(line.rest) {
            return Step::Keep(Self::Fence(fence));
        }
        if line.is_heading() || line.is_rule() {
            return Step::Last;
        }
        if line.rest.starts_with('>') {
            return Step::Keep(Self::Quote);
        }
        if let Some(item) = item(line.rest) {
            return Step::Keep(Self::List(List::new(line.indent, item)));
        }
        if footnote(line.rest).is_some() {
            return Step::Keep(Self::Footnote { blank: false });
        }
        match line.math() {
            Some((close, rest)) => Self::Math(close).math(rest),
            None => Step::Keep(Self::Paragraph),
        }
    }

    fn step(self, line: Line<'_>) -> Step {
        match self {
            Self::Nothing => Step::Before,
            Self::Paragraph => {
                if line.is_blank() {
                    Step::Before
                } else if line.is_underline() {
                    Step::Last
                } else if line.interrupts(false) {
                    Step::Before
                } else {
                    Step::Keep(self)
                }
            }
            Self::Fence(fence) => {
                if line.indent < 4 && fence.closes(line.rest) {
                    Step::Last
                } else {
                    Step::Keep(self)
                }
            }
            Self::Math(_) if line.is_blank() => Step::Before,
            Self::Math(_) => self.math(line.rest),
            Self::Quote => {
                if line.is_blank() || (!line.rest.starts_with('>') && line.interrupts(true)) {
                    Step::Before
                } else {
                    Step::Keep(self)
                }
            }
            Self::Indented => {
                if line.is_blank() || line.indent >= 4 {
                    Step::Keep(self)
                } else {
                    Step::Before
                }
            }
            Self::List(list) => list.step(line),
            Self::Footnote { blank } => {
                if line.is_blank() {
                    Step::Keep(Self::Footnote { blank: true })
                } else if line.indent < 2 && (blank || line.interrupts(true)) {
                    Step::Before
                } else {
                    Step::Keep(Self::Footnote { blank: false })
                }
            }
        }
    }

    /// A line of display mathematics: the last one if what closes it ends the line.
    fn math(self, line: &str) -> Step {
        let Self::Math(close) = self else { return Step::Keep(self) };
        match line.rfind(close) {
            Some(at) if line[at + close.len()..].trim_matches(punctuation).is_empty() => Step::Last,
            Some(_) => Step::Keep(Self::Paragraph),
            None => Step::Keep(self),
        }
    }
}

fn punctuation(c: char) -> bool {
    c.is_whitespace() || matches!(c, '.' | ',' | ';' | ':')
}

impl List {
    fn new(indent: usize, item: Item<'_>) -> Self {
        Self {
            kind: item.kind,
            content: indent + item.width,
            blank: false,
            fence: fence(strip_markers(item.rest)),
        }
    }

    fn step(mut self, line: Line<'_>) -> Step {
        if line.is_blank() {
            self.blank = true;
            return Step::Keep(Open::List(self));
        }
        if line.indent >= self.content {
            self.fence = match self.fence {
                Some(fence) if fence.closes(line.rest) => None,
                Some(fence) => Some(fence),
                None => fence(strip_markers(line.rest)),
            };
            self.blank = false;
            return Step::Keep(Open::List(self));
        }
        self.fence = None;
        if line.is_rule() {
            return Step::Before;
        }
        if line.indent < 4
            && let Some(item) = item(line.rest)
        {
            if item.kind == self.kind {
                return Step::Keep(Open::List(Self::new(line.indent, item)));
            }
            return Step::Before;
        }
        if self.blank || line.interrupts(true) {
            return Step::Before;
        }
        Step::Keep(Open::List(self))
    }
}

/// A line without its end: the columns it is indented by, and the rest.
#[derive(Clone, Copy)]
struct Line<'a> {
    indent: usize,
    rest: &'a str,
}

impl<'a> Line<'a> {
    fn new(line: &'a str) -> Self {
        let mut indent = 0;
        for (at, byte) in line.bytes().enumerate() {
            match byte {
                b' ' => indent += 1,
                b'\t' => indent += 4 - indent % 4,
                _ => return Self { indent, rest: line[at..].trim_end() },
            }
        }
        Self { indent, rest: "" }
    }

    fn is_blank(self) -> bool {
        self.rest.is_empty()
    }

    fn is_heading(self) -> bool {
        let text = self.rest.trim_start_matches('#');
        let level = self.rest.len() - text.len();
        self.indent < 4 && (1..=6).contains(&level) && (text.is_empty() || text.starts_with([' ', '\t']))
    }

    fn is_rule(self) -> bool {
        let Some(mark @ (b'-' | b'*' | b'_')) = self.rest.bytes().next() else { return false };
        self.indent < 4
            && self.rest.bytes().all(|b| b == mark || b == b' ' || b == b'\t')
            && self.rest.bytes().filter(|&b| b == mark).count() >= 3
    }

    /// The line under a setext heading.
    fn is_underline(self) -> bool {
        let mark = self.rest.bytes().next();
        self.indent < 4 && matches!(mark, Some(b'=' | b'-')) && self.rest.bytes().all(|b| Some(b) == mark)
    }

    /// Display mathematics: what will close it, and the line after what opens it.
    fn math(self) -> Option<(&'static str, &'a str)> {
        let open = self.rest.get(..2)?;
        let close = match open {
            "$$" => "$$",
            r"\[" => r"\]",
            _ => return None,
        };
        Some((close, &self.rest[2..]))
    }

    /// Whether the line ends a paragraph; `any_item`: also an item that could not stand in one.
    fn interrupts(self, any_item: bool) -> bool {
        self.indent < 4
            && (fence(self.rest).is_some()
                || self.is_heading()
                || self.is_rule()
                || self.rest.starts_with('>')
                || item(self.rest).is_some_and(|i| {
                    any_item || (!i.rest.trim().is_empty() && i.number.is_none_or(|n| n == 1))
                })
                || self.math().is_some()
                || footnote(self.rest).is_some())
    }
}

impl Fence {
    /// Whether a line (without its indentation) closes this fence.
    pub(super) fn closes(self, line: &str) -> bool {
        let run = line.bytes().take_while(|&b| b == self.mark).count();
        run >= self.len && line[run..].trim().is_empty()
    }
}

/// The fence that a line (without its indentation) opens.
pub(super) fn fence(line: &str) -> Option<Fence> {
    let mark = line.bytes().next().filter(|b| matches!(b, b'`' | b'~'))?;
    let len = line.bytes().take_while(|&b| b == mark).count();
    (len >= 3 && (mark == b'~' || !line[len..].contains('`'))).then_some(Fence { mark, len })
}

struct Item<'a> {
    kind: u8,
    number: Option<u32>,
    /// Columns from the marker to the content.
    width: usize,
    rest: &'a str,
}

/// The list item that a line (without its indentation) starts.
fn item(line: &str) -> Option<Item<'_>> {
    let digits = line.bytes().take(10).take_while(u8::is_ascii_digit).count();
    let kind = *line.as_bytes().get(digits)?;
    let number = match (digits, kind) {
        (0, b'-' | b'+' | b'*') => None,
        (1..=9, b'.' | b')') => Some(line[..digits].parse().ok()?),
        _ => return None,
    };
    let rest = &line[digits + 1..];
    let spaces = rest.bytes().take_while(|&b| b == b' ').count();
    if spaces == 0 && !rest.is_empty() && !rest.starts_with('\t') {
        return None;
    }
    let gap = if (1..=4).contains(&spaces) { spaces } else { 1 };
    Some(Item { kind, number, width: digits + 1 + gap, rest })
}

/// A line without the quote and list markers before its content.
pub(super) fn strip_markers(line: &str) -> &str {
    let mut rest = line.trim_start();
    loop {
        rest = match (rest.strip_prefix('>'), item(rest)) {
            (Some(inner), _) => inner.trim_start(),
            (None, Some(item)) if !item.rest.is_empty() => item.rest.trim_start(),
            _ => return rest,
        };
    }
}

/// The label and the rest of a footnote definition, `[^label]: rest`.
pub(super) fn footnote(line: &str) -> Option<(&str, &str)> {
    let (label, rest) = line.strip_prefix("[^")?.split_once("]:")?;
    let good = !label.is_empty() && label.len() <= 100 && !label.contains(['[', ']', '\n', ' ', '`']);
    good.then_some((label, rest))
}
