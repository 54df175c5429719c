//! Lines into the records that a request carries: each one alone, or joined as the destination wants it. Knows no age,
//! no marks and no limits of a batch. Invariant: a record holds lines of one life of one file in the order they were
//! read, and where keys are chosen and joined, all that were read of one slot between its first and its last line.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    deliver::{Aggregate, Encoding, Shape, kpl},
    model::{Batch, BatchId, FileRef, Generation, Keys, Part, RecordId, RecordRef, Slot, Span},
};

/// No index.
const NONE: u32 = u32::MAX;

/// Lines that are being gathered.
#[derive(Debug)]
pub(super) struct Gather {
    shape: Shape,
    data: Vec<u8>,
    /// End to end in `data`, in the order they were read.
    lines: Vec<Line>,
    records: Vec<Open>,
    /// What the records cost of a request.
    bytes: usize,
    /// Some line stands behind one of a later record.
    is_mixed: bool,
    files: Vec<FileRef>,
    /// Index into `files` of each, and of the one that was read last.
    by_generation: HashMap<Generation, u32>,
    file: u32,
    /// The record that takes more lines, by file and, within a file, by slot where there are slots.
    latest: Vec<u32>,
    keys: Interned,
    /// The keys of each record, where records may have several.
    tables: Vec<Vec<u32>>,
    /// How the record of the last line was before it; `None` where that line began it.
    before: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    to: u32,
    record: u32,
    span: Span,
    /// The key, and its place among those of the record. Nothing where keys are random.
    key: u32,
    key_index: u32,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    file: u32,
    span: Span,
    count: u32,
    slot: Option<Slot>,
    /// Bytes of the lines.
    data: usize,
    /// Bytes of the partition key.
    key: usize,
    /// As an aggregate it would have this size.
    aggregate: kpl::Size,
    /// Its keys were chosen: so many distinct ones.
    has_keys: bool,
    keys: u32,
    /// See [`cost`]: computed when the record changes, and not for each look at it.
    cost: usize,
}

/// A line that was taken back.
pub(super) struct Taken {
    pub(super) file: FileRef,
    pub(super) span: Span,
    pub(super) data: Vec<u8>,
    pub(super) key: Option<String>,
}

