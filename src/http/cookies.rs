//! The cookies: one name each, their attributes in one place (SEC-77).

use axum::http::{HeaderMap, HeaderValue, header};

/// Which cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    Session,
    /// Between the factors (SEC-33). Never the same as the session's.
    Challenge,
    /// Binds the forms of people who are not signed in (SEC-83).
    Visitor,
    /// A message for the next page, with a MAC.
    Flash,
    /// Tells browsers apart, so that a sign-in from a new one is mailed (SEC-32). It opens nothing.
    Device,
    /// Binds a trip to a provider to the browser that began it (SEC-68). It opens nothing.
    Trip,
    /// An identity that waits for the proof that an account is its owner's (SEC-71). It opens nothing.
    Link,
}

impl Cookie {
    fn base_name(self) -> &'static str {
        match self {
            Self::Session => "anteroom",
            Self::Challenge => "anteroom-challenge",
            Self::Visitor => "anteroom-visitor",
            Self::Flash => "anteroom-flash",
            Self::Device => "anteroom-device",
            Self::Trip => "anteroom-trip",
            Self::Link => "anteroom-link",
        }
    }

    /// The cookie's name: with `__Host-` on HTTPS, which browsers refuse on plain HTTP.
    pub fn name(self, https: bool) -> String {
        if https { format!("__Host-{}", self.base_name()) } else { self.base_name().to_owned() }
    }

    /// The value that the request carries.
    pub fn read(self, headers: &HeaderMap, https: bool) -> Option<&str> {
        let base = self.base_name();
        all(headers).find_map(|(name, value)| {
            let name = if https { name.strip_prefix("__Host-")? } else { name };
            (name == base && !value.is_empty()).then_some(value)
        })
    }

    /// A `Set-Cookie` value. Without `max_age` (seconds) it lasts for the browser's session.
    pub fn set(self, value: &str, max_age: Option<i64>, https: bool) -> Option<HeaderValue> {
        let name = self.name(https);
        let secure = if https { "; Secure" } else { "" };
        let age = max_age.map(|age| format!("; Max-Age={age}")).unwrap_or_default();
        HeaderValue::from_str(&format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}")).ok()
    }

    /// A `Set-Cookie` value that deletes it.
    pub fn clear(self, https: bool) -> Option<HeaderValue> {
        self.set("", Some(0), https)
    }
}

/// The value of a cookie that a script of ours writes (`theme`).
pub fn plain<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    all(headers).find_map(|(name, value)| (name == wanted).then_some(value))
}

fn all(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

/// Adds a `Set-Cookie` header.
pub fn add(headers: &mut HeaderMap, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        headers.append(header::SET_COOKIE, cookie);
    }
}
