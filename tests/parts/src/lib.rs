//! What stands outside the process in tests, as real servers on loopback: an OpenAI-compatible model server with
//! faults, a mail server that keeps what it gets, a browserless client with cookies, an authenticator that holds
//! passkeys, an authenticator app, an OpenID provider and a GitHub that can lie. For development only.

pub mod authenticator;
pub mod github;
pub mod http;
pub mod mail;
pub mod model;
pub mod oidc;
mod oidc_token;
pub mod postgres;
pub mod smtp;
pub mod totp;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How long the `wait_…` functions of this crate wait before they panic: far beyond what a loaded test machine needs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A loopback address on which nothing listens at the moment: for "connection refused", or to start a server on.
///
/// # Errors
/// Where no port is free.
pub fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Makes *ring* this process's TLS provider, once. Our HTTP client is built without one, and panics if none is there.
pub fn install_crypto() {
    // The second call finds the first one's provider: that is the aim.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Waits until `ready` says so, looking again at every `changed`; panics with `what` after [`PATIENCE`].
pub(crate) async fn wait_until(changed: &tokio::sync::Notify, what: &str, ready: impl Fn() -> bool) {
    let wait = async {
        loop {
            let next = changed.notified();
            tokio::pin!(next);
            // Registered before looking, so that a change between the look and the wait is not missed.
            next.as_mut().enable();
            if ready() {
                return;
            }
            next.await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("waited {} s in vain for {what}", PATIENCE.as_secs());
    }
}
