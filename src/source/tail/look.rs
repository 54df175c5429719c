//! Looking: compares what is known with what is there, and carries out the verdicts. Knows no bytes beyond the prints.
//! Invariant: after a look every known name leads to the entry that holds its identity.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::{Entry, Fs, Key, Map, NOWHERE, Notice, REMEMBER_LOST, Table, blank, copies::FolderIndex};
use crate::{
    model::{Codec, Generation, Print},
    source::{
        StartAt,
        discover::Walk,
        fs::{File, Kind, Stat},
        rotation::{self, Known, Verdict},
        tail::copies::{Stranger, Twin},
    },
};

/// Quiet files that are looked at per poll, whether hints work or not: a missed hint is found out after
/// (files / SWEEP) polls. 256 look-ups a second cost some 0.05 % of a core.
const SWEEP: usize = 256;
/// A file counts as active for this many polls after it changed.
pub(super) const HOT_LOOKS: u64 = 30;
/// All folders are listed anew every so many polls, whatever their times say.
const FULL_EVERY: u64 = 64;

/// The time, twice: for intervals, and as nanoseconds since 1970 for comparing with files'.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub mono: Instant,
    pub wall: i64,
}

/// How much to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Everything: at the start, after lost hints, or where hints do not work.
    All,
    /// A poll: changed folders, active files, some of the others.
    Due,
    /// These paths changed.
    Hinted(Vec<PathBuf>),
}

/// What a look collects before it acts.
#[derive(Default)]
struct Findings {
    fresh: Vec<(PathBuf, Stat)>,
    missing: Vec<Key>,
}

impl<F: Fs> Table<F> {
    /// Compares the table with the disk.
    pub fn look(&mut self, now: Now, scope: &Scope) {
        self.relook = false;
        let mut findings = Findings { missing: std::mem::take(&mut self.missing), ..Findings::default() };
        let mut walk_needed = true;
        if let Scope::Hinted(paths) = scope {
            walk_needed = !findings.missing.is_empty();
            for path in paths {
                match self.by_path.get(path.as_path()).copied() {
                    Some(key) => self.check(key, now, &mut findings),
                    None => walk_needed |= self.is_news(path),
                }
            }
            walk_needed |= !findings.missing.is_empty();
        }
        if walk_needed {
            findings.missing.append(&mut self.later);
            self.looks += 1;
            self.walk(now, scope, &mut findings);
        }
        findings.missing.append(&mut self.missing);
        while !findings.missing.is_empty() {
            let missing = std::mem::take(&mut findings.missing);
            self.find_missing(missing, now, &mut findings);
            findings.missing.append(&mut self.missing);
        }
        self.adopt(findings.fresh);
        if self.first.take().is_some() || self.looks == 1 {
            self.end_of_first_look();
        }
        self.forget_lost(now);
        self.free.append(&mut self.freed);
    }

    /// Whether a path that nobody knows is worth a walk: other files of a busy folder are not.
    fn is_news(&mut self, path: &Path) -> bool {
        let Some(folder) = path.parent() else { return false };
        if self.discover.is_candidate(path) {
            self.discover.invalidate(folder);
            return true;
        }
        self.discover.is_stale(&self.fs, folder)
    }

    fn walk(&mut self, now: Now, scope: &Scope, findings: &mut Findings) {
        let force = *scope == Scope::All || self.looks.is_multiple_of(FULL_EVERY);
        let Walk { found, listed, folders, refused } = self.discover.walk(&self.fs, force, now.wall);
        for (folder, error) in refused {
            self.complain(&folder, &error.to_string(), "cannot look into this folder; it is tried again");
        }
        self.folders_changed |= self.folders != folders;
        self.folders = folders;
        for path in found {
            self.observe(path, now, findings);
        }
        for path in std::mem::take(&mut self.again) {
            self.observe(path, now, findings);
        }
        for key in self.due(scope, &listed) {
            if self.entries[key.0 as usize].as_ref().is_some_and(|e| e.last_look != self.looks) {
                self.check(key, now, findings);
            }
        }
    }

