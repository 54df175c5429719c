//! Opens records that were joined in the format of the Kinesis Producer Library. Knows no keys and no shards.

use md5::{Digest as _, Md5};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// The records in a record of the stream: itself, if it is no joined one.
pub(crate) fn opened(data: &[u8]) -> Vec<Vec<u8>> {
    aggregate(data).unwrap_or_else(|| vec![data.to_vec()])
}

fn aggregate(data: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (message, digest) = data.strip_prefix(&MAGIC)?.split_at_checked(data.len().checked_sub(20)?)?;
    if Md5::digest(message)[..] != *digest {
        return None;
    }
    let records = fields(message)?.into_iter().filter(|(number, _)| *number == 3);
    records.map(|(_, record)| fields(record)?.into_iter().find(|(n, _)| *n == 3).map(|(_, d)| d.to_vec())).collect()
}

/// The fields of a message that hold bytes, with their numbers.
fn fields(mut rest: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let tag = number(&mut rest)?;
        let value = number(&mut rest)?;
        if tag & 7 == 2 {
            let (bytes, after) = rest.split_at_checked(usize::try_from(value).ok()?)?;
            found.push((tag >> 3, bytes));
            rest = after;
        }
    }
    Some(found)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
