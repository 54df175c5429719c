//! The running flows: starts each with its thread, its delivery and its journal, and waits for their ends.
//! Knows no signals and no time limits.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use anyhow::Context as _;
use tokio::{runtime::Handle, sync::oneshot};

use super::Mode;
use crate::{
    checkpoint::{
        journal::{Journal, Opened},
        storage::DiskStorage,
    },
    config::Config,
    deliver::{
        Courier, DeadLetters, Destination, FirehoseSink, Health, Kinesis, KinesisSink, Shards, Sink, StdoutSink,
    },
    flow::{
        self, Delivery,
        driver::{Driver, Ended, Input},
        engine::{Engine, Parts, journal_path},
        machine::Settings,
    },
    model::content_hash,
    record::ec2,
    source::{
        fs::Disk,
        tail::CHUNK,
        watch::{Hints, Watcher},
    },
    telemetry::{cloudwatch::Source, counters::FlowCounters, status::FlowStatus},
};

/// Batches that may wait behind those under way, so that a free slot never waits for the disk.
const QUEUED_BATCHES: usize = 4;

/// One running flow, as the agent sees it.
pub(super) struct Flow {
    pub(super) name: String,
    pub(super) status: Arc<FlowStatus>,
    pub(super) counters: Arc<FlowCounters>,
    pub(super) health: Health,
    /// What metrics call its destination.
    label: Option<(&'static str, String)>,
    inbox: mpsc::Sender<Input>,
    end: Option<oneshot::Receiver<Ended>>,
    ended: Option<Ended>,
}

/// What flows know of the machine they run on.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) ec2: ec2::Shared,
}

/// All of them.
pub(super) struct Flows {
    pub(super) flows: Vec<Flow>,
    /// A flow ended without saying how.
    pub(super) broken: bool,
}

/// What is known of the shards of each stream: shared by the flows into it, as its shards are.
#[derive(Default)]
struct Streams(Vec<(Kinesis, Arc<Shards>)>);

impl Streams {
    fn of(&mut self, kinesis: &Kinesis) -> Arc<Shards> {
        let same = |other: &Kinesis| other.stream == kinesis.stream && other.aws == kinesis.aws;
        if let Some((_, shards)) = self.0.iter().find(|(other, _)| same(other)) {
            return Arc::clone(shards);
        }
        let shards = Arc::<Shards>::default();
        self.0.push((kinesis.clone(), Arc::clone(&shards)));
        shards
    }
}

/// Whether the flows could be started.
pub(super) enum Running {
    Yes(Flows),
    /// The reason was logged.
    Misconfigured,
}

impl Flows {
    /// Opens every journal and builds every client before anything is read, then starts all flows.
    pub(super) async fn start(config: Config, mode: Mode, host: &Host) -> anyhow::Result<Running> {
        let state_dir = config.state_dir;
        let mut ready: Vec<Prepared> = Vec::new();
        let mut shards = Streams::default();
        for options in config.flows {
            let journal = open_journal(&state_dir, &options)?;
            let (name, state_dir, host) = (options.name.clone(), state_dir.clone(), host.clone());
            let prepared = match options.destination.clone() {
                Destination::Stdout => Ok(prepare(options, journal, state_dir, mode, host, StdoutSink)),
                Destination::Firehose(firehose) => FirehoseSink::connect(&firehose)
                    .await
                    .map(|sink| prepare(options, journal, state_dir, mode, host, sink)),
                Destination::Kinesis(kinesis) => {
                    Box::pin(KinesisSink::connect(&kinesis, shards.of(&kinesis), flow::driver::now()))
                        .await
                        .map(|sink| prepare(options, journal, state_dir, mode, host, sink))
                }
            };
            match prepared {
                Ok(start) => ready.push(start),
                Err(error) => {
                    tracing::error!(flow = name, %error, "the flow cannot start");
                    return Ok(Running::Misconfigured);
                }
            }
        }
        let flows = ready.into_iter().map(|start| start()).collect::<Result<_, _>>()?;
        Ok(Running::Yes(Self { flows, broken: false }))
    }

    /// Asks every flow to deliver what it read and end.
    pub(super) fn stop(&self) {
        for flow in &self.flows {
            // A flow that ended already needs no asking.
            let _ = flow.inbox.send(Input::Stop);
        }
    }

    /// Comes back when every flow has ended.
    pub(super) async fn wait_ended(&mut self) {
        for flow in &mut self.flows {
            if let Some(end) = &mut flow.end {
                flow.ended = end.await.ok();
                if flow.ended.is_none() {
                    // With `panic = "abort"` nobody is left to see this; without, it must not look like success.
                    tracing::error!(flow = flow.name, "the flow's thread broke down");
                    self.broken = true;
                }
                flow.end = None;
            }
        }
    }

    /// Bytes read and not settled, over all flows.
    pub(super) fn outstanding(&self) -> u64 {
        self.flows.iter().map(|f| f.status.outstanding()).sum()
    }

    /// What metrics are made of: the flows to AWS.
    pub(super) fn sources(&self) -> Vec<Source> {
        let source = |flow: &Flow| {
            let (kind, stream) = flow.label.clone()?;
            Some(Source { kind, stream, counters: Arc::clone(&flow.counters), status: Arc::clone(&flow.status) })
        };
        self.flows.iter().filter_map(source).collect()
    }

