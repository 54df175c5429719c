//! How long to wait before sending again: exponential with full jitter. Knows no clock and no random source.
//! Invariant: a wait is never longer than the cap of its class.

use super::errors::Class;
use std::time::Duration;

/// The wait before attempt `attempt + 1`, after `attempt` failures in a row (from 1). `random` is drawn from `[0, 1)`.
#[must_use]
pub fn delay(class: Class, attempt: u32, random: f64) -> Duration {
    let (base, cap) = match class {
        Class::Throttled => (Duration::from_millis(50), Duration::from_secs(5)),
        Class::Again | Class::Ambiguous => (Duration::from_millis(200), Duration::from_secs(10)),
        Class::Hold | Class::Credentials => (Duration::from_secs(1), Duration::from_secs(30)),
        Class::Reject => return Duration::ZERO,
    };
    let doublings = attempt.saturating_sub(1).min(16);
    base.saturating_mul(1 << doublings).min(cap).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(class: Class, longest: [u64; 4]) {
        let found = [1, 2, 6, u32::MAX].map(|attempt| u64::try_from(delay(class, attempt, 1.0).as_millis()).unwrap());
        assert_eq!(found, longest);
    }

    #[test]
    fn the_wait_doubles_up_to_the_cap_of_its_class() {
        check(Class::Throttled, [50, 100, 1_600, 5_000]);
        check(Class::Again, [200, 400, 6_400, 10_000]);
        check(Class::Ambiguous, [200, 400, 6_400, 10_000]);
        check(Class::Hold, [1_000, 2_000, 30_000, 30_000]);
        check(Class::Credentials, [1_000, 2_000, 30_000, 30_000]);
        check(Class::Reject, [0, 0, 0, 0]);
    }

    #[test]
    fn jitter_is_full() {
        assert_eq!(delay(Class::Throttled, 3, 0.0), Duration::ZERO);
        assert_eq!(delay(Class::Throttled, 3, 0.5), Duration::from_millis(100));
    }
}
