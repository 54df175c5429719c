//! The thread of one flow: clock, inbox, hints. Knows no decisions; those are the machine's.
//! Invariant: every wait is on the inbox with a deadline, so that a stop or a settlement always reaches it.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    checkpoint::storage::Storage,
    deliver::News,
    flow::{
        engine::{Engine, Step},
        machine::Event,
    },
    model::{Batch, Now},
    source::{
        fs::Fs,
        tail::Summary,
        watch::{Hints, Watcher},
    },
    telemetry::{lag::Lag, status::FlowStatus},
};

/// Hints are taken out of their box at most this often: a busy writer makes thousands a second.
const HINT_PAUSE: Duration = Duration::from_millis(5);
/// The status is renewed at most this often; it costs a walk over the file table.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// What reaches a flow from outside.
#[derive(Debug)]
pub enum Input {
    News(News),
    /// The box of hints is not empty any more.
    Hinted,
    /// Deliver what was read, then end.
    Stop,
    /// As `Stop`, for a flow that another one follows: reads files that were deleted meanwhile to their ends first.
    Retire,
    /// End at once: what is not settled is read again by the next start.
    Abandon,
}

/// How a flow ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Files that could not be read.
    pub refused: usize,
    /// Bytes that were read and are not settled: 0, unless the flow was abandoned.
    pub left: usize,
    /// Bytes of files that were deleted before they were read to their ends: nobody can read them any more.
    pub orphaned: u64,
}

/// What an input asks of the turn it came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Nothing,
    /// There are hints to take.
    Hints,
    End,
}

/// One flow's thread.
pub struct Driver<F: Fs, S> {
    pub engine: Engine<F, S>,
    pub inbox: Receiver<Input>,
    pub watcher: Option<Watcher>,
    pub hints: Hints,
    pub status: Arc<FlowStatus>,
}

impl<F: Fs, S: Storage> Driver<F, S> {
    /// Runs until the machine says that all is delivered and durable. `started` is called once the files that are there at
    /// the start are known: what comes later is new. `send` must not block. `end` is called once, at the end: after it nothing
    /// more settles.
    pub fn run(mut self, started: impl FnOnce(), send: impl Fn(Batch), end: impl FnOnce()) -> Ended {
        self.live(started, send);
        end();
        self.leave()
    }

    fn live(&mut self, started: impl FnOnce(), send: impl Fn(Batch)) {
        let mut started = Some(started);
        let mut hinted = false;
        let mut last_hints = Instant::now();
        let mut last_status: Option<Instant> = None;
        let mut lag = Lag::default();
        loop {
            let now = now();
            while let Ok(input) = self.inbox.try_recv() {
                match self.take(input, now.mono) {
                    Asked::End => return,
                    asked => hinted |= asked == Asked::Hints,
                }
            }
            if hinted && now.mono >= last_hints + HINT_PAUSE {
                (hinted, last_hints) = (false, now.mono);
                self.take_hints(now.mono);
            }
            self.status.turned();
            let step = self.engine.step(now);
            // The first step is the first look.
            if let Some(started) = started.take() {
                started();
            }
            self.renew_watches();
            if last_status.is_none_or(|last| now.mono >= last + STATUS_EVERY) || matches!(step, Step::Exit) {
                last_status = Some(now.mono);
                self.renew_status(&mut lag, now);
            }
            match step {
                Step::Worked => {}
                Step::Send(batch) => send(batch),
                Step::Exit => return,
                Step::Wait(until) => {
                    // Now and then a turn for its own sake: a thread that goes round is not stuck.
                    let until = until.min(now.mono + STATUS_EVERY);
                    let until = if hinted { until.min(last_hints + HINT_PAUSE) } else { until };
                    match self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                        Ok(input) => match self.take(input, Instant::now()) {
                            Asked::End => return,
                            asked => hinted |= asked == Asked::Hints,
                        },
                        Err(RecvTimeoutError::Timeout) => {}
                        // Whoever could settle or stop is gone: the process ends.
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            }
        }
    }

    /// Takes what was settled meanwhile along.
    fn leave(&mut self) -> Ended {
        let now = Instant::now();
        while let Ok(input) = self.inbox.try_recv() {
            if let Input::News(_) = input {
                self.take(input, now);
            }
        }
        self.engine.leave(now);
        Ended { refused: self.engine.refused(), left: self.engine.outstanding(), orphaned: self.engine.orphaned() }
    }

    fn take(&mut self, input: Input, now: Instant) -> Asked {
        match input {
            Input::News(News::Settled(settled)) => self.engine.handle(Event::Settled(settled), now),
            Input::News(News::Found { generations, landed }) => {
                self.engine.found(&generations, landed, Now { mono: now, ..self::now() });
            }
            Input::News(News::Delayed(id)) => self.engine.handle(Event::Delayed(id), now),
            Input::Stop => self.engine.handle(Event::Stop, now),
            Input::Retire => self.engine.retire(Now { mono: now, ..self::now() }),
            Input::Hinted => return Asked::Hints,
            Input::Abandon => return Asked::End,
        }
        Asked::Nothing
    }

    fn take_hints(&mut self, now: Instant) {
        let hinted = self.hints.take();
        if hinted.lost {
            self.engine.handle(Event::HintsLost, now);
        }
        for path in hinted.paths {
            self.engine.handle(Event::Hint(path), now);
        }
    }

    fn renew_watches(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        if !self.engine.folders_changed() {
            return;
        }
        for folder in self.engine.take_replaced() {
            watcher.forget(&folder);
        }
        for (folder, error) in watcher.watch(self.engine.folders()) {
            tracing::warn!(folder = %folder.display(), %error, "cannot watch this folder; its files are polled instead");
        }
        let complete = watcher.is_complete();
        self.engine.handle(Event::HintsWork(complete), Instant::now());
    }

    fn renew_status(&self, lag: &mut Lag, now: Now) {
        let Summary { files, behind, oldest, settled } = self.engine.summary();
        // What lies in a file is at least as old as the file's last change; what came to a busy file is only known
        // to be as old as it was first seen to be there.
        let nanos = oldest.map_or(0, |oldest| u64::try_from(now.wall.saturating_sub(oldest)).unwrap_or(0));
        let age = lag.observe(now.mono, settled, behind).max(Duration::from_nanos(nanos));
        self.status.set_files(files, behind, age);
        self.status.set_outstanding(self.engine.outstanding());
        self.status.set_in_flight(self.engine.in_flight());
        let trouble = self.engine.persist_failed().then(|| "the checkpoint cannot be written".to_owned());
        self.status.set_trouble(trouble);
    }
}

/// What time it is.
pub fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Now { mono: Instant::now(), wall: i64::try_from(wall).unwrap_or(i64::MAX) }
}