    /// Files that could not be read, over all flows that ended.
    pub(super) fn refused(&self) -> usize {
        self.flows.iter().filter_map(|f| f.ended).map(|e| e.refused).sum()
    }
}

fn open_journal(state_dir: &Path, options: &flow::Options) -> anyhow::Result<Opened<DiskStorage>> {
    let flow = &options.name;
    let opened = Journal::open(DiskStorage::new(journal_path(state_dir, flow)), flow, epoch(options))?;
    if opened.torn > 0 {
        tracing::warn!(
            flow,
            bytes = opened.torn,
            "the checkpoint ends in a torn write, which was cut off: what it said was delivered is sent again, or looked for in the stream first"
        );
    }
    Ok(opened)
}

/// Tells this start of the machine, and what the configuration makes of lines, from others. Where the kernel does not say,
/// each start of the agent counts as one of the machine.
fn epoch(options: &flow::Options) -> u64 {
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id");
    let boot = boot.map_or_else(|_| fastrand::u64(..), |id| content_hash(&id));
    content_hash(&[boot.to_le_bytes(), options.digest.to_le_bytes()].concat())
}

/// What starts a flow, once all the others are found to be startable too.
type Prepared = Box<dyn FnOnce() -> anyhow::Result<Flow>>;

fn prepare<S: Sink>(
    options: flow::Options,
    opened: Opened<DiskStorage>,
    state_dir: PathBuf,
    mode: Mode,
    host: Host,
    sink: S,
) -> Prepared {
    Box::new(move || start(options, opened, &state_dir, mode, host, sink))
}

fn start<S: Sink>(
    mut options: flow::Options,
    opened: Opened<DiskStorage>,
    state_dir: &Path,
    mode: Mode,
    host: Host,
    sink: S,
) -> anyhow::Result<Flow> {
    options.destination.limit_records(sink.max_record());
    let name = options.name.clone();
    let label = options.destination.label().map(|(kind, stream)| (kind, stream.to_owned()));
    let (inbox, inputs) = mpsc::channel();
    let counters = Arc::new(FlowCounters::default());
    let status = Arc::new(FlowStatus::default());
    let dead_letters = DeadLetters::new(state_dir, &name);
    let max_batches = sink.max_in_flight() + QUEUED_BATCHES;
    let clock = sink.exactly_once().map(|once| once.clock.clone());
    let settled = inbox.clone();
    let courier = Courier::start(&Handle::current(), &name, sink, dead_letters, Arc::clone(&counters), move |news| {
        // Fails only when the flow's thread has ended.
        let _ = settled.send(Input::News(news));
    });
    let health = courier.health();
    let doubts = if clock.is_some() { opened.doubts.clone() } else { Vec::new() };
    if !doubts.is_empty() {
        courier.left(doubts.clone());
    }
    let (hints, watcher) = watch(&name, mode, &inbox);
    let parts = parts(options, opened, mode, max_batches, watcher.is_some(), host, Arc::clone(&counters));
    let parts = Parts { doubts, clock, ..parts };
    let (flow, first_start) = (name.clone(), parts.places.is_none());
    let started = move || tracing::info!(flow, first_start, "flow started");
    let (done, end) = oneshot::channel();
    let flow_status = Arc::clone(&status);
    thread::Builder::new()
        .name(format!("flow-{name}").chars().take(15).collect())
        .spawn(move || {
            let engine = Engine::new(parts, Instant::now());
            let driver = Driver { engine, inbox: inputs, watcher, hints, status: flow_status };
            let _ = done.send(driver.run(started, |batch| courier.send(batch)));
        })
        .context("cannot start a flow's thread")?;
    Ok(Flow { name, status, counters, health, label, inbox, end: Some(end), ended: None })
}

fn parts(
    options: flow::Options,
    opened: Opened<DiskStorage>,
    mode: Mode,
    max_batches: usize,
    hints: bool,
    host: Host,
    counters: Arc<FlowCounters>,
) -> Parts<Disk, DiskStorage> {
    let settings = Settings {
        limits: options.limits,
        poll_interval: options.source.poll_interval,
        max_batches,
        shape: options.destination.shape(),
        exactly_once: options.delivery != Delivery::AtLeastOnce,
        once: mode == Mode::Once,
        hints,
    };
    Parts {
        flow: options.name,
        fs: Disk,
        journal: opened.journal,
        places: opened.places,
        doubts: Vec::new(),
        clock: None,
        source: options.source,
        framing: options.framing,
        pipeline: options.pipeline,
        settings,
        chunk: CHUNK,
        max_record_bytes: options.destination.max_record_bytes(),
        ec2: host.ec2,
        host: host.name,
        counters,
        seed: fastrand::u64(..),
    }
}

fn watch(flow: &str, mode: Mode, inbox: &mpsc::Sender<Input>) -> (Hints, Option<Watcher>) {
    let hints = Hints::default();
    if mode == Mode::Once {
        return (hints, None);
    }
    let inbox = inbox.clone();
    match Watcher::new(hints.clone(), move || drop(inbox.send(Input::Hinted))) {
        Ok(watcher) => (hints, Some(watcher)),
        Err(error) => {
            tracing::warn!(flow, %error, "no change events from the kernel (raise fs.inotify.max_user_instances?); files are polled");
            (hints, None)
        }
    }
}
