//! SEC-71 to SEC-74: whose account an arrival is, what its second factor is worth, and who decides about roles.

use base::{DAY, HOUR, args, sql};
use parts::http::{Client, Reply};
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp, Wishes};
use crate::page::text;
use crate::providers_harness::{Corp, corp, corp_with, idp, is_in, travel};

async fn identities(app: &TestApp) -> i64 {
    app.app.db.one(sql!("SELECT COUNT(*) FROM identities"), &[]).await.unwrap().unwrap()
}

async fn trusted() -> Corp {
    corp_with(|w| w.corp("TRUSTED_EMAIL", "true")).await
}

/// Somebody at the provider with this address.
fn with_email(house: &Corp, email: &str, verified: &Value) {
    let mut person = json!({ "sub": "sub-1", "email": email, "preferred_username": "somebody" });
    if !verified.is_null() {
        person["email_verified"] = verified.clone();
    }
    house.idp.person(person);
}

/// The account has to be proved first: nobody is in, nothing is linked, nobody was mailed.
async fn to_prove(house: &Corp, client: &Client, reply: &Reply) {
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/login/link")), "{reply:?}");
    let set = reply.headers.get_all("set-cookie").iter().map(|v| v.to_str().unwrap().to_owned());
    let cookie = set.into_iter().find(|v| v.starts_with("anteroom-link=")).unwrap();
    for part in ["; Path=/", "; HttpOnly", "; SameSite=Lax"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(client.cookie("anteroom-link").unwrap().len(), 43, "256 bit");
    assert!(!is_in(client) && client.cookie("anteroom-challenge").is_none());
    assert_eq!(identities(&house.app).await, 0);
    assert!(house.app.mails().await.iter().all(|(kind, _)| !kind.starts_with("identity")));
}

/// SEC-71: an address links only where the provider is trusted for it and says so by the boolean `true`.
#[tokio::test]
async fn sec_71_who_only_has_the_address_proves_the_account() {
    for trust in ["false", "true"] {
        let house = corp_with(|w| w.corp("TRUSTED_EMAIL", trust)).await;
        house.app.account("ann", "User").await;
        for said in [json!(true), json!(false), json!("true"), json!(1), Value::Null] {
            if trust == "true" && said == json!(true) {
                continue;
            }
            for email in ["ann@example.org", "ANN@EXAMPLE.ORG"] {
                with_email(&house, email, &said);
                let client = house.app.anon();
                let reply = house.sign_in(&client).await;
                to_prove(&house, &client, &reply).await;
            }
        }
        // Nor does an address that only looks alike lead to her account.
        for (sub, email) in [("l", "ann@exampIe.org"), ("m", "ann@example.org.evil.example")] {
            house.idp.person(json!({ "sub": sub, "email": email, "email_verified": true }));
            assert_ne!(house.who(&house.person().await).await, "ann");
        }
    }
}

/// SEC-71, SEC-96: trusted and vouched for, it is linked without a question, and its owner is told by mail.
#[tokio::test]
async fn sec_71_a_trusted_confirmed_address_links_silently() {
    let house = trusted().await;
    house.app.account("ann", "User").await;
    with_email(&house, "Ann@Example.org", &json!(true));
    let ann = house.app.anon();
    let reply = house.sign_in(&ann).await;
    assert_eq!(reply.location(), Some("/chat"), "{reply:?}");
    assert_eq!(house.who(&ann).await, "ann");
    let shown = text(&ann.get("/chat").await.body);
    assert!(shown.contains("Corp ID (somebody) is linked"), "{shown}");
    let mails = house.app.mails_to("identity_linked", "ann@example.org").await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0].text().contains("Corp ID"), "{}", mails[0].text());
    assert_eq!(identities(&house.app).await, 1);
    // From now on it is the subject that counts, and it is said once.
    with_email(&house, "else@example.org", &json!(false));
    assert_eq!(house.who(&house.person().await).await, "ann");
    assert_eq!(house.app.mails_to("identity_linked", "ann@example.org").await.len(), 1);
    // The password still works.
    assert_eq!(house.app.sign_in(&house.app.anon(), "ann").await.status, 200);
}

