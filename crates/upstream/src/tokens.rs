//! A rough count of tokens, for answers whose upstream reports none.

/// Estimates the tokens of a text: about 4 bytes a token for ASCII, and 3 bytes a token for the
/// rest of UTF-8 (a Chinese character is about one token, a Cyrillic letter two thirds). No
/// tokenizer is asked: the error is commonly within a third, so mark the number as estimated.
#[must_use]
pub fn estimate_tokens(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count() as u64;
    let other = text.len() as u64 - ascii;
    (ascii * 3 + other * 4).div_ceil(12)
}

#[cfg(test)]
mod tests {
    use super::estimate_tokens;

    #[test]
    fn estimates_are_plausible() {
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("a"), 1);
        assert_eq!(estimate_tokens("The quick brown fox jumps over it"), 9);
        assert_eq!(estimate_tokens("你好世界"), 4);
    }
}
