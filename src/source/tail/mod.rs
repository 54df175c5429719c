//! The file table: the only owner of each followed file's identity, open handle, read offset and acked offset.
//! Knows no records and no destination. Invariant, per generation: `acked <= read`, and a generation id is never reused.

mod births;
mod copies;
mod entry;
mod look;
mod moves;
mod read;
mod schedule;
mod shores;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::{BuildHasherDefault, Hash},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use entry::{Entry, blank};
pub use look::Scope;
pub use read::{CHUNK, Chunk, Consumed, Read};
pub use schedule::Pending;

use crate::{
    model::{Codec, Doubt, FileId, FileRef, Generation, Mark, Place},
    source::{Options, StartAt, discover::Discover, fs::Fs, rotation},
};

/// A map that iterates in the same order in every run, so that a simulation can be repeated.
type Map<K, V> = HashMap<K, V, BuildHasherDefault<xxhash_rust::xxh3::Xxh3Default>>;

/// A renamed or unlinked file that was quiet for this long is finished: what is left of its last line is a record.
const FINISHED_AFTER: Duration = Duration::from_secs(2);
/// A file that disappeared is remembered for this long, should it come back or turn up compressed.
const REMEMBER_LOST: Duration = Duration::from_hours(1);
/// How many files one flow keeps open at most, 512 by default. Clones see the same, and a change counts from the next file
/// that is opened on. A file that was renamed away or unlinked with unread bytes does not count.
#[derive(Clone, Debug)]
pub struct MostOpen(Arc<AtomicUsize>);

impl MostOpen {
    /// As many as are of use: opening a file anew is cheap.
    pub const USUAL: usize = 512;

    /// At least 1.
    pub fn set(&self, most: usize) {
        self.0.store(most.max(1), Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for MostOpen {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(Self::USUAL)))
    }
}

/// The identity of a file that is nowhere: its old number belongs to another one now.
const NOWHERE: FileId = FileId { dev: 0, ino: 0 };

/// Number of an entry in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(u32);

/// What changed in the table and must be made durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A generation is bound to a file, for the first time or anew.
    Bound(Place),
    /// A generation is gone for good.
    Forgotten(Generation),
}

/// Something people should be able to count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    Rotated,
    Truncated,
    /// A file went away with this many bytes unread.
    BytesLost(u64),
}

/// How far the files of a flow are delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Followed files.
    pub files: usize,
    /// Bytes in them that are not settled, as far as sizes tell.
    pub behind: u64,
    /// The earliest last modification of those that hold such bytes, nanoseconds since 1970.
    pub oldest: Option<i64>,
    /// Bytes that settled since the start.
    pub settled: u64,
}

/// All files of one flow.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, most combinations of which occur")]
pub struct Table<F: Fs> {
    fs: F,
    discover: Discover,
    framing: Framing,
    entries: Vec<Option<Entry<F::File>>>,
    free: Vec<Key>,
    freed: Vec<Key>,
    by_path: Map<Arc<Path>, Key>,
    by_id: Map<FileId, Key>,
    by_generation: Map<Generation, Key>,
    /// Files whose names rotation makes of one another, lost ones included.
    families: Map<u64, Vec<Key>>,
    /// Copies of followed files, which hold nothing new: id of the copy, and what it looked like when compared.
    twins: Map<FileId, copies::Twin>,
    /// Archives that begin like a followed file and proved to be another one.
    others: std::collections::BTreeSet<FileId>,
    ready: VecDeque<Key>,
    ready_rotated: VecDeque<Key>,
    timers: BTreeSet<(Instant, Key)>,
    hot: Vec<Key>,
    open: VecDeque<Key>,
    most_open: MostOpen,
    /// See [`Table::only_orphans`].
    orphans_only: bool,
    sweep: usize,
    looks: u64,
    first: Option<StartAt>,
    once: bool,
    changes: Vec<Change>,
    notices: Vec<Notice>,
    complaints: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
    folders_changed: bool,
    replaced: Vec<PathBuf>,
    relook: bool,
    /// To be searched for with the next look.
    missing: Vec<Key>,
    /// To be searched for with the next walk: something stood in the way.
    later: Vec<Key>,
    /// No name leads to them.
    lost: Vec<Key>,
    /// Names that match and could not be judged yet: looked at again with the next walk.
    again: Vec<PathBuf>,
    /// Not read before it is known what the destination holds of them.
    doubtful: BTreeSet<Key>,
    random: fastrand::Rng,
    /// Bytes that settled since the start.
    settled: u64,
}

/// What the table must know of framing to keep its timers.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    pub header_lines: u32,
    pub lines_timeout: Option<Duration>,
    pub partial_line_timeout: Option<Duration>,
    /// Bytes of a file that are read in one turn.
    pub chunk: usize,
    /// Longest record: bounds what is read again while its end is missing.
    pub max_record: usize,
}

