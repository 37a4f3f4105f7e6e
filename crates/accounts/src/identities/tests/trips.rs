//! States (SEC-68) and step-up by a provider (SEC-57).

use super::*;
use crate::factors::FactorRefused;
use crate::gate::TripToken;
use crate::throttle::Limit;

async fn begin(t: &TestAccounts, purpose: TripPurpose, who: Option<&Principal>) -> NewTrip {
    let onward = Onward { next: Some("/chat/7".into()), carry: Some("sealed".into()) };
    t.begin_trip("corp", purpose, who, &onward, &client("192.0.2.1")).await.unwrap()
}

/// SEC-68
#[tokio::test]
async fn sec_68_a_state_counts_once_for_its_provider_in_its_browser() {
    let t = crate::testing::accounts("trips").await;
    let trip = begin(&t, TripPurpose::SignIn, None).await;
    for secret in [&trip.state, &trip.secrets.nonce, &trip.secrets.verifier] {
        assert_eq!(secret.len(), 43, "256 bit");
    }
    let foreign = TripToken::from_cookie(&"a".repeat(43)).unwrap();
    assert_eq!(t.finish_trip("corp", &trip.state, &foreign).await.unwrap(), None);
    assert_eq!(t.finish_trip("other", &trip.state, &trip.cookie).await.unwrap(), None);
    assert_eq!(t.finish_trip("corp", &trip.secrets.nonce, &trip.cookie).await.unwrap(), None);
    let done = t.finish_trip("corp", &trip.state, &trip.cookie).await.unwrap().unwrap();
    assert_eq!((done.purpose, &done.secrets), (TripPurpose::SignIn, &trip.secrets));
    assert_eq!(done.onward.next.as_deref(), Some("/chat/7"));
    assert_eq!(t.finish_trip("corp", &trip.state, &trip.cookie).await.unwrap(), None, "a replay");
}

/// SEC-68
#[tokio::test]
async fn sec_68_of_twenty_replays_one_counts_and_late_ones_do_not() {
    let t = crate::testing::accounts("trips-race").await;
    let trip = begin(&t, TripPurpose::SignIn, None).await;
    let (state, cookie) = (trip.state.clone(), trip.cookie.clone());
    let done = race(&t, move |accounts, _| {
        let (state, cookie) = (state.clone(), cookie.clone());
        async move { accounts.finish_trip("corp", &state, &cookie).await.unwrap().is_some() }
    })
    .await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
    let late = begin(&t, TripPurpose::SignIn, None).await;
    t.clock.advance(TRIP_LIFETIME);
    assert_eq!(t.finish_trip("corp", &late.state, &late.cookie).await.unwrap(), None);
    assert_eq!(t.count(sql!("SELECT COUNT(*) FROM oauth_states")).await, 1);
    t.sweep().await.unwrap();
    assert_eq!(t.count(sql!("SELECT COUNT(*) FROM oauth_states")).await, 0);
}

/// SEC-68
#[tokio::test]
async fn sec_68_secrets_are_sealed_and_trips_are_limited() {
    let t = crate::testing::accounts("trips-sealed").await;
    let trip = begin(&t, TripPurpose::SignIn, None).await;
    let rows: Vec<(String, String, String)> =
        t.db.all(sql!("SELECT state_hash, cookie_hash, secrets FROM oauth_states"), &[]).await.unwrap();
    let stored = format!("{rows:?}");
    for secret in [&trip.state, &trip.secrets.nonce, &trip.secrets.verifier, trip.cookie.as_str()] {
        assert!(!stored.contains(secret));
    }
    // Few of them carry a prompt.
    for _ in 1..Limit::TripPromptIp.default_rate().count {
        begin(&t, TripPurpose::SignIn, None).await;
    }
    let (prompt, from) = (Onward { next: None, carry: Some("sealed".into()) }, client("192.0.2.1"));
    assert!(t.begin_trip("corp", TripPurpose::SignIn, None, &prompt, &from).await.is_err());
    let plain = Onward::default();
    for _ in Limit::TripPromptIp.default_rate().count + 1..Limit::TripIp.default_rate().count {
        t.begin_trip("corp", TripPurpose::SignIn, None, &plain, &from).await.unwrap();
    }
    assert!(t.begin_trip("corp", TripPurpose::SignIn, None, &plain, &from).await.is_err());
}

/// SEC-57
#[tokio::test]
async fn sec_57_a_fresh_sign_in_at_the_own_provider_steps_up() {
    let t = crate::testing::accounts("trips-step-up").await;
    t.live(&["corp"]);
    let eve = vouched("eve");
    let in_now = t.signs_in(&eve, &rules()).await;
    t.signs_in(&vouched("mallory"), &rules()).await;
    let principal = t.as_principal(&in_now).await;
    let ways = t.step_up_ways(&principal.user_id).await.unwrap();
    assert_eq!((ways.password, ways.providers), (false, vec!["corp".to_owned()]));
    t.clock.advance(base::HOUR);
    let trip = begin(&t, TripPurpose::StepUp, Some(&principal)).await;
    let trip = t.finish_trip("corp", &trip.state, &trip.cookie).await.unwrap().unwrap();
    t.clock.advance(base::MINUTE);
    let secs = |micros: i64| Some(micros / SECOND);
    let step = |vouched: Vouched, trip: FinishedTrip| {
        let (t, principal, token) = (&t, principal.clone(), in_now.token.clone());
        async move { t.step_up_by_provider(&principal, &token, &trip, &vouched).await }
    };
    let now = t.clock.now();
    for at in [None, secs(trip.began_at - 2 * base::MINUTE), secs(now + base::HOUR), Some(i64::MAX)] {
        let refused = step(Vouched { auth_time: at, ..eve.clone() }, trip.clone()).await;
        assert!(matches!(refused, Err(FactorRefused::NotOffered(_))), "{at:?}");
    }
    let other = Vouched { auth_time: secs(now), ..vouched("mallory") };
    assert!(matches!(step(other, trip.clone()).await, Err(FactorRefused::NotOffered(_))));
    let fresh = Vouched { auth_time: secs(now), ..eve.clone() };
    let strange = FinishedTrip { session_id: Some("another".into()), ..trip.clone() };
    assert!(matches!(step(fresh.clone(), strange).await, Err(FactorRefused::Gone)));
    let not_for_this = FinishedTrip { purpose: TripPurpose::SignIn, ..trip.clone() };
    assert!(matches!(step(fresh.clone(), not_for_this).await, Err(FactorRefused::Gone)));
    let renewed = step(fresh.clone(), trip.clone()).await.unwrap();
    let after = t.principal(&renewed).await.unwrap().unwrap();
    assert!(after.stepped_up(now) && after.session.id == principal.session.id);
    assert_eq!(t.principal(&in_now.token).await.unwrap(), None);
    // Who has a second factor steps up by that.
    t.with_totp(&principal.user_id).await;
    assert!(matches!(step(fresh, trip).await, Err(FactorRefused::NotOffered(_))));
    assert!(t.step_up_ways(&principal.user_id).await.unwrap().providers.is_empty());
}
