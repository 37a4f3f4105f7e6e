//! What somebody leaves behind who had an account in hands that were not theirs, old links under a new provider's
//! name, and limits of what is kept before anybody has shown who they are.

use base::{MINUTE, args, sql};
use parts::http::{Client, Reply, field};
use serde_json::json;

use crate::harness::{PASSWORD, TestApp, Wishes};
use crate::page::text;
use crate::providers_admin::{PATH, fields};
use crate::providers_harness::{Corp, at_provider, begin, come_back, corp, corp_with, going_url, idp, is_in};

/// The path of a link in the first mail of a kind.
async fn link(house: &Corp, kind: &str, to: &str, part: &str) -> String {
    nth_link(house, kind, to, part, 0).await
}

/// The same in a later mail; it may take a moment.
async fn nth_link(house: &Corp, kind: &str, to: &str, part: &str, nth: usize) -> String {
    let found = tokio::time::timeout(parts::PATIENCE, async {
        loop {
            if let Some(mail) = house.app.mails_to(kind, to).await.get(nth) {
                return mail.link(part).unwrap().strip_prefix(&house.app.base).unwrap().to_owned();
            }
            tokio::task::yield_now().await;
        }
    });
    found.await.unwrap()
}

async fn linked(house: &Corp, user_id: &str) -> usize {
    house.app.app.accounts.list_identities(user_id).await.unwrap().len()
}

async fn link_corp(house: &Corp, client: &Client) -> Reply {
    let gone = house.app.post(client, "/settings/connections/link", &[("provider", "corp")]).await;
    come_back(client, &at_provider(&going_url(&gone)).await).await
}

/// Another identity in the database.
async fn insert(house: &Corp, id: &str, user_id: &str, issuer: &str) {
    let statement = sql!(
        "INSERT INTO identities (id, user_id, issuer, subject, provider, shown_as, created_at)
         VALUES ($1, $2, $3, $1, 'corp', 'somebody', $4)"
    );
    house.app.app.db.run(statement, args![id, user_id, issuer, house.app.clock.now()]).await.unwrap();
}

/// SEC-59: what was linked since the address was changed goes with the change, as passkeys do.
#[tokio::test]
async fn sec_59_taking_a_change_of_address_back_unlinks_what_was_linked_since() {
    let house = corp().await;
    let thief = house.app.user("ann").await;
    let ann = house.app.principal(&thief).await.user_id;
    house.app.app.db.run(sql!("UPDATE users SET email_verified_at = 1"), &[]).await.unwrap();
    insert(&house, "older", &ann, "https://elsewhere.example").await;
    house.advance(MINUTE);
    let asked = house.app.post(&thief, "/settings/email", &[("email", "thief@example.net")]).await;
    assert_eq!(asked.status, 303, "{asked:?}");
    let confirm = link(&house, "confirm_new_email", "thief@example.net", "/confirm-email/").await;
    assert_eq!(house.app.anon().submit(&confirm, &confirm, &[]).await.status, 303);
    house.advance(MINUTE);
    assert_eq!(link_corp(&house, &thief).await.status, 303);
    assert_eq!(linked(&house, &ann).await, 2);
    let revert = link(&house, "email_changed", "ann@example.org", "/revert-email/").await;
    assert_eq!(house.app.anon().submit(&revert, &revert, &[]).await.status, 303);
    let left = house.app.app.accounts.list_identities(&ann).await.unwrap();
    assert_eq!(left.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["older"]);
    let again = house.app.anon();
    house.sign_in(&again).await;
    assert!(!is_in(&again) || house.who(&again).await != "ann");
}

/// SEC-72: who had linked themselves with an account of somebody else's address is out once its owner has set a
/// password by mail.
#[tokio::test]
async fn sec_72_the_first_proof_of_an_address_unlinks_what_was_linked_before() {
    let house = corp().await;
    house.idp.person(json!({ "sub": "squatter", "email": "ann@example.org", "email_verified": false }));
    let squatter = house.person().await;
    let ann = house.app.principal(&squatter).await.user_id;
    assert_eq!(linked(&house, &ann).await, 1);
    let asked = house.app.anon().post_json("/forgot", None, &json!({ "email": "ann@example.org" })).await;
    assert_eq!(asked.status, 202);
    let reset = link(&house, "reset_link", "ann@example.org", "/reset/").await;
    let done = house.app.anon().post_json(&reset, None, &json!({ "password": PASSWORD })).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(linked(&house, &ann).await, 0);
    assert_eq!(house.app.mails_to("identity_unlinked", "ann@example.org").await.len(), 1);
    let again = house.app.anon();
    assert_eq!(house.sign_in(&again).await.location(), Some("/login/link"));
    assert!(!is_in(&again));

    // Of an address that was shown to be theirs before, links stay.
    house.advance(MINUTE);
    insert(&house, "own", &ann, house.idp.issuer()).await;
    let asked = house.app.anon().post_json("/forgot", None, &json!({ "email": "ann@example.org" })).await;
    assert_eq!(asked.status, 202);
    let reset = nth_link(&house, "reset_link", "ann@example.org", "/reset/", 1).await;
    let password = json!({ "password": "granite-lantern-oboe-9" });
    assert_eq!(house.app.anon().post_json(&reset, None, &password).await.status, 200);
    assert_eq!(linked(&house, &ann).await, 1);
}

