//! The life of one batch: what to send next, and what is left after each reply. Knows no clock, no network and no disk.
//! Invariant: at any time every record is in exactly one of: accepted, refused, in doubt, or one group still to be sent.

use super::errors::{Class, Failure};
use crate::model::{Batch, RecordId, Slot, content_hash};
use std::{collections::BTreeSet, sync::Arc};

/// What the destination said to one request.
#[derive(Debug)]
pub enum Reply {
    /// Each record was accepted, but for these: position within the request, rising, and why.
    Answered { failed: Vec<(u32, Failure)> },
    /// The request failed as a whole.
    Failed(Failure),
}

impl Reply {
    /// Every record was accepted.
    #[must_use]
    pub fn accepted() -> Self {
        Self::Answered { failed: Vec::new() }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send `attempt()` at once.
    Now,
    /// Send `attempt()` after a wait for this class, `attempt` failures in a row behind it.
    Again { class: Class, attempt: u32 },
    /// Nothing is to be sent before it is known which of `in_doubt()` the destination holds: `found`.
    Doubt,
    /// Nothing is left to be sent. Write the refused records and the batch's dead ones, then it is settled.
    Done,
}

/// A record refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Index into the batch's records.
    pub index: u32,
    pub reason: String,
}

/// One batch on its way.
#[derive(Debug)]
pub struct Job {
    batch: Arc<Batch>,
    /// Still to be sent, the last one first; none is empty.
    groups: Vec<Vec<u32>>,
    /// May have been accepted. `None`: such records are sent again.
    doubt: Option<Vec<u32>>,
    /// Nothing is sent past what is in doubt.
    keeps_order: bool,
    /// A group was halved: what is left of it is sent group by group.
    halved: bool,
    /// Where each record belongs in the hash space, if anybody asked.
    hashes: Vec<u128>,
    refused: Vec<Refused>,
    /// Records of files, as `RecordRef::count` counts them.
    accepted: u32,
    /// Failures in a row.
    failures: u32,
}

impl Job {
    #[must_use]
    pub fn new(batch: Batch) -> Self {
        let count = u32::try_from(batch.records.len()).expect("ranges of a batch are 32 bits wide");
        let groups = if count == 0 { Vec::new() } else { vec![(0..count).collect()] };
        Self {
            batch: Arc::new(batch),
            groups,
            doubt: None,
            keeps_order: false,
            halved: false,
            hashes: Vec::new(),
            refused: Vec::new(),
            accepted: 0,
            failures: 0,
        }
    }

    /// The same; what may have been accepted is kept in doubt instead of being sent again.
    #[must_use]
    pub fn exactly_once(batch: Batch) -> Self {
        Self { doubt: Some(Vec::new()), ..Self::new(batch) }
    }

    /// The same; records keep their order.
    #[must_use]
    pub(super) fn in_order(self, keeps_order: bool) -> Self {
        Self { keeps_order, ..self }
    }

    #[must_use]
    pub fn batch(&self) -> &Arc<Batch> {
        &self.batch
    }

    /// The records that the next request carries. Empty when nothing is left.
    #[must_use]
    pub fn attempt(&self) -> &[u32] {
        self.groups.last().map_or(&[], Vec::as_slice)
    }

