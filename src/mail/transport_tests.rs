//! Tests of the transports: against a mail server on loopback, and files.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use std::os::unix::fs::PermissionsExt as _;

use accounts::Mail;
use parts::smtp::{Mode, SmtpStub};

use super::super::message;
use super::*;
use crate::config::Secret;

/// 20 Nov 2026, 14:05:00 UTC.
const NOW: Micros = 1_795_183_500_000_000;

fn claimed() -> ClaimedMail {
    ClaimedMail {
        id: "0193-abc".to_owned(),
        mail: Mail {
            kind: "verify_email".to_owned(),
            recipient: "ann@example.org".to_owned(),
            subject: "Confirm – für Zoë".to_owned(),
            text: "Grüße,\n\nhttps://chat.example.org/verify-email/x=y\n\n.dot\n".to_owned(),
            html: "<p>Grüße</p>".to_owned(),
        },
        attempts: 1,
        created_at: NOW,
    }
}

fn built(claimed: &ClaimedMail) -> Message {
    message::build(&"\"Team, Chat\" <chat@example.org>".parse().unwrap(), claimed, NOW).unwrap()
}

fn to(stub: &SmtpStub) -> MailConfig {
    MailConfig { server: stub.host(), port: stub.port(), ..MailConfig::default() }
}

fn read(bytes: Vec<u8>) -> parts::smtp::Mail {
    parts::smtp::Mail { from: String::new(), to: Vec::new(), data: String::from_utf8(bytes).unwrap() }
}

#[test]
fn a_message_reads_back_as_it_was_written() {
    let mail = read(built(&claimed()).formatted());
    assert_eq!(mail.subject(), "Confirm – für Zoë");
    assert_eq!(mail.header("From").unwrap(), "Team, Chat <chat@example.org>");
    assert_eq!(mail.header("To").unwrap(), "ann@example.org");
    assert_eq!(mail.header("Date").unwrap(), "Fri, 20 Nov 2026 14:05:00 +0000");
    assert_eq!(mail.header("Message-ID").unwrap(), "<0193-abc@example.org>");
    assert_eq!(mail.header("Auto-Submitted").unwrap(), "auto-generated");
    assert!(mail.header("Content-Type").unwrap().starts_with("multipart/alternative"));
    assert_eq!(mail.text().replace("\r\n", "\n").trim_end(), claimed().mail.text.trim_end());
    assert_eq!(mail.html().unwrap().trim_end(), "<p>Grüße</p>");
    assert_eq!(mail.link("/verify-email/").unwrap(), "https://chat.example.org/verify-email/x=y");
    assert!(mail.data.starts_with("From: =?utf-8?"), "a comma in the name stands encoded");
    assert!(mail.data.is_ascii() && mail.data.lines().all(|line| line.len() <= 998));
    // Built again it is the same message, so that a second copy is known as one.
    assert_eq!(built(&claimed()).formatted(), built(&claimed()).formatted());
}

#[test]
fn a_header_cannot_be_smuggled_in() {
    let mut evil = claimed();
    evil.mail.subject = "Hi\r\nBcc: all@example.org\r\n\r\nbody".to_owned();
    let mail = read(built(&evil).formatted());
    assert_eq!(mail.header("Bcc"), None);
    assert!(mail.subject().contains("Bcc: all@example.org"));
    for recipient in
        ["ann@example.org\r\nBcc: all@example.org", "ann@example.org, bob@example.org", "no address"]
    {
        evil.mail.recipient = recipient.to_owned();
        let from = "chat@example.org".parse().unwrap();
        assert!(matches!(message::build(&from, &evil, NOW), Err(SendError::Refused(_))), "{recipient}");
    }
}

#[tokio::test]
async fn a_mail_leaves_by_smtp() {
    let stub = SmtpStub::start().await.unwrap();
    let smtp = SmtpTransport::new(&to(&stub)).unwrap();
    smtp.send(built(&claimed())).await.unwrap();
    let mails = stub.wait_for(1).await;
    assert_eq!(
        (mails[0].from.as_str(), mails[0].to.as_slice()),
        ("chat@example.org", &["ann@example.org".to_owned()][..])
    );
    assert_eq!(mails[0].subject(), "Confirm – für Zoë");
    assert!(mails[0].text().contains("\r\n.dot") || mails[0].text().contains("\n.dot"));
    assert_eq!(stub.logins(), []);
}

#[tokio::test]
async fn it_signs_in_with_the_password_as_it_is() {
    let stub = SmtpStub::start().await.unwrap();
    let config = MailConfig { username: "007".to_owned(), password: Secret::new("0123 456=é"), ..to(&stub) };
    SmtpTransport::new(&config).unwrap().send(built(&claimed())).await.unwrap();
    assert_eq!(stub.logins(), [("007".to_owned(), "0123 456=é".to_owned())]);
}

#[tokio::test]
async fn a_server_without_starttls_gets_neither_password_nor_mail() {
    let stub = SmtpStub::start().await.unwrap();
    let config =
        MailConfig { use_tls: true, username: "u".to_owned(), password: Secret::new("secret"), ..to(&stub) };
    let error = SmtpTransport::new(&config).unwrap().send(built(&claimed())).await.unwrap_err();
    assert!(matches!(error, SendError::Later(_)), "{error}");
    assert!(stub.messages().is_empty() && stub.logins().is_empty());
}

#[tokio::test]
async fn failures_are_told_apart_and_name_no_recipient() {
    let stub = SmtpStub::start().await.unwrap();
    let smtp = SmtpTransport::new(&to(&stub)).unwrap().within(Duration::from_millis(200));
    let error = async |mode| {
        stub.set_mode(mode);
        smtp.send(built(&claimed())).await.unwrap_err()
    };
    assert!(
        matches!(error(Mode::Reject).await, SendError::Refused(words) if words.contains("no such mailbox"))
    );
    assert!(matches!(error(Mode::Later).await, SendError::Later(words) if words.contains("try again later")));
    assert!(matches!(error(Mode::HangUp).await, SendError::Later(_)));
    assert!(
        matches!(error(Mode::Dead).await, SendError::Later(words) if words.contains("did not answer in time"))
    );
    let config = to(&stub);
    drop(stub);
    let gone = SmtpTransport::new(&config).unwrap().send(built(&claimed())).await.unwrap_err();
    assert!(matches!(&gone, SendError::Later(words) if !words.contains("ann@example.org")), "{gone}");
}

#[tokio::test]
async fn without_a_server_a_mail_is_a_file_for_the_operator_only() {
    let folder = std::env::temp_dir().join(format!("anteroom-mail-{}", std::process::id()));
    let files = FileTransport::new(folder.join("mail"));
    let claimed = claimed();
    files.send(&claimed, &built(&claimed), NOW).await.unwrap();
    let names: Vec<String> = std::fs::read_dir(folder.join("mail"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["2026-11-20T14-05-00Z-verify_email-0193-abc.eml"]);
    let path = folder.join("mail").join(&names[0]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&folder.join("mail"))), (0o600, 0o700));
    assert_eq!(read(std::fs::read(&path).unwrap()).subject(), "Confirm – für Zoë");
    // Sent again after a crash it is the same file.
    files.send(&claimed, &built(&claimed), NOW).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.join("mail")).unwrap().count(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(file_name("../x", "a/b", 0), "1970-01-01T00-00-00Z-x-ab.eml");
}
