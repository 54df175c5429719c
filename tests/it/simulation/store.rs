//! A journal's storage in memory: what was written survives the process, what was synced survives a power cut.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use headwater::checkpoint::storage::Storage;

#[derive(Debug, Default)]
pub struct Bytes {
    pub all: Option<Vec<u8>>,
    pub synced: usize,
    /// A sync that nobody waited for: it is done by the next one, or not.
    pub begun: usize,
    pub fails: bool,
    /// Planted bug: no sync is waited for.
    pub never_waits: bool,
    /// Planted bug: nothing is synced but what is written anew as a whole.
    pub sync_does_nothing: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Store(pub Arc<Mutex<Bytes>>);

impl Store {
    /// Power is cut: of what was not synced, some of the beginning is left.
    pub fn cut_power(&self, random: &mut fastrand::Rng) {
        let mut bytes = self.0.lock().unwrap();
        if random.bool() {
            bytes.synced = bytes.synced.max(bytes.begun);
        }
        let synced = bytes.synced;
        bytes.begun = 0;
        if let Some(all) = &mut bytes.all {
            let keep = random.usize(synced..=all.len());
            all.truncate(keep);
        }
    }

    /// Planted bug: the last line with this word was not written in time.
    pub fn forget_last(&self, word: &str) {
        let mut bytes = self.0.lock().unwrap();
        let Some(all) = &bytes.all else { return };
        let mut lines: Vec<&[u8]> = all.split_inclusive(|b| *b == b'\n').collect();
        if let Some(last) = lines.iter().rposition(|line| String::from_utf8_lossy(line).contains(word)) {
            lines.remove(last);
        }
        let all = lines.concat();
        bytes.synced = bytes.synced.min(all.len());
        bytes.begun = bytes.begun.min(all.len());
        bytes.all = Some(all);
    }

    pub fn bytes(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap().all.clone()
    }
}

impl Storage for Store {
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.bytes())
    }

    fn append(&mut self, new: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.lock().unwrap();
        let fails = bytes.fails;
        let all = bytes.all.as_mut().ok_or(io::ErrorKind::NotFound)?;
        if fails {
            all.extend_from_slice(&new[..new.len() / 2]);
            return Err(io::ErrorKind::StorageFull.into());
        }
        all.extend_from_slice(new);
        Ok(())
    }

    fn sync(&mut self, wait: bool) -> io::Result<()> {
        let mut bytes = self.0.lock().unwrap();
        if bytes.fails {
            return Err(io::Error::other("simulated fsync error"));
        }
        if bytes.sync_does_nothing {
            return Ok(());
        }
        let all = bytes.all.as_ref().map_or(0, Vec::len);
        (bytes.synced, bytes.begun) = (bytes.synced.max(bytes.begun), all);
        if wait && !bytes.never_waits {
            bytes.synced = all;
        }
        Ok(())
    }

    fn replace(&mut self, new: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.lock().unwrap();
        if bytes.fails {
            return Err(io::ErrorKind::StorageFull.into());
        }
        (bytes.all, bytes.synced, bytes.begun) = (Some(new.to_vec()), new.len(), new.len());
        Ok(())
    }

    fn name(&self) -> &Path {
        Path::new("/state/sim.journal")
    }
}