/// SEC-98: a client secret goes only to the address that it was entered for.
#[tokio::test]
async fn sec_98_another_address_needs_its_secret_again() {
    let (app, one, other) = (TestApp::start().await, idp().await, idp().await);
    let root = app.admin().await;
    let added = app.post(&root, PATH, &fields("works", one.issuer())).await;
    assert_eq!(added.status, 303, "{added:?}");
    let save = |issuer: &str| -> Vec<(String, String)> {
        let all =
            fields("works", "").into_iter().filter(|(name, _)| !["name", "client_secret"].contains(name));
        all.map(|(name, value)| match name {
            "issuer" => (name.to_owned(), issuer.to_owned()),
            _ => (name.to_owned(), value.to_owned()),
        })
        .collect()
    };
    let post = async |fields: Vec<(String, String)>| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        app.post(&root, &format!("{PATH}/works"), &fields).await
    };
    let moved = post(save(other.issuer())).await;
    assert_eq!(moved.status, 422, "{moved:?}");
    assert!(text(&moved.body).contains("Enter it again"), "{moved:?}");
    assert_eq!(field(&moved.body, "issuer").as_deref(), Some(other.issuer()), "what was typed stays");
    let place = begin(&app.anon(), "/login/works").await;
    assert!(place.as_str().starts_with(one.issuer()), "{place}");
    // A slash at its end is no other address.
    assert_eq!(post(save(&format!("{}/", one.issuer()))).await.status, 303);
    let mut with_secret = save(other.issuer());
    with_secret.push(("client_secret".to_owned(), "another-secret".to_owned()));
    assert_eq!(post(with_secret).await.status, 303);
    let place = begin(&app.anon(), "/login/works").await;
    assert!(place.as_str().starts_with(other.issuer()), "{place}");
}

async fn kept_prompts(house: &Corp) -> i64 {
    let all = sql!("SELECT COUNT(*) FROM oauth_states WHERE carry IS NOT NULL");
    house.app.app.db.one(all, &[]).await.unwrap().unwrap()
}

/// SEC-68: before anybody has shown who they are, nothing is kept but prompts that were sealed here, and few of them;
/// one too many still waits in the form.
#[tokio::test]
async fn sec_68_few_prompts_are_kept_for_strangers() {
    let house = corp_with(|wishes: Wishes| wishes.models().set("ANTEROOM_LIMITS__TRIP_PROMPT_IP", "1")).await;
    let stranger = house.app.anon().with_header("origin", &house.app.base);
    let forged = stranger.submit("/login", "/login/corp", &[("carry", &"x".repeat(50_000))]).await;
    going_url(&forged);
    assert_eq!(kept_prompts(&house).await, 0);

    let page = stranger.post("/chat", &[("prompt", "dear model"), ("model", "markdown")]).await;
    assert_eq!(page.status, 401, "{page:?}");
    let carry = field(&page.body, "carry").unwrap();
    going_url(&stranger.submit("/login", "/login/corp", &[("carry", &carry)]).await);
    assert_eq!(kept_prompts(&house).await, 1);
    let full = stranger.submit("/login", "/login/corp", &[("carry", &carry)]).await;
    assert_eq!(full.status, 429, "{full:?}");
    assert!(full.header("retry-after").is_some());
    assert_eq!(field(&full.body, "carry").as_deref(), Some(carry.as_str()), "what was typed stays");
    assert_eq!(kept_prompts(&house).await, 1);
    // Without a prompt there is no hurry.
    going_url(&stranger.submit("/login", "/login/corp", &[]).await);
}

/// A program is told where to go on, as everywhere.
#[tokio::test]
async fn a_program_is_told_where_to_go_on() {
    let house = corp().await;
    let reply = house.app.anon().post_json("/login/corp", None, &json!({ "next": "/settings" })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.json()["url"].as_str().unwrap().starts_with(house.idp.issuer()), "{reply:?}");
}

/// SEC-56, SEC-70: a link that another provider of the same name left is no way in, so it does not make the last one
/// removable; it says so, and may always go.
#[tokio::test]
async fn sec_70_a_link_of_another_issuer_is_no_way_in() {
    let house = corp().await;
    let ada = house.person().await;
    let id = house.app.principal(&ada).await.user_id;
    insert(&house, "old", &id, "https://before.example").await;
    let page = text(&ada.get("/settings/connections").await.body);
    assert!(page.contains("https://before.example") && page.contains("another provider now"), "{page}");
    let all = house.app.app.accounts.list_identities(&id).await.unwrap();
    let own = all.iter().find(|one| one.id != "old").unwrap().id.clone();
    let unlink = async |one: &str| {
        house.app.post(&ada, &format!("/settings/connections/{one}/unlink"), &[]).await;
        text(&ada.get("/settings/connections").await.body)
    };
    let kept = unlink(&own).await;
    assert!(kept.contains("This is the only way you can sign in"), "{kept}");
    assert_eq!(linked(&house, &id).await, 2);
    unlink("old").await;
    assert_eq!(linked(&house, &id).await, 1);
}

/// The most that one account may have counts on every way.
#[tokio::test]
async fn proving_an_account_links_no_more_than_it_may_have() {
    let house = corp().await;
    let ann = house.app.account("ann", "User").await;
    for n in 0..20 {
        insert(&house, &format!("i{n}"), &ann, "https://elsewhere.example").await;
    }
    house.idp.person(json!({ "sub": "ann-there", "email": "ann@example.org", "email_verified": true }));
    let client = house.app.anon();
    assert_eq!(house.sign_in(&client).await.location(), Some("/login/link"));
    let fields = [("link", "on"), ("username_or_email", "ann"), ("password", PASSWORD)];
    client.submit("/login/link", "/login", &fields).await;
    assert!(is_in(&client));
    let page = text(&client.get("/chat").await.body);
    assert!(page.contains("20 linked accounts are the most"), "{page}");
    assert_eq!(linked(&house, &ann).await, 20);
}
