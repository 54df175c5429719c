//! The aggregated record of the Kinesis Producer Library: its bytes, and how many they are. Knows no requests and no
//! batches. Invariant: `Size` is the exact length of what `encode` writes, and each record has the hash of the whole.

#[cfg(test)]
pub(crate) mod reader;

use super::digests;
use crate::model::{Slot, content_hash};
use md5::{Digest, Md5};
use std::io::Write as _;

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST: usize = 16;

/// Tags of the protocol-buffer fields; all hold bytes but for the two indices of a record.
const KEY: u8 = 1 << 3 | 2;
const EXPLICIT_HASH_KEY: u8 = 2 << 3 | 2;
const RECORD: u8 = 3 << 3 | 2;
const RECORD_KEY_INDEX: u8 = 1 << 3;
const RECORD_EXPLICIT_HASH_KEY_INDEX: u8 = 2 << 3;
const RECORD_DATA: u8 = 3 << 3 | 2;

/// How long an aggregate is, record by record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    bytes: usize,
    slot: Option<Slot>,
}

impl Size {
    /// Of an aggregate without keys and records, all of which will carry the hash of `slot` if there is one.
    #[must_use]
    pub fn new(slot: Option<Slot>) -> Self {
        let hash = slot.map_or(0, |slot| 1 + bytes_len(slot.explicit_hash_key().digits()));
        Self { bytes: MAGIC.len() + hash + DIGEST, slot }
    }

    /// With a key of this many bytes more.
    #[must_use]
    pub fn with_key(self, len: usize) -> Self {
        Self { bytes: self.bytes + 1 + bytes_len(len), ..self }
    }

    /// With a record of this many bytes more, which has the key of this index.
    #[must_use]
    pub fn with_record(self, key_index: u32, len: usize) -> Self {
        let record = record_len(key_index, self.slot.is_some(), len);
        Self { bytes: self.bytes + 1 + bytes_len(record), ..self }
    }

    #[must_use]
    pub fn bytes(self) -> usize {
        self.bytes
    }
}

/// Writes an aggregate into `out`, which is emptied first; [`seal`] makes it whole. Each record has the key of its index, and
/// the hash of `slot` if there is one; without a slot there must be one key alone, or the records would not share a hash.
pub(super) fn encode<'a>(
    out: &mut Vec<u8>,
    slot: Option<Slot>,
    keys: impl IntoIterator<Item = &'a str>,
    records: impl IntoIterator<Item = (u32, &'a [u8])>,
) {
    out.clear();
    out.extend_from_slice(&MAGIC);
    for key in keys {
        push_bytes(out, KEY, key.as_bytes());
    }
    if let Some(hash) = slot.map(Slot::explicit_hash_key) {
        out.push(EXPLICIT_HASH_KEY);
        push_varint(out, hash.digits());
        write!(out, "{hash}").expect("a Vec takes every write");
    }
    for (key_index, data) in records {
        debug_assert!(slot.is_some() || key_index == 0, "records that share a hash");
        out.push(RECORD);
        push_varint(out, record_len(key_index, slot.is_some(), data.len()));
        out.push(RECORD_KEY_INDEX);
        push_varint(out, key_index as usize);
        if slot.is_some() {
            out.extend_from_slice(&[RECORD_EXPLICIT_HASH_KEY_INDEX, 0]);
        }
        push_bytes(out, RECORD_DATA, data);
    }
}

/// Ends aggregates with their digests: several at once cost less.
pub(super) fn seal<'a>(aggregates: impl IntoIterator<Item = &'a mut Vec<u8>>) {
    let aggregates: Vec<&mut Vec<u8>> = aggregates.into_iter().collect();
    let messages: Vec<&[u8]> = aggregates.iter().map(|aggregate| &aggregate[MAGIC.len()..]).collect();
    let digests = digests::md5(&messages);
    for (aggregate, digest) in aggregates.into_iter().zip(digests) {
        aggregate.extend_from_slice(&digest);
    }
}

/// The slot whose hash the records of an aggregate share, if it is one of several keys; and [`content_hash`] of the records.
/// `None`: these bytes are no aggregate.
pub(super) fn open(data: &[u8]) -> Option<(Option<Slot>, u64)> {
    let (message, digest) =
        data.strip_prefix(&MAGIC)?.split_at_checked(data.len().checked_sub(MAGIC.len() + DIGEST)?)?;
    let (mut rest, mut slot, mut records) = (message, None, Vec::with_capacity(message.len()));
    while let Some((tag, after)) = rest.split_first() {
        let (bytes, after) = take_bytes(after)?;
        match *tag {
            KEY => {}
            EXPLICIT_HASH_KEY => slot = Slot::of_hash(str::from_utf8(bytes).ok()?.parse().ok()?),
            RECORD => records.extend_from_slice(record_data(bytes)?),
            _ => return None,
        }
        rest = after;
    }
    // A line may begin with such bytes by chance, or to be taken for one.
    (Md5::digest(message)[..] == *digest).then(|| (slot, content_hash(&records)))
}

