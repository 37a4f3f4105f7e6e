//! What all pages share: who looks, at what, in which theme, and how things are written.
//!
//! A page is a struct with a `page: Page` and what it shows, deriving `askama::Template` on a file
//! that extends `door.html`, `focus.html`, `shell_chat.html`, `shell_settings.html` or
//! `shell_admin.html`. Its module needs `use crate::view::filters;` for the filters.

pub mod chat;
pub mod device;
pub mod filters;
pub mod form;
pub mod format;
pub mod qr;

use std::fmt;
use std::sync::Arc;

use askama::Template;
use askama::filters::HtmlSafeOutput;

pub use self::form::{Choice, Field};
use self::format::Int;

/// The installation, as far as pages speak of it.
#[derive(Clone, Debug)]
pub struct Site {
    pub name: String,
    /// Whether the door shows the way to the sign-up.
    pub signup_open: bool,
    /// Without it nobody is sent to "Forgot it?".
    pub mail: bool,
}

/// The signed-in person.
#[derive(Clone, Debug)]
pub struct Viewer {
    pub id: String,
    pub username: String,
    pub display_name: String,
    pub email: String,
    pub admin: AdminLinks,
    /// By when the person must have set up a second factor, in microseconds; every page says so (SEC-3).
    pub enrol_by: Option<i64>,
}

impl Viewer {
    /// One or two letters for the avatar: of the first and the last word of the name.
    pub fn initials(&self) -> String {
        let name = if self.display_name.trim().is_empty() { &self.username } else { &self.display_name };
        let first_letter = |word: &str| word.chars().next().map(char::to_uppercase);
        let mut words = name.split_whitespace();
        let first = words.next().and_then(first_letter);
        let last = words.next_back().and_then(first_letter);
        first.into_iter().chain(last).flatten().collect()
    }
}

/// Which admin pages the viewer's permissions open. A link is shown only if its page would be.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdminLinks {
    pub overview: bool,
    pub stats: bool,
    pub users: bool,
    pub roles: bool,
    pub models: bool,
    pub errors: bool,
    pub settings: bool,
}

impl AdminLinks {
    /// Every page: for Admins, and for tests.
    pub const ALL: Self = Self {
        overview: true,
        stats: true,
        users: true,
        roles: true,
        models: true,
        errors: true,
        settings: true,
    };

    /// The first page that opens, for "Administration" in the account menu.
    pub fn first(&self) -> Option<&'static str> {
        [
            (self.overview, "/admin"),
            (self.stats, "/admin/stats"),
            (self.users, "/admin/users"),
            (self.roles, "/admin/roles"),
            (self.models, "/admin/models"),
            (self.errors, "/admin/errors"),
            (self.settings, "/admin/settings"),
        ]
        .into_iter()
        .find_map(|(may, path)| may.then_some(path))
    }
}

/// How a message of state is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ok,
    Warn,
    Bad,
}

impl Kind {
    /// The suffix of `notice--…`.
    pub fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    pub fn icon(self) -> &'static str {
        match self {
            Self::Ok => "check",
            Self::Warn | Self::Bad => "warning",
        }
    }

    /// Bad news interrupts a screen reader; the rest waits for its turn.
    pub fn role(self) -> &'static str {
        match self {
            Self::Ok | Self::Warn => "status",
            Self::Bad => "alert",
        }
    }
}

/// What the last action did, shown once on the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    pub kind: Kind,
    pub text: String,
}

impl Flash {
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// A theme that the person chose; without a choice the system decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

impl Theme {
    /// From the value of the cookie `theme`. Anything else than a known word is no choice.
    pub fn from_cookie(value: &str) -> Option<Self> {
        match value {
            "light" => Some(Self::Light),
            "dark" => Some(Self::Dark),
            _ => None,
        }
    }

    /// The value of the cookie and of `data-theme`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

impl fmt::Display for Theme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl askama::filters::HtmlSafe for Theme {}

/// What the layouts need. Every page's struct has one, named `page`.
#[derive(Clone, Debug)]
pub struct Page {
    /// Stands in the tab, before the name of the site.
    pub title: String,
    pub site: Arc<Site>,
    pub viewer: Option<Viewer>,
    pub flash: Vec<Flash>,
    /// The token of every form (SEC-83).
    pub csrf: String,
    pub theme: Option<Theme>,
    /// Server time, Unix microseconds: the scripts set their clocks by it.
    pub now_micros: i64,
    /// Path of this page, for the place where one is in a navigation.
    pub path: String,
}

impl Page {
    /// The viewer's address; empty for nobody.
    pub fn viewer_email(&self) -> &str {
        self.viewer.as_ref().map_or("", |viewer| &viewer.email)
    }

