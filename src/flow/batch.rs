//! The open batch: what the next request will carry, its age and its marks. Knows no requests and no files beyond names.
//! Invariant: closed before it outgrows its limits; every byte before its marks is in this batch or an earlier one.

use std::time::Instant;

use crate::{
    flow::Limits,
    model::{Batch, BatchId, DeadLetter, FileRef, Mark, RecordRef, Span},
};

/// A batch that still takes records.
#[derive(Debug)]
pub struct OpenBatch {
    limits: Limits,
    /// Bytes that the request needs for each record beyond its data.
    overhead: usize,
    data: Vec<u8>,
    records: Vec<RecordRef>,
    files: Vec<FileRef>,
    dead: Vec<DeadLetter>,
    dead_bytes: usize,
    marks: Vec<Mark>,
    opened: Option<Instant>,
}

/// A batch that was closed, with what the ledger must know of it. The id is given by the ledger.
#[derive(Debug)]
pub struct Closed {
    pub batch: Batch,
    pub marks: Vec<Mark>,
    pub bytes: usize,
}

impl OpenBatch {
    pub fn new(limits: Limits, overhead: usize) -> Self {
        Self {
            limits,
            overhead,
            data: Vec::new(),
            records: Vec::new(),
            files: Vec::new(),
            dead: Vec::new(),
            dead_bytes: 0,
            marks: Vec::new(),
            opened: None,
        }
    }

    /// Where the next record's bytes are to be appended.
    pub fn data(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }

    /// The bytes appended since `from` are a record.
    pub fn push(&mut self, file: &FileRef, span: Span, from: usize, now: Instant) {
        debug_assert!(from <= self.data.len() && self.records.last().is_none_or(|r| r.to as usize == from));
        let offset = |n: usize| u32::try_from(n).expect("a batch's data stays below 4 GiB");
        if self.files.last().is_none_or(|last| last.generation != file.generation) {
            self.files.push(file.clone());
        }
        let index = offset(self.files.len() - 1);
        self.records.push(RecordRef { from: offset(from), to: offset(self.data.len()), file: index, span });
        self.opened.get_or_insert(now);
    }

    /// A record that is not delivered but kept among the dead letters.
    pub fn push_dead(&mut self, dead: DeadLetter, now: Instant) {
        self.dead_bytes += dead.data.len();
        self.dead.push(dead);
        self.opened.get_or_insert(now);
    }

    /// Every byte before the mark is in this batch or an earlier one (or is not to be delivered).
    pub fn mark(&mut self, mark: Mark, now: Instant) {
        match self.marks.last_mut() {
            Some(last) if last.generation == mark.generation => {
                assert!(mark.end >= last.end, "marks of a generation never move back");
                *last = mark;
            }
            _ => self.marks.push(mark),
        }
        self.opened.get_or_insert(now);
    }

    /// Bytes that count towards the limits.
    pub fn bytes(&self) -> usize {
        self.data.len() + self.dead_bytes + self.records.len() * self.overhead
    }

    /// No record more fits.
    pub fn is_full(&self) -> bool {
        self.records.len() + self.dead.len() >= self.limits.batch_records || self.bytes() >= self.limits.batch_bytes
    }

    /// The last record was one too many: it must be carried over.
    pub fn is_over(&self) -> bool {
        self.records.len() > 1 && self.bytes() > self.limits.batch_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.opened.is_none()
    }

    /// When it is old enough to be closed.
    pub fn due(&self) -> Option<Instant> {
        self.opened.map(|opened| opened + self.limits.batch_age)
    }

    /// Closes the batch; an empty one is open again.
    pub fn close(&mut self) -> Closed {
        let bytes = self.bytes();
        let capacity = self.data.len() + self.data.len() / 8;
        let next = Self { data: Vec::with_capacity(capacity), ..Self::new(self.limits, self.overhead) };
        let full = std::mem::replace(self, next);
        self.records.reserve(full.records.len());
        assert!(full.records.len() <= self.limits.batch_records, "a batch never exceeds its records");
        assert!(
            bytes <= self.limits.batch_bytes || full.records.len() + full.dead.len() <= 1 || full.dead_bytes > 0,
            "a batch never exceeds its bytes"
        );
        let Self { data, records, files, dead, marks, .. } = full;
        Closed { batch: Batch { id: BatchId(0), files, records, data, dead }, marks, bytes }
    }

    /// Closes the batch without its last record, which the new one begins with. Call [`Self::mark`] first, with a mark
    /// that ends before that record.
    pub fn close_without_last(&mut self, now: Instant) -> Closed {
        let last = self.records.pop().expect("there is a record too many");
        let file = self.files[last.file as usize].clone();
        let bytes = self.data[last.from as usize..].to_vec();
        self.data.truncate(last.from as usize);
        let closed = self.close();
        let from = self.data.len();
        self.data.extend_from_slice(&bytes);
        self.push(&file, last.span, from, now);
        closed
    }
}
