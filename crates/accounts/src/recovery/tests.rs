//! Tests of recovery: what links do and what they cannot, and how often.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use base::{DAY, HOUR, MINUTE, args, sql};

use super::RecoveryError;
use crate::testing::{self, PASSWORD, TestAccounts};
use crate::{Client, Mail, NewSession, Pending, Principal, Purpose, Refused, SignUp, User};

const NEW: &str = "granite lantern oboe";

fn here() -> Client {
    testing::client("198.51.100.1")
}

/// Everything queued since the last look.
async fn mails(t: &TestAccounts) -> Vec<Mail> {
    let claimed = t.claim_due_mail(100).await.unwrap();
    for mail in &claimed {
        t.mail_sent(&mail.id).await.unwrap();
    }
    claimed.into_iter().map(|claimed| claimed.mail).collect()
}

fn kinds(mails: &[Mail]) -> Vec<(&str, &str)> {
    let mut kinds: Vec<_> = mails.iter().map(|mail| (mail.kind.as_str(), mail.recipient.as_str())).collect();
    kinds.sort_unstable();
    kinds
}

/// The token in a mail of [`crate::notices::Plain`].
fn token(mail: &Mail) -> String {
    let at = mail.text.find("token: ").unwrap();
    mail.text[at..].split('"').nth(1).unwrap().to_owned()
}

async fn principal(t: &TestAccounts, session: &NewSession) -> Principal {
    t.principal(&session.token).await.unwrap().unwrap()
}

/// Asks for a link and gives its token.
async fn reset_token(t: &TestAccounts, email: &str) -> String {
    t.request_reset(email, &here()).await.unwrap();
    assert_eq!(t.resolve_reset_requests(10).await.unwrap().found, 1);
    let mails = mails(t).await;
    assert_eq!(kinds(&mails), [("reset_link", email)]);
    token(&mails[0])
}

async fn change_token(t: &TestAccounts, person: &Principal, to: &str) -> String {
    t.request_email_change(person, to, &here()).await.unwrap();
    let mails = mails(t).await;
    assert_eq!(kinds(&mails), [("confirm_new_email", to)]);
    token(&mails[0])
}

/// Changes the address; gives the token of the way back.
async fn change(t: &TestAccounts, person: &Principal, to: &str) -> String {
    let from = t.user(&person.user_id).await.unwrap().unwrap().email;
    let token_ = change_token(t, person, to).await;
    t.confirm_email_change(&token_, &here()).await.unwrap();
    let mails = mails(t).await;
    assert_eq!(kinds(&mails), [("email_changed", from.as_str())]);
    token(&mails[0])
}

async fn user(t: &TestAccounts, id: &str) -> User {
    t.user(id).await.unwrap().unwrap()
}

fn field(error: &RecoveryError) -> Option<&'static str> {
    match error {
        RecoveryError::Fields(errors) | RecoveryError::Taken(errors) => errors.0.keys().next().copied(),
        _ => None,
    }
}

async fn sessions(t: &TestAccounts, id: &str) -> usize {
    t.list_sessions(id).await.unwrap().len()
}

