//! Reading a chunk of a file, having made sure that it is still the file it was: the bytes before the offset are read
//! again along with it and compared. Knows no records; the caller says how far it got.

use std::{io, ops::Range, time::Duration, time::Instant};

use super::{Entry, FINISHED_AFTER, Framing, Fs, Key, Notice, Pending, Table};
use crate::{
    model::{Codec, Generation, Print},
    source::{fs::File, handle::Handle},
};

/// Bytes of a file that are read in one turn, unless told otherwise.
pub const CHUNK: usize = 256 << 10;
/// A file that cannot be opened is tried again after this time.
const RETRY_REFUSED: Duration = Duration::from_secs(5);

/// Bytes to be cut into records: `buf[bytes]` begin at `offset`.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub generation: Generation,
    pub offset: u64,
    pub bytes: Range<usize>,
    pub end_of_file: bool,
    /// Nothing more came for long: complete lines that wait for a start line may go.
    pub flush_lines: bool,
    /// Nothing more is expected: all that is left may go.
    pub flush_all: bool,
    pub header_left: u32,
}

/// What reading brought.
#[derive(Clone, Debug)]
pub enum Read {
    Chunk(Chunk),
    /// A line longer than a buffer, its end found: the first of its bytes, and its whole length.
    LongLine {
        chunk: Chunk,
        len: u64,
    },
    /// The destination holds what comes next: nothing of it is to be sent. The chunk is empty.
    Landed {
        chunk: Chunk,
        to: u64,
        tail: Print,
    },
    /// Nothing this time: the file changed its identity, cannot be read, or has no end of its long line yet.
    Nothing,
}

/// How far the caller got with a chunk.
#[derive(Clone, Copy, Debug)]
pub struct Consumed {
    /// New read offset: the end of the last record (or of what was skipped).
    pub to: u64,
    pub tail: Print,
    /// Bytes of the chunk that are left.
    pub left: usize,
    /// What is left holds complete lines.
    pub lines: bool,
    pub header_left: u32,
    /// What is left begins with a line longer than the buffer.
    pub long_line: bool,
}

impl<F: Fs> Table<F> {
    /// Reads the next bytes of a file into `buf`.
    pub fn read(&mut self, key: Key, buf: &mut Vec<u8>, now: Instant) -> Read {
        if !self.ensure_open(key, now) {
            return Read::Nothing;
        }
        if let Some(from) = self.entry(key).long_line {
            return self.scan_long_line(key, buf, from, now);
        }
        match self.read_checked(key, buf, now) {
            Ok(Some(chunk)) => self.ashore(key, chunk, buf, now),
            Ok(None) => {
                self.restarted(key, now);
                Read::Nothing
            }
            Err(e) => {
                self.refuse(key, &e, now);
                Read::Nothing
            }
        }
    }

    /// Reads from the offset on, after comparing what stands before it. `None`: this is not the file it was.
    fn read_checked(&mut self, key: Key, buf: &mut Vec<u8>, now: Instant) -> io::Result<Option<Chunk>> {
        let Framing { max_record, chunk, partial_line_timeout: patience, .. } = self.framing;
        let e = self.entry_mut(key);
        let before = usize::from(e.tail.len);
        // Never less than what tells the file by its beginning.
        let want = e.want.clamp(chunk, max_record.max(chunk) + 1).max(usize::from(e.head.len));
        let got = read_into(e, buf, e.read - before as u64, before + want)?;
        if got.0 < before || !e.tail.begins(&buf[..before]) {
            return Ok(None);
        }
        if e.read == before as u64 {
            let short = got.0 < usize::from(e.head.len);
            if if short { got.1 } else { !e.head.begins(&buf[..got.0]) } {
                return Ok(None);
            }
            let head = Print::of_head(&buf[..got.0]);
            if head.len > e.head.len {
                e.head = head;
                self.bound(key);
            }
        }
        let e = self.entry_mut(key);
        e.verify = false;
        let packed = e.codec != Codec::Plain;
        // A record that the destination holds begins where one of the last run ended.
        let shore = e.shores.next(e.read).filter(|shore| *shore < e.read - before as u64 + got.0 as u64);
        let got = match shore {
            Some(shore) => (before + usize::try_from(shore - e.read).expect("within what was read"), false),
            None => got,
        };
        let limited = shore.is_some() || e.until.is_some_and(|until| e.read - before as u64 + got.0 as u64 >= until);
        let end_of_file = got.1 || limited;
        let waited = e.pending.since.filter(|_| e.pending.flush).map(|since| now.saturating_duration_since(since));
        let given_up = waited.is_some_and(|w| e.rotated || e.lost.is_some() || patience.is_some_and(|p| w >= p));
        let flush_all = end_of_file && (packed || limited || given_up);
        Ok(Some(Chunk {
            generation: e.generation,
            offset: e.read,
            bytes: before..got.0,
            end_of_file,
            flush_lines: flush_all || e.pending.flush,
            flush_all,
            header_left: e.header_left,
        }))
    }

