//! YAML, and the Java agent's JSON, to typed options; the only module that knows how people write settings. Knows no running flow and no network.
//! Invariant: either a `Config` in which nothing is invalid, or every mistake at once, each with its place.

mod aws;
mod delivery;
mod destination;
mod env;
mod flow;
pub mod java;
mod keys;
mod kinesis;
mod load;
mod metrics;
mod pattern;
mod problem;
mod process;
mod read;
mod schema;
mod schema_process;
mod source;
mod tree;
mod value;
mod yaml_error;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

pub use load::{DEFAULT_PATH, load, load_java, load_with_folder, parse_text};
pub use problem::{Location, Problem, Problems};
pub use schema::{PATH as SCHEMA_PATH, schema};

/// A whole configuration. After this there is no "invalid".
#[derive(Debug)]
pub struct Config {
    /// Absolute. Checkpoints, dead letters, lock. Default `/var/lib/headwater`.
    pub state_dir: PathBuf,
    /// In the order written; names are unique.
    pub flows: Vec<crate::flow::Options>,
    /// How long a stop may take. 0 to 1 h, default 30 s.
    pub shutdown_timeout: Duration,
    /// Metrics to `CloudWatch`, if any.
    pub metrics: Option<crate::telemetry::cloudwatch::Options>,
    /// What is allowed but looks wrong, for the log: one line each, with file, line and column.
    pub warnings: Vec<String>,
}
