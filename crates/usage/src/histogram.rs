//! Latency histograms on a fixed log scale: eight buckets a doubling, from 1 ms to 1 h.
//!
//! A fixed scale lets counts of any hours and replicas be added up. A quantile read from it is
//! the geometric middle of its bucket, at most 2^(1/16) - 1 = 4.4 % off.

use base::{HOUR, Micros};

/// Buckets in each doubling of the time.
const STEPS: f64 = 8.0;
/// The lower edge of bucket 0, in microseconds.
const FIRST: f64 = 1_000.0;

/// The bucket of a time in microseconds; shorter than 1 ms counts as 1 ms, longer than 1 h as 1 h.
pub fn bucket(micros: Micros) -> i64 {
    let clamped = micros.clamp(1_000, HOUR) as f64;
    ((clamped / FIRST).log2() * STEPS).floor() as i64
}

/// The geometric middle of a bucket, in microseconds.
fn middle(bucket: i64) -> Micros {
    (FIRST * ((bucket as f64 + 0.5) / STEPS).exp2()).round() as Micros
}

/// The `q`-quantile (`0.5` is the median) in microseconds of `(bucket, count)` pairs in any order,
/// by nearest rank; none if nothing was counted.
pub fn quantile(counts: &[(i64, i64)], q: f64) -> Option<Micros> {
    let total: i64 = counts.iter().map(|(_, count)| count).sum();
    if total <= 0 {
        return None;
    }
    let rank = ((total as f64 * q).ceil() as i64).clamp(1, total);
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    let mut seen = 0;
    sorted
        .into_iter()
        .find(|(_, count)| {
            seen += count;
            seen >= rank
        })
        .map(|(bucket, _)| middle(bucket))
}
