//! Carries out what the machine decides: looks, reads, cuts, processes, writes the journal. Generic over the file
//! system and the journal's storage, so that a simulation runs exactly this code. Knows no network and no clock.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use crate::{
    checkpoint::{journal::Journal, storage::Storage},
    deliver::{ServiceClock, Shape},
    flow::{
        compare,
        cutter::{Cutter, HEAD, tail},
        landed::Held,
        machine::{Action, Event, Look, Machine, Settings, Work},
        mismatch::Sample,
    },
    model::{Batch, Doubt, Generation, Landed, Mark, Now, Place, Reservation, Span},
    record::{
        ec2,
        pipeline::Pipeline,
        split::{self, Token},
    },
    source::{
        self,
        fs::Fs,
        tail::{Change, Chunk, Consumed, Framing, Key, Notice, Read, Scope, Start, Summary, Table},
    },
    telemetry::counters::FlowCounters,
};

/// What a step led to.
#[derive(Debug)]
pub enum Step {
    /// Something was done; there may be more.
    Worked,
    /// This batch is to be sent.
    Send(Batch),
    /// Nothing to do until then.
    Wait(Instant),
    /// All is delivered and durable.
    Exit,
}

/// What an engine is built from.
#[derive(Debug)]
pub struct Parts<F, S> {
    /// The flow's name, for the log.
    pub flow: String,
    pub fs: F,
    pub journal: Journal<S>,
    /// What the journal held; `None` at the flow's very first start.
    pub places: Option<Vec<Place>>,
    /// What it says of bytes that may have been sent: not read before [`Engine::found`]. None where that does not matter.
    pub doubts: Vec<Doubt>,
    /// The destination's clock, where bytes are reserved before they are sent.
    pub clock: Option<ServiceClock>,
    pub source: source::Options,
    pub framing: split::Options,
    pub pipeline: Pipeline,
    pub settings: Settings,
    /// Bytes of a file that are read in one turn.
    pub chunk: usize,
    /// Most bytes of one record's data.
    pub max_record_bytes: usize,
    pub host: String,
    pub ec2: ec2::Shared,
    pub counters: Arc<FlowCounters>,
    /// Seed of the generation ids.
    pub seed: u64,
}

/// One flow at work.
pub struct Engine<F: Fs, S> {
    table: Table<F>,
    journal: Journal<S>,
    machine: Machine,
    cutter: Cutter,
    buf: Vec<u8>,
    clock: Option<ServiceClock>,
    /// Of these the file may give other records by now than those that were sent.
    changed: HashSet<Generation>,
    /// Found in the destination, and not compared with the file yet.
    to_compare: Vec<(Generation, Vec<Landed>)>,
    shape: Shape,
    persist_failed: bool,
}

impl<F: Fs, S: Storage> Engine<F, S> {
    pub fn new(parts: Parts<F, S>, now: Instant) -> Self {
        let framing = Framing {
            header_lines: parts.framing.skip_header_lines,
            lines_timeout: parts.framing.multiline.as_ref().map(|m| m.timeout),
            partial_line_timeout: parts.framing.partial_line_timeout,
            chunk: parts.chunk,
            max_record: parts.framing.max_record,
        };
        let (doubts, once, shape) = (parts.doubts, parts.settings.once, parts.settings.shape);
        let changed = doubts.iter().filter(|doubt| doubt.changed).map(|doubt| doubt.generation).collect();
        let start = Start { places: parts.places, doubts, once, seed: parts.seed, now };
        let mut journal = parts.journal;
        if parts.clock.is_none() {
            // What an earlier run reserved is sent again, as whatever else is not acked.
            journal.release(|_| false);
        }
        Self {
            table: Table::new(parts.fs, &parts.source, framing, start),
            journal,
            clock: parts.clock,
            changed,
            to_compare: Vec::new(),
            shape,
            machine: Machine::new(parts.settings, now),
            cutter: Cutter {
                framing: parts.framing,
                pipeline: parts.pipeline,
                max_record_bytes: parts.max_record_bytes,
                host: parts.host,
                ec2: parts.ec2,
                counters: parts.counters,
                mismatches: Sample::new(parts.flow),
                held: Held::default(),
            },
            buf: Vec::new(),
            persist_failed: false,
        }
    }

