//! Passkeys and security keys at the sign-in (SEC-53 to SEC-55), with an authenticator in software.

use accounts::{PasskeyKind, PasskeyUser};
use base::{DAY, MINUTE, sql};
use parts::authenticator::{Authenticator, spoiled};
use parts::http::{Client, Reply};
use serde_json::{Value, json};

use crate::harness::{TestApp, Wishes};

const OPTIONS: &str = "/login/passkey/options";
const SECOND: &str = "/login/2fa/passkey/options";

fn told(reply: &Reply) -> (u16, String) {
    (reply.status.as_u16(), reply.json()["type"].as_str().unwrap_or_default().to_owned())
}

fn refused() -> (u16, String) {
    (401, "/problems/invalid-credentials".to_owned())
}

fn invalid() -> (u16, String) {
    (401, "/problems/second-factor-invalid".to_owned())
}

/// A touch-only key.
fn touch(app: &TestApp) -> Authenticator {
    Authenticator { verifies: false, ..Authenticator::new(&app.base) }
}

/// Adds a key to the account of someone who is signed in.
async fn add(app: &TestApp, client: &Client, device: &mut Authenticator, kind: PasskeyKind) {
    let principal = app.principal(client).await;
    let user = PasskeyUser { id: &principal.user_id, username: &principal.username, display_name: "" };
    let accounts = &app.app.accounts;
    let options = accounts.begin_passkey(&principal.session.id, user, kind).await.unwrap();
    let credential = device.create(&options);
    let ceremony = options["ceremony"].as_str().unwrap();
    let here = accounts::Client::new([127, 0, 0, 1].into(), "test");
    accounts.add_passkey(&principal, ceremony, "", &credential, &here).await.unwrap();
}

/// A person with one key.
async fn with_key(app: &TestApp, who: &str, device: &mut Authenticator, kind: PasskeyKind) -> Client {
    let client = app.user(who).await;
    add(app, &client, device, kind).await;
    client
}

async fn options(client: &Client, path: &str) -> Value {
    let reply = client.post_json(path, None, &json!({})).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn enter(client: &Client, options: &Value, credential: &Value) -> Reply {
    let body = json!({ "ceremony": options["ceremony"], "credential": credential });
    client.post_json("/login/passkey", None, &body).await
}

async fn prove(client: &Client, options: &Value, credential: &Value) -> Reply {
    let body = json!({ "method": "passkey", "ceremony": options["ceremony"], "credential": credential });
    client.post_json("/login/2fa", None, &body).await
}

async fn sessions(app: &TestApp) -> i64 {
    app.app.db.one(sql!("SELECT COUNT(*) FROM sessions"), &[]).await.unwrap().unwrap()
}

async fn used(app: &TestApp) -> bool {
    let last: Option<Option<i64>> =
        app.app.db.one(sql!("SELECT MAX(last_used_at) FROM passkeys"), &[]).await.unwrap();
    last.flatten().is_some()
}

/// SEC-54, SEC-38: a passkey that verified its holder is both factors at once, whatever else the account has.
#[tokio::test]
async fn sec_54_a_verified_passkey_signs_in_alone() {
    let app = TestApp::start().await;
    let mut device = Authenticator::new(&app.base);
    let ann = with_key(&app, "ann", &mut device, PasskeyKind::Passkey).await;
    app.totp(&app.principal(&ann).await.user_id).await;
    let reply = app.sign_in(&app.anon(), "ann").await;
    assert_eq!(reply.json()["methods"], json!(["passkey", "totp", "backup-code"]));

    let ann = app.anon();
    let asked = options(&ann, OPTIONS).await;
    assert_eq!(asked["publicKey"]["userVerification"], "required");
    let answer = device.get(&asked).unwrap();
    let visitor = ann.cookie("anteroom-visitor").unwrap();
    let reply = enter(&ann, &asked, &answer).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["user"]["username"], "ann");
    assert_eq!(ann.get_json("/api/v1/me").await.status, 200);
    // Used once (SEC-53).
    let again = app.anon();
    again.set_cookie("anteroom-visitor", &visitor);
    assert_eq!(told(&enter(&again, &asked, &answer).await), refused());

    // The form does the same.
    let page = app.anon();
    page.get("/login").await;
    let asked = options(&page, OPTIONS).await;
    let text = device.get(&asked).unwrap().to_string();
    let fields =
        [("ceremony", asked["ceremony"].as_str().unwrap()), ("credential", &text), ("next", "/settings")];
    let reply = page.submit("/login", "/login/passkey", &fields).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/settings")), "{reply:?}");
    // Who was deactivated does not come in by it, either.
    app.app.accounts.deactivate(accounts::Actor::Operator, "ann").await.unwrap();
    let late = app.anon();
    let asked = options(&late, OPTIONS).await;
    assert_eq!(told(&enter(&late, &asked, &device.get(&asked).unwrap()).await), refused());
}

