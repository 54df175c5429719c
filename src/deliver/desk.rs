//! The order of work of one flow's delivery: which batch sends next, which one waits, which one is settled.
//! Knows no clock, no network and no disk; time is an argument.
//! Invariant: a batch is in exactly one place: ready, behind another, under way, waiting, in doubt, to be written, or settled
//! and gone; and where the order is kept, of each slot of keys at most one record is under way, the oldest that is unsettled.

use super::{
    backoff,
    courier::ExactlyOnce,
    doubts::{Doubts, Outcome},
    errors::Class,
    job::{Job, Next, Refused, Reply},
    lanes::Lanes,
    rate::Rate,
    routing::Routing,
    search::{Ask, Told},
    shards::{Member, Shards, Wanted},
    window::{Sent, Window},
};
use crate::model::{Batch, BatchId, Doubt, Generation, Landed, RecordId, Settled};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

/// While so many bytes of records are under way, no other request is made: each is there once more as the body of its
/// request. Two of the largest requests, or all that small ones need.
const MOST_BYTES: u64 = 8 << 20;

/// Something to be carried out.
#[derive(Debug)]
pub(super) enum Work {
    /// Make a request, then `replied`.
    Send { ticket: Ticket, batch: Arc<Batch>, which: Vec<u32>, again: bool },
    /// Write the dead letters, then `written`. One at a time.
    Write { id: BatchId, batch: Arc<Batch>, refused: Vec<Refused> },
    /// Ask the destination what it holds, then `told`.
    Ask(Ask),
    /// Tell the flow.
    Settled(Settled),
    /// Tell the flow that some of the batch waits for a busy shard.
    Delayed(BatchId),
    /// Tell the flow what the destination holds of what an earlier run may have sent of these generations.
    Found { generations: Vec<Generation>, landed: Vec<Landed> },
}

/// What a search told of this run's own records.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// By batch, the indices of those that the destination took.
    pub(super) found: Vec<(Arc<Batch>, Vec<u32>)>,
    pub(super) absent: usize,
}

/// Belongs to one request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    id: BatchId,
    sent: Sent,
    /// Bytes of the records that it carries.
    bytes: u64,
    /// When it was sent, by the destination's clock, in nanoseconds since 1970; 0 where that does not matter.
    there: i64,
}

#[derive(Debug)]
struct Entry {
    job: Job,
    /// The job has failed before.
    again: bool,
    /// Failed writes of its dead letters in a row.
    unwritten: u32,
    /// When the first of its records that are in doubt was sent, by the destination's clock.
    doubtful: Option<i64>,
    /// The flow was told that some of it waits for a busy shard.
    delayed: bool,
}

/// What a batch waits for.
#[derive(Clone, Copy, Debug)]
enum Wait {
    Send(Class),
    Write,
}

#[derive(Debug)]
pub(super) struct Desk {
    window: Window,
    rng: fastrand::Rng,
    jobs: HashMap<BatchId, Entry>,
    /// Oldest first.
    ready: BTreeSet<BatchId>,
    /// Where the order within each slot is kept.
    lanes: Option<Lanes>,
    /// All that they could send is behind records of older batches.
    behind: BTreeSet<BatchId>,
    waiting: BTreeMap<(Instant, BatchId), Wait>,
    under_way: usize,
    /// Bytes of their records.
    bytes: u64,
    to_write: VecDeque<BatchId>,
    writing: bool,
    /// Where nothing may be delivered twice.
    doubts: Option<Doubts>,
    rate: Option<Rate>,
    throttle: Option<Throttle>,
    /// To be told.
    news: VecDeque<Work>,
}

/// What a destination wants of the order of work.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Requests under way at once, at most.
    pub(super) max_in_flight: usize,
    /// Records of one slot arrive in the order of their batches.
    pub(super) keeps_order: bool,
    /// Nothing is delivered twice.
    pub(super) once: Option<ExactlyOnce>,
    /// The most that is sent.
    pub(super) rate: Option<Rate>,
    /// Records for busy shards wait, and no others.
    pub(super) throttle: Option<Throttle>,
}

