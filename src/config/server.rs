//! `[server]`: where it listens and what it is called from outside.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use url::Url;

use super::section::section;
use super::value::{Value, WebOrigin, Wrong, quoted, words};

words! {
    /// How strict the start is, and what is taken for granted.
    Profile, "development, testing or production" {
        /// For trying it out on one's own machine.
        Development = "development",
        /// For automated tests: weak hashing is allowed.
        Testing = "testing",
        /// For real people: refuses what is unsafe.
        Production = "production",
    }
}

section! {
    /// Where the server listens and how people reach it. The keys of this section have short
    /// variables without the section's name too: `ANTEROOM_LISTEN`, `ANTEROOM_PUBLIC_URL`.
    Server in "server" {
        /// Address and port to listen on.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 5000)),
        /// What people type to get here, without a path. Links in mails are built from it, and
        /// requests from other origins are refused. Not set, it is `http://localhost:<port>`;
        /// the production profile needs one with `https://`.
        public_url: Option<Url> = None,
        /// `development`, `testing` or `production`. Not set, it is development where the server
        /// listens on loopback and production elsewhere.
        profile: Option<Profile> = None,
        /// The folder of the database, the secret key and, without a mail server, the mails.
        data_dir: PathBuf = PathBuf::from("data"),
        /// The name on the pages and in mails, until an Admin changes it.
        site_name: String = "Anteroom".to_owned(),
        /// Networks of the proxies whose `X-Forwarded-For` is believed. Without one the client is
        /// whoever connects (SEC-30).
        trusted_proxies: Vec<IpNet> = Vec::new(),
        /// Other origins whose pages may call the JSON routes with a person's cookie, exactly as
        /// the browser sends them (SEC-85).
        cors_origins: Vec<WebOrigin> = Vec::new(),
        /// Seconds that a request may take to arrive, its head and then its body. A connection
        /// without one is closed after as long, so a proxy in front should close its own sooner.
        read_timeout_seconds: u32 = 75,
        /// Seconds that answers in the making get to finish when the server is stopped.
        shutdown_grace_seconds: u32 = 10,
    }
}

impl Server {
    pub(super) fn check(&self, wrong: &mut super::Problems) {
        if self.site_name.trim().is_empty() || self.site_name.chars().any(char::is_control) {
            wrong.add("server.site_name", "a name of one line");
        }
        if !(1..=600).contains(&self.read_timeout_seconds) {
            wrong.add("server.read_timeout_seconds", "a whole number from 1 to 600");
        }
        if self.shutdown_grace_seconds > 600 {
            wrong.add("server.shutdown_grace_seconds", "a whole number from 0 to 600");
        }
    }

    /// `http://localhost:<port>`, or the address itself where that name does not lead to it.
    pub(super) fn default_url(&self, port: u16) -> Url {
        let ip = self.listen.ip();
        let mut url = super::localhost(port);
        let by_name = ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST;
        if !by_name && url.set_ip_host(ip).is_err() {
            unreachable!("an http URL takes any host");
        }
        url
    }
}

impl Value for Url {
    const EXPECTED: &'static str = "an address such as https://chat.example.org, without a path";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let url = Self::parse(text.trim()).map_err(|_| Wrong::plain())?;
        let web = matches!(url.scheme(), "http" | "https") && url.has_host();
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let nobody = url.username().is_empty() && url.password().is_none();
        if web && bare && nobody { Ok(url) } else { Err(Wrong::plain()) }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self.as_str().trim_end_matches('/')))
    }
}
