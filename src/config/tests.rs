//! What people read when a configuration is wrong, word for word; then that good ones mean what the manual says.

use std::{fmt::Write, fs, path::Path, sync::LazyLock, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    deliver::{Destination, Kinesis},
    flow::{Delivery, Limits, Options},
    record::{
        pipeline::{Emit, Pipeline, Quote, Step},
        regex::Regex,
        split::{Oversize, Start},
        template::{Part, Variable},
    },
    source::StartAt,
};

fn env(name: &str) -> Option<String> {
    match name {
        "REGION" => Some("eu-west-1".to_owned()),
        "NUMBER" => Some("7".to_owned()),
        "EMPTY" => Some(String::new()),
        "SECRET" => Some("hush-hush".to_owned()),
        _ => None,
    }
}

/// The problems of a file, one a line.
fn bad(text: &str) -> String {
    match parse_text("bad.yaml", text, &env) {
        Ok(config) => panic!("this should be refused: {config:?}"),
        Err(problems) => problems.to_string(),
    }
}

fn good(text: &str) -> Config {
    match parse_text("good.yaml", text, &env) {
        Ok(config) => {
            let complaints = complaints_of_schema(text);
            assert!(complaints.is_empty(), "the schema does not take this: {complaints:#?}\n{text}");
            config
        }
        Err(problems) => panic!("this should be accepted:\n{problems}"),
    }
}