/// SEC-71, SEC-73: with a second factor the link waits for it; without it nothing is linked.
#[tokio::test]
async fn sec_71_the_second_factor_comes_before_a_silent_link() {
    let house = trusted().await;
    let (secret, _) = house.app.with_app("ann").await;
    house.advance(0);
    with_email(&house, "ann@example.org", &json!(true));
    let ann = house.app.anon();
    let reply = house.sign_in(&ann).await;
    assert_eq!(reply.location(), Some("/login/2fa"), "{reply:?}");
    assert!(!is_in(&ann));
    assert_eq!(house.app.answer(&ann, "000000").await.status, 401);
    assert_eq!(identities(&house.app).await, 0);
    assert!(house.app.mails_to("identity_linked", "ann@").await.is_empty());
    let reply = house.app.answer(&ann, &house.app.code(&secret, 0)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!((identities(&house.app).await, house.who(&ann).await), (1, "ann".to_owned()));
    assert_eq!(house.app.mails_to("identity_linked", "ann@example.org").await.len(), 1);
    // A link that nobody finished within its time is none.
    let (secret, _) = house.app.with_app("ben").await;
    house.advance(0);
    house.idp.person(json!({ "sub": "b", "email": "ben@example.org", "email_verified": true }));
    let ben = house.app.anon();
    house.sign_in(&ben).await;
    house.advance(HOUR);
    assert_ne!(house.app.answer(&ben, &house.app.code(&secret, 0)).await.status, 200);
    assert_eq!(identities(&house.app).await, 1);
}

/// Somebody who signs up here with an address that is not theirs.
async fn squatter(app: &TestApp, email: &str) -> Client {
    let client = app.anon();
    let new = json!({ "first_name": "S", "last_name": "Q", "username": "squat", "email": email, "password": PASSWORD });
    let reply = client.post_json("/signup", None, &new).await;
    assert!(reply.status.is_success(), "{reply:?}");
    if !is_in(&client) {
        app.sign_in(&client, "squat").await;
    }
    assert_eq!(app.principal(&client).await.username, "squat");
    client
}

/// SEC-72: the owner of an address takes over the account that somebody made with it, and nothing of that somebody
/// lets them in any more: password, session, second factor, half-done changes.
#[tokio::test]
async fn sec_72_nothing_of_a_squatter_stays() {
    let house = trusted().await;
    let app = &house.app;
    let squatter = squatter(app, "victim@example.com").await;
    let principal = app.principal(&squatter).await;
    let chat = squatter.get("/chat").await;
    assert_eq!(chat.status, 200);
    // A change of address that waits for its link would give the account back.
    let ask = [("action", "change"), ("email", "squatter@evil.example")];
    assert_eq!(app.post(&squatter, "/settings/email", &ask).await.status, 303);
    let mail = app.mails_to("confirm_new_email", "squatter@evil.example").await.pop().unwrap();
    let takeover = mail.link("/confirm-email/").unwrap().strip_prefix(&app.base).unwrap().to_owned();
    let secret = app.totp(&principal.user_id).await;
    let challenged = app.challenged("squat").await;

    with_email(&house, "victim@example.com", &json!(true));
    let victim = app.anon();
    let reply = house.sign_in(&victim).await;
    assert_eq!(reply.location(), Some("/chat"), "no factor of the squatter's is asked for: {reply:?}");
    assert_eq!(app.principal(&victim).await.user_id, principal.user_id);
    assert!(app.principal(&victim).await.verified);
    assert_eq!(app.mails_to("identity_linked", "victim@example.com").await.len(), 1);

    assert_eq!(squatter.get_json("/api/v1/me").await.status, 401);
    assert_eq!(squatter.get("/chat").await.location(), Some("/login?next=%2Fchat"));
    let reply = app.sign_in(&app.anon(), "squat").await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["type"].as_str()),
        (401, Some("/problems/invalid-credentials"))
    );
    // Not merely without a factor to answer by: a challenge might have one set up in it.
    let reply = app.answer(&challenged, &app.code(&secret, 0)).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["type"].as_str()),
        (401, Some("/problems/unauthenticated"))
    );
    let anon = app.anon();
    let token = app.csrf(&anon).await;
    assert_eq!(anon.post(&takeover, &[("csrf_token", &token)]).await.status, 404);
    let victims = victim.get_json("/api/v1/me").await.json();
    assert_eq!((&victims["email"], &victims["email_verified"]), (&json!("victim@example.com"), &json!(true)));
    // The owner still comes in, and still without a question.
    assert_eq!(house.sign_in(&app.anon()).await.location(), Some("/chat"));
}

