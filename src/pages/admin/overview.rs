//! `GET /admin`: what happens today, and whether all is well.

use accounts::{ErrorGroup, Permission};
use askama::Template;
use axum::response::Response;
use base::db::Engine;
use base::{DAY, Micros};
use upstream::Circuit;
use usage::Totals;

use super::chart::Chart;
use super::failure_words;
use crate::error::AppError;
use crate::guard::Ctx;
use crate::view::{Page, filters, format};

/// Days of the chart.
const DAYS: i64 = 30;
/// Errors shown here; the rest stands on their own page.
const LATEST: usize = 5;
/// Characters of a cause that are shown here.
const GLANCE: usize = 140;
/// From this many waiting mails on something is wrong.
const MANY_MAILS: i64 = 50;

#[derive(Template)]
#[template(path = "admin/overview.html")]
struct OverviewPage {
    page: Page,
    attention: Vec<Attention>,
    people: accounts::Counts,
    chats: i64,
    today: Totals,
    /// Kinds of errors that were met today.
    error_kinds: i64,
    chart: Option<Chart>,
    health: Vec<Health>,
    /// `None` for those who may not read errors.
    errors: Option<Vec<ErrorGroup>>,
}

/// Something to do, with the page where it is done.
#[derive(Clone, Debug)]
struct Attention {
    kind: &'static str,
    title: String,
    text: String,
    since: Option<Micros>,
    link: Option<(&'static str, &'static str)>,
}

/// A line of the health list.
#[derive(Clone, Debug)]
struct Health {
    name: String,
    text: String,
    number: Option<String>,
    /// `ok`, `warn`, `bad`, or empty for off.
    class: &'static str,
    state: &'static str,
}

/// `GET /admin`
pub async fn page(ctx: Ctx) -> Result<Response, AppError> {
    let app = &ctx.app;
    let now = app.clock.now();
    let people = app.accounts.people_counts().await?;
    let today = usage::stats::today(&app.db, now).await?;
    let days = usage::stats::by_day(&app.db, DAYS, now).await?;
    let midnight = usage::range::day_of(now) * DAY;
    let errors = match ctx.may(Permission::ErrorsRead) {
        true => {
            let mut errors = accounts::errors::list(&app.db, None).await?;
            errors.truncate(LATEST);
            for error in &mut errors {
                shorten(&mut error.cause);
            }
            Some(errors)
        }
        false => None,
    };
    let upstreams = upstreams(&ctx).await?;
    let mut health = vec![database(&ctx).await?, mail(&ctx).await?];
    health.extend(upstreams);
    Ok(ctx.html(&OverviewPage {
        attention: attention(&ctx).await?,
        people,
        chats: chat::count_chats(&app.db).await?,
        today,
        error_kinds: accounts::errors::count_since(&app.db, midnight).await?,
        chart: Chart::prompts(&days),
        health,
        errors,
        page: ctx.page("Overview"),
    }))
}

/// Cuts a cause to a glance; the whole of it stands on the page of errors.
fn shorten(cause: &mut String) {
    if let Some((end, _)) = cause.char_indices().nth(GLANCE) {
        cause.truncate(end);
        cause.push('…');
    }
}

/// What an Admin should look at first.
async fn attention(ctx: &Ctx) -> Result<Vec<Attention>, AppError> {
    let models = ctx.may(Permission::ModelsManage);
    let mut notes: Vec<Attention> = ctx
        .app
        .models
        .pool
        .snapshot()
        .into_iter()
        .filter(|state| state.circuit != Circuit::Closed)
        .map(|state| Attention {
            kind: "bad",
            title: format!("{} does not answer", state.name),
            text: format!(
                "{} in a row failed{}. It is tried again every 30 s; until it answers, prompts go to other servers of \
                 the same model, or fail.",
                format::counted(i64::from(state.consecutive_failures), "call", "calls"),
                state.last_failure.map_or_else(String::new, |failure| format!(": {}", failure_words(failure))),
            ),
            since: None,
            link: models.then_some(("/admin/models", "Look at it")),
        })
        .collect();
    notes.extend(stuck_mail(ctx).await?);
    let names = ctx.app.models.names();
    if names.is_empty() {
        notes.push(Attention {
            kind: "bad",
            title: "There is no model to chat with".to_owned(),
            text: "Connect a model server, or enable one of its models.".to_owned(),
            since: None,
            link: models.then_some(("/admin/models", "Connect one")),
        });
    } else if *names == [upstream::DEMO] {
        notes.push(Attention {
            kind: "info",
            title: "Only the built-in demo answers".to_owned(),
            text: "It lets you try everything, but asks no model. Connect a model server: any OpenAI-compatible URL."
                .to_owned(),
            since: None,
            link: models.then_some(("/admin/models", "Connect one")),
        });
    }
    Ok(notes)
}