/// SEC-54: a key that wants a touch only is a second factor and no more.
#[tokio::test]
async fn sec_54_a_touch_only_key_is_a_second_factor_only() {
    let app = TestApp::start().await;
    let mut key = touch(&app);
    with_key(&app, "ann", &mut key, PasskeyKind::SecurityKey).await;
    for verifies in [false, true] {
        // Also where the key asks for a PIN later on: it was not made as a passkey.
        key.verifies = verifies;
        let stranger = app.anon();
        let asked = options(&stranger, OPTIONS).await;
        let reply = enter(&stranger, &asked, &key.get(&asked).unwrap()).await;
        assert_eq!((told(&reply), stranger.cookie("anteroom")), (refused(), None));
    }
    key.verifies = false;
    let ann = app.anon();
    let reply = app.sign_in(&ann, "ann").await;
    assert_eq!((told(&reply).0, &reply.json()["methods"]), (401, &json!(["passkey", "backup-code"])));
    let asked = options(&ann, SECOND).await;
    let answer = key.get(&asked).unwrap();
    let reply = prove(&ann, &asked, &answer).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(ann.get_json("/api/v1/me").await.status, 200);
    // As a form, too; what was used once is used.
    let page = app.challenged("ann").await;
    let asked = options(&page, SECOND).await;
    let shown = page.get("/login/2fa").await.body;
    assert!(shown.contains("data-passkey=\"check\"") && shown.contains("href=\"/login/2fa/backup-code\""));
    let text = key.get(&asked).unwrap().to_string();
    let fields = [
        ("method", "passkey"),
        ("ceremony", asked["ceremony"].as_str().unwrap()),
        ("credential", text.as_str()),
    ];
    let reply = page.submit("/login/2fa", "/login/2fa", &fields).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/chat")), "{reply:?}");
    let ben = app.challenged("ann").await;
    assert_eq!(told(&prove(&ben, &asked, &answer).await), invalid());
}

/// SEC-54: a passkey whose holder was not verified this time does not sign in alone.
#[tokio::test]
async fn sec_54_without_verification_a_passkey_does_not_sign_in_alone() {
    let app = TestApp::start().await;
    let mut device = Authenticator::new(&app.base);
    with_key(&app, "ann", &mut device, PasskeyKind::Passkey).await;
    device.verifies = false;
    let ann = app.anon();
    let asked = options(&ann, OPTIONS).await;
    assert_eq!(told(&enter(&ann, &asked, &device.get(&asked).unwrap()).await), refused());
    assert!(!used(&app).await);
    let ann = app.challenged("ann").await;
    let asked = options(&ann, SECOND).await;
    assert_eq!(prove(&ann, &asked, &device.get(&asked).unwrap()).await.status, 200, "a second factor it is");
}

/// SEC-53: a ceremony belongs to one purpose and to who began it, for five minutes.
#[tokio::test]
async fn sec_53_a_ceremony_is_good_for_its_own_purpose_and_holder() {
    let app = Wishes::unlimited().start().await;
    let mut device = Authenticator::new(&app.base);
    let session = with_key(&app, "ann", &mut device, PasskeyKind::Passkey).await;
    let mut bens = Authenticator { seed: 2, ..Authenticator::new(&app.base) };
    with_key(&app, "ben", &mut bens, PasskeyKind::Passkey).await;

    // Another challenge of the same person, a challenge of another one, the sign-in alone, a step-up.
    let ann = app.challenged("ann").await;
    let (other, ben, stranger) = (app.challenged("ann").await, app.challenged("ben").await, app.anon());
    let token = app.csrf(&session).await;
    let step_up = session.post_json("/api/v1/step-up/passkey/options", Some(&token), &json!({})).await.json();
    for asked in [options(&other, SECOND).await, options(&stranger, OPTIONS).await, step_up.clone()] {
        let answer = device.get(&asked).unwrap();
        assert_eq!(told(&prove(&ann, &asked, &answer).await), invalid());
    }
    let asked = options(&ben, SECOND).await;
    assert!(device.get(&asked).is_none(), "ann's key is not asked for");
    assert_eq!(told(&prove(&ann, &asked, &bens.get(&asked).unwrap()).await), invalid());
    // Her own ceremony, answered by his key.
    let asked = options(&ann, SECOND).await;
    let mut lying = asked.clone();
    lying["publicKey"]["allowCredentials"] = json!([]);
    let reply = prove(&ann, &asked, &bens.get(&lying).unwrap()).await;
    assert_eq!(told(&reply), invalid());
    assert!(
        reply.json()["detail"].as_str().unwrap().contains("no tries"),
        "each of them was a try: {reply:?}"
    );

    // The other way round.
    let second = options(&app.challenged("ann").await, SECOND).await;
    for asked in [second, step_up, options(&app.anon(), OPTIONS).await] {
        let answer = device.get(&asked).unwrap();
        assert_eq!(told(&enter(&stranger, &asked, &answer).await), refused());
    }
    assert_eq!(stranger.cookie("anteroom"), None);
    for wait in [5 * MINUTE, 5 * MINUTE - base::SECOND] {
        let ann = app.challenged("ann").await;
        let (second, alone) = (options(&ann, SECOND).await, options(&stranger, OPTIONS).await);
        app.clock.advance(wait);
        let good = wait < 5 * MINUTE;
        let reply = prove(&ann, &second, &device.get(&second).unwrap()).await;
        assert_eq!(reply.status.as_u16(), if good { 200 } else { 401 });
        let reply = enter(&stranger, &alone, &device.get(&alone).unwrap()).await;
        assert_eq!(reply.status.as_u16(), if good { 200 } else { 401 });
    }
}

