//! YAML to typed options; every mistake reported at once, with line and column. The only module that knows how people write settings.

use std::{path::PathBuf, time::Duration};

/// A whole configuration. After this there is no "invalid".
#[derive(Debug)]
pub struct Config {
    /// Absolute. Checkpoints, dead letters, lock. Default `/var/lib/headwater`.
    pub state_dir: PathBuf,
    /// In the order written; names are unique.
    pub flows: Vec<crate::flow::Options>,
    /// How long a stop may take. 0 to 1 h, default 30 s.
    pub shutdown_timeout: Duration,
    /// What is allowed but looks wrong, for the log: one line each, with file, line and column.
    pub warnings: Vec<String>,
}
