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
    /// By then it was told to give up.
    deadline: Option<Instant>,
    successor: Option<Ready>,
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
    /// Flows of the configuration that do not run, and why.
    failed: Vec<(String, String)>,
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
    pub(super) fn failed(&self) -> &[(String, String)] {
        &self.failed
    }

    /// What runs, for a comparison with what shall run.
    pub(super) fn revisions(&self) -> HashMap<String, Revision> {
        self.running.iter().map(|flow| (flow.name.clone(), flow.revision.clone())).collect()
    }

    /// Asks every flow to deliver what it read and end. What was to come after a flow does not come any more.
    pub(super) fn stop(&mut self) {
        for leaving in &mut self.leaving {
            (leaving.deadline, leaving.successor) = (None, None);
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
            let successor = ready.remove(&flow.name);
            if successor.is_none() && order.contains(&flow.name) {
                changed.kept += 1;
                self.running.push(flow);
                continue;
            }
            *(if successor.is_some() { &mut changed.changed } else { &mut changed.removed }) += 1;
            flow.tell(Input::Stop);
            let patience = if flow.health.is_refused() { deadline.min(now + REFUSED_PATIENCE) } else { deadline };
            self.leaving.push(Leaving { flow, deadline: Some(patience), successor });
        }
        changed.added = ready.len();
        let present = self.all().map(|flow| flow.max_in_flight);
        limits::share(&self.most_open, present.chain(ready.values().map(|flow| flow.max_in_flight)));
        self.order = order;
        for flow in ready.into_values() {
            self.admit(flow);
        }
        changed
    }

    /// Whether a change is not complete yet.
    pub(super) fn is_changing(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Starts a flow, or notes why that is not possible: the others go on.
    fn admit(&mut self, ready: Ready) {
        let name = ready.name.clone();
        match ready.start() {
            Ok(flow) => self.running.push(flow),
            Err(error) => {
                tracing::error!(flow = name, error = format!("{error:#}"), "the flow cannot start");
                self.failed.push((name, format!("{error:#}")));
            }
        }
        let place = |flow: &Flow| self.order.iter().position(|name| *name == flow.name);
        self.running.sort_by_cached_key(place);
    }

    /// Comes back with a flow that left, once its successor, if there is one, has started.
    pub(super) async fn one_left(&mut self) -> Flow {
        let (at, ended) = loop {
            let due = self.leaving.iter().filter_map(|leaving| leaving.deadline).min();
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
                "the flow's old configuration could not deliver this in time; it is read again from the checkpoint"
            );
        }
        if let Some(successor) = successor {
            self.admit(successor);
        }
        flow
    }

    /// Gives up on those whose time is over.
    fn abandon(&mut self, now: Instant) {
        for leaving in &mut self.leaving {
            if leaving.deadline.take_if(|deadline| *deadline <= now).is_some() {
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
