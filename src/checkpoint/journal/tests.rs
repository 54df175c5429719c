//! What the journal must survive: torn tails, flipped bits, other versions, full disks.

use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::{
    checkpoint::storage::DiskStorage,
    model::{Codec, FileId, Print},
};

/// Bytes in memory; `full` fails every write, half done.
#[derive(Debug, Default, Clone)]
struct Memory {
    bytes: Option<Vec<u8>>,
    full: bool,
    replaced: usize,
}

impl Storage for Memory {
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.bytes.clone())
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = if self.full { bytes.len() / 2 } else { bytes.len() };
        self.bytes.as_mut().unwrap().extend_from_slice(&bytes[..written]);
        if self.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
    fn sync(&mut self, _wait: bool) -> io::Result<()> {
        Ok(())
    }
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.replaced += 1;
        self.bytes = Some(bytes.to_vec());
        Ok(())
    }
    fn name(&self) -> &Path {
        Path::new("web.journal")
    }
}

fn place(generation: u64, path: &[u8], acked: u64) -> Place {
    Place {
        generation: Generation(generation),
        path: Arc::from(Path::new(OsStr::from_bytes(path))),
        id: FileId { dev: 8, ino: generation },
        codec: Codec::Plain,
        head: Print::of_head(b"head"),
        acked,
        tail: Print::of_tail(path),
        mtime: 17,
        rotated: false,
        moved_out: false,
        lost: false,
        done: false,
    }
}

fn mark(generation: u64, end: u64) -> Mark {
    Mark { generation: Generation(generation), end, tail: Print::of_tail(&end.to_le_bytes()) }
}

fn fresh() -> Journal<Memory> {
    Journal::open(Memory::default(), "web", 1).unwrap().journal
}

/// A journal of two files with some history, as bytes.
fn written() -> Vec<u8> {
    let mut journal = fresh();
    journal.write().unwrap();
    journal.bind(place(1, b"/var/log/a", 0));
    journal.bind(place(2, b"/var/log/\xff\xfe", 5));
    for end in [10, 20, 30] {
        journal.ack(mark(1, end), 18);
        journal.write().unwrap();
    }
    journal.into_storage().bytes.unwrap()
}

fn acked(bytes: &[u8]) -> Vec<u64> {
    let (contents, _) = read(Path::new("j"), "web", bytes).unwrap();
    contents.places.values().map(|p| p.acked).collect()
}

#[test]
fn a_reader_finds_what_was_written_paths_that_are_not_utf8_included() {
    let bytes = written();
    let opened = Journal::open(Memory { bytes: Some(bytes), ..Memory::default() }, "web", 1).unwrap();
    let mut first = place(1, b"/var/log/a", 30);
    (first.tail, first.mtime) = (mark(1, 30).tail, 18);
    assert_eq!(opened.places.unwrap(), [first, place(2, b"/var/log/\xff\xfe", 5)]);
    assert_eq!(opened.torn, 0);
}

#[test]
fn no_journal_is_a_first_start_and_an_empty_one_is_damage() {
    assert!(Journal::open(Memory::default(), "web", 1).unwrap().places.is_none());
    let empty = Memory { bytes: Some(Vec::new()), ..Memory::default() };
    assert!(matches!(Journal::open(empty, "web", 1), Err(OpenError::Damaged { line: 1, .. })));
}

#[test]
fn a_torn_tail_is_cut_off_wherever_it_is_torn() {
    let bytes = written();
    let header = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    for cut in header..bytes.len() {
        let (contents, torn) = read(Path::new("j"), "web", &bytes[..cut]).unwrap();
        assert!(torn < 300 && contents.places.len() <= 2);
        let whole = bytes[..cut].iter().rposition(|b| *b == b'\n').unwrap() + 1;
        assert_eq!(cut - whole, torn);
    }
}

#[test]
fn after_a_torn_tail_the_journal_is_written_anew_before_anything_is_added() {
    let mut bytes = written();
    bytes.truncate(bytes.len() - 7);
    let memory = Memory { bytes: Some(bytes), ..Memory::default() };
    let opened = Journal::open(memory, "web", 1).unwrap();
    assert!(opened.torn > 0);
    let mut journal = opened.journal;
    journal.ack(mark(1, 40), 19);
    journal.write().unwrap();
    assert_eq!(acked(&journal.into_storage().bytes.unwrap()), [40, 5]);
}

#[test]
fn a_newer_format_is_refused_with_its_number() {
    let line = format::line(&Line::Headwater { format: 7, flow: "web".into() });
    let error = read(Path::new("j"), "web", &line).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 7, .. }), "{error}");
    let strange = b"00000000 {\"headwater\":{\"format\":9,\"checksum\":\"other\"}}\n";
    assert!(matches!(read(Path::new("j"), "web", strange), Err(OpenError::Newer { found: 9, .. })));
}

#[test]
fn the_journal_of_another_flow_is_refused() {
    assert!(matches!(read(Path::new("j"), "app", &written()), Err(OpenError::OtherFlow { .. })));
}

#[test]
fn a_failed_write_is_made_good_by_the_next_one() {
    let mut journal = fresh();
    journal.bind(place(1, b"/a", 0));
    journal.write().unwrap();
    journal.storage.full = true;
    journal.ack(mark(1, 10), 1);
    journal.write().unwrap_err();
    journal.ack(mark(1, 20), 1);
    journal.write().unwrap_err();
    journal.storage.full = false;
    journal.write().unwrap();
    assert_eq!(acked(&journal.into_storage().bytes.unwrap()), [20]);
}