/// SEC-72: an account that somebody made through a provider which does not check addresses is emptied too.
#[tokio::test]
async fn sec_72_a_squatters_identity_goes_as_well() {
    let careless = idp().await;
    let house =
        corp_with(|w| w.corp("TRUSTED_EMAIL", "true").openid("careless", "Careless", &careless)).await;
    careless.person(json!({ "sub": "evil", "email": "victim@example.com", "email_verified": false }));
    let squatter = house.app.anon();
    travel(&squatter, "/login/careless").await;
    let squatted = house.app.principal(&squatter).await.user_id;
    with_email(&house, "victim@example.com", &json!(true));
    let victim = house.person().await;
    assert_eq!(house.app.principal(&victim).await.user_id, squatted);
    assert_eq!(squatter.get_json("/api/v1/me").await.status, 401);
    let again = house.app.anon();
    let reply = travel(&again, "/login/careless").await;
    assert_eq!(reply.location(), Some("/login/link"), "the squatter is a stranger now: {reply:?}");
    assert!(!is_in(&again));
    assert_eq!(identities(&house.app).await, 1);
}

/// SEC-72: without trust, or without the provider's word, an unconfirmed account is neither claimed nor entered.
#[tokio::test]
async fn sec_72_an_unconfirmed_account_is_not_claimed_without_trust() {
    for (trust, said) in
        [("false", json!(true)), ("true", json!("true")), ("true", json!(false)), ("true", Value::Null)]
    {
        let house = corp_with(|w| w.corp("TRUSTED_EMAIL", trust)).await;
        let squatter = squatter(&house.app, "victim@example.com").await;
        with_email(&house, "victim@example.com", &said);
        let client = house.app.anon();
        let reply = house.sign_in(&client).await;
        to_prove(&house, &client, &reply).await;
        assert_eq!(squatter.get_json("/api/v1/me").await.status, 200, "{trust} {said}");
    }
}

/// SEC-72: a sign-up that waits for its mail gives way to whoever shows that the address is theirs.
#[tokio::test]
async fn sec_72_a_sign_up_that_nobody_confirmed_gives_way() {
    let house = corp_with(|w| w.set("ANTEROOM_SIGN_UP__VERIFICATION_REQUIRED", "true")).await;
    let new = json!({
        "first_name": "S", "last_name": "Q", "username": "squat", "email": "victim@example.com", "password": PASSWORD,
    });
    let app = &house.app;
    assert_eq!(app.anon().post_json("/signup", None, &new).await.status, 201);
    let mail = app.mails_to("verify_email", "victim@example.com").await.pop().unwrap();
    let link = mail.link("/verify-email/").unwrap().strip_prefix(&app.base).unwrap().to_owned();
    with_email(&house, "victim@example.com", &json!(true));
    let victim = house.person().await;
    assert_eq!(house.who(&victim).await, "somebody");
    let anon = app.anon();
    let token = app.csrf(&anon).await;
    assert_eq!(anon.post(&link, &[("csrf_token", &token)]).await.status, 404, "the earlier sign-up is gone");
    assert_eq!(app.sign_in(&app.anon(), "squat").await.status, 401);
}

