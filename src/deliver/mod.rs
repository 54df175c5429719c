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
mod report;
pub mod stdout;
#[cfg(test)]
mod testing;
pub mod window;

use std::path::PathBuf;

pub use courier::{Courier, News, Sink};
pub use dead_letter::DeadLetters;
pub use kinesis::{KinesisSink, StartError};
pub use report::Health;
pub use stdout::StdoutSink;

/// How to reach AWS. Built by `config` from `aws:` and the destination's own overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aws {
    /// Else the SDK's chain (environment, profile, instance metadata).
    pub region: Option<String>,
    /// `http://` or `https://`; else the region's endpoint.
    pub endpoint_url: Option<String>,
    pub role_arn: Option<String>,
    pub external_id: Option<String>,
    /// Named profile of the shared credentials file.
    pub profile: Option<String>,
    /// PEM file with additional roots. Else `AWS_CA_BUNDLE`, else `SSL_CERT_FILE`, else the system's roots alone.
    pub ca_bundle: Option<PathBuf>,
    /// Static keys from the YAML file: accepted, with a warning.
    pub static_keys: Option<StaticKeys>,
}

/// Static credentials. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticKeys {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

impl std::fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticKeys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Where a flow's records go. Built by `config`; nothing in it can be invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Kinesis(Box<Kinesis>),
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

/// How a record's partition key is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionKey {
    /// Drawn from the record's id: spreads evenly, and is the same key when a record is sent again after a crash.
    Random,
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
            Self::Stdout => 64 << 20,
        }
    }

    /// Most bytes of one record's data. For Kinesis the stream's limit is 1 MiB with the partition key (`KEY_BYTES`).
    #[must_use]
    pub fn max_record_bytes(&self) -> usize {
        match self {
            Self::Kinesis(_) => MAX_KINESIS_RECORD,
            Self::Stdout => 10 << 20,
        }
    }

    /// What a record costs of the request's bytes beyond its data.
    #[must_use]
    pub fn record_overhead(&self) -> usize {
        match self {
            Self::Kinesis(_) => KEY_BYTES,
            Self::Stdout => 0,
        }
    }
}

/// Length of a random partition key in bytes.
pub const KEY_BYTES: usize = 10;

/// Most bytes of one record's data that a stream with the default limit takes beside a random key.
const MAX_KINESIS_RECORD: usize = (1 << 20) - KEY_BYTES;
