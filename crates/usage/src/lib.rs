//! What was used: the ledger of calls to models, its roll-ups and statistics, and the catalog of
//! upstreams and models.

pub mod histogram;
pub mod ledger;
pub mod range;

pub use ledger::{Call, Outcome, Purpose, TokensSource, record};
