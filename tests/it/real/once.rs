//! `run --once`: everything up to the present end, then exit 0.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    SOON,
    agent::{Agent, command, output},
    faults::Kinesis,
    ledger::Ledger,
    site::{Site, Yaml},
    stand_in::StandIn,
    tally::assert_all_once,
    writer::{Rotation, Writer},
};

#[test]
fn once_delivers_every_line_of_every_file_and_exits_0() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("**/*.log*", &kinesis.url()));
    let mut writer = Writer::new(&site.log("app.log"), "a");
    for _ in 0..4 {
        writer.lines(5000);
        writer.rotate(Rotation::Rename);
    }
    writer.lines(77);
    Agent::once(&site, SOON);
    kinesis.see(|l| {
        assert_all_once(&l.data(), "a", writer.written(), 0);
        assert!(l.violations.is_empty(), "{:?}", l.violations);
    });
    Agent::once(&site, SOON);
    assert_eq!(kinesis.count(), 20_077, "a second run has nothing to deliver");
}

#[test]
fn what_is_appended_between_two_runs_of_once_is_delivered_by_the_second() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    let mut writer = Writer::new(&site.log("app.log"), "a");
    for lines in [10, 1, 3000] {
        writer.lines(lines);
        Agent::once(&site, SOON);
        kinesis.see(|l| assert_all_once(&l.data(), "a", writer.written(), 0));
    }
}

#[test]
fn a_consumer_of_a_real_stream_reads_what_was_logged() {
    let (site, stream) = (Site::new(), StandIn::start("logs", 4));
    site.configure(&Yaml::new("app.log", &stream.url()));
    Writer::new(&site.log("app.log"), "a").lines(20_000);
    Agent::once(&site, SOON);
    let received = stream.read_all();
    let data: Vec<_> = received.iter().map(|r| &r.data).collect();
    assert_all_once(&data, "a", 20_000, 0);
    let in_shard = |n: usize| received.iter().filter(|r| r.shard.ends_with(&n.to_string())).count();
    assert!((0..4).all(|n| in_shard(n) > 3000), "random keys spread: {:?}", (0..4).map(in_shard).collect::<Vec<_>>());
    assert!(received.iter().all(|r| !r.partition_key.is_empty()));
}

/// Delivers `log` through these steps and compares with what is to arrive, in any order.
#[track_caller]
fn check_steps(steps: &[&str], log: &str, wanted: &[&str]) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let yaml = Yaml::new("app.log", &kinesis.url());
    site.configure(&steps.iter().fold(yaml, |yaml, step| yaml.step(step)));
    fs::write(site.log("app.log"), log).expect("the log can be written");
    Agent::once(&site, SOON);
    let mut got: Vec<String> =
        kinesis.see(Ledger::data).into_iter().map(|d| String::from_utf8(d).expect("text")).collect();
    let mut wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    for record in &mut got {
        record.truncate(record.trim_end().len());
    }
    got.sort();
    wanted.sort();
    assert_eq!(got, wanted);
}

#[test]
fn a_regex_turns_lines_into_json() {
    check_steps(
        &[r"parse: { regex: '^(?P<level>\S+) (?P<code>\d+) (?P<text>.*)$', on_mismatch: drop }", "emit: json"],
        "INFO 7 all \"well\"\nno match here\nWARN 12 half\n",
        &[r#"{"level":"INFO","code":"7","text":"all \"well\""}"#, r#"{"level":"WARN","code":"12","text":"half"}"#],
    );
}

#[test]
fn a_line_that_does_not_match_is_sent_as_it_is_unless_told_otherwise() {
    check_steps(&[r"parse: { regex: '^(?P<n>\d+)$' }"], "7\nseven\n", &[r#"{"n":"7"}"#, "seven"]);
}

#[test]
fn json_lines_are_written_as_csv() {
    check_steps(
        &["parse: json", "emit: { csv: { fields: [a, b] } }"],
        "{\"b\":\"x,y\",\"a\":1}\n{\"a\":\"q\\\"q\"}\n",
        &["1,\"x,y\"", "\"q\"\"q\","],
    );
}

#[test]
fn an_access_log_is_delivered_as_json_with_fields_added() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let add = r#"add: { file: "${file.path}", id: "${record.id}", host: "${host}" }"#;
    site.configure(&Yaml::new("access.log", &kinesis.url()).step("parse: combined").step(add).step("emit: json"));
    let line = "203.0.113.9 - frank [10/Oct/2026:13:55:36 -0700] \"GET /a?b HTTP/1.1\" 200 2326 \"-\" \"curl/8\"\n";
    fs::write(site.log("access.log"), line.repeat(3)).expect("the log can be written");
    Agent::once(&site, SOON);
    let records = kinesis.see(Ledger::data);
    let records: Vec<Value> = records.iter().map(|r| serde_json::from_slice(r).expect("JSON")).collect();
    assert_eq!(records.len(), 3);
    let path = site.log("access.log").display().to_string();
    let mut ids: Vec<&str> = records.iter().map(|r| r["id"].as_str().expect("an id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each record has an id of its own");
    for record in &records {
        assert_eq!((&record["file"], record["host"] != json!("")), (&json!(path), true), "{record}");
        assert!(record["id"].as_str().is_some_and(|id| id.starts_with("hw1.")), "{record}");
    }
}

#[test]
fn the_stdout_destination_prints_the_records_and_nothing_else() {
    let site = Site::new();
    site.configure(&Yaml::new("app.log", "http://127.0.0.1:1").destination("stdout: {}"));
    Writer::new(&site.log("app.log"), "a").lines(1000);
    let output = output(command(&site, &["run", "--once"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = output.stdout.split_inclusive(|b| *b == b'\n').collect();
    assert_all_once(&lines, "a", 1000, 0);
}
