//! The budget of wrong answers, and what comes through a challenge.

use super::*;
use crate::gate::{CHALLENGE_ATTEMPTS, Challenge, ChallengeToken, Outcome};
use crate::{ChangeOrRefused, SecondFactor, SecondFactorRules};

impl TestAccounts {
    /// The first factor, and a challenge for the second.
    async fn challenged(&self, username: &str) -> ChallengeToken {
        let first = self.first_factor(username).await;
        match self.complete_login(first, &client("198.51.100.1")).await.unwrap() {
            Outcome::Challenge(challenge) => challenge.token,
            Outcome::Session(_) => panic!("no challenge"),
        }
    }

    async fn sessions(&self) -> i64 {
        self.db.one(sql!("SELECT COUNT(*) FROM sessions"), &[]).await.unwrap().unwrap()
    }

    async fn failures(&self, user: &User) -> i64 {
        self.db
            .one(sql!("SELECT factor_failures FROM users WHERE id = $1"), args![&user.id])
            .await
            .unwrap()
            .unwrap()
    }

    async fn open(&self, token: &ChallengeToken) -> Option<Challenge> {
        self.challenge(token).await.unwrap()
    }
}

/// SEC-36, SEC-99: parallel wrong answers cannot slip past the lock, nor past a challenge's five.
#[tokio::test]
async fn sec_36_twenty_parallel_wrong_answers_stop_at_five_a_challenge_and_ten_an_account() {
    let t = testing::accounts("wrong-race").await;
    let ann = t.person("ann").await;
    let secret = t.with_totp(&ann.id).await;
    let token = t.challenged("ann").await;
    let answer = |accounts: Accounts, token: ChallengeToken| async move {
        match accounts.answer_challenge(&token, Proof::Code("0"), &client("198.51.100.1")).await {
            Err(FactorRefused::Wrong(left)) => format!("{} left", left.tries),
            Err(FactorRefused::Gone) => "gone".to_owned(),
            Err(FactorRefused::Locked { retry_after_secs }) => format!("locked {retry_after_secs}"),
            other => panic!("{other:?}"),
        }
    };
    let mut one = race(&t.accounts, |accounts, _| answer(accounts, token.clone())).await;
    one.sort();
    let mut want: Vec<String> = (0..CHALLENGE_ATTEMPTS).map(|n| format!("{n} left")).collect();
    want.splice(0..0, vec!["gone".to_owned(); TRIES - 5]);
    want.sort();
    assert_eq!(one, want);
    assert_eq!(t.failures(&ann).await, 5);
    assert!(t.open(&token).await.is_none());

    let mut tokens = Vec::new();
    for _ in 0..TRIES {
        tokens.push(t.challenged("ann").await);
        // The limit of sign-ins is not what is tried here.
        t.clock.advance(3 * SECOND);
    }
    let many = race(&t.accounts, |accounts, n| answer(accounts, tokens[n].clone())).await;
    assert_eq!(many.iter().filter(|one| *one == "4 left").count(), 4);
    assert_eq!(many.iter().filter(|one| *one == "locked 900").count(), 16, "{many:?}");
    assert_eq!(t.failures(&ann).await, 10);
    // What was refused for the lock has cost the challenge nothing.
    let mut attempts = Vec::new();
    for token in &tokens {
        attempts.push(t.open(token).await.unwrap().attempts);
    }
    assert_eq!(attempts.iter().sum::<i64>(), 5, "{attempts:?}");
    let right = step_code(&secret, t.clock.now(), 0);
    let refused = t.answer_challenge(&tokens[0], Proof::Code(&right), &client("198.51.100.1")).await;
    assert!(matches!(refused, Err(FactorRefused::Locked { .. })), "the right one, too");
}

