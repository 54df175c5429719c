//! What reading a line and writing it as JSON costs, format by format, without files or network:
//! `cargo bench --bench processing`. Prints the Markdown table of `docs/PERFORMANCE.md`. An argument chooses formats by a part
//! of their names.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use headwater::{
    model::{Generation, Now, Span},
    record::{
        ec2,
        pipeline::{Context, Pipeline},
    },
};

/// Each format is measured for this long, this many times; the best counts, for everything else only adds.
const ROUND: Duration = Duration::from_millis(300);
const ROUNDS: usize = 5;

/// Name, steps, and a typical line.
const FORMATS: [(&str, &str, &str); 17] = [
    ("raw", "", PLAIN),
    ("json", "[{parse: json}]", JSON),
    ("json, one field added", "[{parse: json}, {add: {host: '${host}'}}]", JSON),
    ("regex, anchored, 4 groups", r"[{parse: {regex: '^(?P<t>\S+) (?P<l>\w+) (?P<th>\S+) (?P<m>.*)$'}}]", PLAIN),
    ("regex, not anchored", r"[{parse: {regex: '(?P<l>INFO|WARN) (?P<th>\S+) (?P<m>.*)$'}}]", PLAIN),
    ("regex, back-reference", r"[{parse: {regex: '^(?P<t>\S+) (?P<l>\w+) (?P<m>(?P<q>.).*\4.*)$'}}]", PLAIN),
    ("csv", "[{parse: {csv: {fields: [a, b, c, d, e, f, g, h, i]}}}]", CSV),
    ("logfmt", "[{parse: logfmt}]", LOGFMT),
    ("common", "[{parse: common}]", COMMON),
    ("combined", "[{parse: combined}]", COMBINED),
    ("apache_error", "[{parse: apache_error}]", APACHE_ERROR),
    ("nginx_error", "[{parse: nginx_error}]", NGINX_ERROR),
    ("syslog_rfc3164", "[{parse: syslog_rfc3164}]", SYSLOG_3164),
    ("syslog_rfc5424", "[{parse: syslog_rfc5424}]", SYSLOG_5424),
    ("cri", "[{parse: cri}]", CRI),
    ("docker", "[{parse: docker}]", DOCKER),
    ("grok", "[{parse: {grok: {pattern: '%{TIMESTAMP_ISO8601:t} %{WORD:l} %{NOTSPACE:th} %{GREEDYDATA:m}'}}}]", PLAIN),
];

const PLAIN: &str = "2026-11-20T10:00:00.123Z INFO worker-7 request 0000012345 of user 4711 took 1312 us and went through \
                     the cache of the second tier, where it waited for a lock that somebody held";
const JSON: &str = r#"{"time":"2026-11-20T10:00:00.123Z","level":"info","request":12345,"user":"user4711","bytes":5312,"took":1.312,"ok":true,"message":"went through the cache of the second tier, and waited"}"#;
const CSV: &str = r#"2026-11-20T10:00:00.123Z,web-7,GET,/shop/item/0000012345,200,5312,"a, b",went through the cache of the second tier, where it waited for a lock"#;
const LOGFMT: &str = r#"time=2026-11-20T10:00:00.123Z level=info request=12345 user=user4711 bytes=5312 took=1.312 ok msg="went through the cache of the second tier, and waited""#;
const COMMON: &str = r#"203.0.113.7 - user4711 [20/Nov/2026:10:00:00 +0000] "GET /shop/item/0000012345?q=abcdefghijklmnop HTTP/1.1" 200 5312"#;
const COMBINED: &str = r#"203.0.113.7 - user4711 [20/Nov/2026:10:00:00 +0000] "GET /shop/item/0000012345?q=abcdefghijklmnop HTTP/1.1" 200 5312 "https://example.com/" "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0""#;
const APACHE_ERROR: &str = "[Fri Nov 20 10:00:00.123456 2026] [core:error] [pid 35708:tid 4328636416] [client 203.0.113.7:51234] \
                            File does not exist: /usr/local/apache2/htdocs/favicon.ico";
const NGINX_ERROR: &str = r#"2026/11/20 10:00:00 [error] 4711#4712: *12345 open() "/usr/share/nginx/html/favicon.ico" failed (2: No such file or directory), client: 203.0.113.7, server: example.com, request: "GET /favicon.ico HTTP/1.1", host: "example.com""#;
const SYSLOG_3164: &str = "Nov 20 10:00:00 web-7 sshd[4711]: Accepted publickey for user4711 from 203.0.113.7 port 51234 ssh2: ED25519 \
     SHA256:abcdefghijklmnopqrstuvwxyz";
const SYSLOG_5424: &str = r#"<34>1 2026-11-20T10:00:00.123Z web-7.example.com su 4711 ID47 [exampleSDID@32473 iut="3" eventSource="Application"] 'su root' failed for user4711 on /dev/pts/8"#;
const CRI: &str =
    "2026-11-20T10:00:00.123456789Z stdout F request 0000012345 of user 4711 took 1312 us and went through the cache";
const DOCKER: &str = r#"{"log":"request 0000012345 of user 4711 took 1312 us and went through the cache\n","stream":"stdout","time":"2026-11-20T10:00:00.123456789Z"}"#;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    println!("| format | ns a line | bytes a line | MB per CPU second | CPU s/GB |\n|---|---|---|---|---|");
    for (name, steps, line) in FORMATS {
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            let record = format!("{line}\n");
            let each = measure(steps, record.as_bytes());
            let bytes = f64::from(u32::try_from(record.len()).expect("a line is short"));
            let (speed, cost) = (bytes * 1e3 / each, each / bytes);
            println!("| {name} | {each:.0} | {bytes} | {speed:.0} | {cost:.2} |");
        }
    }
}

/// Nanoseconds for one record.
fn measure(steps: &str, record: &[u8]) -> f64 {
    let mut pipeline = chain(steps);
    let ec2 = ec2::Shared::default();
    let context = Context {
        host: "web-1",
        ec2: &ec2,
        path: Path::new("/var/log/app.log"),
        generation: Generation(7),
        span: Span { start: 1_000, end: 1_000 + record.len() as u64 },
        now: Now { mono: Instant::now(), wall: 1_763_640_000_000_000_000 },
    };
    let mut out = Vec::new();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (start, mut runs) = (cpu_time(), 0u32);
        while cpu_time().saturating_sub(start) < ROUND {
            out.clear();
            for _ in 0..500 {
                let outcome = pipeline.run(&context, record, &mut out);
                assert_eq!(outcome, headwater::record::pipeline::Outcome::Emit);
            }
            runs += 500;
        }
        best = best.min(cpu_time().saturating_sub(start).as_secs_f64() * 1e9 / f64::from(runs));
    }
    best
}

/// What this thread has had of the processor: other work of the machine does not count.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("time passed")
}

/// The chain of a flow with these steps, as the configuration builds it.
fn chain(steps: &str) -> Pipeline {
    let process = if steps.is_empty() { String::new() } else { format!("    process: {steps}\n") };
    let text = format!(
        "state_dir: /tmp\nflows:\n  - name: a\n    source: {{ paths: /var/log/a.log }}\n    destination: {{ stdout: {{}} }}\n{process}"
    );
    let config =
        headwater::config::parse_text("chain.yaml", &text, &|_| None).unwrap_or_else(|e| panic!("{steps}: {e}"));
    config.flows.into_iter().next().expect("a flow").pipeline
}
