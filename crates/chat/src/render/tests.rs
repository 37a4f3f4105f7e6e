//! What Markdown becomes, and that a growing answer becomes the same.

#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use super::{Live, render};

fn one(markdown: &str) -> String {
    let blocks = render(markdown);
    assert_eq!(blocks.len(), 1, "{blocks:?}");
    blocks[0].trim_end().to_owned()
}

#[test]
fn blocks_are_split_at_the_top_level() {
    let blocks =
        render("# A\ntext\nmore\n***\n- a\n\n  b\n- c\n\nend\n```rs\nlet a;\n\n# no\n```\n> q\n\n    code\n");
    let starts: Vec<&str> = blocks.iter().map(|b| b.get(..4).unwrap_or(b)).collect();
    assert_eq!(starts, ["<h1>", "<p>t", "<hr>", "<ul>", "<p>e", "<fig", "<blo", "<fig"]);
    assert_eq!(blocks[3], "<ul><li><p>a</p>\n<p>b</p>\n</li>\n<li><p>c</p>\n</li>\n</ul>\n");
    assert!(render("").is_empty() && render("\n \n").is_empty());
}

#[test]
fn prose() {
    assert_eq!(
        one("a *b* **c** ~~d~~ `e<` <https://x.org/?a&b>\nf  \ng"),
        "<p>a <em>b</em> <strong>c</strong> <del>d</del> <code>e&lt;</code> \
         <a href=\"https://x.org/?a&amp;b\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">https://x.org/?a&amp;b</a>\nf<br>\ng</p>"
    );
    assert_eq!(one("Title\n---\n"), "<h2>Title</h2>");
    assert_eq!(one("3. a\n4. b"), "<ol start=\"3\"><li>a</li>\n<li>b</li>\n</ol>");
    assert_eq!(one("H<sub>2</sub>O<br>x<sup>2"), "<p>H<sub>2</sub>O<br>x<sup>2</sup></p>");
    assert!(one("<a@b.org>").contains("href=\"mailto:a@b.org\""));
}

#[test]
fn tables() {
    assert_eq!(
        one("| a | b |\n|---|--:|\n| 1 | 2<br>3 |\n"),
        "<div class=\"table-scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table><thead><tr>\
         <th scope=\"col\">a</th><th scope=\"col\" class=\"n\">b</th></tr></thead><tbody>\
         <tr><td>1</td><td class=\"n\">2<br>3</td></tr>\n</tbody></table></div>"
    );
}

#[test]
fn task_lists() {
    assert_eq!(
        one("- [x] a\n- [ ] b"),
        "<ul><li><input type=\"checkbox\" disabled=\"\" checked=\"\" aria-label=\"Done\"> a</li>\n\
         <li><input type=\"checkbox\" disabled=\"\" aria-label=\"To do\"> b</li>\n</ul>"
    );
}

#[test]
fn code() {
    let html = one("```rust\n// a <b>\nlet a = \"x\"; // y\nlet n = 42;\n```");
    assert_eq!(
        html,
        "<figure class=\"code\"><figcaption><span>Rust</span><button class=\"btn btn--quiet btn--s\" type=\"button\" \
         data-copy=\"\" hidden=\"\">Copy</button></figcaption><pre tabindex=\"0\"><code><span class=\"c\">// a &lt;b&gt;</span>\n\
         <span class=\"k\">let</span> a = <span class=\"s\">\"x\"</span>; <span class=\"c\">// y</span>\n\
         <span class=\"k\">let</span> n = <span class=\"n\">42</span>;</code></pre></figure>"
    );
    for (fence, name) in
        [("py", "Python"), ("TS", "TypeScript"), ("", "Text"), ("zig,x", "zig"), ("{.js}", "JavaScript")]
    {
        assert!(one(&format!("```{fence}\nx\n```")).contains(&format!("<span>{name}</span>")), "{fence}");
    }
    assert!(one("```hs\nx = 1 -- y\n```").contains("<span class=\"c\">-- y</span></code>"));
    assert!(one("```clj\n(let [x 1] x)\n```").contains("<span class=\"n\">1</span>"), "by the mark itself");
    let long = format!("```js\nlet a = \"{}\";\n```", "x".repeat(2_000));
    assert!(!one(&long).contains("class=\"k\""), "a long line stays plain");
    let large = format!("```js\n{}```", "let a = 1;\n".repeat(10_000));
    assert!(!one(&large).contains("class=\"k\""), "large code stays plain");
}

