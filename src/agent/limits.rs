//! Open files: takes what the system allows, and says where that is too little. Knows no flow's insides.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::flows::{Flow, Flows};
use crate::source::tail::MAX_OPEN;

/// Descriptors of the process: standard streams, the lock, the runtime, name services, reading a configuration.
const OF_PROCESS: u64 = 40;
/// Descriptors of each flow beside its files and connections: journal, dead letters, inotify, a folder being read.
const OF_FLOW: u64 = 8;

/// Many files need many descriptors: takes what the system allows.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Looks once, when every flow knows its files, whether they can be open at once.
#[derive(Default)]
pub(super) struct Check {
    done: bool,
}

impl Check {
    /// The flows are others now.
    pub(super) fn again(&mut self) {
        self.done = false;
    }

    /// Says so, if the limit is too low.
    pub(super) fn look(&mut self, flows: &Flows) {
        if self.done || !flows.all().all(|flow| flow.status.has_looked()) {
            return;
        }
        self.done = true;
        let needed = OF_PROCESS + flows.all().map(of_flow).sum::<u64>();
        let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < needed) else { return };
        let files: u64 = flows.all().map(|flow| flow.status.files()).sum();
        tracing::warn!(
            limit,
            needed,
            files,
            "too few open files are allowed: some files or connections will have to wait for others. Raise LimitNOFILE= of the unit, or `ulimit -n`, to what is needed"
        );
    }
}

/// Descriptors that a flow may need at once.
fn of_flow(flow: &Flow) -> u64 {
    let files = flow.status.files().min(MAX_OPEN as u64);
    files + flow.max_in_flight as u64 + OF_FLOW
}
