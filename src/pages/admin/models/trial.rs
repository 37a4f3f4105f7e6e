//! The Test button: lists an upstream's models and times a prompt to one of them.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use upstream::probe::{self, Timed};
use upstream::{Failed, Failure};
use usage::catalog;

use super::change::{count_of, find, refused, reload};
use super::{Typed, render};
use crate::error::AppError;
use crate::guard::Ctx;
use crate::http::answer;
use crate::http::input::Input;
use crate::models::endpoint;
use crate::pages::admin::failure_words;

/// What a test found.
pub(super) struct Trial {
    pub upstream: String,
    /// How many models it lists.
    pub listed: i64,
    pub timed: Option<Timed>,
    pub failure: Option<TrialFailure>,
}

/// Why a test failed. Only Admins see the cause.
pub(super) struct TrialFailure {
    pub words: &'static str,
    pub cause: String,
}

impl From<Failed> for TrialFailure {
    fn from(failed: Failed) -> Self {
        Self { words: failure_words(failed.kind), cause: failed.cause }
    }
}

/// `POST /admin/models/upstreams/{id}/test`: takes the listed models into the catalog too.
pub async fn test(ctx: Ctx, Path(id): Path<String>, mut input: Input) -> Result<Response, AppError> {
    let as_json = ctx.json || input.is_json();
    let model = input.optional("model");
    input.done()?;
    let trial = run(&ctx, &id, model).await?;
    if as_json {
        let timed = trial.timed.as_ref().map(|timed| {
            json!({ "model": timed.model, "ttft_micros": timed.ttft_micros, "total_micros": timed.total_micros })
        });
        let failure =
            trial.failure.as_ref().map(|failure| json!({ "words": failure.words, "cause": failure.cause }));
        let body = json!({
            "ok": trial.failure.is_none(), "models": trial.listed, "timed": timed, "failure": failure,
        });
        return Ok(answer::json(StatusCode::OK, &body));
    }
    render(&ctx, StatusCode::OK, &Typed::default(), Some(trial)).await
}

async fn run(ctx: &Ctx, id: &str, model: Option<String>) -> Result<Trial, AppError> {
    let app = &ctx.app;
    let upstream = find(ctx, id).await?;
    let key = catalog::key(&app.db, &app.ring, id).await.map_err(refused)?;
    let mut trial = Trial { upstream: upstream.name.clone(), listed: 0, timed: None, failure: None };
    let Some(endpoint) =
        endpoint(id, &upstream.name, &upstream.base_url, key.as_ref().map(catalog::ApiKey::expose))
    else {
        trial.failure = Some(TrialFailure { words: "its address is not usable", cause: upstream.base_url });
        return Ok(trial);
    };
    match app.models.list(app, &endpoint).await {
        Ok(count) => trial.listed = count_of(count),
        // Some servers have no list; a model that is known can be asked all the same.
        Err(failed) if failed.kind == Failure::NotFound && model.is_some() => {}
        Err(failed) => {
            trial.failure = Some(failed.into());
            return Ok(trial);
        }
    }
    reload(ctx).await?;
    let model = match model {
        Some(model) => Some(model),
        None => first_model(ctx, id).await?,
    };
    let Some(model) = model else {
        trial.failure = Some(TrialFailure {
            words: "it answers, but lists no models: load or pull one there",
            cause: "the list of models is empty".to_owned(),
        });
        return Ok(trial);
    };
    match probe::test(&app.models.http, &endpoint, Some(&model)).await {
        Ok(result) => trial.timed = result.timed,
        Err(failed) => trial.failure = Some(failed.into()),
    }
    Ok(trial)
}

/// A model of the upstream: the default, else the first that people can choose, else any.
async fn first_model(ctx: &Ctx, id: &str) -> Result<Option<String>, AppError> {
    let entries = catalog::models(&ctx.app.db).await?;
    let served: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.upstreams.iter().any(|at| at.upstream_id == id))
        .map(|entry| entry.name.as_str())
        .collect();
    let models = &ctx.app.models;
    let names = models.names();
    let wanted = models.default_name(&ctx.app).into_iter().chain(names.iter().cloned());
    Ok(wanted
        .chain(served.iter().map(|name| (*name).to_owned()))
        .find(|name| served.contains(&name.as_str())))
}
