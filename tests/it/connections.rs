//! `/settings/connections`: linking and unlinking by whoever is signed in (SEC-58, SEC-61, SEC-70, SEC-96), and
//! signing out at the provider too.

use base::{HOUR, MINUTE};
use parts::http::{Client, Reply, field};
use parts::oidc::{CLIENT_ID, Fault, Part};
use serde_json::json;

use crate::harness::PASSWORD;
use crate::page::text;
use crate::providers_harness::{Corp, at_provider, come_back, corp, corp_with, going_url, is_in, param};

const PATH: &str = "/settings/connections";
const LINK: &str = "/settings/connections/link";

/// Links the stub's person with whoever is signed in there.
async fn link(house: &Corp, client: &Client) -> Reply {
    let gone = house.app.post(client, LINK, &[("provider", "corp")]).await;
    come_back(client, &at_provider(&going_url(&gone)).await).await
}

async fn ids(house: &Corp, client: &Client) -> Vec<String> {
    let user_id = house.app.principal(client).await.user_id;
    let all = house.app.app.accounts.list_identities(&user_id).await.unwrap();
    all.into_iter().map(|identity| identity.id).collect()
}

async fn unlink(house: &Corp, client: &Client, id: &str) -> Reply {
    house.app.post(client, &format!("{PATH}/{id}/unlink"), &[]).await
}

/// What the flash on the page says after an action.
async fn told(client: &Client) -> String {
    text(&client.get(PATH).await.body)
}

async fn signed_in(client: &Client) -> bool {
    client.get("/settings").await.status == 200
}

/// SEC-61, SEC-70, SEC-96: both ways end the other sessions and are mailed.
#[tokio::test]
async fn sec_61_linking_and_unlinking_end_other_sessions_and_are_mailed() {
    let house = corp().await;
    let ann = house.app.user("ann").await;
    let page = text(&ann.get(PATH).await.body);
    assert!(page.contains("Link Corp ID") && page.contains("Not linked yet"), "{page}");

    let phone = house.app.anon();
    house.app.sign_in(&phone, "ann").await;
    let back = link(&house, &ann).await;
    assert_eq!((back.status.as_u16(), back.location()), (303, Some(PATH)), "{back:?}");
    let page = told(&ann).await;
    assert!(page.contains("Corp ID (ada) is linked") && page.contains("account of Corp ID"), "{page}");
    assert!(!signed_in(&phone).await && signed_in(&ann).await);
    assert_eq!(house.app.mails_to("identity_linked", "ann@example.org").await.len(), 1);
    assert!(text(&ann.get("/settings/2fa").await.body).contains("1 linked"));

    // It signs in, and the list of sessions says so.
    let phone = house.person().await;
    assert_eq!(house.who(&phone).await, "ann");
    let sessions = text(&phone.get("/settings/sessions").await.body);
    assert!(sessions.contains("Corp ID") && !sessions.contains("provider:"), "{sessions}");

    // Twice is once.
    link(&house, &ann).await;
    assert!(told(&ann).await.contains("Corp ID (ada) was linked already"));
    assert!(signed_in(&phone).await);

    let id = ids(&house, &ann).await.remove(0);
    let gone = unlink(&house, &ann, &id).await;
    assert_eq!((gone.status.as_u16(), gone.location()), (303, Some(PATH)), "{gone:?}");
    assert!(told(&ann).await.contains("Corp ID (ada) does not sign you in any more"));
    assert!(!signed_in(&phone).await && signed_in(&ann).await);
    assert_eq!(house.app.mails_to("identity_unlinked", "ann@example.org").await.len(), 1);
    assert!(ids(&house, &ann).await.is_empty());
}

