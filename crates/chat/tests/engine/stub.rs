//! An OpenAI-compatible server whose every answer is in the test's hands.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub struct Stub {
    listener: TcpListener,
    pub base_url: String,
}

/// A request that waits for its answer.
pub struct Call {
    socket: TcpStream,
    /// The body that was sent.
    pub request: Value,
}

impl Stub {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        Self { listener, base_url }
    }

    /// The next request; nothing is answered yet.
    pub async fn call(&self) -> Call {
        let (mut socket, _) = self.listener.accept().await.unwrap();
        let mut read = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let n = socket.read(&mut buffer).await.unwrap();
            assert!(n > 0, "the request ended early");
            read.extend_from_slice(&buffer[..n]);
            let text = String::from_utf8_lossy(&read);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length: usize = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned))
                .map_or(0, |length| length.trim().parse().unwrap());
            if body.len() >= length {
                let request = serde_json::from_str(body).unwrap();
                return Call { socket, request };
            }
        }
    }

    /// The next request, with a stream begun.
    pub async fn stream(&self) -> Call {
        let mut call = self.call().await;
        call.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").await;
        call
    }
}

impl Call {
    async fn send(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
        self.socket.flush().await.unwrap();
    }

    pub async fn say(&mut self, text: &str) {
        let chunk = json!({"choices": [{"delta": {"content": text}}]});
        self.send(&format!("data: {chunk}\n\n")).await;
    }

    pub async fn done(self) {
        self.done_with(11, 7).await;
    }

    /// The end with these token counts.
    pub async fn done_with(mut self, prompt_tokens: u64, completion_tokens: u64) {
        let usage = json!({"choices": [], "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}});
        self.send(&format!("data: {usage}\n\ndata: [DONE]\n\n")).await;
    }

    /// An error in the middle of the stream.
    pub async fn fail(mut self, message: &str) {
        let error = json!({"error": {"message": message}});
        self.send(&format!("data: {error}\n\n")).await;
    }

    pub async fn refuse(mut self, status: u16, message: &str) {
        let body = json!({"error": {"message": message}}).to_string();
        let head = format!("HTTP/1.1 {status} No\r\ncontent-type: application/json\r\nconnection: close");
        self.send(&format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    }

    /// Waits until the caller hangs up.
    pub async fn hung_up(mut self) {
        let mut buffer = [0; 64];
        while self.socket.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    }

    /// What the model is told: role and text.
    pub fn told(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let messages = self.request["messages"].as_array().unwrap();
        messages.iter().map(|message| (text(&message["role"]), text(&message["content"]))).collect()
    }
}
