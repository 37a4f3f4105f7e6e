//! `/settings/connections`: the identities that sign in to one's account.

use accounts::{Principal, Vouched};
use axum::response::Response;

use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::input::Input;
use crate::sign_in_providers::Provider;

pub async fn page(_: Ctx) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
pub async fn link(_: Ctx, _: Input) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
pub async fn unlink(_: Ctx, _: Input) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
/// Back from the provider.
pub async fn linked(_: &Ctx, _: &Principal, _: &Provider, _: &Vouched) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
