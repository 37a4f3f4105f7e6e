//! Server-sent events, read piece by piece (WHATWG HTML, section 9.2.6). Only `data` matters
//! here; event names, ids and comments are passed over.

use bytes::{Buf, Bytes};

/// Longest line, and longest event, in bytes.
const EVENT_BYTES: usize = 1 << 20;
/// What the buffers may keep allocated between events: thousands of streams are open at once.
const KEEP_BYTES: usize = 4096;

/// A line or an event passed its limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Oversized;

/// The state between two pieces.
#[derive(Debug, Default)]
pub(crate) struct Sse {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last piece ended in CR: an LF that follows belongs to it.
    after_cr: bool,
    begun: bool,
    strange: bool,
}

impl Sse {
    /// Takes the next whole event out of `input`, as its data. `None`: the input is used up.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<Vec<u8>>, Oversized> {
        while !input.is_empty() {
            if std::mem::take(&mut self.after_cr) && input.first() == Some(&b'\n') {
                input.advance(1);
                continue;
            }
            let end = input.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let piece = end.unwrap_or(input.len());
            if self.line.len() + piece > EVENT_BYTES {
                return Err(Oversized);
            }
            self.line.extend_from_slice(&input[..piece]);
            let Some(end) = end else {
                input.clear();
                break;
            };
            self.after_cr = input[end] == b'\r';
            input.advance(end + 1);
            if let Some(event) = self.end_line()? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// What stands unfinished at the end of the stream: servers forget the last empty line.
    pub(crate) fn finish(&mut self) -> Result<Option<Vec<u8>>, Oversized> {
        if !self.line.is_empty()
            && let Some(event) = self.end_line()?
        {
            return Ok(Some(event));
        }
        Ok(self.take_event())
    }

    /// Whether a line was none of the format, as in a page of HTML.
    pub(crate) fn is_strange(&self) -> bool {
        self.strange
    }

    fn end_line(&mut self) -> Result<Option<Vec<u8>>, Oversized> {
        if !std::mem::replace(&mut self.begun, true) && self.line.starts_with(b"\xef\xbb\xbf") {
            self.line.drain(..3);
        }
        if self.line.is_empty() {
            return Ok(self.take_event());
        }
        let colon = self.line.iter().position(|byte| *byte == b':');
        let (field, value) = match colon {
            Some(at) => (&self.line[..at], &self.line[at + 1..]),
            None => (&self.line[..], &[][..]),
        };
        match field {
            b"data" => {
                let value = value.strip_prefix(b" ").unwrap_or(value);
                if self.data.len() + value.len() >= EVENT_BYTES {
                    return Err(Oversized);
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            b"" | b"event" | b"id" | b"retry" => {}
            _ => self.strange = true,
        }
        self.line.clear();
        self.line.shrink_to(KEEP_BYTES);
        Ok(None)
    }

    fn take_event(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.has_data).then(|| std::mem::take(&mut self.data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the pieces and gathers the events, with what stands at the end.
    fn events(pieces: &[&[u8]]) -> Result<Vec<String>, Oversized> {
        let mut sse = Sse::default();
        let mut out = Vec::new();
        for piece in pieces {
            let mut input = Bytes::copy_from_slice(piece);
            while let Some(event) = sse.next(&mut input)? {
                out.push(String::from_utf8_lossy(&event).into_owned());
            }
        }
        if let Some(event) = sse.finish()? {
            out.push(String::from_utf8_lossy(&event).into_owned());
        }
        Ok(out)
    }

    #[test]
    fn every_byte_boundary_gives_the_same_events() {
        let texts: [&[u8]; 4] = [
            "\u{feff}: hello\r\nevent: x\r\ndata: {\"a\":\"é\"}\r\n\r\ndata:b\r\ndata: c\r\n\r\n".as_bytes(),
            "\u{feff}: hello\nevent: x\ndata: {\"a\":\"é\"}\n\ndata:b\ndata: c\n\n".as_bytes(),
            "\u{feff}: hello\revent: x\rdata: {\"a\":\"é\"}\r\rdata:b\rdata: c\r\r".as_bytes(),
            "\u{feff}: hello\nevent: x\ndata: {\"a\":\"é\"}\n\ndata:b\ndata: c".as_bytes(),
        ];
        let expected = Ok(vec!["{\"a\":\"é\"}".to_owned(), "b\nc".to_owned()]);
        for text in texts {
            assert_eq!(events(&[text]), expected);
            for cut in 0..=text.len() {
                let (left, right) = text.split_at(cut);
                assert_eq!(events(&[left, right]), expected, "cut at {cut}");
            }
            let single: Vec<&[u8]> = text.chunks(1).collect();
            assert_eq!(events(&single), expected);
        }
    }

    #[test]
    fn lines_and_events_are_bounded() {
        let piece = vec![b'x'; 1000];
        let endless: Vec<&[u8]> = std::iter::repeat_n(&piece[..], 1100).collect();
        assert_eq!(events(&endless), Err(Oversized));
        let line = [b"data: ", &piece[..], b"\n"].concat();
        let endless: Vec<&[u8]> = std::iter::repeat_n(&line[..], 1100).collect();
        assert_eq!(events(&endless), Err(Oversized));
    }

    #[test]
    fn empty_data_and_comments_alone() {
        assert_eq!(events(&[b": ping\n\n: ping\n\n"]), Ok(vec![]));
        assert_eq!(events(&[b"data\n\ndata:\n\n"]), Ok(vec![String::new(), String::new()]));
        assert_eq!(events(&[b""]), Ok(vec![]));
    }
}
