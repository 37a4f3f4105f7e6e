//! Passwords: which ones are good enough, and how they are kept.

pub mod block_list;
pub mod hash;
pub mod policy;
mod stems;

pub use hash::{Busy, HashParams, Hasher, Verified};
pub use policy::{Context, Policy};
