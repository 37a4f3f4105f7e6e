//! `/admin/stats` with a little and with a lot in the ledger.

use std::time::Duration;

use base::Db;

use crate::client::{Connection, millis, quantile};
use crate::server::Setup;
use crate::{Bench, Result, ledger, world};

const PATH: &str = "/admin/stats?range=30d";
const MANY: usize = 1_000_000;

/// The median of 50, in microseconds, on one connection that is kept.
async fn measure(bench: &Bench, name: &str, count: usize) -> Result<i64> {
    let setup = Setup::new(&bench.binary, &bench.work, name)?;
    let now = bench.clock.now();
    let db = Db::open(&setup.location(), now).await?;
    let people = world::people(&db, &bench.random, now, 1001).await?;
    // The Admin only looks.
    ledger::fill(&db, &bench.random, now, &people[1..], count).await?;
    db.close().await;
    drop(db);
    let server = setup.start(&bench.clock).await?;
    let mut connection = Connection::open(server.port).await?;
    let cookie = &people[0].cookie;
    // A range with much in it is shown as of the job's last round, which is at once at the start.
    for _ in 0..600 {
        let page = connection.send("GET", PATH, cookie, "").await?;
        if page.status != 200 {
            return Err(format!("status {}", page.status).into());
        }
        if count < MANY || page.text().contains("As of ") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut times = Vec::new();
    for _ in 0..60 {
        let before = bench.clock.monotonic();
        let page = connection.send("GET", PATH, cookie, "").await?;
        times.push(bench.clock.monotonic() - before);
        let rows = page.text().matches("person").count();
        if page.status != 200 || rows < 50 || (count == MANY) != page.text().contains("As of ") {
            return Err(format!("not the expected page ({}, {rows} people)", page.status).into());
        }
    }
    // The first ten warm up.
    Ok(quantile(&mut times[10..], 0.5))
}

/// Both, and how much slower the large one is.
pub async fn run(bench: &mut Bench) -> Result<()> {
    let few = measure(bench, "stats-few", 10_000).await?;
    let many = measure(bench, "stats-many", MANY).await?;
    let ratio = many as f64 / few as f64;
    bench.table.tell("/admin/stats, 30 days, 10,000 messages", millis(few));
    bench.table.judge("/admin/stats, 30 days, 1,000,000 messages", millis(many), "< 10 ms", many < 10_000);
    bench.table.judge("/admin/stats, 1,000,000 by 10,000", format!("{ratio:.2}"), "<= 1.50", ratio <= 1.5);
    Ok(())
}
