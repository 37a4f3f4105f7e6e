//! GitHub's shape, and GitLab's by a base URL.

use parts::github::{Fault, GitHubStub};
use parts::oidc::OidcStub;
use providers::{Callback, Preset, Settings, TripOptions};
use serde_json::json;
use url::Url;

use crate::{ANEW, BACK, Side, settings};

fn github(stub: &GitHubStub) -> Settings {
    Settings { base_url: Some(Url::parse(stub.base_url()).unwrap()), ..settings(Preset::GitHub) }
}

#[tokio::test]
async fn github_gives_the_primary_address_and_the_numeric_id() {
    let (side, stub) = (Side::new(), GitHubStub::start().await);
    let found = side.sign_in(&github(&stub)).await.unwrap();
    assert_eq!((found.issuer.as_str(), found.subject.as_str()), (stub.base_url(), "583231"));
    assert_eq!(found.username.as_deref(), Some("ada"));
    assert_eq!((found.first_name.as_str(), found.last_name.as_str()), ("Ada", "Lovelace"));
    assert_eq!((found.email.as_deref(), found.email_verified), (Some("ada@example.com"), true));
    let asked = stub.asked().unwrap();
    assert_eq!(asked["scope"], "read:user user:email");
    assert_eq!(asked["code_challenge_method"], "S256");

    stub.person(
        json!({"login": "eve", "id": 2, "name": null, "email": "ada@example.com", "email_verified": true, "acr": "x"}),
        json!([{"email": "eve@example.com", "primary": true, "verified": false, "visibility": null}]),
    );
    let found = side.sign_in(&github(&stub)).await.unwrap();
    assert_eq!((found.email.as_deref(), found.email_verified), (Some("eve@example.com"), false));
    assert_eq!((found.first_name.as_str(), found.acr), ("", None));
}

#[tokio::test]
async fn githubs_failures_are_told_apart() {
    let (side, stub) = (Side::new(), GitHubStub::start().await);
    let settings = github(&stub);
    for (fault, kind) in [
        (Fault::AccessDenied, "denied"),
        (Fault::WrongClient, "client"),
        (Fault::WrongRedirect, "client"),
        (Fault::Down, "down"),
    ] {
        stub.fault(fault);
        assert_eq!(side.sign_in(&settings).await.unwrap_err().kind(), kind, "{fault:?}");
        stub.heal();
    }
    stub.fault(Fault::NoEmails);
    assert_eq!(side.sign_in(&settings).await.unwrap().email, None);
    stub.heal();

    let (secrets, options) = (side.secrets(), TripOptions::default());
    let callback = side.go(&settings, &secrets, options).await.unwrap();
    side.connector.finish(&settings, BACK, &callback, &secrets, options).await.unwrap();
    let again = side.connector.finish(&settings, BACK, &callback, &secrets, options).await;
    assert_eq!(again.unwrap_err().kind(), "not_verified");
    let foreign = Callback { iss: Some("https://other.example".to_owned()), ..callback };
    let mixed = side.connector.finish(&settings, BACK, &foreign, &secrets, options).await;
    assert_eq!(mixed.unwrap_err().kind(), "not_verified");

    assert_eq!(side.sign_in_as(&settings, ANEW).await.unwrap_err().kind(), "not_verified");
    assert!(side.connector.end_session(&settings, BACK).await.is_none());
}

/// "GitLab as OpenID Connect identity provider": metadata, and the claims shared.
#[tokio::test]
async fn gitlab_of_ones_own_is_openid_connect_at_its_base_url() {
    let (side, stub) = (Side::new(), OidcStub::gitlab().await);
    stub.set_time(crate::NOW);
    let base = Url::parse(stub.issuer()).unwrap();
    let gitlab = Settings { base_url: Some(base), ..settings(Preset::GitLab) };
    let found = side.sign_in(&gitlab).await.unwrap();
    assert_eq!((found.issuer.as_str(), found.subject.as_str()), (stub.issuer(), "4711"));
    assert_eq!(found.username.as_deref(), Some("ada"));
    assert_eq!((found.first_name.as_str(), found.last_name.as_str()), ("Ada", "Lovelace"));
    assert_eq!((found.email.as_deref(), found.email_verified), (Some("ada@example.com"), true));
    assert_eq!(found.claims["groups"], json!(["staff", "staff/engines"]));
    assert!(side.connector.end_session(&gitlab, BACK).await.is_none(), "it offers none");
}
