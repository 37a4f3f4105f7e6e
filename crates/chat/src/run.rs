//! The task of a generation: asks the model and reads its answer.

use std::sync::Arc;

use base::Micros;
use upstream::{ChatRequest, Delta, Failed, Failure, Message, Role};

use crate::engine::Engine;
use crate::history;
use crate::live::{Halt, Live};
use crate::state::{EMPTY, INTERNAL, State};

/// How an answer ended.
pub(crate) enum End {
    Done,
    Halted(Halt),
    Failed {
        code: &'static str,
        /// For the Admin's error list.
        cause: String,
    },
}

/// What the end of a generation is written from.
#[derive(Default)]
pub(crate) struct Call {
    /// When the request went out, on the monotonic clock.
    pub(crate) sent: Option<Micros>,
    /// Tokens of the request, estimated.
    pub(crate) told: i64,
    /// Who answers.
    pub(crate) upstream: Option<String>,
    /// Tokens in and out as the upstream reports them.
    pub(crate) usage: Option<(u64, u64)>,
}

/// Takes a generation out of the engine when its task ends, also by a panic.
struct Leave {
    engine: Engine,
    live: Arc<Live>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.engine.0.live.lock().remove(&self.live.id);
        self.live.over();
    }
}

impl Engine {
    /// Starts the task that answers the message `prompt`.
    pub(crate) fn run(&self, live: Arc<Live>, prompt: String) {
        let leave = Leave { engine: self.clone(), live };
        self.0.tasks.spawn(async move {
            let (engine, live) = (&leave.engine, &leave.live);
            let mut call = Call::default();
            let end = engine.answer(live, prompt, &mut call).await;
            // Boxed: it is large, and a thousand tasks are in the line above.
            Box::pin(engine.end(live, call, end)).await;
        });
    }

    async fn answer(&self, live: &Live, prompt: String, call: &mut Call) -> End {
        let started = match Box::pin(self.ask(live, &prompt, call)).await {
            Ok(started) => started,
            Err(end) => return end,
        };
        let upstream::Started { mut stream, endpoint_id, guard: _guard } = started;
        call.upstream = Some(endpoint_id);
        let mut length = 0;
        loop {
            let delta = tokio::select! {
                biased;
                why = live.halted() => return End::Halted(why),
                delta = stream.next() => delta,
            };
            match delta {
                Some(Ok(Delta::Text(text))) => {
                    if length == 0 {
                        self.first_token(live, call);
                    }
                    length = live.push(&text);
                    if length > self.0.options.answer_bytes {
                        let cause = format!("the answer is over {} bytes", self.0.options.answer_bytes);
                        return failed(Failed::new(Failure::TooLong, cause));
                    }
                }
                // It is not kept; that it comes shows that the model works.
                Some(Ok(Delta::Reasoning(_))) => {}
                Some(Ok(Delta::Usage { input, output })) => call.usage = Some((input, output)),
                Some(Ok(Delta::Done { .. })) if length == 0 => {
                    return End::Failed { code: EMPTY, cause: "the answer ended without any text".into() };
                }
                Some(Ok(Delta::Done { .. })) => return End::Done,
                Some(Err(error)) => return failed(Box::pin(self.without_chat(error, live, &prompt)).await),
                None => return failed(Failed::new(Failure::Cut, "the stream ended early")),
            }
        }
    }

    /// Sends the chat's history; comes back with the stream of the answer.
    async fn ask(&self, live: &Live, prompt: &str, call: &mut Call) -> Result<upstream::Started, End> {
        let shared = &self.0;
        let messages = history::load(&shared.db, prompt, shared.options.history_chars)
            .await
            .map_err(|error| End::Failed { code: INTERNAL, cause: error.to_string() })?;
        call.told = history::tokens(&messages);
        let now = shared.clock.now();
        live.update(|view| {
            view.state = State::Thinking;
            view.started_at = now;
        });
        call.sent = Some(shared.clock.monotonic());
        let request = ChatRequest::new(live.model.as_str(), messages);
        let limits = shared.options.limits();
        tokio::select! {
            biased;
            why = live.halted() => Err(End::Halted(why)),
            started = shared.pool.start(&live.model, &request, &limits) => started.map_err(failed),
        }
    }

    /// A failure in the middle of an answer without what the chat says (SEC-100). The history is not
    /// kept while an answer runs, so it is read once more; without it there is only the kind.
    async fn without_chat(&self, error: Failed, live: &Live, prompt: &str) -> Failed {
        let kind = error.kind;
        let Ok(mut messages) = history::load(&self.0.db, prompt, self.0.options.history_chars).await else {
            return Failed::new(kind, "");
        };
        if messages.is_empty() {
            return Failed::new(kind, "the chat is deleted");
        }
        messages.push(Message::new(Role::Assistant, live.text()));
        // Long texts take their time.
        let cut = tokio::task::spawn_blocking(move || error.without(&messages)).await;
        cut.unwrap_or_else(|_| Failed::new(kind, ""))
    }

    fn first_token(&self, live: &Live, call: &Call) {
        let (now, monotonic) = (self.0.clock.now(), self.0.clock.monotonic());
        live.update(|view| {
            view.state = State::Streaming;
            view.first_token_at = Some(now);
            view.ttft_micros = call.sent.map(|sent| monotonic - sent);
        });
    }
}

fn failed(failed: Failed) -> End {
    End::Failed { code: failed.kind.code(), cause: failed.cause }
}
