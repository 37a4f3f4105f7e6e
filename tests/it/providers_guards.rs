//! Guards of sign-in by providers that hold where two others could be taken for enough: what is left of an account
//! that is taken over, what waits in a browser, whose identity counts, and providers that were switched off on the way.

use accounts::PasskeyKind;
use accounts::passkeys::PasskeyUser;
use base::{MINUTE, args, sql};
use parts::authenticator::Authenticator;
use parts::http::{Client, Reply, field};
use serde_json::json;

use crate::harness::{PASSWORD, TestApp};
use crate::page::text;
use crate::providers_admin::{PATH as PROVIDERS, fields};
use crate::providers_harness::{
    Corp, at_provider, begin, come_back, corp, corp_with, going_url, idp, is_in, travel,
};

const WAITS: &str = "/login/link";
const CONNECTIONS: &str = "/settings/connections";

async fn count(app: &TestApp, statement: base::Sql) -> i64 {
    app.app.db.one(statement, &[]).await.unwrap().unwrap()
}

async fn trusted() -> Corp {
    corp_with(|w| w.corp("TRUSTED_EMAIL", "true")).await
}

/// The provider vouches for whoever has this account's address.
fn vouch_for(house: &Corp, username: &str, sub: &str) {
    house.idp.person(json!({
        "sub": sub, "email": format!("{username}@example.org"), "email_verified": true, "preferred_username": sub,
    }));
}

/// A browser in which the identity `sub` waits for `username`.
async fn waiting(house: &Corp, username: &str, sub: &str) -> Client {
    vouch_for(house, username, sub);
    let client = house.app.anon();
    assert_eq!(house.sign_in(&client).await.location(), Some(WAITS));
    client
}

async fn identities(house: &Corp, user_id: &str) -> usize {
    house.app.app.accounts.list_identities(user_id).await.unwrap().len()
}

async fn link(house: &Corp, client: &Client) -> Reply {
    let gone = house.app.post(client, "/settings/connections/link", &[("provider", "corp")]).await;
    come_back(client, &at_provider(&going_url(&gone)).await).await
}

/// The path of the newest mailed link.
async fn mailed(house: &Corp, address: &str) -> String {
    let mail = house.app.mails_to("link_identity", address).await.pop().unwrap();
    mail.link("/login/link/").unwrap().strip_prefix(&house.app.base).unwrap().to_owned()
}

/// An identity at `issuer` in the database.
async fn insert(app: &TestApp, id: &str, user_id: &str, provider: &str, issuer: &str, subject: &str) {
    let insert = sql!(
        "INSERT INTO identities (id, user_id, issuer, subject, provider, shown_as, created_at)
         VALUES ($1, $2, $3, $4, $5, $1, 1)"
    );
    app.app.db.run(insert, args![id, user_id, issuer, subject, provider]).await.unwrap();
}