/// SEC-37, SEC-99
#[tokio::test]
async fn sec_37_of_twenty_right_answers_to_one_challenge_one_makes_a_session() {
    let t = testing::accounts("challenge-race").await;
    let ann = t.person("ann").await;
    t.with_totp(&ann.id).await;
    let codes = t.codes(&ann).await;
    let more = codes.clone();
    let token = t.challenged("ann").await;
    // Ten different right codes, each twice: the challenge is what there is one of.
    let entered = race(&t.accounts, |accounts, n| {
        let (token, code) = (token.clone(), more[n % 10].clone());
        async move {
            match accounts.answer_challenge(&token, Proof::Code(&code), &client("198.51.100.1")).await {
                Ok(_) => true,
                Err(FactorRefused::Gone) => false,
                Err(other) => panic!("{other:?}"),
            }
        }
    })
    .await;
    assert_eq!(entered.iter().filter(|one| **one).count(), 1);
    assert_eq!(t.sessions().await, 1);
    assert_eq!(t.failures(&ann).await, 0, "a right one is no failure");
    assert_eq!(t.backup_codes(&ann.id).await.unwrap().unwrap().left, 9, "the others are not spent");
}

/// SEC-35, SEC-37, SEC-99: a challenge that can only enrol enrols once, and verifies nothing.
#[tokio::test]
async fn sec_35_of_twenty_parallel_enrolments_one_counts() {
    let t = testing::accounts("enrol-race").await;
    let ann = t.person("ann").await;
    let rules = SecondFactorRules { required_of_everyone: true, grace_days: 0, ..Default::default() };
    t.save_second_factor("test", &rules).await.unwrap();
    let (token, other) = (t.challenged("ann").await, t.challenged("ann").await);
    let enrolment = t.open(&token).await.unwrap().id;
    let pending = t.begin_totp(&ann.id, &enrolment, "ann").await.unwrap();
    let code = parts::totp::code(&pending.secret, t.clock.now() / SECOND);
    let verify = t.answer_challenge(&token, Proof::Code(&code), &client("198.51.100.1")).await;
    assert!(matches!(verify, Err(FactorRefused::Gone)), "{verify:?}");
    let done = race(&t.accounts, |accounts, n| {
        let (token, code) = (if n % 2 == 0 { token.clone() } else { other.clone() }, code.clone());
        async move {
            match accounts.enrol_totp(&token, &code, &client("198.51.100.1")).await {
                Ok(enrolled) => enrolled.backup_codes.map(|codes| codes.len()),
                // The secret waits for the first of the two challenges only.
                Err(
                    ChangeOrRefused::Refused(FactorRefused::Gone)
                    | ChangeOrRefused::Change(ChangeRefused::WrongCode),
                ) => None,
                Err(other) => panic!("{other:?}"),
            }
        }
    })
    .await;
    assert_eq!(done.into_iter().flatten().collect::<Vec<_>>(), [10]);
    assert_eq!(t.sessions().await, 1);
    // From now on there is a factor, and it is asked for.
    let token = t.challenged("ann").await;
    assert!(!t.open(&token).await.unwrap().enrol);
    let again = t.enrol_totp(&token, &code, &client("198.51.100.1")).await;
    assert!(matches!(again, Err(ChangeOrRefused::Refused(FactorRefused::Gone))), "{again:?}");
}

/// SEC-35: who has got a factor since the challenge began is asked for it and sets up no other, though the first
/// factor alone led here: codes by e-mail were off for a while.
#[tokio::test]
async fn sec_35_an_enrolment_is_over_once_there_is_a_factor() {
    let t = testing::accounts("enrol-over").await;
    let ann = t.person("ann").await;
    let rules = SecondFactorRules { required_of_everyone: true, grace_days: 0, ..Default::default() };
    t.save_second_factor("test", &rules).await.unwrap();
    t.db.run(sql!("UPDATE users SET email_codes_since = 1"), &[]).await.unwrap();
    let token = t.challenged("ann").await;
    let challenge = t.open(&token).await.unwrap();
    assert!(challenge.enrol);
    let pending = t.begin_totp(&ann.id, &challenge.id, "ann").await.unwrap();
    t.save_second_factor("test", &SecondFactorRules { email_codes: true, ..rules }).await.unwrap();
    let code = parts::totp::code(&pending.secret, t.clock.now() / SECOND);
    let refused = t.enrol_totp(&token, &code, &client("198.51.100.1")).await;
    assert!(matches!(refused, Err(ChangeOrRefused::Refused(FactorRefused::Gone))), "{refused:?}");
    assert_eq!(t.standing(&ann.id).await.unwrap().unwrap().methods(), [SecondFactor::Email]);
    assert_eq!(t.sessions().await, 0);
}

