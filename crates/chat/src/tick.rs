//! The tick: saves what came of all answers in one transaction, however many there are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::{DbError, Micros, args, sql};
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use crate::engine::Engine;
use crate::live::{Halt, Live, Progress};
use crate::state::State;

/// Time between two ticks.
pub const TICK: Duration = Duration::from_millis(500);
/// Every so many ticks the generations of dead processes are looked for.
const REAP_EVERY: u32 = 10;
/// Most generations, and most bytes of text, in one statement: between two of them the thread is
/// given away.
const CHUNK: usize = 128;
const CHUNK_BYTES: usize = 512 * 1024;

#[derive(Serialize)]
struct Beat<'a> {
    id: &'a str,
    state: &'a str,
    started: Option<Micros>,
    first: Option<Micros>,
}

#[derive(Serialize)]
struct Text<'a> {
    id: &'a str,
    text: &'a str,
}

type Saved = (Arc<Live>, Progress);

impl Engine {
    /// Ticks until `shutdown` is ready; looks for generations of dead processes at once and every
    /// few seconds.
    pub async fn run_ticker(&self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks: u32 = 0;
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                _ = interval.tick() => {}
            }
            if let Err(error) = self.tick().await {
                tracing::warn!(error = %error, "running answers could not be saved, trying again at the next tick");
            }
            if ticks.is_multiple_of(REAP_EVERY)
                && let Err(error) = self.reap().await
            {
                tracing::warn!(error = %error, "generations of stopped servers could not be ended");
            }
            ticks = ticks.wrapping_add(1);
        }
    }

    /// Saves the texts that grew, the states, and that this process lives; sees who asked for a
    /// stop through another process.
    ///
    /// # Errors
    /// [`DbError`]: nothing is lost, the next tick saves it.
    pub async fn tick(&self) -> Result<(), DbError> {
        let _ticking = self.0.ticking.lock().await;
        let mut all: Vec<Saved> = self
            .all_live()
            .into_iter()
            .filter_map(|live| live.progress().map(|progress| (live, progress)))
            .collect();
        if all.is_empty() {
            return Ok(());
        }
        all.sort_unstable_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        let mut stops: HashMap<String, Option<Micros>> = HashMap::with_capacity(all.len());
        let now = self.0.clock.now();
        let mut tx = self.0.db.begin().await?;
        for chunk in all.chunks(CHUNK) {
            let beats: Vec<Beat<'_>> = chunk.iter().map(beat).collect();
            // With the plus SQLite looks each up by its id, not each in the list of all live ones.
            let rows: Vec<(String, Option<Micros>)> = tx
                .all(
                    sql!(
                        "UPDATE generations SET heartbeat_at = $2, state = json_extract(j.value, '$.state'),
                           started_at = CAST(json_extract(j.value, '$.started') AS BIGINT),
                           first_token_at = CAST(json_extract(j.value, '$.first') AS BIGINT)
                         FROM json_each($1) AS j
                         WHERE generations.id = json_extract(j.value, '$.id') AND +generations.finished_at IS NULL
                         RETURNING id, stop_requested_at"
                    ),
                    args![&json(&beats)?, now],
                )
                .await?;
            stops.extend(rows);
            tokio::task::yield_now().await;
        }
        // Only what is still ours: what another process ended keeps the text that it was ended with.
        let mut texts: Vec<Text<'_>> = Vec::new();
        let mut bytes = 0;
        for (live, progress) in all.iter().filter(|(live, _)| stops.contains_key(&live.id)) {
            let Some(text) = &progress.text else { continue };
            bytes += text.len();
            texts.push(Text { id: &live.message_id, text });
            if texts.len() == CHUNK || bytes > CHUNK_BYTES {
                save(&mut tx, &texts).await?;
                texts.clear();
                bytes = 0;
                tokio::task::yield_now().await;
            }
        }
        save(&mut tx, &texts).await?;
        tx.commit().await?;
        for (live, progress) in &all {
            match stops.get(&live.id) {
                Some(stop) => {
                    if stop.is_some() {
                        live.halt(Halt::Stop);
                    }
                    if let Some(text) = &progress.text {
                        live.saved(text.len());
                    }
                }
                // Its chat was deleted, or another process took this one for dead.
                None => live.halt(Halt::Interrupt),
            }
        }
        Ok(())
    }
}

fn beat((live, progress): &Saved) -> Beat<'_> {
    let view = &progress.view;
    let sent = view.state != State::Queued;
    Beat {
        id: &live.id,
        state: view.state.word(),
        started: sent.then_some(view.started_at),
        first: view.first_token_at,
    }
}

async fn save(tx: &mut base::Tx, texts: &[Text<'_>]) -> Result<(), DbError> {
    if texts.is_empty() {
        return Ok(());
    }
    tx.run(
        sql!(
            "UPDATE messages SET markdown = json_extract(j.value, '$.text')
             FROM json_each($1) AS j WHERE messages.id = json_extract(j.value, '$.id')"
        ),
        args![&json(texts)?],
    )
    .await?;
    Ok(())
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(|error| DbError::Other(error.to_string()))
}
