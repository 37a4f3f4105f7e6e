//! How a generation begins: one transaction with the messages and its row, then a task of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::{DbError, Micros, Tx, args, sql};

use crate::chats;
use crate::engine::Engine;
use crate::error::ChatError;
use crate::live::Live;
use crate::state::GenView;

/// A generation that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    pub chat_id: String,
    /// The prompt.
    pub user_message_id: String,
    /// The answer.
    pub message_id: String,
    pub generation_id: String,
}

/// What is to be answered, and where.
enum What {
    /// A new prompt at the leaf of a chat, or in a new one.
    Prompt { chat: Option<String>, prompt: String },
    /// A message that was answered, or failed to be.
    Again { message: String },
}

impl Engine {
    /// Takes a prompt: what [`Engine::start`] checks of it, and how it is stored (line ends as
    /// `\n`, nothing behind the last word).
    ///
    /// # Errors
    /// [`ChatError::Invalid`] if it is empty or too long.
    pub fn check_prompt(&self, prompt: &str) -> Result<String, ChatError> {
        let prompt = prompt.trim_end().replace("\r\n", "\n").replace('\0', "\u{FFFD}");
        let (length, longest) = (prompt.chars().count(), self.0.options.prompt_chars);
        if length == 0 {
            return Err(ChatError::Invalid("Write a prompt first.".into()));
        }
        if length > longest {
            return Err(ChatError::Invalid(format!(
                "This prompt is too long: {length} characters, at most {longest}. Shorten it and send again."
            )));
        }
        Ok(prompt)
    }

    fn check_model(&self, model: &str) -> Result<(), ChatError> {
        if self.0.pool.serves(model) {
            Ok(())
        } else {
            Err(ChatError::Invalid("This model is not available any more. Choose another one.".into()))
        }
    }

    /// Adds a prompt to a chat (`None`: to a new one) and has it answered by `model`. When this
    /// comes back the prompt is on disk and the answer goes on whatever becomes of the caller.
    ///
    /// # Errors
    /// [`ChatError::Invalid`] for the prompt or the model, [`ChatError::Busy`] while an answer is
    /// being written in the chat, [`ChatError::TooMany`] where that many are for the person,
    /// [`ChatError::NotFound`], [`ChatError::Closing`].
    pub async fn start(
        &self,
        user: &str,
        chat: Option<&str>,
        prompt: &str,
        model: &str,
    ) -> Result<Started, ChatError> {
        let what = What::Prompt { chat: chat.map(str::to_owned), prompt: self.check_prompt(prompt)? };
        self.check_model(model)?;
        self.spawn(user, what, model.to_owned()).await
    }

