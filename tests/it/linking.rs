//! SEC-71: an identity with the address of an account waits until somebody proves that the account is theirs.

use accounts::Identity;
use base::MINUTE;
use parts::http::{Client, Reply, field};
use serde_json::json;

use crate::harness::PASSWORD;
use crate::page::text;
use crate::providers_harness::{Corp, corp, is_in};

const PAGE: &str = "/login/link";
const MAIL: &str = "/login/link/mail";
const MAILED: &str = "link_identity";

/// The provider vouches for whoever has this account's address.
fn vouch_for(house: &Corp, username: &str) {
    house.idp.person(json!({
        "sub": format!("{username}-there"), "email": format!("{username}@example.org"), "email_verified": true,
        "preferred_username": format!("{username}.there"),
    }));
}

/// A browser in which the provider's `username` waits.
async fn waiting(house: &Corp, username: &str) -> Client {
    vouch_for(house, username);
    let client = house.app.anon();
    let reply = house.sign_in(&client).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some(PAGE)), "{reply:?}");
    assert!(client.cookie("anteroom-link").is_some() && !is_in(&client));
    client
}

async fn identities(house: &Corp, user_id: &str) -> Vec<Identity> {
    house.app.app.accounts.list_identities(user_id).await.unwrap()
}

/// Signs in on the page that links.
async fn prove(client: &Client, who: &str, password: &str) -> Reply {
    let fields = [("link", "on"), ("username_or_email", who), ("password", password)];
    client.submit(PAGE, "/login", &fields).await
}

/// The path of the newest mailed link.
async fn mailed(house: &Corp, address: &str) -> String {
    let mail = house.app.mails_to(MAILED, address).await.pop().unwrap();
    mail.link("/login/link/").unwrap().strip_prefix(&house.app.base).unwrap().to_owned()
}

/// SEC-71, SEC-73, SEC-96: the password alone links nothing where a second factor is set up; a wrong one brings the
/// page again with what was typed.
#[tokio::test]
async fn sec_71_password_and_second_factor_come_before_the_link() {
    let house = corp().await;
    let (secret, _) = house.app.with_app("ann").await;
    house.advance(0);
    let ann = waiting(&house, "ann").await;
    let id = user_id(&house, "ann").await;

    let page = text(&ann.get(PAGE).await.body);
    assert!(page.contains("a…@example.org") && page.contains("Corp ID ( ann.there )"), "{page}");
    assert!(!page.contains("ann@example.org"), "{page}");

    let wrong = prove(&ann, "ann", "not the password").await;
    assert_eq!(wrong.status, 401, "{wrong:?}");
    assert!(
        wrong.body.contains("Is this account yours?") && wrong.body.contains("value=\"ann\""),
        "{wrong:?}"
    );
    assert_eq!(field(&wrong.body, "link").as_deref(), Some("on"));

    let right = prove(&ann, "ann", PASSWORD).await;
    assert_eq!((right.status.as_u16(), right.location()), (303, Some("/login/2fa")), "{right:?}");
    assert!(identities(&house, &id).await.is_empty(), "the second factor comes first");

    let code = house.app.code(&secret, 0);
    let passed = ann.submit("/login/2fa", "/login/2fa", &[("method", "totp"), ("code", &code)]).await;
    assert_eq!((passed.status.as_u16(), passed.location()), (303, Some("/chat")), "{passed:?}");
    assert!(is_in(&ann) && ann.cookie("anteroom-link").is_none());
    let page = text(&ann.get("/chat").await.body);
    assert!(page.contains("Corp ID (ann.there) is linked"), "{page}");
    let linked = identities(&house, &id).await;
    assert_eq!(
        linked.iter().map(|i| (&*i.provider, &*i.shown_as)).collect::<Vec<_>>(),
        [("corp", "ann.there")]
    );
    assert_eq!(house.app.mails_to("identity_linked", "ann@example.org").await.len(), 1);

    // From then on the provider is the first factor; the second is asked all the same.
    let other = house.app.anon();
    assert_eq!(house.sign_in(&other).await.location(), Some("/login/2fa"));
    assert!(!is_in(&other));
}

async fn user_id(house: &Corp, username: &str) -> String {
    let id: Option<String> = house
        .app
        .app
        .db
        .one(base::sql!("SELECT id FROM users WHERE username = $1"), base::args![username])
        .await
        .unwrap();
    id.unwrap()
}

/// SEC-71: a passkey's or password's sign-in to another account links nothing, and says so.
#[tokio::test]
async fn sec_71_a_sign_in_to_another_account_links_nothing() {
    let house = corp().await;
    let ann = house.app.account("ann", "User").await;
    let bob = house.app.account("bob", "User").await;
    let client = waiting(&house, "ann").await;
    let reply = prove(&client, "bob", PASSWORD).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/chat")), "{reply:?}");
    let page = text(&client.get("/chat").await.body);
    assert!(page.contains("Nothing was linked, for that was another account"), "{page}");
    assert!(identities(&house, &ann).await.is_empty() && identities(&house, &bob).await.is_empty());
    assert!(house.app.mails_to("identity_linked", "@").await.is_empty());
}

