//! Processing: the chain of steps that turns a framed record into what is sent. Built by `config`, run for each record.
//! Knows the record's bytes and its context, nothing else. Invariant: `run` appends to `out` only what is to be sent.

use super::{
    ec2,
    emit::Emitter,
    fields::{Fields, Name, Text, Value},
    java,
    key::{self, Chooser, Missing},
    parse::{Format, Found, Mismatch, Parser, Refine},
    steps::{Condition, Edit, Filter, Limit, Limiter, Redact, SingleLine},
    template::{Add, Added},
};
use crate::model::{Generation, Now, RecordId, Span};
use std::collections::BTreeSet;

/// Where a record came from, for `add`.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub host: &'a str,
    /// What is known of the EC2 instance, if this is one.
    pub ec2: &'a ec2::Shared,
    /// Path of the file as last seen; need not be UTF-8.
    pub path: &'a std::path::Path,
    pub generation: Generation,
    pub span: Span,
    /// When it was read.
    pub now: Now,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What to send was appended to `out`.
    Emit,
    /// The record did not match, and what to send, its bytes, was appended to `out`. Counted.
    EmitRaw(Unmatched),
    /// The record did not match, and a step says that such records are not sent. Counted.
    Drop(Unmatched),
    /// The record was a header line, whose names the chain keeps: nothing of it is to be sent, and nothing is lost.
    Header,
    /// A filter says that this record is not sent. Counted.
    Skip,
    /// This record is beyond a limit, and is not sent. Counted.
    OverLimit,
    /// A step says this record goes to the dead letters, for this reason.
    DeadLetter { reason: String },
}

/// The format that a record is not of, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// As users write it.
    pub format: &'static str,
    pub mismatch: Mismatch,
}

impl std::fmt::Display for Unmatched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.format, self.mismatch)
    }
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
        refine: Refine,
        on_mismatch: OnMismatch,
    },
    /// Fields to add, in order; a field of the same name is replaced in its place.
    Add(Vec<(String, Added)>),
    /// Fields to take away.
    Remove(Vec<String>),
    /// Fields to leave; all others go.
    Keep(Vec<String>),
    /// Old and new names, in order; another field that has the new name goes.
    Rename(Vec<(String, String)>),
    /// Records of which this holds are not sent.
    DropIf(Condition),
    /// Records of which this does not hold are not sent.
    KeepIf(Condition),
    Limit(Limit),
    SingleLine(SingleLine),
    Redact(Redact),
    Emit(Emit),
}

/// How a record is written. Without an `emit` step: compact JSON if a step makes fields of it, else its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emit {
    /// The record's bytes, as the steps that rewrite its line left them. What steps did to fields does not show.
    Raw,
    /// On one line.
    Json,
    /// Over several lines, indented.
    PrettyJson,
    Csv {
        fields: Vec<String>,
        delimiter: u8,
        quote: Quote,
        /// What stands for null and for a field that is missing; never quoted.
        null: String,
    },
}

/// Which cells of CSV are quoted, as RFC 4180 says. Default: `Minimal`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Quote {
    /// Those that need it.
    #[default]
    Minimal,
    Always,
    /// None: a delimiter or a line break within a cell becomes a space.
    Never,
}

impl Step {
    /// Whether it finds or changes fields, so that what follows works on fields and no longer on the line.
    #[must_use]
    pub fn makes_fields(&self) -> bool {
        match self {
            Self::Parse { .. } | Self::Add(_) | Self::Remove(_) | Self::Keep(_) | Self::Rename(_) => true,
            Self::Redact(redact) => !matches!(redact, Redact::Matches { field: None, .. }),
            Self::SingleLine(_) | Self::DropIf(_) | Self::KeepIf(_) | Self::Limit(_) | Self::Emit(_) => false,
        }
    }

    /// Whether it may make something else of a record that is read again, at another time or from a file that was moved.
    fn may_change(&self) -> bool {
        match self {
            Self::Add(list) => list.iter().any(|(_, added)| added.may_change(&BTreeSet::new())),
            Self::Limit(limit) => matches!(limit, Limit::PerSecond(_)),
            _ => false,
        }
    }
}

/// The chain of a flow. Holds scratch space, so each flow has its own.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// Whether there are steps; without, the record's bytes are sent untouched.
    has_steps: bool,
    /// The steps before `emit`, in order.
    stages: Vec<Stage>,
    emitter: Emitter,
    /// The name of the one field that a record is where nothing parses it.
    message: Option<Name>,
    fields: Fields,
    /// Where partition keys are chosen.
    key: Option<Chooser>,
    /// The line as steps have rewritten it, and room to rewrite it again.
    lines: [Vec<u8>; 2],
    /// Takes the place of the steps: what the Java agent does.
    java: Option<java::Chain>,
    /// Some step may make something else of a record that is read again.
    may_change: bool,
}

