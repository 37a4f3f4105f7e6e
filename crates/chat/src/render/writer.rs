//! Markdown events to HTML of fixed tags and escaped text.

use std::{fmt::Write as _, ops::Range};

use pulldown_cmark::{Alignment, CodeBlockKind, Event, HeadingLevel, LinkType, Tag};

use super::{
    formulas::Formula,
    highlight::{self, Language},
    mathml,
    sanitize::{MARK_CLOSE, MARK_OPEN, data_image, escape, escape_attribute, host, link},
};

/// Elements that stand deeper are left out, their text stays.
const MAX_DEPTH: usize = 40;

/// HTML that models write in Markdown and that means what it looks like.
const INLINE: &[(&str, &str)] = &[("<sub>", "</sub>"), ("<sup>", "</sup>"), ("<kbd>", "</kbd>")];

/// An element that is open.
struct Frame {
    close: &'static str,
    paragraph: Paragraph,
    /// It may hold blocks, so that a displayed formula can stand in it as one.
    flow: bool,
    /// How many elements of [`INLINE`] were open when it began.
    inline: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Paragraph {
    No,
    /// Its tag is written.
    Begun,
    /// A displayed formula broke it; its tag comes back with the next text.
    Broken,
}

/// What text is collected for instead of being written.
enum Collect {
    Code { text: String, info: String },
    Html(String),
    Image { text: String, url: String, depth: usize },
}

pub(super) struct Writer<'a, 'f> {
    source: &'a str,
    formulas: &'a mut [Formula<'f>],
    /// How many bytes of code may be coloured.
    colours: usize,
    out: String,
    frames: Vec<Frame>,
    inline: Vec<&'static str>,
    collect: Option<Collect>,
    links: usize,
    note: Option<String>,
    columns: Vec<Alignment>,
    column: usize,
    cells: usize,
    head: bool,
}

impl<'a, 'f> Writer<'a, 'f> {
    pub(super) fn new(source: &'a str, formulas: &'a mut [Formula<'f>], colours: usize) -> Self {
        Self {
            source,
            formulas,
            colours,
            out: String::with_capacity(source.len() * 2),
            frames: Vec::new(),
            inline: Vec::new(),
            collect: None,
            links: 0,
            note: None,
            columns: Vec::new(),
            column: 0,
            cells: 0,
            head: false,
        }
    }

    /// What follows is the text of a footnote.
    pub(super) fn begin_note(&mut self, label: &str) {
        self.push("<div class=\"footnote\">", "</div>", true);
        self.note = Some(label.to_owned());
    }

    /// The HTML, and how many bytes of code may still be coloured.
    pub(super) fn finish(mut self) -> (String, usize) {
        self.write_note();
        while !self.frames.is_empty() {
            self.end();
        }
        (self.out, self.colours)
    }

    /// Writes an event, which stands in `range` of the source; `known` tells whether there is a
    /// footnote of that label.
    pub(super) fn event(&mut self, event: Event<'_>, range: Range<usize>, known: impl FnOnce(&str) -> bool) {
        if self.collect.is_some() {
            self.collect(event);
            return;
        }
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(_) => self.end(),
            Event::Text(text) => {
                // A token counts only where it stands in the source itself, not as an entity.
                let tokens = text.contains(MARK_OPEN) && self.source.get(range) == Some(&*text);
                self.text(&text, tokens);
            }
            Event::Code(code) => {
                self.begin_text();
                let code = self.restore(&code);
                self.out.push_str("<code>");
                escape(&mut self.out, &code);
                self.out.push_str("</code>");
            }
            Event::Html(html) | Event::InlineHtml(html) => self.html(&html),
            Event::FootnoteReference(label) => {
                self.begin_text();
                let (open, close) = if known(&label) { ("<sup>", "</sup>") } else { ("[^", "]") };
                let label = self.restore(&label);
                self.out.push_str(open);
                escape(&mut self.out, &label);
                self.out.push_str(close);
            }
            Event::SoftBreak => self.line_break("\n"),
            Event::HardBreak => self.line_break("<br>\n"),
            Event::Rule => self.out.push_str("<hr>"),
            Event::TaskListMarker(done) => {
                let (checked, label) = if done { (" checked", "Done") } else { ("", "To do") };
                let _ =
                    write!(self.out, "<input type=\"checkbox\" disabled{checked} aria-label=\"{label}\"> ");
            }
            // Formulas are found before the Markdown is parsed.
            Event::InlineMath(text) | Event::DisplayMath(text) => self.text(&text, false),
        }
    }