/// SEC-62, SEC-66
#[tokio::test]
async fn sec_62_asking_does_the_same_for_every_address_and_three_an_hour_are_mailed() {
    let t = testing::accounts("reset-ask").await;
    t.person("ann").await;
    let mut counts = Vec::new();
    for email in ["ann@example.org", "nobody@example.org", " Ann@EXAMPLE.org "] {
        let here = here();
        let (asked, statements) = base::db::count_statements(t.request_reset(email, &here)).await;
        asked.unwrap();
        counts.push(statements);
    }
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    assert_eq!(t.resolve_reset_requests(2).await.unwrap().found, 2);
    assert_eq!(t.resolve_reset_requests(10).await.unwrap().found, 1);
    assert_eq!(t.resolve_reset_requests(10).await.unwrap().found, 0);
    assert_eq!(kinds(&mails(&t).await), [("reset_link", "ann@example.org"); 2]);
    for _ in 0..3 {
        t.request_reset("ANN@example.org", &here()).await.unwrap();
    }
    assert_eq!(t.resolve_reset_requests(10).await.unwrap().found, 1, "the third of the hour");
    t.clock.advance(HOUR);
    t.request_reset("ann@example.org", &here()).await.unwrap();
    assert_eq!(t.resolve_reset_requests(10).await.unwrap().found, 1);
    for bad in ["", "ann", "a@x.org,b@x.org", "a@x.org b@x.org", "a@x.org\r\nBcc: b@x.org"] {
        assert_eq!(field(&t.request_reset(bad, &here()).await.unwrap_err()), Some("email"), "{bad}");
    }
    t.clock.advance(MINUTE);
    for n in 0..20 {
        t.request_reset(&format!("p{n}@example.org"), &here()).await.unwrap();
    }
    let limited = t.request_reset("p@example.org", &here()).await.unwrap_err();
    assert!(matches!(limited, RecoveryError::Limited(limited) if limited.retry_after_secs == 60));
}

#[tokio::test]
async fn sec_62_parallel_workers_share_the_requests() {
    let t = testing::accounts("reset-workers").await;
    for n in 0..12 {
        t.person(&format!("person{n}")).await;
        t.request_reset(&format!("person{n}@example.org"), &here()).await.unwrap();
    }
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let accounts = t.accounts.clone();
            tokio::spawn(async move { accounts.resolve_reset_requests(20).await.unwrap().found })
        })
        .collect();
    let mut found = 0;
    for task in tasks {
        found += task.await.unwrap();
    }
    assert_eq!((found, mails(&t).await.len()), (12, 12));
}

/// SEC-62: who may not sign in gets no link; a sign-up that waits is handed on.
#[tokio::test]
async fn sec_62_only_a_lasting_active_account_gets_a_link() {
    let t = testing::accounts("reset-who").await;
    let ann = t.person("ann").await;
    let prepared = t.prepared("ben").await;
    let mut tx = t.db.begin().await.unwrap();
    let Pending::Created { user: ben, .. } = t.insert_pending(&mut tx, &prepared, true).await.unwrap() else {
        panic!("taken")
    };
    tx.commit().await.unwrap();
    t.db.run(sql!("UPDATE users SET deactivated_at = 1 WHERE id = $1"), args![&ann.id]).await.unwrap();
    for email in ["ann@example.org", "ben@example.org"] {
        t.request_reset(email, &here()).await.unwrap();
    }
    let resolved = t.resolve_reset_requests(10).await.unwrap();
    assert_eq!(resolved.found, 2);
    assert_eq!(resolved.unconfirmed.iter().map(|(user, _)| &user.id).collect::<Vec<_>>(), [&ben.id]);
    assert!(mails(&t).await.is_empty());
    assert!(!t.send_reset_link(&ann.id, None, true).await.unwrap());
    assert_eq!(t.make_reset_link_token(&ben.id).await.unwrap(), None);
}

/// SEC-63, SEC-65, SEC-28: everything that was open ends, the lock is lifted, nobody is signed in.
#[tokio::test]
async fn sec_65_a_reset_ends_every_session_and_makes_none() {
    let t = testing::accounts("reset").await;
    let ann = t.person("ann").await;
    let session = t.session("ann").await;
    let person = principal(&t, &session).await;
    let change = change_token(&t, &person, "new@example.org").await;
    let (first, second) =
        (reset_token(&t, "ann@example.org").await, reset_token(&t, "ann@example.org").await);
    t.db.run(
        sql!("UPDATE users SET failures = 100, locked_until = $2, email_verified_at = NULL WHERE id = $1"),
        args![&ann.id, t.clock.now() + HOUR],
    )
    .await
    .unwrap();
    let weak = t.reset_password(&second, "short", &here()).await.unwrap_err();
    assert_eq!(field(&weak), Some("password"));
    let named = t.reset_password(&second, "ann@example.org", &here()).await.unwrap_err();
    assert_eq!(field(&named), Some("password"));

    t.reset_password(&second, NEW, &here()).await.unwrap();
    assert_eq!(sessions(&t, &ann.id).await, 0);
    assert!(t.principal(&session.token).await.unwrap().is_none());
    assert!(user(&t, &ann.id).await.is_verified(), "the link was mailed to that address");
    assert_eq!(kinds(&mails(&t).await), [("password_reset", "ann@example.org")]);
    for (purpose, token) in
        [(Purpose::ResetPassword, first), (Purpose::ResetPassword, second), (Purpose::ChangeEmail, change)]
    {
        assert_eq!(t.peek_token(purpose, &token).await.unwrap(), None, "{purpose:?}");
    }
    assert!(t.sign_in("ann", PASSWORD, &here()).await.is_err());
    assert!(t.sign_in("ann", NEW, &here()).await.is_ok());
}

