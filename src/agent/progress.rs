//! How far the flows are, for people: a line in the log now and then, and on a terminal the line of `run --once`.
//! Knows no more than counters.

use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use super::{
    Mode,
    flows::{Flow, Flows},
    systemd::{bytes, float},
};
use crate::telemetry::counters::FlowCounters;

/// Between two lines of a flow in the log.
const EVERY: Duration = Duration::from_secs(30);
/// With more bytes behind than this a line is a warning.
const FAR_BEHIND: u64 = 40 << 20;

/// Shows how far it is.
pub(super) struct Progress {
    started: Instant,
    /// Rewrites a line on the terminal.
    terminal: bool,
    /// When the log gets its next lines; none in `run --once`.
    next: Option<Instant>,
    /// What each flow had counted with the last lines, by its name.
    last: HashMap<String, Counts>,
}

/// The counters that a line tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    read_bytes: u64,
    read_records: u64,
    sent_bytes: u64,
    sent_records: u64,
    put_units: u64,
    rounded_bytes: u64,
    skipped: u64,
    mismatched: u64,
    dead_lettered: u64,
    throttled: u64,
    found: u64,
    reads: u64,
}

impl Counts {
    fn of(counters: &FlowCounters) -> Self {
        Self {
            read_bytes: counters.read_bytes.get(),
            read_records: counters.read_records.get(),
            sent_bytes: counters.sent_bytes.get(),
            sent_records: counters.sent_records.get(),
            put_units: counters.put_units.get(),
            rounded_bytes: counters.rounded_bytes.get(),
            skipped: counters.left_out(),
            mismatched: counters.mismatched.get(),
            dead_lettered: counters.dead_lettered.get(),
            throttled: counters.throttled.get(),
            found: counters.found.get(),
            reads: counters.reads.get(),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            read_bytes: self.read_bytes - before.read_bytes,
            read_records: self.read_records - before.read_records,
            sent_bytes: self.sent_bytes - before.sent_bytes,
            sent_records: self.sent_records - before.sent_records,
            put_units: self.put_units - before.put_units,
            rounded_bytes: self.rounded_bytes - before.rounded_bytes,
            skipped: self.skipped - before.skipped,
            mismatched: self.mismatched - before.mismatched,
            dead_lettered: self.dead_lettered - before.dead_lettered,
            throttled: self.throttled - before.throttled,
            found: self.found - before.found,
            reads: self.reads - before.reads,
        }
    }
}

/// One line of one flow. The fields are the same at either level.
macro_rules! line {
    ($level:ident, $flow:expr, $counts:expr, $message:literal) => {
        tracing::$level!(
            flow = $flow.name,
            read_bytes = $counts.read_bytes,
            read_records = $counts.read_records,
            sent_bytes = $counts.sent_bytes,
            sent_records = $counts.sent_records,
            put_units = $counts.put_units,
            rounded_bytes = $counts.rounded_bytes,
            skipped = $counts.skipped,
            mismatched = $counts.mismatched,
            dead_lettered = $counts.dead_lettered,
            throttled = $counts.throttled,
            found = $counts.found,
            reads = $counts.reads,
            behind_bytes = $flow.status.behind(),
            files = $flow.status.files(),
            $message
        )
    };
}

impl Progress {
    pub(super) fn new(mode: Mode, now: Instant) -> Self {
        let terminal = mode == Mode::Once && std::io::stderr().is_terminal();
        let next = (mode == Mode::Follow).then_some(now + EVERY);
        Self { started: now, terminal, next, last: HashMap::new() }
    }

    /// The terminal's line, or the log's lines when they are due.
    pub(super) fn show(&mut self, flows: &Flows, now: Instant) {
        if self.terminal {
            self.rewrite(flows);
        }
        if self.is_due(now) {
            for flow in flows.all() {
                let counts = Counts::of(&flow.counters);
                let before = self.last.insert(flow.name.clone(), counts).unwrap_or_default();
                log(flow, counts.since(before));
            }
        }
    }

    /// Whether lines are due; if so, the next ones are due a period later.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = Some(now + EVERY);
        }
        due
    }

    /// Ends the terminal's line: nothing is shown after it.
    pub(super) fn finish(&self, flows: &Flows) {
        if self.terminal {
            self.sum(flows);
        }
    }

    /// The log's last lines: what happened since the start.
    pub(super) fn sums(&self, flows: &Flows) {
        flows.all().filter(|_| self.next.is_some()).for_each(stopped);
    }

    /// The last line of a flow that made way for another configuration.
    pub(super) fn left(&mut self, flow: &Flow) {
        self.last.remove(&flow.name);
        stopped(flow);
    }

    /// Bytes delivered, rate, time left; rewritten in place.
    fn rewrite(&self, flows: &Flows) {
        let read: u64 = flows.all().map(|f| f.counters.read_bytes.get()).sum();
        let behind: u64 = flows.all().map(|f| f.status.behind()).sum();
        let done = read.saturating_sub(flows.outstanding());
        let rate = float(done) / self.started.elapsed().as_secs_f64().max(0.001);
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
    fn sum(&self, flows: &Flows) {
        let records: u64 = flows.all().map(|f| f.counters.sent_records.get()).sum();
        let read: u64 = flows.all().map(|f| f.counters.read_bytes.get()).sum();
        let took = self.started.elapsed().as_secs_f64();
        let rate = bytes(float(read) / took.max(0.001));
        let _ =
            writeln!(std::io::stderr(), "\r\x1b[K{records} records, {} in {took:.1} s ({rate}/s)", bytes(float(read)));
    }
}

/// What happened since the flow's start.
fn stopped(flow: &Flow) {
    line!(info, flow, Counts::of(&flow.counters), "flow stopped");
}

/// What happened since the line before.
fn log(flow: &Flow, counts: Counts) {
    if flow.status.behind() >= FAR_BEHIND {
        line!(warn, flow, counts, "progress, far behind");
    } else {
        line!(info, flow, counts, "progress");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_due_every_thirty_seconds_and_never_in_once() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut follow = Progress::new(Mode::Follow, start);
        assert_eq!(
            [0, 29, 30, 31, 59, 60, 200, 229, 230].map(|s| follow.is_due(at(s))),
            [false, false, true, false, false, true, true, false, true]
        );
        let mut once = Progress::new(Mode::Once, start);
        assert!(!once.is_due(at(1000)));
    }

    #[test]
    fn a_line_tells_what_happened_since_the_one_before() {
        let counters = FlowCounters::default();
        counters.read_bytes.add(100);
        counters.sent_records.add(3);
        let first = Counts::of(&counters);
        counters.read_bytes.add(20);
        counters.dropped.add(2);
        counters.mismatched.add(1);
        let second = Counts::of(&counters).since(first);
        assert_eq!(second, Counts { read_bytes: 20, skipped: 2, mismatched: 1, ..Counts::default() });
    }
}