    /// Opens an element; too deep, only its text will be there.
    fn push(&mut self, open: &str, close: &'static str, flow: bool) {
        let deep = self.frames.len() >= MAX_DEPTH;
        if !deep {
            self.out.push_str(open);
        }
        self.frames.push(Frame {
            close: if deep { "" } else { close },
            paragraph: if open == "<p>" && !deep { Paragraph::Begun } else { Paragraph::No },
            flow: flow && !deep,
            inline: self.inline.len(),
        });
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => {
                self.push("<p>", "</p>", false);
                self.write_note();
            }
            Tag::Heading { level, .. } => {
                let (open, close) = heading(level);
                self.push(open, close, false);
            }
            Tag::BlockQuote(_) => self.push("<blockquote>", "</blockquote>", true),
            Tag::List(Some(1)) => self.push("<ol>", "</ol>", false),
            Tag::List(Some(start)) => self.push(&format!("<ol start=\"{start}\">"), "</ol>", false),
            Tag::List(None) => self.push("<ul>", "</ul>", false),
            Tag::Item => self.push("<li>", "</li>", true),
            Tag::FootnoteDefinition(label) => {
                let label = self.restore(&label);
                self.begin_note(&label);
            }
            Tag::CodeBlock(kind) => {
                let info = match kind {
                    CodeBlockKind::Fenced(info) => self.restore(&info),
                    CodeBlockKind::Indented => String::new(),
                };
                self.collect = Some(Collect::Code { text: String::new(), info });
            }
            Tag::HtmlBlock => self.collect = Some(Collect::Html(String::new())),
            Tag::Image { dest_url, .. } => {
                let url = self.restore(&dest_url);
                self.collect = Some(Collect::Image { text: String::new(), url, depth: 0 });
            }
            Tag::Table(columns) => {
                self.columns = columns;
                self.push(
                    "<div class=\"table-scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table>",
                    "</tbody></table></div>",
                    false,
                );
            }
            Tag::TableHead => {
                (self.column, self.head) = (0, true);
                self.push("<thead><tr>", "</tr></thead><tbody>", false);
            }
            Tag::TableRow => {
                self.column = 0;
                self.push("<tr>", "</tr>", false);
            }
            Tag::TableCell => self.cell(),
            Tag::Link { link_type, dest_url, .. } => self.link(link_type, &dest_url),
            Tag::Emphasis => self.inline_element("<em>", "</em>"),
            Tag::Strong => self.inline_element("<strong>", "</strong>"),
            Tag::Strikethrough => self.inline_element("<del>", "</del>"),
            Tag::Superscript => self.inline_element("<sup>", "</sup>"),
            Tag::Subscript => self.inline_element("<sub>", "</sub>"),
            // Extensions that are off.
            Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::MetadataBlock(_) => {
                self.push("", "", false);
            }
        }
    }

    fn inline_element(&mut self, open: &str, close: &'static str) {
        self.begin_text();
        self.push(open, close, false);
    }

    /// Closes the innermost element, and what HTML left open in it.
    fn end(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        while self.inline.len() > frame.inline
            && let Some(close) = self.inline.pop()
        {
            self.out.push_str(close);
        }
        match frame.close {
            "</tr></thead><tbody>" => self.head = false,
            "</a>" => self.links -= 1,
            _ => {}
        }
        if frame.paragraph != Paragraph::Broken {
            self.out.push_str(frame.close);
        }
        if matches!(frame.close, "</p>" | "</li>" | "</ul>" | "</ol>" | "</blockquote>" | "</tr>") {
            self.out.push('\n');
        }
    }

    fn cell(&mut self) {
        // Short rows are filled up to the width of the head; a text cannot multiply that way.
        self.cells += 1;
        if self.cells > self.source.len() + 64 {
            self.push("", "", false);
            return;
        }
        let number = self.columns.get(self.column) == Some(&Alignment::Right);
        self.column += 1;
        match (self.head, number) {
            (true, true) => self.push("<th scope=\"col\" class=\"n\">", "</th>", false),
            (true, false) => self.push("<th scope=\"col\">", "</th>", false),
            (false, true) => self.push("<td class=\"n\">", "</td>", false),
            (false, false) => self.push("<td>", "</td>", false),
        }
    }

    /// A link that leads where links may; else its text alone.
    fn link(&mut self, kind: LinkType, url: &str) {
        self.begin_text();
        let mut url = self.restore(url);
        if kind == LinkType::Email {
            url.insert_str(0, "mailto:");
        }
        if self.links > 0 || self.frames.len() >= MAX_DEPTH || link(&url).is_none() {
            self.push("", "", false);
            return;
        }
        let mut open = String::from("<a href=\"");
        escape_attribute(&mut open, &url);
        open.push_str("\">");
        self.push(&open, "</a>", false);
        self.links += 1;
    }

    /// A paragraph that a formula broke goes on.
    fn begin_text(&mut self) {
        if let Some(frame) = self.frames.last_mut()
            && frame.paragraph == Paragraph::Broken
        {
            frame.paragraph = Paragraph::Begun;
            self.out.push_str("<p>");
        }
    }

    fn line_break(&mut self, html: &str) {
        if !self.frames.last().is_some_and(|frame| frame.paragraph == Paragraph::Broken) {
            self.out.push_str(html);
        }
    }

    fn text(&mut self, text: &str, tokens: bool) {
        if !tokens {
            self.write_text(text);
            return;
        }
        let mut rest = text;
        while let Some((before, number, after)) = token(rest) {
            self.write_text(before);
            self.formula(number);
            rest = after;
        }
        self.write_text(rest);
    }

    fn write_text(&mut self, text: &str) {
        let broken = self.frames.last().is_some_and(|frame| frame.paragraph == Paragraph::Broken);
        let text = if broken { text.trim_start() } else { text };
        if !text.is_empty() {
            self.begin_text();
            escape(&mut self.out, text);
        }
    }

    /// Leaves the mark of a formula, which is typeset now and put in after sanitizing.
    fn formula(&mut self, number: usize) {
        let Some(formula) = self.formulas.get_mut(number).filter(|formula| !formula.used) else {
            self.out.push('\u{FFFD}');
            return;
        };
        let display = formula.display;
        let (source, html) = (formula.source, mathml::convert(&formula.tex, display));
        formula.used = html.is_some();
        let typeset = html.is_some();
        formula.html = html.unwrap_or_default();
        let block = display && self.inline.is_empty();
        match self.frames.last_mut() {
            Some(frame) if block && frame.paragraph != Paragraph::No => {
                if frame.paragraph == Paragraph::Begun {
                    let kept = self.out.trim_end().len();
                    self.out.truncate(kept);
                    if self.out.ends_with("<p>") {
                        self.out.truncate(kept - "<p>".len());
                    } else {
                        self.out.push_str("</p>");
                    }
                }
                frame.paragraph = Paragraph::Broken;
                self.out.push_str("<div class=\"tex\" tabindex=\"0\">");
            }
            Some(frame) if block && frame.flow => self.out.push_str("<div class=\"tex\" tabindex=\"0\">"),
            _ => {
                self.begin_text();
                self.mark(number, typeset, source);
                return;
            }
        }
        self.mark(number, typeset, source);
        self.out.push_str("</div>");
    }

    fn mark(&mut self, number: usize, typeset: bool, source: &str) {
        if typeset {
            let _ = write!(self.out, "{MARK_OPEN}{number}{MARK_CLOSE}");
        } else {
            self.out.push_str("<code class=\"tex-error\">");
            escape(&mut self.out, source);
            self.out.push_str("</code>");
        }
    }

    /// A text that is no place for formulas: their source stands there again.
    fn restore(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, number, after)) = token(rest) {
            out.push_str(before);
            match self.formulas.get_mut(number).filter(|formula| !formula.used) {
                Some(formula) => {
                    formula.used = true;
                    out.push_str(formula.source);
                }
                None => out.push('\u{FFFD}'),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// HTML of the model is text, but for line breaks and a few plain elements.
    fn html(&mut self, html: &str) {
        self.begin_text();
        let lower = html.to_ascii_lowercase();
        let deep = self.inline.len() + self.frames.len() >= MAX_DEPTH;
        if matches!(&*lower, "<br>" | "<br/>" | "<br />") {
            self.out.push_str("<br>");
        } else if let Some((open, close)) = INLINE.iter().find(|(open, _)| *open == lower).filter(|_| !deep) {
            self.out.push_str(open);
            self.inline.push(close);
        } else if self.inline.last().is_some_and(|close| *close == lower)
            && self.frames.last().is_none_or(|frame| frame.inline < self.inline.len())
        {
            self.inline.pop();
            self.out.push_str(&lower);
        } else {
            let html = self.restore(html);
            escape(&mut self.out, &html);
        }
    }

    fn write_note(&mut self) {
        if let Some(label) = self.note.take() {
            self.out.push_str("<sup>");
            escape(&mut self.out, &label);
            self.out.push_str("</sup> ");
        }
    }

    fn collect(&mut self, event: Event<'_>) {
        let Some(mut collect) = self.collect.take() else { return };
        let done = match (&mut collect, event) {
            (Collect::Image { depth, .. }, Event::Start(_)) => {
                *depth += 1;
                false
            }
            (Collect::Image { depth, .. }, Event::End(_)) if *depth > 0 => {
                *depth -= 1;
                false
            }
            (_, Event::End(_)) => true,
            (Collect::Code { text, .. } | Collect::Html(text) | Collect::Image { text, .. }, event) => {
                match event {
                    Event::Text(part) | Event::Code(part) | Event::Html(part) | Event::InlineHtml(part) => {
                        text.push_str(&part);
                    }
                    Event::SoftBreak | Event::HardBreak => text.push(' '),
                    _ => {}
                }
                false
            }
        };
        if !done {
            self.collect = Some(collect);
            return;
        }
        match collect {
            Collect::Code { text, info } => {
                let text = self.restore(&text);
                self.code(&text, Language::from_info(&info));
            }
            Collect::Html(text) => {
                let text = self.restore(&text);
                let line = text.trim();
                if line.contains('\n') {
                    self.code(&text, Language::from_info("html"));
                } else if !line.is_empty() {
                    self.push("<p>", "</p>", false);
                    self.html(line);
                    self.end();
                }
            }
            Collect::Image { text, url, .. } => {
                let text = self.restore(&text);
                self.image(&text, &url);
            }
        }
    }

    fn code(&mut self, code: &str, language: Language<'_>) {
        let code = code.strip_suffix('\n').unwrap_or(code);
        self.out.push_str("<figure class=\"code\"><figcaption><span>");
        escape(&mut self.out, language.name);
        self.out.push_str(
            "</span><button class=\"btn btn--quiet btn--s\" type=\"button\" data-copy hidden>Copy</button></figcaption>\
             <pre tabindex=\"0\"><code>",
        );
        let coloured =
            (code.len() <= self.colours).then(|| highlight::highlight(code, language.token)).flatten();
        match coloured {
            Some(html) => {
                self.colours -= code.len();
                self.out.push_str(&html);
            }
            None => escape(&mut self.out, code),
        }
        self.out.push_str("</code></pre></figure>\n");
    }

    /// An image that carries its bytes is shown; any other is a link that names its host.
    fn image(&mut self, text: &str, url: &str) {
        self.begin_text();
        if data_image(url) {
            self.out.push_str("<img src=\"");
            self.out.push_str(url);
            self.out.push_str("\" alt=\"");
            escape_attribute(&mut self.out, text);
            self.out.push_str("\">");
            return;
        }
        let host = host(url);
        let anchor = host.is_some() && self.links == 0;
        if anchor {
            self.out.push_str("<a href=\"");
            escape_attribute(&mut self.out, url);
            self.out.push_str("\">");
        }
        self.out.push_str("image");
        for (before, part) in [(" at ", host.unwrap_or_default()), (": ", text)] {
            if !part.is_empty() {
                self.out.push_str(before);
                escape(&mut self.out, part);
            }
        }
        if anchor {
            self.out.push_str("</a>");
        }
    }
}

/// The first token in a text: what stands before it, its number, what stands after.
fn token(text: &str) -> Option<(&str, usize, &str)> {
    let (before, rest) = text.split_once(MARK_OPEN)?;
    let (number, after) = rest.split_once(MARK_CLOSE)?;
    Some((before, number.parse().unwrap_or(usize::MAX), after))
}

fn heading(level: HeadingLevel) -> (&'static str, &'static str) {
    match level {
        HeadingLevel::H1 => ("<h1>", "</h1>"),
        HeadingLevel::H2 => ("<h2>", "</h2>"),
        HeadingLevel::H3 => ("<h3>", "</h3>"),
        HeadingLevel::H4 => ("<h4>", "</h4>"),
        HeadingLevel::H5 => ("<h5>", "</h5>"),
        HeadingLevel::H6 => ("<h6>", "</h6>"),
    }
}
