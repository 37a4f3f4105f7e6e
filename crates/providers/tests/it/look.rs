//! A look from afar: nothing is believed that was kept, and nobody's secret is sent.

use parts::github::GitHubStub;
use parts::oidc::{Fault, OidcStub, Part};
use providers::{Preset, Settings};
use url::Url;

use crate::{Side, oidc, settings, stub};

#[tokio::test]
async fn a_look_asks_anew_each_time() {
    let (side, stub) = (Side::new(), stub().await);
    let settings = oidc(&stub);
    side.sign_in(&settings).await.unwrap();
    let before = stub.calls(Part::Discovery);
    for _ in 0..2 {
        let looked = side.connector.look(&settings).await.unwrap();
        assert_eq!(looked.host, "127.0.0.1");
        assert!(looked.date.is_some_and(|date| date.ends_with(" GMT")));
    }
    assert_eq!((stub.calls(Part::Discovery), stub.calls(Part::Token)), (before + 2, 1));
    for (fault, kind) in [
        (Fault::ForeignDiscovery, "not_verified"),
        (Fault::Error(Part::Discovery), "down"),
        (Fault::Garbage(Part::Discovery), "down"),
        (Fault::Redirect(Part::Discovery), "down"),
    ] {
        stub.fault(fault);
        assert_eq!(side.connector.look(&settings).await.unwrap_err().kind(), kind, "{fault:?}");
        stub.heal();
    }
}

#[tokio::test]
async fn github_is_known_by_its_refusal() {
    let (side, hub, other) = (Side::new(), GitHubStub::start().await, OidcStub::start().await);
    let at =
        |address: &str| Settings { base_url: Some(Url::parse(address).unwrap()), ..settings(Preset::GitHub) };
    assert!(side.connector.look(&at(hub.base_url())).await.unwrap().date.is_some());
    let error = side.connector.look(&at(other.issuer())).await.unwrap_err();
    assert!(error.to_string().contains("no GitHub API"), "{error}");
}
