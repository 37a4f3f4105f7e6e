//! What comes back, honest and not (SEC-69 to SEC-71).

use base::{HOUR, MINUTE, SECOND};
use parts::oidc::{Fault, Part};
use providers::{Callback, ProviderError, TripOptions};
use serde_json::{Value, json};

use crate::{ANEW, BACK, NOW, Side, oidc, stub};

#[tokio::test]
async fn a_person_signs_in() {
    let (side, stub) = (Side::new(), stub().await);
    stub.person(json!({
        "sub": "1", "email": "ada@example.com", "email_verified": true, "name": "Ada Lovelace", "nickname": "ada",
        "acr": "high", "amr": ["pwd", "otp"], "auth_time": NOW - 20, "groups": ["staff"],
    }));
    let found = side.sign_in(&oidc(&stub)).await.unwrap();
    assert_eq!((found.issuer.as_str(), found.subject.as_str()), (stub.issuer(), "1"));
    assert_eq!((found.first_name.as_str(), found.last_name.as_str()), ("Ada", "Lovelace"));
    assert_eq!(found.username.as_deref(), Some("ada"));
    assert_eq!((found.email.as_deref(), found.email_verified), (Some("ada@example.com"), true));
    assert_eq!((found.auth_time, found.acr.as_deref()), (Some(NOW - 20), Some("high")));
    assert_eq!(found.amr, ["pwd", "otp"]);
    assert_eq!(found.claims["groups"], json!(["staff"]));
    assert_eq!(found.claims.get("nonce"), None);

    stub.fault(Fault::PostOnly);
    let fresh = Side::new();
    fresh.sign_in(&oidc(&stub)).await.unwrap();
}

#[tokio::test]
async fn sec_69_every_lie_is_refused_and_honesty_goes_on() {
    let (side, stub) = (Side::new(), stub().await);
    let settings = oidc(&stub);
    for (fault, kind, cause) in [
        (Fault::WrongIssuer, "not_verified", "Invalid issuer"),
        (Fault::WrongAudience, "not_verified", "Invalid audiences"),
        (Fault::TwoAudiences, "not_verified", "no azp"),
        (Fault::WrongAzp, "not_verified", "(azp)"),
        (Fault::AlgNone, "not_verified", "signed by"),
        (Fault::Hs256, "not_verified", "signed by"),
        (Fault::Hs256PublicKey, "not_verified", "signed by"),
        (Fault::BadSignature, "not_verified", "signature is wrong"),
        (Fault::UnknownKid, "not_verified", "does not publish"),
        (Fault::WrongNonce, "not_verified", "nonce mismatch"),
        (Fault::NoNonce, "not_verified", "missing nonce"),
        (Fault::WrongAtHash, "not_verified", "at_hash"),
        (Fault::GarbageClaims, "not_verified", "lacks a claim"),
        (Fault::NoIdToken, "not_verified", "no ID token"),
        (Fault::WrongSub, "not_verified", "(sub)"),
        (Fault::NoIss, "not_verified", "(iss)"),
        (Fault::WrongIss, "not_verified", "(iss)"),
        (Fault::Expired, "clock", "expired"),
        (Fault::FutureIat, "clock", "in the future"),
        (Fault::FutureNbf, "clock", "(nbf)"),
        (Fault::AccessDenied, "denied", "access_denied"),
        (Fault::InvalidClient, "client", "invalid_client"),
        (Fault::Error(Part::Token), "down", "HTTP 500"),
        (Fault::Garbage(Part::Token), "down", "something else than tokens"),
        (Fault::Huge(Part::Token), "down", "too_long"),
        (Fault::Redirect(Part::Token), "down", "not followed"),
    ] {
        stub.fault(fault);
        match side.sign_in(&settings).await {
            Err(error) => {
                assert_eq!(error.kind(), kind, "{fault:?}: {error}");
                assert!(error.to_string().contains(cause), "{fault:?}: {error}");
            }
            Ok(_) => panic!("{fault:?} was believed"),
        }
        stub.heal();
        side.sign_in(&settings).await.unwrap_or_else(|error| panic!("after {fault:?}: {error}"));
    }
    for allowed in [Fault::TwoAudiencesWithAzp, Fault::NoAuthTime, Fault::Error(Part::UserInfo)] {
        stub.fault(allowed);
        side.sign_in(&settings).await.unwrap_or_else(|error| panic!("{allowed:?}: {error}"));
        stub.heal();
    }
}

