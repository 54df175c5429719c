//! Finding a file again: under another name, as a copy, or compressed. Also telling a copy of a followed file (which
//! holds nothing new) from another file that merely begins alike. Knows no records.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
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
    pub(super) size: u64,
    pub(super) mtime: i64,
}

/// What stands in a folder, read once a look.
#[derive(Debug, Default)]
pub(super) struct FolderIndex {
    pub(super) by_id: Map<FileId, PathBuf>,
    /// Files that no entry stands for, newest last.
    pub(super) strangers: Vec<Stranger>,
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
        let Ok(names) = self.fs.list(folder) else { return index };
        for (name, kind) in names.into_iter().take(MAX_SEARCHED) {
            // A link is found by the name of what it leads to, if that is in this folder.
            if kind != Kind::Regular {
                continue;
            }
            let path = folder.join(name);
            let Ok(stat) = self.fs.stat(&path) else { continue };
            if !self.by_id.contains_key(&stat.id)
                && let Ok((codec, head)) = self.first_bytes(&path)
            {
                index.strangers.push(Stranger { path: path.clone(), stat, codec, head });
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

    /// The stranger that holds what `key` held: a copy that goes on at least as far, the compressed form, or
    /// a shorter copy under a name of rotation.
    pub(super) fn find_copy(&self, key: Key, strangers: &[Stranger]) -> Option<Stranger> {
        let e = self.entry(key);
        // A file that was empty so far holds nothing to recognise it by.
        if e.head.len == 0 {
            return None;
        }
        let alike = || {
            strangers
                .iter()
                .rev()
                .filter(|s| s.stat.id != e.id && e.head.begins(&s.head) && !self.by_id.contains_key(&s.stat.id))
        };
        let rotated = |s: &&Stranger| rotation::is_rotated(&e.path, &s.path);
        alike()
            .filter(|s| s.codec == Codec::Plain && s.stat.size >= e.read)
            .find(|s| self.continues_at(key, &s.path))
            .or_else(|| {
                alike().find(|s| s.codec != Codec::Plain && (rotated(s) || without_archive_name(&s.path) == *e.path))
            })
            .or_else(|| alike().find(|s| s.codec == Codec::Plain && s.stat.size < e.read && rotated(s)))
            .or_else(|| alike().find(|s| s.codec != Codec::Plain && e.head.len > 64))
            .cloned()
    }

    /// The followed file that the file at `path` is a copy of, judged by name and content: its first bytes and those
    /// before the shorter one's end. Two files that begin alike are otherwise two files.
    pub(super) fn twin_of(&self, path: &Path, stat: &Stat) -> Option<Key> {
        let folder = path.parent()?;
        let plain = without_archive_name(path);
        let mut names: Vec<Vec<u8>> = rotation::bases(path.file_name()?);
        if plain != path {
            names.push(plain.file_name()?.as_bytes().to_vec());
            names.extend(rotation::bases(plain.file_name()?));
        }
        let bases =
            names.iter().filter_map(|name| self.by_path.get(folder.join(OsStr::from_bytes(name)).as_path()).copied());
        let mut candidates: Vec<Key> = bases.collect();
        candidates.extend(self.twins.get(&stat.id).map(|t| t.of).filter(|k| self.entries[k.0 as usize].is_some()));
        candidates.into_iter().find(|key| self.entry(*key).id != stat.id && self.is_copy_of(*key, path, stat))
    }

    fn is_copy_of(&self, key: Key, path: &Path, stat: &Stat) -> bool {
        let e = self.entry(key);
        // Nothing is in it yet; `cp` has just begun, or it will be compared when something is.
        if stat.size == 0 {
            return true;
        }
        let Ok((codec, head)) = self.first_bytes(path) else { return false };
        if codec != Codec::Plain {
            return head.is_empty() || (e.head.len > 0 && e.head.begins(&head));
        }
        let (Ok(ours), Ok(theirs)) = (self.fs.open(&e.path), self.fs.open(path)) else { return false };
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

/// `app.log.1` for `app.log.1.gz`; the path itself for anything else.
fn without_archive_name(path: &Path) -> PathBuf {
    match path.extension().and_then(|e| e.to_str()) {
        Some("gz" | "zst" | "zstd") => path.with_extension(""),
        _ => path.to_owned(),
    }
}
