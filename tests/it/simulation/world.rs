//! The world around the agent: writers, rotation, a destination with faults, crashes; and what must be true of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use headwater::{
    deliver::{Aggregate, Shape, doubts::Doubts, job::Job},
    flow::engine::Engine,
    model::{Generation, Now, Settled},
};

use super::{
    action::Action,
    disk::{Inode, Sim},
    store::Store,
    stream::{Late, Stream},
};

pub const BUFFER: usize = 3_000;
pub const CHUNK: usize = 700;
pub const MAX_RECORD: usize = 512;
pub const LOGS: [&str; 2] = ["app.log", "web.log"];

/// A bug put in on purpose, at a seam, to see that the simulation finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    Nothing,
    CommitTheNewestSettledBatch,
    IdentityWithoutInode,
    InodeAlone,
    CommitOnRead,
    RetireBeforeAcked,
    NoBackPressure,
    TruncationOfARenamedFileUnnoticed,
    PartialLineEmitted,
    BatchLostOnThrottle,
    // Of exactly-once alone.
    ReserveAfterSend,
    WindowNotSynced,
    WindowNotWaitedFor,
    ReadBackFromTheWrongTime,
    ChildrenNotRead,
    SlotIgnored,
    NoSettlingWait,
    RebootUnnoticed,
}

pub struct Flight {
    pub job: Job,
    pub sent: Duration,
    pub due: Duration,
    /// When the first of its records that are in doubt was sent.
    pub doubtful: Option<Duration>,
}

impl Flight {
    /// It waits for what the stream holds.
    pub fn is_in_doubt(&self) -> bool {
        self.job.attempt().is_empty() && !self.job.in_doubt().is_empty()
    }
}

pub struct Agent {
    pub engine: Engine<Sim, Store>,
    pub flights: Vec<Flight>,
    /// Settled, and not yet told: news may come late and out of order.
    pub settled: Vec<(Duration, Settled)>,
    pub wake: Option<Instant>,
    pub stopping: bool,
    /// Where nothing may be delivered twice.
    pub doubts: Option<Doubts>,
}

pub struct Writer {
    /// The file it writes to, whatever it is called by now.
    pub inode: Arc<Mutex<Inode>>,
    /// The rest of a line of which the beginning is written.
    pub torn: Option<(u32, String)>,
}

/// What is known of a line that was written.
#[derive(Debug)]
pub struct Line {
    pub text: String,
    pub delivered: u32,
    pub allowed: u32,
}

pub struct World {
    pub sim: Sim,
    pub store: Store,
    pub random: fastrand::Rng,
    pub base: Instant,
    pub clock: Duration,
    pub writers: Vec<Writer>,
    pub copying: BTreeSet<&'static str>,
    pub lines: BTreeMap<u32, Line>,
    pub agent: Option<Agent>,
    pub all_names: bool,
    pub planted: Planted,
    /// Every third world joins lines, and every third one by the slots of their keys.
    pub shape: Shape,
    /// Accepted records: their place, and which line.
    pub accepted: Vec<(Generation, u64, u32)>,
    pub slow: bool,
    /// Every other world wants each line exactly once.
    pub once: bool,
    /// Counts the starts of the machine.
    pub boot: u64,
    pub stream: Stream,
    pub late: Vec<Late>,
}

pub type Check = Result<(), String>;

