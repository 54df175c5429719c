//! The values that `add` gives: text with variables, or JSON that holds such texts. Knows a record's context and its fields,
//! not where they come from. Invariant: what is not known is null where it stands alone, and nothing within a longer text.

use std::{collections::BTreeSet, io::Write as _};

use jiff::{
    Timestamp,
    fmt::{StdIoWrite, temporal::DateTimePrinter},
};

use super::{
    ec2::Instance,
    fields::{Fields, Name, Value},
    pipeline::Context,
    text,
};
use crate::model::RecordId;

/// Text with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

impl Template {
    /// The variables in it.
    fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) | Part::Field(_) => None,
        })
    }

    /// Whether it names a field.
    #[must_use]
    pub fn has_fields(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Field(_)))
    }

    /// Whether it may say something else when the record is read again: the time, the file's name, which a rotation changes,
    /// and what the instance was asked for. The host is part of what a checkpoint is compared with.
    #[must_use]
    pub fn may_change(&self) -> bool {
        let stays = |v: &Variable| matches!(v, Variable::Host | Variable::RecordId | Variable::RecordOffset);
        !self.variables().all(stays)
    }

    /// Whether it names one of these fields.
    #[must_use]
    pub fn names(&self, fields: &BTreeSet<&str>) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Field(name) if fields.contains(name.as_str())))
    }
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    /// The value of the field of this name, as it is when the step runs.
    Field(String),
    Variable(Variable),
}

/// What a template may say of a record and of where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    Host,
    FilePath,
    FileName,
    RecordId,
    RecordOffset,
    /// When the record was read: RFC 3339, UTC, with milliseconds.
    Now,
    /// The same in milliseconds since 1970.
    NowUnixMs,
    Ec2(Ec2),
    /// The tag of this name.
    Ec2Tag(String),
}

/// A fact of the EC2 instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ec2 {
    InstanceId,
    InstanceType,
    ImageId,
    AccountId,
    Region,
    AvailabilityZone,
    PrivateIp,
}

/// A value of `add`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    Text(Template),
    /// The pieces, end to end, are a JSON value on one line.
    Json(Vec<Piece>),
}

impl Added {
    fn templates(&self) -> impl Iterator<Item = &Template> {
        let (text, pieces) = match self {
            Self::Text(template) => (Some(template), &[][..]),
            Self::Json(pieces) => (None, pieces.as_slice()),
        };
        let in_json = pieces.iter().filter_map(|piece| match piece {
            Piece::Json(_) => None,
            Piece::Text(template) => Some(template),
        });
        text.into_iter().chain(in_json)
    }

    /// Whether it may be something else when the record is read again, or names one of these fields.
    #[must_use]
    pub fn may_change(&self, fields: &BTreeSet<&str>) -> bool {
        self.templates().any(|template| template.may_change() || template.names(fields))
    }
}

/// A piece of a JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// JSON as it is.
    Json(String),
    /// Written as a JSON string, or as the value itself where a variable stands alone and is no text.
    Text(Template),
}

impl Added {
    /// The variables in it.
    fn variables(&self) -> impl Iterator<Item = &Variable> {
        let (text, json) = match self {
            Self::Text(template) => (Some(template), &[][..]),
            Self::Json(pieces) => (None, &pieces[..]),
        };
        let inside = json.iter().filter_map(|piece| match piece {
            Piece::Json(_) => None,
            Piece::Text(template) => Some(template),
        });
        text.into_iter().chain(inside).flat_map(Template::variables)
    }
}

