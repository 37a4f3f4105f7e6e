//! Cutting out of an upstream's words what people said: causes are for Admins, who may not read
//! chats (SEC-100), and some servers put the request into their error.

use std::collections::HashMap;

/// So many characters in a row are taken for a part of a text, not for chance.
const RUN: usize = 12;
/// What stands in the place of what was cut out.
const CUT: &str = "***";
/// Base of the rolling hash of a run.
const BASE: u64 = 0x0100_0000_01b3;

/// The cause without runs of characters that a text has as well, as it is or as JSON has it. A
/// text shorter than a run is cut out where it stands as a word of its own.
pub(crate) fn cut_out<'a>(cause: &str, texts: impl IntoIterator<Item = &'a str>) -> String {
    let cause: Vec<char> = cause.chars().collect();
    let mut foreign = vec![false; cause.len()];
    let mut runs: HashMap<u64, Vec<usize>> = HashMap::new();
    for (at, hash) in (0..).zip(hashes(&cause)) {
        runs.entry(hash).or_default().push(at);
    }
    for text in texts.into_iter().map(str::trim).filter(|text| !text.is_empty()) {
        for form in forms(text) {
            if form.len() < RUN {
                mark_word(&cause, &form, &mut foreign);
            } else if !runs.is_empty() {
                let found = hashes(&form).filter_map(|hash| runs.get(&hash)).flatten();
                found.for_each(|&at| foreign[at..at + RUN].fill(true));
            }
        }
    }
    let mut out = String::with_capacity(cause.len());
    for (at, character) in cause.iter().enumerate() {
        match foreign[at] {
            false => out.push(*character),
            true if at == 0 || !foreign[at - 1] => out.push_str(CUT),
            true => {}
        }
    }
    out
}

/// The text itself, as a JSON string, and as one in ASCII; control characters as causes have them.
fn forms(text: &str) -> Vec<Vec<char>> {
    let plain: String = text.chars().map(visible).collect();
    let json = serde_json::to_string(text).unwrap_or_default();
    let json = json.trim_matches('"').to_owned();
    let mut ascii = String::new();
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            let mut units = [0; 2];
            ascii.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    let mut forms = vec![plain, json, ascii];
    forms.dedup();
    forms.iter().map(|form| form.chars().collect()).collect()
}

/// A space for each control character: PostgreSQL takes no NUL, and lines are the log's.
pub(crate) fn visible(character: char) -> char {
    if character.is_control() { ' ' } else { character }
}

/// A hash for each run of the text, in their order.
fn hashes(text: &[char]) -> impl Iterator<Item = u64> {
    let (mut hash, oldest) = (0_u64, (0..RUN).fold(1_u64, |power, _| power.wrapping_mul(BASE)));
    text.iter().enumerate().filter_map(move |(at, &character)| {
        hash = hash.wrapping_mul(BASE).wrapping_add(u64::from(character));
        if let Some(gone) = at.checked_sub(RUN) {
            hash = hash.wrapping_sub(u64::from(text[gone]).wrapping_mul(oldest));
        }
        (at + 1 >= RUN).then_some(hash)
    })
}

fn mark_word(cause: &[char], word: &[char], foreign: &mut [bool]) {
    let part_of_word =
        |at: Option<usize>| at.and_then(|at| cause.get(at)).is_some_and(|c| c.is_alphanumeric());
    for (at, window) in cause.windows(word.len()).enumerate() {
        if window == word && !part_of_word(at.checked_sub(1)) && !part_of_word(Some(at + word.len())) {
            foreign[at..at + word.len()].fill(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-100: what people said is in no cause, however a server quotes it.
    #[test]
    fn sec_100_texts_are_cut_out() {
        let text = "My salary is 4711 \"gold\"\nand näxt year 4712";
        let cut = |cause: &str| cut_out(cause, [text, "hunter2"]);
        assert_eq!(cut("bad input: My salary is 4711 \"gold\" and näxt year 4712."), "bad input: ***.");
        assert_eq!(cut(r#"got "My salary is 4711 \"gold\"\nand näxt year 4712""#), r#"got "***""#);
        assert_eq!(cut(r"got My salary is 4711 \u0022, and n\u00e4xt year 4712"), "got ***u0022, ***");
        assert_eq!(cut("ends within: salary is 47"), "ends within:***");
        assert_eq!(cut("token 'hunter2' of hunter22"), "token '***' of hunter22");
        assert_eq!(cut("GPU on fire"), "GPU on fire");
        assert_eq!(cut(""), "");
    }
}
