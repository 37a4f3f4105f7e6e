//! Calls are bounded, and go nowhere that they may not (SEC-75, SEC-98).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, SECOND};
use parts::oidc::{Fault, Part};
use providers::{BODY_CAP, Connector, Preset, ProviderError, TIMEOUT, TripOptions};
use upstream::{Http, Lookup, Options};
use url::Url;

use crate::{BACK, NOW, Side, oidc, settings, stub};

#[test]
fn sec_75_the_limits_are_five_seconds_and_one_mib() {
    assert_eq!((TIMEOUT, BODY_CAP), (Duration::from_secs(5), 1 << 20));
}

#[tokio::test(start_paused = true)]
async fn sec_75_a_silent_provider_is_given_up_after_five_seconds() {
    let (side, stub) = (Side::new(), stub().await);
    stub.fault(Fault::Silent(Part::Discovery));
    let began = tokio::time::Instant::now();
    let error = side.sign_in(&oidc(&stub)).await.unwrap_err();
    assert_eq!(error.kind(), "down");
    assert!(began.elapsed() <= Duration::from_millis(5_100), "{:?}", began.elapsed());
}

#[tokio::test]
async fn sec_75_every_call_has_its_limit() {
    let stub = stub().await;
    for part in [Part::Discovery, Part::Jwks, Part::Token] {
        let mut side = Side::new();
        side.connector = side.connector.with_timeout(Duration::from_millis(500));
        stub.fault(Fault::Silent(part));
        let error = side.sign_in(&oidc(&stub)).await.unwrap_err();
        assert!(matches!(error, ProviderError::Down { .. }), "{part:?}: {error}");
        stub.heal();
    }
}

#[tokio::test]
async fn a_refused_connection_is_down() {
    let side = Side::new();
    let mut settings = settings(Preset::Oidc);
    settings.issuer = Some(Url::parse(&format!("http://{}", parts::free_address().unwrap())).unwrap());
    assert_eq!(side.sign_in(&settings).await.unwrap_err().kind(), "down");
    assert!(side.connector.end_session(&settings, BACK).await.is_none());
}

#[tokio::test]
async fn sec_98_discovery_leads_to_no_private_address() {
    let (side, stub) = (Side::new(), stub().await);
    stub.fault(Fault::PrivateToken);
    let error = side.sign_in(&oidc(&stub)).await.unwrap_err();
    assert!(matches!(&error, ProviderError::Down { cause, .. } if cause.contains("SEC-98")), "{error}");
}

#[tokio::test]
async fn sec_98_a_known_provider_whose_name_leads_home_is_refused() {
    let lookup: Lookup = Arc::new(|_| Box::pin(async { Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))]) }));
    let http = Http::new(&Options { lookup: Some(lookup), ..Options::default() }).unwrap();
    let connector = Connector::new(http, Clock::manual(NOW * SECOND));
    let secrets = Side::new().secrets();
    let error = connector
        .begin(&settings(Preset::Google), BACK, "s", &secrets, TripOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(&error, ProviderError::Down { cause, .. } if cause.contains("SEC-98")), "{error}");
}
