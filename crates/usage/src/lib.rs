//! What was used: the ledger of calls to models, its roll-ups and statistics, and the catalog of
//! upstreams and models.

pub mod catalog;
pub mod figures;
pub mod histogram;
pub mod ledger;
pub mod range;
pub mod rankings;
pub mod stats;

pub use figures::{ModelRow, Sums, Times, Totals, UserRow};
pub use ledger::{Call, Outcome, Purpose, TokensSource, record};
pub use range::{Days, Range, RangeError};
pub use rankings::Rankings;
