//! What is wrong with a configuration, in words, with the place. Knows no YAML and no options.
//! Invariant: problems are shown in the order of their places in the files.

use std::{fmt, sync::Arc};

/// A place in a file. Both count from 1; the column counts characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Location {
    pub line: usize,
    pub column: usize,
}

/// One mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The file as it was named.
    pub file: Arc<str>,
    /// `None`: the whole file (missing, unreadable, too large, not UTF-8).
    pub at: Option<Location>,
    /// Path of the key, like `flows[0].source.paths[1]`; empty for the file itself.
    pub key: String,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(at) = self.at {
            write!(f, "{}:{}:", at.line, at.column)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.text)
    }
}

/// Everything that is wrong with a configuration, at least one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems(Vec<Problem>);

/// Most problems that are shown.
const SHOWN: usize = 100;

impl Problems {
    /// Orders what was found by place within each file, the files in the order they were read.
    pub(super) fn new(mut found: Vec<Problem>, files: &[Arc<str>]) -> Self {
        let rank = |file: &Arc<str>| files.iter().position(|f| f == file).unwrap_or(files.len());
        found.sort_by_cached_key(|p| (rank(&p.file), p.at));
        Self(found)
    }

    /// The problems in file order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(SHOWN).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        match self.0.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\n... and {more} more"),
        }
    }
}

impl std::error::Error for Problems {}
