//! The progress line of `run --once`, for a person at a terminal only. Knows no more than counters.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use super::{
    Mode,
    flows::Flows,
    systemd::{bytes, float},
};

/// Shows how far it is, or nothing.
pub(super) struct Progress {
    shown: Option<Instant>,
}

impl Progress {
    pub(super) fn new(mode: Mode) -> Self {
        let show = mode == Mode::Once && std::io::stderr().is_terminal();
        Self { shown: show.then(Instant::now) }
    }

    /// Bytes delivered, rate, time left; rewritten in place.
    pub(super) fn show(&self, flows: &Flows) {
        let Some(since) = self.shown else { return };
        let read: u64 = flows.flows.iter().map(|f| f.counters.read_bytes.get()).sum();
        let behind: u64 = flows.flows.iter().map(|f| f.status.behind()).sum();
        let done = read.saturating_sub(flows.outstanding());
        let rate = float(done) / since.elapsed().as_secs_f64().max(0.001);
        let left = if rate > 0.0 { Duration::from_secs_f64(float(behind) / rate) } else { Duration::ZERO };
        let line = format!(
            "{} delivered, {}/s, {} to go, {} s left",
            bytes(float(done)),
            bytes(rate),
            bytes(float(behind)),
            left.as_secs()
        );
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
    }

    /// Clears the line and says the sum.
    pub(super) fn finish(&self, flows: &Flows) {
        let Some(since) = self.shown else { return };
        let records: u64 = flows.flows.iter().map(|f| f.counters.sent_records.get()).sum();
        let read: u64 = flows.flows.iter().map(|f| f.counters.read_bytes.get()).sum();
        let took = since.elapsed().as_secs_f64();
        let rate = bytes(float(read) / took.max(0.001));
        let _ =
            writeln!(std::io::stderr(), "\r\x1b[K{records} records, {} in {took:.1} s ({rate}/s)", bytes(float(read)));
    }
}
