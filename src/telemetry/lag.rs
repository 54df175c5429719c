//! How long data has been waiting to be delivered, told from two numbers alone. Knows no files and no clock.
//! Invariant: the answer is never more than the true age of the oldest data that waits.

use std::time::{Duration, Instant};

/// Moments that are remembered; beyond, every second one is forgotten, which makes the answer coarser.
const MOST: usize = 128;

/// What was seen, and when.
#[derive(Debug, Default)]
pub struct Lag {
    /// When a byte with this number was first known to be there; both rise.
    seen: Vec<(Instant, u64)>,
}

impl Lag {
    /// Takes note that `settled` bytes were delivered so far and `behind` more are waiting. Hands back how long the
    /// oldest of those has been waiting since it was first seen; 0 when none is.
    pub fn observe(&mut self, now: Instant, settled: u64, behind: u64) -> Duration {
        let end = settled.saturating_add(behind);
        // Bytes may go away undelivered: with their file, or when it is truncated.
        self.seen.iter_mut().for_each(|(_, to)| *to = end.min(*to));
        self.seen.dedup_by_key(|(_, to)| *to);
        self.seen.retain(|(_, to)| *to > settled);
        if behind > 0 && self.seen.last().is_none_or(|(_, to)| *to < end) {
            self.seen.push((now, end));
        }
        if self.seen.len() > MOST {
            // The bytes of a moment that is forgotten count as seen at the next one: younger, never older.
            let mut index = 0;
            self.seen.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.seen.first().map_or(Duration::ZERO, |(at, _)| now.saturating_duration_since(*at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_backlog_of_a_busy_file_has_the_age_of_its_oldest_byte() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut lag = Lag::default();
        // 100 bytes a second arrive, 50 are delivered.
        let ages: Vec<u64> = (0..=10).map(|s| lag.observe(at(s), s * 50, 100 + s * 50).as_secs()).collect();
        assert_eq!(ages, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
        assert_eq!(lag.observe(at(11), 1100, 0), Duration::ZERO);
    }

    #[test]
    fn bytes_that_go_away_are_not_waited_for() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut lag = Lag::default();
        lag.observe(at(0), 0, 100);
        lag.observe(at(5), 0, 0);
        assert_eq!(lag.observe(at(6), 0, 10), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn the_answer_is_no_more_than_the_true_age_and_close_to_it(steps in prop::collection::vec((0u64..5, 0u64..5), 1..600)) {
            let start = Instant::now();
            let (mut lag, mut arrived, mut settled) = (Lag::default(), Vec::new(), 0usize);
            for (second, (come, go)) in (0u64..).zip(steps) {
                arrived.extend((0..come).map(|_| second));
                settled = arrived.len().min(settled + usize::try_from(go).unwrap());
                let behind = arrived.len() - settled;
                let told = lag.observe(start + Duration::from_secs(second), settled as u64, behind as u64).as_secs();
                let truth = arrived.get(settled).map_or(0, |came| second - came);
                prop_assert!(told <= truth, "{} > {}", told, truth);
                prop_assert!(told * 2 + 8 >= truth, "{} is far from {}", told, truth);
            }
        }
    }
}
