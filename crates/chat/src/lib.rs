//! Chats, messages, and generations that outlive the tab; rendering of Markdown to safe HTML.
//!
//! [`Engine`] owns the generations: [`Engine::start`] writes prompt, placeholder and generation in
//! one transaction and lets a task of its own read the model's answer (`run`); [`Engine::follow`]
//! gives its blocks as they change (`live`, `follow`); the tick saves what came (`tick`); the end
//! is one transaction with the ledger (`finish`); what a dead process left is ended by the reaper
//! (`reap`). [`chats`] and [`messages`] are the reads and writes around it. Someone else's chat is
//! not found (SEC-91), and nobody has a permission to read it (SEC-100).

mod begin;
pub mod chats;
pub mod drafts;
mod engine;
mod error;
mod finish;
mod follow;
mod history;
pub mod html;
mod live;
pub mod messages;
mod reap;
pub mod render;
mod run;
mod state;
mod tick;

pub use begin::Started;
pub use chats::{ChatItem, ChatList, Cursor, Welcome, count_chats, welcome};
pub use engine::{Engine, Options};
pub use error::ChatError;
pub use follow::{Event, Follow};
pub use messages::{ChatHead, MessageView, Role, Thread, select_version};
pub use state::{GenView, State, failure_words};
pub use tick::TICK;
