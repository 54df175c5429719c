//! The file-system seam: everything the source asks of the operating system, so that a simulation can answer instead.
//! Knows no policy. Invariant: nothing here blocks on a pipe or changes a file.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::model::FileId;

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Regular,
    Directory,
    /// To be resolved by [`Fs::stat`]; only seen in listings.
    Link,
    /// Pipe, socket, device.
    Other,
}

/// What is known of a file without reading it. Links are followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    pub id: FileId,
    pub kind: Kind,
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime: i64,
}

/// An open file.
pub trait File {
    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    fn stat(&self) -> io::Result<Stat>;
}

/// The operating system's files.
pub trait Fs {
    type File: File + Send + Sync + 'static;
    /// Names in a folder, in any order, without `.` and `..`.
    fn list(&self, folder: &Path) -> io::Result<Vec<(OsString, Kind)>>;
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// Where a symbolic link leads in the end; `None` for anything else.
    fn resolve(&self, path: &Path) -> Option<PathBuf>;
    /// Opens a file for reading without waiting for anything.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
}

/// The real one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl File for fs::File {
    fn read_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<usize> {
        let mut total = 0;
        while !buf.is_empty() {
            match FileExt::read_at(self, buf, offset) {
                Ok(0) => break,
                Ok(n) => {
                    total += n;
                    offset += n as u64;
                    buf = &mut buf[n..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if total == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(total)
    }

    fn stat(&self) -> io::Result<Stat> {
        self.metadata().map(|m| from_metadata(&m))
    }
}

impl Fs for Disk {
    type File = fs::File;

    fn list(&self, folder: &Path) -> io::Result<Vec<(OsString, Kind)>> {
        fs::read_dir(folder)?
            .map(|entry| {
                let entry = entry?;
                let kind = match entry.file_type() {
                    Ok(t) if t.is_file() => Kind::Regular,
                    Ok(t) if t.is_dir() => Kind::Directory,
                    Ok(t) if t.is_symlink() => Kind::Link,
                    Ok(_) => Kind::Other,
                    Err(_) => Kind::Link,
                };
                Ok((entry.file_name(), kind))
            })
            .collect()
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        fs::metadata(path).map(|m| from_metadata(&m))
    }

    fn resolve(&self, path: &Path) -> Option<PathBuf> {
        fs::read_link(path).ok().and_then(|_| fs::canonicalize(path).ok())
    }

    fn open(&self, path: &Path) -> io::Result<fs::File> {
        let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a flag fits");
        fs::OpenOptions::new().read(true).custom_flags(nonblock).open(path)
    }
}

fn from_metadata(m: &fs::Metadata) -> Stat {
    let t = m.file_type();
    let kind = if t.is_file() {
        Kind::Regular
    } else if t.is_dir() {
        Kind::Directory
    } else {
        Kind::Other
    };
    let mtime = m.mtime().saturating_mul(1_000_000_000).saturating_add(m.mtime_nsec());
    Stat { id: FileId { dev: m.dev(), ino: m.ino() }, kind, size: m.size(), mtime }
}

/// Reads a file from its beginning to its end, for decoders.
#[derive(Debug)]
pub struct Cursor<F> {
    file: F,
    offset: u64,
}

impl<F: File> Cursor<F> {
    pub fn new(file: F) -> Self {
        Self { file, offset: 0 }
    }

    pub fn file(&self) -> &F {
        &self.file
    }
}

impl<F: File> Read for Cursor<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}
