//! From the Java agent's checkpoints of a flow to ours: which file is which by now, and where each goes on. Reads files,
//! writes nothing. Invariant: what the Java agent says it delivered is not read again, and everything else is.

use std::{
    cmp::Reverse,
    collections::HashSet,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use super::database::Row;
use crate::{
    model::{Codec, FileId, Generation, Place, Print},
    source::{
        self,
        fs::{Disk, Fs, Kind, Stat},
        handle::{Handle, codec_of},
        rotation,
    },
};

/// How far back the end of the last complete line is searched for.
const LONGEST_LINE: u64 = 10 << 20;

/// What is to become of a flow.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// `None`: the database knows nothing of the flow.
    pub(super) places: Option<Vec<Place>>,
    /// For people, one a file.
    pub(super) notes: Vec<String>,
}

/// A file as it is now.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    stat: Stat,
    /// Milliseconds since 1970; `None`: this file system does not say.
    created: Option<i64>,
    /// The flow would look at it.
    candidate: bool,
}

impl Seen {
    fn modified(&self) -> i64 {
        self.stat.mtime / 1_000_000
    }

    /// The later in this order, the newer the file. As in the Java agent, of two that were changed at once the smaller is,
    /// unless their names tell more: times are no finer than the kernel's clock.
    fn age(&self) -> (i64, Option<i64>, Reverse<u32>, Reverse<u64>) {
        (self.stat.mtime, self.created, Reverse(self.counter()), Reverse(self.stat.size))
    }

    /// How often the name says that the file was rotated: 2 of `app.log.2`.
    fn counter(&self) -> u32 {
        let extension = self.path.extension().and_then(OsStr::to_str);
        extension.filter(|digits| digits.len() < 6).and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }
}

/// What became of the file that a row names.
enum Fate {
    /// It goes on in this file.
    Here(usize),
    /// This file holds other bytes by now.
    Rewritten(usize, &'static str),
    Gone,
}

/// Compares what the Java agent knew of a flow with what is there; `rows` are the flow's, the newest first.
pub(super) fn plan(options: &source::Options, folder: &Path, rows: &[&Row]) -> Plan {
    let Some(newest) = rows.first() else { return Plan::default() };
    let mut plan = Plan { places: Some(Vec::new()), notes: Vec::new() };
    let files = look(options, folder);
    let mut current = fate(newest, &files);
    if let Fate::Rewritten(_, why) = current
        && let Some(copy) = copy_of(newest, &files)
    {
        plan.notes.push(format!("{}: {why}; what it held goes on in its copy", newest.path.display()));
        current = Fate::Here(copy);
    }
    match current {
        Fate::Here(at) => plan.goes_on(options, &files[at], newest, newest.offset),
        Fate::Rewritten(at, why) => {
            plan.notes.push(format!("{}: from its beginning, {why}", files[at].path.display()));
        }
        Fate::Gone => plan.gone(newest, folder),
    }
    let mut known: HashSet<FileId> = HashSet::new();
    if let Fate::Here(at) | Fate::Rewritten(at, _) = current {
        known.insert(files[at].stat.id);
    }
    for file in files.iter().filter(|file| file.candidate) {
        if !known.insert(file.stat.id) {
            continue;
        }
        let newer = is_newer(file, &current, &files, newest);
        let own = rows.iter().find(|row| row.id == Some(file.stat.id) && matches!(fate_of(row, file), Ok(())));
        let other_log = rotation::family(&file.path) != rotation::family(&newest.path);
        match own {
            Some(row) if newer || other_log => plan.goes_on(options, file, row, row.offset),
            _ if newer => plan.notes.push(format!("{}: from its beginning, it is newer", file.path.display())),
            _ => plan.delivered(options, file),
        }
    }
    plan
}

impl Plan {
    fn bind(&mut self, place: Option<Place>, path: &Path) -> bool {
        if place.is_none() {
            self.notes.push(format!("{}: cannot be read; it is read from its beginning", path.display()));
        }
        let found = place.is_some();
        self.places.get_or_insert_default().extend(place);
        found
    }

    fn goes_on(&mut self, options: &source::Options, file: &Seen, row: &Row, offset: u64) {
        if self.bind(place(options, file, offset, file.path != row.path), &file.path) {
            let renamed =
                if file.path == row.path { String::new() } else { format!("; it was {}", row.path.display()) };
            let note = format!("{}: goes on at byte {offset} of {}{renamed}", file.path.display(), file.stat.size);
            self.notes.push(note);
        }
    }

