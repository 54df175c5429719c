//! What delivery tells people: rate-limited log lines, counters and the health of one flow. Decides nothing.
//! Invariant: a flow that does not deliver says why in `Health::held` until it delivers again.

use super::{
    courier::Billing,
    desk::Looked,
    errors::{Class, Failure},
    job::{Refused, Reply},
    search::Told,
};
use crate::{
    model::{Batch, Doubt, Landed, Settled},
    telemetry::{calls::Answer, counters::FlowCounters, limit::RateLimit},
};
use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tracing::{error, info, warn};

/// One line per kind in this time.
const PERIOD: Duration = Duration::from_secs(30);

/// Whether a flow delivers, for the status line and the watchdog. Cheap to clone; read from any thread.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Written when it changes, not per request.
    held: Mutex<Option<String>>,
    refused: AtomicBool,
    replies: AtomicU64,
}

impl Health {
    /// Why nothing is delivered at present, in words.
    #[must_use]
    pub fn held(&self) -> Option<String> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the destination's last word was a refusal that only people can lift: nothing is delivered until they do.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Replies of the destination so far, good or bad. A number that stands still with requests under way is a sign.
    #[must_use]
    pub fn replies(&self) -> u64 {
        self.0.replies.load(Ordering::Relaxed)
    }

    fn set(&self, held: Option<String>) {
        *self.0.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}

/// The voice of one flow's delivery.
#[derive(Debug)]
pub(super) struct Reporter {
    flow: String,
    counters: Arc<FlowCounters>,
    billing: Option<Billing>,
    health: Health,
    /// The destination's reason for taking nothing.
    refusing: Option<String>,
    /// Why the dead letters cannot be written.
    unwritable: Option<String>,
    /// Why the destination cannot be read back.
    unreadable: Option<String>,
    /// Since when no answer to a question of what the destination holds was a good one.
    unread: Option<Instant>,
    /// What may have been delivered is looked for instead of being sent again.
    exactly_once: bool,
    /// When `refusing` began.
    since: Option<Instant>,
    limits: Limits,
}

#[derive(Debug)]
struct Limits {
    throttled: RateLimit,
    again: RateLimit,
    ambiguous: RateLimit,
    held: RateLimit,
    credentials: RateLimit,
    refused: RateLimit,
    unwritable: RateLimit,
    unreadable: RateLimit,
    looked_for: RateLimit,
    recovered: RateLimit,
}

impl Reporter {
    pub(super) fn new(flow: &str, counters: Arc<FlowCounters>, billing: Option<Billing>, exactly_once: bool) -> Self {
        let limit = || RateLimit::new(PERIOD);
        let limits = Limits {
            throttled: limit(),
            again: limit(),
            ambiguous: limit(),
            held: limit(),
            credentials: limit(),
            refused: limit(),
            unwritable: limit(),
            unreadable: limit(),
            looked_for: limit(),
            recovered: limit(),
        };
        let health = Health::default();
        let flow = flow.to_owned();
        let (refusing, unwritable, unreadable) = (None, None, None);
        let (since, unread) = (None, None);
        Self { flow, counters, billing, health, refusing, unwritable, unreadable, unread, exactly_once, since, limits }
    }

    pub(super) fn health(&self) -> Health {
        self.health.clone()
    }

    pub(super) fn sending(&self, records: u32, before: bool) {
        self.counters.requests.add(1);
        if before {
            self.counters.retries.add(u64::from(records));
        }
    }

    /// Counts and tells what became of a request that carried `which`.
    pub(super) fn replied(&mut self, batch: &Batch, which: &[u32], reply: &Reply, now: Instant) {
        self.health.0.replies.fetch_add(1, Ordering::Relaxed);
        match reply {
            Reply::Failed(failure) => {
                self.counters.calls.record(u64::from(batch.count(which)), Answer::Failed);
                self.count(failure.class, batch.count(which));
                self.tell(failure, batch.count(which), now);
                self.refusing(failure, now);
            }
            Reply::Answered { failed } => {
                let mut records = 0;
                for (position, failure) in failed {
                    let holds = batch.count(&[which[*position as usize]]);
                    self.count(failure.class, holds);
                    records += holds;
                }
                let worst = failed.iter().map(|(_, failure)| failure).max_by_key(|failure| failure.class);
                if let Some(worst) = worst {
                    self.tell(worst, records, now);
                }
                let (sent, errors) = (u64::from(batch.count(which) - records), u64::from(records));
                let bytes = self.accepted(batch, which, failed);
                self.counters.sent_records.add(sent);
                self.counters.calls.record(sent + errors, Answer::Taken { sent, bytes, errors });
                // A record that is refused alone says nothing of the others.
                let held = failed.iter().map(|(_, failure)| failure).filter(|failure| failure.class != Class::Reject);
                match held.max_by_key(|failure| failure.class) {
                    Some(held) if failed.len() == which.len() => self.refusing(held, now),
                    _ if failed.len() < which.len() => self.recovered(now),
                    _ => {}
                }
            }
        }
    }

