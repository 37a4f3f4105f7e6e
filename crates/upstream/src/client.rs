//! The one outgoing HTTP client of the product (SEC-75, SEC-98): no redirects, no proxy unless
//! configured, short connect time, and every address checked before it is connected to.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::crypto::ring;
use url::{Host, Url};

use crate::address::{Reach, Refused, check};
use crate::failure::{Failed, Failure};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_CONNECTION: Duration = Duration::from_secs(60);
const IDLE_CONNECTIONS_PER_HOST: usize = 32;
/// Where a configured proxy is never used for an upstream of the operator's own network.
const DIRECT: &str =
    "localhost,127.0.0.0/8,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,fc00::/7";

/// Resolves a host name; tests put their own in.
pub type Lookup =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> + Send + Sync>;

/// How the client is built.
#[derive(Clone, Default)]
pub struct Options {
    /// A proxy that the operator configured. It then resolves the names: literal addresses are
    /// still checked here, names are for its own rules.
    pub proxy: Option<Url>,
    /// How names are resolved; the system's resolver if missing.
    pub lookup: Option<Lookup>,
}

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// TLS could not be set up.
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The client or the proxy's address was refused.
    #[error("the HTTP client could not be set up: {0}")]
    Client(#[from] reqwest::Error),
}

/// The client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    public: reqwest::Client,
    configured: reqwest::Client,
}

impl Http {
    /// Builds the client. Trusted roots are the system's, or Mozilla's list where the system
    /// has none.
    ///
    /// # Errors
    /// [`HttpError`] if TLS or the proxy cannot be set up.
    pub fn new(options: &Options) -> Result<Self, HttpError> {
        let tls = tls_config()?;
        Ok(Self {
            public: client(options, Reach::Public, tls.clone())?,
            configured: client(options, Reach::Configured, tls)?,
        })
    }

    /// One whole exchange, for small answers: any status is an answer, a body over `cap` bytes
    /// is [`Failure::TooLong`], and all of it must be done within `timeout`.
    ///
    /// # Errors
    /// [`Failed`] if there is no whole answer.
    pub async fn fetch(
        &self,
        reach: Reach,
        request: http::Request<Vec<u8>>,
        timeout: Duration,
        cap: usize,
    ) -> Result<http::Response<Vec<u8>>, Failed> {
        let request = reqwest::Request::try_from(request).map_err(|error| Failed::transport(error, None))?;
        let exchange = async {
            let mut response = self.execute(reach, request).await?;
            let body = read_capped(&mut response, cap)
                .await?
                .ok_or_else(|| Failed::new(Failure::TooLong, format!("the answer is over {cap} bytes")))?;
            let mut answer = http::Response::new(body);
            *answer.status_mut() = response.status();
            *answer.headers_mut() = std::mem::take(response.headers_mut());
            Ok(answer)
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(done) => done,
            Err(_) => Err(Failed::new(
                Failure::Silent,
                format!("no whole answer within {} ms", timeout.as_millis()),
            )),
        }
    }

    /// Sends a request and comes back with the head of the answer.
    pub(crate) async fn execute(
        &self,
        reach: Reach,
        request: reqwest::Request,
    ) -> Result<reqwest::Response, Failed> {
        // A literal address never passes the resolver, so it is checked here.
        let literal = match request.url().host() {
            Some(Host::Ipv4(v4)) => Some(v4.into()),
            Some(Host::Ipv6(v6)) => Some(v6.into()),
            Some(Host::Domain(_)) | None => None,
        };
        if let Some(address) = literal {
            check(address, reach).map_err(|refused| Failed::new(Failure::Blocked, refused.to_string()))?;
        }
        let client = match reach {
            Reach::Public => &self.public,
            Reach::Configured => &self.configured,
        };
        client.execute(request).await.map_err(|error| Failed::transport(error, None))
    }
}

/// Reads a body of at most `cap` bytes; `None` if it is longer.
async fn read_capped(response: &mut reqwest::Response, cap: usize) -> Result<Option<Vec<u8>>, Failed> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| Failed::transport(error, None))? {
        if body.len() + piece.len() > cap {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

/// The first `cap` bytes of an error's body as text, as far as they come within 5 s.
pub(crate) async fn read_start(response: &mut reqwest::Response, cap: usize) -> String {
    let mut body = Vec::new();
    let reading = async {
        while let Ok(Some(piece)) = response.chunk().await {
            let room = cap.saturating_sub(body.len());
            body.extend_from_slice(&piece[..piece.len().min(room)]);
            if body.len() >= cap {
                break;
            }
        }
    };
    // What came before the time was over is kept: a part of the cause is better than none.
    drop(tokio::time::timeout(CONNECT_TIMEOUT, reading).await);
    String::from_utf8_lossy(&body).into_owned()
}

fn client(
    options: &Options,
    reach: Reach,
    tls: rustls::ClientConfig,
) -> Result<reqwest::Client, reqwest::Error> {
    let guard = AddressGuard {
        reach,
        lookup: options.lookup.clone().unwrap_or_else(system_lookup),
        proxy_host: options.proxy.as_ref().and_then(|proxy| proxy.host_str().map(str::to_owned)),
    };
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("anteroom/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(30))
        .pool_idle_timeout(IDLE_CONNECTION)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
        // HTTP/2 windows would cost more memory a stream than a connection of its own.
        .http1_only()
        .dns_resolver(Arc::new(guard))
        .tls_backend_preconfigured(tls);
    if let Some(url) = &options.proxy {
        let mut proxy = reqwest::Proxy::all(url.clone())?;
        if reach == Reach::Configured {
            proxy = proxy.no_proxy(reqwest::NoProxy::from_string(DIRECT));
        }
        builder = builder.proxy(proxy);
    }
    builder.build()
}

fn tls_config() -> Result<rustls::ClientConfig, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn system_lookup() -> Lookup {
    Arc::new(|name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }))
}

/// A resolver that gives out only addresses that the call may connect to. The connector uses
/// these very addresses, so a name cannot change between check and connection.
struct AddressGuard {
    reach: Reach,
    lookup: Lookup,
    /// The operator's proxy may stand in a private network.
    proxy_host: Option<String>,
}

impl Resolve for AddressGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = match &self.proxy_host {
            Some(proxy) if proxy == name.as_str() => Reach::Configured,
            _ => self.reach,
        };
        let looking = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            let mut refused: Option<Refused> = None;
            let mut allowed = looking.await?;
            allowed.retain(|socket| match check(socket.ip(), reach) {
                Ok(()) => true,
                Err(error) => {
                    refused = Some(error);
                    false
                }
            });
            match refused {
                Some(error) if allowed.is_empty() => Err(error.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}
