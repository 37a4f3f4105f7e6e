//! SEC-68, SEC-69: trips that are stolen, replayed, mixed up or lied about.

use std::collections::BTreeSet;

use base::{HOUR, MINUTE, sql};
use parts::http::{Client, Reply, escape};
use parts::oidc::{Fault, Part};

use crate::harness::{TestApp, Wishes};
use crate::page::text;
use crate::providers_harness::{
    Corp, at_provider, begin, come_back, corp, corp_with, idp, is_in, param, travel,
};

async fn sessions(app: &TestApp) -> i64 {
    app.app.db.one(sql!("SELECT COUNT(*) FROM sessions"), &[]).await.unwrap().unwrap()
}

async fn people(app: &TestApp) -> i64 {
    app.app.db.one(sql!("SELECT COUNT(*) FROM users"), &[]).await.unwrap().unwrap()
}

/// A trip that is not known here: nobody is let in, and no code was shown to the provider.
async fn is_lost(house: &Corp, client: &Client, reply: &Reply) {
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(text(&reply.body).contains("This sign-in does not go on"), "{}", text(&reply.body));
    assert!(reply.body.contains("href=\"/login\"") && reply.body.contains("href=\"/login/corp\""));
    assert!(!is_in(client));
    assert_eq!((people(&house.app).await, sessions(&house.app).await), (0, 0));
    assert_eq!(house.idp.calls(Part::Token), 0);
}

/// SEC-68: what is sent along is 256 bit and new each time, of the code flow, with PKCE S256.
#[tokio::test]
async fn sec_68_what_a_browser_takes_along() {
    let house = corp().await;
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let client = house.app.anon();
        let url = begin(&client, "/login/corp").await;
        assert!(url.as_str().starts_with(&format!("{}/authorize?", house.idp.issuer())));
        let asked = |name: &str| {
            let mut values =
                url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
            let value = values.next().unwrap_or_else(|| panic!("no {name} in {url}"));
            assert_eq!(values.next(), None, "{name} stands twice");
            value
        };
        assert_eq!(asked("response_type"), "code");
        assert_eq!(asked("code_challenge_method"), "S256");
        assert_eq!(asked("scope"), "openid email profile");
        assert_eq!(asked("redirect_uri"), format!("{}/login/corp/authorized", house.app.base));
        let cookie = client.cookie("anteroom-trip").unwrap();
        for secret in [asked("state"), asked("nonce"), asked("code_challenge"), cookie] {
            assert_eq!(secret.len(), 43, "32 bytes in base64url: {secret}");
            assert!(seen.insert(secret), "nothing is used twice");
        }
        // Neither verifier nor secret goes through the browser.
        assert!(!url.as_str().contains("verifier") && !url.as_str().contains("secret"));
    }
    // The stub signs in only whose verifier fits the challenge.
    house.person().await;
}

/// SEC-68: the cookie of a trip is for this site alone, out of scripts' reach, for ten minutes.
#[tokio::test]
async fn sec_68_the_cookie_of_a_trip() {
    let other = idp().await;
    for (url, name) in [("", "anteroom-trip"), ("https://chat.example.org", "__Host-anteroom-trip")] {
        let wishes = Wishes::unlimited().openid("corp", "Corp ID", &other);
        let app = if url.is_empty() { wishes } else { wishes.set("ANTEROOM_PUBLIC_URL", url) }.start().await;
        let reply = app.anon().get("/login/corp").await;
        let set = reply.headers.get_all("set-cookie").iter().map(|v| v.to_str().unwrap().to_owned());
        let trip: Vec<String> = set.filter(|value| value.starts_with(name)).collect();
        let [trip] = &trip[..] else { panic!("{reply:?}") };
        for part in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Max-Age=600"] {
            assert!(trip.contains(part), "{part} in {trip}");
        }
        assert_eq!(trip.contains("; Secure"), !url.is_empty(), "{trip}");
        assert!(!trip.contains("Domain"));
        assert!(reply.header("cache-control").is_some_and(|value| value.contains("no-store")), "{reply:?}");
    }
}

/// SEC-68: the redirect address is made of the configured public URL, whatever a request says of itself.
#[tokio::test]
async fn sec_68_the_redirect_address_is_the_configured_one() {
    let other = idp().await;
    let app = Wishes::unlimited()
        .openid("corp", "Corp ID", &other)
        .set("ANTEROOM_PUBLIC_URL", "https://chat.example.org")
        .set("ANTEROOM_SERVER__TRUSTED_PROXIES", "127.0.0.1/32")
        .start()
        .await;
    for (name, value) in [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("x-original-host", "evil.example"),
        ("forwarded", "host=evil.example;proto=http"),
        ("x-forwarded-prefix", "/evil"),
    ] {
        let client = app.anon().with_header(name, value);
        let url = begin(&client, "/login/corp?redirect_uri=https://evil.example/").await;
        let redirect = param(url.as_str(), "redirect_uri");
        assert_eq!(redirect.as_deref(), Some("https://chat.example.org/login/corp/authorized"), "{name}");
        assert!(!url.as_str().contains("evil"), "{name}: {url}");
    }
}

