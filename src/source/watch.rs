//! Hints that something changed, from inotify. Never the truth: a missed hint costs one poll, nothing else.
//! Knows folders, not files; keeps no more than a bounded set of paths.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};

/// Paths that are remembered one by one; beyond, hints count as lost.
const MAX_PATHS: usize = 1024;

/// What was hinted at since the last time somebody took it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hinted {
    pub paths: BTreeSet<PathBuf>,
    /// There were more, or the kernel dropped some: look at everything.
    pub lost: bool,
}

/// A box of hints between the watcher's thread and the flow's. Not on the data path.
#[derive(Clone, Debug, Default)]
pub struct Hints(Arc<Mutex<Hinted>>);

impl Hints {
    /// Takes what there is.
    pub fn take(&self) -> Hinted {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts something in. True: the box was empty, somebody should be woken.
    fn put(&self, paths: Vec<PathBuf>, lost: bool) -> bool {
        let mut hinted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = hinted.paths.is_empty() && !hinted.lost;
        hinted.lost |= lost;
        for path in paths {
            if hinted.paths.len() < MAX_PATHS {
                hinted.paths.insert(path);
            } else {
                hinted.lost |= !hinted.paths.contains(&path);
            }
        }
        was_empty && (hinted.lost || !hinted.paths.is_empty())
    }
}

/// Watches the folders of one flow.
#[derive(Debug)]
pub struct Watcher {
    inner: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    refused: BTreeSet<PathBuf>,
}

impl Watcher {
    /// `wake` is called from the watcher's own thread when the empty box got its first hint.
    ///
    /// # Errors
    /// No more watchers for this user, for instance (`fs.inotify.max_user_instances`).
    pub fn new(hints: Hints, wake: impl Fn() + Send + 'static) -> notify::Result<Self> {
        let inner = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let woken = match event {
                Ok(event) if event.need_rescan() => hints.put(Vec::new(), true),
                Ok(event) if is_change(event.kind) => hints.put(event.paths, false),
                Ok(_) => false,
                Err(_) => hints.put(Vec::new(), true),
            };
            if woken {
                wake();
            }
        })?;
        Ok(Self { inner, watched: BTreeSet::new(), refused: BTreeSet::new() })
    }

    /// Watches these folders and no others. Returns those that cannot be watched and could be before, with the reason.
    pub fn watch(&mut self, folders: &BTreeSet<PathBuf>) -> Vec<(PathBuf, notify::Error)> {
        for gone in self.watched.difference(folders).cloned().collect::<Vec<_>>() {
            // A folder that was deleted is not watched any more by itself.
            let _ = self.inner.unwatch(&gone);
            self.watched.remove(&gone);
        }
        self.refused.retain(|f| folders.contains(f));
        let mut failed = Vec::new();
        for folder in folders.difference(&self.watched).cloned().collect::<Vec<_>>() {
            if is_remote(&folder) {
                // What other machines write there raises no event here.
                self.refused.insert(folder);
                continue;
            }
            match self.inner.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.refused.remove(&folder);
                    self.watched.insert(folder);
                }
                Err(error) => {
                    if self.refused.insert(folder.clone()) {
                        failed.push((folder, error));
                    }
                }
            }
        }
        failed
    }

    /// Whether every folder is watched.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.refused.is_empty()
    }

    /// Forgets a folder that was replaced by another of the same name, so that the new one is watched.
    pub fn forget(&mut self, folder: &PathBuf) {
        if self.watched.remove(folder) {
            let _ = self.inner.unwatch(folder);
        }
    }
}

/// File systems whose changes may come from elsewhere: NFS, SMB and CIFS, FUSE, 9P, Ceph, Lustre, AFS (statfs(2)).
fn is_remote(folder: &Path) -> bool {
    const MAGIC: [u64; 9] =
        [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x6573_5546, 0x0102_1997, 0x00C3_6400, 0x0BD0_0BD0, 0x5346_414F];
    rustix::fs::statfs(folder).is_ok_and(|s| u64::try_from(s.f_type).is_ok_and(|t| MAGIC.contains(&t)))
}

/// Opening and closing for reading, which is what we do ourselves, is no change.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_hint_wakes_and_too_many_are_lost() {
        let hints = Hints::default();
        assert!(hints.put(vec!["/a".into()], false));
        assert!(!hints.put(vec!["/b".into()], false));
        assert_eq!(hints.take(), Hinted { paths: ["/a".into(), "/b".into()].into(), lost: false });
        let many = (0..=MAX_PATHS).map(|i| PathBuf::from(format!("/{i}"))).collect();
        assert!(hints.put(many, false));
        let taken = hints.take();
        assert!(taken.lost && taken.paths.len() == MAX_PATHS);
        assert!(!hints.put(Vec::new(), false));
    }

    #[test]
    fn a_change_in_a_watched_folder_wakes() {
        let folder = tempfile::tempdir().unwrap();
        let hints = Hints::default();
        let (tx, rx) = std::sync::mpsc::channel();
        let mut watcher = Watcher::new(hints.clone(), move || tx.send(()).unwrap()).unwrap();
        assert!(watcher.watch(&[folder.path().to_owned()].into()).is_empty());
        let file = folder.path().join("app.log");
        std::fs::write(&file, "one\n").unwrap();
        rx.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert!(hints.take().paths.contains(&file));
    }
}
