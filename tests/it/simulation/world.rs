//! The world around the agent: writers, rotation, a destination with faults, crashes; and what must be true of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use headwater::{
    checkpoint::journal::{self, Journal},
    deliver::{
        Aggregate, Shape,
        errors::{Class, Failure},
        job::{Job, Next, Reply},
    },
    flow::{
        Limits,
        engine::{Engine, Parts, Step},
        machine::{Event, Settings},
    },
    model::{Generation, Now, Print, Settled, Slot},
    record::{key, pipeline::Pipeline, split},
    source::{self, Pattern, StartAt},
    telemetry::counters::FlowCounters,
};

use super::{
    action::Action,
    disk::{Inode, Sim, State},
    store::Store,
};

pub const BUFFER: usize = 3_000;
pub const CHUNK: usize = 700;
const MAX_RECORD: usize = 512;
const LOGS: [&str; 2] = ["app.log", "web.log"];

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
}

struct Flight {
    job: Job,
    due: Duration,
}

struct Agent {
    engine: Engine<Sim, Store>,
    flights: Vec<Flight>,
    /// Settled, and not yet told: news may come late and out of order.
    settled: Vec<(Duration, Settled)>,
    wake: Option<Instant>,
    stopping: bool,
}

struct Writer {
    /// The file it writes to, whatever it is called by now.
    inode: Arc<Mutex<Inode>>,
    /// The rest of a line of which the beginning is written.
    torn: Option<(u32, String)>,
}

/// What is known of a line that was written.
#[derive(Debug)]
struct Line {
    text: String,
    delivered: u32,
    allowed: u32,
}

pub struct World {
    pub sim: Sim,
    store: Store,
    random: fastrand::Rng,
    base: Instant,
    clock: Duration,
    writers: Vec<Writer>,
    copying: BTreeSet<&'static str>,
    lines: BTreeMap<u32, Line>,
    agent: Option<Agent>,
    all_names: bool,
    planted: Planted,
    /// Every third world joins lines, and every third one by the slots of their keys.
    shape: Shape,
    /// Accepted records: their place, and which line.
    accepted: Vec<(Generation, u64, u32)>,
    slow: bool,
}

type Check = Result<(), String>;

