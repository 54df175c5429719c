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
mod tests {
    use super::*;
    use crate::{
        deliver::{
            MaxRate, ServiceClock,
            search::Page,
            shards::Seen,
            testing::{batch, failure},
        },
        model::{Now, Slot, content_hash},
    };
    use proptest::prelude::*;
    use std::time::Duration;

    fn desk(max_in_flight: usize) -> Desk {
        Desk::new(Rules { max_in_flight, ..Rules::default() }, fastrand::Rng::with_seed(1))
    }

    fn send(desk: &mut Desk, now: Instant) -> (Ticket, Vec<u32>) {
        match desk.next(now) {
            Some(Work::Send { ticket, which, .. }) => (ticket, which),
            other => panic!("expected a request, not {other:?}"),
        }
    }

    #[test]
    fn large_requests_wait_for_those_under_way() {
        let (mut desk, now) = (desk(8), Instant::now());
        for id in 0..4 {
            let mut batch = batch(id, 1);
            batch.records[0].size = 5 << 20;
            desk.accept(batch, now);
        }
        let (first, second) = (send(&mut desk, now).0, send(&mut desk, now).0);
        assert!(desk.next(now).is_none(), "8 MiB and more are under way");
        desk.replied(second, 1, Reply::accepted(), now);
        assert!(matches!(desk.next(now), Some(Work::Settled(_))));
        assert_eq!(send(&mut desk, now).0.id.0, 2);
        assert!(desk.next(now).is_none());
        desk.replied(first, 1, Reply::Failed(failure(Class::Throttled)), now);
        assert_eq!(send(&mut desk, now).0.id.0, 3);
    }

    #[test]
    fn no_more_requests_than_the_window_allows_and_the_oldest_first() {
        let (mut desk, now) = (desk(2), Instant::now());
        (0..3).rev().for_each(|id| desk.accept(batch(id, 1), now));
        let (first, second) = (send(&mut desk, now).0, send(&mut desk, now).0);
        assert_eq!([first.id.0, second.id.0], [0, 1]);
        assert!(desk.next(now).is_none());
        desk.replied(second, 1, Reply::accepted(), now);
        assert!(matches!(
            desk.next(now),
            Some(Work::Settled(Settled { id: BatchId(1), accepted: 1, dead_lettered: 0 }))
        ));
        assert_eq!(send(&mut desk, now).0.id.0, 2);
    }

    #[test]
    fn a_success_ends_the_hold_of_everybody() {
        let (mut desk, now) = (desk(4), Instant::now());
        (0..3).for_each(|id| desk.accept(batch(id, 1), now));
        let tickets = [(); 3].map(|()| send(&mut desk, now).0);
        for ticket in tickets {
            desk.replied(ticket, 1, Reply::Failed(failure(Class::Hold)), now);
        }
        assert!(desk.next(now).is_none());
        let later = desk.due().unwrap();
        let (probe, _) = send(&mut desk, later);
        assert!(desk.next(later).is_none(), "one probe at a time");
        desk.replied(probe, 1, Reply::accepted(), later);
        assert!(matches!(desk.next(later), Some(Work::Settled(_))));
        send(&mut desk, later);
        send(&mut desk, later);
    }

    #[test]
    fn a_batch_whose_dead_letters_cannot_be_written_is_not_settled() {
        let (mut desk, mut now) = (desk(1), Instant::now());
        desk.accept(batch(0, 1), now);
        let (ticket, _) = send(&mut desk, now);
        desk.replied(ticket, 1, Reply::Failed(failure(Class::Reject)), now);
        for _ in 0..5 {
            assert!(matches!(desk.next(now), Some(Work::Write { .. })));
            desk.written(BatchId(0), false, now);
            assert!(desk.next(now).is_none());
            now = desk.due().unwrap();
        }
        assert!(matches!(desk.next(now), Some(Work::Write { .. })));
        desk.written(BatchId(0), true, now);
        assert!(matches!(desk.next(now), Some(Work::Settled(Settled { accepted: 0, dead_lettered: 1, .. }))));
    }

    #[test]
    fn a_rate_is_kept_and_whoever_waits_for_it_is_told_when() {
        let now = Instant::now();
        let rate = Rate::new(MaxRate { records: Some(10), bytes: None }, now);
        let rules = Rules { max_in_flight: 8, rate: Some(rate), ..Rules::default() };
        let mut desk = Desk::new(rules, fastrand::Rng::with_seed(1));
        (0..3).for_each(|id| desk.accept(batch(id, 20), now));
        send(&mut desk, now);
        assert!(desk.next(now).is_none());
        let later = desk.due().expect("the next one may be sent some time");
        assert_eq!(later, now + Duration::from_secs(1));
        send(&mut desk, later);
        assert!(desk.next(later).is_none() && desk.due() > Some(later));
    }

