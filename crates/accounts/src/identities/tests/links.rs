//! Pending links: proved by a sign-in or by mail, and used once (SEC-71).

use super::*;
use crate::LinkToken;

async fn waits(t: &TestAccounts, name: &str) -> LinkToken {
    to_prove(t.arrives(&vouched(name), &rules()).await.unwrap())
}

/// SEC-71
#[tokio::test]
async fn sec_71_a_password_and_its_second_factor_prove_the_account() {
    let t = crate::testing::accounts("links-password").await;
    t.live(&["corp"]);
    let ann = t.person("ann").await;
    let secret = t.with_totp(&ann.id).await;
    let token = waits(&t, "ann").await;
    let shown = t.pending_link(&token).await.unwrap().unwrap();
    assert_eq!((shown.label.as_str(), shown.shown_as.as_str()), ("CORP", "ann"));
    assert_eq!(shown.email, "a…@example.org");
    let first = t.first_factor("ann").await.linking(Some(&token));
    let Outcome::Challenge(challenge) = t.passes(first).await else { panic!("no second factor") };
    assert!(t.list_identities(&ann.id).await.unwrap().is_empty());
    let code = totp(&secret, t.clock.now());
    let from = client("192.0.2.77");
    let entered = t.answer_challenge(&challenge.token, Proof::Code(&code), &from).await.unwrap();
    let end = session(entered.outcome).link.unwrap();
    assert!(end.words().contains("is linked"), "{end:?}");
    assert_eq!(t.mails("identity_linked").await.len(), 1);
    assert_eq!(t.pending_link(&token).await.unwrap(), None);
    // From now on the provider is a way in; the second factor is still asked for.
    let first = factor(t.arrives(&vouched("ann"), &rules()).await.unwrap());
    assert!(matches!(t.passes(first).await, Outcome::Challenge(_)));
}

/// SEC-71
#[tokio::test]
async fn sec_71_another_account_links_nothing_and_hears_so() {
    let t = crate::testing::accounts("links-other").await;
    let (ann, mallory) = (t.person("ann").await, t.person("mallory").await);
    let token = waits(&t, "ann").await;
    let first = t.first_factor("mallory").await.linking(Some(&token));
    assert_eq!(session(t.passes(first).await).link, Some(LinkEnd::OtherAccount));
    assert!(t.list_identities(&mallory.id).await.unwrap().is_empty());
    t.clock.advance(pending::PENDING_LINK_LIFETIME);
    let first = t.first_factor("ann").await.linking(Some(&token));
    assert_eq!(session(t.passes(first).await).link, Some(LinkEnd::Expired));
    assert!(t.list_identities(&ann.id).await.unwrap().is_empty());
    t.sweep().await.unwrap();
    assert_eq!(t.count(sql!("SELECT COUNT(*) FROM pending_links")).await, 0);
}

/// SEC-99
#[tokio::test]
async fn sec_99_a_pending_link_is_used_once_by_twenty() {
    let t = crate::testing::accounts("links-race").await;
    let ann = t.person("ann").await;
    let token = waits(&t, "ann").await;
    let ends = race(&t, move |accounts, _| {
        let (token, user_id) = (token.clone(), ann.id.clone());
        async move {
            let first = FirstFactor::new_password(&user_id).linking(Some(&token));
            session(accounts.complete_login(first, &client("192.0.2.7")).await.unwrap()).link.unwrap()
        }
    })
    .await;
    assert_eq!(ends.iter().filter(|end| matches!(end, LinkEnd::Linked { .. })).count(), 1);
    assert_eq!(t.count(sql!("SELECT COUNT(*) FROM identities")).await, 1);
    assert_eq!(t.mails("identity_linked").await.len(), 1);
}

/// SEC-71, SEC-63
#[tokio::test]
async fn sec_71_a_mailed_link_works_once_and_only_in_the_browser_that_asked() {
    let t = crate::testing::accounts("links-mail").await;
    let ann = t.person("ann").await;
    let token = waits(&t, "ann").await;
    t.send_link_mail(&token, &client("192.0.2.7")).await.unwrap();
    let mailed = t.mailed_token().await;
    // A stranger's browser, even with a pending link of its own.
    let stranger = Vouched { subject: "sub-stranger".into(), ..vouched("ann") };
    let foreign = to_prove(t.arrives(&stranger, &rules()).await.unwrap());
    assert!(t.confirm_link(&mailed, &foreign, &client("192.0.2.9")).await.unwrap().is_none());
    assert_eq!(t.mailed_link(&mailed, &foreign).await.unwrap(), None);
    t.clock.advance(20 * base::MINUTE);
    assert_eq!(t.mailed_link(&mailed, &token).await.unwrap().unwrap().shown_as, "ann");
    let (accounts_token, text) = (token.clone(), mailed.clone());
    let firsts = race(&t, move |accounts, _| {
        let (token, mailed) = (accounts_token.clone(), text.clone());
        async move { accounts.confirm_link(&mailed, &token, &client("192.0.2.9")).await.unwrap() }
    })
    .await;
    let mut good: Vec<_> = firsts.into_iter().flatten().collect();
    assert_eq!(good.len(), 1);
    let entered = session(t.passes(good.remove(0)).await);
    assert_eq!(entered.user.id, ann.id);
    assert!(matches!(entered.link, Some(LinkEnd::Linked { .. })));
    assert_eq!(t.list_identities(&ann.id).await.unwrap()[0].provider, "corp");
}

/// SEC-65, SEC-71
#[tokio::test]
async fn sec_65_a_mailed_link_asks_for_the_second_factor_and_needs_a_confirmed_address() {
    let t = crate::testing::accounts("links-mail-totp").await;
    let ann = t.person("ann").await;
    t.with_totp(&ann.id).await;
    let token = waits(&t, "ann").await;
    t.send_link_mail(&token, &client("192.0.2.7")).await.unwrap();
    let first = t.confirm_link(&t.mailed_token().await, &token, &client("192.0.2.9")).await.unwrap().unwrap();
    assert!(matches!(t.passes(first).await, Outcome::Challenge(_)));
    let ben = t.person("ben").await;
    t.unconfirm(&ben.id).await;
    let token = waits(&t, "ben").await;
    for _ in 0..3 {
        t.send_link_mail(&token, &client("192.0.2.7")).await.unwrap();
    }
    assert_eq!(t.mails("link_identity").await.len(), 1, "none to an address that nobody confirmed");
    assert!(matches!(t.send_link_mail(&token, &client("192.0.2.7")).await, Err(LinkError::Limited(_))));
    t.forget_pending_link(&token).await.unwrap();
    assert!(matches!(t.send_link_mail(&token, &client("192.0.2.7")).await, Err(LinkError::Expired)));
}
