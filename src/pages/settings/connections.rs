//! `/settings/connections`: the accounts elsewhere that sign in to one's own (SEC-58, SEC-61).

use accounts::{Identity, LinkError, Onward, Principal, TripPurpose, Vouched};
use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::error::AppError;
use crate::guard::{Ctx, Member};
use crate::http::answer;
use crate::http::input::Input;
use crate::pages::done;
use crate::pages::provider::set_out;
use crate::sign_in_providers::Provider;
use crate::view::{Kind, Page, filters};

const PATH: &str = "/settings/connections";

#[derive(Template)]
#[template(path = "settings_connections.html")]
struct ConnectionsPage {
    page: Page,
    identities: Vec<Line>,
    ways: Vec<Way>,
}

/// A linked account.
struct Line {
    identity: Identity,
    label: String,
    icon: &'static str,
    /// Its provider is set up, so that it signs in.
    live: bool,
    /// Its provider's name is another provider's now.
    replaced: bool,
}

/// A provider to link with.
struct Way {
    name: String,
    label: String,
    icon: &'static str,
    /// The person has an account of it linked already.
    another: bool,
}

/// `GET /settings/connections`, as a page or as JSON.
pub async fn page(ctx: Ctx, member: Member) -> Result<Response, AppError> {
    let identities = ctx.app.accounts.list_identities(&member.user_id).await?;
    let live = ctx.app.providers.live();
    if ctx.json {
        let providers: Vec<_> =
            live.iter().map(|p| json!({ "name": p.name(), "label": p.label() })).collect();
        let body = json!({ "identities": identities, "providers": providers });
        return Ok(answer::json(StatusCode::OK, &body));
    }
    let ways = live
        .iter()
        .map(|provider| Way {
            name: provider.name().to_owned(),
            label: provider.label().to_owned(),
            icon: provider.icon(),
            another: identities.iter().any(|identity| identity.provider == provider.name()),
        })
        .collect();
    let line = |identity: Identity| {
        let provider = live.iter().find(|provider| provider.name() == identity.provider);
        Line {
            label: ctx.app.accounts.provider_label(&identity.provider),
            icon: provider.map_or("link", |provider| provider.icon()),
            live: ctx.app.accounts.signs_in(&identity),
            replaced: provider.is_some(),
            identity,
        }
    };
    let identities = identities.into_iter().map(line).collect();
    Ok(ctx.html(&ConnectionsPage { page: ctx.page("Connections"), identities, ways }))
}

/// `POST /settings/connections/link`: off to the provider. A program is told where that is.
pub async fn link(ctx: Ctx, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let name = input.text("provider");
    input.done()?;
    let Some(provider) = ctx.app.providers.get(&name) else {
        let error = AppError::Refused("That provider is not set up here (any more).".to_owned());
        return done(&ctx, as_json, PATH, Err(error));
    };
    let onward = Onward { next: Some(PATH.to_owned()), carry: None };
    Ok(match set_out(&ctx, &provider, TripPurpose::Link, &onward).await {
        Ok(trip) if as_json => trip.told(),
        Ok(trip) => trip.page(&ctx, &provider),
        Err(answer) => *answer,
    })
}

/// Back from the provider, in the session that set out.
pub async fn linked(
    ctx: &Ctx,
    principal: &Principal,
    provider: &Provider,
    vouched: &Vouched,
) -> Result<Response, AppError> {
    let named = format!("{} ({})", provider.label(), vouched.shown_as());
    let result = match ctx.app.accounts.link_identity(principal, vouched, &ctx.client).await {
        Ok(true) => {
            let words = "is linked: you can sign in with it from now on. You are signed out everywhere else.";
            Ok((Kind::Ok, format!("{named} {words}")))
        }
        Ok(false) => Ok((Kind::Ok, format!("{named} was linked already."))),
        Err(error) => Err(AppError::from(error)),
    };
    done(ctx, ctx.json, PATH, result)
}

/// `POST /settings/connections/{id}/unlink`
pub async fn unlink(
    ctx: Ctx,
    member: Member,
    Path(id): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    let result = match ctx.app.accounts.unlink_identity(&member, &id, &ctx.client).await {
        Ok(gone) => {
            let label = ctx.app.accounts.provider_label(&gone.provider);
            let words = "does not sign you in any more. You are signed out everywhere else.";
            Ok((Kind::Ok, format!("{label} ({}) {words}", gone.shown_as)))
        }
        Err(LinkError::NotThere) if as_json => Err(AppError::NotFound),
        Err(error) => Err(error.into()),
    };
    done(&ctx, as_json, PATH, result)
}