/// The fields of one `add` step, made ready to be filled in.
#[derive(Clone, Debug)]
pub(super) struct Add {
    list: Vec<(Name, Ready)>,
    needs_ec2: bool,
    needs_ec2_tags: bool,
    /// The value at hand, and a text within it.
    value: Vec<u8>,
    inside: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Ready {
    Text(Vec<Slot>),
    Json(Vec<ReadyPiece>),
}

#[derive(Clone, Debug)]
enum ReadyPiece {
    Json(String),
    Text(Vec<Slot>),
}

#[derive(Clone, Debug)]
enum Slot {
    Text(String),
    Field(Name),
    Variable(Variable),
}

impl Add {
    pub(super) fn new(list: Vec<(String, Added)>, fields: &mut Fields) -> Self {
        let (needs_ec2, needs_ec2_tags) = needs(list.iter().flat_map(|(_, added)| added.variables()));
        let list = list.into_iter().map(|(name, added)| {
            let ready = match added {
                Added::Text(template) => Ready::Text(slots(template, fields)),
                Added::Json(pieces) => {
                    let piece = |piece| match piece {
                        Piece::Json(json) => ReadyPiece::Json(json),
                        Piece::Text(template) => ReadyPiece::Text(slots(template, fields)),
                    };
                    Ready::Json(pieces.into_iter().map(piece).collect())
                }
            };
            (fields.intern(&name), ready)
        });
        Self { list: list.collect(), needs_ec2, needs_ec2_tags, value: Vec::new(), inside: Vec::new() }
    }

    /// Whether it says something of the EC2 instance.
    pub(super) fn needs_ec2(&self) -> bool {
        self.needs_ec2
    }

    /// Whether it names a tag of the EC2 instance.
    pub(super) fn needs_ec2_tags(&self) -> bool {
        self.needs_ec2_tags
    }

    /// Sets the fields, in order: a later one sees those before it.
    pub(super) fn run(&mut self, context: &Context<'_>, line: &[u8], fields: &mut Fields) {
        let Self { list, value, inside, .. } = self;
        let ec2 = if self.needs_ec2 { context.ec2.get() } else { None };
        for (name, ready) in list {
            value.clear();
            let filled = {
                let mut source = Source { context, ec2: ec2.as_deref(), line, fields };
                match ready {
                    Ready::Text(slots) => source.text(slots, value),
                    Ready::Json(pieces) => {
                        source.json(pieces, value, inside);
                        Filled::Json
                    }
                }
            };
            let value = match filled {
                Filled::Text => Value::Text(fields.compose(|out| out.extend_from_slice(value))),
                Filled::Json => Value::Json(fields.compose(|out| out.extend_from_slice(value))),
                Filled::Value(value) => value,
            };
            fields.put(line, *name, value);
        }
    }
}

/// A text by itself, made ready to be filled in.
#[derive(Clone, Debug)]
pub(super) struct Filler {
    slots: Vec<Slot>,
    needs_ec2: bool,
    needs_ec2_tags: bool,
}

impl Filler {
    pub(super) fn new(template: Template, fields: &mut Fields) -> Self {
        let (needs_ec2, needs_ec2_tags) = needs(template.variables());
        Self { slots: slots(template, fields), needs_ec2, needs_ec2_tags }
    }

    /// Whether it says something of the EC2 instance.
    pub(super) fn needs_ec2(&self) -> bool {
        self.needs_ec2
    }

    /// Whether it names a tag of the EC2 instance.
    pub(super) fn needs_ec2_tags(&self) -> bool {
        self.needs_ec2_tags
    }

    /// Appends the text; false if something in it is not known, null or empty.
    pub(super) fn fill(&self, context: &Context<'_>, line: &[u8], fields: &Fields, out: &mut Vec<u8>) -> bool {
        let ec2 = if self.needs_ec2 { context.ec2.get() } else { None };
        let source = Source { context, ec2: ec2.as_deref(), line, fields };
        self.slots.iter().all(|slot| {
            let before = out.len();
            source.slot(slot, out);
            out.len() > before
        })
    }
}

/// Whether variables say something of the EC2 instance, and whether they name a tag of it.
fn needs<'a>(variables: impl Iterator<Item = &'a Variable>) -> (bool, bool) {
    variables.fold((false, false), |(ec2, tags), variable| match variable {
        Variable::Ec2Tag(_) => (true, true),
        Variable::Ec2(_) => (true, tags),
        _ => (ec2, tags),
    })
}

fn slots(template: Template, fields: &mut Fields) -> Vec<Slot> {
    let slot = |part| match part {
        Part::Text(text) => Slot::Text(text),
        Part::Field(name) => Slot::Field(fields.intern(&name)),
        Part::Variable(variable) => Slot::Variable(variable),
    };
    template.0.into_iter().map(slot).collect()
}

