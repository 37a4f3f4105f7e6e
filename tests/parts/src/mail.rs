//! Reading a mail that was caught: headers, the text part, the links in it. As much of MIME as mailers write.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One mail, as the server took it.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The whole message, dots unstuffed, lines ending in CRLF.
    pub data: String,
}

impl Mail {
    /// A header's value, unfolded, encoded words (RFC 2047) resolved.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        header(split(&self.data).0, name).map(|value| decode_words(&value))
    }

    /// The subject; empty without one.
    #[must_use]
    pub fn subject(&self) -> String {
        self.header("Subject").unwrap_or_default()
    }

    /// The first plain-text part, decoded; else the first part of any kind.
    #[must_use]
    pub fn text(&self) -> String {
        let parts = parts(&self.data);
        let plain = parts.iter().find(|(kind, _)| kind.starts_with("text/plain"));
        plain.or(parts.first()).map(|(_, text)| text.clone()).unwrap_or_default()
    }

    /// The HTML part, decoded.
    #[must_use]
    pub fn html(&self) -> Option<String> {
        parts(&self.data).into_iter().find(|(kind, _)| kind.starts_with("text/html")).map(|(_, text)| text)
    }

    /// The first link in the text that contains `part`.
    #[must_use]
    pub fn link(&self, part: &str) -> Option<String> {
        let text = self.text();
        let ends = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | ')');
        text.split(ends).find(|word| word.starts_with("http") && word.contains(part)).map(str::to_owned)
    }
}

/// Headers and body.
fn split(message: &str) -> (&str, &str) {
    message.split_once("\r\n\r\n").unwrap_or((message, ""))
}

fn header(headers: &str, name: &str) -> Option<String> {
    let unfolded = headers.replace("\r\n ", " ").replace("\r\n\t", " ");
    unfolded.split("\r\n").find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// Every leaf part: its content type in lower case, and its decoded text.
fn parts(message: &str) -> Vec<(String, String)> {
    let (headers, body) = split(message);
    let declared = header(headers, "Content-Type").unwrap_or_else(|| "text/plain".to_owned());
    let kind = declared.to_ascii_lowercase();
    if kind.starts_with("multipart/") {
        let Some(at) = kind.find("boundary=") else { return Vec::new() };
        let boundary =
            declared[at + "boundary=".len()..].split(';').next().unwrap_or_default().trim().trim_matches('"');
        let delimiter = format!("\r\n--{boundary}");
        let body = format!("\r\n{body}");
        let inner = body.split(delimiter.as_str()).skip(1).take_while(|part| !part.starts_with("--"));
        return inner.flat_map(|part| parts(part.strip_prefix("\r\n").unwrap_or(part))).collect();
    }
    let encoding = header(headers, "Content-Transfer-Encoding").unwrap_or_default().to_ascii_lowercase();
    let text = match encoding.as_str() {
        "base64" => base64_text(body),
        "quoted-printable" => quoted_printable(&body.replace("=\r\n", "")),
        _ => body.to_owned(),
    };
    vec![(kind, text)]
}

fn base64_text(text: &str) -> String {
    let joined: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    String::from_utf8_lossy(&STANDARD.decode(joined).unwrap_or_default()).into_owned()
}

fn quoted_printable(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'=').then(|| text.get(at + 1..at + 3)).flatten();
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn decode_words(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let word: Vec<&str> = rest[start + 2..].splitn(4, '?').collect();
        let [_, encoding, text, tail] = word[..] else { break };
        let Some(tail) = tail.strip_prefix('=') else { break };
        let between = &rest[..start];
        // Blanks between two encoded words are only there for folding.
        if !(after_word && between.trim().is_empty()) {
            out.push_str(between);
        }
        if encoding.eq_ignore_ascii_case("b") {
            out.push_str(&base64_text(text));
        } else {
            out.push_str(&quoted_printable(&text.replace('_', " ")));
        }
        (rest, after_word) = (tail, true);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::Mail;

    #[test]
    fn a_mail_is_read_through_its_encodings() {
        let data = "Subject: =?utf-8?b?R3LDvMOf?= =?utf-8?q?e_an_all=21?=\r\nTo: a@b\r\n\
            Content-Type: multipart/alternative;\r\n boundary=\"XyZ\"\r\n\r\n\
            --XyZ\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
            Sch=C3=B6n: http://localhost:5000/verify-email/abc=\r\ndef\r\n\
            --XyZ\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+aGk8L2I+\r\n--XyZ--\r\n";
        let mail = Mail { from: String::new(), to: Vec::new(), data: data.to_owned() };
        assert_eq!(mail.subject(), "Grüße an all!");
        assert_eq!(mail.text(), "Schön: http://localhost:5000/verify-email/abcdef");
        assert_eq!(mail.html().as_deref(), Some("<b>hi</b>"));
        assert_eq!(mail.link("/verify-email/").as_deref(), Some("http://localhost:5000/verify-email/abcdef"));
    }
}
