//! Every statement of the sources is prepared on the engine under test.

use std::path::Path;

use crate::harness::TestApp;

/// The literals of `sql!("…")` and `sql!(r"…")` in a source text.
fn statements(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in source.split("sql!(").skip(1) {
        let rest = rest.trim_start();
        let (rest, raw) = match rest.strip_prefix('r') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let Some(text) = rest[hashes..].strip_prefix('"') else { continue };
        let end = if raw {
            text.find(&format!("\"{}", "#".repeat(hashes)))
        } else {
            let mut escaped = false;
            text.char_indices().find_map(|(i, c)| match c {
                _ if std::mem::take(&mut escaped) => None,
                '\\' => {
                    escaped = true;
                    None
                }
                '"' => Some(i),
                _ => None,
            })
        };
        let text = &text[..end.unwrap_or_else(|| panic!("an open literal after sql!("))];
        found.push(if raw { text.to_owned() } else { unescape(text) });
    }
    found
}

/// `\"`, `\\`, `\n`, and a line's end with the white space after it.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
            Some('n') => out.push('\n'),
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

fn collect(folder: &Path, out: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            out.extend(statements(&source).into_iter().map(|text| (path.display().to_string(), text)));
        }
    }
}

#[tokio::test]
async fn every_statement_prepares_on_this_engine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for part in ["base", "accounts", "usage", "chat", "upstream"] {
        collect(&root.join("crates").join(part).join("src"), &mut all);
    }
    assert!(all.len() > 100, "only {} statements were found", all.len());
    let app = TestApp::start().await;
    let mut refused = Vec::new();
    for (path, text) in &all {
        if let Err(error) = app.app.db.prepare(text).await {
            refused.push(format!("{path}: {error}\n{text}"));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n\n"));
}

/// SQL stands only in the crate that owns the table: the application has none.
#[test]
fn the_application_has_no_sql() {
    let mut all = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    assert!(all.is_empty(), "{all:?}");
}

#[test]
fn literals_are_found() {
    let source = r##"x(sql!("SELECT \"a\" \
        FROM b"), sql!(r"c '\' d"), sql!( r#"e "f""# ))"##;
    assert_eq!(statements(source), ["SELECT \"a\" FROM b", r"c '\' d", "e \"f\""]);
}