/// What an editor that knows the schema would say.
fn complaints_of_schema(text: &str) -> Vec<String> {
    static SCHEMA: LazyLock<jsonschema::Validator> =
        LazyLock::new(|| jsonschema::validator_for(&schema()).expect("it is a schema"));
    let value: serde_json::Value = serde_yaml::from_str(text).expect("the program took it as YAML");
    // Nothing but comments, or the Java agent's.
    if value.is_null() || !value["flows"][0]["filePattern"].is_null() {
        return Vec::new();
    }
    SCHEMA.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The warnings about a good file.
fn warnings(text: &str) -> String {
    good(text).warnings.join("\n")
}

/// The only flow of a good file.
fn good_flow(text: &str) -> Options {
    let mut flows = good(text).flows;
    assert_eq!(flows.len(), 1);
    flows.remove(0)
}

fn kinesis_of(flow: &Options) -> &Kinesis {
    match &flow.destination {
        Destination::Kinesis(kinesis) => kinesis,
        other => panic!("the destination should be kinesis, not {other:?}"),
    }
}

/// The lines, indented.
fn lines(indent: usize, lines: &str) -> String {
    lines.lines().map(|line| " ".repeat(indent) + line + "\n").collect()
}

const FLOW: &str = "flows:\n  - name: web\n    source: { paths: /var/log/web.log }\n    destination: { stdout: {} }\n";

/// A good flow below these lines.
fn top(extra: &str) -> String {
    format!("{extra}{FLOW}")
}

/// A good flow with these keys more.
fn flow(extra: &str) -> String {
    format!("{FLOW}{}", lines(4, extra))
}

/// A flow whose source has these keys more.
fn source(extra: &str) -> String {
    paths("/var/log/web.log", extra)
}

/// A flow whose source has these paths, and these keys more.
fn paths(paths: &str, extra: &str) -> String {
    let extra = lines(6, extra);
    format!("flows:\n  - name: web\n    source:\n      paths: {paths}\n{extra}    destination: {{ stdout: {{}} }}\n")
}

/// A flow with this destination.
fn destination(keys: &str) -> String {
    let keys = lines(6, keys);
    format!("flows:\n  - name: web\n    source: {{ paths: /var/log/web.log }}\n    destination:\n{keys}")
}

/// A flow with this destination, and these keys more.
fn destination_and(keys: &str, extra: &str) -> String {
    format!("{}{}", destination(keys), lines(4, extra))
}

/// A flow with these steps.
fn process(steps: &str) -> String {
    let steps = lines(6, steps);
    format!(
        "flows:\n  - name: web\n    source: {{ paths: /var/log/web.log }}\n    destination: {{ stdout: }}\n    process:\n{steps}"
    )
}

#[test]
fn an_empty_file_has_no_flow() {
    insta::assert_snapshot!(warnings(""), @"good.yaml:1:1: flows: there is no flow, so nothing is delivered; write one, like `flows: [{ name: web, source: { paths: /var/log/web.log }, destination: { kinesis: { stream: web-logs } } }]`, and reload");
}

#[test]
fn a_file_of_comments_has_no_flow() {
    insta::assert_snapshot!(warnings("# nothing yet\n"), @"good.yaml:1:1: flows: there is no flow, so nothing is delivered; write one, like `flows: [{ name: web, source: { paths: /var/log/web.log }, destination: { kinesis: { stream: web-logs } } }]`, and reload");
}

#[test]
fn an_empty_list_of_flows_shows_a_minimal_one() {
    insta::assert_snapshot!(warnings("state_dir: /tmp
flows: []
"), @"good.yaml:2:8: flows: there is no flow, so nothing is delivered; write one, like `flows: [{ name: web, source: { paths: /var/log/web.log }, destination: { kinesis: { stream: web-logs } } }]`, and reload");
}

#[test]
fn a_file_that_is_text_is_no_mapping() {
    insta::assert_snapshot!(bad("hello\n"), @"bad.yaml:1:1: must be a mapping (`key: value` lines), not a single value");
}

#[test]
fn a_file_that_is_a_list_is_no_mapping() {
    insta::assert_snapshot!(bad("- a
- b
"), @"bad.yaml:1:1: must be a mapping (`key: value` lines), not a list");
}

#[test]
fn flows_must_be_a_list() {
    insta::assert_snapshot!(bad("flows:
  web: { paths: /var/log/web.log }
"), @"bad.yaml:2:3: flows: must be a list (`- item` lines), not a mapping");
}

#[test]
fn an_unknown_key_at_the_top_is_answered_with_the_nearest() {
    insta::assert_snapshot!(bad(&top("state-dir: /tmp\n")), @"bad.yaml:1:1: state-dir: unknown key; did you mean `state_dir`?");
}

#[test]
fn a_key_of_another_section_is_sent_there() {
    insta::assert_snapshot!(bad(&flow("paths: /var/log/x.log\nmax_age: 1s")), @"
    bad.yaml:5:5: flows[0].paths: unknown key here; it belongs to source
    bad.yaml:6:5: flows[0].max_age: unknown key here; it belongs to batch
    ");
}

#[test]
fn an_unknown_key_of_a_flow_is_reported() {
    insta::assert_snapshot!(bad(&flow("bufer: 1MiB\nzzz: 1")), @"
    bad.yaml:5:5: flows[0].bufer: unknown key; did you mean `buffer`?
    bad.yaml:6:5: flows[0].zzz: unknown key; known here: name, source, process, destination, batch, buffer, delivery
    ");
}

#[test]
fn an_unknown_key_of_a_source_is_reported() {
    insta::assert_snapshot!(bad(&source("pathes: /x")), @"bad.yaml:5:7: flows[0].source.pathes: unknown key; did you mean `paths`?");
}

#[test]
fn an_unknown_key_of_multiline_is_reported() {
    insta::assert_snapshot!(bad(&source("multiline: { start: '^a', maxlines: 3 }")), @"bad.yaml:5:33: flows[0].source.multiline.maxlines: unknown key; did you mean `max_lines`?");
}

#[test]
fn an_unknown_key_of_a_batch_is_reported() {
    insta::assert_snapshot!(bad(&flow("batch: { maxRecords: 5 }")), @"bad.yaml:5:14: flows[0].batch.maxRecords: unknown key; did you mean `max_records`?");
}

#[test]
fn an_unknown_key_of_aws_is_reported() {
    insta::assert_snapshot!(bad(&top("aws: { regoin: eu-west-1 }\n")), @"bad.yaml:1:8: aws.regoin: unknown key; did you mean `region`?");
}

#[test]
fn an_unknown_key_of_kinesis_is_reported() {
    insta::assert_snapshot!(bad(&destination("kinesis: { stream: a, stream_name: b }")), @"bad.yaml:5:29: flows[0].destination.kinesis.stream_name: unknown key; known here: stream, partition_key, aggregate, order, consumers, max_in_flight, max_rate, region, endpoint_url, role_arn, external_id, session_name, sts_endpoint_url, fips, dual_stack, profile, ca_bundle, access_key_id, secret_access_key, session_token");
}

#[test]
fn stdout_takes_no_keys() {
    insta::assert_snapshot!(bad(&destination("stdout: { stream: a }")), @"bad.yaml:5:17: flows[0].destination.stdout.stream: unknown key here; it belongs to kinesis");
}

#[test]
fn an_unknown_step_is_reported() {
    insta::assert_snapshot!(bad(&process("- prase: json")), @"bad.yaml:6:9: flows[0].process[0].prase: unknown key; did you mean `parse`?");
}

#[test]
fn an_unknown_key_of_parse_is_reported() {
    insta::assert_snapshot!(bad(&process("- parse: { json: {}, on_missmatch: drop }")), @"bad.yaml:6:28: flows[0].process[0].parse.on_missmatch: unknown key; did you mean `on_mismatch`?");
}

#[test]
fn a_flow_lacks_everything() {
    insta::assert_snapshot!(bad("flows:
  - 
  - {}
"), @"
    bad.yaml:2:5: flows[0].name: is missing; every flow needs a name of its own, the checkpoint's key
    bad.yaml:2:5: flows[0].source: is missing; write the files to follow, like `source: { paths: /var/log/app/*.log }`
    bad.yaml:2:5: flows[0].destination: is missing; write `destination: { kinesis: { stream: NAME } }`
    bad.yaml:3:5: flows[1].name: is missing; every flow needs a name of its own, the checkpoint's key
    bad.yaml:3:5: flows[1].source: is missing; write the files to follow, like `source: { paths: /var/log/app/*.log }`
    bad.yaml:3:5: flows[1].destination: is missing; write `destination: { kinesis: { stream: NAME } }`
    ");
}

#[test]
fn a_value_of_the_wrong_kind_is_reported() {
    insta::assert_snapshot!(bad("state_dir: [a]
shutdown_timeout: { seconds: 3 }
aws: eu-west-1
flows:
  - name: [web]
    source: /var/log/web.log
    destination: stdout
    batch: 5
    process: json
"), @"
    bad.yaml:1:12: state_dir: must be a single value, not a list
    bad.yaml:2:19: shutdown_timeout: must be a single value, not a mapping
    bad.yaml:3:6: aws: must be a mapping (`key: value` lines), not a single value
    bad.yaml:5:11: flows[0].name: must be a single value, not a list
    bad.yaml:6:13: flows[0].source: must be a mapping (`key: value` lines), not a single value
    bad.yaml:7:18: flows[0].destination: must be a mapping (`key: value` lines), not a single value
    bad.yaml:8:12: flows[0].batch: must be a mapping (`key: value` lines), not a single value
    bad.yaml:9:14: flows[0].process: must be a list (`- item` lines), not a single value
    ");
}

#[test]
fn a_key_without_a_value_is_reported() {
    insta::assert_snapshot!(bad(&top("state_dir:\n")), @"bad.yaml:1:10: state_dir: has no value; write one, or remove the key");
}

#[test]
fn a_size_must_be_one() {
    insta::assert_snapshot!(bad(&flow("buffer: 12 bananas\nbatch: { max_bytes: 1.5MiB }")), @r#"
    bad.yaml:5:13: flows[0].buffer: "12 bananas" is not a size; write a whole number and a unit: B, KiB, MiB, GiB, KB, MB or GB
    bad.yaml:6:25: flows[0].batch.max_bytes: "1.5MiB" is not a size; write a whole number and a unit: B, KiB, MiB, GiB, KB, MB or GB
    "#);
}

#[test]
fn a_size_has_a_range() {
    insta::assert_snapshot!(bad(&flow("buffer: 1KiB\nbatch: { max_bytes: 11MiB }")), @r#"
    bad.yaml:5:13: flows[0].buffer: "1KiB" is out of range; it must be 1MiB to 64GiB
    bad.yaml:6:25: flows[0].batch.max_bytes: "11MiB" is out of range; it must be 1KiB to 10MiB
    "#);
}

#[test]
fn a_huge_size_does_not_overflow() {
    insta::assert_snapshot!(bad(&flow("buffer: 99999999999999999999GiB")), @r#"bad.yaml:5:13: flows[0].buffer: "99999999999999999999GiB" is out of range; it must be 1MiB to 64GiB"#);
}

#[test]
fn a_buffer_holds_at_least_one_batch() {
    insta::assert_snapshot!(bad(&flow("batch: { max_bytes: 3MiB }\nbuffer: 2MiB")), @r#"bad.yaml:6:13: flows[0].buffer: "2MiB" is less than one batch (3MiB); write at least that, or make batch.max_bytes smaller"#);
}

#[test]
fn a_duration_needs_a_unit() {
    insta::assert_snapshot!(bad(&top("shutdown_timeout: 30\n")), @r#"bad.yaml:1:19: shutdown_timeout: "30" has no unit; add one: ms, s, m or h"#);
}

#[test]
fn a_duration_must_be_one() {
    insta::assert_snapshot!(bad(&top("shutdown_timeout: 1s2h\n")), @r#"bad.yaml:1:19: shutdown_timeout: "1s2h" is not a duration; write a whole number and a unit: ms, s, m or h, like 500ms or 1h30m"#);
}

#[test]
fn a_duration_has_a_range() {
    insta::assert_snapshot!(bad(&source("poll_interval: 5ms\npartial_line_timeout: 2h")), @r#"
    bad.yaml:5:22: flows[0].source.poll_interval: "5ms" is out of range; it must be 10ms to 1h
    bad.yaml:6:29: flows[0].source.partial_line_timeout: "2h" is out of range; it must be 10ms to 1h
    "#);
}

#[test]
fn a_number_must_be_one() {
    insta::assert_snapshot!(bad(&source("skip_header_lines: some")), @r#"bad.yaml:5:26: flows[0].source.skip_header_lines: "some" is not a whole number; write digits alone"#);
}

#[test]
fn a_number_has_a_range() {
    insta::assert_snapshot!(bad(&source("skip_header_lines: 1001\nmultiline: { start: '^a', max_lines: 0 }")), @r#"
    bad.yaml:5:26: flows[0].source.skip_header_lines: "1001" is out of range; it must be 0 to 1000
    bad.yaml:6:44: flows[0].source.multiline.max_lines: "0" is out of range; it must be 1 to 100000
    "#);
}

#[test]
fn a_record_has_a_smallest_and_a_largest_limit() {
    insta::assert_snapshot!(bad(&source("max_record: 63")), @r#"bad.yaml:5:19: flows[0].source.max_record: "63" is out of range; it must be 64B to 10MiB"#);
}

#[test]
fn a_terminator_is_shorter_than_a_record_and_a_footer_is_a_pattern() {
    let long = format!("max_record: 64B\ntruncated_record_terminator: {}\nfooter: 'EOF('", "x".repeat(64));
    insta::assert_snapshot!(bad(&source(&long)), @r#"
    bad.yaml:6:36: flows[0].source.truncated_record_terminator: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..." is as long as a record may be; write less than 64 bytes
    bad.yaml:7:15: flows[0].source.footer: "EOF(" is not a valid pattern: at character 4: unclosed group
    "#);
}

#[test]
fn a_batch_has_at_most_500_records() {
    insta::assert_snapshot!(bad(&flow("batch: { max_records: 501 }")), @r#"bad.yaml:5:27: flows[0].batch.max_records: "501" is out of range; it must be 1 to 500"#);
}

#[test]
fn a_word_must_be_one_of_a_few() {
    insta::assert_snapshot!(bad(&source("start_at: start\noversize: cut")), @r#"
    bad.yaml:5:17: flows[0].source.start_at: "start" is not known; write end or beginning
    bad.yaml:6:17: flows[0].source.oversize: "cut" is not known; write truncate or split or drop
    "#);
}

#[test]
fn two_flows_of_one_name_are_both_named() {
    insta::assert_snapshot!(bad("flows:
  - name: web
    source: { paths: /a.log }
    destination: { stdout: }
  - name: web
    source: { paths: /b.log }
    destination: { stdout: }
"), @"bad.yaml:5:11: flows[1].name: another flow has this name: bad.yaml:2:11; it is the checkpoint's key, so give each its own");
}

#[test]
fn a_name_is_not_empty() {
    insta::assert_snapshot!(bad(r#"flows:
  - name: ""
    source: { paths: /a.log }
    destination: { stdout: }
"#), @r#"bad.yaml:2:11: flows[0].name: "" is no name of a flow; it has 1 to 128 characters, none of them a control character"#);
}

#[test]
fn a_path_is_absolute() {
    insta::assert_snapshot!(bad(&paths(r#"[web.log, "*.log", ""]"#, "exclude: sub/*.log")), @r#"
    bad.yaml:4:15: flows[0].source.paths[0]: "web.log" is not an absolute path; begin it with `/`
    bad.yaml:4:24: flows[0].source.paths[1]: "*.log" is not an absolute path; begin it with `/`
    bad.yaml:4:33: flows[0].source.paths[2]: "" is not an absolute path; begin it with `/`
    bad.yaml:5:16: flows[0].source.exclude: "sub/*.log" can match nothing: with a `/` in it, it is compared with whole paths; begin it with `/` or `**/`
    "#);
}

#[test]
fn a_path_names_files_not_a_folder() {
    insta::assert_snapshot!(bad(&paths("/var/log/", r#"exclude: """#)), @r#"
    bad.yaml:4:14: flows[0].source.paths: "/var/log/" names a folder; name the files in it, like `/var/log/app/*.log`
    bad.yaml:5:16: flows[0].source.exclude: "" is empty; write a pattern, like "*.gz"
    "#);
}

#[test]
fn a_glob_must_be_valid() {
    insta::assert_snapshot!(bad(&paths("/var/log/[.log", r#"exclude: "*.{gz""#)), @r#"
    bad.yaml:4:14: flows[0].source.paths: "/var/log/[.log" is not a valid pattern: unclosed character class; missing ']'
    bad.yaml:5:16: flows[0].source.exclude: "*.{gz" is not a valid pattern: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)
    "#);
}

#[test]
fn a_list_of_paths_is_not_empty() {
    insta::assert_snapshot!(bad(&paths("[]", "exclude: []")), @"bad.yaml:4:14: flows[0].source.paths: names no file; write at least one absolute path, wildcards allowed");
}

#[test]
fn a_source_needs_paths() {
    insta::assert_snapshot!(bad("flows:
  - name: web
    source: {}
    destination: { stdout: }
"), @"bad.yaml:3:13: flows[0].source.paths: is missing; write the files to follow, like `paths: /var/log/app/*.log`");
}

#[test]
fn multiline_needs_a_start() {
    insta::assert_snapshot!(bad(&source("multiline: { timeout: 1s }")), @r"bad.yaml:5:18: flows[0].source.multiline.start: is missing; write the pattern of a record's first line, like `start: '^\d{4}-'`");
}

#[test]
fn a_bad_regex_is_shown_with_the_position_in_it() {
    insta::assert_snapshot!(bad(&source("multiline: { start: '^(abc' }")), @r#"bad.yaml:5:27: flows[0].source.multiline.start: "^(abc" is not a valid pattern: at character 2: unclosed group"#);
}

#[test]
fn a_bad_regex_class_is_shown_with_the_position_in_it() {
    insta::assert_snapshot!(bad(&process("- parse: { regex: '^(?P<a>[z-a])$' }")), @r#"bad.yaml:6:25: flows[0].process[0].parse.regex: "^(?P<a>[z-a])$" is not a valid pattern: at character 9: invalid character class range, the start must be <= the end"#);
}

#[test]
fn a_mistake_in_a_pattern_with_look_around_is_refused() {
    insta::assert_snapshot!(bad(&process("- parse: { regex: '^(?P<a>.)(?=b' }")), @r#"bad.yaml:6:25: flows[0].process[0].parse.regex: "^(?P<a>.)(?=b" is not a valid pattern; it has look-around or back-references, and something in it is wrong"#);
}

#[test]
fn a_regex_needs_a_named_group() {
    insta::assert_snapshot!(bad(&process("- parse: { regex: '^(.*)$' }")), @r#"bad.yaml:6:25: flows[0].process[0].parse.regex: "^(.*)$" has no named group, so it would find no field; name one: `(?P<name>...)`"#);
}

#[test]
fn a_regex_has_a_size_limit() {
    insta::assert_snapshot!(bad(&process(r"- parse: { regex: '(?P<a>(\w{1000}){1000})' }")), @r#"bad.yaml:6:25: flows[0].process[0].parse.regex: "(?P<a>(\w{1000}){1000})" is too large a pattern once compiled; make its repetitions smaller"#);
}

#[test]
fn a_regex_needs_its_pattern() {
    insta::assert_snapshot!(bad(&process("- parse: regex")), @r#"bad.yaml:6:16: flows[0].process[0].parse: "regex" needs a pattern; write `parse: { regex: '...' }`"#);
}

#[test]
fn formats_that_must_be_told_something_say_what() {
    insta::assert_snapshot!(bad(&process("- parse: csv
- parse: grok
- parse: { csv: {} }
- parse: { csv: { fields: [] } }
- parse: { grok: {} }
- parse: { timestamp: { format: unix }, json: }
- parse: { timestamp: { field: t }, json: }")), @r#"
    bad.yaml:6:16: flows[0].process[0].parse: "csv" needs the names of its cells; write `parse: { csv: { fields: [a, b] } }`
    bad.yaml:7:16: flows[0].process[1].parse: "grok" needs a pattern; write `parse: { grok: '%{COMBINEDAPACHELOG}' }`
    bad.yaml:8:23: flows[0].process[2].parse.csv: has no names for its cells; write `fields: [a, b]`, or `header: true` if each file's first line has them
    bad.yaml:9:33: flows[0].process[3].parse.csv.fields: has no names; write `fields: [a, b]`
    bad.yaml:10:24: flows[0].process[4].parse.grok.pattern: is missing; write one, like `pattern: '%{COMBINEDAPACHELOG}'`
    bad.yaml:11:29: flows[0].process[5].parse.timestamp.field: is missing; write the field that is the time, like `field: timestamp`
    bad.yaml:12:29: flows[0].process[6].parse.timestamp.format: is missing; write how the time is written, like `format: rfc3339`
    "#);
}

#[test]
fn what_formats_are_told_is_checked() {
    insta::assert_snapshot!(bad(&process(r#"- parse: { csv: { fields: [a, "", a], header: false, delimiter: ab, quote: x, trim: maybe } }
- parse: { csv: { fields: [a], header: true } }
- parse: { csv: { header: true, delimiter: "'", quote: "'" } }
- parse: { key_value: { field_delimiter: "", value_delimiter: '"' } }
- parse: { key_value: { field_delimiter: " = " } }
- parse: { grok: '%{COMBINEDAPACHELOGS:a}' }
- parse: { grok: { pattern: '%{A:a}', patterns: { A: 'x%{B}', B: '%{A}' } } }
- parse: { grok: { pattern: '%{WORD:a:number}' } }
- parse: { json: , types: { a: integer }, null_if: { a: b } }
- parse: { json: , timestamp: { field: a, format: iso, timezone: Mars/Olympus } }
- parse: { json: , timestamp: { field: "", format: '%H:%M', timezone: +2, to: "" } }
- parse: { logfmt: { strict: true } }"#)), @r#"
    bad.yaml:6:37: flows[0].process[0].parse.csv.fields[1]: "" is no name of a field; write one
    bad.yaml:6:41: flows[0].process[0].parse.csv.fields[2]: "a" is already a field; name each once
    bad.yaml:6:71: flows[0].process[0].parse.csv.delimiter: "ab" is no delimiter; write one ASCII character that is no quote, like "," or "\t" (double quotes)
    bad.yaml:6:82: flows[0].process[0].parse.csv.quote: "x" is no quote; write one ASCII punctuation character, like '"'
    bad.yaml:6:91: flows[0].process[0].parse.csv.trim: "maybe" is neither true nor false; write one of them
    bad.yaml:7:33: flows[0].process[1].parse.csv.fields: is not needed with `header: true`, which takes the names from each file; remove one of the two
    bad.yaml:8:23: flows[0].process[2].parse.csv: has the same character as delimiter and as quote; write two
    bad.yaml:9:48: flows[0].process[3].parse.key_value.field_delimiter: "" is no delimiter; write 1 to 16 bytes, no quote and no backslash, like "; "
    bad.yaml:9:69: flows[0].process[3].parse.key_value.value_delimiter: """ is no delimiter; write 1 to 16 bytes, no quote and no backslash, like "; "
    bad.yaml:10:29: flows[0].process[4].parse.key_value: has a field_delimiter that holds the value_delimiter; write others
    bad.yaml:11:24: flows[0].process[5].parse.grok: "%{COMBINEDAPACHELOGS:a}" has no pattern `COMBINEDAPACHELOGS` to refer to; did you mean `COMBINEDAPACHELOG`?
    bad.yaml:12:35: flows[0].process[6].parse.grok.pattern: "%{A:a}" never ends: A > B > A
    bad.yaml:13:35: flows[0].process[7].parse.grok.pattern: "%{WORD:a:number}" has the type `number`; write int, float, bool or string
    bad.yaml:14:38: flows[0].process[8].parse.types.a: "integer" is not known; write int or float or bool
    bad.yaml:14:58: flows[0].process[8].parse.null_if: must be text or a list of texts, not a mapping
    bad.yaml:15:57: flows[0].process[9].parse.timestamp.format: "iso" is no time format; write rfc3339, unix, unix_ms, unix_us, unix_ns, httpdate, syslog, apache_error, nginx_error, or a format like `%Y-%m-%d %H:%M:%S`
    bad.yaml:15:72: flows[0].process[9].parse.timestamp.timezone: "Mars/Olympus" is no time zone of this system; write UTC, local, an offset like +02:00, or a name like Europe/Berlin
    bad.yaml:16:46: flows[0].process[10].parse.timestamp.field: "" is no name of a field; write one
    bad.yaml:16:58: flows[0].process[10].parse.timestamp.format: "%H:%M" is no time format that can be read: it has no day; write at least a month and a day, like `%b %e`
    bad.yaml:16:77: flows[0].process[10].parse.timestamp.timezone: "+2" is no offset; write one like +02:00
    bad.yaml:16:85: flows[0].process[10].parse.timestamp.to: "" is no name of a field; write one
    bad.yaml:17:28: flows[0].process[11].parse.logfmt.strict: unknown key; this format takes none
    "#);
}

#[test]
fn an_unknown_parse_format_is_answered_with_the_nearest() {
    insta::assert_snapshot!(bad(&process("- parse: combine")), @r#"bad.yaml:6:16: flows[0].process[0].parse: "combine" is no known format; did you mean combined?"#);
}

#[test]
fn a_parse_has_one_format() {
    insta::assert_snapshot!(bad(&process("- parse: { json: {}, common: {} }
- parse: { on_mismatch: drop }
- parse: { json: { strict: true }, on_mismatch: keep }")), @r#"
    bad.yaml:6:16: flows[0].process[0].parse: names no single format; write exactly one of json, logfmt, common, combined, apache_error, nginx_error, syslog_rfc3164, syslog_rfc5424, cri, docker, regex, grok, csv, key_value
    bad.yaml:7:16: flows[0].process[1].parse: names no single format; write exactly one of json, logfmt, common, combined, apache_error, nginx_error, syslog_rfc3164, syslog_rfc5424, cri, docker, regex, grok, csv, key_value
    bad.yaml:8:26: flows[0].process[2].parse.json.strict: unknown key; this format takes none
    bad.yaml:8:55: flows[0].process[2].parse.on_mismatch: "keep" is not known; write keep_raw or drop or dead_letter
    "#);
}

#[test]
fn a_step_is_one_thing() {
    insta::assert_snapshot!(bad(&process("- parse: json
  emit: json
- {}
- json")), @"
    bad.yaml:6:9: flows[0].process[0]: a step is one of parse, add, remove, keep, rename, drop_if, keep_if, redact, single_line, limit and emit; write each as its own list item
    bad.yaml:8:9: flows[0].process[1]: a step is one of parse, add, remove, keep, rename, drop_if, keep_if, redact, single_line, limit and emit; write each as its own list item
    bad.yaml:9:9: flows[0].process[2]: must be a mapping (`key: value` lines), not a single value
    ");
}

#[test]
fn nothing_follows_emit() {
    insta::assert_snapshot!(bad(&process("- emit: json
- parse: json
- add: { a: b }
- emit: json")), @"
    bad.yaml:7:9: flows[0].process[1]: `parse` after `emit` would change nothing; move it before `emit`
    bad.yaml:8:9: flows[0].process[2]: `add` after `emit` would change nothing; move it before `emit`
    bad.yaml:9:9: flows[0].process[3]: `emit` was already written; only one is allowed, as the last step
    ");
}

#[test]
fn emit_knows_json_and_csv() {
    insta::assert_snapshot!(bad(&process("- emit: xml")), @r#"bad.yaml:6:15: flows[0].process[0].emit: "xml" is no known form; write json, raw, or { csv: { fields: [...] } }"#);
}

#[test]
fn csv_needs_columns() {
    insta::assert_snapshot!(bad(&process("- emit: csv")), @r#"bad.yaml:6:15: flows[0].process[0].emit: "csv" needs its columns; write `emit: { csv: { fields: [a, b] } }`"#);
}

#[test]
fn csv_columns_and_delimiter_are_checked() {
    insta::assert_snapshot!(bad(&process("- emit: { csv: { delimiter: ';;', fields: [a, '', a] } }")), @r#"
    bad.yaml:6:35: flows[0].process[0].emit.csv.delimiter: ";;" is no delimiter; write one ASCII character that is no quote, like "," or "\t" (double quotes)
    bad.yaml:6:53: flows[0].process[0].emit.csv.fields[1]: "" is no name of a field; write one
    bad.yaml:6:57: flows[0].process[0].emit.csv.fields[2]: "a" is already a column; name each once
    "#);
}

#[test]
fn csv_without_fields_is_reported() {
    insta::assert_snapshot!(bad(&process("- emit: { csv: { } }")), @"bad.yaml:6:22: flows[0].process[0].emit.csv: has no columns; write `fields: [a, b]`");
}

#[test]
fn an_unknown_template_variable_is_answered_with_the_nearest() {
    insta::assert_snapshot!(bad(&process(r#"- add: { a: "${file.nam}", b: "${colour}", c: "${NOPE}", d: [x] }"#)), @"
    bad.yaml:6:19: flows[0].process[0].add.a: unknown variable `${file.nam}`; did you mean `${file.name}`?
    bad.yaml:6:37: flows[0].process[0].add.b: unknown variable `${colour}`; known: host, file.path, file.name, record.id, record.offset, now, now.unix_ms, ec2.instance_id, ec2.instance_type, ec2.image_id, ec2.account_id, ec2.region, ec2.availability_zone, ec2.private_ip, flow, fields.NAME, ec2.tag.NAME (variables of the environment are in upper case)
    bad.yaml:6:53: flows[0].process[0].add.c: the environment variable `NOPE` is not set; set it, or write a default: `${NOPE:-...}`
    ");
}

#[test]
fn an_add_without_fields_is_reported() {
    insta::assert_snapshot!(bad(&process("- add:")), @r#"bad.yaml:6:12: flows[0].process[0].add: adds nothing; write fields, like `add: { host: "${host}" }`, or remove the step"#);
}

#[test]
fn kinesis_needs_a_stream() {
    insta::assert_snapshot!(bad(&destination("kinesis: {}")), @"bad.yaml:5:16: flows[0].destination.kinesis.stream: is missing; write the stream's name or ARN");
}

#[test]
fn a_stream_is_a_name_or_an_arn() {
    insta::assert_snapshot!(bad(&destination(r#"kinesis: { stream: "web logs" }"#)), @r#"bad.yaml:5:26: flows[0].destination.kinesis.stream: "web logs" is no name of a stream; it has 1 to 128 letters, digits, `_`, `.` or `-`"#);
}

#[test]
fn an_arn_must_be_that_of_a_stream() {
    insta::assert_snapshot!(bad(&destination(r#"kinesis: { stream: "arn:aws:kinesis:eu-west-1:111122223333:consumer/x" }"#)), @r#"bad.yaml:5:26: flows[0].destination.kinesis.stream: "arn:aws:kinesis:eu-west-1:111122223333:consumer/x" is not the ARN of a stream; it must look like arn:aws:kinesis:REGION:ACCOUNT:stream/NAME"#);
}

#[test]
fn a_flow_has_one_destination() {
    insta::assert_snapshot!(bad(&destination("kinesis: { stream: a }\nstdout: {}")), @"bad.yaml:5:7: flows[0].destination: names several destinations (kinesis, stdout); a flow has one");
}

#[test]
fn a_flow_has_a_destination() {
    insta::assert_snapshot!(bad(&destination("{}")), @"bad.yaml:5:7: flows[0].destination: names no destination; write `kinesis: { stream: NAME }` or `stdout: {}`");
}

#[test]
fn a_partition_key_is_one_of_a_few_words() {
    insta::assert_snapshot!(bad(&destination_and("kinesis: { stream: a, partition_key: constant, max_in_flight: 65, aggregate: yes }", "delivery: at_most_once")), @r#"
    bad.yaml:5:44: flows[0].destination.kinesis.partition_key: "constant" is not known; write random, record_hash, or a mapping with field, template or constant
    bad.yaml:5:69: flows[0].destination.kinesis.max_in_flight: "65" is out of range; it must be 1 to 64
    bad.yaml:5:84: flows[0].destination.kinesis.aggregate: "yes" is neither true nor false; as the size of a record it is not a size; write a whole number and a unit: B, KiB, MiB, GiB, KB, MB or GB
    bad.yaml:6:15: flows[0].delivery: "at_most_once" is not known; write at_least_once or exactly_once
    "#);
}

#[test]
fn aws_settings_are_checked() {
    insta::assert_snapshot!(bad(&top(r#"aws:
  region: Ireland!
  endpoint_url: localhost:4567
  role_arn: logs
  external_id: ""
  profile: " x"
  ca_bundle: ca.pem
"#)), @r#"
    bad.yaml:2:11: aws.region: "Ireland!" is no region; it looks like eu-west-1
    bad.yaml:3:17: aws.endpoint_url: "localhost:4567" is not an endpoint; it must look like https://HOST or http://HOST:PORT
    bad.yaml:4:13: aws.role_arn: "logs" is not the ARN of a role; it must look like arn:aws:iam::111122223333:role/NAME
    bad.yaml:5:16: aws.external_id: "" is empty, begins or ends with a blank, or holds a control character; write it without
    bad.yaml:6:12: aws.profile: " x" is empty, begins or ends with a blank, or holds a control character; write it without
    bad.yaml:7:14: aws.ca_bundle: "ca.pem" is not an absolute path; begin it with `/`
    "#);
}

#[test]
fn an_endpoint_has_a_host_and_no_password() {
    insta::assert_snapshot!(bad(&top("aws: { endpoint_url: \"http://:80/\" }\n")), @r#"bad.yaml:1:22: aws.endpoint_url: "http://:80/" is not an endpoint; it must look like https://HOST or http://HOST:PORT"#);
}

#[test]
fn an_endpoint_is_a_url() {
    insta::assert_snapshot!(bad(&destination(r#"kinesis: { stream: a, endpoint_url: "https://user:pass@host" }"#)), @r#"bad.yaml:5:43: flows[0].destination.kinesis.endpoint_url: "https://...@host" is not an endpoint; it must look like https://HOST or http://HOST:PORT"#);
}

#[test]
fn static_keys_come_in_pairs() {
    insta::assert_snapshot!(bad(&top("aws: { secret_access_key: hush-hush }\n")), @"bad.yaml:1:6: aws.access_key_id: is missing; static keys need both `access_key_id` and `secret_access_key`");
}

#[test]
fn a_relative_state_dir_is_refused() {
    insta::assert_snapshot!(bad(&top("state_dir: var/lib\n")), @r#"bad.yaml:1:12: state_dir: "var/lib" is not an absolute path; begin it with `/`"#);
}

#[test]
fn an_unset_variable_is_named() {
    insta::assert_snapshot!(bad(&top(r#"state_dir: ${NOPE}
aws: { region: "${REGION}${ALSO_NOT}" }
"#)), @"
    bad.yaml:1:12: state_dir: the environment variable `NOPE` is not set; set it, or write a default: `${NOPE:-...}`
    bad.yaml:2:16: aws.region: the environment variable `ALSO_NOT` is not set; set it, or write a default: `${ALSO_NOT:-...}`
    ");
}

#[test]
fn a_bad_value_from_the_environment_is_not_shown() {
    insta::assert_snapshot!(bad(&top(r#"state_dir: "${SECRET}"
shutdown_timeout: ${SECRET}
"#)), @r#"
    bad.yaml:1:12: state_dir: "${SECRET}" (with its variables filled in) is not an absolute path; begin it with `/`
    bad.yaml:2:19: shutdown_timeout: "${SECRET}" (with its variables filled in) is not a duration; write a whole number and a unit: ms, s, m or h, like 500ms or 1h30m
    "#);
}

#[test]
fn a_variable_must_be_closed_and_have_a_name() {
    insta::assert_snapshot!(bad(&top(r#"state_dir: "/a${B"
aws: { region: "${a b}" }
"#)), @"
    bad.yaml:1:12: state_dir: `${` without its `}`; close it, or write `$${` for the two characters themselves
    bad.yaml:2:16: aws.region: `${` is not followed by a name; write `${NAME}` or `${NAME:-default}`, or `$${` for the two characters themselves
    ");
}

#[test]
fn a_tab_in_the_indent_is_named() {
    insta::assert_snapshot!(bad("flows:\n  - name: web\n\tsource: {}\n"), @"bad.yaml:3:1: a tab indents this line; YAML allows only spaces there");
}

#[test]
fn a_tab_after_spaces_is_named() {
    insta::assert_snapshot!(bad("flows:\n  - name: web\n  \t  source: {}\n"), @"bad.yaml:3:3: a tab indents this line; YAML allows only spaces there");
}

#[test]
fn duplicate_keys_are_both_named() {
    insta::assert_snapshot!(bad(&top("state_dir: /a
state_dir: /b
")), @"bad.yaml:2:1: state_dir: this key was already written on line 1; keep one of the two");
}

#[test]
fn duplicate_keys_deep_inside_are_reported_together() {
    insta::assert_snapshot!(bad(&process("- add: { a: 1, b: 2, a: 3, b: 4 }")), @"
    bad.yaml:6:28: flows[0].process[0].add.a: this key was already written on line 6; keep one of the two
    bad.yaml:6:34: flows[0].process[0].add.b: this key was already written on line 6; keep one of the two
    ");
}

#[test]
fn a_second_document_is_refused() {
    insta::assert_snapshot!(bad("flows:
  - name: web
    source: { paths: /var/log/web.log }
    destination: { stdout: {} }
---
flows: []
"), @"bad.yaml:5:1: a second YAML document begins here; a file holds one, so remove the `---`");
}

#[test]
fn an_unquoted_star_is_an_alias() {
    insta::assert_snapshot!(bad(&source("exclude: *.tmp")), @r#"bad.yaml:5:16: a value that begins with `*` or `&` is an alias or anchor to YAML; put it in quotes, like "*.log""#);
}

#[test]
fn a_backslash_in_double_quotes_is_an_escape() {
    insta::assert_snapshot!(bad(&source(r#"multiline: { start: "^\d+" }"#)), @r"bad.yaml:5:27: a backslash begins an escape inside double quotes; write patterns in single quotes, like '^\d+'");
}

#[test]
fn a_quote_must_be_closed() {
    insta::assert_snapshot!(bad(&top("state_dir: \"/var\n")), @"bad.yaml:2:1: a quote is still open on this line; close it above, or indent this line deeper");
}

#[test]
fn a_bracket_must_be_closed() {
    insta::assert_snapshot!(bad(&source("exclude: [a, b")), @"bad.yaml:6:16: a `:` is not allowed here; put a value that contains `: ` in quotes, or look above for an open bracket, a missing `:` or a wrong indent");
}

#[test]
fn a_key_needs_its_colon() {
    insta::assert_snapshot!(bad("state_dir /var
flows: []
"), @"bad.yaml:2:6: a `:` is not allowed here; put a value that contains `: ` in quotes, or look above for an open bracket, a missing `:` or a wrong indent");
}

#[test]
fn a_colon_in_a_value_needs_quotes() {
    insta::assert_snapshot!(bad(&top("state_dir: a: b\n")), @"bad.yaml:1:13: a `:` is not allowed here; put a value that contains `: ` in quotes, or look above for an open bracket, a missing `:` or a wrong indent");
}

#[test]
fn an_odd_indent_is_reported() {
    insta::assert_snapshot!(bad("flows:
  - name: web
   source: {}
"), @"bad.yaml:3:4: this line's indentation fits none of the lines above; align it with the keys of its section");
}

#[test]
fn a_percent_or_at_cannot_begin_a_value() {
    insta::assert_snapshot!(bad(&top("state_dir: @home\n")), @"bad.yaml:1:12: a value cannot begin with `@`; put it in quotes");
}

#[test]
fn a_template_without_quotes_is_a_mapping() {
    insta::assert_snapshot!(bad(&top("state_dir: {{ dir }}\n")), @"bad.yaml:1:13: a key must be plain text; a value that begins with `{`, `[` or `*` needs quotes");
}

#[test]
fn a_variable_inside_brackets_needs_quotes() {
    insta::assert_snapshot!(bad(&flow("batch: { max_records: ${NUMBER} }")), @"bad.yaml:5:28: a `,` or the closing bracket is missing here; inside brackets, put a value that holds one (`${NAME}` too) in quotes");
}

#[test]
fn a_tag_means_nothing() {
    insta::assert_snapshot!(bad(&top("state_dir: !path /var\n")), @"bad.yaml:1:18: YAML tags such as `!name` mean nothing here; remove it, or put the value in quotes");
}

#[test]
fn an_alias_may_not_hold_itself() {
    insta::assert_snapshot!(bad("flows: &a [*a]\n"), @"bad.yaml:1:12: an alias may not stand inside the value it names, nor name a key");
}

#[test]
fn a_merge_takes_a_mapping() {
    insta::assert_snapshot!(bad(&top("x: &x 5
aws:
  <<: *x
")), @"bad.yaml:3:3: `<<` takes an alias of a mapping, like `<<: *defaults`");
}

#[test]
fn the_java_agents_json_is_read_under_any_name() {
    let text = r#"{"cloudwatch.emitMetrics": true, "flows": [{"filePattern": "/tmp/app.log*", "kinesisStream": "s"}]}"#;
    assert_eq!(good_flow(text).name, "kinesis:s:/tmp/app.log*");
}

#[test]
fn several_mistakes_are_reported_at_once_in_file_order() {
    insta::assert_snapshot!(bad(r#"state_dir: var/lib
shutdown_timeout: 30
aws: { regoin: eu-west-1 }
flows:
  - name: web
    source:
      path: /var/log/web.log
      poll_interval: fast
    process:
      - parse: jsn
    destination:
      kinesis: { stream: "web logs" }
    buffer: lots
  - name: web
    source: { paths: app.log }
    destination: { firehose: { stream: x y } }
    delivery: only_once
"#), @r#"
    bad.yaml:1:12: state_dir: "var/lib" is not an absolute path; begin it with `/`
    bad.yaml:2:19: shutdown_timeout: "30" has no unit; add one: ms, s, m or h
    bad.yaml:3:8: aws.regoin: unknown key; did you mean `region`?
    bad.yaml:7:7: flows[0].source.path: unknown key; did you mean `paths`?
    bad.yaml:7:7: flows[0].source.paths: is missing; write the files to follow, like `paths: /var/log/app/*.log`
    bad.yaml:8:22: flows[0].source.poll_interval: "fast" is not a duration; write a whole number and a unit: ms, s, m or h, like 500ms or 1h30m
    bad.yaml:10:16: flows[0].process[0].parse: "jsn" is no known format; did you mean json?
    bad.yaml:12:26: flows[0].destination.kinesis.stream: "web logs" is no name of a stream; it has 1 to 128 letters, digits, `_`, `.` or `-`
    bad.yaml:13:13: flows[0].buffer: "lots" is not a size; write a whole number and a unit: B, KiB, MiB, GiB, KB, MB or GB
    bad.yaml:14:11: flows[1].name: another flow has this name: bad.yaml:5:11; it is the checkpoint's key, so give each its own
    bad.yaml:15:22: flows[1].source.paths: "app.log" is not an absolute path; begin it with `/`
    bad.yaml:16:40: flows[1].destination.firehose.stream: "x y" is no name of a stream; it has 1 to 64 letters, digits, `_`, `.` or `-`
    bad.yaml:17:15: flows[1].delivery: "only_once" is not known; write at_least_once or exactly_once
    "#);
}

#[test]
fn brackets_nested_too_deep_are_refused() {
    insta::assert_snapshot!(bad(&"[".repeat(40)), @"bad.yaml:1:33: nested too deep; a configuration needs no more than 32 levels");
}

#[test]
fn a_block_nested_too_deep_is_refused() {
    insta::assert_snapshot!(bad(&(0..40).map(|depth| " ".repeat(depth) + "a:\n").collect::<String>()), @"bad.yaml:33:33: nested too deep; a configuration needs no more than 32 levels");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e", "f", "g", "h"].iter().zip(["a", "b", "c", "d", "e", "f", "g"]) {
        let aliases = vec![format!("*{of}"); 10].join(", ");
        writeln!(text, "{name}: &{name} [{aliases}]").unwrap();
    }
    insta::assert_snapshot!(bad(&text), @"bad.yaml:6:12: too many values once aliases are filled in; write them out, or use fewer");
}

#[test]
fn a_long_text_repeated_by_aliases_is_refused() {
    let aliases = vec!["*a"; 10_000].join(", ");
    let text = format!("x: &a {}\ny: [{aliases}]\n", "x".repeat(10_000));
    insta::assert_snapshot!(bad(&text), @"bad.yaml:2:1673: too many values once aliases are filled in; write them out, or use fewer");
}

#[test]
fn aliases_cannot_nest_deeper_than_text() {
    let mut text = "a0: &a0 [[[[[[x]]]]]]\n".to_owned();
    for n in 1..20_000 {
        writeln!(text, "a{n}: &a{n} [*a{}]", n - 1).unwrap();
    }
    insta::assert_snapshot!(bad(&text), @"bad.yaml:27:12: nested too deep; a configuration needs no more than 32 levels");
}

#[test]
fn ten_megabytes_of_garbage_are_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.yaml");
    fs::write(&path, vec![b'{'; 10 << 20]).unwrap();
    insta::assert_snapshot!(refused(&path), @"bad.yaml: is larger than 1 MiB; no configuration needs that, so this is probably another file");
    insta::assert_snapshot!(bad(&" ".repeat(2 << 20)), @"bad.yaml: is larger than 1 MiB; no configuration needs that, so this is probably another file");
}

#[test]
fn a_megabyte_of_garbage_is_refused() {
    for garbage in ["{", "[", "a: ", "- ", "&a ", "*a ", "? ", "\"", "'", "|\n", "a:\n", "- -\n", "<<: ", "%", "!!"] {
        let text = garbage.repeat((1 << 20) / garbage.len());
        assert!(parse_text("bad.yaml", &text, &env).is_err(), "{garbage:?}");
    }
}

#[test]
fn a_file_that_is_not_utf_8_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.yaml");
    fs::write(&path, b"state_dir: /a\n# caf\xe9\n").unwrap();
    insta::assert_snapshot!(refused(&path), @"bad.yaml: is not UTF-8 text: line 2 holds a byte that is none; save it as UTF-8");
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(refused(&folder.path().join("bad.yaml")), @"bad.yaml: does not exist; create it, or name another with --config");
}

#[test]
fn a_folder_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.yaml");
    fs::create_dir(&path).unwrap();
    insta::assert_snapshot!(refused(&path), @"bad.yaml: is a folder; name a file");
}

#[test]
fn a_file_without_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.yaml");
    fs::write(&path, FLOW).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        eprintln!("NOT TESTED: this user (root?) may read a file of mode 0000");
        return;
    }
    assert_eq!(refused(&path), "bad.yaml: may not be read by this user; allow it to, or run as one who may");
}

/// The problems of a file on disk, its folder left out.
fn refused(path: &Path) -> String {
    let folder = format!("{}/", path.parent().unwrap().display());
    load(path, &env).expect_err("this should be refused").to_string().replace(&folder, "")
}

#[test]
fn hundreds_of_problems_are_counted() {
    let text: String = (0..251).map(|n| "k".repeat(n + 1) + ": 1\n").collect();
    let problems = parse_text("bad.yaml", &text, &env).unwrap_err();
    assert_eq!(problems.count(), 251);
    assert_eq!(problems.to_string().lines().last(), Some("... and 151 more"));
}

#[test]
fn a_problem_is_one_line() {
    insta::assert_snapshot!(bad(&process("- add: { \"a\\nb\": \"${x\\ny}\" }\n- \"e\\x1bf\": 1")), @r#"
    bad.yaml:6:24: flows[0].process[0].add.a\nb: unknown variable `${x\ny}`; known: host, file.path, file.name, record.id, record.offset, now, now.unix_ms, ec2.instance_id, ec2.instance_type, ec2.image_id, ec2.account_id, ec2.region, ec2.availability_zone, ec2.private_ip, flow, fields.NAME, ec2.tag.NAME (variables of the environment are in upper case)
    bad.yaml:7:9: flows[0].process[1].e\u{1b}f: unknown key; known here: parse, add, remove, keep, rename, drop_if, keep_if, redact, single_line, limit, emit
    "#);
    insta::assert_snapshot!(bad(&paths("\"/a[z\\u2028-\\n]\"", "")), @r#"bad.yaml:4:14: flows[0].source.paths: "/a[z\u{2028}-\n]" is not a valid pattern: invalid range; '\u{2028}' > '\n'"#);
}

#[test]
fn a_secret_is_in_no_message() {
    let keys = "access_key_id: hush-hush, secret_access_key: [hush-hush], session_token: \"hush-hush${NOPE}${x y\"";
    for text in [
        top(&format!("aws: {{ {keys} }}\n")),
        top("aws: { secret_access_key: hush-hush, access_key_id: { hush-hush } }\n"),
        top("state_dir: ${SECRET}\naws: { region: \"${SECRET} \", endpoint_url: \"${SECRET}\" }\nzzz: ${SECRET}\n"),
        flow("delivery: ${SECRET}\nbuffer: ${SECRET}\nbatch: { max_records: '${SECRET}', max_age: '${SECRET}' }"),
        paths("\"${SECRET}\"", "start_at: ${SECRET}\nmultiline: { start: \"(${SECRET}\" }"),
        destination(
            "kinesis: { stream: \"${SECRET} \", partition_key: '${SECRET}', endpoint_url: \"http://u:${SECRET}@h\" }",
        ),
    ] {
        let shown = bad(&text);
        assert!(!shown.contains("hush"), "{shown}");
    }
}

#[test]
fn static_keys_are_accepted_with_a_warning_that_does_not_show_them() {
    let config = good(&top(
        "aws: { access_key_id: \"${REGION}\", secret_access_key: hush-hush, session_token: \"${NOPE:-hush-hush}\" }\n",
    ));
    insta::assert_snapshot!(config.warnings.join("\n"), @"
    good.yaml:1:55: aws.secret_access_key: is written in the file, where whoever reads the file reads it; leave it to the SDK's chain, or write `${NAME}`
    good.yaml:1:81: aws.session_token: is written in the file, where whoever reads the file reads it; leave it to the SDK's chain, or write `${NAME}`
    ");
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn static_keys_from_the_environment_need_no_warning() {
    let flow = "kinesis: { stream: a, access_key_id: \"${SECRET}\", secret_access_key: \"${SECRET}\" }";
    let config = good(&destination(flow));
    assert_eq!(config.warnings, Vec::<String>::new());
    let keys = kinesis_of(&config.flows[0]).aws.static_keys.clone().unwrap();
    assert_eq!((keys.access_key_id.as_str(), keys.secret_access_key.as_str()), ("hush-hush", "hush-hush"));
    assert_eq!(keys.session_token, None);
}

#[test]
fn what_is_not_written_has_the_documented_default() {
    let config = good(&destination("kinesis: { stream: web-logs }"));
    assert_eq!(config.state_dir, Path::new("/var/lib/headwater"));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(config.warnings, Vec::<String>::new());
    let flow = &config.flows[0];
    assert_eq!(flow.name, "web");
    assert_eq!(flow.source.start_at, None);
    assert_eq!(flow.source.poll_interval, Duration::from_secs(1));
    assert!(flow.source.exclude.is_empty());
    assert_eq!(flow.framing.skip_header_lines, 0);
    assert_eq!(flow.framing.oversize, Oversize::Truncate);
    assert_eq!(flow.framing.partial_line_timeout, None);
    assert!(flow.framing.multiline.is_none());
    assert_eq!((flow.framing.terminator.as_slice(), flow.framing.footer.is_none()), (&b"\n"[..], true));
    assert_eq!(flow.framing.max_record, flow.destination.max_record_bytes());
    assert!(flow.pipeline.is_raw());
    let limits =
        Limits { batch_records: 500, batch_bytes: 5 << 20, batch_age: Duration::from_secs(1), buffer: 32 << 20 };
    assert_eq!(flow.limits, limits);
    assert_eq!(flow.delivery, Delivery::AtLeastOnce);
    assert_eq!(kinesis_of(flow).max_in_flight, 8);
    assert_eq!(kinesis_of(flow).aws, crate::aws::Aws::default());
}

#[test]
fn every_key_of_the_contract_is_accepted() {
    let config = good(
        r#"
state_dir: /var/lib/headwater            # checkpoints, dead letters
aws:                                     # defaults; each destination may override any of them
  region: eu-west-1                      # else the SDK's chain
  endpoint_url: http://127.0.0.1:4567
  role_arn: arn:aws:iam::111122223333:role/logs
  external_id: x
flows:
  - name: web                            # unique; the checkpoint's key
    source:
      paths: ["/var/log/nginx/**/access.log*"]   # or one string
      exclude: ["*.tmp"]
      start_at: end
      skip_header_lines: 0
      multiline: { start: '^\d{4}-', timeout: 2s, max_lines: 500 }
      max_record: 1MiB
      oversize: truncate                 # truncate | split | drop
      poll_interval: 1s
      partial_line_timeout: 5s
      truncated_record_terminator: "<CUT>\n"
      footer: 'E?OF|EOF'
    process:                             # in order; none = bytes untouched
      - parse: combined
      - parse: { regex: '^(?P<a>\S+) (?P<b>\S+)$', on_mismatch: drop }   # drop | keep_raw | dead_letter
      - parse: { json: {}, on_mismatch: dead_letter }
      - add: { host: "${host}", file: "${file.path}", id: "${record.id}" }
      - emit: json                       # json | { csv: { fields: [...] } }
    destination:
      kinesis: { stream: web-logs, partition_key: random, aggregate: false, max_in_flight: 4 }
    batch: { max_records: 500, max_bytes: 5MiB, max_age: 1s }
    buffer: 32MiB
    delivery: at_least_once              # | exactly_once
shutdown_timeout: 30s
"#,
    );
    assert_eq!(config.warnings, Vec::<String>::new());
    let flow = &config.flows[0];
    assert_eq!(flow.source.paths[0].text(), "/var/log/nginx/**/access.log*");
    assert_eq!(flow.source.exclude[0].text(), "*.tmp");
    let Start::Search(Regex::Linear(start)) = &flow.framing.multiline.as_ref().unwrap().start else { panic!() };
    assert_eq!(start.as_str(), r"^\d{4}-");
    assert_eq!(flow.framing.terminator, b"<CUT>\n");
    assert!(flow.framing.is_footer(b" EOF\n") && !flow.framing.is_footer(b"EOF 2\n"));
    assert_eq!(flow.framing.partial_line_timeout, Some(Duration::from_secs(5)));
    let kinesis = kinesis_of(flow);
    assert_eq!((kinesis.stream.as_str(), kinesis.max_in_flight), ("web-logs", 4));
    insta::assert_debug_snapshot!(kinesis.aws, @r#"
    Aws {
        region: Some(
            "eu-west-1",
        ),
        region_otherwise: None,
        endpoint_url: Some(
            "http://127.0.0.1:4567",
        ),
        role_arn: Some(
            "arn:aws:iam::111122223333:role/logs",
        ),
        external_id: Some(
            "x",
        ),
        session_name: None,
        sts_endpoint_url: None,
        fips: None,
        dual_stack: None,
        profile: None,
        ca_bundle: None,
        static_keys: None,
    }
    "#);
    assert!(!flow.pipeline.is_raw());
}

/// The steps of a list, as `process` reads them.
fn steps(list: &str) -> Vec<Step> {
    let node = tree::parse(list).unwrap();
    let mut reader = read::Reader::new("steps.yaml".into(), &env);
    let steps = process::process(&mut reader, &read::Value { key: "process".to_owned(), node: &node }, "web");
    assert_eq!(reader.problems, []);
    steps
}

#[test]
fn steps_are_read_in_order() {
    let steps = steps(
        r#"
- parse: combined
- parse: { regex: '^(?P<a>\S+)$', on_mismatch: drop }
- parse: { json: {}, on_mismatch: dead_letter }
- parse: { common: }
- add: { host: "${host}", n: 5 }
- emit: { csv: { fields: [a, host] } }
"#,
    );
    insta::assert_snapshot!(steps.iter().map(|step| format!("{step:?}")).collect::<Vec<_>>().join("\n"), @r#"
    Parse { format: Combined, refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: KeepRaw }
    Parse { format: Regex(Linear(Regex("^(?P<a>\\S+)$"))), refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: Drop }
    Parse { format: Json, refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: DeadLetter }
    Parse { format: Common, refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: KeepRaw }
    Add([("host", Text(Template([Variable(Host)]))), ("n", Json([Json("5")]))])
    Emit(Csv { fields: ["a", "host"], delimiter: 44, quote: Minimal, null: "" })
    "#);
}

#[test]
fn every_format_is_read_with_and_without_what_it_may_be_told() {
    let steps = steps(
        r#"
- parse: logfmt
- parse: key_value
- parse: apache_error
- parse: nginx_error
- parse: syslog_rfc3164
- parse: syslog_rfc5424
- parse: cri
- parse: docker
- parse: { csv: { fields: [a, b] } }
- parse: { csv: { header: true, delimiter: "\t", quote: "'", trim: true } }
- parse: { key_value: { field_delimiter: "; ", value_delimiter: ":", trim: false } }
- parse: { logfmt: {}, types: { n: int, f: float, b: bool }, null_if: [ "-", "" ] }
- parse: { regex: '(?P<a>.)(?=b)', null_if: "-" }
"#,
    );
    insta::assert_snapshot!(steps.iter().map(|step| format!("{step:?}")).collect::<Vec<_>>().join("\n"), @r#"
    Parse { format: Logfmt, refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: KeepRaw }
    Parse { format: KeyValue(Options { field_delimiter: " ", value_delimiter: "=", trim: true }), refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: KeepRaw }
    Parse { format: ApacheError, refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: KeepRaw }
    Parse { format: NginxError, refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: KeepRaw }
    Parse { format: SyslogRfc3164, refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: KeepRaw }
    Parse { format: SyslogRfc5424, refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: KeepRaw }
    Parse { format: Cri, refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: KeepRaw }
    Parse { format: Docker, refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: KeepRaw }
    Parse { format: Csv(Options { columns: Named(["a", "b"]), delimiter: 44, quote: 34, trim: false }), refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: KeepRaw }
    Parse { format: Csv(Options { columns: Header, delimiter: 9, quote: 39, trim: true }), refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: KeepRaw }
    Parse { format: KeyValue(Options { field_delimiter: "; ", value_delimiter: ":", trim: false }), refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: KeepRaw }
    Parse { format: Logfmt, refine: Refine { types: [("n", Int), ("f", Float), ("b", Bool)], timestamp: None, null_if: ["-", ""] }, on_mismatch: KeepRaw }
    Parse { format: Regex(Backtracking((?P<a>.)(?=b))), refine: Refine { types: [], timestamp: None, null_if: ["-"] }, on_mismatch: KeepRaw }
    "#);
}

#[test]
fn patterns_and_times_are_read() {
    let steps = steps(
        r#"
- parse: { grok: '^%{IP:client.ip} %{NUMBER:n:int}' }
- parse: { grok: { pattern: '%{MINE:a}', patterns: { MINE: '[a-z]+' } }, on_mismatch: drop }
- parse: { json: , timestamp: { field: t, format: '%Y-%m-%d %H:%M:%S', timezone: "+02:00", to: time } }
- parse: { json: , timestamp: { field: t, format: httpdate } }
"#,
    );
    assert_eq!(steps.len(), 4);
    assert!(steps.iter().all(|step| matches!(step, Step::Parse { .. })));
}

#[test]
fn every_step_is_read() {
    let steps = steps(
        r#"
- single_line: true
- single_line: { join: "", trim: false }
- limit: { one_in: 10 }
- redact: { pattern: '(\d{4})\d+', replacement: '$1***' }
- parse: { json: {}, on_mismatch: drop }
- add: { a: 1.10, b: yes, c: true, d: null, e: "1", f: 0x1F, g: ~, h: -1e3, i: !!str 5, j: 01, k: "${NUMBER}" }
- add:
    nested: { host: "${host}", list: [1, "2", x, [], {}], "a\"b": "${fields.n}" }
- drop_if: { field: status, in: [200, "204"] }
- keep_if: [{ field: n, ge: 1, lt: 1e3 }, { matches: '^x' }, { field: z, exists: false }]
- drop_if: { any: [{ not: { field: a, equals: true } }, { all: [{ matches: b }] }] }
- remove: x
- keep: [a, b]
- rename: { a: b, b: c }
- redact: { field: user, hash: { key: "${SECRET}" } }
- redact: { field: token }
- limit: { per_second: 5 }
"#,
    );
    insta::assert_snapshot!(steps.iter().map(|step| format!("{step:?}")).collect::<Vec<_>>().join("\n"), @r#"
    SingleLine(SingleLine { join: " ", trim: true })
    SingleLine(SingleLine { join: "", trim: false })
    Limit(OneIn(10))
    Redact(Matches { field: None, pattern: Linear(Regex("(\\d{4})\\d+")), with: Text(Replacement([Group(1), Text("***")])) })
    Parse { format: Json, refine: Refine { types: [], timestamp: None, null_if: [] }, on_mismatch: Drop }
    Add([("a", Json([Json("1.10")])), ("b", Text(Template([Text("yes")]))), ("c", Json([Json("true")])), ("d", Json([Json("null")])), ("e", Text(Template([Text("1")]))), ("f", Text(Template([Text("0x1F")]))), ("g", Json([Json("null")])), ("h", Json([Json("-1e3")])), ("i", Text(Template([Text("5")]))), ("j", Text(Template([Text("01")]))), ("k", Text(Template([Text("7")])))])
    Add([("nested", Json([Json("{\"host\":"), Text(Template([Variable(Host)])), Json(",\"list\":[1,"), Text(Template([Text("2")])), Json(","), Text(Template([Text("x")])), Json(",[],{}],\"a\\\"b\":"), Text(Template([Field("n")])), Json("}")]))])
    DropIf(Field { name: "status", test: In(["200", "204"]) })
    KeepIf(All([All([Field { name: "n", test: Compare(AtLeast, Number { whole: Some(1), float: 1.0 }) }, Field { name: "n", test: Compare(Less, Number { whole: None, float: 1000.0 }) }]), Line(Linear(Regex("^x"))), Field { name: "z", test: Exists(false) }]))
    DropIf(Any([Not(Field { name: "a", test: In(["true"]) }), All([Line(Linear(Regex("b")))])]))
    Remove(["x"])
    Keep(["a", "b"])
    Rename([("a", "b"), ("b", "c")])
    Redact(Field { field: "user", with: Hash(Key(..)) })
    Redact(Field { field: "token", with: Text(Replacement([Text("***")])) })
    Limit(PerSecond(5))
    "#);
}

#[test]
fn a_chain_says_whether_it_needs_ec2() {
    for (value, ec2, tags) in [
        ("\"${host}\"", false, false),
        ("\"x${ec2.region}\"", true, false),
        ("[{ a: \"${ec2.tag.Name}\" }]", true, true),
    ] {
        let pipeline = Pipeline::new(steps(&format!("- add: {{ x: {value} }}")));
        assert_eq!((pipeline.needs_ec2(), pipeline.needs_ec2_tags()), (ec2, tags), "{value}");
    }
}

#[test]
fn steps_that_say_too_little_or_too_much() {
    insta::assert_snapshot!(bad(&process(
        r#"- drop_if: {}
- drop_if: []
- drop_if: x
- keep_if: { field: a }
- keep_if: { equals: "200" }
- keep_if: { field: a, equal: "200" }
- keep_if: { field: a, gt: many }
- keep_if: { field: a, in: [] }
- keep_if: { matches: '(' }
- keep_if: { matches: '(?<=a)(' }
- keep_if: { field: a, exists: maybe }
- drop_if: { any: [] }
- drop_if: { field: a, not: { matches: x } }
- redact: {}
- redact: { replacement: x }
- redact: { field: "" }
- redact: { pattern: '(a)', replacement: '$2' }
- redact: { field: a, replacement: x, hash: { key: "${SECRET}" } }
- redact: { field: a, hash: {} }
- redact: { field: a, hash: { key: "${EMPTY}" } }
- redact: { field: a, hash: { secret: "hush-hush" } }
- single_line: maybe
- single_line: { join: "\n" }
- single_line: { joined: x }
- limit: 5
- limit: {}
- limit: { one_in: 0 }
- limit: { one_in: 2, per_second: 3 }
- limit: { per_minute: 3 }
- remove: []
- keep: [""]
- rename: {}
- rename: { a: }
- add: { x: { y: "${hots}" }, z: "${ec2.instance}" }
"#
    )), @r#"
    bad.yaml:6:18: flows[0].process[0].drop_if: asks nothing; write a test, like `{ field: status, equals: "200" }` or `{ matches: '...' }`
    bad.yaml:7:18: flows[0].process[1].drop_if: has no condition; write at least one, like `- { field: status, equals: "200" }`
    bad.yaml:8:18: flows[0].process[2].drop_if: must be a mapping (`key: value` lines), not a single value
    bad.yaml:9:18: flows[0].process[3].keep_if: asks nothing; write a test, like `{ field: status, equals: "200" }` or `{ matches: '...' }`
    bad.yaml:10:28: flows[0].process[4].keep_if.equals: `equals` needs the field that it is asked of; write `field: NAME` beside it
    bad.yaml:11:30: flows[0].process[5].keep_if.equal: unknown key; did you mean `equals`?
    bad.yaml:12:34: flows[0].process[6].keep_if.gt: "many" is not a number; write one like 500, -1 or 0.5
    bad.yaml:13:34: flows[0].process[7].keep_if.in: has no value to compare with; write at least one, like `in: [GET, HEAD]`
    bad.yaml:14:29: flows[0].process[8].keep_if.matches: "(" is not a valid pattern: at character 1: unclosed group
    bad.yaml:15:29: flows[0].process[9].keep_if.matches: "(?<=a)(" is not a valid pattern; it has look-around or back-references, and something in it is wrong
    bad.yaml:16:38: flows[0].process[10].keep_if.exists: "maybe" is neither true nor false; write one of them
    bad.yaml:17:25: flows[0].process[11].drop_if.any: has no condition; write at least one, like `- { field: status, equals: "200" }`
    bad.yaml:18:18: flows[0].process[12].drop_if: asks nothing; write a test, like `{ field: status, equals: "200" }` or `{ matches: '...' }`
    bad.yaml:19:17: flows[0].process[13].redact: does not say what to hide; write a `field`, a `pattern`, or both, like `{ field: token }` or `{ pattern: '\d{16}' }`
    bad.yaml:20:17: flows[0].process[14].redact: does not say what to hide; write a `field`, a `pattern`, or both, like `{ field: token }` or `{ pattern: '\d{16}' }`
    bad.yaml:21:26: flows[0].process[15].redact.field: "" is no name of a field; write one
    bad.yaml:22:48: flows[0].process[16].redact.replacement: "$2" names the group `2`, which the pattern does not have; write `$$` for a dollar
    bad.yaml:23:51: flows[0].process[17].redact.hash: stands beside `replacement`; write only one of the two
    bad.yaml:24:35: flows[0].process[18].redact.hash.key: is missing; write a secret of your own, like `key: "${REDACT_KEY}"`
    bad.yaml:25:42: flows[0].process[19].redact.hash.key: is empty; write a value, or remove the key
    bad.yaml:26:35: flows[0].process[20].redact.hash.key: is missing; write a secret of your own, like `key: "${REDACT_KEY}"`
    bad.yaml:26:37: flows[0].process[20].redact.hash.secret: unknown key; known here: key
    bad.yaml:27:22: flows[0].process[21].single_line: "maybe" is neither true nor false; write one of them
    bad.yaml:28:30: flows[0].process[22].single_line.join: "\n" holds a line break, and the record is to be a single line; write it without
    bad.yaml:29:24: flows[0].process[23].single_line.joined: unknown key; did you mean `join`?
    bad.yaml:30:16: flows[0].process[24].limit: must be a mapping (`key: value` lines), not a single value
    bad.yaml:31:16: flows[0].process[25].limit: names no single limit; write exactly one of `one_in: N` and `per_second: N`
    bad.yaml:32:26: flows[0].process[26].limit.one_in: "0" is out of range; it must be 1 to 1000000000
    bad.yaml:33:16: flows[0].process[27].limit: names no single limit; write exactly one of `one_in: N` and `per_second: N`
    bad.yaml:34:18: flows[0].process[28].limit.per_minute: unknown key; known here: one_in, per_second
    bad.yaml:35:17: flows[0].process[29].remove: names no field; write at least one, or remove the step
    bad.yaml:36:16: flows[0].process[30].keep[0]: "" is no name of a field; write one
    bad.yaml:37:17: flows[0].process[31].rename: renames nothing; write `rename: { OLD: NEW }`, or remove the step
    bad.yaml:38:20: flows[0].process[32].rename.a: has no value; write one, or remove the key
    bad.yaml:39:24: flows[0].process[33].add.x.y: unknown variable `${hots}`; did you mean `${host}`?
    bad.yaml:39:40: flows[0].process[33].add.z: unknown variable `${ec2.instance}`; did you mean `${ec2.instance_id}`?
    "#);
}

#[test]
fn steps_in_an_order_that_cannot_work() {
    insta::assert_snapshot!(bad(&process(
        r#"- drop_if: { field: status, equals: "200" }
- keep_if: { matches: x }
- redact: { pattern: x }
- remove: a
- parse: json
- redact: { pattern: x }
- single_line: true
- drop_if: { field: status, equals: "200" }
- add: { a: b }
- emit: raw
"#
    )), @"
    bad.yaml:6:9: flows[0].process[0]: `drop_if` asks for a field before `parse` has found any; move it after `parse`
    bad.yaml:9:9: flows[0].process[3]: `remove` asks for a field before `parse` has found any; move it after `parse`
    bad.yaml:9:9: flows[0].process[3]: `remove` works on fields, which `emit: raw` does not send; write `emit: json`, or remove the step
    bad.yaml:11:9: flows[0].process[5]: `redact` works on fields, which `emit: raw` does not send; write `emit: json`, or remove the step
    bad.yaml:12:9: flows[0].process[6]: `single_line` works on fields, which `emit: raw` does not send; write `emit: json`, or remove the step
    bad.yaml:14:9: flows[0].process[8]: `add` works on fields, which `emit: raw` does not send; write `emit: json`, or remove the step
    ");
}

#[test]
fn emit_is_told_too_much() {
    insta::assert_snapshot!(bad(&process(
        r"- emit: { json: { prety: true } }
- emit: xml
- emit: { raw: {}, json: {} }
- emit: { csv: { fields: [a], quote: some, null: 'a,b' } }
"
    )), @r#"
    bad.yaml:6:25: flows[0].process[0].emit.json.prety: unknown key; did you mean `pretty`?
    bad.yaml:7:9: flows[0].process[1]: `emit` was already written; only one is allowed, as the last step
    bad.yaml:7:15: flows[0].process[1].emit: "xml" is no known form; write json, raw, or { csv: { fields: [...] } }
    bad.yaml:8:9: flows[0].process[2]: `emit` was already written; only one is allowed, as the last step
    bad.yaml:8:15: flows[0].process[2].emit: names no single form; write exactly one of json, csv and raw
    bad.yaml:9:9: flows[0].process[3]: `emit` was already written; only one is allowed, as the last step
    bad.yaml:9:44: flows[0].process[3].emit.csv.quote: "some" is not known; write minimal or all or none
    bad.yaml:9:56: flows[0].process[3].emit.csv.null: "a,b" holds the delimiter, a quote or a line break, and is never quoted; write it without
    "#);
}

#[test]
fn what_parse_sends_as_it_came_is_not_redacted_and_a_warning_says_so() {
    let text =
        |on_mismatch: &str| process(&format!("- parse: {{ json: {{}}{on_mismatch} }}\n- redact: {{ field: a }}\n"));
    insta::assert_snapshot!(good(&text("")).warnings.join("\n"), @"good.yaml:7:9: flows[0].process[1]: a record that the `parse` before it cannot read is sent as it came, not redacted; give that `parse` an `on_mismatch` of drop or dead_letter, or redact before it, without a field");
    assert_eq!(good(&text(", on_mismatch: drop")).warnings, [""; 0]);
}

#[test]
fn a_key_of_a_hash_is_in_no_message() {
    let text = |key: &str| process(&format!("- redact: {{ field: a, hash: {{ key: {key} }} }}\n"));
    let warnings = good(&text("hush-hush")).warnings.join("\n");
    insta::assert_snapshot!(warnings, @"good.yaml:6:42: flows[0].process[0].redact.hash.key: is written in the file, where whoever reads the file reads it; write `${NAME}`, and put it into the environment of the service");
    assert_eq!(good(&text("'${SECRET}'")).warnings, [""; 0]);
    let config = good(&text("'${SECRET}'"));
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn emit_is_told_how_to_write() {
    let form = |delimiter, quote, null: &str| Emit::Csv {
        fields: vec!["a".to_owned()],
        delimiter,
        quote,
        null: null.to_owned(),
    };
    let csv = |delimiter| form(delimiter, Quote::Minimal, "");
    for (written, emit) in [
        ("json", Emit::Json),
        ("{ json: {} }", Emit::Json),
        ("{ csv: { fields: [a] } }", csv(b',')),
        (r#"{ csv: { fields: [a], delimiter: "\t" } }"#, csv(b'\t')),
        ("{ csv: { fields: [a], delimiter: ; } }", csv(b';')),
        (r"{ csv: { fields: [a], quote: all, null: '\N' } }", form(b',', Quote::Always, r"\N")),
        ("{ csv: { fields: [a], quote: none } }", form(b',', Quote::Never, "")),
        ("{ json: { pretty: true } }", Emit::PrettyJson),
        ("raw", Emit::Raw),
        ("{ raw: }", Emit::Raw),
    ] {
        assert!(
            matches!(&steps(&format!("- emit: {written}"))[..], [Step::Emit(found)] if *found == emit),
            "{written}"
        );
    }
}

#[test]
fn a_destination_overrides_the_aws_defaults_key_by_key() {
    let text = destination(
        "kinesis: { stream: a, region: us-east-1, profile: p, ca_bundle: /ca.pem, external_id: e, \
         endpoint_url: 'https://[::1]:4567/x' }",
    );
    let flow =
        good_flow(&format!("aws: {{ region: eu-west-1, role_arn: 'arn:aws:iam::111122223333:role/a/b' }}\n{text}"));
    let aws = &kinesis_of(&flow).aws;
    assert_eq!(aws.region.as_deref(), Some("us-east-1"));
    assert_eq!(aws.role_arn.as_deref(), Some("arn:aws:iam::111122223333:role/a/b"));
    assert_eq!(aws.profile.as_deref(), Some("p"));
    assert_eq!(aws.external_id.as_deref(), Some("e"));
    assert_eq!(aws.ca_bundle.as_deref(), Some(Path::new("/ca.pem")));
    assert_eq!(aws.endpoint_url.as_deref(), Some("https://[::1]:4567/x"));
}

#[test]
fn an_external_id_without_a_role_is_only_odd() {
    let config = good(&destination("kinesis: { stream: a, external_id: e }"));
    assert_eq!(
        config.warnings,
        ["good.yaml:5:42: flows[0].destination.kinesis.external_id: has no effect without a `role_arn`"]
    );
}

#[test]
fn a_stream_may_be_an_arn() {
    let arn = "arn:aws-cn:kinesis:cn-north-1:111122223333:stream/a.b_c-D";
    let flow = good_flow(&destination(&format!("kinesis: {{ stream: '{arn}' }}")));
    assert_eq!(kinesis_of(&flow).stream, arn);
}

#[test]
fn stdout_needs_no_braces() {
    for text in ["stdout:", "stdout: {}", "stdout: ~"] {
        assert_eq!(good_flow(&destination(text)).destination, Destination::Stdout);
    }
}

#[test]
fn sizes_are_read_as_people_write_them() {
    for (text, bytes) in [
        ("5MiB", 5 << 20),
        ("32MB", 32_000_000),
        ("1 GiB", 1 << 30),
        ("2048KiB", 2 << 20),
        ("1048576B", 1 << 20),
        ("2000000", 2_000_000),
        ("2gb", 2_000_000_000),
        ("1200kB", 1_200_000),
        ("\"${NUMBER}MiB\"", 7 << 20),
    ] {
        let text = flow(&format!("buffer: {text}\nbatch: {{ max_bytes: 1KiB }}"));
        assert_eq!(good_flow(&text).limits.buffer, bytes, "{text}");
    }
}

#[test]
fn durations_are_read_as_people_write_them() {
    for (text, ms) in
        [("1s", 1_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("59m30s", 3_570_000), ("0s", 0), ("0", 0)]
    {
        let config = good(&top(&format!("shutdown_timeout: {text}\n")));
        assert_eq!(config.shutdown_timeout, Duration::from_millis(ms), "{text}");
    }
}

#[test]
fn the_environment_fills_every_value() {
    let flow = good_flow(&destination_and(
        "kinesis: { stream: 'a-${NUMBER}', region: '${REGION}', max_in_flight: '${NUMBER}' }",
        "batch: { max_records: '${NOPE:-12}', max_age: '${EMPTY:-5s}' }",
    ));
    assert_eq!(kinesis_of(&flow).stream, "a-7");
    assert_eq!(kinesis_of(&flow).aws.region.as_deref(), Some("eu-west-1"));
    assert_eq!(kinesis_of(&flow).max_in_flight, 7);
    assert_eq!(flow.limits.batch_records, 12);
    assert_eq!(flow.limits.batch_age, Duration::from_secs(5));
}

#[test]
fn a_doubled_dollar_is_no_variable() {
    let flow = good_flow(&paths("'/a/$${NOPE}/$$/$x/*'", "exclude: '$$${NUMBER}'"));
    assert_eq!(flow.source.paths[0].text(), "/a/${NOPE}/$$/$x/*");
    assert_eq!(flow.source.exclude[0].text(), "$${NUMBER}");
}

#[test]
fn what_the_environment_adds_makes_another_configuration() {
    let digest = |steps: &str, tenant: &'static str| {
        let destination = "kinesis: { stream: a, partition_key: { template: '${TENANT:-none}-${fields.user}' } }";
        let text = format!(
            "flows:\n  - name: a\n    source: {{ paths: /a }}\n    process: [{steps}]\n    destination: {{ {destination} }}\n"
        );
        let env = |name: &str| (name == "TENANT" && !tenant.is_empty()).then(|| tenant.to_owned());
        parse_text("env.yaml", &text, &env).expect("a good configuration").flows[0].digest
    };
    let (json, more) = ("{ parse: json }", "{ parse: json }, { add: { t: '${TENANT:-none}' } }");
    assert_eq!(digest(json, "one"), digest(json, "one"));
    assert_ne!(digest(json, "one"), digest(json, "two"));
    assert_ne!(digest(json, ""), digest(json, "two"));
    assert_ne!(digest(more, "one"), digest(more, "two"));
}

#[test]
fn a_template_mixes_text_variables_and_the_environment() {
    let template = |written| env::template(written, &env, "web").unwrap().0;
    let text = |text: &str| Part::Text(text.to_owned());
    let [host, name, offset, tag] =
        [Variable::Host, Variable::FileName, Variable::RecordOffset, Variable::Ec2Tag("Name of it".to_owned())]
            .map(Part::Variable);
    let parts = [host, text(":"), name, text("@eu-west-1-${x}web"), offset];
    assert_eq!(template("${host}:${file.name}@${REGION}-$${x}${flow}${record.offset}"), parts);
    assert_eq!(template("${fields.a b}${ec2.tag.Name of it}"), [Part::Field("a b".to_owned()), tag]);
    assert_eq!(template(""), []);
}

#[test]
fn max_record_is_clamped_to_what_the_destination_takes() {
    let text = |size: &str, to: &str| {
        format!("flows: [{{ name: a, source: {{ paths: /a, max_record: {size} }}, destination: {to} }}]")
    };
    let kinesis = "{ kinesis: { stream: a } }";
    let most = (1 << 20) - 10;
    for (size, to, expected, warnings) in [
        ("64B", kinesis, 64, 0),
        ("1MiB", kinesis, most, 0),
        ("2MiB", kinesis, most, 1),
        ("2MiB", "{ stdout: }", 2 << 20, 0),
        ("10MiB", "{ stdout: }", 10 << 20, 0),
    ] {
        let config = good(&text(size, to));
        assert_eq!(config.flows[0].framing.max_record, expected, "{size} {to}");
        assert_eq!(config.warnings.len(), warnings, "{size} {to}: {:?}", config.warnings);
    }
}

#[test]
fn start_at_tells_unsaid_from_said() {
    assert_eq!(good_flow(&source("start_at: end")).source.start_at, Some(StartAt::End));
    assert_eq!(good_flow(&source("start_at: beginning")).source.start_at, Some(StartAt::Beginning));
}

#[test]
fn sections_may_be_left_empty() {
    let text = format!("aws:\n{FLOW}    process:\n    batch:\n");
    assert!(good_flow(&text).pipeline.is_raw());
}

#[test]
fn anchors_aliases_and_merge_keys_work() {
    let config = good(
        "flows:
  - &web
    name: web
    source: { paths: &paths [/a.log] }
    destination: { kinesis: &stream { stream: a, max_in_flight: 2 } }
  - <<: *web
    name: app
    destination: { kinesis: { <<: [*stream], max_in_flight: 3 } }
",
    );
    assert_eq!(config.flows[1].name, "app");
    assert_eq!(config.flows[1].source.paths[0].text(), "/a.log");
    let kinesis = kinesis_of(&config.flows[1]);
    assert_eq!((kinesis.stream.as_str(), kinesis.max_in_flight), ("a", 3));
}

#[test]
fn json_and_a_byte_order_mark_are_yaml_too() {
    let json = r#"{"flows": [{"name": "a", "source": {"paths": ["/a"]}, "destination": {"stdout": null}}]}"#;
    assert_eq!(good(json).flows.len(), 1);
    assert_eq!(good(&format!("\u{feff}{FLOW}")).flows.len(), 1);
    assert_eq!(good(&FLOW.replace('\n', "\r\n")).flows.len(), 1);
    assert_eq!(good(&format!("---\n{FLOW}...\n")).flows.len(), 1);
}

/// A main file and files of `conf.d`, as the default layout has them.
fn layout(main: &str, more: &[(&str, &str)]) -> Result<Config, String> {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("conf.d");
    fs::create_dir(&folder).unwrap();
    fs::write(root.path().join("headwater.yaml"), main).unwrap();
    for (name, text) in more {
        fs::write(folder.join(name), text).unwrap();
    }
    load_with_folder(&root.path().join("headwater.yaml"), Some(&folder), &env)
        .map_err(|problems| problems.to_string().replace(&format!("{}/", root.path().display()), ""))
}

/// One flow of this name.
fn named(name: &str) -> String {
    FLOW.replace("web", name)
}

#[test]
fn flows_of_a_folder_follow_those_of_the_main_file_by_file_name() {
    let kinesis = "flows: [{ name: k, source: { paths: /k }, destination: { kinesis: { stream: k } } }]";
    let more = [
        ("b.yaml", named("b")),
        ("a.yaml", kinesis.to_owned()),
        ("c.yml", "}".to_owned()),
        (".d.yaml", "}".to_owned()),
    ];
    let more: Vec<(&str, &str)> = more.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let config = layout(&format!("aws: {{ region: eu-west-1 }}\n{}", named("z")), &more).unwrap();
    let names: Vec<&str> = config.flows.iter().map(|flow| flow.name.as_str()).collect();
    assert_eq!(names, ["z", "k", "b"]);
    assert_eq!(kinesis_of(&config.flows[1]).aws.region.as_deref(), Some("eu-west-1"));
}

#[test]
fn flows_may_all_stand_in_the_folder() {
    for main in ["", "flows:\n", "state_dir: /a\n"] {
        assert_eq!(layout(main, &[("a.yaml", FLOW)]).unwrap().flows.len(), 1);
    }
}

#[test]
fn a_missing_folder_is_an_empty_one() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("headwater.yaml");
    fs::write(&path, FLOW).unwrap();
    assert_eq!(load_with_folder(&path, Some(&root.path().join("conf.d")), &env).unwrap().flows.len(), 1);
}

#[test]
fn mistakes_of_all_files_are_reported_in_the_order_of_the_files() {
    let shown = layout(
        "state_dir: x\n",
        &[("b.yaml", "flows:\n  - name: [\n"), ("a.yaml", "aws: {}\nflow: []\n"), ("c.yaml", FLOW), ("d.yaml", FLOW)],
    );
    insta::assert_snapshot!(shown.unwrap_err(), @r#"
    headwater.yaml:1:12: state_dir: "x" is not an absolute path; begin it with `/`
    conf.d/a.yaml:1:1: aws: unknown key here; it belongs to the top level
    conf.d/a.yaml:2:1: flow: unknown key; did you mean `flows`?
    conf.d/b.yaml:2:11: `[` is opened here and never closed
    conf.d/d.yaml:2:11: flows[0].name: another flow has this name: conf.d/c.yaml:2:11; it is the checkpoint's key, so give each its own
    "#);
}

#[test]
fn an_empty_layout_has_no_flow() {
    let warnings = layout("state_dir: /a\n", &[("a.yaml", "")]).unwrap().warnings.join("\n");
    assert!(warnings.contains("headwater.yaml:1:1: flows: there is no flow"), "{warnings}");
}

#[test]
fn every_example_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config-examples");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let config = load(&path, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config.warnings, Vec::<String>::new());
        count += 1;
    }
    assert!(count >= 5);
}

/// Lines that begin with `#` and no single space behind it are settings that were taken out.
#[test]
fn the_installed_file_is_valid_as_it_stands_and_with_all_of_it_switched_on() {
    let text = include_str!("../../packaging/headwater.yaml");
    let config = good(text);
    assert!(config.flows.is_empty());
    assert_eq!(config.state_dir, good("").state_dir);
    let is_setting = |l: &&str| !l.starts_with(' ') || l.starts_with("  ");
    let on: Vec<&str> = text.lines().map(|line| line.strip_prefix('#').filter(is_setting).unwrap_or(line)).collect();
    let config = good(&on.join("\n"));
    assert_eq!((config.flows.len(), config.warnings), (1, Vec::new()));
}

#[test]
fn metrics() {
    let cloudwatch = |keys: &str| bad(&top(&format!("metrics:\n  cloudwatch: {{ {keys} }}\n")));
    insta::assert_snapshot!(bad(&top("metrics: { cloudwach: {} }\n")), @"bad.yaml:1:12: metrics.cloudwach: unknown key; did you mean `cloudwatch`?");
    insta::assert_snapshot!(cloudwatch("namespace: AWS/Mine, interval: 100ms, stream: x"), @r#"
    bad.yaml:2:28: metrics.cloudwatch.namespace: "AWS/Mine" begins with `AWS/`, which belongs to AWS; choose another
    bad.yaml:2:48: metrics.cloudwatch.interval: "100ms" is out of range; it must be 1s to 1h
    bad.yaml:2:55: metrics.cloudwatch.stream: unknown key here; it belongs to kinesis
    "#);
    insta::assert_snapshot!(cloudwatch("namespace: 'a b', endpoint_url: here"), @r#"
    bad.yaml:2:28: metrics.cloudwatch.namespace: "a b" is no namespace; it has 1 to 255 letters, digits, `.`, `_`, `-`, `/`, `#` or `:`
    bad.yaml:2:49: metrics.cloudwatch.endpoint_url: "here" is not an endpoint; it must look like https://HOST or http://HOST:PORT
    "#);
    insta::assert_snapshot!(cloudwatch("dimensions: [Instance]"), @"bad.yaml:2:29: metrics.cloudwatch.dimensions: must be a mapping (`key: value` lines), not a list");
    insta::assert_snapshot!(cloudwatch("dimensions: { Destination: x, ':a': x, Instance: ' ' }"), @r#"
    bad.yaml:2:31: metrics.cloudwatch.dimensions.Destination: this dimension is there already; choose another name
    bad.yaml:2:47: metrics.cloudwatch.dimensions.:a: is no name of a dimension; it has 1 to 255 printable ASCII characters and does not begin with `:`
    bad.yaml:2:66: metrics.cloudwatch.dimensions.Instance: is no value of a dimension; it has 1 to 255 printable ASCII characters
    "#);
    insta::assert_snapshot!(cloudwatch("dimensions: { Instance: '${file.path}', Stage: '${NOT_SET}', Place: Zürich }"), @r#"
    bad.yaml:2:41: metrics.cloudwatch.dimensions.Instance: unknown variable `${file.path}`; a dimension may hold `${host}` and `${ec2.instance_id}`
    bad.yaml:2:64: metrics.cloudwatch.dimensions.Stage: the environment variable `NOT_SET` is not set; set it, or write a default: `${NOT_SET:-...}`
    bad.yaml:2:85: metrics.cloudwatch.dimensions.Place: is no value of a dimension; it has 1 to 255 printable ASCII characters
    "#);
    insta::assert_snapshot!(cloudwatch("dimensions: { a: x, b: x, c: x, d: x, e: x, f: x, g: x, h: x, i: x, j: x }"), @"bad.yaml:2:29: metrics.cloudwatch.dimensions: holds 10 dimensions; at most 9 are allowed");
}

#[test]
fn metrics_have_the_documented_defaults_and_take_aws_from_the_top() {
    use crate::telemetry::cloudwatch::Part;
    assert_eq!(good(FLOW).metrics, None);
    let text = "aws: { region: eu-west-1, endpoint_url: http://localhost:1 }\nmetrics: { cloudwatch: {} }\n";
    let metrics = good(&top(text)).metrics.expect("they are on");
    assert_eq!((metrics.namespace.as_str(), metrics.interval), ("Headwater", Duration::from_secs(30)));
    assert_eq!(metrics.aws.region.as_deref(), Some("eu-west-1"));
    assert_eq!(metrics.aws.endpoint_url.as_deref(), Some("http://localhost:1"));
    assert!(metrics.dimensions.is_empty());
    let text = "metrics: { cloudwatch: { namespace: Mine/Logs, interval: 1m, region: us-east-1,
                dimensions: { Instance: '${ec2.instance_id}', Place: 'x-${host}-${NUMBER}' } } }\n";
    let metrics = good(&top(text)).metrics.expect("they are on");
    assert_eq!((metrics.namespace.as_str(), metrics.interval), ("Mine/Logs", Duration::from_mins(1)));
    assert_eq!(metrics.aws.region.as_deref(), Some("us-east-1"));
    let text = |text: &str| Part::Text(text.to_owned());
    assert_eq!(
        metrics.dimensions,
        [
            ("Instance".to_owned(), vec![Part::InstanceId]),
            ("Place".to_owned(), vec![text("x-"), Part::Host, text("-7")])
        ]
    );
}

#[test]
fn the_manual_names_every_key() {
    let manual = include_str!("../../docs/CONFIGURATION.md");
    for section in keys::ALL {
        for key in section.keys {
            assert!(manual.contains(&format!("`{key}`")), "{key} of {} is not in the manual", section.name);
        }
    }
    for variable in env::variables() {
        assert!(manual.contains(&format!("`${{{variable}}}`")), "{variable} is not in the manual");
    }
}

#[test]
fn a_flow_is_the_same_wherever_it_is_written_and_another_when_anything_of_it_changes() {
    let flow = |name: &str, more: &str, keys: &str| {
        format!(
            "- name: {name}\n  source: {{ paths: /a }}\n  destination: {{ kinesis: {{ stream: s{keys} }} }}\n{more}\n"
        )
    };
    let of_a = |text: &str| {
        let config = good(text);
        config.flows.into_iter().find(|flow| flow.name == "a").expect("there is one").revision()
    };
    let (a, b) = (flow("a", "", ""), flow("b", "", ""));
    let aws = "aws: { region: r }\nflows:\n";
    let one = of_a(&format!("{aws}{a}"));
    for same in [
        format!("{aws}{b}{a}"),
        format!("# about\n{aws}\n\n{a}{b}"),
        format!("shutdown_timeout: 3s\n{aws}{a}"),
        format!("metrics: {{ cloudwatch: {{ interval: 60s }} }}\n{aws}{a}"),
    ] {
        assert!(of_a(&same) == one, "{same}");
    }
    for other in [
        format!("{aws}{}", flow("a", "  batch: { max_age: 2s }", "")),
        format!("{aws}{}", flow("a", "  buffer: 64MiB", "")),
        format!("{aws}{}", flow("a", "  process: [{ emit: json }]", "")),
        format!("{aws}{}", flow("a", "  delivery: exactly_once", "")),
        format!("{aws}{}", flow("a", "", ", max_in_flight: 4")),
        format!("{aws}{}", flow("a", "  process: [{ add: { n: 1 } }]", "")),
        format!("{aws}{}", flow("a", "  process: [{ add: { n: '1' } }]", "")),
        format!("aws: {{ region: r2 }}\nflows:\n{a}"),
        format!("aws: {{ region: r, access_key_id: a, secret_access_key: \"${{SECRET}}\" }}\nflows:\n{a}"),
    ] {
        assert!(of_a(&other) != one, "{other}");
    }
    let added =
        |value: &str| of_a(&format!("{aws}{}", flow("a", &format!("  process: [{{ add: {{ n: {value} }} }}]"), "")));
    let values = ["1", "'1'", "''", "null", "[1]", "['1']"].map(added);
    for (index, value) in values.iter().enumerate() {
        assert!(values[..index].iter().all(|other| other != value), "{index}");
    }
}

#[test]
fn a_flow_of_the_java_agent_is_the_same_wherever_it_is_written() {
    let of = |text: &str| {
        let config = parse_text("agent.json", text, &env).map_err(|e| e.to_string()).expect("it is good");
        config.flows.into_iter().find(|flow| flow.name.contains("/a*")).expect("there is one").revision()
    };
    let one = of(r#"{"flows":[{"filePattern":"/l/a*","kinesisStream":"s"}]}"#);
    assert!(
        of(r#"{"cloudwatch.emitMetrics":false,"flows":[{"filePattern":"/l/b*","kinesisStream":"s"},
        {"filePattern":"/l/a*","kinesisStream":"s"}]}"#)
            == one
    );
    assert!(of(r#"{"flows":[{"filePattern":"/l/a*","kinesisStream":"s","maxBufferAgeMillis":2000}]}"#) != one);
    assert!(
        of(r#"{"kinesis.endpoint":"https://k.test","flows":[{"filePattern":"/l/a*","kinesisStream":"s"}]}"#) != one
    );
}

#[test]
fn the_schema_takes_every_example_and_knows_every_section() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = fs::read_dir(root.join("config-examples")).expect("there are examples");
    let examples = examples.map(|entry| entry.expect("it can be listed").path());
    let mut files: Vec<_> = examples.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    assert!(files.len() > 8, "only {}", files.len());
    files.push(root.join("packaging/headwater.yaml"));
    for path in &files {
        let text = fs::read_to_string(path).expect("an example is text");
        assert_eq!(complaints_of_schema(&text), [""; 0], "{}", path.display());
    }
    let schema = schema();
    let all = schema.to_string();
    for (section, key) in keys::ALL.iter().flat_map(|section| section.keys.iter().map(move |key| (section, key))) {
        assert!(all.contains(&format!("\"{key}\":{{")), "{key} of {} is not in the schema", section.name);
    }
}

#[test]
fn the_schema_refuses_what_people_get_wrong() {
    for (wrong, about) in [
        ("flow: []", "'flow' was unexpected"),
        ("flows: [{ name: a, destination: { stdout: {} } }]", "\"source\" is a required property"),
        (
            "flows: [{ name: a, source: { paths: /a, start: end }, destination: { stdout: {} } }]",
            "'start' was unexpected",
        ),
        ("shutdown_timeout: soon", "/shutdown_timeout: \"soon\" does not match"),
        ("state_dir: here", "/state_dir: \"here\" does not match"),
        (
            "flows: [{ name: a, source: { paths: /a }, destination: { stdout: {}, kinesis: { stream: s } } }]",
            "/destination",
        ),
        (
            "flows: [{ name: a, source: { paths: /a }, destination: { stdout: {} }, batch: { max_records: 501 } }]",
            "/max_records",
        ),
        ("flows: [{ name: a, source: { paths: /a }, destination: { stdout: {} }, delivery: once }]", "/delivery"),
        (
            "flows: [{ name: a, source: { paths: /a }, destination: { stdout: {} }, process: [{ parse: xml }] }]",
            "/parse",
        ),
    ] {
        let complaints = complaints_of_schema(wrong).join("\n");
        assert!(complaints.contains(about), "{wrong}: {complaints:?}");
    }
}

/// A good file to take apart.
const WHOLE: &str = include_str!("../../config-examples/java-multiline.yaml");

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in r#"([ \t\n:\-\[\]{}#&*!|>'"%@,?$<~a-z0-9é]|: |- |\$\{|<<: |&a |\*a ){0,200}"#) {
        let _ = parse_text("any.yaml", &text, &env).map_err(|problems| problems.to_string());
    }

    #[test]
    fn no_mutation_of_a_good_file_makes_it_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..6, r#"[ \t\n:\-\[\]{}#&*!|>'"%$0-9a-z]{0,4}"#), 1..6)
    ) {
        let mut text: Vec<char> = WHOLE.chars().collect();
        for (at, remove, insert) in edits {
            let at = at.index(text.len() + 1);
            let end = text.len().min(at + remove);
            text.splice(at..end, insert.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = parse_text("any.yaml", &text, &env) {
            prop_assert!(problems.count() > 0);
            let lines = text.lines().count() + 1;
            for problem in &problems {
                prop_assert!(problem.at.is_none_or(|at| at.line >= 1 && at.column >= 1 && at.line <= lines));
                prop_assert!(!problem.to_string().contains('\n'));
            }
        }
    }
}
