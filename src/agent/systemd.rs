//! What systemd is told: ready, status, stopping, and a watchdog fed by progress. Knows no flow's insides.
//! Invariant: the watchdog is not fed while a flow's thread is stuck or its delivery says nothing at all.

use std::{
    collections::HashMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;

use super::flows::{Flow, Flows};

/// A flow's thread goes round at least once a poll interval or status period; a request ends within its time-out.
/// Longer silence than this is no progress.
const PATIENCE: Duration = Duration::from_secs(90);

/// Longest status, in characters.
const LONGEST: usize = 1_000;

/// Talks to systemd, if it listens.
pub(super) struct Notifier {
    watchdog: Option<Duration>,
    last_fed: Option<Instant>,
    last_status: Option<(Instant, u64)>,
    /// By the flow's name.
    seen: HashMap<String, Seen>,
    /// What became of the last reload, if it is not in force.
    note: Option<String>,
}

/// What a flow had done when it last did something.
#[derive(Clone, Copy)]
struct Seen {
    turns: u64,
    turned: Instant,
    replies: u64,
    replied: Instant,
}

impl Notifier {
    pub(super) fn new() -> Self {
        let watchdog = sd_notify::watchdog_enabled();
        Self { watchdog, last_fed: None, last_status: None, seen: HashMap::new(), note: None }
    }

    pub(super) fn ready() {
        tell(&[NotifyState::Ready]);
    }

    /// A new configuration is being read; `ready` says when that is over. systemd wants the time of this, so as not to take a
    /// `READY=1` of before for the end of it.
    pub(super) fn reloading() {
        let Ok(now) = NotifyState::monotonic_usec_now() else { return };
        tell(&[NotifyState::Reloading, now, NotifyState::Status("Reloading the configuration")]);
    }

    /// The new configuration is in force, or `refused` for a reason that is shown until another one is in force.
    pub(super) fn reloaded(&mut self, refused: Option<String>, flows: &Flows) {
        self.note = refused.map(|why| format!("the new configuration is refused, the old one goes on: {why}"));
        tell(&[NotifyState::Ready, NotifyState::Status(&self.status(flows, 0.0))]);
    }

    pub(super) fn stopping() {
        tell(&[NotifyState::Stopping, NotifyState::Status("Stopping: delivering what was read")]);
    }

    /// Status every second, the watchdog twice as often as it must.
    pub(super) fn report(&mut self, flows: &Flows) {
        let now = Instant::now();
        let delivered: u64 = flows.all().map(|f| f.counters.sent_bytes.get()).sum();
        match self.last_status {
            Some((at, before)) if now >= at + Duration::from_secs(1) => {
                // A flow that left took its count with it.
                let rate = float(delivered.saturating_sub(before)) / (now - at).as_secs_f64();
                tell(&[NotifyState::Status(&self.status(flows, rate))]);
                self.last_status = Some((now, delivered));
            }
            None => self.last_status = Some((now, delivered)),
            Some(_) => {}
        }
        let progress = self.progress(flows, now);
        if let Some(interval) = self.watchdog
            && progress
            && self.last_fed.is_none_or(|last| now >= last + interval / 2)
        {
            self.last_fed = Some(now);
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// Every flow either did something lately or has nothing to do.
    fn progress(&mut self, flows: &Flows, now: Instant) -> bool {
        let mut before = std::mem::take(&mut self.seen);
        let mut alive = true;
        for flow in flows.all().filter(|flow| !flow.is_over()) {
            let new = Seen { turns: 0, turned: now, replies: 0, replied: now };
            let mut seen = before.remove(&flow.name).unwrap_or(new);
            alive &= seen.is_alive(Pulse::of(flow), now);
            self.seen.insert(flow.name.clone(), seen);
        }
        alive
    }

    /// One line: files, bytes behind, rate, and what is wrong, if anything.
    fn status(&self, flows: &Flows, rate: f64) -> String {
        let mut line = summary(flows, rate);
        for failed in flows.failed() {
            let _ = write!(line, "; {} does not run: {}", failed.name, failed.why);
        }
        for flow in flows.leaving() {
            let _ = write!(line, "; waiting for {} to deliver what it read", flow.name);
        }
        for flow in flows.all() {
            for trouble in [flow.health.held(), flow.status.trouble()].into_iter().flatten() {
                let _ = write!(line, "; {}: {trouble}", flow.name);
            }
        }
        line.extend(self.note.iter().flat_map(|note| ["; ", note.as_str()]));
        // One line, of a length that a datagram takes.
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
    }
}

/// What a flow shows of its life.
#[derive(Clone, Copy)]
struct Pulse {
    /// Turns of its thread.
    turns: u64,
    /// Answers from its destination, and failures to reach it.
    replies: u64,
    /// Nothing is on its way, or what is on its way is held for a reason that is told.
    may_be_silent: bool,
}

impl Pulse {
    fn of(flow: &Flow) -> Self {
        let may_be_silent = flow.status.in_flight() == 0 || flow.health.held().is_some();
        Self { turns: flow.status.turns(), replies: flow.health.replies(), may_be_silent }
    }
}

impl Seen {
    /// Whether the flow did what it has to do lately.
    fn is_alive(&mut self, pulse: Pulse, now: Instant) -> bool {
        if pulse.turns != self.turns {
            (self.turns, self.turned) = (pulse.turns, now);
        }
        if pulse.replies != self.replies || pulse.may_be_silent {
            (self.replies, self.replied) = (pulse.replies, now);
        }
        now < self.turned + PATIENCE && now < self.replied + PATIENCE
    }
}

fn summary(flows: &Flows, rate: f64) -> String {
    if flows.all().next().is_none() && flows.failed().is_empty() {
        return "Nothing to do: the configuration has no flow".to_owned();
    }
    let files: u64 = flows.all().map(|f| f.status.files()).sum();
    let behind: u64 = flows.all().map(|f| f.status.behind()).sum();
    format!("{files} files, {} behind, {}/s", bytes(float(behind)), bytes(rate))
}

fn tell(states: &[NotifyState<'_>]) {
    // Nobody listens, or the socket is full: nothing that a log line would help with.
    let _ = sd_notify::notify(states);
}

/// For rates and rounded sizes, where the last digits do not matter.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub(super) fn float(n: u64) -> f64 {
    n as f64
}

/// A number of bytes for people.
pub(super) fn bytes(n: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut n = n;
    let mut unit = 0;
    while n >= 1024.0 && unit + 1 < units.len() {
        n /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n:.0} B") } else { format!("{n:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pulses every ten seconds; whether the watchdog is still fed at the end.
    fn fed(pulses: impl Iterator<Item = Pulse>) -> bool {
        let start = Instant::now();
        let mut seen = Seen { turns: 0, turned: start, replies: 0, replied: start };
        let times = (1..).map(|i| start + i * Duration::from_secs(10));
        pulses.zip(times).map(|(pulse, now)| seen.is_alive(pulse, now)).last().expect("there are pulses")
    }

    #[test]
    fn an_idle_flow_is_alive_as_long_as_its_thread_goes_round() {
        assert!(fed((1..30).map(|turns| Pulse { turns, replies: 0, may_be_silent: true })));
    }

    #[test]
    fn a_thread_that_is_stuck_is_no_progress_although_the_process_lives() {
        assert!(!fed((1..30).map(|turns| Pulse { turns: turns.min(3), replies: turns, may_be_silent: true })));
    }

    #[test]
    fn a_delivery_that_says_nothing_is_no_progress_and_one_that_fails_aloud_is() {
        assert!(!fed((1..30).map(|turns| Pulse { turns, replies: 2, may_be_silent: false })));
        assert!(fed((1..30).map(|turns| Pulse { turns, replies: turns, may_be_silent: false })));
        assert!(fed((1..30).map(|turns| Pulse { turns, replies: 2, may_be_silent: true })));
    }
}
