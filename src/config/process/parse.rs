//! `parse:` to a format and what is done with its fields. Knows what each format may be told, not how it is read.

use std::collections::HashSet;

use super::{
    super::{
        keys, pattern,
        read::{Map, Reader, Value, choose, quoted},
        value,
    },
    emit::delimiter,
};
use crate::record::{
    parse::{Format, Grok, Refine, TimeFormat, TimestampOptions, Type, csv, pairs, zone},
    pipeline::{OnMismatch, Step},
};

/// Formats that need no more than their name.
const PLAIN: [(&str, Format); 10] = [
    ("json", Format::Json),
    ("logfmt", Format::Logfmt),
    ("common", Format::Common),
    ("combined", Format::Combined),
    ("apache_error", Format::ApacheError),
    ("nginx_error", Format::NginxError),
    ("syslog_rfc3164", Format::SyslogRfc3164),
    ("syslog_rfc5424", Format::SyslogRfc5424),
    ("cri", Format::Cri),
    ("docker", Format::Docker),
];
/// Formats that must, or may, be told something.
const TOLD: [&str; 4] = ["regex", "grok", "csv", "key_value"];

fn formats() -> Vec<&'static str> {
    PLAIN.iter().map(|(name, _)| *name).chain(TOLD).collect()
}

pub(super) fn parse(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Step> {
    if value.is_scalar() {
        let format = r.value(value, named_format)?;
        return Some(Step::Parse { format, refine: Refine::default(), on_mismatch: OnMismatch::default() });
    }
    let map = r.map(value, &keys::PARSE)?;
    let on_mismatch = r.choice(
        &map,
        "on_mismatch",
        &[("keep_raw", OnMismatch::KeepRaw), ("drop", OnMismatch::Drop), ("dead_letter", OnMismatch::DeadLetter)],
    );
    let refine =
        Refine { types: types(r, &map), timestamp: timestamp(r, &map).map(Box::new), null_if: null_if(r, &map) };
    let names = map.present(&formats());
    let [name] = names[..] else {
        let others = ["on_mismatch", "types", "timestamp", "null_if"];
        // An unknown key alone was reported already.
        if names.len() > 1 || map.is_empty() || map.present(keys::PARSE.keys) == map.present(&others) {
            let text = format!("names no single format; write exactly one of {}", formats().join(", "));
            r.problem(value, text);
        }
        return None;
    };
    let format = told_format(r, name, &map.get(name)?)?;
    Some(Step::Parse { format, refine, on_mismatch: on_mismatch.unwrap_or_default() })
}

fn named_format(name: &str) -> Result<Format, String> {
    if let Some((_, format)) = PLAIN.iter().find(|(known, _)| *known == name) {
        return Ok(format.clone());
    }
    Err(match name {
        "key_value" => return Ok(Format::KeyValue(pairs::Options::default())),
        "regex" => "needs a pattern; write `parse: { regex: '...' }`".to_owned(),
        "grok" => "needs a pattern; write `parse: { grok: '%{COMBINEDAPACHELOG}' }`".to_owned(),
        "csv" => "needs the names of its cells; write `parse: { csv: { fields: [a, b] } }`".to_owned(),
        _ => match keys::nearest(name, formats().into_iter()) {
            Some(near) => format!("is no known format; did you mean {near}?"),
            None => format!("is no known format; write one of {}", formats().join(", ")),
        },
    })
}

fn told_format(r: &mut Reader<'_>, name: &str, value: &Value<'_>) -> Option<Format> {
    match name {
        "regex" => r.value(value, pattern::regex_with_groups).map(Format::Regex),
        "grok" => grok(r, value).map(|grok| Format::Grok(Box::new(grok))),
        "csv" => csv(r, value).map(Format::Csv),
        "key_value" => key_value(r, value).map(Format::KeyValue),
        _ => {
            r.map(value, &keys::Section { name: "this format", keys: &[] })?;
            named_format(name).ok()
        }
    }
}

fn grok(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Grok> {
    if value.is_scalar() {
        return r.value(value, |text| Grok::new(text, &[]));
    }
    let map = r.map(value, &keys::GROK)?;
    let written = r.required(&map, "pattern", "write one, like `pattern: '%{COMBINEDAPACHELOG}'`");
    let mut own = Vec::new();
    if let Some(patterns) = map.get("patterns").and_then(|value| r.open_map(&value)) {
        for (key, value) in patterns.each() {
            let text = r.value(&value, |text| Ok(text.to_owned()));
            own.extend(text.map(|text| (key.name.to_string(), text)));
        }
    }
    r.value(&written?, |text| Grok::new(text, &own))
}

fn csv(r: &mut Reader<'_>, value: &Value<'_>) -> Option<csv::Options> {
    let map = r.map(value, &keys::PARSE_CSV)?;
    let header = r.key(&map, "header", value::boolean).unwrap_or(false);
    let fields = map.get("fields");
    let delimiter = r.key(&map, "delimiter", delimiter).unwrap_or(b',');
    let quote = r.key(&map, "quote", quote).unwrap_or(b'"');
    let trim = r.key(&map, "trim", value::boolean).unwrap_or(false);
    if delimiter == quote {
        r.problem(value, "has the same character as delimiter and as quote; write two");
    }
    let columns = match fields {
        Some(fields) if header => {
            r.problem(
                &fields,
                "is not needed with `header: true`, which takes the names from each file; remove one of the two",
            );
            return None;
        }
        None if header => csv::Columns::Header,
        Some(fields) => csv::Columns::Named(names(r, &fields)?),
        None => {
            r.problem(value, "has no names for its cells; write `fields: [a, b]`, or `header: true` if each file's first line has them");
            return None;
        }
    };
    Some(csv::Options { columns, delimiter, quote, trim })
}

/// Names of fields, each once.
fn names(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<String>> {
    let items = r.list(value)?;
    if items.is_empty() {
        r.problem(value, "has no names; write `fields: [a, b]`");
    }
    let (mut list, mut seen) = (Vec::new(), HashSet::new());
    for item in items {
        let Some(name) = r.value(&item, field_name) else { continue };
        if !seen.insert(name.clone()) {
            let written = quoted(r.written(&item).unwrap_or_default());
            r.problem(&item, format!("{written} is already a field; name each once"));
        }
        list.push(name);
    }
    (!list.is_empty()).then_some(list)
}

fn field_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("is no name of a field; write one".to_owned()) } else { Ok(text.to_owned()) }
}

fn quote(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii_punctuation() => Ok(*byte),
        _ => Err("is no quote; write one ASCII punctuation character, like '\"'".to_owned()),
    }
}

