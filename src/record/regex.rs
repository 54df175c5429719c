//! Regular expressions over bytes: the linear-time engine wherever it can, else one that backtracks within a bound.
//! Knows no formats. Invariant: a search ends, whatever the pattern and the input.

use std::borrow::Cow;

use fancy_regex::RegexBuilder;
use regex::bytes::CaptureLocations;

/// Most steps of one search that backtracks. A search that needs more is given up and says so.
pub const BACKTRACK_LIMIT: usize = 100_000;
/// Most matches that are looked for in one text by a pattern that backtracks.
pub const MATCH_LIMIT: usize = 10_000;
/// Most memory of one compiled pattern.
pub const SIZE_LIMIT: usize = 10 << 20;
/// Deepest nesting of groups and classes; the engines' recursion depends on it.
pub const NEST_LIMIT: u32 = 100;

/// What a byte that is not of UTF-8 is to the engine that backtracks: a control character, one byte long.
pub const NO_TEXT: char = '\u{1a}';

/// A compiled pattern.
#[derive(Clone, Debug)]
pub enum Regex {
    /// Takes time linear in the input.
    Linear(regex::bytes::Regex),
    /// Has look-around or back-references. It reads UTF-8 alone: each byte that is none counts as [`NO_TEXT`].
    Backtracking(fancy_regex::Regex),
}

/// A search was given up: it would have taken more than [`BACKTRACK_LIMIT`] steps, or found more than [`MATCH_LIMIT`] matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the pattern takes more than {BACKTRACK_LIMIT} steps on this text")]
pub struct GivenUp;

/// Where the groups of a match are: kept to be filled again.
#[derive(Clone, Debug)]
pub struct Groups(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Linear(CaptureLocations),
    Backtracking(Vec<Option<(usize, usize)>>),
}

impl Groups {
    /// Start and end of a group; `None` if it took no part in the match. Group 0 is the whole match.
    #[must_use]
    pub fn get(&self, group: usize) -> Option<(usize, usize)> {
        match &self.0 {
            Inner::Linear(locations) => locations.get(group),
            Inner::Backtracking(list) => list.get(group).copied().flatten(),
        }
    }
}

