//! Which addresses a call may connect to (SEC-98).
//!
//! The rules follow the IANA special-purpose registries (RFC 6890 and its updates): what is not
//! globally reachable is refused, and so is every IPv6 form that carries an IPv4 address inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far a call may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Globally reachable addresses only: for a URL that did not come from an operator.
    Public,
    /// The operator configured this very address: loopback and private networks too, but never
    /// link-local addresses or a cloud's metadata service.
    Configured,
}

/// The address is not one that the call may connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not an address this server may call (SEC-98)")]
pub struct Refused {
    /// The address that was refused.
    pub address: IpAddr,
}

/// Checks one address against the reach of the call.
///
/// # Errors
/// [`Refused`] if the call may not connect there.
pub fn check(address: IpAddr, reach: Reach) -> Result<(), Refused> {
    let refused = match (reach, address) {
        (Reach::Public, IpAddr::V4(v4)) => !public_v4(v4),
        (Reach::Public, IpAddr::V6(v6)) => !public_v6(v6),
        (Reach::Configured, IpAddr::V4(v4)) => never_v4(v4),
        (Reach::Configured, IpAddr::V6(v6)) => never_v6(v6),
    };
    if refused { Err(Refused { address }) } else { Ok(()) }
}

/// Metadata services and what no upstream can have: refused however it was configured.
fn never_v4(address: Ipv4Addr) -> bool {
    // The metadata services of Azure and Alibaba stand outside 169.254.0.0/16.
    const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200)];
    address.is_link_local() || address.is_multicast() || address.is_broadcast() || METADATA.contains(&address)
}

fn never_v6(address: Ipv6Addr) -> bool {
    // The metadata service of AWS over IPv6.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    address.is_unicast_link_local()
        || address.is_multicast()
        || address == METADATA
        || inner_v4(address).is_some_and(never_v4)
}

fn public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127 | 224..=255, _, _) => true,
        (100, 64..=127, _) => true, // shared address space (CGNAT), RFC 6598
        (169, 254, _) | (192, 168, _) => true,
        (172, 16..=31, _) => true,
        (192, 0, 0 | 2) | (192, 88, 99) => true, // protocol assignments, documentation, 6to4 relay
        (198, 18 | 19, _) | (198, 51, 100) => true, // benchmarking, documentation
        (203, 0, 113) => true,
        _ => false,
    };
    !special && !never_v4(address)
}

fn public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Global unicast is 2000::/3; loopback, mapped, NAT64, unique-local, link-local and
    // multicast forms all stand outside it.
    (a & 0xe000) == 0x2000
        && !(a == 0x2001 && b < 0x0200) // protocol assignments, Teredo among them
        && !(a == 0x2001 && b == 0x0db8) // documentation
        && a != 0x2002 // 6to4 carries an IPv4 address
        && !(a == 0x3fff && b < 0x1000) // documentation
}

/// The IPv4 address inside a mapped, compatible, NAT64 or 6to4 address.
fn inner_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let join = |high: u16, low: u16| {
        let [p, q] = high.to_be_bytes();
        let [r, s] = low.to_be_bytes();
        Ipv4Addr::new(p, q, r, s)
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0 | 0xffff) | (0, 0, 0, 0, 0xffff, 0) => Some(join(g, h)),
        (0x64, 0xff9b, _, _, _, _) => Some(join(g, h)), // RFC 6052 and RFC 8215
        (0x2002, _, _, _, _, _) => Some(join(b, c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, reach: Reach) -> bool {
        let address: IpAddr = text.parse().unwrap_or_else(|_| panic!("not an address: {text}"));
        check(address, reach).is_err()
    }

    #[test]
    fn sec_98_public_reach_refuses_every_special_address() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::a00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(refused(text, Reach::Public), "{text}");
        }
        for text in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"] {
            assert!(!refused(text, Reach::Public), "{text}");
        }
    }

    #[test]
    fn sec_98_configured_reach_allows_private_but_never_metadata() {
        for text in
            ["127.0.0.1", "0.0.0.0", "10.1.2.3", "192.168.1.1", "100.64.0.1", "::1", "fd12::1", "1.1.1.1"]
        {
            assert!(!refused(text, Reach::Configured), "{text}");
        }
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(refused(text, Reach::Configured), "{text}");
        }
    }
}
