//! How an answer's blocks stand in `messages.html`.

use std::fmt::Write as _;

/// The blocks, each in an element that names its index, as pages and streams address them.
pub fn join<S: AsRef<str>>(blocks: &[S]) -> String {
    let size: usize = blocks.iter().map(|block| block.as_ref().len() + 48).sum();
    let mut out = String::with_capacity(size);
    for (index, block) in blocks.iter().enumerate() {
        // Writing to a String does not fail.
        let _ = write!(out, "<div class=\"block\" data-index=\"{index}\">{}</div>", block.as_ref());
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn blocks_carry_their_index() {
        assert_eq!(
            super::join(&["<p>a</p>", "<p>b</p>"]),
            r#"<div class="block" data-index="0"><p>a</p></div><div class="block" data-index="1"><p>b</p></div>"#
        );
    }
}
