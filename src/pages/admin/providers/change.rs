//! What an Admin changes about providers. Each change counts at once: here now, and within seconds in every
//! other process on the database.

use accounts::StoreError;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::form::{Typed, again, gone, is_configured, stored};
use super::{PATH, refusal};
use crate::error::{AppError, internal};
use crate::guard::{Ctx, Member};
use crate::http::answer;
use crate::http::input::Input;
use crate::pages::admin::done;
use crate::sign_in_providers::{Provider, Setup, redirect_uri};
use crate::view::{Flash, Kind};

/// A page stands at this name's address.
const RESERVED: &str = "new";

/// `POST /admin/settings/providers`
pub async fn add(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    if let Some(refused) = refusal(&ctx, as_json, &member) {
        return refused;
    }
    let name = input.text("name").trim().to_owned();
    let secret = input.text("client_secret").trim().to_owned();
    let mut typed = Typed::read(&mut input, name, None);
    typed.errors.extend(input.finish().err().unwrap_or_default());
    if typed.name == RESERVED {
        typed.wrong("name", "This name is taken by a page; choose another.");
    }
    if is_configured(&ctx, &typed.name) {
        typed.wrong("name", "The configuration has a provider of that name. Choose another name.");
    }
    let Some(provider) = check(&ctx, &mut typed, &secret).await? else {
        return again(&ctx, as_json, typed, false);
    };
    match ctx.app.accounts.add_provider(&typed.name, &kept(&typed.setup)?, &secret).await {
        Ok(()) => {}
        Err(error @ (StoreError::Taken | StoreError::TooMany)) => {
            typed.wrong("name", error.to_string());
            return again(&ctx, as_json, typed, false);
        }
        Err(StoreError::Db(error)) => return Err(error.into()),
    }
    changed(&ctx, &member, &typed.name, "added").await?;
    let message =
        format!("{} is added: its button stands on the sign-in page. Test it now.", provider.label());
    if as_json {
        let body = json!({
            "message": message,
            "provider": { "name": typed.name, "redirect_uri": redirect_uri(&ctx.app, &typed.name) },
        });
        return Ok(answer::json(StatusCode::CREATED, &body));
    }
    Ok(answer::see_other_with(&ctx, PATH, Flash::new(Kind::Ok, message)))
}

/// `POST /admin/settings/providers/{name}`. What is not sent is empty or off, but for preset and secret,
/// which stay.
pub async fn save(
    ctx: Ctx,
    member: Member,
    Path(name): Path<String>,
    mut input: Input,
) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    if let Some(refused) = refusal(&ctx, as_json, &member) {
        return refused;
    }
    let Some(stored) = stored(&ctx, &name).await? else {
        return done(&ctx, as_json, PATH, Err(gone(as_json)));
    };
    let before = Setup::read(&stored.settings);
    let preset = before.as_ref().map(|setup| setup.preset);
    let fresh = input.optional("client_secret").map(|secret| secret.trim().to_owned());
    let fresh = fresh.filter(|secret| !secret.is_empty());
    let mut typed = Typed::read(&mut input, name, preset);
    typed.errors.extend(input.finish().err().unwrap_or_default());
    // SEC-98: a secret goes only to the address that it was entered for.
    if fresh.is_none()
        && stored.secret.is_some()
        && before.is_none_or(|before| before.place() != typed.setup.place())
    {
        typed.wrong(
            "client_secret",
            "The address of the provider is another one, and the secret was entered for the one before. Enter it again.",
        );
    }
    let secret = fresh.as_ref().or(stored.secret.as_ref()).map_or("", String::as_str);
    let Some(provider) = check(&ctx, &mut typed, secret).await? else {
        return again(&ctx, as_json, typed, true);
    };
    let changed_it =
        ctx.app.accounts.change_provider(&typed.name, &kept(&typed.setup)?, fresh.as_deref()).await?;
    if !changed_it {
        return done(&ctx, as_json, PATH, Err(gone(as_json)));
    }
    changed(&ctx, &member, &typed.name, "changed").await?;
    done(&ctx, as_json, PATH, Ok((Kind::Ok, format!("{} is saved, and counts at once.", provider.label()))))
}

