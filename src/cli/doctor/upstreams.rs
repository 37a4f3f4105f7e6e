//! The model servers: whether each lists its models with its key, how fast, and its clock.

use std::time::Duration;

use base::Clock;
use http::HeaderValue;
use upstream::{Endpoint, probe};
use usage::catalog;

use super::{Finding, clock};
use crate::app::App;
use crate::config::Config;
use crate::models::{Models, endpoint, failure_words};
use crate::view::format;

/// How long a server may take to say what time it is.
const PATIENCE: Duration = Duration::from_secs(10);
/// A `Date` comes with any answer; of a long one the rest is not read.
const ANSWER_BYTES: usize = 1 << 20;

/// Those of the configuration, and with `app` those that an Admin added and enabled.
pub async fn check(config: &Config, clock: &Clock, app: Option<&App>) -> Vec<Finding> {
    let own;
    let http = match app {
        Some(app) => &app.models.http,
        None => match Models::new(config, clock, None) {
            Ok(models) => {
                own = models;
                &own.http
            }
            Err(error) => return vec![Finding::fail("upstreams", error.to_string())],
        },
    };
    let (endpoints, mut findings) = endpoints(config, app).await;
    if endpoints.is_empty() && findings.is_empty() {
        return vec![Finding::warn(
            "upstreams",
            "none is connected, so only the demo answers; set OPENAI_BASE_URL or add one under Administration, Models",
        )];
    }
    for endpoint in endpoints {
        let name = format!("upstream {}", endpoint.name);
        let start = clock.monotonic();
        findings.push(match probe::list_models(http, &endpoint).await {
            Ok(models) => {
                let millis = (clock.monotonic() - start) / 1_000;
                let count =
                    format::counted(i64::try_from(models.len()).unwrap_or(i64::MAX), "model", "models");
                Finding::ok(name, format!("{}; {count} in {millis} ms", endpoint.base_url))
            }
            Err(failed) => Finding::fail(
                name,
                format!("{}; {} ({})", endpoint.base_url, failure_words(failed.kind), failed.cause),
            ),
        });
        findings.extend(clocks(http, &endpoint, clock).await);
    }
    findings
}

async fn endpoints(config: &Config, app: Option<&App>) -> (Vec<Endpoint>, Vec<Finding>) {
    let mut endpoints: Vec<Endpoint> = config
        .upstreams
        .iter()
        .filter_map(|(name, upstream)| {
            let key = upstream.api_key.as_ref().map(|key| key.expose()).filter(|key| !key.is_empty());
            endpoint(name, name, upstream.base_url.as_ref()?.0.as_str(), key)
        })
        .collect();
    let mut findings = Vec::new();
    let Some(app) = app else { return (endpoints, findings) };
    let kept = match catalog::upstreams(&app.db).await {
        Ok(kept) => kept,
        Err(error) => {
            findings.push(Finding::fail("upstreams", error.to_string()));
            return (endpoints, findings);
        }
    };
    for kept in kept.into_iter().filter(|kept| kept.enabled && !config.upstreams.contains_key(&kept.name)) {
        let name = format!("upstream {}", kept.name);
        match catalog::key(&app.db, &app.ring, &kept.id).await {
            Ok(key) => {
                match endpoint(&kept.id, &kept.name, &kept.base_url, key.as_ref().map(|key| key.expose())) {
                    Some(endpoint) => endpoints.push(endpoint),
                    None => {
                        findings.push(Finding::fail(name, format!("{} is no usable address", kept.base_url)))
                    }
                }
            }
            Err(error) => findings.push(Finding::fail(name, error.to_string())),
        }
    }
    (endpoints, findings)
}

/// What the server says of the time, asked without the key.
async fn clocks(http: &upstream::Http, endpoint: &Endpoint, clock: &Clock) -> Option<Finding> {
    let mut request = http::Request::new(Vec::new());
    *request.uri_mut() = endpoint.url("models").as_str().parse().ok()?;
    request.headers_mut().insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
    let answer = http.fetch(endpoint.reach, request, PATIENCE, ANSWER_BYTES).await.ok()?;
    let date = answer.headers().get(http::header::DATE)?.to_str().ok()?;
    Some(clock::compare(&endpoint.name, clock.now(), clock::http_date(date)?))
}
