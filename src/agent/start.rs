//! Starting one flow: its destination, its journal, its thread. Knows no other flow and no end.
//! Invariant: whatever can be refused is tried before a flow runs.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Instant,
};

use anyhow::Context as _;
use tokio::{runtime::Handle, sync::oneshot};

use super::{Mode, flows::Flow};
use crate::{
    aws::StartError,
    checkpoint::{
        journal::{Journal, Opened},
        storage::DiskStorage,
    },
    deliver::{Courier, DeadLetters, Destination, FirehoseSink, Kinesis, KinesisSink, Shards, Sink, StdoutSink},
    flow::{
        self, Delivery,
        driver::{Driver, Input},
        engine::{Engine, Parts, journal_path},
        machine::Settings,
    },
    model::content_hash,
    record::ec2,
    source::{
        fs::Disk,
        tail::{CHUNK, MostOpen},
        watch::{Hints, Watcher},
    },
    telemetry::{counters::FlowCounters, status::FlowStatus},
};

/// Batches that may wait behind those under way, so that a free slot never waits for the disk.
const QUEUED_BATCHES: usize = 4;

/// A header of columns, or what a program says of itself at its start: see `Parts::alike`.
const ALIKE: u64 = 16 << 10;

/// What flows know of the machine they run on.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) ec2: ec2::Shared,
}

/// What all flows have in common.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) state_dir: PathBuf,
    pub(super) mode: Mode,
    pub(super) host: Host,
    pub(super) streams: Streams,
    pub(super) most_open: MostOpen,
}

/// What is known of the shards of each stream: shared by the flows into it, as its shards are.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Mutex<Vec<Known>>>);

type Known = (Kinesis, Arc<Shards>);

impl Streams {
    fn of(&self, kinesis: &Kinesis) -> Arc<Shards> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |other: &Kinesis| other.stream == kinesis.stream && other.aws == kinesis.aws;
        if let Some((_, shards)) = all.iter().find(|(other, _)| same(other)) {
            return Arc::clone(shards);
        }
        // Those that no flow has any more.
        all.retain(|(_, shards)| Arc::strong_count(shards) > 1);
        let shards = Arc::<Shards>::default();
        all.push((kinesis.clone(), Arc::clone(&shards)));
        shards
    }
}

/// A flow whose destination is ready.
pub(super) struct Ready {
    pub(super) name: String,
    /// Connections that it may have at once.
    pub(super) max_in_flight: usize,
    epoch: u64,
    state_dir: PathBuf,
    opened: Option<Opened<DiskStorage>>,
    launch: Launch,
}

type Launch = Box<dyn FnOnce(Opened<DiskStorage>) -> anyhow::Result<Flow> + Send>;

impl Ready {
    /// Builds the client. An error is the configuration's.
    pub(super) async fn connect(options: flow::Options, around: &Surroundings) -> Result<Self, StartError> {
        let (name, epoch) = (options.name.clone(), epoch(&options, &around.host.name));
        let (max_in_flight, launch) = match options.destination.clone() {
            Destination::Stdout => launch(options, around, StdoutSink),
            Destination::Firehose(firehose) => launch(options, around, FirehoseSink::connect(&firehose).await?),
            Destination::Kinesis(kinesis) => {
                let shards = around.streams.of(&kinesis);
                let sink = Box::pin(KinesisSink::connect(&kinesis, shards, flow::driver::now())).await?;
                launch(options, around, sink)
            }
        };
        Ok(Self { name, max_in_flight, epoch, state_dir: around.state_dir.clone(), opened: None, launch })
    }

    /// Opens the journal, which no other flow may have open, unless that was done.
    pub(super) fn open(&mut self) -> anyhow::Result<()> {
        if self.opened.is_some() {
            return Ok(());
        }
        self.opened = Some(open_journal(&self.state_dir, &self.name, self.epoch)?);
        Ok(())
    }

    /// Its journal is opened later.
    pub(super) fn unopened(self) -> Self {
        Self { opened: None, ..self }
    }

