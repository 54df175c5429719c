//! Framing: where one record ends and the next begins. A pure function of bytes; keeps no state between calls.
//! Invariant: the tokens of a buffer are consecutive, never overlap, and each consumes at least one byte.

use std::time::Duration;

use super::{java, regex::Regex};

/// What to do with a record longer than `max_record`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Oversize {
    /// Deliver the first `max_record` bytes, cut at a character boundary; count the rest.
    Truncate,
    /// Deliver it in pieces of at most `max_record` bytes, cut at a character boundary.
    Split,
    /// Send it to the dead letters (its first `max_record` bytes and its place in the file).
    Drop,
}

/// Records of several lines: a record starts at each line that matches `start`.
#[derive(Clone, Debug)]
pub struct Multiline {
    pub start: Start,
    /// How long the last record of a file may wait for the line that ends it. Default 2 s.
    pub timeout: Duration,
    /// Most lines of one record; then it is closed. 1 to 100 000, default 500; more than a record can hold is no bound.
    pub max_lines: usize,
}

/// What a line holds that begins a record.
#[derive(Clone, Debug)]
pub enum Start {
    /// Searched in each line, its line end excluded; anchor it with `^` to mean the line's beginning.
    Search(Regex),
    /// As the Java agent does: at the beginning of each line, its line end included, what is no UTF-8 replaced.
    JavaLookingAt(Regex),
}

impl Start {
    /// Whether a line, given with its line end if it has one, begins a record. A search that is given up found nothing.
    fn begins(&self, line: &[u8]) -> bool {
        let found = match self {
            Self::Search(regex) => {
                let inside = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
                regex.is_match(inside)
            }
            Self::JavaLookingAt(regex) => regex.is_match(java::decode(line, &mut Vec::new()).as_bytes()),
        };
        found.unwrap_or(false)
    }
}

/// How a file's bytes are cut into records.
#[derive(Clone, Debug)]
pub struct Options {
    /// Lines to skip at the beginning of each file. 0 to 1 000.
    pub skip_header_lines: u32,
    pub multiline: Option<Multiline>,
    /// Longest record in bytes, its line end included. 64 B to 10 MiB, default 1 MiB.
    pub max_record: usize,
    pub oversize: Oversize,
    /// What a record ends with that was cut; it fits `max_record` too. Shorter than `max_record`, default a newline.
    pub terminator: Vec<u8>,
    /// A record that this matches as a whole, without blanks and control characters at both ends, ends what there is to
    /// read: it is left out, and with it all that had been read behind it. Default: none does.
    pub footer: Option<Regex>,
    /// After how much quiet a last line without its newline is delivered while its file is still live. Default: never.
    pub partial_line_timeout: Option<Duration>,
}

/// What may be done with bytes whose end is not in sight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Flush {
    /// Wait for more.
    Nothing,
    /// The file was quiet for long: complete lines that wait for a start line are a record.
    Lines,
    /// The file is finished: all that is left is a record.
    Everything,
}

/// What the bytes at hand begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token {
    /// A record of `len` bytes, of which the first `body` are delivered (fewer only if it was `truncated`).
    Record { len: usize, body: usize, truncated: bool },
    /// A record that is too long and whose policy is `Drop`: `len` bytes, the first `keep` for the dead letters.
    TooLong { len: usize, keep: usize },
    /// Bytes that are no record: a byte order mark.
    ByteOrderMark { len: usize },
    /// Bytes that are no record: a hole that a writer without `O_APPEND` left when its file was truncated.
    Hole { len: usize },
    /// A line longer than `max_record` whose end is not in sight: the caller looks for it without keeping the bytes.
    LongLine,
    /// The beginning of a record: wait for more bytes.
    Incomplete,
}

/// Where the bytes at hand stand.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// They begin at offset 0 of their generation.
    pub start_of_file: bool,
    /// They reach the end of the file as it is now.
    pub end_of_file: bool,
    pub flush: Flush,
}

/// A shorter run of NUL bytes is data; only a hole is longer.
const HOLE: usize = 64;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The first token of `data`. Offer at least `max_record` + 1 bytes, or all there are.
#[must_use]
pub fn next(options: &Options, data: &[u8], at: At) -> Token {
    token(options, options.multiline.as_ref(), data, at)
}

/// As `next`, where a record is one line even if other records are several: a line to skip.
#[must_use]
pub fn next_line(options: &Options, data: &[u8], at: At) -> Token {
    token(options, None, data, at)
}

