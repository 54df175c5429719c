//! The consumer's side of aggregated records, for tests: what the Kinesis Client Library makes of a record, its rule of
//! throwing an aggregate away included. Written from the format; shares nothing with the writer.

use md5::{Digest, Md5};
use std::ops::RangeInclusive;

/// A record as the consumer's code sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserRecord {
    pub(crate) partition_key: String,
    pub(crate) explicit_hash_key: Option<String>,
    pub(crate) data: Vec<u8>,
}

impl UserRecord {
    /// Where in the hash space the record belongs.
    pub(crate) fn hash(&self) -> u128 {
        hash(&self.partition_key, self.explicit_hash_key.as_deref())
    }
}

/// Where a record with this key and explicit hash goes.
pub(crate) fn hash(partition_key: &str, explicit_hash_key: Option<&str>) -> u128 {
    let of_key = || u128::from_be_bytes(Md5::digest(partition_key).into());
    explicit_hash_key.map_or_else(of_key, |hash| hash.parse().expect("a decimal number of 128 bits"))
}

/// What a consumer of the shard with this range is given for one record of the stream: as the library does, the whole
/// aggregate is dropped when one of its records belongs elsewhere.
pub(crate) fn consume(record: &UserRecord, shard: &RangeInclusive<u128>) -> Vec<UserRecord> {
    let Some(records) = user_records(&record.data) else { return vec![record.clone()] };
    if records.iter().all(|record| shard.contains(&record.hash())) { records } else { Vec::new() }
}

/// Whether the magic bytes and the digest are there.
pub(crate) fn is_aggregate(data: &[u8]) -> bool {
    message(data).is_some()
}

/// The records of an aggregate; `None` if it is none.
pub(crate) fn user_records(data: &[u8]) -> Option<Vec<UserRecord>> {
    let (mut keys, mut hashes, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for (number, value) in fields(message(data)?)? {
        match (number, value) {
            (1, Value::Bytes(key)) => keys.push(String::from_utf8(key.to_vec()).ok()?),
            (2, Value::Bytes(hash)) => hashes.push(String::from_utf8(hash.to_vec()).ok()?),
            (3, Value::Bytes(record)) => records.push(fields(record)?),
            _ => return None,
        }
    }
    let record = |fields: Vec<(u64, Value<'_>)>| {
        let (mut key, mut hash, mut data) = (None, None, None);
        for (number, value) in fields {
            match (number, value) {
                (1, Value::Number(index)) => key = keys.get(usize::try_from(index).ok()?),
                (2, Value::Number(index)) => hash = Some(hashes.get(usize::try_from(index).ok()?)?),
                (3, Value::Bytes(bytes)) => data = Some(bytes.to_vec()),
                _ => return None,
            }
        }
        Some(UserRecord { partition_key: key?.clone(), explicit_hash_key: hash.cloned(), data: data? })
    };
    records.into_iter().map(record).collect()
}

fn message(data: &[u8]) -> Option<&[u8]> {
    let rest = data.strip_prefix(b"\xf3\x89\x9a\xc2")?;
    let (message, digest) = rest.split_at_checked(rest.len().checked_sub(16)?)?;
    (!message.is_empty() && *Md5::digest(message) == *digest).then_some(message)
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn fields(mut message: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let number = varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Number(number),
            2 => {
                let (bytes, rest) = message.split_at_checked(usize::try_from(number).ok()?)?;
                message = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        fields.push((tag >> 3, value));
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