    /// Nothing of a request was taken.
    fn refusing(&mut self, failure: &Failure, now: Instant) {
        let by_people = matches!(failure.class, Class::Hold | Class::Credentials);
        self.health.0.refused.store(by_people, Ordering::Relaxed);
        if !matches!(failure.class, Class::Throttled | Class::Reject) {
            self.since.get_or_insert(now);
            self.refusing = Some(failure.to_string());
            self.publish();
        }
    }

    /// Counts the bytes of what was accepted, and what they cost; the bytes.
    fn accepted(&self, batch: &Batch, which: &[u32], failed: &[(u32, Failure)]) -> u64 {
        let mut failed = failed.iter().map(|(position, _)| *position).peekable();
        let (mut bytes, mut units, mut rounded) = (0, 0, 0);
        for (_, &index) in (0..).zip(which).filter(|(position, _)| failed.next_if_eq(position).is_none()) {
            let record = &batch.records[index as usize];
            bytes += u64::from(record.to - record.from);
            if let Some(Billing { unit, rounded_to }) = self.billing {
                units += u64::from(record.size.div_ceil(unit));
                rounded += u64::from(record.size.div_ceil(rounded_to)) * u64::from(rounded_to);
            }
        }
        self.counters.sent_bytes.add(bytes);
        self.counters.put_units.add(units);
        self.counters.rounded_bytes.add(rounded);
        bytes
    }

    fn count(&self, class: Class, records: u32) {
        match class {
            Class::Throttled => self.counters.throttled.add(u64::from(records)),
            Class::Ambiguous => self.counters.ambiguous.add(u64::from(records)),
            Class::Again | Class::Credentials | Class::Hold | Class::Reject => {}
        }
    }

    fn tell(&mut self, failure: &Failure, records: u32, now: Instant) {
        let flow = self.flow.as_str();
        let Failure { class, code, message, remedy } = failure;
        let remedy = remedy.as_deref().unwrap_or_default();
        let limit = match class {
            Class::Throttled => &mut self.limits.throttled,
            Class::Again => &mut self.limits.again,
            Class::Ambiguous => &mut self.limits.ambiguous,
            Class::Hold => &mut self.limits.held,
            Class::Credentials => &mut self.limits.credentials,
            // Told once it is known which records it is about.
            Class::Reject => return,
        };
        let Some(suppressed) = limit.admit(now) else { return };
        match class {
            Class::Throttled => warn!(flow, records, code, message, suppressed, "throttled, sending again slower"),
            Class::Again => warn!(flow, records, code, message, remedy, suppressed, "not delivered, sending again"),
            Class::Ambiguous if self.exactly_once => {
                warn!(
                    flow,
                    records, code, message, suppressed, "may have been delivered, looking for it in the stream"
                );
            }
            Class::Ambiguous => {
                warn!(flow, records, code, message, suppressed, "may have been delivered, sending again");
            }
            Class::Credentials => {
                error!(flow, records, code, message, remedy, suppressed, "credentials refused, holding the data");
            }
            Class::Hold | Class::Reject => {
                error!(flow, records, code, message, remedy, suppressed, "destination refuses, holding the data");
            }
        }
    }

    fn recovered(&mut self, now: Instant) {
        if self.refusing.take().is_none() {
            return;
        }
        self.health.0.refused.store(false, Ordering::Relaxed);
        self.publish();
        let since = self.since.take().unwrap_or(now);
        if let Some(suppressed) = self.limits.recovered.admit(now) {
            let seconds = now.saturating_duration_since(since).as_secs();
            info!(flow = self.flow, seconds, suppressed, "delivering again");
        }
    }