    /// Starts the flow. To be called on the runtime.
    pub(super) fn start(mut self) -> anyhow::Result<Flow> {
        self.open()?;
        let opened = self.opened.expect("it was opened above");
        (self.launch)(opened)
    }
}

fn open_journal(state_dir: &Path, flow: &str, epoch: u64) -> anyhow::Result<Opened<DiskStorage>> {
    let opened = Journal::open(DiskStorage::new(journal_path(state_dir, flow)), flow, epoch)?;
    if opened.torn > 0 {
        tracing::warn!(
            flow,
            bytes = opened.torn,
            "the checkpoint ends in a torn write, which was cut off: what it said was delivered is sent again, or looked for in the stream first"
        );
    }
    Ok(opened)
}

/// Set by the unit, for `ProcSubset=pid` hides what the kernel says.
const BOOT_ID: &str = "HEADWATER_BOOT_ID";

/// Tells this start of the machine, and what the configuration makes of lines here, from others. Where nobody says which start
/// this is, each start of the agent counts as one of the machine.
fn epoch(options: &flow::Options, host: &str) -> u64 {
    let told = std::env::var(BOOT_ID).ok().filter(|id| !id.is_empty()).map(String::into_bytes);
    let boot = told.or_else(|| std::fs::read("/proc/sys/kernel/random/boot_id").ok());
    let boot = boot.map_or_else(|| fastrand::u64(..), |id| content_hash(&id));
    let host = if options.names_host { host } else { "" };
    content_hash(&[&boot.to_le_bytes(), &options.digest.to_le_bytes(), host.as_bytes()].concat())
}

fn launch<S: Sink>(options: flow::Options, around: &Surroundings, sink: S) -> (usize, Launch) {
    let (max_in_flight, around) = (sink.max_in_flight(), around.clone());
    (max_in_flight, Box::new(move |opened| start(options, opened, around, sink)))
}

fn start<S: Sink>(
    mut options: flow::Options,
    opened: Opened<DiskStorage>,
    around: Surroundings,
    sink: S,
) -> anyhow::Result<Flow> {
    let (name, revision) = (options.name.clone(), options.revision());
    options.destination.limit_records(sink.max_record());
    let label = options.destination.label().map(|(kind, stream)| (kind, stream.to_owned()));
    let (inbox, inputs) = mpsc::channel();
    let counters = Arc::new(FlowCounters::default());
    let status = Arc::new(FlowStatus::default());
    let dead_letters = DeadLetters::new(&around.state_dir, &name);
    let max_in_flight = sink.max_in_flight();
    let max_batches = max_in_flight + QUEUED_BATCHES;
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
    let (hints, watcher) = watch(&name, around.mode, &inbox);
    let parts = parts(options, opened, around, max_batches, watcher.is_some(), Arc::clone(&counters));
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
            // Whoever starts this flow anew relies on it that nothing of it is under way any more.
            let ended = driver.run(started, |batch| courier.send(batch), || courier.end());
            let _ = done.send(ended);
        })
        .context("cannot start a flow's thread")?;
    let (end, ended) = (Some(end), None);
    Ok(Flow { name, revision, status, counters, health, label, max_in_flight, inbox, end, ended })
}

fn parts(
    options: flow::Options,
    opened: Opened<DiskStorage>,
    around: Surroundings,
    max_batches: usize,
    hints: bool,
    counters: Arc<FlowCounters>,
) -> Parts<Disk, DiskStorage> {
    let settings = Settings {
        limits: options.limits,
        poll_interval: options.source.poll_interval,
        max_batches,
        shape: options.destination.shape(),
        exactly_once: options.delivery != Delivery::AtLeastOnce,
        once: around.mode == Mode::Once,
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
        alike: ALIKE,
        max_record_bytes: options.destination.max_record_bytes(),
        ec2: around.host.ec2,
        host: around.host.name,
        counters,
        most_open: around.most_open,
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
