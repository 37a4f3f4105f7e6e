//! `/admin/models`: the model servers, what they serve, and which model a new chat begins with.

mod change;
mod trial;

use std::collections::HashMap;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use upstream::{Circuit, DEMO, EndpointState};
use usage::catalog::{self, ModelEntry, ServedBy, Source, Upstream};

pub use self::change::{
    add, disable_model, disable_upstream, enable_model, enable_upstream, remove_upstream, set_default,
};
use self::trial::Trial;
pub use self::trial::test;
use super::{failure_words, param};
use crate::error::{AppError, FieldErrors};
use crate::guard::Ctx;
use crate::view::{Choice, Field, Page, filters};

const PATH: &str = "/admin/models";
/// Lines of the table of models; a search finds the others.
const LINES: usize = 200;

#[derive(Template)]
#[template(path = "admin/models.html")]
struct ModelsPage {
    page: Page,
    trial: Option<Trial>,
    upstreams: Vec<UpstreamLine>,
    /// Local servers that are not in use yet.
    found: Vec<Offer>,
    /// Name, base URL, API key.
    add: [Field; 3],
    /// The form needs another look.
    add_failed: bool,
    models: Vec<ModelLine>,
    /// How many lines there are, shown or not.
    lines: usize,
    q: String,
    choices: Vec<Choice>,
    /// The chosen default, where nobody can choose it now.
    missing_default: Option<String>,
    /// In words: whether the built-in demo answers.
    demo: &'static str,
    demo_answers: bool,
}

/// A model server.
struct UpstreamLine {
    upstream: Upstream,
    configured: bool,
    /// It stood in the configuration once.
    gone: bool,
    served: usize,
    enabled: usize,
    /// Models to test.
    tests: Vec<String>,
    /// `ok`, `warn`, `bad`, or empty for off.
    class: &'static str,
    state: &'static str,
    in_flight: Option<usize>,
    /// What went wrong last.
    failure: Option<&'static str>,
}

/// A local server that was found.
struct Offer {
    kind: &'static str,
    base_url: String,
    models: usize,
}

/// A model at one upstream.
struct ModelLine {
    name: String,
    at: ServedBy,
}

/// What was typed into the form for a new upstream, except the key.
#[derive(Default)]
struct Typed {
    name: String,
    base_url: String,
    errors: FieldErrors,
}

impl Typed {
    fn fields(&self) -> [Field; 3] {
        let error = |name: &str| self.errors.get(name).cloned();
        let key = match self.errors.is_empty() {
            true => {
                "Where the server wants one. It is stored sealed, never shown again, and sent to this address only."
            }
            false => "Type it again: it is never sent back to this page.",
        };
        [
            Field::text("name", "Name")
                .value(&self.name)
                .error(error("name"))
                .hint("As people of this site call the server: gpu-1, OpenAI.")
                .autocomplete("off")
                .max(64)
                .required(),
            Field::url("base_url", "Base URL")
                .value(&self.base_url)
                .error(error("base_url"))
                .hint("OpenAI-compatible. An address without a path gets /v1.")
                .placeholder("https://api.openai.com/v1")
                .required(),
            Field::password("api_key", "API key", "off").error(error("api_key")).hint(key),
        ]
    }
}

/// `GET /admin/models`
pub async fn page(ctx: Ctx) -> Result<Response, AppError> {
    render(&ctx, StatusCode::OK, &Typed::default(), None).await
}

async fn render(
    ctx: &Ctx,
    status: StatusCode,
    typed: &Typed,
    trial: Option<Trial>,
) -> Result<Response, AppError> {
    let app = &ctx.app;
    let upstreams = catalog::upstreams(&app.db).await?;
    let entries = catalog::models(&app.db).await?;
    let states = app.models.pool.snapshot();
    let found = app
        .models
        .found()
        .iter()
        .filter(|found| {
            !upstreams.iter().any(|upstream| same_address(&upstream.base_url, found.base_url.as_str()))
        })
        .map(|found| Offer {
            kind: found.kind,
            base_url: found.base_url.to_string(),
            models: found.models.len(),
        })
        .collect();
    let q = param(ctx, "q").unwrap_or_default();
    let (models, lines) = model_lines(&entries, &q);
    let names = app.models.names();
    let chosen = app.accounts.settings().general.default_model.clone();
    let demo_answers = *names == [DEMO];
    Ok(ctx.html_as(
        status,
        &ModelsPage {
            page: ctx.page("Models"),
            trial,
            upstreams: upstream_lines(upstreams, &entries, &states),
            found,
            add: typed.fields(),
            add_failed: !typed.errors.is_empty(),
            models,
            lines,
            q,
            choices: choices(&names, chosen.as_deref()),
            missing_default: chosen.filter(|name| !names.contains(name)),
            demo: match (app.config.models.demo, demo_answers) {
                (false, _) => "It is switched off by the configuration (models.demo).",
                (true, true) => {
                    "It answers now, because no model server is enabled. It asks no model: it shows how an answer \
                     looks, and hides as soon as a model is enabled."
                }
                (true, false) => "It hides, because other models are enabled. It comes back when there is none.",
            },
            demo_answers,
        },
    ))
}

