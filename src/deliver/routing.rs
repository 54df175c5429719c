//! Where in a data stream's hash space a record belongs. Knows no shards.
//! Invariant: a record that is sent again has the hash that it had.

use super::slot::ExplicitHashKey;
use crate::model::{Batch, Slot};

/// How the records of a flow are routed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// Records are joined in the KPL's format, and slots have their own hashes.
    pub aggregates: bool,
    /// The partition key is the record's id.
    pub ids: bool,
}

impl Routing {
    /// The hash that is written beside the partition key of record `index`, if the key alone does not route it.
    #[must_use]
    pub fn explicit(self, batch: &Batch, index: usize) -> Option<ExplicitHashKey> {
        let slot = batch.records[index].slot.filter(|_| self.aggregates);
        // A key that is not the partition key routes all the same.
        let by_key = || batch.key(index).filter(|_| self.ids).map(|key| ExplicitHashKey::of(key.as_bytes()));
        slot.map(Slot::explicit_hash_key).or_else(by_key)
    }

    /// Where record `index` goes.
    #[must_use]
    pub fn hash(self, batch: &Batch, index: usize) -> u128 {
        let by_partition_key = || match batch.key(index) {
            Some(key) => ExplicitHashKey::of(key.as_bytes()),
            None if self.ids => ExplicitHashKey::of(batch.record_id(index).to_string().as_bytes()),
            None => ExplicitHashKey::of(&batch.record_id(index).random_key()),
        };
        self.explicit(batch, index).unwrap_or_else(by_partition_key).number()
    }
}