impl World {
    pub fn new(seed: u64, planted: Planted) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (joins, slots) = (seed.is_multiple_of(3), seed % 3 == 1);
        let lines = Aggregate { max_bytes: 200, max_records: 4, ..Aggregate::LINES };
        let aggregate =
            if slots { Some(Aggregate { max_bytes: 400, ..Aggregate::KPL }) } else { joins.then_some(lines) };
        let sim = Sim::default();
        sim.state().now = 1_700_000_000_000_000_000;
        sim.state().identity_by_name = planted == Planted::IdentityWithoutInode;
        if planted == Planted::TruncationOfARenamedFileUnnoticed {
            sim.state().hide_truncation_of = Some(".log".to_owned());
        }
        let writers = LOGS.map(|name| Writer { inode: sim.state().create(name), torn: None }).into_iter().collect();
        let mut world = Self {
            sim,
            store: Store::default(),
            base: Instant::now(),
            clock: Duration::from_secs(1),
            writers,
            copying: BTreeSet::new(),
            lines: BTreeMap::new(),
            agent: None,
            all_names: random.bool(),
            random,
            planted,
            shape: Shape { overhead: 10, newline: joins, aggregate, slots },
            accepted: Vec::new(),
            slow: false,
        };
        // What was rotated away before the flow's very first look was never one of its files.
        world.steps(4).expect("an undisturbed start");
        world
    }

    fn now(&self) -> Now {
        Now { mono: self.base + self.clock, wall: self.sim.state().now }
    }

    fn pass(&mut self, time: Duration) {
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

    // The writers.

    fn line(&mut self, log: usize) -> String {
        let id = u32::try_from(self.lines.len()).unwrap();
        let pad = if self.random.u8(..) < 8 { 300 } else { self.random.usize(..90) };
        let text = format!("{}{id:06}|{}\n", &LOGS[log][..3], "x".repeat(pad));
        self.lines.insert(id, Line { text: text.clone(), delivered: 0, allowed: 0 });
        text
    }

    fn write(&mut self, log: usize, lines: u8, torn: bool) {
        if self.copying.contains(LOGS[log]) {
            return;
        }
        let mut text = self.writers[log].torn.take().map(|(_, rest)| rest).unwrap_or_default();
        for _ in 0..lines {
            text += &self.line(log);
        }
        // A writer that pauses in the middle of a line of a rotated file is taken to have left it.
        if torn && self.writes_to(log, LOGS[log]) {
            let line = self.line(log);
            let cut = self.random.usize(10..line.len());
            text += &line[..cut];
            let id = u32::try_from(self.lines.len() - 1).unwrap();
            self.writers[log].torn = Some((id, line[cut..].to_owned()));
        }
        let inode = Arc::clone(&self.writers[log].inode);
        self.sim.state().append(&inode, text.as_bytes());
    }

    /// Ends the line that was begun, so that what follows does not tear it apart.
    fn finish_line(&mut self, log: usize) {
        if let Some((_, rest)) = self.writers[log].torn.take() {
            let inode = Arc::clone(&self.writers[log].inode);
            self.sim.state().append(&inode, rest.as_bytes());
        }
    }

    /// Gives up the line that was begun: what is written of it is all there will be.
    fn abandon_line(&mut self, log: usize) {
        if let Some((id, rest)) = self.writers[log].torn.take() {
            let line = self.lines.get_mut(&id).expect("it was written");
            let keep = line.text.len() - rest.len();
            line.text.truncate(keep);
        }
    }

    fn free_number(&self, log: usize) -> usize {
        let taken = |n: &usize| {
            let state = self.sim.state();
            state.exists(&format!("{}.{n}", LOGS[log])) || state.exists(&format!("{}.{n}.gz", LOGS[log]))
        };
        (1..1000).find(|n| !taken(n)).unwrap()
    }

    /// Moves `.1` to `.2` and so on, compressed ones too, to make `.1` free.
    fn shift(&mut self, log: usize) {
        for n in (1..self.free_number(log)).rev() {
            for end in ["", ".gz"] {
                let (from, to) = (format!("{}.{n}{end}", LOGS[log]), format!("{}.{}{end}", LOGS[log], n + 1));
                let mut state = self.sim.state();
                if state.exists(&from) {
                    state.rename(&from, &to);
                }
            }
        }
    }

    fn rename(&mut self, log: usize, reopen: bool) {
        let name = LOGS[log];
        if self.copying.contains(name) || !self.sim.state().exists(name) {
            return;
        }
        // A line is torn apart only by a writer that leaves the file for good.
        if reopen && self.random.bool() {
            self.abandon_line(log);
        } else {
            self.finish_line(log);
        }
        self.shift(log);
        self.sim.state().rename(name, &format!("{name}.1"));
        if reopen {
            self.reopen(log);
        }
    }

    fn reopen(&mut self, log: usize) {
        if self.copying.contains(LOGS[log]) {
            return;
        }
        self.finish_line(log);
        let inode = self.sim.state().create(LOGS[log]);
        self.writers[log].inode = inode;
    }

    fn writes_to(&self, log: usize, name: &str) -> bool {
        self.sim.state().inode(name).is_some_and(|i| Arc::ptr_eq(&i, &self.writers[log].inode))
    }

    fn copy(&mut self, log: usize) {
        let name = LOGS[log];
        if !self.writes_to(log, name) || self.copying.contains(name) {
            return;
        }
        self.finish_line(log);
        self.shift(log);
        let mut state = self.sim.state();
        let data = state.inode(name).unwrap().lock().unwrap().data.clone();
        if data.is_empty() {
            return;
        }
        let now = state.now;
        state.replace(&format!("{name}.1"), data, now);
        self.copying.insert(name);
    }

    fn truncate(&mut self, log: usize) {
        if self.copying.remove(LOGS[log]) {
            self.sim.state().truncate(LOGS[log]);
        }
    }

    /// Truncates without a copy and writes at once beyond the old length: only when nothing is lost by it.
    fn rewrite(&mut self, log: usize, lines: u8) {
        let name = LOGS[log];
        if !self.writes_to(log, name) || self.copying.contains(name) {
            return;
        }
        self.finish_line(log);
        let inode = self.sim.state().inode(name).unwrap();
        if self.all_delivered(&inode.lock().unwrap().data) {
            self.sim.state().truncate(name);
            self.write(log, lines, false);
        }
    }

    fn compress(&mut self, log: usize, number: usize) {
        let name = format!("{}.{number}", LOGS[log]);
        let Some(inode) = self.sim.state().inode(&name) else { return };
        if self.writes_to(log, &name) {
            return;
        }
        let (data, mtime) = {
            let inode = inode.lock().unwrap();
            (inode.data.clone(), inode.mtime)
        };
        drop(inode);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&data).unwrap();
        let mut state = self.sim.state();
        state.replace(&format!("{name}.gz"), encoder.finish().unwrap(), mtime);
        state.unlink(&name);
    }

    fn delete(&mut self, log: usize, number: usize) {
        for name in [format!("{}.{number}", LOGS[log]), format!("{}.{number}.gz", LOGS[log])] {
            let Some(data) = contents(&self.sim, &name) else { continue };
            if !self.writes_to(log, &name) && self.all_delivered(&data) {
                self.sim.state().unlink(&name);
            }
        }
    }

    /// A writer without `O_APPEND` goes on at its old offset after its file was truncated.
    fn hole(&mut self, log: usize) {
        let name = LOGS[log];
        if self.copying.contains(name) && self.writes_to(log, name) {
            let size = self.sim.state().inode(name).unwrap().lock().unwrap().data.len();
            self.truncate(log);
            let text = [vec![0; size.max(64)], self.line(log).into_bytes()].concat();
            let inode = Arc::clone(&self.writers[log].inode);
            self.sim.state().append(&inode, &text);
        }
    }

    fn all_delivered(&self, data: &[u8]) -> bool {
        ids(data).all(|id| self.lines[&id].delivered > 0)
    }

    // The agent.

    fn start(&mut self) -> Result<(), String> {
        let opened = Journal::open(self.store.clone(), "sim").map_err(|e| format!("refuses to start: {e}"))?;
        let mut places = opened.places;
        match (self.planted, &mut places) {
            (Planted::InodeAlone, Some(places)) => {
                for place in places {
                    (place.head, place.tail) = (Print::default(), Print::default());
                }
            }
            (Planted::RetireBeforeAcked, Some(places)) => {
                places.retain(|p| LOGS.iter().any(|l| p.path.ends_with(l)));
            }
            _ => {}
        }
        let patterns: Vec<&str> =
            if self.all_names { vec!["/logs/*.log*"] } else { vec!["/logs/app.log", "/logs/web.log"] };
        let limits =
            Limits { batch_records: 7, batch_bytes: 600, batch_age: Duration::from_millis(300), buffer: BUFFER };
        let unlimited = self.planted == Planted::NoBackPressure;
        let partial = (self.planted == Planted::PartialLineEmitted).then_some(Duration::ZERO);
        let parts = Parts {
            flow: "simulated".to_owned(),
            fs: self.sim.clone(),
            journal: opened.journal,
            places,
            source: source::Options {
                paths: patterns.into_iter().map(|p| Pattern::new(p).unwrap()).collect(),
                exclude: Vec::new(),
                start_at: Some(StartAt::Beginning),
                poll_interval: Duration::from_secs(1),
            },
            framing: split::Options {
                skip_header_lines: 0,
                multiline: None,
                max_record: MAX_RECORD,
                oversize: split::Oversize::Truncate,
                terminator: b"\n".to_vec(),
                footer: None,
                partial_line_timeout: partial,
            },
            pipeline: Pipeline::default().with_key(self.shape.slots.then_some(key::Options::RECORD_HASH)),
            settings: Settings {
                limits: if unlimited { Limits { buffer: usize::MAX, ..limits } } else { limits },
                poll_interval: Duration::from_secs(1),
                max_batches: if unlimited { usize::MAX } else { 5 },
                shape: self.shape,
                once: false,
                hints: self.random.bool(),
            },
            chunk: CHUNK,
            max_record_bytes: 1 << 20,
            host: "sim".to_owned(),
            ec2: headwater::record::ec2::Shared::default(),
            counters: Arc::new(FlowCounters::default()),
            seed: self.random.u64(..),
        };
        let engine = Engine::new(parts, self.now().mono);
        self.agent = Some(Agent { engine, flights: Vec::new(), settled: Vec::new(), wake: None, stopping: false });
        Ok(())
    }

    fn hint(&mut self, log: usize) {
        let now = self.now().mono;
        if let Some(agent) = &mut self.agent {
            agent.engine.handle(Event::Hint(State::path(LOGS[log])), now);
            agent.wake = None;
        }
    }

    /// Lets the agent and the destination do a number of things.
    fn steps(&mut self, n: u32) -> Check {
        for _ in 0..n {
            if self.agent.is_none() {
                self.start()?;
            }
            self.destination()?;
            let now = self.now();
            let agent = self.agent.as_mut().expect("started above");
            if agent.wake.is_some_and(|wake| now.mono < wake) {
                self.pass(Duration::from_millis(50));
                continue;
            }
            agent.wake = None;
            let step = agent.engine.step(now);
            agent.engine.check_invariants();
            let outstanding = agent.engine.outstanding();
            // A chunk's records cost their overhead too, and one record may be carried over.
            if outstanding > BUFFER + 4 * CHUNK + MAX_RECORD {
                return Err(format!("outstanding {outstanding} of {BUFFER}"));
            }
            match step {
                Step::Worked => {}
                Step::Wait(until) => agent.wake = Some(until),
                Step::Exit => {
                    self.agent = None;
                    return Ok(());
                }
                Step::Send(batch) => {
                    let due = self.clock + Duration::from_millis(self.random.u64(1..40));
                    let settled = Settled { id: batch.id, accepted: 0, dead_lettered: 0 };
                    if self.planted == Planted::CommitOnRead {
                        agent.settled.push((self.clock, settled));
                    }
                    agent.flights.push(Flight { job: Job::new(batch), due });
                }
            }
        }
        Ok(())
    }

    /// The destination answers what is due, and news of what settled arrive, in any order.
    fn destination(&mut self) -> Check {
        let Some(mut agent) = self.agent.take() else { return Ok(()) };
        let mut i = 0;
        while i < agent.flights.len() {
            if agent.flights[i].due > self.clock {
                i += 1;
                continue;
            }
            match self.answer(&mut agent.flights[i].job)? {
                Next::Now => {}
                Next::Again { .. } => {
                    let id = agent.flights[i].job.batch().id;
                    agent.engine.handle(Event::Delayed(id), self.base + self.clock);
                    agent.flights[i].due = self.clock + Duration::from_millis(self.random.u64(1..2000));
                    if self.planted == Planted::BatchLostOnThrottle {
                        let flight = agent.flights.swap_remove(i);
                        let settled = Settled { id: flight.job.batch().id, accepted: 0, dead_lettered: 0 };
                        agent.settled.push((self.clock, settled));
                    }
                }
                Next::Done => {
                    let flight = agent.flights.swap_remove(i);
                    let id = flight.job.batch().id;
                    let late = Duration::from_millis(self.random.u64(..100));
                    if self.planted == Planted::CommitTheNewestSettledBatch {
                        for older in agent.flights.iter().map(|f| f.job.batch().id).filter(|o| *o < id) {
                            let settled = Settled { id: older, accepted: 0, dead_lettered: 0 };
                            agent.settled.push((self.clock, settled));
                        }
                    }
                    let settled = Settled { id, accepted: flight.job.accepted(), dead_lettered: 0 };
                    agent.settled.push((self.clock + late, settled));
                }
            }
        }
        let now = self.base + self.clock;
        let (due, later) = agent.settled.into_iter().partition(|(at, _)| *at <= self.clock);
        agent.settled = later;
        let due: Vec<(Duration, Settled)> = due;
        if !due.is_empty() {
            agent.wake = None;
        }
        for (_, settled) in due {
            agent.engine.handle(Event::Settled(settled), now);
        }
        self.agent = Some(agent);
        Ok(())
    }

    /// One request: accepted, throttled in part, refused, or accepted with the answer lost.
    fn answer(&mut self, job: &mut Job) -> Result<Next, String> {
        let failure = |class| Failure::new(class, "Simulated", "as drawn");
        let count = job.attempt().len();
        if count == 0 {
            return Ok(Next::Done);
        }
        let odds = if self.slow { self.random.u8(..200) } else { 0 };
        match odds {
            0..110 => {
                self.accept(job, |_| true, false)?;
                Ok(job.reply(Reply::accepted()))
            }
            110..160 => {
                let failed: Vec<u32> = (0..u32::try_from(count).unwrap()).filter(|_| self.random.bool()).collect();
                self.accept(job, |i| !failed.contains(&i), false)?;
                let failed = failed.into_iter().map(|i| (i, failure(Class::Throttled))).collect();
                Ok(job.reply(Reply::Answered { failed }))
            }
            160..190 => Ok(job.reply(Reply::Failed(failure(if odds < 175 { Class::Again } else { Class::Hold })))),
            _ => {
                self.accept(job, |_| true, true)?;
                Ok(job.reply(Reply::Failed(failure(Class::Ambiguous))))
            }
        }
    }

    fn accept(&mut self, job: &Job, taken: impl Fn(u32) -> bool, answer_lost: bool) -> Check {
        for (position, index) in (0u32..).zip(job.attempt()) {
            if !taken(position) {
                continue;
            }
            let index = usize::try_from(*index).unwrap();
            let batch = job.batch();
            let id = batch.record_id(index);
            let slot_of = |key: &str| Slot::of(key.as_bytes());
            if self.shape.slots && batch.keys(index).any(|key| Some(slot_of(key)) != batch.records[index].slot) {
                return Err(format!("a record of several slots: {:?}", batch.records[index]));
            }
            for (_, line) in batch.parts(index) {
                self.receive(id.generation, id.span.end, line, answer_lost)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, generation: Generation, end: u64, data: &[u8], answer_lost: bool) -> Check {
        let text = String::from_utf8_lossy(data);
        let line_id: Option<u32> = text.get(3..9).and_then(|id| id.parse().ok());
        let Some(id) = line_id else { return Err(format!("a record that nobody wrote: {text:?}")) };
        let line = self.lines.get_mut(&id).ok_or_else(|| format!("line {id} was never written"))?;
        let added = if self.shape.newline && !line.text.ends_with('\n') { "\n" } else { "" };
        if text.strip_suffix(added) != Some(&line.text) {
            return Err(format!("line {id} was delivered as {text:?} instead of {:?}", line.text));
        }
        line.delivered += 1;
        tracing::debug!(%generation, end, id, "received");
        if line.delivered > 1 + line.allowed {
            return Err(format!("line {id} was delivered {} times, {} allowed", line.delivered, 1 + line.allowed));
        }
        line.allowed += u32::from(answer_lost);
        self.accepted.push((generation, end, id));
        Ok(())
    }

    /// The process dies. What was accepted and is not in the journal may come again, once.
    fn crash(&mut self, power: bool) {
        if self.agent.take().is_none() {
            return;
        }
        if power {
            self.store.cut_power(&mut self.random);
        }
        let bytes = self.store.bytes().unwrap_or_default();
        let places =
            journal::read(std::path::Path::new("sim"), "sim", &bytes).map(|(c, _)| c.places).unwrap_or_default();
        let durable: HashMap<Generation, u64> = places.values().map(|p| (p.generation, p.acked)).collect();
        for (generation, end, id) in std::mem::take(&mut self.accepted) {
            if durable.get(&generation).is_none_or(|acked| *acked < end) {
                self.lines.get_mut(&id).expect("accepted lines are known").allowed += 1;
            } else {
                self.accepted.push((generation, end, id));
            }
        }
    }

    /// A clean stop: everything that was read is delivered, and nothing of it comes again.
    fn terminate(&mut self) -> Check {
        let now = self.now().mono;
        let Some(agent) = &mut self.agent else { return Ok(()) };
        agent.stopping = true;
        agent.wake = None;
        agent.engine.handle(Event::Stop, now);
        let fails = std::mem::replace(&mut self.store.0.lock().unwrap().fails, false);
        let slow = std::mem::replace(&mut self.slow, false);
        for _ in 0..3_000 {
            self.steps(1)?;
            if self.agent.is_none() {
                (self.store.0.lock().unwrap().fails, self.slow) = (fails, slow);
                return Ok(());
            }
        }
        Err("a clean stop does not come to an end".to_owned())
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
fn contents(sim: &Sim, name: &str) -> Option<Vec<u8>> {
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
fn ids(data: &[u8]) -> impl Iterator<Item = u32> {
    data.split(|b| *b == b'\n').filter_map(|line| {
        let line = &line[line.iter().position(|b| *b != 0).unwrap_or(line.len())..];
        std::str::from_utf8(line.get(3..9)?).ok()?.parse().ok()
    })
}