/// How the table starts.
#[derive(Debug)]
pub struct Start {
    /// What the checkpoint held; `None` at the flow's very first start.
    pub places: Option<Vec<Place>>,
    /// Of these it is not known what the destination holds: they are not read before [`Table::found`].
    pub doubts: Vec<Doubt>,
    pub once: bool,
    /// Seed of the generation ids.
    pub seed: u64,
    pub most_open: MostOpen,
    pub now: Instant,
}

impl<F: Fs> Table<F> {
    pub fn new(fs: F, options: &Options, framing: Framing, start: Start) -> Self {
        let default = if start.once { StartAt::Beginning } else { StartAt::End };
        let first = start.places.is_none().then(|| options.start_at.unwrap_or(default));
        let mut table = Self {
            fs,
            discover: Discover::new(options.paths.clone(), options.exclude.clone()),
            framing,
            entries: Vec::new(),
            free: Vec::new(),
            freed: Vec::new(),
            by_path: Map::default(),
            by_id: Map::default(),
            by_generation: Map::default(),
            families: Map::default(),
            twins: Map::default(),
            others: BTreeSet::new(),
            ready: VecDeque::new(),
            ready_rotated: VecDeque::new(),
            timers: BTreeSet::new(),
            hot: Vec::new(),
            open: VecDeque::new(),
            most_open: start.most_open,
            orphans_only: false,
            sweep: 0,
            looks: 0,
            first,
            once: start.once,
            changes: Vec::new(),
            notices: Vec::new(),
            complaints: BTreeSet::new(),
            folders: BTreeSet::new(),
            folders_changed: false,
            replaced: Vec::new(),
            relook: false,
            missing: Vec::new(),
            later: Vec::new(),
            lost: Vec::new(),
            again: Vec::new(),
            doubtful: BTreeSet::new(),
            random: fastrand::Rng::with_seed(start.seed),
            settled: 0,
        };
        for place in start.places.into_iter().flatten() {
            table.restore(place, start.now);
        }
        for doubt in start.doubts {
            if let Some(key) = table.by_generation.get(&doubt.generation).copied() {
                table.entry_mut(key).doubtful = true;
                table.doubtful.insert(key);
            }
        }
        table
    }

    fn restore(&mut self, place: Place, now: Instant) {
        let entry = Entry {
            read: place.acked,
            tail: place.tail,
            acked: place.acked,
            acked_tail: place.tail,
            generation: place.generation,
            codec: place.codec,
            head: place.head,
            size: place.acked,
            mtime: place.mtime,
            done: place.done,
            moved_out: place.moved_out,
            parked: !place.moved_out
                && (self.discover.is_excluded(&place.path)
                    || (!place.rotated && !self.discover.is_candidate(&place.path))),
            // Until it was compared, the file of that name may be any file.
            verify: true,
            rotated: place.rotated,
            lost: place.lost.then_some(now),
            // As far as it can be told now: where the link leads today, older targets may be, too.
            home: self.fs.resolve(&place.path).map(PathBuf::into_boxed_path),
            header_left: if place.acked == 0 { self.framing.header_lines } else { 0 },
            ..blank(place.path, place.id)
        };
        let lost = entry.lost.is_some();
        let key = self.insert(entry);
        if lost {
            self.lost.push(key);
        }
    }

