//! How a generation ends: one transaction with the answer, the generation, the ledger and the
//! chat. Until it succeeds the text stays in memory and the transaction is tried again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use accounts::ErrorReport;
use base::{DbError, Micros, Tx, args, sql};
use upstream::estimate_tokens;
use usage::{Outcome, Purpose, TokensSource};

use crate::engine::Engine;
use crate::live::{Halt, Live};
use crate::render;
use crate::run::{Call, End};
use crate::state::{GenView, State, failure_words};

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// So often the ledger may refuse an end before that is written without it.
const LEDGER_TRIES: u32 = 3;
/// Most tokens that an upstream is believed for one answer: the sums of them must stay numbers.
const MOST_TOKENS: u64 = 1_000_000_000;

/// All that the last transaction writes.
struct Ending {
    view: GenView,
    at: Micros,
    markdown: String,
    html: String,
    upstream: Option<String>,
    outcome: Outcome,
    tokens_in: i64,
    tokens_out: i64,
    source: TokensSource,
}

/// Whose end counts.
enum Written {
    Ours,
    /// Another process had given it up; only the text is ours.
    Interrupted,
}

/// Why an end was not written.
#[derive(Debug, thiserror::Error)]
enum Unwritten {
    /// The ledger does not take it, and waiting may not help.
    #[error("the ledger: {0}")]
    Ledger(DbError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Engine {
    /// Ends a generation: comes back when that is on disk, or the process gives up at its own end.
    pub(crate) async fn end(&self, live: &Arc<Live>, call: Call, end: End) {
        live.ending();
        // A tick that read the text before must not write it after us.
        drop(self.0.ticking.lock().await);
        let text = {
            let live = Arc::clone(live);
            tokio::task::spawn_blocking(move || live.finish()).await
        };
        let (markdown, html) = match text {
            Ok(text) => text,
            Err(error) => {
                // The text in the database is that of the last tick; the reaper ends it.
                tracing::error!(generation.id = live.id, error = %error, "an answer could not be rendered");
                return;
            }
        };
        let mut ending = self.ending_of(live, call, &end, markdown, html);
        let mut wait = FIRST_RETRY;
        let mut refusals = 0;
        let mut uncounted = None;
        loop {
            let counted = refusals < LEDGER_TRIES;
            match self.write_end(live, &ending, counted).await {
                Ok(Written::Ours) => break,
                Ok(Written::Interrupted) => {
                    ending.view.state = State::Interrupted;
                    ending.view.error_code = None;
                    break;
                }
                Err(error) if self.0.giving_up.load(Ordering::SeqCst) => {
                    tracing::error!(generation.id = live.id, error = %error, "the end of an answer is not kept");
                    return;
                }
                Err(error) => {
                    tracing::warn!(
                        generation.id = live.id,
                        error = %error,
                        retry.millis = wait.as_millis() as u64,
                        "the end of an answer could not be written, trying again"
                    );
                    match error {
                        Unwritten::Ledger(error) => {
                            refusals += 1;
                            uncounted = Some(error);
                        }
                        // Without the ledger it fails as well, so that is not the cause.
                        Unwritten::Db(_) if !counted => refusals = 0,
                        Unwritten::Db(_) => {}
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LAST_RETRY);
                }
            }
        }
        live.update(|view| *view = ending.view);
        if let End::Failed { code, cause } = end {
            let words = failure_words(code);
            let title = words.split_once(". ").map_or(words, |(first, _)| first);
            self.report(live, "model", title, format!("{code}: {cause}")).await;
        }
        if let Some(error) = uncounted.filter(|_| refusals >= LEDGER_TRIES) {
            self.report(live, "usage", "An answer is missing in the statistics", error.to_string()).await;
        }
    }

    fn ending_of(&self, live: &Live, call: Call, end: &End, markdown: String, html: String) -> Ending {
        let (state, outcome, code) = match end {
            End::Done => (State::Done, Outcome::Done, None),
            End::Halted(Halt::Stop) => (State::Stopped, Outcome::Stopped, None),
            End::Halted(Halt::Interrupt) => (State::Interrupted, Outcome::Interrupted, None),
            End::Failed { code, .. } => (State::Failed, Outcome::Failed, Some(*code)),
        };
        let whole = |tokens: u64| tokens.min(MOST_TOKENS) as i64;
        let (tokens_in, tokens_out, source) = match call.usage {
            Some((input, output)) => (whole(input), whole(output), TokensSource::Reported),
            // A request that came to nothing is no use of a model.
            None if call.sent.is_none() || (outcome == Outcome::Failed && markdown.is_empty()) => {
                (0, 0, TokensSource::Estimated)
            }
            None => (call.told, whole(estimate_tokens(&markdown)), TokensSource::Estimated),
        };
        let at = self.0.clock.now();
        let duration = call.sent.map_or(0, |sent| self.0.clock.monotonic() - sent);
        let view = GenView {
            state,
            error_code: code.map(str::to_owned),
            finished_at: Some(at),
            tokens_out: Some(tokens_out),
            duration_micros: Some(duration),
            ..live.view()
        };
        Ending { view, at, markdown, html, upstream: call.upstream, outcome, tokens_in, tokens_out, source }
    }

    /// The end in one transaction; `counted`: with the ledger.
    async fn write_end(&self, live: &Live, ending: &Ending, counted: bool) -> Result<Written, Unwritten> {
        let view = &ending.view;
        let mut tx = self.0.db.begin().await?;
        touch_chat(&mut tx, &live.chat_id, ending.at).await?;
        let rows = tx
            .run(
                sql!(
                    "UPDATE generations SET state = $2, error_code = $3, started_at = $4, first_token_at = $5,
                       finished_at = $6, heartbeat_at = $6, tokens_out = $7, duration_micros = $8, ttft_micros = $9,
                       upstream_id = $10
                     WHERE id = $1 AND finished_at IS NULL"
                ),
                args![
                    &live.id,
                    view.state.word(),
                    &view.error_code,
                    view.started_at,
                    view.first_token_at,
                    view.finished_at,
                    view.tokens_out,
                    view.duration_micros,
                    view.ttft_micros,
                    &ending.upstream
                ],
            )
            .await?;
        // Without a row the chat was deleted; what was used still counts. With an ended one,
        // either the last try was written though its commit seemed to fail, or another process
        // took us for dead: then it is in the ledger already.
        let found: Option<(String, Option<Micros>)> = if rows == 0 {
            tx.one(sql!("SELECT state, finished_at FROM generations WHERE id = $1"), args![&live.id]).await?
        } else {
            None
        };
        tx.run(
            sql!("UPDATE messages SET markdown = $2, html = $3, renderer = $4 WHERE id = $1"),
            args![&*live.message_id, &ending.markdown, &ending.html, render::VERSION],
        )
        .await?;
        if found.is_none() && counted {
            match usage::record(&mut tx, &live.id, &ledger_row(live, ending)).await {
                Ok(()) => {}
                // The last try was written though its commit seemed to fail; then the chat was deleted.
                Err(DbError::Unique(_)) if rows == 0 => return Ok(Written::Ours),
                Err(error @ DbError::Busy(_)) => return Err(error.into()),
                Err(error) => return Err(Unwritten::Ledger(error)),
            }
        }
        tx.commit().await?;
        Ok(match found {
            Some((state, at)) if state != view.state.word() || at != view.finished_at => Written::Interrupted,
            _ => Written::Ours,
        })
    }

    /// Puts a cause on the Admin's error list; without that the answer has ended all the same.
    async fn report(&self, live: &Live, kind: &str, title: &str, cause: String) {
        let report = ErrorReport {
            kind: kind.to_owned(),
            title: title.to_owned(),
            cause,
            subject: Some(live.model.clone()),
            request_id: None,
            user_id: Some(live.user_id.clone()),
        };
        if let Err(error) = accounts::errors::record(&self.0.db, self.0.clock.now(), &report).await {
            tracing::warn!(error = %error, "a failure could not be put on the error list");
        }
    }
}

/// Moves the chat up in its owner's list. The first write of its transaction, also where it changes
/// nothing: the deletion of a chat locks its row before those of its messages and generations, too.
pub(crate) async fn touch_chat(tx: &mut Tx, chat: &str, at: Micros) -> Result<(), DbError> {
    tx.run(
        sql!("UPDATE chats SET updated_at = CASE WHEN updated_at < $2 THEN $2 ELSE updated_at END WHERE id = $1"),
        args![chat, at],
    )
    .await?;
    Ok(())
}

fn ledger_row<'a>(live: &'a Live, ending: &'a Ending) -> usage::Call<'a> {
    usage::Call {
        at: ending.at,
        user_id: &live.user_id,
        key_id: None,
        model: &live.model,
        upstream_id: ending.upstream.as_deref(),
        purpose: Purpose::Chat,
        outcome: ending.outcome,
        error_code: ending.view.error_code.as_deref(),
        tokens_in: ending.tokens_in,
        tokens_out: ending.tokens_out,
        tokens_source: ending.source,
        ttft_micros: ending.view.ttft_micros,
        duration_micros: ending.view.duration_micros.unwrap_or(0),
        cost_micros: 0,
    }
}
