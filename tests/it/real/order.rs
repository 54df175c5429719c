//! The order of records with the same key, as the stream has them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    time::Duration,
};

use regex::bytes::Regex;

use crate::support::{
    SOON,
    agent::Agent,
    faults::{Fault, Kinesis},
    site::{Site, Yaml},
};

const LINES: u64 = 1_000;
const KEYS: u64 = 20;

const AT_LEAST_ONCE: &str = "delivery: at_least_once";
const EXACTLY_ONCE: &str = "delivery: { exactly_once: { settle_wait: 1s } }";

/// Delivers lines of some keys to a stream that is well or not; the requests it took, and for each key the numbers of its
/// lines in the order of the stream, repeats left out; with `delivery` exactly-once there must be none.
fn delivered(
    more: &str,
    delivery: &str,
    plan: impl FnMut(u64) -> Fault + Send + 'static,
) -> (u64, BTreeMap<String, Vec<u64>>) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let destination = format!("kinesis: {{ stream: logs, partition_key: {{ field: k }}, {more} }}");
    let yaml = Yaml::new("app.log", &kinesis.url()).destination(&destination).batch("{ max_records: 100 }");
    site.configure(&yaml.step("parse: json").step("emit: json").flow(delivery));
    let mut text = String::new();
    for n in 0..LINES {
        writeln!(text, r#"{{"k":"client-{}","n":{n}}}"#, n * 7919 % KEYS).expect("a String takes everything");
    }
    fs::write(site.log("app.log"), text).expect("a log");
    kinesis.plan(plan);
    Agent::once(&site, SOON * 2);
    let line = Regex::new(r#"\{"k":"(client-\d+)","n":(\d+)\}"#).expect("a pattern");
    let (mut seen, mut numbers) = (BTreeSet::new(), BTreeMap::<String, Vec<u64>>::new());
    kinesis.see(|l| {
        assert!(l.violations.is_empty(), "{:?}", l.violations);
        for found in l.accepted.iter().flat_map(|a| line.captures_iter(&a.data)) {
            let word = |at: usize| std::str::from_utf8(&found[at]).expect("ASCII");
            let number = word(2).parse().expect("a number");
            let is_new = seen.insert(number);
            assert!(is_new || delivery == AT_LEAST_ONCE, "line {number} was repeated");
            if is_new {
                numbers.entry(word(1).to_owned()).or_default().push(number);
            }
        }
        assert_eq!((seen.len() as u64, numbers.len() as u64), (LINES, KEYS), "every line");
        (l.requests, numbers)
    })
}

/// Throttles a shard or one record in five, takes its time, and fails whole requests, some of which it had taken.
fn busy(n: u64) -> Fault {
    match n % 10 {
        0 => Fault::ThrottleShard(1),
        2 => Fault::TakeButAnswer(500),
        4 => Fault::UNAVAILABLE,
        6 => Fault::ThrottleEach(5),
        _ => Fault::Slow(Duration::from_millis(5)),
    }
}

#[test]
fn lines_of_one_key_arrive_in_their_order_although_records_are_throttled() {
    for more in ["order: per_key", "order: per_key, aggregate: true", "order: per_key, aggregate: { max_records: 3 }"] {
        let (_, numbers) = delivered(more, AT_LEAST_ONCE, busy);
        for (key, order) in numbers {
            assert!(order.is_sorted(), "{more}: {key}: {order:?}");
        }
    }
}

#[test]
fn lines_of_one_key_arrive_once_and_in_their_order_although_answers_are_lost() {
    for more in ["order: per_key", "order: per_key, aggregate: { max_records: 3 }"] {
        // What is in doubt keeps what comes after it waiting: a second each time.
        let (_, numbers) = delivered(more, EXACTLY_ONCE, |n| match n {
            2 | 30 => Fault::TakeButHangUp,
            10 | 50 => Fault::INTERNAL_FAILURE,
            20 | 70 => Fault::FailRecord(0),
            _ if n % 4 == 0 => Fault::ThrottleEach(5),
            _ => Fault::Pass,
        });
        for (key, order) in numbers {
            assert!(order.is_sorted(), "{more}: {key}: {order:?}");
        }
    }
}

#[test]
fn without_the_order_asked_for_a_throttled_record_is_overtaken() {
    let (_, numbers) = delivered("order: none", AT_LEAST_ONCE, |_| Fault::ThrottleEach(5));
    assert!(numbers.values().any(|order| !order.is_sorted()));
}

#[test]
fn order_costs_a_request_for_each_line_of_the_most_frequent_key_unless_lines_are_joined() {
    let requests = |more: &str| delivered(more, AT_LEAST_ONCE, |_| Fault::Pass).0;
    // Batches of 100 lines; each key has 50 lines.
    assert_eq!(requests("order: none"), 10);
    assert!((50..500).contains(&requests("order: per_key")));
    assert!(requests("order: per_key, aggregate: true") <= 5);
}
