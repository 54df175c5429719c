//! The async side of one flow: carries out what the desk decides. Knows no files and no particular destination.
//! Invariant: a batch that was handed over is either reported as settled or still here; dropping the courier
//! ends every wait and every request, and settles nothing.

use super::{
    clock::ServiceClock,
    dead_letter::DeadLetters,
    desk::{Desk, Rules, Throttle, Ticket, Work},
    errors::{Class, Failure},
    job::{Refused, Reply},
    rate::{MaxRate, Rate},
    report::{Health, Reporter},
    routing::Routing,
    search::{Ask, Told},
    shards::Shards,
};
use crate::{
    model::{Batch, BatchId, Doubt, Generation, Landed, Settled},
    telemetry::counters::FlowCounters,
};
use std::{
    cell::RefCell,
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::{JoinError, JoinHandle, JoinSet},
};

/// A destination: makes one request and says what became of it. Neither retries nor waits on its own account.
pub trait Sink: Send + Sync + 'static {
    /// Requests under way at once, at most.
    fn max_in_flight(&self) -> usize;

    /// Records of one slot arrive in the order of their batches.
    fn keeps_order(&self) -> bool {
        false
    }

    /// Most bytes of a record, its partition key included.
    fn max_record(&self) -> usize {
        usize::MAX
    }

    /// The most that it is sent.
    fn max_rate(&self) -> MaxRate {
        MaxRate::default()
    }

    /// What is known of its shards, if it has any, and how records are routed to them.
    fn shards(&self) -> Option<(&Arc<Shards>, Routing)> {
        None
    }

    /// What its records are billed by, if they are.
    fn billing(&self) -> Option<Billing> {
        None
    }

    /// One request with these records of the batch. `which` is not empty.
    fn send(&self, batch: &Batch, which: &[u32]) -> impl Future<Output = Reply> + Send;

    /// How nothing is delivered twice; `None`: what may have been delivered is sent again.
    fn exactly_once(&self) -> Option<&ExactlyOnce> {
        None
    }

    /// One question about what it holds. Asked only where nothing may be delivered twice.
    fn ask(&self, ask: &Ask) -> impl Future<Output = Told> + Send {
        let told = Told::Failed(Failure::new(Class::Hold, "NotReadable", format!("nobody answers {ask:?}")));
        std::future::ready(told)
    }
}

/// What delivery must know to deliver nothing twice.
#[derive(Clone, Debug)]
pub struct ExactlyOnce {
    /// A request without an answer has been accepted by then, or never will be. 1 s to 15 min, default 5 s.
    pub settle_wait: Duration,
    pub clock: ServiceClock,
}

/// How a service counts what it bills: each record rounded up, its partition key included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Billing {
    /// Bytes of one unit of payload.
    pub unit: u32,
    /// Where bytes are billed: each record counts as a multiple of this many.
    pub rounded_to: u32,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Some of it has to be sent again: it takes room in the buffer, and keeps no other batch from being sent.
    Delayed(BatchId),
    Settled(Settled),
    /// What the destination holds of what an earlier run may have sent of these generations.
    Found {
        generations: Vec<Generation>,
        landed: Vec<Landed>,
    },
}

/// What a flow hands over.
#[derive(Debug)]
enum Order {
    Batch(Batch),
    Left(Vec<Doubt>),
}

/// The handle of one flow's delivery, held by the flow's thread.
#[derive(Debug)]
pub struct Courier {
    inbox: mpsc::UnboundedSender<Order>,
    handle: Handle,
    /// Dropped to end it.
    going_on: RefCell<Option<oneshot::Sender<()>>>,
    task: RefCell<JoinHandle<()>>,
    health: Health,
}

impl Courier {
    /// Starts delivering on `handle`. `on_news` is called from there and must not block.
    pub fn start<S: Sink>(
        handle: &Handle,
        flow: &str,
        sink: S,
        dead_letters: DeadLetters,
        counters: Arc<FlowCounters>,
        on_news: impl Fn(News) + Send + Sync + 'static,
    ) -> Self {
        let (inbox, orders) = mpsc::unbounded_channel();
        let reporter = Reporter::new(flow, counters, sink.billing(), sink.exactly_once().is_some());
        let health = reporter.health();
        let run = Run {
            desk: Desk::new(rules(&sink), fastrand::Rng::new()),
            sink: Arc::new(sink),
            dead_letters: Arc::new(dead_letters),
            reporter,
            on_news,
            tasks: JoinSet::new(),
        };
        let (going_on, ended) = oneshot::channel();
        let (going_on, task) = (RefCell::new(Some(going_on)), RefCell::new(handle.spawn(run.run(orders, ended))));
        Self { inbox, handle: handle.clone(), going_on, task, health }
    }

    /// Hands a batch over. Never blocks; the flow's ledger bounds how much is handed over.
    pub fn send(&self, batch: Batch) {
        // Fails only while the runtime shuts down. The batch is then unsettled, and read again at the next start.
        let _ = self.inbox.send(Order::Batch(batch));
    }

