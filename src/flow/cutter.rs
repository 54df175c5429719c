//! Cuts chunks into records, has them processed, and puts what becomes of them into the open batch. Knows no files
//! beyond their names. Invariant: when it returns, every byte before the mark it set is in a batch or not to be delivered.

use std::sync::Arc;

use crate::{
    flow::machine::Machine,
    model::{DeadLetter, FileRef, Mark, Now, Print, Span},
    record::{
        ec2, limit,
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
                Token::Record { len, truncated: false, .. } if self.framing.is_footer(&buf[pos..pos + len]) => {
                    self.counters.read_records.add(1);
                    self.counters.dropped.add(1);
                    end - pos
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
        let outcome = if self.pipeline.is_raw() {
            open.data().extend_from_slice(data);
            if truncated {
                open.data().extend_from_slice(&self.framing.terminator);
            }
            Outcome::Emit
        } else {
            let context =
                Context { host: &self.host, ec2: &self.ec2, path: &file.path, generation: file.generation, span, now };
            self.pipeline.run(&context, data, open.data())
        };
        let text = outcome == Outcome::EmitRaw || self.pipeline.emits_text();
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
            Outcome::DeadLetter { reason } => {
                self.counters.mismatched.add(1);
                Some(reason)
            }
        };
        let size = open.data().len() - from;
        let most = self.max_record_bytes;
        let dead = dead.or_else(|| {
            if size <= most {
                return None;
            }
            if text && limit::cut(open.data(), from, most, &self.framing.terminator) {
                self.counters.truncated.add(u64::from(!truncated));
                return None;
            }
            open.data().truncate(from);
            Some(format!("record of {size} bytes, and the destination takes at most {most}"))
        });
        if let Some(reason) = dead {
            open.push_dead(DeadLetter { file: file.clone(), span, reason, data: data.to_vec() }, now.mono);
            return false;
        }
        open.push(file, span, from, now.mono);
        open.is_over()
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

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{
        flow::{Limits, machine::Settings},
        model::{Batch, Generation},
        record::{
            java::{Converter, Csv, Delimiter, Layout},
            pipeline::{Format, OnMismatch, Step},
            regex::Regex,
            split::{Options, Oversize},
        },
    };

    /// What the destination takes.
    const MOST: usize = 16;

    fn framing() -> Options {
        Options {
            skip_header_lines: 0,
            multiline: None,
            max_record: 64,
            oversize: Oversize::Truncate,
            terminator: b"~\n".to_vec(),
            footer: Some(Regex::new(r"\AEOF\z").expect("a pattern")),
            partial_line_timeout: None,
        }
    }

    /// Cuts a whole file, and gives what becomes of it with the counters.
    fn cut(pipeline: Pipeline, text: &str) -> (Batch, Consumed, Arc<FlowCounters>) {
        let now = Now { mono: Instant::now(), wall: 0 };
        let limits = Limits { batch_records: 100, batch_bytes: 4096, batch_age: Duration::ZERO, buffer: 1 << 20 };
        let poll_interval = Duration::from_secs(1);
        let settings = Settings { limits, poll_interval, max_batches: 4, record_overhead: 0, once: false, hints: true };
        let mut machine = Machine::new(settings, now.mono);
        let counters = Arc::new(FlowCounters::default());
        let mut cutter = Cutter {
            framing: framing(),
            pipeline,
            max_record_bytes: MOST,
            host: String::new(),
            ec2: ec2::Shared::default(),
            counters: Arc::clone(&counters),
        };
        let file = FileRef { generation: Generation(1), path: Arc::from(Path::new("/a.log")) };
        let chunk = Chunk {
            generation: Generation(1),
            offset: 0,
            bytes: 0..text.len(),
            end_of_file: true,
            flush_lines: false,
            flush_all: false,
            header_left: 0,
        };
        let consumed = cutter.cut(&mut machine, &file, &chunk, text.as_bytes(), now);
        (machine.open_batch().close().batch, consumed, counters)
    }

    /// The records sent, and behind a `!` the reasons of those that are not.
    fn outcome(batch: &Batch) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("no character is divided");
        let sent = batch.records.iter().map(|r| text(&batch.data[r.from as usize..r.to as usize]));
        sent.chain(batch.dead.iter().map(|dead| format!("!{}", dead.reason))).collect()
    }

    #[track_caller]
    fn check(pipeline: Pipeline, line: &str, truncated: u64, expected: &str) {
        let (batch, _, counters) = cut(pipeline, line);
        assert_eq!(outcome(&batch), [expected]);
        assert_eq!(counters.truncated.get(), truncated);
        assert_eq!(counters.read_records.get(), 1);
    }

    fn brackets() -> Pipeline {
        Pipeline::java(vec![Converter::AddBrackets])
    }

    fn parse() -> Pipeline {
        Pipeline::new(vec![Step::Parse { format: Format::Json, on_mismatch: OnMismatch::KeepRaw }])
    }

    #[test]
    fn text_that_the_destination_does_not_take_is_cut_and_counted_once() {
        check(Pipeline::default(), "éééééééééé\n", 1, "ééééééé~\n");
        check(brackets(), "0123456789abcdef\n", 1, "{0123456789abc~\n");
        check(parse(), "0123456789abcdef\n", 1, "0123456789abcd~\n");
        let long = "x".repeat(100) + "\n";
        check(Pipeline::default(), &long, 1, "xxxxxxxxxxxxxx~\n");
        check(Pipeline::default(), "0123456789abcde\n", 0, "0123456789abcde\n");
    }

    #[test]
    fn json_that_the_destination_does_not_take_goes_to_the_dead_letters_whole() {
        let refused = |size: usize| format!("!record of {size} bytes, and the destination takes at most 16");
        check(Pipeline::default(), "[1, 2, 3, 4, 5, 6]\n", 0, &refused(19));
        check(brackets(), "\"a\":\"0123456789\"\n", 0, &refused(19));
        check(parse(), "{\"a\":\"0123456789\"}\n", 0, &refused(19));
        let names = vec![Some("name".to_owned())];
        let csv = Csv::new(Some(&names), Delimiter::new(Some(",")).expect("supported"), Layout::Compact);
        check(Pipeline::java(vec![Converter::CsvToJson(csv)]), "0123456789\n", 0, &refused(22));
    }

    #[test]
    fn nothing_behind_a_footer_is_delivered() {
        let (batch, consumed, counters) = cut(Pipeline::default(), "a\nb\n EOF\r\nc\nd");
        assert_eq!(outcome(&batch), ["a\n", "b\n"]);
        assert_eq!((consumed.to, consumed.left), (13, 0));
        assert_eq!((counters.read_records.get(), counters.dropped.get()), (3, 1));
    }
}
