//! The reference of all keys, printed from the sections themselves: `docs/configuration.md`.

use std::fmt::Write as _;

use super::Config;
use super::source::{Named, PLAIN, variable_of};
use crate::logging::NEVER_LOGGED;

const INTRODUCTION: &str = "\
# Configuration

Every key, what it means and what it is without you. This page is printed from the source,
and a test keeps the two equal.

A value comes from the last of these that names it:

1. the default
2. `anteroom.toml` in the working folder, or the file given by `--config` or `ANTEROOM_CONFIG`
3. a `.env` file in the working folder, with the names of the next two
4. variables under the names that other programs use too, such as `DATABASE_URL`
5. variables under `ANTEROOM_…`: the section, two underscores, the key
6. the flags `--listen`, `--public-url`, `--data-dir` and `--profile`

In a variable the key's type says how it is read: a text stays as it is (`ANTEROOM_MAIL__PASSWORD=0123456`), a list is
separated by commas, a truth is `true` or `false`. An empty variable counts as not set, but under `ANTEROOM_…` it
empties a text or a list.

A wrong key or value stops the start with one line that says which, where it stands, and what was expected.
`anteroom config` prints what is in force, with secrets as `***`, and where each value came from.

## Profiles

`development` is for a trial on your own machine, and the default where the server listens on loopback. `testing` is
for automated tests. `production` is the default elsewhere. It refuses to start

- without a public URL that begins with `https://`,
- without a secret key, or with one under 32 random bytes,
- with a secret key file or `.env` that every user of the machine can read, or such an `anteroom.toml` with a secret
  in it,

and it warns of open sign-up without a mail server, and of an empty list of trusted proxies.
";

/// The reference as Markdown.
pub fn reference() -> String {
    let mut out = INTRODUCTION.to_owned();
    let defaults = Config::default();
    let named = Named::ALL.map(Named::blank);
    for section in defaults.sections().into_iter().chain(named.iter().map(|section| &**section)) {
        let _ = writeln!(out, "\n## `[{}]`\n\n{}\n", section.name(), sentence(section.about()));
        out.push_str("| key | default | meaning |\n|---|---|---|\n");
        for key in section.keys() {
            let default = match section.show(key.name).as_deref() {
                None | Some("\"\"" | "[]") => String::new(),
                Some(value) => format!("`{value}`"),
            };
            let _ = writeln!(out, "| `{}` | {default} | {} |", key.name, sentence(key.about));
        }
        if section.name() == "logging" {
            out.push_str("\nNever in the log, at whatever level:\n\n");
            for never in NEVER_LOGGED {
                let _ = writeln!(out, "- {never}");
            }
            out.push_str("\nA field named like one of these is written as `***`.\n");
        }
    }
    out.push_str("\n## Variables\n\n| variable | key |\n|---|---|\n");
    for (name, path) in PLAIN {
        let _ = writeln!(out, "| `{name}` | `{path}` |");
    }
    for section in defaults.sections() {
        for key in section.keys() {
            let path = format!("{}.{}", section.name(), key.name);
            let short = if section.name() == "server" {
                format!("`ANTEROOM_{}` or ", key.name.to_ascii_uppercase())
            } else {
                String::new()
            };
            let _ = writeln!(out, "| {short}`{}` | `{path}` |", variable_of(&path));
        }
    }
    for section in &named {
        for key in section.keys() {
            let path = format!("{}.{}", section.name(), key.name);
            let _ = writeln!(out, "| `{}` | `{path}` |", variable_of(&path));
        }
    }
    out
}

/// The lines of a doc comment as one.
fn sentence(about: &[&str]) -> String {
    about.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
