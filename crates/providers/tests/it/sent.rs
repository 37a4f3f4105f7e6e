//! What leaves the product (SEC-68).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parts::oidc::Fault;
use providers::{Preset, ProviderError, TripOptions, TripSecrets};

use crate::{ANEW, BACK, CLIENT_ID, CLIENT_SECRET, Side, oidc, stub};

#[tokio::test]
async fn sec_68_state_nonce_and_s256_are_sent_for_the_code_flow_only() {
    let (side, stub) = (Side::new(), stub().await);
    let secrets = side.secrets();
    let mut settings = oidc(&stub);
    settings.scopes = vec!["groups".to_owned(), "email".to_owned()];
    let trip =
        side.connector.begin(&settings, BACK, "the-state", &secrets, TripOptions::default()).await.unwrap();
    let query: std::collections::BTreeMap<String, String> = trip.url.query_pairs().into_owned().collect();
    assert_eq!(query["response_type"], "code");
    assert_eq!(query["client_id"], CLIENT_ID);
    assert_eq!(query["redirect_uri"], BACK);
    assert_eq!(query["state"], "the-state");
    assert_eq!(query["nonce"], secrets.nonce);
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!(URL_SAFE_NO_PAD.decode(&query["code_challenge"]).unwrap().len(), 32);
    assert_eq!(query["scope"], "openid email profile groups");
    assert!(!query.contains_key("max_age") && !query.contains_key("prompt"));
    assert!(!trip.url.as_str().contains(&secrets.verifier));
    assert!(!trip.url.as_str().contains("secret"));

    let trip = side.connector.begin(&settings, BACK, "s", &secrets, ANEW).await.unwrap();
    assert!(trip.url.as_str().contains("max_age=0&prompt=login"));
}

#[tokio::test]
async fn an_account_is_chosen_where_the_provider_is_known_to_offer_it() {
    let (side, stub) = (Side::new(), stub().await);
    let (secrets, choose) = (side.secrets(), TripOptions { fresh: false, choose: true });
    let github = crate::settings(Preset::GitHub);
    for (settings, options, asked) in
        [(&github, choose, true), (&github, TripOptions::default(), false), (&oidc(&stub), choose, false)]
    {
        let trip = side.connector.begin(settings, BACK, "s", &secrets, options).await.unwrap();
        assert_eq!(trip.url.as_str().contains("prompt=select_account"), asked, "{}", trip.url);
    }
}

#[tokio::test]
async fn sec_68_a_code_is_good_for_its_own_verifier_and_redirect_address_once() {
    let (side, stub) = (Side::new(), stub().await);
    let (settings, secrets) = (oidc(&stub), side.secrets());
    let options = TripOptions::default();

    let callback = side.go(&settings, &secrets, options).await.unwrap();
    let other = TripSecrets { verifier: side.random.token(), ..secrets.clone() };
    let error = side.connector.finish(&settings, BACK, &callback, &other, options).await.unwrap_err();
    assert!(matches!(error, ProviderError::NotVerified { .. }), "{error}");

    let callback = side.go(&settings, &secrets, options).await.unwrap();
    let elsewhere = "https://chat.example.com/login/other/authorized";
    let error = side.connector.finish(&settings, elsewhere, &callback, &secrets, options).await.unwrap_err();
    assert!(matches!(error, ProviderError::NotVerified { .. }), "{error}");

    let callback = side.go(&settings, &secrets, options).await.unwrap();
    side.connector.finish(&settings, BACK, &callback, &secrets, options).await.unwrap();
    let error = side.connector.finish(&settings, BACK, &callback, &secrets, options).await.unwrap_err();
    assert!(matches!(error, ProviderError::NotVerified { .. }), "{error}");

    let short = TripSecrets { verifier: "short".to_owned(), ..secrets };
    assert!(side.connector.begin(&settings, BACK, "s", &short, options).await.is_err());
}

#[tokio::test]
async fn nothing_secret_is_in_debug_or_errors() {
    let (side, stub) = (Side::new(), stub().await);
    let (settings, secrets) = (oidc(&stub), side.secrets());
    let callback = side.go(&settings, &secrets, TripOptions::default()).await.unwrap();
    stub.fault(Fault::InvalidClient);
    let error = side
        .connector
        .finish(&settings, BACK, &callback, &secrets, TripOptions::default())
        .await
        .unwrap_err();
    let shown = format!("{settings:?} {secrets:?} {callback:?} {error} {error:?}");
    let code = callback.code.unwrap();
    for secret in [CLIENT_SECRET, &secrets.nonce, &secrets.verifier, &code] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn signing_out_there_names_the_client_and_comes_back() {
    let (side, stub) = (Side::new(), stub().await);
    let url = side.connector.end_session(&oidc(&stub), "https://chat.example.com/login").await.unwrap();
    let browser = parts::http::Client::new("http://127.0.0.1:1");
    let reply = browser.get(url.as_str()).await;
    assert_eq!(reply.location(), Some("https://chat.example.com/login"));
    assert!(!stub.signed_out().unwrap().contains_key("id_token_hint"));
}
