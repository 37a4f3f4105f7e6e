//! What runs beside the requests. Each job is a loop that a stop ends; a failure is logged and the
//! next round tries again.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::app::App;
use crate::{mail, streams};

/// The running jobs.
pub struct Running {
    jobs: JoinSet<()>,
    /// Saves what came of running answers, up to the last one.
    ticker: tokio::task::JoinHandle<()>,
}

/// Starts all of them.
pub fn spawn(app: &App) -> Running {
    let mut jobs = JoinSet::new();
    let engine = app.engine.clone();
    let ticker = tokio::spawn(async move { engine.run_ticker(std::future::pending()).await });
    jobs.spawn(mail::run_outbox(app.clone()));
    jobs.spawn(every(app, Duration::from_secs(1), |app| async move {
        app.accounts.flush_last_seen().await.map_err(|error| error.to_string())
    }));
    jobs.spawn(streams::run(app.clone()));
    jobs.spawn(every(app, Duration::from_secs(5), |app| async move {
        app.accounts.reload_settings().await.map_err(|error| error.to_string())?;
        app.refresh_site();
        app.providers.reload(&app).await.map_err(|error| error.to_string())?;
        app.refresh_setup().await.map_err(|error| error.to_string())
    }));
    jobs.spawn(every(app, Duration::from_secs(30), |app| async move {
        let mut rankings = app.rankings.lock().await;
        rankings.refresh(&app.db, &app.clock).await.map(drop).map_err(|error| error.to_string())
    }));
    jobs.spawn(every(app, Duration::from_secs(300), |app| async move {
        // Batch by batch, so that no transaction is long.
        while app.accounts.sweep().await.map_err(|error| error.to_string())?.more {}
        Ok(())
    }));
    jobs.spawn(models(app.clone()));
    Running { jobs, ticker }
}

impl Running {
    /// Waits until every job has ended, a few seconds at most.
    pub async fn finish(mut self, app: &App) {
        app.stop();
        self.ticker.abort();
        let all = async { while self.jobs.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(5), all).await.is_err() {
            tracing::warn!("a job did not end in time");
        }
        if let Err(error) = app.accounts.flush_last_seen().await {
            tracing::warn!(error.cause = %error, "the last-seen times of the last second are lost");
        }
    }
}

/// A job in rounds. The first one is at once.
fn every<F, R>(app: &App, period: Duration, round: R) -> impl Future<Output = ()> + Send + use<F, R>
where
    R: Fn(App) -> F + Send + 'static,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let app = app.clone();
    async move {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = app.stopped() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = round(app.clone()).await {
                tracing::warn!(error.cause = error, "a job's round failed");
            }
        }
    }
}

/// Keeps the list of models fresh: at once at the start, soon again for an upstream that is down,
/// now and then for the others.
async fn models(app: App) {
    if app.config.models.detect_local {
        app.models.look_for_local().await;
    }
    loop {
        let wait = app.models.refresh(&app).await;
        tokio::select! {
            () = app.stopped() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
