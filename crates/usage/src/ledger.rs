//! The ledger of calls to models, and the roll-ups that are kept in the same transaction.

use base::{DbError, HOUR, Micros, Tx, args, sql};

use crate::histogram;
use crate::range::day_of;

/// What a call to a model was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A person's prompt in a chat.
    Chat,
    /// A chat's title. Its tokens and cost count, but it is nobody's prompt: it adds nothing to
    /// prompts, errors, stops and inference times.
    Title,
    /// A call through the OpenAI-compatible gateway.
    Gateway,
}

impl Purpose {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Title => "title",
            Self::Gateway => "gateway",
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The model answered to the end.
    Done,
    /// The person stopped it: no error.
    Stopped,
    /// The upstream failed: an error.
    Failed,
    /// The server went down meanwhile: an error too, since the person did not get their answer.
    Interrupted,
}

impl Outcome {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether statistics count it as an error.
    pub fn is_error(self) -> bool {
        matches!(self, Self::Failed | Self::Interrupted)
    }
}

/// Where the token counts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokensSource {
    /// The upstream said so.
    Reported,
    /// Estimated from the text, as the upstream said nothing.
    Estimated,
}

impl TokensSource {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
        }
    }
}

/// One call to a model, when it has ended.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// When it ended; its UTC hour and day are those it counts in.
    pub at: Micros,
    pub user_id: &'a str,
    /// The API key, if one was used.
    pub key_id: Option<&'a str>,
    pub model: &'a str,
    /// The upstream that answered or failed; none if no upstream was reached.
    pub upstream_id: Option<&'a str>,
    pub purpose: Purpose,
    pub outcome: Outcome,
    /// The failure's code, for failed calls.
    pub error_code: Option<&'a str>,
    pub tokens_in: i64,
    pub tokens_out: i64,
    pub tokens_source: TokensSource,
    /// From the request to the first token, in microseconds; none if none came.
    pub ttft_micros: Option<i64>,
    /// From the request to the end, in microseconds.
    pub duration_micros: i64,
    /// Millionths of the accounting currency.
    pub cost_micros: i64,
}

