//! `LOGTOJSON`: the groups of a pattern, or the parts of a known format, become fields. Knows no other converter.

mod builtin;

use super::{
    Scratch, Verdict,
    object::{FieldNames, Layout, Object},
    text,
};
use crate::record::regex::{Groups, Regex};

/// `logFormat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    CommonApache,
    CombinedApache,
    ApacheError,
    Syslog,
    Rfc3339Syslog,
}

impl Format {
    /// The names of the fields, in order.
    #[must_use]
    pub fn names(self) -> &'static [&'static str] {
        const COMBINED: &[&str] =
            &["host", "ident", "authuser", "datetime", "request", "response", "bytes", "referer", "agent"];
        match self {
            Self::CommonApache => &COMBINED[..7],
            Self::CombinedApache => COMBINED,
            Self::ApacheError => &["timestamp", "module", "severity", "processid", "threadid", "client", "message"],
            Self::Syslog | Self::Rfc3339Syslog => &["timestamp", "hostname", "program", "processid", "message"],
        }
    }

    /// Whether a value of `-` is written as `null`.
    fn dash_is_null(self) -> bool {
        matches!(self, Self::CommonApache | Self::CombinedApache | Self::ApacheError)
    }
}

/// The converter and its settings.
#[derive(Clone, Debug)]
pub struct Log {
    reader: Reader,
    dash_is_null: bool,
    counts: Counts,
    /// `None`: no object with these names can be written, so each record that matches fails.
    object: Option<Object>,
}

#[derive(Clone, Debug)]
enum Reader {
    Builtin(Format),
    Pattern { regex: Regex, groups: Groups },
}

/// How many fields and names there are. Where they differ, no record becomes an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    pub fields: usize,
    pub names: usize,
}

impl Log {
    /// Reads records of a known format. `names` replace those of the format; the error is that there are not as many.
    pub fn builtin(format: Format, names: Option<&FieldNames>, layout: Layout) -> Result<Self, Counts> {
        let own: FieldNames = format.names().iter().map(|&name| Some(name.to_owned())).collect();
        let names = names.unwrap_or(&own);
        let counts = Counts { fields: own.len(), names: names.len() };
        if counts.fields != counts.names {
            return Err(counts);
        }
        Ok(Self::new(Reader::Builtin(format), format, counts, Object::new(names, layout)))
    }

    /// Reads records that `regex` matches whole, of which each group is a field. Where there are more names than groups,
    /// or fewer, every record is skipped. The format only says whether `-` is `null`.
    #[must_use]
    pub fn pattern(format: Format, regex: Regex, names: &FieldNames, layout: Layout) -> Self {
        let groups = regex.groups();
        let counts = Counts { fields: regex.names().len() - 1, names: names.len() };
        Self::new(Reader::Pattern { regex, groups }, format, counts, Object::new(names, layout))
    }

    fn new(reader: Reader, format: Format, counts: Counts, object: Option<Object>) -> Self {
        Self { reader, dash_is_null: format.dash_is_null(), counts, object }
    }

    /// How many groups the pattern has, or fields the format, and how many names there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether an object with these names can be written; if not, each record that matches fails.
    #[must_use]
    pub fn can_write(&self) -> bool {
        self.object.is_some()
    }

    pub(super) fn convert(&mut self, input: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) -> Verdict {
        let text = text::without_newline(text::decode(input, &mut scratch.text));
        let values = &mut scratch.pieces;
        values.clear();
        match &mut self.reader {
            Reader::Builtin(format) => {
                if builtin::read(*format, text, values).is_none() {
                    return Verdict::Skipped;
                }
            }
            Reader::Pattern { regex, groups } => match regex.search(text.as_bytes(), groups) {
                Ok(true) => values.extend((1..=self.counts.names).map(|group| groups.get(group))),
                Ok(false) => return Verdict::Skipped,
                Err(_) => return Verdict::Failed,
            },
        }
        if self.counts.fields != self.counts.names {
            return Verdict::Skipped;
        }
        let Some(object) = &self.object else { return Verdict::Failed };
        let value = |at: usize| {
            let value = scratch.pieces[at].map(|(start, end)| &text[start..end]);
            value.filter(|&value| !(self.dash_is_null && value == "-"))
        };
        object.write(value, out);
        Verdict::Converted
    }
}