/// SEC-60: a passkey that was taken away after it was checked opens nothing.
#[tokio::test]
async fn sec_60_a_passkey_that_is_gone_meanwhile_makes_no_session() {
    let t = testing::accounts("passkey-gone").await;
    let ann = t.person("ann").await;
    let checked = crate::gate::FirstFactor::by_passkey(&ann.id);
    let refused = t.complete_login(checked, &client("198.51.100.1")).await.unwrap_err();
    assert!(matches!(refused, crate::Refused::Invalid { .. }), "{refused:?}");
    assert_eq!(t.sessions().await, 0);
}

/// SEC-39: what has not the shape of a code is wrong, and a factor that the account has not proves nothing.
#[tokio::test]
async fn sec_39_only_the_accounts_own_factors_prove_something() {
    let t = testing::accounts("own-factors").await;
    let ann = t.person("ann").await;
    let secret = t.with_totp(&ann.id).await;
    let codes = t.codes(&ann).await;
    let standing = t.standing(&ann.id).await.unwrap().unwrap();
    assert_eq!(standing.methods(), [SecondFactor::Totp, SecondFactor::BackupCode]);
    let mut token = t.challenged("ann").await;
    let id = t.open(&token).await.unwrap().id;
    // Codes by e-mail are not among them, so a code for this very challenge is none.
    t.mail_to(&ann, &id).await.unwrap();
    let mailed = t.mailed().await;
    let long = "9".repeat(10_000);
    for wrong in [mailed.as_str(), "", "0", "１２３４５６", "12345é", "\0", &long] {
        let refused = t.answer_challenge(&token, Proof::Code(wrong), &client("198.51.100.1")).await;
        assert!(matches!(refused, Err(FactorRefused::Wrong(_))), "{wrong}");
        if t.open(&token).await.is_none() {
            token = t.challenged("ann").await;
        }
    }
    let spaced = step_code(&secret, t.clock.now(), 0);
    let spaced = format!(" {} {}", &spaced[..3], &spaced[3..]);
    t.answer_challenge(&token, Proof::Code(&spaced), &client("198.51.100.1")).await.unwrap();
    // Without another factor backup codes are none either.
    t.db.run(sql!("DELETE FROM totp_factors"), &[]).await.unwrap();
    assert_eq!(t.standing(&ann.id).await.unwrap().unwrap().methods(), []);
    let mut tx = t.db.begin().await.unwrap();
    let proof = Proof::Code(&codes[0]);
    let proved = t.prove(&mut tx, &ann, holder(&ann, "one"), proof, &client("198.51.100.1")).await.unwrap();
    assert!(proved.is_none());
}

/// SEC-40
#[tokio::test]
async fn sec_40_secrets_are_of_160_bits_and_never_the_same() {
    let t = testing::accounts("secrets").await;
    let ann = t.person("ann").await;
    let mut seen = Vec::new();
    for _ in 0..50 {
        let pending = t.begin_totp(&ann.id, "session", "ann").await.unwrap();
        let secret = data_encoding::BASE32_NOPAD.decode(pending.secret.as_bytes()).unwrap();
        assert_eq!(secret.len(), 20);
        assert!(!seen.contains(&secret));
        seen.push(secret);
    }
}
