//! Processing: the chain of steps that turns a framed record into what is sent. Built by `config`, run for each record.
//! Knows the record's bytes and its context, nothing else. Invariant: `run` appends to `out` only what is to be sent.

use crate::model::{Generation, Span};

/// Where a record came from, for `add`.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub host: &'a str,
    /// Path of the file as last seen; need not be UTF-8.
    pub path: &'a std::path::Path,
    pub generation: Generation,
    pub span: Span,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What to send was appended to `out`.
    Emit,
    /// The record did not match, and what to send, its bytes as they were, was appended to `out`. Counted.
    EmitRaw,
    /// A step says this record is not sent; it is counted.
    Drop,
    /// A step says this record goes to the dead letters, for this reason.
    DeadLetter { reason: String },
}

/// What to do with a record that a `parse` step cannot read. Default: `KeepRaw`, which loses nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnMismatch {
    Drop,
    /// Send the record's bytes as they are; later steps are not applied to it.
    #[default]
    KeepRaw,
    DeadLetter,
}

/// One step of `process`, in the order written.
#[derive(Clone, Debug)]
pub enum Step {
    Parse {
        format: Format,
        on_mismatch: OnMismatch,
    },
    /// Fields to add, in order; a field of the same name is replaced in its place.
    Add(Vec<(String, Template)>),
    Emit(Emit),
}

/// How a line's fields are found.
#[derive(Clone, Debug)]
pub enum Format {
    Json,
    /// Each named group is a field.
    Regex(regex::bytes::Regex),
    /// Apache and nginx `common`.
    Common,
    /// Apache and nginx `combined`.
    Combined,
}

/// How a record is written. Without an `emit` step fields are written as compact JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emit {
    Json,
    /// RFC 4180 quoting; a missing field is empty.
    Csv {
        fields: Vec<String>,
        delimiter: u8,
    },
}

/// A value of `add`: text with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Host,
    FilePath,
    FileName,
    RecordId,
    RecordOffset,
}

/// The chain of a flow. Holds scratch space, so each flow has its own.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    steps: Vec<Step>,
}

impl Pipeline {
    /// A chain of steps; none at all leaves a record's bytes untouched.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        Self { steps }
    }

    /// Whether records are sent with their bytes untouched.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs the chain over one record, its line end included if it had one, and appends what to send to `out`.
    pub fn run(&mut self, _context: &Context<'_>, record: &[u8], out: &mut Vec<u8>) -> Outcome {
        out.extend_from_slice(record);
        Outcome::Emit
    }
}
