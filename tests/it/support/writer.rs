//! A program that logs numbered lines and whose file gets rotated. Knows nothing of who reads them.
//! Invariant: line `n` is always the same bytes, so that a damaged line is told from a whole one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread::JoinHandle,
    time::Duration,
};

/// How a file makes way for the next one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rotation {
    /// `app.log` becomes `app.log.1` and a new one is made.
    Rename,
    /// `app.log` is copied to `app.log.1` and cut to nothing.
    CopyTruncate,
}

/// Line `number` of the writer `tag`, its newline included. Lengths are irregular, some are above 3 kB.
pub(crate) fn line(tag: &str, number: u64) -> Vec<u8> {
    let padding = if number % 997 == 13 { 3000 } else { number.wrapping_mul(2_654_435_761) % 181 };
    let mut text = format!("{tag} {number:010} ").into_bytes();
    text.extend((0..padding).map(|i| b"abcdefghijklmnopqrstuvwxyz0123456789"[((number + i) % 36) as usize]));
    text.push(b'\n');
    text
}

/// Tag and number of a line without its newline; `None` when one of its bytes is wrong.
pub(crate) fn parse(text: &[u8]) -> Option<(&str, u64)> {
    let words = std::str::from_utf8(text).ok()?;
    let (tag, rest) = words.split_once(' ')?;
    let number = rest.get(..10)?.parse().ok()?;
    let whole = line(tag, number);
    (whole[..whole.len() - 1] == *text).then_some((tag, number))
}

/// Writes to one path, across its rotations.
pub(crate) struct Writer {
    tag: String,
    path: PathBuf,
    file: File,
    written: u64,
    rotations: u64,
}

impl Writer {
    pub(crate) fn new(path: &Path, tag: &str) -> Self {
        Self { tag: tag.to_owned(), path: path.to_owned(), file: open(path), written: 0, rotations: 0 }
    }

    /// Lines so far: numbers 0 to `written` exclusive.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn rotations(&self) -> u64 {
        self.rotations
    }

    /// Appends `count` lines. Written in two pieces cut anywhere, as buffered programs do.
    pub(crate) fn lines(&mut self, count: u64) {
        let numbers = self.written..self.written + count;
        let text: Vec<u8> = numbers.flat_map(|n| line(&self.tag, n)).collect();
        let cut = text.len() * 617 / 1000;
        self.file.write_all(&text[..cut]).expect("the disk takes the log");
        self.file.write_all(&text[cut..]).expect("the disk takes the log");
        self.written += count;
    }

    /// Opens the path anew, as a program does after somebody else rotated its file.
    pub(crate) fn reopen(&mut self) {
        self.file = open(&self.path);
    }

    /// Goes on at another path, its old file closed.
    pub(crate) fn onto(self, path: &Path) -> Self {
        let Self { tag, file, written, rotations, .. } = self;
        drop(file);
        Self { tag, path: path.to_owned(), file: open(path), written, rotations }
    }

    /// Rotates as logrotate does: `.1` becomes `.2` and so on; nothing is deleted.
    pub(crate) fn rotate(&mut self, rotation: Rotation) {
        self.shift(1).expect("rotated files can be renamed");
        match rotation {
            Rotation::Rename => {
                fs::rename(&self.path, self.rotated(1)).expect("the log can be renamed");
                self.reopen();
            }
            Rotation::CopyTruncate => {
                fs::copy(&self.path, self.rotated(1)).expect("the log can be copied");
                self.file.set_len(0).expect("the log can be cut");
            }
        }
        self.rotations += 1;
    }

    fn rotated(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn shift(&self, number: u32) -> io::Result<()> {
        if !self.rotated(number).exists() {
            return Ok(());
        }
        self.shift(number + 1)?;
        fs::rename(self.rotated(number), self.rotated(number + 1))
    }
}

/// Adds to a file, which is made if need be.
pub(crate) fn append(path: &Path, bytes: impl AsRef<[u8]>) {
    open(path).write_all(bytes.as_ref()).expect("the disk takes it");
}

fn open(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).expect("the log can be opened")
}

/// How much a `Load` writes, and when it rotates.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Lines at once.
    pub(crate) burst: u64,
    /// Time between bursts.
    pub(crate) every: Duration,
    /// Bursts between rotations.
    pub(crate) rotate_after: u64,
    pub(crate) rotation: Rotation,
}

/// A writer at work on a thread of its own.
pub(crate) struct Load {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Writer>,
}

impl Load {
    pub(crate) fn start(mut writer: Writer, pace: Pace) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            for burst in 1.. {
                writer.lines(pace.burst);
                if burst % pace.rotate_after == 0 {
                    writer.rotate(pace.rotation);
                }
                if stopped.recv_timeout(pace.every) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            writer
        });
        Self { stop, thread }
    }

    /// Ends the work and hands the writer back.
    pub(crate) fn stop(self) -> Writer {
        drop(self.stop);
        self.thread.join().expect("the writer does not panic")
    }
}
