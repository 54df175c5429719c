//! Carrying out what rotation did: renamed, truncated, copied, compressed, gone. Knows no bytes beyond the prints.
//! Invariant: an entry that no name leads to keeps its place until it is found again or long forgotten.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::{
    Entry, Fs, Key, Map, NOWHERE, Notice, REMEMBER_LOST, Table, blank,
    copies::{FolderIndex, Stranger},
    look::Findings,
};
use crate::{
    model::{Codec, Now, Print},
    source::rotation,
};

impl<F: Fs> Table<F> {
    /// The name does not lead to this entry any more.
    pub(super) fn displace(&mut self, key: Key) {
        let path = Arc::clone(&self.entry(key).path);
        if self.by_path.get(&path) == Some(&key) {
            self.by_path.remove(&path);
        }
    }

    pub(super) fn rename(&mut self, key: Key, path: PathBuf, now: Instant) {
        self.displace(key);
        let matches = self.discover.matches(&path);
        let path: Arc<Path> = path.into();
        let moved_out = self.discover.is_excluded(&path);
        let old = self.set_path(key, Arc::clone(&path));
        self.lost.retain(|k| *k != key);
        let e = self.entry_mut(key);
        e.moved_out = moved_out;
        e.lost = None;
        e.home = None;
        e.rotated |= !matches || rotation::is_rotated(&old, &path);
        if e.queued && e.rotated {
            self.ready.retain(|k| *k != key);
            self.ready_rotated.push_back(key);
        }
        self.by_path.insert(Arc::clone(&path), key);
        tracing::debug!(from = %old.display(), to = %path.display(), "file was renamed");
        self.notice(Notice::Rotated);
        self.bound(key);
        self.arm(key, now);
    }

    /// The same file holds other bytes: its old life ends, a new one begins at 0.
    pub(super) fn restarted(&mut self, key: Key, now: Instant) {
        self.unlink(key);
        self.close(key);
        let new = self.new_generation();
        let (was_rotated, was_archive);
        let (path, home, id, unread) = {
            let e = self.entry_mut(key);
            let id = std::mem::replace(&mut e.id, NOWHERE);
            was_archive = std::mem::take(&mut e.codec) != Codec::Plain;
            was_rotated = e.rotated;
            (e.rotated, e.long_line, e.lost) = (true, None, Some(now));
            e.size = e.read + e.unread;
            (Arc::clone(&e.path), e.home.clone(), id, e.unread)
        };
        tracing::info!(path = %path.display(), unread, "file was truncated or rewritten; it is read from its beginning");
        self.notice(Notice::Truncated);
        // First, so that no crash leaves two lives with one identity.
        self.bound(key);
        self.missing.push(key);
        self.relook = true;
        if was_archive {
            // It begins like the file that was sought, and goes on as another one.
            self.others.insert(id);
        }
        if was_rotated {
            // Nobody writes a new life under the name of a rotated file: it is rather another file, maybe a copy.
            self.again.push(path.to_path_buf());
            return;
        }
        let stat = self.fs.stat(&path).ok().filter(|s| s.id == id);
        let fresh = Entry {
            generation: new,
            home,
            header_left: self.framing.header_lines,
            verify: true,
            size: stat.map_or(0, |s| s.size),
            mtime: stat.map_or(0, |s| s.mtime),
            until: self.once.then(|| stat.map_or(0, |s| s.size)),
            last_look: self.looks,
            ..blank(path, id)
        };
        let fresh = self.insert(fresh);
        self.bound(fresh);
        self.queue(fresh);
        self.arm(key, now);
    }

    pub(super) fn find_missing(&mut self, missing: Vec<Key>, now: Now, findings: &mut Findings) {
        let mut folders: Map<PathBuf, FolderIndex> = Map::default();
        let mut searched = std::collections::BTreeSet::new();
        for key in missing {
            if self.entries[key.0 as usize].is_none() || !searched.insert(key) {
                continue;
            }
            let folder = self.folder_of(key);
            let index = folders.remove(&folder).unwrap_or_else(|| self.index_folder(&folder));
            if let Some(path) = index.by_id.get(&self.entry(key).id).cloned()
                && (self.entry(key).handle.is_some() || self.still_is(key, &path))
            {
                let seen = self.fs.stat(&path).ok();
                if !self.by_path.contains_key(path.as_path()) {
                    self.rename(key, path, now.mono);
                }
                self.judge(key, seen, now, findings);
            } else if self.entry(key).handle.is_some() {
                self.lose(key, now.mono);
            } else if let Some(copy) = self.find_copy(key, &index.strangers) {
                self.rebind(key, &copy);
            } else if index.unlisted || index.unread.contains(&rotation::family(&self.entry(key).path)) {
                // It may be behind what cannot be read at the moment.
                self.later.push(key);
            } else {
                self.lose(key, now.mono);
            }
            folders.insert(folder, index);
        }
    }