    /// The caller took records out of a chunk: moves the offset and plans what comes next.
    pub fn consumed(&mut self, key: Key, chunk: &Chunk, consumed: Consumed, now: Instant) {
        let e = self.entry_mut(key);
        assert!(consumed.to >= e.read, "an offset never moves back");
        let moved = consumed.to > e.read;
        let at_shore = e.shores.next(chunk.offset) == Some(chunk.offset + chunk.bytes.len() as u64);
        (e.read, e.tail, e.header_left) = (consumed.to, consumed.tail, consumed.header_left);
        e.size = e.size.max(if e.codec == Codec::Plain { chunk.offset + chunk.bytes.len() as u64 } else { 0 });
        if consumed.long_line {
            e.long_line = Some(consumed.to);
        }
        e.want = if moved { 0 } else { chunk.bytes.len() * 2 };
        if !chunk.end_of_file || consumed.long_line || at_shore {
            e.pending = Pending { timer: e.pending.timer, ..Default::default() };
            return self.queue(key);
        }
        self.at_end(key, chunk, consumed, now);
    }

    fn at_end(&mut self, key: Key, chunk: &Chunk, consumed: Consumed, now: Instant) {
        let e = self.entry_mut(key);
        if consumed.left != e.pending.len || consumed.to > chunk.offset || e.pending.since.is_none() {
            e.pending.since = Some(now);
        }
        e.pending.len = consumed.left;
        e.pending.lines = consumed.lines;
        e.pending.flushed = if chunk.flush_all { consumed.left } else { 0 };
        e.pending.flush = false;
        let quiet = e.pending.since.is_some_and(|since| now >= since + FINISHED_AFTER);
        if e.codec != Codec::Plain && consumed.left == 0 {
            e.done = true;
            self.close(key);
            self.bound(key);
            return;
        }
        if e.lost.is_some() && consumed.left == 0 {
            if self.orphans_only {
                // Whoever still writes to it must not keep the flow from making way.
                self.set_timer(key, None);
            } else if quiet {
                self.drained(key);
            } else {
                self.set_timer(key, Some(now + FINISHED_AFTER));
            }
            return;
        }
        self.arm(key, now);
    }

    /// Looks for the end of a line that no buffer holds, a chunk at a time, without keeping the bytes.
    fn scan_long_line(&mut self, key: Key, buf: &mut Vec<u8>, from: u64, now: Instant) -> Read {
        let chunk = self.framing.chunk;
        let e = self.entry_mut(key);
        let (n, at_end) = match read_into(e, buf, from, chunk) {
            Ok(got) => got,
            Err(error) => {
                self.refuse(key, &error, now);
                return Read::Nothing;
            }
        };
        let limited = e.until.is_some_and(|until| from + n as u64 >= until);
        let last = (at_end || limited)
            && (limited || e.codec != Codec::Plain || (e.pending.flush && (e.rotated || e.lost.is_some())));
        let end = memchr::memchr(b'\n', &buf[..n]).map(|i| from + i as u64 + 1).or(last.then_some(from + n as u64));
        let Some(end) = end else {
            e.long_line = Some(from + n as u64);
            if at_end {
                if n > 0 || e.pending.since.is_none() {
                    e.pending.since = Some(now);
                }
                e.pending.len = usize::try_from(from + n as u64 - e.read).unwrap_or(usize::MAX);
                e.pending.flush = false;
                self.arm(key, now);
            } else {
                self.queue(key);
            }
            return Read::Nothing;
        };
        let want = self.framing.max_record + 1;
        let e = self.entry_mut(key);
        (e.long_line, e.want) = (None, want);
        match self.read_checked(key, buf, now) {
            Ok(Some(chunk)) => {
                let len = end - chunk.offset;
                Read::LongLine { chunk: Chunk { end_of_file: false, ..chunk }, len }
            }
            Ok(None) => {
                self.restarted(key, now);
                Read::Nothing
            }
            Err(error) => {
                self.refuse(key, &error, now);
                Read::Nothing
            }
        }
    }

