//! Finding a file again: under another name, as a copy, or compressed. Also telling a copy of a followed file (which
//! holds nothing new) from another file that merely begins alike. Knows no records.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{Fs, Key, Map, Table};
use crate::{
    model::{Codec, FileId, Print},
    source::{
        fs::{File, Kind, Stat},
        handle::{Handle, codec_of},
        rotation,
    },
};

/// Files of one folder that are looked at in search of a lost one.
const MAX_SEARCHED: usize = 20_000;

/// A copy of a followed file: when it was compared, and with what result.
#[derive(Clone, Copy, Debug)]
pub(super) struct Twin {
    pub(super) of: Key,
    /// Not sure: what it seems to be a copy of must be read first, to see whether it is still itself.
    pub(super) sure: bool,
    pub(super) size: u64,
    pub(super) mtime: i64,
}

/// How sure it is that a file is a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Likeness {
    Sure,
    /// What it seems to be a copy of must be read first, to see whether it is still itself.
    Unsure,
}

/// What stands in a folder, read once a look.
#[derive(Debug, Default)]
pub(super) struct FolderIndex {
    pub(super) by_id: Map<FileId, PathBuf>,
    /// Files that no entry stands for, newest last.
    pub(super) strangers: Vec<Stranger>,
    /// Families of files that could not be read just now.
    pub(super) unread: Vec<u64>,
    pub(super) unlisted: bool,
}

/// A file that no entry stands for, with its first bytes (decompressed).
#[derive(Clone, Debug)]
pub(super) struct Stranger {
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
    pub(super) codec: Codec,
    pub(super) head: Vec<u8>,
}

impl<F: Fs> Table<F> {
    /// Reads a folder: who is there, and how the unknown ones begin.
    pub(super) fn index_folder(&self, folder: &Path) -> FolderIndex {
        let mut index = FolderIndex::default();
        let Ok(names) = self.fs.list(folder) else {
            // A folder that is gone holds nothing; one that cannot be read may hold anything.
            index.unlisted = self.fs.stat(folder).is_ok();
            return index;
        };
        for (name, kind) in names.into_iter().take(MAX_SEARCHED) {
            // A link is found by the name of what it leads to, if that is in this folder.
            if kind != Kind::Regular {
                continue;
            }
            let path = folder.join(name);
            let Ok(stat) = self.fs.stat(&path) else { continue };
            if !self.by_id.contains_key(&stat.id) {
                match self.first_bytes(&path) {
                    Ok((codec, head)) => index.strangers.push(Stranger { path: path.clone(), stat, codec, head }),
                    Err(_) => index.unread.push(rotation::family(&path)),
                }
            }
            index.by_id.insert(stat.id, path);
        }
        index.strangers.sort_by(|a, b| (a.stat.mtime, &a.path).cmp(&(b.stat.mtime, &b.path)));
        index
    }

    /// How a file begins, decompressed.
    pub(super) fn first_bytes(&self, path: &Path) -> io::Result<(Codec, Vec<u8>)> {
        let file = self.fs.open(path)?;
        let mut buf = vec![0; Print::MAX];
        let n = file.read_at(&mut buf, 0)?;
        let codec = codec_of(path, &buf[..n]);
        if codec == Codec::Plain {
            buf.truncate(n);
            return Ok((codec, buf));
        }
        let got = Handle::new(file, codec).read_at(&mut buf, 0);
        buf.truncate(got.map_or(0, |g| g.len));
        Ok((codec, buf))
    }

    /// Whether the plain file at `path` holds, at the place where `key` was read to, the same bytes before it.
    pub(super) fn continues_at(&self, key: Key, path: &Path) -> bool {
        let e = self.entry(key);
        let Ok(file) = self.fs.open(path) else { return false };
        let mut buf = [0; Print::MAX];
        let head = &mut buf[..usize::from(e.head.len)];
        let Ok(n) = file.read_at(head, 0) else { return false };
        if !e.head.begins(&head[..n]) {
            return false;
        }
        let tail = &mut buf[..usize::from(e.tail.len)];
        match file.read_at(tail, e.read - tail.len() as u64) {
            Ok(n) => rotation::continues(e.tail, &tail[..n]),
            Err(_) => false,
        }
    }

    /// The same for a compressed file: decodes it up to there, which is only worth it where its beginning tells nothing.
    fn continues_in_archive(&self, key: Key, path: &Path, codec: Codec) -> bool {
        let e = self.entry(key);
        let Ok(file) = self.fs.open(path) else { return false };
        let mut tail = vec![0; usize::from(e.tail.len)];
        let offset = e.read - tail.len() as u64;
        let got = Handle::new(file, codec).read_at(&mut tail, offset);
        !e.tail.is_blank() && got.is_ok_and(|got| rotation::continues(e.tail, &tail[..got.len]))
    }

