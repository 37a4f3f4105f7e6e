//! Tests of the words: every kind of notice in both parts, and what hostile names cannot do.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::config::Flags;

const NOW: Micros = 1_795_183_500_000_000;
const TOKEN: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

fn every_kind() -> Vec<Notice> {
    let token = || TOKEN.to_owned();
    vec![
        Notice::NewDevice,
        Notice::SignedInAfterFailures { failures: 1 },
        Notice::SignedInAfterFailures { failures: 7 },
        Notice::SecondFactorFailed,
        Notice::SecondFactorLocked { until: NOW + 15 * base::MINUTE },
        Notice::PasswordChanged,
        Notice::PasswordReset,
        Notice::TotpOn,
        Notice::TotpReplaced,
        Notice::TotpOff,
        Notice::BackupCodesMade,
        Notice::BackupCodeUsed { left: 9 },
        Notice::BackupCodeUsed { left: 0 },
        Notice::EmailCodesOn,
        Notice::EmailCodesOff,
        Notice::PasskeyAdded { name: "ThinkPad, fingerprint".into() },
        Notice::PasskeyRemoved { name: "ThinkPad, fingerprint".into() },
        Notice::FactorsReset { by: Some("root".into()), reason: "The phone was stolen.".into() },
        Notice::FactorsReset { by: None, reason: String::new() },
        Notice::EmailCode { code: "40718236".into(), for_step_up: false },
        Notice::EmailCode { code: "40718236".into(), for_step_up: true },
        Notice::ResetLink { token: token(), by_admin: false },
        Notice::ResetLink { token: token(), by_admin: true },
        Notice::ConfirmNewEmail { token: token() },
        Notice::EmailChanged { new_email: "new@example.net".into(), revert_token: Some(token()) },
        Notice::EmailChanged { new_email: "new@example.net".into(), revert_token: None },
        Notice::EmailReverted,
        Notice::IdentityLinked { provider: "GitHub".into(), shown_as: "octo.ann".into() },
        Notice::IdentityUnlinked { provider: "GitHub".into(), shown_as: "octo.ann".into() },
        Notice::LinkIdentity { token: token(), provider: "GitHub".into(), shown_as: "octo.ann".into() },
    ]
}

fn mails() -> AccountMails {
    let env = BTreeMap::from([("ANTEROOM_PUBLIC_URL".to_owned(), "https://chat.example.org".to_owned())]);
    AccountMails::new(&Config::load(&Flags::default(), &env, Path::new("/")).unwrap().0)
}

fn user() -> User {
    User {
        id: "0193".into(),
        username: "ann.lee".into(),
        email: "ann@example.org".into(),
        first_name: "Ann Marie".into(),
        last_name: "Lee".into(),
        created_at: 1,
        email_verified_at: Some(1),
        deactivated_at: None,
        expires_at: None,
        last_seen_at: None,
    }
}

fn client(user_agent: &str) -> Option<Client> {
    Some(Client::new("203.0.113.9".parse().unwrap(), user_agent))
}

fn mail(notice: &Notice) -> Mail {
    let about = Circumstances { at: NOW, client: client(FIREFOX) };
    mails().mail("Team <Chat>", "to@example.org", &user(), notice, &about)
}

/// SEC-32, SEC-96
#[test]
fn sec_96_every_mail_says_what_when_where_and_what_if_it_was_not_you() {
    let mut subjects = std::collections::BTreeSet::new();
    for notice in every_kind() {
        let mail = mail(&notice);
        assert_eq!((mail.kind.as_str(), mail.recipient.as_str()), (notice.kind(), "to@example.org"));
        assert!(
            mail.subject.contains("Team <Chat>") && mail.subject.chars().count() <= 60,
            "{}",
            mail.subject
        );
        subjects.insert(mail.subject.clone());
        for text in [&mail.text, &mail.html] {
            for part in [
                "Hello Ann Marie,",
                "20 November 2026, 14:05 UTC",
                "Firefox on Linux, IP address 203.0.113.9",
            ] {
                assert!(text.contains(part), "{part} in {text}");
            }
            assert!(text.contains("not you") || text.contains("did not ask"), "{text}");
            assert!(!text.contains("Something changed"), "{notice:?}");
            let is_a_link = match &notice {
                Notice::ResetLink { .. } | Notice::ConfirmNewEmail { .. } | Notice::LinkIdentity { .. } => {
                    true
                }
                Notice::EmailChanged { revert_token, .. } => revert_token.is_some(),
                _ => false,
            };
            assert_eq!(text.contains(TOKEN), is_a_link, "{text}");
            // SEC-97: neither the notice nor the mail shows it where it is only named.
            assert!(!format!("{notice:?} {mail:?}").contains(TOKEN));
        }
        let unlinked = mail.text.lines().filter(|line| !line.trim_start().starts_with("https://"));
        assert!(unlinked.clone().all(|line| line.chars().count() <= 78), "{}", mail.text);
        assert!(unlinked.clone().all(|line| !line.contains("://")), "{}", mail.text);
        assert!(!mail.text.contains("\n\n\n"), "{}", mail.text);
        assert!(!mail.html.contains("<Chat>") && !mail.html.contains("<img") && !mail.html.contains("src="));
        for link in mail.html.split("href=\"").skip(1) {
            assert!(link.starts_with("https://chat.example.org/"), "{link}");
        }
    }
    assert!(subjects.len() >= 21, "{subjects:?}");
}

