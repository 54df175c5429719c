//! The agent in the world: started, stepped, stopped, killed; and the destination's answers to it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use headwater::{
    checkpoint::journal::{self, Journal},
    deliver::{
        ExactlyOnce, ServiceClock,
        doubts::{Doubts, Outcome},
        errors::{Class, Failure},
        job::{Job, Next, Reply},
    },
    flow::{
        Limits,
        engine::{Engine, Parts, Step},
        machine::{Event, Settings},
    },
    model::{Batch, Generation, Landed, Now, Print, Settled, Slot, content_hash},
    record::{
        key::{self, OnMissing},
        parse::{Format, Refine},
        pipeline::{Emit, OnMismatch, Pipeline, Step as Processing},
        regex::Regex,
        split,
    },
    source::{self, Pattern, StartAt, tail::MostOpen},
    telemetry::counters::FlowCounters,
};

use super::{
    disk::State,
    stream::Late,
    world::{Agent, BUFFER, CHUNK, Check, Flight, LOGS, MAX_RECORD, Planted, World, ids},
};

/// A request without an answer has been taken by then, or never will be.
const SETTLE_WAIT: Duration = Duration::from_secs(2);
/// What this host's clock is ahead of the stream's, where it is wrong.
const SKEW: i64 = 600_000_000_000;

/// Lines as they are. Most have one key, short ones another by their length; a piece of a line has none.
fn keyed() -> Pipeline {
    let regex = Regex::new(r"^(?P<number>[^|]+\|)(?P<key>x{1,20})").expect("a pattern");
    let (format, refine) = (Format::Regex(regex), Refine::default());
    let parse = Processing::Parse { format, refine, on_mismatch: OnMismatch::KeepRaw };
    let key = key::Options { source: key::Source::Field("key".to_owned()), on_missing: OnMissing::Random };
    Pipeline::new(vec![parse, Processing::Emit(Emit::Raw)]).with_key(Some(key))
}

impl World {
    pub(super) fn start(&mut self) -> Result<(), String> {
        let opened =
            Journal::open(self.store.clone(), "sim", self.boot).map_err(|e| format!("refuses to start: {e}"))?;
        let (mut places, mut doubts) = (opened.places, opened.doubts);
        match (self.planted, &mut places) {
            (Planted::InodeAlone, Some(places)) => {
                for place in places {
                    (place.head, place.tail) = (Print::default(), Print::default());
                }
            }
            (Planted::RetireBeforeAcked, Some(places)) => {
                places.retain(|p| LOGS.iter().any(|l| p.path.ends_with(l)));
            }
            (Planted::RebootUnnoticed, _) => {
                for doubt in &mut doubts {
                    doubt.changed = false;
                }
            }
            (Planted::ReadBackFromTheWrongTime, _) => {
                for doubt in &mut doubts {
                    doubt.since += 60_000_000_000;
                }
            }
            _ => {}
        }
        let once = self.once.then(|| self.exactly_once());
        let clock = once.as_ref().map(|once| once.clock.clone());
        let mut looking = once.map(|once| Doubts::new(once, self.random.fork()));
        match &mut looking {
            Some(looking) => looking.left(doubts.clone(), self.now().mono),
            None => doubts.clear(),
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
            doubts,
            clock,
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
            pipeline: if self.shape.slots { keyed() } else { Pipeline::default() },
            settings: Settings {
                limits: if unlimited { Limits { buffer: usize::MAX, ..limits } } else { limits },
                poll_interval: Duration::from_secs(1),
                max_batches: if unlimited { usize::MAX } else { 5 },
                shape: self.shape,
                exactly_once: self.once,
                once: false,
                hints: self.random.bool(),
            },
            chunk: CHUNK,
            alike: 64,
            max_record_bytes: 1 << 20,
            host: "sim".to_owned(),
            ec2: headwater::record::ec2::Shared::default(),
            counters: Arc::new(FlowCounters::default()),
            most_open: self.most_open(),
            seed: self.random.u64(..),
        };
        let engine = Engine::new(parts, self.now().mono);
        let (flights, settled) = (Vec::new(), Vec::new());
        self.agent = Some(Agent { engine, flights, settled, wake: None, stopping: false, doubts: looking });
        Ok(())
    }

    /// Sometimes so few that files have to wait for each other.
    fn most_open(&mut self) -> MostOpen {
        let most = MostOpen::default();
        if self.random.u8(..) < 85 {
            most.set(self.random.usize(1..4));
        }
        most
    }

    /// The stream's clock is asked once, as at a real start; the host's is wrong in some worlds.
    fn exactly_once(&self) -> ExactlyOnce {
        let Now { mono, wall } = self.now();
        let skew = if self.shape.slots { SKEW } else { 0 };
        let clock = ServiceClock::new(Now { mono, wall: wall + skew });
        clock.learn(wall, mono);
        let hasty = self.planted == Planted::NoSettlingWait;
        ExactlyOnce { settle_wait: if hasty { Duration::ZERO } else { SETTLE_WAIT }, clock }
    }

