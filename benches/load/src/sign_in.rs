//! Sign-ins against argon2id alone, other pages meanwhile, and whether an unknown user or a right
//! password shows in the time.
//!
//! The limits stay on: this is a trusted proxy that names a new client address with each request.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};
use base::{Clock, Db, args, sql};

use crate::client::{Connection, millis, quantile};
use crate::server::{Process, Setup};
use crate::world::{PASSWORD, Person};
use crate::{Bench, Result, world};

const MEASURED: i64 = 8_000_000;
/// As many as may wait for a hash, and fewer than would be refused.
const CONNECTIONS: usize = 16;
const PAIRS: usize = 300;

/// A new client address for each request.
#[derive(Clone, Default)]
struct Addresses(Arc<AtomicU32>);

impl Addresses {
    fn header(&self) -> String {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        format!("x-forwarded-for: {}\r\n", Ipv4Addr::from_bits(0x0b00_0000 + number))
    }
}

fn body(who: &str, password: &str) -> String {
    serde_json::json!({ "username_or_email": who, "password": password }).to_string()
}

/// Hashes a second of argon2id alone in this process.
fn alone(clock: &Clock, threads: usize) -> Result<f64> {
    let params = accounts::HashParams::default();
    let count = AtomicU64::new(0);
    let start = clock.monotonic();
    let end = start + MEASURED / 2;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while clock.monotonic() < end {
                    let costs =
                        Params::new(params.memory_kib, params.iterations, params.parallelism, Some(32));
                    let mut output = [0; 32];
                    let done = costs.map(|costs| {
                        Argon2::new(Algorithm::Argon2id, Version::V0x13, costs).hash_password_into(
                            PASSWORD.as_bytes(),
                            b"sixteen bytes...",
                            &mut output,
                        )
                    });
                    if matches!(done, Ok(Ok(()))) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let micros = clock.monotonic() - start;
    Ok(count.into_inner() as f64 * 1e6 / micros as f64)
}

/// Signs people in for a while on many connections; gives sign-ins a second and the times of `/healthz` meanwhile.
async fn saturate(
    bench: &Bench,
    server: &Process,
    people: &[Person],
    addresses: &Addresses,
) -> Result<(f64, Vec<i64>)> {
    let start = bench.clock.monotonic() + 1_000_000;
    let end = start + MEASURED;
    let mut tasks = Vec::new();
    for number in 0..CONNECTIONS {
        let mut connection = Connection::open(server.port).await?;
        let (clock, addresses) = (bench.clock.clone(), addresses.clone());
        let own: Vec<String> = people
            .iter()
            .skip(number)
            .step_by(CONNECTIONS)
            .map(|person| body(&person.username, PASSWORD))
            .collect();
        tasks.push(tokio::spawn(async move {
            let mut count = 0;
            for body in own.iter().cycle() {
                if clock.monotonic() >= end {
                    break;
                }
                let headers = format!("{}content-type: application/json\r\n", addresses.header());
                let reply = connection.send("POST", "/login", &headers, body).await?;
                reply.json(200)?;
                let now = clock.monotonic();
                count += u64::from(now >= start && now < end);
            }
            Ok::<u64, crate::Error>(count)
        }));
    }
    let mut times = Vec::new();
    let mut connection = Connection::open(server.port).await?;
    while bench.clock.monotonic() < end {
        let before = bench.clock.monotonic();
        let reply = connection.send("GET", "/healthz", "", "").await?;
        if reply.status != 200 {
            return Err(format!("/healthz answers {}", reply.status).into());
        }
        if before >= start {
            times.push(bench.clock.monotonic() - before);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut count = 0;
    for task in tasks {
        count += task.await??;
    }
    Ok((count as f64 * 1e6 / MEASURED as f64, times))
}

/// Medians of two kinds of sign-in that get no session, one after the other in turns.
async fn in_turns(
    bench: &Bench,
    server: &Process,
    addresses: &Addresses,
    pairs: impl Iterator<Item = [String; 2]>,
) -> Result<[i64; 2]> {
    let mut connection = Connection::open(server.port).await?;
    let mut times = [Vec::new(), Vec::new()];
    for (number, [one, other]) in pairs.enumerate() {
        let mut pair = [(0, one), (1, other)];
        // In changing order, so that what drifts touches both.
        if number % 2 == 1 {
            pair.reverse();
        }
        for (kind, body) in pair {
            let headers = format!("{}content-type: application/json\r\n", addresses.header());
            let before = bench.clock.monotonic();
            let reply = connection.send("POST", "/login", &headers, &body).await?;
            times[kind].push(bench.clock.monotonic() - before);
            reply.json(401)?;
        }
    }
    Ok(times.map(|mut times| quantile(&mut times, 0.5)))
}

/// Gives people a second factor, so that a right password leads to a challenge.
async fn with_second_factor(db: &Db, now: i64, people: &[Person]) -> Result<()> {
    let mut tx = db.begin().await?;
    for person in people {
        tx.run(
            sql!(
                "INSERT INTO totp_factors (id, user_id, secret, created_at, confirmed_at)
                 SELECT 'totp-' || id, id, 'never opened here', $2, $2 FROM users WHERE username = $1"
            ),
            args![&person.username, now],
        )
        .await?;
    }
    Ok(tx.commit().await?)
}

/// Tells two medians and judges how far they are apart.
fn judge(bench: &mut Bench, what: &str, names: [&str; 2], medians: [i64; 2]) {
    let [one, other] = medians;
    let apart = (other as f64 / one as f64 - 1.0).abs() * 100.0;
    for (name, median) in names.into_iter().zip(medians) {
        bench.table.tell(&format!("{name}, median"), millis(median));
    }
    bench.table.judge(what, format!("{apart:.1} %"), "<= 10 %", apart <= 10.0);
}

/// All of it on one server.
pub async fn run(bench: &mut Bench) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
    let setup = Setup::new(&bench.binary, &bench.work, "sign-in")?
        .set("ANTEROOM_SERVER__TRUSTED_PROXIES", "127.0.0.1/32")
        .set("ANTEROOM_PASSWORDS__HASH_THREADS", threads.to_string());
    let now = bench.clock.now();
    let db = Db::open(&setup.location(), now).await?;
    let people = world::people(&db, &bench.random, now, 1000).await?;
    with_second_factor(&db, now, &people[people.len() - PAIRS..]).await?;
    db.close().await;
    drop(db);
    let server = setup.start(&bench.clock).await?;
    let addresses = Addresses::default();
    // Before and after, so that what drifts touches both.
    let before = alone(&bench.clock, threads)?;
    let (rate, mut health) = saturate(bench, &server, &people[..people.len() - PAIRS], &addresses).await?;
    let best = f64::midpoint(before, alone(&bench.clock, threads)?);
    let ratio = rate / best;
    bench.table.tell(&format!("argon2id alone, {threads} thread(s)"), format!("{best:.1}/s"));
    bench.table.tell("sign-ins", format!("{rate:.1}/s"));
    bench.table.judge("sign-ins by argon2id alone", format!("{ratio:.3}"), ">= 0.85", ratio >= 0.85);
    let p99 = quantile(&mut health, 0.99);
    bench.table.judge("/healthz while sign-ins saturate, p99", millis(p99), "< 50 ms", p99 < 50_000);
    let (plain, guarded) = people.split_at(people.len() - PAIRS);
    let wrong = "not-the-right-one-7";
    let pairs = plain
        .iter()
        .take(PAIRS)
        .enumerate()
        .map(|(number, person)| [body(&person.username, wrong), body(&format!("nobody{number}"), wrong)]);
    let medians = in_turns(bench, &server, &addresses, pairs).await?;
    let names = ["refused sign-in, known user", "refused sign-in, unknown user"];
    judge(bench, "known and unknown users, medians apart", names, medians);
    let pairs =
        guarded.iter().map(|person| [body(&person.username, PASSWORD), body(&person.username, wrong)]);
    let medians = in_turns(bench, &server, &addresses, pairs).await?;
    let names = ["before the second factor, right password", "before the second factor, wrong password"];
    judge(bench, "right and wrong password before the second factor, medians apart", names, medians);
    server.stop().await
}
