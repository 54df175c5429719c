//! The Java agent's checkpoints: an `SQLite` file with one table. Knows its columns, no files that they speak of.
//! Invariant: nothing is written to it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rusqlite::{Connection, OpenFlags, types::ValueRef};

use crate::model::FileId;

/// How far the Java agent delivered one file of one flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Row {
    /// The flow's id there.
    pub(super) flow: String,
    pub(super) path: PathBuf,
    /// `None`: not written as `(dev=HEX,ino=DECIMAL)`.
    pub(super) id: Option<FileId>,
    /// Milliseconds since 1970.
    pub(super) modified: i64,
    /// When it was last looked at, which may be long before `offset` was reached.
    pub(super) size: u64,
    pub(super) offset: u64,
    /// Milliseconds since 1970; `None`: not readable.
    pub(super) updated: Option<i64>,
}

/// Reads all rows, the newest first.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    let shown = path.display();
    if !path.exists() {
        bail!(
            "{shown}: there is no checkpoint database of the Java agent; name it with --checkpoint-file (its default lies on \
             a file system that a reboot empties)"
        );
    }
    let rows = rows(path).with_context(|| {
        format!(
            "{shown}: cannot read the Java agent's checkpoints. Stop the Java agent first; if it was killed while it wrote, \
             `sqlite3 {shown} 'SELECT count(*) FROM FILE_CHECKPOINTS'` as its user repairs the file"
        )
    })?;
    Ok(rows)
}

fn rows(path: &Path) -> rusqlite::Result<Vec<Row>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    let mut query = database.prepare(
        "SELECT flow, path, fileId, lastModifiedTime, size, offset, lastUpdated FROM FILE_CHECKPOINTS \
         ORDER BY lastUpdated DESC, lastModifiedTime DESC",
    )?;
    let rows = query.query_map([], |row| {
        Ok(Row {
            flow: row.get(0)?,
            path: PathBuf::from(row.get::<_, String>(1)?),
            id: row.get::<_, Option<String>>(2)?.as_deref().and_then(file_id),
            modified: row.get::<_, Option<i64>>(3)?.unwrap_or(0),
            size: bytes(row.get(4)?),
            offset: bytes(row.get(5)?),
            updated: time(row.get_ref(6)?),
        })
    })?;
    rows.collect()
}

fn bytes(number: Option<i64>) -> u64 {
    number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

/// Java's name of a file: the device in hexadecimal digits, the inode in decimal ones.
fn file_id(text: &str) -> Option<FileId> {
    let (dev, ino) = text.strip_prefix("(dev=")?.strip_suffix(')')?.split_once(",ino=")?;
    Some(FileId { dev: u64::from_str_radix(dev, 16).ok()?, ino: ino.parse().ok()? })
}

/// A time in UTC, like `2026-11-20 10:00:00.123`.
fn time(value: ValueRef<'_>) -> Option<i64> {
    let text = value.as_str().ok()?;
    let time: jiff::civil::DateTime = text.parse().ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_as_java_names_it() {
        assert_eq!(file_id("(dev=fd01,ino=123)"), Some(FileId { dev: 0xfd01, ino: 123 }));
        for bad in ["", "(dev=fd01,ino=123", "(dev=fg,ino=1)", "(dev=1,ino=a)", "(ino=1)"] {
            assert_eq!(file_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_is_read_as_sqlite_writes_it() {
        let time = |text: &str| time(ValueRef::Text(text.as_bytes()));
        assert_eq!(time("1970-01-01 00:00:01.250"), Some(1_250));
        assert_eq!(time("1970-01-02 00:00:00"), Some(86_400_000));
        assert_eq!(time("now"), None);
    }
}
