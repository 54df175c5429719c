//! Carries out what the machine decides: looks, reads, cuts, processes, writes the journal. Generic over the file
//! system and the journal's storage, so that a simulation runs exactly this code. Knows no network and no clock.

mod found;
mod reading;

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use crate::{
    checkpoint::{journal::Journal, storage::Storage},
    deliver::{ServiceClock, Shape},
    flow::{
        cutter::Cutter,
        landed::Held,
        machine::{Action, Event, Look, Machine, Settings, Work},
        mismatch::Sample,
    },
    model::{Batch, Doubt, Generation, Landed, Mark, Now, Place, Reservation},
    record::{ec2, pipeline::Pipeline, split},
    source::{
        self,
        fs::Fs,
        tail::{Change, Framing, MostOpen, Notice, Scope, Start, Summary, Table},
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
    /// Bytes that files may begin with and have in common, such as a long header: where no more is delivered of a file than
    /// that, what the destination holds is compared with it.
    pub alike: u64,
    /// Most bytes of one record's data.
    pub max_record_bytes: usize,
    pub host: String,
    pub ec2: ec2::Shared,
    pub counters: Arc<FlowCounters>,
    pub most_open: MostOpen,
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
    /// See [`Parts::alike`]; none where a record that is read again may give another.
    alike: u64,
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
        let start = Start { places: parts.places, doubts, once, seed: parts.seed, most_open: parts.most_open, now };
        // Records that a time-out ends may end elsewhere when they are read again, and lines of one that is joined be others.
        let by_time = parts.framing.multiline.is_some() || parts.framing.partial_line_timeout.is_some();
        let repeats = parts.pipeline.repeats() && !(by_time && shape.aggregate.is_some());
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
            alike: if repeats { parts.alike } else { 0 },
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
                self.compare_all(now);
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

    /// Writes down what was settled, and nothing else: the next start goes on there. If that fails, it goes on further back.
    pub fn leave(&mut self, now: Instant) {
        let marks = self.machine.take_marks();
        if !marks.is_empty() {
            self.persist(marks, now);
        }
    }

    /// Another flow will go on with these files: reads only what that one could not find again, then ends.
    pub fn retire(&mut self, now: Now) {
        self.table.look(now, &Scope::All);
        self.compare_all(now);
        self.table.only_orphans();
        self.machine.handle(Event::Retire, now.mono);
        self.worked(now.mono);
    }

    /// Bytes of files that nobody can find again and that were not read.
    pub fn orphaned(&self) -> u64 {
        self.table.orphaned()
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
        let kept =
            generations.into_iter().flatten().copied().filter(|generation| table.holds_more(*generation)).collect();
        // If that fails, the next start looks into the stream, and finds that nothing is missing.
        if self.write().is_ok() && generations.is_none() {
            let _ = self.sync(true);
        }
        let all = generations.is_none();
        self.machine.handle(Event::Released { all, kept }, now);
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
}

/// A journal's file name in the state directory.
#[must_use]
pub fn journal_path(state_dir: &Path, flow: &str) -> PathBuf {
    state_dir.join("checkpoints").join(format!("{}.journal", crate::model::file_name(flow)))
}
