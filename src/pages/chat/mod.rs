//! The chat: its page, what is sent, what streams back, what is done with a chat.

mod events;
mod manage;
mod send;
mod show;

pub use events::events;
pub use manage::{delete, rename};
pub use send::{create, regenerate, send, show_version, stop};
pub use show::{new_page, page};

use chat::ChatError;

use crate::error::{AppError, internal};

/// What went wrong in words, or `None` where it is no news for the person.
fn app_error(error: ChatError) -> AppError {
    match error {
        ChatError::NotFound => AppError::NotFound,
        ChatError::Busy | ChatError::TooMany(_) | ChatError::Invalid(_) => {
            AppError::Refused(error.to_string())
        }
        ChatError::Closing => AppError::Busy(5),
        ChatError::Db(base::DbError::Busy(_)) => AppError::Busy(2),
        ChatError::Db(error) => internal(error),
    }
}
