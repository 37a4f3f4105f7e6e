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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;
    use base::Random;

    /// A time between 1 ms and 1 h, spread evenly over the doublings.
    fn any_time(random: &Random) -> Micros {
        let share = f64::from(u32::from_le_bytes(random.bytes())) / f64::from(u32::MAX);
        (1_000.0 * (share * 3_600_000_f64.log2()).exp2()) as Micros
    }

    #[test]
    fn a_quantile_is_at_most_four_and_a_half_percent_off() {
        let random = Random::seeded(7);
        for round in 0_usize..200 {
            let mut times: Vec<Micros> = (0..=round * 3).map(|_| any_time(&random)).collect();
            let counts: Vec<(i64, i64)> = times.iter().map(|time| (bucket(*time), 1)).collect();
            times.sort_unstable();
            for q in [0.0, 0.25, 0.5, 0.95, 0.99, 1.0] {
                let rank = ((times.len() as f64 * q).ceil() as usize).clamp(1, times.len());
                let exact = times[rank - 1] as f64;
                let found = quantile(&counts, q).unwrap() as f64;
                assert!(
                    (found / exact - 1.0).abs() <= 0.045,
                    "q {q} of {}: {found} for {exact}",
                    times.len()
                );
            }
        }
    }

    #[test]
    fn buckets_grow_with_the_time_and_are_clamped() {
        let random = Random::seeded(8);
        for _ in 0..10_000 {
            let (a, b) = (any_time(&random), any_time(&random));
            assert_eq!(bucket(a.min(b)), bucket(a).min(bucket(b)));
        }
        assert_eq!([-5, 0, 1_000].map(bucket), [0, 0, 0]);
        assert_eq!([2_000, 4_000, 1_024_000].map(bucket), [8, 16, 80]);
        assert_eq!(bucket(i64::MAX), bucket(HOUR));
        assert_eq!(bucket(HOUR), 174);
        assert_eq!(quantile(&[], 0.5), None);
    }
}