/// Writes one call into the ledger and adds it to the roll-ups, in the caller's transaction: the
/// one that ends the generation. `id` is the generation's id.
///
/// Times, time to first token and tokens per second are those of answered calls
/// ([`Outcome::Done`]) alone.
///
/// Several calls in one transaction must come in the order of user, model and purpose, and only
/// one of them may be [`Outcome::Done`]; else two transactions can wait for each other on
/// PostgreSQL.
///
/// # Errors
/// A second call with the same `id` is a unique violation on `usage_events.id`, and the
/// transaction must be dropped: nothing is ever counted twice.
pub async fn record(tx: &mut Tx, id: &str, call: &Call<'_>) -> Result<(), DbError> {
    tx.run(
        sql!(
            "INSERT INTO usage_events (id, at, user_id, key_id, model, upstream_id, purpose, outcome, error_code, \
             tokens_in, tokens_out, tokens_source, ttft_micros, duration_micros, cost_micros) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
        ),
        args![
            id,
            call.at,
            call.user_id,
            call.key_id,
            call.model,
            call.upstream_id,
            call.purpose.as_str(),
            call.outcome.as_str(),
            call.error_code,
            call.tokens_in,
            call.tokens_out,
            call.tokens_source.as_str(),
            call.ttft_micros,
            call.duration_micros,
            call.cost_micros,
        ],
    )
    .await?;

    let prompt = call.purpose != Purpose::Title;
    let answered = prompt && call.outcome == Outcome::Done;
    let ttft = call.ttft_micros.filter(|_| answered);
    let hour = call.at.div_euclid(HOUR);
    let [prompts, errors, stops, done, ttfts] = [
        prompt,
        prompt && call.outcome.is_error(),
        prompt && call.outcome == Outcome::Stopped,
        answered,
        ttft.is_some(),
    ]
    .map(i64::from);
    let added = |key: i64| {
        [
            key.into(),
            call.user_id.into(),
            call.model.into(),
            call.purpose.as_str().into(),
            prompts.into(),
            errors.into(),
            stops.into(),
            call.tokens_in.into(),
            call.tokens_out.into(),
            call.cost_micros.into(),
            done.into(),
            (done * call.duration_micros).into(),
            ttft.unwrap_or(0).into(),
            ttfts.into(),
            (done * call.tokens_out).into(),
        ]
    };

    // The widest row first: who holds a total holds the days and hours under it, too.
    tx.run(
        sql!(
            "INSERT INTO usage_total AS kept (user_id, model, purpose, prompts, errors, stops, tokens_in, \
             tokens_out, cost_micros, answered, duration_micros, ttft_micros, ttft_count, answered_tokens_out) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
             ON CONFLICT (user_id, model, purpose) DO UPDATE SET \
             prompts = kept.prompts + excluded.prompts, errors = kept.errors + excluded.errors, \
             stops = kept.stops + excluded.stops, tokens_in = kept.tokens_in + excluded.tokens_in, \
             tokens_out = kept.tokens_out + excluded.tokens_out, cost_micros = kept.cost_micros + excluded.cost_micros, \
             answered = kept.answered + excluded.answered, \
             duration_micros = kept.duration_micros + excluded.duration_micros, \
             ttft_micros = kept.ttft_micros + excluded.ttft_micros, ttft_count = kept.ttft_count + excluded.ttft_count, \
             answered_tokens_out = kept.answered_tokens_out + excluded.answered_tokens_out"
        ),
        &added(0)[1..],
    )
    .await?;
    tx.run(
        sql!(
            "INSERT INTO usage_daily AS kept (day, user_id, model, purpose, prompts, errors, stops, tokens_in, \
             tokens_out, cost_micros, answered, duration_micros, ttft_micros, ttft_count, answered_tokens_out) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
             ON CONFLICT (day, user_id, model, purpose) DO UPDATE SET \
             prompts = kept.prompts + excluded.prompts, errors = kept.errors + excluded.errors, \
             stops = kept.stops + excluded.stops, tokens_in = kept.tokens_in + excluded.tokens_in, \
             tokens_out = kept.tokens_out + excluded.tokens_out, cost_micros = kept.cost_micros + excluded.cost_micros, \
             answered = kept.answered + excluded.answered, \
             duration_micros = kept.duration_micros + excluded.duration_micros, \
             ttft_micros = kept.ttft_micros + excluded.ttft_micros, ttft_count = kept.ttft_count + excluded.ttft_count, \
             answered_tokens_out = kept.answered_tokens_out + excluded.answered_tokens_out"
        ),
        &added(day_of(call.at)),
    )
    .await?;
    tx.run(
        sql!(
            "INSERT INTO usage_hourly AS kept (hour, user_id, model, purpose, prompts, errors, stops, tokens_in, \
             tokens_out, cost_micros, answered, duration_micros, ttft_micros, ttft_count, answered_tokens_out) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
             ON CONFLICT (hour, user_id, model, purpose) DO UPDATE SET \
             prompts = kept.prompts + excluded.prompts, errors = kept.errors + excluded.errors, \
             stops = kept.stops + excluded.stops, tokens_in = kept.tokens_in + excluded.tokens_in, \
             tokens_out = kept.tokens_out + excluded.tokens_out, cost_micros = kept.cost_micros + excluded.cost_micros, \
             answered = kept.answered + excluded.answered, \
             duration_micros = kept.duration_micros + excluded.duration_micros, \
             ttft_micros = kept.ttft_micros + excluded.ttft_micros, ttft_count = kept.ttft_count + excluded.ttft_count, \
             answered_tokens_out = kept.answered_tokens_out + excluded.answered_tokens_out"
        ),
        &added(hour),
    )
    .await?;

    // In the order of the key: 'duration' before 'ttft'.
    if answered {
        count_latency(tx, hour, call.model, "duration", call.duration_micros).await?;
    }
    if let Some(ttft) = ttft {
        count_latency(tx, hour, call.model, "ttft", ttft).await?;
    }
    Ok(())
}

async fn count_latency(
    tx: &mut Tx,
    hour: i64,
    model: &str,
    metric: &str,
    micros: i64,
) -> Result<(), DbError> {
    tx.run(
        sql!(
            "INSERT INTO latency_hourly AS kept (hour, model, metric, bucket, count) VALUES ($1, $2, $3, $4, 1) \
             ON CONFLICT (hour, model, metric, bucket) DO UPDATE SET count = kept.count + 1"
        ),
        args![hour, model, metric, histogram::bucket(micros)],
    )
    .await?;
    Ok(())
}