    /// The entry goes on in a copy, or in the compressed form, of its file.
    pub(super) fn rebind(&mut self, key: Key, to: &Stranger) {
        self.unlink(key);
        self.close(key);
        self.lost.retain(|k| *k != key);
        let path: Arc<Path> = to.path.clone().into();
        let drained = self.entry(key).drained;
        let moved_out = self.discover.is_excluded(&path);
        let old = self.set_path(key, Arc::clone(&path));
        let e = self.entry_mut(key);
        e.moved_out = moved_out;
        e.rotated |= old != path;
        tracing::info!(from = %old.display(), to = %path.display(), offset = e.read, "file goes on under another name");
        (e.id, e.codec, e.home, e.lost) = (to.stat.id, to.codec, None, None);
        (e.size, e.mtime, e.verify, e.refused) = (to.stat.size, to.stat.mtime, true, false);
        // A shorter copy was made before the last of it was written and read: it holds nothing new.
        e.done = if to.codec == Codec::Plain { to.stat.size < e.read } else { drained };
        if e.until.is_some() {
            e.until = if to.codec == Codec::Plain { Some(to.stat.size) } else { Some(u64::MAX) };
        }
        self.twins.remove(&to.stat.id);
        self.by_path.insert(path, key);
        self.by_id.insert(to.stat.id, key);
        self.notice(Notice::Rotated);
        self.bound(key);
        self.queue(key);
    }

    /// No name leads to the file. What is open is read to its end; the rest is remembered for a while.
    pub(super) fn lose(&mut self, key: Key, now: Instant) {
        let e = self.entry_mut(key);
        if e.lost.is_none() {
            e.lost = Some(now);
        }
        e.rotated = true;
        let (path, offset) = (Arc::clone(&e.path), e.read);
        let unread = if e.codec == Codec::Plain { e.size.saturating_sub(e.read) } else { 0 };
        let open = e.handle.is_some();
        if let Some(handle) = &mut e.handle
            && usize::from(e.head.len) < Print::MAX
        {
            // To know its compressed form by, should that turn up before this is read.
            let mut head = [0; Print::MAX];
            if let Ok(got) = handle.read_at(&mut head, 0)
                && e.head.begins(&head[..got.len])
            {
                e.head = Print::of_head(&head[..got.len]);
            }
        }
        if !self.lost.contains(&key) {
            self.lost.push(key);
            self.bound(key);
        }
        if open {
            self.queue(key);
        } else if unread > 0 {
            tracing::error!(path = %path.display(), offset, unread, "file went away before it was read to its end, and no rotated form of it was found: these bytes are lost");
            self.notice(Notice::BytesLost(unread));
            self.entry_mut(key).size = offset;
        } else {
            tracing::info!(path = %path.display(), offset, "file is gone; it is remembered for an hour");
        }
    }

    /// Files that have been gone for long are forgotten, but not while their folder is away too.
    pub(super) fn forget_lost(&mut self, now: Now) {
        for key in self.lost.clone() {
            let e = self.entry(key);
            let Some(since) = e.lost else {
                self.lost.retain(|k| *k != key);
                continue;
            };
            let old = now.mono >= since + REMEMBER_LOST && e.handle.is_none() && e.acked == e.read;
            if old && self.fs.stat(&self.folder_of(key)).is_ok() {
                self.lost.retain(|k| *k != key);
                self.remove(key);
            }
        }
    }

    /// The file of a lost entry was read to its end and closed: its compressed form, if any, holds nothing new.
    pub(super) fn drained(&mut self, key: Key) {
        self.close(key);
        self.entry_mut(key).drained = true;
        self.missing.push(key);
        self.relook = true;
    }

    /// Whether a rotated file is shorter than what was read because it is a copy that was made before the end was
    /// written: it begins as it must, and nobody rewrites a rotated file.
    pub(super) fn is_shorter_copy(&self, key: Key) -> bool {
        let e = self.entry(key);
        let telling = e.rotated && e.codec == Codec::Plain && !e.head.is_blank() && e.handle.is_none();
        telling && self.first_bytes(&e.path).is_ok_and(|(_, head)| e.head.begins(&head))
    }

    pub(super) fn still_is(&self, key: Key, path: &Path) -> bool {
        let e = self.entry(key);
        if e.head.len == 0 {
            // It was empty when last seen: nothing of it is lost by taking the file for a new one, which is read from 0.
            return false;
        }
        if e.codec == Codec::Plain {
            return self.continues_at(key, path);
        }
        self.first_bytes(path).is_ok_and(|(codec, head)| codec == e.codec && e.head.begins(&head))
    }

    pub(super) fn folder_of(&self, key: Key) -> PathBuf {
        let e = self.entry(key);
        e.home.as_deref().unwrap_or(&e.path).parent().unwrap_or(Path::new("/")).to_owned()
    }
}
