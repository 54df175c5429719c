//! The bytes of a `PutRecords` request, laid out once, straight from the batch. Knows no network.
//! Invariant: the same record has the same partition key in every request, across crashes too.

use crate::{
    deliver::KEY_BYTES,
    model::{Batch, RecordId},
};
use bytes::Bytes;
use std::sync::{Mutex, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

const HEAD: &[u8] = b"{\"Records\":[";
const BEFORE_DATA: &[u8] = b"{\"Data\":\"";
const BEFORE_KEY: &[u8] = b"\",\"PartitionKey\":\"";
const AFTER_KEY: &[u8] = b"\"}";

/// A stream, by name or ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Name(String),
    Arn(String),
}

impl Target {
    pub(super) fn new(stream: &str) -> Self {
        if stream.starts_with("arn:") { Self::Arn(stream.to_owned()) } else { Self::Name(stream.to_owned()) }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Name(s) | Self::Arn(s) => s,
        }
    }

    /// The region that an ARN names.
    pub(super) fn region(&self) -> Option<&str> {
        match self {
            Self::Name(_) => None,
            Self::Arn(arn) => arn.split(':').nth(3).filter(|region| !region.is_empty()),
        }
    }

    /// What follows the records in every body.
    pub(super) fn tail(&self) -> Vec<u8> {
        let member = match self {
            Self::Name(_) => "StreamName",
            Self::Arn(_) => "StreamARN",
        };
        let value = serde_json::to_string(self.as_str()).expect("a string is always JSON");
        format!("],\"{member}\":{value}}}").into_bytes()
    }
}

/// Writes the body with these records into `out`, which is emptied first and grows at most once.
pub(super) fn lay_out(out: &mut Vec<u8>, batch: &Batch, which: &[u32], tail: &[u8]) {
    out.clear();
    out.reserve(length(batch, which, tail));
    out.extend_from_slice(HEAD);
    for (position, &index) in which.iter().enumerate() {
        let index = index as usize;
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(BEFORE_DATA);
        base64_simd::STANDARD.encode_append(batch.record(index), out);
        out.extend_from_slice(BEFORE_KEY);
        out.extend_from_slice(&random_key(batch.record_id(index)));
        out.extend_from_slice(AFTER_KEY);
    }
    out.extend_from_slice(tail);
}

/// Exactly how long `lay_out` makes it.
fn length(batch: &Batch, which: &[u32], tail: &[u8]) -> usize {
    const EACH: usize = BEFORE_DATA.len() + BEFORE_KEY.len() + KEY_BYTES + AFTER_KEY.len();
    let data = |&index: &u32| base64_simd::STANDARD.encoded_length(batch.record(index as usize).len());
    let records: usize = which.iter().map(data).sum();
    HEAD.len() + records + which.len() * EACH + which.len().saturating_sub(1) + tail.len()
}

/// A key that looks random and is drawn from the record's id alone.
pub(super) fn random_key(id: RecordId) -> [u8; KEY_BYTES] {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut seed = [0; 24];
    seed[..8].copy_from_slice(&id.generation.0.to_le_bytes());
    seed[8..16].copy_from_slice(&id.span.start.to_le_bytes());
    seed[16..].copy_from_slice(&id.span.end.to_le_bytes());
    let mut hash = xxh3_64(&seed);
    [(); KEY_BYTES].map(|()| {
        let digit = DIGITS[usize::try_from(hash % 36).expect("less than 36")];
        hash /= 36;
        digit
    })
}

/// Buffers between two requests: a finished request is usually followed by the next one of the same size.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<Vec<u8>>>);

/// What an idle flow keeps, at most.
const SPARE: usize = 2;

impl Spare {
    pub(super) fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Takes a body back, if nobody else holds it any more.
    pub(super) fn give_back(&self, mut body: Bytes) {
        if !body.is_unique() {
            return;
        }
        body.clear();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(body.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        deliver::testing::batch_of,
        model::{Generation, Span},
    };

    #[test]
    fn the_body_is_laid_out_as_the_service_expects() {
        let batch = batch_of(0, &[b"hello\n", b"", b"skipped", b"\xff\x00"]);
        let mut out = vec![1; 3];
        let tail = Target::new("web").tail();
        lay_out(&mut out, &batch, &[0, 1, 3], &tail);
        let key = |i| String::from_utf8(random_key(batch.record_id(i)).to_vec()).unwrap();
        let expected = format!(
            "{{\"Records\":[{{\"Data\":\"aGVsbG8K\",\"PartitionKey\":\"{}\"}},{{\"Data\":\"\",\"PartitionKey\":\"{}\"}},\
             {{\"Data\":\"/wA=\",\"PartitionKey\":\"{}\"}}],\"StreamName\":\"web\"}}",
            key(0),
            key(1),
            key(3)
        );
        assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
        assert_eq!(out.len(), length(&batch, &[0, 1, 3], &tail));
    }

    #[test]
    fn a_key_never_changes_between_versions() {
        let id = RecordId { generation: Generation(1), span: Span { start: 2, end: 3 } };
        assert_eq!(random_key(id), *b"ctarwyta6x");
    }

    #[test]
    fn keys_spread_evenly_over_the_first_character() {
        let mut counts = [0u32; 256];
        for start in 0..36_000 {
            let id = RecordId { generation: Generation(9), span: Span { start, end: start + 100 } };
            counts[usize::from(random_key(id)[0])] += 1;
        }
        let used: Vec<_> = counts.into_iter().filter(|c| *c > 0).collect();
        assert!(used.len() == 36 && used.iter().all(|c| (850..1150).contains(c)), "{used:?}");
    }

    #[test]
    fn a_stream_is_a_name_or_an_arn_with_its_region() {
        let arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/web";
        assert_eq!(Target::new(arn).region(), Some("eu-west-1"));
        assert_eq!(Target::new(arn).tail(), format!("],\"StreamARN\":\"{arn}\"}}").as_bytes());
        assert_eq!(Target::new("web").region(), None);
        assert_eq!(Target::new("a\"b").tail(), br#"],"StreamName":"a\"b"}"#);
    }

    #[test]
    fn a_body_is_used_again_unless_somebody_still_holds_it() {
        let spare = Spare::default();
        let body = |n: usize| Bytes::from(Vec::with_capacity(n));
        spare.give_back(Bytes::from({
            let mut v = Vec::with_capacity(1000);
            v.push(1);
            v
        }));
        let back = spare.take();
        assert!(back.is_empty() && back.capacity() == 1000);
        let held = Bytes::from(vec![1; 10]);
        let other = held.clone();
        spare.give_back(held);
        assert_eq!((spare.take().capacity(), other.len()), (0, 10));
        (0..5).for_each(|_| spare.give_back(body(10)));
        assert_eq!(spare.0.lock().unwrap().len(), SPARE);
    }
}