    /// The entries to compare in this look besides those that were found by name.
    fn due(&mut self, scope: &Scope, listed: &std::collections::BTreeSet<PathBuf>) -> Vec<Key> {
        if matches!(scope, Scope::Hinted(_)) && listed.is_empty() {
            return Vec::new();
        }
        if *scope == Scope::All {
            return self.keys().filter(|k| self.entry(*k).lost.is_none()).collect();
        }
        let looks = self.looks;
        let mut hot = std::mem::take(&mut self.hot);
        hot.retain(|key| {
            let Some(e) = self.entries[key.0 as usize].as_mut() else { return false };
            if e.hot < looks {
                e.hot = 0;
            }
            e.hot != 0
        });
        self.hot.clone_from(&hot);
        let mut due = hot;
        let total = self.entries.len();
        for i in 0..SWEEP.min(total) {
            let at = (self.sweep + i) % total;
            if self.entries[at].is_some() {
                due.push(Key(u32::try_from(at).expect("keys are 32 bits")));
            }
        }
        self.sweep = (self.sweep + SWEEP) % total.max(1);
        if !listed.is_empty() {
            due.extend(self.keys().filter(|k| listed.contains(self.folder_of(*k).as_path())));
        }
        due.retain(|k| self.entry(*k).lost.is_none());
        due
    }

    /// A name that matches: whose is it?
    fn observe(&mut self, path: PathBuf, now: Now, findings: &mut Findings) {
        let stat = match self.fs.stat(&path) {
            Ok(stat) if stat.kind == Kind::Regular => stat,
            Ok(stat) if stat.kind == Kind::Directory => return,
            Ok(_) => return self.complain(&path, "not a regular file", "this name matches and is skipped"),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return,
            Err(e) => return self.complain(&path, &e.to_string(), "cannot look at this file; it is tried again"),
        };
        let at_path = self.by_path.get(path.as_path()).copied();
        let Some(key) = self.by_id.get(&stat.id).copied() else {
            findings.missing.extend(at_path.inspect(|k| self.displace(*k)));
            findings.fresh.push((path, stat));
            return;
        };
        self.entry_mut(key).last_look = self.looks;
        if at_path == Some(key) {
            return self.judge(key, Some(stat), now, findings);
        }
        findings.missing.extend(at_path.inspect(|k| self.displace(*k)));
        let other_name =
            self.entry(key).lost.is_none() && self.fs.stat(&self.entry(key).path).is_ok_and(|s| s.id == stat.id);
        if other_name {
            return;
        }
        if self.entry(key).handle.is_some() || self.still_is(key, &path) {
            self.rename(key, path, now.mono);
            self.judge(key, Some(stat), now, findings);
        } else {
            // The number was given to a new file; the old one is to be looked for by its content.
            self.displace(key);
            self.by_id.remove(&stat.id);
            self.entry_mut(key).id = NOWHERE;
            findings.missing.push(key);
            findings.fresh.push((path, stat));
        }
    }

    fn check(&mut self, key: Key, now: Now, findings: &mut Findings) {
        self.entry_mut(key).last_look = self.looks;
        let seen = match self.fs.stat(&self.entry(key).path) {
            Ok(stat) => Some(stat),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            // Not known to be gone: a share that does not answer, a folder that may not be entered any more.
            Err(e) => {
                let path = Arc::clone(&self.entry(key).path);
                return self.complain(&path, &e.to_string(), "cannot look at this file; its place is kept");
            }
        };
        self.judge(key, seen, now, findings);
    }

    fn judge(&mut self, key: Key, seen: Option<Stat>, now: Now, findings: &mut Findings) {
        let e = self.entry(key);
        if let Some(stat) = seen
            && e.rotated
            && (e.head.len, e.read) == (0, 0)
            && stat.size > 0
            && stat.id == e.id
            && e.handle.is_none()
        {
            // An empty rotated file that fills: rather another file with its number. It is judged as a new one.
            let path = e.path.to_path_buf();
            self.remove(key);
            findings.fresh.push((path, stat));
            return;
        }
        let read = (e.codec == Codec::Plain).then_some(e.read);
        let known = Known { id: e.id, read, size: e.size, mtime: e.mtime };
        match rotation::judge(&known, seen.as_ref()) {
            Verdict::Same => {
                let e = self.entry_mut(key);
                e.lost = None;
                if e.verify || e.size > e.read + e.pending.len as u64 && e.codec == Codec::Plain {
                    self.queue(key);
                }
            }
            Verdict::Touched => {
                let stat = seen.expect("touched means seen");
                let e = self.entry_mut(key);
                (e.size, e.mtime, e.lost, e.verify) = (stat.size, stat.mtime, None, true);
                self.complaints.remove(&*self.entries[key.0 as usize].as_ref().expect("live").path);
                self.queue(key);
            }
            Verdict::Truncated => {
                let e = self.entry_mut(key);
                // The old length, as far as it is known: what was unread of it may be lost.
                e.unread = e.size.saturating_sub(e.read);
                self.restarted(key, now.mono);
            }
            Verdict::Replaced => {
                // Found while checking, not while listing: the next walk sees the new file.
                self.displace(key);
                findings.missing.push(key);
                let folder = self.folder_of(key);
                self.discover.invalidate(&folder);
                self.relook = true;
            }
            Verdict::Gone => {
                self.displace(key);
                findings.missing.push(key);
            }
        }
    }

