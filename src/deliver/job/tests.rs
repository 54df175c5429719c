//! One batch on its way: good records arrive, bad ones are refused, nothing is sent that may be there.

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
fn what_is_looked_for_in_vain_waits_longer_each_time() {
    let mut job = Job::exactly_once(batch(0, 3));
    for attempt in 1..100 {
        let failed = (0..3).map(|position| (position, fail(Class::Ambiguous))).collect();
        assert_eq!(job.reply(Reply::Answered { failed }), Next::Doubt);
        assert_eq!(job.found(|_| false), Next::Again { class: Class::Ambiguous, attempt });
    }
    assert_eq!(job.reply(Reply::accepted()), Next::Done);
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
