//! What a flow does next: a pure function of what happened and the time. No I/O, no clock, no files.
//! Invariant: nothing is read without credit, and `outstanding <= buffer + one chunk`.

use std::{
    collections::VecDeque,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    deliver::Shape,
    flow::{
        Limits,
        batch::{Closed, OpenBatch},
        ledger::Ledger,
        reserve::Reserve,
    },
    model::{Batch, BatchId, Generation, Mark, Reservation, Settled},
};

/// Hints that come faster than this are taken together.
const HINT_PAUSE: Duration = Duration::from_millis(5);
/// A checkpoint that could not be written is tried again after this time.
const PERSIST_RETRY: Duration = Duration::from_secs(1);
/// What was written is made to survive a power cut at least this often.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Hinted paths that are remembered one by one; beyond, everything is looked at.
const MAX_HINTS: usize = 1024;
/// Batches that settled behind one that did not: bounds what is remembered of them.
const MAX_UNCOMMITTED: usize = 10_000;

/// What to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Look {
    All,
    Due,
    Hinted(Vec<PathBuf>),
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A path changed.
    Hint(PathBuf),
    /// Hints were lost.
    HintsLost,
    /// Whether hints come for every folder.
    HintsWork(bool),
    /// A look or a read was done.
    Worked(Work),
    Settled(Settled),
    /// Some of a batch has to be sent again.
    Delayed(BatchId),
    /// The journal was written, or could not be.
    Persisted {
        ok: bool,
    },
    Synced {
        ok: bool,
    },
    /// These bytes may be sent, or could not be reserved.
    Reserved {
        reservations: Vec<Reservation>,
        ok: bool,
    },
    /// The journal knows that nothing beyond what is acked was sent: of some, or, at the end, of all.
    Released {
        all: bool,
        /// Not of these: of them more is held than acked.
        kept: Vec<Generation>,
    },
    /// What the destination holds of these, which were in doubt, is known.
    Found(Vec<Generation>),
    /// A generation is gone for good.
    Forgotten(Generation),
    /// Deliver what was read, then end.
    Stop,
    /// Read what is still to be read without another look, deliver it, then end.
    Retire,
}

/// What a look or a read left behind.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about the file table")]
pub struct Work {
    /// Some file has something to read.
    pub readable: bool,
    /// The file table changed.
    pub changed: bool,
    /// Something was found that only another look explains.
    pub look_again: bool,
    /// Of some file it is not known yet what the destination holds.
    pub doubtful: bool,
    /// The file table wants to be woken.
    pub timer: Option<Instant>,
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    Look(Look),
    Read,
    Ring,
    Send(Batch),
    /// Make durable, before they are sent, that these bytes are; answered by `Event::Reserved`.
    Reserve(Vec<Reservation>),
    /// Write down that nothing beyond what is acked was sent, of these or, at the end and durably, of all; answered by
    /// `Event::Released`.
    Release(Option<Vec<Generation>>),
    /// Make these marks (and what changed in the table) durable.
    Persist(Vec<Mark>),
    Sync,
    /// Nothing until then, or until something happens.
    Wait(Instant),
    Exit,
}

/// How a flow runs, and how far it may go ahead.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub limits: Limits,
    pub poll_interval: Duration,
    /// Batches at most that were not tried yet: more would wait in memory instead of in their files.
    /// Those that have to be sent again are bounded by the buffer alone.
    pub max_batches: usize,
    pub shape: Shape,
    /// No byte is sent before it is durable that it may be.
    pub exactly_once: bool,
    /// Deliver what is there, then end.
    pub once: bool,
    /// Whether hints come at all; if not, every poll looks at everything.
    pub hints: bool,
}

/// One flow's decisions.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, most combinations of which occur")]
pub struct Machine {
    settings: Settings,
    ledger: Ledger,
    open: OpenBatch,
    closed: VecDeque<Batch>,
    marks: Vec<Mark>,
    hints: Vec<PathBuf>,
    hints_lost: bool,
    work: Work,
    stopping: bool,
    retiring: bool,
    next_look: Instant,
    last_hinted: Option<Instant>,
    persist_after: Option<Instant>,
    sync_due: Option<Instant>,
    looked: bool,
    /// What may be sent, where that must be durable first.
    reserve: Option<Reserve>,
    reserve_after: Option<Instant>,
    released: bool,
}

