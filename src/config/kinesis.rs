//! What only `kinesis:` has: partition keys, order, and who reads the stream. Knows no stream and no access.

use super::{
    keys,
    read::{Map, Reader, Value, choose},
};
use crate::{
    deliver::PartitionKey,
    flow::Delivery,
    record::key::{self, OnMissing, Source},
};

/// What a destination must know of its flow.
#[derive(Clone, Copy)]
pub(super) struct Flow<'a> {
    pub(super) name: &'a str,
    /// Its records are processed, so that they have fields.
    pub(super) has_steps: bool,
    pub(super) delivery: Delivery,
}

/// Reads `partition_key`: nothing where it is random. What is wrong was reported.
pub(super) fn partition_key(r: &mut Reader<'_>, value: &Value<'_>, flow: Flow<'_>) -> Option<key::Options> {
    const WORDS: [(&str, Option<Source>); 2] = [("random", None), ("record_hash", Some(Source::RecordHash))];
    if value.is_scalar() {
        let source = r.value(value, |text| match WORDS.iter().find(|(word, _)| *word == text) {
            Some((_, source)) => Ok(source.clone()),
            None => {
                Err("is not known; write random, record_hash, or a mapping with field, template or constant".to_owned())
            }
        })?;
        return Some(key::Options { source: source?, on_missing: OnMissing::default() });
    }
    let map = r.map(value, &keys::PARTITION_KEY)?;
    let rules = [("random", OnMissing::Random), ("drop", OnMissing::Drop), ("dead_letter", OnMissing::DeadLetter)];
    let on_missing = r.choice(&map, "on_missing", &rules);
    let [name] = map.present(&["field", "template", "constant"])[..] else {
        r.problem(value, "names no single source of keys; write exactly one of field, template and constant");
        return None;
    };
    let written = map.get(name)?;
    let source = match name {
        "field" => Source::Field(r.value(&written, field)?),
        "template" => Source::Template(r.template(&written, flow.name)?),
        _ => Source::Constant(r.value(&written, constant)?),
    };
    let (has_fields, can_be_missing) = match &source {
        Source::Field(_) => (true, true),
        Source::Template(template) => (template.has_fields(), true),
        Source::RecordHash | Source::Constant(_) => (false, false),
    };
    if has_fields && !flow.has_steps {
        let text = "names a field, but no step of `process` finds any; add one, like `- parse: json`";
        r.problem(&written, text);
    }
    if let (Some(written), false) = (map.get("on_missing"), can_be_missing) {
        r.warning(&written, "has no effect: a constant key is never missing");
    }
    Some(key::Options { source, on_missing: on_missing.unwrap_or_default() })
}

fn field(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("is no name of a field; write one".to_owned()) } else { Ok(text.to_owned()) }
}

fn constant(text: &str) -> Result<String, String> {
    if key::is_key(text) { Ok(text.to_owned()) } else { Err("is no key; it has 1 to 256 characters".to_owned()) }
}

/// What delivery must know of the keys.
pub(super) fn of_delivery(key: Option<&key::Options>) -> PartitionKey {
    key.map_or(PartitionKey::Random, |key| PartitionKey::Chosen { max_bytes: key.max_bytes() })
}

/// Reads `order`: whether records of one key keep their order.
pub(super) fn keeps_order(r: &mut Reader<'_>, map: &Map<'_>, key: Option<&key::Options>) -> bool {
    let keeps_order = r.choice(map, "order", &[("none", false), ("per_key", true)]).unwrap_or(false);
    if let (true, None, Some(written)) = (keeps_order, key, map.get("order")) {
        let text = "needs keys to keep the order of, and random ones are all different; \
                    write a `partition_key` with a field, a template or a constant, or remove the key";
        r.problem(&written, text);
    }
    keeps_order
}

/// Who reads a stream, and whether it opens aggregated records by itself; if not, what to do.
const CONSUMERS: [(&str, Option<&str>); 10] = [
    ("kcl", None),
    ("firehose", None),
    ("beam", None),
    ("flink_legacy", None),
    ("flink", Some("give its KinesisStreamsSource a schema that takes them apart")),
    ("lambda", Some("let the function take them apart with the aws-kinesis-agg library")),
    ("sdk", Some("take them apart with the aws-kinesis-agg library, or read with the Kinesis Client Library")),
    ("pinot", Some(WITHOUT)),
    ("fluentd", Some(WITHOUT)),
    ("logstash", Some(WITHOUT)),
];
const WITHOUT: &str = "put something in between that takes them apart";

/// Reads `consumers`, which changes nothing: it warns of those that would see aggregates as they are.
pub(super) fn consumers(r: &mut Reader<'_>, map: &Map<'_>, aggregates: bool) {
    let Some(items) = map.get("consumers").and_then(|value| r.one_or_list(&value)) else { return };
    let known = CONSUMERS.map(|(name, remedy)| (name, (name, remedy)));
    for item in items {
        if let Some((name, Some(remedy))) = r.value(&item, |text| choose(text, &known))
            && aggregates
        {
            let text =
                format!("{name} does not open aggregated records by itself; {remedy}, or write `aggregate: false`");
            r.warning(&item, text);
        }
    }
}