/// Whether two base URLs are one place: local names are the same.
fn same_address(one: &str, other: &str) -> bool {
    let normal = |url: &str| url.trim_end_matches('/').replacen("//localhost:", "//127.0.0.1:", 1);
    normal(one) == normal(other)
}

fn choices(names: &[String], chosen: Option<&str>) -> Vec<Choice> {
    let first = match names.first() {
        Some(name) => format!("The first one ({name})"),
        None => "The first one".to_owned(),
    };
    let pairs =
        std::iter::once((String::new(), first)).chain(names.iter().map(|name| (name.clone(), name.clone())));
    Choice::list(pairs, chosen.unwrap_or_default())
}

fn upstream_lines(
    upstreams: Vec<Upstream>,
    entries: &[ModelEntry],
    states: &[EndpointState],
) -> Vec<UpstreamLine> {
    let mut served: HashMap<&str, Vec<(&str, bool)>> = HashMap::new();
    for (entry, at) in entries.iter().flat_map(|entry| entry.upstreams.iter().map(move |at| (entry, at))) {
        served.entry(&at.upstream_id).or_default().push((&entry.name, at.enabled));
    }
    upstreams
        .into_iter()
        .map(|upstream| {
            let models = served.remove(upstream.id.as_str()).unwrap_or_default();
            let live = states.iter().find(|state| state.endpoint_id == upstream.id);
            let configured = upstream.source == Source::Config;
            let gone = configured && !upstream.enabled;
            let (class, state) = match live {
                _ if gone => ("", "Not configured any more"),
                _ if !upstream.enabled => ("", "Disabled"),
                None => ("warn", "No model"),
                Some(live) => match live.circuit {
                    Circuit::Closed if live.consecutive_failures == 0 => ("ok", "Enabled"),
                    Circuit::Closed => ("warn", "Failing"),
                    Circuit::HalfOpen => ("warn", "Tried again"),
                    Circuit::Open => ("bad", "Down"),
                },
            };
            UpstreamLine {
                served: models.len(),
                enabled: models.iter().filter(|(_, enabled)| *enabled).count(),
                tests: models.into_iter().take(LINES).map(|(name, _)| name.to_owned()).collect(),
                configured,
                gone,
                class,
                state,
                in_flight: live.map(|live| live.in_flight),
                failure: live.and_then(|live| live.last_failure).map(failure_words),
                upstream,
            }
        })
        .collect()
}

/// The lines whose model or upstream holds `q`, cut to a page, and how many there are.
fn model_lines(entries: &[ModelEntry], q: &str) -> (Vec<ModelLine>, usize) {
    let q = q.to_lowercase();
    let holds = |text: &str| text.to_lowercase().contains(&q);
    let all: Vec<(&ModelEntry, &ServedBy)> = entries
        .iter()
        .flat_map(|entry| entry.upstreams.iter().map(move |at| (entry, at)))
        .filter(|(entry, at)| holds(&entry.name) || holds(&at.upstream))
        .collect();
    let lines = all
        .iter()
        .take(LINES)
        .map(|(entry, at)| ModelLine { name: entry.name.clone(), at: (*at).clone() })
        .collect();
    (lines, all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_several_addresses() {
        assert!(same_address("http://localhost:11434/v1", "http://127.0.0.1:11434/v1/"));
        assert!(!same_address("http://localhost:1234/v1", "http://127.0.0.1:11434/v1"));
    }

    #[test]
    fn a_key_is_never_sent_back() {
        let mut typed = Typed { name: "gpu".into(), base_url: "ftp://x".into(), ..Typed::default() };
        typed.errors.insert("base_url".into(), "no".into());
        let [name, base_url, key] = typed.fields();
        assert_eq!(
            (name.value.as_str(), base_url.value.as_str(), key.value.as_str()),
            ("gpu", "ftp://x", "")
        );
        assert!(key.hint.is_some_and(|hint| hint.contains("again")));
    }
}
