//! What an Admin changes about model servers and models.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use upstream::parse_base_url;
use usage::catalog::{self, CatalogError, ConfigUpstream, Source, Upstream};

use super::{PATH, Typed, render};
use crate::error::{AppError, FieldErrors, internal};
use crate::guard::{Ctx, Member};
use crate::http::answer;
use crate::http::input::Input;
use crate::models::endpoint;
use crate::pages::admin::{done, failure_words, settings, way_back};
use crate::view::{Flash, Kind, format};

/// Longest API key, in bytes.
const KEY: usize = 1_000;

/// `POST /admin/models`: adds a model server and lists its models.
pub async fn add(ctx: Ctx, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let mut typed =
        Typed { name: input.text("name"), base_url: input.text("base_url"), errors: FieldErrors::new() };
    let key = input.text("api_key");
    typed.errors = input.finish().err().unwrap_or_default();
    if !key_is_sendable(&key) {
        typed.errors.insert("api_key".into(), "A key is one word of letters, digits and signs.".into());
    }
    let added = match parse_base_url(typed.base_url.trim()) {
        Err(error) => {
            typed.errors.insert("base_url".into(), error.to_string());
            None
        }
        Ok(_) if !typed.errors.is_empty() => None,
        Ok(url) => match insert(&ctx, &typed.name, url.as_str(), &key).await {
            Ok(id) => Some((id, url)),
            Err(error @ (CatalogError::Taken | CatalogError::BadName)) => {
                typed.errors.insert("name".into(), error.to_string());
                None
            }
            Err(error) => return Err(refused(error)),
        },
    };
    let Some((id, url)) = added else {
        return match as_json {
            true => Err(AppError::Validation(typed.errors)),
            false => render(&ctx, StatusCode::UNPROCESSABLE_ENTITY, &typed, None).await,
        };
    };
    let name = typed.name.trim();
    let listed = match endpoint(&id, name, url.as_str(), Some(key.trim()).filter(|key| !key.is_empty())) {
        Some(endpoint) => ctx.app.models.list(&ctx.app, &endpoint).await,
        None => Ok(0),
    };
    reload(&ctx).await?;
    let (kind, message) = match listed {
        Ok(0) => (Kind::Warn, format!("{name} is added, but it lists no models.")),
        Ok(count) => (
            Kind::Ok,
            format!("{name} is added with {}.", format::counted(count_of(count), "model", "models")),
        ),
        Err(failed) => (
            Kind::Warn,
            format!(
                "{name} is added, but did not list its models: {}. ({})",
                failure_words(failed.kind),
                failed.cause
            ),
        ),
    };
    if as_json {
        let body = json!({ "message": message, "upstream": { "id": id, "name": name } });
        return Ok(answer::json(StatusCode::CREATED, &body));
    }
    Ok(answer::see_other_with(&ctx, PATH, Flash::new(kind, message)))
}

async fn insert(ctx: &Ctx, name: &str, base_url: &str, key: &str) -> Result<String, CatalogError> {
    let app = &ctx.app;
    let upstream = ConfigUpstream { name, base_url, key: Some(key).filter(|key| !key.is_empty()) };
    let mut tx = app.db.begin().await?;
    let id = catalog::add(&mut tx, &app.ring, &app.random, app.clock.now(), upstream).await?;
    tx.commit().await?;
    Ok(id)
}

/// Whether a header can carry it.
fn key_is_sendable(key: &str) -> bool {
    key.len() <= KEY && key.trim().bytes().all(|byte| byte.is_ascii_graphic())
}

/// `POST /admin/models/upstreams/{id}/enable`
pub async fn enable_upstream(ctx: Ctx, Path(id): Path<String>, input: Input) -> Result<Response, AppError> {
    switch_upstream(ctx, &id, input, true).await
}

/// `POST /admin/models/upstreams/{id}/disable`
pub async fn disable_upstream(ctx: Ctx, Path(id): Path<String>, input: Input) -> Result<Response, AppError> {
    switch_upstream(ctx, &id, input, false).await
}

