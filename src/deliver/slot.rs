//! The fixed slots of the hash space that chosen partition keys fall into. Knows no records and no shards.
//! Invariant: a key has one slot, and a slot one hash, so that a key reaches one shard at a time, whatever the shards.

use crate::model::Slot;
use md5::{Digest, Md5};
use std::fmt;

impl Slot {
    /// How many there are. A request carries at most 500 records, so it can hold an aggregate of each slot, and a
    /// request of 5 MiB then has 20 KiB for each: about one unit of payload. With twice as many neither would hold.
    pub const COUNT: usize = 256;

    /// The slot that the stream's own hash of `key` lies in.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(Md5::digest(key)[0])
    }

    /// The slot that this hash stands for, if it is one of those.
    #[must_use]
    pub fn of_hash(hash: u128) -> Option<Self> {
        let slot = Self(u8::try_from(hash >> 120).expect("8 bits are left"));
        (slot.explicit_hash_key().0 == hash).then_some(slot)
    }

    /// The hash that stands for every key of the slot, as a request writes it: the middle of the slot.
    #[must_use]
    pub fn explicit_hash_key(self) -> ExplicitHashKey {
        ExplicitHashKey((u128::from(self.0) << 120) + (1 << 119))
    }
}

/// A place in the hash space, written in decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExplicitHashKey(u128);

impl ExplicitHashKey {
    /// Where the stream itself puts a partition key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(u128::from_be_bytes(Md5::digest(key).into()))
    }

    #[must_use]
    pub fn number(self) -> u128 {
        self.0
    }

    /// Number of digits, at most 39.
    #[must_use]
    pub fn digits(self) -> usize {
        self.0.checked_ilog10().unwrap_or(0) as usize + 1
    }
}

impl fmt::Display for ExplicitHashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_slot_for_ever() {
        // MD5 of "a" begins 0cc1, that of "" d41d: whoever changes this moves every user's keys to other shards.
        assert_eq!([Slot::of(b"a"), Slot::of(b"")], [Slot(0x0c), Slot(0xd4)]);
        assert_eq!(Slot(0).explicit_hash_key().to_string(), "664613997892457936451903530140172288");
        assert_eq!(Slot(255).explicit_hash_key().to_string(), "339617752923046005526922703901628039168");
    }

    #[test]
    fn the_hash_lies_in_the_slot_and_its_digits_are_counted() {
        for slot in 0..=255 {
            let hash = Slot(slot).explicit_hash_key();
            assert_eq!(hash.0 >> 120, u128::from(slot));
            assert_eq!(hash.to_string().len(), hash.digits());
            assert_eq!(Slot::of_hash(hash.0), Some(Slot(slot)));
            assert_eq!(Slot::of_hash(hash.0 + 1), None);
        }
    }
}
