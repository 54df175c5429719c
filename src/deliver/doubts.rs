//! What may have been delivered, and the search that finds out: one at a time, for all that is in doubt when it begins.
//! Knows no network; time is an argument. Invariant: what is in doubt stays so until a search that began after it was
//! sent has ended.

use std::{
    collections::{BTreeMap, HashSet},
    time::Instant,
};

use super::{
    courier::ExactlyOnce,
    search::{Ask, Search, Sought, Told},
};
use crate::model::{BatchId, Doubt, Generation, Landed, RecordId};

/// The doubts of one flow.
#[derive(Debug)]
pub struct Doubts {
    once: ExactlyOnce,
    rng: fastrand::Rng,
    /// What an earlier run left behind, and when this one heard of it.
    left: Vec<(Doubt, Instant)>,
    batches: BTreeMap<BatchId, Batch>,
    search: Option<Under>,
}

/// Records of a batch that are in doubt.
#[derive(Debug)]
struct Batch {
    records: Vec<(RecordId, u64)>,
    /// When the first of them was sent, by the destination's clock.
    sent: i64,
    /// When the last request came to an end.
    ended: Instant,
}

/// The search under way.
#[derive(Debug)]
struct Under {
    search: Search,
    batches: Vec<BatchId>,
    generations: Vec<Generation>,
}

/// What a search found.
#[derive(Debug)]
pub struct Outcome {
    pub found: HashSet<Landed>,
    /// These batches were looked for.
    pub batches: Vec<BatchId>,
    /// And whatever an earlier run sent of these.
    pub generations: Vec<Generation>,
}

impl Doubts {
    pub fn new(once: ExactlyOnce, rng: fastrand::Rng) -> Self {
        Self { once, rng, left: Vec::new(), batches: BTreeMap::new(), search: None }
    }

    /// An earlier run may have sent this.
    pub fn left(&mut self, doubts: Vec<Doubt>, now: Instant) {
        self.left.extend(doubts.into_iter().map(|doubt| (doubt, now)));
    }

    /// What time it is for the destination. To be taken down then: a machine that is suspended meanwhile
    /// does not know afterwards for how long.
    pub fn time_there(&self, now: Instant) -> i64 {
        self.once.clock.not_before(now)
    }

    /// These records of a batch, each with the hash of what it holds, were sent between `sent`, a [`Self::time_there`],
    /// and now, and there is no telling whether they arrived.
    pub fn add(&mut self, id: BatchId, records: Vec<(RecordId, u64)>, sent: i64, now: Instant) {
        self.batches.insert(id, Batch { records, sent, ended: now });
    }

    /// The next question, if any. To be called until it has nothing.
    pub fn next(&mut self, now: Instant) -> Option<Ask> {
        if self.search.is_none() {
            self.begin(now);
        }
        self.search.as_mut()?.search.next(now)
    }

    pub fn due(&self) -> Option<Instant> {
        self.search.as_ref()?.search.due()
    }

    /// Takes an answer. What was found, if that was the last one.
    pub fn told(&mut self, ask: &Ask, told: Told, now: Instant) -> Option<Outcome> {
        let under = self.search.as_mut().expect("a question belongs to a search");
        under.search.tell_time(|then| self.once.clock.at(then));
        under.search.told(ask, told, now);
        let Under { search, batches, generations } = self.search.take_if(|under| under.search.is_done())?;
        Some(Outcome { found: search.into_found(), batches, generations })
    }

    fn begin(&mut self, now: Instant) {
        let (clock, mut sought) = (&self.once.clock, Sought::default());
        let (mut last, mut generations) = (None, Vec::new());
        for (doubt, known) in self.left.drain(..) {
            sought.add(&doubt);
            generations.push(doubt.generation);
            last = last.max(Some(known));
        }
        let batches = std::mem::take(&mut self.batches);
        for batch in batches.values() {
            batch.records.iter().for_each(|(id, hash)| sought.add_record(*id, *hash, batch.sent));
            last = last.max(Some(batch.ended));
        }
        if let Some(last) = last.filter(|_| !sought.is_empty()) {
            let sent = (last, clock.at(last));
            let search = Search::new(sought, clock.margin(), sent, self.once.settle_wait, now, self.rng.fork());
            self.search = Some(Under { search, batches: batches.into_keys().collect(), generations });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        deliver::{
            ServiceClock,
            search::{From, MARGIN, Page},
        },
        model::{Generation, Now, Span},
    };

    #[test]
    fn what_was_sent_before_the_machine_was_suspended_is_looked_for_where_it_is() {
        let (start, minute) = (Instant::now(), 60_000_000_000);
        let clock = ServiceClock::new(Now { mono: start, wall: 0 });
        clock.learn(100 * minute, start);
        let once = ExactlyOnce { settle_wait: Duration::from_secs(5), clock: clock.clone() };
        let mut doubts = Doubts::new(once, fastrand::Rng::with_seed(1));
        let sent = doubts.time_there(start);
        // An hour later, of which this machine noticed a second.
        let now = start + Duration::from_secs(1);
        clock.learn(160 * minute, now);
        let id = RecordId { generation: Generation(1), span: Span { start: 0, end: 10 } };
        doubts.add(BatchId(0), vec![(id, 0)], sent, now);
        let list = doubts.next(now).expect("the list of shards");
        doubts.told(&list, Told::Shards { shards: vec!["a".to_owned()], page: None }, now);
        let margin = i64::try_from(MARGIN.as_nanos()).unwrap();
        let from = From::Time(100 * minute - margin);
        assert_eq!(doubts.next(now), Some(Ask::Iterator { shard: "a".to_owned(), from }));
    }

    #[test]
    fn what_arrived_after_a_pause_that_this_machine_did_not_notice_is_read_for() {
        let (start, minute) = (Instant::now(), 60_000_000_000);
        let clock = ServiceClock::new(Now { mono: start, wall: 0 });
        clock.learn(100 * minute, start);
        let once = ExactlyOnce { settle_wait: Duration::from_secs(5), clock: clock.clone() };
        let mut doubts = Doubts::new(once, fastrand::Rng::with_seed(1));
        // The request was under way for an hour, and this machine noticed a second; no answer told.
        let now = start + Duration::from_secs(1);
        let id = RecordId { generation: Generation(1), span: Span { start: 0, end: 10 } };
        doubts.add(BatchId(0), vec![(id, 0)], doubts.time_there(start), now);
        let list = doubts.next(now).expect("the list of shards");
        clock.learn(160 * minute, now);
        doubts.told(&list, Told::Shards { shards: vec!["a".to_owned()], page: None }, now);
        let iterator = doubts.next(now).expect("an iterator");
        doubts.told(&iterator, Told::Iterator("0".to_owned()), now);
        let records = doubts.next(now).expect("records");
        let others = Page {
            last: Some("7".to_owned()),
            next: Some("8".to_owned()),
            arrived: Some(159 * minute),
            ..Page::default()
        };
        assert!(doubts.told(&records, Told::Records(others), now).is_none(), "what is sought came later than that");
    }
}
