//! The stream read through the SDK, as a consumer does: places to begin at, pages, shards that came and went, faults.

use std::collections::BTreeMap;

use aws_sdk_kinesis::{
    Client,
    operation::get_records::GetRecordsOutput,
    primitives::DateTime,
    types::{Record, Shard, ShardIteratorType},
};
use tokio::runtime::Runtime;

use super::{client, code, put, put_lines, runtime};
use crate::support::{faults::Kinesis, reading::Read, shards::shard_id, tally::assert_all_once, writer::line};

struct Reader {
    client: Client,
    runtime: Runtime,
}

impl Reader {
    fn of(kinesis: &Kinesis) -> Self {
        Self { client: client(&kinesis.url()), runtime: runtime() }
    }

    /// Every shard, and how many pages they were on.
    fn shards(&self) -> (Vec<Shard>, usize) {
        let (mut shards, mut token, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let name = token.is_none().then(|| "logs".to_owned());
            let request = self.client.list_shards().set_stream_name(name).set_next_token(token);
            let page = self.runtime.block_on(request.send()).expect("a list of shards");
            shards.extend_from_slice(page.shards());
            pages += 1;
            token = page.next_token;
            if token.is_none() {
                return (shards, pages);
            }
        }
    }

    /// An iterator; `at` is the sequence number or the time that its kind needs.
    fn iterator(
        &self,
        shard: &str,
        kind: ShardIteratorType,
        at: (Option<&str>, Option<DateTime>),
    ) -> Result<String, String> {
        let request = self.client.get_shard_iterator().stream_name("logs").shard_id(shard).shard_iterator_type(kind);
        let request = request.set_starting_sequence_number(at.0.map(str::to_owned)).set_timestamp(at.1);
        let answer = self.runtime.block_on(request.send()).map_err(|e| code(&e))?;
        Ok(answer.shard_iterator.expect("an iterator"))
    }

    fn page(&self, iterator: &str, limit: Option<i32>) -> Result<GetRecordsOutput, String> {
        let request = self.client.get_records().shard_iterator(iterator).set_limit(limit);
        self.runtime.block_on(request.send()).map_err(|e| code(&e))
    }

    /// Everything from here to the present end, and the children of the shard if it was closed.
    fn rest(&self, iterator: String, limit: Option<i32>) -> (Vec<Record>, Vec<String>) {
        let (mut records, mut next) = (Vec::new(), iterator);
        loop {
            let page = self.page(&next, limit).expect("a page");
            assert!(limit.is_none_or(|most| page.records.len() <= usize::try_from(most).expect("a limit")));
            let children = page.child_shards().iter().map(|child| child.shard_id.clone()).collect();
            let at_end = page.millis_behind_latest == Some(0);
            records.extend(page.records);
            match page.next_shard_iterator {
                Some(iterator) if !at_end => next = iterator,
                _ => return (records, children),
            }
        }
    }

    fn whole(&self, shard: &str, limit: Option<i32>) -> (Vec<Record>, Vec<String>) {
        let iterator = self.iterator(shard, ShardIteratorType::TrimHorizon, (None, None)).expect("an iterator");
        self.rest(iterator, limit)
    }
}

fn data(records: &[Record]) -> Vec<Vec<u8>> {
    records.iter().map(|record| record.data.as_ref().to_vec()).collect()
}

#[test]
fn everything_is_read_back_in_order_from_shards_that_split_and_merge() {
    let kinesis = Kinesis::start_with(7);
    assert_eq!(put_lines(&kinesis.url(), 0..500), Ok(0));
    assert_eq!((kinesis.split(2), kinesis.merge(0, 1)), ([7, 8], 9));
    assert_eq!(put_lines(&kinesis.url(), 500..1000), Ok(0));
    let reader = Reader::of(&kinesis);
    let (shards, pages) = reader.shards();
    assert_eq!((shards.len(), pages), (10, 4), "three on a page");
    let (mut read, mut children) = (Vec::new(), BTreeMap::new());
    for (number, shard) in shards.iter().enumerate() {
        assert_eq!(shard.shard_id, shard_id(number));
        let (records, mut after) = reader.whole(&shard.shard_id, Some(7));
        assert!(records.is_sorted_by(|a, b| a.sequence_number < b.sequence_number));
        read.extend(records);
        after.sort();
        children.insert(number, after);
        let range = shard.sequence_number_range().expect("a range");
        assert_eq!(range.ending_sequence_number.is_some(), number < 3, "the first three are closed");
    }
    let data = data(&read);
    assert_all_once(&data, "t", 1000, 0);
    kinesis.see(|l| {
        assert!(l.consumed().iter().map(|a| &a.data).eq(&data));
        assert_eq!((l.requests, l.most_at_once, l.signed.len()), (2, 1, 2), "to read is no request of these");
        assert!(l.reads > 100 && l.violations.is_empty(), "{} reads, {:?}", l.reads, l.violations);
    });
    assert!(children[&0] == [shard_id(9)] && children[&1] == [shard_id(9)] && children[&3].is_empty());
    assert_eq!(children[&2], [shard_id(7), shard_id(8)]);
    let parents = |number: usize| (shards[number].parent_shard_id(), shards[number].adjacent_parent_shard_id());
    assert_eq!(parents(8), (Some(shard_id(2).as_str()), None));
    assert_eq!(parents(9), (Some(shard_id(0).as_str()), Some(shard_id(1).as_str())));
}

