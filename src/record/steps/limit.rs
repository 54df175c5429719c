//! `limit`: lets some records through. Knows a record's id and the time it was read, not the record. Invariant: which records
//! a sample takes depends on nothing but their ids; at most the rate, and once one second's worth more, pass in any interval.

use std::{num::NonZeroU64, time::Instant};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{model::Span, record::pipeline::Context};

/// How many records to let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// One in `n` on average, drawn by the record's id: a record that is read again after a crash is drawn again.
    OneIn(NonZeroU64),
    /// At most `n` a second, of which one second's worth may come at once. 1 to 1 000 000 000.
    PerSecond(NonZeroU64),
}

/// So that what is drawn here has nothing to do with what else is drawn from a record's id.
const SEED: u64 = 0x006c_696d_6974;
const SECOND: u64 = 1_000_000_000;

/// A limit and where it stands.
#[derive(Clone, Debug)]
pub(in super::super) struct Limiter {
    limit: Limit,
    /// Billionths of a record that may pass.
    credit: u64,
    /// When `credit` was last counted.
    counted: Option<Instant>,
}

impl Limiter {
    pub(in super::super) fn new(limit: Limit) -> Self {
        Self { limit, credit: 0, counted: None }
    }

    /// Whether this record passes; it is counted if it does.
    pub(in super::super) fn passes(&mut self, context: &Context<'_>) -> bool {
        match self.limit {
            Limit::OneIn(n) => {
                let Span { start, end } = context.span;
                let mut id = [0; 24];
                for (bytes, part) in id.chunks_exact_mut(8).zip([context.generation.0, start, end]) {
                    bytes.copy_from_slice(&part.to_le_bytes());
                }
                xxh3_64_with_seed(&id, SEED).is_multiple_of(n.get())
            }
            Limit::PerSecond(n) => self.spend(n.get(), context.now.mono),
        }
    }

    /// Whether it depends on the time and on the records before.
    pub(crate) fn is_rate(&self) -> bool {
        matches!(self.limit, Limit::PerSecond(_))
    }

    fn spend(&mut self, rate: u64, now: Instant) -> bool {
        let full = rate.saturating_mul(SECOND);
        self.credit = match self.counted {
            None => full,
            Some(before) => {
                let passed = now.saturating_duration_since(before).as_nanos().min(u128::from(SECOND));
                let passed = u64::try_from(passed).expect("at most a second");
                self.credit.saturating_add(passed.saturating_mul(rate)).min(full)
            }
        };
        self.counted = Some(self.counted.map_or(now, |before| before.max(now)));
        let passes = self.credit >= SECOND;
        if passes {
            self.credit -= SECOND;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{Generation, Now},
        record::ec2,
    };

    fn passes(limiter: &mut Limiter, start: u64, mono: Instant) -> bool {
        limiter.passes(&Context {
            host: "",
            ec2: &ec2::Shared::default(),
            path: Path::new("/a"),
            generation: Generation(7),
            span: Span { start, end: start + 10 },
            now: Now { mono, wall: 0 },
        })
    }

    fn one_in(n: u64) -> Limiter {
        Limiter::new(Limit::OneIn(NonZeroU64::new(n).expect("not 0")))
    }

    fn per_second(n: u64) -> Limiter {
        Limiter::new(Limit::PerSecond(NonZeroU64::new(n).expect("not 0")))
    }

    #[test]
    fn a_sample_is_one_in_n_and_the_same_again() {
        let now = Instant::now();
        let draw = || -> Vec<u64> {
            let mut limiter = one_in(10);
            (0..100_000).map(|n| n * 10).filter(|&start| passes(&mut limiter, start, now)).collect()
        };
        let drawn = draw();
        assert!((9_500..10_500).contains(&drawn.len()), "{}", drawn.len());
        assert_eq!(draw(), drawn);
        // A restart in the middle changes nothing either.
        let mut late = one_in(10);
        assert!(drawn.iter().all(|&start| passes(&mut late, start, now)));
        assert!((0..100).all(|start| passes(&mut one_in(1), start, now)));
    }

    #[test]
    fn a_second_s_worth_passes_at_once_and_then_the_rate() {
        let start = Instant::now();
        let mut limiter = per_second(3);
        let mut count = |ms| {
            let now = start + Duration::from_millis(ms);
            (0..10).filter(|_| passes(&mut limiter, 0, now)).count()
        };
        assert_eq!(count(0), 3);
        assert_eq!(count(333), 0);
        assert_eq!(count(334), 1);
        assert_eq!(count(1_000), 2);
        assert_eq!(count(60_000), 3);
        // A clock that goes back gives nothing.
        assert_eq!(count(0), 0);
        assert_eq!(count(60_333), 0);
        assert_eq!(count(60_334), 1);
    }

    proptest! {
        /// The model is a bucket of whole records in units that cannot be rounded.
        #[test]
        fn a_rate_is_what_a_bucket_gives(rate in 1..50u64, gaps in prop::collection::vec(0..2_000_000_000u64, 1..200)) {
            let start = Instant::now();
            let mut limiter = per_second(rate);
            let (mut now, mut bucket) = (0u64, u128::from(rate) * u128::from(SECOND));
            let mut passed = Vec::new();
            for gap in gaps {
                now += gap / 20;
                bucket = (bucket + u128::from(gap / 20) * u128::from(rate)).min(u128::from(rate) * u128::from(SECOND));
                let expected = bucket >= u128::from(SECOND);
                prop_assert_eq!(passes(&mut limiter, 0, start + Duration::from_nanos(now)), expected);
                if expected {
                    bucket -= u128::from(SECOND);
                    passed.push(now);
                }
            }
            // In any interval: its length times the rate, and one second's worth more.
            for (at, &from) in passed.iter().enumerate() {
                for (more, &to) in passed[at..].iter().enumerate() {
                    prop_assert!(more as u64 <= (to - from) * rate / SECOND + rate);
                }
            }
        }
    }
}