/// A step, made ready to run.
#[derive(Clone, Debug)]
enum Stage {
    Parse { parser: Parser, on_mismatch: OnMismatch },
    Add(Add),
    Retain { names: Vec<Name>, having: bool },
    Rename(Vec<(Name, Name)>),
    Filter { name: &'static str, filter: Filter, keep: bool },
    Limit(Limiter),
    Edit { name: &'static str, edit: Edit },
}

impl Pipeline {
    /// The same, but for limits by time: what was sent once has passed them.
    #[must_use]
    pub fn without_rates(mut self) -> Self {
        self.stages.retain(|stage| !matches!(stage, Stage::Limit(limiter) if limiter.is_rate()));
        self
    }

    /// Whether a record that is read again gives what it gave, wherever its file was moved to.
    #[must_use]
    pub fn repeats(&self) -> bool {
        !self.may_change && self.java.is_none()
    }

    /// A chain of steps; none at all leaves a record's bytes untouched. `emit` ends the chain: steps after it do nothing.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        let mut chain = Self { has_steps: !steps.is_empty(), ..Self::default() };
        let fields = &mut chain.fields;
        let (mut made_fields, mut emit) = (false, None);
        for step in steps {
            let makes_fields = step.makes_fields();
            chain.may_change |= step.may_change();
            chain.stages.push(match step {
                Step::Emit(last) => {
                    emit = Some(last);
                    break;
                }
                Step::Parse { format, refine, on_mismatch } => {
                    Stage::Parse { parser: Parser::new(format, refine, fields), on_mismatch }
                }
                Step::Add(list) => Stage::Add(Add::new(list, fields)),
                Step::Remove(names) => Stage::retain(&names, false, fields),
                Step::Keep(names) => Stage::retain(&names, true, fields),
                Step::Rename(list) => {
                    Stage::Rename(list.iter().map(|(from, to)| (fields.intern(from), fields.intern(to))).collect())
                }
                Step::DropIf(condition) => {
                    Stage::Filter { name: "drop_if", filter: Filter::new(condition, fields), keep: false }
                }
                Step::KeepIf(condition) => {
                    Stage::Filter { name: "keep_if", filter: Filter::new(condition, fields), keep: true }
                }
                Step::Limit(limit) => Stage::Limit(Limiter::new(limit)),
                Step::SingleLine(single_line) => {
                    Stage::Edit { name: "single_line", edit: Edit::single_line(single_line, made_fields) }
                }
                Step::Redact(redact) => Stage::Edit { name: "redact", edit: Edit::redact(redact, made_fields, fields) },
            });
            made_fields |= makes_fields;
        }
        let unsaid = if made_fields { Emit::Json } else { Emit::Raw };
        chain.emitter = Emitter::new(emit.unwrap_or(unsaid), fields);
        let parses = chain.stages.iter().any(|stage| matches!(stage, Stage::Parse { .. }));
        chain.message = (!parses).then(|| fields.intern("message"));
        chain
    }

    /// Chooses a partition key for each record too.
    #[must_use]
    pub fn with_key(mut self, key: Option<key::Options>) -> Self {
        self.key = key.map(|key| Chooser::new(key, &mut self.fields));
        self
    }

    /// A chain of the Java agent's converters; none at all leaves a record's bytes untouched.
    #[must_use]
    pub fn java(converters: Vec<java::Converter>) -> Self {
        Self { has_steps: !converters.is_empty(), java: Some(java::Chain::new(converters)), ..Self::default() }
    }

    /// Whether records are sent with their bytes untouched.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        !self.has_steps
    }

    /// Whether a step needs the first line of this file and does not know it.
    #[must_use]
    pub fn lacks_header(&self, generation: Generation) -> bool {
        let lacks = |stage: &Stage| matches!(stage, Stage::Parse { parser, .. } if parser.lacks_header(generation));
        self.stages.iter().any(lacks)
    }

    /// Tells the steps the first line of a file, its line end included if it has one.
    pub fn learn_header(&mut self, generation: Generation, span: Span, line: &[u8]) {
        for stage in &mut self.stages {
            if let Stage::Parse { parser, .. } = stage {
                parser.learn_header(generation, span, split_line_end(line).0);
            }
        }
    }

    /// Whether a step or the key says something of the EC2 instance, so that somebody has to ask for it.
    #[must_use]
    pub fn needs_ec2(&self) -> bool {
        self.adds().any(Add::needs_ec2)
            || self.java.as_ref().is_some_and(java::Chain::needs_ec2)
            || self.key.as_ref().is_some_and(Chooser::needs_ec2)
    }

    /// Whether a step or the key names a tag of the EC2 instance; reading tags takes more rights than the rest.
    #[must_use]
    pub fn needs_ec2_tags(&self) -> bool {
        self.adds().any(Add::needs_ec2_tags)
            || self.java.as_ref().is_some_and(java::Chain::needs_ec2)
            || self.key.as_ref().is_some_and(Chooser::needs_ec2_tags)
    }

