//! The models that people can choose now: the catalog of `usage` put into the pool of `upstream`.

use std::sync::Arc;
use std::time::Duration;

use base::Clock;
use parking_lot::RwLock;
use upstream::probe::{self, Found};
use upstream::{DEMO, Endpoint, Failure, Http, Pool, Reach, Route, Secret, parse_base_url};
use usage::catalog::{self, CatalogError, ConfigUpstream};

use crate::app::App;
use crate::config::Config;

/// How often a reachable upstream is asked for its models anew.
pub const REFRESH: Duration = Duration::from_secs(600);
/// How soon one is asked again that did not answer.
pub const RETRY: Duration = Duration::from_secs(15);

/// The live set.
pub struct Models {
    pub http: Http,
    pub pool: Arc<Pool>,
    demo: bool,
    chosen: RwLock<Arc<Vec<String>>>,
    found: RwLock<Arc<Vec<Found>>>,
}

impl Models {
    pub fn new(
        config: &Config,
        clock: &Clock,
        demo_pace: Option<Duration>,
    ) -> Result<Self, upstream::HttpError> {
        let http = Http::new(&upstream::Options::default())?;
        let clock = clock.clone();
        let mut pool = Pool::new(http.clone(), Arc::new(move || clock.now()));
        if let Some(pace) = demo_pace {
            pool = pool.with_demo_pace(pace);
        }
        Ok(Self {
            http,
            pool: Arc::new(pool),
            demo: config.models.demo,
            chosen: RwLock::default(),
            found: RwLock::default(),
        })
    }

    /// Names to choose from, the default first; the demo only while there is no other.
    pub fn names(&self) -> Arc<Vec<String>> {
        self.chosen.read().clone()
    }

    /// Local servers that were found at start and are not in use.
    pub fn found(&self) -> Arc<Vec<Found>> {
        self.found.read().clone()
    }

    /// Looks for local model servers, to be offered (never used unasked).
    pub async fn look_for_local(&self) {
        let found = probe::detect_local(&self.http).await;
        for server in &found {
            tracing::info!(
                upstream.base_url = %server.base_url,
                "found {} on this machine; an Admin can add it under Administration, Models", server.kind
            );
        }
        *self.found.write() = Arc::new(found);
    }

    /// Makes the catalog follow the configuration; called once, where the server starts.
    pub async fn sync_config(&self, app: &App) -> Result<(), CatalogError> {
        let wanted: Vec<ConfigUpstream<'_>> = app
            .config
            .upstreams
            .iter()
            .filter_map(|(name, upstream)| {
                Some(ConfigUpstream {
                    name,
                    base_url: upstream.base_url.as_ref()?.0.as_str(),
                    key: upstream.api_key.as_ref().map(|key| key.expose()).filter(|key| !key.is_empty()),
                })
            })
            .collect();
        catalog::sync_config(&app.db, &app.ring, &app.random, app.clock.now(), &wanted).await?;
        self.reload(app).await
    }

    /// Takes the enabled routes of the catalog into the pool.
    pub async fn reload(&self, app: &App) -> Result<(), CatalogError> {
        let routes = catalog::routes(&app.db, &app.ring).await?;
        // The first upstream's first model comes first: it is the default until an Admin picks one.
        let mut seen = std::collections::HashSet::new();
        let mut names: Vec<String> =
            routes.iter().map(|route| route.model.clone()).filter(|name| seen.insert(name.clone())).collect();
        if names.is_empty() && self.demo {
            names.push(DEMO.to_owned());
        }
        let mut endpoints: std::collections::BTreeMap<String, Arc<Endpoint>> = Default::default();
        let mut pool_routes = Vec::with_capacity(routes.len());
        for (order, route) in (0..).zip(routes) {
            let endpoint = match endpoints.get(&route.upstream_id) {
                Some(endpoint) => endpoint.clone(),
                None => {
                    let Some(endpoint) = endpoint(
                        &route.upstream_id,
                        &route.upstream,
                        &route.base_url,
                        route.key.as_ref().map(|key| key.expose()),
                    ) else {
                        continue;
                    };
                    let endpoint = Arc::new(endpoint);
                    endpoints.insert(route.upstream_id.clone(), endpoint.clone());
                    endpoint
                }
            };
            pool_routes.push(Route { model: route.model, endpoint, order });
        }
        self.pool.replace(pool_routes);
        self.pool.offer_demo(names.iter().any(|name| name == DEMO));
        *self.chosen.write() = Arc::new(names);
        Ok(())
    }

