//! A flow's journal: append what changed, write it anew when most of it is history. The only owner of durable offsets.
//! Knows no files but its own. Invariant: `places` is what a reader of the journal would find, once `write` succeeded.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    format::{self, FORMAT, Line},
    reserve::Reserved,
    storage::Storage,
};
use crate::model::{Doubt, Generation, Mark, Place, Reservation};

/// History is thrown away when it is larger than this and than what is live.
const COMPACT_ABOVE: usize = 256 << 10;

/// Why a journal cannot be used. The agent does not start: it never begins anew in silence.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{path}: cannot read the checkpoint: {error}. Give the agent's user access to it, or repair the disk")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error(
        "{path}: line {line} of the checkpoint is damaged, and lines after it are not, so this is no torn write. Restore the file from a backup; or move it away to start anew (files present are then read from their end, or as `start_at` says)"
    )]
    Damaged { path: PathBuf, line: usize },
    #[error(
        "{path}: written by a newer agent (format {found}, this one reads up to {FORMAT}). Install the newer version again; or move the file away to start anew"
    )]
    Newer { path: PathBuf, found: u32 },
    #[error(
        "{path}: this is the checkpoint of flow `{found}`, not of `{expected}`. Put the right file back, or move it away to start anew"
    )]
    OtherFlow { path: PathBuf, found: String, expected: String },
}

/// What opening found.
#[derive(Debug)]
pub struct Opened<S> {
    pub journal: Journal<S>,
    /// `None`: there was no journal, this is the flow's first start.
    pub places: Option<Vec<Place>>,
    /// What may have been sent and is not acked: known only of flows that deliver exactly once.
    pub doubts: Vec<Doubt>,
    /// Bytes of a torn tail that were left out.
    pub torn: usize,
}

/// What a journal says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Contents {
    pub places: BTreeMap<Generation, Place>,
    /// Of generations that have a place.
    pub reserved: BTreeMap<Generation, Reserved>,
}

impl Contents {
    /// What may have been sent and is not acked, as seen under this start and configuration.
    #[must_use]
    pub fn doubts(&self, epoch: u64) -> Vec<Doubt> {
        let doubt = |(generation, reserved): (&Generation, &Reserved)| {
            reserved.doubt(*generation, self.places.get(generation)?.acked, epoch)
        };
        self.reserved.iter().filter_map(doubt).collect()
    }

    /// Appends the lines that say all of it.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        for place in self.places.values() {
            bytes.extend_from_slice(&format::line(&Line::from(place)));
            let reserved = self.reserved.get(&place.generation);
            for line in reserved.into_iter().flat_map(|reserved| reserved.lines(place.generation)) {
                bytes.extend_from_slice(&format::line(&line));
            }
        }
    }
}

/// The journal of one flow.
#[derive(Debug)]
pub struct Journal<S> {
    storage: S,
    flow: String,
    epoch: u64,
    contents: Contents,
    /// Lines not yet written.
    buffer: Vec<u8>,
    /// Bytes in the file; `None`: it must be written anew as a whole.
    size: Option<usize>,
    live_size: usize,
    unsynced: bool,
}

impl<S: Storage> Journal<S> {
    /// Reads what is there; changes nothing. `epoch` tells this start of the machine and this configuration from others;
    /// whoever only looks may give any.
    pub fn open(mut storage: S, flow: &str, epoch: u64) -> Result<Opened<S>, OpenError> {
        let path = storage.name().to_owned();
        let bytes = storage.read().map_err(|error| OpenError::Unreadable { path: path.clone(), error })?;
        let first = bytes.is_none();
        let (mut contents, torn) = match bytes {
            Some(bytes) if bytes.is_empty() => return Err(OpenError::Damaged { path, line: 1 }),
            Some(bytes) => read(&path, flow, &bytes)?,
            None => (Contents::default(), 0),
        };
        contents.reserved.values_mut().for_each(Reserved::restarted);
        let places = (!first).then(|| contents.places.values().cloned().collect());
        let doubts = contents.doubts(epoch);
        let journal = Self {
            storage,
            flow: flow.to_owned(),
            epoch,
            contents,
            buffer: Vec::new(),
            // Whatever was read is written anew once, so that a torn tail never has good lines behind it.
            size: None,
            live_size: 0,
            unsynced: false,
        };
        Ok(Opened { journal, places, doubts, torn })
    }

    /// A generation is bound to a file, or bound anew.
    pub fn bind(&mut self, place: Place) {
        self.buffer.extend_from_slice(&format::line(&Line::from(&place)));
        self.contents.places.insert(place.generation, place);
    }

    /// A generation's offset moved. Unknown generations are ignored.
    pub fn ack(&mut self, mark: Mark, mtime: i64) {
        let Some(place) = self.contents.places.get_mut(&mark.generation) else { return };
        assert!(mark.end >= place.acked, "a durable offset never moves back");
        (place.acked, place.tail, place.mtime) = (mark.end, mark.tail, mtime);
        let reserved = &mut self.contents.reserved;
        if reserved.get_mut(&mark.generation).is_some_and(|reserved| !reserved.acked(mark.end)) {
            reserved.remove(&mark.generation);
        }
        self.buffer.extend_from_slice(&format::line(&Line::acked(&mark, mtime)));
    }

    /// A generation is gone for good.
    pub fn forget(&mut self, generation: Generation) {
        self.contents.reserved.remove(&generation);
        if self.contents.places.remove(&generation).is_some() {
            self.buffer.extend_from_slice(&format::line(&Line::Gone { generation: generation.to_string() }));
        }
    }

