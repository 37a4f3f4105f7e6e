//! Form fields: label, what was typed, and the error beside it.

use askama::Template;

use super::filters;

/// One field with its label, hint and error. In a template: `{{ username }}`.
///
/// ```text
/// Field::text("username", "Username").value(&form.username).autocomplete("username").required()
/// ```
///
/// Its error, where there is one, is tied to it by `aria-describedby` (WCAG 2.2, 3.3.1).
#[derive(Clone, Debug, Default, Template)]
#[template(path = "partials/field.html")]
pub struct Field {
    pub name: &'static str,
    pub label: &'static str,
    /// Where a name stands twice on a page; else the name itself.
    pub id: &'static str,
    /// Attribute `type`: `text`, `email`, `password`, `url`, `search`, `number`, `date`; or `textarea`.
    pub kind: &'static str,
    pub value: String,
    /// What is wrong and what to do, in plain words.
    pub error: Option<String>,
    pub hint: Option<String>,
    /// WHATWG autofill token; empty for none (SEC-16: password managers).
    pub autocomplete: &'static str,
    pub inputmode: &'static str,
    pub placeholder: String,
    pub max: Option<u32>,
    pub required: bool,
    pub autofocus: bool,
    /// Fingers and single-task pages.
    pub tall: bool,
    /// A link beside the label: address and words.
    pub aside: Option<(&'static str, &'static str)>,
}

impl askama::filters::HtmlSafe for Field {}

impl Field {
    pub fn text(name: &'static str, label: &'static str) -> Self {
        Self { name, label, id: name, kind: "text", ..Self::default() }
    }

    pub fn email(name: &'static str, label: &'static str) -> Self {
        Self { kind: "email", inputmode: "email", autocomplete: "email", ..Self::text(name, label) }
    }

    /// With a button that shows it (SEC-16). What was typed is never sent back.
    pub fn password(name: &'static str, label: &'static str, autocomplete: &'static str) -> Self {
        Self { kind: "password", autocomplete, ..Self::text(name, label) }
    }

    pub fn url(name: &'static str, label: &'static str) -> Self {
        Self { kind: "url", inputmode: "url", autocomplete: "off", ..Self::text(name, label) }
    }

    pub fn number(name: &'static str, label: &'static str) -> Self {
        Self { kind: "number", inputmode: "numeric", ..Self::text(name, label) }
    }

    pub fn date(name: &'static str, label: &'static str) -> Self {
        Self { kind: "date", ..Self::text(name, label) }
    }

    pub fn area(name: &'static str, label: &'static str) -> Self {
        Self { kind: "textarea", ..Self::text(name, label) }
    }

    pub fn id(mut self, id: &'static str) -> Self {
        self.id = id;
        self
    }

    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.value = value.into();
        self
    }

    pub fn error(mut self, error: Option<impl Into<String>>) -> Self {
        self.error = error.map(Into::into);
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn autocomplete(mut self, token: &'static str) -> Self {
        self.autocomplete = token;
        self
    }

    pub fn placeholder(mut self, text: impl Into<String>) -> Self {
        self.placeholder = text.into();
        self
    }

    pub fn max(mut self, letters: u32) -> Self {
        self.max = Some(letters);
        self
    }

    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub fn autofocus(mut self) -> Self {
        self.autofocus = true;
        self
    }

    pub fn tall(mut self) -> Self {
        self.tall = true;
        self
    }

    pub fn aside(mut self, href: &'static str, words: &'static str) -> Self {
        self.aside = Some((href, words));
        self
    }

    /// Names the autocapitalisation and spelling help away where they only harm.
    fn literal(&self) -> bool {
        matches!(self.kind, "email" | "url" | "password") || self.autocomplete.starts_with("username")
    }

    /// Ids for `aria-describedby`: the error first.
    fn described_by(&self) -> String {
        let mut ids = Vec::new();
        if self.error.is_some() {
            ids.push(format!("{}-error", self.id));
        }
        if self.hint.is_some() {
            ids.push(format!("{}-hint", self.id));
        }
        ids.join(" ")
    }
}

/// An option of a `<select>`, a segment or a radio button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub value: String,
    pub label: String,
    pub chosen: bool,
}

impl Choice {
    /// Options from pairs of value and label, with the chosen one marked.
    pub fn list<V: Into<String>, L: Into<String>>(
        pairs: impl IntoIterator<Item = (V, L)>,
        chosen: &str,
    ) -> Vec<Self> {
        pairs
            .into_iter()
            .map(|(value, label)| {
                let value = value.into();
                Self { chosen: value == chosen, value, label: label.into() }
            })
            .collect()
    }
}
