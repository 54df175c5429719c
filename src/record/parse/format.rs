//! The formats that a `parse` step may name. Knows what each may be told, not how it is read.

use super::{super::regex::Regex, csv, grok::Grok, pairs};

/// How a line's fields are found. docs/PROCESSING.md says what each accepts.
#[derive(Clone, Debug)]
pub enum Format {
    Json,
    /// Each named group is a field.
    Regex(Regex),
    Grok(Box<Grok>),
    Csv(csv::Options),
    Logfmt,
    KeyValue(pairs::Options),
    /// Apache and nginx `common`.
    Common,
    /// Apache and nginx `combined`.
    Combined,
    ApacheError,
    NginxError,
    SyslogRfc3164,
    SyslogRfc5424,
    /// Files of containerd and CRI-O.
    Cri,
    /// Files of Docker's json-file driver.
    Docker,
}
