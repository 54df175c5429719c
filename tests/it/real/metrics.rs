//! What `CloudWatch` is told, what happens when it does not listen, and what the log says of each flow.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::Command,
};

use rustix::process::Signal;

use crate::support::{
    SOON,
    agent::{Agent, command},
    cloudwatch::{CloudWatch, Mood},
    expect,
    faults::{Fault, Kinesis},
    ledger::Accepted,
    long,
    moto::{Metric, Moto},
    site::{Site, Yaml},
    tally::assert_all_once,
    writer::Writer,
};

/// A site with 1000 lines, and metrics to `url`.
fn site(url: &str, interval: &str) -> (Site, Kinesis) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let dimensions = r#"dimensions: { Instance: "${host}", Stage: test }"#;
    let metrics =
        format!("metrics: {{ cloudwatch: {{ endpoint_url: \"{url}\", interval: {interval}, {dimensions} }} }}");
    site.configure(&Yaml::new("app.log", &kinesis.url()).top(&metrics));
    Writer::new(&site.log("app.log"), "m").lines(1000);
    (site, kinesis)
}

fn signed(site: &Site, (id, secret): &(String, String)) -> Command {
    let mut command = command(site, &["run"]);
    command.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret);
    command
}

#[test]
fn cloudwatch_holds_what_was_delivered_as_statistic_sets() {
    let Some(mut moto) = Moto::start("cloudwatch_holds_what_was_delivered_as_statistic_sets") else { return };
    let (site, kinesis) = site(&moto.url(), "1s");
    // AWS calls the permission cloudwatch:PutMetricData; moto takes the service's name from the signature.
    let user = moto.user("agent", "monitoring:PutMetricData");
    moto.check_signatures();
    kinesis.set(Fault::ThrottleEach(100));
    let agent = Agent::start(&site, signed(&site, &user));
    expect("the lines", SOON, || kinesis.count() >= 1000);
    agent.stop();
    let (requests, attempts) = kinesis.see(|l| (l.requests, l.attempts));
    let metrics = moto.metrics("Headwater");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let metric = |name: &str, unit: &str, destination: &str| -> &Metric {
        let dimensions = [format!("Destination={destination}"), format!("Instance={host}"), "Stage=test".to_owned()];
        let known = |m: &&Metric| m.name == name && m.unit == unit && m.dimensions == dimensions;
        metrics.iter().find(known).unwrap_or_else(|| panic!("no {name} in {unit} of {destination}: {metrics:?}"))
    };
    let stream = "KinesisStream:logs";
    let tried = metric("RecordSendAttempts", "Count", stream);
    assert_eq!((tried.count, tried.sum), (requests, attempts), "{tried:?}");
    assert!(tried.max <= 500 && tried.min >= 1, "{tried:?}");
    let sent = metric("RecordsSent", "Count", stream);
    assert_eq!((sent.count, sent.sum), (requests, 1000), "{sent:?}");
    assert_eq!(metric("RecordSendErrors", "Count", stream).sum, attempts - 1000);
    let bytes = std::fs::metadata(site.log("app.log")).expect("the log").len();
    assert_eq!(metric("BytesSent", "Bytes", stream).sum, bytes);
    assert_eq!(metric("ServiceErrors", "Count", stream).max, 0);
    assert_eq!(metric("ConsecutiveProcessingErrors", "Count", "logs").max, 0);
    assert_eq!(metric("BytesBehind", "Bytes", stream).min, 0);
    assert_eq!(metric("SecondsBehind", "Seconds", stream).min, 0);
    for name in ["RecordsSkipped", "RecordsTruncated", "RecordsDeadLettered"] {
        assert_eq!(metric(name, "Count", stream).sum, 0, "{name}");
    }
    assert_eq!(metrics.len(), 11, "{metrics:?}");
}

#[test]
fn metrics_that_were_refused_go_with_the_next_and_delivery_does_not_notice() {
    let cloudwatch = CloudWatch::start(Mood::Denies);
    let (site, kinesis) = site(&cloudwatch.url(), "1s");
    let mut agent = Agent::run(&site);
    expect("the lines", SOON, || kinesis.count() >= 1000);
    assert!(agent.says(&["cloudwatch:PutMetricData"], SOON), "{}", agent.log());
    expect("another attempt", SOON, || cloudwatch.asked() > 2);
    assert_eq!(agent.log().matches("metrics were not sent").count(), 1, "{}", agent.log());
    cloudwatch.set(Mood::Takes);
    expect("the sums", SOON, || cloudwatch.sum("RecordsSent") >= 1000);
    assert!(agent.says(&["metrics are sent to CloudWatch again"], SOON), "{}", agent.log());
    assert!(agent.alive());
    agent.stop();
    assert_eq!(cloudwatch.sum("RecordsSent"), 1000, "nothing is counted twice");
    kinesis.see(|l| assert_all_once(&l.data(), "m", 1000, 0));
}