/// SEC-68: a state counts in the browser that it was made for, at its provider's address, once, for ten minutes.
#[tokio::test]
async fn sec_68_a_state_counts_only_where_it_belongs() {
    let other = idp().await;
    let house = corp_with(|w| w.openid("other", "Other ID", &other)).await;
    let client = house.app.anon();
    let callback = at_provider(&begin(&client, "/login/corp").await).await;
    let state = param(&callback, "state").unwrap();
    let cookie = client.cookie("anteroom-trip").unwrap();

    // Missing, empty, unknown, another's, cut, longer, in other case.
    for wrong in [
        callback.replace("state=", "was="),
        callback.replace(&state, ""),
        callback.replace(&state, &"A".repeat(43)),
        callback.replace(&state, &cookie),
        callback.replace(&state, &state[..42]),
        callback.replace(&state, &format!("{state}A")),
        callback.replace(&state, &state.to_ascii_uppercase()),
        "/login/corp/authorized".to_owned(),
    ] {
        is_lost(&house, &client, &come_back(&client, &wrong).await).await;
        assert!(client.cookie("anteroom-trip").is_some(), "a stranger's try leaves the trip as it is");
    }
    let odd = format!("/login/corp/authorized?code=1&state={}", "%00".repeat(43));
    assert_eq!(come_back(&client, &odd).await.status, 400);
    // Another browser: without a cookie, with one made up, with that of a trip of its own.
    let stranger = house.app.anon();
    is_lost(&house, &stranger, &come_back(&stranger, &callback).await).await;
    for made_up in ["A".repeat(43), state.clone(), "x".to_owned()] {
        stranger.set_cookie("anteroom-trip", &made_up);
        is_lost(&house, &stranger, &come_back(&stranger, &callback).await).await;
    }
    begin(&stranger, "/login/corp").await;
    is_lost(&house, &stranger, &come_back(&stranger, &callback).await).await;
    // Another provider's address.
    let mixed = callback.replace("/login/corp/", "/login/other/");
    let reply = come_back(&client, &mixed).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(!is_in(&client) && other.calls(Part::Token) == 0);
    // None of this has used it up.
    assert_eq!(come_back(&client, &callback).await.location(), Some("/chat"));
    assert!(is_in(&client) && client.cookie("anteroom-trip").is_none());
    // A replay, in the same browser and with its cookies.
    let session = client.cookie("anteroom").unwrap();
    client.set_cookie("anteroom-trip", &cookie);
    let reply = come_back(&client, &callback).await;
    assert_eq!(reply.status, 400);
    assert!(text(&reply.body).contains("To the chats"), "who is in already is not sent to the sign-in");
    assert_eq!(client.cookie("anteroom").as_deref(), Some(session.as_str()), "the session stays");
    assert_eq!((sessions(&house.app).await, house.idp.calls(Part::Token)), (1, 1));
}

/// SEC-68: one and the same parameter twice is no answer of a provider (RFC 6749, 3.1).
#[tokio::test]
async fn sec_68_what_stands_twice_is_refused() {
    let house = corp().await;
    let client = house.app.anon();
    let callback = at_provider(&begin(&client, "/login/corp").await).await;
    let state = param(&callback, "state").unwrap();
    let iss = escape(house.idp.issuer());
    for more in [
        format!("&state={state}"),
        "&state=x".to_owned(),
        "&code=code-0".to_owned(),
        "&code=".to_owned(),
        format!("&iss={iss}"),
        "&error=access_denied&error=access_denied".to_owned(),
        "&%63ode=code-0".to_owned(),
    ] {
        let reply = come_back(&client, &format!("{callback}{more}")).await;
        is_lost(&house, &client, &reply).await;
    }
    let problem = client.get_json(&format!("{callback}&code=code-0")).await;
    assert_eq!(
        (problem.status.as_u16(), problem.json()["type"].as_str()),
        (400, Some("/problems/bad-request"))
    );
    assert!(!is_in(&client));
    // What nobody knows may stand there (RFC 6749, 4.1.2).
    let reply = come_back(&client, &format!("{callback}&session_state=1&session_state=2&scope=openid")).await;
    assert_eq!(reply.location(), Some("/chat"), "{reply:?}");
}

