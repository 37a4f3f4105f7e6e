//! A thousand answers at once, each followed by a person of its own to its last word.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::Db;
use serde_json::Value;

use crate::client::{Connection, find};
use crate::server::{Process, Setup};
use crate::world::Person;
use crate::{Bench, Result, world};

const STREAMS: usize = 1000;
/// Words of an answer, 20 a second.
const WORDS: usize = 500;
const WARM_UP: usize = 8;

/// Serves the stub's models on this port.
pub async fn serve_stub(port: u16) -> Result<()> {
    let _stub = parts::model::ModelStub::start_on(([127, 0, 0, 1], port).into()).await?;
    std::future::pending::<()>().await;
    Ok(())
}

/// How far the followers are.
#[derive(Default)]
struct Progress {
    open: AtomicUsize,
    ended: AtomicUsize,
}

/// What a follower has of its answer.
#[derive(Default)]
struct Answer {
    /// The newest event of each block, as it came.
    blocks: BTreeMap<usize, Vec<u8>>,
    state: Option<Value>,
    over: bool,
}

impl Answer {
    /// Takes one event.
    fn take(&mut self, event: &[u8]) -> Result<()> {
        let data = match find(event, b"\ndata: ") {
            Some(at) => &event[at + 7..],
            // A comment that keeps the connection.
            None => return Ok(()),
        };
        if find(event, b"event: block\n").is_some() {
            let index = rfind_index(data).ok_or("a block without its index")?;
            let block = self.blocks.entry(index).or_default();
            block.clear();
            block.extend_from_slice(data);
        } else if find(event, b"event: state\n").is_some() {
            self.state = Some(serde_json::from_slice::<Value>(data)?["state"].take());
        } else if event.starts_with(b"event: bye\n") {
            self.over = true;
        }
        Ok(())
    }

    /// Counts the words; an answer that is not whole is an error.
    fn check(&self, words: usize) -> Result<()> {
        let mut found = 0;
        for block in self.blocks.values() {
            let block: Value = serde_json::from_slice(block)?;
            found += block["html"].as_str().unwrap_or_default().matches("word").count();
        }
        match &self.state {
            Some(Value::String(state)) if state == "done" && found == words => Ok(()),
            state => Err(format!("{found} of {words} words, state {state:?}").into()),
        }
    }
}

/// The number behind the last `"index":`, without reading the JSON: there are ten thousand of these a second.
fn rfind_index(data: &[u8]) -> Option<usize> {
    let name = b"\"index\":";
    let at = data.windows(name.len()).rposition(|window| window == name)? + name.len();
    let digits = data[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&data[at..at + digits]).ok()?.parse().ok()
}

/// Sends a prompt and follows the answer to its end, on one connection.
async fn follow(port: u16, cookie: &str, csrf: &str, words: usize, progress: &Progress) -> Result<()> {
    let mut connection = Connection::open(port).await?;
    let prompt =
        serde_json::json!({ "prompt": format!("!tokens-{words}@20 please"), "model": "echo" }).to_string();
    let headers = format!("{cookie}content-type: application/json\r\nx-csrftoken: {csrf}\r\n");
    let chat = connection.send("POST", "/chat", &headers, &prompt).await?.json(201)?;
    let path = format!("/chat/{}/events", chat["chat_id"].as_str().ok_or("no chat_id")?);
    let status = connection.start(&path, cookie).await?;
    if status != 200 {
        return Err(format!("status {status}").into());
    }
    progress.open.fetch_add(1, Ordering::Relaxed);
    let (mut answer, mut events) = (Answer::default(), Vec::new());
    while !answer.over {
        take_chunks(connection.taken(), &mut events)?;
        let mut from = 0;
        while let Some(length) = find(&events[from..], b"\n\n") {
            answer.take(&events[from..from + length])?;
            from += length + 2;
        }
        events.drain(..from);
        if !answer.over {
            connection.read().await?;
        }
    }
    progress.ended.fetch_add(1, Ordering::Relaxed);
    answer.check(words)
}

/// Moves the whole chunks of a chunked body (RFC 9112, 7.1) from `wire` to `out`.
fn take_chunks(wire: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
    let mut from = 0;
    while let Some(line) = find(&wire[from..], b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&wire[from..from + line])?, 16)?;
        let start = from + line + 2;
        if wire.len() < start + size + 2 {
            break;
        }
        out.extend_from_slice(&wire[start..start + size]);
        from = start + size + 2;
    }
    wire.drain(..from);
    Ok(())
}

