//! Whether what the destination was found to hold is what a file holds now: the machine was started anew, and the file may
//! have lost bytes that were sent, and got others in their place. Knows no files; the bytes are given.
//! Invariant: a record passes only if its span, cut and processed now, gives what it holds.

use crate::{
    deliver::Shape,
    flow::{
        Limits,
        cutter::Cutter,
        landed::Held,
        machine::{Machine, Settings},
        mismatch::Sample,
    },
    model::{Batch, FileRef, Landed, Now, Span, content_hash},
    source::tail::Chunk,
};

/// Records that overlap, which are compared in one go: one request's at most, if they are of slots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cluster {
    pub(super) span: Span,
    pub(super) records: Vec<Landed>,
}

/// Bytes of a cluster beyond which nothing is compared: more than any request holds, unless most lines are filtered out.
pub(super) const MOST: u64 = 64 << 20;

/// Records by where they lie, those that overlap together.
pub(super) fn clusters(landed: &[Landed]) -> Vec<Cluster> {
    let mut sorted = landed.to_vec();
    sorted.sort_unstable_by_key(|landed| (landed.id.span.start, landed.id.span.end));
    let mut clusters: Vec<Cluster> = Vec::new();
    for landed in sorted {
        let span = landed.id.span;
        match clusters.last_mut().filter(|last| span.start < last.span.end) {
            Some(last) => {
                last.span.end = last.span.end.max(span.end);
                last.records.push(landed);
            }
            None => clusters.push(Cluster { span, records: vec![landed] }),
        }
    }
    clusters
}

impl Cutter {
    /// One for comparisons: what it cuts is not counted, for it is not read. Costly to make, so one for many clusters.
    pub(super) fn for_comparison(&self) -> Self {
        Self {
            framing: self.framing.clone(),
            pipeline: self.pipeline.clone().without_rates(),
            max_record_bytes: self.max_record_bytes,
            host: self.host.clone(),
            ec2: self.ec2.clone(),
            counters: std::sync::Arc::default(),
            mismatches: Sample::new(String::new()),
            held: Held::default(),
        }
    }

    /// Which of a cluster's records a file holds now, given its bytes at their place.
    pub(super) fn compare(
        &mut self,
        cluster: &Cluster,
        file: &FileRef,
        buf: &[u8],
        shape: Shape,
        now: Now,
    ) -> Vec<Landed> {
        let mut machine = Machine::new(unlimited(shape), now.mono);
        let chunk = Chunk {
            generation: file.generation,
            offset: cluster.span.start,
            bytes: 0..buf.len(),
            end_of_file: true,
            flush_lines: true,
            flush_all: true,
            header_left: 0,
        };
        self.cut(&mut machine, file, &chunk, buf, now);
        let batch = machine.open_batch().close().batch;
        let end = cluster.span.start + buf.len() as u64;
        let is_held = |l: &&Landed| l.id.span.end <= end && content_hash(&of(l, &batch)) == l.hash;
        cluster.records.iter().filter(is_held).copied().collect()
    }
}

/// What a record would hold now: all lines of its slot, or all lines, in its span.
fn of(landed: &Landed, batch: &Batch) -> Vec<u8> {
    let span = landed.id.span;
    let lines = batch.records.iter().enumerate().filter(|(_, line)| {
        let within = span.start <= line.span.start && line.span.end <= span.end;
        within && (landed.slot.is_none() || line.slot == landed.slot)
    });
    lines.flat_map(|(index, _)| batch.record(index)).copied().collect()
}

/// One batch takes it all, each line a record.
fn unlimited(shape: Shape) -> Settings {
    let batch_age = std::time::Duration::MAX / 4;
    let limits = Limits { batch_records: usize::MAX / 2, batch_bytes: usize::MAX / 2, batch_age, buffer: usize::MAX };
    let shape = Shape { aggregate: None, ..shape };
    let poll_interval = std::time::Duration::from_secs(1);
    Settings { limits, poll_interval, max_batches: 1, shape, exactly_once: false, once: true, hints: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Generation, RecordId};

    #[test]
    fn records_that_overlap_are_compared_together_and_others_apart() {
        let landed = |start, end| {
            let id = RecordId { generation: Generation(1), span: Span { start, end } };
            Landed { id, slot: None, hash: 0 }
        };
        let found = clusters(&[landed(50, 60), landed(0, 10), landed(10, 30), landed(25, 40)]);
        let spans: Vec<_> = found.iter().map(|c| (c.span.start, c.span.end, c.records.len())).collect();
        assert_eq!(spans, [(0, 10, 1), (10, 40, 2), (50, 60, 1)]);
    }
}