    /// The name does not lead to this entry any more.
    fn displace(&mut self, key: Key) {
        let path = Arc::clone(&self.entry(key).path);
        if self.by_path.get(&path) == Some(&key) {
            self.by_path.remove(&path);
        }
    }

    fn rename(&mut self, key: Key, path: PathBuf, now: Instant) {
        self.displace(key);
        let matches = self.discover.matches(&path);
        let path: Arc<Path> = path.into();
        let old = self.set_path(key, Arc::clone(&path));
        self.lost.retain(|k| *k != key);
        let e = self.entry_mut(key);
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
        let was_rotated;
        let (path, home, id, unread) = {
            let e = self.entry_mut(key);
            let id = std::mem::replace(&mut e.id, NOWHERE);
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

    fn find_missing(&mut self, missing: Vec<Key>, now: Now, findings: &mut Findings) {
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
    fn rebind(&mut self, key: Key, to: &Stranger) {
        self.unlink(key);
        self.close(key);
        self.lost.retain(|k| *k != key);
        let path: Arc<Path> = to.path.clone().into();
        let file = if to.codec == Codec::Plain { self.fs.open(&path).ok() } else { None };
        let drained = self.entry(key).drained;
        let old = self.set_path(key, Arc::clone(&path));
        let e = self.entry_mut(key);
        e.rotated |= old != path;
        tracing::info!(from = %old.display(), to = %path.display(), offset = e.read, "file goes on under another name");
        (e.id, e.codec, e.home, e.lost) = (to.stat.id, to.codec, None, None);
        (e.size, e.mtime, e.verify, e.refused) = (to.stat.size, to.stat.mtime, true, false);
        e.done = drained && to.codec != Codec::Plain;
        if e.until.is_some() {
            e.until = if to.codec == Codec::Plain { Some(to.stat.size) } else { Some(u64::MAX) };
        }
        if to.codec == Codec::Plain && to.stat.size < e.read {
            e.read = to.stat.size;
            let mut buf = [0; Print::MAX];
            let n = usize::try_from(e.read.min(Print::MAX as u64)).expect("at most MAX");
            if let Some(Ok(got)) = file.map(|f| f.read_at(&mut buf[..n], e.read - n as u64)) {
                e.tail = Print::of_tail(&buf[..got]);
            }
            if e.acked > e.read {
                (e.acked, e.acked_tail) = (e.read, e.tail);
            }
        }
        self.twins.remove(&to.stat.id);
        self.by_path.insert(path, key);
        self.by_id.insert(to.stat.id, key);
        self.notice(Notice::Rotated);
        self.bound(key);
        self.queue(key);
    }

    /// No name leads to the file. What is open is read to its end; the rest is remembered for a while.
    fn lose(&mut self, key: Key, now: Instant) {
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

    /// New names: followed from their first byte, unless they hold what is followed already.
    fn adopt(&mut self, mut fresh: Vec<(PathBuf, Stat)>) {
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
    fn learn_head(&mut self, of: Key, copy: &Path, sure: bool) {
        if sure
            && self.entry(of).head.len == 0
            && let Ok((Codec::Plain, head)) = self.first_bytes(copy)
        {
            self.entry_mut(of).head = Print::of_head(&head);
            self.bound(of);
        }
    }

    fn continues_a_lost_one(&mut self, path: &Path, stat: &Stat) -> bool {
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

    fn create(&mut self, path: PathBuf, stat: Stat, first: Option<StartAt>) {
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
    fn last_line_start(&self, path: &Path, size: u64) -> (u64, Print) {
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

    fn end_of_first_look(&mut self) {
        if self.once {
            for key in self.keys() {
                let e = self.entry_mut(key);
                e.until.get_or_insert(if e.codec == Codec::Plain { e.size } else { u64::MAX });
            }
        }
    }

    /// Files that have been gone for long are forgotten, but not while their folder is away too.
    fn forget_lost(&mut self, now: Now) {
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

    fn is_rotated_sibling(&self, path: &Path) -> bool {
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

    fn new_generation(&mut self) -> Generation {
        loop {
            let generation = Generation(self.random.u64(1..));
            if !self.by_generation.contains_key(&generation) {
                return generation;
            }
        }
    }

    fn complain(&mut self, path: &Path, error: &str, message: &str) {
        if self.complaints.insert(path.to_owned()) {
            tracing::warn!(path = %path.display(), error, "{message}");
        }
    }
}