#[test]
fn mathematics() {
    assert_eq!(
        one("Let $x^2$ be"),
        "<p>Let <math display=\"inline\"><msup><mi>x</mi><mn>2</mn></msup></math> be</p>"
    );
    assert_eq!(one(r"Let \(x^2\) be"), one("Let $x^2$ be"));
    let display = "<div class=\"tex\" tabindex=\"0\"><math display=\"block\"><mi>a</mi><mo>−</mo><mi>b</mi></math></div>";
    for text in ["$$a-b$$", "$$\na\n- b\n$$", r"\[a - b\]", "\\[\na\n- b\n\\]"] {
        assert_eq!(one(text), display, "{text}");
    }
    assert_eq!(one("see $$a-b$$ there"), format!("<p>see</p>{display}<p>there</p>"));
    assert_eq!(render("see\n$$\na\n- b\n$$\nthere").len(), 3);
    assert_eq!(one("- x\n  $$\n  a\n  - b\n  $$\n"), format!("<ul><li>x\n{display}</li>\n</ul>"));
    assert_eq!(one("> $$a\n> - b$$"), format!("<blockquote>{display}\n</blockquote>"));
    assert!(one("**so $a_1$ and _$b_1$_**").contains("<strong>so <math"));
    assert!(one("| $|x|$ |\n|---|\n| a |").contains("<th scope=\"col\"><math"));
    assert_eq!(
        one(r"$\frac{$"),
        r"<p>$\frac{$</p>".replace("<p>", "<p><code class=\"tex-error\">").replace("</p>", "</code></p>")
    );
}

#[test]
fn common_latex_is_typeset() {
    for tex in [
        r"\begin{align*} a &= b \\ c &= d \end{align*}",
        r"\begin{aligned} a &= b \\[2pt] c &= d \end{aligned}",
        r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}",
        r"f(x) = \begin{cases} 1 & x < 0 \\ 2 & \text{otherwise} \end{cases}",
        r"\sum_{i=1}^{n} i = \frac{n(n+1)}{2}",
        r"\int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2}",
        r"\left( \frac{a}{b} \right)^2 \le \mathbb{R} \quad \text{for } a < b",
        r"\lim_{x \to 0} \frac{\sin x}{x} \approx 1 \cdots \operatorname{arg\,max}",
        r"\hat{y} = \mathbf{W}\vec{x} + \overline{b} \implies \underbrace{a}_{b}",
        r"\boxed{x = 42} \tag{1}",
        r"a &= b \\ c &= d",
        r"\mathscr{L} \mathfrak{g} \bm{v} \norm{x} \argmax_x",
        r"\nabla \times \mathbf{E} = -\frac{\partial \mathbf{B}}{\partial t}",
    ] {
        let html = one(&format!("$$\n{tex}\n$$"));
        assert!(html.contains("<math") && !html.contains("style="), "{tex}: {html}");
    }
}

#[test]
fn money_and_code_are_no_mathematics() {
    for text in [
        "It costs $5 and $10 today.",
        "US$5 and CA$6",
        "from $1,000-$2,000",
        "`$x$` and ``a $y$``",
        r"\$a$",
        "$ a $",
        "```sh\necho $HOME$USER\n```",
        "    $a$",
        "- a\n\n  ```\n  $a$ \\(x\\)\n  ```",
        "a \\( b\n\nc \\) d",
    ] {
        let html = render(text).concat();
        assert!(
            !html.contains("<math") && !html.contains("tex-error") && !html.contains('\u{FFFD}'),
            "{html}"
        );
    }
    assert!(render("```sh\necho $HOME$USER\n```")[0].contains("$USER"));
    assert_eq!(one("a $5 b $x$").matches("<math").count(), 1);
    assert!(one("[x](https://a.org/$b$)").contains("href=\"https://a.org/$b$\""));
}

#[test]
fn footnotes_and_references_cross_blocks() {
    let blocks = render("a[^1] [b] [^a-z] [c]\n\n[^1]: note *x*\n    more\n[^2]: y\n\n[b]: https://b.org\n");
    assert!(blocks[0].starts_with("<p>a<sup>1</sup> <a href=\"https://b.org\""), "{blocks:?}");
    assert!(blocks[0].contains("[^a-z] [c]"), "{blocks:?}");
    assert_eq!(blocks[1], "<div class=\"footnote\"><p><sup>1</sup> note <em>x</em>\nmore</p>\n</div>");
    assert_eq!(blocks.len(), 4);
    assert_eq!(blocks[3], "", "a definition shows nothing");
}

