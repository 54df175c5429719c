//! The set of flows: which run, which deliver what they read and make way, and how they end. Knows no signals.
//! Invariant: a flow that goes on with another configuration starts only when nothing of the one before is under way.

use std::{
    collections::HashMap,
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::{Arc, mpsc},
    task::Poll,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{limits, start::Ready};
use crate::{
    deliver::Health,
    flow::{
        Revision,
        driver::{Ended, Input},
    },
    source::tail::MostOpen,
    telemetry::{cloudwatch::Source, counters::FlowCounters, status::FlowStatus},
};

/// How long a flow whose destination refuses everything may still try before it makes way: what it holds only people can
/// deliver, and they have just changed the configuration.
const REFUSED_PATIENCE: Duration = Duration::from_secs(2);

/// One running flow, as the agent sees it.
pub(super) struct Flow {
    pub(super) name: String,
    pub(super) revision: Revision,
    pub(super) status: Arc<FlowStatus>,
    pub(super) counters: Arc<FlowCounters>,
    pub(super) health: Health,
    /// What metrics call its destination.
    pub(super) label: Option<(&'static str, String)>,
    /// Connections that it may have at once.
    pub(super) max_in_flight: usize,
    pub(super) inbox: mpsc::Sender<Input>,
    pub(super) end: Option<oneshot::Receiver<Ended>>,
    pub(super) ended: Option<Ended>,
}

impl Flow {
    /// Whether its thread has ended.
    pub(super) fn is_over(&self) -> bool {
        self.end.as_ref().is_none_or(|end| !end.is_empty())
    }

    fn tell(&self, input: Input) {
        // A flow that ended already needs no telling.
        let _ = self.inbox.send(input);
    }
}

/// A flow that has no place any more, or another one.
struct Leaving {
    flow: Flow,
    /// It is told to give up then, and earlier if its destination still refuses everything.
    deadline: Option<Instant>,
    /// When that is looked at.
    look: Option<Instant>,
    successor: Option<Ready>,
}

impl Leaving {
    /// When there is something to decide.
    fn due(&self) -> Option<Instant> {
        self.look.into_iter().chain(self.deadline).min()
    }

    /// Whether its time is over.
    fn is_over(&mut self, now: Instant) -> bool {
        let refused = self.look.take_if(|look| *look <= now).is_some() && self.flow.health.is_refused();
        let over = refused || self.deadline.is_some_and(|deadline| deadline <= now);
        if over {
            (self.deadline, self.look) = (None, None);
        }
        over
    }
}

/// A flow that could not start.
pub(super) struct Failed {
    pub(super) name: String,
    pub(super) why: String,
    /// What to try again; none, if that went with the attempt.
    ready: Option<Ready>,
}

/// What a new configuration asks for.
#[derive(Default)]
pub(super) struct Change {
    /// Names of all its flows, in its order.
    pub(super) order: Vec<String>,
    /// Those that are new or not as before.
    pub(super) ready: Vec<Ready>,
}

/// How many flows a change was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) kept: usize,
    pub(super) changed: usize,
    pub(super) added: usize,
    pub(super) removed: usize,
}

/// All of them.
#[derive(Default)]
pub(super) struct Flows {
    /// Those of the configuration.
    running: Vec<Flow>,
    /// Those of the one before.
    leaving: Vec<Leaving>,
    /// Flows of the configuration that do not run.
    failed: Vec<Failed>,
    /// The configuration's order of names.
    order: Vec<String>,
    most_open: MostOpen,
    /// A flow ended without saying how.
    pub(super) broken: bool,
}

impl Flows {
    /// Starts these, the first ones; they share the open files that are allowed.
    pub(super) fn start(ready: Vec<Ready>, most_open: MostOpen) -> anyhow::Result<Self> {
        limits::share(&most_open, ready.iter().map(|flow| flow.max_in_flight));
        let order = ready.iter().map(|flow| flow.name.clone()).collect();
        let running = ready.into_iter().map(Ready::start).collect::<Result<_, _>>()?;
        Ok(Self { running, order, most_open, ..Self::default() })
    }

    /// Every flow that has a thread, those that are leaving last.
    pub(super) fn all(&self) -> impl Iterator<Item = &Flow> {
        self.running.iter().chain(self.leaving.iter().map(|leaving| &leaving.flow))
    }

    /// Whether the configuration has none that runs.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Flows that do not run although the configuration has them, and why.
    pub(super) fn failed(&self) -> &[Failed] {
        &self.failed
    }

    /// Tries those again.
    pub(super) fn retry(&mut self) {
        for Failed { name, why, ready } in std::mem::take(&mut self.failed) {
            match ready {
                Some(ready) => self.admit(ready),
                None => self.failed.push(Failed { name, why, ready }),
            }
        }
    }

    /// Flows that are waited for until a change is complete.
    pub(super) fn leaving(&self) -> impl Iterator<Item = &Flow> {
        self.leaving.iter().map(|leaving| &leaving.flow)
    }

    /// What runs, for a comparison with what shall run.
    pub(super) fn revisions(&self) -> HashMap<String, Revision> {
        self.running.iter().map(|flow| (flow.name.clone(), flow.revision.clone())).collect()
    }

    /// Asks every flow to deliver what it read and end. What was to come after a flow does not come any more.
    pub(super) fn stop(&mut self) {
        for leaving in &mut self.leaving {
            (leaving.deadline, leaving.look, leaving.successor) = (None, None, None);
        }
        self.all().for_each(|flow| flow.tell(Input::Stop));
    }

    /// Lets those flows go that have no place any more or are not as before, starts those that are new, and touches no other.
    /// To be called when no flow is leaving; those that leave have until `deadline` to deliver what they read.
    pub(super) fn change(&mut self, change: Change, now: Instant, deadline: Instant) -> Extent {
        debug_assert!(self.leaving.is_empty(), "one change at a time");
        let Change { order, ready } = change;
        let mut ready: HashMap<String, Ready> = ready.into_iter().map(|flow| (flow.name.clone(), flow)).collect();
        let mut changed = Extent::default();
        self.failed.clear();
        for flow in std::mem::take(&mut self.running) {
            // A journal that was opened before this flow wrote the last of it would be an old one.
            let successor = ready.remove(&flow.name).map(Ready::unopened);
            if successor.is_none() && order.contains(&flow.name) {
                changed.kept += 1;
                self.running.push(flow);
                continue;
            }
            *(if successor.is_some() { &mut changed.changed } else { &mut changed.removed }) += 1;
            flow.tell(Input::Retire);
            let look = flow.health.is_refused().then_some(now + REFUSED_PATIENCE);
            self.leaving.push(Leaving { flow, deadline: Some(deadline), look, successor });
        }
        changed.added = ready.len();
        self.share(ready.values());
        self.order = order;
        for flow in ready.into_values() {
            self.admit(flow);
        }
        changed
    }

    /// Shares the open files that are allowed, also with those that are to come.
    fn share<'r>(&'r self, more: impl Iterator<Item = &'r Ready>) {
        let running = self.running.iter().map(|flow| flow.max_in_flight);
        let leaving = self.leaving.iter().map(|leaving| {
            let successor = leaving.successor.as_ref().map_or(0, |ready| ready.max_in_flight);
            leaving.flow.max_in_flight.max(successor)
        });
        limits::share(&self.most_open, running.chain(leaving).chain(more.map(|ready| ready.max_in_flight)));
    }

    /// Whether a change is not complete yet.
    pub(super) fn is_changing(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Starts a flow, or notes why that is not possible: the others go on.
    fn admit(&mut self, mut ready: Ready) {
        let name = ready.name.clone();
        let failed = match ready.open() {
            Err(error) => Some((error, Some(ready))),
            Ok(()) => match ready.start() {
                Ok(flow) => {
                    self.running.push(flow);
                    None
                }
                Err(error) => Some((error, None)),
            },
        };
        if let Some((error, ready)) = failed {
            let why = format!("{error:#}");
            tracing::error!(flow = name, error = why, "the flow cannot start");
            self.failed.push(Failed { name, why, ready });
        }
        let place = |flow: &Flow| self.order.iter().position(|name| *name == flow.name);
        self.running.sort_by_cached_key(place);
    }

    /// Comes back with a flow that left, once its successor, if there is one, has started.
    pub(super) async fn one_left(&mut self) -> Flow {
        let (at, ended) = loop {
            let due = self.leaving.iter().filter_map(Leaving::due).min();
            tokio::select! {
                left = first_end(&mut self.leaving) => break left,
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => self.abandon(Instant::now()),
            }
        };
        let Leaving { mut flow, successor, .. } = self.leaving.swap_remove(at);
        flow.ended(ended, &mut self.broken);
        if let Some(bytes) = flow.ended.map(|ended| ended.left).filter(|left| *left > 0) {
            let flow = &flow.name;
            tracing::warn!(
                flow,
                bytes,
                "the flow's old configuration could not deliver this in time; it is read again where the checkpoint is, when there is such a flow"
            );
        }
        if let Some(successor) = successor {
            self.admit(successor);
        }
        self.share(std::iter::empty());
        flow
    }

    /// Gives up on those whose time is over.
    fn abandon(&mut self, now: Instant) {
        for leaving in &mut self.leaving {
            if leaving.is_over(now) {
                leaving.flow.tell(Input::Abandon);
            }
        }
    }

    /// Comes back when every flow has ended.
    pub(super) async fn wait_ended(&mut self) {
        let Self { running, leaving, broken, .. } = self;
        for flow in running.iter_mut().chain(leaving.iter_mut().map(|leaving| &mut leaving.flow)) {
            if let Some(end) = &mut flow.end {
                let ended = end.await.ok();
                flow.ended(ended, broken);
            }
        }
    }

    /// Bytes read and not settled, over all flows.
    pub(super) fn outstanding(&self) -> u64 {
        self.all().map(|f| f.status.outstanding()).sum()
    }

    /// Bytes that flows left behind when they ended.
    pub(super) fn left(&self) -> usize {
        self.all().filter_map(|flow| flow.ended).map(|ended| ended.left).sum()
    }

    /// What metrics are made of: the flows to AWS.
    pub(super) fn sources(&self) -> Vec<Source> {
        let source = |flow: &Flow| {
            let (kind, stream) = flow.label.clone()?;
            Some(Source { kind, stream, counters: Arc::clone(&flow.counters), status: Arc::clone(&flow.status) })
        };
        self.all().filter_map(source).collect()
    }

    /// Files that could not be read, over all flows that ended.
    pub(super) fn refused(&self) -> usize {
        self.all().filter_map(|f| f.ended).map(|e| e.refused).sum()
    }
}

impl Flow {
    /// Takes note of its end. `None`: it did not say how.
    fn ended(&mut self, ended: Option<Ended>, broken: &mut bool) {
        if ended.is_none() {
            // With `panic = "abort"` nobody is left to see this; without, it must not look like success.
            tracing::error!(flow = self.name, "the flow's thread broke down");
            *broken = true;
        }
        if let Some(bytes) = ended.map(|ended| ended.orphaned).filter(|bytes| *bytes > 0) {
            let flow = &self.name;
            tracing::error!(
                flow,
                bytes,
                "files were deleted before they were read to their ends, and now they are closed: these bytes are lost"
            );
        }
        (self.ended, self.end) = (ended, None);
    }
}

/// The first of these to end, and how.
async fn first_end(leaving: &mut [Leaving]) -> (usize, Option<Ended>) {
    poll_fn(|context| {
        for (at, leaving) in leaving.iter_mut().enumerate() {
            match leaving.flow.end.as_mut().map(|end| Pin::new(end).poll(context)) {
                Some(Poll::Pending) => {}
                Some(Poll::Ready(ended)) => return Poll::Ready((at, ended.ok())),
                // It ended before it was told to.
                None => return Poll::Ready((at, leaving.flow.ended)),
            }
        }
        Poll::Pending
    })
    .await
}
