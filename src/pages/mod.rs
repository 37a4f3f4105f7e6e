//! The pages: one file for each thing a person does.

pub mod admin;
pub mod backup_codes;
pub mod carried;
pub mod chat;
pub mod enrol;
pub mod link;
pub mod passwordless;
pub mod provider;
pub mod recovery;
pub mod second_factor;
pub mod settings;
pub mod setup;
pub mod sign_in;
pub mod sign_out;
pub mod sign_up;
pub mod step_up;
pub mod verify_email;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app::App;
use crate::error::AppError;
use crate::guard::{self, Ctx};
use crate::http::answer::{self, see_other, see_other_with};
use crate::view::{Flash, Kind};

/// `GET /`: to the chats, to the sign-in, or on a fresh installation to a word about the set-up.
pub async fn home(ctx: Ctx) -> Response {
    if ctx.principal.is_some() { see_other("/chat") } else { see_other("/login") }
}

/// Any address that is not in the table.
pub async fn not_found(app: App, request: Request) -> Response {
    refuse(app, request, AppError::NotFound).await
}

/// An address of the table, with a method it does not have.
pub async fn method_not_allowed(app: App, request: Request) -> Response {
    refuse(app, request, AppError::MethodNotAllowed).await
}

async fn refuse(app: App, request: Request, error: AppError) -> Response {
    guard::tell(&app, request, error).await
}

/// In development a GET by another loopback name goes to the public URL's name, so that cookies
/// and links agree.
pub async fn canonical_host(State(app): State<App>, request: Request, next: Next) -> Response {
    if app.config.is_development()
        && request.method() == Method::GET
        && let Some(host) = request.headers().get(header::HOST).and_then(|host| host.to_str().ok())
        && app.other_loopback_name(host)
    {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        if !path.starts_with("/healthz") && !path.starts_with("/readyz") {
            let target = format!("{}{path}", app.config.public_origin());
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response();
        }
    }
    next.run(request).await
}

/// Answers an action: a program gets the message or the problem, a page goes back to where it was, with
/// a flash that says what happened.
fn done(
    ctx: &Ctx,
    as_json: bool,
    back: &str,
    result: Result<(Kind, String), AppError>,
) -> Result<Response, AppError> {
    match result {
        Ok((_, message)) if as_json => Ok(answer::json(StatusCode::OK, &json!({ "message": message }))),
        Ok((kind, message)) => Ok(see_other_with(ctx, back, Flash::new(kind, message))),
        Err(error) if as_json => Err(error),
        Err(error) => Ok(see_other_with(ctx, back, Flash::new(Kind::Bad, words(&error)))),
    }
}

/// An error in one line for a flash.
fn words(error: &AppError) -> String {
    let problem = error.problem();
    match error.fields() {
        Some(fields) => fields.values().cloned().collect::<Vec<_>>().join(" "),
        None if matches!(error, AppError::Refused(_)) => problem.detail,
        None => format!("{}. {}", problem.title, problem.detail),
    }
}
