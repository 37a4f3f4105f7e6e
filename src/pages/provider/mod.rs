//! Signing in by an identity provider: the way there, the way back, and what stands in between
//! (SEC-68 to SEC-76).

mod back;
mod out;
mod trouble;

use accounts::{Onward, TripPurpose, TripSecrets};
use askama::Template;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use providers::{ProviderError, TripOptions};
use url::Url;

pub use self::back::authorized;
pub use self::out::{begin, begin_with_prompt};
pub use self::trouble::{Trouble, record};
use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::cookies::{self, Cookie};
use crate::pages::{sign_in, step_up};
use crate::sign_in_providers::{Provider, redirect_uri};
use crate::view::{Page, filters};

/// A way in on the pages of sign-in and sign-up.
pub struct ProviderButton {
    /// For a link.
    pub href: String,
    /// For a form.
    pub action: String,
    pub label: String,
    pub icon: &'static str,
}

/// The ways in, for whoever wants to go on to `next`; with `sign_up` those that make accounts.
pub fn buttons(ctx: &Ctx, next: Option<&str>, sign_up: bool) -> Vec<ProviderButton> {
    let live = ctx.app.providers.live();
    live.iter()
        .filter(|provider| !sign_up || provider.rules.sign_up)
        .map(|provider| ProviderButton {
            href: address(provider, next),
            action: address(provider, None),
            label: provider.label().to_owned(),
            icon: provider.icon(),
        })
        .collect()
}

/// Where a sign-in at this provider begins that goes on to `next`.
fn address(provider: &Provider, next: Option<&str>) -> String {
    sign_in::address(next.unwrap_or("/")).replacen("/login", &format!("/login/{}", provider.name()), 1)
}

/// A browser on its way to a provider.
pub struct SetOut {
    url: Url,
    cookie: Option<HeaderValue>,
}

/// Begins a trip for whoever asks, and for this session where somebody is signed in and it is not a
/// sign-in.
///
/// # Errors
/// The answer: too many trips, or a provider that is not there.
pub async fn set_out(
    ctx: &Ctx,
    provider: &Provider,
    purpose: TripPurpose,
    onward: &Onward,
) -> Result<SetOut, Box<Response>> {
    let accounts = &ctx.app.accounts;
    let principal = ctx.principal.as_deref().filter(|_| purpose != TripPurpose::SignIn);
    let begun = accounts.begin_trip(provider.name(), purpose, principal, onward, &ctx.client).await;
    let trip = match begun {
        Ok(trip) => trip,
        Err(accounts::ThrottleError::Limited(limited)) => {
            let error = AppError::RateLimited(limited.retry_after_secs.unsigned_abs());
            return Err(Box::new(too_many(ctx, purpose, onward, &error).await));
        }
        Err(accounts::ThrottleError::Db(error)) => {
            return Err(Box::new(crate::http::answer::error(ctx, &error.into())));
        }
    };
    let redirect = redirect_uri(&ctx.app, provider.name());
    let gone = ctx
        .app
        .providers
        .connector
        .begin(&provider.settings, &redirect, &trip.state, &secrets(trip.secrets), options(purpose))
        .await;
    match gone {
        Ok(there) => {
            let age = accounts::identities::TRIP_LIFETIME / base::SECOND;
            let cookie = Cookie::Trip.set(trip.cookie.as_str(), Some(age), ctx.app.https());
            Ok(SetOut { url: there.url, cookie })
        }
        Err(error) => Err(Box::new(failed(ctx, provider, purpose, onward, &error).await)),
    }
}

/// Too many trips at once. What somebody typed waits on the page where they set out.
async fn too_many(ctx: &Ctx, purpose: TripPurpose, onward: &Onward, error: &AppError) -> Response {
    let problem = error.problem();
    let page = match purpose {
        _ if ctx.json => None,
        TripPurpose::SignIn if onward.carry.is_some() => {
            Some(sign_in::another_way(ctx, problem.status, problem.title.to_owned(), problem.detail, onward))
        }
        TripPurpose::StepUp => step_up::another_way(ctx, onward, problem.detail).await,
        _ => None,
    };
    match page {
        Some(page) => crate::http::answer::with_wait(page, error),
        None => crate::http::answer::error(ctx, error),
    }
}

impl SetOut {
    /// Sends a browser there that followed a link.
    pub fn redirect(self) -> Response {
        let mut response = crate::http::answer::see_other(self.url.as_str());
        cookies::add(response.headers_mut(), self.cookie);
        response
    }

    /// Tells a program of ours in the browser where to go on.
    pub fn told(self) -> Response {
        let mut response =
            crate::http::answer::json(StatusCode::OK, &serde_json::json!({ "url": self.url.as_str() }));
        cookies::add(response.headers_mut(), self.cookie);
        response
    }

    /// Sends a browser there that posted a form. A page in between goes on by itself: browsers hold the
    /// policy `form-action` (SEC-86) against wherever a posted form is redirected to, and providers
    /// redirect to hosts that nobody here knows.
    pub fn page(self, ctx: &Ctx, provider: &Provider) -> Response {
        let title = format!("To {}", provider.label());
        let mut response = going(ctx, &title, "You are on your way.", provider.label(), &self.url);
        cookies::add(response.headers_mut(), self.cookie);
        response
    }
}

#[derive(Template)]
#[template(path = "provider/going.html")]
struct GoingPage {
    page: Page,
    title: String,
    /// What is happening.
    what: String,
    label: String,
    url: String,
}

/// A page that goes on to another host by itself.
pub fn going(ctx: &Ctx, title: &str, what: &str, label: &str, url: &Url) -> Response {
    ctx.html_as(
        StatusCode::OK,
        &GoingPage {
            page: ctx.page(title),
            title: title.to_owned(),
            what: what.to_owned(),
            label: label.to_owned(),
            url: url.to_string(),
        },
    )
}

/// Tells the Admins and the person of a trip that came to nothing.
async fn failed(
    ctx: &Ctx,
    provider: &Provider,
    purpose: TripPurpose,
    onward: &Onward,
    error: &ProviderError,
) -> Response {
    let cause = error.to_string();
    let trouble = Trouble::of(provider, error).because(purpose, &cause);
    record(ctx, provider, &trouble.title, &cause).await;
    // What somebody typed still waits for another proof.
    if purpose == TripPurpose::StepUp && !ctx.json {
        let words = format!("{}. Use another way.", trouble.title);
        if let Some(page) = step_up::another_way(ctx, onward, words).await {
            return page;
        }
    }
    trouble.show(ctx, provider, purpose, onward)
}

fn options(purpose: TripPurpose) -> TripOptions {
    TripOptions {
        fresh: purpose == TripPurpose::StepUp,
        choose: matches!(purpose, TripPurpose::Link | TripPurpose::Test),
    }
}

fn secrets(secrets: TripSecrets) -> providers::TripSecrets {
    providers::TripSecrets { nonce: secrets.nonce, verifier: secrets.verifier }
}
