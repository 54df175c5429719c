//! What is sent in one go: records, and what to tell about each of them. Knows no destination.
//! Invariant: every index and every range in a batch lies within it.

use std::{path::Path, sync::Arc};

use super::{Generation, RecordId, Slot, Span};

/// Number of a batch within one run of one flow, counted from 0 in the order batches were opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BatchId(pub u64);

/// A file that a batch draws from: which life of it, and where it was last seen (for people, not for opening).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    pub generation: Generation,
    pub path: Arc<Path>,
}

/// One record inside a batch's `data`: what the destination counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef {
    /// Range `[from, to)` of the record in `Batch::data`.
    pub from: u32,
    pub to: u32,
    /// Index into `Batch::files`.
    pub file: u32,
    /// Where in the file it came from, its line end included. Where records were joined by slot, those of other slots
    /// lie in between.
    pub span: Span,
    /// How many records of the file it holds: 1, or more where they were joined for the destination.
    pub count: u32,
    /// Index into `Batch::parts` of the first of them.
    pub part: u32,
    /// Index into `Batch::keys` of its first key, where keys are chosen.
    pub key: u32,
    /// The slot that its keys share, where slots matter.
    pub slot: Option<Slot>,
    /// What it is to the destination, in bytes: the data as it is sent, and the partition key.
    pub size: u32,
}

/// One record of a file, as a part of a record of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where in `Batch::data` it ends; it begins where the one before it ends.
    pub to: u32,
    /// Index of its key among those of the record.
    pub key: u32,
}

/// The partition keys of a batch, record by record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    text: String,
    ends: Vec<u32>,
}

impl Keys {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.ends.len()).expect("a batch is not that long")
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn push(&mut self, key: &str) {
        self.text.push_str(key);
        self.ends.push(u32::try_from(self.text.len()).expect("a batch's keys stay below 4 GiB"));
    }

    #[must_use]
    pub fn get(&self, index: u32) -> Option<&str> {
        let to = *self.ends.get(index as usize)?;
        let from = index.checked_sub(1).map_or(0, |before| self.ends[before as usize]);
        Some(&self.text[from as usize..to as usize])
    }
}

/// A record that cannot be delivered as it is, with the reason in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub file: FileRef,
    pub span: Span,
    /// What was wrong, for people.
    pub reason: String,
    /// The bytes of the record. May be only the beginning of a longer one; `span` tells the whole.
    pub data: Vec<u8>,
}

/// What one request carries. Closed: nothing is added any more.
/// Invariant: `data` is the records' bytes end to end; `records` are in the order they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub id: BatchId,
    pub files: Vec<FileRef>,
    pub records: Vec<RecordRef>,
    /// The records of files that these hold, in the order of `data`.
    pub parts: Vec<Part>,
    /// Chosen partition keys; none where keys are random.
    pub keys: Keys,
    pub data: Vec<u8>,
    /// Records that processing already gave up: written to the dead letters before the batch settles.
    pub dead: Vec<DeadLetter>,
}

impl Batch {
    /// The bytes of record `index`.
    #[must_use]
    pub fn record(&self, index: usize) -> &[u8] {
        let r = &self.records[index];
        &self.data[r.from as usize..r.to as usize]
    }

    /// The id of record `index`.
    #[must_use]
    pub fn record_id(&self, index: usize) -> RecordId {
        let r = &self.records[index];
        RecordId { generation: self.files[r.file as usize].generation, span: r.span }
    }

    /// The chosen partition key of record `index`: the first of its keys.
    #[must_use]
    pub fn key(&self, index: usize) -> Option<&str> {
        self.keys.get(self.records[index].key)
    }

    /// All chosen keys of record `index`.
    pub fn keys(&self, index: usize) -> impl Iterator<Item = &str> {
        let end = self.records.get(index + 1).map_or(self.keys.len(), |next| next.key);
        (self.records[index].key..end).filter_map(|key| self.keys.get(key))
    }

    /// The records of files that record `index` holds, each with the index of its key among those of the record.
    pub fn parts(&self, index: usize) -> impl Iterator<Item = (u32, &[u8])> {
        let record = &self.records[index];
        let parts = &self.parts[record.part as usize..][..record.count as usize];
        parts.iter().scan(record.from as usize, |from, part| {
            let data = &self.data[*from..part.to as usize];
            *from = part.to as usize;
            Some((part.key, data))
        })
    }

    /// How many records of files these hold together: what counters and people count.
    #[must_use]
    pub fn count(&self, which: &[u32]) -> u32 {
        which.iter().map(|&index| self.records[index as usize].count).sum()
    }
}

/// Every record of the batch is accepted, or rejected for good and safely dead-lettered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub id: BatchId,
    /// Records of files that the destination accepted.
    pub accepted: u32,
    /// Records of files that went to the dead letters.
    pub dead_lettered: u32,
}
