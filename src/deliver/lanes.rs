//! Which batch is next in each slot of keys, where the order within a key is kept. Knows no requests and no time.
//! Invariant: of the batches that hold unsent records of a slot, only the oldest may send any of them.

use crate::model::{BatchId, Slot};
use std::collections::{BTreeSet, HashMap};

/// The batches that wait for each other.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// By slot, the batches with records that are neither accepted nor refused.
    waiting: HashMap<Slot, BTreeSet<BatchId>>,
    /// By batch, the slots of these records.
    slots: HashMap<BatchId, BTreeSet<Slot>>,
}

impl Lanes {
    /// Whether the batch may send records of this slot now.
    pub(super) fn is_first(&self, slot: Slot, id: BatchId) -> bool {
        self.waiting.get(&slot).and_then(BTreeSet::first) == Some(&id)
    }

    /// The batch has records left of these slots alone. Returns the batches that became first in a slot by it.
    pub(super) fn left(&mut self, id: BatchId, left: BTreeSet<Slot>) -> BTreeSet<BatchId> {
        for slot in &left {
            self.waiting.entry(*slot).or_default().insert(id);
        }
        let before = if left.is_empty() { self.slots.remove(&id) } else { self.slots.insert(id, left) };
        let mut next = BTreeSet::new();
        for slot in before.unwrap_or_default() {
            if self.slots.get(&id).is_some_and(|left| left.contains(&slot)) {
                continue;
            }
            let waiting = self.waiting.get_mut(&slot).expect("a batch is in the lanes of its slots");
            waiting.remove(&id);
            match waiting.first() {
                Some(first) => drop(next.insert(*first)),
                None => drop(self.waiting.remove(&slot)),
            }
        }
        next
    }
}