#[tokio::test]
async fn sec_69_discovery_must_be_the_configured_issuers() {
    let (side, stub) = (Side::new(), stub().await);
    for (fault, kind) in [
        (Fault::ForeignDiscovery, "not_verified"),
        (Fault::Error(Part::Discovery), "down"),
        (Fault::Garbage(Part::Discovery), "down"),
        (Fault::Huge(Part::Discovery), "down"),
        (Fault::Redirect(Part::Discovery), "down"),
    ] {
        stub.fault(fault);
        assert_eq!(side.sign_in(&oidc(&stub)).await.unwrap_err().kind(), kind, "{fault:?}");
        stub.heal();
    }
    for fault in [Fault::Error(Part::Jwks), Fault::Garbage(Part::Jwks), Fault::Redirect(Part::Jwks)] {
        stub.fault(fault);
        assert_eq!(side.sign_in(&oidc(&stub)).await.unwrap_err().kind(), "down", "{fault:?}");
        stub.heal();
    }
}

#[tokio::test]
async fn sec_69_a_code_of_one_provider_is_never_shown_to_another() {
    let (side, honest, evil) = (Side::new(), stub().await, stub().await);
    let secrets = side.secrets();
    let options = TripOptions::default();
    let callback = side.go(&oidc(&honest), &secrets, options).await.unwrap();
    let error = side.connector.finish(&oidc(&evil), BACK, &callback, &secrets, options).await.unwrap_err();
    assert_eq!(error.kind(), "not_verified");
    assert_eq!(evil.calls(Part::Token), 0);

    // Without being advertised, it is checked where it comes, and may be missing.
    honest.fault(Fault::IssNotAdvertised);
    let side = Side::new();
    side.sign_in(&oidc(&honest)).await.unwrap();
    honest.fault(Fault::NoIss);
    side.sign_in(&oidc(&honest)).await.unwrap();
    honest.fault(Fault::WrongIss);
    assert_eq!(side.sign_in(&oidc(&honest)).await.unwrap_err().kind(), "not_verified");
}

#[tokio::test]
async fn sec_70_one_subject_at_two_issuers_is_two_identities() {
    let (side, one, two) = (Side::new(), stub().await, stub().await);
    let first = side.sign_in(&oidc(&one)).await.unwrap();
    let second = side.sign_in(&oidc(&two)).await.unwrap();
    assert_eq!(first.subject, second.subject);
    assert_ne!(first.issuer, second.issuer);
}

#[tokio::test]
async fn sec_71_an_email_is_verified_only_by_the_boolean() {
    let (side, stub) = (Side::new(), stub().await);
    for (said, counts) in
        [(json!(true), true), (json!(false), false), (json!("true"), false), (Value::Null, false)]
    {
        for thin in [false, true] {
            stub.heal();
            if thin {
                stub.fault(Fault::ThinToken);
            }
            let mut person = json!({"sub": "1", "email": "ada@example.com"});
            if !said.is_null() {
                person["email_verified"] = said.clone();
            }
            stub.person(person);
            let found = side.sign_in(&oidc(&stub)).await.unwrap();
            assert_eq!(found.email.as_deref(), Some("ada@example.com"));
            assert_eq!(found.email_verified, counts, "{said} thin: {thin}");
        }
    }
    stub.heal();
    stub.person(json!({"sub": "1"}));
    let found = side.sign_in(&oidc(&stub)).await.unwrap();
    assert_eq!((found.email, found.email_verified), (None, false));
}

#[tokio::test]
async fn user_info_is_needed_where_the_token_is_thin() {
    let (side, stub) = (Side::new(), stub().await);
    for (fault, kind) in [
        (Fault::WrongSub, "not_verified"),
        (Fault::Error(Part::UserInfo), "down"),
        (Fault::Garbage(Part::UserInfo), "down"),
    ] {
        stub.fault(Fault::ThinToken);
        stub.fault(fault);
        assert_eq!(side.sign_in(&oidc(&stub)).await.unwrap_err().kind(), kind, "{fault:?}");
        stub.heal();
    }
}