    fn delivered(&mut self, options: &source::Options, file: &Seen) {
        let end = last_line_end(&file.path, file.stat.size);
        if self.bind(place(options, file, end, false), &file.path) {
            self.notes.push(format!("{}: delivered, it is older; goes on at byte {end}", file.path.display()));
        }
    }

    /// The file is nowhere; perhaps it was compressed.
    fn gone(&mut self, row: &Row, folder: &Path) {
        let shown = row.path.display();
        if let Some(place) = archive_of(row, folder) {
            self.notes.push(format!("{}: goes on at byte {}; it was {shown}", place.path.display(), place.acked));
            self.places.get_or_insert_default().push(place);
        } else {
            let unread = row.size.saturating_sub(row.offset);
            self.notes.push(format!("{shown}: is gone, at least {unread} bytes of it undelivered"));
        }
    }
}

/// The flow's candidates, and every other file of its folder and of the folders right below, where a file may have gone.
fn look(options: &source::Options, folder: &Path) -> Vec<Seen> {
    let mut seen: Vec<Seen> = options.candidates(&Disk).into_iter().filter_map(|path| see(path, true)).collect();
    let names: HashSet<PathBuf> = seen.iter().map(|file| file.path.clone()).collect();
    let mut folders = vec![folder.to_owned()];
    let mut depth = 0;
    while depth < 2 {
        let mut below = Vec::new();
        for folder in std::mem::take(&mut folders) {
            for (name, kind) in Disk.list(&folder).unwrap_or_default() {
                let path = folder.join(name);
                match kind {
                    Kind::Directory => below.push(path),
                    Kind::Regular if !names.contains(&path) => seen.extend(see(path, false)),
                    _ => {}
                }
            }
        }
        folders = below;
        depth += 1;
    }
    seen
}

fn see(path: PathBuf, candidate: bool) -> Option<Seen> {
    let stat = Disk.stat(&path).ok().filter(|stat| stat.kind == Kind::Regular)?;
    let created = fs::metadata(&path).and_then(|metadata| metadata.created()).ok();
    let created = created.and_then(|time| i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok());
    Some(Seen { path, stat, created, candidate })
}

fn fate(row: &Row, files: &[Seen]) -> Fate {
    let Some(id) = row.id else { return Fate::Gone };
    let same = files.iter().position(|file| file.stat.id == id);
    // The number of a device may change with a reboot; name and inode together do not come again by chance.
    let found = same.or_else(|| files.iter().position(|f| f.stat.id.ino == id.ino && f.path == row.path));
    match found.map(|at| (at, fate_of(row, &files[at]))) {
        None => Fate::Gone,
        Some((at, Ok(()))) => Fate::Here(at),
        Some((_, Err(why))) if why == REUSED => Fate::Gone,
        Some((at, Err(why))) => Fate::Rewritten(at, why),
    }
}

/// Its inode number was given to a new file.
const REUSED: &str = "it was created since";

/// Whether a file is still the one that a row names, or why not.
fn fate_of(row: &Row, file: &Seen) -> Result<(), &'static str> {
    if let (Some(created), Some(updated)) = (file.created, row.updated)
        && created > updated
        && created > row.modified
    {
        return Err(REUSED);
    }
    if file.stat.size < row.offset || file.stat.size < row.size {
        return Err("it was truncated since");
    }
    if row.offset > 0 && byte_before(&file.path, row.offset) != Some(b'\n') {
        return Err("it was rewritten since: no line ends where the checkpoint stands");
    }
    Ok(())
}

/// The copy that was made of a file before it was truncated, as the Java agent chooses it: the oldest that is large and
/// new enough.
fn copy_of(row: &Row, files: &[Seen]) -> Option<usize> {
    let is_copy = |file: &Seen| {
        file.path != row.path
            && rotation::family(&file.path) == rotation::family(&row.path)
            && file.modified() >= row.modified
            && file.stat.size >= row.size.max(row.offset)
            && (row.updated.is_none() || file.created.is_none() || file.created >= row.updated)
            && (row.offset == 0 || byte_before(&file.path, row.offset) == Some(b'\n'))
    };
    let copies = files.iter().enumerate().filter(|(_, file)| is_copy(file));
    copies.min_by_key(|(_, file)| file.age()).map(|(at, _)| at)
}

/// Whether a file was begun after the one that the checkpoint names, so that nothing of it was delivered.
fn is_newer(file: &Seen, current: &Fate, files: &[Seen], row: &Row) -> bool {
    match current {
        // What stands at the old name of a file that was renamed came after it.
        Fate::Here(at) => file.path == row.path || file.age() > files[*at].age(),
        Fate::Rewritten(..) | Fate::Gone => file.path == row.path || file.modified() > row.modified,
    }
}

