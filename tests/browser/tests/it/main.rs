//! The product in a real browser, one program for all so that one turn is taken at a time.

mod answers;
mod controls;
mod keyboard;
mod main_way;
mod no_script;
mod pages;
mod sessions;