    /// The model that a new chat begins with: the Admin's choice, else the first model of the
    /// first upstream.
    pub fn default_name(&self, app: &App) -> Option<String> {
        let names = self.names();
        let settings = app.accounts.settings();
        settings
            .general
            .default_model
            .clone()
            .filter(|name| names.contains(name))
            .or_else(|| names.first().cloned())
    }

    /// Asks every enabled upstream for its models. Gives the time until the next round.
    pub async fn refresh(&self, app: &App) -> Duration {
        let upstreams = match catalog::upstreams(&app.db).await {
            Ok(upstreams) => upstreams,
            Err(error) => {
                tracing::warn!(error.cause = %error, "the upstreams could not be read");
                return RETRY;
            }
        };
        let mut wait = REFRESH;
        for upstream in upstreams.iter().filter(|upstream| upstream.enabled) {
            if let Err(cause) = self.refresh_one(app, upstream).await {
                tracing::warn!(
                    upstream.name,
                    error.cause = cause,
                    "the upstream's models could not be listed"
                );
                wait = RETRY;
            }
        }
        if let Err(error) = self.reload(app).await {
            tracing::warn!(error.cause = %error, "the models could not be read");
        }
        wait
    }

    async fn refresh_one(&self, app: &App, upstream: &catalog::Upstream) -> Result<(), String> {
        let key = catalog::key(&app.db, &app.ring, &upstream.id).await.map_err(|error| error.to_string())?;
        let key = key.as_ref().map(|key| key.expose());
        let endpoint = endpoint(&upstream.id, &upstream.name, &upstream.base_url, key)
            .ok_or_else(|| "its address is not usable".to_owned())?;
        self.list(app, &endpoint)
            .await
            .map(drop)
            .map_err(|failed| format!("{}: {}", failed.kind.code(), failed.cause))
    }

    /// Asks an upstream for its models and takes them into the catalog.
    pub async fn list(&self, app: &App, endpoint: &Endpoint) -> Result<usize, upstream::Failed> {
        let names = probe::list_models(&self.http, endpoint).await?;
        let count = names.len();
        if let Err(error) =
            catalog::listed(&app.db, &app.random, app.clock.now(), &endpoint.id, &names, true).await
        {
            tracing::error!(upstream.name = endpoint.name, error.cause = %error, "the list of models was not kept");
        }
        Ok(count)
    }
}

/// An upstream of the operator's: it may be on this machine or in the own network (SEC-98).
pub fn endpoint(id: &str, name: &str, base_url: &str, key: Option<&str>) -> Option<Endpoint> {
    Some(Endpoint {
        id: id.to_owned(),
        name: name.to_owned(),
        base_url: parse_base_url(base_url).ok()?,
        api_key: key.map(Secret::new),
        reach: Reach::Configured,
    })
}

/// What went wrong with an upstream, in words for the Admin and the operator.
pub fn failure_words(failure: Failure) -> &'static str {
    use Failure as F;
    match failure {
        F::Unreachable => "it cannot be reached: wrong address, no network, or it is not running",
        F::Unauthorized => "it refused the API key, or the key's credit is used up",
        F::RateLimited { .. } => "it is busy and asks to wait (429)",
        F::NotFound => "it does not know the model or the path: check the base URL",
        F::BadRequest => "it did not take the request",
        F::ContextFull => "a chat was too long for the model",
        F::Server { .. } => "it had an error of its own",
        F::Cut => "it closed the connection before the answer was complete",
        F::Silent => "it sent nothing for too long",
        F::Garbage => "what it sent is no answer of an OpenAI-compatible server",
        F::Blocked => "its address may not be called, or it redirects: enter the final address",
        F::TooLong => "an answer passed the size allowed",
    }
}