/// Who forgot the password has tried a few before.
#[tokio::test]
async fn a_reset_is_followed_by_a_sign_in_without_a_wait() {
    let t = testing::accounts("reset-wait").await;
    t.person("ann").await;
    for who in ["Ann", "Ann", "Ann", "ann@example.org", "ann@example.org"] {
        assert!(t.sign_in(who, "wrong", &here()).await.is_err());
    }
    assert!(matches!(t.sign_in("ann", PASSWORD, &here()).await, Err(Refused::Limited { .. })));
    let token = reset_token(&t, "ann@example.org").await;
    t.reset_password(&token, NEW, &here()).await.unwrap();
    assert!(t.sign_in("ann", NEW, &here()).await.is_ok());
}

/// SEC-63: 30 minutes, and only for what it is.
#[tokio::test]
async fn sec_63_a_link_ends_after_half_an_hour_and_opens_nothing_else() {
    let t = testing::accounts("reset-old").await;
    let ann = t.person("ann").await;
    let token = reset_token(&t, "ann@example.org").await;
    let stored: Vec<String> = t.db.all(sql!("SELECT token_hash FROM one_time_tokens"), &[]).await.unwrap();
    assert!(stored.iter().all(|hash| *hash != token));
    assert!(matches!(t.confirm_email_change(&token, &here()).await, Err(RecoveryError::BadToken)));
    assert!(matches!(t.revert_email(&token, &here()).await, Err(RecoveryError::BadToken)));
    t.clock.advance(30 * MINUTE - 1);
    assert_eq!(t.link_holder(Purpose::ResetPassword, &token).await.unwrap().unwrap().id, ann.id);
    t.clock.advance(1);
    assert!(matches!(t.reset_password(&token, NEW, &here()).await, Err(RecoveryError::BadToken)));
    let operators = t.make_reset_link_token(&ann.id).await.unwrap().unwrap();
    t.db.run(sql!("UPDATE users SET email_verified_at = NULL"), &[]).await.unwrap();
    t.reset_password(&operators, NEW, &here()).await.unwrap();
    assert!(!user(&t, &ann.id).await.is_verified(), "no mail has shown that the address is hers");
}

/// SEC-63, SEC-99
#[tokio::test]
async fn sec_99_twenty_parallel_uses_of_each_link_are_one() {
    let t = testing::accounts("reset-race").await;
    let ann = t.person("ann").await;
    let session = t.session("ann").await;
    let person = principal(&t, &session).await;
    let reset = reset_token(&t, "ann@example.org").await;
    let confirm = change_token(&t, &person, "new@example.org").await;
    let run = async |which: usize, token: &str| {
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (accounts, token) = (t.accounts.clone(), token.to_owned());
                tokio::spawn(async move {
                    match which {
                        0 => accounts.reset_password(&token, &format!("{NEW} {n}"), &here()).await,
                        1 => accounts.confirm_email_change(&token, &here()).await,
                        _ => accounts.revert_email(&token, &here()).await,
                    }
                })
            })
            .collect();
        let mut good = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => good += 1,
                Err(error) => assert!(matches!(error, RecoveryError::BadToken), "{error:?}"),
            }
        }
        good
    };
    assert_eq!(run(1, &confirm).await, 1);
    let told = mails(&t).await;
    assert_eq!(kinds(&told), [("email_changed", "ann@example.org")]);
    assert_eq!(run(0, &reset).await, 0, "void since the change");
    assert_eq!(run(2, &token(&told[0])).await, 1);
    let told = mails(&t).await;
    assert_eq!(kinds(&told), [("email_reverted", "ann@example.org"), ("reset_link", "ann@example.org")]);
    assert_eq!(run(0, &token(told.iter().find(|mail| mail.kind == "reset_link").unwrap())).await, 1);
    assert_eq!(kinds(&mails(&t).await), [("password_reset", "ann@example.org")]);
    assert_eq!(user(&t, &ann.id).await.email, "ann@example.org");
}

