//! The database: whether it answers, which schema it has, and its clock.

use base::db::{Location, migrations};
use base::{Clock, Db};

use super::{Finding, clock};
use crate::config::Config;

/// What the database is to this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Current,
    /// Not there, out of reach, or of another version.
    Other,
}

pub async fn check(config: &Config, clock: &Clock) -> (State, Vec<Finding>) {
    let location = config.location();
    if let Location::Sqlite(path) = &location
        && !path.exists()
    {
        let words = format!("{} is not there yet; the first start makes it", path.display());
        return (State::Other, vec![Finding::warn("database", words)]);
    }
    let db = match Db::connect(&location).await {
        Ok(db) => db,
        Err(error) => return (State::Other, vec![Finding::fail("database", error.to_string())]),
    };
    let start = clock.monotonic();
    if let Err(error) = db.ping().await {
        db.close().await;
        return (State::Other, vec![Finding::fail("database", error.to_string())]);
    }
    let millis = (clock.monotonic() - start) / 1_000;
    let engine = match &location {
        Location::Sqlite(path) => format!("SQLite, {}", path.display()),
        Location::Postgres { .. } => "PostgreSQL".to_owned(),
    };
    let mut findings = vec![Finding::ok("database", format!("{engine}; answered in {millis} ms"))];
    let (state, schema) = schema(&db).await;
    findings.push(schema);
    if matches!(location, Location::Postgres { .. }) {
        findings.extend(clocks(&db, clock).await);
    }
    db.close().await;
    (state, findings)
}

async fn schema(db: &Db) -> (State, Finding) {
    let wanted = migrations().last().map_or(0, |migration| migration.version);
    match db.schema_version().await {
        Ok(found) if found == wanted => {
            (State::Current, Finding::ok("schema", format!("version {found}, as this program wants it")))
        }
        Ok(found) if found > wanted => (
            State::Other,
            Finding::fail(
                "schema",
                format!(
                    "version {found} is from a newer program; this one knows {wanted}: run the newer one"
                ),
            ),
        ),
        Ok(found) if found > 0 => (
            State::Other,
            Finding::warn(
                "schema",
                format!("version {found}; the next start or \"anteroom migrate\" brings it to {wanted}"),
            ),
        ),
        _ => (State::Other, Finding::warn("schema", "there are no tables yet; the first start makes them")),
    }
}

/// The machine of the database is another one, perhaps with another time.
async fn clocks(db: &Db, clock: &Clock) -> Option<Finding> {
    let theirs = clock::sql_time(&db.current_timestamp().await.ok()??)?;
    Some(clock::compare("the database", clock.now(), theirs))
}