    /// The stranger that holds what `key` held: a copy that goes on at least as far, the compressed form, or
    /// a shorter copy under a name of rotation.
    pub(super) fn find_copy(&self, key: Key, strangers: &[Stranger]) -> Option<Stranger> {
        let e = self.entry(key);
        let known_twin = |s: &&Stranger| {
            let twin = self.twins.get(&s.stat.id);
            twin.is_some_and(|t| t.sure && t.of == key && (t.size, t.mtime) == (s.stat.size, s.stat.mtime))
        };
        let unread = e.head.len == 0;
        if let Some(twin) = strangers.iter().rev().filter(|_| unread).find(known_twin) {
            return Some(twin.clone());
        }
        // A file that was empty so far holds nothing to recognise it by.
        if e.head.len == 0 {
            return None;
        }
        let alike = || {
            strangers
                .iter()
                .rev()
                .filter(|s| s.stat.id != e.id && e.head.begins(&s.head))
                .filter(|s| !self.by_id.contains_key(&s.stat.id) && !self.others.contains(&s.stat.id))
        };
        let family = rotation::family(&e.path);
        let rotated = |s: &&Stranger| rotation::family(&s.path) == family;
        // A live log that lost its end is no copy: it is written to.
        let stamped = |s: &&Stranger| s.path.file_name().is_some_and(|name| !rotation::bases(name).is_empty());
        // A hole at the beginning is like any other: then only what was read after it counts.
        let telling = !e.head.is_blank();
        alike()
            .filter(|s| s.codec == Codec::Plain && s.stat.size >= e.read && (telling || !e.tail.is_blank()))
            .find(|s| self.continues_at(key, &s.path))
            .or_else(|| {
                let packed = || alike().filter(|s| s.codec != Codec::Plain && rotated(s));
                packed().find(|s| telling || self.continues_in_archive(key, &s.path, s.codec))
            })
            .or_else(|| {
                let shorter = |s: &&Stranger| s.codec == Codec::Plain && s.stat.size < e.read;
                alike().filter(shorter).find(|s| telling && rotated(s) && stamped(s))
            })
            .or_else(|| alike().find(|s| telling && s.codec != Codec::Plain && e.head.len > 64))
            .cloned()
    }

    /// The followed file that the file at `path` is a copy of, judged by name and content: its first bytes and those
    /// before the shorter one's end. Two files that begin alike are otherwise two files. (The file, whether that is sure)
    pub(super) fn twin_of(&self, path: &Path, stat: &Stat) -> Option<(Key, bool)> {
        let mut candidates = self.families.get(&rotation::family(path)).cloned().unwrap_or_default();
        candidates.extend(self.twins.get(&stat.id).map(|t| t.of).filter(|k| self.entries[k.0 as usize].is_some()));
        let others = candidates.into_iter().filter(|key| self.entry(*key).id != stat.id);
        let alike: Vec<(Key, bool)> =
            others.filter_map(|key| Some((key, self.likeness(key, path, stat)? == Likeness::Sure))).collect();
        alike.iter().find(|(_, sure)| *sure).or(alike.first()).copied()
    }

    /// Whether the file at `path` is a copy of a followed one.
    fn likeness(&self, key: Key, path: &Path, stat: &Stat) -> Option<Likeness> {
        let e = self.entry(key);
        let in_place = e.lost.is_none() && *e.path != *path;
        // Nothing is in it yet; `cp` has just begun, or it will be compared when something is.
        if stat.size == 0 {
            return (in_place && rotation::is_rotated(&e.path, path)).then_some(Likeness::Sure);
        }
        let (codec, head) = self.first_bytes(path).ok()?;
        if codec != Codec::Plain {
            let begun = || {
                let ours = self.first_bytes(&e.path).map(|(_, ours)| ours).unwrap_or_default();
                let shorter = ours.len().min(head.len());
                shorter > 0 && ours[..shorter] == head[..shorter]
            };
            let alike = if e.head.len > 0 && e.head.is_blank() {
                self.continues_in_archive(key, path, codec)
            } else {
                head.is_empty() || (e.head.len > 0 && e.head.begins(&head)) || begun()
            };
            return (in_place && alike).then_some(Likeness::Sure);
        }
        if e.codec != Codec::Plain {
            return None;
        }
        // It holds all that was read, at its place.
        if e.head.len > 0 && !e.tail.is_blank() && stat.size >= e.read && self.continues_at(key, path) {
            return Some(Likeness::Sure);
        }
        if !in_place {
            return None;
        }
        // What stands under the followed name may be a new life that was not noticed yet.
        let itself = self.continues_at(key, &e.path);
        if self.same_bytes(&e.path, path, stat) {
            return Some(if itself { Likeness::Sure } else { Likeness::Unsure });
        }
        let begins = e.head.len > 0 && e.head.begins(&head);
        (!itself && begins && (stat.size < e.read || e.tail.is_blank())).then_some(Likeness::Unsure)
    }

    /// Whether two files hold the same first bytes, and the same ones before the shorter one's end.
    fn same_bytes(&self, ours: &Path, theirs: &Path, stat: &Stat) -> bool {
        let (Ok(ours), Ok(theirs)) = (self.fs.open(ours), self.fs.open(theirs)) else { return false };
        let Ok(size) = ours.stat().map(|s| s.size) else { return false };
        let shorter = size.min(stat.size);
        let len = shorter.min(Print::MAX as u64);
        let n = usize::try_from(len).expect("at most MAX");
        let (mut a, mut b) = ([0; Print::MAX], [0; Print::MAX]);
        let mut alike = |offset| {
            ours.read_at(&mut a[..n], offset).ok() == Some(n)
                && theirs.read_at(&mut b[..n], offset).ok() == Some(n)
                && a[..n] == b[..n]
        };
        n > 0 && alike(0) && alike(shorter - len)
    }
}
