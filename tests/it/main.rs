//! The application from outside: the real App over HTTP, a database for each test, both engines.
//!
//! `ANTEROOM_TEST_ENGINE=postgres` with `ANTEROOM_TEST_POSTGRES` runs all of it on PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

mod bounds;
mod chat;
mod commands;
mod connections;
mod crash;
mod doctor;
mod email_change;
mod email_codes;
mod enrolment;
mod expired;
mod factor_changes;
mod factor_reset;
mod failures;
mod frame;
mod front;
mod harness;
mod limits;
mod linking;
mod models;
mod operation;
mod own_sessions;
mod page;
mod passkeys;
mod passwords;
mod program;
mod provider_step_up;
mod providers;
mod providers_accounts;
mod providers_admin;
mod providers_attacks;
mod providers_harness;
mod providers_onward;
mod providers_shapes;
mod providers_troubles;
mod recovery;
mod review_fixes;
mod roles_admin;
mod routes;
mod second_factor;
mod second_factor_races;
mod sessions;
mod settings_factors;
mod setup;
mod sign_in;
mod sign_in_mails;
mod sign_up;
mod sse;
mod statements;
mod step_up;
mod stream;
mod usage;
mod users_admin;
mod verify;
