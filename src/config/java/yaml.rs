//! A Java agent's configuration as our YAML, for people to go on with. Knows the names of our keys, not their readers.
//! Invariant: our own reader accepts what is written, and a comment says where it behaves otherwise than the JSON does.

use std::fmt::Write as _;

use super::{
    super::pattern,
    agent::{Agent, Flow, Metrics, Service, Stream},
    build::{ARCHIVES, LAST_REGION, SESSION_NAME, looking_at, whole_record},
    steps,
};
use crate::{record::regex::Regex, source::StartAt};

/// Lines at an indent.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn line(&mut self, indent: usize, line: &str) {
        let _ = writeln!(self.0, "{:indent$}{line}", "");
    }

    /// A comment, in lines that are not too long.
    pub(super) fn comment(&mut self, indent: usize, text: &str) {
        let mut line = String::new();
        for word in text.split_whitespace() {
            if indent + 2 + line.chars().count() + 1 + word.chars().count() > 120 && !line.is_empty() {
                self.line(indent, &format!("# {line}"));
                line.clear();
            }
            let space = if line.is_empty() { "" } else { " " };
            line = format!("{line}{space}{word}");
        }
        self.line(indent, &format!("# {line}"));
    }
}

/// A text as a YAML value, variables of the environment left out.
pub(super) fn quoted(text: &str) -> String {
    let text = text.replace("${", "$${");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '-');
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && text.chars().all(plain);
    let other =
        matches!(&*text.to_ascii_lowercase(), "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n");
    if is_word && !other {
        return text;
    }
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')) {
        let escaped = |c: char| match c {
            '\\' | '"' => format!("\\{c}"),
            '\n' => "\\n".to_owned(),
            '\t' => "\\t".to_owned(),
            '\r' => "\\r".to_owned(),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                format!("\\u{:04x}", u32::from(c))
            }
            c => c.to_string(),
        };
        return format!("\"{}\"", text.chars().map(escaped).collect::<String>());
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// The configuration in YAML; `from` is its name.
#[must_use]
pub fn yaml(agent: &Agent, from: &str) -> String {
    let mut out = Text::default();
    out.comment(0, &format!("Written by `headwater migrate --from {from}`."));
    out.comment(
        0,
        "Headwater reads that file as it is, too, and then sends byte for byte what the Java agent sends. This file is for \
         going on from there: read its comments, they say what is different. The flows have the names that they have there, \
         so each keeps its place in its files.",
    );
    if let Some(dir) = &agent.state_dir {
        out.line(0, &format!("state_dir: {}", quoted(&dir.display().to_string())));
    }
    if let Some(time) = agent.shutdown_timeout {
        out.line(0, &format!("shutdown_timeout: {}ms", time.as_millis().min(3_600_000)));
    }
    aws(&mut out, agent);
    metrics(&mut out, agent);
    out.line(0, "flows:");
    for flow in &agent.flows {
        one_flow(&mut out, agent, flow);
    }
    out.0
}

fn aws(out: &mut Text, agent: &Agent) {
    if agent.static_keys.is_some() {
        out.comment(
            0,
            "awsAccessKeyId and awsSecretAccessKey are not repeated here: put them into the environment (AWS_ACCESS_KEY_ID, \
             AWS_SECRET_ACCESS_KEY) or a profile, or better, give the machine a role.",
        );
    }
    if agent.role_arn.is_some() {
        out.line(0, "aws:");
        let session = Some(SESSION_NAME.to_owned());
        for (key, value) in [
            ("role_arn", &agent.role_arn),
            ("external_id", &agent.external_id),
            ("session_name", &session),
            ("sts_endpoint_url", &agent.sts.endpoint),
        ] {
            if let Some(value) = value {
                out.line(2, &format!("{key}: {}", quoted(value)));
            }
        }
    }
}

fn metrics(out: &mut Text, agent: &Agent) {
    let Metrics { emit, namespace, tag_instance, interval } = &agent.metrics;
    if !emit {
        return;
    }
    out.line(0, "metrics:");
    out.line(2, "cloudwatch:");
    out.line(4, &format!("namespace: {}", quoted(namespace)));
    out.line(4, &format!("interval: {}ms", interval.as_millis().clamp(1_000, 3_600_000)));
    if *tag_instance {
        out.line(4, "dimensions: { Instance: \"${ec2.instance_id}\" }");
    }
    reach(out, 4, &agent.cloudwatch, true);
}

fn one_flow(out: &mut Text, agent: &Agent, flow: &Flow) {
    out.line(2, &format!("- name: {}", quoted(&flow.name())));
    source(out, flow);
    steps::process(out, flow);
    out.line(4, "destination:");
    destination(out, agent, flow);
    batch(out, flow);
}