/// The provider that was typed; `None` where something is wrong, which is noted at its field then.
async fn check(ctx: &Ctx, typed: &mut Typed, secret: &str) -> Result<Option<Provider>, AppError> {
    let provider = match typed.setup.build(&typed.name, secret) {
        Ok(provider) => provider,
        Err(errors) => {
            for (field, words) in errors {
                typed.errors.entry(field).or_insert(words);
            }
            return Ok(None);
        }
    };
    let unknown = unknown_roles(ctx, &provider).await?;
    if let Some(role) = unknown.first() {
        typed
            .wrong("roles", format!("There is no role “{role}”. See the roles under Administration, Roles."));
    }
    Ok(typed.errors.is_empty().then_some(provider))
}

/// The roles that a provider's rules name and that do not exist. A role is named by its id or its name.
pub(super) async fn unknown_roles(ctx: &Ctx, provider: &Provider) -> Result<Vec<String>, AppError> {
    if provider.rules.roles.is_empty() {
        return Ok(Vec::new());
    }
    let roles = ctx.app.accounts.roles().await?;
    let is_known = |name: &str| {
        roles.iter().any(|role| role.id == name || role.name.to_lowercase() == name.to_lowercase())
    };
    let named = provider.rules.roles.iter().map(|(_, role)| role);
    Ok(named.filter(|role| !is_known(role)).cloned().collect())
}

/// As the database keeps it.
fn kept(setup: &Setup) -> Result<String, AppError> {
    serde_json::to_string(setup).map_err(internal)
}

/// Takes a change into use, and notes who made it.
async fn changed(ctx: &Ctx, member: &Member, name: &str, what: &str) -> Result<(), AppError> {
    ctx.app.providers.reload(&ctx.app).await?;
    tracing::info!(
        provider.name = name,
        user.id = member.user_id,
        user.name = member.username,
        "a sign-in provider was {what}"
    );
    Ok(())
}

/// `POST /admin/settings/providers/{name}/enable`
pub async fn enable(
    ctx: Ctx,
    member: Member,
    Path(name): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    switch(ctx, member, name, input, true).await
}

/// `POST /admin/settings/providers/{name}/disable`
pub async fn disable(
    ctx: Ctx,
    member: Member,
    Path(name): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    switch(ctx, member, name, input, false).await
}

async fn switch(
    ctx: Ctx,
    member: Member,
    name: String,
    input: Input,
    enabled: bool,
) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    if let Some(refused) = refusal(&ctx, as_json, &member) {
        return refused;
    }
    let result = if ctx.app.accounts.enable_provider(&name, enabled).await? {
        changed(&ctx, &member, &name, if enabled { "enabled" } else { "disabled" }).await?;
        match (enabled, ctx.app.providers.get(&name).is_some()) {
            (true, true) => Ok((Kind::Ok, format!("{} is enabled.", called(&ctx, &name)))),
            (true, false) => {
                Ok((Kind::Warn, format!("{name} is enabled, but cannot be used: see its line.")))
            }
            (false, _) => {
                let words = format!("{} is disabled: nobody signs in by it any more.", called(&ctx, &name));
                Ok((Kind::Ok, words))
            }
        }
    } else {
        Err(gone(as_json))
    };
    done(&ctx, as_json, PATH, result)
}

/// `POST /admin/settings/providers/{name}/remove`
pub async fn remove(
    ctx: Ctx,
    member: Member,
    Path(name): Path<String>,
    input: Input,
) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    if let Some(refused) = refusal(&ctx, as_json, &member) {
        return refused;
    }
    let label = called(&ctx, &name);
    let result = if ctx.app.accounts.remove_provider(&name).await? {
        changed(&ctx, &member, &name, "removed").await?;
        Ok((Kind::Ok, format!("{label} is removed, and its client secret with it.")))
    } else {
        Err(gone(as_json))
    };
    done(&ctx, as_json, PATH, result)
}

/// What a provider is called: its label, or its name where it cannot be used.
fn called(ctx: &Ctx, name: &str) -> String {
    ctx.app.providers.known(name).map_or_else(|| name.to_owned(), |provider| provider.label().to_owned())
}
