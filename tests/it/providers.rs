//! Signing in by an identity provider: the first time, the next time, and on to where one wanted to go.

use crate::providers_harness::{corp, is_in};

/// The first arrival makes an account with all that everybody finds on their first day; the second is to the same.
#[tokio::test]
async fn a_first_sign_in_makes_an_account_and_the_second_is_to_it() {
    let house = corp().await;
    let ada = house.app.anon();
    let reply = house.sign_in(&ada).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, Some("/chat")), "{reply:?}");
    assert!(is_in(&ada));
    assert_eq!(house.who(&ada).await, "ada");
}
