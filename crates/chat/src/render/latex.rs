//! What models write and the typesetter does not know, in words that it knows.

use std::borrow::Cow;

/// How deep braces may stand in each other.
const MAX_DEPTH: usize = 50;

/// Commands that define commands: a short text could grow without end.
const DEFINITIONS: &[&str] =
    &["def", "gdef", "edef", "xdef", "let", "futurelet", "newcommand", "renewcommand", "providecommand"];

/// What stands for a command.
enum Change {
    Word(&'static str),
    /// Its group goes too.
    Drop,
    /// Its group stands between these.
    Around(&'static str, &'static str),
}

fn change(command: &str) -> Option<Change> {
    Some(match command {
        "boxed" | "nonumber" | "notag" | "smash" => Change::Word(""),
        "label" | "phantom" | "vphantom" | "hphantom" => Change::Drop,
        "tag" => Change::Around(r"\qquad\text{(", ")}"),
        "bm" => Change::Word(r"\boldsymbol"),
        "mathscr" => Change::Word(r"\mathcal"),
        "mbox" | "fbox" | "ce" | "intertext" => Change::Word(r"\text"),
        "mod" => Change::Word(r"\bmod"),
        "argmax" => Change::Word(r"\operatorname{arg\,max}"),
        "argmin" => Change::Word(r"\operatorname{arg\,min}"),
        "abs" => Change::Around(r"\left|", r"\right|"),
        "norm" => Change::Around(r"\left\|", r"\right\|"),
        _ => return None,
    })
}

/// Whether a formula is worth a try: it defines nothing, and its braces are not too deep.
pub(super) fn is_plain(tex: &str) -> bool {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in tex.bytes() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest <= MAX_DEPTH && !tex.split('\\').skip(1).any(|rest| DEFINITIONS.contains(&word(rest)))
}

/// The letters that a text begins with.
fn word(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len())]
}

/// The formula with such commands replaced.
pub(super) fn adapt(tex: &str) -> Cow<'_, str> {
    let (mut out, mut done, mut at) = (String::new(), 0, 0);
    while let Some(found) = tex[at..].find('\\') {
        let start = at + found;
        let command = word(&tex[start + 1..]);
        at = start + 1 + command.len().max(tex[start + 1..].chars().next().map_or(0, char::len_utf8));
        let Some(change) = change(command) else { continue };
        let after = tex[at..].strip_prefix('*').unwrap_or(&tex[at..]);
        let (text, rest) = match (change, group(after)) {
            (Change::Word(word), _) => (Cow::Borrowed(word), &tex[at..]),
            (Change::Drop, Some((_, rest))) => (Cow::Borrowed(""), rest),
            (Change::Around(open, close), Some((inner, rest))) => {
                (Cow::Owned(format!("{open}{}{close}", adapt(inner))), rest)
            }
            (_, None) => continue,
        };
        out.push_str(&tex[done..start]);
        out.push_str(&text);
        at = tex.len() - rest.len();
        done = at;
    }
    if done == 0 {
        return Cow::Borrowed(tex);
    }
    out.push_str(&tex[done..]);
    Cow::Owned(out)
}

/// The inside of the group that a text begins with, and what follows it.
fn group(text: &str) -> Option<(&str, &str)> {
    let body = text.trim_start().strip_prefix('{')?;
    let mut depth = 0;
    let mut escaped = false;
    for (at, byte) in body.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some((&body[..at], &body[at + 1..])),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{adapt, is_plain};

    #[test]
    fn unknown_commands_become_known_ones() {
        assert_eq!(adapt(r"\frac{a}{b} \left( x \right)"), r"\frac{a}{b} \left( x \right)");
        assert_eq!(adapt(r"\boxed{x} \tag{1}"), r"{x} \qquad\text{(1)}");
        assert_eq!(adapt(r"a \label{e:1}\\ \abs{\bm{x}}"), r"a \\ \left|\boldsymbol{x}\right|");
        assert_eq!(adapt(r"\tag{a"), r"\tag{a");
        assert_eq!(adapt("\\é \\"), "\\é \\");
    }

    #[test]
    fn definitions_and_depth_are_refused() {
        assert!(is_plain(r"\left(\delta{x}\right)") && is_plain(&"{".repeat(50)));
        assert!(!is_plain(r"\def\a{b}") && !is_plain(r"x\newcommand{\a}{b}") && !is_plain(&"{".repeat(51)));
    }
}