    /// Bytes are about to be sent, at this time by the destination's clock. Unknown generations are ignored.
    pub fn reserve(&mut self, reservation: Reservation, at: i64) {
        if !self.contents.places.contains_key(&reservation.generation) {
            return;
        }
        let reserved = self.contents.reserved.entry(reservation.generation).or_default();
        if let Some(new) = reserved.add(reservation, at, self.epoch) {
            self.buffer.extend_from_slice(&format::line(&Line::reserved(&new, at, self.epoch)));
        }
    }

    /// All that was sent of every generation is acked, those for which `keep` holds aside.
    pub fn release(&mut self, keep: impl Fn(Generation) -> bool) {
        let gone: Vec<Generation> = self.contents.reserved.keys().copied().filter(|g| !keep(*g)).collect();
        for generation in gone {
            self.contents.reserved.remove(&generation);
            self.buffer.extend_from_slice(&format::line(&Line::Released { generation: generation.to_string() }));
        }
    }

    /// Whether there is something to write.
    pub fn is_dirty(&self) -> bool {
        !self.buffer.is_empty() || self.size.is_none()
    }

    /// Whether there is something to sync.
    pub fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// Writes what changed; after an error all of it is written anew the next time.
    pub fn write(&mut self) -> io::Result<()> {
        match self.size {
            Some(size) if size <= COMPACT_ABOVE.max(4 * self.live_size) => {
                let written = self.storage.append(&self.buffer);
                self.size = written.is_ok().then_some(size + self.buffer.len());
                written?;
                self.unsynced = true;
            }
            _ => {
                let bytes = self.snapshot();
                self.size = None;
                self.storage.replace(&bytes)?;
                (self.size, self.live_size, self.unsynced) = (Some(bytes.len()), bytes.len(), false);
            }
        }
        self.buffer.clear();
        Ok(())
    }

    /// Makes what was written survive a power cut: at the return if `wait`, else soon.
    pub fn sync(&mut self, wait: bool) -> io::Result<()> {
        let synced = self.storage.sync(wait);
        if synced.is_err() {
            // The kernel may have dropped the pages: only a new file is known to be whole.
            self.size = None;
        }
        self.unsynced = synced.is_err();
        synced
    }

    /// Where the journal stands, for messages.
    pub fn name(&self) -> &Path {
        self.storage.name()
    }

    /// What a reader would find.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.contents.places.values()
    }

    /// The storage back, for a simulation's restart.
    pub fn into_storage(self) -> S {
        self.storage
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut bytes = format::line(&Line::Headwater { format: FORMAT, flow: self.flow.clone() });
        self.contents.write(&mut bytes);
        bytes
    }
}

/// Reads a journal's bytes: what it says, and how many bytes of a torn tail were left out.
pub fn read(path: &Path, flow: &str, bytes: &[u8]) -> Result<(Contents, usize), OpenError> {
    let mut contents = Contents::default();
    let mut good = 0;
    let mut bad: Option<usize> = None;
    let mut offset = 0;
    for (number, raw) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        offset += raw.len();
        let parsed = raw.strip_suffix(b"\n").and_then(format::parse);
        if number == 0 {
            check_header(path, flow, parsed.as_ref(), raw)?;
        }
        match (parsed, bad) {
            (Some(_), Some(line)) => return Err(OpenError::Damaged { path: path.to_owned(), line }),
            (Some(line), None) => {
                apply(&mut contents, line).ok_or(OpenError::Damaged { path: path.to_owned(), line: number + 1 })?;
                good = offset;
            }
            (None, _) => bad = bad.or(Some(number + 1)),
        }
    }
    Ok((contents, bytes.len() - good))
}

fn check_header(path: &Path, flow: &str, parsed: Option<&Line>, raw: &[u8]) -> Result<(), OpenError> {
    let damaged = || OpenError::Damaged { path: path.to_owned(), line: 1 };
    match parsed {
        Some(Line::Headwater { format, flow: found }) if *format <= FORMAT => {
            if found != flow {
                let (found, expected) = (found.clone(), flow.to_owned());
                return Err(OpenError::OtherFlow { path: path.to_owned(), found, expected });
            }
            Ok(())
        }
        Some(Line::Headwater { format, .. }) => Err(OpenError::Newer { path: path.to_owned(), found: *format }),
        Some(_) => Err(damaged()),
        None => match format::foreign_format(raw.strip_suffix(b"\n").unwrap_or(raw)) {
            Some(found) if found > FORMAT => Err(OpenError::Newer { path: path.to_owned(), found }),
            // The file is replaced as a whole when it is made, so its first line is never torn.
            _ => Err(damaged()),
        },
    }
}

fn apply(contents: &mut Contents, line: Line) -> Option<()> {
    let Contents { places, reserved } = contents;
    match line {
        Line::Headwater { .. } => {}
        Line::File(file) => {
            let place = file.place()?;
            places.insert(place.generation, place);
        }
        Line::Acked(acked) => {
            let mark = acked.mark()?;
            if let Some(place) = places.get_mut(&mark.generation) {
                (place.acked, place.tail, place.mtime) = (mark.end, mark.tail, acked.mtime);
            }
            if reserved.get_mut(&mark.generation).is_some_and(|reserved| !reserved.acked(mark.end)) {
                reserved.remove(&mark.generation);
            }
        }
        Line::Gone { generation } => {
            let generation = generation.parse().ok()?;
            places.remove(&generation);
            reserved.remove(&generation);
        }
        Line::Reserved(line) => {
            let reservation = line.reservation()?;
            if places.contains_key(&reservation.generation) {
                reserved.entry(reservation.generation).or_default().replay(reservation, line.at, line.epoch);
            }
        }
        Line::Released { generation } => {
            reserved.remove(&generation.parse().ok()?);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests;
