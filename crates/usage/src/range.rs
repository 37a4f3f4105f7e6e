//! Ranges of UTC days.

use base::{DAY, Micros};

/// The UTC day that `at` lies in, counted from 1970-01-01.
pub fn day_of(at: Micros) -> i64 {
    at.div_euclid(DAY)
}
