//! What time it is for the destination, by what its answers say. Knows no requests.
//! Invariant: a time that it gives is not later than the destination's own, once an answer told that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use super::search::{MARGIN, MARGIN_WITHOUT_CLOCK};
use crate::model::Now;

/// The clock of one destination. Clones see the same. A step of this host's clock does not move it.
#[derive(Clone, Debug)]
pub struct ServiceClock {
    start: Now,
    /// Of the destination at `start`; [`UNKNOWN`] as long as no answer told its time.
    at_start: Arc<AtomicI64>,
}

const UNKNOWN: i64 = i64::MIN;

impl ServiceClock {
    /// Until an answer tells the time, this host's is taken.
    #[must_use]
    pub fn new(now: Now) -> Self {
        Self { start: now, at_start: Arc::new(AtomicI64::new(UNKNOWN)) }
    }

    /// An answer that came at `now` says that it was made at `time`, in nanoseconds since 1970. It was made before it
    /// came, so what is learnt errs towards an earlier time.
    pub fn learn(&self, time: i64, now: Instant) {
        self.at_start.store(time.saturating_sub(self.elapsed(now)).max(UNKNOWN + 1), Ordering::Relaxed);
    }

    /// The destination's time then, in nanoseconds since 1970.
    #[must_use]
    pub fn at(&self, then: Instant) -> i64 {
        self.known().unwrap_or(self.start.wall).saturating_add(self.elapsed(then))
    }

    /// The destination's time then, if an answer told it.
    #[must_use]
    pub fn told(&self, then: Instant) -> Option<i64> {
        Some(self.known()?.saturating_add(self.elapsed(then)))
    }

    /// A time that it is not before then for the destination, give or take [`MARGIN`]: for what is written down, and read
    /// when more may be known of the clock.
    #[must_use]
    pub fn not_before(&self, then: Instant) -> i64 {
        let unknown = if self.known().is_some() { Duration::ZERO } else { MARGIN_WITHOUT_CLOCK };
        self.at(then).saturating_sub(i64::try_from(unknown.as_nanos()).unwrap_or(i64::MAX))
    }

    /// How much earlier by this clock something may seem to have arrived than it was sent.
    #[must_use]
    pub fn margin(&self) -> Duration {
        if self.known().is_some() { MARGIN } else { MARGIN_WITHOUT_CLOCK }
    }

    fn known(&self) -> Option<i64> {
        Some(self.at_start.load(Ordering::Relaxed)).filter(|at| *at != UNKNOWN)
    }

    fn elapsed(&self, then: Instant) -> i64 {
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        nanos(then.saturating_duration_since(self.start.mono)) - nanos(self.start.mono.saturating_duration_since(then))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_ten_minutes_ahead_is_corrected_by_the_first_answer() {
        let (minute, start) = (60_000_000_000, Instant::now());
        let after = |minutes: u64| start + Duration::from_mins(minutes);
        let clock = ServiceClock::new(Now { mono: after(10), wall: 110 * minute });
        assert_eq!((clock.at(after(12)), clock.at(after(9))), (112 * minute, 109 * minute));
        assert_eq!((clock.margin(), clock.not_before(after(12))), (MARGIN_WITHOUT_CLOCK, 97 * minute));
        clock.clone().learn(103 * minute, after(13));
        assert_eq!((clock.at(after(20)), clock.at(after(9))), (110 * minute, 99 * minute));
        assert_eq!((clock.margin(), clock.not_before(after(20))), (MARGIN, 110 * minute));
    }
}