/// SEC-53, SEC-55: another origin, another relying party, a spoiled signature: refused, and nothing is written.
#[tokio::test]
async fn sec_55_what_does_not_verify_changes_nothing() {
    let app = Wishes::unlimited().start().await;
    let mut device = Authenticator::new(&app.base);
    with_key(&app, "ann", &mut device, PasskeyKind::Passkey).await;
    let port = app.base.rsplit_once(':').unwrap().1.to_owned();
    let stored = async || {
        let all: Vec<(String, Option<i64>)> =
            app.app.db.all(sql!("SELECT credential, last_used_at FROM passkeys"), &[]).await.unwrap();
        all
    };
    let before = stored().await;
    type Lie = fn(&mut Authenticator, &str);
    let lies: [Lie; 5] = [
        |device, _| device.origin = "https://evil.example".into(),
        |device, port| device.origin = format!("http://localhost.evil.example:{port}"),
        |device, _| device.origin = "http://localhost:1".into(),
        |device, port| device.origin = format!("https://localhost:{port}"),
        |device, _| device.rp_id = Some("evil.example".into()),
    ];
    for (n, lie) in lies.iter().enumerate() {
        let keys = device.keys.clone();
        let mut liar = Authenticator { keys, counter: Some(50), ..Authenticator::new(&app.base) };
        lie(&mut liar, &port);
        let (ann, stranger) = (app.challenged("ann").await, app.anon());
        let asked = options(&ann, SECOND).await;
        let answer = liar.get(&asked).unwrap();
        assert_eq!(told(&prove(&ann, &asked, &answer).await), invalid(), "lie {n}");
        let asked = options(&stranger, OPTIONS).await;
        let answer = liar.get(&asked).unwrap();
        assert_eq!(told(&enter(&stranger, &asked, &answer).await), refused(), "lie {n}");
        assert_eq!((ann.cookie("anteroom"), stranger.cookie("anteroom")), (None, None));
    }
    let (ann, stranger) = (app.challenged("ann").await, app.anon());
    let asked = options(&ann, SECOND).await;
    let answer = spoiled(device.get(&asked).unwrap());
    assert_eq!(told(&prove(&ann, &asked, &answer).await), invalid());
    let asked = options(&stranger, OPTIONS).await;
    let answer = spoiled(device.get(&asked).unwrap());
    assert_eq!(told(&enter(&stranger, &asked, &answer).await), refused());
    for junk in [json!({}), json!("x"), json!(null), json!({ "id": 1 }), json!([])] {
        let asked = options(&stranger, OPTIONS).await;
        let reply = enter(&stranger, &asked, &junk).await;
        assert!(matches!(reply.status.as_u16(), 401 | 422), "{junk}: {reply:?}");
    }
    assert_eq!(stored().await, before);
    // The right answer still counts: no lie has used the counter up.
    let ann = app.challenged("ann").await;
    let asked = options(&ann, SECOND).await;
    assert_eq!(prove(&ann, &asked, &device.get(&asked).unwrap()).await.status, 200);
    assert_ne!(stored().await, before);
}

