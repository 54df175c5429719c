//! Records to standard output, one a line. Knows no retry.
//! Invariant: records come out whole and in the order of their batches, for one batch is under way at a time.

use super::{
    courier::Sink,
    errors::{Class, Failure},
    job::Reply,
};
use crate::model::Batch;
use std::io::{self, Write};

/// The `stdout` destination.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdoutSink;

impl Sink for StdoutSink {
    fn max_in_flight(&self) -> usize {
        1
    }

    async fn send(&self, batch: &Batch, which: &[u32]) -> Reply {
        let text = lines(batch, which);
        // A reader that does not read must not stop the other flows.
        let written = tokio::task::spawn_blocking(move || {
            let mut out = io::stdout().lock();
            out.write_all(&text).and_then(|()| out.flush())
        });
        match written.await {
            Ok(Ok(())) => Reply::accepted(),
            Ok(Err(e)) => Reply::Failed(Failure::new(Class::Hold, "stdout", e.to_string())),
            Err(e) => Reply::Failed(Failure::new(Class::Again, "stdout", e.to_string())),
        }
    }
}

fn lines(batch: &Batch, which: &[u32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.data.len() + which.len());
    for &index in which {
        let record = batch.record(index as usize);
        out.extend_from_slice(record);
        if record.last() != Some(&b'\n') {
            out.push(b'\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::testing::batch_of;

    #[test]
    fn every_record_ends_its_line() {
        let batch = batch_of(0, &[b"a\n", b"b", b"", b"skipped", b"c"]);
        assert_eq!(lines(&batch, &[0, 1, 2, 4]), b"a\nb\n\nc\n");
    }
}
