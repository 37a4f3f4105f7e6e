//! `GET /login/{provider}/authorized`: back from the provider.

use accounts::{ArriveError, Arrived, FinishedTrip, FirstFactor, Outcome, TripPurpose, Vouched};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use providers::Callback;

use super::out::find;
use super::trouble::{self, Trouble};
use super::{failed, options, record, secrets};
use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::answer::{see_other, with_flash};
use crate::http::cookies::{self, Cookie};
use crate::joining;
use crate::pages::{admin, link, second_factor, settings, sign_in, sign_up, step_up};
use crate::sign_in_providers::{Provider, redirect_uri};
use crate::view::{Flash, Kind};

/// What the browser brings along.
#[derive(Default)]
struct Brought {
    state: Option<String>,
    callback: Callback,
}

impl Brought {
    /// `None` where something stands twice (RFC 6749, 3.1).
    fn read(query: &str) -> Option<Self> {
        let mut brought = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "state" => &mut brought.state,
                "code" => &mut brought.callback.code,
                "iss" => &mut brought.callback.iss,
                "error" => &mut brought.callback.error,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        Some(brought)
    }
}

/// `GET /login/{provider}/authorized`. A trip is used up here, once, in the browser that began it
/// (SEC-68).
pub async fn authorized(ctx: Ctx, Path(name): Path<String>) -> Result<Response, AppError> {
    // A disabled one answers only to the Admin who tries it.
    let provider = ctx.app.providers.known(&name).ok_or(AppError::NotFound)?;
    let brought = Brought::read(ctx.query.as_deref().unwrap_or("")).unwrap_or_default();
    let trip = match (&brought.state, &ctx.trip_cookie) {
        (Some(state), Some(cookie)) => ctx.app.accounts.finish_trip(&name, state, cookie).await?,
        _ => None,
    };
    if trip.as_ref().is_none_or(|trip| trip.purpose != TripPurpose::Test) {
        find(&ctx, &name)?;
    }
    let Some(trip) = trip else { return Ok(trouble::lost(&ctx, &provider)) };
    let mut response = finished(&ctx, &provider, trip, brought.callback).await?;
    cookies::add(response.headers_mut(), Cookie::Trip.clear(ctx.app.https()));
    Ok(response)
}

async fn finished(
    ctx: &Ctx,
    provider: &Provider,
    trip: FinishedTrip,
    callback: Callback,
) -> Result<Response, AppError> {
    // Whoever set out is still here.
    if trip.purpose != TripPurpose::SignIn
        && !ctx.principal.as_ref().is_some_and(|principal| trip.is_of(principal))
    {
        return Ok(trouble::lost(ctx, provider));
    }
    let redirect = redirect_uri(&ctx.app, provider.name());
    let connector = &ctx.app.providers.connector;
    let profile = connector
        .finish(
            &provider.settings,
            &redirect,
            &callback,
            &secrets(trip.secrets.clone()),
            options(trip.purpose),
        )
        .await;
    let vouched = match profile {
        Ok(profile) => provider.vouched(profile),
        Err(error) => return Ok(failed(ctx, provider, trip.purpose, &trip.onward, &error).await),
    };
    match (trip.purpose, ctx.principal.clone()) {
        (TripPurpose::SignIn, _) => arrived(ctx, provider, &trip, &vouched).await,
        (TripPurpose::Link, Some(principal)) => {
            settings::connections::linked(ctx, &principal, provider, &vouched).await
        }
        (TripPurpose::StepUp, Some(principal)) => {
            step_up::came_back(ctx, &principal, provider, &trip, &vouched).await
        }
        (TripPurpose::Test, Some(principal)) => {
            admin::providers::tried(ctx, &principal, provider, &vouched).await
        }
        (_, None) => Ok(trouble::lost(ctx, provider)),
    }
}

/// Somebody signs in.
async fn arrived(
    ctx: &Ctx,
    provider: &Provider,
    trip: &FinishedTrip,
    vouched: &Vouched,
) -> Result<Response, AppError> {
    let came = joining::arrive(&ctx.app, vouched, &provider.rules, &trip.onward, &ctx.client).await;
    match came {
        Ok(Arrived::Known { first_factor, .. }) => enter(ctx, provider, trip, first_factor, None).await,
        Ok(Arrived::Created { user, first_factor }) => {
            let flash = Flash::new(Kind::Ok, format!("Signed in as {}.", user.username));
            enter(ctx, provider, trip, first_factor, Some(flash)).await
        }
        Ok(Arrived::CheckMail { email, .. }) => Ok(sign_up::check_mail(ctx, StatusCode::OK, &email)),
        Ok(Arrived::Prove { token, .. }) => {
            let mut response = see_other(link::PATH);
            link::set_cookie(ctx, &token, &mut response);
            Ok(response)
        }
        Err(ArriveError::Db(error)) => Err(error.into()),
        Err(ArriveError::Limited(limited)) => {
            Err(AppError::RateLimited(limited.retry_after_secs.unsigned_abs()))
        }
        Err(error) => {
            if matches!(error, ArriveError::NoEmail { .. }) {
                let title = format!("{} told no e-mail address", provider.label());
                let cause = "neither the ID token nor UserInfo (GitHub: /user/emails) holds an address; check the scopes";
                record(ctx, provider, &title, cause).await;
            }
            Ok(Trouble::refused(&error).show(ctx, provider, trip.purpose, &trip.onward))
        }
    }
}

/// Through the gate (SEC-38).
async fn enter(
    ctx: &Ctx,
    provider: &Provider,
    trip: &FinishedTrip,
    first_factor: FirstFactor,
    flash: Option<Flash>,
) -> Result<Response, AppError> {
    let first_factor = first_factor.resuming(ctx.challenge_cookie.clone(), false);
    let mut response = match ctx.app.accounts.complete_login(first_factor, &ctx.client).await {
        Ok(Outcome::Session(session)) => sign_in::enter(ctx, &session, false, trip.onward.clone()).await?,
        Ok(Outcome::Challenge(challenge)) => second_factor::challenged(ctx, challenge, false, None).await?,
        Err(accounts::Refused::Invalid { .. }) => {
            return Ok(Trouble::refused(&ArriveError::Inactive).show(
                ctx,
                provider,
                trip.purpose,
                &trip.onward,
            ));
        }
        Err(refused) => return Err(refused.into()),
    };
    if let Some(flash) = flash {
        with_flash(ctx, &mut response, &flash);
    }
    Ok(response)
}
