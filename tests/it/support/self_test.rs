//! The tools tested: what a fault does to a client, what the ledger says of it, what a tally finds.

mod puts;
mod reading;
mod shards;

use std::{ops::Range, time::Duration};

use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
    types::PutRecordsRequestEntry,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::runtime::Runtime;

use super::{
    faults::{Fault, Kinesis},
    stand_in::StandIn,
    tally::{Tally, assert_all_once},
    writer::line,
};

/// A client that tries once.
fn client(url: &str) -> Client {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(http)
        .endpoint_url(url)
        .build();
    Client::from_conf(config)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The code of an error, empty without an answer.
fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> String {
    match error {
        SdkError::ServiceError(e) => e.err().meta().code().unwrap_or("no code").to_owned(),
        _ => String::new(),
    }
}

/// Puts `count` lines in one request. `Ok`: how many of them failed; `Err`: the error's code, empty without an answer.
fn put(url: &str, count: u64) -> Result<i32, String> {
    put_lines(url, 0..count)
}

/// The same with these lines.
fn put_lines(url: &str, lines: Range<u64>) -> Result<i32, String> {
    let entry = |n: u64| {
        let entry = PutRecordsRequestEntry::builder().data(Blob::new(line("t", n))).partition_key(n.to_string());
        entry.build().expect("data and key are set")
    };
    put_entries(url, lines.map(entry).collect())
}

/// The same with these records.
fn put_entries(url: &str, entries: Vec<PutRecordsRequestEntry>) -> Result<i32, String> {
    let request = client(url).put_records().stream_name("logs").set_records(Some(entries));
    match runtime().block_on(request.send()) {
        Ok(answer) => Ok(answer.failed_record_count().unwrap_or(0)),
        Err(e) => Err(code(&e)),
    }
}

/// One request of ten lines under `fault`: what the client hears, how many were taken, how many of them in doubt.
#[track_caller]
fn check(fault: Fault, heard: Result<i32, &str>, taken: usize, doubtful: usize) {
    let kinesis = Kinesis::start();
    kinesis.set(fault);
    assert_eq!(put(&kinesis.url(), 10), heard.map_err(str::to_owned));
    assert_eq!(kinesis.see(|l| (l.accepted.len(), l.doubtful.len(), l.violations.clone())), (taken, doubtful, vec![]));
}

#[test]
fn every_fault_does_what_it_says() {
    check(Fault::Pass, Ok(0), 10, 0);
    check(Fault::ThrottleEach(4), Ok(2), 8, 0);
    check(Fault::FailRecord(3), Ok(1), 9, 0);
    check(Fault::EXPIRED_TOKEN, Err("ExpiredTokenException"), 0, 0);
    check(Fault::INTERNAL_FAILURE, Err("InternalFailure"), 0, 0);
    check(Fault::TakeButAnswer(500), Err("InternalFailure"), 10, 10);
    check(Fault::TakeButHangUp, Err(""), 10, 10);
    check(Fault::TakeButTruncate, Err(""), 10, 10);
    check(Fault::Reset, Err(""), 0, 0);
    check(Fault::Slow(Duration::from_millis(20)), Ok(0), 10, 0);
    check(Fault::Poison(b"t 0000000007".to_vec()), Err("ValidationException"), 0, 0);
    check(Fault::Poison(b"t 0000000017".to_vec()), Ok(0), 10, 0);
}

#[test]
fn a_throttled_shard_refuses_its_own_records_only() {
    let kinesis = Kinesis::start();
    kinesis.set(Fault::ThrottleShard(2));
    let failed = put(&kinesis.url(), 100).expect("an answer");
    assert!((1..100).contains(&failed), "{failed} of 100 failed");
    assert!(kinesis.see(|l| l.accepted.iter().all(|a| a.shard != 2)));
}

#[test]
fn an_endpoint_that_is_down_takes_nothing_until_it_is_up() {
    let kinesis = Kinesis::start();
    kinesis.down();
    assert_eq!(put(&kinesis.url(), 10), Err(String::new()));
    kinesis.up();
    assert!(super::until(super::SOON, || put(&kinesis.url(), 10).is_ok()));
    assert_eq!(kinesis.count(), 10);
}

#[test]
fn the_stand_in_gives_back_what_was_put() {
    let stand_in = StandIn::start("logs", 3);
    assert_eq!(put(&stand_in.url(), 500), Ok(0));
    let data: Vec<_> = stand_in.read_all().into_iter().map(|r| r.data).collect();
    assert_all_once(&data, "t", 500, 0);
}

#[test]
fn a_tally_finds_what_is_missing_repeated_and_damaged() {
    let mut records: Vec<Vec<u8>> = (0..100).filter(|n| !(20..25).contains(n)).map(|n| line("t", n)).collect();
    records.push(line("t", 3));
    records.push(line("t", 99)[1..].to_vec());
    let tally = Tally::of(records.iter().map(Vec::as_slice), "t", 100);
    assert_eq!((tally.missing(), tally.repeated()), (5, 1));
    let complaint = tally.complaint(0).expect("something is wrong");
    for part in ["5 of 100 missing: 20-24\n", "1 repeated, 0 allowed: 3-3\n", "not a line of it"] {
        assert!(complaint.contains(part), "{part:?} not in {complaint}");
    }
}
