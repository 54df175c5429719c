//! Which paths match now. Knows globs and folders, nothing of what was read. Keeps no list of paths, only which folders
//! did not change since they were listed, so that ten thousand quiet files cost one look at their folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{
    model::FileId,
    source::{
        Pattern,
        fs::{Fs, Kind, Stat},
        rotation,
    },
};

/// Folders deeper than this below a pattern's root are not searched: a cycle of mounts, not a log folder.
const MAX_DEPTH: usize = 32;
/// A folder changed within this time of being listed may have changed again within the same tick of its clock.
const RACY_NANOS: i64 = 2_000_000_000;

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Matching names of the folders that changed (or all, if forced), in order.
    pub(super) found: Vec<PathBuf>,
    /// The folders whose names were read anew.
    pub(super) listed: BTreeSet<PathBuf>,
    /// Every folder that was looked into, changed or not: to be watched.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Folders that are others than those of the same name before: what watched the old ones sees nothing.
    pub(super) replaced: Vec<PathBuf>,
    /// Folders that could not be read, with the reason.
    pub(super) refused: Vec<(PathBuf, io::Error)>,
}

#[derive(Debug)]
struct Listed {
    mtime: i64,
    id: FileId,
    racy: bool,
    subfolders: Vec<PathBuf>,
}

/// The search for a flow's files.
#[derive(Debug)]
pub(super) struct Discover {
    patterns: Vec<Pattern>,
    exclude: Vec<Pattern>,
    listed: BTreeMap<PathBuf, Listed>,
}

impl Discover {
    pub(super) fn new(patterns: Vec<Pattern>, exclude: Vec<Pattern>) -> Self {
        Self { patterns, exclude, listed: BTreeMap::new() }
    }

    /// Whether a path is one of the flow's, by its name alone.
    pub(super) fn matches(&self, path: &Path) -> bool {
        self.patterns.iter().any(|p| p.matches(path)) && !self.is_excluded(path)
    }

    /// Whether the configuration leaves a path out, whatever else matches it.
    pub(super) fn is_excluded(&self, path: &Path) -> bool {
        self.exclude.iter().any(|p| excluded(p, path))
    }

    /// Whether a path's name is one that rotation gives to one of the flow's files.
    fn is_rotated_from_match(&self, folder: &Path, path: &Path) -> bool {
        let bases = path.file_name().map(rotation::bases).unwrap_or_default();
        !self.is_excluded(path) && bases.iter().any(|base| self.matches(&folder.join(OsStr::from_bytes(base))))
    }

    /// Lists what matches (and what was rotated away from a name that does) in the folders that changed since the last walk, or in all if `force`.
    /// `now` is the time of day in nanoseconds since 1970.
    pub(super) fn walk<F: Fs>(&mut self, fs: &F, force: bool, now: i64) -> Walk {
        let mut walk = Walk::default();
        let before = std::mem::take(&mut self.listed);
        for index in 0..self.patterns.len() {
            let pattern = &self.patterns[index];
            let depth = if pattern.text().contains("**") {
                MAX_DEPTH
            } else {
                let root = pattern.root().components().count();
                Path::new(pattern.text()).components().count().saturating_sub(root + 1)
            };
            let root = pattern.root();
            // Anew for each pattern: a folder may be reached under another name, and match by that one only.
            let mut visited = BTreeSet::new();
            self.folder(fs, &root, depth, &before, force, now, &mut visited, &mut walk);
        }
        walk.found.sort();
        walk.found.dedup();
        walk
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one recursion; a struct would be taken apart at once")]
    fn folder<F: Fs>(
        &mut self,
        fs: &F,
        folder: &Path,
        depth: usize,
        before: &BTreeMap<PathBuf, Listed>,
        force: bool,
        now: i64,
        visited: &mut BTreeSet<(FileId, usize)>,
        walk: &mut Walk,
    ) {
        let stat = match fs.stat(folder) {
            Ok(stat) if stat.kind == Kind::Directory => stat,
            Ok(_) => return,
            Err(e) => {
                walk.folders.extend(nearest_folder(fs, folder));
                if e.kind() != io::ErrorKind::NotFound {
                    walk.refused.push((folder.to_owned(), e));
                }
                return;
            }
        };
        if !visited.insert((stat.id, depth)) {
            return;
        }
        walk.folders.insert(folder.to_owned());
        if before.get(folder).is_some_and(|old| old.id != stat.id) {
            walk.replaced.push(folder.to_owned());
        }
        let subfolders = match before.get(folder) {
            Some(old) if !force && !old.racy && old.mtime == stat.mtime && old.id == stat.id => old.subfolders.clone(),
            _ if self.listed.contains_key(folder) => self.listed[folder].subfolders.clone(),
            _ => match self.list(fs, folder, walk) {
                Ok(subfolders) => subfolders,
                Err(e) => {
                    walk.refused.push((folder.to_owned(), e));
                    return;
                }
            },
        };
        if depth > 0 {
            for sub in &subfolders {
                self.folder(fs, sub, depth - 1, before, force, now, visited, walk);
            }
        }
        self.remember(folder, &stat, now, subfolders);
    }

    fn list<F: Fs>(&self, fs: &F, folder: &Path, walk: &mut Walk) -> io::Result<Vec<PathBuf>> {
        let mut subfolders = Vec::new();
        walk.listed.insert(folder.to_owned());
        for (name, kind) in fs.list(folder)? {
            let path = folder.join(name);
            let kind = match kind {
                Kind::Link => fs.stat(&path).map_or(Kind::Other, |s| s.kind),
                kind => kind,
            };
            if kind == Kind::Directory {
                subfolders.push(path);
            } else if self.matches(&path) || self.is_rotated_from_match(folder, &path) {
                walk.found.push(path);
            }
        }
        subfolders.sort();
        Ok(subfolders)
    }

    fn remember(&mut self, folder: &Path, stat: &Stat, now: i64, subfolders: Vec<PathBuf>) {
        let racy = now.saturating_sub(stat.mtime) < RACY_NANOS;
        self.listed.insert(folder.to_owned(), Listed { mtime: stat.mtime, id: stat.id, racy, subfolders });
    }

    /// Whether a path is to be looked at by its name: one of the flow's, or rotated away from one.
    pub(super) fn is_candidate(&self, path: &Path) -> bool {
        self.matches(path) || path.parent().is_some_and(|folder| self.is_rotated_from_match(folder, path))
    }

    /// Whether a folder changed since it was listed.
    pub(super) fn is_stale<F: Fs>(&self, fs: &F, folder: &Path) -> bool {
        let known = self.listed.get(folder).map(|l| l.mtime);
        known.is_none() || known != fs.stat(folder).ok().map(|s| s.mtime)
    }

    /// Forgets what was listed in a folder: the next walk lists it again.
    pub(super) fn invalidate(&mut self, folder: &Path) {
        self.listed.remove(folder);
    }
}

fn excluded(pattern: &Pattern, path: &Path) -> bool {
    if pattern.text().contains('/') {
        pattern.matches(path)
    } else {
        path.file_name().is_some_and(|name| pattern.matches(Path::new(name)))
    }
}

/// The closest folder above that exists: where the missing one will appear.
fn nearest_folder<F: Fs>(fs: &F, folder: &Path) -> Option<PathBuf> {
    folder.ancestors().skip(1).find(|f| fs.stat(f).is_ok_and(|s| s.kind == Kind::Directory)).map(Path::to_owned)
}
