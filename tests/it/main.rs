//! The application from outside: the real App over HTTP, a database for each test, both engines.
//!
//! `ANTEROOM_TEST_ENGINE=postgres` with `ANTEROOM_TEST_POSTGRES` runs all of it on PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

mod frame;
mod harness;
mod passwords;
mod routes;
mod sign_up;
mod statements;
mod chat;
mod page;
mod sse;
mod stream;
mod limits;
mod bounds;
mod sign_in;
mod sessions;
mod setup;
mod users_admin;
mod verify;
mod failures;
mod expired;
mod usage;
mod models;
mod program;
mod operation;
mod crash;
mod front;
mod commands;
mod own_sessions;
