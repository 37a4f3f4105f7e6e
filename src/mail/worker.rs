//! The worker that empties the outbox. A server that is down delays mails and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use accounts::outbox::GIVE_UP_AFTER;
use accounts::{Accounts, ClaimedMail};
use base::db::DbError;
use base::{Clock, HOUR, MINUTE, Micros};
use futures_util::StreamExt as _;

use super::{Mailer, SendError};
use crate::app::App;
use crate::error::AppError;
use crate::joining;

/// How many mails are claimed at once. All to one recipient and each at its longest, they take
/// less than a claim lasts.
const BATCH: i64 = 8;
/// How many recipients are served at once.
const AT_ONCE: usize = 4;
/// How often the outbox is looked into when nobody wakes the worker: for mails that are due again
/// and those of another replica.
const LOOK: Duration = Duration::from_secs(5);
/// How often a recipient that the server refuses is tried: some refuse a new one at first.
const REFUSALS: i64 = 3;

/// Sends what is due until the application stops. `app.outbox` wakes it at once.
pub async fn run_outbox(app: App) {
    while !app.stopping() {
        if let Err(error) = answer_resets(&app).await {
            tracing::warn!(error.cause = ?error, "requests for reset links could not be looked into; trying again");
        }
        // Not cut short by a stop: a mail that was sent but not noted would be sent again.
        match send_due(&app.accounts, &app.mailer, &app.clock).await {
            Ok(found) if found == BATCH as usize => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(error.cause = %error, "the outbox could not be read; trying again"),
        }
        tokio::select! {
            () = app.stopped() => return,
            () = app.outbox.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Queues the links that people asked for who forgot their password. A sign-up that still waits is
/// sent the link that it waits for instead.
async fn answer_resets(app: &App) -> Result<(), AppError> {
    loop {
        let resolved = app.accounts.resolve_reset_requests(BATCH).await?;
        for (user, client) in &resolved.unconfirmed {
            joining::mail_verification(app, user, client).await?;
        }
        if resolved.found < BATCH as usize {
            return Ok(());
        }
    }
}

/// Sends one batch of what is due, the mails to one recipient one after the other; gives how many
/// were taken up.
///
/// # Errors
/// The database failed. What was sent by then may be sent again after a few minutes.
pub async fn send_due(accounts: &Accounts, mailer: &Mailer, clock: &Clock) -> Result<usize, DbError> {
    let due = accounts.claim_due_mail(BATCH).await?;
    let found = due.len();
    let mut recipients: BTreeMap<String, Vec<ClaimedMail>> = BTreeMap::new();
    for claimed in due {
        recipients.entry(claimed.mail.recipient.clone()).or_default().push(claimed);
    }
    let mut served = futures_util::stream::iter(recipients.into_values())
        .map(|mails| async move {
            for claimed in mails {
                send_one(accounts, mailer, clock, &claimed).await?;
            }
            Ok(())
        })
        .buffer_unordered(AT_ONCE);
    let mut result = Ok(found);
    while let Some(done) = served.next().await {
        if let Err(error) = done {
            result = Err(error);
        }
    }
    result
}

async fn send_one(
    accounts: &Accounts,
    mailer: &Mailer,
    clock: &Clock,
    claimed: &ClaimedMail,
) -> Result<(), DbError> {
    let Err(error) = mailer.send(claimed, clock.now()).await else {
        tracing::debug!(mail.kind = claimed.mail.kind, mail.id = claimed.id, "a mail was sent");
        return accounts.mail_sent(&claimed.id).await;
    };
    let again = retry_in(&error, claimed.attempts, clock.now() - claimed.created_at);
    tracing::warn!(
        mail.kind = claimed.mail.kind,
        mail.id = claimed.id,
        mail.attempts = claimed.attempts,
        mail.given_up = again.is_none(),
        error.cause = %error,
        "a mail could not be sent"
    );
    accounts.mail_failed(&claimed.id, &error.to_string(), again).await
}

/// After 1, 5 and 30 minutes, 2 hours, then every 6, for 3 days; `None` is the end.
fn retry_in(error: &SendError, attempts: i64, age: Micros) -> Option<Micros> {
    if matches!(error, SendError::Refused(_)) && attempts >= REFUSALS {
        return None;
    }
    let wait = match attempts {
        ..=1 => MINUTE,
        2 => 5 * MINUTE,
        3 => 30 * MINUTE,
        4 => 2 * HOUR,
        _ => 6 * HOUR,
    };
    (age + wait <= GIVE_UP_AFTER).then_some(wait)
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
