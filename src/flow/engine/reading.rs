//! Reads a chunk of a file, and has it cut into the open batch.

use super::Engine;
use crate::{
    checkpoint::storage::Storage,
    flow::cutter::{HEAD, tail},
    model::{Mark, Now, Span},
    record::split::{self, Token},
    source::{
        fs::Fs,
        tail::{Chunk, Consumed, Key, Read},
    },
};

impl<F: Fs, S: Storage> Engine<F, S> {
    pub(super) fn read(&mut self, now: Now) {
        let Some(key) = self.table.next_ready() else { return };
        let mut buf = std::mem::take(&mut self.buf);
        match self.table.read(key, &mut buf, now.mono) {
            Read::Chunk(chunk) => {
                self.learn_header(key, &chunk, &buf);
                let file = self.table.file_ref(key);
                let consumed = self.cutter.cut(&mut self.machine, &file, &chunk, &buf, now);
                if self.cutter.held.any_of(chunk.generation) {
                    self.cutter.held.pass(chunk.generation, consumed.to);
                }
                self.table.consumed(key, &chunk, consumed, now.mono);
            }
            Read::LongLine { chunk, len } => {
                self.learn_header(key, &chunk, &buf);
                self.long_line(key, &chunk, len, &mut buf, now);
            }
            Read::Landed { chunk, to, tail } => {
                let mark = Mark { generation: chunk.generation, end: to, tail };
                let open = self.machine.open_batch();
                open.part(chunk.generation, None);
                open.mark(mark, now.mono);
                let header_left = chunk.header_left;
                let consumed = Consumed { to, tail, left: 0, lines: false, header_left, long_line: false };
                self.table.consumed(key, &chunk, consumed, now.mono);
            }
            Read::Nothing => {}
        }
        self.buf = buf;
    }

    /// Sees to it that the file's first line is known where a step needs it: after a restart the chunk is not the first.
    fn learn_header(&mut self, key: Key, chunk: &Chunk, buf: &[u8]) {
        if !self.cutter.lacks_header(chunk.generation) {
            return;
        }
        if chunk.offset == 0 {
            let head = &buf[chunk.bytes.clone()];
            let shown = head.len().min(HEAD);
            self.cutter.learn_header(chunk, &head[..shown], chunk.end_of_file && shown == head.len());
            return;
        }
        let mut head = Vec::new();
        if let Some(end_of_file) = self.table.head(key, &mut head, HEAD) {
            self.cutter.learn_header(chunk, &head, end_of_file);
        }
    }

    /// A line longer than any buffer: its beginning is at hand, its end was found.
    fn long_line(&mut self, key: Key, chunk: &Chunk, len: u64, buf: &mut Vec<u8>, now: Now) {
        let file = self.table.file_ref(key);
        self.cutter.counters.read_bytes.add(len);
        let span = Span { start: chunk.offset, end: chunk.offset + len };
        let header_left = chunk.header_left.saturating_sub(1);
        if chunk.header_left == 0 {
            let data = &buf[chunk.bytes.clone()];
            let (keep, dropped) = match split::too_long(&self.cutter.framing, data, usize::MAX) {
                Token::TooLong { keep, .. } => (keep, true),
                Token::Record { body, .. } => (body, false),
                _ => unreachable!("a long line is truncated or dropped"),
            };
            let before = Mark { generation: chunk.generation, end: chunk.offset, tail: tail(buf, chunk.bytes.start) };
            let data = &buf[chunk.bytes.start..chunk.bytes.start + keep];
            if dropped {
                self.cutter.too_long(&mut self.machine, &file, span, data, before, now);
            } else {
                self.cutter.emit(&mut self.machine, &file, span, data, true, before, now);
            }
        }
        let print = self.table.tail_at(key, span.end, buf).unwrap_or_default();
        if header_left == 0 {
            let mark = Mark { generation: chunk.generation, end: span.end, tail: print };
            self.machine.open_batch().mark(mark, now.mono);
            if self.machine.open_batch().is_full() {
                self.machine.close_open();
            }
        }
        let consumed = Consumed { to: span.end, tail: print, left: 0, lines: false, header_left, long_line: false };
        self.table.consumed(key, chunk, consumed, now.mono);
    }
}
