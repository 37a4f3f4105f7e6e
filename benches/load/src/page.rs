//! A signed-in chat page against a bare page of the same size; starting and idle memory.

use std::process::Command;
use std::time::Duration;

use axum::http::header;
use axum::routing::get;
use base::{Db, MINUTE};

use crate::client::{Answers, Connection, hammer, millis, quantile, request};
use crate::server::{Process, Setup};
use crate::{Bench, Result, world};

const CONNECTIONS: usize = 16;
/// The two pages are measured in turns, so that what else the machine does touches both.
const TURNS: usize = 4;
const TURN: i64 = 2_000_000;

/// Serves one page of so many bytes, without anything else: what the machine can do at best.
pub async fn serve_bare(port: u16, bytes: usize) -> Result<()> {
    use axum::serve::ListenerExt as _;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let page = axum::body::Bytes::from("x".repeat(bytes));
    let handler = move || {
        let page = page.clone();
        async move { ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page) }
    };
    Ok(axum::serve(listener, axum::Router::new().route("/", get(handler))).await?)
}

async fn bare(bench: &Bench, bytes: usize) -> Result<Process> {
    let port = parts::free_address()?.port();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare", "--port", &port.to_string(), "--bytes", &bytes.to_string()]);
    Process::start(command, &bench.work, port, "/", &bench.clock).await
}

/// What a page gave, and the processor time that an answer took its server, in microseconds.
struct Page {
    answers: Answers,
    each: i64,
}

impl Page {
    fn words(&mut self) -> String {
        let p99 = millis(quantile(&mut self.answers.times, 0.99));
        format!("{:.0}/s, p99 {p99}, {} of processor", self.answers.per_second(), millis(self.each))
    }
}

/// The chat page on this database, and a bare page of its size.
async fn pages(bench: &Bench, setup: &Setup) -> Result<[Page; 2]> {
    let now = bench.clock.now();
    let db = Db::open(&setup.location(), now).await?;
    let people = world::people(&db, &bench.random, now, 1000).await?;
    let server = setup.start(&bench.clock).await?;
    let mut connection = Connection::open(server.port).await?;
    let (mut requests, mut bytes) = (Vec::new(), 0);
    for person in &people[1..=CONNECTIONS] {
        let chat = world::chats(&db, &bench.random, now - 2 * MINUTE, person).await?;
        let path = format!("/chat/{chat}");
        // The first one renders the answers.
        let first = connection.send("GET", &path, &person.cookie, "").await?;
        let text = first.text();
        let (chats, messages) =
            (text.matches("href=\"/chat/").count(), text.matches("data-message=").count());
        if first.status != 200 || messages != 20 || chats < 20 {
            return Err(format!("{} with {chats} chats and {messages} messages", first.status).into());
        }
        bytes = first.body.len();
        requests.push(request("GET", &path, server.port, &person.cookie, ""));
    }
    db.close().await;
    let bare = bare(bench, bytes).await?;
    let bare_requests = vec![request("GET", "/", bare.port, "", ""); CONNECTIONS];
    let turns = [(&server, &requests), (&bare, &bare_requests)];
    let mut pages = [(); 2].map(|()| Page { answers: Answers::default(), each: 0 });
    for _ in 0..TURNS {
        for ((process, requests), page) in turns.iter().zip(&mut pages) {
            let before = process.processor()?;
            page.answers.add(hammer(&bench.clock, process.port, requests, TURN).await?);
            page.each += process.processor()? - before;
        }
    }
    for page in &mut pages {
        // The processor time is that of the warming up, too.
        let answers = page.answers.per_second() * (TURNS as f64) * (TURN + 500_000) as f64 / 1e6;
        page.each = (page.each as f64 / answers) as i64;
    }
    Ok(pages)
}

/// The chat page on SQLite, and on PostgreSQL where there is one.
pub async fn run(bench: &mut Bench) -> Result<()> {
    let setup = Setup::new(&bench.binary, &bench.work, "page")?;
    let [mut page, mut bare] = pages(bench, &setup).await?;
    let ratio = page.answers.per_second() / bare.answers.per_second();
    bench.table.tell(&format!("bare axum page of {} bytes", page.answers.bytes), bare.words());
    bench.table.tell("chat page, SQLite", page.words());
    bench.table.judge("chat page by bare page, SQLite", format!("{ratio:.3}"), ">= 0.10", ratio >= 0.10);
    let Some(url) = bench.postgres.clone() else {
        bench.table.tell("chat page, PostgreSQL", "no PostgreSQL here".to_owned());
        return Ok(());
    };
    let setup = Setup::new(&bench.binary, &bench.work, "page-postgres")?.set("DATABASE_URL", url);
    let [mut page, bare] = pages(bench, &setup).await?;
    let ratio = page.answers.per_second() / bare.answers.per_second();
    bench.table.tell("chat page, PostgreSQL", page.words());
    bench.table.tell("chat page by bare page, PostgreSQL", format!("{ratio:.3}"));
    Ok(())
}

/// From start to listening, and the memory of a server that does nothing, on a database with 1,000 people.
pub async fn start(bench: &mut Bench) -> Result<()> {
    let setup = Setup::new(&bench.binary, &bench.work, "start")?;
    let now = bench.clock.now();
    let db = Db::open(&setup.location(), now).await?;
    world::people(&db, &bench.random, now, 1000).await?;
    db.close().await;
    drop(db);
    // The very first start writes the secret key.
    setup.start(&bench.clock).await?.stop().await?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let server = setup.start(&bench.clock).await?;
        times.push(server.started_in);
        server.stop().await?;
    }
    let median = quantile(&mut times, 0.5);
    bench.table.judge("from start to first answer", millis(median), "< 150 ms", median < 150_000);
    let server = setup.start(&bench.clock).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle = server.resident()? as f64 * 1024.0 / 1e6;
    bench.table.judge("resident memory, idle", format!("{idle:.1} MB"), "< 30 MB", idle < 30.0);
    server.stop().await
}
