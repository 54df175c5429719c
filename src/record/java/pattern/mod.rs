//! Java's regular expressions: read as `java.util.regex` of Java 17 reads them, written for our engines. Knows no converter.
//! Invariant: a pattern means here what it means there, or is refused in words that say why.

mod class;
mod escape;
mod node;
mod parse;
mod print;
mod property;

use node::Node;
use print::Use;

use crate::record::regex::Regex;

/// Longest pattern, in characters.
const LONGEST: usize = 64 << 10;

/// A pattern that was read.
#[derive(Clone, Debug)]
pub struct Pattern {
    node: Node,
    /// How many groups capture.
    groups: u32,
}

/// What a pattern may be compiled with, as in `Pattern.compile(pattern, flags)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    /// `^` and `$` match at each line.
    pub multi_line: bool,
}

/// Why there is no such pattern.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Java refuses it too.
    #[error("is no valid Java pattern: {what} near character {near}")]
    Syntax {
        what: &'static str,
        /// How far it was read, from 1.
        near: usize,
    },
    /// Java knows it, and there is no such thing here.
    #[error("uses {0}, which is not supported here; write the pattern without it")]
    Unsupported(String),
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(pattern: &str, flags: Flags) -> Result<Self, Error> {
        if pattern.chars().nth(LONGEST).is_some() {
            return Err(Error::Unsupported(format!("more than {LONGEST} characters")));
        }
        let (node, groups) = parse::parse(pattern, flags)?;
        Ok(Self { node, groups })
    }

    /// For texts that it matches whole: `Matcher.matches`.
    pub fn matches(&self) -> Result<Regex, Error> {
        self.compile(Use::Matches)
    }

    /// For texts that begin with a match: `Matcher.lookingAt`. Only whether it matches may be asked, not where it ends.
    pub fn looking_at(&self) -> Result<Regex, Error> {
        self.compile(Use::LookingAt)
    }

    /// For texts that hold matches: `Matcher.find`.
    pub fn find(&self) -> Result<Regex, Error> {
        self.compile(Use::Find)
    }

    /// The text, at least one character, that is all that it matches, if it is that simple.
    #[must_use]
    pub fn literal(&self) -> Option<String> {
        match &self.node {
            Node::Char(c) => Some(c.to_string()),
            Node::Concat(nodes) if !nodes.is_empty() => {
                nodes.iter().map(|node| if let Node::Char(c) = node { Some(*c) } else { None }).collect()
            }
            _ => None,
        }
    }

    fn compile(&self, usage: Use) -> Result<Regex, Error> {
        let text = print::print(&self.node, self.groups, usage)?;
        Regex::new(&text)
            .map_err(|_| Error::Unsupported("more nesting, a larger repetition or a look-behind of a kind".to_owned()))
    }
}

#[cfg(test)]
mod tests;
