//! How people reach the server: the public URL with what hangs on it, and the proxies in between.

use super::Finding;
use crate::config::Config;

pub fn check(config: &Config) -> Vec<Finding> {
    vec![public_url(config), passkeys(config), listen(config), proxies(config)]
}

/// Browsers count these as secure without TLS (W3C Secure Contexts, 3.1).
fn is_loopback_name(config: &Config) -> bool {
    matches!(config.public_host(), "localhost" | "127.0.0.1" | "[::1]")
        || config.public_host().ends_with(".localhost")
}

fn public_url(config: &Config) -> Finding {
    let url = config.public_origin();
    match (config.is_https(), is_loopback_name(config)) {
        (true, _) => Finding::ok("public URL", format!("{url}; cookies are bound to it by HTTPS (__Host-)")),
        (false, true) => {
            Finding::ok("public URL", format!("{url}; for this machine only, so cookies go without HTTPS"))
        }
        (false, false) => Finding::warn(
            "public URL",
            format!(
                "{url} has no HTTPS: passwords and cookies can be read on the way; put a proxy with TLS in front"
            ),
        ),
    }
}

fn passkeys(config: &Config) -> Finding {
    let host = config.public_host();
    if config.host_is_ip() {
        Finding::warn("passkeys", format!("off: they need a host name, and the public URL's host is {host}"))
    } else if !config.is_https() && !is_loopback_name(config) {
        Finding::warn("passkeys", "browsers allow them with HTTPS only: set server.public_url to https://…")
    } else {
        Finding::ok("passkeys", format!("belong to {host}; they do not move to another host name"))
    }
}

fn listen(config: &Config) -> Finding {
    let (address, url) = (config.server.listen, config.public_origin());
    let local = address.ip().is_loopback();
    match (local, is_loopback_name(config)) {
        (true, true) => Finding::ok("listen", format!("{address}, for this machine only")),
        (true, false) => {
            Finding::ok("listen", format!("{address}; a proxy on this machine must lead {url} there"))
        }
        (false, true) => Finding::warn(
            "listen",
            format!("{address} is open to others, but links lead to {url}; set server.public_url"),
        ),
        (false, false) => Finding::ok("listen", format!("{address}; {url} must lead there")),
    }
}

/// SEC-30
fn proxies(config: &Config) -> Finding {
    let trusted = &config.server.trusted_proxies;
    if let Some(all) = trusted.iter().find(|network| network.prefix_len() == 0) {
        return Finding::fail(
            "proxies",
            format!(
                "{all} is trusted: anyone can claim any address and pass every limit; name the proxy's own network"
            ),
        );
    }
    let behind = config.is_https() || !config.server.listen.ip().is_loopback();
    if trusted.is_empty() && behind {
        return Finding::warn(
            "proxies",
            "none is trusted: behind one, all people look like the proxy and limits count them as one; set \
             server.trusted_proxies to its network",
        );
    }
    match trusted.len() {
        0 => Finding::ok("proxies", "none, and none is needed here"),
        _ => {
            let names: Vec<String> = trusted.iter().map(ToString::to_string).collect();
            Finding::ok("proxies", format!("X-Forwarded-For is believed from {}", names.join(", ")))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::Verdict;
    use super::*;
    use crate::config::Flags;

    fn verdicts(settings: &[(&str, &str)]) -> Vec<Verdict> {
        let mut env: BTreeMap<String, String> =
            BTreeMap::from([("ANTEROOM_PROFILE".into(), "testing".into())]);
        env.extend(settings.iter().map(|(name, value)| (format!("ANTEROOM_{name}"), (*value).to_owned())));
        let (config, _) = Config::load(&Flags::default(), &env, Path::new("/nowhere")).unwrap();
        check(&config).iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        use Verdict::{Fail, Ok, Warn};
        // public URL, passkeys, listen, proxies
        assert_eq!(verdicts(&[]), [Ok, Ok, Ok, Ok]);
        let https = ("PUBLIC_URL", "https://chat.example.org");
        assert_eq!(verdicts(&[https]), [Ok, Ok, Ok, Warn]);
        assert_eq!(verdicts(&[https, ("TRUSTED_PROXIES", "10.0.0.0/8")]), [Ok, Ok, Ok, Ok]);
        assert_eq!(verdicts(&[https, ("TRUSTED_PROXIES", "0.0.0.0/0")]), [Ok, Ok, Ok, Fail]);
        assert_eq!(verdicts(&[https, ("TRUSTED_PROXIES", "::/0")]), [Ok, Ok, Ok, Fail]);
        assert_eq!(verdicts(&[("PUBLIC_URL", "http://chat.example.org")]), [Warn, Warn, Ok, Ok]);
        assert_eq!(verdicts(&[("PUBLIC_URL", "https://192.0.2.7")]), [Ok, Warn, Ok, Warn]);
        assert_eq!(verdicts(&[("LISTEN", "0.0.0.0:5000")]), [Ok, Ok, Warn, Warn]);
    }
}
