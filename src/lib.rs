pub mod assets;
pub mod config;
pub mod view;
