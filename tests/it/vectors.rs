//! What the Java agent makes of records, line by line of `tests/data/*.jsonl`: observed, or derived from its rules.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use headwater::{
    config::java::converter,
    model::{Generation, Now, Span},
    record::{
        ec2::{Instance, Shared},
        pipeline::{Context, Outcome, Pipeline},
    },
};
use serde_json::Value;

/// When the instance of the recorded outputs was read, in a zone whose time is UTC: there they hold this text.
const READ_AT: Duration = Duration::from_secs(1_795_168_335);
const READ_AT_TEXT: &str = "2026-11-20T09:52:15+0000";

fn instance() -> Shared {
    let text = |text: &str| Some(text.to_owned());
    let shared = Shared::default();
    shared.set(Instance {
        instance_id: text("i-0stub"),
        instance_type: text("t3.micro"),
        image_id: text("ami-1"),
        account_id: text("123456789012"),
        region: text("us-east-1"),
        availability_zone: text("us-east-1a"),
        private_ip: text("10.0.0.5"),
        tags: Some(BTreeMap::from([("Name".to_owned(), "web-1".to_owned()), ("env".to_owned(), "Prod".to_owned())])),
        read_at: i64::try_from(READ_AT.as_nanos()).expect("not that far in the future"),
    });
    shared
}

/// The `option` of a line as it stands there: its JSON may be more than JSON.
fn option(line: &str) -> &str {
    let start = line.find("\"option\": ").expect("a line has an option") + "\"option\": ".len();
    let end = [", \"in\": {", ", \"config_error\": "].iter().filter_map(|mark| line.find(mark)).min();
    &line[start..end.expect("the option is followed by something")]
}

fn bytes(value: &Value) -> Vec<u8> {
    if let Some(text) = value["utf8"].as_str() {
        return text.as_bytes().to_vec();
    }
    let hex = value["hex"].as_str().expect("utf8 or hex");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits")).collect()
}

/// A recorded output, if it was made in the zone of this machine.
fn in_local_time(out: Vec<u8>) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(&out) else { return out };
    let time = jiff::Timestamp::from_second(READ_AT.as_secs().cast_signed()).expect("a time");
    let local = time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%z").to_string();
    text.replace(READ_AT_TEXT, &local).into_bytes()
}

/// What is said of a line, if it is not so.
fn wrong(line: &str, ec2: &Shared) -> Option<String> {
    let option = option(line);
    let read = converter(option);
    // The option itself was read; what is left of the line is JSON.
    let rest: Value =
        serde_json::from_str(&line.replacen(option, "null", 1)).expect("a line is JSON, its option aside");
    if !rest["config_error"].is_null() {
        // The one thing that is better here: a boolean where Java dies of it.
        let repaired = rest["config_error"] == "ClassCastException";
        return (read.is_ok() != repaired).then(|| format!("{read:?}"));
    }
    let converters = match read {
        Ok(converter) => converter.into_iter().collect(),
        Err(errors) => return Some(format!("{errors:?}")),
    };
    let input = bytes(&rest["in"]);
    let context = Context {
        host: "host",
        ec2,
        now: Now { mono: Instant::now(), wall: 0 },
        path: Path::new("/var/log/app.log"),
        generation: Generation(1),
        span: Span { start: 0, end: input.len() as u64 },
    };
    let mut out = Vec::new();
    let outcome = Pipeline::java(converters).run(&context, &input, &mut out);
    let (wanted, expected) = if rest["skip"] == true {
        (matches!(outcome, Outcome::Drop(_)), Vec::new())
    } else if rest["exception_then_raw_fallback"].is_string() {
        (matches!(outcome, Outcome::EmitRaw(_)), input)
    } else {
        (outcome == Outcome::Emit, in_local_time(bytes(&rest["out"])))
    };
    (!wanted || out != expected).then(|| format!("{outcome:?} {:?}", String::from_utf8_lossy(&out)))
}

#[track_caller]
fn check(file: &str, least: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
    let text = fs::read_to_string(&path).expect("the cases can be read");
    let ec2 = instance();
    let wrong: Vec<String> = text
        .lines()
        .enumerate()
        .filter_map(|(at, line)| Some(format!("{file}:{}: {}\n  {line}", at + 1, wrong(line, &ec2)?)))
        .collect();
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), text.lines().count(), wrong.join("\n"));
    assert!(text.lines().count() >= least, "cases are missing from {file}");
}

#[test]
fn records_become_what_the_java_agent_was_seen_to_make_of_them() {
    check("java-agent.jsonl", 138);
}

/// The rules that follow from the observations, each line with the part of the description it is of.
#[test]
fn records_become_what_follows_from_the_rules_of_the_java_agent() {
    check("java-agent-derived.jsonl", 98);
}
