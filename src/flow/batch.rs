//! The open batch: what the next request will carry, its age and its marks. Knows no requests and no files beyond names.
//! Invariant: closed before it outgrows its limits; every byte before its marks is in this batch or an earlier one.

use std::time::Instant;

use crate::{
    deliver::Shape,
    flow::{
        Limits,
        gather::{Gather, Taken},
    },
    model::{Batch, DeadLetter, FileRef, Generation, Mark, Span},
};

/// A batch that still takes records.
#[derive(Debug)]
pub struct OpenBatch {
    limits: Limits,
    /// Records are joined, so that the next one need not be one more.
    joins: bool,
    /// Records are known by their spans.
    ids: bool,
    gather: Gather,
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
    pub fn new(limits: Limits, shape: Shape) -> Self {
        Self {
            limits,
            joins: shape.aggregate.is_some(),
            ids: shape.ids,
            gather: Gather::new(shape),
            dead: Vec::new(),
            dead_bytes: 0,
            marks: Vec::new(),
            opened: None,
        }
    }

    /// Where the next record's bytes are to be appended.
    pub fn data(&mut self) -> &mut Vec<u8> {
        self.gather.data()
    }

    /// The bytes appended since `from` are a record, with this partition key where keys are chosen.
    pub fn push(&mut self, file: &FileRef, span: Span, from: usize, key: Option<&str>, now: Instant) {
        self.gather.push(file, span, from, key);
        self.opened.get_or_insert(now);
    }

    /// A record that is not delivered but kept among the dead letters.
    pub fn push_dead(&mut self, dead: DeadLetter, now: Instant) {
        self.gather.part(dead.file.generation);
        self.dead_bytes += dead.data.len();
        self.dead.push(dead);
        self.opened.get_or_insert(now);
    }

    /// What is read next of a file is not in this batch; with a key, no line of its slot. Where records are known by their
    /// spans, none may seem to hold it.
    pub fn part(&mut self, file: Generation, key: Option<&str>) {
        if !self.ids {
            return;
        }
        match key {
            Some(key) => self.gather.part_slot(file, key),
            None => self.gather.part(file),
        }
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
        self.gather.bytes() + self.dead_bytes
    }

    /// No record more fits. Where records are joined, the next one may still go into one that is there.
    pub fn is_full(&self) -> bool {
        let most = self.limits.batch_records + usize::from(self.joins);
        self.gather.records() + self.dead.len() >= most || self.bytes() >= self.limits.batch_bytes
    }

    /// The last record was one too many: it must be carried over.
    pub fn is_over(&self) -> bool {
        let several = self.gather.lines() > 1;
        (several && self.bytes() > self.limits.batch_bytes) || self.gather.records() > self.limits.batch_records
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
        let (bytes, records) = (self.bytes(), self.gather.records());
        assert!(records <= self.limits.batch_records, "a batch never exceeds its records");
        assert!(
            bytes <= self.limits.batch_bytes || self.gather.lines() + self.dead.len() <= 1 || self.dead_bytes > 0,
            "a batch never exceeds its bytes"
        );
        self.opened = None;
        self.dead_bytes = 0;
        let batch = Batch { dead: std::mem::take(&mut self.dead), ..self.gather.finish() };
        Closed { batch, marks: std::mem::take(&mut self.marks), bytes }
    }

    /// Closes the batch without the record pushed last, which the new one begins with. Call [`Self::mark`] first, with a
    /// mark that ends before that record.
    pub fn close_without_last(&mut self, now: Instant) -> Closed {
        let Taken { file, span, data, key } = self.gather.pop().expect("there is a record too many");
        let closed = self.close();
        let from = self.data().len();
        self.data().extend_from_slice(&data);
        self.push(&file, span, from, key.as_deref(), now);
        closed
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        deliver::{Aggregate, Encoding},
        model::{Generation, Print},
    };

    fn limits(batch_records: usize, batch_bytes: usize) -> Limits {
        Limits { batch_records, batch_bytes, batch_age: Duration::from_secs(1), buffer: 1 << 20 }
    }

    #[test]
    fn what_is_left_out_ends_a_joined_record_only_where_records_are_known_by_their_spans() {
        let (now, shape) = (Instant::now(), shape(100, 100));
        for (ids, records) in [(false, 1), (true, 2)] {
            let mut open = OpenBatch::new(limits(500, 1 << 20), Shape { ids, ..shape });
            let file = FileRef { generation: Generation(1), path: Path::new("/a").into() };
            for at in [0, 2] {
                open.part(file.generation, None);
                let from = open.data().len();
                open.data().extend_from_slice(b"x\n");
                open.push(&file, Span { start: 3 * at, end: 3 * at + 2 }, from, None, now);
            }
            assert_eq!(open.close().batch.records.len(), records, "ids {ids}");
        }
    }

    fn shape(max_bytes: usize, max_records: u32) -> Shape {
        let aggregate = Aggregate { encoding: Encoding::Lines, max_bytes, max_records };
        Shape { newline: true, aggregate: Some(aggregate), ..Shape::default() }
    }

