//! Why a chat could not do what was asked.

use base::DbError;

/// What went wrong, in words for the member where they can do something about it.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// There is no such chat or message, or it is someone else's (SEC-91).
    #[error("There is no such chat.")]
    NotFound,
    /// An answer is still being written in this chat.
    #[error("An answer is still being written in this chat. Wait for its end or stop it, then send again.")]
    Busy,
    /// As many answers as may be are being written for this person.
    #[error(
        "{0} answers are being written for you already, and more at once are not possible. Wait for the end of \
         one or stop it, then send again."
    )]
    TooMany(usize),
    /// What was typed or chosen does not do; the text says what to change.
    #[error("{0}")]
    Invalid(String),
    /// The server is stopping.
    #[error("The server is restarting. Try again in a moment.")]
    Closing,
    /// The database failed; the cause is for the log.
    #[error(transparent)]
    Db(#[from] DbError),
}