fn key_value(r: &mut Reader<'_>, value: &Value<'_>) -> Option<pairs::Options> {
    let map = r.map(value, &keys::KEY_VALUE)?;
    let default = pairs::Options::default();
    let options = pairs::Options {
        field_delimiter: r.key(&map, "field_delimiter", separator).unwrap_or(default.field_delimiter),
        value_delimiter: r.key(&map, "value_delimiter", separator).unwrap_or(default.value_delimiter),
        trim: r.key(&map, "trim", value::boolean).unwrap_or(default.trim),
    };
    if options.field_delimiter.contains(&options.value_delimiter) {
        r.problem(value, "has a field_delimiter that holds the value_delimiter; write others");
    }
    Some(options)
}

fn separator(text: &str) -> Result<String, String> {
    if (1..=16).contains(&text.len()) && !text.contains(['"', '\\']) {
        return Ok(text.to_owned());
    }
    Err("is no delimiter; write 1 to 16 bytes, no quote and no backslash, like \"; \"".to_owned())
}

fn types(r: &mut Reader<'_>, parse: &Map<'_>) -> Vec<(String, Type)> {
    let Some(map) = parse.get("types").and_then(|value| r.open_map(&value)) else { return Vec::new() };
    let words = [("int", Type::Int), ("float", Type::Float), ("bool", Type::Bool)];
    let mut list = Vec::new();
    for (key, value) in map.each() {
        let kind = r.value(&value, |text| choose(text, &words));
        list.extend(kind.map(|kind| (key.name.to_string(), kind)));
    }
    list
}

fn timestamp(r: &mut Reader<'_>, parse: &Map<'_>) -> Option<TimestampOptions> {
    let map = parse.get("timestamp").and_then(|value| r.map(&value, &keys::TIMESTAMP))?;
    let field = r.required(&map, "field", "write the field that is the time, like `field: timestamp`");
    let format = r.required(&map, "format", "write how the time is written, like `format: rfc3339`");
    let field = field.and_then(|value| r.value(&value, field_name));
    let format = format.and_then(|value| r.value(&value, TimeFormat::new));
    let to = r.key(&map, "to", field_name);
    let zone = r.key(&map, "timezone", zone).unwrap_or(jiff::tz::TimeZone::UTC);
    Some(TimestampOptions { field: field?, to, format: format?, zone })
}

fn null_if(r: &mut Reader<'_>, parse: &Map<'_>) -> Vec<String> {
    let items = parse.get("null_if").and_then(|value| r.one_or_list(&value)).unwrap_or_default();
    items.iter().filter_map(|item| r.value(item, |text| Ok(text.to_owned()))).collect()
}
