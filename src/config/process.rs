//! `process:` to the steps of a pipeline. Knows the order steps may have, not how they work.

use std::collections::HashSet;

use super::{
    env, keys, pattern,
    read::{Reader, Value, quoted},
};
use crate::record::pipeline::{Emit, Format, OnMismatch, Step, Template};

/// Formats that are understood but not built yet.
const NOT_YET: [&str; 5] = ["apache_error", "csv", "logfmt", "syslog_rfc3164", "syslog_rfc5424"];
const FORMATS: [&str; 4] = ["json", "regex", "common", "combined"];

/// Reads the steps, in order.
pub(super) fn process(r: &mut Reader<'_>, value: &Value<'_>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut emitted = false;
    for item in r.list(value).unwrap_or_default() {
        let Some(map) = r.map(&item, &keys::STEP) else { continue };
        let names = map.present(keys::STEP.keys);
        let [name] = names[..] else {
            // An unknown key alone was reported already.
            if !names.is_empty() || map.is_empty() {
                r.problem(&item, "a step is one of parse, add and emit; write each as its own list item");
            }
            continue;
        };
        if emitted {
            let text = match name {
                "emit" => "`emit` was already written; only one is allowed, as the last step".to_owned(),
                _ => format!("`{name}` after `emit` would change nothing; move it before `emit`"),
            };
            r.problem(&item, text);
        }
        emitted |= name == "emit";
        let Some(inner) = map.get(name) else { continue };
        steps.extend(match name {
            "parse" => parse(r, &inner),
            "add" => add(r, &inner),
            _ => emit(r, &inner).map(Step::Emit),
        });
    }
    steps
}

fn parse(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Step> {
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

fn add(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Step> {
    let map = r.open_map(value)?;
    let mut fields: Vec<(String, Template)> = Vec::new();
    for (key, value) in map.each() {
        if key.name.is_empty() {
            r.problem_at(key.at, &value.key, "a field needs a name; this one is empty");
        }
        let Some(written) = r.written(&value) else { continue };
        match env::template(written, r.env) {
            Ok(template) => fields.push((key.name.to_string(), template)),
            Err(wrong) => {
                for text in wrong {
                    r.problem(&value, text);
                }
            }
        }
    }
    if map.each().next().is_none() {
        r.problem(value, "adds nothing; write fields, like `add: { host: \"${host}\" }`, or remove the step");
    }
    Some(Step::Add(fields))
}

fn emit(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Emit> {
    if value.is_scalar() {
        return r.value(value, |text| match text {
            "json" => Ok(Emit::Json),
            "csv" => Err("needs its columns; write `emit: { csv: { fields: [a, b] } }`".to_owned()),
            _ => Err("is no known form; write json, or { csv: { fields: [...] } }".to_owned()),
        });
    }
    let map = r.map(value, &keys::EMIT)?;
    match map.present(keys::EMIT.keys)[..] {
        ["json"] => {
            r.map(&map.get("json")?, &keys::Section { name: "this form", keys: &[] })?;
            Some(Emit::Json)
        }
        ["csv"] => csv(r, &map.get("csv")?),
        _ => {
            r.problem(value, "names no single form; write exactly one of json and csv");
            None
        }
    }
}

fn csv(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Emit> {
    let map = r.map(value, &keys::CSV)?;
    let delimiter = r.key(&map, "delimiter", delimiter).unwrap_or(b',');
    let written = map.get("fields");
    let items = written.as_ref().and_then(|value| r.list(value));
    if items.as_ref().is_none_or(Vec::is_empty) {
        if items.is_some() || written.is_none() {
            r.problem(value, "has no columns; write `fields: [a, b]`");
        }
        return None;
    }
    let (mut fields, mut seen) = (Vec::new(), HashSet::new());
    for item in items.unwrap_or_default() {
        let name = r.value(&item, |text| match text {
            "" => Err("is no name of a field; write one".to_owned()),
            name => Ok(name.to_owned()),
        });
        let Some(name) = name else { continue };
        if !seen.insert(name.clone()) {
            let written = quoted(r.written(&item).unwrap_or_default());
            r.problem(&item, format!("{written} is already a column; name each once"));
        }
        fields.push(name);
    }
    Some(Emit::Csv { fields, delimiter })
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | 0) => Ok(*byte),
        _ => Err("is no delimiter; write one ASCII character that is no quote, like \",\" or \"\\t\" (double quotes)"
            .to_owned()),
    }
}
