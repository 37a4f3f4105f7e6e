//! A mail server on loopback that keeps what it gets, or refuses it (RFC 5321, as much as a mailer needs; no TLS).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

pub use crate::mail::Mail;
use crate::wait_until;

/// What the server does with who comes; it may change while the server runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mode {
    /// Takes every mail.
    #[default]
    Accept,
    /// Refuses every recipient for good (550).
    Reject,
    /// Asks every mail to come again later (451).
    Later,
    /// Takes the connection and says nothing.
    Dead,
    /// Hangs up at once.
    HangUp,
}

#[derive(Default)]
struct State {
    mode: Mutex<Mode>,
    mails: Mutex<Vec<Mail>>,
    /// The user names and passwords that were given by AUTH PLAIN.
    logins: Mutex<Vec<(String, String)>>,
    tries: Mutex<usize>,
    changed: Notify,
}

/// A running mail server; gone when dropped.
pub struct SmtpStub {
    address: SocketAddr,
    state: Arc<State>,
    task: AbortHandle,
}

impl SmtpStub {
    /// Starts on a free port of loopback.
    ///
    /// # Errors
    /// Where no port can be bound.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                tokio::spawn(async move {
                    *state.tries.lock() += 1;
                    state.changed.notify_waiters();
                    // A client that hangs up in the middle is its own affair.
                    drop(converse(stream, &state).await);
                });
            }
        });
        Ok(Self { address, state, task: task.abort_handle() })
    }

    /// `127.0.0.1`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.ip().to_string()
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on does this with every new connection and mail.
    pub fn set_mode(&self, mode: Mode) {
        *self.state.mode.lock() = mode;
    }

    /// All mails taken so far, oldest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Mail> {
        self.state.mails.lock().clone()
    }

    /// The mails to that address, oldest first.
    #[must_use]
    pub fn to(&self, address: &str) -> Vec<Mail> {
        self.messages().into_iter().filter(|mail| mail.to.iter().any(|to| to == address)).collect()
    }

    /// The user names and passwords given so far.
    #[must_use]
    pub fn logins(&self) -> Vec<(String, String)> {
        self.state.logins.lock().clone()
    }

    /// How many connections came, in whatever mode.
    #[must_use]
    pub fn tries(&self) -> usize {
        *self.state.tries.lock()
    }

    /// Waits until at least `n` mails were taken, and gives them all.
    ///
    /// # Panics
    /// After [`crate::PATIENCE`].
    pub async fn wait_for(&self, n: usize) -> Vec<Mail> {
        wait_until(&self.state.changed, &format!("{n} mails"), || self.state.mails.lock().len() >= n).await;
        self.messages()
    }

    /// Waits until at least one mail to that address was taken, and gives the last one.
    ///
    /// # Panics
    /// After [`crate::PATIENCE`].
    pub async fn wait_to(&self, address: &str) -> Mail {
        wait_until(&self.state.changed, &format!("a mail to {address}"), || !self.to(address).is_empty())
            .await;
        self.to(address).pop().unwrap_or_else(|| unreachable!("mails are never removed"))
    }

    /// Waits until at least `n` connections came.
    ///
    /// # Panics
    /// After [`crate::PATIENCE`].
    pub async fn wait_tries(&self, n: usize) {
        wait_until(&self.state.changed, &format!("{n} connections to the mail server"), || self.tries() >= n)
            .await;
    }
}

impl Drop for SmtpStub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mode = *state.mode.lock();
    match mode {
        Mode::Dead => std::future::pending().await,
        Mode::HangUp => return Ok(()),
        _ => {}
    }
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 stub ESMTP\r\n").await?;
    let (mut from, mut to) = (String::new(), Vec::new());
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.trim_end();
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            "EHLO" => "250-stub\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-AUTH PLAIN\r\n250 SIZE 10485760",
            "HELO" | "NOOP" => "250 stub",
            "AUTH" => {
                state.logins.lock().extend(login(command));
                "235 2.7.0 welcome"
            }
            "MAIL" => {
                from = address(command);
                "250 2.1.0 ok"
            }
            "RCPT" if mode == Mode::Reject => "550 5.1.1 no such mailbox",
            "RCPT" if mode == Mode::Later => "451 4.3.0 try again later",
            "RCPT" => {
                to.push(address(command));
                "250 2.1.5 ok"
            }
            "RSET" => {
                to.clear();
                "250 2.0.0 ok"
            }
            "DATA" if to.is_empty() => "503 5.5.1 no recipients",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let data = message(&mut stream).await?;
                let mail = Mail { from: from.clone(), to: std::mem::take(&mut to), data };
                state.mails.lock().push(mail);
                state.changed.notify_waiters();
                "250 2.0.0 kept"
            }
            "QUIT" => {
                stream.write_all(b"221 2.0.0 bye\r\n").await?;
                return Ok(());
            }
            _ => "502 5.5.2 unknown command",
        };
        stream.write_all(reply.as_bytes()).await?;
        stream.write_all(b"\r\n").await?;
    }
}

/// What stands between the angle brackets.
fn address(command: &str) -> String {
    let inner = command.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map(|(address, _)| address.to_owned()).unwrap_or_default()
}

/// Name and password of `AUTH PLAIN <base64>`.
fn login(command: &str) -> Option<(String, String)> {
    use base64::Engine as _;
    let raw = base64::engine::general_purpose::STANDARD.decode(command.split(' ').nth(2)?).ok()?;
    let text = String::from_utf8(raw).ok()?;
    let mut fields = text.split('\0').skip(1);
    Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
}

/// Reads up to the lone dot.
async fn message(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut data = String::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(data);
        }
        let text = String::from_utf8_lossy(&line);
        data.push_str(text.strip_prefix('.').unwrap_or(&text));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test panics to fail")]

    use super::{Mode, SmtpStub};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn say(stub: &SmtpStub, lines: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect((stub.host(), stub.port())).await.unwrap();
        stream.write_all(lines.as_bytes()).await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        heard
    }

    const MAIL: &str = "EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\nMAIL FROM:<a@x.org>\r\nRCPT TO:<b@x.org>\r\nDATA\r\n\
        Subject: Hi\r\n\r\n..dotted\r\n.\r\nQUIT\r\n";

    #[tokio::test]
    async fn a_mail_is_kept() {
        let stub = SmtpStub::start().await.unwrap();
        assert!(say(&stub, MAIL).await.ends_with("221 2.0.0 bye\r\n"));
        let mail = &stub.wait_for(1).await[0];
        assert_eq!(
            (mail.from.as_str(), mail.subject().as_str(), mail.text().as_str()),
            ("a@x.org", "Hi", ".dotted\r\n")
        );
        assert_eq!(stub.wait_to("b@x.org").await.data, mail.data);
        assert_eq!(stub.logins(), [("ann".to_owned(), "secret".to_owned())]);
    }

    #[tokio::test]
    async fn a_mail_is_refused() {
        let stub = SmtpStub::start().await.unwrap();
        for (mode, reply) in [(Mode::Reject, "550 "), (Mode::Later, "451 ")] {
            stub.set_mode(mode);
            let heard = say(&stub, "EHLO me\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nQUIT\r\n").await;
            assert!(heard.contains(reply), "{heard}");
        }
        stub.set_mode(Mode::HangUp);
        assert_eq!(say(&stub, "").await, "");
        assert!(stub.messages().is_empty());
        stub.wait_tries(3).await;
    }
}
