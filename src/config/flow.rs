//! A flow's settings to its options. Knows the limits that the parts of a flow set each other.

use std::time::Duration;

use super::{
    Location, delivery, destination, env, keys,
    kinesis::Flow,
    process,
    read::{Map, Reader, Value},
    source, value,
};
use crate::{
    aws::Aws,
    deliver::Destination,
    flow::{Limits, Options},
    model::content_hash,
    record::pipeline::Pipeline,
};

/// The smallest useful configuration, for messages.
pub(super) const MINIMAL: &str =
    "flows: [{ name: web, source: { paths: /var/log/web.log }, destination: { kinesis: { stream: web-logs } } }]";

/// Reads one item of `flows`: its name with its place, and the flow itself. What is `None` was reported.
pub(super) fn flow(r: &mut Reader<'_>, value: &Value<'_>, aws: &Aws) -> (Option<(String, Location)>, Option<Options>) {
    let Some(map) = r.map(value, &keys::FLOW) else { return (None, None) };
    let name = r
        .required(&map, "name", "every flow needs a name of its own, the checkpoint's key")
        .and_then(|value| Some((r.value(&value, name)?, value.node.at)));
    // Read on without a name too: its other mistakes are reported as well.
    let text = name.as_ref().map(|(text, _)| text.clone());
    let options = options_of(r, &map, text.unwrap_or_default(), aws);
    (name, options)
}

fn options_of(r: &mut Reader<'_>, map: &Map<'_>, name: String, aws: &Aws) -> Option<Options> {
    let source = r.required(map, "source", "write the files to follow, like `source: { paths: /var/log/app/*.log }`");
    let destination = r.required(map, "destination", "write `destination: { kinesis: { stream: NAME } }`");
    // The destination first: it bounds what a source may say.
    let has_steps = map.get("process").is_some_and(|value| !value.is_empty());
    let delivery = map.get("delivery").and_then(|value| delivery::delivery(r, &value)).unwrap_or_default();
    let destination = destination.and_then(|value| {
        let flow = Flow { name: &name, has_steps, delivery };
        destination::destination(r, &value, aws, flow)
    });
    let (destination, key) = destination.map(|target| (target.destination, target.key)).unzip();
    let source = source.and_then(|value| source::source(r, &value, destination.as_ref()));
    let steps = map.get("process").map(|value| process::process(r, &value, &name)).unwrap_or_default();
    let limits = limits(r, map, destination.as_ref());
    let (source, framing) = source?;
    if let (Some(written), Some(destination)) = (map.get("delivery"), &destination) {
        let changing_keys = key.as_ref().and_then(Option::as_ref).is_some_and(|key| key.may_change(&steps));
        delivery::check(r, &written, delivery, destination, &framing, changing_keys);
    }
    let pipeline = Pipeline::new(steps).with_key(key.flatten());
    let (decides, written) = (decides(map, r), written(map));
    let (digest, names_host) = (content_hash(decides.as_bytes()), decides.contains("${host"));
    let destination = destination?;
    Some(Options { name, source, framing, pipeline, destination, limits, delivery, digest, names_host, written })
}

fn name(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if (1..=128).contains(&length) && !text.contains(char::is_control) && !text.trim().is_empty() {
        return Ok(text.to_owned());
    }
    Err("is no name of a flow; it has 1 to 128 characters, none of them a control character".to_owned())
}

/// All that decides what becomes of a line: as it is written, and what the environment adds.
fn decides(flow: &Map<'_>, r: &Reader<'_>) -> String {
    let mut text = String::new();
    for value in ["source", "process", "destination"].into_iter().filter_map(|key| flow.get(key)) {
        value.node.write(&mut text);
    }
    let values = env::values(&text, r.env);
    text + &values
}

/// Tells all that is written of a flow from anything else.
fn written(flow: &Map<'_>) -> u64 {
    let mut text = String::new();
    for (key, value) in flow.each() {
        text.push_str(&key.name);
        text.push('\0');
        value.node.write_exactly(&mut text);
    }
    content_hash(text.as_bytes())
}

const BATCH_BYTES: usize = 5 << 20;
const BUFFER: usize = 32 << 20;

fn limits(r: &mut Reader<'_>, flow: &Map<'_>, destination: Option<&Destination>) -> Limits {
    let most_records = destination.map_or(500, |d| d.max_records().min(500));
    let most_bytes = destination.map_or(10 << 20, |d| d.max_request_bytes().min(10 << 20));
    let mut limits = Limits {
        batch_records: most_records,
        batch_bytes: BATCH_BYTES.min(most_bytes),
        batch_age: Duration::from_secs(1),
        buffer: BUFFER,
    };
    let mut bytes_given = false;
    if let Some(map) = flow.get("batch").and_then(|value| r.map(&value, &keys::BATCH)) {
        let records = r.key(&map, "max_records", |text| value::integer(text, &(1..=most_records)));
        let bytes = r.key(&map, "max_bytes", |text| value::size(text, &(1 << 10..=most_bytes)));
        let age = r.key(&map, "max_age", |text| value::duration(text, &(Duration::ZERO..=Duration::from_hours(1))));
        limits.batch_records = records.unwrap_or(limits.batch_records);
        bytes_given = bytes.is_some();
        limits.batch_bytes = bytes.unwrap_or(limits.batch_bytes);
        limits.batch_age = age.unwrap_or(limits.batch_age);
    }
    match flow.get("buffer") {
        None => limits.buffer = BUFFER.max(limits.batch_bytes),
        Some(value) => {
            // A small buffer makes small batches, unless somebody asked for larger ones.
            let least = if bytes_given { limits.batch_bytes } else { 0 };
            let read = |text: &str| {
                let size = value::size(text, &(1 << 20..=64 << 30))?;
                let wrong = || {
                    let least = value::show_size(least);
                    format!("is less than one batch ({least}); write at least that, or make batch.max_bytes smaller")
                };
                if size < least { Err(wrong()) } else { Ok(size) }
            };
            limits.buffer = r.value(&value, read).unwrap_or(limits.buffer);
            limits.batch_bytes = limits.batch_bytes.min(limits.buffer);
        }
    }
    limits
}