/// SEC-58: both need a proof that is not older than ten minutes.
#[tokio::test]
async fn sec_58_linking_and_unlinking_need_a_step_up() {
    let house = corp().await;
    let ann = house.app.user("ann").await;
    link(&house, &ann).await;
    let id = ids(&house, &ann).await.remove(0);
    house.advance(10 * MINUTE);
    for (path, fields) in
        [(LINK.to_owned(), vec![("provider", "corp")]), (format!("{PATH}/{id}/unlink"), vec![])]
    {
        let asked = house.app.post(&ann, &path, &fields).await;
        assert_eq!(asked.status, 403, "{asked:?}");
        assert!(asked.body.contains("Confirm that it is you"), "{asked:?}");
        let token = house.app.csrf(&ann).await;
        let reply = ann.post_json(&path, Some(&token), &json!({})).await;
        assert_eq!(reply.json()["type"], "/problems/step-up-required");
    }
    assert_eq!(ids(&house, &ann).await.len(), 1);
    // What was asked goes on after the proof.
    let asked = house.app.post(&ann, LINK, &[("provider", "corp")]).await;
    let carry = field(&asked.body, "step_up_carry").unwrap();
    let fields = [("step_up_carry", &*carry), ("step_up_password", PASSWORD)];
    assert!(going_url(&house.app.post(&ann, LINK, &fields).await).as_str().starts_with(house.idp.issuer()));
}

/// The last way in is never removed, also where two go at once (SEC-99).
#[tokio::test]
async fn sec_99_the_last_way_in_is_never_removed() {
    let house = corp().await;
    let ada = house.person().await;
    let first = ids(&house, &ada).await.remove(0);
    let refused = unlink(&house, &ada, &first).await;
    assert_eq!(refused.status, 303, "{refused:?}");
    assert!(told(&ada).await.contains("This is the only way you can sign in"));
    assert_eq!(ids(&house, &ada).await.len(), 1);

    house.idp.person(json!({ "sub": "ada-2", "preferred_username": "ada.too" }));
    link(&house, &ada).await;
    let both = ids(&house, &ada).await;
    assert_eq!(both.len(), 2);
    let token = house.app.csrf(&ada).await;
    let tries: Vec<_> = (0..20)
        .map(|n| {
            let (ada, token, path) = (ada.clone(), token.clone(), format!("{PATH}/{}/unlink", both[n % 2]));
            tokio::spawn(async move { ada.post(&path, &[("csrf_token", &token)]).await.status })
        })
        .collect();
    for tried in tries {
        assert_eq!(tried.await.unwrap(), 303);
    }
    assert_eq!(ids(&house, &ada).await.len(), 1);
    // A password is another way.
    let reply = house.app.post(&ada, "/settings/password", &[("password", "granite-lantern-oboe-9")]).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    let last = ids(&house, &ada).await.remove(0);
    unlink(&house, &ada, &last).await;
    assert!(ids(&house, &ada).await.is_empty());
}

/// SEC-70: an identity is one person's; nobody takes it, and nobody unlinks another's.
#[tokio::test]
async fn sec_70_an_identity_is_one_persons() {
    let house = corp().await;
    let ada = house.person().await;
    let id = ids(&house, &ada).await.remove(0);
    let bob = house.app.user("bob").await;
    assert_eq!(link(&house, &bob).await.status, 303);
    assert!(told(&bob).await.contains("signs in to another account here"));
    assert!(ids(&house, &bob).await.is_empty());
    let token = house.app.csrf(&bob).await;
    let reply = bob.post_json(&format!("{PATH}/{id}/unlink"), Some(&token), &json!({})).await;
    assert_eq!(reply.status, 404, "{reply:?}");
    assert_eq!(ids(&house, &ada).await, [id]);
}