/// The data in the message of one record.
fn record_data(mut message: &[u8]) -> Option<&[u8]> {
    loop {
        let (tag, after) = message.split_first()?;
        match *tag {
            RECORD_DATA => return take_bytes(after).map(|(data, _)| data),
            RECORD_KEY_INDEX | RECORD_EXPLICIT_HASH_KEY_INDEX => {
                let end = after.iter().position(|byte| byte & 0x80 == 0)?;
                message = &after[end + 1..];
            }
            _ => return None,
        }
    }
}

/// Bytes with their length before them, and what follows.
fn take_bytes(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut len, mut shift, mut rest) = (0, 0, data);
    loop {
        let (byte, after) = rest.split_first()?;
        len |= usize::from(byte & 0x7f).checked_shl(shift)?;
        (shift, rest) = (shift + 7, after);
        if byte & 0x80 == 0 {
            return rest.split_at_checked(len);
        }
    }
}

/// Length of the message of one record, without its own tag and length.
fn record_len(key_index: u32, has_hash: bool, data: usize) -> usize {
    let hash = if has_hash { 2 } else { 0 };
    1 + varint_len(key_index as usize) + hash + 1 + bytes_len(data)
}

/// Bytes with their length before them.
fn bytes_len(len: usize) -> usize {
    varint_len(len) + len
}

fn push_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    push_varint(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn varint_len(value: usize) -> usize {
    (value | 1).ilog2() as usize / 7 + 1
}

fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::{
        reader::{UserRecord, is_aggregate, user_records},
        *,
    };
    use proptest::prelude::*;

    fn check(slot: Option<Slot>, keys: &[String], records: &[(u32, Vec<u8>)]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        encode(&mut out, slot, keys.iter().map(String::as_str), records.iter().map(|(k, d)| (*k, d.as_slice())));
        seal([&mut out]);
        let size = keys.iter().fold(Size::new(slot), |size, key| size.with_key(key.len()));
        let size = records.iter().fold(size, |size, (index, data)| size.with_record(*index, data.len()));
        assert_eq!(size.bytes(), out.len());
        out
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let out = check(None, &["k".to_owned()], &[(0, b"ab".to_vec()), (0, Vec::new())]);
        let message = b"\x0a\x01k\x1a\x06\x08\x00\x1a\x02ab\x1a\x04\x08\x00\x1a\x00";
        let expected = [b"\xf3\x89\x9a\xc2", &message[..], &Md5::digest(message)].concat();
        assert_eq!(out, expected);
        let out = check(Some(Slot(0)), &["k".to_owned()], &[(0, b"ab".to_vec())]);
        let message = b"\x0a\x01k\x12\x24664613997892457936451903530140172288\x1a\x08\x08\x00\x10\x00\x1a\x02ab";
        assert_eq!(out, [b"\xf3\x89\x9a\xc2", &message[..], &Md5::digest(message)].concat());
    }

    #[test]
    fn lengths_of_more_than_one_byte() {
        for (value, bytes) in [(0, &b"\x00"[..]), (127, b"\x7f"), (128, b"\x80\x01"), (16_384, b"\x80\x80\x01")] {
            let mut out = Vec::new();
            push_varint(&mut out, value);
            assert_eq!((&out[..], varint_len(value)), (bytes, bytes.len()));
        }
    }

    #[test]
    fn what_is_damaged_is_no_aggregate() {
        let mut out = check(Some(Slot(7)), &["k".to_owned()], &[(0, b"ab".to_vec())]);
        assert_eq!(open(&out), Some((Some(Slot(7)), content_hash(b"ab"))));
        for cut in 0..out.len() {
            assert_eq!(open(&out[..cut]), None);
        }
        *out.last_mut().expect("it has bytes") ^= 1;
        assert_eq!(open(&out), None);
    }

    #[test]
    fn a_line_that_only_begins_like_an_aggregate_is_none() {
        assert!(!is_aggregate(b"\xf3\x89\x9a\xc2 and a long text that is no aggregate at all"));
        assert!(!is_aggregate(&MAGIC));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_as_long_as_was_said(
            slot in prop::option::of(any::<u8>()),
            keys in prop::collection::vec("[a-zé]{1,250}", 1..200),
            records in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..400)), 0..50),
        ) {
            let slot = slot.map(Slot);
            let keys = if slot.is_some() { keys } else { keys[..1].to_vec() };
            let count = u32::try_from(keys.len()).unwrap();
            let records: Vec<_> = records.into_iter().map(|(index, data)| (index % count, data)).collect();
            let out = check(slot, &keys, &records);
            prop_assert!(is_aggregate(&out));
            let all: Vec<u8> = records.iter().flat_map(|(_, data)| data.clone()).collect();
            prop_assert_eq!(open(&out), Some((slot, content_hash(&all))));
            let hash = slot.map(|slot| slot.explicit_hash_key().to_string());
            let expected: Vec<_> = records
                .iter()
                .map(|(index, data)| UserRecord {
                    partition_key: keys[*index as usize].clone(),
                    explicit_hash_key: hash.clone(),
                    data: data.clone(),
                })
                .collect();
            prop_assert_eq!(user_records(&out), Some(expected));
        }
    }
}