impl Gather {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            shape,
            data: Vec::new(),
            lines: Vec::new(),
            records: Vec::new(),
            bytes: 0,
            is_mixed: false,
            files: Vec::new(),
            by_generation: HashMap::new(),
            file: NONE,
            latest: Vec::new(),
            keys: Interned::default(),
            tables: Vec::new(),
            before: None,
        }
    }

    /// Where the next line's bytes are to be appended.
    pub(super) fn data(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }

    /// Records so far.
    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    /// Lines so far.
    pub(super) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// What the records cost of a request.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes appended since `from` are a line, with a key where keys are chosen.
    pub(super) fn push(&mut self, file: &FileRef, span: Span, from: usize, key: Option<&str>) {
        debug_assert_eq!(from, self.lines.last().map_or(0, |line| line.to as usize), "lines stand end to end");
        if self.shape.newline && self.data[from..].last() != Some(&b'\n') {
            self.data.push(b'\n');
        }
        let len = self.data.len() - from;
        let file = self.file(file);
        let key = key.map_or(NONE, |key| self.keys.intern(key));
        let slot = (self.shape.slots && key != NONE).then(|| self.keys.notes[key as usize].slot);
        let latest = self.latest(file, slot);
        let last = self.latest[latest];
        let (record, key_index) = if let Some((whole, key_index)) = self.joined(last, span, len, key) {
            let record = &mut self.records[last as usize];
            self.bytes -= record.cost;
            self.before = Some(std::mem::replace(record, whole));
            self.is_mixed |= last as usize + 1 < self.records.len();
            (last, key_index)
        } else {
            self.before = None;
            (self.begin(file, span, len, key, slot), 0)
        };
        self.latest[latest] = record;
        self.bytes += self.records[record as usize].cost;
        self.lines.push(Line { to: offset(self.data.len()), record, span, key, key_index });
    }

    /// A line of this key that is read next is in the destination already: no record of its slot may seem to hold it.
    pub(super) fn part_slot(&mut self, file: Generation, key: &str) {
        let Some(&file) = self.by_generation.get(&file) else { return };
        let slot = self.shape.slots.then(|| Slot::of(key.as_bytes()));
        let latest = self.latest(file, slot);
        self.latest[latest] = NONE;
    }

    /// Something of the file that is read next is not delivered, or is already: no record may seem to hold it.
    pub(super) fn part(&mut self, file: Generation) {
        let Some(&file) = self.by_generation.get(&file) else { return };
        let slots = if self.shape.slots { Slot::COUNT } else { 1 };
        let of_file = file as usize * slots;
        if let Some(latest) = self.latest.get_mut(of_file..of_file + slots) {
            latest.fill(NONE);
        }
    }

    /// Takes the last line back. Only what is left may be finished then, nothing more pushed.
    pub(super) fn pop(&mut self) -> Option<Taken> {
        let line = self.lines.pop()?;
        let record = &mut self.records[line.record as usize];
        let file = self.files[record.file as usize].clone();
        self.bytes -= record.cost;
        if let Some(before) = self.before.take() {
            *record = before;
            self.bytes += record.cost;
        } else {
            self.records.pop();
        }
        let from = self.lines.last().map_or(0, |line| line.to as usize);
        let data = self.data.split_off(from);
        let key = (line.key != NONE).then(|| self.keys.get(line.key).to_owned());
        Some(Taken { file, span: line.span, data, key })
    }

    /// All of it as a batch; begins anew with room for as much.
    pub(super) fn finish(&mut self) -> Batch {
        let mut next = Self::new(self.shape);
        next.data.reserve(self.data.len() + self.data.len() / 8);
        next.lines.reserve(self.lines.len());
        next.records.reserve(self.records.len());
        let full = std::mem::replace(self, next);
        let (lines, data) = if full.is_mixed { full.sorted() } else { (full.lines, full.data) };
        let (mut keys, mut records) = (Keys::default(), Vec::with_capacity(full.records.len()));
        let mut from = 0;
        let mut left = &lines[..];
        for open in &full.records {
            let (own, rest) = left.split_at(open.count as usize);
            let to = own.last().map_or(from, |line| line.to);
            records.push(RecordRef {
                from,
                to,
                file: open.file,
                span: open.span,
                count: open.count,
                part: offset(lines.len() - left.len()),
                key: keys.len(),
                slot: open.slot,
                size: offset(open.cost),
            });
            let first_key = keys.len();
            for line in own.iter().filter(|line| line.key != NONE) {
                if first_key + line.key_index == keys.len() {
                    keys.push(full.keys.get(line.key));
                }
            }
            (from, left) = (to, rest);
        }
        let parts = lines.iter().map(|line| Part { to: line.to, key: line.key_index }).collect();
        Batch { id: BatchId(0), files: full.files, records, parts, keys, data, dead: Vec::new() }
    }

    /// The lines with those of a record together, and their bytes.
    fn sorted(&self) -> (Vec<Line>, Vec<u8>) {
        let mut next = 0;
        let mut places: Vec<usize> = self.records.iter().map(|open| next_place(&mut next, open.count)).collect();
        let mut order = vec![0; self.lines.len()];
        for (at, line) in self.lines.iter().enumerate() {
            let place = &mut places[line.record as usize];
            order[*place] = at;
            *place += 1;
        }
        let mut data = Vec::with_capacity(self.data.len());
        let sorted = order.into_iter().map(|at| {
            let from = if at == 0 { 0 } else { self.lines[at - 1].to as usize };
            data.extend_from_slice(&self.data[from..self.lines[at].to as usize]);
            Line { to: offset(data.len()), ..self.lines[at] }
        });
        let sorted = sorted.collect();
        (sorted, data)
    }

    fn file(&mut self, file: &FileRef) -> u32 {
        if self.files.get(self.file as usize).is_none_or(|last| last.generation != file.generation) {
            let files = &mut self.files;
            self.file = *self.by_generation.entry(file.generation).or_insert_with(|| {
                files.push(file.clone());
                offset(files.len() - 1)
            });
        }
        self.file
    }

    /// The place in `latest` for this file and slot.
    fn latest(&mut self, file: u32, slot: Option<Slot>) -> usize {
        let slots = if self.shape.slots { Slot::COUNT } else { 1 };
        let at = file as usize * slots + slot.map_or(0, |slot| usize::from(slot.0));
        if at >= self.latest.len() {
            self.latest.resize((file as usize + 1) * slots, NONE);
        }
        at
    }

    /// A new record with this line.
    fn begin(&mut self, file: u32, span: Span, len: usize, key: u32, slot: Option<Slot>) -> u32 {
        let record = offset(self.records.len());
        let key_bytes = if key == NONE { self.shape.overhead } else { self.keys.get(key).len() };
        let aggregate = kpl::Size::new(slot).with_record(0, len);
        // An id grows with the record that it is of: see `cost`.
        let aggregate = if self.shape.ids && key == NONE { aggregate } else { aggregate.with_key(key_bytes) };
        let has_keys = key != NONE;
        let mut open =
            Open { file, span, count: 1, slot, data: len, key: key_bytes, aggregate, has_keys, keys: 1, cost: 0 };
        open.cost = cost(&self.shape, &open);
        self.records.push(open);
        if self.has_tables() {
            self.tables.push(vec![key]);
            self.keys.notes[key as usize].place = (record, 0);
        }
        record
    }

    /// The record of this index with the line behind it, and the place of the line's key in it, if it may be joined.
    fn joined(&mut self, record: u32, span: Span, len: usize, key: u32) -> Option<(Open, u32)> {
        let Aggregate { max_bytes, max_records, .. } = self.shape.aggregate?;
        let open = *self.records.get(record as usize)?;
        debug_assert!(open.span.end <= span.start, "a file is read forwards");
        let known = if self.has_tables() { self.key_index(record, key) } else { Some(0) };
        let key_index = known.unwrap_or(open.keys);
        let mut whole = Open {
            span: Span { start: open.span.start, end: span.end },
            count: open.count + 1,
            data: open.data + len,
            aggregate: open.aggregate.with_record(key_index, len),
            ..open
        };
        if known.is_none() {
            whole.aggregate = whole.aggregate.with_key(self.keys.get(key).len());
            whole.keys += 1;
        }
        whole.cost = cost(&self.shape, &whole);
        if whole.count > max_records || whole.cost > max_bytes {
            return None;
        }
        if known.is_none() {
            self.tables[record as usize].push(key);
        }
        if self.has_tables() {
            self.keys.notes[key as usize].place = (record, key_index);
        }
        Some((whole, key_index))
    }

    /// Where the key stands among those of the record.
    fn key_index(&self, record: u32, key: u32) -> Option<u32> {
        match self.keys.notes[key as usize].place {
            (NONE, _) => None,
            (last, index) if last == record => Some(index),
            _ => self.tables[record as usize].iter().position(|known| *known == key).map(offset),
        }
    }

    /// Whether a record may have several keys.
    fn has_tables(&self) -> bool {
        self.shape.slots && self.shape.aggregate.is_some()
    }
}

