//! The JSON Schema of the YAML, for editors. Knows every key's kind and meaning, and reads nothing.
//! Invariant: an object of the schema has the keys of its section, no more and no fewer; and what the reader takes, the schema
//! takes. It is laxer than the reader: what hangs together is the reader's to say.

use serde_json::{Map, Value, json};

use super::keys::{self, Section};

/// Where the packages put it.
pub const PATH: &str = "/usr/share/headwater/headwater.schema.json";

/// The schema of a configuration file, and of a file in `conf.d`.
#[must_use]
pub fn schema() -> Value {
    let mut root = section(
        &keys::TOP,
        &[
            ("state_dir", path("Checkpoints, dead letters, lock. Default /var/lib/headwater.")),
            ("aws", refer("aws", "How to reach AWS, for all flows.")),
            ("flows", list(refer("flow", "From files to a stream."), "What is followed, and where it goes.")),
            ("shutdown_timeout", duration("How long a stop may take to deliver what was read. Default 30s.")),
            ("metrics", refer("metrics", "Metrics of the agent itself.")),
        ],
        &[],
    );
    let own = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of headwater",
        "description": "Every key: man headwater.yaml.",
        "definitions": definitions(),
    });
    let (Value::Object(root_map), Value::Object(own)) = (&mut root, own) else { unreachable!("both are objects") };
    root_map.extend(own);
    root
}

fn definitions() -> Value {
    json!({
        "aws": section(&keys::AWS, &aws(), &[]),
        "flow": flow(),
        "source": source(),
        "step": super::schema_process::step(),
        "condition": super::schema_process::condition(),
        "destination": destination(),
        "aggregate": aggregate(),
        "max_rate": section(
            &keys::MAX_RATE,
            &[
                ("bytes", size("Bytes a second, partition keys included.")),
                ("records", integer(1, 1_000_000, "Records a second; joined ones count once.")),
            ],
            &[],
        ),
        "metrics": section(&keys::METRICS, &[("cloudwatch", cloudwatch())], &[]),
    })
}

