//! Mail: whether the server takes it, and whether any is stuck.

use accounts::{ClaimedMail, Mail};

use super::Finding;
use crate::app::{App, Outside};
use crate::config::Config;
use crate::mail::Mailer;
use crate::view::format;

/// Connects to the mail server, and sends a test mail where an address is given.
pub async fn check(config: &Config, outside: &Outside, to: Option<&str>) -> Vec<Finding> {
    let mailer = match Mailer::new(config) {
        Ok(mailer) => mailer,
        Err(error) => return vec![Finding::fail("mail", error.to_string())],
    };
    let from = config.mail_from();
    let mut findings = Vec::new();
    if config.mail.is_configured() {
        let server = format!("{}:{}", config.mail.server, config.mail.smtp_port());
        findings.push(match mailer.check().await {
            Ok(()) => Finding::ok("mail", format!("{server} lets us in; mails come from {from}")),
            Err(error) => Finding::fail("mail", format!("{server}: {error}; check the section mail")),
        });
    } else {
        findings.push(Finding::warn(
            "mail",
            format!("no mail server is set: mails are files in {}", folder(config)),
        ));
    }
    if let Some(to) = to {
        let now = outside.clock.now();
        let test = ClaimedMail {
            id: outside.random.id(now),
            mail: test_mail(&config.server.site_name, &config.public_origin(), to),
            attempts: 1,
            created_at: now,
        };
        findings.push(match mailer.send(&test, now).await {
            Ok(()) if config.mail.is_configured() => Finding::ok(
                "test mail",
                format!("the server took it for {to}; look into that mailbox, and into its spam"),
            ),
            Ok(()) => Finding::ok("test mail", format!("written to {}", folder(config))),
            Err(error) => Finding::fail("test mail", format!("it did not leave: {error}")),
        });
    }
    findings
}

/// Where mails lie without a server.
pub fn folder(config: &Config) -> String {
    config.server.data_dir.join("mail").display().to_string()
}

fn test_mail(site: &str, origin: &str, to: &str) -> Mail {
    let words = "This is a test. Mail from this installation arrives here; nothing else is to do.";
    Mail {
        kind: "test".to_owned(),
        recipient: to.to_owned(),
        subject: format!("{site}: test mail"),
        text: format!("{words}\n\n{origin}\n"),
        // An origin has no letters that mean something to HTML.
        html: format!("<p>{words}</p><p>{origin}</p>"),
    }
}

/// Mails that wait though they should have left.
pub async fn outbox(app: &App) -> Option<Finding> {
    match app.accounts.mail_trouble().await {
        Ok(None) => None,
        Ok(Some(trouble)) => {
            let waiting = format::counted(trouble.waiting, "mail waits", "mails wait");
            let error =
                trouble.last_error.map_or_else(String::new, |error| format!("; the last error: {error}"));
            Some(Finding::warn(
                "outbox",
                format!("{waiting}, {} given up in the last 30 days{error}", trouble.given_up),
            ))
        }
        Err(error) => Some(Finding::fail("outbox", error.to_string())),
    }
}