/// A flow's part in what is known of a stream's shards.
#[derive(Debug)]
pub(super) struct Throttle {
    shards: Arc<Shards>,
    member: Member,
    routing: Routing,
}

impl Throttle {
    pub(super) fn new(shards: Arc<Shards>, routing: Routing) -> Self {
        Self { member: shards.join(), shards, routing }
    }

    /// Leaves of the next attempt what may be sent now. When to ask again, if something may not; and whether anything may.
    fn narrow(&self, job: &mut Job, now: Instant) -> (Option<Instant>, bool) {
        if !self.shards.is_busy() {
            return (None, true);
        }
        let sizes = job.attempt().iter().map(|index| job.batch().records[*index as usize].size);
        let sizes: Vec<u32> = sizes.collect();
        let hashes = job.hashes(|batch, index| self.routing.hash(batch, index));
        let wanted: Vec<Wanted> = hashes.zip(sizes).map(|(hash, size)| Wanted { hash, size }).collect();
        let (admitted, again) = self.shards.admit(self.member, &wanted, now);
        (again, again.is_none() || job.keep(|place, _| admitted[place]))
    }
}

impl Desk {
    pub(super) fn new(rules: Rules, mut rng: fastrand::Rng) -> Self {
        let Rules { max_in_flight, keeps_order, once, rate, throttle } = rules;
        Self {
            window: Window::new(max_in_flight),
            doubts: once.map(|once| Doubts::new(once, rng.fork())),
            rate,
            throttle,
            rng,
            jobs: HashMap::new(),
            ready: BTreeSet::new(),
            lanes: keeps_order.then(Lanes::default),
            behind: BTreeSet::new(),
            waiting: BTreeMap::new(),
            under_way: 0,
            bytes: 0,
            to_write: VecDeque::new(),
            writing: false,
            news: VecDeque::new(),
        }
    }

    /// An earlier run may have sent this. Only where nothing may be delivered twice.
    pub(super) fn left(&mut self, doubts: Vec<Doubt>, now: Instant) {
        self.doubts.as_mut().expect("delivery is exactly once").left(doubts, now);
    }

    /// A new batch.
    pub(super) fn accept(&mut self, batch: Batch, now: Instant) {
        let id = batch.id;
        let job = if self.doubts.is_some() { Job::exactly_once(batch) } else { Job::new(batch) };
        let job = job.in_order(self.lanes.is_some());
        let first = job.first();
        if let Some(lanes) = &mut self.lanes {
            lanes.left(id, job.slots());
        }
        let known = self.jobs.insert(id, Entry { job, again: false, unwritten: 0, doubtful: None, delayed: false });
        assert!(known.is_none(), "batch ids are never reused within a run");
        self.place(id, first, now);
    }

    /// The next thing to carry out now, if any. To be called until it has nothing.
    pub(super) fn next(&mut self, now: Instant) -> Option<Work> {
        if let Some(news) = self.news.pop_front() {
            return Some(news);
        }
        if let Some(ask) = self.doubts.as_mut().and_then(|doubts| doubts.next(now)) {
            return Some(Work::Ask(ask));
        }
        self.wake(|at, _| at <= now);
        if !self.writing
            && let Some(id) = self.to_write.pop_front()
        {
            self.writing = true;
            let job = &self.jobs[&id].job;
            return Some(Work::Write { id, batch: job.batch().clone(), refused: job.refused().to_vec() });
        }
        if !self.has_room() {
            return None;
        }
        if self.rate.is_some_and(|rate| rate.ready_at() > now) {
            return None;
        }
        let Some(id) = self.pop_ready(now) else { return self.news.pop_front() };
        let Entry { job, again, .. } = &self.jobs[&id];
        let bytes = job.attempt().iter().map(|index| u64::from(job.batch().records[*index as usize].size)).sum();
        (self.under_way, self.bytes) = (self.under_way + 1, self.bytes + bytes);
        if let Some(rate) = &mut self.rate {
            rate.sent(job.attempt().len() as u64, bytes, now);
        }
        let there = self.doubts.as_ref().map_or(0, |doubts| doubts.time_there(now));
        let ticket = Ticket { id, sent: self.window.sent(), bytes, there };
        Some(Work::Send { ticket, batch: job.batch().clone(), which: job.attempt().to_vec(), again: *again })
    }

