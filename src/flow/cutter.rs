//! Cuts chunks into records, has them processed, and puts what becomes of them into the open batch. Knows no files
//! beyond their names. Invariant: when it returns, every byte before the mark it set is in a batch or not to be delivered.

use std::sync::Arc;

use crate::{
    flow::machine::Machine,
    model::{DeadLetter, FileRef, Mark, Now, Print, RecordId, Span},
    record::{
        ec2,
        key::Missing,
        pipeline::{Context, Outcome, Pipeline},
        split::{self, At, Flush, Token},
    },
    source::tail::{Chunk, Consumed},
    telemetry::counters::FlowCounters,
};

/// Framing and processing, and what they need to know.
pub(super) struct Cutter {
    pub(super) framing: split::Options,
    pub(super) pipeline: Pipeline,
    pub(super) max_record_bytes: usize,
    pub(super) host: String,
    pub(super) ec2: ec2::Shared,
    pub(super) counters: Arc<FlowCounters>,
}

/// The print of the bytes of `buf` before `at`.
pub(super) fn tail(buf: &[u8], at: usize) -> Print {
    Print::of_tail(&buf[..at])
}

impl Cutter {
    /// Cuts a chunk into records and puts what becomes of them into the open batch.
    pub(super) fn cut(
        &mut self,
        machine: &mut Machine,
        file: &FileRef,
        chunk: &Chunk,
        buf: &[u8],
        now: Now,
    ) -> Consumed {
        let (start, end) = (chunk.bytes.start, chunk.bytes.end);
        let offset = |pos: usize| chunk.offset + (pos - start) as u64;
        let flush = match (chunk.flush_all, chunk.flush_lines) {
            (true, _) => Flush::Everything,
            (false, true) => Flush::Lines,
            (false, false) => Flush::Nothing,
        };
        let mut pos = start;
        let mut header_left = chunk.header_left;
        let mut long_line = false;
        loop {
            let at = At { start_of_file: offset(pos) == 0, end_of_file: chunk.end_of_file, flush };
            let token = split::next(&self.framing, &buf[pos..end], at);
            let before = |pos| Mark { generation: chunk.generation, end: offset(pos), tail: tail(buf, pos) };
            let len = match token {
                Token::Record { len, .. } | Token::TooLong { len, .. } if header_left > 0 => {
                    header_left -= 1;
                    len
                }
                Token::Record { len, body, truncated } => {
                    let span = Span { start: offset(pos), end: offset(pos + len) };
                    let data = &buf[pos..pos + body];
                    if self.emit_lazy(machine, file, span, data, truncated, now) {
                        machine.open_batch().mark(before(pos), now.mono);
                        machine.close_without_last(now.mono);
                    }
                    if machine.open_batch().is_full() {
                        machine.open_batch().mark(before(pos + len), now.mono);
                        machine.close_open();
                    }
                    len
                }
                Token::TooLong { len, keep } => {
                    let span = Span { start: offset(pos), end: offset(pos + len) };
                    self.too_long(machine, file, span, &buf[pos..pos + keep], before(pos), now);
                    len
                }
                Token::ByteOrderMark { len } => len,
                Token::Hole { len } => {
                    self.counters.nul_bytes_skipped.add(len as u64);
                    len
                }
                Token::LongLine => {
                    long_line = true;
                    break;
                }
                Token::Incomplete => break,
            };
            pos += len;
        }
        self.counters.read_bytes.add((pos - start) as u64);
        if pos > start && header_left == 0 {
            machine
                .open_batch()
                .mark(Mark { generation: chunk.generation, end: offset(pos), tail: tail(buf, pos) }, now.mono);
        }
        let left = end - pos;
        let lines = self.framing.multiline.is_some() && memchr::memchr(b'\n', &buf[pos..end]).is_some();
        Consumed { to: offset(pos), tail: tail(buf, pos), left, lines, header_left, long_line }
    }

    /// One record into the open batch; closes the batch where it must.
    #[expect(clippy::too_many_arguments, reason = "one record and where it stands")]
    pub(super) fn emit(
        &mut self,
        machine: &mut Machine,
        file: &FileRef,
        span: Span,
        data: &[u8],
        truncated: bool,
        before: Mark,
        now: Now,
    ) {
        if machine.open_batch().is_full() {
            machine.open_batch().mark(before, now.mono);
            machine.close_open();
        }
        if self.emit_lazy(machine, file, span, data, truncated, now) {
            machine.open_batch().mark(before, now.mono);
            machine.close_without_last(now.mono);
        }
    }

    /// One record into the open batch. True: the batch is over its limits by this record.
    fn emit_lazy(
        &mut self,
        machine: &mut Machine,
        file: &FileRef,
        span: Span,
        data: &[u8],
        truncated: bool,
        now: Now,
    ) -> bool {
        self.counters.read_records.add(1);
        if truncated {
            self.counters.truncated.add(1);
        }
        let open = machine.open_batch();
        let from = open.data().len();
        let context =
            Context { host: &self.host, ec2: &self.ec2, path: &file.path, generation: file.generation, span, now };
        let outcome = self.pipeline.run(&context, data, open.data());
        let dead = match outcome {
            Outcome::Emit => None,
            Outcome::EmitRaw => {
                self.counters.mismatched.add(1);
                None
            }
            Outcome::Drop => {
                self.counters.mismatched.add(1);
                self.counters.dropped.add(1);
                return false;
            }
            Outcome::Skip => {
                self.counters.skipped.add(1);
                return false;
            }
            Outcome::OverLimit => {
                self.counters.over_limit.add(1);
                return false;
            }
            Outcome::DeadLetter { reason } => {
                self.counters.mismatched.add(1);
                Some(reason)
            }
        };
        // Whatever a truncated record is sent as, its line end was cut off with the rest.
        if truncated && dead.is_none() && !open.data().ends_with(b"\n") {
            open.data().push(b'\n');
        }
        let size = open.data().len() - from;
        let dead = dead.or_else(|| {
            (size > self.max_record_bytes)
                .then(|| format!("record of {size} bytes, and the destination takes at most {}", self.max_record_bytes))
        });
        let id = RecordId { generation: file.generation, span };
        let key = match dead {
            Some(reason) => Err(Missing::DeadLetter { reason }),
            None => self.pipeline.key(id, &open.data()[from..]),
        };
        match key {
            Ok(key) => {
                open.push(file, span, from, key, now.mono);
                return open.is_over();
            }
            Err(Missing::Drop) => self.counters.dropped.add(1),
            Err(Missing::DeadLetter { reason }) => {
                let dead = DeadLetter { file: file.clone(), span, reason, data: data.to_vec() };
                open.push_dead(dead, now.mono);
            }
        }
        open.data().truncate(from);
        false
    }

    pub(super) fn too_long(
        &mut self,
        machine: &mut Machine,
        file: &FileRef,
        span: Span,
        data: &[u8],
        before: Mark,
        now: Now,
    ) {
        self.counters.read_records.add(1);
        let open = machine.open_batch();
        if open.is_full() {
            open.mark(before, now.mono);
            machine.close_open();
        }
        let reason =
            format!("line of {} bytes, longer than max_record ({} bytes)", span.len(), self.framing.max_record);
        let dead = DeadLetter { file: file.clone(), span, reason, data: data.to_vec() };
        machine.open_batch().push_dead(dead, now.mono);
    }
}