    /// The hidden field that every form with `method="post"` carries (SEC-83).
    pub fn csrf_field(&self) -> HtmlSafeOutput<CsrfField<'_>> {
        HtmlSafeOutput(CsrfField(&self.csrf))
    }

    /// Whether the person chose this theme: `light` or `dark`.
    pub fn theme_is(&self, word: &str) -> bool {
        self.theme.is_some_and(|theme| theme.word() == word)
    }

    /// ` aria-current="page"` on the link to this page.
    pub fn here(&self, path: &str) -> HtmlSafeOutput<&'static str> {
        HtmlSafeOutput(if self.path == path { " aria-current=\"page\"" } else { "" })
    }

    /// ` aria-current="page"` on the link to this page or to one above it.
    pub fn within(&self, path: &str) -> HtmlSafeOutput<&'static str> {
        let below = self.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        HtmlSafeOutput(if below { " aria-current=\"page\"" } else { "" })
    }

    /// By when the viewer must have set up a second factor, in words, where they must and have none.
    pub fn enrol_by(&self) -> Option<String> {
        let due = self.viewer.as_ref()?.enrol_by?;
        Some(format::deadline(due, self.now_micros))
    }

    /// `<time>` with day and time, UTC; the script turns it into the reader's zone.
    pub fn when(&self, micros: impl Int) -> HtmlSafeOutput<String> {
        HtmlSafeOutput(format::time_element(micros.int(), self.now_micros, format::Style::At))
    }

    /// As [`Page::when`], or a word where there is no time: `page.when_or(u.last_seen_at, "never")`.
    pub fn when_or(&self, micros: &Option<i64>, otherwise: &str) -> HtmlSafeOutput<String> {
        match micros {
            Some(at) => self.when(*at),
            None => HtmlSafeOutput(format::escape(otherwise)),
        }
    }

    /// `<time>` as the distance from now: "3 min ago".
    pub fn ago(&self, micros: impl Int) -> HtmlSafeOutput<String> {
        HtmlSafeOutput(format::time_element(micros.int(), self.now_micros, format::Style::Ago))
    }

    /// As [`Page::ago`], or a word where there is no time.
    pub fn ago_or(&self, micros: &Option<i64>, otherwise: &str) -> HtmlSafeOutput<String> {
        match micros {
            Some(at) => self.ago(*at),
            None => HtmlSafeOutput(format::escape(otherwise)),
        }
    }
}

/// See [`Page::csrf_field`].
pub struct CsrfField<'a>(&'a str);

impl fmt::Display for CsrfField<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = format::escape(self.0);
        write!(f, r#"<input type="hidden" name="csrf_token" value="{token}">"#)
    }
}

/// An error as a page: what happened, and what to do next, in plain words (SEC-88: never a cause).
#[derive(Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    pub page: Page,
    pub status: u16,
    /// What happened, as a headline: "This page is not here". Also the title of the tab.
    pub title: String,
    /// What it means, and what was kept.
    pub what: String,
    /// What to do next, where a sentence helps more than the button.
    pub next: Option<String>,
    /// The one thing to do: address and label.
    pub action: Option<(String, String)>,
    /// What an Admin finds in the log.
    pub request_id: String,
}

#[cfg(test)]
pub mod samples {
    //! Sample data for rendering templates in tests.

    use super::*;

    /// 20 Nov 2026, 14:05:00 UTC.
    pub const NOW: i64 = 1_795_183_500_000_000;

    pub fn viewer() -> Viewer {
        Viewer {
            id: "0193".to_owned(),
            username: "mara".to_owned(),
            display_name: "Mara Lindqvist".to_owned(),
            email: "mara@lindqvist.example".to_owned(),
            admin: AdminLinks::ALL,
            enrol_by: None,
        }
    }

    pub fn page(title: &str, path: &str) -> Page {
        Page {
            title: title.to_owned(),
            site: Arc::new(Site { name: "Anteroom".to_owned(), signup_open: true, mail: true }),
            viewer: Some(viewer()),
            flash: Vec::new(),
            csrf: "token".to_owned(),
            theme: None,
            now_micros: NOW,
            path: path.to_owned(),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests;
