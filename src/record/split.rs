//! Framing: where one record ends and the next begins. A pure function of bytes; keeps no state between calls.
//! Invariant: the tokens of a buffer are consecutive, never overlap, and their lengths add up to what was consumed.

use std::time::Duration;

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
    /// Searched in each line, its line end excluded; anchor it with `^` to mean the line's beginning.
    pub start: regex::bytes::Regex,
    /// How long the last record of a file may wait for the line that ends it. Default 2 s.
    pub timeout: Duration,
    /// Most lines of one record; then it is closed. 1 to 100 000, default 500.
    pub max_lines: usize,
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
    /// After how much quiet a last line without its newline is delivered while its file is still live. Default: never.
    pub partial_line_timeout: Option<Duration>,
}
