//! What the destination holds of the bytes of a file that are still to be read, so that they are not sent again.
//! Knows no records. Invariant: reading stops at each shore, so that records end where those of the last run did.

use std::{collections::VecDeque, time::Instant};

use super::{Chunk, Entry, Fs, Key, Read, Table, read::read_into};
use crate::{
    model::{Generation, Landed, Print, Span},
    source::{fs::File as _, handle::Handle},
};

/// The shores of one file.
#[derive(Debug, Default)]
pub(super) struct Shores {
    /// All of these bytes is held. Rising, apart from each other.
    held: VecDeque<Span>,
    /// Ends of records that hold some of the bytes before them. Rising.
    ends: VecDeque<u64>,
}

impl Shores {
    fn new(landed: &[Landed]) -> Self {
        let (mut spans, mut ends) = (Vec::new(), Vec::new());
        for Landed { id, slot, .. } in landed {
            match slot {
                None => spans.push(id.span),
                Some(_) => ends.extend([id.span.start, id.span.end]),
            }
        }
        spans.sort_unstable_by_key(|span| span.start);
        ends.sort_unstable();
        ends.dedup();
        let mut held: VecDeque<Span> = VecDeque::new();
        for span in spans {
            match held.back_mut().filter(|last| span.start <= last.end) {
                Some(last) => last.end = last.end.max(span.end),
                None => held.push_back(span),
            }
        }
        Self { held, ends: ends.into() }
    }

    /// The file ends at `size`: nothing is held beyond that.
    fn shorten(&mut self, size: u64) {
        self.held.truncate(self.held.partition_point(|span| span.start < size));
        if let Some(last) = self.held.back_mut() {
            last.end = last.end.min(size);
        }
        self.ends.truncate(self.ends.partition_point(|end| *end <= size));
    }

    /// The next place behind `offset` at which reading stops.
    pub(super) fn next(&self, offset: u64) -> Option<u64> {
        let held = self.held.get(self.held.partition_point(|span| span.start <= offset)).map(|span| span.start);
        let end = self.ends.get(self.ends.partition_point(|end| *end <= offset)).copied();
        held.into_iter().chain(end).min()
    }

    fn is_empty(&self) -> bool {
        self.held.is_empty() && self.ends.is_empty()
    }

    /// Where what is held from `offset` on ends.
    fn end_of(&self, offset: u64) -> Option<u64> {
        let before = self.held.partition_point(|span| span.start <= offset).checked_sub(1)?;
        Some(self.held[before].end).filter(|end| offset < *end)
    }

    /// Everything before `offset` is behind us.
    fn pass(&mut self, offset: u64) {
        while self.held.pop_front_if(|span| span.end <= offset).is_some() {}
        while self.ends.pop_front_if(|end| *end <= offset).is_some() {}
    }
}

impl<F: Fs> Table<F> {
    /// The destination holds these records of a generation and no others: from now on it is read.
    pub fn found(&mut self, generation: Generation, landed: &[Landed]) {
        let Some(key) = self.by_generation.get(&generation).copied() else { return };
        self.doubtful.remove(&key);
        let e = self.entry_mut(key);
        if std::mem::take(&mut e.doubtful) {
            e.shores = Shores::new(landed);
            e.shores.pass(e.read);
            e.verify = true;
            self.queue(key);
        }
    }

    /// Whether of some file that is to be read it is not known yet what the destination holds.
    pub fn has_doubts(&self) -> bool {
        let doubtful = self.doubtful.iter().filter(|key| !self.later.contains(key));
        doubtful.map(|key| self.entry(*key)).any(|e| match e.lost {
            Some(_) => e.handle.is_some(),
            None => !e.parked && !e.refused && !self.orphans_only,
        })
    }

    /// Up to where a generation is delivered, if it is known.
    pub fn acked(&self, generation: Generation) -> Option<u64> {
        self.by_generation.get(&generation).map(|key| self.entry(*key).acked)
    }

    /// Whether the destination holds, or may hold, more of a generation than what is acked.
    pub fn holds_more(&self, generation: Generation) -> bool {
        let more = |e: &Entry<F::File>| e.doubtful || !e.shores.is_empty() || e.acked < e.read;
        self.by_generation.get(&generation).is_some_and(|key| more(self.entry(*key)))
    }

    /// Files that may be rotated away or deleted before it is known what to read of them are kept open, as far as there is
    /// room; and those that changed are looked at, for nobody reads them.
    pub(super) fn open_doubtful(&mut self, now: Instant) {
        for key in self.doubtful.clone() {
            // A shorter copy holds nothing that is still to be read.
            if self.entry(key).done {
                continue;
            }
            let is_open = self.entry(key).handle.is_some();
            if (!is_open && self.open.len() >= self.most_open.get()) || !self.try_open(key, now) {
                continue;
            }
            if (!is_open || self.entry(key).verify)
                && let Ok(is_itself) = self.is_itself(key, &mut Vec::new())
            {
                self.entry_mut(key).verify = false;
                if !is_itself {
                    self.restarted(key, now);
                }
            }
        }
    }