impl Machine {
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            ledger: Ledger::default(),
            open: OpenBatch::new(settings.limits, settings.shape),
            closed: VecDeque::new(),
            marks: Vec::new(),
            hints: Vec::new(),
            hints_lost: true,
            work: Work::default(),
            stopping: false,
            retiring: false,
            next_look: now,
            last_hinted: None,
            persist_after: None,
            sync_due: None,
            looked: false,
            reserve: settings.exactly_once.then(Reserve::default),
            reserve_after: None,
            released: !settings.exactly_once,
        }
    }

    /// Takes note of what happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Hint(path) => self.hint(path),
            Event::HintsLost => self.hints_lost = true,
            Event::HintsWork(work) => self.settings.hints = work,
            Event::Worked(work) => {
                let changed = self.work.changed || work.changed;
                self.work = Work { changed, ..work };
            }
            Event::Settled(settled) => {
                let marks = self.ledger.settled(settled.id);
                self.marks.extend(marks);
            }
            Event::Delayed(id) => self.ledger.delayed(id),
            Event::Persisted { ok: true } => {
                self.persist_after = None;
                self.sync_due.get_or_insert(now + SYNC_EVERY);
            }
            Event::Persisted { ok: false } => {
                self.work.changed = true;
                self.persist_after = Some(now + PERSIST_RETRY);
            }
            Event::Synced { ok } => {
                self.sync_due = None;
                if !ok {
                    self.work.changed = true;
                    self.persist_after = Some(now + PERSIST_RETRY);
                }
            }
            Event::Reserved { reservations, ok } => {
                self.reserve_after = (!ok).then_some(now + PERSIST_RETRY);
                if let Some(reserve) = self.reserve.as_mut().filter(|_| ok) {
                    reserve.granted(&reservations, now);
                }
            }
            Event::Released { all, kept: left } => {
                self.released |= all;
                self.left(&left, now);
            }
            Event::Found(generations) => self.left(&generations, now),
            Event::Forgotten(generation) => {
                if let Some(reserve) = &mut self.reserve {
                    reserve.forget(generation);
                }
            }
            Event::Stop => self.stopping = true,
            Event::Retire => self.retiring = true,
        }
    }

    /// Reservations of an earlier run that are to be given back.
    fn left(&mut self, generations: &[Generation], now: Instant) {
        if let Some(reserve) = &mut self.reserve {
            reserve.left(generations, now);
        }
    }

    /// What to do now.
    pub fn next(&mut self, now: Instant) -> Action {
        if let Some(action) = self.send(now) {
            return action;
        }
        let due = self.open.due().is_some_and(|due| due <= now);
        if !self.open.is_empty() && (due || self.is_ending()) {
            self.close_open();
            return self.next(now);
        }
        if self.wants_persist() && self.persist_after.is_none_or(|after| after <= now) {
            self.work.changed = false;
            return Action::Persist(self.take_marks());
        }
        if let Some(idle) = self.reserve.as_mut().and_then(|reserve| reserve.take_idle(now)) {
            return Action::Release(Some(idle));
        }
        if self.sync_due.is_some_and(|at| at <= now || (self.is_ending() && self.is_idle())) {
            return Action::Sync;
        }
        if !self.is_ending() {
            if !self.retiring
                && let Some(look) = self.look(now)
            {
                return Action::Look(look);
            }
            if self.work.timer.is_some_and(|at| at <= now) {
                return Action::Ring;
            }
            if self.work.readable && self.has_credit() {
                return Action::Read;
            }
        }
        if self.is_ending() && self.is_idle() {
            // Before the first look nothing was sent, and nothing is to be written: that would look like an earlier start.
            return if self.released || !(self.looked || self.retiring) { Action::Exit } else { Action::Release(None) };
        }
        Action::Wait(self.wake(now))
    }

    /// What was settled since the last call.
    pub fn take_marks(&mut self) -> Vec<Mark> {
        let marks = std::mem::take(&mut self.marks);
        if let Some(reserve) = &mut self.reserve {
            for mark in &marks {
                reserve.acked(mark.generation, mark.end);
            }
        }
        marks
    }

    /// The next batch to be sent, or what must be done before it may be.
    fn send(&mut self, now: Instant) -> Option<Action> {
        let batch = self.closed.front()?;
        let wanted = self.reserve.as_ref().map(|reserve| reserve.wanted(batch, now)).unwrap_or_default();
        if !wanted.is_empty() {
            let may = self.reserve_after.is_none_or(|after| after <= now);
            return may.then_some(Action::Reserve(wanted));
        }
        if let Some(reserve) = &mut self.reserve {
            reserve.sent(self.closed.front()?, now);
        }
        self.closed.pop_front().map(Action::Send)
    }

    /// Whether one of these must survive a power cut before anything is sent.
    pub fn is_ahead(&self, reservations: &[Reservation]) -> bool {
        self.reserve.as_ref().is_some_and(|reserve| reservations.iter().any(|r| reserve.is_ahead(r)))
    }

    /// The batch that takes records.
    pub fn open_batch(&mut self) -> &mut OpenBatch {
        &mut self.open
    }

    /// Closes the open batch now.
    pub fn close_open(&mut self) {
        let closed = self.open.close();
        self.sent(closed);
    }

    /// Closes the open batch but for its last record.
    pub fn close_without_last(&mut self, now: Instant) {
        let closed = self.open.close_without_last(now);
        self.sent(closed);
    }

    fn sent(&mut self, Closed { mut batch, marks, bytes }: Closed) {
        batch.id = self.ledger.opened(bytes, &marks);
        if batch.records.is_empty() && batch.dead.is_empty() {
            // Nothing but bytes that are not to be delivered: settled as soon as those before it are.
            let marks = self.ledger.settled(batch.id);
            self.marks.extend(marks);
        } else {
            self.closed.push_back(batch);
        }
    }

    /// Batches handed over and not settled.
    pub fn in_flight(&self) -> usize {
        self.ledger.unsettled()
    }

    /// Bytes read and not yet committed.
    pub fn outstanding(&self) -> usize {
        self.ledger.outstanding() + self.open.bytes()
    }

    /// Whether something may be read: back-pressure is this arithmetic and nothing else.
    pub fn has_credit(&self) -> bool {
        self.outstanding() < self.settings.limits.buffer
            && self.ledger.fresh() < self.settings.max_batches
            && self.ledger.uncommitted() < MAX_UNCOMMITTED
    }

    /// Whether the flow reads nothing any more.
    pub fn is_ending(&self) -> bool {
        let finished =
            self.settings.once && self.looked && !self.work.readable && !self.work.look_again && self.hints.is_empty();
        let retired = self.retiring && !self.work.readable && self.work.timer.is_none();
        self.stopping || ((retired || finished) && !self.work.doubtful)
    }

    fn is_idle(&self) -> bool {
        self.ledger.unsettled() == 0 && self.open.is_empty() && self.closed.is_empty() && !self.wants_persist()
    }

    fn wants_persist(&self) -> bool {
        !self.marks.is_empty() || self.work.changed
    }

    fn hint(&mut self, path: PathBuf) {
        if self.settings.once || self.hints.contains(&path) {
            return;
        }
        if self.hints.len() < MAX_HINTS {
            self.hints.push(path);
        } else {
            self.hints_lost = true;
        }
    }

    fn look(&mut self, now: Instant) -> Option<Look> {
        let poll = self.next_look <= now && !(self.settings.once && self.looked);
        if poll || self.hints_lost || std::mem::take(&mut self.work.look_again) {
            self.next_look = now + self.settings.poll_interval;
            let all = std::mem::take(&mut self.hints_lost) || !self.settings.hints;
            if all {
                // A poll looks at some files only; this looks at those that were hinted at, too.
                self.hints.clear();
            }
            self.looked = true;
            return Some(if all { Look::All } else { Look::Due });
        }
        if !self.hints.is_empty() && self.last_hinted.is_none_or(|last| now >= last + HINT_PAUSE) {
            self.last_hinted = Some(now);
            return Some(Look::Hinted(std::mem::take(&mut self.hints)));
        }
        None
    }

    fn wake(&self, now: Instant) -> Instant {
        let hinted = self.last_hinted.filter(|_| !self.hints.is_empty()).map(|last| last + HINT_PAUSE);
        let persist = self.persist_after.filter(|_| self.wants_persist());
        let reserve = self.reserve_after.filter(|_| !self.closed.is_empty());
        let look = Some(self.next_look).filter(|_| !self.retiring);
        let hinted = hinted.filter(|_| !self.retiring);
        let reading = [look, hinted, self.work.timer].into_iter().filter(|_| !self.is_ending());
        let times = reading.chain([persist, reserve, self.open.due(), self.sync_due]).flatten();
        times.min().unwrap_or(now + SYNC_EVERY).max(now + Duration::from_micros(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileRef, Generation, Print, Span};

    fn machine(now: Instant) -> Machine {
        let limits = Limits { batch_records: 2, batch_bytes: 1024, batch_age: Duration::from_secs(1), buffer: 4096 };
        let poll_interval = Duration::from_secs(1);
        let settings = Settings {
            limits,
            poll_interval,
            max_batches: 4,
            shape: Shape::default(),
            exactly_once: false,
            once: false,
            hints: true,
        };
        Machine::new(settings, now)
    }

    #[test]
    fn a_hint_is_not_forgotten_over_a_poll_that_is_due_at_the_same_time() {
        let start = Instant::now();
        let mut machine = machine(start);
        assert!(matches!(machine.next(start), Action::Look(Look::All)));
        let later = start + Duration::from_secs(2);
        machine.handle(Event::Hint("/log".into()), later);
        let looks = [machine.next(later), machine.next(later)];
        assert!(looks.iter().any(|a| matches!(a, Action::Look(Look::Due))), "{looks:?}");
        assert!(looks.iter().any(|a| matches!(a, Action::Look(Look::Hinted(p)) if p.len() == 1)), "{looks:?}");
    }

    #[test]
    fn a_stop_before_the_first_look_writes_nothing() {
        let start = Instant::now();
        let settings = Settings { exactly_once: true, ..machine(start).settings };
        let mut machine = Machine::new(settings, start);
        machine.handle(Event::Stop, start);
        assert!(matches!(machine.next(start), Action::Exit), "it would look like an earlier start to the next one");
    }

    #[test]
    fn who_retires_looks_no_more_but_reads_what_is_left() {
        let start = Instant::now();
        let mut machine = machine(start);
        machine.handle(Event::Retire, start);
        machine.handle(Event::Worked(Work { readable: true, ..Work::default() }), start);
        assert!(matches!(machine.next(start), Action::Read));
        let timer = Some(start + Duration::from_secs(2));
        machine.handle(Event::Worked(Work { timer, ..Work::default() }), start);
        assert!(matches!(machine.next(start), Action::Wait(at) if Some(at) == timer));
        assert!(matches!(machine.next(start + Duration::from_secs(2)), Action::Ring));
        machine.handle(Event::Worked(Work::default()), start);
        assert!(matches!(machine.next(start), Action::Exit));
    }

    #[test]
    fn a_look_at_everything_answers_the_hints_too() {
        let start = Instant::now();
        let mut machine = machine(start);
        machine.handle(Event::Hint("/log".into()), start);
        assert!(matches!(machine.next(start), Action::Look(Look::All)));
        assert!(matches!(machine.next(start), Action::Wait(_)));
    }

    #[test]
    fn nothing_is_read_while_the_buffer_is_full() {
        let start = Instant::now();
        let mut machine = machine(start);
        let _ = machine.next(start);
        machine.handle(Event::Worked(Work { readable: true, ..Work::default() }), start);
        assert!(matches!(machine.next(start), Action::Read));
        machine.open_batch().data().extend_from_slice(&[b'x'; 5000]);
        let file = FileRef { generation: Generation(1), path: std::path::Path::new("/a").into() };
        machine.open_batch().push(&file, Span { start: 0, end: 5000 }, 0, None, start);
        assert!(matches!(machine.next(start), Action::Wait(_)));
    }

    #[test]
    fn an_open_batch_is_sent_when_it_is_old_enough_even_if_it_holds_nothing_to_deliver() {
        let start = Instant::now();
        let mut machine = machine(start);
        let _ = machine.next(start);
        let mark = Mark { generation: Generation(1), end: 10, tail: Print::default() };
        machine.open_batch().mark(mark, start);
        let due = start + Duration::from_secs(1);
        assert!(matches!(machine.next(start), Action::Wait(until) if until <= due));
        let persisted = std::iter::repeat_with(|| machine.next(due))
            .take(4)
            .any(|a| matches!(a, Action::Persist(m) if m == [mark]));
        assert!(persisted);
    }
}
