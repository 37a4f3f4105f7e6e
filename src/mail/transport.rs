//! How a mail leaves: by SMTP, or as a file where no server is configured.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use accounts::ClaimedMail;
use base::Micros;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use time::OffsetDateTime;

use super::MailerError;
use crate::config::Mail as MailConfig;

/// How long the server may take for one command, and for the whole mail.
const COMMAND: Duration = Duration::from_secs(20);
const WHOLE: Duration = Duration::from_secs(30);

/// Why a mail did not leave. The texts are for the operator and hold no recipient.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Perhaps later: no connection, a busy server, a wrong password.
    #[error("{0}")]
    Later(String),
    /// This recipient is refused for good.
    #[error("{0}")]
    Refused(String),
}

pub(super) enum Transport {
    Smtp(SmtpTransport),
    Files(FileTransport),
}

/// An SMTP server (RFC 5321), with a new connection for each mail.
pub struct SmtpTransport {
    inner: AsyncSmtpTransport<Tokio1Executor>,
    whole: Duration,
}

impl SmtpTransport {
    /// # Errors
    /// The server's name cannot stand in a certificate.
    pub fn new(config: &MailConfig) -> Result<Self, MailerError> {
        let tls = || {
            TlsParameters::new(config.server.clone()).map_err(|error| MailerError::Server(error.to_string()))
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.server)
            .port(config.smtp_port())
            .timeout(Some(COMMAND));
        if config.use_ssl {
            builder = builder.tls(Tls::Wrapper(tls()?));
        } else if config.use_tls {
            // Required: a server that does not offer STARTTLS gets no password and no mail.
            builder = builder.tls(Tls::Required(tls()?));
        }
        if !config.username.is_empty() {
            let password = config.password.expose().to_owned();
            builder = builder.credentials(Credentials::new(config.username.clone(), password));
        }
        Ok(Self { inner: builder.build(), whole: WHOLE })
    }

    /// A whole mail may take no longer than this.
    #[cfg(test)]
    pub(super) fn within(self, whole: Duration) -> Self {
        Self { whole, ..self }
    }

    /// Connects and signs in, and sends nothing.
    pub(super) async fn check(&self) -> Result<(), SendError> {
        match tokio::time::timeout(self.whole, self.inner.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(SendError::Later("the mail server hung up".to_owned())),
            Ok(Err(error)) => Err(SendError::Later(words(&error))),
            Err(_) => Err(SendError::Later("the mail server did not answer in time".to_owned())),
        }
    }

    pub(super) async fn send(&self, message: Message) -> Result<(), SendError> {
        let recipient = message.envelope().to().first().map(ToString::to_string).unwrap_or_default();
        match tokio::time::timeout(self.whole, self.inner.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                // Servers repeat the address, which has no place in a log.
                let words = words(&error).replace(&recipient, "the recipient");
                // RFC 5321, 4.2.3: no such mailbox, not here, a name that is not allowed.
                let refused = error.status().is_some_and(|code| matches!(u16::from(code), 550 | 551 | 553));
                Err(if refused { SendError::Refused(words) } else { SendError::Later(words) })
            }
            Err(_) => Err(SendError::Later("the mail server did not answer in time".to_owned())),
        }
    }
}

/// An error with its cause.
fn words(error: &lettre::transport::smtp::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A folder that mails are written to, one file each.
pub struct FileTransport {
    folder: PathBuf,
}

impl FileTransport {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) async fn send(
        &self,
        claimed: &ClaimedMail,
        message: &Message,
        now: Micros,
    ) -> Result<(), SendError> {
        let path = self.folder.join(file_name(&claimed.mail.kind, &claimed.id, now));
        let bytes = message.formatted();
        let folder = self.folder.clone();
        let shown = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || write_private(&folder, &path, &bytes)).await;
        match written {
            Ok(Ok(())) => {
                tracing::info!(
                    mail.kind = claimed.mail.kind,
                    mail.file = shown,
                    "a mail was written to a file"
                );
                Ok(())
            }
            Ok(Err(error)) => Err(SendError::Later(format!("{shown} cannot be written: {error}"))),
            Err(error) => Err(SendError::Later(error.to_string())),
        }
    }
}

/// `<time>-<kind>-<id>.eml`, which sorts by time.
fn file_name(kind: &str, id: &str, now: Micros) -> String {
    let at = OffsetDateTime::from_unix_timestamp(now / base::SECOND).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    let (month, [hour, minute, second]) =
        (u8::from(date.month()), [time.hour(), time.minute(), time.second()]);
    let clean = |text: &str| -> String {
        text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect()
    };
    format!(
        "{:04}-{month:02}-{:02}T{hour:02}-{minute:02}-{second:02}Z-{}-{}.eml",
        date.year(),
        date.day(),
        clean(kind),
        clean(id)
    )
}

/// Only the owner may read what holds live links. Written beside and moved: a file is complete.
fn write_private(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let mut folders = std::fs::DirBuilder::new();
    folders.recursive(true);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    folders.create(folder)?;
    let beside = path.with_extension("part");
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
