//! A browser without a screen: cookies, forms with their CSRF token, no redirect followed unless asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use reqwest::header::{ACCEPT, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::{PATIENCE, install_crypto};

/// One person at one browser. A clone shares its cookies. Every function panics where the server cannot be reached.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
    headers: HeaderMap,
}

impl Client {
    /// A new client, without cookies, for the server at `base` (`http://127.0.0.1:5000`).
    ///
    /// # Panics
    /// Where no HTTP client can be made.
    #[must_use]
    pub fn new(base: &str) -> Self {
        install_crypto();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .unwrap_or_else(|error| panic!("no HTTP client: {error}"));
        Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            cookies: Arc::default(),
            headers: HeaderMap::new(),
        }
    }

    /// The same client, sending this header with every request from now on.
    ///
    /// # Panics
    /// Where name or value is not one of a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap_or_else(|_| panic!("{name} is no header"));
        let value = HeaderValue::from_str(value).unwrap_or_else(|_| panic!("{value:?} is no header's value"));
        self.headers.insert(name, value);
        self
    }

    /// The value of a cookie that it holds now.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().get(name).cloned()
    }

    /// Sets a cookie by hand.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.cookies.lock().insert(name.to_owned(), value.to_owned());
    }

    /// Forgets all cookies, as a closed private window does.
    pub fn clear_cookies(&self) {
        self.cookies.lock().clear();
    }

    /// A request to build on, with the cookies and headers of this client; send it by [`Client::send`].
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let cookies =
            self.cookies.lock().iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("; ");
        let request = self.http.request(method, url).headers(self.headers.clone());
        if cookies.is_empty() { request } else { request.header(COOKIE, cookies) }
    }

    /// Sends, keeps the cookies, reads the whole body.
    ///
    /// # Panics
    /// Where the server cannot be reached or breaks off.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let response = request.send().await.unwrap_or_else(|error| panic!("{error:?}"));
        let (status, headers) = (response.status(), response.headers().clone());
        for set in headers.get_all(SET_COOKIE) {
            self.keep(&String::from_utf8_lossy(set.as_bytes()));
        }
        let body = response.text().await.unwrap_or_else(|error| panic!("the answer broke off: {error:?}"));
        Reply { status, headers, body }
    }

    fn keep(&self, set: &str) {
        let mut parts = set.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let gone = parts.any(|part| part.eq_ignore_ascii_case("max-age=0") || part.contains(" 1970 "));
        let mut cookies = self.cookies.lock();
        if gone {
            cookies.remove(name);
        } else {
            cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    /// GET, as a page.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path).header(ACCEPT, "text/html,*/*;q=0.8")).await
    }

    /// GET, following up to ten redirects.
    ///
    /// # Panics
    /// After the tenth.
    pub async fn open(&self, path: &str) -> Reply {
        let mut reply = self.get(path).await;
        for _ in 0..10 {
            let Some(next) = reply.location() else { return reply };
            let next = next.to_owned();
            reply = self.get(&next).await;
        }
        panic!("{path} leads round in circles")
    }

    /// Posts a form as it stands, without a CSRF token.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let body =
            fields.iter().map(|(k, v)| format!("{}={}", escape(k), escape(v))).collect::<Vec<_>>().join("&");
        let request =
            self.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(body)).await
    }

    /// Opens `page`, and posts these fields to `action` with the CSRF token found on the page.
    ///
    /// # Panics
    /// Where the page has no token.
    pub async fn submit(&self, page: &str, action: &str, fields: &[(&str, &str)]) -> Reply {
        let opened = self.get(page).await;
        let token = opened.csrf().unwrap_or_else(|| panic!("no csrf_token on {page}: {opened:?}"));
        let fields: Vec<_> =
            [("csrf_token", token.as_str())].into_iter().chain(fields.iter().copied()).collect();
        self.post(action, &fields).await
    }

    /// Posts JSON and asks for JSON; `csrf` goes into `X-CSRFToken`.
    pub async fn post_json(&self, path: &str, csrf: Option<&str>, body: &Value) -> Reply {
        let mut request = self.request(Method::POST, path).header(ACCEPT, "application/json").json(body);
        if let Some(csrf) = csrf {
            request = request.header("x-csrftoken", csrf);
        }
        self.send(request).await
    }

    /// GET, asking for JSON.
    pub async fn get_json(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path).header(ACCEPT, "application/json")).await
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub body: String,
}

impl Reply {
    /// A header's value; `None` where it is missing or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where a redirect leads; `None` for other answers.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.status.is_redirection().then(|| self.headers.get(LOCATION)?.to_str().ok())?
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The value of the first hidden field `csrf_token` on the page.
    #[must_use]
    pub fn csrf(&self) -> Option<String> {
        field(&self.body, "csrf_token")
    }
}

/// The value of the first `<input>` of that name in a page; HTML entities are resolved.
#[must_use]
pub fn field(html: &str, name: &str) -> Option<String> {
    html.split("<input").skip(1).filter_map(|rest| rest.split('>').next()).find_map(|tag| {
        (attribute(tag, "name").as_deref() == Some(name)).then(|| attribute(tag, "value").unwrap_or_default())
    })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}="))?;
    let raw = match rest.chars().next()? {
        quote @ ('"' | '\'') => rest[1..].split(quote).next()?,
        _ => rest.split(|c: char| c.is_whitespace() || c == '/').next()?,
    };
    Some(unescape(raw))
}

/// Resolves the entities that templates write.
#[must_use]
pub fn unescape(html: &str) -> String {
    let numbered = [("&#34;", "\""), ("&#38;", "&"), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">")];
    let named = [("&quot;", "\""), ("&#x27;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    numbered.iter().chain(&named).fold(html.to_owned(), |text, (entity, sign)| text.replace(entity, sign))
}

/// Percent-encodes for a form or a query.
#[must_use]
pub fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Client, escape, field};

    #[test]
    fn fields_are_read_from_html() {
        let html = r#"<form><input name="next" value="/chat?a=1&amp;b"><input type=hidden value='t&#38;k' name="csrf_token"/>"#;
        assert_eq!(field(html, "csrf_token").as_deref(), Some("t&k"));
        assert_eq!(field(html, "next").as_deref(), Some("/chat?a=1&b"));
        assert_eq!(field(html, "none"), None);
        assert_eq!(escape("a b&ü"), "a%20b%26%C3%BC");
    }

    #[test]
    fn cookies_are_kept_and_removed() {
        let client = Client::new("http://127.0.0.1:1");
        client.keep("session=abc; Path=/; HttpOnly");
        client.keep("flash=1");
        client.keep("flash=; Max-Age=0; Path=/");
        assert_eq!(client.cookie("session").as_deref(), Some("abc"));
        assert_eq!(client.cookie("flash"), None);
    }
}
