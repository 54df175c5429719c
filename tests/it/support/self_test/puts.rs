//! What becomes of records on their way in: which shard they go to, whom a limit holds up, what is taken late.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use aws_sdk_kinesis::{primitives::Blob, types::PutRecordsRequestEntry};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimeParser};

use super::{put, put_entries, put_lines};
use crate::support::{
    SOON, expect,
    faults::{Fault, Kinesis},
    shards,
};

fn entry(data: Vec<u8>, hash: u128) -> PutRecordsRequestEntry {
    let entry = PutRecordsRequestEntry::builder().data(Blob::new(data)).partition_key("k");
    entry.explicit_hash_key(hash.to_string()).build().expect("data and key are set")
}

#[test]
fn a_record_goes_to_the_open_shard_that_holds_its_hash() {
    let kinesis = Kinesis::start_with(5);
    assert_eq!(put_lines(&kinesis.url(), 0..300), Ok(0));
    kinesis.split(4);
    assert_eq!(put_entries(&kinesis.url(), vec![entry(b"low".to_vec(), 0), entry(b"high".to_vec(), u128::MAX)]), Ok(0));
    kinesis.see(|l| {
        for (record, number) in l.accepted.iter().zip(1..) {
            let shard = l.shards.get(record.shard).expect("a shard of the stream");
            let hash = shards::hash(&record.partition_key, record.explicit_hash_key.as_deref());
            assert!((shard.start..=shard.end).contains(&hash), "{record:?}");
            assert_eq!(record.sequence, number);
        }
        let [.., low, high] = &l.accepted[..] else { panic!("302 records") };
        assert_eq!((low.shard, high.shard), (0, 6));
        assert_eq!((low.explicit_hash_key.as_deref(), &l.accepted[0].explicit_hash_key), (Some("0"), &None));
    });
}

#[test]
fn what_is_taken_late_was_never_answered_and_is_in_doubt() {
    let kinesis = Kinesis::start();
    let delay = Duration::from_millis(200);
    kinesis.set(Fault::TakeLate(delay));
    let start = Instant::now();
    assert_eq!(put(&kinesis.url(), 10), Err(String::new()));
    expect("the records", SOON, || kinesis.count() == 10);
    assert!(start.elapsed() >= delay);
    kinesis.see(|l| assert_eq!((l.doubtful.len(), l.requests, l.violations.len()), (10, 1, 0)));
}

#[test]
fn a_limited_shard_refuses_what_is_too_much_and_takes_it_later() {
    let kinesis = Kinesis::start_with(2);
    kinesis.limit(1, 1);
    let entries = (0..100).map(|n: u8| entry(vec![n], u128::MAX * u128::from(n % 2))).collect();
    let refused = put_entries(&kinesis.url(), entries).expect("an answer");
    assert!((1..50).contains(&refused), "{refused} of 50");
    kinesis.see(|l| {
        assert_eq!((l.offered_by_shard[&0], l.offered_by_shard[&1]), (50, 50));
        assert_eq!(l.refused_by_shard.get(&1).copied(), u64::try_from(refused).ok());
        assert_eq!((l.refused_by_shard.get(&0), l.refused), (None, l.refused_by_shard[&1]));
        assert_eq!(l.accepted.len() as u64, 100 - l.refused);
    });
    expect("the bucket to fill again", SOON, || {
        put_entries(&kinesis.url(), vec![entry(b"later".to_vec(), u128::MAX)]) == Ok(0)
    });
    kinesis.set(Fault::ThrottleShard(0));
    assert_eq!(put_entries(&kinesis.url(), vec![entry(b"never".to_vec(), 0)]), Ok(1), "a fault works as before");
}

#[test]
fn a_stream_can_be_told_to_take_larger_records() {
    let kinesis = Kinesis::start();
    let large = || vec![entry(vec![b'x'; 3 << 19], 0)];
    assert_eq!(put_entries(&kinesis.url(), large()), Err("ValidationException".to_owned()));
    kinesis.max_record_kib(2048);
    assert_eq!(put_entries(&kinesis.url(), large()), Ok(0));
}

#[test]
fn the_clock_of_the_service_is_in_its_answers_and_in_the_times_of_arrival() {
    let kinesis = Kinesis::start();
    kinesis.set_clock(-7200);
    let expected = Timestamp::now() - SignedDuration::from_secs(7200);
    let near = |time: Timestamp| time.duration_since(expected).abs() < SignedDuration::from_secs(600);
    let mut connection = TcpStream::connect(kinesis.address()).expect("a connection");
    connection.write_all(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n").expect("a request");
    let mut head = BufReader::new(connection).lines().map_while(Result::ok);
    let date = head.find_map(|line| line.strip_prefix("Date: ").map(str::to_owned)).expect("a date");
    assert!(date.ends_with(" GMT"), "{date}");
    assert!(near(DateTimeParser::new().parse_timestamp(&date).expect("a date of HTTP")), "{date}");
    assert_eq!(put(&kinesis.url(), 1), Ok(0));
    kinesis.see(|l| assert!(near(Timestamp::from_millisecond(l.accepted[0].arrived).expect("a time"))));
}
