//! Records to a destination: request layout, errors, retry, dead letters. The only place that retries or is async.
//! Knows batches, no files and no offsets beyond what a batch carries. Invariant: a batch settles once, and only
//! after each of its records was accepted by the destination or safely written to the dead letters.

pub mod backoff;
pub mod clock;
pub mod courier;
pub mod dead_letter;
mod desk;
mod digests;
pub mod doubts;
pub mod errors;
pub mod firehose;
pub mod job;
pub mod kinesis;
pub mod kpl;
mod lanes;
pub mod probe;
mod put;
mod rate;
mod report;
pub mod routing;
pub mod search;
pub mod shards;
pub mod slot;
pub mod stdout;
#[cfg(test)]
pub(crate) mod testing;
pub mod window;

use std::time::Duration;

use crate::{aws::Aws, model::RecordId};
pub use clock::ServiceClock;
pub use courier::{Billing, Courier, ExactlyOnce, News, Sink};
pub use dead_letter::DeadLetters;
pub use firehose::FirehoseSink;
pub use kinesis::KinesisSink;
pub use rate::MaxRate;
pub use report::Health;
pub use shards::Shards;
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
    /// Join records in the format of the KPL; `None`: each is one of its own.
    pub aggregate: Option<Aggregate>,
    /// Records of one key arrive in the order they were read. Default false; the keys must be chosen.
    pub keeps_order: bool,
    /// Nothing is delivered twice: what may have arrived is looked for in the stream. The time until a request without an
    /// answer has arrived or never will, 1 s to 15 min. Each record then has its id as its partition key.
    pub exactly_once: Option<Duration>,
    /// Requests under way at once. 1 to 64, default 8.
    pub max_in_flight: usize,
    /// The most that is sent; no limit by default.
    pub max_rate: MaxRate,
}

impl Kinesis {
    /// Records of one slot of keys are joined, beside those of others.
    #[must_use]
    pub fn joins_by_slot(&self) -> bool {
        self.aggregate.is_some() && self.partition_key != PartitionKey::Random
    }

    /// Length of a record's partition key, at most.
    fn key_bytes(&self) -> usize {
        if self.exactly_once.is_some() { RecordId::LONGEST } else { self.partition_key.max_bytes() }
    }
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
    /// The most that is sent; no limit by default.
    pub max_rate: MaxRate,
}

/// How far records are joined to one: in the order they were read, within one life of one file, and within one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregate {
    pub encoding: Encoding,
    /// Most bytes of a joined record, its partition key included; a longer single one goes alone. At least 1, and at
    /// most what the service takes.
    pub max_bytes: usize,
    /// Most records joined to one. At least 1; by default the bytes alone bound it.
    pub max_records: u32,
}

/// How joined records are told apart by who reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Each ends its line.
    Lines,
    /// The aggregated record of the Kinesis Producer Library.
    Kpl,
}

impl Aggregate {
    /// Lines up to what Firehose takes: each record is paid for as a multiple of 5 KiB, and waste is least in long ones.
    pub const LINES: Self = Self { encoding: Encoding::Lines, max_bytes: MAX_FIREHOSE_RECORD, max_records: u32::MAX };
    /// As long as the library itself makes them: two units of payload, of which less than 2 % are lost to rounding.
    /// Longer ones would save nothing, and cost more to send again.
    pub const KPL: Self = Self { encoding: Encoding::Kpl, max_bytes: 50 << 10, max_records: u32::MAX };
}

/// What the destination wants of the records of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// What a record costs of the request's bytes beyond its data, where no key is chosen for it.
    pub overhead: usize,
    /// A record that does not end with a newline gets one.
    pub newline: bool,
    pub aggregate: Option<Aggregate>,
    /// Records are told apart by the slots of their chosen keys.
    pub slots: bool,
    /// The partition key of each record is its id.
    pub ids: bool,
}

/// How a record's partition key is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionKey {
    /// Drawn from the record's id: spreads evenly, and is the same key when a record is sent again after a crash.
    Random,
    /// By the flow, for each record; the batch holds it.
    Chosen {
        /// The longest there may be, in bytes.
        max_bytes: usize,
    },
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
            Self::Kinesis(kinesis) => MAX_KINESIS_RECORD - kinesis.key_bytes(),
            Self::Firehose(_) => MAX_FIREHOSE_RECORD - usize::from(self.shape().newline),
            Self::Stdout => 10 << 20,
        }
    }

    /// The stream takes records of at most so many bytes: none is joined to more.
    pub fn limit_records(&mut self, most: usize) {
        if let Self::Kinesis(kinesis) = self
            && let Some(aggregate) = &mut kinesis.aggregate
        {
            aggregate.max_bytes = aggregate.max_bytes.min(most);
        }
    }

    /// What metrics call it: the kind, and the stream's name, also where an ARN was given. None for standard output.
    #[must_use]
    pub fn label(&self) -> Option<(&'static str, &str)> {
        let (kind, stream) = match self {
            Self::Kinesis(kinesis) => ("KinesisStream", &kinesis.stream),
            Self::Firehose(firehose) => ("DeliveryStream", &firehose.stream),
            Self::Stdout => return None,
        };
        Some((kind, stream.rsplit('/').next().unwrap_or(stream)))
    }

    /// What it wants of the records of a batch.
    #[must_use]
    pub fn shape(&self) -> Shape {
        match self {
            Self::Kinesis(kinesis) => {
                let Kinesis { partition_key, aggregate, keeps_order, .. } = **kinesis;
                let slots = (aggregate.is_some() || keeps_order) && partition_key != PartitionKey::Random;
                let ids = kinesis.exactly_once.is_some();
                Shape { overhead: partition_key.max_bytes(), newline: false, aggregate, slots, ids }
            }
            Self::Firehose(firehose) => {
                let aggregate = firehose.aggregate;
                Shape { newline: firehose.add_newline || aggregate.is_some(), aggregate, ..Shape::default() }
            }
            Self::Stdout => Shape::default(),
        }
    }
}

impl PartitionKey {
    /// Length of a key, at most.
    const fn max_bytes(self) -> usize {
        match self {
            Self::Random => RecordId::RANDOM_KEY,
            Self::Chosen { max_bytes } => max_bytes,
        }
    }
}

/// Most bytes of one record, its partition key included, that a stream with the default limit takes.
pub const MAX_KINESIS_RECORD: usize = 1 << 20;

/// The same of a stream whose limit was raised as far as it goes.
pub const LARGEST_KINESIS_RECORD: usize = 10 << 20;

/// Most bytes of one record that Firehose takes.
pub const MAX_FIREHOSE_RECORD: usize = 1_000 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_name_a_stream_by_its_kind_and_name() {
        let kinesis = |stream: &str| {
            Destination::Kinesis(Box::new(Kinesis {
                stream: stream.to_owned(),
                aws: Aws::default(),
                partition_key: PartitionKey::Random,
                aggregate: None,
                keeps_order: false,
                exactly_once: None,
                max_in_flight: 8,
                max_rate: MaxRate::default(),
            }))
        };
        let arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/logs";
        assert_eq!(kinesis(arn).label(), Some(("KinesisStream", "logs")));
        assert_eq!(kinesis("logs").label(), Some(("KinesisStream", "logs")));
        assert_eq!(Destination::Stdout.label(), None);
    }
}
