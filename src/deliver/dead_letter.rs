//! The dead letters of one flow: a file of JSON lines. Knows no retry and no destination.
//! Invariant: `write` returns `Ok` only when every line is on disk, and every line but a torn last one is whole.

use super::job::Refused;
use crate::model::{Batch, DeadLetter, FileRef, RecordId, Span, file_name};
use serde::Serialize;
use std::{
    borrow::Cow,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// Where one flow's undeliverable records go.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    flow: String,
    path: PathBuf,
}

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    flow: &'a str,
    file: Cow<'a, str>,
    id: String,
    start: u64,
    end: u64,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl DeadLetters {
    /// `<state_dir>/dead-letters/<flow>.jsonl`. Nothing is opened or created before there is something to write.
    #[must_use]
    pub fn new(state_dir: &Path, flow: &str) -> Self {
        let path = state_dir.join("dead-letters").join(format!("{}.jsonl", file_name(flow)));
        Self { flow: flow.to_owned(), path }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lines for a batch's dead records and for those that the destination refused.
    #[must_use]
    pub fn lines(&self, batch: &Batch, refused: &[Refused], now: SystemTime) -> Vec<u8> {
        let time = rfc3339(now);
        let mut out = Vec::new();
        for DeadLetter { file, span, reason, data } in &batch.dead {
            self.line(&mut out, &time, file, *span, reason, data);
        }
        for Refused { index, reason } in refused {
            let record = &batch.records[*index as usize];
            let file = &batch.files[record.file as usize];
            self.line(&mut out, &time, file, record.span, reason, batch.record(*index as usize));
        }
        out
    }

    fn line(&self, out: &mut Vec<u8>, time: &str, file: &FileRef, span: Span, reason: &str, data: &[u8]) {
        let text = std::str::from_utf8(data).ok();
        let line = Line {
            time,
            flow: &self.flow,
            file: file.path.to_string_lossy(),
            id: RecordId { generation: file.generation, span }.to_string(),
            start: span.start,
            end: span.end,
            reason,
            data: text,
            data_base64: text.is_none().then(|| base64_simd::STANDARD.encode_to_string(data)),
        };
        serde_json::to_writer(&mut *out, &line).expect("strings and numbers are always JSON");
        out.push(b'\n');
    }

    /// Appends and syncs. Blocks. After an error nothing of `lines` is left behind, as far as the disk lets us.
    pub fn write(&self, lines: &[u8]) -> io::Result<()> {
        let mut file = self.open()?;
        let length = file.seek(SeekFrom::End(0))?;
        let written =
            end_torn_line(&mut file, length).and_then(|()| file.write_all(lines)).and_then(|()| file.sync_all());
        if written.is_err() {
            // Best effort: a torn line is ended by the next write.
            let _ = file.set_len(length);
        }
        written
    }

    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).mode(0o640);
        match options.open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let folder = self.path.parent().expect("the path has a folder by construction");
        DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        let file = options.create(true).open(&self.path)?;
        File::open(folder)?.sync_all()?;
        if let Some(state_dir) = folder.parent() {
            File::open(state_dir)?.sync_all()?;
        }
        Ok(file)
    }
}

/// Ends a last line that a crash or a full disk left without its newline.
fn end_torn_line(file: &mut File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

/// UTC with milliseconds. A clock before 1970 shows as 1970.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Civil from days: years begin in March, so that the leap day is the last of its year; eras of 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{deliver::testing::batch_of, model::Generation};
    use std::{os::unix::fs::PermissionsExt, time::Duration};

    fn at(seconds: u64, millis: u64) -> String {
        rfc3339(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + millis))
    }

    #[test]
    fn times_are_civil() {
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399, 999), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_735_689_599, 1), "2024-12-31T23:59:59.001Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn a_line_says_what_was_wrong_and_holds_the_bytes() {
        let mut batch = batch_of(0, &[b"good", b"b\"ad\n", b"\xff\x00"]);
        batch.dead.push(DeadLetter {
            file: FileRef { generation: Generation(1), path: Path::new("/b").into() },
            span: Span { start: 5, end: 50 },
            reason: "no match".into(),
            data: b"x".into(),
        });
        let refused = [1, 2].map(|index| Refused { index, reason: "Code: words".into() });
        let lines = DeadLetters::new(Path::new("/s"), "a b").lines(&batch, &refused, UNIX_EPOCH);
        let expected = r#"{"time":"1970-01-01T00:00:00.000Z","flow":"a b","file":"/b","id":"hw1.0000000000000001.5-50","start":5,"end":50,"reason":"no match","data":"x"}
{"time":"1970-01-01T00:00:00.000Z","flow":"a b","file":"/var/log/a.log","id":"hw1.0000000000000007.4-9","start":4,"end":9,"reason":"Code: words","data":"b\"ad\n"}
{"time":"1970-01-01T00:00:00.000Z","flow":"a b","file":"/var/log/a.log","id":"hw1.0000000000000007.9-11","start":9,"end":11,"reason":"Code: words","data_base64":"/wA="}
"#;
        assert_eq!(String::from_utf8(lines).unwrap(), expected);
    }

    #[test]
    fn a_torn_last_line_is_ended_before_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(dir.path(), "w/eb");
        letters.write(b"{\"a\":1}\n").unwrap();
        let mut file = OpenOptions::new().append(true).open(letters.path()).unwrap();
        file.write_all(b"{\"tor").unwrap();
        letters.write(b"{\"b\":2}\n").unwrap();
        letters.write(b"{\"c\":3}\n").unwrap();
        let text = std::fs::read_to_string(dir.path().join("dead-letters/w%2Feb.jsonl")).unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"tor\n{\"b\":2}\n{\"c\":3}\n");
    }

    #[test]
    fn others_cannot_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(dir.path(), "web");
        letters.write(b"{}\n").unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o007;
        assert_eq!((mode(letters.path()), mode(letters.path().parent().unwrap())), (0, 0));
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("dead-letters"), "a file where the folder should be").unwrap();
        assert!(DeadLetters::new(dir.path(), "web").write(b"{}\n").is_err());
    }
}