/// SEC-68: after ten minutes a trip is over.
#[tokio::test]
async fn sec_68_a_trip_takes_ten_minutes_at_most() {
    let house = corp().await;
    for (passed, comes_in) in [(11 * MINUTE, false), (10 * MINUTE, false), (10 * MINUTE - 1, true)] {
        let client = house.app.anon();
        let url = begin(&client, "/login/corp").await;
        house.advance(passed);
        let reply = come_back(&client, &at_provider(&url).await).await;
        if comes_in {
            assert!(is_in(&client), "{reply:?}");
        } else {
            is_lost(&house, &client, &reply).await;
        }
    }
}

/// SEC-68, SEC-99: of twenty uses of one callback at once one makes a session, and one shows the code.
#[tokio::test]
async fn sec_68_a_callback_is_used_once_by_twenty() {
    let house = corp().await;
    for round in 1..=3 {
        let client = house.app.anon();
        let callback = at_provider(&begin(&client, "/login/corp").await).await;
        let cookie = client.cookie("anteroom-trip").unwrap();
        let tries: Vec<_> = (0..20)
            .map(|_| {
                let (browser, callback) = (house.app.anon(), callback.clone());
                browser.set_cookie("anteroom-trip", &cookie);
                tokio::spawn(async move {
                    (come_back(&browser, &callback).await.status.as_u16(), is_in(&browser))
                })
            })
            .collect();
        let mut entered = 0;
        for one in tries {
            match one.await.unwrap() {
                (303, true) => entered += 1,
                (400, false) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(entered, 1);
        assert_eq!(sessions(&house.app).await, round);
        assert_eq!(house.idp.calls(Part::Token), usize::try_from(round).unwrap());
    }
}

/// SEC-68: a code that was taken from somebody else's trip is worth nothing in one's own: verifier and nonce are of
/// another. The victim's own trip goes on.
#[tokio::test]
async fn sec_68_a_stolen_code_does_not_fit_another_trip() {
    let house = corp().await;
    let (victim, thief) = (house.app.anon(), house.app.anon());
    let theirs = at_provider(&begin(&victim, "/login/corp").await).await;
    let own = at_provider(&begin(&thief, "/login/corp").await).await;
    let stolen = own.replace(&param(&own, "code").unwrap(), &param(&theirs, "code").unwrap());
    let reply = come_back(&thief, &stolen).await;
    assert_eq!(reply.status, 502, "{reply:?}");
    assert!(!is_in(&thief) && people(&house.app).await == 0);
}

/// SEC-68: nobody signs a victim in to an account of their own: the callback works in its own browser alone, also
/// where the victim has begun a trip.
#[tokio::test]
async fn sec_68_a_victim_is_not_signed_in_by_a_link() {
    let house = corp().await;
    let (mallory, victim) = (house.app.anon(), house.app.anon());
    let link = at_provider(&begin(&mallory, "/login/corp").await).await;
    let own = begin(&victim, "/login/corp").await;
    let mixed = link.replace(&param(&link, "state").unwrap(), &param(own.as_str(), "state").unwrap());
    is_lost(&house, &victim, &come_back(&victim, &link).await).await;
    // With the victim's own state the code does not fit.
    assert_eq!(come_back(&victim, &mixed).await.status, 502);
    assert!(!is_in(&victim));
}

/// SEC-69: lies of a provider, or of whoever stands in its place: nobody comes in, nothing is made, the page says
/// it in plain words, and Admins find the cause.
#[tokio::test]
async fn sec_69_no_lie_lets_anybody_in() {
    let house = corp().await;
    let admin = house.app.admin().await;
    let (none, clock) = ("What Corp ID sent does not hold", "A clock is wrong");
    for (fault, title, cause) in [
        (Fault::WrongIssuer, none, "issuer"),
        (Fault::WrongAudience, none, "audience"),
        (Fault::TwoAudiences, none, "several audiences and no azp"),
        (Fault::WrongAzp, none, "another client (azp)"),
        (Fault::AlgNone, none, "signed by \"none\""),
        (Fault::Hs256, none, "signed by \"HS256\""),
        (Fault::Hs256PublicKey, none, "signed by \"HS256\""),
        (Fault::BadSignature, none, "signature is wrong"),
        (Fault::UnknownKid, none, "a key that it does not publish"),
        (Fault::WrongNonce, none, "nonce mismatch"),
        (Fault::NoNonce, none, "missing nonce"),
        (Fault::WrongAtHash, none, "at_hash"),
        (Fault::GarbageClaims, none, "lacks a claim"),
        (Fault::NoIdToken, none, "no ID token"),
        (Fault::WrongSub, none, "someone else (sub)"),
        (Fault::NoIss, none, "(iss)"),
        (Fault::WrongIss, none, "(iss)"),
        (Fault::Expired, clock, "expired"),
        (Fault::FutureIat, clock, "in the future"),
        (Fault::FutureNbf, clock, "(nbf)"),
    ] {
        house.idp.fault(fault);
        let client = house.app.anon();
        let reply = house.sign_in(&client).await;
        let shown = text(&reply.body);
        assert_eq!(reply.status, 502, "{fault:?}: {reply:?}");
        assert!(shown.contains(title), "{fault:?}: {shown}");
        assert!(
            shown.contains("Sign in another way") && shown.contains(reply.header("x-request-id").unwrap())
        );
        assert!(!shown.contains(cause) && !shown.contains("ID token"), "{fault:?}: {shown}");
        assert!(!is_in(&client) && client.cookie("anteroom-challenge").is_none(), "{fault:?}");
        assert_eq!((people(&house.app).await, sessions(&house.app).await), (1, 1), "{fault:?}");
        let told = house.causes(&admin).await;
        assert!(told.contains(title) && told.contains(cause), "{fault:?}: {told}");
        house.idp.heal();
    }
    assert!(is_in(&house.person().await), "an honest one comes in");
    house.idp.fault(Fault::TwoAudiencesWithAzp);
    assert!(is_in(&house.person().await), "azp may name us among several audiences");
}

/// SEC-69: metadata that name another issuer are not believed, before anybody is sent anywhere.
#[tokio::test]
async fn sec_69_metadata_must_be_the_configured_issuers() {
    let house = corp().await;
    house.idp.fault(Fault::ForeignDiscovery);
    let reply = house.app.anon().get("/login/corp").await;
    assert_eq!(reply.status, 502, "{reply:?}");
    assert!(
        text(&reply.body).contains("What Corp ID sent does not hold")
            && !reply.body.contains("other.example")
    );
    let admin = house.app.admin().await;
    assert!(house.causes(&admin).await.contains("https://other.example"));
    house.idp.heal();
    house.person().await;
}

/// SEC-69: keys that change are fetched again, old ones sign nothing any more.
#[tokio::test]
async fn sec_69_keys_rotate() {
    let house = corp().await;
    house.person().await;
    for _ in 0..2 {
        house.idp.rotate_key();
        house.person().await;
        house.advance(2 * MINUTE);
    }
    assert_eq!((house.idp.calls(Part::Discovery), house.idp.calls(Part::Jwks)), (1, 3));
    // Ids that nobody published make one call a minute at most.
    house.idp.fault(Fault::UnknownKid);
    for _ in 0..5 {
        assert_eq!(house.sign_in(&house.app.anon()).await.status, 502);
    }
    assert_eq!(house.idp.calls(Part::Jwks), 4);
    house.idp.heal();
    house.advance(HOUR);
    house.person().await;
    assert_eq!((house.idp.calls(Part::Discovery), house.idp.calls(Part::Jwks)), (2, 5));
}

/// SEC-69: with two providers neither gets a code of the other (RFC 9207), whichever address it is brought to.
#[tokio::test]
async fn sec_69_a_code_never_goes_to_another_provider() {
    let evil = idp().await;
    let house = corp_with(|w| w.openid("evil", "Evil ID", &evil)).await;
    // The victim chose the evil one, which sends the browser to the honest one with the victim's state.
    let victim = house.app.anon();
    let to_evil = begin(&victim, "/login/evil").await;
    let honest = to_evil.as_str().replace(evil.issuer(), house.idp.issuer());
    let callback = at_provider(&url::Url::parse(&honest).unwrap()).await;
    assert!(callback.starts_with("/login/evil/authorized?"));
    let reply = come_back(&victim, &callback).await;
    assert_eq!(reply.status, 502, "{reply:?}");
    assert!(!is_in(&victim));
    assert_eq!(
        (evil.calls(Part::Token), house.idp.calls(Part::Token)),
        (0, 0),
        "the code was shown to nobody"
    );
    // The honest one answers to its own registered address, as the attacker asks it to.
    let to_evil = begin(&victim, "/login/evil").await;
    let honest =
        to_evil.as_str().replace(evil.issuer(), house.idp.issuer()).replace("%2Fevil%2F", "%2Fcorp%2F");
    let callback = at_provider(&url::Url::parse(&honest).unwrap()).await;
    assert!(callback.starts_with("/login/corp/authorized?"));
    assert_eq!(come_back(&victim, &callback).await.status, 400);
    assert!(!is_in(&victim) && evil.calls(Part::Token) == 0 && house.idp.calls(Part::Token) == 0);
    // Each on its own works.
    travel(&victim, "/login/evil").await;
    assert!(is_in(&victim));
}