impl Regex {
    /// Compiles a pattern. The error is what the engine says of it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let linear = regex::bytes::RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).nest_limit(NEST_LIMIT).build();
        match linear {
            Ok(regex) => Ok(Self::Linear(regex)),
            Err(why) => match backtracking(pattern) {
                Ok(regex) => Ok(Self::Backtracking(regex)),
                // What is wrong in both is better said by the engine with the plainer words.
                Err(_) => Err(why.to_string()),
            },
        }
    }

    /// The pattern as it was compiled.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Linear(regex) => regex.as_str(),
            Self::Backtracking(regex) => regex.as_str(),
        }
    }

    /// Room for the groups of a match.
    #[must_use]
    pub fn groups(&self) -> Groups {
        Groups(match self {
            Self::Linear(regex) => Inner::Linear(regex.capture_locations()),
            Self::Backtracking(_) => Inner::Backtracking(Vec::new()),
        })
    }

    /// The names of the groups, in order, from group 0.
    pub fn names(&self) -> Vec<Option<&str>> {
        match self {
            Self::Linear(regex) => regex.capture_names().collect(),
            Self::Backtracking(regex) => regex.capture_names().collect(),
        }
    }

    /// Searches `text` and fills `groups`, which [`Self::groups`] of this pattern made. False: it matches nowhere.
    pub fn search(&self, text: &[u8], groups: &mut Groups) -> Result<bool, GivenUp> {
        match self {
            Self::Linear(_) => self.search_from(text, None, 0, groups),
            Self::Backtracking(_) => self.search_from(text, Some(&readable(text)), 0, groups),
        }
    }

    /// Calls `found` with the groups of each match in turn, none of which overlap. A pattern that backtracks is given up
    /// after [`MATCH_LIMIT`] matches, too.
    pub fn each(&self, text: &[u8], groups: &mut Groups, mut found: impl FnMut(&Groups)) -> Result<(), GivenUp> {
        let readable = match self {
            Self::Linear(_) => None,
            Self::Backtracking(_) => Some(readable(text)),
        };
        let (mut at, mut last_end, mut left) = (0, None, MATCH_LIMIT);
        while at <= text.len() && self.search_from(text, readable.as_deref(), at, groups)? {
            let (start, end) = groups.get(0).expect("group 0 is the match");
            if start == end && last_end == Some(end) {
                // An empty match right behind another is none; look on one character later.
                at += 1;
                while readable.as_deref().is_some_and(|text| !text.is_char_boundary(at) && at < text.len()) {
                    at += 1;
                }
                continue;
            }
            if readable.is_some() {
                left = usize::checked_sub(left, 1).ok_or(GivenUp)?;
            }
            found(groups);
            (at, last_end) = (end, Some(end));
        }
        Ok(())
    }

    /// As [`Self::search`], for matches at or after `from`; `readable` is the text for the engine that backtracks.
    fn search_from(
        &self,
        text: &[u8],
        readable: Option<&str>,
        from: usize,
        groups: &mut Groups,
    ) -> Result<bool, GivenUp> {
        match (self, &mut groups.0, readable) {
            (Self::Linear(regex), Inner::Linear(locations), _) => {
                Ok(regex.captures_read_at(locations, text, from).is_some())
            }
            (Self::Backtracking(regex), Inner::Backtracking(list), Some(text)) => {
                list.clear();
                let Some(found) = regex.captures_from_pos(text, from).map_err(|_| GivenUp)? else { return Ok(false) };
                list.extend((0..found.len()).map(|group| found.get(group).map(|m| (m.start(), m.end()))));
                Ok(true)
            }
            _ => unreachable!("the groups are of another pattern"),
        }
    }

    /// Start and end of the first match in `text` that begins at byte `at` or behind it; `at` begins a character.
    pub fn find_at(&self, text: &str, at: usize) -> Result<Option<(usize, usize)>, GivenUp> {
        match self {
            Self::Linear(regex) => Ok(regex.find_at(text.as_bytes(), at).map(|m| (m.start(), m.end()))),
            Self::Backtracking(regex) => {
                let found = regex.find_from_pos(text, at).map_err(|_| GivenUp)?;
                Ok(found.map(|m| (m.start(), m.end())))
            }
        }
    }

    /// Whether the pattern matches anywhere in `text`.
    pub fn is_match(&self, text: &[u8]) -> Result<bool, GivenUp> {
        match self {
            Self::Linear(regex) => Ok(regex.is_match(text)),
            Self::Backtracking(regex) => regex.is_match(&*readable(text)).map_err(|_| GivenUp),
        }
    }
}

fn backtracking(pattern: &str) -> Result<fancy_regex::Regex, fancy_regex::Error> {
    let mut builder = RegexBuilder::new(pattern);
    builder.backtrack_limit(BACKTRACK_LIMIT).delegate_size_limit(SIZE_LIMIT).build()
}

/// The text, of the same length, as the engine that backtracks can read it.
fn readable(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| NO_TEXT));
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &[u8]) -> Option<Vec<Option<(usize, usize)>>> {
        let regex = Regex::new(pattern).expect("a pattern");
        let mut groups = regex.groups();
        let matched = regex.search(text, &mut groups).expect("within the bound");
        assert_eq!(regex.is_match(text), Ok(matched));
        matched.then(|| (0..regex.names().len()).map(|group| groups.get(group)).collect())
    }

    #[test]
    fn what_the_linear_engine_can_do_it_does() {
        assert!(matches!(Regex::new(r"^(?P<a>\S+)$"), Ok(Regex::Linear(_))));
        assert!(matches!(Regex::new(r"(\w)\1"), Ok(Regex::Backtracking(_))));
        assert!(Regex::new("(").expect_err("not closed").contains("unclosed group"));
    }

    #[test]
    fn look_around_and_back_references_work_on_any_bytes() {
        assert_eq!(found(r"(\w)\1", b"\xffabb"), Some(vec![Some((2, 4)), Some((2, 3))]));
        assert_eq!(found(r"(?<!a)(b)(c)?", b"ab b"), Some(vec![Some((3, 4)), Some((3, 4)), None]));
        assert_eq!(found(r"(?=x)y", b"xy"), None);
    }

    #[test]
    fn a_hostile_pattern_is_given_up() {
        let regex = Regex::new(r"^(a|b|ab)*\1c$").expect("a pattern");
        assert_eq!(regex.is_match(&b"ab".repeat(40)), Err(GivenUp));
    }
}
