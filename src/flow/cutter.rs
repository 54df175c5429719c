//! Cuts chunks into records, has them processed, and puts what becomes of them into the open batch. Knows no files
//! beyond their names. Invariant: when it returns, every byte before the mark it set is in a batch or not to be delivered.

use std::sync::Arc;

use crate::{
    flow::{landed::Held, machine::Machine, mismatch::Sample},
    model::{DeadLetter, FileRef, Generation, Mark, Now, Print, RecordId, Span},
    record::{
        ec2,
        key::Missing,
        limit,
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
    pub(super) mismatches: Sample,
    /// What the destination holds of what is still to be read.
    pub(super) held: Held,
}

/// Most bytes of a file's beginning in which a header line is looked for.
pub(super) const HEAD: usize = 64 << 10;

/// The print of the bytes of `buf` before `at`.
pub(super) fn tail(buf: &[u8], at: usize) -> Print {
    Print::of_tail(&buf[..at])
}

/// What may be done with the bytes of a chunk whose end is not in sight.
fn flush_of(chunk: &Chunk) -> Flush {
    match (chunk.flush_all, chunk.flush_lines) {
        (true, _) => Flush::Everything,
        (false, true) => Flush::Lines,
        (false, false) => Flush::Nothing,
    }
}

impl Cutter {
    /// Whether the first line of this file is needed and not known.
    pub(super) fn lacks_header(&self, generation: Generation) -> bool {
        self.pipeline.lacks_header(generation)
    }

    /// Learns the first line of a file, the lines to skip aside, from its first bytes: at most [`HEAD`].
    pub(super) fn learn_header(&mut self, chunk: &Chunk, head: &[u8], end_of_file: bool) {
        self.learn(chunk.generation, flush_of(chunk), head, end_of_file);
    }

    /// The same, of a file of which no chunk is at hand.
    pub(super) fn learn_header_of(&mut self, generation: Generation, head: &[u8], end_of_file: bool) {
        self.learn(generation, Flush::Nothing, head, end_of_file);
    }

    fn learn(&mut self, generation: Generation, flush: Flush, head: &[u8], end_of_file: bool) {
        let mut header_left = self.framing.skip_header_lines;
        let mut pos = 0;
        loop {
            let at = At { start_of_file: pos == 0, end_of_file, flush };
            let next = if header_left > 0 { split::next_line } else { split::next };
            pos += match next(&self.framing, &head[pos..], at) {
                Token::Record { len, .. } | Token::TooLong { len, .. } if header_left > 0 => {
                    header_left -= 1;
                    len
                }
                Token::Record { len, truncated: false, .. } => {
                    let record = &head[pos..pos + len];
                    let len = memchr::memchr(b'\n', record).map_or(len, |newline| newline + 1);
                    let span = Span { start: pos as u64, end: (pos + len) as u64 };
                    self.pipeline.learn_header(generation, span, &record[..len]);
                    return;
                }
                Token::ByteOrderMark { len } | Token::Hole { len } => len,
                Token::Record { .. } | Token::TooLong { .. } | Token::LongLine | Token::Incomplete => return,
            }
        }
    }

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
        let flush = flush_of(chunk);
        let mut pos = start;
        let mut header_left = chunk.header_left;
        let mut long_line = false;
        loop {
            let at = At { start_of_file: offset(pos) == 0, end_of_file: chunk.end_of_file, flush };
            let next = if header_left > 0 { split::next_line } else { split::next };
            let token = next(&self.framing, &buf[pos..end], at);
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
        let context =
            Context { host: &self.host, ec2: &self.ec2, path: &file.path, generation: file.generation, span, now };
        let outcome = self.pipeline.run(&context, data, open.data());
        let text = matches!(outcome, Outcome::EmitRaw(_)) || self.pipeline.emits_text();
        let dead = match outcome {
            Outcome::Emit => None,
            Outcome::Header => return false,
            Outcome::EmitRaw(why) => {
                self.counters.mismatched.add(1);
                self.mismatches.take(file, span, &why, data, now.mono);
                None
            }
            Outcome::Drop(why) => {
                self.counters.mismatched.add(1);
                self.counters.dropped.add(1);
                self.mismatches.take(file, span, &why, data, now.mono);
                return false;
            }
            Outcome::Skip => {
                self.counters.skipped.add(1);
                return false;
            }
            Outcome::OverLimit => {
                self.counters.over_limit.add(1);
                // Read again, it might pass.
                open.part(file.generation, None);
                return false;
            }
            Outcome::DeadLetter { reason } => {
                self.counters.mismatched.add(1);
                self.mismatches.take(file, span, &reason, data, now.mono);
                Some(reason)
            }
        };
        // Whatever a truncated record is sent as, its line end was cut off with the rest.
        if text && truncated && dead.is_none() && !open.data().ends_with(&self.framing.terminator) {
            open.data().extend_from_slice(&self.framing.terminator);
        }
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
            Some(format!("record of {size} bytes, and the destination takes at most {most}"))
        });
        let id = RecordId { generation: file.generation, span };
        let key = match dead {
            Some(reason) => Err(Missing::DeadLetter { reason }),
            None => self.pipeline.key(id, &open.data()[from..]),
        };
        match key {
            Ok(Some(key)) if self.held.any_of(id.generation) && self.held.holds(id.generation, span, key) => {
                open.part(id.generation, Some(key));
            }
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

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{
        deliver::Shape,
        flow::{Limits, machine::Settings},
        model::{Batch, Generation},
        record::{
            java::{Converter, Csv, Delimiter, Layout},
            parse::{Format, Refine},
            pipeline::{OnMismatch, Step},
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
        let settings = Settings {
            limits,
            poll_interval,
            max_batches: 4,
            shape: Shape::default(),
            exactly_once: false,
            once: false,
            hints: true,
        };
        let mut machine = Machine::new(settings, now.mono);
        let counters = Arc::new(FlowCounters::default());
        let mut cutter = Cutter {
            framing: framing(),
            pipeline,
            max_record_bytes: MOST,
            host: String::new(),
            ec2: ec2::Shared::default(),
            counters: Arc::clone(&counters),
            mismatches: Sample::new(String::new()),
            held: Held::default(),
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
        Pipeline::new(vec![Step::Parse {
            format: Format::Json,
            refine: Refine::default(),
            on_mismatch: OnMismatch::KeepRaw,
        }])
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
