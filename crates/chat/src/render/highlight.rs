//! Code: the name of its language, and its colours as four classes.
//!
//! `k` keyword, `s` string, `n` number or constant, `c` comment.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr as _,
    sync::{Arc, LazyLock},
};

use parking_lot::Mutex;
use syntect::parsing::{ParseState, Scope, ScopeStack, ScopeStackOp, SyntaxReference, SyntaxSet};

use super::sanitize::escape;

/// Longer code stays plain, in bytes: colouring takes 2 to 5 microseconds a byte.
const MAX_CODE: usize = 64 << 10;
/// How much code of one text is coloured, in bytes.
pub(super) const MAX_TEXT: usize = 128 << 10;
/// How many languages are kept ready.
const MAX_GRAMMARS: usize = 6;
/// Code with a longer line stays plain, in bytes: the grammars' patterns are slow on such.
const MAX_LINE: usize = 1_000;

/// Names that a fence is marked with, the name that is shown, and the grammar's token.
const LANGUAGES: &[(&str, &str, &str)] = &[
    ("bash", "Bash", "bash"),
    ("c", "C", "c"),
    ("c#", "C#", "cs"),
    ("c++", "C++", "cpp"),
    ("console", "Shell", "bash"),
    ("cpp", "C++", "cpp"),
    ("cs", "C#", "cs"),
    ("csharp", "C#", "cs"),
    ("css", "CSS", "css"),
    ("diff", "Diff", "diff"),
    ("dockerfile", "Dockerfile", "bash"),
    ("go", "Go", "go"),
    ("golang", "Go", "go"),
    ("haskell", "Haskell", "hs"),
    ("hs", "Haskell", "hs"),
    ("html", "HTML", "html"),
    ("ini", "INI", "properties"),
    ("java", "Java", "java"),
    ("javascript", "JavaScript", "js"),
    ("js", "JavaScript", "js"),
    ("json", "JSON", "json"),
    ("json5", "JSON", "js"),
    ("jsonc", "JSON", "js"),
    ("jsx", "JSX", "js"),
    ("kotlin", "Kotlin", "java"),
    ("kt", "Kotlin", "java"),
    ("latex", "LaTeX", "tex"),
    ("lua", "Lua", "lua"),
    ("make", "Makefile", "make"),
    ("makefile", "Makefile", "make"),
    ("markdown", "Markdown", "md"),
    ("md", "Markdown", "md"),
    ("perl", "Perl", "pl"),
    ("pl", "Perl", "pl"),
    ("php", "PHP", "php"),
    ("powershell", "PowerShell", ""),
    ("py", "Python", "py"),
    ("python", "Python", "py"),
    ("python3", "Python", "py"),
    ("r", "R", "r"),
    ("rb", "Ruby", "rb"),
    ("rs", "Rust", "rs"),
    ("ruby", "Ruby", "rb"),
    ("rust", "Rust", "rs"),
    ("scala", "Scala", "scala"),
    ("sh", "Shell", "bash"),
    ("shell", "Shell", "bash"),
    ("sql", "SQL", "sql"),
    ("swift", "Swift", "rs"),
    ("tex", "LaTeX", "tex"),
    ("text", "Text", ""),
    ("toml", "TOML", "py"),
    ("ts", "TypeScript", "js"),
    ("tsx", "TSX", "js"),
    ("txt", "Text", ""),
    ("typescript", "TypeScript", "js"),
    ("xml", "XML", "xml"),
    ("yaml", "YAML", "yaml"),
    ("yml", "YAML", "yaml"),
    ("zsh", "Shell", "bash"),
];

/// A language: the name that is shown, and the token that finds its grammar (empty: none).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Language<'a> {
    pub name: &'a str,
    pub token: &'a str,
}

impl<'a> Language<'a> {
    /// From what stands behind the fence.
    pub(super) fn from_info(info: &'a str) -> Self {
        let word =
            info.trim_start_matches(['{', '.', ' ']).split([' ', '\t', ',', '{', '}', ':', '=']).next();
        let word = word.unwrap_or_default();
        let known = LANGUAGES.iter().find(|(mark, ..)| mark.eq_ignore_ascii_case(word));
        match (known, word) {
            (Some(&(_, name, token)), _) => Self { name, token },
            (None, "") => Self { name: "Text", token: "" },
            (None, word) => {
                let word = &word[..word.floor_char_boundary(40)];
                Self { name: word, token: word }
            }
        }
    }
}

/// Grammars, and which of them have been used: each keeps its compiled patterns, some 10 MB.
struct Grammars {
    set: Arc<SyntaxSet>,
    used: Vec<String>,
}