/// Everybody's form token, asked for on one connection.
async fn tokens(server: &Process, people: &[Person]) -> Result<Vec<String>> {
    let mut connection = Connection::open(server.port).await?;
    let mut tokens = Vec::new();
    for person in people {
        let reply = connection.send("GET", "/api/v1/csrf", &person.cookie, "").await?.json(200)?;
        tokens.push(reply["csrf_token"].as_str().ok_or("no csrf_token")?.to_owned());
    }
    Ok(tokens)
}

/// Starts the stub, the application and the followers.
pub async fn run(bench: &mut Bench) -> Result<()> {
    let port = parts::free_address()?.port();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["stub", "--port", &port.to_string()]);
    let stub = Process::start(command, &bench.work, port, "/v1/models", &bench.clock).await?;
    let setup = Setup::new(&bench.binary, &bench.work, "streams")?
        .set("OPENAI_BASE_URL", format!("http://127.0.0.1:{}/v1", stub.port))
        .set("OPENAI_API_KEY", "none");
    let now = bench.clock.now();
    let db = Db::open(&setup.location(), now).await?;
    let people = world::people(&db, &bench.random, now, STREAMS).await?;
    let server = setup.start(&bench.clock).await?;
    server.offers("echo", &people[0].cookie).await?;
    let csrf = tokens(&server, &people).await?;
    // A few short answers load what the first answer of a process loads once.
    let progress = Progress::default();
    for (person, csrf) in people.iter().zip(&csrf).take(WARM_UP) {
        follow(server.port, &person.cookie, csrf, 20, &progress).await?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let at_zero = server.resident()?;

    let progress = Arc::new(Progress::default());
    let mut tasks = Vec::new();
    let begun = bench.clock.monotonic();
    for (person, csrf) in people.into_iter().zip(csrf) {
        let (port, progress) = (server.port, Arc::clone(&progress));
        tasks.push(tokio::spawn(async move { follow(port, &person.cookie, &csrf, WORDS, &progress).await }));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // The most while all are open.
    let (mut most, mut opened, mut samples) = (0, 0, 0);
    while progress.ended.load(Ordering::Relaxed) == 0 && tasks.iter().any(|task| !task.is_finished()) {
        tokio::time::sleep(Duration::from_millis(250)).await;
        if progress.open.load(Ordering::Relaxed) == STREAMS && progress.ended.load(Ordering::Relaxed) == 0 {
            if opened == 0 {
                opened = bench.clock.monotonic() - begun;
            }
            most = most.max(server.resident()?);
            samples += 1;
        }
    }
    let mut broken = 0;
    for task in tasks {
        if let Err(error) = task.await? {
            if broken < 3 {
                eprintln!("   broken: {error}");
            }
            broken += 1;
        }
    }
    let took = bench.clock.monotonic() - begun;
    let kept: Option<i64> = db
        .one(
            base::sql!("SELECT COUNT(*) FROM usage_events WHERE outcome = 'done' AND tokens_out = $1"),
            base::args![WORDS as i64],
        )
        .await?;
    db.close().await;
    server.stop().await?;
    let whole = format!("{} whole, {broken} broken", STREAMS - broken);
    let ok = broken == 0 && samples > 0 && kept == Some(STREAMS as i64);
    bench.table.judge("1,000 streams of 20 tokens/s, all followed", whole, "none broken", ok);
    let seconds = |micros: i64| format!("{:.1} s", micros as f64 / 1e6);
    bench.table.tell("all 1,000 open after", seconds(opened));
    let ideal = format!("{} (25.0 s at 20 tokens/s)", seconds(took));
    bench.table.tell("from the first prompt to the last word", ideal);
    if samples == 0 {
        return Err("the streams were never all open at once".into());
    }
    let each = (most - at_zero) as f64 / STREAMS as f64;
    let told = format!("{each:.1} KiB ({:.1} to {:.1} MiB)", at_zero as f64 / 1024.0, most as f64 / 1024.0);
    bench.table.judge("memory of an open stream", told, "< 64 KiB", each < 64.0);
    Ok(())
}