    /// Pushes lines as the cutter does; the records of each batch, with how many lines each holds.
    fn batches(limits: Limits, shape: Shape, lines: &[(u64, &[u8])]) -> Vec<Closed> {
        let (mut open, now, mut closed) = (OpenBatch::new(limits, shape), Instant::now(), Vec::new());
        let mut ends = std::collections::HashMap::new();
        for (generation, line) in lines {
            let file = FileRef { generation: Generation(*generation), path: Path::new("/a").into() };
            let end = ends.entry(*generation).or_insert(0);
            let span = Span { start: *end, end: *end + line.len() as u64 };
            let mark = |end| Mark { generation: file.generation, end, tail: Print::default() };
            let from = open.data().len();
            open.data().extend_from_slice(line);
            open.push(&file, span, from, None, now);
            if open.is_over() {
                open.mark(mark(span.start), now);
                closed.push(open.close_without_last(now));
            }
            *end = span.end;
            if open.is_full() {
                open.mark(mark(span.end), now);
                closed.push(open.close());
            }
        }
        closed.push(open.close());
        closed
    }

    fn texts(closed: &[Closed]) -> Vec<Vec<(String, u32)>> {
        let of = |batch: &Batch| {
            let text = |i| String::from_utf8_lossy(batch.record(i)).into_owned();
            (0..batch.records.len()).map(|i| (text(i), batch.records[i].count)).collect()
        };
        closed.iter().map(|c| of(&c.batch)).collect()
    }

    #[test]
    fn lines_are_joined_greedily_and_a_longer_one_goes_alone() {
        let lines: [&[u8]; 8] = [
            b"aaaa\n",
            b"bbbb\n",
            b"cccc\n",
            b"dddd\n",
            b"eeee\n",
            b"a line of thirty-four characters.\n",
            b"f\n",
            b"g",
        ];
        let lines = lines.map(|line| (1, line));
        let records: Vec<_> = texts(&batches(limits(500, 1 << 20), shape(20, 100), &lines)).concat();
        let expected =
            [("aaaa\nbbbb\ncccc\ndddd\n", 4), ("eeee\n", 1), ("a line of thirty-four characters.\n", 1), ("f\ng\n", 2)];
        assert_eq!(records, expected.map(|(text, count)| (text.to_owned(), count)));
    }

    #[test]
    fn no_more_are_joined_than_asked_for_and_never_those_of_two_files() {
        let lines: [(u64, &[u8]); 6] = [(1, b"a\n"), (1, b"b\n"), (1, b"c\n"), (2, b"d\n"), (1, b"e\n"), (1, b"f\n")];
        let records: Vec<_> = texts(&batches(limits(500, 1 << 20), shape(100, 2), &lines)).concat();
        let records: Vec<_> = records.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(records, ["a\nb\n", "c\ne\n", "d\n", "f\n"]);
    }

    #[test]
    fn a_batch_counts_its_records_after_they_are_joined() {
        let lines = [(1, b"abc\n".as_slice()); 9];
        let batches = texts(&batches(limits(2, 1 << 20), shape(8, 100), &lines));
        let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 2, 1]);
    }

    #[test]
    fn a_line_that_is_one_too_many_is_taken_out_of_the_record_it_was_joined_to() {
        let lines: [(u64, &[u8]); 3] = [(1, b"aaaa\n"), (1, b"bbbb\n"), (1, b"cccc\n")];
        let closed = batches(limits(500, 12), shape(100, 100), &lines);
        let joined = |text: &str, count| vec![(text.to_owned(), count)];
        assert_eq!(texts(&closed), [joined("aaaa\nbbbb\n", 2), joined("cccc\n", 1)]);
        assert_eq!(closed[0].batch.records[0].span, Span { start: 0, end: 10 });
        assert_eq!(closed[1].batch.records[0].span, Span { start: 10, end: 15 });
    }

    proptest! {
        #[test]
        fn joined_or_not_every_line_is_in_one_record_in_order_and_within_the_limits(
            lines in prop::collection::vec((1..3u64, 1..40usize), 1..80),
            batch_records in 1..6usize, batch_bytes in 20..200usize, max_bytes in 1..120usize, max_records in 1..8u32,
            aggregate: bool,
        ) {
            let text: Vec<Vec<u8>> = (b'a'..=b'z').cycle().zip(&lines).map(|(letter, (_, n))| vec![letter; *n]).collect();
            let pushed: Vec<(u64, &[u8])> = lines.iter().zip(&text).map(|((g, _), t)| (*g, t.as_slice())).collect();
            let shape = if aggregate { shape(max_bytes, max_records) } else { Shape { newline: true, ..Shape::default() } };
            // What is left of each file.
            let mut left = [1, 2].map(|g| pushed.iter().filter(move |(of, _)| *of == g).map(|(_, line)| *line));
            for Closed { batch, bytes, .. } in batches(limits(batch_records, batch_bytes), shape, &pushed) {
                prop_assert!(batch.records.len() <= batch_records);
                prop_assert!(bytes <= batch_bytes || batch.records.iter().map(|r| r.count).sum::<u32>() == 1);
                for (i, record) in batch.records.iter().enumerate() {
                    let data = batch.record(i);
                    let held: Vec<_> = data.split_inclusive(|b| *b == b'\n').collect();
                    prop_assert_eq!(held.len(), record.count as usize);
                    prop_assert!(record.count == 1 || (aggregate && data.len() <= max_bytes && record.count <= max_records));
                    prop_assert_eq!(record.span.len() + u64::from(record.count), data.len() as u64);
                    let file = usize::from(batch.files[record.file as usize].generation == Generation(2));
                    for line in held {
                        prop_assert_eq!(Some(&line[..line.len() - 1]), left[file].next());
                    }
                }
            }
            prop_assert!(left.iter_mut().all(|left| left.next().is_none()));
        }
    }
}
