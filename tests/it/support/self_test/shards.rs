//! The shards alone: whom a hash goes to before and after splits and merges, and how the service tells of it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    bucket::Bucket,
    shards::{Shards, hash, shard_id, shard_number},
};

/// Fails unless the open shards share out all hashes.
#[track_caller]
fn check(shards: &Shards) {
    let open = shards.present().filter(|(_, shard)| !shard.closed);
    let mut ranges: Vec<_> = open.map(|(number, shard)| (shard.start, shard.end, number)).collect();
    ranges.sort_unstable();
    assert_eq!((ranges[0].0, ranges[ranges.len() - 1].1), (0, u128::MAX));
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");
    for (start, end, number) in ranges {
        assert_eq!((shards.route(start), shards.route(end)), (number, number));
    }
}

#[test]
fn any_number_of_shards_shares_out_all_hashes() {
    for count in [1, 2, 3, 4, 7, 64] {
        let shards = Shards::even(count);
        assert_eq!(shards.present().count(), count);
        check(&shards);
    }
    let quarter = Shards::even(4).get(0).map(|shard| shard.end);
    assert_eq!(quarter, Some(85_070_591_730_234_615_865_843_651_857_942_052_863), "as the service divides");
}

#[test]
fn splits_merges_and_a_new_stream_leave_no_hash_without_a_shard() {
    let mut shards = Shards::even(3);
    assert_eq!(shards.split(1), [3, 4]);
    check(&shards);
    assert_eq!(shards.merge(0, 3), 5);
    check(&shards);
    assert_eq!((shards.present().count(), shards.epoch()), (6, 0));
    shards.recreate();
    check(&shards);
    assert_eq!((shards.present().count(), shards.epoch()), (3, 1));
    assert!(shards.get(5).is_none() && shards.get(6).is_some(), "new shards have new numbers");
}

#[test]
fn a_hash_is_the_md5_of_the_key_unless_it_is_given() {
    assert_eq!(hash("a", None), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    assert_eq!(hash("a", Some("17")), 17);
}

#[test]
fn a_closed_shard_is_listed_with_its_end_and_a_child_with_its_parents() {
    let mut shards = Shards::even(2);
    let first = shards.take(0);
    let child = shards.merge(0, 1);
    let (closed, open) = (shards.entry(0), shards.entry(child));
    assert_eq!(closed["SequenceNumberRange"]["EndingSequenceNumber"], json!(shards.sequence_number(first, 0)));
    assert!(open["SequenceNumberRange"]["EndingSequenceNumber"].is_null());
    assert_eq!(
        (&open["ParentShardId"], &open["AdjacentParentShardId"]),
        (&json!("shardId-000000000000"), &json!("shardId-000000000001"))
    );
    assert_eq!(open["HashKeyRange"], json!({ "StartingHashKey": "0", "EndingHashKey": u128::MAX.to_string() }));
    assert_eq!(shards.children(1), shards.children(0));
    assert_eq!(shards.children(0)[0]["ParentShards"], json!(["shardId-000000000000", "shardId-000000000001"]));
}

#[test]
fn names_and_sequence_numbers_are_read_as_they_were_written() {
    let mut shards = Shards::even(2);
    assert_eq!(shard_number(&shard_id(12)), Some(12));
    let number = shards.sequence_number(77, 1);
    assert_eq!((number.len(), shards.sequence(&number, 1)), (56, Some(77)));
    assert_eq!(shards.sequence(&number, 0), None, "of another shard");
    shards.recreate();
    assert_eq!(shards.sequence(&number, 1), None, "of another stream");
}

#[test]
fn a_bucket_gives_one_second_at_once_and_then_its_rate() {
    let start = Instant::now();
    let mut bucket = Bucket::new(4, start);
    let mut taken = |millis| (0..9).filter(|_| bucket.take(start + Duration::from_millis(millis))).count();
    assert_eq!([taken(0), taken(249), taken(250), taken(1000), taken(60_000)], [4, 0, 1, 3, 4]);
    assert!(!Bucket::new(0, start).take(start), "a rate of nothing");
}
