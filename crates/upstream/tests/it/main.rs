//! The crate against a server of its own on loopback.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

mod chat;
mod pool;
mod probe;
mod reach;
mod stub;
