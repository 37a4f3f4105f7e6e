//! New backup codes, shown once: in the answer to what made them, and never again (SEC-50).

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::guard::Ctx;
use crate::view::{Page, filters};

#[derive(Template)]
#[template(path = "backup_codes.html")]
struct BackupCodesPage {
    page: Page,
    /// What was just done, as a headline's small print.
    done: &'static str,
    codes: Vec<String>,
    /// The file for download, as a `data:` address.
    file: String,
    /// Whose they are, for the print.
    account: String,
    site_url: String,
    /// Where it goes on: the path, and the query as fields, since a form of its own drops that.
    next: String,
    query: Vec<(String, String)>,
}

/// The page with the codes. `done` says what was set up; `account` is whose codes they are.
pub fn shown_once(ctx: &Ctx, done: &'static str, account: &str, codes: Vec<String>, next: &str) -> Response {
    let site_url = ctx.app.config.public_origin();
    let text = format!(
        "Backup codes for {account} at {site_url}\r\nEach one signs you in once, in place of the second factor.\r\n\r\n{}\r\n",
        codes.join("\r\n")
    );
    let (path, query) = next.split_once('?').unwrap_or((next, ""));
    let page = BackupCodesPage {
        page: ctx.page("Backup codes"),
        done,
        file: format!("data:text/plain;charset=utf-8,{}", percent(&text)),
        codes,
        account: account.to_owned(),
        site_url: site_url.to_string(),
        next: path.to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
    };
    let mut response = ctx.html_as(StatusCode::OK, &page);
    // Also where nobody was signed in when the request came.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Percent-encoding for a `data:` address: everything but letters, digits and dashes.
fn percent(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}
