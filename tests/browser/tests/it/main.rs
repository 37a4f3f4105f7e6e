//! The product in a real browser, one program for all so that they take turns.

mod answers;
mod authenticator;
mod controls;
mod keyboard;
mod main_way;
mod no_script;
mod pages;
mod pages_accounts;
mod pages_providers;
mod passkeys;
mod providers;
mod recovery;
mod second_factor;
mod sessions;
