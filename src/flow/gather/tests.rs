//! Lines through batches and requests to a consumer, with shards that split and merge on the way.

use std::{collections::HashMap, ops::RangeInclusive, path::Path, time::Duration, time::Instant};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{
    deliver::{
        kinesis::tests::laid_out,
        kpl::reader::{UserRecord, consume, hash, is_aggregate},
    },
    flow::{
        Limits,
        batch::{Closed, OpenBatch},
    },
    model::{Mark, Print},
};

/// A line of a file: which file, and its key.
type Line<'a> = (u64, Option<&'a str>, &'a [u8]);

/// Pushes lines as the cutter does.
fn batches(limits: Limits, shape: Shape, lines: &[Line<'_>]) -> Vec<Batch> {
    let (mut open, now, mut closed) = (OpenBatch::new(limits, shape), Instant::now(), Vec::new());
    let mut ends = HashMap::new();
    for (generation, key, line) in lines {
        let file = FileRef { generation: Generation(*generation), path: Path::new("/a").into() };
        let end = ends.entry(*generation).or_insert(0);
        let span = Span { start: *end, end: *end + line.len() as u64 + 1 };
        let mark = |end| Mark { generation: file.generation, end, tail: Print::default() };
        let from = open.data().len();
        open.data().extend_from_slice(line);
        open.push(&file, span, from, *key, now);
        if open.is_over() {
            open.mark(mark(span.start), now);
            closed.push(open.close_without_last(now));
        }
        *end = span.end;
        if open.is_full() {
            open.mark(mark(span.end), now);
            closed.push(open.close());
        }
    }
    closed.push(open.close());
    for Closed { batch, bytes, .. } in &closed {
        assert_eq!(*bytes, batch.records.iter().map(|record| record.size as usize).sum::<usize>());
        assert!(batch.records.len() <= limits.batch_records);
        assert!(*bytes <= limits.batch_bytes || batch.parts.len() == 1);
    }
    closed.into_iter().map(|closed| closed.batch).collect()
}

fn limits(batch_records: usize, batch_bytes: usize) -> Limits {
    Limits { batch_records, batch_bytes, batch_age: Duration::from_secs(1), buffer: 1 << 20 }
}

fn kpl(max_bytes: usize, max_records: u32, slots: bool) -> Shape {
    let aggregate = Some(Aggregate { encoding: Encoding::Kpl, max_bytes, max_records });
    Shape { overhead: if slots { 768 } else { 10 }, newline: false, aggregate, slots, ids: false }
}

/// The records of a request, as the stream gets them.
fn put(batch: &Batch, aggregates: bool, ids: bool) -> Vec<UserRecord> {
    let which: Vec<u32> = (0..offset(batch.records.len())).collect();
    let body: Value = serde_json::from_slice(&laid_out(aggregates, ids, batch, &which)).expect("JSON");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let record = |record: &Value| UserRecord {
        partition_key: text(&record["PartitionKey"]).expect("a key"),
        explicit_hash_key: text(&record["ExplicitHashKey"]),
        data: base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().expect("data")).expect("base64"),
    };
    body["Records"].as_array().expect("a list").iter().map(record).collect()
}

/// Shards from their last hashes; the last one ends the space.
fn shards(ends: &[u128]) -> Vec<RangeInclusive<u128>> {
    let mut ends = [ends, &[u128::MAX]].concat();
    ends.sort_unstable();
    ends.dedup();
    let starts = std::iter::once(0).chain(ends.iter().map(|end| end.wrapping_add(1)));
    starts.zip(&ends).map(|(start, end)| start..=*end).collect()
}

/// How the hash space is divided: at random, evenly, or right at the slots' own hashes.
fn divided() -> impl Strategy<Value = Vec<RangeInclusive<u128>>> {
    let at_a_slot = (any::<u8>(), -1..=1i128).prop_map(|(slot, by)| {
        let hash: u128 = Slot(slot).explicit_hash_key().to_string().parse().expect("a number");
        hash.wrapping_add_signed(by)
    });
    let even = (1..600u128).prop_map(|n| (1..n).map(|i| u128::MAX / n * i).collect::<Vec<_>>());
    let ends = prop_oneof![prop::collection::vec(any::<u128>(), 0..40), even, prop::collection::vec(at_a_slot, 0..20),];
    ends.prop_map(|ends| shards(&ends))
}