/// SEC-22, SEC-61, SEC-78
#[tokio::test]
async fn sec_22_a_change_needs_the_current_password_and_ends_the_other_sessions() {
    let t = testing::accounts("change").await;
    let ann = t.person("ann").await;
    let (other, own) = (t.session("ann").await, t.session("ann").await);
    let person = principal(&t, &own).await;
    let reset = reset_token(&t, "ann@example.org").await;
    let change =
        async |current: &str, new: &str| t.change_password(&person, &own.token, current, new, &here()).await;
    assert_eq!(field(&change("", NEW).await.unwrap_err()), Some("current_password"));
    assert_eq!(field(&change("wrong", NEW).await.unwrap_err()), Some("current_password"));
    assert_eq!(field(&change(PASSWORD, "short").await.unwrap_err()), Some("password"));
    assert_eq!(field(&change(PASSWORD, PASSWORD).await.unwrap_err()), Some("password"));
    assert_eq!(sessions(&t, &ann.id).await, 2);

    t.clock.advance(MINUTE);
    let renewed = change(PASSWORD, NEW).await.unwrap();
    assert_eq!(t.principal(&own.token).await.unwrap(), None);
    assert_eq!(t.principal(&other.token).await.unwrap(), None);
    let after = t.principal(&renewed).await.unwrap().unwrap();
    assert_eq!((&after.session.id, &after.session.csrf_secret), (&own.id, &own.csrf_secret));
    assert_eq!(after.session.step_up_at, person.session.step_up_at, "no step-up by the password alone");
    assert_eq!(t.peek_token(Purpose::ResetPassword, &reset).await.unwrap(), None);
    assert_eq!(kinds(&mails(&t).await), [("password_changed", "ann@example.org")]);
    assert!(t.sign_in("ann", NEW, &here()).await.is_ok());
}

/// SEC-22: throttled as a sign-in.
#[tokio::test]
async fn sec_22_wrong_current_passwords_count_as_failed_sign_ins() {
    let t = testing::accounts("change-limit").await;
    t.person("ann").await;
    let own = t.session("ann").await;
    let person = principal(&t, &own).await;
    for _ in 0..5 {
        let wrong = t.change_password(&person, &own.token, "wrong", NEW, &here()).await.unwrap_err();
        assert_eq!(field(&wrong), Some("current_password"));
    }
    let wrong = t.change_password(&person, &own.token, PASSWORD, NEW, &here()).await.unwrap_err();
    assert!(matches!(wrong, RecoveryError::Limited(_)), "{wrong:?}");
    assert!(matches!(t.sign_in("ann", PASSWORD, &here()).await, Err(Refused::Limited { .. })));
}

#[tokio::test]
async fn an_account_without_a_password_sets_its_first() {
    let t = testing::accounts("change-first").await;
    let ann = t.person("ann").await;
    let own = t.session("ann").await;
    let person = principal(&t, &own).await;
    t.db.run(sql!("UPDATE users SET password = NULL"), &[]).await.unwrap();
    assert!(!t.has_password(&ann.id).await.unwrap());
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let (accounts, person, token) = (t.accounts.clone(), person.clone(), own.token.clone());
            tokio::spawn(
                async move { accounts.change_password(&person, &token, "", NEW, &here()).await.is_ok() },
            )
        })
        .collect();
    let mut good = 0;
    for task in tasks {
        good += usize::from(task.await.unwrap());
    }
    assert_eq!(good, 1);
    assert!(t.sign_in("ann", NEW, &here()).await.is_ok());
}