fn source(out: &mut Text, flow: &Flow) {
    out.line(4, "source:");
    out.comment(
        6,
        "Every matching file is followed, not only the newest one. `**` in place of a folder matches any folders.",
    );
    out.line(6, &format!("paths: {}", quoted(&flow.files.glob)));
    let archives: Vec<String> = ARCHIVES.iter().map(|glob| format!("\"{glob}\"")).collect();
    out.comment(
        6,
        "Compressed files are not read as new ones; the rest of a followed file is read from them all the same.",
    );
    out.line(6, &format!("exclude: [{}]", archives.join(", ")));
    let start_at = if flow.start_at == Some(StartAt::Beginning) { "beginning" } else { "end" };
    out.line(6, &format!("start_at: {start_at}"));
    if flow.skip_header_lines > 0 {
        out.line(6, &format!("skip_header_lines: {}", flow.skip_header_lines));
    }
    if let Some(start) = &flow.multiline_start {
        multiline(out, start);
    }
    if let Some(footer) = &flow.footer {
        // Read as a whole there and here, so its beginning and end need no anchors.
        match readable(footer).map(|_| footer.clone()).or_else(|| linear(whole_record(footer))) {
            Some(footer) => out.line(6, &format!("footer: {}", quoted(&footer))),
            None => out.comment(6, &format!("fileFooterPattern {} cannot be written here.", quoted(footer))),
        }
    }
    if let Some(terminator) = &flow.terminator {
        out.line(6, &format!("truncated_record_terminator: {}", quoted(terminator)));
    }
    if flow.poll_interval.is_some() {
        out.comment(
            6,
            "minTimeBetweenFilePollsMillis; changes are announced by the system, so this is for shares only.",
        );
        out.line(6, &format!("poll_interval: {}ms", super::build::poll_interval(flow).as_millis()));
    }
}

/// The pattern as it was written, where that means the same here (but that `\d` and its like know all of Unicode).
fn readable(java: &str) -> Option<String> {
    const OTHERWISE: [&str; 10] = ["&&", "(?", "++", "*+", "?+", "}+", "\\Q", "\\p", "\\P", "\\0"];
    let nested = java.matches('[').count() > 1 && java.contains("[[");
    let text = if java.starts_with('^') && !java.contains('|') { java.to_owned() } else { format!("^(?:{java})") };
    let same = !nested && !OTHERWISE.iter().any(|other| java.contains(other));
    (same && pattern::regex(&text).is_ok()).then_some(text)
}

/// The pattern as it was translated, if our YAML can say it.
fn linear(translated: Result<Regex, String>) -> Option<String> {
    translated.ok().filter(|regex| matches!(regex, Regex::Linear(_))).map(|regex| regex.as_str().to_owned())
}

fn multiline(out: &mut Text, start: &str) {
    let Some(start) = readable(start).or_else(|| linear(looking_at(start))) else {
        out.comment(6, &format!("multiLineStartPattern {} cannot be written here.", quoted(start)));
        return;
    };
    out.comment(
        6,
        "A record waits for the line that ends it, at most `timeout`: a write in two steps does not cut it.",
    );
    out.line(6, &format!("multiline: {{ start: {}, timeout: 2s, max_lines: 100000 }}", quoted(&start)));
}

fn destination(out: &mut Text, agent: &Agent, flow: &Flow) {
    let (kind, stream, service) = match &flow.stream {
        Stream::Kinesis(stream) => ("kinesis", stream, &agent.kinesis),
        Stream::Firehose(stream) => ("firehose", stream, &agent.firehose),
    };
    out.line(6, &format!("{kind}:"));
    out.line(8, &format!("stream: {}", quoted(stream)));
    reach(out, 8, service, kind == "firehose" || service.endpoint.is_some());
    if kind == "kinesis" {
        let key = if flow.hashes_records { "record_hash" } else { "random" };
        if key != "random" {
            out.comment(8, "DETERMINISTIC: the MD5 of the record, not of everything that was read along with it.");
        }
        out.line(8, &format!("partition_key: {key}"));
    }
    if let Some(size) = flow.aggregate {
        out.comment(8, "Records are joined up to this size, and wait for each other no longer than batch.max_age.");
        out.line(8, &format!("aggregate: {size}B"));
    }
    if agent.max_sending_threads.is_some() {
        out.comment(8, "maxSendingThreads; here it is requests under way of this flow alone.");
        out.line(8, &format!("max_in_flight: {}", super::build::max_in_flight(agent)));
    }
}

/// How to reach a service; `last`: the Java agent used its last region where none is named.
fn reach(out: &mut Text, indent: usize, service: &Service, last: bool) {
    match &service.region {
        Some(region) => out.line(indent, &format!("region: {}", quoted(region))),
        None if last => {
            let text = "The Java agent used this one whatever the machine's region is; without it, the region comes from \
                        AWS_REGION, the profile or the machine.";
            out.comment(indent, text);
            out.line(indent, &format!("region: {LAST_REGION}"));
        }
        None => {}
    }
    if let Some(endpoint) = &service.endpoint {
        out.line(indent, &format!("endpoint_url: {}", quoted(endpoint)));
    }
}

fn batch(out: &mut Text, flow: &Flow) {
    let mut limits = Vec::new();
    limits.extend(flow.max_records.map(|records| format!("max_records: {records}")));
    if let Some(bytes) = flow.max_bytes {
        if bytes < 1_024 {
            out.comment(4, &format!("maxBufferSizeBytes {bytes}: the least is 1KiB."));
        }
        limits.push(format!("max_bytes: {}B", bytes.max(1_024)));
    }
    match flow.max_age {
        Some(age) => limits.push(format!("max_age: {}ms", age.as_millis())),
        None => {
            out.comment(
                4,
                "maxBufferAgeMillis was not set, which meant up to 60 s; here a batch waits 1 s by default.",
            );
        }
    }
    if !limits.is_empty() {
        out.line(4, &format!("batch: {{ {} }}", limits.join(", ")));
    }
}