type Property = (&'static str, Value);

/// A mapping with the keys of a section; an empty one may also be left out.
pub(super) fn section(section: &Section, properties: &[Property], required: &[&str]) -> Value {
    debug_assert!(
        section.keys.len() == properties.len() && properties.iter().all(|(key, _)| section.keys.contains(key)),
        "the schema of {} has other keys",
        section.name
    );
    let properties: Map<String, Value> =
        properties.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let mut value = json!({ "type": ["object", "null"], "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        value["required"] = json!(required);
        value["type"] = json!("object");
    }
    value
}

/// The same with words about it.
pub(super) fn described(mut schema: Value, text: &str) -> Value {
    schema["description"] = json!(text);
    schema
}

pub(super) fn refer(name: &str, text: &str) -> Value {
    // Beside a reference nothing else counts: hence the wrapping.
    json!({ "allOf": [{ "$ref": format!("#/definitions/{name}") }], "description": text })
}

/// What is only known when variables of the environment are filled in.
const VARIABLE: &str = r"\$\{";

pub(super) fn text(text: &str) -> Value {
    json!({ "type": ["string", "number", "boolean"], "description": text })
}

pub(super) fn matching(pattern: &str, text: &str) -> Value {
    json!({ "type": ["string", "integer"], "pattern": format!("{pattern}|{VARIABLE}"), "description": text })
}

pub(super) fn path(text: &str) -> Value {
    matching("^/", text)
}

pub(super) fn size(text: &str) -> Value {
    matching("^[0-9]+ *([kKmMgG][iI]?)?[bB]?$", &format!("{text} Like 5MiB, 32MB or 1000."))
}

pub(super) fn duration(text: &str) -> Value {
    matching("^(0+|([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$", &format!("{text} Like 500ms or 1h30m."))
}

pub(super) fn integer(least: u64, most: u64, text: &str) -> Value {
    let number = json!({ "type": "integer", "minimum": least, "maximum": most });
    json!({ "anyOf": [number, { "type": "string", "pattern": format!("^[0-9]+$|{VARIABLE}") }], "description": text })
}

pub(super) fn boolean(text: &str) -> Value {
    let words = json!({ "type": "string", "pattern": format!("^(true|false)$|{VARIABLE}") });
    json!({ "anyOf": [{ "type": "boolean" }, words], "description": text })
}

pub(super) fn words(words: &[&str], text: &str) -> Value {
    json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": VARIABLE }], "description": text })
}

pub(super) fn either(schemas: &[Value], text: &str) -> Value {
    json!({ "anyOf": schemas, "description": text })
}

pub(super) fn list(item: Value, text: &str) -> Value {
    let mut list = json!({ "type": ["array", "null"], "description": text });
    list["items"] = item;
    list
}

/// One text, or a list of texts.
pub(super) fn texts(about: &str) -> Value {
    either(&[text(""), list(text(""), "")], about)
}

fn aws() -> Vec<Property> {
    vec![
        ("region", text("Like eu-west-1. Default: the SDK's chain.")),
        ("endpoint_url", matching("^https?://", "http:// or https://, a host, perhaps a port. Default: the region's.")),
        ("role_arn", matching("^arn:", "A role to assume, like arn:aws:iam::111122223333:role/logs.")),
        ("external_id", text("Goes with role_arn.")),
        ("session_name", text("Name of the role's session. Default headwater.")),
        ("sts_endpoint_url", matching("^https?://", "Where the role is asked for. Default: the region's.")),
        ("fips", boolean("Endpoints validated under FIPS 140.")),
        ("dual_stack", boolean("Endpoints that speak IPv6 too.")),
        ("profile", text("Profile of the shared credentials file.")),
        ("ca_bundle", path("PEM file with more root certificates.")),
        ("access_key_id", text("Better leave keys to the SDK's chain, or write ${NAME}.")),
        ("secret_access_key", text("Better leave keys to the SDK's chain, or write ${NAME}.")),
        ("session_token", text("Better leave keys to the SDK's chain, or write ${NAME}.")),
    ]
}

fn flow() -> Value {
    let batch = section(
        &keys::BATCH,
        &[
            ("max_records", integer(1, 500, "Records of a request. Default 500.")),
            ("max_bytes", size("Bytes of a request, partition keys included. Default 5MiB, for Firehose 4MiB.")),
            ("max_age", duration("Longest time a record waits for its batch to fill. Default 1s.")),
        ],
        &[],
    );
    let wait = ("settle_wait", duration("A request without an answer has arrived by then, or never will. Default 5s."));
    let once =
        section(&keys::DELIVERY, &[("exactly_once", section(&keys::EXACTLY_ONCE, &[wait], &[]))], &["exactly_once"]);
    let delivery = either(
        &[words(&["at_least_once", "exactly_once"], ""), once],
        "What may have arrived is sent again, or looked for in the stream. Default at_least_once.",
    );
    section(
        &keys::FLOW,
        &[
            ("name", text("Unique; the checkpoint's key. Change the rest as you like, but keep the name.")),
            ("source", refer("source", "Which files, and how they are cut into records.")),
            (
                "process",
                list(refer("step", ""), "What is done to a record, in this order. Without it, its bytes are sent."),
            ),
            ("destination", refer("destination", "Where records go.")),
            ("batch", described(batch, "When a request is sent.")),
            ("buffer", size("Bytes read and not yet delivered, at most. Default 32MiB.")),
            ("delivery", delivery),
        ],
        &["name", "source", "destination"],
    )
}

fn source() -> Value {
    let multiline = section(
        &keys::MULTILINE,
        &[
            ("start", text("Pattern of a record's first line.")),
            ("timeout", duration("How long the last record may wait for the line that ends it. Default 2s.")),
            ("max_lines", integer(1, 100_000, "Most lines of one record. Default 500.")),
        ],
        &["start"],
    );
    section(
        &keys::SOURCE,
        &[
            ("paths", texts("Absolute globs; ** crosses folders.")),
            ("exclude", either(&[texts(""), json!({ "type": "null" })], "Globs of paths or of names to leave out.")),
            ("start_at", words(&["end", "beginning"], "For files present at the first start. Default end.")),
            ("skip_header_lines", integer(0, 1_000, "Lines to skip at the beginning of each file.")),
            ("multiline", described(multiline, "Records of several lines.")),
            ("max_record", size("Longest record. Default 1MiB, or what the destination takes.")),
            ("oversize", words(&["truncate", "split", "drop"], "What becomes of a longer one. Default truncate.")),
            ("poll_interval", duration("Longest time between two looks at a file. Default 1s.")),
            (
                "partial_line_timeout",
                duration("After how much quiet a line without its end is delivered. Default never."),
            ),
            ("truncated_record_terminator", text("What a record ends with that was cut. Default a newline.")),
            ("footer", text("Pattern of a record that ends what there is to read.")),
        ],
        &["paths"],
    )
}

fn destination() -> Value {
    let stdout = section(&keys::STDOUT, &[], &[]);
    let destination = section(
        &keys::DESTINATION,
        &[("kinesis", kinesis()), ("firehose", firehose()), ("stdout", described(stdout, "One record a line."))],
        &[],
    );
    let mut one = destination;
    (one["type"], one["minProperties"], one["maxProperties"]) = (json!("object"), json!(1), json!(1));
    one
}

fn kinesis() -> Value {
    let key = section(
        &keys::PARTITION_KEY,
        &[
            ("field", text("The value of this field.")),
            ("template", text("A text with variables, like ${host}-${fields.user}.")),
            ("constant", text("The same for every record.")),
            ("on_missing", words(&["random", "drop", "dead_letter"], "For a record without a key. Default random.")),
        ],
        &[],
    );
    let key = either(&[words(&["random", "record_hash"], ""), key], "Which shard a record goes to. Default random.");
    let mut properties = vec![
        ("stream", text("Name or ARN of the stream.")),
        ("partition_key", key),
        ("aggregate", refer("aggregate", "Join records in the format of the KPL. Default false.")),
        ("order", words(&["none", "per_key"], "Records of one key arrive in the order they were read. Default none.")),
        ("consumers", texts("Who reads the stream; changes nothing but the warnings.")),
        ("max_in_flight", integer(1, 64, "Requests under way at once. Default 8.")),
        ("max_rate", refer("max_rate", "The most that is sent.")),
    ];
    properties.extend(aws());
    described(section(&keys::KINESIS, &properties, &["stream"]), "Kinesis Data Streams.")
}

fn firehose() -> Value {
    let mut properties = vec![
        ("stream", text("Name or ARN of the delivery stream.")),
        ("aggregate", refer("aggregate", "Join lines to larger records. Default false.")),
        ("add_newline", boolean("A record that does not end with a newline gets one. Default true.")),
        ("max_in_flight", integer(1, 64, "Requests under way at once. Default 8.")),
        ("max_rate", refer("max_rate", "The most that is sent.")),
    ];
    properties.extend(aws());
    described(section(&keys::FIREHOSE, &properties, &["stream"]), "Data Firehose.")
}

fn aggregate() -> Value {
    let limits = section(
        &keys::AGGREGATE,
        &[
            ("max_bytes", size("Most bytes of a joined record.")),
            ("max_records", integer(1, 1_000_000, "Most records that are joined to one.")),
        ],
        &[],
    );
    either(&[boolean(""), size(""), limits], "")
}

fn cloudwatch() -> Value {
    let dimensions = json!({ "type": ["object", "null"], "additionalProperties": text("") });
    let mut properties = vec![
        ("namespace", text("Namespace of the metrics. Default Headwater.")),
        ("interval", duration("Time between two requests. Default 30s.")),
        (
            "dimensions",
            described(dimensions, "Dimensions of every metric; values may hold ${host} and ${ec2.instance_id}."),
        ),
    ];
    properties.extend(aws());
    described(section(&keys::CLOUDWATCH, &properties, &[]), "Metrics to CloudWatch, also if it is empty.")
}
