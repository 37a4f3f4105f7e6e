//! A client for HTTP/1.1 on a connection that is kept: as little work as can be, for it shares the processors with what
//! it measures.

use std::net::{Ipv4Addr, SocketAddr};

use base::Clock;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Result;

/// One connection.
pub struct Connection {
    stream: TcpStream,
    port: u16,
    /// The answer, or what has come of it.
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, where the status is the expected one.
    pub fn json(&self, status: u16) -> Result<Value> {
        if self.status != status {
            return Err(format!("status {} in place of {status}: {}", self.status, self.text()).into());
        }
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// The text of a request. `headers` are whole lines, each with its end.
pub fn request(method: &str, path: &str, port: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = if method == "GET" { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nhost: localhost:{port}\r\nuser-agent: load\r\n{headers}{length}\r\n{body}")
        .into_bytes()
}

impl Connection {
    /// Connects on loopback.
    pub async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, port, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a whole request and reads the whole answer into the buffer; gives its status and where its body stands.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<(u16, std::ops::Range<usize>)> {
        self.stream.write_all(request).await?;
        let head = self.head().await?;
        let length = content_length(&self.buffer[..head]).ok_or("an answer without content-length")?;
        while self.buffer.len() < head + length {
            self.read().await?;
        }
        Ok((status(&self.buffer)?, head..head + length))
    }

    /// Sends a request; gives the answer.
    pub async fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Result<Reply> {
        let request = request(method, path, self.port, headers, body);
        let (status, body) = self.exchange(&request).await?;
        Ok(Reply { status, body: self.buffer[body].to_vec() })
    }

    /// Sends a request whose answer has no end that is known; gives its status. What came of the body stands in
    /// [`Connection::taken`].
    pub async fn start(&mut self, path: &str, headers: &str) -> Result<u16> {
        let request = request("GET", path, self.port, headers, "");
        self.stream.write_all(&request).await?;
        let head = self.head().await?;
        let status = status(&self.buffer)?;
        self.buffer.drain(..head);
        Ok(status)
    }

    /// The bytes of the body that have come and are not taken away yet.
    pub fn taken(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Reads what comes next behind what is there.
    pub async fn read(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err("the connection was closed".into());
        }
        Ok(())
    }

    /// Reads until the head is there; gives where the body begins.
    async fn head(&mut self) -> Result<usize> {
        self.buffer.clear();
        loop {
            self.read().await?;
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Ok(end + 4);
            }
        }
    }
}

/// Where `what` begins in `bytes`.
pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let first = what.first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| byte == first) {
        if bytes[from + at..].starts_with(what) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn status(head: &[u8]) -> Result<u16> {
    let text = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or("no status line")?;
    Ok(text.parse()?)
}

/// The server writes the names of headers in lower case.
fn content_length(head: &[u8]) -> Option<usize> {
    let at = find(head, b"\r\ncontent-length: ")? + 18;
    let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&head[at..at + digits]).ok()?.parse().ok()
}

/// What many connections got in some time.
#[derive(Default)]
pub struct Answers {
    /// Of each answer, in microseconds.
    pub times: Vec<i64>,
    /// For how long, in microseconds.
    pub span: i64,
    /// Of the last body.
    pub bytes: usize,
}

impl Answers {
    /// Adds what another span of time gave.
    pub fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.span += other.span;
        self.bytes = other.bytes;
    }

    pub fn per_second(&self) -> f64 {
        self.times.len() as f64 * 1e6 / self.span as f64
    }
}

/// Sends each connection's request again and again for so many microseconds, after half a second of warming up. Every
/// answer must be a 200.
pub async fn hammer(clock: &Clock, port: u16, requests: &[Vec<u8>], span: i64) -> Result<Answers> {
    let start = clock.monotonic() + 500_000;
    let end = start + span;
    let mut tasks = Vec::new();
    for request in requests {
        let (clock, request) = (clock.clone(), request.clone());
        let mut connection = Connection::open(port).await?;
        tasks.push(tokio::spawn(async move {
            let (mut times, mut bytes) = (Vec::with_capacity(1 << 16), 0);
            loop {
                let before = clock.monotonic();
                if before >= end {
                    return Ok::<_, crate::Error>(Answers { times, span: 0, bytes });
                }
                let (status, body) = connection.exchange(&request).await?;
                if status != 200 {
                    return Err(format!("status {status}").into());
                }
                if before >= start {
                    times.push(clock.monotonic() - before);
                }
                bytes = body.len();
            }
        }));
    }
    let mut all = Answers { span, ..Answers::default() };
    for task in tasks {
        all.add(task.await??);
    }
    Ok(all)
}

/// A quantile by nearest rank; 0 of nothing.
pub fn quantile(times: &mut [i64], q: f64) -> i64 {
    times.sort_unstable();
    let rank = ((times.len() as f64 * q).ceil() as usize).max(1) - 1;
    times.get(rank).copied().unwrap_or(0)
}

/// Microseconds as milliseconds, for the table.
pub fn millis(micros: i64) -> String {
    format!("{:.2} ms", micros as f64 / 1000.0)
}
