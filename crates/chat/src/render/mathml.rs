//! LaTeX to MathML Core, and the check of what comes out.
//!
//! The converter passes some of the author's text through as it is, and writes style attributes,
//! which the content security policy forbids. So its output is taken apart and written anew from
//! an allow-list; what is not well-formed is refused.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use pulldown_latex::{Parser, RenderConfig, Storage, config::DisplayMode, write_mathml};

use super::{
    formulas::MAX_TEX,
    latex::{adapt, is_plain},
};

/// How deep elements may stand in each other; browsers lay them out recursively.
const MAX_DEPTH: usize = 100;

/// The formula as a `<math>` element; `None` if it is not LaTeX that can be typeset.
pub(super) fn convert(tex: &str, display: bool) -> Option<String> {
    if tex.len() > MAX_TEX || !is_plain(tex) {
        return None;
    }
    // The converter is fed what a model writes; should it panic, the formula shows its source.
    catch_unwind(AssertUnwindSafe(|| {
        let tex = adapt(tex.trim());
        typeset(&tex, display).or_else(|| {
            // Rows and columns outside an environment are common, if wrong.
            let rows = display && (tex.contains(r"\\") || tex.contains('&'));
            rows.then(|| typeset(&format!(r"\begin{{aligned}}{tex}\end{{aligned}}"), display)).flatten()
        })
    }))
    .ok()
    .flatten()
}

fn typeset(tex: &str, display: bool) -> Option<String> {
    let storage = Storage::new();
    let events = Parser::new(tex, &storage).collect::<Result<Vec<_>, _>>().ok()?;
    let display_mode = if display { DisplayMode::Block } else { DisplayMode::Inline };
    let config = RenderConfig { display_mode, ..RenderConfig::default() };
    let mut out = Bounded { bytes: Vec::new(), limit: 4_096 + 64 * tex.len() };
    let events = events.into_iter().map(Ok::<_, std::convert::Infallible>);
    write_mathml(&mut out, events, config).ok()?;
    rewrite(std::str::from_utf8(&out.bytes).ok()?)
}

/// Takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const ELEMENTS: &[&str] = &[
    "math",
    "mfrac",
    "mi",
    "mn",
    "mo",
    "mover",
    "mroot",
    "mrow",
    "mspace",
    "msqrt",
    "msub",
    "msubsup",
    "msup",
    "mtable",
    "mtd",
    "mtext",
    "mtr",
    "munder",
    "munderover",
];
const ATTRIBUTES: &[&str] = &[
    "class",
    "depth",
    "display",
    "displaystyle",
    "height",
    "largeop",
    "linethickness",
    "mathvariant",
    "maxsize",
    "minsize",
    "movablelimits",
    "scriptlevel",
    "stretchy",
    "symmetric",
    "width",
];

/// Writes MathML anew with allowed elements and attributes only. Anything else that looks like a
/// tag is text. `None` if the elements are not nested as they should.
fn rewrite(mathml: &str) -> Option<String> {
    let mut out = String::with_capacity(mathml.len());
    let mut open: Vec<&str> = Vec::new();
    let mut rest = mathml;
    while let Some(at) = rest.find(['<', '>', '&', super::sanitize::MARK_OPEN, super::sanitize::MARK_CLOSE]) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(tag) = Tag::read(rest) {
            rest = &rest[tag.len..];
            if tag.closing {
                (open.pop()? == tag.name).then_some(())?;
                out.push_str("</");
                out.push_str(tag.name);
                out.push('>');
                // Only one element, and nothing after it.
                (!open.is_empty() || rest.is_empty()).then_some(())?;
                continue;
            }
            (open.is_empty() == (tag.name == "math") && open.len() < MAX_DEPTH).then_some(())?;
            out.push('<');
            out.push_str(tag.name);
            tag.attributes(&mut out);
            if tag.empty {
                out.push_str("></");
                out.push_str(tag.name);
            } else {
                open.push(tag.name);
            }
            out.push('>');
        } else if let Some(entity) =
            ["&lt;", "&gt;", "&amp;", "&nbsp;"].iter().find(|e| rest.starts_with(**e))
        {
            out.push_str(entity);
            rest = &rest[entity.len()..];
        } else {
            let len = rest.chars().next().map_or(0, char::len_utf8);
            super::sanitize::escape(&mut out, &rest[..len]);
            rest = &rest[len..];
        }
    }
    out.push_str(rest);
    (open.is_empty() && rest.is_empty()).then_some(out)
}

/// A tag at the start of a text.
struct Tag<'a> {
    name: &'a str,
    inside: &'a str,
    closing: bool,
    empty: bool,
    len: usize,
}

impl<'a> Tag<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let body = text.strip_prefix('<')?;
        let inside = &body[..body.find(['>', '<'])?];
        body[inside.len()..].starts_with('>').then_some(())?;
        let len = inside.len() + 2;
        let (closing, inside) = inside.strip_prefix('/').map_or((false, inside), |inside| (true, inside));
        let (empty, inside) = inside.strip_suffix('/').map_or((false, inside), |inside| (true, inside));
        let (name, inside) = inside.split_at(inside.find(' ').unwrap_or(inside.len()));
        ELEMENTS.contains(&name).then_some(Self { name, inside, closing, empty, len })
    }

    /// Writes the attributes that may stay. A value is plain by its characters.
    fn attributes(&self, out: &mut String) {
        let mut rest = self.inside;
        while let Some((name, after)) = rest.split_once("=\"") {
            let Some((value, after)) = after.split_once('"') else { return };
            rest = after;
            let name = name.trim();
            let plain =
                value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'-' | b'.' | b'%'));
            // `menv-` is what tables are laid out by; other classes have no meaning here.
            let known =
                name != "class" || value.split(' ').all(|c| c.starts_with("menv-") || c.starts_with("cell-"));
            if ATTRIBUTES.contains(&name) && plain && known {
                out.push(' ');
                out.push_str(name);
                out.push_str("=\"");
                out.push_str(value);
                out.push('"');
            }
        }
    }
}