impl World {
    pub fn new(seed: u64, planted: Planted) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (joins, slots) = (seed.is_multiple_of(3), seed % 3 == 1);
        let lines = Aggregate { max_bytes: 200, max_records: 4, ..Aggregate::LINES };
        let aggregate =
            if slots { Some(Aggregate { max_bytes: 400, ..Aggregate::KPL }) } else { joins.then_some(lines) };
        let once = seed / 3 % 2 == 1;
        let (hide_children, hide_slots) = (planted == Planted::ChildrenNotRead, planted == Planted::SlotIgnored);
        let sim = Sim::default();
        sim.state().now = 1_700_000_000_000_000_000;
        sim.state().identity_by_name = planted == Planted::IdentityWithoutInode;
        if planted == Planted::TruncationOfARenamedFileUnnoticed {
            sim.state().hide_truncation_of = Some(".log".to_owned());
        }
        let store = Store::default();
        store.0.lock().unwrap().sync_does_nothing = planted == Planted::WindowNotSynced;
        store.0.lock().unwrap().never_waits = planted == Planted::WindowNotWaitedFor;
        let writers = LOGS.map(|name| Writer { inode: sim.state().create(name), torn: None }).into_iter().collect();
        let mut world = Self {
            sim,
            store,
            base: Instant::now(),
            clock: Duration::from_secs(1),
            writers,
            copying: BTreeSet::new(),
            lines: BTreeMap::new(),
            agent: None,
            all_names: random.bool(),
            random,
            planted,
            shape: Shape { overhead: 10, newline: joins, aggregate, slots, ids: once },
            accepted: Vec::new(),
            slow: false,
            once,
            boot: 1,
            stream: Stream::new(seed, hide_children, hide_slots),
            late: Vec::new(),
        };
        // What was rotated away before the flow's very first look was never one of its files.
        world.steps(4).expect("an undisturbed start");
        world
    }

    pub fn now(&self) -> Now {
        Now { mono: self.base + self.clock, wall: self.sim.state().now }
    }

    pub fn pass(&mut self, time: Duration) {
        self.clock += time;
        self.sim.state().now += i64::try_from(time.as_nanos()).unwrap();
    }

    pub fn act(&mut self, action: &Action) -> Check {
        match *action {
            Action::Write { log, lines, torn } => self.write(log, lines, torn),
            Action::Rename { log, reopen } => self.rename(log, reopen),
            Action::Reopen { log } => self.reopen(log),
            Action::Copy { log } => self.copy(log),
            Action::Truncate { log } => self.truncate(log),
            Action::Rewrite { log, lines } => self.rewrite(log, lines),
            Action::Compress { log, number } => self.compress(log, number),
            Action::Delete { log, number } => self.delete(log, number),
            Action::Hole { log } => self.hole(log),
            Action::Advance { millis } => self.pass(Duration::from_millis(millis)),
            Action::Slow(slow) => self.slow = slow,
            Action::Reshard => self.stream.reshard(),
            Action::JournalFails(fails) => self.store.0.lock().unwrap().fails = fails,
            Action::ReadsFail(fails) => self.sim.state().reads_fail = fails,
            Action::Denied(denied) => self.sim.state().denied = denied,
            Action::Steps(n) => return self.steps(n),
            Action::Hint { log } => self.hint(log),
            Action::Terminate => return self.terminate(),
            Action::Kill => self.crash(false),
            Action::PowerCut => self.crash(true),
        }
        Ok(())
    }

    /// All faults end; the agent has time; then every line that is still there must have arrived.
    pub fn settle_and_check(&mut self) -> Check {
        for log in 0..LOGS.len() {
            self.truncate(log);
            self.finish_line(log);
        }
        {
            let mut state = self.sim.state();
            (state.reads_fail, state.denied) = (false, false);
        }
        self.store.0.lock().unwrap().fails = false;
        self.slow = false;
        for _ in 0..60 {
            self.steps(40)?;
            self.pass(Duration::from_millis(700));
        }
        self.terminate()?;
        let names: Vec<String> =
            self.sim.state().names.keys().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect();
        for name in names {
            for id in ids(&contents(&self.sim, &name).unwrap()) {
                if self.lines[&id].delivered == 0 {
                    return Err(format!("line {id} of {name} was never delivered"));
                }
            }
        }
        Ok(())
    }
}

/// The bytes of a file, decompressed.
pub fn contents(sim: &Sim, name: &str) -> Option<Vec<u8>> {
    let inode = sim.state().inode(name)?;
    let data = inode.lock().unwrap().data.clone();
    if std::path::Path::new(name).extension().is_none_or(|end| end != "gz") {
        return Some(data);
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&data[..]).read_to_end(&mut plain).unwrap();
    Some(plain)
}

/// The numbers of the lines in a file, as far as one can be read.
pub fn ids(data: &[u8]) -> impl Iterator<Item = u32> {
    data.split(|b| *b == b'\n').filter_map(|line| {
        let line = &line[line.iter().position(|b| *b != 0).unwrap_or(line.len())..];
        std::str::from_utf8(line.get(3..9)?).ok()?.parse().ok()
    })
}