    pub(super) fn hint(&mut self, log: usize) {
        let now = self.now().mono;
        if let Some(agent) = &mut self.agent {
            agent.engine.handle(Event::Hint(State::path(LOGS[log])), now);
            agent.wake = None;
        }
    }

    /// Lets the agent and the destination do a number of things.
    pub(super) fn steps(&mut self, n: u32) -> Check {
        for _ in 0..n {
            if self.agent.is_none() {
                self.start()?;
            }
            self.take_late()?;
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
                    let job = if self.once { Job::exactly_once(batch) } else { Job::new(batch) };
                    agent.flights.push(Flight { job, sent: self.clock, due, doubtful: None });
                }
            }
        }
        Ok(())
    }

    /// The destination answers what is due, and news of what settled arrive, in any order.
    pub(super) fn destination(&mut self) -> Check {
        let Some(mut agent) = self.agent.take() else { return Ok(()) };
        self.look_into_the_stream(&mut agent);
        let mut i = 0;
        while i < agent.flights.len() {
            if agent.flights[i].due > self.clock || agent.flights[i].is_in_doubt() {
                i += 1;
                continue;
            }
            let next = self.answer(&mut agent.flights[i].job)?;
            let sent = agent.flights[i].sent;
            if !agent.flights[i].job.in_doubt().is_empty() {
                agent.flights[i].doubtful.get_or_insert(sent);
            }
            match next {
                Next::Now => agent.flights[i].sent = self.clock,
                Next::Doubt => self.doubt(&mut agent, i),
                Next::Again { .. } => {
                    let id = agent.flights[i].job.batch().id;
                    agent.engine.handle(Event::Delayed(id), self.base + self.clock);
                    agent.flights[i].sent = self.clock + Duration::from_millis(self.random.u64(1..2000));
                    agent.flights[i].due = agent.flights[i].sent;
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

    /// All that is left of a batch may have been taken.
    fn doubt(&mut self, agent: &mut Agent, flight: usize) {
        let now = self.base + self.clock;
        let Flight { job, doubtful, .. } = &agent.flights[flight];
        let batch = job.batch();
        let records = job.in_doubt().iter().map(|index| job.record(*index)).collect();
        agent.engine.handle(Event::Delayed(batch.id), now);
        let sent = self.base + doubtful.expect("what is in doubt was sent");
        let doubts = agent.doubts.as_mut().expect("delivery is exactly once");
        doubts.add(batch.id, records, doubts.time_there(sent), now);
    }

    /// Asks the stream what it holds, and takes what it says.
    fn look_into_the_stream(&mut self, agent: &mut Agent) {
        let now = self.base + self.clock;
        let Some(doubts) = &mut agent.doubts else { return };
        let mut outcome = None;
        while outcome.is_none()
            && let Some(ask) = doubts.next(now)
        {
            let told = self.stream.answer(&ask, self.slow);
            outcome = doubts.told(&ask, told, now);
        }
        let Some(Outcome { found, batches, generations }) = outcome else { return };
        agent.wake = None;
        for flight in agent.flights.iter_mut().filter(|flight| batches.contains(&flight.job.batch().id)) {
            flight.doubtful = None;
            flight.job.found(|record| found.iter().any(|landed| (landed.id, landed.hash) == record));
            (flight.sent, flight.due) = (self.clock, self.clock);
        }
        let landed = found.into_iter().collect();
        let now = Now { mono: now, wall: self.sim.state().now };
        agent.engine.found(&generations, landed, now);
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
                let class = if self.once && odds < 120 { Class::Ambiguous } else { Class::Throttled };
                // Where it says that it failed inside, it may have taken the record nevertheless.
                let taken = class == Class::Ambiguous && self.random.bool();
                self.accept(job, |i| taken || !failed.contains(&i), false)?;
                let failed = failed.into_iter().map(|i| (i, failure(class))).collect();
                Ok(job.reply(Reply::Answered { failed }))
            }
            160..190 => Ok(job.reply(Reply::Failed(failure(if odds < 175 { Class::Again } else { Class::Hold })))),
            _ => {
                self.accept_unheard(job)?;
                Ok(job.reply(Reply::Failed(failure(Class::Ambiguous))))
            }
        }
    }

    /// A request of which nobody hears: it is taken, or not, or later.
    fn accept_unheard(&mut self, job: &Job) -> Check {
        if !self.once {
            return self.accept(job, |_| true, true);
        }
        match self.random.u8(..3) {
            0 => self.accept(job, |_| true, false),
            1 => {
                let within = u64::try_from(SETTLE_WAIT.as_millis()).unwrap();
                let due = self.clock + Duration::from_millis(self.random.u64(..within));
                self.late.push(Late { due, batch: Arc::clone(job.batch()), which: job.attempt().to_vec() });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Requests are taken that nobody waits for any more.
    fn take_late(&mut self) -> Check {
        let (due, later) = std::mem::take(&mut self.late).into_iter().partition(|late: &Late| late.due <= self.clock);
        self.late = later;
        let due: Vec<Late> = due;
        for Late { due, batch, which } in due {
            let ago = i64::try_from(self.clock.saturating_sub(due).as_nanos()).unwrap();
            for index in which {
                self.accept_record(&batch, usize::try_from(index).unwrap(), ago, false)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self, job: &Job, taken: impl Fn(u32) -> bool, answer_lost: bool) -> Check {
        for (position, index) in (0u32..).zip(job.attempt()) {
            if taken(position) {
                self.accept_record(job.batch(), usize::try_from(*index).unwrap(), 0, answer_lost)?;
            }
        }
        Ok(())
    }

    /// The stream takes a record, so many nanoseconds ago.
    fn accept_record(&mut self, batch: &Batch, index: usize, ago: i64, answer_lost: bool) -> Check {
        let (id, record) = (batch.record_id(index), &batch.records[index]);
        let slot_of = |key: &str| Slot::of(key.as_bytes());
        if self.shape.slots && batch.keys(index).any(|key| Some(slot_of(key)) != record.slot) {
            return Err(format!("a record of several slots: {record:?}"));
        }
        let whole = u64::try_from(batch.record(index).len()).unwrap();
        if !self.shape.slots && record.count > 1 && whole < id.span.len() {
            return Err(format!("{id} has only {whole} bytes of its span"));
        }
        let slot = record.slot.filter(|_| record.count > 1);
        let landed = Landed { id, slot, hash: content_hash(batch.record(index)) };
        let arrived = self.sim.state().now - ago;
        self.stream.take(landed, arrived);
        for (_, line) in batch.parts(index) {
            self.receive(id.generation, id.span.end, line, answer_lost)?;
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, generation: Generation, end: u64, data: &[u8], answer_lost: bool) -> Check {
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
    pub(super) fn crash(&mut self, power: bool) {
        let Some(agent) = self.agent.take() else { return };
        if self.once {
            // Some of what is on its way arrives all the same.
            for flight in &agent.flights {
                if flight.sent <= self.clock && !flight.is_in_doubt() {
                    let _ = self.accept_unheard(&flight.job);
                }
            }
        }
        if self.planted == Planted::ReserveAfterSend {
            self.store.forget_last("reserved");
        }
        if power {
            self.store.cut_power(&mut self.random);
            self.boot += 1;
            // Of a joined record of which a part is taken back, the rest comes again: a limit.
            if self.once && self.shape.aggregate.is_none() && self.random.bool() {
                self.logs_lose_their_ends();
            }
        }
        if self.once {
            return;
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

    /// A power cut takes back lines of the live logs that were not synced, but none that is acked or that the file is known
    /// by: that is another life of the file. Whoever read them keeps them; in their place come others.
    fn logs_lose_their_ends(&mut self) {
        let bytes = self.store.bytes().unwrap_or_default();
        let places =
            journal::read(std::path::Path::new("sim"), "sim", &bytes).map(|(c, _)| c.places).unwrap_or_default();
        for (log, name) in LOGS.into_iter().enumerate() {
            if !self.writes_to(log, name) || self.is_copying(name) || self.writers[log].torn.is_some() {
                continue;
            }
            let inode = Arc::clone(&self.writers[log].inode);
            let mut inode = inode.lock().unwrap();
            let known = places.values().filter(|place| place.id.ino == inode.number);
            let known = known.map(|place| place.acked.max(u64::from(place.head.len))).max();
            let from = usize::try_from(known.unwrap_or(0)).unwrap().min(inode.data.len());
            let cuts: Vec<usize> =
                (from..=inode.data.len()).filter(|cut| *cut == 0 || inode.data[cut - 1] == b'\n').collect();
            let Some(cut) = self.random.choice(cuts) else { continue };
            for id in ids(&inode.data[cut..]) {
                // Nobody has to deliver it, and who did has.
                self.lines.get_mut(&id).expect("it was written").allowed = 0;
            }
            inode.data.truncate(cut);
        }
    }

    /// A clean stop: everything that was read is delivered, and nothing of it comes again.
    pub(super) fn terminate(&mut self) -> Check {
        let now = self.now();
        let Some(agent) = &mut self.agent else { return Ok(()) };
        agent.stopping = true;
        agent.wake = None;
        // As for the end of the process, or to make way for another configuration.
        if self.random.bool() {
            agent.engine.handle(Event::Stop, now.mono);
        } else {
            agent.engine.retire(now);
        }
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
}
