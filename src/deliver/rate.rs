//! So many records and bytes a second. Knows no requests; time is an argument.
//! Invariant: over any time, what passed is at most the rate times that time, one burst, and what passed last.

use std::time::{Duration, Instant};

/// The most that a destination is sent, for who shares it with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxRate {
    /// Bytes a second, partition keys included. At least 1.
    pub bytes: Option<u32>,
    /// Records of the destination a second. At least 1.
    pub records: Option<u32>,
}

/// What may be sent at once after a pause.
const BURST: f64 = 1.0;

/// A token bucket that lets its last customer have what is not there yet: whoever comes next waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Seconds' worth of tokens; below 0 what is owed.
    bytes: f64,
    records: f64,
    per_second: MaxRate,
    at: Instant,
}

impl Rate {
    pub(super) fn new(per_second: MaxRate, now: Instant) -> Self {
        Self { bytes: BURST, records: BURST, per_second, at: now }
    }

    /// When the next request may be made.
    pub(super) fn ready_at(&self) -> Instant {
        self.at + Duration::from_secs_f64((-self.bytes.min(self.records)).max(0.0))
    }

    /// So much is sent now.
    pub(super) fn sent(&mut self, records: u64, bytes: u64, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.bytes = (self.bytes + passed).min(BURST) - cost(bytes, self.per_second.bytes);
        self.records = (self.records + passed).min(BURST) - cost(records, self.per_second.records);
    }
}

/// Seconds' worth of `n`.
#[expect(clippy::cast_precision_loss, reason = "a request holds far fewer than 2^52 bytes")]
fn cost(n: u64, per_second: Option<u32>) -> f64 {
    per_second.map_or(0.0, |per_second| n as f64 / f64::from(per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends requests of this size as fast as it may for a minute; what passed.
    fn a_minute(per_second: MaxRate, records: u64, bytes: u64) -> (u64, u64) {
        let start = Instant::now();
        let (mut rate, mut now, mut requests) = (Rate::new(per_second, start), start, 0);
        while now < start + Duration::from_mins(1) {
            rate.sent(records, bytes, now);
            requests += 1;
            now = rate.ready_at().max(now + Duration::from_millis(1));
        }
        (requests * records, requests * bytes)
    }

    #[test]
    fn no_more_passes_than_the_rate_a_burst_and_one_request() {
        let (records, _) = a_minute(MaxRate { records: Some(100), bytes: None }, 7, 1);
        assert!((6_000..=6_000 + 100 + 7).contains(&records), "{records}");
        let (_, bytes) = a_minute(MaxRate { records: Some(1_000_000), bytes: Some(1 << 20) }, 500, 5 << 20);
        assert!(((58 << 20)..=(66 << 20)).contains(&bytes), "{bytes}");
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let now = Instant::now();
        let mut rate = Rate::new(MaxRate::default(), now);
        rate.sent(1 << 30, 1 << 40, now);
        assert!(rate.ready_at() <= now);
    }
}