    /// The first bytes of a file that is being read, at most `most`, into `head`; and whether they are all of it. `None`: they
    /// cannot be read.
    pub fn head(&mut self, key: Key, head: &mut Vec<u8>, most: usize) -> Option<bool> {
        let (len, end_of_file) = read_into(self.entry_mut(key), head, 0, most).ok()?;
        head.truncate(len);
        Some(end_of_file || len < most)
    }

    /// The print of the bytes before `end`, read anew: for the end of a long line.
    pub fn tail_at(&mut self, key: Key, end: u64, buf: &mut Vec<u8>) -> Option<Print> {
        let len = end.min(Print::MAX as u64);
        let n = usize::try_from(len).expect("at most MAX");
        let got = read_into(self.entry_mut(key), buf, end - len, n).ok()?;
        (got.0 == n).then(|| Print::of_tail(&buf[..n]))
    }

    /// Opens a file if it is not, and makes sure that it is the one that was read before.
    fn ensure_open(&mut self, key: Key, now: Instant) -> bool {
        let e = self.entry(key);
        if e.done {
            return false;
        }
        if e.handle.is_some() {
            return true;
        }
        if e.lost.is_some() {
            return false;
        }
        let opened = self.fs.open(&e.path).and_then(|file| file.stat().map(|stat| (file, stat)));
        match opened {
            Ok((file, stat)) if stat.id == e.id => {
                let e = self.entry_mut(key);
                let mut handle = Handle::new(file, e.codec);
                let mut head = [0; Print::MAX];
                let head = &mut head[..usize::from(e.head.len)];
                let same = match handle.read_at(head, 0) {
                    Ok(got) => e.head.begins(&head[..got.len]),
                    Err(error) => {
                        self.refuse(key, &error, now);
                        return false;
                    }
                };
                e.handle = Some(handle);
                self.opened(key);
                if !same {
                    self.restarted(key, now);
                }
                same
            }
            Ok(_) => {
                self.relook(key);
                false
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.relook(key);
                false
            }
            Err(error) => {
                self.refuse(key, &error, now);
                false
            }
        }
    }

    /// The name leads elsewhere by now: only a look at the folder tells where the file is.
    pub(super) fn relook(&mut self, key: Key) {
        let folder = self.folder_of(key);
        self.discover.invalidate(&folder);
        self.entry_mut(key).verify = true;
        self.heat(key);
        self.relook = true;
    }

    /// A file that cannot be read is kept and tried again; it stops nothing else.
    pub(super) fn refuse(&mut self, key: Key, error: &io::Error, now: Instant) {
        self.close(key);
        let e = self.entry_mut(key);
        let path = std::sync::Arc::clone(&e.path);
        let offset = e.read;
        e.refused = true;
        self.set_timer(key, Some(now + RETRY_REFUSED));
        if self.complaints.insert(path.to_path_buf()) {
            tracing::warn!(path = %path.display(), offset, %error, "cannot read this file; its place is kept and it is tried again");
        }
    }

    /// Whether every file could be read: `run --once` must not claim success otherwise.
    pub fn refused(&self) -> usize {
        self.entries.iter().flatten().filter(|e| e.refused).count() + self.again.len() + self.later.len()
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }
}

/// Reads `len` bytes at `offset` into `buf` (resized to what came), not beyond `until`. (bytes, reached the end).
pub(super) fn read_into<H>(e: &mut Entry<H>, buf: &mut Vec<u8>, offset: u64, len: usize) -> io::Result<(usize, bool)>
where
    H: File + Send + Sync + 'static,
{
    let allowed = e.until.map_or(len, |until| usize::try_from(until.saturating_sub(offset)).unwrap_or(len).min(len));
    if buf.len() < allowed {
        buf.resize(allowed, 0);
    }
    let handle = e.handle.as_mut().expect("the caller opened the file");
    let got = handle.read_at(&mut buf[..allowed], offset)?;
    Ok((got.len, got.end_of_file))
}
