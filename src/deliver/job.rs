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
        let in_vain = here.is_empty() && !absent.is_empty();
        if !absent.is_empty() {
            self.groups.push(absent);
        }
        match self.first() {
            // The next attempt may well end like the last one.
            Next::Now if in_vain => Next::Again { class: Class::Ambiguous, attempt: self.failures },
            next => next,
        }
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
        let (mut worst, mut doubtful) = (None, false);
        let mut left = Vec::new();
        for (position, failure) in failed {
            let index = group[position as usize];
            self.accepted -= self.batch.count(&[index]);
            match (failure.class, &mut self.doubt) {
                (Class::Reject, _) => self.refused.push(Refused { index, reason: failure.to_string() }),
                (Class::Ambiguous, Some(doubt)) => {
                    doubtful = true;
                    doubt.push(index);
                }
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
        match worst {
            Some(class) => {
                self.groups.push(left);
                self.again(class)
            }
            None if doubtful => self.again(Class::Ambiguous),
            None => {
                self.failures = 0;
                self.first()
            }
        }
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
mod tests;
