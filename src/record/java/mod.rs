//! What the Java agent makes of a record, byte for byte: a chain of its converters. Knows no configuration file and no
//! destination. Invariant: what is sent is what the last converter wrote, or the record as it was read.

mod csv;
pub mod json;
mod log;
mod metadata;
mod object;
pub mod pattern;
mod single_line;
mod text;

pub use csv::{Csv, Delimiter};
pub use log::{Counts, Format, Log};
pub use metadata::{InstanceMetadata, Metadata};
pub use object::{FieldNames, Layout};
pub(in crate::record) use text::decode;

use std::time::Duration;

use crate::record::{
    parse::Mismatch,
    pipeline::{Context, Outcome, Unmatched},
};

/// One entry of `dataProcessingOptions`.
#[derive(Clone, Debug)]
pub enum Converter {
    /// `SINGLELINE`: the lines of a record become one.
    SingleLine {
        /// Blanks at both ends of each line are left out. Default true.
        trim: bool,
        /// Lines are joined by `\\n`, two backslashes and an `n`, and not by nothing. Default false.
        escape_new_line: bool,
    },
    /// `CSVTOJSON`: the pieces between delimiters become fields.
    CsvToJson(Csv),
    /// `LOGTOJSON`: the groups of a pattern become fields.
    LogToJson(Log),
    /// `ADDMETADATA`: the record becomes a field, next to a constant.
    AddMetadata(Metadata),
    /// `ADDEC2METADATA`: what is known of the EC2 instance joins a JSON object.
    AddEc2Metadata(InstanceMetadata),
    /// `ADDBRACKETS`: `{` before the record and `}` behind it.
    AddBrackets,
}

/// What a converter did with a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// What it made of it was appended.
    Converted,
    /// The record is not to be sent.
    Skipped,
    /// It threw an exception: the record is sent as it was read. Something may have been appended.
    Failed,
}

/// The converters of a flow, in order. Holds scratch space, so each flow has its own.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    converters: Vec<Converter>,
    /// What one converter wrote and the next one reads.
    made: Vec<u8>,
    making: Vec<u8>,
    scratch: Scratch,
}

/// Space that converters may use while they run.
#[derive(Clone, Debug, Default)]
struct Scratch {
    text: Vec<u8>,
    /// Where the values of a record's fields are; `None` is `null`.
    pieces: Vec<Option<(usize, usize)>>,
}

impl Chain {
    /// Whether a converter says something of the EC2 instance, its tags included.
    pub(super) fn needs_ec2(&self) -> bool {
        self.metadata().next().is_some()
    }

    /// How old what is known of the EC2 instance may be, where a converter says so.
    pub(super) fn ec2_max_age(&self) -> Option<Duration> {
        self.metadata().filter_map(InstanceMetadata::max_age).min()
    }

    fn metadata(&self) -> impl Iterator<Item = &InstanceMetadata> {
        self.converters.iter().filter_map(|converter| match converter {
            Converter::AddEc2Metadata(metadata) => Some(metadata),
            _ => None,
        })
    }

    /// A chain of converters; none at all leaves a record's bytes untouched.
    #[must_use]
    pub fn new(converters: Vec<Converter>) -> Self {
        Self { converters, ..Self::default() }
    }

    /// Whether records are sent with their bytes untouched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.converters.is_empty()
    }

    /// Runs the chain over one record, its newline included if it had one, and appends what to send to `out`: what the
    /// last converter wrote, or the record itself where any of them failed.
    pub fn run(&mut self, context: &Context<'_>, record: &[u8], out: &mut Vec<u8>) -> Outcome {
        let from = out.len();
        let Some((last, others)) = self.converters.split_last_mut() else {
            out.extend_from_slice(record);
            return Outcome::Emit;
        };
        let (mut verdict, mut name) = (Verdict::Converted, last.name());
        for (at, converter) in others.iter_mut().enumerate() {
            std::mem::swap(&mut self.made, &mut self.making);
            self.making.clear();
            let input = if at == 0 { record } else { &self.made };
            verdict = converter.convert(context, input, &mut self.making, &mut self.scratch);
            if verdict != Verdict::Converted {
                name = converter.name();
                break;
            }
        }
        if verdict == Verdict::Converted {
            let input = if others.is_empty() { record } else { &self.making };
            verdict = last.convert(context, input, out, &mut self.scratch);
        }
        match verdict {
            Verdict::Converted => Outcome::Emit,
            Verdict::Skipped => {
                out.truncate(from);
                Outcome::Drop(Unmatched { format: name, mismatch: Mismatch::NoMatch { end: record.len() } })
            }
            Verdict::Failed => {
                out.truncate(from);
                out.extend_from_slice(record);
                let mismatch = Mismatch::Expected { what: "what this converter can read", at: 0 };
                Outcome::EmitRaw(Unmatched { format: name, mismatch })
            }
        }
    }
}

impl Converter {
    /// What users write.
    fn name(&self) -> &'static str {
        match self {
            Self::SingleLine { .. } => "SINGLELINE",
            Self::CsvToJson(_) => "CSVTOJSON",
            Self::LogToJson(_) => "LOGTOJSON",
            Self::AddMetadata(_) => "ADDMETADATA",
            Self::AddEc2Metadata(_) => "ADDEC2METADATA",
            Self::AddBrackets => "ADDBRACKETS",
        }
    }

    /// Appends what it makes of `input` to `out`.
    fn convert(&mut self, context: &Context<'_>, input: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) -> Verdict {
        match self {
            Self::SingleLine { trim, escape_new_line } => {
                single_line::convert(*trim, *escape_new_line, text::decode(input, &mut scratch.text), out);
                Verdict::Converted
            }
            Self::CsvToJson(csv) => csv.convert(input, out, scratch),
            Self::LogToJson(log) => log.convert(input, out, scratch),
            Self::AddMetadata(metadata) => {
                metadata.convert(context, text::decode(input, &mut scratch.text), out);
                Verdict::Converted
            }
            Self::AddEc2Metadata(metadata) => metadata.convert(context, input, out, &mut scratch.text),
            Self::AddBrackets => {
                out.push(b'{');
                out.extend_from_slice(input);
                out.push(b'}');
                Verdict::Converted
            }
        }
    }
}

#[cfg(test)]
mod tests;