/// SEC-72: a claim leaves no row of anything that lets in, begins to, or counts against whoever comes next.
#[tokio::test]
async fn sec_72_a_claim_empties_every_table() {
    let house = trusted().await;
    let app = &house.app;
    let id = app.account("squat", "User").await;
    let db = &app.app.db;
    let of_user = sql!(
        "UPDATE users SET email_verified_at = NULL, failures = 3, locked_until = 1, factor_failures = 4,
           factor_locked_until = 9000000000000000, email_codes_since = 1, email_codes_used_at = 2, password_changed_at = 3
         WHERE id = $1"
    );
    for seed in [
        of_user,
        sql!(
            "INSERT INTO challenges (id, token_hash, user_id, method, ip, user_agent, created_at, expires_at)
             VALUES ('c', 'c', $1, 'password', '', '', 1, 9000000000000000)"
        ),
        sql!(
            "INSERT INTO identities (id, user_id, issuer, subject, provider, shown_as, created_at)
             VALUES ('i', $1, 'https://evil.example', 's', 'evil', 's', 1)"
        ),
        sql!(
            "INSERT INTO pending_links (token_hash, user_id, issuer, subject, provider, shown_as, created_at, expires_at)
             VALUES ('p', $1, 'https://evil.example', 't', 'evil', 't', 1, 9000000000000000)"
        ),
        sql!(
            "INSERT INTO oauth_states (state_hash, cookie_hash, provider, purpose, secrets, user_id, created_at, expires_at)
             VALUES ('o', 'o', 'corp', 'link', '', $1, 1, 9000000000000000)"
        ),
        sql!(
            "INSERT INTO totp_factors (id, user_id, secret, created_at, expires_at)
             VALUES ('t', $1, '', 1, 9000000000000000)"
        ),
        sql!("INSERT INTO backup_code_sets (id, user_id, salt, created_at) VALUES ('b', $1, '', 1)"),
        sql!(
            "INSERT INTO email_codes (holder, user_id, mac, created_at, expires_at)
             VALUES ('e', $1, '', 1, 9000000000000000)"
        ),
        sql!(
            "INSERT INTO passkeys (id, user_id, credential_id, credential, user_verified, name, created_at)
             VALUES ('k', $1, 'k', '{}', TRUE, 'k', 1)"
        ),
        sql!(
            "INSERT INTO known_devices (user_id, token_hash, user_agent, first_seen_at, last_seen_at)
             VALUES ($1, 'd', '', 1, 1)"
        ),
        sql!(
            "INSERT INTO one_time_tokens (token_hash, purpose, user_id, created_at, expires_at)
             VALUES ('n', 'reset_password', $1, 1, 9000000000000000)"
        ),
    ] {
        db.run(seed, args![&id]).await.unwrap();
    }
    vouch_for(&house, "squat", "owner");
    let owner = app.anon();
    let reply = house.sign_in(&owner).await;
    assert_eq!(reply.location(), Some("/chat"), "{reply:?}");
    assert_eq!(app.principal(&owner).await.user_id, id);
    for (table, left) in [
        ("challenges", sql!("SELECT COUNT(*) FROM challenges")),
        ("identities", sql!("SELECT COUNT(*) FROM identities WHERE provider = 'evil'")),
        ("pending_links", sql!("SELECT COUNT(*) FROM pending_links")),
        ("oauth_states", sql!("SELECT COUNT(*) FROM oauth_states")),
        ("totp_factors", sql!("SELECT COUNT(*) FROM totp_factors")),
        ("backup_code_sets", sql!("SELECT COUNT(*) FROM backup_code_sets")),
        ("email_codes", sql!("SELECT COUNT(*) FROM email_codes")),
        ("passkeys", sql!("SELECT COUNT(*) FROM passkeys")),
        ("known_devices", sql!("SELECT COUNT(*) FROM known_devices WHERE token_hash = 'd'")),
        ("one_time_tokens", sql!("SELECT COUNT(*) FROM one_time_tokens")),
        ("counters", sql!("SELECT COUNT(*) FROM users WHERE failures <> 0 OR locked_until IS NOT NULL")),
        (
            "counters of the second factor",
            sql!("SELECT COUNT(*) FROM users WHERE factor_failures <> 0 OR factor_locked_until IS NOT NULL"),
        ),
        (
            "codes by e-mail",
            sql!(
                "SELECT COUNT(*) FROM users WHERE email_codes_since IS NOT NULL OR email_codes_used_at IS NOT NULL"
            ),
        ),
        (
            "password",
            sql!("SELECT COUNT(*) FROM users WHERE password IS NOT NULL OR password_changed_at IS NOT NULL"),
        ),
    ] {
        assert_eq!(count(app, left).await, 0, "{table}");
    }
}

/// SEC-72: an account that an Admin shut is neither emptied nor made anew by whoever comes with its address.
#[tokio::test]
async fn sec_72_an_account_that_is_shut_stays_as_it_is() {
    let house =
        corp_with(|w| w.corp("TRUSTED_EMAIL", "true").set("ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED", "true"))
            .await;
    let app = &house.app;
    let id = app.account("ann", "User").await;
    for waits in [false, true] {
        let shut = sql!(
            "UPDATE users SET email_verified_at = NULL, deactivated_at = 1,
               expires_at = CASE WHEN $2 THEN 9000000000000000 END WHERE id = $1"
        );
        app.app.db.run(shut, args![&id, waits]).await.unwrap();
        for verified in [true, false] {
            house.idp.person(json!({ "sub": "a", "email": "ann@example.org", "email_verified": verified }));
            let client = app.anon();
            let reply = house.sign_in(&client).await;
            assert!(!is_in(&client) && (reply.status == 403 || reply.location() == Some(WAITS)), "{reply:?}");
        }
        let kept = sql!("SELECT COUNT(*) FROM users WHERE password IS NOT NULL AND deactivated_at = 1");
        let all = sql!("SELECT COUNT(*) FROM users");
        assert_eq!((count(app, kept).await, count(app, all).await), (1, 1), "{waits}");
        assert_eq!(identities(&house, &id).await, 0);
        assert!(app.mails_to("verify_email", "@").await.is_empty());
    }
}

