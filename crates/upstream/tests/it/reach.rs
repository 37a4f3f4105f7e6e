use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use upstream::{Endpoint, Failed, Failure, Http, Lookup, Options, Reach, chat, parse_base_url};

use crate::stub::{KEY, Reply, Stub, endpoint, http, limits, read, request};

/// A client for which every name resolves to these addresses.
fn http_resolving_to(addresses: &[SocketAddr]) -> Http {
    let addresses = addresses.to_vec();
    let lookup: Lookup = Arc::new(move |_| {
        let addresses = addresses.clone();
        Box::pin(async move { Ok(addresses) })
    });
    let options = Options { lookup: Some(lookup), ..Options::default() };
    Http::new(&options).unwrap()
}

async fn failure(http: &Http, url: &str, reach: Reach) -> Failed {
    let endpoint = Endpoint { reach, base_url: parse_base_url(url).unwrap(), ..endpoint("e", url) };
    chat(http, &endpoint, &request(), &limits()).await.unwrap_err()
}

#[tokio::test]
async fn sec_98_literal_addresses_are_refused_before_connecting() {
    let stub = Stub::start(vec![Reply::words(&["no"])]).await;
    let port = stub.address.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
    ] {
        let failed = failure(&http(), &format!("http://{host}:{port}"), Reach::Public).await;
        assert_eq!(failed.kind, Failure::Blocked, "{host}: {failed}");
    }
    for host in ["169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1]"] {
        let failed = failure(&http(), &format!("http://{host}/v1"), Reach::Configured).await;
        assert_eq!(failed.kind, Failure::Blocked, "{host}: {failed}");
    }
    assert!(stub.requests().is_empty());
}

#[tokio::test]
async fn sec_98_names_are_checked_by_what_they_resolve_to() {
    let stub = Stub::start(vec![Reply::words(&["ok"])]).await;
    let url = format!("http://models.example:{}", stub.address.port());
    let inside = http_resolving_to(&[stub.address]);
    let failed = failure(&inside, &url, Reach::Public).await;
    assert_eq!(failed.kind, Failure::Blocked, "{failed}");
    assert!(stub.requests().is_empty());

    let stream = chat(&inside, &endpoint("e", &url), &request(), &limits()).await.unwrap();
    assert_eq!(read(stream).await.text, "ok");

    let metadata = http_resolving_to(&[SocketAddr::from(([169, 254, 169, 254], 0))]);
    let failed = failure(&metadata, &url, Reach::Configured).await;
    assert_eq!(failed.kind, Failure::Blocked, "{failed}");
    let failed = failure(&http(), "http://localhost:9", Reach::Public).await;
    assert_eq!(failed.kind, Failure::Blocked, "{failed}");
}

#[tokio::test]
async fn sec_98_of_mixed_addresses_only_the_allowed_are_used() {
    let stub = Stub::start(vec![Reply::words(&["ok"])]).await;
    let metadata = SocketAddr::from(([169, 254, 169, 254], stub.address.port()));
    let mixed = http_resolving_to(&[metadata, stub.address]);
    let url = format!("http://models.example:{}", stub.address.port());
    let stream = chat(&mixed, &endpoint("e", &url), &request(), &limits()).await.unwrap();
    assert_eq!(read(stream).await.text, "ok");
}

#[tokio::test]
async fn sec_98_redirects_are_refused_and_carry_no_key() {
    let target = Stub::start(vec![Reply::words(&["stolen"])]).await;
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let location = format!("location: http://{}/v1/chat/completions\r\n", target.address);
        let stub = Stub::start(vec![Reply::of(status, &location, "")]).await;
        let failed = chat(&http(), &stub.endpoint("e"), &request(), &limits()).await.unwrap_err();
        assert_eq!(failed.kind, Failure::Blocked);
        assert!(failed.cause.contains("redirects are not followed"));
        assert!(stub.requests()[0].contains(KEY));
    }
    assert!(target.requests().is_empty());
}

#[tokio::test]
async fn sec_75_small_answers_are_bounded_in_size_and_time() {
    let get = |stub: &Stub| {
        let mut request = http::Request::new(Vec::new());
        *request.uri_mut() = format!("http://{}/x", stub.address).parse().unwrap();
        request
    };
    let second = Duration::from_secs(1);
    let stub = Stub::start(vec![Reply::of("201 Created", "x-a: b\r\n", "12345")]).await;
    let answer = http().fetch(Reach::Configured, get(&stub), second, 5).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.body().as_slice()), (201, &b"12345"[..]));
    assert_eq!(answer.headers()["x-a"], "b");
    let failed = http().fetch(Reach::Configured, get(&stub), second, 4).await.unwrap_err();
    assert_eq!(failed.kind, Failure::TooLong);
    let failed = http().fetch(Reach::Public, get(&stub), second, 5).await.unwrap_err();
    assert_eq!(failed.kind, Failure::Blocked);
    let stub = Stub::start(vec![Reply::of("200 OK", "", "1").then_hangs()]).await;
    let short = Duration::from_millis(50);
    let failed = http().fetch(Reach::Configured, get(&stub), short, 5).await.unwrap_err();
    assert_eq!(failed.kind, Failure::Silent);
}

#[tokio::test]
async fn a_configured_proxy_takes_the_calls() {
    let proxy = Stub::start(vec![Reply::words(&["proxied"])]).await;
    let options =
        Options { proxy: Some(format!("http://{}", proxy.address).parse().unwrap()), ..Options::default() };
    let http = Http::new(&options).unwrap();
    let stream = chat(&http, &endpoint("e", "http://models.example"), &request(), &limits()).await.unwrap();
    assert_eq!(read(stream).await.text, "proxied");
    assert!(proxy.requests()[0].starts_with("POST http://models.example/v1/chat/completions "));
    let failed = failure(&http, "http://10.0.0.1", Reach::Public).await;
    assert_eq!(failed.kind, Failure::Blocked);
}

#[tokio::test]
async fn an_unreachable_server_is_named_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let failed = failure(&http(), &format!("http://{closed}"), Reach::Configured).await;
    assert_eq!(failed.kind, Failure::Unreachable);
    assert!(failed.cause.contains("refused"), "{failed}");
    // A server that does not speak TLS.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 400 No\r\n\r\n").await.unwrap();
    });
    let failed = failure(&http(), &format!("https://{plain}"), Reach::Configured).await;
    assert_eq!(failed.kind, Failure::Unreachable, "{failed}");
}