/// What a record costs of a request: its bytes as they will be sent, and its key.
fn cost(shape: &Shape, open: &Open) -> usize {
    let encoding = shape.aggregate.map(|aggregate| aggregate.encoding);
    let is_aggregate = encoding == Some(Encoding::Kpl) && open.count > 1;
    let key = if shape.ids { RecordId::written_len(open.span) } else { open.key };
    // Without a key that was chosen, the one inside is the one outside.
    let aggregate = if shape.ids && !open.has_keys { open.aggregate.with_key(key) } else { open.aggregate };
    key + if is_aggregate { aggregate.bytes() } else { open.data }
}

/// Keys, each once.
#[derive(Debug, Default)]
struct Interned {
    keys: Keys,
    notes: Vec<Note>,
    by_hash: HashMap<u64, u32>,
}

#[derive(Clone, Copy, Debug)]
struct Note {
    slot: Slot,
    /// The record that it was last added to, and its place there.
    place: (u32, u32),
}

impl Interned {
    fn intern(&mut self, key: &str) -> u32 {
        let hash = xxh3_64(key.as_bytes());
        // Of two keys with one hash the second is taken for new each time, which costs a few bytes.
        if let Some(&known) = self.by_hash.get(&hash).filter(|known| self.get(**known) == key) {
            return known;
        }
        let new = self.keys.len();
        self.keys.push(key);
        self.notes.push(Note { slot: Slot::of(key.as_bytes()), place: (NONE, 0) });
        self.by_hash.insert(hash, new);
        new
    }

    fn get(&self, key: u32) -> &str {
        self.keys.get(key).expect("an index that was given out")
    }
}

fn offset(n: usize) -> u32 {
    u32::try_from(n).expect("a batch's data stays below 4 GiB")
}

/// The place of `count` things behind those before them.
fn next_place(next: &mut usize, count: u32) -> usize {
    let place = *next;
    *next += count as usize;
    place
}