/// SEC-71: a mailed link is for the identity that waited when it was asked for, and for the address that the account
/// has; what was linked waits no longer, nor does what came before.
#[tokio::test]
async fn sec_71_a_mailed_link_is_for_one_wait_and_one_address() {
    let house = corp().await;
    let ann = house.app.account("ann", "User").await;
    let second = waiting(&house, "ann", "two").await;
    let first = waiting(&house, "ann", "one").await;
    assert_eq!(first.submit(WAITS, "/login/link/mail", &[]).await.status, 303);
    let path = mailed(&house, "ann@example.org").await;
    assert_eq!(house.app.post(&second, &path, &[]).await.status, 404, "mailed for another identity");
    assert_eq!(identities(&house, &ann).await, 0);

    let moved = sql!("UPDATE users SET email = $2, email_canonical = $2 WHERE id = $1");
    house.app.app.db.run(moved, args![&ann, "ann@elsewhere.example"]).await.unwrap();
    house.app.post(&first, &path, &[]).await;
    assert_eq!(
        (is_in(&first), identities(&house, &ann).await),
        (false, 0),
        "it was mailed to another address"
    );
    house.app.app.db.run(moved, args![&ann, "ann@example.org"]).await.unwrap();
    let done = house.app.post(&first, &path, &[]).await;
    assert_eq!((done.status.as_u16(), done.location()), (303, Some("/chat")), "{done:?}");
    assert_eq!(identities(&house, &ann).await, 1);
    assert_eq!(
        count(&house.app, sql!("SELECT COUNT(*) FROM pending_links")).await,
        1,
        "the second browser's"
    );

    let newer = waiting(&house, "ann", "two").await;
    assert_eq!(second.get(WAITS).await.status, 404, "a newer wait of the same identity");
    assert_eq!(newer.get(WAITS).await.status, 200);
}

/// SEC-71: a challenge that was begun to link does not link once it is come back to by a usual sign-in.
#[tokio::test]
async fn sec_71_a_usual_sign_in_takes_the_link_from_a_challenge() {
    let house = corp().await;
    let (secret, _) = house.app.with_app("ann").await;
    house.advance(0);
    let client = waiting(&house, "ann", "one").await;
    let fields = [("link", "on"), ("username_or_email", "ann"), ("password", PASSWORD)];
    assert_eq!(client.submit(WAITS, "/login", &fields).await.location(), Some("/login/2fa"));
    let code = house.app.code(&secret, 0);
    let fields = [("username_or_email", "ann"), ("password", PASSWORD), ("token", &*code)];
    let reply = client.submit("/login", "/login", &fields).await;
    assert!(is_in(&client), "{reply:?}");
    let ann = house.app.principal(&client).await.user_id;
    assert_eq!(identities(&house, &ann).await, 0);
}

