//! The part of the schema about `process`. As `schema`.

use serde_json::{Value, json};

use super::{
    keys,
    schema::{boolean, described, either, integer, list, matching, refer, section, text, texts, words},
};

/// One item of `process`.
pub(super) fn step() -> Value {
    let any = json!({ "type": "object", "minProperties": 1 });
    let renames = json!({ "type": "object", "minProperties": 1, "additionalProperties": text("") });
    let condition = || either(&[refer("condition", ""), list(refer("condition", ""), "")], "");
    let mut step = section(
        &keys::STEP,
        &[
            ("parse", parse()),
            ("add", described(any, "Fields to add; texts may hold variables like ${host}.")),
            ("remove", texts("Fields to leave out.")),
            ("keep", texts("The only fields to keep.")),
            ("rename", described(renames, "New names by old ones.")),
            ("drop_if", described(condition(), "Leaves out the records of which this holds.")),
            ("keep_if", described(condition(), "Leaves out the records of which this does not hold.")),
            ("redact", redact()),
            ("single_line", single_line()),
            ("limit", limit()),
            ("emit", emit()),
        ],
        &[],
    );
    (step["type"], step["minProperties"], step["maxProperties"]) = (json!("object"), json!(1), json!(1));
    step
}

fn parse() -> Value {
    let words_alone = [
        "json",
        "logfmt",
        "key_value",
        "common",
        "combined",
        "apache_error",
        "nginx_error",
        "syslog_rfc3164",
        "syslog_rfc5424",
        "cri",
        "docker",
    ];
    let nothing = || json!({ "type": ["object", "null"], "maxProperties": 0 });
    let types = json!({ "type": ["object", "null"], "additionalProperties": words(&["int", "float", "bool"], "") });
    let timestamp = section(
        &keys::TIMESTAMP,
        &[
            ("field", text("The field that is the time.")),
            ("format", text("rfc3339, unix, unix_ms, httpdate, syslog ..., or a format like %Y-%m-%d %H:%M:%S.")),
            ("to", text("The field for the result. Default: the same.")),
            ("timezone", text("Of times without an offset. Default UTC.")),
        ],
        &["field", "format"],
    );
    let mut properties = vec![
        ("regex", text("Each named group, (?P<name>...), is a field.")),
        ("grok", either(&[text(""), grok()], "Named patterns like %{IP:client}.")),
        ("csv", described(parse_csv(), "Cells between delimiters.")),
        ("key_value", key_value()),
        (
            "on_mismatch",
            words(&["keep_raw", "drop", "dead_letter"], "For a record that does not match. Default keep_raw."),
        ),
        ("types", described(types, "Texts that are numbers or true and false.")),
        ("timestamp", described(timestamp, "One field that is a time, written as RFC 3339.")),
        ("null_if", either(&[texts(""), json!({ "type": "null" })], "Texts that become null.")),
    ];
    for format in words_alone.into_iter().filter(|format| *format != "key_value") {
        properties.push((format, described(nothing(), "This format.")));
    }
    let mapping = section(&keys::PARSE, &properties, &[]);
    either(&[words(&words_alone, ""), mapping], "Finds fields in the record.")
}

fn grok() -> Value {
    let patterns = json!({ "type": ["object", "null"], "additionalProperties": text("") });
    let own = [("pattern", text("")), ("patterns", described(patterns, "Names of your own."))];
    section(&keys::GROK, &own, &["pattern"])
}

fn parse_csv() -> Value {
    section(
        &keys::PARSE_CSV,
        &[
            ("fields", list(text(""), "Names of the cells; needed without header.")),
            ("header", boolean("The first line of each file has the names.")),
            ("delimiter", text("One ASCII character. Default a comma.")),
            ("quote", text("One ASCII punctuation character. Default a double quote.")),
            ("trim", boolean("Leave blanks around cells out.")),
        ],
        &[],
    )
}

fn key_value() -> Value {
    let keys = [
        ("field_delimiter", text("Default a space.")),
        ("value_delimiter", text("Default =.")),
        ("trim", boolean("Leave blanks around names and values out. Default true.")),
    ];
    described(section(&keys::KEY_VALUE, &keys, &[]), "name=value with other delimiters.")
}

/// A condition of `drop_if` and `keep_if`.
pub(super) fn condition() -> Value {
    let number =
        || either(&[json!({ "type": "number" }), matching("^[+-]?[.]?[0-9]", "")], "A number to compare with.");
    let several = || list(refer("condition", ""), "Conditions.");
    let mut condition = section(
        &keys::CONDITION,
        &[
            ("field", text("The field that the tests are about.")),
            ("equals", text("Its text is this.")),
            ("in", texts("Its text is one of these.")),
            ("matches", text("The pattern is found in its text; without field, in the line.")),
            ("gt", number()),
            ("ge", number()),
            ("lt", number()),
            ("le", number()),
            ("exists", boolean("It is there and not null, or is not.")),
            ("any", described(several(), "At least one holds.")),
            ("all", described(several(), "All hold.")),
            ("not", either(&[refer("condition", ""), several()], "It does not hold.")),
        ],
        &[],
    );
    (condition["type"], condition["minProperties"]) = (json!("object"), json!(1));
    condition
}

fn redact() -> Value {
    let hash = section(&keys::HASH, &[("key", text("A secret of your own; write ${NAME}."))], &["key"]);
    let keys = [
        ("field", text("Where to look; without pattern, its whole value is hidden.")),
        ("pattern", text("What to hide.")),
        ("replacement", text("What stands there instead. Default ***.")),
        ("hash", described(hash, "A keyed hash stands there instead.")),
    ];
    described(section(&keys::REDACT, &keys, &[]), "Hides what must not be sent.")
}

fn single_line() -> Value {
    let keys = [
        ("join", text("What stands between the lines. Default a space.")),
        ("trim", boolean("Leave out blanks around lines, and empty lines. Default true.")),
    ];
    either(&[boolean(""), section(&keys::SINGLE_LINE, &keys, &[])], "Makes one line of a record of several.")
}

fn limit() -> Value {
    let keys = [
        ("one_in", integer(1, 1_000_000_000, "One record in so many.")),
        ("per_second", integer(1, 1_000_000_000, "At most so many records a second.")),
    ];
    described(section(&keys::LIMIT, &keys, &[]), "Lets some records through.")
}

fn emit() -> Value {
    let json_keys = [("pretty", boolean("Over several lines, indented."))];
    let csv_keys = [
        ("fields", list(text(""), "The columns.")),
        ("delimiter", text("One ASCII character. Default a comma.")),
        ("quote", words(&["minimal", "all", "none"], "Which cells are quoted. Default minimal.")),
        ("null", text("What stands for null and for a field that a record lacks.")),
    ];
    let keys = [
        ("json", section(&keys::JSON, &json_keys, &[])),
        ("csv", section(&keys::CSV, &csv_keys, &["fields"])),
        ("raw", json!({ "type": ["object", "null"], "maxProperties": 0 })),
    ];
    either(&[words(&["json", "raw"], ""), section(&keys::EMIT, &keys, &[])], "How a record is written; the last step.")
}
