//! The id of a record: which bytes of which file it holds. Knows no destination.
//! Invariant: a record has the same id after any crash, and two records that hold different bytes never share one.

use super::{Generation, Span};
use std::fmt;

/// The id of a record, the same after any crash: `hw1.<generation>.<start>-<end>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RecordId {
    pub generation: Generation,
    pub span: Span,
}

const HEAD: &str = "hw1.";
/// Where the number of the first byte begins: the generation has 16 digits and a dot.
const START: usize = HEAD.len() + 16 + 1;

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEAD}{}.{}-{}", self.generation, self.span.start, self.span.end)
    }
}

impl std::str::FromStr for RecordId {
    type Err = NoRecordId;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (generation, span) = s.strip_prefix(HEAD)?.split_once('.')?;
            let (start, end) = span.split_once('-')?;
            let id = Self {
                generation: generation.parse().ok()?,
                span: Span { start: start.parse().ok()?, end: end.parse().ok()? },
            };
            (id.span.start < id.span.end && generation.len() == 16).then_some(id)
        };
        read().ok_or(NoRecordId)
    }
}

/// A text that is no record's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRecordId;

impl RecordId {
    /// Length of [`Self::random_key`] in bytes.
    pub const RANDOM_KEY: usize = 10;
    /// Most bytes of an id as it is written.
    pub const LONGEST: usize = START + 20 + "-".len() + 20;

    /// Bytes of an id with this span as it is written.
    #[must_use]
    pub fn written_len(span: Span) -> usize {
        let digits = |n: u64| n.checked_ilog10().unwrap_or(0) as usize + 1;
        START + digits(span.start) + "-".len() + digits(span.end)
    }

    /// A partition key that looks random and is drawn from the id alone: letters and digits.
    #[must_use]
    pub fn random_key(self) -> [u8; Self::RANDOM_KEY] {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut seed = [0; 24];
        seed[..8].copy_from_slice(&self.generation.0.to_le_bytes());
        seed[8..16].copy_from_slice(&self.span.start.to_le_bytes());
        seed[16..].copy_from_slice(&self.span.end.to_le_bytes());
        let mut hash = xxhash_rust::xxh3::xxh3_64(&seed);
        [(); Self::RANDOM_KEY].map(|()| {
            let digit = DIGITS[usize::try_from(hash % 36).expect("less than 36")];
            hash /= 36;
            digit
        })
    }
}

/// Ids as texts, one after the other. A record mostly begins where the one before it ends: then only its end is new, and
/// this costs a third of what `Display` does.
#[derive(Debug, Default)]
pub struct IdText {
    text: String,
    /// Whose text it is, and where its end begins.
    last: Option<(RecordId, usize)>,
}

impl IdText {
    /// The text of `id`.
    pub fn of(&mut self, id: RecordId) -> &str {
        let end = match self.last {
            Some((last, end)) if last.generation == id.generation && last.span.end == id.span.start => {
                self.text.drain(START..end);
                self.text.len()
            }
            _ => {
                self.text.clear();
                let (generation, start) = (id.generation, id.span.start);
                fmt::Write::write_fmt(&mut self.text, format_args!("{HEAD}{generation}.{start}")).expect("a String");
                self.text.len()
            }
        };
        self.text.push('-');
        self.text.push_str(itoa::Buffer::new().format(id.span.end));
        self.last = Some((id, end + 1));
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_nothing_else_is_one() {
        for (start, end) in [(0, 1), (9, 10), (99_999, 1 << 40), (0, u64::MAX)] {
            let id = RecordId { generation: Generation(0xabc), span: Span { start, end } };
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().len(), RecordId::written_len(id.span));
        }
        for text in [
            "",
            "hw1.",
            "hw1.abc.0-1",
            "hw2.0000000000000abc.0-1",
            "hw1.0000000000000abc.5-5",
            "hw1.0000000000000abc.1",
        ] {
            assert_eq!(text.parse::<RecordId>(), Err(NoRecordId), "{text}");
        }
    }

    fn next(id: RecordId, far: bool, other: bool, len: u64) -> RecordId {
        let generation = Generation(id.generation.0.rotate_left(u32::from(other)));
        let start = id.span.end.wrapping_mul(if far { 0x9e37_79b9_7f4a_7c15 } else { 1 }).min(u64::MAX - len);
        RecordId { generation, span: Span { start, end: start + len } }
    }

    proptest! {
        #[test]
        fn an_id_is_written_the_same_whatever_came_before(
            steps in proptest::collection::vec((any::<bool>(), any::<bool>(), 1..2_000_000u64), 1..40),
        ) {
            let mut id = RecordId { generation: Generation(0xfedc_ba98), span: Span { start: 0, end: 9 } };
            let mut text = IdText::default();
            for (far, other, len) in steps {
                id = next(id, far, other, len);
                prop_assert_eq!(text.of(id), id.to_string());
            }
        }
    }

    #[test]
    fn a_random_key_never_changes_between_versions() {
        let id = RecordId { generation: Generation(1), span: Span { start: 2, end: 3 } };
        assert_eq!(id.random_key(), *b"ctarwyta6x");
    }

    #[test]
    fn random_keys_spread_evenly_over_the_first_character() {
        let mut counts = [0u32; 256];
        for start in 0..36_000 {
            let id = RecordId { generation: Generation(9), span: Span { start, end: start + 100 } };
            counts[usize::from(id.random_key()[0])] += 1;
        }
        let used: Vec<_> = counts.into_iter().filter(|c| *c > 0).collect();
        assert!(used.len() == 36 && used.iter().all(|c| (850..1150).contains(c)), "{used:?}");
    }
}