/// A set-up, and arrivals there with these claims: whether the second factor is asked for.
type Case<'a> = (&'a str, &'a dyn Fn(Wishes) -> Wishes, Vec<(Value, bool)>);

/// SEC-73: after the provider the account's own second factor, unless the provider stands for it.
#[tokio::test]
async fn sec_73_the_own_second_factor_is_asked_for_unless_the_provider_stands() {
    let strong = |w: Wishes| {
        w.corp("SECOND_FACTOR", "stands")
            .corp("SECOND_FACTOR_ACR", "gold,urn:two")
            .corp("SECOND_FACTOR_AMR", "hwk,mfa")
    };
    let always = |w: Wishes| w.corp("SECOND_FACTOR", "stands");
    let plain = |w: Wishes| w;
    let claims = |more: Value| {
        let mut person = json!({ "sub": "ada-1", "email": "ada@example.com", "email_verified": true, "preferred_username": "ada" });
        person.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        person
    };
    let cases: [Case<'_>; 3] = [
        ("ask", &plain, vec![(json!({}), true), (json!({ "acr": "gold", "amr": ["hwk"] }), true)]),
        ("stands", &always, vec![(json!({}), false), (json!({ "amr": ["pwd"] }), false)]),
        (
            "stands if",
            &strong,
            vec![
                (json!({}), true),
                (json!({ "acr": "silver", "amr": ["pwd"] }), true),
                (json!({ "acr": "gold" }), false),
                (json!({ "acr": "urn:two" }), false),
                (json!({ "acr": "GOLD" }), true),
                (json!({ "acr": ["gold"] }), true),
                (json!({ "acr": "hwk", "amr": ["gold"] }), true),
                (json!({ "amr": ["pwd", "mfa"] }), false),
                (json!({ "amr": "hwk" }), false),
                (json!({ "amr": [] }), true),
                (json!({ "amr": [["hwk"]] }), true),
                (json!({ "amr": { "hwk": true } }), true),
            ],
        ),
    ];
    for (name, wish, arrivals) in cases {
        let house = corp_with(wish).await;
        house.idp.person(claims(json!({})));
        let ada = house.person().await;
        let secret = house.app.totp(&house.app.principal(&ada).await.user_id).await;
        for (more, asked) in arrivals {
            house.idp.person(claims(more.clone()));
            let client = house.app.anon();
            let reply = house.sign_in(&client).await;
            let want = if asked { "/login/2fa" } else { "/chat" };
            assert_eq!(reply.location(), Some(want), "{name} {more}: {reply:?}");
            assert_eq!(is_in(&client), !asked, "{name} {more}");
            if asked {
                assert_eq!(client.get("/chat").await.location(), Some("/login?next=%2Fchat"));
                house.advance(60 * base::SECOND);
                assert_eq!(
                    house.app.answer(&client, &house.app.code(&secret, 0)).await.status,
                    200,
                    "{name}"
                );
                assert_eq!(house.who(&client).await, "ada");
            }
        }
    }
}

/// SEC-73: what stands for the second factor stands there and nowhere else: not after the password, and UserInfo, which
/// is not signed, has no say.
#[tokio::test]
async fn sec_73_it_stands_only_for_sign_ins_there_and_by_the_signed_token() {
    let house = corp_with(|w| {
        w.corp("SECOND_FACTOR", "stands").corp("SECOND_FACTOR_ACR", "gold").corp("TRUSTED_EMAIL", "true")
    })
    .await;
    house.app.with_app("ann").await;
    house.advance(0);
    house
        .idp
        .person(json!({ "sub": "a", "email": "ann@example.org", "email_verified": true, "acr": "gold" }));
    assert_eq!(house.who(&house.person().await).await, "ann");
    house.app.challenged("ann").await;
}