/// SEC-71: somebody else's identity may wait in a shared browser; a usual sign-in links nothing.
#[tokio::test]
async fn sec_71_a_usual_sign_in_does_not_link_what_waits_in_the_browser() {
    let house = corp().await;
    let ann = house.app.account("ann", "User").await;
    let client = waiting(&house, "ann").await;
    let fields = [("username_or_email", "ann"), ("password", PASSWORD)];
    let reply = client.submit("/login", "/login", &fields).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/chat")), "{reply:?}");
    assert!(is_in(&client) && client.cookie("anteroom-link").is_some());
    assert!(identities(&house, &ann).await.is_empty());
    // Who is signed in is shown the settings instead of forms that they could not use.
    let page = client.get(PAGE).await;
    assert!(text(&page.body).contains("You are signed in as ann"), "{page:?}");
    assert!(!page.body.contains("name=\"link\""), "{page:?}");
    // By JSON neither.
    let program = waiting(&house, "ann").await;
    assert_eq!(house.app.sign_in(&program, "ann").await.status, 200);
    assert!(identities(&house, &ann).await.is_empty());
}

/// SEC-64, SEC-71: a mailed link works in the browser that waits, once, and looking changes nothing.
#[tokio::test]
async fn sec_71_a_mailed_link_works_in_the_browser_that_waits_and_once() {
    let house = corp().await;
    let ann = house.app.account("ann", "User").await;
    let client = waiting(&house, "ann").await;
    let sent = client.submit(PAGE, MAIL, &[]).await;
    assert_eq!((sent.status.as_u16(), sent.location()), (303, Some(PAGE)), "{sent:?}");
    let told = text(&client.get(PAGE).await.body);
    assert!(told.contains("If a…@example.org is confirmed here, a link is on its way"), "{told}");
    let link = mailed(&house, "ann@example.org").await;

    // A stranger's browser, and one in which something else waits.
    let stranger = house.app.anon();
    let carol = house.app.account("carol", "User").await;
    let other = waiting(&house, "carol").await;
    for client in [&stranger, &other] {
        let page = client.get(&link).await;
        assert_eq!(page.status, 404, "{page:?}");
        assert!(page.body.contains("Open it where you began"), "{page:?}");
        let token = client.get("/login").await.csrf().unwrap();
        let tried = client.post(&link, &[("csrf_token", &token)]).await;
        assert_eq!(tried.status, 404, "{tried:?}");
        assert!(!is_in(client));
    }
    assert!(identities(&house, &carol).await.is_empty());

    for _ in 0..2 {
        let page = client.get(&link).await;
        assert_eq!(
            (page.status.as_u16(), page.header("referrer-policy")),
            (200, Some("no-referrer")),
            "{page:?}"
        );
        assert!(text(&page.body).contains("Corp ID ( ann.there )"), "{page:?}");
    }
    assert!(identities(&house, &ann).await.is_empty());
    let done = client.submit(&link, &link, &[]).await;
    assert_eq!((done.status.as_u16(), done.location()), (303, Some("/chat")), "{done:?}");
    assert_eq!(identities(&house, &ann).await.len(), 1);
    assert_eq!(house.who(&client).await, "ann");
    let again = house.app.post(&client, &link, &[]).await;
    assert_eq!(again.status, 404, "{again:?}");
    assert_eq!(identities(&house, &ann).await.len(), 1);
}

/// SEC-65, SEC-71: the mailed link is the first factor and no more.
#[tokio::test]
async fn sec_65_a_mailed_link_does_not_pass_the_second_factor() {
    let house = corp().await;
    let (secret, _) = house.app.with_app("ann").await;
    house.advance(0);
    let id = user_id(&house, "ann").await;
    let client = waiting(&house, "ann").await;
    client.submit(PAGE, MAIL, &[]).await;
    let link = mailed(&house, "ann@example.org").await;
    let done = client.submit(&link, &link, &[]).await;
    assert_eq!(done.location(), Some("/login/2fa"), "{done:?}");
    assert!(!is_in(&client) && identities(&house, &id).await.is_empty());
    let passed = house.app.answer(&client, &house.app.code(&secret, 0)).await;
    assert_eq!(passed.status, 200, "{passed:?}");
    assert_eq!(identities(&house, &id).await.len(), 1);
}

/// SEC-71: to an address that nobody confirmed no link goes, and nothing tells the difference.
#[tokio::test]
async fn sec_71_no_link_goes_to_an_unconfirmed_address() {
    let house = corp().await;
    let ann = house.app.account("ann", "User").await;
    let bare = base::sql!("UPDATE users SET email_verified_at = NULL WHERE id = $1");
    house.app.app.db.run(bare, base::args![&ann]).await.unwrap();
    let client = waiting(&house, "ann").await;
    let token = house.app.csrf(&client).await;
    let sent = client.post_json(MAIL, Some(&token), &json!({})).await;
    assert_eq!(sent.status, 202, "{sent:?}");
    assert!(sent.json()["message"].as_str().unwrap().starts_with("If a…@example.org is confirmed here"));
    assert!(house.app.mails_to(MAILED, "@").await.is_empty());
}