    /// Takes note of what happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        self.machine.handle(event, now);
    }

    /// Does one thing.
    pub fn step(&mut self, now: Now) -> Step {
        match self.machine.next(now.mono) {
            Action::Look(look) => {
                let scope = match look {
                    Look::All => Scope::All,
                    Look::Due => Scope::Due,
                    Look::Hinted(paths) => Scope::Hinted(paths),
                };
                self.table.look(now, &scope);
                self.compare_all(now);
                self.worked(now.mono)
            }
            Action::Ring => {
                self.table.ring(now.mono);
                self.worked(now.mono)
            }
            Action::Read => {
                self.read(now);
                self.worked(now.mono)
            }
            Action::Persist(marks) => {
                self.persist(marks, now.mono);
                Step::Worked
            }
            Action::Sync => {
                // Only the last one is worth waiting for.
                let ok = self.sync(self.machine.is_ending()).is_ok();
                self.machine.handle(Event::Synced { ok }, now.mono);
                Step::Worked
            }
            Action::Reserve(reservations) => {
                self.reserve(reservations, now.mono);
                Step::Worked
            }
            Action::Release(generations) => {
                self.release(generations.as_deref(), now.mono);
                Step::Worked
            }
            Action::Send(batch) => Step::Send(batch),
            Action::Wait(until) => Step::Wait(until),
            Action::Exit => Step::Exit,
        }
    }

    /// The destination holds these records of the generations, all of which were in doubt, and no others.
    pub fn found(&mut self, generations: &[Generation], landed: Vec<Landed>, now: Now) {
        let mut by_generation: HashMap<Generation, Vec<Landed>> = HashMap::new();
        for landed in landed {
            by_generation.entry(landed.id.generation).or_default().push(landed);
        }
        for generation in generations {
            let own = by_generation.remove(generation).unwrap_or_default();
            if self.changed.contains(generation) && !own.is_empty() {
                self.to_compare.push((*generation, own));
            } else {
                self.cutter.held.add(*generation, &own);
                self.table.found(*generation, &own);
            }
        }
        self.compare_all(now);
        self.worked(now.mono);
    }

    /// Compares what was found with files that may hold something else by now; those that cannot be read are tried again.
    fn compare_all(&mut self, now: Now) {
        for (generation, landed) in std::mem::take(&mut self.to_compare) {
            match self.compare(generation, &landed, now) {
                Some(held) => {
                    self.cutter.held.add(generation, &held);
                    self.table.found(generation, &held);
                }
                None => self.to_compare.push((generation, landed)),
            }
        }
    }

    /// Which of these records a file holds as they were sent. `None`: it cannot be read now.
    fn compare(&mut self, generation: Generation, landed: &[Landed], now: Now) -> Option<Vec<Landed>> {
        let (mut held, mut buf) = (Vec::new(), Vec::new());
        for cluster in compare::clusters(landed) {
            let span = cluster.span;
            let Some(bytes) = usize::try_from(span.len()).ok().filter(|_| span.len() <= compare::MOST) else {
                continue;
            };
            let (key, got) = self.table.bytes_of(generation, span.start, bytes, &mut buf, now.mono)?;
            if got < bytes {
                continue;
            }
            if self.cutter.lacks_header(generation) {
                let mut head = Vec::new();
                let end_of_file = self.table.head(key, &mut head, HEAD)?;
                self.cutter.learn_header_of(generation, &head, end_of_file);
            }
            let file = self.table.file_ref(key);
            held.extend(self.cutter.compare(&cluster, &file, &buf[..bytes], self.shape, now));
        }
        if held.len() < landed.len() {
            let (found, other) = (held.len(), landed.len() - held.len());
            tracing::warn!(%generation, found, other, "the machine or the configuration is another since these records were sent, and some of them are not what the file would give now; its bytes are sent as they are now");
        }
        Some(held)
    }

    /// How far the files are delivered.
    pub fn summary(&self) -> Summary {
        self.table.summary()
    }

    /// Bytes read and not yet settled.
    pub fn outstanding(&self) -> usize {
        self.machine.outstanding()
    }

    /// Batches handed over and not settled.
    pub fn in_flight(&self) -> usize {
        self.machine.in_flight()
    }

    /// Files that could not be read.
    pub fn refused(&self) -> usize {
        self.table.refused()
    }

    /// Whether the checkpoint cannot be written at the moment.
    pub fn persist_failed(&self) -> bool {
        self.persist_failed
    }

    /// Whether [`Self::folders`] changed since the last call.
    pub fn folders_changed(&mut self) -> bool {
        self.table.folders_changed()
    }

    /// Folders that were replaced by others of the same name since the last call.
    pub fn take_replaced(&mut self) -> Vec<PathBuf> {
        self.table.take_replaced()
    }

    /// The folders to watch for hints.
    pub fn folders(&self) -> &std::collections::BTreeSet<PathBuf> {
        self.table.folders()
    }

    /// For checks from outside: the table, the journal and the machine agree on the order of offsets.
    pub fn check_invariants(&self) {
        let durable: std::collections::HashMap<_, _> = self.journal.places().map(|p| (p.generation, p.acked)).collect();
        for (generation, acked, read) in self.table.offsets() {
            let durable = durable.get(&generation).copied().unwrap_or(0);
            assert!(durable <= acked && acked <= read, "{generation}: durable {durable}, acked {acked}, read {read}");
        }
    }

    /// The journal's storage, for a simulation's restart.
    pub fn into_storage(self) -> S {
        self.journal.into_storage()
    }

    fn worked(&mut self, now: Instant) -> Step {
        for notice in self.table.take_notices() {
            let c = &self.cutter.counters;
            match notice {
                Notice::Rotated => c.rotations.add(1),
                Notice::Truncated => c.truncations.add(1),
                Notice::BytesLost(n) => c.bytes_lost.add(n),
            }
        }
        self.note_changes(now);
        let work = Work {
            readable: self.table.is_readable(),
            changed: self.journal.is_dirty(),
            look_again: self.table.wants_look(),
            doubtful: self.table.has_doubts(),
            timer: self.table.next_timer(),
        };
        self.machine.handle(Event::Worked(work), now);
        Step::Worked
    }

    fn persist(&mut self, marks: Vec<Mark>, now: Instant) {
        for mark in marks {
            if let Some((mark, mtime)) = self.table.ack(mark) {
                self.journal.ack(mark, mtime);
            }
        }
        self.note_changes(now);
        let written = self.write();
        self.machine.handle(Event::Persisted { ok: written.is_ok() }, now);
    }

    /// Says in the journal that these bytes are about to be sent, and when.
    fn reserve(&mut self, reservations: Vec<Reservation>, now: Instant) {
        let at = self.clock.as_ref().expect("bytes are reserved where there is a clock for them");
        let at = at.not_before(now);
        for reservation in &reservations {
            self.journal.reserve(*reservation, at);
        }
        let ahead = self.machine.is_ahead(&reservations);
        let reserved = self.write().and_then(|()| if ahead { self.sync(true) } else { Ok(()) });
        self.machine.handle(Event::Reserved { reservations, ok: reserved.is_ok() }, now);
    }

    /// Says in the journal that nothing beyond what is acked was sent: of these, or, at the end, of all.
    fn release(&mut self, generations: Option<&[Generation]>, now: Instant) {
        let table = &self.table;
        let named = |generation: &Generation| generations.is_none_or(|named| named.contains(generation));
        self.journal.release(|generation| !named(&generation) || table.holds_more(generation));
        // If that fails, the next start looks into the stream, and finds that nothing is missing.
        if self.write().is_ok() && generations.is_none() {
            let _ = self.sync(true);
        }
        let all = generations.is_none();
        self.machine.handle(Event::Released { all }, now);
    }

    fn note_changes(&mut self, now: Instant) {
        for change in self.table.take_changes() {
            match change {
                Change::Bound(place) => self.journal.bind(place),
                Change::Forgotten(generation) => {
                    self.journal.forget(generation);
                    self.machine.handle(Event::Forgotten(generation), now);
                }
            }
        }
    }

    fn sync(&mut self, wait: bool) -> io::Result<()> {
        let synced = self.journal.sync(wait);
        if let Err(error) = &synced {
            tracing::error!(path = %self.journal.name().display(), %error, "the disk did not take the checkpoint; it is written anew");
        }
        synced
    }

    fn write(&mut self) -> io::Result<()> {
        let written = self.journal.write();
        if let Err(error) = &written
            && !self.persist_failed
        {
            let path = self.journal.name().display();
            match self.clock {
                None => {
                    tracing::error!(%path, %error, "cannot write the checkpoint; delivery goes on, and a crash now would repeat what is delivered meanwhile. Free space or give access");
                }
                Some(_) => {
                    tracing::error!(%path, %error, "cannot write the checkpoint; nothing more is delivered until it can be written, so that nothing is delivered twice. Free space or give access");
                }
            }
        } else if written.is_ok() && self.persist_failed {
            tracing::info!(path = %self.journal.name().display(), "the checkpoint can be written again");
        }
        self.persist_failed = written.is_err();
        written
    }

    fn read(&mut self, now: Now) {
        let Some(key) = self.table.next_ready() else { return };
        let mut buf = std::mem::take(&mut self.buf);
        match self.table.read(key, &mut buf, now.mono) {
            Read::Chunk(chunk) => {
                self.learn_header(key, &chunk, &buf);
                let file = self.table.file_ref(key);
                let consumed = self.cutter.cut(&mut self.machine, &file, &chunk, &buf, now);
                if self.cutter.held.any_of(chunk.generation) {
                    self.cutter.held.pass(chunk.generation, consumed.to);
                }
                self.table.consumed(key, &chunk, consumed, now.mono);
            }
            Read::LongLine { chunk, len } => {
                self.learn_header(key, &chunk, &buf);
                self.long_line(key, &chunk, len, &mut buf, now);
            }
            Read::Landed { chunk, to, tail } => {
                let mark = Mark { generation: chunk.generation, end: to, tail };
                self.machine.open_batch().mark(mark, now.mono);
                let header_left = chunk.header_left;
                let consumed = Consumed { to, tail, left: 0, lines: false, header_left, long_line: false };
                self.table.consumed(key, &chunk, consumed, now.mono);
            }
            Read::Nothing => {}
        }
        self.buf = buf;
    }

    /// Sees to it that the file's first line is known where a step needs it: after a restart the chunk is not the first.
    fn learn_header(&mut self, key: Key, chunk: &Chunk, buf: &[u8]) {
        if !self.cutter.lacks_header(chunk.generation) {
            return;
        }
        if chunk.offset == 0 {
            let head = &buf[chunk.bytes.clone()];
            let shown = head.len().min(HEAD);
            self.cutter.learn_header(chunk, &head[..shown], chunk.end_of_file && shown == head.len());
            return;
        }
        let mut head = Vec::new();
        if let Some(end_of_file) = self.table.head(key, &mut head, HEAD) {
            self.cutter.learn_header(chunk, &head, end_of_file);
        }
    }

    /// A line longer than any buffer: its beginning is at hand, its end was found.
    fn long_line(&mut self, key: Key, chunk: &Chunk, len: u64, buf: &mut Vec<u8>, now: Now) {
        let file = self.table.file_ref(key);
        self.cutter.counters.read_bytes.add(len);
        let span = Span { start: chunk.offset, end: chunk.offset + len };
        let header_left = chunk.header_left.saturating_sub(1);
        if chunk.header_left == 0 {
            let data = &buf[chunk.bytes.clone()];
            let (keep, dropped) = match split::too_long(&self.cutter.framing, data, usize::MAX) {
                Token::TooLong { keep, .. } => (keep, true),
                Token::Record { body, .. } => (body, false),
                _ => unreachable!("a long line is truncated or dropped"),
            };
            let before = Mark { generation: chunk.generation, end: chunk.offset, tail: tail(buf, chunk.bytes.start) };
            let data = &buf[chunk.bytes.start..chunk.bytes.start + keep];
            if dropped {
                self.cutter.too_long(&mut self.machine, &file, span, data, before, now);
            } else {
                self.cutter.emit(&mut self.machine, &file, span, data, true, before, now);
            }
        }
        let print = self.table.tail_at(key, span.end, buf).unwrap_or_default();
        if header_left == 0 {
            let mark = Mark { generation: chunk.generation, end: span.end, tail: print };
            self.machine.open_batch().mark(mark, now.mono);
            if self.machine.open_batch().is_full() {
                self.machine.close_open();
            }
        }
        let consumed = Consumed { to: span.end, tail: print, left: 0, lines: false, header_left, long_line: false };
        self.table.consumed(key, chunk, consumed, now.mono);
    }
}

/// A journal's file name in the state directory.
#[must_use]
pub fn journal_path(state_dir: &Path, flow: &str) -> PathBuf {
    state_dir.join("checkpoints").join(format!("{}.journal", crate::model::file_name(flow)))
}