const DOCUMENTS: &[&str] = &[
    "# Title\n\nSome *text* with `code`, $x_1$ and \\(y\\).\n\n- a\n- b\n\n  c\n\n1. x\n   ```rust\n   let a = 1;\n   ```\n2. y\n\nEnd.",
    "| a | b |\n|---|--:|\n| 1 | 2 |\n\n```py\ndef f():\n\n    return '$x$'\n```\nafter\n$$\na &= b\n$$\nmore $$ x $$ text\n",
    "See [one] and[^n].\n\n> quote\n> [one]: https://one.org\n\n[^n]: the note\n\n    more\n\n[one]: https://two.org\n",
    "~~~\nopen fence with ``` and é\u{1F600}\n\n\n# no",
    "Setext\n===\ntext\n---\n* * *\n+ a\n+ b\n* c\n\n\n\n    indented\n\n    more\n<div>\nx\n</div>\n\n<b>y</b> \u{FDD0}0\u{FDD1} &#xFDD0;0&#xFDD1; $z$\r\n\r\nlast\r\n",
    "\\[\nunclosed\n\ntext $$ a\n\nb $$ c `\n\n` [^x]: no\n[^x]: yes\n\tx\n",
];

/// A small generator (xorshift), for cuts that are different and the same in each run.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn a_growing_answer_ends_as_the_whole_text() {
    let mut seed = 0x2545_F491_4F6C_DD1D;
    let mixed: Vec<String> = (0..40)
        .map(|_| {
            let lines: Vec<&str> = DOCUMENTS.iter().flat_map(|d| d.lines()).collect();
            (0..30).map(|_| format!("{}\n", lines[next(&mut seed) as usize % lines.len()])).collect()
        })
        .collect();
    for text in DOCUMENTS.iter().copied().chain(mixed.iter().map(String::as_str)) {
        let expected = render(text);
        for largest in [1, 3, 17, 1_000] {
            let (mut live, mut seen, mut rest) = (Live::new(), Vec::new(), text);
            while !rest.is_empty() {
                let mut cut = (1 + next(&mut seed) as usize % largest).min(rest.len());
                while !rest.is_char_boundary(cut) {
                    cut += 1;
                }
                let (piece, after) = rest.split_at(cut);
                live.push(piece);
                rest = after;
                if next(&mut seed).is_multiple_of(3) {
                    apply(&mut seen, live.changes());
                }
            }
            apply(&mut seen, live.finish());
            let blocks: Vec<&str> = live.blocks().iter().map(AsRef::as_ref).collect();
            assert_eq!(blocks, expected, "{text:?}");
            assert_eq!(seen, expected, "what followers saw of {text:?}");
            assert_eq!(live.text(), text);
            assert!(live.finish().is_empty() && live.changes().is_empty());
        }
    }
}

fn apply(seen: &mut Vec<String>, changes: Vec<(usize, std::sync::Arc<str>)>) {
    for (index, html) in changes {
        assert!(index <= seen.len());
        if index == seen.len() {
            seen.push(String::new());
        }
        html.as_ref().clone_into(&mut seen[index]);
    }
}

#[test]
fn only_what_changed_is_told() {
    let mut live = Live::new();
    live.push("one\n\ntwo");
    assert_eq!(live.changes().len(), 2);
    assert!(live.changes().is_empty());
    live.push(" more");
    let changes = live.changes();
    assert_eq!((changes.len(), changes[0].0), (1, 1));
    assert_eq!(changes[0].1.as_ref(), "<p>two more</p>\n");
    live.push("\n");
    assert!(live.changes().is_empty(), "the same HTML is no change");
}

#[test]
fn open_code_is_plain_and_coloured_at_its_end() {
    let mut live = Live::new();
    live.push("```rust\nlet a = 1;\n");
    assert!(!live.changes()[0].1.contains("class=\"k\""));
    live.push("```\n");
    assert!(live.changes()[0].1.contains("class=\"k\""));
}

/// Bytes rendered for a text that comes in pieces of four bytes, shown after every `every` bytes.
fn cost(text: &str, every: usize) -> usize {
    let mut live = Live::new();
    let mut since = 0;
    for piece in text.as_bytes().chunks(4) {
        live.push(std::str::from_utf8(piece).unwrap());
        since += piece.len();
        if since >= every {
            since = 0;
            live.changes();
        }
    }
    live.finish();
    live.rendered
}

#[test]
fn the_cost_is_linear() {
    let prose = "A paragraph of ordinary text that is about as long as one line is.\n\n";
    let small = cost(&prose.repeat(1_000), 16);
    let large = cost(&prose.repeat(10_000), 16);
    assert!(large < 11 * small, "{small} {large}");
    assert!(large < 12 * prose.len() * 10_000, "{large}");
    // One open block: plain beyond its limit, and then in steps that grow.
    let code = format!("```\n{}", "some code in a line\n".repeat(50_000));
    let spent = cost(&code, 4_096);
    assert!(spent < 3 * code.len(), "{spent}");
}