#[test]
fn each_kind_of_iterator_begins_where_it_says() {
    use ShardIteratorType::{AfterSequenceNumber, AtSequenceNumber, AtTimestamp, Latest, TrimHorizon};
    let kinesis = Kinesis::start_with(1);
    assert_eq!(put_lines(&kinesis.url(), 0..10), Ok(0));
    kinesis.set_clock(60);
    assert_eq!(put_lines(&kinesis.url(), 10..20), Ok(0));
    let reader = Reader::of(&kinesis);
    let shard = shard_id(0);
    let latest = reader.iterator(&shard, Latest, (None, None)).expect("an iterator");
    assert_eq!(put_lines(&kinesis.url(), 20..25), Ok(0));
    let lines = |first: u64| (first..25).map(|n| line("t", n)).collect::<Vec<_>>();
    let from = |kind, at| {
        let iterator = reader.iterator(&shard, kind, at).expect("an iterator");
        data(&reader.rest(iterator, None).0)
    };
    let (all, _) = reader.whole(&shard, None);
    assert_eq!(data(&all), lines(0));
    assert_eq!(data(&reader.rest(latest, None).0), lines(20));
    assert_eq!(from(TrimHorizon, (None, None)), lines(0));
    assert_eq!(from(AtSequenceNumber, (Some(all[7].sequence_number()), None)), lines(7));
    assert_eq!(from(AfterSequenceNumber, (Some(all[7].sequence_number()), None)), lines(8));
    let (shards, _) = reader.shards();
    let first = shards[0].sequence_number_range().expect("a range").starting_sequence_number();
    assert_eq!(from(AtSequenceNumber, (Some(first), None)), lines(0));
    let arrived = all[10].approximate_arrival_timestamp;
    assert_eq!(from(AtTimestamp, (None, arrived)), lines(10));
    assert_eq!(from(AtTimestamp, (None, Some(DateTime::from_secs(1)))), lines(0));
    kinesis.set_clock(0);
    let refused = reader.iterator(&shard, AtTimestamp, (None, arrived));
    assert_eq!(refused, Err("InvalidArgumentException".to_owned()), "a time that is yet to come");
}

#[test]
fn a_page_has_a_thousand_records_unless_told_otherwise_and_says_what_is_left() {
    let kinesis = Kinesis::start_with(1);
    for first in [0, 500, 1000] {
        assert_eq!(put_lines(&kinesis.url(), first..first + 500), Ok(0));
    }
    let reader = Reader::of(&kinesis);
    let start = reader.iterator(&shard_id(0), ShardIteratorType::TrimHorizon, (None, None)).expect("an iterator");
    let page = |iterator: &str, limit| {
        let page = reader.page(iterator, limit).expect("a page");
        let behind = page.millis_behind_latest.is_some_and(|millis| millis > 0);
        (page.records.len(), behind, page.next_shard_iterator.expect("the shard is open"))
    };
    let (count, behind, next) = page(&start, None);
    assert_eq!((count, behind), (1000, true));
    let (count, behind, end) = page(&next, None);
    assert_eq!((count, behind), (500, false));
    assert_eq!(page(&end, None), (0, false, end.clone()));
    let (count, behind, _) = page(&start, Some(10_000));
    assert_eq!((count, behind), (1500, false));
    assert_eq!(reader.page(&start, Some(10_001)).err(), Some("ValidationException".to_owned()));
}

