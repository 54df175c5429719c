//! The counters of one flow. Knows neither who counts nor who exports.
//! Invariant: a counter never goes down while the process lives.

use std::sync::atomic::{AtomicU64, Ordering};

use super::calls::Calls;

/// A number that only grows. Shared by reference or `Arc`; adding is one relaxed atomic instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one flow counts, from the bytes it reads to the records it delivers.
#[derive(Debug, Default)]
pub struct FlowCounters {
    /// Bytes of files turned into records, line ends included.
    pub read_bytes: Counter,
    /// Records cut from files, before processing.
    pub read_records: Counter,
    /// Records the destination accepted.
    pub sent_records: Counter,
    /// Bytes of data of the accepted records, before any encoding.
    pub sent_bytes: Counter,
    /// Units of payload that the accepted records make: of 25 KiB for Kinesis, of 5 KiB for Firehose.
    pub put_units: Counter,
    /// Bytes of the accepted records, keys included, each record rounded up to 1 KiB for Kinesis, to 5 KiB for Firehose.
    pub rounded_bytes: Counter,
    /// Requests made to the destination, whatever became of them.
    pub requests: Counter,
    /// Records sent again after a failure.
    pub retries: Counter,
    /// Records refused for the moment because the destination is busy.
    pub throttled: Counter,
    /// Records that may have been delivered although the answer does not say so. They are sent again, or looked for.
    pub ambiguous: Counter,
    /// Records of the stream that were looked for and found there, so that they are not sent again.
    pub found: Counter,
    /// Calls that read the stream back.
    pub reads: Counter,
    /// Records written to the dead letters.
    pub dead_lettered: Counter,
    /// Records dropped because the configuration says so.
    pub dropped: Counter,
    /// Records that a filter took out: `drop_if`, `keep_if`.
    pub skipped: Counter,
    /// Records that a `limit` took out.
    pub over_limit: Counter,
    /// Records that a parser did not match.
    pub mismatched: Counter,
    /// Records cut at the record limit.
    pub truncated: Counter,
    /// NUL bytes skipped in holes of files.
    pub nul_bytes_skipped: Counter,
    /// Files that were renamed, replaced, copied or compressed.
    pub rotations: Counter,
    /// Files that were truncated or rewritten in place.
    pub truncations: Counter,
    /// Bytes known to be lost because their file went away unread.
    pub bytes_lost: Counter,
    /// The requests one by one, as far as nobody took them yet.
    pub calls: Calls,
}

impl FlowCounters {
    /// Records that were read and, as the configuration wants, not sent: they did not match, a filter, a footer or a limit left
    /// them out, or they have no partition key.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.dropped.get() + self.skipped.get() + self.over_limit.get()
    }
}
