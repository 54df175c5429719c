//! Where in a data stream's hash space a record belongs. Knows no shards.
//! Invariant: a record that is sent again has the hash that it had.

use super::slot::ExplicitHashKey;
use crate::model::{Batch, IdText, RecordId, Slot};

/// How the records of a flow are routed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// Records are joined in the KPL's format, and slots have their own hashes.
    pub aggregates: bool,
    /// The partition key is the record's id.
    pub ids: bool,
}

/// Room for keys that are made of records' ids, one after the other.
#[derive(Debug, Default)]
pub struct OwnKey {
    id: IdText,
    drawn: [u8; RecordId::RANDOM_KEY],
}

impl Routing {
    /// The partition key of a record for which none was chosen: its id, or one drawn from that. Letters, digits, dots and
    /// dashes.
    pub fn own_key(self, id: RecordId, room: &mut OwnKey) -> &str {
        if self.ids {
            return room.id.of(id);
        }
        room.drawn = id.random_key();
        str::from_utf8(&room.drawn).expect("ASCII alone")
    }

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
            None => ExplicitHashKey::of(self.own_key(batch.record_id(index), &mut OwnKey::default()).as_bytes()),
        };
        self.explicit(batch, index).unwrap_or_else(by_partition_key).number()
    }
}