    /// An earlier run may have sent this: `News::Found` says what arrived. Only where nothing may be delivered twice.
    pub fn left(&self, doubts: Vec<Doubt>) {
        let _ = self.inbox.send(Order::Left(doubts));
    }

    /// Ends every wait and every request, and comes back when none is under way any more: from then on nothing of this
    /// courier reaches the destination. A dead letter that is being written is waited for. To be called once, and not on the
    /// runtime's own threads.
    pub fn end(&self) {
        drop(self.going_on.take());
        // An error would be a panic of the task, which ends all of it, too.
        let _ = self.handle.block_on(&mut *self.task.borrow_mut());
    }

    /// For the status line and the watchdog.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.task.get_mut().abort();
    }
}

/// What a destination wants of the order of work.
fn rules<S: Sink>(sink: &S) -> Rules {
    let max_rate = sink.max_rate();
    Rules {
        max_in_flight: sink.max_in_flight(),
        keeps_order: sink.keeps_order(),
        once: sink.exactly_once().cloned(),
        rate: (max_rate != MaxRate::default()).then(|| Rate::new(max_rate, Instant::now())),
        throttle: sink.shards().map(|(shards, routing)| Throttle::new(Arc::clone(shards), routing)),
    }
}

/// What a task brings back.
enum Done {
    Replied { ticket: Ticket, batch: Arc<Batch>, which: Vec<u32>, reply: Reply },
    Written { id: BatchId, batch: Arc<Batch>, refused: Vec<Refused>, result: io::Result<()> },
    Told { ask: Ask, told: Told },
}

struct Run<S, F> {
    desk: Desk,
    sink: Arc<S>,
    dead_letters: Arc<DeadLetters>,
    reporter: Reporter,
    on_news: F,
    /// Requests and writes under way; dropped with `self`, which aborts them.
    tasks: JoinSet<Done>,
}

impl<S: Sink, F: Fn(News)> Run<S, F> {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>, mut ended: oneshot::Receiver<()>) {
        loop {
            while let Some(work) = self.desk.next(Instant::now()) {
                self.begin(work);
            }
            let due = self.desk.due();
            tokio::select! {
                biased;
                _ = &mut ended => return self.tasks.shutdown().await,
                order = orders.recv() => match order {
                    Some(Order::Batch(batch)) => self.desk.accept(batch, Instant::now()),
                    Some(Order::Left(doubts)) => {
                        self.reporter.searching(&doubts);
                        self.desk.left(doubts, Instant::now());
                    }
                    None => return,
                },
                Some(done) = self.tasks.join_next() => self.finish(done),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
            }
        }
    }

    fn begin(&mut self, work: Work) {
        match work {
            Work::Send { ticket, batch, which, again } => {
                self.reporter.sending(batch.count(&which), again);
                let sink = Arc::clone(&self.sink);
                self.tasks.spawn(async move {
                    let reply = sink.send(&batch, &which).await;
                    Done::Replied { ticket, batch, which, reply }
                });
            }
            Work::Write { id, batch, refused } => {
                let letters = Arc::clone(&self.dead_letters);
                self.tasks.spawn_blocking(move || {
                    let result = letters.write(&letters.lines(&batch, &refused, SystemTime::now()));
                    Done::Written { id, batch, refused, result }
                });
            }
            Work::Ask(ask) => {
                let sink = Arc::clone(&self.sink);
                self.tasks.spawn(async move {
                    let told = sink.ask(&ask).await;
                    Done::Told { ask, told }
                });
            }
            Work::Found { generations, landed } => {
                self.reporter.found(&landed);
                (self.on_news)(News::Found { generations, landed });
            }
            Work::Delayed(id) => (self.on_news)(News::Delayed(id)),
            Work::Settled(settled) => {
                self.reporter.settled(&settled);
                (self.on_news)(News::Settled(settled));
            }
        }
    }

    fn finish(&mut self, done: Result<Done, JoinError>) {
        let now = Instant::now();
        match done {
            Ok(Done::Replied { ticket, batch, which, reply }) => {
                self.reporter.replied(&batch, &which, &reply, now);
                if !matches!(&reply, Reply::Answered { failed } if failed.is_empty()) {
                    (self.on_news)(News::Delayed(batch.id));
                }
                self.desk.replied(ticket, which.len(), reply, now);
            }
            Ok(Done::Written { id, batch, refused, result }) => {
                match &result {
                    Ok(()) => self.reporter.written(&batch, &refused, self.dead_letters.path(), now),
                    Err(why) => self.reporter.unwritable(self.dead_letters.path(), why, now),
                }
                self.desk.written(id, result.is_ok(), now);
            }
            Ok(Done::Told { ask, told }) => {
                self.reporter.told(&told, now);
                if let Some(looked) = self.desk.told(&ask, told, now) {
                    self.reporter.looked_for(&looked, now);
                }
            }
            // A panic is a bug and ends the process; tasks are cancelled only when the runtime ends.
            Err(e) => {
                if let Ok(panic) = e.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
