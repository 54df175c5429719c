//! New names: whether they are new files, and where those are read from. Knows no records.
//! Invariant: what a followed file held already is not read again under another name.

use std::path::{Path, PathBuf};

use super::{
    Entry, Fs, Key, Table, blank,
    copies::{Stranger, Twin},
};
use crate::{
    model::{Codec, Generation, Print},
    source::{
        StartAt,
        fs::{File, Stat},
        rotation,
    },
};

impl<F: Fs> Table<F> {
    /// New names: followed from their first byte, unless they hold what is followed already.
    pub(super) fn adopt(&mut self, mut fresh: Vec<(PathBuf, Stat)>) {
        fresh.sort_by(|a, b| (a.1.mtime, &a.0).cmp(&(b.1.mtime, &b.0)));
        for (path, stat) in fresh {
            if self.by_id.contains_key(&stat.id) {
                continue;
            }
            if let Some(twin) = self.twins.get(&stat.id)
                && twin.sure
                && (twin.size, twin.mtime) == (stat.size, stat.mtime)
                && self.entries[twin.of.0 as usize].as_ref().is_some_and(|e| e.lost.is_none() || e.handle.is_some())
            {
                continue;
            }
            if self.continues_a_lost_one(&path, &stat) {
                continue;
            }
            if let Some((of, sure)) = self.twin_of(&path, &stat) {
                tracing::debug!(path = %path.display(), sure, "file is a copy of a followed one; it is not read again");
                self.twins.insert(stat.id, Twin { of, sure, size: stat.size, mtime: stat.mtime });
                self.learn_head(of, &path, sure);
                if !sure {
                    self.again.push(path);
                }
                continue;
            }
            self.twins.remove(&stat.id);
            let matches = self.discover.matches(&path);
            if !matches && self.first.is_none() {
                tracing::info!(path = %path.display(), "file was rotated before it was seen; it is read from its beginning");
            }
            // What was rotated before the flow's first start was never its file; it is known from now on.
            let first = self.first.map(|start| if matches { start } else { StartAt::End });
            self.create(path, stat, first);
        }
    }

    /// What a sure copy begins with, its original begins with: known from now on, even if that was not read yet.
    pub(super) fn learn_head(&mut self, of: Key, copy: &Path, sure: bool) {
        if sure
            && self.entry(of).head.len == 0
            && let Ok((Codec::Plain, head)) = self.first_bytes(copy)
        {
            self.entry_mut(of).head = Print::of_head(&head);
            self.bound(of);
        }
    }

    pub(super) fn continues_a_lost_one(&mut self, path: &Path, stat: &Stat) -> bool {
        if self.lost.is_empty() {
            return false;
        }
        let Ok((codec, head)) = self.first_bytes(path) else { return false };
        let stranger = [Stranger { path: path.to_owned(), stat: *stat, codec, head }];
        for key in self.lost.clone() {
            if self.find_copy(key, &stranger).is_none() {
                continue;
            }
            if self.entry(key).handle.is_some() {
                // Still read by its old handle; the copy is wanted when that has come to its end.
                self.twins.insert(stat.id, Twin { of: key, sure: true, size: stat.size, mtime: stat.mtime });
            } else {
                self.rebind(key, &stranger[0]);
            }
            return true;
        }
        false
    }

    pub(super) fn create(&mut self, path: PathBuf, stat: Stat, first: Option<StartAt>) {
        let (codec, head) = match self.first_bytes(&path) {
            Ok(found) => found,
            Err(error) => {
                self.complain(&path, &error.to_string(), "cannot read this file; it is tried again");
                if first != Some(StartAt::End) {
                    self.again.push(path);
                    return;
                }
                (Codec::Plain, Vec::new())
            }
        };
        let rotated = self.is_rotated_sibling(&path) || !self.discover.matches(&path);
        let home = self.fs.resolve(&path).map(PathBuf::into_boxed_path);
        let (read, tail) = match first {
            Some(StartAt::End) if codec == Codec::Plain => self.last_line_start(&path, stat.size),
            _ => (0, Print::default()),
        };
        let entry = Entry {
            generation: self.new_generation(),
            codec,
            head: Print::of_head(&head),
            read,
            tail,
            acked: read,
            acked_tail: tail,
            size: stat.size,
            mtime: stat.mtime,
            home,
            rotated: rotated || codec != Codec::Plain,
            done: first == Some(StartAt::End) && codec != Codec::Plain,
            header_left: if read == 0 { self.framing.header_lines } else { 0 },
            last_look: self.looks,
            until: self.once.then(|| if codec == Codec::Plain { stat.size } else { u64::MAX }),
            ..blank(path.into(), stat.id)
        };
        let key = self.insert(entry);
        self.bound(key);
        if self.entry(key).size > read {
            self.queue(key);
        }
        tracing::debug!(path = %self.entry(key).path.display(), offset = read, "following file");
    }

    /// Where the last line that is not complete begins, so that it is delivered whole when it is; the end otherwise.
    pub(super) fn last_line_start(&self, path: &Path, size: u64) -> (u64, Print) {
        let Ok(file) = self.fs.open(path) else { return (size, Print::default()) };
        let back = size.min(self.framing.max_record as u64);
        let mut buf = vec![0; usize::try_from(back).expect("at most the longest record")];
        let n = file.read_at(&mut buf, size - back).unwrap_or(0);
        let start = size - back;
        let line = memchr::memrchr(b'\n', &buf[..n]).map_or(n, |i| i + 1);
        let offset = start + line as u64;
        let from = offset.saturating_sub(Print::MAX as u64);
        let mut tail = vec![0; usize::try_from(offset - from).expect("at most MAX")];
        match file.read_at(&mut tail, from) {
            Ok(got) if got == tail.len() => (offset, Print::of_tail(&tail)),
            _ => (offset, Print::default()),
        }
    }

    pub(super) fn end_of_first_look(&mut self) {
        if self.once {
            for key in self.keys() {
                let e = self.entry_mut(key);
                e.until.get_or_insert(if e.codec == Codec::Plain { e.size } else { u64::MAX });
            }
        }
    }

    pub(super) fn is_rotated_sibling(&self, path: &Path) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return false };
        let bases = rotation::bases(name);
        let family = self.families.get(&rotation::family(path)).into_iter().flatten();
        let others = || family.clone().map(|k| self.entry(*k));
        let first = bases.first();
        let brother = |other: &std::path::Path| {
            first.is_some() && rotation::bases(other.file_name().unwrap_or_default()).first() == first
        };
        if others().any(|e| rotation::is_rotated(&e.path, path) || (e.rotated && brother(&e.path))) {
            return true;
        }
        bases.iter().any(|base| self.fs.stat(&folder.join(std::ffi::OsStr::from_bytes(base))).is_ok())
    }

    pub(super) fn new_generation(&mut self) -> Generation {
        loop {
            let generation = Generation(self.random.u64(1..));
            if !self.by_generation.contains_key(&generation) {
                return generation;
            }
        }
    }
}