#[test]
fn history_is_thrown_away_and_a_commit_costs_what_changed() {
    let mut journal = fresh();
    for generation in 1..=1000 {
        journal.bind(place(generation, b"/var/log/app.log", 0));
    }
    journal.write().unwrap();
    let live = journal.storage.bytes.as_ref().unwrap().len();
    journal.ack(mark(1, 1), 1);
    journal.write().unwrap();
    assert!(journal.storage.bytes.as_ref().unwrap().len() - live < 200);
    for end in 2..20_000 {
        journal.ack(mark(1, end), 1);
        journal.write().unwrap();
    }
    assert!((2..10).contains(&journal.storage.replaced), "{}", journal.storage.replaced);
    assert!(journal.storage.bytes.as_ref().unwrap().len() < 6 * live);
    journal.forget(Generation(1));
    journal.write().unwrap();
    assert_eq!(acked(&journal.into_storage().bytes.unwrap()).len(), 999);
}

#[test]
fn a_folder_that_was_deleted_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/checkpoints/web.journal");
    let mut journal = Journal::open(DiskStorage::new(path.clone()), "web", 1).unwrap().journal;
    journal.bind(place(1, b"/a", 0));
    journal.write().unwrap();
    std::fs::remove_dir_all(folder.path().join("state")).unwrap();
    journal.ack(mark(1, 10), 1);
    journal.write().unwrap_err();
    journal.write().unwrap();
    journal.ack(mark(1, 20), 1);
    journal.write().unwrap();
    journal.sync(false).unwrap();
    journal.sync(true).unwrap();
    assert_eq!(acked(&std::fs::read(&path).unwrap()), [20]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o750);
}

#[test]
fn a_checksum_in_capitals_is_a_damaged_one() {
    let good = written();
    let flipped = good.iter().position(u8::is_ascii_lowercase).unwrap();
    let mut bad = good.clone();
    bad[flipped] = bad[flipped].to_ascii_uppercase();
    read(Path::new("j"), "web", &bad).unwrap_err();
}

/// A flipped bit is never read as something else: it is damage, or, in the last line, a torn tail. Every bit is tried.
#[test]
fn a_flipped_bit_is_noticed() {
    let good = written();
    let last = good[..good.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            let Ok((Contents { places, .. }, torn)) = read(Path::new("j"), "web", &bad) else { continue };
            // Without the line end between them, the last two lines are one that is torn.
            let expected = if at == last - 1 { 10 } else { 20 };
            assert!(at + 1 >= last && torn > 0, "a flip of bit {bit} at {at} of {} went unnoticed", good.len());
            assert_eq!(places[&Generation(1)].acked, expected, "bit {bit} at {at}");
        }
    }
}

#[test]
fn what_was_reserved_is_in_doubt_until_it_is_acked_or_released() {
    let mut journal = fresh();
    journal.bind(place(1, b"/a", 0));
    journal.bind(place(2, b"/b", 5));
    for (generation, from, limit, at) in [(1, 0, 100, 10), (2, 5, 50, 11), (1, 60, 100, 20), (7, 0, 1, 1)] {
        journal.reserve(Reservation { generation: Generation(generation), from, limit }, at);
    }
    let doubts = |journal: &mut Journal<Memory>| {
        journal.write().unwrap();
        let doubts = Journal::open(journal.storage.clone(), "web", 1).unwrap().doubts;
        doubts.iter().map(|d| (d.generation.0, d.span.start, d.span.end, d.since)).collect::<Vec<_>>()
    };
    assert_eq!(doubts(&mut journal), [(1, 0, 100, 10), (2, 5, 50, 11)]);
    journal.ack(mark(1, 70), 1);
    assert_eq!(doubts(&mut journal), [(1, 70, 100, 20), (2, 5, 50, 11)]);
    journal.ack(mark(1, 100), 1);
    assert_eq!(doubts(&mut journal), [(2, 5, 50, 11)]);
    journal.release(|generation| generation == Generation(2));
    assert_eq!(doubts(&mut journal).len(), 1);
    journal.release(|_| false);
    assert_eq!(doubts(&mut journal), []);
}

proptest! {
    /// Reading never panics, and whatever it accepts it accepts again after being written anew.
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), keep in 0..700usize) {
        let mut all = written();
        all.truncate(keep);
        all.extend_from_slice(&bytes);
        let _ = read(Path::new("j"), "web", &all);
    }

    /// After any history, with failing writes in between, a reader finds the last state that was written.
    #[test]
    fn the_journal_is_what_its_owner_believes(steps in proptest::collection::vec((0..7u8, 1..4u64, 0..30u64), 1..60)) {
        let mut journal = fresh();
        let mut ends = std::collections::BTreeMap::new();
        for (what, generation, by) in steps {
            match what {
                0 => {
                    ends.entry(generation).or_insert_with(|| { journal.bind(place(generation, b"/a", 0)); 0 });
                }
                1 | 2 => if let Some(end) = ends.get_mut(&generation) {
                    *end += by;
                    journal.ack(mark(generation, *end), 1);
                },
                3 => {
                    ends.remove(&generation);
                    journal.forget(Generation(generation));
                }
                4 => {
                    let from = ends.get(&generation).copied().unwrap_or(0);
                    journal.reserve(Reservation { generation: Generation(generation), from, limit: from + by }, 5);
                }
                5 => journal.release(|generation| generation.0 == 1),
                _ => journal.storage.full = !journal.storage.full,
            }
            if journal.is_dirty() && journal.write().is_ok() {
                let bytes = journal.storage.bytes.clone().unwrap();
                let (contents, torn) = read(Path::new("j"), "web", &bytes).unwrap();
                prop_assert_eq!(torn, 0);
                prop_assert_eq!(&contents.places, &journal.contents.places);
                prop_assert_eq!(contents.doubts(1), journal.contents.doubts(1));
                prop_assert_eq!(contents.places.iter().map(|(g, p)| (g.0, p.acked)).collect::<Vec<_>>(), ends.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }
}
