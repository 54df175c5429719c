//! How many records a shard takes a second. Knows neither records nor shards, and no clock: the caller says when it is.
//! Invariant: in no second more than twice the rate, in the long run the rate.

use std::time::{Duration, Instant};

/// What a full bucket holds: one second's records.
const FULL: Duration = Duration::from_secs(1);

/// A bucket of tokens, counted in the time that they took to come in.
pub(crate) struct Bucket {
    /// The time that a token takes.
    cost: Duration,
    held: Duration,
    last: Instant,
}

impl Bucket {
    /// A full bucket of this many tokens a second.
    pub(crate) fn new(rate: u32, now: Instant) -> Self {
        Self { cost: FULL.checked_div(rate).unwrap_or(Duration::MAX), held: FULL, last: now }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.held = (self.held + now.saturating_duration_since(self.last)).min(FULL);
        self.last = now;
        let left = self.held.checked_sub(self.cost);
        self.held = left.unwrap_or(self.held);
        left.is_some()
    }
}
