//! Aggregated records and partition keys, as somebody who reads the stream finds them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use crate::support::{
    SOON,
    agent::Agent,
    consumer,
    faults::{Fault, Kinesis},
    kpl,
    reading::Read,
    site::{Site, Yaml},
    stand_in::StandIn,
    tally::{assert_all_once, assert_exactly},
    writer::Writer,
};

#[test]
fn the_library_of_aws_opens_every_aggregate_of_random_keys() {
    let (site, stream) = (Site::new(), StandIn::start("logs", 4));
    let yaml = Yaml::new("*.log", &stream.url()).destination("kinesis: { stream: logs, aggregate: true }");
    site.configure(&yaml.batch("{ max_age: 1s }"));
    Writer::new(&site.log("a.log"), "a").lines(10_000);
    Writer::new(&site.log("b.log"), "b").lines(3);
    fs::write(site.log("c.log"), "alone\n").expect("a log");
    Agent::once(&site, SOON);
    let stored = stream.read_all();
    let bytes: usize = stored.iter().map(|r| r.data.len()).sum();
    assert!(stored.len() < 20 + bytes / 40_000, "{} records for {bytes} bytes", stored.len());
    assert!(stored.iter().all(|r| r.data.len() + r.partition_key.len() <= 50 << 10));
    let Some(consumed) = consumer::open("the_library_of_aws_opens_every_aggregate_of_random_keys", &stored) else {
        return;
    };
    // One key an aggregate, inside as outside, and no hash of its own.
    assert!(consumed.iter().all(|c| c.hash.is_none() && c.key == stored[c.stored].partition_key));
    let data: Vec<Vec<u8>> = consumed.iter().map(consumer::Consumed::data).collect();
    let of = |tag: &str| data.iter().filter(|d| d.starts_with(tag.as_bytes())).cloned().collect::<Vec<_>>();
    assert_all_once(&of("a "), "a", 10_000, 0);
    assert_all_once(&of("b "), "b", 3, 0);
    assert_exactly(&of("alone"), &[b"alone\n"]);
    assert_eq!(data.len(), 10_000 + 3 + 1);
    assert!(
        consumed.iter().zip(&data).all(|(c, d)| c.aggregated != d.starts_with(b"alone")),
        "a record alone is plain"
    );
}

#[test]
fn the_lambda_function_of_the_documents_sees_each_line_once() {
    let (site, stream) = (Site::new(), StandIn::start("logs", 4));
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/DEDUPLICATION.md"));
    let text = text.expect("the document is there");
    let add = text.lines().find_map(|line| line.strip_prefix("  - add: ")).expect("the document adds the id");
    let mut lines = String::new();
    for n in 0..1_500 {
        writeln!(lines, r#"{{"n":{n}}}"#).expect("a String takes everything");
    }
    fs::write(site.log("a.log"), lines).expect("a log");
    fs::write(site.log("b.log"), "{\"n\":1500}\n").expect("a log");
    let yaml = Yaml::new("*.log", &stream.url()).destination("kinesis: { stream: logs, aggregate: true }");
    site.configure(&yaml.step("parse: json").step(&format!("add: {add}")).step("emit: json").batch("{ max_age: 1s }"));
    Agent::once(&site, SOON);
    let stored = stream.read_all();
    let Some(items) = consumer::handled("the_lambda_function_of_the_documents_sees_each_line_once", &stored) else {
        return;
    };
    let mut numbers = Vec::new();
    for item in &items {
        let line: serde_json::Value = serde_json::from_str(item["line"].as_str().expect("text")).expect("JSON");
        assert!(line["id"] == item["id"] && line["id"].as_str().is_some_and(|id| id.starts_with("hw1.")), "{item}");
        numbers.push(line["n"].as_u64().expect("a number"));
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..=1_500), "{} lines", numbers.len());
}

