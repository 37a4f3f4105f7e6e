//! What may stand in an answer (SEC-89): escaping, addresses, and the sanitizer with its allow-list.

use std::{borrow::Cow, sync::LazyLock};

use ammonia::{Builder, UrlRelative};

/// Encloses the number of a formula until its MathML is put in. Both are noncharacters:
/// [`escape`] turns them into U+FFFD wherever they come from anyone but the writer.
pub(super) const MARK_OPEN: char = '\u{FDD0}';
/// The end of a formula's number, see [`MARK_OPEN`].
pub(super) const MARK_CLOSE: char = '\u{FDD1}';

/// The longest address a link may have, in bytes.
const MAX_URL: usize = 2_000;

/// Appends text as HTML content.
pub(super) fn escape(out: &mut String, text: &str) {
    escape_with(out, text, false);
}

/// Appends text as the inside of a quoted attribute.
pub(super) fn escape_attribute(out: &mut String, text: &str) {
    escape_with(out, text, true);
}

fn escape_with(out: &mut String, text: &str, quotes: bool) {
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let (entity, len) = match byte {
            b'&' => ("&amp;", 1),
            b'<' => ("&lt;", 1),
            b'>' => ("&gt;", 1),
            b'"' if quotes => ("&quot;", 1),
            0 => ("\u{FFFD}", 1),
            0xEF if text[at..].starts_with([MARK_OPEN, MARK_CLOSE]) => ("\u{FFFD}", 3),
            _ => continue,
        };
        out.push_str(&text[from..at]);
        out.push_str(entity);
        from = at + len;
    }
    out.push_str(&text[from..]);
}

/// The address if a link may lead there: `http`, `https` or `mailto`, nothing relative.
/// Browsers ignore some characters in a scheme; a literal prefix leaves no room for that.
pub(super) fn link(url: &str) -> Option<&str> {
    let starts = |prefix: &str| {
        url.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            && url.len() > prefix.len()
    };
    let known = starts("https://") || starts("http://") || starts("mailto:");
    let clean =
        !url.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, MARK_OPEN | MARK_CLOSE));
    (known && clean && url.len() <= MAX_URL).then_some(url)
}

/// The host that an `http` or `https` address names, as it is written there.
pub(super) fn host(url: &str) -> Option<&str> {
    let (scheme, rest) = link(url)?.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit('@').next()?;
    (scheme.len() <= 5 && !host.is_empty()).then_some(host)
}

/// Whether an address is an image that carries its own bytes, in a format without script.
pub(super) fn data_image(url: &str) -> bool {
    ["png", "jpeg", "gif", "webp"].iter().any(|format| {
        url.strip_prefix("data:image/")
            .and_then(|rest| rest.strip_prefix(format))
            .and_then(|rest| rest.strip_prefix(";base64,"))
            .is_some_and(|data| {
                !data.is_empty()
                    && data.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
            })
    })
}

/// Passes HTML through the allow-list.
pub(super) fn clean(html: &str) -> String {
    SANITIZER.clean(html).to_string()
}

const TAGS: &[&str] = &[
    "a",
    "blockquote",
    "br",
    "button",
    "code",
    "del",
    "div",
    "em",
    "figcaption",
    "figure",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "img",
    "input",
    "kbd",
    "li",
    "ol",
    "p",
    "pre",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
];
/// Attributes with any value; addresses and numbers are checked by `attribute`.
const ATTRIBUTES: &[(&str, &[&str])] = &[("a", &["href"]), ("img", &["src", "alt"]), ("ol", &["start"])];
/// Attributes with the only values they may have.
const VALUES: &[(&str, &str, &[&str])] = &[
    ("button", "type", &["button"]),
    ("button", "data-copy", &[""]),
    ("button", "hidden", &[""]),
    ("pre", "tabindex", &["0"]),
    ("div", "tabindex", &["0"]),
    ("div", "role", &["region"]),
    ("div", "aria-label", &["Table"]),
    ("input", "type", &["checkbox"]),
    ("input", "disabled", &[""]),
    ("input", "checked", &[""]),
    ("input", "aria-label", &["Done", "To do"]),
    ("th", "scope", &["col"]),
];
const CLASSES: &[(&str, &[&str])] = &[
    ("button", &["btn", "btn--quiet", "btn--s"]),
    ("code", &["tex-error"]),
    ("div", &["tex", "table-scroll", "footnote"]),
    ("figure", &["code"]),
    ("span", &["k", "s", "n", "c"]),
    ("td", &["n"]),
    ("th", &["n"]),
];

static SANITIZER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::empty();
    builder
        .tags(TAGS.iter().copied().collect())
        .clean_content_tags(["script", "style"].into_iter().collect())
        .tag_attributes(
            ATTRIBUTES.iter().map(|&(tag, names)| (tag, names.iter().copied().collect())).collect(),
        )
        .allowed_classes(CLASSES.iter().map(|&(tag, names)| (tag, names.iter().copied().collect())).collect())
        .url_schemes(["http", "https", "mailto", "data"].into_iter().collect())
        .url_relative(UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"))
        .set_tag_attribute_value("a", "target", "_blank")
        .attribute_filter(attribute);
    for &(tag, name, values) in VALUES {
        builder.add_tag_attribute_values(tag, name, values);
    }
    builder
});

fn attribute<'a>(tag: &str, name: &str, value: &'a str) -> Option<Cow<'a, str>> {
    let good = match (tag, name) {
        ("a", "href") => link(value).is_some(),
        ("img", "src") => data_image(value),
        ("ol", "start") => value.bytes().all(|b| b.is_ascii_digit()),
        _ => true,
    };
    good.then_some(Cow::Borrowed(value))
}
