//! A model server of another project behind the application: LiteLLM's proxy with a mock answer.
//!
//! LiteLLM streams where it is asked to, and the application always asks. For the other case a relay before LiteLLM asks
//! it for a whole answer, which the application then gets as LiteLLM wrote it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base::Db;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Connection, find};
use crate::server::{Process, Setup};
use crate::{Bench, Result, world};

/// LiteLLM asks for one.
const KEY: &str = "sk-of-the-benchmark-0123456789abcdef";
const MODEL: &str = "mock-model";
const ANSWER: &str = "This answer was made by another project.";

/// Starts LiteLLM's proxy.
async fn litellm(bench: &Bench, program: &Path) -> Result<Process> {
    let folder = bench.work.join("litellm");
    std::fs::create_dir_all(&folder)?;
    let config = format!(
        "model_list:\n  - model_name: {MODEL}\n    litellm_params:\n      model: openai/mock\n      api_key: none\n      \
         mock_response: \"{ANSWER}\"\n"
    );
    std::fs::write(folder.join("config.yaml"), config)?;
    let port = parts::free_address()?.port();
    let mut command = Command::new(program);
    command
        .args([
            "--config",
            "config.yaml",
            "--host",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--telemetry",
            "False",
        ])
        .env("LITELLM_MASTER_KEY", KEY)
        // It would fetch its list of prices.
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    Process::start(command, &folder, port, "/health/liveliness", &bench.clock).await
}

/// Asks LiteLLM for whole answers, whatever it is asked for itself. Gives its port.
async fn relay(upstream: u16) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Err(error) = hand_on(stream, upstream).await {
                    eprintln!("   relay: {error}");
                }
            });
        }
    });
    Ok(port)
}

async fn hand_on(mut stream: TcpStream, upstream: u16) -> Result<()> {
    let mut bytes = Vec::new();
    let (method, path, body) = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        let Some(end) = find(&bytes, b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        if bytes.len() < end + 4 + length.parse::<usize>()? {
            continue;
        }
        let line = String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned();
        let mut words = line.split(' ').map(str::to_owned);
        break (words.next().unwrap_or_default(), words.next().unwrap_or_default(), bytes.split_off(end + 4));
    };
    let body = if method == "POST" {
        let mut body: Value = serde_json::from_slice(&body)?;
        body["stream"] = false.into();
        body.as_object_mut().map(|body| body.remove("stream_options"));
        body.to_string()
    } else {
        String::new()
    };
    let mut litellm = Connection::open(upstream).await?;
    let headers = format!("content-type: application/json\r\nauthorization: Bearer {KEY}\r\n");
    let reply = litellm.send(&method, &path, &headers, &body).await?;
    let head = format!(
        "HTTP/1.1 {} .\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        reply.status,
        reply.body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&reply.body).await?;
    Ok(())
}

/// Sends a prompt through the application with this model server behind it; the page must show the answer, and the
/// ledger must have the call.
async fn chat(bench: &Bench, name: &str, upstream: u16) -> Result<String> {
    let setup = Setup::new(&bench.binary, &bench.work, name)?
        .set("OPENAI_BASE_URL", format!("http://127.0.0.1:{upstream}/v1"))
        .set("OPENAI_API_KEY", KEY);
    let now = bench.clock.now();
    let db = Db::open(&setup.location(), now).await?;
    let people = world::people(&db, &bench.random, now, 2).await?;
    let cookie = &people[1].cookie;
    let server = setup.start(&bench.clock).await?;
    let mut connection = Connection::open(server.port).await?;
    let token = connection.send("GET", "/api/v1/csrf", cookie, "").await?.json(200)?;
    let token = token["csrf_token"].as_str().ok_or("no csrf_token")?;
    let headers = format!("{cookie}content-type: application/json\r\nx-csrftoken: {token}\r\n");
    let prompt = serde_json::json!({ "prompt": "Who made this?", "model": MODEL }).to_string();
    server.offers(MODEL, cookie).await?;
    let chat = connection.send("POST", "/chat", &headers, &prompt).await?.json(201)?;
    let path = format!("/chat/{}", chat["chat_id"].as_str().ok_or("no chat_id")?);
    for _ in 0..300 {
        let page = connection.send("GET", &path, cookie, "").await?.text();
        if page.contains("data-state=\"done\"") {
            let row: Option<(i64, i64, String)> = db
                .one(
                    base::sql!("SELECT tokens_in, tokens_out, tokens_source FROM usage_events WHERE model = $1 AND outcome = 'done'"),
                    base::args![MODEL],
                )
                .await?;
            let (tokens_in, tokens_out, source) = row.ok_or("the ledger has no row")?;
            if !page.contains(ANSWER) {
                return Err("the page shows another answer".into());
            }
            return Ok(format!("answered; {tokens_in} + {tokens_out} tokens, {source}"));
        }
        if page.contains("data-state=\"failed\"") {
            return Err("the answer failed".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("no answer within 30 s".into())
}

/// Streamed, and whole.
pub async fn run(bench: &mut Bench) -> Result<()> {
    let names = ["LiteLLM as upstream, streaming", "LiteLLM as upstream, not streaming"];
    let Some(program) = bench.litellm.clone() else {
        for name in names {
            bench.table.judge(name, "LiteLLM could not be installed".to_owned(), "answered", false);
        }
        return Ok(());
    };
    let litellm = litellm(bench, &program).await?;
    let relayed = relay(litellm.port).await?;
    for (name, folder, port) in [(names[0], "streamed", litellm.port), (names[1], "whole", relayed)] {
        match chat(bench, folder, port).await {
            Ok(words) => bench.table.judge(name, words, "answered", true),
            Err(error) => bench.table.judge(name, error.to_string(), "answered", false),
        }
    }
    Ok(())
}
