//! What one busy shard lets pass, by additive increase and multiplicative decrease. Knows no other shard.
//! Invariant: members that ask get equal parts, and all of them together no more than the shard's share of its rate.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::Member;

/// What every shard takes a second.
const RECORDS: f64 = 1_000.0;
const BYTES: f64 = 1_048_576.0;
/// The least that is tried.
const LEAST: f64 = 0.005;
/// After being throttled, this much is tried.
const DECREASE: f64 = 0.7;
/// Throttles that come closer together count as one: they answer what was sent before.
const ROUND: Duration = Duration::from_millis(300);
/// Grown each second: by this part, and by this much.
const INCREASE: (f64, f64) = (0.08, 0.004);
/// Tokens that are saved up, in seconds: few, so that what comes at once is little.
const BURST: f64 = 0.25;
/// A member that has not asked for this long gets no part.
const ABSENT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Bucket {
    /// The part of what every shard takes that this one is given.
    part: f64,
    throttled_at: Instant,
    grown_at: Instant,
    shares: HashMap<Member, Share>,
}

/// One member's tokens.
#[derive(Clone, Copy, Debug)]
struct Share {
    records: f64,
    bytes: f64,
    at: Instant,
    /// When it was told to come again.
    again: Instant,
}

impl Bucket {
    /// Of a shard that was not limited so far.
    pub(super) fn new(now: Instant) -> Self {
        let before = now.checked_sub(ROUND).unwrap_or(now);
        Self { part: 1.0, throttled_at: before, grown_at: now, shares: HashMap::new() }
    }

    /// The shard refused something.
    pub(super) fn throttled(&mut self, now: Instant) {
        if now.saturating_duration_since(self.throttled_at) >= ROUND {
            self.grow(now);
            self.part = (self.part * DECREASE).max(LEAST);
            self.throttled_at = now;
            // Nobody goes on with what was saved up at a higher rate.
            self.shares.values_mut().for_each(|share| (share.records, share.bytes) = (0.0, 0.0));
        }
    }

    /// It refused nothing for this long, at the full rate.
    pub(super) fn is_quiet_since(&mut self, now: Instant, time: Duration) -> bool {
        self.grow(now);
        self.part >= 1.0 && now.saturating_duration_since(self.throttled_at) >= time
    }

    /// One record of this size. `None`: it may be sent; else when to ask again.
    pub(super) fn take(&mut self, who: Member, size: u32, now: Instant) -> Option<Instant> {
        self.grow(now);
        self.shares.retain(|member, share| {
            *member == who || now.saturating_duration_since(share.at.max(share.again)) < ABSENT
        });
        let new = Share { records: 0.0, bytes: 0.0, at: now, again: now };
        let members = f64::from(u32::try_from(self.shares.len().max(1)).unwrap_or(u32::MAX));
        let is_new = !self.shares.contains_key(&who);
        let share = self.shares.entry(who).or_insert(new);
        let members = if is_new && members > 1.0 { members + 1.0 } else { members };
        let rate = self.part / members;
        let passed = now.saturating_duration_since(share.at).as_secs_f64();
        share.at = now;
        // A single record larger than a burst gets its turn, too.
        let (most_records, most_bytes) =
            ((RECORDS * rate * BURST).max(1.0), (BYTES * rate * BURST).max(f64::from(size)));
        // What was saved up for a large record stays, although a small one asks in between.
        share.records = (share.records + passed * RECORDS * rate).min(most_records.max(share.records));
        share.bytes = (share.bytes + passed * BYTES * rate).min(most_bytes.max(share.bytes));
        if share.records >= 1.0 && share.bytes >= f64::from(size) {
            share.records -= 1.0;
            share.bytes -= f64::from(size);
            return None;
        }
        // Not for each token: for a burst of them, so that requests are not of one record each.
        let lacking =
            ((most_records - share.records) / (RECORDS * rate)).max((most_bytes - share.bytes) / (BYTES * rate));
        share.again = now + Duration::from_secs_f64(lacking.clamp(0.01, 60.0));
        Some(share.again)
    }

    fn grow(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.grown_at).as_secs_f64();
        self.grown_at = now;
        self.part = (self.part * (1.0 + INCREASE.0 * passed.min(100.0)) + INCREASE.1 * passed).min(1.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// One member's records, one after the other; it asks again when it was told to.
    #[derive(Debug)]
    struct Offer {
        sizes: Vec<u32>,
        taken: usize,
        due: Duration,
        records: f64,
        bytes: f64,
    }

    /// Mostly lines, now and then a record as large as one may be.
    fn size() -> impl Strategy<Value = u32> {
        prop_oneof![8 => 1..2_000u32, 2 => 2_000..60_000u32, 1 => 60_000..=1_048_576u32]
    }

    /// What `members` get of a shard that was throttled `times`, in so many seconds in which each always has more; and what
    /// the shard was thought to let pass in that time, in seconds of its full rate.
    fn run(sizes: &[Vec<u32>], times: u32, seconds: u64) -> (Vec<Offer>, f64) {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        for n in 0..times {
            bucket.throttled(start + ROUND * n);
        }
        let start = start + ROUND * times;
        let mut offers: Vec<Offer> = sizes
            .iter()
            .map(|sizes| Offer { sizes: sizes.clone(), taken: 0, due: Duration::ZERO, records: 0.0, bytes: 0.0 })
            .collect();
        let (mut passed, mut before) = (0.0, Duration::ZERO);
        while let Some((who, offer)) = offers.iter_mut().enumerate().min_by_key(|(_, offer)| offer.due) {
            let now = offer.due;
            if now > Duration::from_secs(seconds) {
                break;
            }
            let size = offer.sizes[offer.taken % offer.sizes.len()];
            match bucket.take(Member(who as u64), size, start + now) {
                None => {
                    (offer.taken, offer.records) = (offer.taken + 1, offer.records + 1.0);
                    offer.bytes += f64::from(size);
                }
                Some(again) => offer.due = again - start,
            }
            passed += bucket.part * now.saturating_sub(before).as_secs_f64();
            before = now;
        }
        (offers, passed)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn records_of_any_sizes_pass_at_the_rate_of_the_shard_and_no_member_waits_for_another(
            sizes in vec(vec(size(), 1..50), 1..5),
            times in 0..12u32,
        ) {
            let (offers, passed) = run(&sizes, times, 120);
            let members = f64::from(u32::try_from(offers.len()).unwrap());
            let largest = f64::from(*sizes.iter().flatten().max().unwrap());
            for offer in &offers {
                // Its part, and what may be saved up: a burst, or its largest record.
                let part = passed / members;
                let saved = (BURST, BURST.max(largest / BYTES));
                prop_assert!(offer.records <= RECORDS * (part + saved.0) + 1.0, "{offer:?} of {part}");
                prop_assert!(offer.bytes <= BYTES * (part + saved.1) + largest, "{offer:?} of {part}");
                // At least half of it is used, but for the wait that goes on: who waits a minute finds the rate grown.
                let used = offer.records / RECORDS + offer.bytes / BYTES;
                let waiting = 1.0 / RECORDS + saved.1;
                prop_assert!(used >= 0.5 * part - 2.0 * waiting, "{used} of {part} used: {offer:?}");
            }
        }
    }
}
