//! `parse:` to a format. Knows what each format may be told, not how it is read.

use super::super::{
    keys, pattern,
    read::{Reader, Value},
};
use crate::record::pipeline::{Format, OnMismatch, Step};

/// Formats that are understood but not built yet.
const NOT_YET: [&str; 5] = ["apache_error", "csv", "logfmt", "syslog_rfc3164", "syslog_rfc5424"];
const FORMATS: [&str; 4] = ["json", "regex", "common", "combined"];

pub(super) fn parse(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Step> {
    if value.is_scalar() {
        let format = r.value(value, named_format)?;
        return Some(Step::Parse { format, on_mismatch: OnMismatch::default() });
    }
    let map = r.map(value, &keys::PARSE)?;
    let on_mismatch = r.choice(
        &map,
        "on_mismatch",
        &[("keep_raw", OnMismatch::KeepRaw), ("drop", OnMismatch::Drop), ("dead_letter", OnMismatch::DeadLetter)],
    );
    for name in map.present(&NOT_YET) {
        let at = map.get(name)?;
        r.problem(&at, not_available(name));
    }
    let names = map.present(&FORMATS);
    let [name] = names[..] else {
        if names.len() > 1 || map.is_empty() || map.present(keys::PARSE.keys) == ["on_mismatch"] {
            r.problem(value, "names no single format; write exactly one of json, regex, common and combined");
        }
        return None;
    };
    let inner = map.get(name)?;
    let format = if name == "regex" {
        Format::Regex(r.value(&inner, pattern::regex_with_groups)?)
    } else {
        r.map(&inner, &keys::Section { name: "this format", keys: &[] })?;
        named_format(name).ok()?
    };
    Some(Step::Parse { format, on_mismatch: on_mismatch.unwrap_or_default() })
}

fn named_format(name: &str) -> Result<Format, String> {
    match name {
        "json" => Ok(Format::Json),
        "common" => Ok(Format::Common),
        "combined" => Ok(Format::Combined),
        "regex" => Err("needs a pattern; write `parse: { regex: '...' }`".to_owned()),
        name if NOT_YET.contains(&name) => Err(NOT_AVAILABLE.to_owned()),
        name => Err(match keys::nearest(name, FORMATS.into_iter()) {
            Some(near) => format!("is no known format; did you mean {near}?"),
            None => "is no known format; write json, regex, common or combined".to_owned(),
        }),
    }
}

const NOT_AVAILABLE: &str = "is not available in this version; write json, regex, common or combined";

fn not_available(name: &str) -> String {
    format!("`{name}` {NOT_AVAILABLE}")
}
