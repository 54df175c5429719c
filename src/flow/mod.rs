//! ONE flow: a source, a chain of processing, a destination. The four lower ranks meet only here.

pub mod batch;
mod compare;
mod cutter;
pub mod driver;
pub mod engine;
mod gather;
mod landed;
pub mod ledger;
pub mod machine;
mod mismatch;
mod reserve;

use std::time::Duration;

use crate::{
    deliver,
    record::{pipeline::Pipeline, split},
    source,
};

/// When a batch is closed, and how much may be outstanding. Built by `config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// 1 to 500, default 500.
    pub batch_records: usize,
    /// 1 KiB to 10 MiB, default 5 MiB; partition keys count.
    pub batch_bytes: usize,
    /// 0 to 1 h, default 1 s: the longest a record waits for its batch to fill.
    pub batch_age: Duration,
    /// 1 MiB to 64 GiB, default 32 MiB: bytes read and not yet settled.
    pub buffer: usize,
}

/// What the operator may lose to a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// What may have arrived is sent again.
    #[default]
    AtLeastOnce,
    /// What may have arrived is looked for. `settle_wait`: see [`deliver::Kinesis::exactly_once`].
    ExactlyOnce { settle_wait: Duration },
}

/// Everything that makes a flow. Built by `config`; nothing in it can be invalid.
#[derive(Debug)]
pub struct Options {
    /// Unique; the checkpoint's key. 1 to 128 characters, none of them a control character.
    pub name: String,
    pub source: source::Options,
    pub framing: split::Options,
    pub pipeline: Pipeline,
    pub destination: deliver::Destination,
    pub limits: Limits,
    pub delivery: Delivery,
    /// Tells what this configuration makes of a file's lines from what another one would.
    pub digest: u64,
    /// Whether that may name the host, so that another one gives other records.
    pub names_host: bool,
    /// Tells what is written of this flow from anything else; what it takes over from elsewhere is not in it.
    pub written: u64,
}

impl Options {
    /// What makes this flow this one.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision { written: self.written, destination: self.destination.clone() }
    }
}

/// One state of a flow's configuration: flows of one name and equal revisions do the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    written: u64,
    /// It holds what `aws` says for all flows.
    destination: deliver::Destination,
}