#[tokio::test]
async fn keys_are_kept_for_an_hour_and_fetched_again_when_they_rotate() {
    let (side, stub) = (Side::new(), stub().await);
    let settings = oidc(&stub);
    let time = |by| {
        side.clock.advance(by);
        stub.set_time(side.clock.now() / SECOND);
    };
    side.sign_in(&settings).await.unwrap();
    side.sign_in(&settings).await.unwrap();
    assert_eq!((stub.calls(Part::Discovery), stub.calls(Part::Jwks)), (1, 1));

    stub.rotate_key();
    side.sign_in(&settings).await.unwrap();
    assert_eq!(stub.calls(Part::Jwks), 2);

    // Key ids that nobody knows cause one call a minute.
    stub.fault(Fault::UnknownKid);
    for _ in 0..3 {
        assert_eq!(side.sign_in(&settings).await.unwrap_err().kind(), "not_verified");
    }
    assert_eq!(stub.calls(Part::Jwks), 2);
    time(MINUTE);
    assert_eq!(side.sign_in(&settings).await.unwrap_err().kind(), "not_verified");
    assert_eq!(side.sign_in(&settings).await.unwrap_err().kind(), "not_verified");
    assert_eq!(stub.calls(Part::Jwks), 3);

    stub.heal();
    time(HOUR);
    side.sign_in(&settings).await.unwrap();
    assert_eq!((stub.calls(Part::Discovery), stub.calls(Part::Jwks)), (2, 4));
}

#[tokio::test]
async fn sec_57_a_fresh_sign_in_is_proved_by_auth_time() {
    let (side, stub) = (Side::new(), stub().await);
    let settings = oidc(&stub);
    side.sign_in_as(&settings, ANEW).await.unwrap();
    stub.fault(Fault::NoAuthTime);
    assert_eq!(side.sign_in_as(&settings, ANEW).await.unwrap_err().kind(), "not_verified");
    stub.heal();
    for (at, kind) in [(NOW - 301, "not_verified"), (NOW + 61, "clock")] {
        stub.person(json!({"sub": "1", "auth_time": at}));
        assert_eq!(side.sign_in_as(&settings, ANEW).await.unwrap_err().kind(), kind);
    }
    stub.person(json!({"sub": "1", "auth_time": NOW - 299}));
    side.sign_in_as(&settings, ANEW).await.unwrap();
}

#[tokio::test]
async fn clocks_may_be_a_minute_apart() {
    let (side, stub) = (Side::new(), stub().await);
    for (theirs, fits) in [(NOW + 60, true), (NOW + 61, false), (NOW - 359, true), (NOW - 360, false)] {
        stub.set_time(theirs);
        let done = side.sign_in(&oidc(&stub)).await;
        match (done, fits) {
            (Ok(_), true) => {}
            (Err(ProviderError::Clock { .. }), false) => {}
            (other, _) => panic!("{} s: {other:?}", theirs - NOW),
        }
    }
}

#[tokio::test]
async fn errors_that_a_browser_brings_are_words_only() {
    let (side, stub) = (Side::new(), stub().await);
    for (error, kind) in [
        ("access_denied", "denied"),
        ("login_required", "denied"),
        ("unauthorized_client", "client"),
        ("temporarily_unavailable", "down"),
        ("<script>", "denied"),
        ("buy_at_evil_example", "denied"),
    ] {
        let callback = Callback { error: Some(error.to_owned()), ..Callback::default() };
        let options = TripOptions::default();
        let failed =
            side.connector.finish(&oidc(&stub), BACK, &callback, &side.secrets(), options).await.unwrap_err();
        assert_eq!(failed.kind(), kind, "{error}");
        assert!(!failed.to_string().contains('<') && !failed.to_string().contains("evil"), "{failed}");
    }
    let none = Callback { iss: Some(stub.issuer().to_owned()), ..Callback::default() };
    let failed =
        side.connector.finish(&oidc(&stub), BACK, &none, &side.secrets(), TripOptions::default()).await;
    assert_eq!(failed.unwrap_err().kind(), "not_verified");
}
