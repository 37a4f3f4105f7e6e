//! Connections: each is served in a task of its own, until it ends or the server stops.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

/// Serves until `stopped`, then lets running requests come to their end.
///
/// A connection is closed when the head of its next request is not there after `patience`, be it
/// half sent or not begun.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    patience: Duration,
    stopped: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience);
    let open = GracefulShutdown::new();
    let mut stopped = pin!(stopped);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = &mut stopped => break,
        };
        let router = router.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let router = router.clone();
            async move {
                Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {}))
            }
        });
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), answer));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error.cause = %error, "a connection broke off");
            }
        });
    }
    drop(listener);
    open.shutdown().await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        let error = match listener.accept().await {
            Ok((stream, peer)) => {
                // Small pieces of an answer go out at once.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(error.cause = %error, "TCP_NODELAY was refused");
                }
                return (stream, peer);
            }
            Err(error) => error,
        };
        use std::io::ErrorKind as K;
        if matches!(error.kind(), K::ConnectionAborted | K::ConnectionRefused | K::ConnectionReset) {
            // It was gone before it was taken.
            continue;
        }
        // Out of files, most likely: some connection has to end first.
        tracing::error!(error.cause = %error, "no connection can be taken");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