    pub(super) fn unwritable(&mut self, path: &Path, why: &io::Error, now: Instant) {
        self.unwritable = Some(format!("dead letters cannot be written to {}: {why}", path.display()));
        self.publish();
        if let Some(suppressed) = self.limits.unwritable.admit(now) {
            let (flow, path) = (&self.flow, path.display());
            error!(flow, %path, error = %why, suppressed, "dead letters cannot be written, holding the data");
        }
    }

    pub(super) fn written(&mut self, batch: &Batch, refused: &[Refused], path: &Path, now: Instant) {
        if self.unwritable.take().is_some() {
            self.publish();
        }
        if let Some(first) = refused.first()
            && let Some(suppressed) = self.limits.refused.admit(now)
        {
            let id = batch.record_id(first.index as usize);
            let (flow, path, reason) = (&self.flow, path.display(), &first.reason);
            let records: u32 = refused.iter().map(|r| batch.count(&[r.index])).sum();
            error!(flow, %id, reason, records, %path, suppressed, "records refused, written to the dead letters");
        }
    }

    /// An earlier run may have sent this; the destination will be asked.
    pub(super) fn searching(&self, doubts: &[Doubt]) {
        let (flow, files) = (&self.flow, doubts.len());
        info!(flow, files, "the last run did not end cleanly: looking in the stream for what it may have sent");
    }

    /// The destination holds these records of an earlier run.
    pub(super) fn found(&mut self, landed: &[Landed]) {
        self.read_back();
        let (flow, records) = (&self.flow, landed.len());
        self.counters.found.add(records as u64);
        if records == 0 {
            info!(flow, "looked in the stream: it holds nothing beyond what is known to be delivered");
        } else {
            info!(flow, records, "found in the stream what the last run sent; it is not sent again");
        }
    }

    /// Of this run's records that may have been delivered, some were found: the destination took them, as others.
    pub(super) fn looked_for(&mut self, Looked { found, absent }: &Looked, now: Instant) {
        for (batch, which) in found {
            self.accepted(batch, which, &[]);
            self.counters.sent_records.add(u64::from(batch.count(which)));
        }
        let found: usize = found.iter().map(|(_, which)| which.len()).sum();
        self.counters.found.add(found as u64);
        self.read_back();
        // An older record that is found says nothing of a refusal that only people lift.
        if found > 0 && !self.health.is_refused() {
            self.recovered(now);
        }
        if let Some(suppressed) = self.limits.looked_for.admit(now) {
            let flow = &self.flow;
            info!(flow, found, absent, suppressed, "looked for records in the stream; those absent are sent again");
        }
    }

    /// Counts and tells the destination's answer to a question about what it holds.
    pub(super) fn told(&mut self, told: &Told, now: Instant) {
        self.health.0.replies.fetch_add(1, Ordering::Relaxed);
        self.counters.reads.add(1);
        let Told::Failed(failure) = told else {
            return self.read_back();
        };
        let unread = *self.unread.get_or_insert(now);
        let may_pass = matches!(failure.class, Class::Throttled | Class::Again | Class::Ambiguous);
        if may_pass && now < unread + PERIOD {
            return;
        }
        self.unreadable = Some(format!("the stream cannot be read back: {failure}"));
        self.publish();
        if let Some(suppressed) = self.limits.unreadable.admit(now) {
            let Failure { code, message, remedy, .. } = failure;
            let (flow, remedy) = (&self.flow, remedy.as_deref().unwrap_or_default());
            error!(
                flow,
                code, message, remedy, suppressed, "the stream cannot be read back, holding what may be in it"
            );
        }
    }

    /// The destination can be read back, or all that had to be was.
    fn read_back(&mut self) {
        self.unread = None;
        if self.unreadable.take().is_some() {
            self.publish();
        }
    }

    pub(super) fn settled(&self, settled: &Settled) {
        self.counters.dead_lettered.add(u64::from(settled.dead_lettered));
    }

