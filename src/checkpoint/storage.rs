//! Where a journal's bytes are kept: the disk, or a simulation of one. Knows no lines.
//! Invariant: after `replace` returned, a crash leaves either the old bytes or the new ones, never a mix.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// An append-only file that can be replaced as a whole.
pub trait Storage {
    /// All bytes; `None` if there is no file.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>>;
    /// Adds bytes at the end. They survive the end of the process, and a power cut only after `sync`.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
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
}

impl DiskStorage {
    /// Touches nothing yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None }
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

    fn sync(&mut self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), fs::File::sync_data)
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
