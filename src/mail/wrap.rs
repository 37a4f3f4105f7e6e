//! Lines of plain text, no longer than a mail program shows without breaking them itself.

/// Longest line, in characters (RFC 5322 asks for at most 78).
const WIDTH: usize = 72;

/// The words of `text` in lines, the first after `lead`, the others indented as far.
pub fn wrapped(text: &str, lead: &str) -> String {
    let indent = lead.chars().count();
    let mut out = lead.to_owned();
    let mut column = indent;
    for (n, word) in text.split_whitespace().enumerate() {
        let width = word.chars().count();
        if n > 0 {
            if column + 1 + width > WIDTH {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
                column = indent;
            } else {
                out.push(' ');
                column += 1;
            }
        }
        // A word that no line holds is broken anywhere.
        for c in word.chars() {
            if column >= WIDTH {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
                column = indent;
            }
            out.push(c);
            column += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_are_short_and_words_stay_whole() {
        assert_eq!(wrapped("a few words", "- "), "- a few words");
        let long = wrapped(&"seven w ".repeat(30), "- ");
        assert!(long.lines().all(|line| line.chars().count() <= 72), "{long}");
        assert!(long.lines().skip(1).all(|line| line.starts_with("  ") && !line.starts_with("   ")));
        let one = wrapped(&"x".repeat(200), "");
        assert_eq!(one.lines().map(|line| line.chars().count()).collect::<Vec<_>>(), [72, 72, 56]);
    }
}
