//! Linking and unlinking in the settings (SEC-56, SEC-61, SEC-96).

use super::*;
use crate::PasskeyError;

#[tokio::test]
async fn sec_96_links_and_unlinks_are_mailed_and_end_the_other_sessions() {
    let t = crate::testing::accounts("own").await;
    t.live(&["corp"]);
    let ann = t.person("ann").await;
    let (here, there) = (t.session("ann").await, t.session("ann").await);
    let principal = t.as_principal(&here).await;
    let from = client("192.0.2.7");
    t.link_identity(&principal, &vouched("anywho"), &from).await.unwrap();
    t.link_identity(&principal, &vouched("anywho"), &from).await.unwrap();
    assert_eq!(t.mails("identity_linked").await.len(), 1);
    assert_eq!(t.principal(&there.token).await.unwrap(), None);
    assert!(t.principal(&here.token).await.unwrap().is_some());
    assert_eq!(t.signs_in(&vouched("anywho"), &rules()).await.user.id, ann.id);
    // Somebody else's is refused in words.
    let ben = t.signs_in(&vouched("ben"), &rules()).await;
    let bens = t.as_principal(&ben).await;
    let refused = t.link_identity(&bens, &vouched("anywho"), &from).await.unwrap_err();
    assert!(refused.to_string().contains("CORP"), "{refused}");
    let id = t.list_identities(&ann.id).await.unwrap()[0].id.clone();
    assert!(matches!(t.unlink_identity(&bens, &id, &from).await, Err(LinkError::NotThere)));
    t.unlink_identity(&principal, &id, &from).await.unwrap();
    assert_eq!(t.mails("identity_unlinked").await.len(), 1);
    assert!(t.list_identities(&ann.id).await.unwrap().is_empty());
}

/// SEC-56
#[tokio::test]
async fn sec_56_the_last_way_in_is_never_unlinked() {
    let t = crate::testing::accounts("own-last").await;
    t.live(&["corp", "other"]);
    let from = client("192.0.2.7");
    let session = t.signs_in(&vouched("ann"), &rules()).await;
    let principal = t.as_principal(&session).await;
    let id = t.list_identities(&principal.user_id).await.unwrap()[0].id.clone();
    assert!(matches!(t.unlink_identity(&principal, &id, &from).await, Err(LinkError::LastWayIn)));
    let second =
        Vouched { issuer: "https://other.example".into(), provider: "other".into(), ..vouched("ann") };
    t.link_identity(&principal, &second, &from).await.unwrap();
    // Two at once: one of them has to stay.
    let ids: Vec<String> =
        t.list_identities(&principal.user_id).await.unwrap().into_iter().map(|i| i.id).collect();
    let who = principal.clone();
    let done = race(&t, move |accounts, n| {
        let (who, id) = (who.clone(), ids[usize::from(n % 2)].clone());
        async move { accounts.unlink_identity(&who, &id, &client("192.0.2.7")).await.is_ok() }
    })
    .await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
    let left = t.list_identities(&principal.user_id).await.unwrap().remove(0);
    // A provider that is gone is no way in.
    t.db.run(
        sql!(
            "INSERT INTO passkeys (id, user_id, credential_id, credential, user_verified, name, created_at)
             VALUES ('p', $1, 'c', '{}', TRUE, 'Laptop', 1)"
        ),
        args![&principal.user_id],
    )
    .await
    .unwrap();
    t.live(&[]);
    let mut tx = t.db.begin().await.unwrap();
    let refused = t.remove_passkey(&mut tx, &principal.user_id, "p").await;
    assert!(matches!(refused, Err(PasskeyError::LastWayIn)));
    drop(tx);
    t.live(&["corp", "other"]);
    let mut tx = t.db.begin().await.unwrap();
    assert!(t.remove_passkey(&mut tx, &principal.user_id, "p").await.unwrap().is_some());
    drop(tx);
    t.unlink_identity(&principal, &left.id, &from).await.unwrap();
}

#[tokio::test]
async fn an_identity_that_was_unlinked_in_between_lets_nobody_in() {
    let t = crate::testing::accounts("own-late").await;
    let ann = t.person("ann").await;
    let here = t.session("ann").await;
    let principal = t.as_principal(&here).await;
    let from = client("192.0.2.7");
    t.link_identity(&principal, &vouched("x-ann"), &from).await.unwrap();
    let first = factor(t.arrives(&vouched("x-ann"), &rules()).await.unwrap());
    let id = t.list_identities(&ann.id).await.unwrap()[0].id.clone();
    t.unlink_identity(&principal, &id, &from).await.unwrap();
    assert!(t.complete_login(first, &from).await.is_err());
}

/// SEC-61: what a session asked for that ended while the request waited is not done.
#[tokio::test]
async fn sec_61_an_ended_session_links_and_unlinks_nothing() {
    let t = crate::testing::accounts("own-ended").await;
    t.live(&["corp"]);
    let ann = t.person("ann").await;
    let here = t.session("ann").await;
    let principal = t.as_principal(&here).await;
    let from = client("192.0.2.7");
    t.link_identity(&principal, &vouched("anywho"), &from).await.unwrap();
    let id = t.list_identities(&ann.id).await.unwrap()[0].id.clone();
    t.end_all_sessions(&ann.id, None).await.unwrap();
    let refused = t.link_identity(&principal, &vouched("mallory"), &from).await;
    assert!(matches!(refused, Err(LinkError::SessionOver)), "{refused:?}");
    let refused = t.unlink_identity(&principal, &id, &from).await;
    assert!(matches!(refused, Err(LinkError::SessionOver)), "{refused:?}");
    assert_eq!(t.list_identities(&ann.id).await.unwrap().len(), 1);
}
