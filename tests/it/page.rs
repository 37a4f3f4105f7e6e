//! What a page shows, read from its HTML.

use parts::http::unescape;

/// A message of the thread.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    /// The word in `data-state`; empty for a prompt.
    pub state: String,
    /// "You", or the model.
    pub by: String,
    pub html: String,
}

impl Message {
    /// All its words.
    pub fn text(&self) -> String {
        text(&self.html)
    }

    /// The words of the answer itself, without what stands around it.
    pub fn answer(&self) -> String {
        let prose = self.html.split_once("<div class=\"prose\">").map_or("", |(_, rest)| rest);
        let end = ["<footer", "<div class=\"cut\"", "<div class=\"notice"]
            .iter()
            .filter_map(|tag| prose.find(tag))
            .min();
        text(&prose[..end.unwrap_or(prose.len())])
    }

    /// The first form's action that contains `part`.
    pub fn action(&self, part: &str) -> Option<String> {
        let mut forms = self.html.split("<form").skip(1).filter_map(|form| attribute(form, "action"));
        forms.find(|action| action.contains(part))
    }

    /// Where its form with that in the action leads.
    pub fn must(&self, part: &str) -> String {
        self.action(part).unwrap_or_else(|| panic!("no form {part} in {self:?}"))
    }
}

/// The messages of the thread, oldest first.
pub fn messages(html: &str) -> Vec<Message> {
    html.split("<article class=\"msg")
        .skip(1)
        .filter_map(|rest| {
            let (head, inner) = rest.split_once('>')?;
            Some(Message {
                id: attribute(head, "data-message")?,
                state: attribute(head, "data-state").unwrap_or_default(),
                by: attribute(head, "aria-label").unwrap_or_default(),
                html: inner.split("</article>").next()?.to_owned(),
            })
        })
        .collect()
}

/// The last message.
pub fn last(html: &str) -> Message {
    messages(html).pop().unwrap_or_else(|| panic!("no message in {html}"))
}

/// The chats in the rail, as path and title, in their order.
pub fn chats(html: &str) -> Vec<(String, String)> {
    let rail = html.split("data-sync=\"chats\">").nth(1).and_then(|rest| rest.split("</nav>").next());
    rail.unwrap_or_default()
        .split("<a href=\"")
        .skip(1)
        .filter_map(|link| {
            let path = link.split('"').next()?;
            let title = link.split("<span>").nth(1)?.split("</span>").next()?;
            (!path.contains("older=")).then(|| (path.to_owned(), unescape(title)))
        })
        .collect()
}

/// Titles alone.
pub fn titles(html: &str) -> Vec<String> {
    chats(html).into_iter().map(|(_, title)| title).collect()
}

/// Where the link with these words leads.
pub fn link(html: &str, words: &str) -> Option<String> {
    let found = html.split("<a ").skip(1).find(|rest| {
        rest.split_once('>').is_some_and(|(_, inner)| {
            inner.split("</a>").next().is_some_and(|inner| text(inner).trim() == words)
        })
    })?;
    attribute(&format!(" {found}"), "href")
}

/// What stands in the composer.
pub fn composer(html: &str) -> String {
    let area = html.split("<textarea id=\"prompt\"").nth(1).and_then(|rest| rest.split_once('>'));
    let (_, inner) = area.unwrap_or_else(|| panic!("no composer in {html}"));
    let inner = inner.split("</textarea>").next().unwrap_or_default();
    // Browsers drop the first line end.
    unescape(inner.strip_prefix('\n').unwrap_or(inner))
}

/// Every model that can be chosen in the composer, and the chosen one.
pub fn models(html: &str) -> (Vec<String>, String) {
    let select = html
        .split("name=\"model\" aria-label=\"Model\"")
        .nth(1)
        .and_then(|rest| rest.split("</select>").next());
    let mut chosen = String::new();
    let names = select
        .unwrap_or_default()
        .split("<option")
        .skip(1)
        .map(|option| {
            let name = attribute(option, "value").unwrap_or_default();
            if option.split('>').next().is_some_and(|tag| tag.contains(" selected")) {
                chosen.clone_from(&name);
            }
            name
        })
        .collect();
    (names, chosen)
}

/// The words of a piece of HTML, white space folded.
pub fn text(html: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                out.push(' ');
            }
            _ if !inside => out.push(c),
            _ => {}
        }
    }
    unescape(&out).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = tag.split('>').next()?;
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(unescape(rest.split('"').next()?))
}
