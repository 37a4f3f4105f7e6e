//! `GET/POST /login/{provider}`: off to the provider.

use std::sync::Arc;

use accounts::{Onward, TripPurpose};
use axum::extract::Path;
use axum::response::Response;

use super::set_out;
use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::input::Input;
use crate::pages::carried;
use crate::pages::sign_in::safe_next;
use crate::sign_in_providers::Provider;

/// The provider of this address.
pub(super) fn find(ctx: &Ctx, name: &str) -> Result<Arc<Provider>, AppError> {
    ctx.app.providers.get(name).ok_or(AppError::NotFound)
}

/// `GET /login/{provider}`: what a button leads to. The trip is noted, which is no change to anything
/// that somebody has (SEC-84).
pub async fn begin(ctx: Ctx, Path(name): Path<String>) -> Result<Response, AppError> {
    let provider = find(&ctx, &name)?;
    let query = ctx.query.as_deref().unwrap_or("");
    let next = url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "next")
        .map(|(_, value)| value.into_owned())
        .filter(|next| safe_next(next));
    let onward = Onward { next, carry: None };
    Ok(match set_out(&ctx, &provider, TripPurpose::SignIn, &onward).await {
        Ok(trip) => trip.redirect(),
        Err(answer) => *answer,
    })
}

/// `POST /login/{provider}`: the same with a prompt that met an ended session; it waits with the trip.
pub async fn begin_with_prompt(
    ctx: Ctx,
    Path(name): Path<String>,
    mut input: Input,
) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let provider = find(&ctx, &name)?;
    let next = input.optional("next").filter(|next| safe_next(next));
    // It is stored before anybody has shown who they are: nothing but what was sealed here.
    let carry = input.optional("carry").filter(|sealed| carried::is_sealed(&ctx, sealed));
    input.done()?;
    let onward = Onward { next, carry };
    Ok(match set_out(&ctx, &provider, TripPurpose::SignIn, &onward).await {
        Ok(trip) if as_json => trip.told(),
        Ok(trip) => trip.page(&ctx, &provider),
        Err(answer) => *answer,
    })
}
