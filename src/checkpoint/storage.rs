//! Where a journal's bytes are kept: the disk, or a simulation of one. Knows no lines.
//! Invariant: after `replace` returned, a crash leaves either the old bytes or the new ones, never a mix.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

/// An append-only file that can be replaced as a whole.
pub trait Storage {
    /// All bytes; `None` if there is no file.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>>;
    /// Adds bytes at the end. They survive the end of the process, and a power cut only after `sync`.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was appended survive a power cut: at the return if `wait`, else soon; then the error of an earlier call
    /// is reported by a later one.
    fn sync(&mut self, wait: bool) -> io::Result<()>;
    /// Puts `bytes` in the place of all there is; durable when it returns.
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The name for messages.
    fn name(&self) -> &Path;
}

/// A file on disk: write, fsync, rename, fsync of the folder.
#[derive(Debug)]
pub struct DiskStorage {
    path: PathBuf,
    file: Option<fs::File>,
    syncer: Syncer,
}

/// A thread that calls fsync: on a busy disk that takes seconds, in which a flow has better things to do.
#[derive(Debug, Default)]
struct Syncer {
    requests: Option<mpsc::Sender<fs::File>>,
    state: Arc<SyncState>,
}

#[derive(Debug, Default)]
struct SyncState {
    pending: AtomicUsize,
    failure: Mutex<Option<io::Error>>,
}

impl Syncer {
    /// The error of an earlier request, once.
    fn failure(&self) -> Option<io::Error> {
        self.state.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn request(&mut self, file: &fs::File) -> io::Result<()> {
        // One that has not begun yet will cover what was appended until it does.
        if self.state.pending.load(Ordering::Acquire) >= 2 {
            return Ok(());
        }
        let requests = match &self.requests {
            Some(requests) => requests,
            None => self.requests.insert(start_syncing(Arc::clone(&self.state))?),
        };
        let file = file.try_clone()?;
        self.state.pending.fetch_add(1, Ordering::AcqRel);
        requests.send(file).map_err(|_| io::Error::other("the thread that calls fsync is gone"))
    }
}

/// Ends when the sender is dropped.
fn start_syncing(state: Arc<SyncState>) -> io::Result<mpsc::Sender<fs::File>> {
    let (requests, files) = mpsc::channel::<fs::File>();
    thread::Builder::new().name("checkpoint-sync".to_owned()).spawn(move || {
        for file in files {
            if let Err(error) = file.sync_data() {
                *state.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            state.pending.fetch_sub(1, Ordering::AcqRel);
        }
    })?;
    Ok(requests)
}

impl DiskStorage {
    /// Touches nothing yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, syncer: Syncer::default() }
    }

    fn folder(&self) -> &Path {
        self.path.parent().expect("a journal stands in the state directory")
    }
}

/// Makes a folder for state, and those above it, for its owner and group only.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)
}

impl Storage for DiskStorage {
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        match fs::File::open(&self.path) {
            Ok(mut file) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A file that was deleted under our hands would swallow every line.
        if self.file.is_some() && !self.path.exists() {
            self.file = None;
            return Err(io::Error::new(io::ErrorKind::NotFound, "the checkpoint was deleted while in use"));
        }
        if self.file.is_none() {
            self.file = Some(fs::OpenOptions::new().append(true).open(&self.path)?);
        }
        self.file.as_mut().expect("just opened").write_all(bytes)
    }

    fn sync(&mut self, wait: bool) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if let Some(error) = self.syncer.failure() {
            return Err(error);
        }
        if wait { file.sync_data() } else { self.syncer.request(file) }
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        make_folder(self.folder())?;
        let new = self.path.with_extension("new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&new)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if let Err(e) = written {
            let _ = fs::remove_file(&new);
            return Err(e);
        }
        fs::rename(&new, &self.path)?;
        fs::File::open(self.folder())?.sync_all()?;
        self.file = Some(fs::OpenOptions::new().append(true).open(&self.path)?);
        Ok(())
    }

    fn name(&self) -> &Path {
        &self.path
    }
}
