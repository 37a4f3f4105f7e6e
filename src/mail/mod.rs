//! Mail: what it says, how it leaves, and the worker that sends what the outbox of `accounts`
//! holds. A request only puts a mail into the outbox (SEC-62).

mod message;
mod notices;
mod templates;
mod transport;
mod worker;
mod wrap;

use std::fmt;

use accounts::{ClaimedMail, Mail};
use base::Micros;
use lettre::message::Mailbox;

use crate::config::Config;
pub use notices::AccountMails;
use transport::Transport;
pub use transport::{FileTransport, SendError, SmtpTransport};
pub use worker::{run_outbox, send_due};

/// Why there can be no mail with this configuration, in one line.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    #[error("mail.from {0:?}: not an address")]
    From(String),
    #[error("mail.server: {0}")]
    Server(String),
}

/// Makes mails and sends them.
pub struct Mailer {
    from: Mailbox,
    transport: Transport,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Mailer {
    /// By SMTP, or into files where no server is configured. Connects to nobody yet.
    ///
    /// # Errors
    /// The sender's address or the server's name cannot be used.
    pub fn new(config: &Config) -> Result<Self, MailerError> {
        let from = config.mail_from();
        let transport = if config.mail.is_configured() {
            Transport::Smtp(SmtpTransport::new(&config.mail)?)
        } else {
            Transport::Files(FileTransport::new(config.server.data_dir.join("mail")))
        };
        Ok(Self { from: from.parse().map_err(|_| MailerError::From(from))?, transport })
    }

    /// Connects to the mail server and signs in there, without sending anything. Without a server
    /// there is nothing to look at.
    ///
    /// # Errors
    /// What keeps mail from leaving.
    pub async fn check(&self) -> Result<(), SendError> {
        match &self.transport {
            Transport::Smtp(smtp) => smtp.check().await,
            Transport::Files(_) => Ok(()),
        }
    }

    /// Sends one mail of the outbox.
    ///
    /// # Errors
    /// What kept it from leaving; it may be tried again.
    pub async fn send(&self, claimed: &ClaimedMail, now: Micros) -> Result<(), SendError> {
        let message = message::build(&self.from, claimed, now)?;
        match &self.transport {
            Transport::Smtp(smtp) => smtp.send(message).await,
            Transport::Files(files) => files.send(claimed, &message, now).await,
        }
    }

    /// Asks the owner of an address to confirm it. `link` is absolute, as in all of these.
    pub fn verify_email(&self, site: &str, to: &str, first_name: &str, link: &str) -> Mail {
        templates::verify_email(site, to, first_name, link)
    }

    /// Says that the account is ready.
    pub fn welcome(&self, site: &str, to: &str, first_name: &str, link: &str) -> Mail {
        templates::welcome(site, to, first_name, link)
    }

    /// Tells the owner of an account that somebody tried to sign up with its address (SEC-11).
    pub fn already_registered(&self, site: &str, to: &str, first_name: &str, link: &str) -> Mail {
        templates::already_registered(site, to, first_name, link)
    }
}
