//! Arrivals from providers: who is let in, who has to prove what, and what twenty at once come to.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

mod arrivals;
mod links;
mod own;
mod roles;
mod trips;
mod vouched;

use base::{SECOND, args, sql};
use tokio::task::JoinSet;

use super::*;
use crate::gate::{FirstFactor, Onward, Outcome};
use crate::sessions::NewSession;
use crate::testing::{TestAccounts, client};
use crate::{Principal, Proof, SignUp};

const TRIES: u8 = 20;

/// The same thing twenty times at once; gives what came of each.
async fn race<T, F, Fut>(accounts: &Accounts, act: F) -> Vec<T>
where
    T: Send + 'static,
    F: Fn(Accounts, u8) -> Fut,
    Fut: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for n in 0..TRIES {
        tasks.spawn(act(accounts.clone(), n));
    }
    tasks.join_all().await
}

/// A provider that people sign up with, trusted for nothing.
fn rules() -> ProviderRules {
    ProviderRules { name: "corp".into(), label: "Corp".into(), sign_up: true, ..ProviderRules::default() }
}

fn trusted() -> ProviderRules {
    ProviderRules { trusted_email: true, ..rules() }
}

/// Somebody with a verified address.
fn vouched(name: &str) -> Vouched {
    Vouched {
        issuer: "https://id.example".into(),
        subject: format!("sub-{name}"),
        provider: "corp".into(),
        username: Some(name.into()),
        first_name: "Given".into(),
        last_name: "Family".into(),
        email: Some(format!("{name}@example.org")),
        email_verified: true,
        ..Vouched::default()
    }
}

async fn arrive_from(
    accounts: &Accounts,
    vouched: &Vouched,
    rules: &ProviderRules,
    n: u8,
) -> Result<Arrived, ArriveError> {
    let mut tx = accounts.db.begin().await.unwrap();
    let from = client(&format!("192.0.2.{n}"));
    let arrived = accounts.arrive(&mut tx, vouched, rules, &Onward::default(), &from).await?;
    tx.commit().await.unwrap();
    accounts.after_arrival(&arrived);
    Ok(arrived)
}

fn factor(arrived: Arrived) -> FirstFactor {
    match arrived {
        Arrived::Known { first_factor, .. } | Arrived::Created { first_factor, .. } => first_factor,
        other => panic!("not in: {other:?}"),
    }
}

fn to_prove(arrived: Arrived) -> crate::LinkToken {
    match arrived {
        Arrived::Prove { token, .. } => token,
        other => panic!("nothing to prove: {other:?}"),
    }
}

fn session(outcome: Outcome) -> NewSession {
    match outcome {
        Outcome::Session(session) => session,
        Outcome::Challenge(challenge) => panic!("a challenge: {challenge:?}"),
    }
}

impl TestAccounts {
    async fn arrives(&self, vouched: &Vouched, rules: &ProviderRules) -> Result<Arrived, ArriveError> {
        arrive_from(self, vouched, rules, 77).await
    }

    async fn passes(&self, first: FirstFactor) -> Outcome {
        self.complete_login(first, &client("192.0.2.77")).await.unwrap()
    }

    /// Arrives and is in.
    async fn signs_in(&self, vouched: &Vouched, rules: &ProviderRules) -> NewSession {
        let first = factor(self.arrives(vouched, rules).await.unwrap());
        session(self.passes(first).await)
    }

    async fn as_principal(&self, session: &NewSession) -> Principal {
        self.principal(&session.token).await.unwrap().unwrap()
    }

    /// The texts of the queued mails of a kind.
    async fn mails(&self, kind: &str) -> Vec<String> {
        let rows: Vec<(String, String)> = self
            .db
            .all(sql!("SELECT id, body_text FROM mail_outbox WHERE kind = $1 ORDER BY id"), args![kind])
            .await
            .unwrap();
        let open =
            |(id, sealed): (String, String)| self.ring.open(&format!("mail-text:{id}"), &sealed).unwrap();
        rows.into_iter().map(open).map(|plain| String::from_utf8(plain).unwrap()).collect()
    }

    /// The token of the only mail that links.
    async fn mailed_token(&self) -> String {
        let mails = self.mails("link_identity").await;
        assert_eq!(mails.len(), 1);
        mails[0].split_once("token: \"").unwrap().1[..43].to_owned()
    }

    fn live(&self, names: &[&str]) {
        let live =
            |name: &&str| LiveProvider { name: (*name).to_owned(), label: name.to_uppercase(), issuer: None };
        self.set_live_providers(names.iter().map(live).collect());
    }

    async fn count(&self, statement: base::Sql) -> i64 {
        self.db.one(statement, &[]).await.unwrap().unwrap()
    }

    async fn unconfirm(&self, user_id: &str) {
        self.db
            .run(sql!("UPDATE users SET email_verified_at = NULL WHERE id = $1"), args![user_id])
            .await
            .unwrap();
    }
}

fn totp(secret: &[u8], now: i64) -> String {
    parts::totp::code(&data_encoding::BASE32_NOPAD.encode(secret), now / SECOND)
}
