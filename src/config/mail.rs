//! `[mail]`: the SMTP server, or files where there is none.

use lettre::message::Mailbox;

use super::section::section;
use super::value::Secret;

section! {
    /// The mail server. Without one, mails are written as files to `mail` in the data folder.
    Mail in "mail" {
        /// Host name of the SMTP server. Variable: `MAIL_SERVER`.
        server: String = String::new(),
        /// Port of the SMTP server; 0 is 465 with `use_ssl`, 587 with `use_tls`, else 25.
        /// Variable: `MAIL_PORT`.
        port: u16 = 0,
        /// Begin in the clear and demand encryption by STARTTLS. Variable: `MAIL_USE_TLS`.
        use_tls: bool = false,
        /// Encrypt from the first byte. Variable: `MAIL_USE_SSL`.
        use_ssl: bool = false,
        /// Name to sign in with; empty to send without. Variable: `MAIL_USERNAME`.
        username: String = String::new(),
        /// Password to sign in with. Variable: `MAIL_PASSWORD`.
        password: Secret = Secret::default(),
        /// Sender, as `name@example.org` or `Team chat <name@example.org>`; empty is
        /// `anteroom@` and the host of the public URL. Variables: `MAIL_FROM` or
        /// `MAIL_DEFAULT_SENDER`.
        from: String = String::new(),
    }
}

impl Mail {
    pub(super) fn check(&self, wrong: &mut super::Problems) {
        if self.use_tls && self.use_ssl {
            wrong.say("mail.use_ssl", "set this or mail.use_tls, not both");
        }
        if self.server.chars().any(|c| c.is_whitespace() || c.is_control() || "/:@".contains(c)) {
            wrong.add("mail.server", "a host name, without a port");
        }
        if !self.from.is_empty() && self.from.parse::<Mailbox>().is_err() {
            wrong.add("mail.from", "an address such as name@example.org or Name <name@example.org>");
        }
        if self.username.is_empty() && !self.password.is_empty() {
            wrong.say("mail.password", "needs mail.username too");
        }
    }

    /// Whether mails leave by SMTP.
    pub fn is_configured(&self) -> bool {
        !self.server.is_empty()
    }

    /// The port that is used.
    pub fn smtp_port(&self) -> u16 {
        match self.port {
            0 if self.use_ssl => 465,
            0 if self.use_tls => 587,
            0 => 25,
            port => port,
        }
    }
}

/// `text` as the name before an address: quoted (RFC 5322, 3.2.4).
pub(super) fn phrase(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
}
