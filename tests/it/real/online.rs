//! `validate --online`: what it finds out, and that it delivers nothing.

use crate::support::{
    agent::{command, output},
    faults::{Fault, Kinesis},
    moto::{Moto, OWN},
    reading::Read,
    site::{Site, Yaml},
    stand_in::StandIn,
};

/// What it prints about the destination, and its exit code.
fn said(site: &Site, prepare: impl FnOnce(&mut std::process::Command)) -> (Vec<String>, Option<i32>) {
    let mut command = command(site, &["validate", "--online"]);
    prepare(&mut command);
    let ended = output(command);
    let text = String::from_utf8(ended.stdout).expect("it prints text");
    let lines = text.lines().skip(1).map(|line| line.strip_prefix("test: ").expect("the flow's name").to_owned());
    (lines.collect(), ended.status.code())
}

fn asked(kinesis: &Kinesis, delivery: &str) -> (Vec<String>, Option<i32>) {
    let site = Site::new();
    site.configure(&Yaml::new("app.log", &kinesis.url()).flow(&format!("delivery: {delivery}")));
    let said = said(&site, |_| ());
    assert_eq!(kinesis.count(), 0, "it delivers nothing");
    kinesis.see(|l| assert!(l.violations.is_empty(), "{:?}", l.violations));
    said
}

#[test]
fn a_stream_that_may_be_written_and_read_is_good_and_stays_empty() {
    let (site, stream) = (Site::new(), StandIn::start("logs", 3));
    site.configure(&Yaml::new("app.log", &stream.url()).flow("delivery: exactly_once"));
    let (lines, code) = said(&site, |_| ());
    assert_eq!(
        lines[..4],
        [
            "credentials: ok: access key test",
            "stream: ok: logs in eu-west-1: ACTIVE, 3 shards",
            "write: ok: kinesis:PutRecords is allowed",
            "read back: ok: kinesis:ListShards, kinesis:GetShardIterator, kinesis:GetRecords are allowed",
        ]
    );
    assert_eq!(code, Some(0));
    assert!(stream.read_all().is_empty());
}

#[test]
fn each_permission_that_is_missing_is_named() {
    let kinesis = Kinesis::start();
    kinesis.set(Fault::ACCESS_DENIED);
    let (lines, code) = asked(&kinesis, "at_least_once");
    assert!(lines[2].starts_with("write: FAILED: AccessDeniedException"), "{lines:?}");
    assert!(lines[2].ends_with("; allow kinesis:PutRecords on the stream logs in region eu-west-1"), "{lines:?}");
    assert_eq!(code, Some(1));
    kinesis.set(Fault::Pass);
    for denied in ["ListShards", "GetShardIterator", "GetRecords"] {
        kinesis.reading(move |operation, _| if operation == denied { Read::DENIED } else { Read::Pass });
        let (lines, code) = asked(&kinesis, "exactly_once");
        let wanted = format!("; allow kinesis:{denied} on the stream logs in region eu-west-1");
        assert!(lines[3].starts_with("read back: FAILED: ") && lines[3].ends_with(&wanted), "{lines:?}");
        assert_eq!(code, Some(1));
    }
}

#[test]
fn what_delivery_does_not_need_is_no_failure() {
    let kinesis = Kinesis::start();
    kinesis.reading(|operation, _| if operation == "DescribeStreamSummary" { Read::DENIED } else { Read::Pass });
    let (lines, code) = asked(&kinesis, "at_least_once");
    assert!(lines[1].starts_with("stream: unknown: ") && lines[1].ends_with("allow kinesis:DescribeStreamSummary"));
    assert_eq!((lines[2].as_str(), code), ("write: ok: kinesis:PutRecords is allowed", Some(0)));
}

#[test]
fn a_stream_that_does_not_exist_and_one_that_does_not_answer_fail() {
    let kinesis = Kinesis::start();
    kinesis.reading(|_, _| Read::GONE);
    let (lines, code) = asked(&kinesis, "at_least_once");
    assert!(lines[1].starts_with("stream: FAILED: ResourceNotFoundException"), "{lines:?}");
    assert!(lines[1].contains("create it, or correct stream and region"), "{lines:?}");
    assert_eq!(code, Some(1));
    kinesis.down();
    let (lines, code) = asked(&kinesis, "at_least_once");
    assert!(lines[1].starts_with("stream: FAILED: NotConnected") && lines[1].contains("endpoint_url"), "{lines:?}");
    assert_eq!((lines.len(), code), (2, Some(1)));
}

#[test]
fn a_clock_that_is_off_is_told_with_by_how_much() {
    for (seconds, wanted, wanted_code) in
        [(600, "clock: FAILED: ", 1), (90, "clock: unknown: ", 0), (0, "clock: ok: ", 0)]
    {
        let kinesis = Kinesis::start();
        kinesis.set_clock(seconds);
        let (lines, code) = asked(&kinesis, "at_least_once");
        let last = lines.last().expect("it says something");
        let off = last.strip_prefix(wanted).and_then(|rest| rest.split_once(' ')).and_then(|(n, _)| n.parse().ok());
        let off: i64 = off.unwrap_or_else(|| panic!("{seconds}: {last}"));
        assert!((seconds - 3..=seconds + 3).contains(&off), "{seconds}: {last}");
        assert_eq!(code, Some(wanted_code), "{seconds}");
    }
}

#[test]
fn without_credentials_nothing_else_is_tried() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    let (lines, code) = said(&site, |command| {
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    });
    assert_eq!((lines.len(), code), (1, Some(1)));
    assert!(lines[0].starts_with("credentials: FAILED: NoCredentials: "), "{lines:?}");
    assert!(
        lines[0]
            .ends_with("give the host a role, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name an AWS profile")
    );
}

#[test]
fn a_delivery_stream_is_described_and_not_written_to() {
    let Some(mut moto) = Moto::start("a_delivery_stream_is_described_and_not_written_to") else { return };
    moto.firehose("logs", OWN);
    let ask = |stream: &str| {
        let site = Site::new();
        let destination = format!("firehose: {{ stream: {stream} }}");
        site.configure(&Yaml::new("app.log", &moto.url()).destination(&destination));
        said(&site, |_| ())
    };
    let (lines, code) = ask("logs");
    assert_eq!(lines[1], "stream: ok: logs in eu-west-1: ACTIVE");
    assert!(lines[2].starts_with("write: unknown: not tried"), "{lines:?}");
    assert_eq!(code, Some(0));
    let (lines, code) = ask("none");
    assert!(lines[1].starts_with("stream: FAILED: ResourceNotFoundException"), "{lines:?}");
    assert_eq!(code, Some(1));
}
