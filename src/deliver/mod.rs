//! Records to a destination: request layout, errors, retry, dead letters. The only place that retries or is async.
//! Knows batches, no files and no offsets beyond what a batch carries. Invariant: a batch settles once, and only
//! after each of its records was accepted by the destination or safely written to the dead letters.

pub mod backoff;
pub mod courier;
pub mod dead_letter;
mod desk;
pub mod errors;
pub mod firehose;
pub mod job;
pub mod kinesis;
pub mod kpl;
mod put;
mod report;
pub mod slot;
pub mod stdout;
#[cfg(test)]
mod testing;
pub mod window;

use crate::aws::Aws;
pub use courier::{Courier, News, Sink};
pub use dead_letter::DeadLetters;
pub use firehose::FirehoseSink;
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
    /// Name, or ARN, of which name and region are used.
    pub stream: String,
    pub aws: Aws,
    /// Join records; `None`: each is one of its own.
    pub aggregate: Option<Aggregate>,
    /// End each record with a newline if it does not. Default true: Firehose writes records end to end. With
    /// `aggregate` they get one in any case.
    pub add_newline: bool,
    /// Requests under way at once. 1 to 64, default 8.
    pub max_in_flight: usize,
}

/// How far records are joined to one: in the order they were read, within one life of one file, and within one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// Most bytes of a joined record; a longer single one goes alone. 1 to 1 024 000, which is the default.
    pub max_bytes: usize,
    /// Most records joined to one. At least 1; by default the bytes alone bound it.
    pub max_records: u32,
}

impl Default for Aggregate {
    fn default() -> Self {
        Self { max_bytes: MAX_FIREHOSE_RECORD, max_records: u32::MAX }
    }
}

/// What the destination wants of the records of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// What a record costs of the request's bytes beyond its data.
    pub overhead: usize,
    /// A record that does not end with a newline gets one.
    pub newline: bool,
    pub aggregate: Option<Aggregate>,
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

    /// Most bytes of one record's data, before a newline is added. For Kinesis the stream's limit is 1 MiB with the
    /// partition key.
    #[must_use]
    pub fn max_record_bytes(&self) -> usize {
        match self {
            Self::Kinesis(kinesis) => kinesis.partition_key.max_record_bytes(),
            Self::Firehose(_) => MAX_FIREHOSE_RECORD - usize::from(self.shape().newline),
            Self::Stdout => 10 << 20,
        }
    }

    /// What it wants of the records of a batch.
    #[must_use]
    pub fn shape(&self) -> Shape {
        match self {
            Self::Kinesis(kinesis) => Shape { overhead: kinesis.partition_key.bytes(), ..Shape::default() },
            Self::Firehose(firehose) => {
                let aggregate = firehose.aggregate;
                Shape { overhead: 0, newline: firehose.add_newline || aggregate.is_some(), aggregate }
            }
            Self::Stdout => Shape::default(),
        }
    }
}

impl PartitionKey {
    /// Length of a key.
    const fn bytes(self) -> usize {
        match self {
            Self::Random => 10,
            Self::RecordMd5 => 32,
        }
    }

    /// Most bytes of one record's data that a stream with the default limit takes beside a key.
    const fn max_record_bytes(self) -> usize {
        (1 << 20) - self.bytes()
    }
}

/// Most bytes of one record that Firehose takes.
const MAX_FIREHOSE_RECORD: usize = 1_000 << 10;
