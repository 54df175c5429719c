//! No allocation per line: what a chain of processing needs it takes once and keeps.

use std::{path::Path, time::Instant};

use headwater::{
    model::{Generation, Now, Span},
    record::{
        ec2,
        pipeline::{Context, Outcome, Pipeline},
    },
};

/// Lines that are run twice: what the first pass takes is kept, the second is counted.
const LINES: usize = 2_000;

/// The chain of a flow with these steps, as the configuration builds it.
fn chain(process: &str) -> Pipeline {
    let text = format!(
        "state_dir: /tmp\nflows:\n  - name: a\n    source: {{ paths: /var/log/a.log }}\n    destination: {{ stdout: {{}} }}\n    \
         process:\n{process}"
    );
    let config = headwater::config::parse_text("chain.yaml", &text, &|_| None).expect("a configuration");
    config.flows.into_iter().next().expect("a flow").pipeline
}

/// Runs `line(n)` through the chain for many n, and wants no allocation once the chain is warm.
#[track_caller]
fn check(process: &str, line: impl Fn(usize) -> String) {
    let mut pipeline = chain(process);
    let lines: Vec<String> = (0..LINES).map(line).collect();
    let ec2 = ec2::Shared::default();
    let mut out = Vec::with_capacity(1 << 16);
    let mut run = |pipeline: &mut Pipeline, line: &str, start: usize| {
        let context = Context {
            host: "web-1",
            ec2: &ec2,
            path: Path::new("/var/log/a.log"),
            generation: Generation(7),
            span: Span { start: start as u64, end: (start + line.len()) as u64 },
            now: Now { mono: Instant::now(), wall: 1_763_640_000_000_000_000 },
        };
        out.clear();
        assert_eq!(pipeline.run(&context, line.as_bytes(), &mut out), Outcome::Emit, "{line}");
        assert!(!out.is_empty());
    };
    let mut pass = || lines.iter().enumerate().for_each(|(at, line)| run(&mut pipeline, line, at * 200));
    pass();
    let counted = allocation_counter::measure(pass);
    assert_eq!(counted.count_total, 0, "allocations in {LINES} lines of {process}");
}

#[test]
fn combined_to_json_allocates_nothing_per_line() {
    check("      - parse: combined\n      - emit: json\n", |n| {
        format!(
            "203.0.113.{} - u{n} [20/Nov/2026:10:00:00 +0000] \"GET /{n}?q=\\\"x\\\" HTTP/1.1\" 200 {n} \"-\" \"curl\"\n",
            n % 250
        )
    });
}

#[test]
fn regex_to_json_allocates_nothing_per_line() {
    let process = "      - parse: { regex: '^(?P<time>\\S+) (?P<level>\\w+) (?P<message>.*)$' }\n      - emit: json\n";
    check(process, |n| format!("2026-11-20T10:00:00Z INFO request {n} of é\n"));
    let unanchored = "      - parse: { regex: '(?P<level>[A-Z]+) (?P<message>.*)$' }\n      - emit: json\n";
    check(unanchored, |n| format!("2026-11-20T10:00:00 INFO request {n}\n"));
}

#[test]
fn json_with_a_field_added_allocates_nothing_per_line() {
    let process = "      - parse: json\n      - add: { host: '${host}', id: '${record.id}' }\n      - emit: json\n";
    check(process, |n| format!("{{\"n\":{n},\"text\":\"a \\\"b\\\" {n}\",\"o\":{{\"x\":[1,2]}},\"f\":1.10}}\n"));
}

#[test]
fn csv_to_json_allocates_nothing_per_line() {
    let process = "      - parse: { csv: { fields: [a, b, c] }, types: { a: int } }\n      - emit: json\n";
    check(process, |n| format!("{n},\"x \"\"{n}\"\"\",last {n}\n"));
}

#[test]
fn syslog_to_json_allocates_nothing_per_line() {
    let lines = |n| format!("Nov 20 10:00:00 web-{} sshd[{}]: message {n}\n", n % 10, 1 + n);
    check("      - parse: syslog_rfc3164\n      - emit: json\n", lines);
    let lines = |n| format!("<34>1 2026-11-20T10:00:00.003Z web su {n} ID47 [a@1 b=\"{n}\"] message {n}\n");
    check("      - parse: syslog_rfc5424\n      - emit: json\n", lines);
}
