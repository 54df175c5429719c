//! What a test does to the stream itself, requests aside: its shards, its limits, its clock.
//! Knows no connections; each change is made while no request is looked at.

use std::time::Instant;

use jiff::SignedDuration;

use super::{bucket::Bucket, faults::Kinesis};

impl Kinesis {
    /// Splits an open shard in the middle: it is closed and stays readable; its two children.
    pub(crate) fn split(&self, shard: usize) -> [usize; 2] {
        self.change(|l| l.shards.split(shard))
    }

    /// Merges two open neighbours: they are closed and stay readable; their child.
    pub(crate) fn merge(&self, one: usize, other: usize) -> usize {
        self.change(|l| l.shards.merge(one, other))
    }

    /// The stream is deleted and made anew under its name: nothing of the old one can be read, and the new one's shards
    /// have new ids. What the old one took stays in `Ledger::accepted`.
    pub(crate) fn recreate(&self) {
        self.change(|l| {
            l.shards.recreate();
            l.created = l.now();
        });
    }

    /// The largest record that the stream takes, its key included.
    pub(crate) fn max_record_kib(&self, kib: usize) {
        self.change(|l| l.record_kib = Some(kib));
    }

    /// From now on a shard refuses what is more than this, after a first burst of one second's records. Its children
    /// are not limited. Faults work as before.
    pub(crate) fn limit(&self, shard: usize, records_per_second: u32) {
        self.change(|l| l.buckets.insert(shard, Bucket::new(records_per_second, Instant::now())));
    }

    /// From now on the service's clock is this far ahead of the host's, in arrival times as in the header `Date`.
    pub(crate) fn set_clock(&self, offset_seconds: i64) {
        self.change(|l| l.clock = SignedDuration::from_secs(offset_seconds));
    }
}
