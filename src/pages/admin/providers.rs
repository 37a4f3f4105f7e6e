//! `/admin/settings/providers`: identity providers, set up and tried.

use accounts::{Principal, Vouched};
use axum::response::Response;

use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::input::Input;
use crate::sign_in_providers::Provider;

pub async fn new_page(_: Ctx) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
pub async fn page(_: Ctx) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
pub async fn add(_: Ctx, _: Input) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
pub async fn save(_: Ctx, _: Input) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
pub async fn enable(_: Ctx, _: Input) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
pub async fn disable(_: Ctx, _: Input) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
pub async fn remove(_: Ctx, _: Input) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
pub async fn test(_: Ctx, _: Input) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
/// Back from the provider.
pub async fn tried(_: &Ctx, _: &Principal, _: &Provider, _: &Vouched) -> Result<Response, AppError> {
    Err(AppError::NotFound)
}
