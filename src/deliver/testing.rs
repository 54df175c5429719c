//! Batches for the tests of this folder.

use super::errors::{Class, Failure};
use crate::model::{Batch, BatchId, FileRef, Generation, RecordRef, Span};
use std::path::Path;

/// A batch of records `r0\n`, `r1\n`, ... of one file.
pub(crate) fn batch(id: u64, records: usize) -> Batch {
    let lines: Vec<String> = (0..records).map(|i| format!("r{i}\n")).collect();
    batch_of(id, &lines.iter().map(String::as_bytes).collect::<Vec<_>>())
}

/// A batch of these records, end to end in one file.
pub(crate) fn batch_of(id: u64, records: &[&[u8]]) -> Batch {
    let file = FileRef { generation: Generation(7), path: Path::new("/var/log/a.log").into() };
    let mut batch =
        Batch { id: BatchId(id), files: vec![file], records: Vec::new(), data: Vec::new(), dead: Vec::new() };
    for record in records {
        let from = u32::try_from(batch.data.len()).unwrap();
        batch.data.extend_from_slice(record);
        let to = u32::try_from(batch.data.len()).unwrap();
        let span = Span { start: u64::from(from), end: u64::from(to) };
        batch.records.push(RecordRef { from, to, file: 0, span, count: 1 });
    }
    batch
}

/// A failure of this class.
pub(crate) fn failure(class: Class) -> Failure {
    Failure::new(class, "Code", "words")
}