/// SEC-99: of twenty that confirm one mailed link at once, one is through.
#[tokio::test]
async fn sec_99_a_mailed_link_confirmed_twenty_times_at_once_links_once() {
    let house = corp().await;
    let ann = house.app.account("ann", "User").await;
    let client = waiting(&house, "ann").await;
    client.submit(PAGE, MAIL, &[]).await;
    let link = mailed(&house, "ann@example.org").await;
    let token = client.get(&link).await.csrf().unwrap();
    let tries = (0..20).map(|_| {
        let twin = house.app.anon();
        for name in ["anteroom-visitor", "anteroom-link"] {
            twin.set_cookie(name, &client.cookie(name).unwrap());
        }
        let (link, token) = (link.clone(), token.clone());
        tokio::spawn(async move { twin.post(&link, &[("csrf_token", &token)]).await.status.as_u16() })
    });
    let mut through = 0;
    for tried in tries.collect::<Vec<_>>() {
        match tried.await.unwrap() {
            303 => through += 1,
            status => assert_eq!(status, 404),
        }
    }
    assert_eq!(through, 1);
    assert_eq!(identities(&house, &ann).await.len(), 1);
    assert_eq!(house.app.app.accounts.list_sessions(&ann).await.unwrap().len(), 1);
    assert_eq!(house.app.mails_to("identity_linked", "ann@example.org").await.len(), 1);
}

/// SEC-68, SEC-71: what waits ends by Cancel and after ten minutes; then nothing can be linked by it.
#[tokio::test]
async fn sec_71_what_waits_can_be_cancelled_and_ends() {
    let house = corp().await;
    let ann = house.app.account("ann", "User").await;
    let client = waiting(&house, "ann").await;
    let value = client.cookie("anteroom-link").unwrap();
    let reply = client.submit(PAGE, "/login/link/cancel", &[]).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/login")), "{reply:?}");
    assert!(client.cookie("anteroom-link").is_none());
    client.set_cookie("anteroom-link", &value);
    let page = client.get(PAGE).await;
    assert_eq!(page.status, 404, "{page:?}");

    let late = waiting(&house, "ann").await;
    let token = late.get(PAGE).await.csrf().unwrap();
    house.advance(10 * MINUTE);
    assert_eq!(late.get(PAGE).await.status, 404);
    let fields =
        [("csrf_token", &*token), ("link", "on"), ("username_or_email", "ann"), ("password", PASSWORD)];
    let reply = late.post("/login", &fields).await;
    assert_eq!(reply.location(), Some("/chat"), "{reply:?}");
    let page = text(&late.get("/chat").await.body);
    assert!(page.contains("Nothing was linked, for it took too long"), "{page}");
    assert!(identities(&house, &ann).await.is_empty());
}

/// SEC-100: a few mails an hour, and words about the wait.
#[tokio::test]
async fn sec_100_mails_that_link_are_limited() {
    let house = corp().await;
    house.app.account("ann", "User").await;
    let client = waiting(&house, "ann").await;
    for n in 0..3 {
        assert_eq!(client.submit(PAGE, MAIL, &[]).await.status, 303, "{n}");
        house.advance(base::SECOND);
    }
    let reply = client.submit(PAGE, MAIL, &[]).await;
    assert_eq!(reply.status, 429, "{reply:?}");
    assert!(reply.header("retry-after").is_some());
    let page = text(&reply.body);
    assert!(page.contains("Several mails went to this address already") && page.contains("wait"), "{page}");
    assert_eq!(house.app.mails_to(MAILED, "ann@example.org").await.len(), 3);
    // The newest of them counts.
    let link = mailed(&house, "ann@example.org").await;
    assert_eq!(client.get(&link).await.status, 200);
}

/// Where somebody wanted to go waits with the identity, and nothing but a path of ours does (SEC-76).
#[tokio::test]
async fn sec_76_the_way_on_is_kept_while_an_identity_waits() {
    let house = corp().await;
    house.app.account("ann", "User").await;
    vouch_for(&house, "ann");
    for (next, lands) in [("/settings", "/settings"), ("//evil.example", "/chat")] {
        let client = house.app.anon();
        let path = format!("/login/corp?next={}", parts::http::escape(next));
        let reply = crate::providers_harness::travel(&client, &path).await;
        if is_in(&client) {
            // Linked by the turn before.
            assert_eq!(reply.location(), Some(lands));
            continue;
        }
        let page = client.get(PAGE).await;
        assert_eq!(field(&page.body, "next").as_deref(), Some(next), "{page:?}");
        client.submit(PAGE, MAIL, &[]).await;
        let link = mailed(&house, "ann@example.org").await;
        assert_eq!(client.submit(&link, &link, &[]).await.location(), Some(lands));
    }
}