    fn insert(&mut self, entry: Entry<F::File>) -> Key {
        let key = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            Key(u32::try_from(self.entries.len() - 1).expect("fewer than 4 thousand million files"))
        });
        // A name or a number may belong to another file since this one was lost.
        if entry.lost.is_none() {
            self.by_path.insert(Arc::clone(&entry.path), key);
            self.by_id.insert(entry.id, key);
        } else if entry.id != NOWHERE {
            self.by_id.entry(entry.id).or_insert(key);
        }
        self.families.entry(rotation::family(&entry.path)).or_default().push(key);
        let old = self.by_generation.insert(entry.generation, key);
        assert!(old.is_none(), "a generation id was used twice");
        self.entries[key.0 as usize] = Some(entry);
        key
    }

    fn entry(&self, key: Key) -> &Entry<F::File> {
        self.entries[key.0 as usize].as_ref().expect("keys in the table's indices are live")
    }

    fn entry_mut(&mut self, key: Key) -> &mut Entry<F::File> {
        self.entries[key.0 as usize].as_mut().expect("keys in the table's indices are live")
    }

    fn keys(&self) -> impl Iterator<Item = Key> + use<F> {
        let live: Vec<Key> = (0u32..).zip(&self.entries).filter_map(|(i, e)| e.as_ref().map(|_| Key(i))).collect();
        live.into_iter()
    }

    /// Takes a key out of the indices by name and identity, where they still mean it.
    fn unlink(&mut self, key: Key) {
        let (path, id) = (Arc::clone(&self.entry(key).path), self.entry(key).id);
        if self.by_path.get(&path) == Some(&key) {
            self.by_path.remove(&path);
        }
        if self.by_id.get(&id) == Some(&key) {
            self.by_id.remove(&id);
        }
    }

    /// The entry's path, and with it its family, is about to change or to end.
    fn leave_family(&mut self, key: Key) {
        let family = rotation::family(&self.entry(key).path);
        if let Some(keys) = self.families.get_mut(&family) {
            keys.retain(|k| *k != key);
            if keys.is_empty() {
                self.families.remove(&family);
            }
        }
    }

    fn set_path(&mut self, key: Key, path: Arc<Path>) -> Arc<Path> {
        self.leave_family(key);
        self.families.entry(rotation::family(&path)).or_default().push(key);
        std::mem::replace(&mut self.entry_mut(key).path, path)
    }

    fn remove(&mut self, key: Key) {
        self.unlink(key);
        self.leave_family(key);
        self.close(key);
        let generation = self.entry(key).generation;
        self.by_generation.remove(&generation);
        self.timers.retain(|(_, k)| *k != key);
        self.ready.retain(|k| *k != key);
        self.ready_rotated.retain(|k| *k != key);
        self.hot.retain(|k| *k != key);
        self.entries[key.0 as usize] = None;
        self.twins.retain(|_, twin| twin.of != key);
        self.lost.retain(|k| *k != key);
        self.later.retain(|k| *k != key);
        self.doubtful.remove(&key);
        // Not given out again before the end of a look, which may still hold it in a list.
        self.freed.push(key);
        self.changes.push(Change::Forgotten(generation));
    }

    fn bound(&mut self, key: Key) {
        let place = self.place(key);
        self.changes.push(Change::Bound(place));
    }

    fn place(&self, key: Key) -> Place {
        let e = self.entry(key);
        Place {
            generation: e.generation,
            path: Arc::clone(&e.path),
            id: e.id,
            codec: e.codec,
            head: e.head,
            acked: e.acked,
            tail: e.acked_tail,
            mtime: e.mtime,
            rotated: e.rotated,
            moved_out: e.moved_out,
            lost: e.lost.is_some(),
            // Not before all of it has settled: a restart would never read it again.
            done: e.done && e.acked == e.read,
        }
    }

    /// Everything up to the mark has settled. Late news of a generation that is gone are ignored: they cannot move
    /// another one's offset. Returns the mark to make durable and the file's last modification.
    pub fn ack(&mut self, mark: Mark) -> Option<(Mark, i64)> {
        let key = *self.by_generation.get(&mark.generation)?;
        let e = self.entry_mut(key);
        let end = mark.end.min(e.read);
        let tail = if mark.end <= e.read { mark.tail } else { e.tail };
        let newly = end.saturating_sub(e.acked);
        if newly > 0 {
            (e.acked, e.acked_tail) = (end, tail);
        }
        assert!(e.acked <= e.read, "acked {} beyond read {}", e.acked, e.read);
        let durable = (Mark { generation: mark.generation, end: e.acked, tail: e.acked_tail }, e.mtime);
        let finished = e.done && e.acked == e.read;
        self.settled += newly;
        if finished {
            self.bound(key);
        }
        Some(durable)
    }

    /// What must be made durable since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// What there is to count since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Whether the folders to watch changed since the last call.
    pub fn folders_changed(&mut self) -> bool {
        std::mem::take(&mut self.folders_changed)
    }

    /// Folders that were replaced by others of the same name since the last call.
    pub fn take_replaced(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.replaced)
    }

    /// The folders to watch.
    pub fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.folders
    }

    /// All places as they are to be made durable.
    pub fn places(&self) -> Vec<Place> {
        self.keys().map(|k| self.place(k)).collect()
    }

    /// For the batch: which file this is.
    pub fn file_ref(&self, key: Key) -> FileRef {
        let e = self.entry(key);
        FileRef { generation: e.generation, path: Arc::clone(&e.path) }
    }

    /// How far the files are delivered.
    pub fn summary(&self) -> Summary {
        let none = Summary { settled: self.settled, files: 0, behind: 0, oldest: None };
        let live = self.entries.iter().flatten().filter(|e| e.lost.is_none() && !e.parked);
        live.fold(none, |sum, e| {
            let size = if e.codec == Codec::Plain { e.size } else { e.read };
            let behind = size.saturating_sub(e.acked);
            let oldest = if behind > 0 { Some(sum.oldest.map_or(e.mtime, |o| o.min(e.mtime))) } else { sum.oldest };
            Summary { files: sum.files + 1, behind: sum.behind + behind, oldest, ..sum }
        })
    }

    /// Bytes at which reading stands, for checks from outside: (generation, acked, read).
    pub fn offsets(&self) -> Vec<(Generation, u64, u64)> {
        self.entries.iter().flatten().map(|e| (e.generation, e.acked, e.read)).collect()
    }
}