/// The compressed form of a file that is gone, if its name, its time and its content say so.
fn archive_of(row: &Row, folder: &Path) -> Option<Place> {
    let names = Disk.list(folder).unwrap_or_default().into_iter().map(|(name, _)| folder.join(name));
    let family = rotation::family(&row.path);
    let mut archives: Vec<Seen> =
        names.filter(|path| rotation::family(path) == family).filter_map(|path| see(path, false)).collect();
    archives.retain(|file| file.modified() >= row.modified);
    archives.sort_by_key(Seen::age);
    archives.iter().find_map(|file| {
        let (codec, mut handle, head) = open(&file.path)?;
        let mut before = [0; Print::MAX];
        let length = usize::try_from(row.offset).unwrap_or(usize::MAX).min(Print::MAX);
        let got = handle.read_at(&mut before[..length], row.offset - length as u64).ok()?;
        let fits = got.len == length && (length == 0 || before[length - 1] == b'\n');
        // What a decoder passes over to here is all that was known of the file.
        let whole = row.size <= row.offset || handle.read_at(&mut [0], row.size - 1).is_ok_and(|got| got.len == 1);
        (codec != Codec::Plain && fits && whole).then(|| Place {
            codec,
            head,
            tail: Print::of_tail(&before[..length]),
            rotated: true,
            moved_out: true,
            ..blank(file, row.offset)
        })
    })
}

fn blank(file: &Seen, acked: u64) -> Place {
    Place {
        generation: Generation(fastrand::u64(1..)),
        path: file.path.clone().into(),
        id: file.stat.id,
        codec: Codec::Plain,
        head: Print::default(),
        acked,
        tail: Print::default(),
        mtime: file.stat.mtime,
        rotated: false,
        moved_out: false,
        lost: false,
        done: false,
    }
}

fn open(path: &Path) -> Option<(Codec, Handle<fs::File>, Print)> {
    let mut first = [0; Print::MAX];
    let file = Disk.open(path).ok()?;
    let len = source::fs::File::read_at(&file, &mut first, 0).ok()?;
    let codec = codec_of(path, &first[..len]);
    let mut handle = Handle::new(file, codec);
    let len = handle.read_at(&mut first, 0).ok()?.len;
    Some((codec, handle, Print::of_head(&first[..len])))
}

/// A file that goes on at an offset. `None`: it cannot be read.
fn place(options: &source::Options, file: &Seen, acked: u64, renamed: bool) -> Option<Place> {
    let mut handle = Handle::new(Disk.open(&file.path).ok()?, Codec::Plain);
    let mut first = [0; Print::MAX];
    let len = handle.read_at(&mut first, 0).ok()?.len;
    let head = Print::of_head(&first[..len]);
    let length = usize::try_from(acked).unwrap_or(usize::MAX).min(Print::MAX);
    let mut before = [0; Print::MAX];
    let got = handle.read_at(&mut before[..length], acked - length as u64).ok()?;
    let moved_out = options.excludes(&file.path);
    let rotated = renamed || moved_out || !options.matches(&file.path) || has_successor(&file.path);
    let tail = Print::of_tail(&before[..got.len]);
    Some(Place { head, tail, rotated, moved_out, ..blank(file, acked) })
}

/// Whether a file stands beside this one whose name rotation may have made this one's of.
fn has_successor(path: &Path) -> bool {
    let bases = rotation::bases(path.file_name().unwrap_or_default());
    bases.iter().any(|base| path.with_file_name(OsStr::from_bytes(base)).exists())
}

fn byte_before(path: &Path, offset: u64) -> Option<u8> {
    let mut byte = [0];
    let file = Disk.open(path).ok()?;
    let len = source::fs::File::read_at(&file, &mut byte, offset - 1).ok()?;
    (len == 1).then_some(byte[0])
}

/// Where the last complete line ends: what follows it was never delivered.
fn last_line_end(path: &Path, size: u64) -> u64 {
    let Ok(file) = Disk.open(path) else { return size };
    let mut block = vec![0; 64 << 10];
    let mut start = size;
    while start > 0 && size - start < LONGEST_LINE {
        let length = start.min(block.len() as u64);
        start -= length;
        let block = &mut block[..usize::try_from(length).expect("no more than a block")];
        let len = source::fs::File::read_at(&file, block, start).unwrap_or(0);
        if let Some(at) = memchr::memrchr(b'\n', &block[..len]) {
            return start + at as u64 + 1;
        }
    }
    if start == 0 { 0 } else { size }
}
