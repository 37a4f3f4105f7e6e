//! Accounts whose address only a provider vouches for that is not trusted for addresses: the owner of the
//! address finds nobody else in them (SEC-72).

use super::*;

/// The account's maker, by the provider that lies.
async fn made(t: &TestAccounts) -> (NewSession, Vouched) {
    let lie = Vouched { issuer: "https://lax.example".into(), provider: "lax".into(), ..vouched("ann") };
    let rules = ProviderRules { name: "lax".into(), ..rules() };
    (t.signs_in(&lie, &rules).await, lie)
}

fn owner() -> Vouched {
    Vouched { subject: "the-owner".into(), ..vouched("ann") }
}

/// SEC-71, SEC-72: the address is confirmed as far as signing in goes, but it links with nobody silently.
#[tokio::test]
async fn sec_72_the_owner_takes_over_what_an_untrusted_word_made() {
    let t = crate::testing::accounts("vouched-claim").await;
    let (maker, lie) = made(&t).await;
    assert!(maker.user.is_verified());
    let arrived = t.arrives(&owner(), &trusted()).await.unwrap();
    let Arrived::Known { way: Way::Claimed, first_factor } = arrived else { panic!("{arrived:?}") };
    session(t.passes(first_factor).await);
    assert_eq!(t.principal(&maker.token).await.unwrap(), None);
    let left = t.list_identities(&maker.user.id).await.unwrap();
    assert_eq!((left.len(), left[0].provider.as_str()), (1, "corp"));
    // From now on the address is the owner's, and the maker is a stranger.
    to_prove(t.arrives(&lie, &ProviderRules { name: "lax".into(), ..rules() }).await.unwrap());
    let again = Vouched { subject: "another".into(), ..owner() };
    let arrived = t.arrives(&again, &trusted()).await.unwrap();
    assert!(matches!(arrived, Arrived::Known { way: Way::Address, .. }), "{arrived:?}");
}

/// SEC-65, SEC-72: factors and passwords are not taken away, but nobody is led into such an account either: not by a
/// trusted provider, nor by the mailed link. A new password by mail confirms the address and unlinks the maker.
#[tokio::test]
async fn sec_72_what_has_a_factor_is_left_to_a_new_password() {
    let t = crate::testing::accounts("vouched-factor").await;
    let (maker, lie) = made(&t).await;
    t.with_totp(&maker.user.id).await;
    let refused = t.arrives(&owner(), &trusted()).await;
    assert!(matches!(refused, Err(ArriveError::Unconfirmed)), "{refused:?}");
    let token = to_prove(t.arrives(&owner(), &rules()).await.unwrap());
    t.send_link_mail(&token, &client("192.0.2.9")).await.unwrap();
    assert!(t.mails("link_identity").await.is_empty());

    let here = client("192.0.2.9");
    t.request_reset("ann@example.org", &here).await.unwrap();
    t.resolve_reset_requests(10).await.unwrap();
    let mail = t.mails("reset_link").await.pop().unwrap();
    let reset = mail.split_once("token: \"").unwrap().1[..43].to_owned();
    t.reset_password(&reset, "granite-lantern-oboe-9", &here).await.unwrap();
    assert!(t.list_identities(&maker.user.id).await.unwrap().is_empty());
    to_prove(t.arrives(&lie, &ProviderRules { name: "lax".into(), ..rules() }).await.unwrap());
    let arrived = t.arrives(&owner(), &trusted()).await.unwrap();
    let Arrived::Known { way: Way::Address, first_factor } = arrived else { panic!("{arrived:?}") };
    assert!(matches!(t.passes(first_factor).await, Outcome::Challenge(_)), "the second factor stays");
}

/// A change of the address that was confirmed by mail, and a trusted provider, leave nothing to doubt.
#[tokio::test]
async fn sec_71_a_mail_or_a_trusted_word_ends_the_doubt() {
    let t = crate::testing::accounts("vouched-ends").await;
    let (maker, _) = made(&t).await;
    let person = t.as_principal(&maker).await;
    let here = client("192.0.2.9");
    t.request_email_change(&person, "new@example.org", &here).await.unwrap();
    let mail = t.mails("confirm_new_email").await.pop().unwrap();
    let token = mail.split_once("token: \"").unwrap().1[..43].to_owned();
    t.confirm_email_change(&token, &here).await.unwrap();
    let came = Vouched { email: Some("new@example.org".into()), ..owner() };
    let arrived = t.arrives(&came, &trusted()).await.unwrap();
    assert!(matches!(arrived, Arrived::Known { way: Way::Address, .. }), "{arrived:?}");

    let ben = t.signs_in(&vouched("ben"), &trusted()).await;
    let other = Vouched { subject: "other-ben".into(), ..vouched("ben") };
    let arrived = t.arrives(&other, &trusted()).await.unwrap();
    assert!(matches!(arrived, Arrived::Known { way: Way::Address, .. }), "{arrived:?}");
    assert_eq!(t.list_identities(&ben.user.id).await.unwrap().len(), 1);
}

/// SEC-71, SEC-72: who came by one provider and comes by another proves it by a mail, for nobody is trusted; the
/// first one is unlinked, for it may have lied, and can be linked again the same way.
#[tokio::test]
async fn sec_72_a_mailed_link_unlinks_what_was_never_shown() {
    let t = crate::testing::accounts("vouched-mailed").await;
    let (maker, lie) = made(&t).await;
    t.live(&["lax", "corp"]);
    let here = client("192.0.2.9");
    let token = to_prove(t.arrives(&owner(), &rules()).await.unwrap());
    t.send_link_mail(&token, &here).await.unwrap();
    let first = t.confirm_link(&t.mailed_token().await, &token, &here).await.unwrap().unwrap();
    assert_eq!(t.principal(&maker.token).await.unwrap(), None);
    let session = session(t.passes(first).await);
    assert!(matches!(session.link, Some(LinkEnd::Linked { .. })), "{:?}", session.link);
    let linked = t.list_identities(&maker.user.id).await.unwrap();
    assert_eq!((linked.len(), linked[0].provider.as_str()), (1, "corp"));
    assert_eq!(t.mails("identity_unlinked").await.len(), 1);
    to_prove(t.arrives(&lie, &ProviderRules { name: "lax".into(), ..rules() }).await.unwrap());

    // A password set between the mail and the link is somebody's: the link does nothing.
    let t = crate::testing::accounts("vouched-mailed-late").await;
    let (maker, _) = made(&t).await;
    let token = to_prove(t.arrives(&owner(), &rules()).await.unwrap());
    t.send_link_mail(&token, &here).await.unwrap();
    t.with_totp(&maker.user.id).await;
    assert!(t.confirm_link(&t.mailed_token().await, &token, &here).await.unwrap().is_none());
    assert_eq!(t.list_identities(&maker.user.id).await.unwrap().len(), 1);
}