/// Mail that does not leave: people wait for links, and hear nothing of what happens to their accounts.
async fn stuck_mail(ctx: &Ctx) -> Result<Option<Attention>, AppError> {
    let Some(trouble) = ctx.app.accounts.mail_trouble().await? else { return Ok(None) };
    let (waiting, given_up) = (trouble.waiting, trouble.given_up);
    let mut text = String::new();
    if waiting > 0 {
        text.push_str(&format!(
            "{} and will be tried again. ",
            format::counted(waiting, "mail waits", "mails wait")
        ));
    }
    if given_up > 0 {
        text.push_str(&format!(
            "{} given up in the last 30 days. ",
            format::counted(given_up, "mail was", "mails were")
        ));
    }
    if let Some(mut error) = trouble.last_error {
        shorten(&mut error);
        text.push_str(&format!("The last error: {error}. "));
    }
    text.push_str("The command anteroom doctor looks at the mail server.");
    Ok(Some(Attention {
        kind: if waiting > 0 { "bad" } else { "warn" },
        title: if waiting > 0 { "Mail is stuck" } else { "Some mail could not be delivered" }.to_owned(),
        text,
        since: trouble.oldest_at,
        link: ctx.may(Permission::ErrorsRead).then_some(("/admin/errors", "See the errors")),
    }))
}

async fn database(ctx: &Ctx) -> Result<Health, AppError> {
    let start = ctx.app.clock.monotonic();
    ctx.app.db.ping().await?;
    let micros = ctx.app.clock.monotonic().saturating_sub(start);
    Ok(Health {
        name: "Database".to_owned(),
        text: match ctx.app.db.engine() {
            Engine::Sqlite => "SQLite, in the data folder".to_owned(),
            Engine::Postgres => "PostgreSQL".to_owned(),
        },
        number: Some(match micros {
            ..100 => "under 0.1 ms".to_owned(),
            _ => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        }),
        class: "ok",
        state: "Good",
    })
}

async fn mail(ctx: &Ctx) -> Result<Health, AppError> {
    let waiting = ctx.app.accounts.waiting_mail_count().await?;
    let to_files = ctx.app.config.mail.server.is_empty();
    let queue = match waiting {
        0 => "nothing waits".to_owned(),
        _ => format!("{} waiting", format::counted(waiting, "mail", "mails")),
    };
    let stuck = ctx.app.accounts.mail_trouble().await?.is_some_and(|trouble| trouble.waiting > 0);
    let (text, class, state) = match (to_files, waiting < MANY_MAILS && !stuck) {
        (true, _) => (
            format!("No mail server is configured: mails are files in the data folder; {queue}"),
            "",
            "Files",
        ),
        (false, true) => (format!("By {}; {queue}", ctx.app.config.mail.server), "ok", "Good"),
        (false, false) => {
            (format!("By {}; {queue}: see the errors", ctx.app.config.mail.server), "warn", "Late")
        }
    };
    Ok(Health { name: "Mail".to_owned(), text, number: None, class, state })
}

/// A line for each model server.
async fn upstreams(ctx: &Ctx) -> Result<Vec<Health>, AppError> {
    let states = ctx.app.models.pool.snapshot();
    let upstreams = usage::catalog::upstreams(&ctx.app.db).await?;
    Ok(upstreams
        .into_iter()
        .map(|upstream| {
            let state = states.iter().find(|state| state.endpoint_id == upstream.id);
            let name = upstream.name;
            match state {
                _ if !upstream.enabled => Health {
                    name,
                    text: "Gets no prompts".to_owned(),
                    number: None,
                    class: "",
                    state: "Disabled",
                },
                None => Health {
                    name,
                    text: "It serves no enabled model: list its models with Test, or enable one".to_owned(),
                    number: None,
                    class: "warn",
                    state: "No model",
                },
                Some(state) => {
                    let (class, word) = match state.circuit {
                        Circuit::Closed if state.consecutive_failures == 0 => ("ok", "Good"),
                        Circuit::Closed => ("warn", "Failing"),
                        Circuit::HalfOpen => ("warn", "Tried again"),
                        Circuit::Open => ("bad", "Down"),
                    };
                    let text = match state.last_failure {
                        Some(failure) => format!("Last failure: {}", failure_words(failure)),
                        None => "No failure since the start".to_owned(),
                    };
                    Health {
                        name,
                        text,
                        number: Some(format!("{} in flight", state.in_flight)),
                        class,
                        state: word,
                    }
                }
            }
        })
        .collect())
}
