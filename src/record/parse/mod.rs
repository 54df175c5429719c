//! Parsers: a line's bytes to fields. Knows no steps and nothing of what is sent. Invariant: a parser reads the whole line or
//! says where it stopped; what it pushed before it stopped is not to be used.

mod access;
mod containers;
pub mod csv;
mod cursor;
mod errorlog;
mod format;
mod grok;
mod headers;
mod json;
pub mod pairs;
mod pattern;
mod plan;
mod refine;
mod strptime;
mod syslog;
#[cfg(test)]
mod testing;
mod timestamp;

pub use self::{
    format::Format,
    grok::Grok,
    refine::{Refine, Type},
    strptime::TimeFormat,
    timestamp::{TimestampOptions, zone},
};
use super::{
    fields::{Fields, MAX_FIELDS},
    pipeline::Context,
    regex::BACKTRACK_LIMIT,
};
use crate::model::{Generation, Span};

/// Why a line is not of a format. Offsets count from the beginning of the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Mismatch {
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
    #[error("the pattern takes more than {BACKTRACK_LIMIT} steps on this text")]
    GivenUp,
    #[error("the header line of this file cannot be read")]
    NoHeader,
}

/// What a line that matches is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Fields,
    /// Names of fields, which the parser keeps: nothing is to be sent.
    Header,
}

/// A format, made ready to read lines, and what is done with the fields that it finds.
#[derive(Clone, Debug)]
pub(super) struct Parser {
    reader: Reader,
    refiner: Option<Box<refine::Refiner>>,
}

#[derive(Clone, Debug)]
enum Reader {
    Json,
    Pattern(Box<pattern::Pattern>),
    Csv(Box<csv::Csv>),
    Logfmt(pairs::Logfmt),
    KeyValue(Box<pairs::KeyValue>),
    Access(access::Access),
    ApacheError(Box<errorlog::Apache>),
    NginxError(Box<errorlog::Nginx>),
    SyslogRfc3164(Box<syslog::Rfc3164>),
    SyslogRfc5424(Box<syslog::Rfc5424>),
    Cri(Box<containers::Cri>),
    Docker(containers::Docker),
}

impl Parser {
    pub(super) fn new(format: Format, mut refine: Refine, fields: &mut Fields) -> Self {
        if let Format::Grok(grok) = &format {
            // After what the step says: the first type that fits counts.
            refine.types.extend(grok.types.iter().cloned());
        }
        let needed = !refine.types.is_empty() || refine.timestamp.is_some() || !refine.null_if.is_empty();
        let refiner = needed.then(|| Box::new(refine::Refiner::new(refine, fields)));
        Self { reader: Reader::new(format, fields), refiner }
    }

    /// The format's name, as users write it.
    pub(super) fn name(&self) -> &'static str {
        match &self.reader {
            Reader::Json => "json",
            Reader::Pattern(pattern) => pattern.name(),
            Reader::Csv(_) => "csv",
            Reader::Logfmt(_) => "logfmt",
            Reader::KeyValue(_) => "key_value",
            Reader::Access(access) => access.name(),
            Reader::ApacheError(_) => "apache_error",
            Reader::NginxError(_) => "nginx_error",
            Reader::SyslogRfc3164(_) => "syslog_rfc3164",
            Reader::SyslogRfc5424(_) => "syslog_rfc5424",
            Reader::Cri(_) => "cri",
            Reader::Docker(_) => "docker",
        }
    }

    /// Whether the header of this file is needed and not known.
    pub(super) fn lacks_header(&self, generation: Generation) -> bool {
        matches!(&self.reader, Reader::Csv(csv) if csv.lacks_header(generation))
    }

    /// Remembers the first line of a file, without its line end, if it is needed.
    pub(super) fn learn_header(&mut self, generation: Generation, span: Span, line: &[u8]) {
        if let Reader::Csv(csv) = &mut self.reader {
            csv.learn_header(generation, span, line);
        }
    }

    /// Adds the line's fields; one that replaces a field of the same name takes its place.
    pub(super) fn parse(&mut self, context: &Context<'_>, line: &[u8], fields: &mut Fields) -> Result<Found, Mismatch> {
        let old = fields.len();
        let found = self.reader.parse(context, line, fields)?;
        let mut may_repeat = old > 0 || self.reader.may_repeat();
        if let Some(refiner) = &self.refiner {
            refiner.apply(context, line, old, fields);
            may_repeat |= refiner.may_repeat();
        }
        if may_repeat {
            fields.merge(line, old);
        }
        Ok(found)
    }
}

impl Reader {
    fn new(format: Format, fields: &mut Fields) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Regex(regex) => Self::Pattern(Box::new(pattern::Pattern::regex(regex, fields))),
            Format::Grok(grok) => Self::Pattern(Box::new(pattern::Pattern::grok(*grok, fields))),
            Format::Csv(options) => Self::Csv(Box::new(csv::Csv::new(options, fields))),
            Format::Logfmt => Self::Logfmt(pairs::Logfmt::new(fields)),
            Format::KeyValue(options) => Self::KeyValue(Box::new(pairs::KeyValue::new(&options, fields))),
            Format::Common => Self::Access(access::Access::common(fields)),
            Format::Combined => Self::Access(access::Access::combined(fields)),
            Format::ApacheError => Self::ApacheError(Box::new(errorlog::Apache::new(fields))),
            Format::NginxError => Self::NginxError(Box::new(errorlog::Nginx::new(fields))),
            Format::SyslogRfc3164 => Self::SyslogRfc3164(Box::new(syslog::Rfc3164::new(fields))),
            Format::SyslogRfc5424 => Self::SyslogRfc5424(Box::new(syslog::Rfc5424::new(fields))),
            Format::Cri => Self::Cri(Box::new(containers::Cri::new(fields))),
            Format::Docker => Self::Docker(containers::Docker::new(fields)),
        }
    }

    fn parse(&mut self, context: &Context<'_>, line: &[u8], fields: &mut Fields) -> Result<Found, Mismatch> {
        match self {
            Self::Json => json::parse(line, fields)?,
            Self::Pattern(pattern) => pattern.parse(line, fields)?,
            Self::Csv(csv) => return csv.parse(context, line, fields),
            Self::Logfmt(logfmt) => logfmt.parse(line, fields)?,
            Self::KeyValue(pairs) => pairs.parse(line, fields)?,
            Self::Access(access) => access.parse(line, fields)?,
            Self::ApacheError(apache) => apache.parse(line, fields)?,
            Self::NginxError(nginx) => nginx.parse(line, fields)?,
            Self::SyslogRfc3164(syslog) => syslog.parse(line, fields)?,
            Self::SyslogRfc5424(syslog) => syslog.parse(line, fields)?,
            Self::Cri(cri) => cri.parse(line, fields)?,
            Self::Docker(docker) => docker.parse(line, fields)?,
        }
        Ok(Found::Fields)
    }

    /// Whether a line may have a name twice.
    fn may_repeat(&self) -> bool {
        match self {
            Self::Json | Self::Logfmt(_) | Self::KeyValue(_) | Self::Docker(_) => true,
            Self::Csv(csv) => csv.may_repeat(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