    #[test]
    fn records_for_a_busy_shard_wait_and_the_others_are_sent() {
        let (now, shards) = (Instant::now(), Arc::<Shards>::default());
        let batch = batch(0, 40);
        let hash = |index: usize| Routing::default().hash(&batch, index);
        let is_hot = |index: u32| hash(index as usize) >> 127 == 0;
        let seen = (0..40).map(|index| {
            let hot = is_hot(index);
            Seen { hash: hash(index as usize), shard: if hot { "hot" } else { "cold" }, throttled: hot }
        });
        shards.answered(seen, now);
        let throttle = Some(Throttle::new(Arc::clone(&shards), Routing::default()));
        let mut desk = Desk::new(Rules { max_in_flight: 8, throttle, ..Rules::default() }, fastrand::Rng::with_seed(1));
        desk.accept(batch.clone(), now);
        let (ticket, which) = send(&mut desk, now);
        assert!(!which.is_empty() && which.iter().all(|index| !is_hot(*index)), "{which:?}");
        assert!(matches!(desk.next(now), Some(Work::Delayed(BatchId(0)))), "it must not keep others from being read");
        desk.replied(ticket, which.len(), Reply::accepted(), now);
        let mut left = 40 - which.len();
        let mut later = now;
        while left > 0 {
            match desk.next(later) {
                Some(Work::Send { ticket, which, .. }) => {
                    left -= which.len();
                    desk.replied(ticket, which.len(), Reply::accepted(), later);
                }
                Some(work) => assert!(matches!(work, Work::Delayed(_)), "{work:?}"),
                None => later = desk.due().expect("the rest waits for a time"),
            }
        }
        assert!(later > now);
        assert!(std::iter::from_fn(|| desk.next(later)).any(|work| matches!(work, Work::Settled(_))));
    }

    fn answer(rng: &mut fastrand::Rng, records: usize) -> Reply {
        const ALL: [Class; 6] =
            [Class::Throttled, Class::Again, Class::Ambiguous, Class::Credentials, Class::Hold, Class::Reject];
        let mut bad = |odds: u8| (rng.u8(..) < odds).then(|| failure(ALL[rng.usize(..ALL.len())]));
        if let Some(failure) = bad(80) {
            return Reply::Failed(failure);
        }
        Reply::Answered { failed: (0..u32::try_from(records).unwrap()).filter_map(|p| Some((p, bad(40)?))).collect() }
    }

