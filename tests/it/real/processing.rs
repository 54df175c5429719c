//! What the steps of `process` make of records, from files to the stream.

use std::fmt::Write as _;

use crate::support::{
    SOON,
    agent::Agent,
    expect,
    faults::Kinesis,
    ledger::Ledger,
    site::{Site, Yaml},
    tally::assert_exactly,
    writer::append,
};

/// Delivers what is there, and wants exactly these records; a second run repeats none.
#[track_caller]
fn once(site: &Site, kinesis: &Kinesis, wanted: &[&str]) {
    for _ in 0..2 {
        Agent::once(site, SOON);
        assert_exactly(&kinesis.see(Ledger::data), wanted);
    }
}

#[test]
fn json_is_filtered_redacted_renamed_and_added_to() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let yaml = Yaml::new("a.log", &kinesis.url())
        .step("parse: { json: {}, on_mismatch: dead_letter }")
        .step("drop_if: { any: [{ field: level, equals: DEBUG }, { field: status, ge: 200, lt: 300 }] }")
        .step("keep_if: { field: user, exists: true }")
        .step("redact: { field: user, hash: { key: '${REDACT_KEY:-0123456789}' } }")
        .step("redact: { pattern: '\\d{12}(\\d{4})', replacement: '****$1' }")
        .step("rename: { msg: message }")
        .step("add: { n: 1.10, from: { file: '${file.name}', flow: '${flow}' }, at: '${record.offset}', zone: '${ec2.region}' }")
        .step("remove: trace");
    site.configure(&yaml);
    append(
        &site.log("a.log"),
        concat!(
            "{\"level\":\"DEBUG\",\"user\":\"ann\"}\n",
            "{\"level\":\"INFO\",\"user\":\"ann\",\"status\":204}\n",
            "{\"level\":\"INFO\",\"status\":500}\n",
            "not json 1111222233334444\n",
            "{\"user\":\"ann\",\"status\":500.0,\"msg\":\"\\u0031111222233334444\",\"card\":1111222233334444,\"trace\":{}}\n",
        ),
    );
    // HMAC-SHA256 of "ann" with that key.
    let wanted = concat!(
        "{\"user\":\"ad3ab2fa0f4790c8ecfb8308bee7e584\",\"status\":500.0,\"message\":\"****4444\",\"card\":\"****4444\",",
        "\"n\":1.10,\"from\":{\"file\":\"a.log\",\"flow\":\"test\"},\"at\":\"130\",\"zone\":null}\n"
    );
    once(&site, &kinesis, &[wanted]);
    let dead = site.dead_letters();
    assert_eq!(dead.len(), 1, "{dead:?}");
}

#[test]
fn lines_are_filtered_and_redacted_without_a_format() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let yaml = Yaml::new("a.log", &kinesis.url())
        .source("max_record: 64B")
        .step("drop_if: { matches: '^#' }")
        .step("redact: { pattern: '(?<=key=)\\w+' }");
    site.configure(&yaml);
    let long = format!("key=x {}", "y".repeat(100));
    append(&site.log("a.log"), format!("# comment\none key=abc\r\n#\n{long}\nlast\n"));
    let cut = format!("key=*** {}\n", "y".repeat(57));
    once(&site, &kinesis, &["one key=***\r\n", &cut, "last\n"]);
}

#[test]
fn a_chain_of_filters_alone_commits_what_it_leaves_out() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("a.log", &kinesis.url()).step("keep_if: { matches: wanted }"));
    append(&site.log("a.log"), "one\ntwo\n");
    Agent::once(&site, SOON);
    // What was left out is not looked at again.
    site.configure(&Yaml::new("a.log", &kinesis.url()));
    append(&site.log("a.log"), "three\n");
    once(&site, &kinesis, &["three\n"]);
}

#[test]
fn records_of_several_lines_become_one_before_they_are_parsed() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let yaml = Yaml::new("a.log", &kinesis.url())
        .source("multiline: { start: '^\\{' }")
        .step("single_line: { join: '' }")
        .step("parse: { json: {}, on_mismatch: dead_letter }")
        .step("emit: { csv: { fields: [a, b, c], quote: all, null: '\\N' } }");
    site.configure(&yaml);
    append(&site.log("a.log"), "{\n  \"a\": 1,\n  \"b\": \"x\"\n}\n{\"a\":\n2}\n");
    once(&site, &kinesis, &["\"1\",\"x\",\\N\n", "\"2\",\\N,\\N\n"]);
}

#[test]
fn a_sample_is_one_in_n_across_a_crash() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let lines = (0..2_000).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "line {n}");
        text
    });
    append(&site.log("a.log"), &lines);
    let yaml = Yaml::new("a.log", &kinesis.url()).batch("{ max_records: 10, max_age: 50ms }");
    site.configure(&yaml.step("limit: { one_in: 10 }"));
    let agent = Agent::run(&site);
    expect("some of them", SOON, || kinesis.count() >= 10);
    agent.kill();
    Agent::once(&site, SOON);
    // What was sent twice counts once.
    let mut sent = kinesis.see(Ledger::data);
    sent.sort();
    sent.dedup();
    assert!((100..320).contains(&sent.len()), "{} of 2000", sent.len());
}
