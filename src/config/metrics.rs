//! `metrics:` to `telemetry` options.

use std::time::Duration;

use super::{
    aws, env, keys,
    read::{Reader, Value},
    value,
};
use crate::{
    aws::Aws,
    telemetry::cloudwatch::{self, MAX_DIMENSION_CHARS, MAX_DIMENSIONS, Options, Part},
};

/// Reads `metrics:`; without `cloudwatch` there are none.
pub(super) fn metrics(r: &mut Reader<'_>, value: &Value<'_>, defaults: &Aws) -> Option<Options> {
    let map = r.map(value, &keys::METRICS)?;
    cloudwatch(r, &map.get("cloudwatch")?, defaults)
}

fn cloudwatch(r: &mut Reader<'_>, value: &Value<'_>, defaults: &Aws) -> Option<Options> {
    let map = r.map(value, &keys::CLOUDWATCH)?;
    let aws = aws::of_service(r, &map, defaults);
    let times = Duration::from_secs(1)..=Duration::from_hours(1);
    Some(Options {
        aws,
        namespace: r.key(&map, "namespace", namespace).unwrap_or_else(|| cloudwatch::NAMESPACE.to_owned()),
        interval: r.key(&map, "interval", |text| value::duration(text, &times)).unwrap_or(cloudwatch::INTERVAL),
        dimensions: map.get("dimensions").map(|value| dimensions(r, &value)).unwrap_or_default(),
    })
}

fn namespace(text: &str) -> Result<String, String> {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"._-/#:".contains(&b);
    if text.starts_with("AWS/") {
        return Err("begins with `AWS/`, which belongs to AWS; choose another".to_owned());
    }
    if (1..=255).contains(&text.len()) && text.bytes().all(known) {
        return Ok(text.to_owned());
    }
    Err("is no namespace; it has 1 to 255 letters, digits, `.`, `_`, `-`, `/`, `#` or `:`".to_owned())
}

fn dimensions(r: &mut Reader<'_>, value: &Value<'_>) -> Vec<(String, Vec<Part>)> {
    let Some(map) = r.open_map(value) else { return Vec::new() };
    let mut all = Vec::new();
    for (key, value) in map.each() {
        if let Err(wrong) = name(&key.name) {
            r.problem_at(key.at, &value.key, wrong);
        } else if let Some(parts) = dimension(r, &value) {
            all.push((key.name.to_string(), parts));
        }
    }
    if all.len() > MAX_DIMENSIONS {
        r.problem(value, format!("holds {} dimensions; at most {MAX_DIMENSIONS} are allowed", all.len()));
    }
    all
}

fn name(text: &str) -> Result<(), String> {
    if text == "Destination" {
        return Err("this dimension is there already; choose another name".to_owned());
    }
    if !text.starts_with(':') && is_short(text) {
        return Ok(());
    }
    Err(format!(
        "is no name of a dimension; it has 1 to {MAX_DIMENSION_CHARS} printable ASCII characters and does not begin with `:`"
    ))
}

/// Printable ASCII, not blank, not too long.
fn is_short(text: &str) -> bool {
    let printable = text.bytes().all(|b| matches!(b, b' '..=b'~'));
    printable && !text.trim().is_empty() && text.len() <= MAX_DIMENSION_CHARS
}

/// Reads a value: text, `${host}`, `${ec2.instance_id}` and variables of the environment.
fn dimension(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<Part>> {
    let written = r.written(value)?;
    let variable = |name: &str| match name {
        "host" => Ok(Part::Host),
        "ec2.instance_id" => Ok(Part::InstanceId),
        _ => {
            Err(format!("unknown variable `${{{name}}}`; a dimension may hold `${{host}}` and `${{ec2.instance_id}}`"))
        }
    };
    let parts = match env::parts(written, r.env, Part::Text, variable) {
        Ok(parts) => parts,
        Err(wrong) => {
            for text in wrong {
                r.problem(value, text);
            }
            return None;
        }
    };
    let text: String = parts.iter().map(|part| if let Part::Text(text) = part { text } else { "x" }).collect();
    if is_short(&text) {
        return Some(parts);
    }
    r.problem(
        value,
        format!("is no value of a dimension; it has 1 to {MAX_DIMENSION_CHARS} printable ASCII characters"),
    );
    None
}
