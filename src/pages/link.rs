//! `/login/link`: an identity waits for the proof that an account is its owner's (SEC-71).

use accounts::{LinkEnd, LinkToken};
use axum::response::Response;

use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::answer::with_flash;
use crate::http::cookies::{self, Cookie};
use crate::http::input::Input;
use crate::view::{Flash, Kind};

pub const PATH: &str = "/login/link";

/// Remembers what waits in the browser.
pub fn set_cookie(ctx: &Ctx, token: &LinkToken, response: &mut Response) {
    let cookie = Cookie::Link.set(token.as_str(), None, ctx.app.https());
    cookies::add(response.headers_mut(), cookie);
}

/// The sign-in that was to link is through.
pub fn ended(ctx: &Ctx, end: &LinkEnd, response: &mut Response) {
    let kind = if matches!(end, LinkEnd::Linked { .. }) { Kind::Ok } else { Kind::Warn };
    with_flash(ctx, response, &Flash::new(kind, end.words()));
    cookies::add(response.headers_mut(), Cookie::Link.clear(ctx.app.https()));
}

pub async fn page(_: Ctx) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
pub async fn send_mail(_: Ctx, _: Input) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
pub async fn cancel(_: Ctx, _: Input) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
pub async fn mailed_page(_: Ctx) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
pub async fn mailed(_: Ctx, _: Input) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