    /// Opens a file if its name leads to it. What stands there may be another one by now, or nothing: a look finds that out.
    fn try_open(&mut self, key: Key, now: Instant) -> bool {
        let e = self.entry(key);
        if e.handle.is_some() || e.parked || e.lost.is_some() {
            return e.handle.is_some();
        }
        let opened = self.fs.open(&e.path).and_then(|file| file.stat().map(|stat| (file, stat)));
        if let Err(error) = &opened
            && error.kind() != std::io::ErrorKind::NotFound
        {
            // Where only orphans are read, whoever comes next tries again.
            if !e.refused && !self.orphans_only {
                self.refuse(key, error, now);
            }
            return false;
        }
        let Some((file, _)) = opened.ok().filter(|(_, stat)| stat.id == e.id) else { return false };
        let e = self.entry_mut(key);
        e.handle = Some(Handle::new(file, e.codec));
        self.opened(key);
        true
    }

    /// The file of a generation, if it can be read now and is what it was known by.
    pub fn itself(&mut self, generation: Generation, now: Instant) -> Option<Key> {
        let key = self.by_generation.get(&generation).copied()?;
        if !self.try_open(key, now) {
            let e = self.entry(key);
            let elsewhere = !e.refused && !e.parked && e.lost.is_none() && !self.later.contains(&key);
            if elsewhere && !self.orphans_only {
                self.relook(key);
            }
            return None;
        }
        match self.is_itself(key, &mut Vec::new()) {
            Ok(true) => return Some(key),
            // Truncated or rewritten: it is looked for elsewhere, and asked for again.
            Ok(false) => self.restarted(key, now),
            Err(error) => self.refuse_in_doubt(key, &error, now),
        }
        None
    }

    /// Whether nothing of a generation is still to be read: it is gone, or what goes on under its name is a shorter copy.
    pub fn is_over(&self, generation: Generation) -> bool {
        self.by_generation.get(&generation).is_none_or(|key| self.entry(*key).done)
    }

    /// At most so many bytes of a file into `buf`, and how many there are. `None`: it cannot be read now.
    pub fn bytes_of(&mut self, key: Key, from: u64, len: usize, buf: &mut Vec<u8>, now: Instant) -> Option<usize> {
        let read = read_into(self.entry_mut(key), buf, from, len);
        read.inspect_err(|error| self.refuse_in_doubt(key, error, now)).ok().map(|(got, _)| got)
    }

    /// A file that has to be compared cannot be read. Where only orphans are, whoever comes next tries the others again.
    fn refuse_in_doubt(&mut self, key: Key, error: &std::io::Error, now: Instant) {
        if self.entry(key).lost.is_some() || !self.orphans_only {
            self.refuse(key, error, now);
        }
    }

    /// Whether an open file holds what it was known by.
    fn is_itself(&mut self, key: Key, buf: &mut Vec<u8>) -> std::io::Result<bool> {
        let e = self.entry_mut(key);
        let (head, tail) = (e.head, e.tail);
        let (got, _) = read_into(e, buf, 0, usize::from(head.len))?;
        if !head.begins(&buf[..got]) {
            return Ok(false);
        }
        let len = usize::from(tail.len);
        let (got, _) = read_into(e, buf, e.read - len as u64, len)?;
        Ok(got == len && tail.begins(&buf[..got]))
    }

    /// Where a chunk begins with bytes that are held, the way past them.
    pub(super) fn ashore(&mut self, key: Key, chunk: Chunk, buf: &mut Vec<u8>, now: Instant) -> Read {
        let e = self.entry_mut(key);
        e.shores.pass(chunk.offset);
        let Some(to) = e.shores.end_of(chunk.offset) else { return Read::Chunk(chunk) };
        let before = to.min(Print::MAX as u64);
        let len = usize::try_from(before).expect("at most MAX");
        match read_into(self.entry_mut(key), buf, to - before, len) {
            Ok((got, _)) if got == len => {
                let (empty, tail) = (chunk.bytes.start..chunk.bytes.start, Print::of_tail(&buf[..len]));
                Read::Landed { chunk: Chunk { bytes: empty, end_of_file: false, ..chunk }, to, tail }
            }
            Err(error) => {
                self.refuse(key, &error, now);
                Read::Nothing
            }
            Ok((got, _)) => {
                // Bytes that were sent are gone: a copy was made before they were written, or the file was cut off.
                let e = self.entry_mut(key);
                tracing::warn!(path = %e.path.display(), offset = e.read, held = to, "file is shorter than what was sent of it");
                e.shores.shorten(to - before + got as u64);
                e.shores.pass(e.read);
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
            Landed { id, slot: slot.map(Slot), hash: 0 }
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

    #[test]
    fn where_a_file_ends_early_what_it_has_is_held_all_the_same() {
        let mut shores = shores(&[(0, 10, None), (10, 20, None), (20, 30, None), (40, 50, None), (5, 25, Some(1))]);
        assert_eq!(shores.end_of(0), Some(30));
        shores.shorten(24);
        assert_eq!([0, 19, 20, 45].map(|offset| shores.end_of(offset)), [Some(24), Some(24), Some(24), None]);
        assert_eq!((shores.next(0), shores.next(5)), (Some(5), None));
    }
}