/// SEC-59
#[tokio::test]
async fn sec_59_an_address_is_confirmed_told_and_taken_back() {
    let t = testing::accounts("email").await;
    let ann = t.person("ann").await;
    let session = t.session("ann").await;
    let person = principal(&t, &session).await;
    let reset = reset_token(&t, "ann@example.org").await;
    let first = change_token(&t, &person, "first@example.org").await;
    t.clock.advance(MINUTE);
    let second = change_token(&t, &person, "second@example.org").await;
    assert_eq!(t.peek_token(Purpose::ChangeEmail, &first).await.unwrap(), None, "one change at a time");
    let pending = t.pending_email_change(&ann.id).await.unwrap().unwrap();
    assert_eq!(pending, ("second@example.org".to_owned(), t.clock.now() + 24 * HOUR));
    assert_eq!(user(&t, &ann.id).await.email, "ann@example.org");

    t.confirm_email_change(&second, &here()).await.unwrap();
    assert_eq!(t.pending_email_change(&ann.id).await.unwrap(), None);
    assert_eq!(t.peek_token(Purpose::ResetPassword, &reset).await.unwrap(), None);
    assert!(t.principal(&session.token).await.unwrap().is_some(), "the session goes on");
    assert!(t.sign_in("second@example.org", PASSWORD, &here()).await.is_ok());
    assert!(t.sign_in("ann@example.org", PASSWORD, &here()).await.is_err());
    let told = mails(&t).await;
    assert_eq!(kinds(&told), [("email_changed", "ann@example.org")]);
    let found = t.people("second@", &crate::Cursor::Start).await.unwrap();
    assert_eq!(found.rows.len(), 1);

    let back = token(&told[0]);
    t.clock.advance(7 * DAY - 1);
    t.revert_email(&back, &here()).await.unwrap();
    let now = user(&t, &ann.id).await;
    assert_eq!((now.email.as_str(), now.is_verified()), ("ann@example.org", true));
    assert_eq!(sessions(&t, &ann.id).await, 0);
    let told = mails(&t).await;
    assert_eq!(kinds(&told), [("email_reverted", "ann@example.org"), ("reset_link", "ann@example.org")]);
}

/// SEC-59: whoever has the account cannot cut the way back off by changing once more, nor by taking the later
/// change back.
#[tokio::test]
async fn sec_59_the_first_owner_has_the_last_word() {
    let t = testing::accounts("email-twice").await;
    let ann = t.person("ann").await;
    let session = t.session("ann").await;
    let person = principal(&t, &session).await;
    let to_ann = change(&t, &person, "thief@example.net").await;
    t.clock.advance(HOUR);
    let to_thief = change(&t, &person, "thief2@example.net").await;
    t.revert_email(&to_thief, &here()).await.unwrap();
    assert_eq!(user(&t, &ann.id).await.email, "thief@example.net");
    mails(&t).await;
    t.revert_email(&to_ann, &here()).await.unwrap();
    assert_eq!(user(&t, &ann.id).await.email, "ann@example.org");

    let session = t.session("ann").await;
    let person = principal(&t, &session).await;
    mails(&t).await;
    t.clock.advance(HOUR);
    let to_ann = change(&t, &person, "thief3@example.net").await;
    t.clock.advance(HOUR);
    let to_thief = change(&t, &person, "thief4@example.net").await;
    t.revert_email(&to_ann, &here()).await.unwrap();
    assert!(matches!(t.revert_email(&to_thief, &here()).await, Err(RecoveryError::BadToken)));
}