    /// Whether another request may be made, as far as those under way go.
    fn has_room(&self) -> bool {
        self.under_way < self.window.size() && self.bytes < MOST_BYTES
    }

    /// The oldest batch that has something to send now.
    fn pop_ready(&mut self, now: Instant) -> Option<BatchId> {
        loop {
            let id = self.ready.pop_first()?;
            let Entry { job, delayed, .. } = self.jobs.get_mut(&id).expect("a batch that is ready is known");
            job.gather();
            if let Some(lanes) = &self.lanes
                && !job.narrow(|slot| lanes.is_first(slot, id))
            {
                self.behind.insert(id);
                continue;
            }
            let Some(throttle) = &self.throttle else { return Some(id) };
            let (again, any) = throttle.narrow(job, now);
            if let Some(again) = again {
                if !std::mem::replace(delayed, true) {
                    self.news.push_back(Work::Delayed(id));
                }
                if !any {
                    self.waiting.insert((again, id), Wait::Send(Class::Throttled));
                    continue;
                }
            }
            return Some(id);
        }
    }

    /// When `next` will have something although nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let doubts = self.doubts.as_ref().and_then(Doubts::due);
        let rate = self.rate.filter(|_| !self.ready.is_empty() && self.has_room());
        let rate = rate.map(|rate| rate.ready_at());
        self.waiting.keys().next().map(|(at, _)| *at).into_iter().chain(doubts).chain(rate).min()
    }

    /// The reply to the request of `ticket`, which carried `records` records.
    pub(super) fn replied(&mut self, ticket: Ticket, records: usize, reply: Reply, now: Instant) {
        (self.under_way, self.bytes) = (self.under_way - 1, self.bytes - ticket.bytes);
        if self.learn(ticket.sent, records, &reply) {
            // What was wrong is mended: nobody waits for its own probe.
            self.wake(|_, wait| matches!(wait, Wait::Send(Class::Hold | Class::Credentials)));
        }
        let entry = self.jobs.get_mut(&ticket.id).expect("a batch under way is known");
        let next = entry.job.reply(reply);
        entry.again = true;
        if !entry.job.in_doubt().is_empty() {
            entry.doubtful.get_or_insert(ticket.there);
        }
        self.advance(ticket.id);
        self.place(ticket.id, next, now);
    }

    /// Some records of the batch may be done with: others may have waited for them.
    fn advance(&mut self, id: BatchId) {
        if let Some(lanes) = &mut self.lanes {
            let next = lanes.left(id, self.jobs[&id].job.slots());
            self.ready.extend(next.into_iter().filter(|id| self.behind.remove(id)));
        }
    }

    /// The destination's answer to a question. Where that ends a search for records of this run: which were found, and how
    /// many not.
    pub(super) fn told(&mut self, ask: &Ask, told: Told, now: Instant) -> Option<Looked> {
        let doubts = self.doubts.as_mut().expect("only doubts ask");
        let Outcome { found, batches, generations } = doubts.told(ask, told, now)?;
        let records: HashSet<(RecordId, u64)> = found.iter().map(|landed| (landed.id, landed.hash)).collect();
        let (searched, mut looked) = (!batches.is_empty(), Looked::default());
        for id in batches {
            let entry = self.jobs.get_mut(&id).expect("a batch in doubt is known");
            entry.doubtful = None;
            let (here, absent): (Vec<u32>, Vec<u32>) =
                entry.job.in_doubt().iter().partition(|index| records.contains(&entry.job.record(**index)));
            looked.absent += absent.len();
            looked.found.push((Arc::clone(entry.job.batch()), here));
            let next = entry.job.found(|record| records.contains(&record));
            self.advance(id);
            self.place(id, next, now);
        }
        if !generations.is_empty() {
            let of = |landed: &Landed| generations.contains(&landed.id.generation);
            let landed = found.into_iter().filter(of).collect();
            self.news.push_back(Work::Found { generations, landed });
        }
        searched.then_some(looked)
    }

    /// The dead letters of batch `id` are on disk, or not.
    pub(super) fn written(&mut self, id: BatchId, well: bool, now: Instant) {
        self.writing = false;
        if well {
            return self.settle(id);
        }
        let entry = self.jobs.get_mut(&id).expect("a batch being written is known");
        entry.unwritten = entry.unwritten.saturating_add(1);
        let wait = backoff::delay(Class::Hold, entry.unwritten, self.rng.f64());
        self.waiting.insert((now + wait, id), Wait::Write);
    }

    /// Adapts the window. True when a hold has ended.
    fn learn(&mut self, sent: Sent, records: usize, reply: &Reply) -> bool {
        match reply {
            Reply::Failed(failure) => match failure.class {
                Class::Throttled => self.window.throttled(sent),
                Class::Hold | Class::Credentials => self.window.held(),
                Class::Again | Class::Ambiguous | Class::Reject => {}
            },
            Reply::Answered { failed } => {
                let throttled = failed.iter().filter(|(_, f)| f.class == Class::Throttled).count();
                // A hot shard slows its own records. Where shards are not known, a stream at its limit narrows the flow.
                let by_shard = self.throttle.as_ref().is_some_and(|throttle| throttle.shards.is_busy());
                if throttled > 0 && throttled * 2 >= records && !by_shard {
                    self.window.throttled(sent);
                } else if failed.len() < records {
                    return self.window.succeeded();
                }
            }
        }
        false
    }

    fn place(&mut self, id: BatchId, next: Next, now: Instant) {
        match next {
            Next::Now => {
                self.ready.insert(id);
            }
            Next::Again { class, attempt } => {
                let wait = backoff::delay(class, attempt, self.rng.f64());
                self.waiting.insert((now + wait, id), Wait::Send(class));
            }
            Next::Doubt => {
                let entry = &self.jobs[&id];
                let records = entry.job.in_doubt().iter().map(|index| entry.job.record(*index));
                let sent = entry.doubtful.expect("what is in doubt was sent");
                self.doubts.as_mut().expect("delivery is exactly once").add(id, records.collect(), sent, now);
            }
            Next::Done => {
                let job = &self.jobs[&id].job;
                if job.refused().is_empty() && job.batch().dead.is_empty() {
                    self.settle(id);
                } else {
                    self.to_write.push_back(id);
                }
            }
        }
    }

    fn wake(&mut self, whom: impl Fn(Instant, Wait) -> bool) {
        let Self { waiting, ready, to_write, .. } = self;
        waiting.retain(|(at, id), wait| {
            let woken = whom(*at, *wait);
            match wait {
                Wait::Send(_) if woken => drop(ready.insert(*id)),
                Wait::Write if woken => to_write.push_back(*id),
                _ => {}
            }
            !woken
        });
    }

    fn settle(&mut self, id: BatchId) {
        let job = self.jobs.remove(&id).expect("a batch settles once").job;
        let dead = u32::try_from(job.batch().dead.len()).expect("a batch is not that long");
        let dead_lettered = job.refused_count() + dead;
        self.news.push_back(Work::Settled(Settled { id, accepted: job.accepted(), dead_lettered }));
    }
}

#[cfg(test)]
mod tests;