/// SEC-96: where somebody else may be in the account, the mail names what to do.
#[test]
fn sec_96_the_way_out_is_concrete() {
    for notice in every_kind() {
        let harmless = match &notice {
            Notice::ResetLink { .. } | Notice::ConfirmNewEmail { .. } | Notice::LinkIdentity { .. } => true,
            Notice::EmailChanged { revert_token, .. } => revert_token.is_none(),
            _ => false,
        };
        let mail = mail(&notice);
        for text in [&mail.text, &mail.html] {
            assert_eq!(text.contains("https://chat.example.org/forgot"), !harmless, "{text}");
            assert_eq!(text.contains("Tell an Admin of Team"), !harmless, "{text}");
        }
    }
}

/// SEC-48, SEC-64: each mail carries its one secret, in the body only.
#[test]
fn sec_64_links_and_codes_stand_in_the_body_and_lead_to_the_configured_url() {
    for (notice, part) in [
        (
            Notice::ResetLink { token: TOKEN.into(), by_admin: false },
            format!("https://chat.example.org/reset/{TOKEN}"),
        ),
        (
            Notice::ConfirmNewEmail { token: TOKEN.into() },
            format!("https://chat.example.org/confirm-email/{TOKEN}"),
        ),
        (
            Notice::EmailChanged { new_email: "x@example.net".into(), revert_token: Some(TOKEN.into()) },
            format!("https://chat.example.org/revert-email/{TOKEN}"),
        ),
        (Notice::EmailCode { code: "40718236".into(), for_step_up: false }, "40718236".to_owned()),
    ] {
        let mail = mail(&notice);
        assert!(mail.text.contains(&part) && mail.html.contains(&part), "{}", mail.text);
        assert!(!mail.subject.contains("40718236"));
    }
}

#[test]
fn other_peoples_texts_carry_no_message_and_no_link() {
    let name = "Win at https://evil.example/x, mail win@evil.example“ <b>now</b>\r\nBcc: x";
    for notice in [
        Notice::PasskeyAdded { name: name.into() },
        Notice::PasskeyRemoved { name: name.repeat(9) },
        Notice::FactorsReset { by: Some("evil.example".into()), reason: name.into() },
    ] {
        let about = Circumstances { at: NOW, client: client("evil.example/1.0") };
        let user = User { first_name: "http://evil.example".into(), ..user() };
        let mail = mails().mail("Chat", "to@example.org", &user, &notice, &about);
        for text in [&mail.text, &mail.html, &mail.subject] {
            assert!(!text.contains("evil.example") && !text.contains("https://evil"), "{text}");
            assert!(!text.contains("win@evil") && !text.contains("<b>now"), "{text}");
        }
        assert!(
            mail.text.contains("Hello,") && mail.text.contains("From: IP address 203.0.113.9"),
            "{}",
            mail.text
        );
        assert!(!mail.text.contains('\r'));
    }
    assert_eq!(quoted("YubiKey 5", 60), "“YubiKey 5”");
    assert_eq!(quoted(&"x".repeat(70), 60).chars().count(), 63);
    assert_eq!(hinted("new.name@example.net"), "n… at “example. net”");
}

#[test]
fn sec_96_where_no_browser_was_the_mail_says_who_acted() {
    let about = Circumstances { at: NOW, client: None };
    let reset = |by: Option<&str>| Notice::FactorsReset { by: by.map(str::to_owned), reason: "lost".into() };
    let link = Notice::ResetLink { token: TOKEN.into(), by_admin: true };
    for (notice, place) in [
        (reset(None), "the server's command line"),
        (reset(Some("root")), "the administration of Chat"),
        (link, "the administration of Chat"),
    ] {
        let mail = mails().mail("Chat", "to@example.org", &user(), &notice, &about);
        assert!(mail.text.contains(&format!("From: {place}")), "{}", mail.text);
    }
}