async fn switch_upstream(ctx: Ctx, id: &str, input: Input, enabled: bool) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    let result = async {
        let upstream = find(&ctx, id).await?;
        if upstream.source == Source::Config {
            return Err(refused(CatalogError::Configured));
        }
        let mut tx = ctx.app.db.begin().await?;
        catalog::set_enabled(&mut tx, id, enabled, ctx.app.clock.now()).await?;
        tx.commit().await?;
        reload(&ctx).await?;
        let words = if enabled { "is enabled." } else { "is disabled; answers under way go on." };
        Ok((Kind::Ok, format!("{} {words}", upstream.name)))
    };
    let result = result.await;
    done(&ctx, as_json, PATH, result)
}

/// `POST /admin/models/upstreams/{id}/remove`
pub async fn remove_upstream(ctx: Ctx, Path(id): Path<String>, input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    input.done()?;
    let result = async {
        let upstream = find(&ctx, &id).await?;
        let mut tx = ctx.app.db.begin().await?;
        catalog::remove(&mut tx, &id).await.map_err(refused)?;
        tx.commit().await?;
        reload(&ctx).await?;
        Ok((
            Kind::Ok,
            format!("{} is removed, and its key with it. What was used of it stays counted.", upstream.name),
        ))
    };
    let result = result.await;
    done(&ctx, as_json, PATH, result)
}

/// `POST /admin/models/enable`
pub async fn enable_model(ctx: Ctx, input: Input) -> Result<Response, AppError> {
    switch_model(ctx, input, true).await
}

/// `POST /admin/models/disable`
pub async fn disable_model(ctx: Ctx, input: Input) -> Result<Response, AppError> {
    switch_model(ctx, input, false).await
}

async fn switch_model(ctx: Ctx, mut input: Input, enabled: bool) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let model = input.text("model");
    let upstream = input.optional("upstream");
    let back = way_back(PATH, input.optional("back"));
    input.done()?;
    let result = async {
        let mut tx = ctx.app.db.begin().await?;
        if !catalog::set_model_enabled(&mut tx, &model, upstream.as_deref(), enabled).await? {
            return Err(AppError::Refused(
                "There is no such model any more. Nothing was changed.".to_owned(),
            ));
        }
        tx.commit().await?;
        reload(&ctx).await?;
        let words = if enabled { "is enabled." } else { "is disabled." };
        Ok((Kind::Ok, format!("{model} {words}")))
    };
    let result = result.await;
    done(&ctx, as_json, &back, result)
}

/// `POST /admin/models/default`: the model that new chats begin with; without one, the first.
pub async fn set_default(ctx: Ctx, member: Member, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let model = input.optional("model");
    input.done()?;
    let result = async {
        if let Some(name) = &model
            && !ctx.app.models.names().contains(name)
        {
            return Err(AppError::field("model", "Nobody can choose this model now. Choose another one."));
        }
        let message = match &model {
            Some(name) => format!("New chats begin with {name}."),
            None => "New chats begin with the first model.".to_owned(),
        };
        let mut general = settings::general(&ctx.app);
        general.default_model = model;
        ctx.app.accounts.save_general(&member.user_id, &general).await?;
        Ok((Kind::Ok, message))
    };
    let result = result.await;
    done(&ctx, as_json, PATH, result)
}

/// The upstream of an action.
pub(super) async fn find(ctx: &Ctx, id: &str) -> Result<Upstream, AppError> {
    catalog::upstream(&ctx.app.db, id).await?.ok_or(AppError::NotFound)
}

/// Takes the changed catalog into use.
pub(super) async fn reload(ctx: &Ctx) -> Result<(), AppError> {
    ctx.app.models.reload(&ctx.app).await.map_err(internal)
}

/// An error of the catalog, for those who may change it.
pub(super) fn refused(error: CatalogError) -> AppError {
    match error {
        CatalogError::Db(error) => error.into(),
        CatalogError::Taken | CatalogError::BadName | CatalogError::Configured => {
            AppError::Refused(error.to_string())
        }
        CatalogError::Sealed { .. } | CatalogError::Seal(_) => internal(error),
    }
}

pub(super) fn count_of(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_one_word() {
        assert!(key_is_sendable("") && key_is_sendable(" sk-0123456789\n"));
        assert!(
            !key_is_sendable("sk 1") && !key_is_sendable("sk-\u{e9}") && !key_is_sendable(&"k".repeat(1_001))
        );
    }
}
