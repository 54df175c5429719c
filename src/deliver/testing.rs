//! Batches for the tests of this folder.

use super::errors::{Class, Failure};
use crate::model::{Batch, BatchId, FileRef, Generation, Keys, Part, RecordRef, Span};
use std::path::Path;

/// A batch of records `r0\n`, `r1\n`, ... of one file.
pub(crate) fn batch(id: u64, records: usize) -> Batch {
    let lines: Vec<String> = (0..records).map(|i| format!("r{i}\n")).collect();
    batch_of(id, &lines.iter().map(String::as_bytes).collect::<Vec<_>>())
}

/// A batch of these records, end to end in one file, with random keys.
pub(crate) fn batch_of(id: u64, records: &[&[u8]]) -> Batch {
    let offset = |n: usize| u32::try_from(n).unwrap();
    let (mut refs, mut data) = (Vec::new(), Vec::new());
    for record in records {
        let from = data.len();
        data.extend_from_slice(record);
        let span = Span { start: from as u64, end: data.len() as u64 };
        let size = offset(record.len()) + 10;
        let (from, to, part) = (offset(from), offset(data.len()), offset(refs.len()));
        refs.push(RecordRef { from, to, file: 0, span, count: 1, part, key: 0, slot: None, size });
    }
    let file = FileRef { generation: Generation(7), path: Path::new("/var/log/a.log").into() };
    let parts = refs.iter().map(|record| Part { to: record.to, key: 0 }).collect();
    let (files, keys, dead) = (vec![file], Keys::default(), Vec::new());
    Batch { id: BatchId(id), files, records: refs, parts, keys, data, dead }
}

/// A failure of this class.
pub(crate) fn failure(class: Class) -> Failure {
    Failure::new(class, "Code", "words")
}