/// SEC-53: the relying party comes from the configuration, whatever a request calls the server.
#[tokio::test]
async fn sec_53_no_header_names_the_relying_party() {
    let app = TestApp::start().await;
    let mut device = Authenticator::new(&app.base);
    with_key(&app, "ann", &mut device, PasskeyKind::Passkey).await;
    let client = app
        .anon()
        .with_header("x-forwarded-host", "evil.example")
        .with_header("forwarded", "host=evil.example");
    assert_eq!(options(&client, OPTIONS).await["publicKey"]["rpId"], "localhost");
    assert_eq!(app.sign_in(&client, "ann").await.status, 401);
    assert_eq!(options(&client, SECOND).await["publicKey"]["rpId"], "localhost");
}

/// SEC-36: wrong passkeys count with wrong codes.
#[tokio::test]
async fn sec_36_wrong_passkeys_and_wrong_codes_share_one_budget() {
    let app = Wishes::unlimited().start().await;
    let mut device = Authenticator::new(&app.base);
    let client = with_key(&app, "ann", &mut device, PasskeyKind::Passkey).await;
    let secret = app.totp(&app.principal(&client).await.user_id).await;
    for round in 0..2 {
        let ann = app.challenged("ann").await;
        for n in 0..5 {
            let reply = if n % 2 == 0 {
                let asked = options(&ann, SECOND).await;
                prove(&ann, &asked, &spoiled(device.get(&asked).unwrap())).await
            } else {
                app.answer(&ann, "000000").await
            };
            let last = (round, n) == (1, 4);
            assert_eq!(reply.status.as_u16(), if last { 429 } else { 401 }, "{round} {n}: {reply:?}");
        }
    }
    let ann = app.challenged("ann").await;
    let asked = options(&ann, SECOND).await;
    let answer = device.get(&asked).unwrap();
    let locked = prove(&ann, &asked, &answer).await;
    assert_eq!((locked.status.as_u16(), locked.header("retry-after")), (429, Some("900")));
    assert_eq!(app.answer(&ann, &app.code(&secret, 0)).await.status, 429);
    app.clock.advance(15 * MINUTE);
    let ann = app.challenged("ann").await;
    let asked = options(&ann, SECOND).await;
    assert_eq!(prove(&ann, &asked, &device.get(&asked).unwrap()).await.status, 200);
}

/// SEC-37, SEC-53, SEC-99: twenty at once with one answer make one session, alone or as a second factor.
#[tokio::test]
async fn sec_99_one_answer_of_a_passkey_makes_one_session() {
    let app = Wishes::unlimited().start().await;
    // One that does not count its uses cannot help to tell them apart.
    let mut device = Authenticator { counter: None, ..Authenticator::new(&app.base) };
    with_key(&app, "ann", &mut device, PasskeyKind::Passkey).await;
    for alone in [true, false] {
        let (client, path) = match alone {
            true => (app.anon(), "/login/passkey"),
            false => (app.challenged("ann").await, "/login/2fa"),
        };
        let asked = options(&client, if alone { OPTIONS } else { SECOND }).await;
        let body = json!({ "ceremony": asked["ceremony"], "credential": device.get(&asked).unwrap() });
        let before = sessions(&app).await;
        let tries: Vec<_> = (0..20)
            .map(|_| {
                let copy = app.anon();
                for cookie in ["anteroom-visitor", "anteroom-challenge"] {
                    copy.set_cookie(cookie, &client.cookie(cookie).unwrap_or_default());
                }
                let body = body.clone();
                tokio::spawn(async move { copy.post_json(path, None, &body).await })
            })
            .collect();
        let mut good = 0;
        for one in tries {
            let reply = one.await.unwrap();
            good += usize::from(reply.status == 200);
            assert!(matches!(reply.status.as_u16(), 200 | 401), "{reply:?}");
        }
        assert_eq!((good, sessions(&app).await - before), (1, 1), "alone: {alone}");
    }
}

/// SEC-3, SEC-54: a passkey meets what a role requires, long after the grace.
#[tokio::test]
async fn sec_3_an_admin_with_a_passkey_comes_in_past_the_grace() {
    let app = Wishes::unlimited().start().await;
    let mut device = Authenticator::new(&app.base);
    let root = app.admin().await;
    add(&app, &root, &mut device, PasskeyKind::Passkey).await;
    app.clock.advance(30 * DAY);
    let root = app.anon();
    let asked = options(&root, OPTIONS).await;
    assert_eq!(enter(&root, &asked, &device.get(&asked).unwrap()).await.status, 200);
    assert_eq!(root.get("/admin").await.status, 200);
}