/// What a template gave.
enum Filled {
    /// Text, in the buffer.
    Text,
    /// JSON, in the buffer.
    Json,
    /// The value of a field that stands alone, or nothing that is known.
    Value(Value),
}

/// Where the values of variables come from.
struct Source<'a> {
    context: &'a Context<'a>,
    ec2: Option<&'a Instance>,
    line: &'a [u8],
    fields: &'a Fields,
}

impl Source<'_> {
    fn text(&mut self, slots: &[Slot], out: &mut Vec<u8>) -> Filled {
        match slots {
            [Slot::Field(name)] => return Filled::Value(self.fields.get(self.line, *name).unwrap_or(Value::Null)),
            [Slot::Variable(variable)] if !self.variable(variable, out) => return Filled::Value(Value::Null),
            [Slot::Variable(_)] => {}
            _ => slots.iter().for_each(|slot| self.slot(slot, out)),
        }
        Filled::Text
    }

    fn json(&mut self, pieces: &[ReadyPiece], out: &mut Vec<u8>, inside: &mut Vec<u8>) {
        for piece in pieces {
            match piece {
                ReadyPiece::Json(json) => out.extend_from_slice(json.as_bytes()),
                ReadyPiece::Text(slots) => {
                    inside.clear();
                    match self.text(slots, inside) {
                        Filled::Value(value) => self.fields.push_json(self.line, value, out),
                        _ => text::push_json_string(inside, out),
                    }
                }
            }
        }
    }

    fn slot(&self, slot: &Slot, out: &mut Vec<u8>) {
        match slot {
            Slot::Text(text) => out.extend_from_slice(text.as_bytes()),
            Slot::Field(name) => {
                if let Some(value) = self.fields.get(self.line, *name) {
                    self.fields.push_text(self.line, value, out);
                }
            }
            Slot::Variable(variable) => {
                self.variable(variable, out);
            }
        }
    }

    /// Appends the value of a variable; false if it is not known.
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let context = self.context;
        match variable {
            Variable::Host => out.extend_from_slice(context.host.as_bytes()),
            Variable::FilePath => text::push_lossy(context.path.as_os_str().as_encoded_bytes(), out),
            Variable::FileName => {
                text::push_lossy(context.path.file_name().unwrap_or_default().as_encoded_bytes(), out);
            }
            Variable::RecordId => push_display(RecordId { generation: context.generation, span: context.span }, out),
            Variable::RecordOffset => push_display(context.span.start, out),
            Variable::Now => push_time(context.now.wall, out),
            Variable::NowUnixMs => push_display(context.now.wall.div_euclid(1_000_000), out),
            Variable::Ec2(fact) => return push_known(self.ec2.and_then(|ec2| known(ec2, *fact)), out),
            Variable::Ec2Tag(name) => {
                let tag = self.ec2.and_then(|ec2| ec2.tags.as_ref()?.get(name));
                return push_known(tag.map(String::as_str), out);
            }
        }
        true
    }
}

fn known(ec2: &Instance, fact: Ec2) -> Option<&str> {
    let text = match fact {
        Ec2::InstanceId => &ec2.instance_id,
        Ec2::InstanceType => &ec2.instance_type,
        Ec2::ImageId => &ec2.image_id,
        Ec2::AccountId => &ec2.account_id,
        Ec2::Region => &ec2.region,
        Ec2::AvailabilityZone => &ec2.availability_zone,
        Ec2::PrivateIp => &ec2.private_ip,
    };
    text.as_deref()
}

fn push_known(text: Option<&str>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(text.unwrap_or_default().as_bytes());
    text.is_some()
}

fn push_display(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    write!(out, "{value}").expect("a Vec takes every write");
}

/// Appends a time in nanoseconds since 1970 as `2026-11-20T10:00:00.123Z`.
fn push_time(nanoseconds: i64, out: &mut Vec<u8>) {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    let time = Timestamp::from_nanosecond(i128::from(nanoseconds)).expect("an i64 of nanoseconds is within 300 years");
    PRINTER.print_timestamp(&time, StdIoWrite(out)).expect("a Vec takes every write");
}

#[cfg(test)]
mod tests;
