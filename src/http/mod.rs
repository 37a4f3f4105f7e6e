//! What surrounds every handler: request id and log, security headers, errors in the right form,
//! cookies, client addresses, and the tokens of forms.

pub mod answer;
pub mod client;
pub mod connections;
pub mod cookies;
pub mod cors;
pub mod csrf;
pub mod headers;
pub mod input;
pub mod log;
pub mod panics;