#[test]
fn lines_of_one_key_share_a_shard_and_keep_their_key_and_order() {
    let (site, stream) = (Site::new(), StandIn::start("logs", 7));
    let destination = "kinesis: { stream: logs, partition_key: { field: client }, aggregate: true }";
    let yaml = Yaml::new("app.log", &stream.url()).destination(destination).batch("{ max_age: 1s }");
    site.configure(&yaml.step("parse: json").step("emit: json"));
    let mut text = String::new();
    for n in 0..6_000 {
        writeln!(text, r#"{{"client":"é{}","n":{n}}}"#, n * 7919 % 300).expect("a String takes everything");
    }
    text.push_str("{\"n\":6000}\n");
    fs::write(site.log("app.log"), text).expect("a log");
    Agent::once(&site, SOON);
    let stored = stream.read_all();
    assert!(stored.len() <= 256 + 1, "one record a slot, not {}", stored.len());
    let Some(consumed) = consumer::open("lines_of_one_key_share_a_shard_and_keep_their_key_and_order", &stored) else {
        return;
    };
    let (mut shards, mut last) = (BTreeMap::<_, BTreeSet<_>>::new(), BTreeMap::new());
    for record in &consumed {
        let line: serde_json::Value = serde_json::from_slice(&record.data()).expect("JSON");
        let number = line["n"].as_u64().expect("a number");
        if let Some(client) = line["client"].as_str() {
            assert_eq!(client, record.key);
            shards.entry(client.to_owned()).or_default().insert(&stored[record.stored].shard);
            let before = last.insert(client.to_owned(), number);
            assert!(before.is_none_or(|before| before < number), "{client}: {before:?} before {number}");
        } else {
            assert_eq!((number, record.key.len()), (6000, 10), "a random key");
        }
    }
    assert_eq!(consumed.len(), 6_001);
    assert_eq!((shards.len(), shards.values().map(BTreeSet::len).max()), (300, Some(1)));
}

#[test]
fn a_record_without_its_field_meets_the_rule() {
    for (rule, sent, dead) in [("random", 2, 0), ("drop", 1, 0), ("dead_letter", 1, 1)] {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        let key = format!("{{ template: '${{flow}}/${{fields.user}}', on_missing: {rule} }}");
        let yaml = Yaml::new("app.log", &kinesis.url())
            .destination(&format!("kinesis: {{ stream: logs, partition_key: {key} }}"))
            .step("parse: json")
            .step("emit: json");
        site.configure(&yaml);
        fs::write(site.log("app.log"), "{\"user\":\"ann\"}\n{\"user\":null}\n").expect("a log");
        Agent::once(&site, SOON);
        kinesis.see(|l| {
            let keys: Vec<&str> = l.accepted.iter().map(|a| a.partition_key.as_str()).collect();
            assert_eq!((keys[0], keys.len()), ("test/ann", sent), "{rule}");
        });
        let letters = site.dead_letters();
        assert_eq!(letters.len(), dead, "{rule}");
        if let Some(letter) = letters.first() {
            assert_eq!(letter["reason"], "no partition key: a part of its template is missing or empty");
            assert_eq!(letter["data"], "{\"user\":null}\n");
        }
    }
}

#[test]
fn an_aggregate_that_is_refused_for_good_is_one_dead_letter_of_its_lines() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let destination = "kinesis: { stream: logs, aggregate: { max_records: 3 } }";
    site.configure(&Yaml::new("app.log", &kinesis.url()).destination(destination));
    fs::write(site.log("app.log"), "one\ntwo\nthree\nfour\npoison\nsix\nseven\n").expect("a log");
    kinesis.set(Fault::Poison(b"poison".to_vec()));
    Agent::once(&site, SOON);
    let letters = site.dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["data"], "four\npoison\nsix\n");
    assert_eq!((&letters[0]["start"], &letters[0]["end"]), (&14.into(), &30.into()));
    assert!(letters[0]["id"].as_str().is_some_and(|id| id.starts_with("hw1.") && id.ends_with(".14-30")));
    kinesis.see(|l| {
        let [first, last] = &l.accepted[..] else { panic!("{} records", l.accepted.len()) };
        assert!(first.data.starts_with(b"\xf3\x89\x9a\xc2") && first.data.windows(6).any(|w| w == b"three\n"));
        assert_eq!(last.data, b"seven\n");
    });
}

#[test]
fn records_are_joined_to_what_the_stream_takes_and_no_more() {
    for (limit, denied, expected) in [(Some(3), false, 3 << 20), (None, false, 1 << 20), (Some(3), true, 1 << 20)] {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        if let Some(limit) = limit {
            kinesis.max_record_kib(limit << 10);
        }
        if denied {
            kinesis.reading(|_, _| Read::DENIED);
        }
        let yaml = Yaml::new("app.log", &kinesis.url()).destination("kinesis: { stream: logs, aggregate: 5MiB }");
        site.configure(&yaml.batch("{ max_age: 5s }"));
        Writer::new(&site.log("app.log"), "l").lines(60_000);
        Agent::once(&site, SOON);
        kinesis.see(|l| {
            assert!(l.violations.is_empty(), "{:?}", l.violations);
            let sizes = l.accepted.iter().map(|a| a.data.len() + a.partition_key.len());
            let largest = sizes.max().expect("records");
            assert!((expected * 9 / 10..=expected).contains(&largest), "{largest} of {expected}");
            let lines: Vec<Vec<u8>> = l.accepted.iter().flat_map(|a| kpl::opened(&a.data)).collect();
            assert_all_once(&lines, "l", 60_000, 0);
        });
    }
}