    /// Sends records of these slots, one list a batch, through a destination in moods, which takes up requests in any
    /// order; what it stored of each slot, in its order.
    /// With `once`, what it says it does not know may be stored all the same, and it can be asked.
    fn stored(seed: u64, slots: &[Vec<u8>], max: usize, keeps_order: bool, once: bool) -> HashMap<u8, Vec<(u64, u32)>> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut now = Instant::now();
        let clock = ServiceClock::new(Now { mono: now, wall: 0 });
        let once = once.then(|| ExactlyOnce { settle_wait: Duration::from_secs(1), clock });
        let knows = once.is_none();
        let rules = Rules { max_in_flight: max, keeps_order, once, ..Rules::default() };
        let mut desk = Desk::new(rules, fastrand::Rng::with_seed(seed));
        let mut held = Vec::new();
        let mut stored: HashMap<u8, Vec<(u64, u32)>> = HashMap::new();
        let (mut coming, mut requests) = ((0..).zip(slots).collect::<VecDeque<_>>(), Vec::new());
        for _ in 0..100_000 {
            if rng.u8(..) < 80
                && let Some((id, slots)) = coming.pop_front()
            {
                let mut batch = batch(id, slots.len());
                batch.files[0].generation = Generation(id);
                batch.records.iter_mut().zip(slots).for_each(|(record, slot)| record.slot = Some(Slot(*slot)));
                desk.accept(batch, now);
            }
            match desk.next(now) {
                Some(Work::Send { ticket, batch, which, .. }) => requests.push((ticket, batch, which)),
                Some(Work::Write { id, .. }) => desk.written(id, true, now),
                Some(Work::Ask(ask)) => {
                    let told = match &ask {
                        Ask::Shards { .. } => Told::Shards { shards: vec!["0".to_owned()], page: None },
                        Ask::Iterator { .. } => Told::Iterator("0".to_owned()),
                        Ask::Records { .. } => {
                            let (landed, next) = (held.clone(), Some("0".to_owned()));
                            Told::Records(Page { landed, next, at_tip: true, ..Page::default() })
                        }
                    };
                    let _ = desk.told(&ask, told, now);
                }
                Some(Work::Settled(_) | Work::Found { .. } | Work::Delayed(_)) => {}
                None if !requests.is_empty() => {
                    let (ticket, batch, which) = requests.swap_remove(rng.usize(..requests.len()));
                    let reply = answer(&mut rng, which.len());
                    // What nobody knows of may be stored; to whoever sends it again that makes no difference.
                    let mut is_lost = |class| knows || class != Class::Ambiguous || rng.bool();
                    let failed: Vec<u32> = match &reply {
                        Reply::Answered { failed } => {
                            failed.iter().filter(|(_, f)| is_lost(f.class)).map(|(position, _)| *position).collect()
                        }
                        Reply::Failed(f) if is_lost(f.class) => {
                            (0..).zip(&which).map(|(position, _)| position).collect()
                        }
                        Reply::Failed(_) => Vec::new(),
                    };
                    for (_, index) in (0..).zip(&which).filter(|(position, _)| !failed.contains(position)) {
                        let slot = batch.records[*index as usize].slot.expect("set above").0;
                        stored.entry(slot).or_default().push((batch.id.0, *index));
                        let (id, hash) =
                            (batch.record_id(*index as usize), content_hash(batch.record(*index as usize)));
                        held.push(Landed { id, slot: None, hash });
                    }
                    desk.replied(ticket, which.len(), reply, now);
                }
                None => now = desk.due().unwrap_or(now),
            }
            if coming.is_empty() && desk.jobs.is_empty() {
                return stored;
            }
        }
        panic!("no progress: {desk:?}");
    }

    #[test]
    fn without_the_order_kept_records_overtake_each_other() {
        let slots = vec![vec![1; 10]; 10];
        assert!((0..10).any(|seed| !stored(seed, &slots, 4, false, false)[&1].is_sorted()));
    }

    proptest! {
        #[test]
        fn records_of_one_slot_are_stored_in_their_order_whatever_fails(
            seed: u64, slots in prop::collection::vec(prop::collection::vec(0u8..6, 0..20), 1..15), max in 1usize..9,
            once: bool,
        ) {
            for (slot, order) in stored(seed, &slots, max, true, once) {
                prop_assert!(order.is_sorted_by(|a, b| a < b), "{}: {:?}", slot, order);
            }
        }

        #[test]
        fn nothing_is_stored_twice_and_all_is_stored_although_answers_are_lost(
            seed: u64, sizes in prop::collection::vec(0usize..20, 1..15), max in 1usize..9
        ) {
            let slots: Vec<Vec<u8>> = sizes.iter().map(|size| vec![7; *size]).collect();
            let mut stored = stored(seed, &slots, max, false, true).remove(&7).unwrap_or_default();
            let all = stored.len();
            stored.sort_unstable();
            stored.dedup();
            prop_assert_eq!(all, stored.len());
        }

        #[test]
        fn every_batch_settles_once_with_all_its_records(
            seed: u64, sizes in prop::collection::vec(0usize..20, 1..20), max in 1usize..9
        ) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut desk = Desk::new(Rules { max_in_flight: max, ..Rules::default() }, fastrand::Rng::with_seed(seed));
            let mut now = Instant::now();
            (0..).zip(&sizes).for_each(|(id, records)| desk.accept(batch(id, *records), now));
            let (mut requests, mut writes, mut settled) = (Vec::new(), Vec::new(), vec![None; sizes.len()]);
            for _ in 0..100_000 {
                match desk.next(now) {
                    Some(Work::Settled(s)) => {
                        let before = settled[usize::try_from(s.id.0).unwrap()].replace(s.accepted + s.dead_lettered);
                        prop_assert_eq!(before, None);
                        continue;
                    }
                    Some(Work::Send { ticket, which, .. }) => requests.push((ticket, which.len())),
                    Some(Work::Write { id, .. }) => writes.push(id),
                    Some(Work::Ask(_) | Work::Found { .. } | Work::Delayed(_)) => prop_assert!(false, "nothing is in doubt"),
                    None => match (requests.is_empty(), writes.is_empty(), desk.due()) {
                        (true, true, None) => break,
                        (true, true, Some(due)) => now = due,
                        (false, ..) => {
                            let (ticket, records) = requests.swap_remove(rng.usize(..requests.len()));
                            desk.replied(ticket, records, answer(&mut rng, records), now);
                        }
                        (true, false, _) => desk.written(writes.pop().unwrap(), rng.bool(), now),
                    },
                }
                prop_assert!(requests.len() <= max && writes.len() <= 1);
                now += Duration::from_millis(1);
            }
            let expected: Vec<_> = sizes.iter().map(|&s| Some(u32::try_from(s).unwrap())).collect();
            prop_assert_eq!(settled, expected);
            prop_assert!(desk.jobs.is_empty());
        }
    }
}