fn token(options: &Options, multiline: Option<&Multiline>, data: &[u8], at: At) -> Token {
    if data.is_empty() {
        return Token::Incomplete;
    }
    if at.start_of_file && BOM.starts_with(&data[..data.len().min(BOM.len())]) {
        if data.len() >= BOM.len() {
            return Token::ByteOrderMark { len: BOM.len() };
        }
        if at.flush < Flush::Everything {
            return Token::Incomplete;
        }
    }
    if data[0] == 0
        && let Some(token) = hole(data, at)
    {
        return token;
    }
    match first_line(options, data, at) {
        Ok(line) => match multiline {
            None => Token::Record { len: line, body: line, truncated: false },
            Some(multiline) => several_lines(options.max_record, multiline, data, line, at),
        },
        Err(token) => token,
    }
}

/// The end of the first line, its newline included, if it is complete and not too long.
fn first_line(options: &Options, data: &[u8], at: At) -> Result<usize, Token> {
    let max = options.max_record;
    let window = &data[..data.len().min(max)];
    if let Some(i) = memchr::memchr(b'\n', window) {
        return Ok(i + 1);
    }
    if data.len() <= max {
        return if at.flush == Flush::Everything && at.end_of_file { Ok(data.len()) } else { Err(Token::Incomplete) };
    }
    if options.oversize == Oversize::Split {
        let cut = char_boundary(data, max);
        return Err(Token::Record { len: cut, body: cut, truncated: false });
    }
    let finished = at.flush == Flush::Everything && at.end_of_file;
    let end = memchr::memchr(b'\n', &data[max..]).map(|i| max + i + 1).or(finished.then_some(data.len()));
    Err(end.map_or(Token::LongLine, |len| too_long(options, data, len)))
}

/// The token of a line of `len` bytes that is longer than allowed; `data` holds at least its first `max_record` bytes.
#[must_use]
pub fn too_long(options: &Options, data: &[u8], len: usize) -> Token {
    // So much less that what the caller adds still fits.
    let keep = char_boundary(data, options.max_record.saturating_sub(options.terminator.len()));
    match options.oversize {
        Oversize::Drop => Token::TooLong { len, keep },
        Oversize::Truncate | Oversize::Split => Token::Record { len, body: keep, truncated: true },
    }
}

fn several_lines(max: usize, multiline: &Multiline, data: &[u8], first: usize, at: At) -> Token {
    let record = |len| Token::Record { len, body: len, truncated: false };
    let mut end = first;
    let mut lines = 1;
    loop {
        if lines >= multiline.max_lines {
            return record(end);
        }
        let rest = &data[end..];
        let Some(newline) = memchr::memchr(b'\n', rest) else {
            return last_lines(max, multiline, data, end, at);
        };
        if end + newline + 1 > max || multiline.start.begins(&rest[..=newline]) {
            return record(end);
        }
        end += newline + 1;
        lines += 1;
    }
}

/// `data[..end]` are complete lines of one record; what follows, if anything, is a line without its end.
fn last_lines(max: usize, multiline: &Multiline, data: &[u8], end: usize, at: At) -> Token {
    let partial = &data[end..];
    let whole = data.len() <= max && (partial.is_empty() || !multiline.start.begins(partial));
    match at.flush {
        _ if data.len() > max => Token::Record { len: end, body: end, truncated: false },
        Flush::Everything if at.end_of_file => {
            let len = if whole { data.len() } else { end };
            Token::Record { len, body: len, truncated: false }
        }
        Flush::Lines if at.end_of_file => Token::Record { len: end, body: end, truncated: false },
        _ => Token::Incomplete,
    }
}

/// A long run of NUL bytes that something follows (or that is all a finished file holds) is a hole.
fn hole(data: &[u8], at: At) -> Option<Token> {
    let run = data.iter().position(|b| *b != 0).unwrap_or(data.len());
    if run < HOLE {
        return None;
    }
    if run < data.len() {
        return Some(Token::Hole { len: run });
    }
    Some(match (at.end_of_file, at.flush) {
        (true, Flush::Everything) => Token::Hole { len: run },
        // Keep enough for the next bytes to be known as the same hole.
        (false, _) if run > HOLE => Token::Hole { len: run - HOLE },
        // Room that a writer reserved and may still fill, or too little to tell.
        _ => Token::Incomplete,
    })
}

impl Options {
    /// Whether a record is the footer. A search that is given up found none.
    #[must_use]
    pub fn is_footer(&self, record: &[u8]) -> bool {
        let Some(footer) = &self.footer else { return false };
        let blank = |byte: &u8| *byte <= b' ';
        let start = record.iter().position(|byte| !blank(byte)).unwrap_or(record.len());
        let end = record.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
        footer.is_match(&record[start..end]).unwrap_or(false)
    }
}

/// The greatest cut `<= at` that does not divide a UTF-8 character; `at` itself where the bytes are not UTF-8.
pub(super) fn char_boundary(data: &[u8], at: usize) -> usize {
    if at >= data.len() {
        return data.len();
    }
    (at.saturating_sub(3)..=at).rev().find(|i| *i > 0 && data[*i] & 0xC0 != 0x80).unwrap_or(at)
}

#[cfg(test)]
mod tests;