    fn publish(&self) {
        let reasons: Vec<&str> = [&self.unwritable, &self.unreadable, &self.refusing]
            .into_iter()
            .filter_map(|reason| reason.as_deref())
            .collect();
        self.health.set((!reasons.is_empty()).then(|| reasons.join("; ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::testing::{batch, failure};

    fn answered(failed: impl IntoIterator<Item = u32>, class: Class) -> Reply {
        Reply::Answered { failed: failed.into_iter().map(|position| (position, failure(class))).collect() }
    }

    #[test]
    fn a_flow_of_which_nothing_is_taken_says_why_until_something_is() {
        let (counters, now) = (Arc::<FlowCounters>::default(), Instant::now());
        let mut reporter = Reporter::new("web", counters, None, true);
        let (batch, health) = (Arc::new(batch(0, 3)), reporter.health());
        let reply = |reporter: &mut Reporter, reply| reporter.replied(&batch, &[0, 1, 2], &reply, now);
        for class in [Class::Again, Class::Ambiguous, Class::Hold] {
            reply(&mut reporter, answered(0..3, class));
            let held = health.held().unwrap_or_default();
            assert!(held.contains("words") && health.is_refused() == (class == Class::Hold), "{class:?}: {held}");
            reply(&mut reporter, answered(0..2, class));
            assert!(health.held().is_none() && !health.is_refused(), "{class:?}");
        }
        for class in [Class::Throttled, Class::Reject] {
            reply(&mut reporter, answered(0..3, class));
            assert_eq!(health.held(), None, "{class:?}");
        }
    }

    #[test]
    fn a_record_that_is_found_in_the_stream_was_taken() {
        let (counters, now) = (Arc::<FlowCounters>::default(), Instant::now());
        let mut reporter = Reporter::new("web", Arc::clone(&counters), None, true);
        let (batch, health) = (Arc::new(batch(0, 1)), reporter.health());
        reporter.replied(&batch, &[0], &Reply::Failed(failure(Class::Ambiguous)), now);
        let looked = |which: Vec<u32>, absent| Looked { found: vec![(Arc::clone(&batch), which)], absent };
        reporter.looked_for(&looked(vec![], 1), now);
        assert!(health.held().is_some());
        reporter.looked_for(&looked(vec![0], 0), now);
        assert_eq!((health.held(), counters.found.get(), counters.sent_records.get()), (None, 1, 1));
    }

    #[test]
    fn an_older_record_that_is_found_ends_no_refusal() {
        let (mut reporter, now) = (Reporter::new("web", Arc::default(), None, true), Instant::now());
        let (batch, health) = (Arc::new(batch(0, 2)), reporter.health());
        reporter.replied(&batch, &[0], &Reply::Failed(failure(Class::Ambiguous)), now);
        reporter.replied(&batch, &[1], &Reply::Failed(failure(Class::Hold)), now);
        reporter.looked_for(&Looked { found: vec![(Arc::clone(&batch), vec![0])], absent: 0 }, now);
        assert!(health.held().is_some() && health.is_refused());
        let mut failed = vec![(0, failure(Class::Hold)), (1, failure(Class::Reject))];
        reporter.replied(&batch, &[0, 1], &Reply::Answered { failed: failed.clone() }, now);
        assert!(health.held().is_some() && health.is_refused());
        failed.remove(0);
        reporter.replied(&batch, &[0, 1], &Reply::Answered { failed }, now);
        assert!(health.held().is_none() && !health.is_refused());
    }

    #[test]
    fn a_search_that_ends_leaves_nothing_unread() {
        let (start, mut reporter) = (Instant::now(), Reporter::new("web", Arc::default(), None, true));
        let health = reporter.health();
        reporter.told(&Told::Failed(failure(Class::Hold)), start);
        assert!(health.held().is_some());
        reporter.found(&[]);
        assert!(health.held().is_none());
        reporter.told(&Told::Failed(failure(Class::Again)), start);
        reporter.looked_for(&Looked::default(), start);
        reporter.told(&Told::Failed(failure(Class::Again)), start + PERIOD);
        assert!(health.held().is_none(), "the first of another search");
    }

    #[test]
    fn what_cannot_be_read_back_for_long_is_told_and_what_passes_is_not() {
        let (start, mut reporter) = (Instant::now(), Reporter::new("web", Arc::default(), None, true));
        let health = reporter.health();
        let mut told = |told: Told, seconds: u64| {
            reporter.told(&told, start + Duration::from_secs(seconds));
            health.held().is_some()
        };
        for class in [Class::Throttled, Class::Again, Class::Ambiguous] {
            let failed = || Told::Failed(failure(class));
            let held = [told(failed(), 0), told(failed(), 29), told(failed(), 30)];
            assert_eq!(
                (held, told(Told::Iterator("of a shard".to_owned()), 31)),
                ([false, false, true], false),
                "{class:?}"
            );
        }
        assert!(told(Told::Failed(failure(Class::Hold)), 0));
    }
}
