//! A file system in memory: names, inodes that are reused at once, open files that outlive their names, faults.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use headwater::{
    model::FileId,
    source::fs::{File, Fs, Kind, Stat},
};

#[derive(Debug, Default)]
pub struct Inode {
    pub number: u64,
    pub data: Vec<u8>,
    pub mtime: i64,
}

#[derive(Debug, Default)]
pub struct State {
    pub names: BTreeMap<PathBuf, Arc<Mutex<Inode>>>,
    free: Vec<u64>,
    next: u64,
    pub folder_mtime: i64,
    pub now: i64,
    /// Every read fails.
    pub reads_fail: bool,
    /// Nothing may be opened.
    pub denied: bool,
    /// Planted bug: files are told apart by nothing but their name.
    pub identity_by_name: bool,
    /// Planted bug: a file that is not watched never seems to shrink.
    pub hide_truncation_of: Option<String>,
    seen_sizes: BTreeMap<u64, u64>,
}

/// A handle on the whole disk; clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Sim(Arc<Mutex<State>>);

pub const FOLDER: &str = "/logs";

impl Sim {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    pub fn path(name: &str) -> PathBuf {
        Path::new(FOLDER).join(name)
    }

    pub fn exists(&self, name: &str) -> bool {
        self.names.contains_key(&Self::path(name))
    }

    pub fn inode(&self, name: &str) -> Option<Arc<Mutex<Inode>>> {
        self.names.get(&Self::path(name)).cloned()
    }

    /// Opens for appending, creating if need be, as a logger does.
    pub fn create(&mut self, name: &str) -> Arc<Mutex<Inode>> {
        if let Some(inode) = self.inode(name) {
            return inode;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        let inode = Arc::new(Mutex::new(Inode { number, data: Vec::new(), mtime: self.now }));
        self.names.insert(Self::path(name), Arc::clone(&inode));
        self.folder_mtime = self.now;
        inode
    }

    pub fn append(&mut self, inode: &Arc<Mutex<Inode>>, bytes: &[u8]) {
        let mut inode = inode.lock().unwrap();
        inode.data.extend_from_slice(bytes);
        inode.mtime = self.now;
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        let inode = self.names.remove(&Self::path(from)).expect("the caller looked");
        self.unlink(to);
        self.names.insert(Self::path(to), inode);
        self.folder_mtime = self.now;
    }

    pub fn unlink(&mut self, name: &str) {
        if let Some(inode) = self.names.remove(&Self::path(name)) {
            self.folder_mtime = self.now;
            // The number is free for the next file as soon as nobody has the old one open.
            let number = inode.lock().unwrap().number;
            if Arc::strong_count(&inode) == 1 {
                self.free.push(number);
            }
        }
    }

    pub fn replace(&mut self, name: &str, data: Vec<u8>, mtime: i64) {
        self.unlink(name);
        let inode = self.create(name);
        let mut inode = inode.lock().unwrap();
        (inode.data, inode.mtime) = (data, mtime);
    }

    pub fn truncate(&mut self, name: &str) {
        if let Some(inode) = self.inode(name) {
            let mut inode = inode.lock().unwrap();
            inode.data.clear();
            inode.mtime = self.now;
        }
    }
}

#[derive(Debug)]
pub struct Open {
    inode: Arc<Mutex<Inode>>,
    sim: Sim,
}

fn stat_of(inode: &Inode) -> Stat {
    let id = FileId { dev: 7, ino: inode.number };
    Stat { id, kind: Kind::Regular, size: inode.data.len() as u64, mtime: inode.mtime }
}

impl File for Open {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.sim.state().reads_fail {
            return Err(io::Error::other("simulated read error"));
        }
        let inode = self.inode.lock().unwrap();
        let from = usize::try_from(offset).unwrap().min(inode.data.len());
        let n = buf.len().min(inode.data.len() - from);
        buf[..n].copy_from_slice(&inode.data[from..from + n]);
        Ok(n)
    }

    fn stat(&self) -> io::Result<Stat> {
        let mut stat = stat_of(&self.inode.lock().unwrap());
        let state = self.sim.state();
        if state.identity_by_name {
            let name = state.names.iter().find(|(_, i)| Arc::ptr_eq(i, &self.inode)).map(|(n, _)| n.clone());
            stat.id.ino = name.map_or(stat.id.ino, |n| by_name(&n));
        }
        Ok(stat)
    }
}

fn by_name(path: &Path) -> u64 {
    path.as_os_str().as_encoded_bytes().iter().fold(1_000, |n, b| n * 31 % 1_000_003 + u64::from(*b))
}

impl Fs for Sim {
    type File = Open;

    fn list(&self, folder: &Path) -> io::Result<Vec<(OsString, Kind)>> {
        if folder != Path::new(FOLDER) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(self.state().names.keys().map(|p| (p.file_name().unwrap().to_owned(), Kind::Regular)).collect())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let mut state = self.state();
        if path == Path::new(FOLDER) {
            let id = FileId { dev: 7, ino: 0 };
            return Ok(Stat { id, kind: Kind::Directory, size: 0, mtime: state.folder_mtime });
        }
        if path == Path::new("/") {
            return Ok(Stat { id: FileId { dev: 7, ino: u64::MAX }, kind: Kind::Directory, size: 0, mtime: 0 });
        }
        let inode = state.names.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        let mut stat = stat_of(&inode.lock().unwrap());
        if state.identity_by_name {
            stat.id.ino = by_name(path);
        }
        if state.hide_truncation_of.as_ref().is_some_and(|s| path.to_string_lossy().contains(s.as_str())) {
            let seen = state.seen_sizes.entry(stat.id.ino).or_default();
            *seen = stat.size.max(*seen);
            stat.size = *seen;
        }
        Ok(stat)
    }

    fn resolve(&self, _path: &Path) -> Option<PathBuf> {
        None
    }

    fn open(&self, path: &Path) -> io::Result<Open> {
        let state = self.state();
        if state.denied {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let inode = state.names.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Open { inode, sim: self.clone() })
    }
}
