//! Every key a configuration may have, by section. Knows no values. The manual names each of them, and a test holds it to that.

/// A mapping with a fixed set of keys.
#[derive(Debug)]
pub(super) struct Section {
    /// For people: where a misplaced key belongs.
    pub(super) name: &'static str,
    pub(super) keys: &'static [&'static str],
}

/// Keys of `aws:`, which each AWS destination may override.
macro_rules! aws_keys {
    ($($more:literal),*) => {
        &[
            $($more,)* "region", "endpoint_url", "role_arn", "external_id", "session_name", "sts_endpoint_url", "fips",
            "dual_stack", "profile", "ca_bundle", "access_key_id", "secret_access_key", "session_token"
        ]
    };
}

pub(super) const TOP: Section =
    Section { name: "the top level", keys: &["state_dir", "aws", "flows", "shutdown_timeout", "metrics"] };
pub(super) const CONF_D: Section = Section { name: "a file in conf.d", keys: &["flows"] };
pub(super) const AWS: Section = Section { name: "aws", keys: aws_keys!() };
pub(super) const METRICS: Section = Section { name: "metrics", keys: &["cloudwatch"] };
pub(super) const CLOUDWATCH: Section =
    Section { name: "cloudwatch", keys: aws_keys!("namespace", "interval", "dimensions") };
pub(super) const FLOW: Section =
    Section { name: "a flow", keys: &["name", "source", "process", "destination", "batch", "buffer", "delivery"] };
pub(super) const SOURCE: Section = Section {
    name: "source",
    keys: &[
        "paths",
        "exclude",
        "start_at",
        "skip_header_lines",
        "multiline",
        "max_record",
        "oversize",
        "poll_interval",
        "partial_line_timeout",
        "truncated_record_terminator",
        "footer",
    ],
};
pub(super) const MULTILINE: Section = Section { name: "multiline", keys: &["start", "timeout", "max_lines"] };
pub(super) const STEP: Section = Section {
    name: "a step of process",
    keys: &["parse", "add", "remove", "keep", "rename", "drop_if", "keep_if", "redact", "single_line", "limit", "emit"],
};
pub(super) const CONDITION: Section = Section {
    name: "a condition",
    keys: &["field", "equals", "in", "matches", "gt", "ge", "lt", "le", "exists", "any", "all", "not"],
};
pub(super) const REDACT: Section = Section { name: "redact", keys: &["field", "pattern", "replacement", "hash"] };
pub(super) const HASH: Section = Section { name: "hash", keys: &["key"] };
pub(super) const SINGLE_LINE: Section = Section { name: "single_line", keys: &["join", "trim"] };
pub(super) const LIMIT: Section = Section { name: "limit", keys: &["one_in", "per_second"] };
/// The formats of `parse`, and what is said of any of them.
pub(super) const PARSE: Section = Section {
    name: "parse",
    keys: &[
        "json",
        "regex",
        "grok",
        "csv",
        "logfmt",
        "key_value",
        "common",
        "combined",
        "apache_error",
        "nginx_error",
        "syslog_rfc3164",
        "syslog_rfc5424",
        "cri",
        "docker",
        "on_mismatch",
        "types",
        "timestamp",
        "null_if",
    ],
};
pub(super) const GROK: Section = Section { name: "grok", keys: &["pattern", "patterns"] };
pub(super) const PARSE_CSV: Section =
    Section { name: "csv of parse", keys: &["fields", "header", "delimiter", "quote", "trim"] };
pub(super) const KEY_VALUE: Section =
    Section { name: "key_value", keys: &["field_delimiter", "value_delimiter", "trim"] };
pub(super) const TIMESTAMP: Section = Section { name: "timestamp", keys: &["field", "format", "to", "timezone"] };
pub(super) const EMIT: Section = Section { name: "emit", keys: &["json", "csv", "raw"] };
pub(super) const JSON: Section = Section { name: "json", keys: &["pretty"] };
pub(super) const CSV: Section = Section { name: "csv", keys: &["fields", "delimiter", "quote", "null"] };
pub(super) const DESTINATION: Section = Section { name: "destination", keys: &["kinesis", "firehose", "stdout"] };
pub(super) const KINESIS: Section = Section {
    name: "kinesis",
    keys: aws_keys!("stream", "partition_key", "aggregate", "order", "consumers", "max_in_flight", "max_rate"),
};
pub(super) const FIREHOSE: Section =
    Section { name: "firehose", keys: aws_keys!("stream", "aggregate", "add_newline", "max_in_flight", "max_rate") };
pub(super) const AGGREGATE: Section = Section { name: "aggregate", keys: &["max_bytes", "max_records"] };
pub(super) const MAX_RATE: Section = Section { name: "max_rate", keys: &["bytes", "records"] };
pub(super) const PARTITION_KEY: Section =
    Section { name: "partition_key", keys: &["field", "template", "constant", "on_missing"] };
pub(super) const DELIVERY: Section = Section { name: "delivery", keys: &["exactly_once"] };
pub(super) const EXACTLY_ONCE: Section = Section { name: "exactly_once", keys: &["settle_wait"] };
pub(super) const STDOUT: Section = Section { name: "stdout", keys: &[] };
pub(super) const BATCH: Section = Section { name: "batch", keys: &["max_records", "max_bytes", "max_age"] };

/// From the outermost in; a misplaced key is sent to the first that has it.
pub(super) const ALL: &[&Section] = &[
    &TOP,
    &AWS,
    &FLOW,
    &SOURCE,
    &MULTILINE,
    &STEP,
    &PARSE,
    &GROK,
    &PARSE_CSV,
    &KEY_VALUE,
    &TIMESTAMP,
    &CONDITION,
    &REDACT,
    &HASH,
    &SINGLE_LINE,
    &LIMIT,
    &EMIT,
    &JSON,
    &CSV,
    &DESTINATION,
    &KINESIS,
    &FIREHOSE,
    &STDOUT,
    &BATCH,
    &AGGREGATE,
    &PARTITION_KEY,
    &DELIVERY,
    &MAX_RATE,
    &EXACTLY_ONCE,
    &METRICS,
    &CLOUDWATCH,
];

/// What to write instead of a key that `section` does not have.
pub(super) fn advice(section: &Section, unknown: &str) -> String {
    if let Some(near) = nearest(unknown, section.keys.iter().copied()) {
        return format!("unknown key; did you mean `{near}`?");
    }
    if let Some(home) = ALL.iter().find(|s| s.keys.contains(&unknown)) {
        return format!("unknown key here; it belongs to {}", home.name);
    }
    if section.keys.is_empty() {
        return format!("unknown key; {} takes none", section.name);
    }
    format!("unknown key; known here: {}", section.keys.join(", "))
}

/// The known word that was most likely meant.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    known
        .map(|k| (strsim::normalized_damerau_levenshtein(&word, k), k))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}
