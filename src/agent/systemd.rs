//! What systemd is told: ready, status, stopping, and a watchdog fed by progress. Knows no flow's insides.
//! Invariant: the watchdog is not fed while a flow's thread is stuck or its delivery says nothing at all.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;

use super::flows::{Flow, Flows};

/// A flow's thread goes round at least once a poll interval or status period; a request ends within its time-out.
/// Longer silence than this is no progress.
const PATIENCE: Duration = Duration::from_secs(90);

/// Talks to systemd, if it listens.
pub(super) struct Notifier {
    watchdog: Option<Duration>,
    last_fed: Option<Instant>,
    last_status: Option<(Instant, u64)>,
    seen: Vec<Seen>,
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
        Self { watchdog: sd_notify::watchdog_enabled(), last_fed: None, last_status: None, seen: Vec::new() }
    }

    pub(super) fn ready() {
        tell(&[NotifyState::Ready]);
    }

    pub(super) fn stopping() {
        tell(&[NotifyState::Stopping, NotifyState::Status("Stopping: delivering what was read")]);
    }

    /// Status every second, the watchdog twice as often as it must.
    pub(super) fn report(&mut self, flows: &Flows) {
        let now = Instant::now();
        let delivered: u64 = flows.flows.iter().map(|f| f.counters.sent_bytes.get()).sum();
        match self.last_status {
            Some((at, before)) if now >= at + Duration::from_secs(1) => {
                let rate = float(delivered - before) / (now - at).as_secs_f64();
                tell(&[NotifyState::Status(&status(flows, rate))]);
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
        self.seen.resize(flows.flows.len(), Seen { turns: 0, turned: now, replies: 0, replied: now });
        flows.flows.iter().zip(&mut self.seen).all(|(flow, seen)| is_alive(flow, seen, now))
    }
}

fn is_alive(flow: &Flow, seen: &mut Seen, now: Instant) -> bool {
    let (turns, replies) = (flow.status.turns(), flow.health.replies());
    if turns != seen.turns {
        (seen.turns, seen.turned) = (turns, now);
    }
    // Nothing on its way, or held for a reason that is told: no silence to worry about.
    if replies != seen.replies || flow.status.in_flight() == 0 || flow.health.held().is_some() {
        (seen.replies, seen.replied) = (replies, now);
    }
    now < seen.turned + PATIENCE && now < seen.replied + PATIENCE
}

/// One line: files, bytes behind, rate, and what holds, if anything.
fn status(flows: &Flows, rate: f64) -> String {
    let files: u64 = flows.flows.iter().map(|f| f.status.files()).sum();
    let behind: u64 = flows.flows.iter().map(|f| f.status.behind()).sum();
    let mut line = format!("{files} files, {} behind, {}/s", bytes(float(behind)), bytes(rate));
    for flow in &flows.flows {
        for trouble in [flow.health.held(), flow.status.trouble()].into_iter().flatten() {
            let _ = write!(line, "; {}: {trouble}", flow.name);
        }
    }
    line
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
