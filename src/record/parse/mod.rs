//! Parsers: a line's bytes to fields. Knows no steps and nothing of what is sent. Invariant: a parser reads the whole line or
//! says where it stopped; what it pushed before it stopped is not to be used.

mod access;
mod json;
mod pattern;

use super::{
    fields::{Fields, MAX_FIELDS},
    pipeline::Format,
};

/// Why a line is not of a format. Offsets count from the beginning of the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("expected {what} at byte {at}")]
    Expected { what: &'static str, at: usize },
    #[error("invalid UTF-8 at byte {at}")]
    Utf8 { at: usize },
    #[error("nested deeper than {} levels at byte {at}", json::MAX_DEPTH)]
    Depth { at: usize },
    #[error("more than {MAX_FIELDS} fields at byte {at}")]
    Fields { at: usize },
    #[error("the pattern matches nowhere in bytes 0 to {end}")]
    NoMatch { end: usize },
}

/// A format, made ready to read lines.
#[derive(Clone, Debug)]
pub(super) enum Parser {
    Json,
    Pattern(pattern::Pattern),
    Access(access::Access),
}

impl Parser {
    pub(super) fn new(format: Format, fields: &mut Fields) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Regex(regex) => Self::Pattern(pattern::Pattern::new(regex, fields)),
            Format::Common => Self::Access(access::Access::common(fields)),
            Format::Combined => Self::Access(access::Access::combined(fields)),
        }
    }

    /// The format's name, as users write it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Pattern(_) => "regex",
            Self::Access(access) => access.name(),
        }
    }

    /// Adds the line's fields; one that replaces a field of the same name takes its place.
    pub(super) fn parse(&mut self, line: &[u8], fields: &mut Fields) -> Result<(), Mismatch> {
        let old = fields.len();
        match self {
            Self::Json => json::parse(line, fields)?,
            Self::Pattern(pattern) => pattern.parse(line, fields)?,
            Self::Access(access) => access.parse(line, fields)?,
        }
        // Only JSON repeats a name within one line.
        if old > 0 || matches!(self, Self::Json) {
            fields.merge(line, old);
        }
        Ok(())
    }
}
