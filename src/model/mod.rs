//! The words that every rank shares: generation, span, batch. Knows no I/O and no policy.
//! Invariant: a span belongs to exactly one generation and is never empty when it carries a record.

mod batch;
mod id;

use std::{fmt, path::Path, sync::Arc, time::Instant};

pub use batch::{Batch, BatchId, DeadLetter, FileRef, Keys, Part, RecordRef, Settled};
pub use id::{IdText, NoRecordId, RecordId};

/// The time, twice: for intervals, and as nanoseconds since 1970 for comparing with files'.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub mono: Instant,
    pub wall: i64,
}

/// One life of one file, from its first byte until it is truncated or replaced. Random, never reused, kept in the checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for Generation {
    type Err = std::num::ParseIntError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(s, 16).map(Self)
    }
}

/// The bytes `[start, end)` of a generation, counted in its decompressed form where the file is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

impl Span {
    /// Length in bytes.
    #[must_use]
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// True when the span holds no byte.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end == self.start
    }
}

/// A part of the hash space by which chosen partition keys are told apart: see `deliver::slot`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Slot(pub u8);

/// Bytes of a generation that may have been sent, although nobody knows whether they arrived: a crash came in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Doubt {
    pub generation: Generation,
    /// From what is acked to what was reserved.
    pub span: Span,
    /// None of them was sent before: nanoseconds since 1970, by the destination's clock.
    pub since: i64,
    /// The machine was started anew since, so that the file may have lost bytes that were sent, and hold others in their place;
    /// or the configuration is another, so that its bytes may give other records.
    pub changed: bool,
}

/// A record that the destination was found to hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Landed {
    pub id: RecordId,
    /// It holds only those records of its span whose keys are of this slot; `None`: all of them.
    pub slot: Option<Slot>,
    /// [`content_hash`] of what it holds.
    pub hash: u64,
}

/// Tells whether two records hold the same: XXH3 of the records of files in them, end to end.
#[must_use]
pub fn content_hash(data: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(data)
}

/// Bytes of a generation that are about to be sent: what must be durable before they are, where nothing may repeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reservation {
    pub generation: Generation,
    /// No byte at or behind it was sent by this run before now.
    pub from: u64,
    /// No byte at or behind it is sent before another reservation.
    pub limit: u64,
}

/// What the operating system calls a file: device and inode number. Reused after deletion, hence never enough alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FileId {
    pub dev: u64,
    pub ino: u64,
}

/// A hash of a known number of bytes: of a file's head, or of the bytes just before an offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Print {
    /// How many bytes were hashed, at most [`Print::MAX`].
    pub len: u16,
    /// XXH3, 64 bits. 0 when `len` is 0.
    pub hash: u64,
}

impl Print {
    /// Enough to tell two logs apart by their time stamps, little enough to be read along with any chunk.
    pub const MAX: usize = 1024;

    /// The print of at most the first [`Print::MAX`] bytes.
    #[must_use]
    pub fn of_head(bytes: &[u8]) -> Self {
        Self::of(&bytes[..bytes.len().min(Self::MAX)])
    }

    /// Whether it tells nothing: no bytes, or only the NUL bytes of a hole, which are alike in every file.
    #[must_use]
    pub fn is_blank(self) -> bool {
        self == Self::of(&[0; Self::MAX][..usize::from(self.len).min(Self::MAX)])
    }

    /// The print of at most the last [`Print::MAX`] bytes.
    #[must_use]
    pub fn of_tail(bytes: &[u8]) -> Self {
        Self::of(&bytes[bytes.len().saturating_sub(Self::MAX)..])
    }

    /// Whether `bytes` begin with what was hashed.
    #[must_use]
    pub fn begins(self, bytes: &[u8]) -> bool {
        bytes.len() >= usize::from(self.len) && Self::of(&bytes[..usize::from(self.len)]) == self
    }

    fn of(bytes: &[u8]) -> Self {
        let len = u16::try_from(bytes.len()).expect("both callers cut to MAX");
        Self { len, hash: if bytes.is_empty() { 0 } else { xxhash_rust::xxh3::xxh3_64(bytes) } }
    }
}

/// How a file's bytes are stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    #[default]
    Plain,
    Gzip,
    Zstd,
}

/// An offset of a generation together with the print of the bytes before it: every byte before it is done with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub generation: Generation,
    pub end: u64,
    pub tail: Print,
}

/// What is durable about a file that is followed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one file")]
pub struct Place {
    pub generation: Generation,
    /// Where it was last seen.
    pub path: Arc<Path>,
    pub id: FileId,
    pub codec: Codec,
    pub head: Print,
    /// Every byte before this offset has settled.
    pub acked: u64,
    /// Print of the bytes before `acked`.
    pub tail: Print,
    /// Last modification seen, nanoseconds since 1970.
    pub mtime: i64,
    /// It was renamed away, copied or compressed: nobody is expected to write to it for long.
    pub rotated: bool,
    /// It got its name, which the configuration leaves out, while it was followed: it is read to its end all the same.
    pub moved_out: bool,
    /// No name led to it any more when it was last looked for.
    pub lost: bool,
    /// Nothing is left to read and the file cannot change (a compressed copy of what was delivered).
    pub done: bool,
}

/// A flow's name as a file name: letters, digits, `-` and `_` as they are, a dot unless it comes first, the rest
/// percent-encoded. Names that would be too long for a file system end in `~` and a hash of the whole instead.
#[must_use]
pub fn file_name(flow: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(flow.len());
    for (i, b) in flow.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(b)),
            b'.' if i > 0 => out.push('.'),
            _ => write!(out, "%{b:02X}").expect("a String takes everything"),
        }
    }
    if out.len() > LONGEST_NAME {
        out.truncate(LONGEST_NAME);
        write!(out, "~{:016x}", xxhash_rust::xxh3::xxh3_64(flow.as_bytes())).expect("a String takes everything");
    }
    out
}

/// Leaves room for a hash and an extension within the 255 bytes of most file systems.
const LONGEST_NAME: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_name_becomes_a_safe_file_name() {
        for (flow, name) in [
            ("web", "web"),
            ("web-1_a.b", "web-1_a.b"),
            ("..", "%2E."),
            ("a/b", "a%2Fb"),
            ("a%2Fb", "a%252Fb"),
            ("é x", "%C3%A9%20x"),
        ] {
            assert_eq!(file_name(flow), name);
        }
    }

    #[test]
    fn long_names_stay_apart_and_short_enough() {
        let (a, b) = (file_name(&"/".repeat(100)), file_name(&"/".repeat(101)));
        assert!(a != b && a.len() < 240 && b.len() < 240, "{a} {b}");
    }
}
