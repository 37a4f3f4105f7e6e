//! Joins router and jobs, and listens.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

use crate::app::{App, Outside, StartError};
use crate::config::Config;
use crate::{jobs, router};

/// Runs until the process is asked to stop.
///
/// # Errors
/// [`StartError`]: one line, before anything was served.
pub async fn run(mut config: Config) -> Result<(), StartError> {
    raise_file_limit();
    let listener = listen(&mut config).await?;
    let app = App::build(config, Outside::real()).await?;
    announce(&app).await?;
    let running = jobs::spawn(&app);
    let signals = app.clone();
    tokio::spawn(async move {
        asked_to_stop().await;
        tracing::info!("stopping: answers in the making get a moment to finish");
        signals.stop();
    });
    serve(&app, listener).await.map_err(|error| StartError::Other(error.to_string()))?;
    running.finish(&app).await;
    app.db.close().await;
    tracing::info!("stopped");
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

/// Serves until [`App::stop`], then lets running requests and streams come to their end.
pub async fn serve(app: &App, listener: TcpListener) -> io::Result<()> {
    let service = router::router(app).into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|stream| {
        // Small pieces of an answer go out at once.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error.cause = %error, "TCP_NODELAY was refused");
        }
    });
    let stopping = app.clone();
    let grace = Duration::from_secs(u64::from(app.config.server.shutdown_grace_seconds));
    let server = axum::serve(listener, service).with_graceful_shutdown(async move { stopping.stopped().await });
    let engine = app.clone();
    let wind_down = async move {
        engine.stopped().await;
        // Answers get the grace, then what there is of them is kept as interrupted.
        engine.engine.shutdown(grace).await;
        // Their followers have heard the end by now; connections that linger are cut.
        tokio::time::sleep(Duration::from_secs(2)).await;
    };
    tokio::select! {
        done = async { server.await } => {
            app.stop();
            app.engine.shutdown(grace).await;
            done
        }
        () = wind_down => Ok(()),
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

/// SIGTERM or Ctrl-C.
async fn asked_to_stop() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        _ = interrupt => {}
        () = terminate => {}
    }
}