    /// How old what is known of the EC2 instance may be, where a step says so.
    #[must_use]
    pub fn ec2_max_age(&self) -> Option<std::time::Duration> {
        self.java.as_ref().and_then(java::Chain::ec2_max_age)
    }

    fn adds(&self) -> impl Iterator<Item = &Add> {
        self.stages.iter().filter_map(|stage| if let Stage::Add(add) = stage { Some(add) } else { None })
    }

    /// Whether what it emits is plain text, which may be cut where it is too long; else it is JSON or CSV.
    #[must_use]
    pub fn emits_text(&self) -> bool {
        self.is_raw() || self.java.is_some() || self.emitter.is_raw()
    }

    /// Runs the chain over one record, its line end included if it had one, and appends what to send to `out`.
    ///
    /// A parse step reads the record's line, whatever the steps before it found, and adds to their fields.
    pub fn run(&mut self, context: &Context<'_>, record: &[u8], out: &mut Vec<u8>) -> Outcome {
        if let Some(key) = &mut self.key {
            key.begin();
        }
        if self.is_raw() {
            if let Some(key) = &mut self.key {
                key.take(context, record, &self.fields);
            }
            out.extend_from_slice(record);
            return Outcome::Emit;
        }
        if let Some(chain) = &mut self.java {
            return chain.run(context, record, out);
        }
        let (read, line_end) = split_line_end(record);
        let Self { stages, fields, message, lines: [edited, spare], emitter, key, .. } = self;
        let mut is_edited = false;
        begin(fields, *message, read);
        for stage in stages {
            let line = if is_edited { &edited[..] } else { read };
            match stage {
                Stage::Parse { parser, on_mismatch } => match parser.parse(context, line, fields) {
                    Ok(Found::Fields) => {}
                    Ok(Found::Header) => return Outcome::Header,
                    Err(mismatch) => {
                        let why = Unmatched { format: parser.name(), mismatch };
                        return unmatched(*on_mismatch, why, [line, line_end], out);
                    }
                },
                Stage::Add(add) => add.run(context, line, fields),
                Stage::Retain { names, having } => fields.retain(line, names, *having),
                Stage::Rename(list) => list.iter().for_each(|&(from, to)| fields.rename(line, from, to)),
                Stage::Filter { name, filter, keep } => match filter.holds(line, fields) {
                    Ok(holds) if holds == *keep => {}
                    Ok(_) => return Outcome::Skip,
                    Err(given_up) => return dead(name, given_up),
                },
                Stage::Limit(limiter) => {
                    if !limiter.passes(context) {
                        return Outcome::OverLimit;
                    }
                }
                Stage::Edit { name, edit } => match edit.run(line, fields, spare) {
                    Ok(false) => {}
                    Ok(true) => {
                        std::mem::swap(edited, spare);
                        is_edited = true;
                        begin(fields, *message, edited);
                    }
                    Err(given_up) => return dead(name, given_up),
                },
            }
        }
        let line = if is_edited { &edited[..] } else { read };
        if let Some(key) = key {
            key.take(context, line, fields);
        }
        emitter.write(line, line_end, fields, out);
        Outcome::Emit
    }

    /// The partition key of the record that was run last and is sent as `sent`; nothing where keys are random.
    pub fn key(&mut self, id: RecordId, sent: &[u8]) -> Result<Option<&str>, Missing> {
        self.key.as_mut().map(|key| key.key(id, sent)).transpose()
    }
}

impl Stage {
    fn retain(names: &[String], having: bool, fields: &mut Fields) -> Self {
        Self::Retain { names: names.iter().map(|name| fields.intern(name)).collect(), having }
    }
}

/// The fields of a line that nothing has looked at yet.
fn begin(fields: &mut Fields, message: Option<Name>, line: &[u8]) {
    fields.clear();
    if let Some(message) = message {
        fields.push(message, Value::Text(Text::line(0, line.len())));
    }
}

/// The record without one `\n` or `\r\n` at its end, and that end.
fn split_line_end(record: &[u8]) -> (&[u8], &[u8]) {
    let line = record.strip_suffix(b"\n");
    let line = line.map_or(record, |line| line.strip_suffix(b"\r").unwrap_or(line));
    record.split_at(line.len())
}

fn unmatched(on_mismatch: OnMismatch, why: Unmatched, record: [&[u8]; 2], out: &mut Vec<u8>) -> Outcome {
    match on_mismatch {
        OnMismatch::Drop => Outcome::Drop(why),
        OnMismatch::KeepRaw => {
            for part in record {
                out.extend_from_slice(part);
            }
            Outcome::EmitRaw(why)
        }
        OnMismatch::DeadLetter => Outcome::DeadLetter { reason: why.to_string() },
    }
}

fn dead(step: &str, why: impl std::fmt::Display) -> Outcome {
    Outcome::DeadLetter { reason: format!("{step}: {why}") }
}

#[cfg(test)]
mod tests;