/// Loaded when the first code is coloured.
static GRAMMARS: Mutex<Option<Grammars>> = Mutex::new(None);

/// A grammar of its set, which is loaded anew when too many of it have been used.
fn grammar(token: &str) -> Option<(Arc<SyntaxSet>, String)> {
    let mut grammars = GRAMMARS.lock();
    let load = || Grammars { set: Arc::new(SyntaxSet::load_defaults_newlines()), used: Vec::new() };
    let loaded = grammars.get_or_insert_with(load);
    let name = loaded.set.find_syntax_by_token(token)?.name.clone();
    if !loaded.used.contains(&name) {
        if loaded.used.len() >= MAX_GRAMMARS {
            *loaded = load();
        }
        loaded.used.push(name.clone());
    }
    Some((Arc::clone(&loaded.set), name))
}

/// Code as HTML with coloured spans; `None` if it should stay plain.
pub(super) fn highlight(code: &str, token: &str) -> Option<String> {
    if !is_fit(code, token) {
        return None;
    }
    let (set, name) = grammar(token)?;
    // Grammars are data; should one of their patterns panic, the code stays plain.
    catch_unwind(AssertUnwindSafe(|| colour(code, &set, set.find_syntax_by_name(&name)?))).ok().flatten()
}

/// Whether code is small enough to be coloured, and there is a name to find its grammar by.
fn is_fit(code: &str, token: &str) -> bool {
    !token.is_empty() && code.len() <= MAX_CODE && code.lines().all(|line| line.len() <= MAX_LINE)
}

fn colour(code: &str, set: &SyntaxSet, grammar: &SyntaxReference) -> Option<String> {
    let mut out = Spans { html: String::with_capacity(code.len() * 2), class: None, gap: String::new() };
    let mut state = ParseState::new(grammar);
    let mut stack = ScopeStack::new();
    let mut class = None;
    // The grammars want each line with its end, the last one too.
    let code = format!("{code}\n");
    for line in code.split_inclusive('\n') {
        let mut from = 0;
        for (at, op) in state.parse_line(line, set).ok()? {
            out.push(line.get(from..at)?, class);
            from = at;
            stack.apply(&op).ok()?;
            if op != ScopeStackOp::Noop {
                class = class_of(&stack);
            }
        }
        out.push(line.get(from..)?, class);
    }
    Some(out.finish())
}

/// Scopes by their prefix, the most particular first, and their class; a space is none.
static CLASSES: LazyLock<Vec<(Scope, Option<char>)>> = LazyLock::new(|| {
    [
        ("comment", 'c'),
        ("meta.interpolation", ' '),
        ("meta.template.expression", ' '),
        ("source.embedded", ' '),
        ("string", 's'),
        ("constant.character", 's'),
        ("constant", 'n'),
        ("keyword.operator.word", 'k'),
        ("keyword.operator.logical.python", 'k'),
        ("keyword.operator", ' '),
        ("keyword", 'k'),
        ("storage", 'k'),
        ("variable.language", 'k'),
        ("support.type", 'k'),
        ("entity.name.tag", 'k'),
        ("markup.deleted", 's'),
        ("markup.inserted", 'n'),
        ("markup.heading", 'k'),
    ]
    .into_iter()
    .filter_map(|(scope, class)| Some((Scope::from_str(scope).ok()?, (class != ' ').then_some(class))))
    .collect()
});

/// The class of the innermost scope that has one.
fn class_of(stack: &ScopeStack) -> Option<char> {
    stack.as_slice().iter().rev().find_map(|scope| {
        CLASSES.iter().find(|(prefix, _)| prefix.is_prefix_of(*scope)).map(|&(_, class)| class)
    })?
}

/// Joins what has the same class, across white space too.
struct Spans {
    html: String,
    class: Option<char>,
    /// White space that may yet belong to the span.
    gap: String,
}

impl Spans {
    fn push(&mut self, text: &str, class: Option<char>) {
        let body = text.trim_end();
        if body.is_empty() {
            self.gap.push_str(text);
            return;
        }
        if class != self.class {
            self.close();
            if let Some(class) = class {
                self.html.push_str(&std::mem::take(&mut self.gap));
                self.html.push_str("<span class=\"");
                self.html.push(class);
                self.html.push_str("\">");
            }
            self.class = class;
        }
        self.html.push_str(&std::mem::take(&mut self.gap));
        escape(&mut self.html, body);
        self.gap.push_str(&text[body.len()..]);
    }

    fn close(&mut self) {
        if self.class.take().is_some() {
            self.html.push_str("</span>");
        }
    }

    fn finish(mut self) -> String {
        self.close();
        self.html.push_str(self.gap.strip_suffix('\n').unwrap_or(&self.gap));
        self.html
    }
}
