//! The administration: one file for each page with what is done on it.

pub mod chart;
pub mod errors;
pub mod models;
pub mod overview;
pub mod providers;
pub mod roles;
pub mod settings;
pub mod stats;
pub mod users;

use url::form_urlencoded;

use super::done;
use crate::guard::Ctx;
use crate::models::failure_words;

/// Rows of a page of a list.
const ROWS: i64 = 50;

/// A parameter of the query, trimmed; `None` where it is missing or empty. The first one counts.
fn param(ctx: &Ctx, name: &str) -> Option<String> {
    let query = ctx.query.as_deref()?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.trim().to_owned())
        // NUL has no place in a text, and PostgreSQL takes none.
        .filter(|value| !value.is_empty() && !value.contains('\0'))
}

/// A path with a query; parameters without a value are left out.
fn address(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters.iter().filter(|(_, value)| !value.is_empty()));
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// Where an action leads back to: the page that the form stood on, if it is this list (SEC-76).
fn way_back(list: &str, back: Option<String>) -> String {
    let is_list = |back: &String| {
        let rest = back.strip_prefix(list);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('?'))
            && back.len() <= 500
            && back.bytes().all(|byte| byte.is_ascii_graphic())
    };
    back.filter(is_list).unwrap_or_else(|| list.to_owned())
}

/// Days of grace as typed, from 0 to 90.
fn days(typed: &str) -> Option<i64> {
    typed.trim().parse().ok().filter(|days| (0..=90).contains(days))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-76
    #[test]
    fn sec_76_the_way_back_is_this_list_only() {
        let back = |path: &str| way_back("/admin/users", Some(path.to_owned()));
        assert_eq!(back("/admin/users?q=ann&after=x"), "/admin/users?q=ann&after=x");
        for other in [
            "https://evil.example/",
            "//evil.example",
            "/admin/users//evil.example",
            "/admin/usersfoo",
            "/admin/users?a=\r\nSet-Cookie: a=b",
            "/chat",
            "",
        ] {
            assert_eq!(back(other), "/admin/users", "{other}");
        }
        assert_eq!(way_back("/admin/users", None), "/admin/users");
    }

    #[test]
    fn addresses_are_encoded_and_leave_out_what_is_empty() {
        assert_eq!(address("/admin/users", &[("q", ""), ("after", "")]), "/admin/users");
        assert_eq!(address("/admin/users", &[("q", "a&b c"), ("after", "")]), "/admin/users?q=a%26b+c");
    }
}