    /// Records of files accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u32 {
        self.accepted
    }

    /// Records refused so far.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// How many records of files the refused ones hold.
    #[must_use]
    pub fn refused_count(&self) -> u32 {
        self.refused.iter().map(|refused| self.batch.count(&[refused.index])).sum()
    }

    /// What a new job does first.
    #[must_use]
    pub fn first(&self) -> Next {
        match (self.groups.is_empty(), self.in_doubt().is_empty()) {
            (false, false) if self.keeps_order => Next::Doubt,
            (false, _) => Next::Now,
            (true, false) => Next::Doubt,
            (true, true) => Next::Done,
        }
    }

    /// The records that may have been accepted.
    #[must_use]
    pub fn in_doubt(&self) -> &[u32] {
        self.doubt.as_deref().unwrap_or_default()
    }

    /// A record by its id and the hash of what it holds.
    #[must_use]
    pub fn record(&self, index: u32) -> (RecordId, u64) {
        let index = index as usize;
        (self.batch.record_id(index), content_hash(self.batch.record(index)))
    }

    /// The destination holds those records in doubt for which `holds` is true, and none of the others.
    pub fn found(&mut self, holds: impl Fn((RecordId, u64)) -> bool) -> Next {
        let doubt = self.doubt.as_mut().map(std::mem::take).unwrap_or_default();
        let (here, absent): (Vec<u32>, Vec<u32>) = doubt.into_iter().partition(|index| holds(self.record(*index)));
        self.accepted += self.batch.count(&here);
        if !absent.is_empty() {
            self.groups.push(absent);
        }
        self.first()
    }

    /// Leaves of `attempt()` the first record of each slot for which `is_free` holds; the others come after it. False,
    /// and nothing changes: there is no such record.
    pub(super) fn narrow(&mut self, is_free: impl Fn(Slot) -> bool) -> bool {
        let (batch, mut taken) = (Arc::clone(&self.batch), [false; Slot::COUNT]);
        self.keep(|_, index| {
            let slot = batch.records[index as usize].slot;
            slot.is_none_or(|slot| is_free(slot) && !std::mem::replace(&mut taken[usize::from(slot.0)], true))
        })
    }

    /// Leaves of `attempt()` the records for which `keep` holds, given their places and indices; the others come after
    /// them. False, and nothing changes: there is none.
    pub(super) fn keep(&mut self, mut keep: impl FnMut(usize, u32) -> bool) -> bool {
        let Some(group) = self.groups.pop() else { return false };
        let mut place = 0;
        let (now, later): (Vec<u32>, Vec<u32>) = group.into_iter().partition(|index| {
            place += 1;
            keep(place - 1, *index)
        });
        let any = !now.is_empty();
        self.groups.extend([later, now].into_iter().filter(|group| !group.is_empty()));
        any
    }

    /// Puts what is left to be sent together again, so that what waits keeps nothing else from being sent.
    pub(super) fn gather(&mut self) {
        if self.groups.len() > 1 && !self.halved {
            let mut all = std::mem::take(&mut self.groups).concat();
            all.sort_unstable();
            self.groups.push(all);
        }
    }

    /// Where the records of `attempt()` belong in the hash space; found once for the whole batch.
    pub(super) fn hashes(&mut self, hash: impl Fn(&Batch, usize) -> u128) -> impl Iterator<Item = u128> {
        if self.hashes.is_empty() {
            self.hashes = (0..self.batch.records.len()).map(|index| hash(&self.batch, index)).collect();
        }
        self.attempt().iter().map(|index| self.hashes[*index as usize])
    }

    /// The slots of the records that are neither accepted nor refused.
    pub(super) fn slots(&self) -> BTreeSet<Slot> {
        let unsettled = self.groups.iter().flatten().chain(self.in_doubt());
        unsettled.filter_map(|index| self.batch.records[*index as usize].slot).collect()
    }

    /// Takes the reply to the request that carried `attempt()`.
    pub fn reply(&mut self, reply: Reply) -> Next {
        let Some(group) = self.groups.pop() else { return Next::Done };
        match reply {
            Reply::Answered { failed } => self.answered(&group, failed),
            Reply::Failed(failure) if failure.class == Class::Reject => self.bisect(group, &failure),
            Reply::Failed(failure) => {
                match &mut self.doubt {
                    Some(doubt) if failure.class == Class::Ambiguous => doubt.extend(group),
                    _ => self.groups.push(group),
                }
                self.again(failure.class)
            }
        }
    }

    /// After a failure: waits, if there is something to send.
    fn again(&mut self, class: Class) -> Next {
        self.failures = self.failures.saturating_add(1);
        match self.first() {
            Next::Now => Next::Again { class, attempt: self.failures },
            next => next,
        }
    }

    fn answered(&mut self, group: &[u32], failed: Vec<(u32, Failure)>) -> Next {
        debug_assert!(failed.windows(2).all(|w| w[0].0 < w[1].0), "positions rise");
        debug_assert!(failed.last().is_none_or(|f| (f.0 as usize) < group.len()), "positions are within the request");
        let progress = failed.len() < group.len();
        self.accepted += self.batch.count(group);
        let mut worst = None;
        let mut left = Vec::new();
        for (position, failure) in failed {
            let index = group[position as usize];
            self.accepted -= self.batch.count(&[index]);
            match (failure.class, &mut self.doubt) {
                (Class::Reject, _) => self.refused.push(Refused { index, reason: failure.to_string() }),
                (Class::Ambiguous, Some(doubt)) => doubt.push(index),
                (class, _) => {
                    worst = worst.max(Some(class));
                    left.push(index);
                }
            }
        }
        // Progress shortens the waits, but does not undo them: a hot shard accepts a few records every time.
        if progress {
            self.failures /= 2;
        }
        let Some(class) = worst else {
            self.failures = 0;
            return self.first();
        };
        self.groups.push(left);
        self.again(class)
    }

    fn bisect(&mut self, mut group: Vec<u32>, failure: &Failure) -> Next {
        if let [index] = group[..] {
            self.refused.push(Refused { index, reason: failure.to_string() });
        } else {
            self.halved = true;
            let right = group.split_off(group.len() / 2);
            self.groups.push(right);
            self.groups.push(group);
        }
        self.first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::testing::batch;
    use proptest::prelude::*;

    const TRANSIENT: [Class; 5] = [Class::Throttled, Class::Again, Class::Ambiguous, Class::Credentials, Class::Hold];

    fn fail(class: Class) -> Failure {
        Failure::new(class, "Code", "words")
    }

    #[test]
    fn an_empty_batch_is_done_at_once() {
        let job = Job::new(batch(0, 0));
        assert_eq!((job.first(), job.attempt()), (Next::Done, &[][..]));
    }

    #[test]
    fn only_failed_records_are_sent_again() {
        let mut job = Job::new(batch(0, 4));
        let failed = vec![(1, fail(Class::Throttled)), (3, fail(Class::Ambiguous))];
        let next = job.reply(Reply::Answered { failed });
        assert_eq!(next, Next::Again { class: Class::Throttled, attempt: 1 });
        assert_eq!(job.attempt(), [1, 3]);
        assert_eq!(job.reply(Reply::accepted()), Next::Done);
        assert_eq!(job.accepted(), 4);
    }

    #[test]
    fn a_joined_record_counts_as_the_records_it_holds() {
        let mut batch = batch(0, 3);
        batch.records[0].count = 10;
        batch.records[2].count = 100;
        let mut job = Job::new(batch);
        let failed = vec![(0, fail(Class::Reject)), (1, fail(Class::Throttled))];
        job.reply(Reply::Answered { failed });
        assert_eq!((job.accepted(), job.refused_count()), (100, 10));
        job.reply(Reply::accepted());
        assert_eq!((job.accepted(), job.refused_count()), (101, 10));
    }

    #[test]
    fn a_narrowed_attempt_has_one_record_of_each_free_slot_and_the_rest_comes_after_it() {
        let mut batch = batch(0, 6);
        for (record, slot) in batch.records.iter_mut().zip([1, 2, 1, 3, 2, 3]) {
            record.slot = Some(Slot(slot));
        }
        let mut job = Job::new(batch);
        assert!(!job.narrow(|_| false));
        assert_eq!(job.attempt(), [0, 1, 2, 3, 4, 5]);
        assert!(job.narrow(|slot| slot != Slot(3)));
        assert_eq!(job.attempt(), [0, 1]);
        let failed = vec![(0, fail(Class::Throttled))];
        assert_eq!(job.reply(Reply::Answered { failed }), Next::Again { class: Class::Throttled, attempt: 1 });
        assert!(job.narrow(|_| true));
        assert_eq!(job.attempt(), [0]);
        assert_eq!(job.reply(Reply::accepted()), Next::Now);
        assert!(job.narrow(|_| true));
        assert_eq!(job.attempt(), [2, 3, 4]);
        assert_eq!(job.slots(), BTreeSet::from([1, 2, 3].map(Slot)));
        job.reply(Reply::accepted());
        assert_eq!((job.attempt(), job.slots()), (&[5][..], BTreeSet::from([Slot(3)])));
    }

    #[test]
    fn a_rejected_group_is_halved_without_a_wait_and_the_single_record_refused() {
        let mut job = Job::new(batch(0, 3));
        assert_eq!(job.reply(Reply::Failed(fail(Class::Reject))), Next::Now);
        assert_eq!(job.attempt(), [0]);
        assert_eq!(job.reply(Reply::Failed(fail(Class::Reject))), Next::Now);
        assert_eq!(job.refused(), [Refused { index: 0, reason: "Code: words".into() }]);
        assert_eq!(job.attempt(), [1, 2]);
        assert_eq!(job.reply(Reply::accepted()), Next::Done);
    }

    #[test]
    fn what_may_have_been_accepted_waits_until_it_is_known_and_only_what_is_absent_is_sent_again() {
        let mut job = Job::exactly_once(batch(0, 4));
        let failed = vec![(0, fail(Class::Ambiguous)), (2, fail(Class::Throttled))];
        let next = job.reply(Reply::Answered { failed });
        assert_eq!((next, job.attempt()), (Next::Again { class: Class::Throttled, attempt: 1 }, &[2][..]));
        assert_eq!(job.reply(Reply::Failed(fail(Class::Ambiguous))), Next::Doubt);
        assert_eq!((job.in_doubt(), job.attempt()), (&[0, 2][..], &[][..]));
        let ids = [0, 2].map(|index| job.batch().record_id(index));
        assert_eq!(job.found(|(id, _)| id == ids[1]), Next::Now);
        assert_eq!((job.in_doubt(), job.attempt(), job.accepted()), (&[][..], &[0][..], 3));
        assert_eq!(job.reply(Reply::Failed(fail(Class::Ambiguous))), Next::Doubt);
        assert_eq!((job.found(|_| true), job.accepted()), (Next::Done, 4));
    }

    #[test]
    fn nothing_is_dropped_for_being_tried_often() {
        let mut job = Job::new(batch(0, 2));
        for attempt in 1..10_000 {
            let next = job.reply(Reply::Failed(fail(Class::Hold)));
            assert_eq!(next, Next::Again { class: Class::Hold, attempt });
        }
        assert_eq!(job.attempt(), [0, 1]);
    }

    /// A destination with records it will never take, and moods.
    struct Model {
        rng: fastrand::Rng,
        poison: Vec<bool>,
        stored: Vec<u32>,
        per_record_rejects: bool,
    }

    impl Model {
        fn send(&mut self, which: &[u32]) -> Reply {
            if self.rng.u8(..) < 60 {
                let class = TRANSIENT[self.rng.usize(..TRANSIENT.len())];
                if class == Class::Ambiguous && self.rng.bool() && !which.iter().any(|&i| self.poison[i as usize]) {
                    for &index in which {
                        self.stored[index as usize] += 1;
                    }
                }
                return Reply::Failed(fail(class));
            }
            if !self.per_record_rejects && which.iter().any(|&i| self.poison[i as usize]) {
                return Reply::Failed(fail(Class::Reject));
            }
            let mut failed = Vec::new();
            for (position, &index) in (0..).zip(which) {
                if self.poison[index as usize] {
                    failed.push((position, fail(Class::Reject)));
                } else if self.rng.u8(..) < 60 {
                    failed.push((position, fail(TRANSIENT[self.rng.usize(..TRANSIENT.len())])));
                } else {
                    self.stored[index as usize] += 1;
                }
            }
            Reply::Answered { failed }
        }
    }

    proptest! {
        #[test]
        fn good_records_arrive_and_exactly_the_poisoned_are_refused(
            seed: u64, poison in prop::collection::vec(prop::bool::weighted(0.1), 1..200), per_record_rejects: bool,
            once: bool,
        ) {
            let count = poison.len();
            let rng = fastrand::Rng::with_seed(seed);
            let mut model = Model { rng, poison, stored: vec![0; count], per_record_rejects };
            let mut job = if once { Job::exactly_once(batch(0, count)) } else { Job::new(batch(0, count)) };
            let mut next = job.first();
            let mut requests = 0;
            while next != Next::Done {
                requests += 1;
                prop_assert!(requests < 100_000, "no progress");
                if next == Next::Doubt {
                    let start = |index: usize| job.batch().record_id(index).span.start;
                    let held: BTreeSet<u64> = (0..count).filter(|i| model.stored[*i] > 0).map(start).collect();
                    next = job.found(|(id, _)| held.contains(&id.span.start));
                    continue;
                }
                prop_assert!(!job.attempt().is_empty());
                let reply = model.send(job.attempt());
                next = job.reply(reply);
            }
            let mut refused: Vec<u32> = job.refused().iter().map(|r| r.index).collect();
            refused.sort_unstable();
            let poisoned: Vec<u32> = (0..).zip(&model.poison).filter(|(_, p)| **p).map(|(i, _)| i).collect();
            prop_assert_eq!(&refused, &poisoned);
            for (stored, poison) in model.stored.iter().zip(&model.poison) {
                prop_assert_eq!(*stored > 0, !poison);
                prop_assert!(!once || *stored <= 1, "stored {} times", stored);
            }
            prop_assert_eq!(job.accepted() as usize + refused.len(), count);
        }
    }
}
