//! Who is at the other end: the client's address (SEC-30) and its user agent.

use std::net::{IpAddr, SocketAddr};

use accounts::Client;
use axum::http::{HeaderMap, header};
use ipnet::IpNet;

/// The client of a request. `X-Forwarded-For` counts only as far as trusted proxies wrote it:
/// from the right, the first address that is no trusted proxy.
pub fn client(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let peer = canonical(peer.ip());
    let user_agent =
        headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Client::new(address(peer, headers, trusted), user_agent)
}

fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let trusts = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    if !trusts(&peer) {
        return peer;
    }
    let mut nearest = peer;
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        let Ok(value) = value.to_str() else { return nearest };
        for part in value.rsplit(',') {
            let Some(ip) = parse(part) else { return nearest };
            nearest = ip;
            if !trusts(&ip) {
                return ip;
            }
        }
    }
    nearest
}

fn parse(part: &str) -> Option<IpAddr> {
    let part = part.trim();
    part.parse().ok().or_else(|| part.parse::<SocketAddr>().ok().map(|address| address.ip())).map(canonical)
}

/// `::ffff:192.0.2.1` is 192.0.2.1.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;

    fn of(peer: &str, forwarded: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        address(peer.parse().unwrap(), &headers, &["10.0.0.0/8".parse().unwrap()]).to_string()
    }

    /// SEC-30
    #[test]
    fn sec_30_forwarded_addresses_count_only_from_trusted_proxies() {
        assert_eq!(of("192.0.2.9", "198.51.100.1"), "192.0.2.9");
        assert_eq!(of("10.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(of("10.0.0.1", "203.0.113.5, 198.51.100.1, 10.0.0.2"), "198.51.100.1");
        assert_eq!(of("10.0.0.1", "203.0.113.5, nonsense"), "10.0.0.1");
    }
}
