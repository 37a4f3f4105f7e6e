//! The engine on SQLite, with an upstream on loopback that answers as each test says.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test panics to fail")]

mod answers;
mod ends;
mod following;
mod house;
mod ledger;
mod stub;
mod tree;