/// SEC-71: somebody else's identity may wait in a shared browser; a passkey of the usual page links nothing.
#[tokio::test]
async fn sec_71_a_usual_passkey_does_not_link_what_waits() {
    let house = corp().await;
    let app = &house.app;
    let ann = app.user("ann").await;
    let principal = app.principal(&ann).await;
    let mut device = Authenticator::new(&app.base);
    let user = PasskeyUser { id: &principal.user_id, username: &principal.username, display_name: "" };
    let accounts = &app.app.accounts;
    let options = accounts.begin_passkey(&principal.session.id, user, PasskeyKind::Passkey).await.unwrap();
    let made = device.create(&options);
    let here = accounts::Client::new([127, 0, 0, 1].into(), "test");
    let ceremony = options["ceremony"].as_str().unwrap();
    accounts.add_passkey(&principal, ceremony, "", &made, &here).await.unwrap();

    for (links, linked) in [(false, 0), (true, 1)] {
        let client = waiting(&house, "ann", "one").await;
        let asked = client.post_json("/login/passkey/options", None, &json!({})).await.json();
        let mut body = json!({ "ceremony": asked["ceremony"], "credential": device.get(&asked).unwrap() });
        if links {
            body["link"] = json!(true);
        }
        let reply = client.post_json("/login/passkey", None, &body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(identities(&house, &principal.user_id).await, linked);
    }
}

/// SEC-57, SEC-70: an identity that is somebody else's, or another provider's by the same subject, is no proof.
#[tokio::test]
async fn sec_57_only_ones_own_identity_at_that_provider_is_a_proof() {
    let house = corp().await;
    let ada = house.person().await;
    let user_id = house.app.principal(&ada).await.user_id;
    let bob = house.app.account("bob", "User").await;
    insert(&house.app, "bobs", &bob, "corp", house.idp.issuer(), "bob-1").await;
    insert(&house.app, "elsewhere", &user_id, "other", "https://other.example", "eve-1").await;
    house.advance(10 * MINUTE);
    for sub in ["bob-1", "eve-1"] {
        let asked =
            house.app.post(&ada, "/settings/email", &[("action", "change"), ("email", "x@y.example")]).await;
        let carry = field(&asked.body, "step_up_carry").unwrap_or_else(|| panic!("{asked:?}"));
        house.idp.person(json!({ "sub": sub, "email": "ada@example.com", "email_verified": true }));
        let out = [("step_up_carry", &*carry), ("step_up_provider", "corp")];
        let url = going_url(&house.app.post(&ada, "/settings/email", &out).await);
        let reply = come_back(&ada, &at_provider(&url).await).await;
        assert!(reply.body.contains("another account at the provider"), "{sub}: {reply:?}");
    }
}

/// SEC-56: neither an identity of a provider that is gone nor a key that only wants a touch is a way in.
#[tokio::test]
async fn sec_56_what_is_no_way_in_does_not_free_the_last_one() {
    let house = corp().await;
    let ada = house.person().await;
    let user_id = house.app.principal(&ada).await.user_id;
    let last = house.app.app.accounts.list_identities(&user_id).await.unwrap().remove(0).id;
    insert(&house.app, "gone", &user_id, "oldcorp", "https://old.example", "a").await;
    let key = sql!(
        "INSERT INTO passkeys (id, user_id, credential_id, credential, user_verified, name, created_at)
         VALUES ('k', $1, 'k', '{}', FALSE, 'k', 1)"
    );
    house.app.app.db.run(key, args![&user_id]).await.unwrap();
    house.app.post(&ada, &format!("{CONNECTIONS}/{last}/unlink"), &[]).await;
    let page = text(&ada.get(CONNECTIONS).await.body);
    assert!(page.contains("This is the only way you can sign in"), "{page}");
    assert_eq!(identities(&house, &user_id).await, 2);
}

/// An account has twenty identities at most; linking ends the sign-ins that are half through (SEC-61).
#[tokio::test]
async fn sec_61_linking_has_an_end_and_ends_open_challenges() {
    let house = corp().await;
    let app = &house.app;
    let ann = app.user("ann").await;
    let id = app.principal(&ann).await.user_id;
    let secret = app.totp(&id).await;
    let half = app.challenged("ann").await;
    for n in 0..19 {
        insert(app, &format!("n{n}"), &id, "other", "https://other.example", &format!("s{n}")).await;
    }
    link(&house, &ann).await;
    assert_eq!(identities(&house, &id).await, 20);
    let reply = app.answer(&half, &app.code(&secret, 0)).await;
    assert_eq!((reply.status.as_u16(), is_in(&half)), (401, false), "{reply:?}");
    assert_eq!(reply.json()["type"], "/problems/unauthenticated");
    house.idp.person(json!({ "sub": "one-more", "email": "one@example.com" }));
    link(&house, &ann).await;
    assert!(text(&ann.get(CONNECTIONS).await.body).contains("20 linked accounts are the most"));
    assert_eq!(identities(&house, &id).await, 20);
}

/// SEC-100: people who come by a provider count against the limit of sign-ups.
#[tokio::test]
async fn sec_100_new_accounts_by_a_provider_are_limited() {
    let house = corp_with(|w| w.set("ANTEROOM_LIMITS__SIGN_UP_IP", "2")).await;
    for (n, gets_in) in [(1, true), (2, true), (3, false)] {
        house.idp.person(
            json!({ "sub": format!("p{n}"), "email": format!("p{n}@example.com"), "email_verified": true }),
        );
        let client = house.app.anon();
        let reply = house.sign_in(&client).await;
        assert_eq!((is_in(&client), reply.status == 429), (gets_in, !gets_in), "{n}: {reply:?}");
    }
}

/// Nobody signs in by a provider that was switched off while they were there; of two with one name the
/// configuration's alone counts; and who lost a permission on the way learns nothing from a test (SEC-92).
#[tokio::test]
async fn sec_92_what_changed_on_the_way_counts_on_the_way_back() {
    let house = corp().await;
    let app = &house.app;
    let root = app.admin().await;
    let works = idp().await;
    app.post(&root, PROVIDERS, &fields("works", works.issuer())).await;
    let client = app.anon();
    let callback = at_provider(&begin(&client, "/login/works").await).await;
    app.post(&root, &format!("{PROVIDERS}/works/disable"), &[]).await;
    let reply = come_back(&client, &callback).await;
    assert_eq!((reply.status.as_u16(), is_in(&client)), (404, false), "{reply:?}");
    app.post(&root, &format!("{PROVIDERS}/works/enable"), &[]).await;
    assert!(is_in(&client) || travel(&client, "/login/works").await.status == 303);

    let elsewhere = "{\"preset\":\"oidc\",\"client_id\":\"x\",\"issuer\":\"https://evil.example\"}";
    app.app.accounts.add_provider("corp", elsewhere, "secret").await.unwrap();
    app.app.providers.reload(&app.app).await.unwrap();
    let live = app.app.providers.live();
    let named: Vec<_> = live.iter().filter(|provider| provider.name() == "corp").collect();
    assert!(named.len() == 1 && named.iter().all(|provider| provider.configured), "{named:?}");

    app.account("second", "Admin").await;
    let url = going_url(&app.post(&root, &format!("{PROVIDERS}/corp/test"), &[]).await);
    let callback = at_provider(&url).await;
    let id = app.principal(&root).await.user_id;
    let lost = sql!("DELETE FROM user_roles WHERE user_id = $1");
    app.app.db.run(lost, args![&id]).await.unwrap();
    let reply = come_back(&root, &callback).await;
    assert!(reply.status != 200 && !reply.body.contains("ada@example.com"), "{reply:?}");
}

/// SEC-57: a password that was set while somebody was at the provider is what counts on the way back.
#[tokio::test]
async fn sec_57_a_password_set_on_the_way_is_asked_for() {
    let house = corp().await;
    let ada = house.person().await;
    house.advance(10 * MINUTE);
    let asked =
        house.app.post(&ada, "/settings/email", &[("action", "change"), ("email", "x@y.example")]).await;
    let carry = field(&asked.body, "step_up_carry").unwrap();
    let out = [("step_up_carry", &*carry), ("step_up_provider", "corp")];
    let url = going_url(&house.app.post(&ada, "/settings/email", &out).await);
    let callback = at_provider(&url).await;
    let set = sql!("UPDATE users SET password = 'set meanwhile'");
    house.app.app.db.run(set, &[]).await.unwrap();
    let reply = come_back(&ada, &callback).await;
    assert!(reply.body.contains("has a password or a second factor"), "{reply:?}");
}

/// SEC-69, SEC-70: a token that names nobody, or more than a name, or says in no number when it begins to hold.
#[tokio::test]
async fn sec_69_claims_of_the_wrong_shape_let_nobody_in() {
    let house = corp().await;
    for claims in [json!({ "sub": "" }), json!({ "sub": "x".repeat(256) }), json!({ "nbf": "tomorrow" })] {
        let mut person = json!({ "sub": "ada-1", "email": "ada@example.com", "email_verified": true });
        for (name, value) in claims.as_object().unwrap() {
            person[name] = value.clone();
        }
        house.idp.person(person);
        let client = house.app.anon();
        let reply = house.sign_in(&client).await;
        assert_eq!((reply.status.as_u16(), is_in(&client)), (502, false), "{reply:?}");
    }
    assert_eq!(count(&house.app, sql!("SELECT COUNT(*) FROM users")).await, 0);
}

/// SEC-97: a sealed secret opens in its own row only; and there is an end to how many providers there are.
#[tokio::test]
async fn sec_97_a_client_secret_is_sealed_to_its_provider() {
    let house = corp().await;
    let app = &house.app;
    let root = app.admin().await;
    for name in ["one", "two"] {
        app.post(&root, PROVIDERS, &fields(name, house.idp.issuer())).await;
    }
    let swap = sql!(
        "UPDATE providers SET secret = (SELECT secret FROM providers WHERE name = 'two') WHERE name = 'one'"
    );
    app.app.db.run(swap, &[]).await.unwrap();
    app.app.providers.reload(&app.app).await.unwrap();
    assert!(app.app.providers.get("one").is_none() && app.app.providers.get("two").is_some());

    for n in 2..accounts::identities::MAX_PROVIDERS {
        app.app.accounts.add_provider(&format!("p{n}"), "{}", "secret").await.unwrap();
    }
    let reply = app.post(&root, PROVIDERS, &fields("last", house.idp.issuer())).await;
    assert!(reply.status == 422 && text(&reply.body).contains("50 providers are the most"), "{reply:?}");
    assert_eq!(app.app.accounts.stored_providers().await.unwrap().len(), 50);
}
