//! The bytes of a request, laid out once, straight from the batch. Knows no network and no service.
//! Invariant: nothing is allocated where the buffer was used before for as much.

use crate::model::Batch;
use bytes::Bytes;
use std::sync::{Mutex, PoisonError};

const HEAD: &[u8] = b"{\"Records\":[";
/// Room for what stands around the data and the key of a record.
const AROUND: usize = 128;

/// Writes a body with these records into `out`, which is emptied first: `{"Records":[`, what `entries` writes of `at_once`
/// records after the other, a comma behind each, and `tail`.
pub(in crate::deliver) fn lay_out(
    out: &mut Vec<u8>,
    batch: &Batch,
    which: &[u32],
    at_once: usize,
    mut entries: impl FnMut(&mut Vec<u8>, &[u32]),
    tail: &[u8],
) {
    let size =
        |&index: &u32| AROUND + base64_simd::STANDARD.encoded_length(batch.records[index as usize].size as usize);
    out.clear();
    out.reserve(HEAD.len() + which.iter().map(size).sum::<usize>() + tail.len());
    out.extend_from_slice(HEAD);
    which.chunks(at_once).for_each(|some| entries(out, some));
    out.pop_if(|last| *last == b',');
    out.extend_from_slice(tail);
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