#[test]
fn a_cloudwatch_that_cannot_be_reached_disturbs_nothing() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a port");
    let (site, kinesis) = site(&format!("http://{closed}"), "1s");
    let agent = Agent::run(&site);
    assert!(agent.says(&["metrics were not sent"], SOON), "{}", agent.log());
    expect("the lines", SOON, || kinesis.count() >= 1000);
    agent.stop();
    kinesis.see(|l| assert_all_once(&l.data(), "m", 1000, 0));
}

#[test]
fn the_last_metrics_are_sent_at_the_stop_and_at_the_end_of_once() {
    let cloudwatch = CloudWatch::start(Mood::Takes);
    let (site, kinesis) = site(&cloudwatch.url(), "1h");
    let agent = Agent::run(&site);
    expect("the lines", SOON, || kinesis.count() >= 1000);
    agent.stop();
    assert_eq!((cloudwatch.asked(), cloudwatch.sum("RecordsSent")), (1, 1000));
    Writer::new(&site.log("app.log"), "n").lines(10);
    Agent::once(&site, SOON);
    assert_eq!((cloudwatch.asked(), cloudwatch.sum("RecordsSent")), (2, 1010));
}

#[test]
fn a_stop_does_not_wait_for_a_cloudwatch_that_is_silent() {
    let cloudwatch = CloudWatch::start(Mood::Silent);
    let (site, kinesis) = site(&cloudwatch.url(), "1h");
    let mut agent = Agent::run(&site);
    expect("the lines", SOON, || kinesis.count() >= 1000);
    agent.signal(Signal::TERM);
    // The request itself would give up after ten seconds.
    assert!(agent.wait(SOON).success());
    assert!(agent.says(&["the last metrics were not sent"], SOON), "{}", agent.log());
}

#[test]
fn each_flow_says_its_sums_at_the_stop() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()).step("parse: { regex: '^(?P<m>m)', on_mismatch: drop }"));
    let mut writer = Writer::new(&site.log("app.log"), "m");
    writer.lines(100);
    Writer::new(&site.log("app.log"), "x").lines(7);
    let bytes = std::fs::metadata(site.log("app.log")).expect("the log").len();
    let agent = Agent::run(&site);
    expect("the lines", SOON, || kinesis.count() >= 100);
    if long() {
        assert!(agent.says(&["info progress"], SOON * 2), "{}", agent.log());
    }
    let log = site.path("agent.log");
    agent.stop();
    let log = std::fs::read_to_string(log).expect("the log is text");
    let line = log.lines().find(|l| l.contains("flow stopped")).unwrap_or_else(|| panic!("{log}"));
    for field in [
        r#"flow="test""#.to_owned(),
        format!("read_bytes={bytes}"),
        "read_records=107".to_owned(),
        "sent_records=100".to_owned(),
        "skipped=7".to_owned(),
        "mismatched=7".to_owned(),
        "dead_lettered=0".to_owned(),
        "behind_bytes=0".to_owned(),
        "files=1".to_owned(),
    ] {
        assert!(line.contains(&field), "no {field} in {line}");
    }
}

#[test]
fn what_is_billed_is_counted_by_the_records_of_the_stream() {
    for (shape, records) in [("", 200), (", aggregate: true", 1)] {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        let yaml = Yaml::new("app.log", &kinesis.url());
        site.configure(&yaml.destination(&format!("kinesis: {{ stream: logs{shape} }}")));
        Writer::new(&site.log("app.log"), "u").lines(200);
        let agent = Agent::run(&site);
        expect("the lines", SOON, || kinesis.count() == records);
        agent.stop();
        let length = |a: &Accepted| (a.data.len() + a.partition_key.len()) as u64;
        let sum = |unit: u64| kinesis.see(|l| l.accepted.iter().map(|a| length(a).div_ceil(unit)).sum::<u64>());
        // 25 KiB are a unit of payload, and on demand each record is rounded up to 1 KiB.
        let (units, rounded) = (sum(25 << 10), sum(1 << 10) << 10);
        let log = std::fs::read_to_string(site.path("agent.log")).expect("the log is text");
        let line = log.lines().find(|l| l.contains("flow stopped")).unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains(&format!(" put_units={units} rounded_bytes={rounded} ")), "{units} {rounded}: {line}");
        assert!(line.contains(" sent_records=200 "), "{line}");
    }
}