    /// Has a prompt answered once more, by `model` or the one that wrote `message`. The new answer
    /// stands beside the old one, which is kept as a version. `message` may be the prompt itself.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn regenerate(
        &self,
        user: &str,
        message: &str,
        model: Option<&str>,
    ) -> Result<Started, ChatError> {
        let model = match model {
            Some(model) => model.to_owned(),
            None => self.model_of(user, message).await?,
        };
        self.check_model(&model)?;
        self.spawn(user, What::Again { message: message.to_owned() }, model).await
    }

    async fn model_of(&self, user: &str, message: &str) -> Result<String, ChatError> {
        let model: Option<Option<String>> = self
            .0
            .db
            .one(
                sql!(
                    "SELECT COALESCE(m.model, c.model) FROM messages m JOIN chats c ON c.id = m.chat_id
                     WHERE m.id = $1 AND c.user_id = $2"
                ),
                args![message, user],
            )
            .await?;
        model
            .ok_or(ChatError::NotFound)?
            .ok_or_else(|| ChatError::Invalid("Choose a model for this answer.".into()))
    }

    /// Begins in a task of its own: a caller that goes away in the middle must not leave a row
    /// that nobody works on.
    async fn spawn(&self, user: &str, what: What, model: String) -> Result<Started, ChatError> {
        if self.0.closing.load(Ordering::SeqCst) {
            return Err(ChatError::Closing);
        }
        let (engine, user) = (self.clone(), user.to_owned());
        let begun = self.0.tasks.spawn(async move { engine.begin(&user, what, &model).await });
        match begun.await {
            Ok(done) => done,
            Err(error) => Err(DbError::Other(format!("the prompt's task failed: {error}")).into()),
        }
    }

    async fn begin(&self, user: &str, what: What, model: &str) -> Result<Started, ChatError> {
        let shared = &self.0;
        let now = shared.clock.now();
        self.room_for(user, &shared.live.lock())?;
        let mut tx = shared.db.begin().await?;
        // Ids of one chat sort as its messages follow each other.
        let (message_id, generation_id) = (shared.random.id(now + 1), shared.random.id(now));
        let (chat_id, user_message_id) = match &what {
            What::Prompt { chat, prompt } => {
                self.write_prompt(&mut tx, user, chat.as_deref(), prompt, now).await?
            }
            What::Again { message } => prompt_of(&mut tx, user, message).await?,
        };
        tx.run(
            sql!(
                "INSERT INTO messages (id, chat_id, parent_id, role, model, markdown, created_at)
                 VALUES ($1, $2, $3, 'assistant', $4, '', $5)"
            ),
            args![&message_id, &chat_id, &user_message_id, model, now],
        )
        .await?;
        tx.run(
            sql!(
                "INSERT INTO generations (id, chat_id, message_id, user_id, model, state, replica, created_at,
                   heartbeat_at)
                 VALUES ($1, $2, $3, $4, $5, 'queued', $6, $7, $7)"
            ),
            args![&generation_id, &chat_id, &message_id, user, model, &shared.replica, now],
        )
        .await
        .map_err(|error| {
            if error.is_unique("generations", "chat_id") { ChatError::Busy } else { error.into() }
        })?;
        let rows = tx
            .run(
                sql!(
                    "UPDATE chats SET leaf_id = $3, model = $4, updated_at = $5 WHERE id = $1 AND user_id = $2"
                ),
                args![&chat_id, user, &message_id, model, now],
            )
            .await?;
        if rows == 0 {
            return Err(ChatError::NotFound);
        }
        let view = GenView::queued(generation_id.clone(), now);
        let live = Live::new(view, chat_id.clone(), &message_id, user, model);
        // Known before it can be read, so that nobody finds a live row that nobody works on.
        {
            let mut running = shared.live.lock();
            self.room_for(user, &running)?;
            running.insert(generation_id.clone(), Arc::clone(&live));
        }
        if let Err(error) = tx.commit().await {
            shared.live.lock().remove(&generation_id);
            return Err(error.into());
        }
        live.begun();
        let started = Started { chat_id, user_message_id, message_id, generation_id };
        self.run(live, started.user_message_id.clone());
        Ok(started)
    }

    /// Whether one more answer may be written for the person.
    fn room_for(&self, user: &str, live: &HashMap<String, Arc<Live>>) -> Result<(), ChatError> {
        let most = self.0.options.generations_per_user;
        let full = live.values().filter(|live| live.user_id == user).count() >= most;
        if full { Err(ChatError::TooMany(most)) } else { Ok(()) }
    }

    /// Writes the prompt at the chat's leaf; gives the ids of chat and message.
    async fn write_prompt(
        &self,
        tx: &mut Tx,
        user: &str,
        chat: Option<&str>,
        prompt: &str,
        now: Micros,
    ) -> Result<(String, String), ChatError> {
        let random = &self.0.random;
        let message = random.id(now);
        let (chat, leaf) = match chat {
            None => {
                let id = random.id(now);
                chats::insert(tx, &id, user, &chats::title_of(prompt), false, None, now).await?;
                (id, None)
            }
            Some(chat) => {
                let found: Option<(Option<String>, bool)> = tx
                    .one(
                        sql!("SELECT leaf_id, named FROM chats WHERE id = $1 AND user_id = $2"),
                        args![chat, user],
                    )
                    .await?;
                let (leaf, named) = found.ok_or(ChatError::NotFound)?;
                if leaf.is_none() && !named {
                    tx.run(
                        sql!("UPDATE chats SET title = $2 WHERE id = $1 AND NOT named"),
                        args![chat, &chats::title_of(prompt)],
                    )
                    .await?;
                }
                (chat.to_owned(), leaf)
            }
        };
        tx.run(
            sql!(
                "INSERT INTO messages (id, chat_id, parent_id, role, markdown, created_at)
                 VALUES ($1, $2, $3, 'user', $4, $5)"
            ),
            args![&message, &chat, &leaf, prompt, now],
        )
        .await
        .map_err(|error| match error {
            DbError::ForeignKey(_) => ChatError::NotFound,
            error => error.into(),
        })?;
        Ok((chat, message))
    }
}

/// The ids of the chat and of the prompt that `message` answers, or is.
async fn prompt_of(tx: &mut Tx, user: &str, message: &str) -> Result<(String, String), ChatError> {
    let found: Option<(String, Option<String>)> = tx
        .one(
            sql!(
                "SELECT m.chat_id, CASE WHEN m.role = 'user' THEN m.id ELSE m.parent_id END
                 FROM messages m JOIN chats c ON c.id = m.chat_id WHERE m.id = $1 AND c.user_id = $2"
            ),
            args![message, user],
        )
        .await?;
    let (chat, prompt) = found.ok_or(ChatError::NotFound)?;
    let prompt = prompt.ok_or_else(|| ChatError::Invalid("This message does not answer a prompt.".into()))?;
    Ok((chat, prompt))
}
