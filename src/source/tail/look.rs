//! Looking: compares what is known with what is there, and carries out the verdicts. Knows no bytes beyond the prints.
//! Invariant: after a look every known name leads to the entry that holds its identity.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Fs, Key, NOWHERE, Table};
use crate::{
    model::{Codec, Now},
    source::{
        discover::Walk,
        fs::{Kind, Stat},
        rotation::{self, Known, Verdict},
    },
};

/// Quiet files that are looked at per poll, whether hints work or not: a missed hint is found out after
/// (files / SWEEP) polls. 256 look-ups a second cost some 0.05 % of a core.
const SWEEP: usize = 256;
/// A file counts as active for this many polls after it changed.
pub(super) const HOT_LOOKS: u64 = 30;
/// All folders are listed anew every so many polls, whatever their times say.
const FULL_EVERY: u64 = 64;

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
pub(super) struct Findings {
    pub(super) fresh: Vec<(PathBuf, Stat)>,
    pub(super) missing: Vec<Key>,
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
        self.open_doubtful(now.mono);
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
        let Walk { found, listed, folders, replaced, refused } = self.discover.walk(&self.fs, force, now.wall);
        for (folder, error) in refused {
            self.complain(&folder, &error.to_string(), "cannot look into this folder; it is tried again");
        }
        self.folders_changed |= self.folders != folders || !replaced.is_empty();
        self.replaced.extend(replaced);
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
        // A file that is left out by its old name, and by this one is not, is followed again.
        self.entry_mut(key).parked = false;
        if at_path == Some(key) {
            return self.judge(key, Some(stat), now, findings);
        }
        findings.missing.extend(at_path.inspect(|k| self.displace(*k)));
        if *self.entry(key).path == *path {
            // Two entries claimed the name since a crash came between two lines of the journal.
            self.by_path.insert(Arc::clone(&self.entry(key).path), key);
            return self.judge(key, Some(stat), now, findings);
        }
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
        // As if nobody had looked since: whatever becomes of it is found out when it is followed again.
        if self.entry(key).parked {
            return;
        }
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

    pub(super) fn judge(&mut self, key: Key, seen: Option<Stat>, now: Now, findings: &mut Findings) {
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
            Verdict::Truncated if self.is_shorter_copy(key) => {
                let stat = seen.expect("truncated means seen");
                let e = self.entry_mut(key);
                (e.size, e.mtime, e.done) = (stat.size, stat.mtime, true);
                self.bound(key);
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

    pub(super) fn complain(&mut self, path: &Path, error: &str, message: &str) {
        if self.complaints.insert(path.to_owned()) {
            tracing::warn!(path = %path.display(), error, "{message}");
        }
    }
}
