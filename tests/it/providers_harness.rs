//! An application with identity providers beside it, and browsers that travel between them.

use parts::github::GitHubStub;
use parts::http::{Client, Reply};
use parts::oidc::{CLIENT_ID, CLIENT_SECRET, OidcStub};
use url::Url;

use crate::harness::{NOW, TestApp, Wishes};

/// The application with the provider `corp`, which is labelled "Corp ID".
pub struct Corp {
    pub app: TestApp,
    pub idp: OidcStub,
}

impl Wishes {
    /// A setting of the provider `corp`: `("TRUSTED_EMAIL", "true")`.
    pub fn corp(self, setting: &str, value: &str) -> Self {
        self.set(&format!("ANTEROOM_PROVIDERS__CORP__{setting}"), value)
    }

    fn provider(self, name: &str, preset: &str, label: &str) -> Self {
        let pairs = [
            ("PRESET", preset),
            ("CLIENT_ID", CLIENT_ID),
            ("CLIENT_SECRET", CLIENT_SECRET),
            ("LABEL", label),
        ];
        let prefix = format!("ANTEROOM_PROVIDERS__{}__", name.to_uppercase());
        pairs.iter().fold(self, |wishes, (key, value)| wishes.set(&format!("{prefix}{key}"), value))
    }

    /// A provider found by its issuer. Its name has letters only.
    pub fn openid(self, name: &str, label: &str, idp: &OidcStub) -> Self {
        let key = format!("ANTEROOM_PROVIDERS__{}__ISSUER", name.to_uppercase());
        self.provider(name, "oidc", label).set(&key, idp.issuer())
    }

    /// A GitLab server of one's own as the provider `gitlab`.
    pub fn gitlab(self, idp: &OidcStub) -> Self {
        self.provider("gitlab", "gitlab", "").set("ANTEROOM_PROVIDERS__GITLAB__BASE_URL", idp.issuer())
    }

    /// A GitHub server of one's own as the provider `hub`.
    pub fn hub(self, hub: &GitHubStub) -> Self {
        self.provider("hub", "github", "Hub").set("ANTEROOM_PROVIDERS__HUB__BASE_URL", hub.base_url())
    }
}

/// An OpenID provider whose clock agrees with the application's.
pub async fn idp() -> OidcStub {
    let idp = OidcStub::start().await;
    idp.set_time(NOW / base::SECOND);
    idp
}

/// An application with `corp`, where limits are not in the way.
pub async fn corp() -> Corp {
    corp_with(|wishes| wishes).await
}

/// The same with other settings.
pub async fn corp_with(wish: impl FnOnce(Wishes) -> Wishes) -> Corp {
    let idp = idp().await;
    let wishes = Wishes::unlimited().set("ANTEROOM_LIMITS__TRIP_IP", "1000000");
    let app = wish(wishes.openid("corp", "Corp ID", &idp)).start().await;
    app.app.setup_done();
    Corp { app, idp }
}

/// Opens the address that a provider's button leads to. Gives the provider's address.
pub async fn begin(client: &Client, path: &str) -> Url {
    let reply = client.get(path).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    let url = Url::parse(reply.location().unwrap()).unwrap();
    assert!(url.query_pairs().any(|(name, _)| name == "state"), "{path} leads to {url}");
    url
}

/// Where a page goes on to by itself (a posted form does not redirect).
pub fn going_url(reply: &Reply) -> Url {
    assert_eq!(reply.status, 200, "{reply:?}");
    let (_, rest) = reply.body.split_once("http-equiv=\"refresh\"").unwrap_or_else(|| panic!("{reply:?}"));
    let (_, rest) = rest.split_once("url=").unwrap();
    let (url, _) = rest.split_once('"').unwrap();
    Url::parse(&parts::http::unescape(url)).unwrap()
}

/// Signs the stub's person in at the provider. Gives path and query of the way back.
pub async fn at_provider(url: &Url) -> String {
    let reply = Client::new("http://127.0.0.1:1").get(url.as_str()).await;
    let back = Url::parse(reply.location().unwrap_or_else(|| panic!("{reply:?}"))).unwrap();
    let asked = url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1;
    assert!(back.as_str().starts_with(&format!("{asked}?")), "{back}");
    back[url::Position::BeforePath..].to_owned()
}

/// Brings the browser back.
pub async fn come_back(client: &Client, callback: &str) -> Reply {
    client.get(callback).await
}

/// A whole sign-in with this provider from this address on.
pub async fn travel(client: &Client, path: &str) -> Reply {
    let callback = at_provider(&begin(client, path).await).await;
    come_back(client, &callback).await
}

/// The value of a parameter in an address or in path and query.
pub fn param(address: &str, name: &str) -> Option<String> {
    let query = address.split_once('?')?.1;
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

impl Corp {
    /// Signs in with `corp`.
    pub async fn sign_in(&self, client: &Client) -> Reply {
        travel(client, "/login/corp").await
    }

    /// The stub's person in a browser of their own, signed in.
    pub async fn person(&self) -> Client {
        let client = self.app.anon();
        let reply = self.sign_in(&client).await;
        assert!(is_in(&client), "{reply:?}");
        client
    }

    /// The username that a browser is signed in with.
    pub async fn who(&self, client: &Client) -> String {
        self.app.principal(client).await.username
    }

    /// Moves the clocks of both.
    pub fn advance(&self, by: base::Micros) {
        self.app.clock.advance(by);
        self.idp.set_time(self.app.clock.now() / base::SECOND);
    }

    /// The text of the Admins' error list.
    pub async fn causes(&self, admin: &Client) -> String {
        crate::page::text(&admin.get("/admin/errors").await.body)
    }
}

/// Whether a browser holds a session.
pub fn is_in(client: &Client) -> bool {
    client.cookie("anteroom").is_some()
}