/// A house where the claim `groups` decides about Admins, and somebody with these claims.
async fn ruled(roles: &str) -> Corp {
    corp_with(|w| w.corp("ROLE_CLAIM", "groups").corp("ROLES", roles)).await
}

async fn arrives(house: &Corp, groups: Option<Value>) -> (Client, Vec<String>) {
    let mut person = json!({ "sub": "g", "email": "grace@example.com", "email_verified": true, "preferred_username": "grace" });
    if let Some(groups) = groups {
        person["groups"] = groups;
    }
    house.idp.person(person);
    let client = house.person().await;
    let roles = house.app.principal(&client).await.roles;
    (client, roles.into_iter().map(|(_, name)| name).collect())
}

/// SEC-74: roles come and go with the claim; where it is not there or makes no sense, nothing changes.
#[tokio::test]
async fn sec_74_roles_follow_the_claim_where_it_is_there() {
    let house = ruled("boss=Admin,ghosts=Ghost").await;
    house.app.account("root", "Admin").await;
    for (groups, admin) in [
        (None, false),
        (Some(json!(["staff"])), false),
        (Some(json!(["staff", "boss", "ghosts"])), true),
        // Nothing is said, or nothing that can be read: as before.
        (None, true),
        (Some(Value::Null), true),
        (Some(json!(5)), true),
        (Some(json!(true)), true),
        (Some(json!("boss")), true),
        (Some(json!(["Boss", "BOSS", " boss", 7])), false),
        (None, false),
        (Some(json!("boss")), true),
        (Some(json!([])), false),
        (Some(json!({ "boss": {} })), true),
        (Some(json!({ "staff": "boss" })), false),
        (Some(json!(["ghosts"])), false),
        (Some(json!(["Admin"])), false),
    ] {
        let (_, roles) = arrives(&house, groups.clone()).await;
        assert_eq!(roles.contains(&"Admin".to_owned()), admin, "{groups:?} made {roles:?}");
        assert!(roles.contains(&"User".to_owned()), "what is not mapped stays: {groups:?} {roles:?}");
    }
}

/// SEC-74, SEC-80: what is taken away is gone with the next request of every session.
#[tokio::test]
async fn sec_74_a_role_that_is_taken_bites_at_once() {
    let house = ruled("boss=Admin").await;
    house.app.account("root", "Admin").await;
    let (first, _) = arrives(&house, Some(json!(["boss"]))).await;
    assert_eq!(first.get("/admin").await.status, 200);
    let (second, _) = arrives(&house, Some(json!([]))).await;
    assert_eq!(first.get("/admin").await.location(), Some("/chat"));
    assert_eq!(second.get_json("/admin").await.status, 403);
    let (_, _) = arrives(&house, Some(json!(["boss"]))).await;
    assert_eq!(second.get("/admin").await.status, 200);
}

/// SEC-74, SEC-93: the last active Admin stays one, whatever the provider says.
#[tokio::test]
async fn sec_74_the_last_admin_stays_one() {
    let house = ruled("boss=Admin").await;
    let (client, roles) = arrives(&house, Some(json!(["boss"]))).await;
    assert!(roles.contains(&"Admin".to_owned()));
    let (_, roles) = arrives(&house, Some(json!([]))).await;
    assert!(roles.contains(&"Admin".to_owned()), "{roles:?}");
    assert_eq!(client.get("/admin").await.status, 200);
    // An Admin who is shut out does not count; one who is not does.
    let root = house.app.account("root", "Admin").await;
    let shut = |at: Option<i64>| {
        let (app, root) = (&house.app, root.clone());
        async move {
            let set = sql!("UPDATE users SET deactivated_at = $2 WHERE id = $1");
            app.app.db.run(set, args![&root, at]).await.unwrap();
        }
    };
    shut(Some(1)).await;
    assert!(arrives(&house, Some(json!([]))).await.1.contains(&"Admin".to_owned()));
    shut(None).await;
    assert!(!arrives(&house, Some(json!([]))).await.1.contains(&"Admin".to_owned()));
}

