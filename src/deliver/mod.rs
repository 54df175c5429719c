//! Records to a destination: request layout, errors, retry, dead letters. The only place that retries or is async.
//! Knows batches, no files and no offsets beyond what a batch carries. Invariant: a batch settles once, and only
//! after each of its records was accepted by the destination or safely written to the dead letters.

pub mod backoff;
pub mod courier;
pub mod dead_letter;
mod desk;
pub mod errors;
pub mod job;
pub mod kinesis;
pub mod kpl;
mod report;
pub mod slot;
pub mod stdout;
#[cfg(test)]
mod testing;
pub mod window;

use crate::aws::Aws;
pub use courier::{Courier, News, Sink};
pub use dead_letter::DeadLetters;
pub use kinesis::KinesisSink;
pub use report::Health;
pub use stdout::StdoutSink;

/// Where a flow's records go. Built by `config`; nothing in it can be invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Kinesis(Box<Kinesis>),
    Firehose(Box<Firehose>),
    /// One record a line, for trying things out.
    Stdout,
}

/// Kinesis Data Streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kinesis {
    /// Name, or ARN.
    pub stream: String,
    pub aws: Aws,
    pub partition_key: PartitionKey,
    /// Requests under way at once. 1 to 64, default 8.
    pub max_in_flight: usize,
}

/// Data Firehose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firehose {
    /// Name, or ARN.
    pub stream: String,
    pub aws: Aws,
    /// Join records up to this many bytes, 1 to 1 024 000; `None`: each line is a record.
    pub aggregate: Option<usize>,
    /// End each record with a newline if it does not. Default true: Firehose writes records end to end.
    pub add_newline: bool,
    /// Requests under way at once. 1 to 64, default 8.
    pub max_in_flight: usize,
}

/// How a record's partition key is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionKey {
    /// Drawn from the record's id: spreads evenly, and is the same key when a record is sent again after a crash.
    Random,
    /// The MD5 of the record's bytes in lower-case hexadecimal digits.
    RecordMd5,
}

impl Destination {
    /// Most records of one request.
    #[must_use]
    pub fn max_records(&self) -> usize {
        500
    }

    /// Most bytes of one request, keys included.
    #[must_use]
    pub fn max_request_bytes(&self) -> usize {
        match self {
            Self::Kinesis(_) => 10 << 20,
            Self::Firehose(_) => 4 << 20,
            Self::Stdout => 64 << 20,
        }
    }

    /// Most bytes of one record's data. For Kinesis the stream's limit is 1 MiB with the partition key (`KEY_BYTES`).
    #[must_use]
    pub fn max_record_bytes(&self) -> usize {
        match self {
            Self::Kinesis(_) => MAX_KINESIS_RECORD,
            Self::Firehose(_) => 1_000 << 10,
            Self::Stdout => 10 << 20,
        }
    }

    /// What a record costs of the request's bytes beyond its data.
    #[must_use]
    pub fn record_overhead(&self) -> usize {
        match self {
            Self::Kinesis(_) => KEY_BYTES,
            Self::Firehose(_) | Self::Stdout => 0,
        }
    }
}

/// Length of a random partition key in bytes.
pub const KEY_BYTES: usize = 10;

/// Most bytes of one record's data that a stream with the default limit takes beside a random key.
const MAX_KINESIS_RECORD: usize = (1 << 20) - KEY_BYTES;
