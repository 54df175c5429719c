//! Open files: takes what the system allows, and says where that is too little. Knows no flow's insides.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::flows::{Flow, Flows};
use crate::source::tail::MostOpen;

/// Descriptors of the process: standard streams, the lock, the runtime, name services, reading a configuration.
const OF_PROCESS: u64 = 40;
/// Descriptors of each flow beside its files and connections: journal, dead letters, inotify, a folder being read.
const OF_FLOW: u64 = 8;

/// With fewer open files a flow would hardly come to read.
const LEAST_OPEN: usize = 4;

/// Many files need many descriptors: takes what the system allows.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// What is left of the open files that are allowed when every flow has its connections, in equal parts: files can wait for
/// each other, but without a connection nothing is delivered, and no file is ever done. Given for each flow are its
/// connections.
pub(super) fn share(most_open: &MostOpen, flows: impl Iterator<Item = usize>) {
    let (count, others) = flows.fold((0, OF_PROCESS), |(count, sum), own| (count + 1, sum + own as u64 + OF_FLOW));
    let left = getrlimit(Resource::Nofile).current.map_or(u64::MAX, |limit| limit.saturating_sub(others));
    let each = usize::try_from(left / u64::max(count, 1)).unwrap_or(usize::MAX);
    most_open.set(each.clamp(LEAST_OPEN, MostOpen::USUAL));
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
            "too few open files are allowed: files have to wait for each other. Raise LimitNOFILE= of the unit, or `ulimit -n`, to what is needed"
        );
    }
}

/// Descriptors that a flow may need at once.
fn of_flow(flow: &Flow) -> u64 {
    let files = flow.status.files().min(MostOpen::USUAL as u64);
    files + flow.max_in_flight as u64 + OF_FLOW
}