/// SEC-74: an Admin's role that a provider gives asks for the second factor as any other, with its days of grace.
#[tokio::test]
async fn sec_74_a_role_that_is_given_brings_its_second_factor() {
    let house = ruled("boss=Admin").await;
    house.app.account("root", "Admin").await;
    arrives(&house, Some(json!(["boss"]))).await;
    house.advance(8 * DAY);
    let grace = house.app.anon();
    assert_eq!(house.sign_in(&grace).await.location(), Some("/login/2fa/enrol"));
    assert!(!is_in(&grace));
}

/// SEC-74: of a linked identity the claim counts at once, so what is taken is gone also where the second factor is
/// still to come.
#[tokio::test]
async fn sec_74_what_is_taken_is_gone_before_the_second_factor() {
    let house = ruled("boss=Admin").await;
    house.app.account("root", "Admin").await;
    let (client, _) = arrives(&house, Some(json!(["boss"]))).await;
    house.app.totp(&house.app.principal(&client).await.user_id).await;
    house.idp.person(json!({ "sub": "g", "email": "grace@example.com", "groups": [] }));
    assert_eq!(house.sign_in(&house.app.anon()).await.location(), Some("/login/2fa"));
    assert_eq!(client.get_json("/admin").await.status, 403);
}

/// SEC-74, SEC-71: an identity that is to be linked has no say before it is: who only has the address gives and takes
/// nothing.
#[tokio::test]
async fn sec_74_an_identity_has_no_say_before_it_is_linked() {
    let house = corp_with(|w| {
        w.corp("ROLE_CLAIM", "groups").corp("ROLES", "boss=Admin").corp("TRUSTED_EMAIL", "true")
    })
    .await;
    let root = house.app.admin().await;
    let arrive = |groups: Value, verified: bool| {
        let email = "ann@example.org";
        json!({ "sub": "a", "email": email, "email_verified": verified, "groups": groups })
    };
    let (secret, _) = house.app.with_app("ann").await;
    house.advance(0);
    let ann = house.app.challenged("ann").await;
    assert_eq!(house.app.answer(&ann, &house.app.code(&secret, 0)).await.status, 200);
    for (verified, next) in [(true, "/login/2fa"), (false, "/login/link")] {
        house.idp.person(arrive(json!(["boss"]), verified));
        assert_eq!(house.sign_in(&house.app.anon()).await.location(), Some(next));
        assert_eq!(ann.get_json("/admin").await.status, 403, "{next}");
    }
    let id = house.app.principal(&ann).await.user_id;
    let token = house.app.csrf(&root).await;
    let body = json!({ "user_id": id, "role_id": "Admin" });
    assert_eq!(root.post_json("/assign_role_to_user", Some(&token), &body).await.status, 200);
    house.idp.person(arrive(json!([]), true));
    assert_eq!(house.sign_in(&house.app.anon()).await.location(), Some("/login/2fa"));
    assert_eq!(ann.get_json("/admin").await.status, 200);
    // Without a factor the link is done at once, and the claim counts with it.
    house.app.account("ben", "User").await;
    let ben = json!({ "sub": "b", "email": "ben@example.org", "email_verified": true, "groups": ["boss"] });
    house.idp.person(ben);
    assert_eq!(house.person().await.get("/admin").await.status, 200);
}

/// SEC-71: without a word in the configuration no provider is trusted for addresses.
#[tokio::test]
async fn sec_71_a_provider_is_not_trusted_unless_configured() {
    let house = corp().await;
    house.app.account("ann", "User").await;
    with_email(&house, "ann@example.org", &json!(true));
    let client = house.app.anon();
    let reply = house.sign_in(&client).await;
    to_prove(&house, &client, &reply).await;
}
