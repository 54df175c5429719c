//! `emit:` to the form that records are written in.

use std::collections::HashSet;

use super::super::{
    keys,
    read::{Reader, Value, quoted},
    value,
};
use crate::record::pipeline::{Emit, Quote};

pub(super) fn emit(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Emit> {
    if value.is_scalar() {
        return r.value(value, |text| match text {
            "json" => Ok(Emit::Json),
            "raw" => Ok(Emit::Raw),
            "csv" => Err("needs its columns; write `emit: { csv: { fields: [a, b] } }`".to_owned()),
            _ => Err("is no known form; write json, raw, or { csv: { fields: [...] } }".to_owned()),
        });
    }
    let map = r.map(value, &keys::EMIT)?;
    match map.present(keys::EMIT.keys)[..] {
        ["json"] => {
            let map = r.map(&map.get("json")?, &keys::JSON)?;
            let pretty = r.key(&map, "pretty", value::boolean).unwrap_or_default();
            Some(if pretty { Emit::PrettyJson } else { Emit::Json })
        }
        ["csv"] => csv(r, &map.get("csv")?),
        ["raw"] => {
            r.map(&map.get("raw")?, &keys::Section { name: "this form", keys: &[] })?;
            Some(Emit::Raw)
        }
        _ => {
            r.problem(value, "names no single form; write exactly one of json, csv and raw");
            None
        }
    }
}

fn csv(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Emit> {
    let map = r.map(value, &keys::CSV)?;
    let delimiter = r.key(&map, "delimiter", delimiter).unwrap_or(b',');
    let quotes = [("minimal", Quote::Minimal), ("all", Quote::Always), ("none", Quote::Never)];
    let quote = r.choice(&map, "quote", &quotes).unwrap_or_default();
    let null = r.key(&map, "null", |text| null(text, delimiter)).unwrap_or_default();
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
    Some(Emit::Csv { fields, delimiter, quote, null })
}

fn null(text: &str, delimiter: u8) -> Result<String, String> {
    if text.bytes().any(|byte| byte == delimiter || matches!(byte, b'"' | b'\r' | b'\n')) {
        return Err("holds the delimiter, a quote or a line break, and is never quoted; write it without".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | 0) => Ok(*byte),
        _ => Err("is no delimiter; write one ASCII character that is no quote, like \",\" or \"\\t\" (double quotes)"
            .to_owned()),
    }
}
