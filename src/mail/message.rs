//! A mail as the bytes that leave (RFC 5322, RFC 2046): plain text and HTML as alternatives.

use std::time::{Duration, UNIX_EPOCH};

use accounts::ClaimedMail;
use base::Micros;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};

use super::SendError;

/// RFC 3834: no vacation notices in reply, please.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Builds the message. Its id follows from the outbox's, so that a mail sent twice after a crash
/// is seen as one.
pub fn build(from: &Mailbox, claimed: &ClaimedMail, now: Micros) -> Result<Message, SendError> {
    let mail = &claimed.mail;
    let to = mail.recipient.parse().map_err(|_| SendError::Refused("the address is not one".to_owned()))?;
    let subject: String = mail.subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let parts = MultiPart::alternative()
        .boundary(format!("=_{}", claimed.id))
        .singlepart(SinglePart::plain(mail.text.clone()))
        .singlepart(SinglePart::html(mail.html.clone()));
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(subject)
        .date(UNIX_EPOCH + Duration::from_micros(u64::try_from(now).unwrap_or(0)))
        .message_id(Some(format!("<{}@{}>", claimed.id, from.email.domain())))
        .header(AutoSubmitted)
        .multipart(parts)
        .map_err(|error| SendError::Refused(error.to_string()))
}
