//! The `.env` file: `NAME=value` lines, which never reach the process's environment.

/// A line of the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub name: String,
    pub value: String,
    /// From 1.
    pub number: usize,
}

/// Reads the text of a `.env` file: blank lines, `#` comments, an optional `export`, values bare,
/// in single quotes (as they are) or in double quotes (with `\n`, `\t`, `\"`, `\\` and `\$`).
/// Nothing is expanded.
///
/// # Errors
/// Number of the faulty line and what is wrong with it, without its content.
pub fn parse(text: &str) -> Result<Vec<Line>, (usize, &'static str)> {
    let mut lines = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let (name, value) = line.split_once('=').ok_or((number, "expected NAME=value"))?;
        let name = name.trim_end();
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(letters) {
            return Err((number, "expected NAME=value, the name of letters, digits and _"));
        }
        let value = read_value(value.trim()).map_err(|words| (number, words))?;
        lines.push(Line { name: name.to_owned(), value, number });
    }
    Ok(lines)
}

fn read_value(value: &str) -> Result<String, &'static str> {
    const OPEN: &str = "the quoted value has no end on this line";
    const AFTER: &str = "something stands after the quoted value";
    let (text, rest) = if let Some(quoted) = value.strip_prefix('\'') {
        let (text, rest) = quoted.split_once('\'').ok_or(OPEN)?;
        (text.to_owned(), rest)
    } else if let Some(quoted) = value.strip_prefix('"') {
        let mut text = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next().ok_or(OPEN)? {
                '"' => break,
                '\\' => match chars.next().ok_or(OPEN)? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    c @ ('"' | '\\' | '$') => text.push(c),
                    c => text.extend(['\\', c]),
                },
                c => text.push(c),
            }
        }
        (text, chars.as_str())
    } else {
        let comment = value
            .char_indices()
            .find(|(at, c)| *c == '#' && value[..*at].chars().next_back().is_none_or(char::is_whitespace));
        return Ok(value[..comment.map_or(value.len(), |(at, _)| at)].trim_end().to_owned());
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') { Ok(text) } else { Err(AFTER) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_stand() {
        let text = "\u{feff}# a comment\n\nA=1\nexport B = two words # not this\nC='it\\n # $x'  # no\n\
                    D=\"a\\n\\\"b\\\" \\$c \\d\"\nE=\nF=a#b\nG=#c\r\nH=0123456\n";
        let lines = parse(text).unwrap();
        let read: Vec<(&str, &str)> = lines.iter().map(|l| (l.name.as_str(), l.value.as_str())).collect();
        assert_eq!(
            read,
            [
                ("A", "1"),
                ("B", "two words"),
                ("C", "it\\n # $x"),
                ("D", "a\n\"b\" $c \\d"),
                ("E", ""),
                ("F", "a#b"),
                ("G", ""),
                ("H", "0123456"),
            ]
        );
        assert_eq!(lines[0].number, 3);
    }

    #[test]
    fn a_faulty_line_is_told_by_its_number() {
        assert_eq!(parse("A=1\nhello").unwrap_err().0, 2);
        assert_eq!(parse("A B=1").unwrap_err().0, 1);
        assert_eq!(parse("A=\"x").unwrap_err(), (1, "the quoted value has no end on this line"));
        assert_eq!(parse("A='x' y").unwrap_err(), (1, "something stands after the quoted value"));
    }
}
