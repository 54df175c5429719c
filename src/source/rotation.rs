//! What rotation did to a file: pure functions of what is known and what is seen. Knows no files and no table.
//! Invariant: the same answer for the same names, sizes and prints, whatever happened before.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use crate::{
    model::{FileId, Print},
    source::fs::Stat,
};

/// Endings of compressed files.
const ARCHIVES: [&[u8]; 3] = [b".gz", b".zst", b".zstd"];

/// What became of a file, judged by what stands under its name now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing changed since the last look.
    Same,
    /// The same file, touched: there may be more to read, or other bytes under the old length. Reading checks the tail.
    Touched,
    /// The same file, shorter than what was read: truncated in place.
    Truncated,
    /// Another file stands there: renamed away or deleted, and a new one created.
    Replaced,
    /// Nothing stands there.
    Gone,
}

/// What is known of a followed file.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub id: FileId,
    /// Bytes read; for a compressed file `None`, since its size says nothing of that.
    pub read: Option<u64>,
    pub size: u64,
    pub mtime: i64,
}

/// Judges a followed file by what stands under its name.
#[must_use]
pub fn judge(known: &Known, seen: Option<&Stat>) -> Verdict {
    match seen {
        None => Verdict::Gone,
        Some(seen) if seen.id != known.id => Verdict::Replaced,
        Some(seen) if known.read.is_some_and(|read| seen.size < read) => Verdict::Truncated,
        // Nothing of it was read, so no tail can tell that it is another life.
        Some(seen) if known.read == Some(0) && seen.size < known.size => Verdict::Truncated,
        Some(seen) if seen.size == known.size && seen.mtime == known.mtime => Verdict::Same,
        Some(_) => Verdict::Touched,
    }
}

/// Whether the bytes at hand continue a file whose bytes before the offset had the print `tail`.
#[must_use]
pub fn continues(tail: Print, before: &[u8]) -> bool {
    tail.begins(before)
}

/// The names that a rotated `name` may have come from: `app.log.1`, `app.log-20261120`, `app.log.2.gz` and
/// `app-20261120.log` all come from `app.log`. Most specific first.
#[must_use]
pub fn bases(name: &OsStr) -> Vec<Vec<u8>> {
    let mut name = name.as_bytes();
    for end in ARCHIVES {
        name = name.strip_suffix(end).unwrap_or(name);
    }
    let mut found = Vec::new();
    // A suffix: base + separator + counter or date.
    for (i, b) in name.iter().enumerate().rev() {
        if i > 0 && is_separator(*b) && is_stamp(&name[i + 1..]) {
            found.push(name[..i].to_vec());
        }
    }
    // Before the extension: stem + separator + counter or date + extension.
    if let Some(dot) = name.iter().rposition(|b| *b == b'.')
        && !is_stamp(&name[dot + 1..])
    {
        let (stem, extension) = name.split_at(dot);
        for (i, b) in stem.iter().enumerate().rev() {
            if i > 0 && is_separator(*b) && is_stamp(&stem[i + 1..]) {
                found.push([&stem[..i], extension].concat());
            }
        }
    }
    found
}

/// The same number for a name and all that rotation makes of it, in one folder: `app.log`, `app.log.1`, `app.log.2.gz`.
#[must_use]
pub fn family(path: &Path) -> u64 {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let mut base = ARCHIVES.iter().find_map(|end| name.strip_suffix(*end)).unwrap_or(name).to_vec();
    while let Some(shorter) = bases(OsStr::from_bytes(&base)).into_iter().min_by_key(Vec::len) {
        base = shorter;
    }
    let mut hash = xxhash_rust::xxh3::Xxh3Default::new();
    hash.update(path.parent().unwrap_or(Path::new("")).as_os_str().as_bytes());
    hash.update(b"/");
    hash.update(&base);
    hash.digest()
}

/// Whether `candidate` is a name that rotation may have given to `base` (both in any folder).
#[must_use]
pub fn is_rotated(base: &Path, candidate: &Path) -> bool {
    match (base.file_name(), candidate.file_name()) {
        (Some(base), Some(candidate)) => bases(candidate).iter().any(|b| b == base.as_bytes()),
        _ => false,
    }
}

fn is_separator(b: u8) -> bool {
    matches!(b, b'.' | b'-' | b'_')
}

/// A counter, a date, a time, or a word that rotation uses.
fn is_stamp(text: &[u8]) -> bool {
    let words: [&[u8]; 4] = [b"old", b"prev", b"bak", b"copy"];
    words.contains(&text)
        || (text.iter().any(u8::is_ascii_digit)
            && text.iter().all(|b| b.is_ascii_digit() || is_separator(*b) || matches!(b, b'T' | b'Z' | b':' | b'+')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(base: &str, candidate: &str, expected: bool) {
        assert_eq!(is_rotated(Path::new(base), Path::new(candidate)), expected, "{candidate} from {base}");
    }

    #[test]
    fn the_names_that_logrotate_gives_are_known() {
        for name in [
            "app.log.1",
            "app.log.10.gz",
            "app.log-20261120",
            "app.log-20261120-1763635200.zst",
            "app-20261120.log",
            "app.1.log.gz",
            "app.log.old",
            "app.log.2026-11-20T10:00:00Z",
        ] {
            check("app.log", name, true);
        }
    }

    #[test]
    fn other_files_of_the_folder_are_not_taken_for_rotated_ones() {
        for name in ["app.log", "app.log.swp", "app2.log", "myapp.log.1", "app.log.lock", "syslog", "app.log.gz"] {
            check("app.log", name, false);
        }
        check("messages", "syslog", false);
    }

    #[test]
    fn a_file_is_judged_by_identity_before_size() {
        let id = FileId { dev: 1, ino: 2 };
        let known = Known { id, read: Some(100), size: 100, mtime: 5 };
        let seen =
            |ino, size, mtime| Stat { id: FileId { dev: 1, ino }, kind: crate::source::fs::Kind::Regular, size, mtime };
        assert_eq!(judge(&known, None), Verdict::Gone);
        assert_eq!(judge(&known, Some(&seen(3, 10, 6))), Verdict::Replaced);
        assert_eq!(judge(&known, Some(&seen(2, 99, 6))), Verdict::Truncated);
        assert_eq!(judge(&known, Some(&seen(2, 100, 5))), Verdict::Same);
        assert_eq!(judge(&known, Some(&seen(2, 100, 6))), Verdict::Touched);
        assert_eq!(judge(&known, Some(&seen(2, 101, 5))), Verdict::Touched);
    }
}