#[test]
fn every_fault_of_reading_does_what_it_says_and_leaves_puts_alone() {
    let kinesis = Kinesis::start_with(1);
    let reader = Reader::of(&kinesis);
    assert_eq!(put(&kinesis.url(), 10), Ok(0));
    let start = reader.iterator(&shard_id(0), ShardIteratorType::TrimHorizon, (None, None)).expect("an iterator");
    let faults = [
        (Read::THROTTLED, "ProvisionedThroughputExceededException"),
        (Read::EXPIRED, "ExpiredIteratorException"),
        (Read::DENIED, "AccessDeniedException"),
        (Read::KMS, "KMSDisabledException"),
        (Read::GONE, "ResourceNotFoundException"),
        (Read::HangUp, ""),
    ];
    for (fault, heard) in faults {
        kinesis.reading(move |_, _| fault.clone());
        assert_eq!(reader.page(&start, None).err(), Some(heard.to_owned()));
        assert_eq!(put(&kinesis.url(), 10), Ok(0));
    }
    kinesis.reading(|operation, n| if operation == "GetRecords" && n < 2 { Read::Empty } else { Read::Pass });
    let empty = reader.page(&start, None).expect("a page");
    assert!(empty.records.is_empty() && empty.millis_behind_latest.is_some_and(|millis| millis > 0));
    let (records, _) = reader.rest(empty.next_shard_iterator.expect("an iterator"), None);
    assert_eq!(records.len(), 70, "the second is empty too, the third is not");
    assert_eq!(kinesis.see(|l| l.requests), 7);
}

#[test]
fn of_a_stream_that_was_made_anew_nothing_old_can_be_read() {
    let kinesis = Kinesis::start_with(2);
    let reader = Reader::of(&kinesis);
    assert_eq!(put_lines(&kinesis.url(), 0..100), Ok(0));
    let (old, _) = reader.shards();
    let (records, _) = reader.whole(&old[0].shard_id, None);
    let iterator =
        reader.iterator(&old[0].shard_id, ShardIteratorType::TrimHorizon, (None, None)).expect("an iterator");
    kinesis.recreate();
    assert_eq!(put_lines(&kinesis.url(), 100..150), Ok(0));
    let gone = || "ResourceNotFoundException".to_owned();
    assert_eq!(reader.page(&iterator, None).err(), Some(gone()));
    assert_eq!(reader.iterator(&old[0].shard_id, ShardIteratorType::Latest, (None, None)), Err(gone()));
    let (new, _) = reader.shards();
    assert_eq!(new.iter().map(|shard| shard.shard_id.clone()).collect::<Vec<_>>(), [shard_id(2), shard_id(3)]);
    let after = (Some(records[0].sequence_number.as_str()), None);
    let refused = reader.iterator(&new[0].shard_id, ShardIteratorType::AfterSequenceNumber, after);
    assert_eq!(refused, Err("InvalidArgumentException".to_owned()), "a number of the old stream");
    let read: usize = new.iter().map(|shard| reader.whole(&shard.shard_id, None).0.len()).sum();
    assert_eq!((read, kinesis.see(|l| l.consumed().len()), kinesis.count()), (50, 50, 150));
}

#[test]
fn a_summary_tells_of_the_stream_as_it_is() {
    let kinesis = Kinesis::start();
    let reader = Reader::of(&kinesis);
    let summary = || {
        let request = reader.client.describe_stream_summary().stream_name("web");
        let answer = reader.runtime.block_on(request.send()).expect("a summary");
        answer.stream_description_summary.expect("a summary")
    };
    let before = summary();
    assert_eq!((before.open_shard_count, before.max_record_size_in_kib), (4, Some(1024)));
    assert_eq!((before.stream_name(), before.stream_status().as_str()), ("web", "ACTIVE"));
    assert_eq!((before.retention_period_hours, before.consumer_count), (24, Some(0)));
    kinesis.split(0);
    kinesis.max_record_kib(10_240);
    let after = summary();
    assert_eq!((after.open_shard_count, after.max_record_size_in_kib), (5, Some(10_240)));
    assert_eq!(after.stream_creation_timestamp, before.stream_creation_timestamp);
    kinesis.set_clock(3600);
    kinesis.recreate();
    let anew = summary();
    assert_eq!(anew.open_shard_count, 4);
    assert!(anew.stream_creation_timestamp > before.stream_creation_timestamp);
}