/// What signs in is limited by its network: each beginning leaves a row.
#[tokio::test]
async fn beginnings_are_limited_by_address() {
    let app = TestApp::start().await;
    for _ in 0..60 {
        options(&app.anon(), OPTIONS).await;
    }
    let reply = app.anon().post_json(OPTIONS, None, &json!({})).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some("60")), "{reply:?}");
    app.clock.advance(MINUTE);
    options(&app.anon(), OPTIONS).await;
}

/// SEC-53: with one session as their holder a step-up and an addition stay apart, and a subdomain is another origin.
#[tokio::test]
async fn sec_53_a_ceremony_of_the_same_session_has_one_purpose() {
    let app = Wishes::unlimited().start().await;
    let mut device = Authenticator::new(&app.base);
    let ann = with_key(&app, "ann", &mut device, PasskeyKind::Passkey).await;
    let token = app.csrf(&ann).await;
    let send = async |path: &str, body: Value| ann.post_json(path, Some(&token), &body).await;

    let proof = send("/api/v1/step-up/passkey/options", json!({})).await.json();
    let new = send("/settings/passkeys/options", json!({ "kind": "passkey" })).await.json();
    let mut second = Authenticator { seed: 2, ..Authenticator::new(&app.base) };
    let body = json!({ "kind": "passkey", "ceremony": proof["ceremony"], "credential": second.create(&new) });
    let reply = send("/settings/passkeys", body).await;
    assert_eq!(told(&reply), (409, "/problems/conflict".to_owned()));
    let body = json!({ "ceremony": new["ceremony"], "credential": device.get(&proof).unwrap() });
    assert_eq!(told(&send("/api/v1/step-up/passkey", body).await), invalid());

    let port = app.base.rsplit_once(':').unwrap().1.to_owned();
    let (keys, origin) = (device.keys.clone(), format!("http://chat.localhost:{port}"));
    let mut elsewhere = Authenticator { keys, counter: Some(50), ..Authenticator::new(&origin) };
    let challenged = app.challenged("ann").await;
    let asked = options(&challenged, SECOND).await;
    assert_eq!(told(&prove(&challenged, &asked, &elsewhere.get(&asked).unwrap()).await), invalid());
    let asked = options(&challenged, SECOND).await;
    assert_eq!(prove(&challenged, &asked, &device.get(&asked).unwrap()).await.status, 200);
}

/// SEC-55: a key whose counter goes back may be a copy: refused alone and as a second factor.
#[tokio::test]
async fn sec_55_a_counter_that_goes_back_is_refused() {
    let app = Wishes::unlimited().start().await;
    let mut device = Authenticator::new(&app.base);
    with_key(&app, "ann", &mut device, PasskeyKind::Passkey).await;
    let mut copy =
        Authenticator { keys: device.keys.clone(), counter: Some(1), ..Authenticator::new(&app.base) };
    device.counter = Some(40);
    let ann = app.anon();
    let asked = options(&ann, OPTIONS).await;
    assert_eq!(enter(&ann, &asked, &device.get(&asked).unwrap()).await.status, 200);
    let (challenged, stranger) = (app.challenged("ann").await, app.anon());
    let asked = options(&challenged, SECOND).await;
    assert_eq!(told(&prove(&challenged, &asked, &copy.get(&asked).unwrap()).await), invalid());
    let asked = options(&stranger, OPTIONS).await;
    assert_eq!(told(&enter(&stranger, &asked, &copy.get(&asked).unwrap()).await), refused());
    assert_eq!((challenged.cookie("anteroom"), stranger.cookie("anteroom")), (None, None));
}

/// SEC-76: nor does a passkey lead to another site, or a sign-in form that comes in while somebody is signed in.
#[tokio::test]
async fn sec_76_a_passkey_leads_to_our_own_pages_only() {
    let app = Wishes::unlimited().start().await;
    let mut device = Authenticator::new(&app.base);
    with_key(&app, "ann", &mut device, PasskeyKind::Passkey).await;
    for next in ["//evil.example", "/\\evil.example", "https://evil.example/"] {
        let page = app.anon().with_header("origin", &app.base);
        let form = page.get("/login").await.csrf().unwrap();
        let asked = options(&page, OPTIONS).await;
        let text = device.get(&asked).unwrap().to_string();
        let fields = [
            ("csrf_token", &*form),
            ("ceremony", asked["ceremony"].as_str().unwrap()),
            ("credential", &text),
            ("next", next),
        ];
        let reply = page.post("/login/passkey", &fields).await;
        assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/chat")), "{next}");
        let fields = [("username_or_email", "ann"), ("password", "x"), ("next", next)];
        let late = page.post("/login", &fields).await;
        assert_eq!((late.status.as_u16(), late.location()), (303, Some("/chat")), "{next}");
    }
}