/// SEC-68: a trip that links is of the session that set out, and of no other.
#[tokio::test]
async fn sec_68_a_link_comes_back_to_the_session_that_set_out() {
    let house = corp().await;
    let ann = house.app.user("ann").await;
    let gone = house.app.post(&ann, LINK, &[("provider", "corp")]).await;
    let callback = at_provider(&going_url(&gone)).await;
    // Somebody else signs in with the same browser meanwhile.
    let bob = house.app.user("bob").await;
    bob.set_cookie("anteroom-trip", &ann.cookie("anteroom-trip").unwrap());
    let reply = come_back(&bob, &callback).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(ids(&house, &bob).await.is_empty() && ids(&house, &ann).await.is_empty());
    // Nor does it sign in who came back signed out.
    let gone = house.app.post(&ann, LINK, &[("provider", "corp")]).await;
    let callback = at_provider(&going_url(&gone)).await;
    let trip = ann.cookie("anteroom-trip").unwrap();
    let anon = house.app.anon();
    anon.set_cookie("anteroom-trip", &trip);
    assert_eq!(come_back(&anon, &callback).await.status, 400);
    assert!(!is_in(&anon) && ids(&house, &ann).await.is_empty());
}

/// One whose provider is gone says so and can always go.
#[tokio::test]
async fn what_was_linked_with_a_provider_that_is_gone_says_so() {
    let house = corp().await;
    let ann = house.app.user("ann").await;
    link(&house, &ann).await;
    let gone = base::sql!("UPDATE identities SET provider = 'oldcorp'");
    house.app.app.db.run(gone, &[]).await.unwrap();
    let page = told(&ann).await;
    assert!(page.contains("oldcorp is no longer set up here"), "{page}");
    let id = ids(&house, &ann).await.remove(0);
    unlink(&house, &ann, &id).await;
    assert!(ids(&house, &ann).await.is_empty());
    assert_eq!(house.app.post(&ann, LINK, &[("provider", "oldcorp")]).await.status, 303);
    assert!(told(&ann).await.contains("not set up here"));
}

/// Signing out goes on to the provider where the operator wants that, and the session is over first.
#[tokio::test]
async fn signing_out_goes_on_to_the_provider() {
    let house = corp_with(|wishes| wishes.corp("LOGOUT", "true")).await;
    let ada = house.person().await;
    let session = ada.cookie("anteroom").unwrap();
    let reply = house.app.post(&ada, "/logout", &[]).await;
    let url = going_url(&reply);
    assert!(url.as_str().starts_with(&format!("{}/end-session?", house.idp.issuer())), "{url}");
    assert_eq!(param(url.as_str(), "client_id").as_deref(), Some(CLIENT_ID));
    let back = format!("{}/login", house.app.base);
    assert_eq!(param(url.as_str(), "post_logout_redirect_uri"), Some(back));
    assert!(text(&reply.body).contains("You are signed out here. On to Corp ID"), "{reply:?}");
    assert!(!reply.body.contains("Ada"), "the page is for nobody: {reply:?}");
    assert!(!is_in(&ada));
    assert!(text(&ada.get("/login").await.body).contains("You are signed out."), "back from there");
    ada.set_cookie("anteroom", &session);
    assert!(!signed_in(&ada).await);

    // A program is done here.
    let ada = house.person().await;
    let token = house.app.csrf(&ada).await;
    assert_eq!(ada.post_json("/logout", Some(&token), &json!({})).await.status, 204);
    // Who came by a password stays away from it.
    let ann = house.app.user("ann").await;
    assert_eq!(house.app.post(&ann, "/logout", &[]).await.location(), Some("/login?signed_out"));
    // A provider that is down keeps nobody in.
    let ada = house.person().await;
    house.advance(2 * HOUR);
    house.idp.fault(Fault::Error(Part::Discovery));
    assert_eq!(house.app.post(&ada, "/logout", &[]).await.location(), Some("/login?signed_out"));
    assert!(!is_in(&ada));
}

/// Without that wish signing out is signing out here.
#[tokio::test]
async fn signing_out_stays_here_where_nobody_wants_more() {
    let house = corp().await;
    let ada = house.person().await;
    assert_eq!(house.app.post(&ada, "/logout", &[]).await.location(), Some("/login?signed_out"));
    assert_eq!(house.idp.signed_out(), None);
}
