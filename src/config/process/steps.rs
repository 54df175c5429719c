//! The steps between `parse` and `emit` that need few words. Knows what they may be told, not what they do.

use std::num::NonZeroU64;

use super::super::{
    keys,
    read::{Reader, Value},
    tree::Kind,
    value,
};
use crate::record::{
    pipeline::Step,
    steps::{Limit, SingleLine},
    template::{Added, Piece},
};

pub(super) fn add(r: &mut Reader<'_>, value: &Value<'_>, flow: &str) -> Option<Step> {
    let map = r.open_map(value)?;
    let mut fields: Vec<(String, Added)> = Vec::new();
    for (key, value) in map.each() {
        if key.name.is_empty() {
            r.problem_at(key.at, &value.key, "a field needs a name; this one is empty");
        }
        if let Some(added) = added(r, &value, flow) {
            fields.push((key.name.to_string(), added));
        }
    }
    if map.each().next().is_none() {
        r.problem(value, "adds nothing; write fields, like `add: { host: \"${host}\" }`, or remove the step");
    }
    Some(Step::Add(fields))
}

fn added(r: &mut Reader<'_>, value: &Value<'_>, flow: &str) -> Option<Added> {
    if value.is_scalar() && json_of_plain(value).is_none() {
        return r.template(value, flow).map(Added::Text);
    }
    let mut pieces = Vec::new();
    push_json(r, value, flow, &mut pieces)?;
    Some(Added::Json(pieces))
}

/// Appends the value as JSON; what was written without quotes keeps its type.
fn push_json(r: &mut Reader<'_>, value: &Value<'_>, flow: &str, out: &mut Vec<Piece>) -> Option<()> {
    match &value.node.kind {
        Kind::Null => push(out, "null"),
        Kind::Scalar(_) => match json_of_plain(value) {
            Some(json) => push(out, json),
            None => out.push(Piece::Text(r.template(value, flow)?)),
        },
        Kind::Seq(_) => {
            for (at, item) in r.list(value)?.iter().enumerate() {
                push(out, if at == 0 { "[" } else { "," });
                push_json(r, item, flow, out)?;
            }
            push(out, if value.is_empty_list() { "[]" } else { "]" });
        }
        Kind::Map(_) => {
            let map = r.open_map(value)?;
            push(out, "{");
            for (at, (key, inner)) in map.each().enumerate() {
                let name = serde_json::Value::from(&*key.name);
                push(out, &format!("{}{name}:", if at == 0 { "" } else { "," }));
                push_json(r, &inner, flow, out)?;
            }
            push(out, "}");
        }
    }
    Some(())
}

fn push(out: &mut Vec<Piece>, json: &str) {
    match out.last_mut() {
        Some(Piece::Json(before)) => before.push_str(json),
        _ => out.push(Piece::Json(json.to_owned())),
    }
}

/// A number, true, false or null that is written without quotes, as JSON.
fn json_of_plain<'n>(value: &Value<'n>) -> Option<&'n str> {
    let text = match &value.node.kind {
        Kind::Null => return Some("null"),
        Kind::Scalar(text) if value.node.plain => text,
        _ => return None,
    };
    match &**text {
        "true" | "True" | "TRUE" => Some("true"),
        "false" | "False" | "FALSE" => Some("false"),
        number if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
            serde_json::from_str::<serde::de::IgnoredAny>(number).ok().map(|_| number)
        }
        _ => None,
    }
}

/// The fields of `remove` or `keep`.
pub(super) fn names(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<String>> {
    let items = r.one_or_list(value)?;
    if items.is_empty() {
        r.problem(value, "names no field; write at least one, or remove the step");
        return None;
    }
    let names: Vec<Option<String>> = items.iter().map(|item| r.value(item, field_name)).collect();
    names.into_iter().collect()
}

pub(super) fn rename(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Step> {
    let map = r.open_map(value)?;
    if map.is_empty() {
        r.problem(value, "renames nothing; write `rename: { OLD: NEW }`, or remove the step");
        return None;
    }
    let mut list = Vec::new();
    for (key, value) in map.each() {
        if let Some(to) = r.value(&value, field_name) {
            list.push((key.name.to_string(), to));
        }
    }
    Some(Step::Rename(list))
}

pub(super) fn field_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("is no name of a field; write one".to_owned()) } else { Ok(text.to_owned()) }
}

pub(super) fn single_line(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Step> {
    if value.is_scalar() {
        return r.value(value, value::boolean)?.then(|| Step::SingleLine(SingleLine::default()));
    }
    let map = r.map(value, &keys::SINGLE_LINE)?;
    let unsaid = SingleLine::default();
    let join = r.key(&map, "join", |text| {
        if text.contains(['\n', '\r']) {
            return Err("holds a line break, and the record is to be a single line; write it without".to_owned());
        }
        Ok(text.to_owned())
    });
    let trim = r.key(&map, "trim", value::boolean);
    Some(Step::SingleLine(SingleLine { join: join.unwrap_or(unsaid.join), trim: trim.unwrap_or(unsaid.trim) }))
}

pub(super) fn limit(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Step> {
    const MOST: usize = 1_000_000_000;
    let map = r.map(value, &keys::LIMIT)?;
    let [name] = map.present(keys::LIMIT.keys)[..] else {
        if !map.has_unknown(&keys::LIMIT) {
            r.problem(value, "names no single limit; write exactly one of `one_in: N` and `per_second: N`");
        }
        return None;
    };
    let number = r.key(&map, name, |text| value::integer(text, &(1..=MOST)))?;
    let number = NonZeroU64::new(u64::try_from(number).ok()?)?;
    Some(Step::Limit(if name == "one_in" { Limit::OneIn(number) } else { Limit::PerSecond(number) }))
}
