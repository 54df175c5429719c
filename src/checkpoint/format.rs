//! The journal's lines: a checksum, a space, JSON. Pure; knows no disk.
//! Invariant: what `parse` accepts, `line` wrote, byte for byte.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::model::{Codec, FileId, Generation, Mark, Place, Print, Reservation};

/// The format that this version writes, and the newest it reads.
pub const FORMAT: u32 = 2;

/// One line of a journal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first line: what this file is.
    Headwater { format: u32, flow: String },
    /// A generation is bound to a file.
    File(FileLine),
    /// A generation's offset moved.
    Acked(AckedLine),
    /// A generation is gone for good.
    Gone { generation: String },
    /// Bytes of a generation are about to be sent. Since format 2.
    Reserved(ReservedLine),
    /// All that was sent of a generation is acked. Since format 2.
    Released { generation: String },
}

/// See [`Reservation`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReservedLine {
    pub generation: String,
    pub from: u64,
    pub limit: u64,
    /// Nanoseconds since 1970, by the destination's clock.
    pub at: i64,
    /// Tells the start of the machine and the configuration that it was made under from others.
    pub epoch: u64,
}

/// See [`Place`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one file")]
pub struct FileLine {
    pub generation: String,
    pub path: String,
    /// The path's bytes in hexadecimal, where they are not UTF-8 (`path` is then for people only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_bytes: Option<String>,
    pub device: u64,
    pub inode: u64,
    #[serde(default)]
    pub codec: Codec,
    pub head: (u16, String),
    pub acked: u64,
    pub tail: (u16, String),
    pub mtime: i64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rotated: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved_out: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
}

/// See [`Mark`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AckedLine {
    pub generation: String,
    pub offset: u64,
    pub tail: (u16, String),
    pub mtime: i64,
}

/// The line as it stands in the journal, its newline included.
#[must_use]
pub fn line(line: &Line) -> Vec<u8> {
    let json = serde_json::to_string(line).expect("lines hold nothing that JSON cannot");
    format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into_bytes()
}

/// Reads one line, without its newline. `None`: damaged.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Line> {
    let (sum, json) = bytes.split_at_checked(9)?;
    if sum != format!("{:08x} ", crc32fast::hash(json)).as_bytes() {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// The format number of a first line that this version cannot read otherwise.
#[must_use]
pub fn foreign_format(bytes: &[u8]) -> Option<u32> {
    let json: serde_json::Value = serde_json::from_slice(bytes.get(9..)?).ok()?;
    u32::try_from(json.get("headwater")?.get("format")?.as_u64()?).ok()
}

impl From<&Place> for Line {
    fn from(place: &Place) -> Self {
        let bytes = place.path.as_os_str().as_bytes();
        let text = String::from_utf8_lossy(bytes);
        let path_bytes = matches!(text, std::borrow::Cow::Owned(_)).then(|| hex(bytes));
        Self::File(FileLine {
            generation: place.generation.to_string(),
            path: text.into_owned(),
            path_bytes,
            device: place.id.dev,
            inode: place.id.ino,
            codec: place.codec,
            head: print(place.head),
            acked: place.acked,
            tail: print(place.tail),
            mtime: place.mtime,
            rotated: place.rotated,
            moved_out: place.moved_out,
            lost: place.lost,
            done: place.done,
        })
    }
}

impl Line {
    /// The line for an offset that moved.
    #[must_use]
    pub fn acked(mark: &Mark, mtime: i64) -> Self {
        Self::Acked(AckedLine {
            generation: mark.generation.to_string(),
            offset: mark.end,
            tail: print(mark.tail),
            mtime,
        })
    }

    /// The line for bytes that are about to be sent.
    #[must_use]
    pub fn reserved(reservation: &Reservation, at: i64, epoch: u64) -> Self {
        let Reservation { generation, from, limit } = *reservation;
        Self::Reserved(ReservedLine { generation: generation.to_string(), from, limit, at, epoch })
    }
}

impl ReservedLine {
    /// What the line says. `None`: it says nothing sensible.
    #[must_use]
    pub fn reservation(&self) -> Option<Reservation> {
        let generation = self.generation.parse().ok()?;
        Some(Reservation { generation, from: self.from, limit: self.limit })
    }
}

impl FileLine {
    /// What the line says. `None`: it says nothing sensible.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let path = match &self.path_bytes {
            Some(hex) => PathBuf::from(OsStr::from_bytes(&unhex(hex)?)),
            None => PathBuf::from(&self.path),
        };
        let path: Arc<Path> = path.into();
        Some(Place {
            generation: self.generation.parse().ok()?,
            path,
            id: FileId { dev: self.device, ino: self.inode },
            codec: self.codec,
            head: parse_print(&self.head)?,
            acked: self.acked,
            tail: parse_print(&self.tail)?,
            mtime: self.mtime,
            rotated: self.rotated,
            moved_out: self.moved_out,
            lost: self.lost,
            done: self.done,
        })
    }
}

impl AckedLine {
    /// What the line says. `None`: it says nothing sensible.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        let generation: Generation = self.generation.parse().ok()?;
        Some(Mark { generation, end: self.offset, tail: parse_print(&self.tail)? })
    }
}

fn print(print: Print) -> (u16, String) {
    (print.len, format!("{:016x}", print.hash))
}

fn parse_print((len, hash): &(u16, String)) -> Option<Print> {
    let print = Print { len: *len, hash: u64::from_str_radix(hash, 16).ok()? };
    (usize::from(*len) <= Print::MAX).then_some(print)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, b| {
        write!(text, "{b:02x}").expect("a String takes everything");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}
