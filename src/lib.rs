//! Anteroom: private LLM chat for a team, behind a front door that can be trusted.
//!
//! `router` is the page to start from: it lists every route with its guard and its handler.

pub mod api;
pub mod app;
pub mod assets;
pub mod cli;
pub mod config;
pub mod error;
pub mod guard;
pub mod http;
pub mod jobs;
pub mod joining;
pub mod logging;
pub mod mail;
pub mod models;
pub mod options;
pub mod pages;
pub mod router;
pub mod serve;
pub mod sign_in_providers;
pub mod streams;
pub mod view;
