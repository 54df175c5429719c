//! At most one message per kind and period. Knows no clock and no logger.
//! Invariant: every message is either let through or counted in the next one's `suppressed`.

use std::time::{Duration, Instant};

/// Decides for one kind of message.
#[derive(Debug)]
pub struct RateLimit {
    period: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl RateLimit {
    /// Lets one message through per `period`, the first at once.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        Self { period, last: None, suppressed: 0 }
    }

    /// `Some(suppressed since the last one)` when this message may be written.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < self.period) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_a_period_and_the_others_are_counted() {
        let start = Instant::now();
        let mut limit = RateLimit::new(Duration::from_secs(30));
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(
            [at(0), at(1), at(29), at(30), at(31), at(90)].map(|t| limit.admit(t)),
            [Some(0), None, None, Some(2), None, Some(1)]
        );
    }
}
