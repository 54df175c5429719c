//! Counts line numbers: what is missing, what came twice, what came damaged. Knows lines as `writer::line` makes them.

use std::{collections::BTreeMap, fmt::Write as _};

use super::writer;

/// How often each line of one writer came.
pub(crate) struct Tally {
    tag: String,
    /// By sequence number.
    seen: Vec<u64>,
    /// Records that are no line of this writer, at their full length.
    foreign: Vec<String>,
}

impl Tally {
    /// Counts what came of the lines 0 to `written` of the writer called `tag`.
    pub(crate) fn of<'a>(records: impl IntoIterator<Item = &'a [u8]>, tag: &str, written: u64) -> Self {
        let mut tally = Self { tag: tag.to_owned(), seen: vec![0; index(written)], foreign: Vec::new() };
        for record in records {
            let line = record.strip_suffix(b"\n").unwrap_or(record);
            match writer::parse(line).filter(|(t, n)| *t == tag && *n < written) {
                Some((_, number)) => tally.seen[index(number)] += 1,
                None => tally.foreign.push(String::from_utf8_lossy(record).into_owned()),
            }
        }
        tally
    }

    /// How many lines never came.
    pub(crate) fn missing(&self) -> u64 {
        self.count(|times| times == 0)
    }

    /// How many came beyond the first of each line.
    pub(crate) fn repeated(&self) -> u64 {
        self.seen.iter().map(|times| times.saturating_sub(1)).sum()
    }

    fn count(&self, what: impl Fn(u64) -> bool) -> u64 {
        self.seen.iter().filter(|times| what(**times)).fold(0, |n, _| n + 1)
    }

    /// The line numbers for which `what` holds, as ranges, the first ten of them.
    fn ranges(&self, what: impl Fn(u64) -> bool) -> String {
        let mut ranges: BTreeMap<usize, usize> = BTreeMap::new();
        let mut open = None;
        for (number, times) in self.seen.iter().enumerate() {
            match (what(*times), open) {
                (true, None) => open = Some(number),
                (true, Some(_)) => (),
                (false, start) => open = start.and_then(|s| ranges.insert(s, number - 1)).and(None),
            }
        }
        open.map(|start| ranges.insert(start, self.seen.len() - 1));
        let mut text = ranges.iter().take(10).map(|(a, b)| format!("{a}-{b}")).collect::<Vec<_>>().join(", ");
        if ranges.len() > 10 {
            let _ = write!(text, " and {} more ranges", ranges.len() - 10);
        }
        text
    }

    /// What is wrong, in a few lines; `None` when nothing is missing or damaged and at most `repeats` came again.
    pub(crate) fn complaint(&self, repeats: u64) -> Option<String> {
        let mut text = String::new();
        if self.missing() > 0 {
            let ranges = self.ranges(|times| times == 0);
            let _ = writeln!(text, "{}: {} of {} missing: {ranges}", self.tag, self.missing(), self.seen.len());
        }
        if self.repeated() > repeats {
            let ranges = self.ranges(|times| times > 1);
            let _ = writeln!(text, "{}: {} repeated, {repeats} allowed: {ranges}", self.tag, self.repeated());
        }
        for record in self.foreign.iter().take(3) {
            let start: String = record.chars().take(120).collect();
            let _ = writeln!(text, "{}: not a line of it ({} bytes): {start:?}", self.tag, record.len());
        }
        (!text.is_empty()).then_some(text)
    }
}

/// Fails unless every line 0 to `written` of `tag` is in `records`, whole, and at most `repeats` came again.
#[track_caller]
pub(crate) fn assert_all_once<R: AsRef<[u8]>>(records: &[R], tag: &str, written: u64, repeats: u64) {
    let tally = Tally::of(records.iter().map(AsRef::as_ref), tag, written);
    if let Some(complaint) = tally.complaint(repeats) {
        panic!("{} records for {written} lines\n{complaint}", records.len());
    }
}

/// Fails unless `records` are exactly these, in any order.
#[track_caller]
pub(crate) fn assert_exactly<R: AsRef<[u8]>, W: AsRef<[u8]>>(records: &[R], wanted: &[W]) {
    let texts = |all: Vec<&[u8]>| {
        let mut all: Vec<String> = all.iter().map(|r| String::from_utf8_lossy(&r[..r.len().min(200)]).into()).collect();
        all.sort();
        all
    };
    let (got, wanted): (Vec<&[u8]>, Vec<&[u8]>) =
        (records.iter().map(AsRef::as_ref).collect(), wanted.iter().map(AsRef::as_ref).collect());
    let (mut a, mut b) = (got.clone(), wanted.clone());
    a.sort_unstable();
    b.sort_unstable();
    assert!(a == b, "got {:?}\nwanted {:?}", texts(got), texts(wanted));
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a test has fewer lines than memory")
}
