//! Joins router and jobs, and listens.

use std::io::{self, Write as _};
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::app::{App, Outside, StartError};
use crate::config::Config;
use crate::http::connections;
use crate::{jobs, router};

/// How long connections may take to hear the end of their answers.
const LINGER: Duration = Duration::from_secs(2);

/// Runs until the process is asked to stop; asked again, it does not wait for anything more.
///
/// # Errors
/// [`StartError`]: one line, before anything was served.
pub async fn run(mut config: Config) -> Result<(), StartError> {
    raise_file_limit();
    let listener = listen(&mut config).await?;
    let app = App::build(config, Outside::real()).await?;
    app.models.sync_config(&app).await.map_err(|error| StartError::Other(error.to_string()))?;
    announce(&app).await?;
    let running = jobs::spawn(&app);
    let mut signals = Signals::new();
    let at_once = async {
        signals.next().await;
        tracing::info!("stopping: answers in the making get a moment to finish");
        app.stop();
        signals.next().await;
    };
    let work = async {
        serve(&app, listener).await;
        running.finish(&app).await;
        app.db.close().await;
    };
    tokio::select! {
        () = work => tracing::info!("stopped"),
        () = at_once => tracing::warn!("stopped at once"),
    }
    Ok(())
}

/// Takes the address before anything else, so that an occupied one changes nothing.
async fn listen(config: &mut Config) -> Result<TcpListener, StartError> {
    let wanted = config.server.listen;
    let listener = TcpListener::bind(wanted).await.map_err(|error| {
        StartError::Other(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "the address {wanted} is in use already; stop the other program or choose another one by --listen"
            ),
            io::ErrorKind::PermissionDenied => {
                format!("the address {wanted} needs more rights; choose a port above 1023 by --listen")
            }
            _ => format!("cannot listen on {wanted}: {error}"),
        })
    })?;
    if let Ok(address) = listener.local_addr() {
        config.bound_to(address);
    }
    Ok(listener)
}

/// Serves until [`App::stop`], then lets running requests, answers and streams come to their end.
pub async fn serve(app: &App, listener: TcpListener) {
    let server = &app.config.server;
    let patience = Duration::from_secs(u64::from(server.read_timeout_seconds));
    let grace = Duration::from_secs(u64::from(server.shutdown_grace_seconds));
    let mut serving = pin!(connections::serve(listener, router::router(app), patience, app.stopped()));
    // Answers get the grace, then what there is of them is kept as interrupted.
    let mut ending = pin!(async {
        app.stopped().await;
        app.engine.shutdown(grace).await;
    });
    tokio::select! {
        () = &mut serving => ending.await,
        // Their followers have heard the end by now; connections that linger are cut.
        () = &mut ending => drop(tokio::time::timeout(LINGER, serving).await),
    }
}

/// Says where it is, and how one becomes Admin.
async fn announce(app: &App) -> Result<(), StartError> {
    let mut lines = format!("Anteroom is at {}\n", app.config.public_origin());
    if app.setup_is_open() {
        let token = app.accounts.create_setup_token().await?.unwrap_or_default();
        lines.push_str(&format!(
            "Nobody is Admin yet. Become Admin here, once, within 24 hours:\n  {}\n",
            app.link(&format!("/setup?token={token}"))
        ));
    }
    // A closed standard output is no reason not to serve.
    let mut out = io::stdout().lock();
    let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
    Ok(())
}

/// Two descriptors a stream: as many as the system lets us have.
fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::debug!(error.cause = %error, "the limit of open files stays as it is");
    }
}

/// SIGTERM and Ctrl-C.
struct Signals {
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    interrupt: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self {
            terminate: signal(SignalKind::terminate()).ok(),
            interrupt: signal(SignalKind::interrupt()).ok(),
        }
    }

    /// The next of them.
    async fn next(&mut self) {
        async fn one(signal: &mut Option<tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = one(&mut self.terminate) => {}
            () = one(&mut self.interrupt) => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Self {}
    }

    /// The next of them.
    async fn next(&mut self) {
        drop(tokio::signal::ctrl_c().await);
    }
}
