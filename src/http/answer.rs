//! Answers: pages, redirects with a flash, and errors as a page or as problem+json.

use askama::Template;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::cookies::{self, Cookie};
use crate::app::App;
use crate::error::{AppError, internal};
use crate::guard::Ctx;
use crate::view::{AdminLinks, ErrorPage, Flash, Kind, Page, Viewer};

/// Marks an error that is in its final form already.
#[derive(Clone, Copy, Debug)]
pub struct Shown;

impl Ctx {
    /// What the layouts need, with the flash of the action before.
    pub fn page(&self, title: impl Into<String>) -> Page {
        use accounts::Permission as P;
        Page {
            title: title.into(),
            site: self.app.site(),
            viewer: self.principal.as_ref().map(|principal| Viewer {
                id: principal.user_id.clone(),
                username: principal.username.clone(),
                display_name: principal.full_name(),
                email: principal.email.clone(),
                admin: AdminLinks {
                    overview: principal.may(P::StatsRead),
                    stats: principal.may(P::StatsRead),
                    users: principal.may(P::UsersRead),
                    roles: principal.may(P::RolesManage),
                    models: principal.may(P::ModelsManage),
                    errors: principal.may(P::ErrorsRead),
                    settings: principal.may(P::SettingsManage),
                },
                enrol_by: principal.enrol_by,
            }),
            flash: self.flash.clone(),
            csrf: self.csrf(),
            theme: self.theme,
            now_micros: self.app.clock.now(),
            path: self.path.clone(),
        }
    }

    /// A page.
    pub fn html(&self, template: &impl Template) -> Response {
        self.html_as(StatusCode::OK, template)
    }

    /// A page with a status of its own, for a form that needs another look.
    pub fn html_as(&self, status: StatusCode, template: &impl Template) -> Response {
        match template.render() {
            Ok(body) => {
                let mut response =
                    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response();
                response.extensions_mut().insert(Shown);
                let headers = response.headers_mut();
                cookies::add(headers, self.visitor_cookie());
                if !self.flash.is_empty() {
                    cookies::add(headers, Cookie::Flash.clear(self.app.https()));
                }
                response
            }
            Err(error) => internal(error).into_response(),
        }
    }
}

/// Adds `Retry-After` where the error names a wait.
pub fn with_wait(mut response: Response, error: &AppError) -> Response {
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

/// JSON with a status.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = match serde_json::to_vec(body) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => return internal(error).into_response(),
    };
    response.extensions_mut().insert(Shown);
    response
}

/// 303 to a path of ours.
pub fn see_other(path: &str) -> Response {
    match HeaderValue::from_str(path) {
        Ok(path) => (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response(),
        Err(_) => (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response(),
    }
}

/// 303 with a message for the next page.
pub fn see_other_with(ctx: &Ctx, path: &str, flash: Flash) -> Response {
    let mut response = see_other(path);
    with_flash(ctx, &mut response, &flash);
    response
}

/// Adds a message for the next page.
pub fn with_flash(ctx: &Ctx, response: &mut Response, flash: &Flash) {
    cookies::add(response.headers_mut(), write_flash(&ctx.app, flash));
}

/// The error as this request wants it.
pub fn error(ctx: &Ctx, error: &AppError) -> Response {
    let problem = error.problem();
    let mut response = if ctx.json {
        let mut body = serde_json::json!({
            "type": format!("/problems/{}", problem.name),
            "title": problem.title,
            "status": problem.status.as_u16(),
            "detail": problem.detail,
            "request_id": &*ctx.request_id,
        });
        if let Some(fields) = error.fields() {
            body["errors"] = serde_json::json!(fields);
        }
        if let AppError::SecondFactorRequired(methods) = error {
            body["methods"] = serde_json::json!(methods);
        }
        let mut response = json(problem.status, &body);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    } else {
        let home =
            if ctx.principal.is_some() { ("/chat", "Back to your chats") } else { ("/login", "Sign in") };
        let what = match error.fields() {
            Some(fields) => fields.values().cloned().collect::<Vec<_>>().join(" "),
            None => problem.detail,
        };
        ctx.html_as(
            problem.status,
            &ErrorPage {
                page: ctx.page(problem.title),
                status: problem.status.as_u16(),
                title: problem.title.to_owned(),
                what,
                next: None,
                action: Some((home.0.to_owned(), home.1.to_owned())),
                request_id: ctx.request_id.to_string(),
            },
        )
    };
    response.extensions_mut().insert(Shown);
    with_wait(response, error)
}

/// The message that the page before left (its MAC holds), if any.
pub fn read_flash(app: &App, headers: &HeaderMap) -> Vec<Flash> {
    let Some(value) = Cookie::Flash.read(headers, app.https()) else { return Vec::new() };
    let Some((payload, mac)) = value.split_once('.') else { return Vec::new() };
    let (Ok(payload), Ok(mac)) = (URL_SAFE_NO_PAD.decode(payload), URL_SAFE_NO_PAD.decode(mac)) else {
        return Vec::new();
    };
    if !base::seal::same(&app.ring.mac("flash", &payload), &mac) {
        return Vec::new();
    }
    let Some((kind, text)) = payload.split_first() else { return Vec::new() };
    let kind = match kind {
        b'o' => Kind::Ok,
        b'w' => Kind::Warn,
        _ => Kind::Bad,
    };
    vec![Flash::new(kind, String::from_utf8_lossy(text))]
}

fn write_flash(app: &App, flash: &Flash) -> Option<HeaderValue> {
    let mut payload = vec![match flash.kind {
        Kind::Ok => b'o',
        Kind::Warn => b'w',
        Kind::Bad => b'b',
    }];
    // A cookie holds 4 KiB at most.
    payload.extend(flash.text.chars().take(500).collect::<String>().into_bytes());
    let mac = app.ring.mac("flash", &payload);
    let value = format!("{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(mac));
    Cookie::Flash.set(&value, Some(60), app.https())
}
