//! Files: which match now, where each was read to, what rotation did to them. Knows no records, no destination and no clock.

mod discover;
pub mod fs;
pub mod handle;
pub mod rotation;
pub mod tail;
pub mod watch;

use std::{path::PathBuf, time::Duration};

/// Where a file that is present at a flow's very first start is read from. Later files are always read from their first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartAt {
    End,
    Beginning,
}

/// Which files a flow follows, and how often it looks. Built by `config`; nothing in it can be invalid.
#[derive(Clone, Debug)]
pub struct Options {
    /// Absolute glob patterns, `**` allowed; at least one.
    pub paths: Vec<Pattern>,
    /// Patterns of files to leave out: matched against the whole path if they contain a `/`, else against the file name.
    pub exclude: Vec<Pattern>,
    /// `None`: not said in the configuration; `run` then starts at the end, `run --once` at the beginning.
    pub start_at: Option<StartAt>,
    /// Upper bound of the time between two looks at an active file when no hint arrives. 10 ms to 1 h, default 1 s.
    pub poll_interval: Duration,
}

impl Options {
    /// Names that a flow would look at now: what its patterns match, and what rotation made of such names. In order.
    pub fn candidates<F: fs::Fs>(&self, fs: &F) -> Vec<PathBuf> {
        self.discover().walk(fs, true, 0).found
    }

    /// Whether a path is one of the flow's by its name alone.
    #[must_use]
    pub fn matches(&self, path: &std::path::Path) -> bool {
        self.discover().matches(path)
    }

    /// Whether a path is left out, whatever else matches it.
    #[must_use]
    pub fn excludes(&self, path: &std::path::Path) -> bool {
        self.discover().is_excluded(path)
    }

    fn discover(&self) -> discover::Discover {
        discover::Discover::new(self.paths.clone(), self.exclude.clone())
    }
}

/// A compiled glob with the text it came from.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    matcher: globset::GlobMatcher,
}

impl Pattern {
    /// Compiles a glob in which `*` and `?` do not cross `/` and `**` does; an alternative of `{,.1}` may be empty.
    ///
    /// # Errors
    /// What is wrong with the pattern, for people.
    pub fn new(text: &str) -> Result<Self, String> {
        globset::GlobBuilder::new(text)
            .literal_separator(true)
            .backslash_escape(true)
            .empty_alternates(true)
            .build()
            .map(|g| Self { text: text.to_owned(), matcher: g.compile_matcher() })
            .map_err(|e| e.kind().to_string())
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the path (which need not be UTF-8) matches.
    #[must_use]
    pub fn matches(&self, path: &std::path::Path) -> bool {
        self.matcher.is_match(path)
    }

    /// The longest leading folder without a wildcard: where a search for matches starts.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        let mut root = PathBuf::new();
        let mut parts = std::path::Path::new(&self.text).components().peekable();
        while let Some(part) = parts.next() {
            let text = part.as_os_str().to_string_lossy();
            if parts.peek().is_none() || text.contains(['*', '?', '[', '{', '\\']) {
                break;
            }
            root.push(part);
        }
        root
    }
}