/// SEC-59, SEC-7: what another account has stays theirs; a sign-up that only waits gives way.
#[tokio::test]
async fn sec_7_an_address_belongs_to_one_account() {
    let t = testing::accounts("email-taken").await;
    let ann = t.person("ann").await;
    t.person("ben").await;
    let session = t.session("ann").await;
    let person = principal(&t, &session).await;
    let own = t.request_email_change(&person, "Ann@example.org", &here()).await.unwrap_err();
    assert_eq!(field(&own), Some("email"));
    let taken = t.request_email_change(&person, "BEN@example.org", &here()).await.unwrap_err();
    assert!(matches!(taken, RecoveryError::Taken(_)) && field(&taken) == Some("email"));
    assert!(mails(&t).await.is_empty());

    // Taken between the request and the link.
    let confirm = change_token(&t, &person, "cat@example.org").await;
    let cat = t.person("cat").await;
    let late = t.confirm_email_change(&confirm, &here()).await.unwrap_err();
    assert!(matches!(late, RecoveryError::Taken(_)), "{late:?}");
    assert_eq!(user(&t, &ann.id).await.email, "ann@example.org");
    t.db.run(sql!("UPDATE users SET expires_at = $2 WHERE id = $1"), args![&cat.id, t.clock.now() + HOUR])
        .await
        .unwrap();
    t.confirm_email_change(&confirm, &here()).await.unwrap();
    assert_eq!(user(&t, &ann.id).await.email, "cat@example.org");

    // Taken between the change and the way back.
    let back = token(&mails(&t).await[0]);
    let dan = t.person("dan").await;
    t.db.run(
        sql!("UPDATE users SET email = $2, email_canonical = $2 WHERE id = $1"),
        args![&dan.id, "ann@example.org"],
    )
    .await
    .unwrap();
    assert!(matches!(t.revert_email(&back, &here()).await, Err(RecoveryError::Taken(_))));
    assert_eq!(sessions(&t, &ann.id).await, 1, "nothing was half done");
}

/// SEC-11: where addresses are confirmed, a taken one is answered like a free one.
#[tokio::test]
async fn sec_11_a_change_to_a_taken_address_tells_nothing_and_mails_nothing() {
    let t = testing::accounts("email-hidden").await;
    let ann = t.person("ann").await;
    t.person("ben").await;
    let section = SignUp {
        verification_required: true,
        allowed_domains: vec!["example.org".into()],
        ..SignUp::default()
    };
    t.save_sign_up("root", &section).await.unwrap();
    let session = t.session("ann").await;
    let person = principal(&t, &session).await;
    t.request_email_change(&person, "ben@example.org", &here()).await.unwrap();
    assert!(mails(&t).await.is_empty());
    assert_eq!(t.pending_email_change(&ann.id).await.unwrap().unwrap().0, "ben@example.org");
    let outside = t.request_email_change(&person, "ann@example.net", &here()).await.unwrap_err();
    assert_eq!(field(&outside), Some("email"));
    t.cancel_email_change(&ann.id).await.unwrap();
    assert_eq!(t.pending_email_change(&ann.id).await.unwrap(), None);
    // The same address once an hour from one network, and five changes an hour in all.
    let again = t.request_email_change(&person, "ben@example.org", &here()).await.unwrap_err();
    assert!(matches!(again, RecoveryError::Limited(_)));
    for n in 0..4 {
        t.request_email_change(&person, &format!("p{n}@example.org"), &here()).await.unwrap();
    }
    let many = t.request_email_change(&person, "p9@example.org", &here()).await.unwrap_err();
    assert!(matches!(many, RecoveryError::Limited(_)));
}

/// A mistyped address that was never confirmed may be a stranger's: no way into the account from there.
#[tokio::test]
async fn sec_59_an_address_never_confirmed_gets_no_way_back() {
    let t = testing::accounts("email-typo").await;
    t.person("ann").await;
    t.db.run(sql!("UPDATE users SET email_verified_at = NULL"), &[]).await.unwrap();
    let session = t.session("ann").await;
    let person = principal(&t, &session).await;
    let confirm = change_token(&t, &person, "right@example.org").await;
    t.confirm_email_change(&confirm, &here()).await.unwrap();
    let told = mails(&t).await;
    assert_eq!(kinds(&told), [("email_changed", "ann@example.org")]);
    assert!(told[0].text.contains("revert_token: None"), "{}", told[0].text);
}