#[derive(Clone, Debug)]
struct Case {
    lines: Vec<(u64, usize, usize)>,
    limits: (usize, usize),
    max: (usize, u32),
    has_keys: bool,
    aggregates: bool,
    /// The partition key is the record's id.
    ids: bool,
    /// How the shards lie when the first batch arrives, the second, and so on.
    shards: Vec<Vec<RangeInclusive<u128>>>,
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec((1..4u64, 0..30usize, 0..60usize), 1..150),
        (1..20usize, 1_000..20_000usize),
        (1..4_000usize, prop_oneof![1..10u32, Just(u32::MAX)]),
        any::<bool>(),
        prop::bool::weighted(0.9),
        any::<bool>(),
        prop::collection::vec(divided(), 1..4),
    )
        .prop_map(|(lines, limits, max, has_keys, aggregates, ids, shards)| Case {
            lines,
            limits,
            max,
            has_keys,
            aggregates,
            ids,
            shards,
        })
}

/// A key like those that people choose, some awkward.
fn key_of(n: usize) -> String {
    match n {
        0 => "é\"\\\n".repeat(60),
        1 => "\u{7f}\u{1}".to_owned(),
        n => format!("client-{n}"),
    }
}

proptest! {
    /// The rule of the Kinesis Client Library holds for every record, so that no aggregate is ever thrown away.
    #[test]
    fn every_line_reaches_the_consumer_whatever_becomes_of_the_shards(case in case()) {
        let texts: Vec<(String, Vec<u8>)> = case.lines.iter().enumerate().map(|(i, (generation, key, len))| {
            (key_of(*key), format!("{i} {generation} {key} {}", "x".repeat(*len)).into_bytes())
        }).collect();
        let lines: Vec<Line<'_>> = case.lines.iter().zip(&texts).map(|((generation, ..), (key, text))| {
            (*generation, case.has_keys.then_some(key.as_str()), text.as_slice())
        }).collect();
        let mut shape = Shape { ids: case.ids, ..kpl(case.max.0, case.max.1, case.has_keys) };
        if !case.aggregates {
            (shape.aggregate, shape.slots) = (None, false);
        }
        let mut seen = vec![0; lines.len()];
        let mut last = HashMap::new();
        for (at, batch) in batches(limits(case.limits.0, case.limits.1), shape, &lines).iter().enumerate() {
            let shards = &case.shards[at % case.shards.len()];
            let mut home = HashMap::new();
            for (record, stored) in batch.records.iter().zip(put(batch, case.aggregates, case.ids)) {
                prop_assert_eq!(record.size as usize, stored.data.len() + stored.partition_key.len());
                prop_assert_eq!(is_aggregate(&stored.data), record.count > 1);
                if case.ids {
                    let id = RecordId { generation: batch.files[record.file as usize].generation, span: record.span };
                    prop_assert_eq!(stored.partition_key.parse(), Ok(id));
                }
                prop_assert!(record.count == 1 || record.size as usize <= case.max.0 && record.count <= case.max.1);
                let hash = hash(&stored.partition_key, stored.explicit_hash_key.as_deref());
                let shard = shards.iter().position(|shard| shard.contains(&hash)).expect("every hash has a shard");
                let consumed = consume(&stored, &shards[shard]);
                prop_assert_eq!(consumed.len(), record.count as usize, "thrown away");
                for user in consumed {
                    let line = String::from_utf8(user.data).unwrap();
                    let number: usize = line.split(' ').next().unwrap().parse().unwrap();
                    prop_assert_eq!(line.as_bytes(), texts[number].1.as_slice());
                    seen[number] += 1;
                    let (generation, key, _) = lines[number];
                    prop_assert_eq!(batch.files[record.file as usize].generation.0, generation);
                    if let Some(key) = key {
                        let is_id = case.ids && record.count == 1;
                        prop_assert_eq!(&user.partition_key, if is_id { &stored.partition_key } else { key });
                        prop_assert_eq!(*home.entry(key).or_insert(shard), shard, "one key, one shard");
                        if case.aggregates {
                            let before = last.insert((generation, key), number);
                            prop_assert!(before.is_none_or(|before| before < number), "the order of the file");
                        }
                    }
                }
            }
        }
        prop_assert!(seen.iter().all(|times| *times == 1), "each once");
    }
}

