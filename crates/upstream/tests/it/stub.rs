//! A scripted upstream: each connection takes one request and gets the next reply.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use upstream::{ChatRequest, ChatStream, Delta, Endpoint, Failed, Http, Limits, Message};
use upstream::{Options, Reach, Role, Secret, parse_base_url};

pub const KEY: &str = "sk-test-0123456789abcdef";

/// A reply, piece by piece; after the last piece the connection closes, or hangs open.
#[derive(Clone)]
pub struct Reply {
    pieces: Vec<Vec<u8>>,
    hangs: bool,
}

impl Reply {
    pub fn raw(text: impl Into<Vec<u8>>) -> Self {
        Self { pieces: vec![text.into()], hangs: false }
    }

    pub fn of(status: &str, headers: &str, body: &str) -> Self {
        let headers = format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\n\r\n");
        Self::raw(headers + body)
    }

    pub fn json(body: &str) -> Self {
        Self::of("200 OK", "content-type: application/json\r\n", body)
    }

    pub fn sse(body: &str) -> Self {
        Self::of("200 OK", "content-type: text/event-stream\r\n", body)
    }

    pub fn words(words: &[&str]) -> Self {
        let mut body = String::new();
        for word in words {
            body += &format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{word}\"}}}}]}}\n\n");
        }
        body += "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        body += "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n";
        Self::sse(&(body + "data: [DONE]\n\n"))
    }

    /// Sends every byte on its own.
    pub fn byte_by_byte(mut self) -> Self {
        self.pieces = self.pieces.concat().chunks(1).map(<[u8]>::to_vec).collect();
        self
    }

    pub fn then_hangs(mut self) -> Self {
        self.hangs = true;
        self
    }
}

pub struct Stub {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// Serves the replies in order; the last one again and again.
    pub async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            let mut replies = replies.into_iter();
            let mut reply = replies.next().unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let now = reply.clone();
                reply = replies.next().unwrap_or(reply);
                tokio::spawn(answer(socket, now, Arc::clone(&seen)));
            }
        });
        Self { address, requests }
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub fn endpoint(&self, id: &str) -> Endpoint {
        endpoint(id, &format!("http://{}", self.address))
    }
}

async fn answer(mut socket: TcpStream, reply: Reply, seen: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    let whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        (body.len() >= length).then_some(text)
    };
    let text = loop {
        if let Some(text) = whole(&request) {
            break text;
        }
        if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    };
    seen.lock().unwrap().push(text);
    for piece in &reply.pieces {
        if socket.write_all(piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    if reply.hangs {
        // Until the client gives up.
        while socket.read_buf(&mut request).await.unwrap_or(0) > 0 {}
    }
}

pub fn endpoint(id: &str, base_url: &str) -> Endpoint {
    Endpoint {
        id: id.to_owned(),
        name: format!("The {id}"),
        base_url: parse_base_url(base_url).unwrap(),
        api_key: Some(Secret::new(KEY)),
        reach: Reach::Configured,
    }
}

pub fn http() -> Http {
    Http::new(&Options::default()).unwrap()
}

pub fn request() -> ChatRequest {
    ChatRequest::new("m", vec![Message::new(Role::User, "hello")])
}

/// Short enough for a test of silence.
pub fn limits() -> Limits {
    Limits { first_byte: Duration::from_secs(5), idle: Duration::from_millis(50), max_bytes: 10_000 }
}

/// An answer read to its end.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    pub text: String,
    pub reasoning: String,
    pub usage: Option<(u64, u64)>,
    pub finish_reason: Option<Option<String>>,
    pub failed: Option<Failed>,
}

pub async fn read(mut stream: ChatStream) -> Answer {
    let mut answer = Answer::default();
    while let Some(delta) = stream.next().await {
        match delta {
            Ok(Delta::Text(text)) => answer.text += &text,
            Ok(Delta::Reasoning(text)) => answer.reasoning += &text,
            Ok(Delta::Usage { input, output }) => answer.usage = Some((input, output)),
            Ok(Delta::Done { finish_reason }) => answer.finish_reason = Some(finish_reason),
            Err(failed) => answer.failed = Some(failed),
        }
    }
    assert!(stream.next().await.is_none());
    answer
}
