//! `emit:` to the form that records are written in.

use std::collections::HashSet;

use super::super::{
    keys,
    read::{Reader, Value, quoted},
};
use crate::record::pipeline::Emit;

pub(super) fn emit(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Emit> {
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

pub(super) fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | 0) => Ok(*byte),
        _ => Err("is no delimiter; write one ASCII character that is no quote, like \",\" or \"\\t\" (double quotes)"
            .to_owned()),
    }
}
