//! What the destination holds of the bytes of a file that are still to be read, so that they are not sent again.
//! Knows no records. Invariant: reading stops at each shore, so that records end where those of the last run did.

use std::time::Instant;

use super::{Chunk, Entry, Fs, Key, Read, Table};
use crate::model::{Generation, Landed, Span};

/// The shores of one file.
#[derive(Debug, Default)]
pub(super) struct Shores {
    /// All of these bytes is held. Rising, apart from each other.
    held: Vec<Span>,
    /// Ends of records that hold some of the bytes before them. Rising.
    ends: Vec<u64>,
}

impl Shores {
    fn new(landed: &[Landed]) -> Self {
        let (mut spans, mut ends) = (Vec::new(), Vec::new());
        for Landed { id, slot } in landed {
            match slot {
                None => spans.push(id.span),
                Some(_) => ends.extend([id.span.start, id.span.end]),
            }
        }
        spans.sort_unstable_by_key(|span| span.start);
        ends.sort_unstable();
        ends.dedup();
        let mut held: Vec<Span> = Vec::new();
        for span in spans {
            match held.last_mut().filter(|last| span.start <= last.end) {
                Some(last) => last.end = last.end.max(span.end),
                None => held.push(span),
            }
        }
        Self { held, ends }
    }

    /// The next place behind `offset` at which reading stops.
    pub(super) fn next(&self, offset: u64) -> Option<u64> {
        let held = self.held.iter().map(|span| span.start).find(|start| *start > offset);
        let end = self.ends.get(self.ends.partition_point(|end| *end <= offset)).copied();
        held.into_iter().chain(end).min()
    }

    fn is_empty(&self) -> bool {
        self.held.is_empty() && self.ends.is_empty()
    }

    /// Where what is held from `offset` on ends.
    fn end_of(&self, offset: u64) -> Option<u64> {
        self.held.iter().find(|span| span.start <= offset && offset < span.end).map(|span| span.end)
    }

    /// Everything before `offset` is behind us.
    fn pass(&mut self, offset: u64) {
        self.held.retain(|span| span.end > offset);
        self.ends.retain(|end| *end > offset);
    }
}

impl<F: Fs> Table<F> {
    /// The destination holds these records of a generation and no others: from now on it is read.
    pub fn found(&mut self, generation: Generation, landed: &[Landed]) {
        let Some(key) = self.by_generation.get(&generation).copied() else { return };
        self.doubtful.retain(|k| *k != key);
        let e = self.entry_mut(key);
        if std::mem::take(&mut e.doubtful) {
            e.shores = Shores::new(landed);
            e.shores.pass(e.read);
            e.verify = true;
            self.queue(key);
        }
    }

    /// Whether of some file it is not known yet what the destination holds.
    pub fn has_doubts(&self) -> bool {
        self.doubtful.iter().any(|key| self.entry(*key).lost.is_none() || self.entry(*key).handle.is_some())
    }

    /// Whether the destination holds, or may hold, more of a generation than what was sent and settled by this run.
    pub fn holds_more(&self, generation: Generation) -> bool {
        let more = |e: &Entry<F::File>| e.doubtful || !e.shores.is_empty();
        self.by_generation.get(&generation).is_some_and(|key| more(self.entry(*key)))
    }

    /// Files that may be rotated away or deleted before it is known what to read of them are kept open.
    pub(super) fn open_doubtful(&mut self, now: Instant) {
        for key in self.doubtful.clone() {
            if self.entry(key).handle.is_none() && !self.entry(key).parked {
                self.ensure_open(key, now);
            }
        }
    }

    /// Where a chunk begins with bytes that are held, the way past them.
    pub(super) fn ashore(&mut self, key: Key, chunk: Chunk, buf: &mut Vec<u8>) -> Read {
        let e = self.entry_mut(key);
        e.shores.pass(chunk.offset);
        let Some(to) = e.shores.end_of(chunk.offset) else { return Read::Chunk(chunk) };
        match self.tail_at(key, to, buf) {
            Some(tail) => {
                let empty = chunk.bytes.start..chunk.bytes.start;
                Read::Landed { chunk: Chunk { bytes: empty, end_of_file: false, ..chunk }, to, tail }
            }
            None => {
                // The file lost bytes that were sent: it is not what it was, and is judged by what it holds now.
                let e = self.entry_mut(key);
                tracing::warn!(path = %e.path.display(), offset = e.read, held = to, "file is shorter than what was sent of it");
                e.shores = Shores::default();
                self.queue(key);
                Read::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RecordId, Slot};

    fn shores(landed: &[(u64, u64, Option<u8>)]) -> Shores {
        let landed = landed.iter().map(|(start, end, slot)| {
            let id = RecordId { generation: Generation(1), span: Span { start: *start, end: *end } };
            Landed { id, slot: slot.map(Slot) }
        });
        Shores::new(&landed.collect::<Vec<_>>())
    }

    #[test]
    fn reading_stops_where_records_that_are_held_begin_or_end() {
        let mut shores =
            shores(&[(30, 40, None), (10, 20, None), (20, 25, None), (50, 90, Some(1)), (60, 70, Some(2))]);
        let stops = |shores: &Shores| [0, 10, 24, 25, 39, 50, 60, 89, 90].map(|offset| shores.next(offset));
        let some = |n| Some(n);
        assert_eq!(
            stops(&shores),
            [some(10), some(30), some(30), some(30), some(50), some(60), some(70), some(90), None]
        );
        assert_eq!(
            [9, 10, 24, 25, 30, 50].map(|offset| shores.end_of(offset)),
            [None, some(25), some(25), None, some(40), None]
        );
        shores.pass(40);
        assert_eq!((shores.held.len(), shores.next(0)), (0, Some(50)));
    }
}