#[test]
fn lines_of_one_file_are_joined_although_another_was_read_in_between() {
    let lines: [Line<'_>; 5] = [(1, None, b"a"), (2, None, b"b"), (1, None, b"c"), (2, None, b"d"), (1, None, b"e")];
    let batch = &batches(limits(500, 1 << 20), kpl(1000, 100, false), &lines)[0];
    let records: Vec<_> = batch.records.iter().map(|r| (r.file, r.count, r.span)).collect();
    assert_eq!(records, [(0, 3, Span { start: 0, end: 6 }), (1, 2, Span { start: 0, end: 4 })]);
    assert_eq!((batch.record(0), batch.record(1)), (&b"ace"[..], &b"bd"[..]));
    let parts: Vec<_> = batch.parts(0).chain(batch.parts(1)).map(|(_, data)| data).collect();
    assert_eq!(parts, [b"a", b"c", b"e", b"b", b"d"]);
}

#[test]
fn keys_of_one_slot_share_a_record_and_each_is_in_it_once() {
    let slot = |key: &str| Slot::of(key.as_bytes());
    let mut same = (0..10_000).map(|n| format!("k{n}")).filter(|key| slot(key) == slot("k0"));
    let (a, b) = (same.next().unwrap(), same.next().unwrap());
    let other = (0..10_000).map(|n| format!("k{n}")).find(|key| slot(key) != slot("k0")).unwrap();
    let lines: [Line<'_>; 6] = [
        (1, Some(&a), b"1"),
        (1, Some(&other), b"2"),
        (1, Some(&b), b"3"),
        (1, Some(&a), b"4"),
        (1, Some(&other), b"5"),
        (1, Some(&b), b"6"),
    ];
    let batch = &batches(limits(500, 1 << 20), kpl(1000, 100, true), &lines)[0];
    assert_eq!(
        batch.records.iter().map(|r| (r.count, r.slot)).collect::<Vec<_>>(),
        [(4, Some(slot(&a))), (2, Some(slot(&other)))]
    );
    assert_eq!((batch.record(0), batch.record(1)), (&b"1346"[..], &b"25"[..]));
    assert_eq!(batch.keys(0).collect::<Vec<_>>(), [&a, &b]);
    assert_eq!(batch.keys(1).collect::<Vec<_>>(), [&other]);
    assert_eq!(batch.parts(0).map(|(key, _)| key).collect::<Vec<_>>(), [0, 1, 0, 1]);
}

#[test]
fn one_line_alone_is_sent_as_it_is() {
    let batch = &batches(limits(500, 1 << 20), kpl(1000, 100, false), &[(1, None, b"alone")])[0];
    assert_eq!(put(batch, true, false)[0].data, b"alone");
    assert_eq!(put(batch, true, false)[0].explicit_hash_key, None);
    let batch = &batches(limits(500, 1 << 20), kpl(1000, 100, true), &[(1, Some("a"), b"alone")])[0];
    let hash = Slot::of(b"a").explicit_hash_key().to_string();
    let expected = UserRecord { partition_key: "a".into(), explicit_hash_key: Some(hash), data: b"alone".to_vec() };
    assert_eq!(put(batch, true, false), [expected]);
}

#[test]
fn a_line_that_does_not_fit_its_record_begins_the_next_one() {
    // Magic, digest, key and its tag 12 bytes, two lines with 6 bytes around each, and the key outside.
    let two = 4 + 16 + 12 + 2 * (6 + 20) + 10;
    let line = [b'x'; 20];
    let lines = [(1, None, &line[..]); 5];
    for (max_bytes, expected) in [(two - 1, vec![1; 5]), (two, vec![2, 2, 1]), (two + 26, vec![3, 2])] {
        let batch = &batches(limits(500, 1 << 20), kpl(max_bytes, u32::MAX, false), &lines)[0];
        assert_eq!(batch.records.iter().map(|r| r.count).collect::<Vec<_>>(), expected);
    }
}
