//! A stream in memory: shards that split and merge, records by arrival, answers to those who read it back. And requests that are
//! taken later than anybody waits for their answers.

use std::{sync::Arc, time::Duration};

use headwater::{
    deliver::{
        errors::{Class, Failure},
        search::{Ask, From, Page, Told},
    },
    model::{Batch, Landed},
};

/// A record that the stream took.
#[derive(Clone, Copy, Debug)]
struct Held {
    arrived: i64,
    landed: Landed,
}

#[derive(Debug, Default)]
struct Shard {
    records: Vec<Held>,
    closed: bool,
    is_child: bool,
}

/// The stream.
#[derive(Debug)]
pub struct Stream {
    shards: Vec<Shard>,
    random: fastrand::Rng,
    /// Planted bug: nobody hears of the shards that came out of others.
    hide_children: bool,
    /// Planted bug: nobody hears of the slots of records.
    hide_slots: bool,
}

/// Records on their way although nobody waits for an answer any more.
#[derive(Debug)]
pub struct Late {
    pub due: Duration,
    pub batch: Arc<Batch>,
    pub which: Vec<u32>,
}

impl Stream {
    pub fn new(seed: u64, hide_children: bool, hide_slots: bool) -> Self {
        let random = fastrand::Rng::with_seed(seed ^ 0x57EA);
        let shards = (0..3).map(|_| Shard::default()).collect();
        Self { shards, random, hide_children, hide_slots }
    }

    fn an_open_one(&mut self) -> usize {
        let open: Vec<usize> = (0..self.shards.len()).filter(|i| !self.shards[*i].closed).collect();
        open[self.random.usize(..open.len())]
    }

    pub fn take(&mut self, landed: Landed, arrived: i64) {
        let shard = self.an_open_one();
        self.shards[shard].records.push(Held { arrived, landed });
    }

    /// A shard splits, or two become one, unless there are many already.
    pub fn reshard(&mut self) {
        if self.shards.len() >= 12 {
            return;
        }
        let (one, other) = (self.an_open_one(), self.an_open_one());
        let merge = one != other && self.random.bool();
        self.shards[one].closed = true;
        self.shards[other].closed |= merge;
        let children = if merge { 1 } else { 2 };
        self.shards.extend((0..children).map(|_| Shard { is_child: true, ..Shard::default() }));
    }

    /// One answer; with `faults` some questions are refused, and some iterators forgotten.
    pub fn answer(&mut self, ask: &Ask, faults: bool) -> Told {
        if faults && self.random.u8(..) < 70 {
            let (class, code) = match self.random.u8(..3) {
                0 => (Class::Throttled, "ProvisionedThroughputExceededException"),
                1 => (Class::Hold, "ExpiredIteratorException"),
                _ => (Class::Ambiguous, "InternalFailure"),
            };
            return Told::Failed(Failure::new(class, code, "as drawn"));
        }
        match ask {
            Ask::Shards { page } => {
                let from: usize = page.as_ref().map_or(0, |page| page.parse().unwrap());
                let known = |i: &usize| !self.hide_children || !self.shards[*i].is_child;
                let to = self.shards.len().min(from + 3);
                let shards = (from..to).filter(known).map(|i| i.to_string()).collect();
                Told::Shards { shards, page: (to < self.shards.len()).then(|| to.to_string()) }
            }
            Ask::Iterator { shard, from } => {
                let records = &self.shards[shard.parse::<usize>().unwrap()].records;
                Told::Iterator(match from {
                    From::Time(at) => records.partition_point(|held| held.arrived < *at).to_string(),
                    From::After(number) => (number.parse::<usize>().unwrap() + 1).to_string(),
                })
            }
            Ask::Records { shard, iterator, .. } => Told::Records(self.page(shard, iterator)),
        }
    }

    fn page(&self, shard: &str, iterator: &str) -> Page {
        let shard = &self.shards[shard.parse::<usize>().unwrap()];
        let from: usize = iterator.parse().unwrap();
        let to = shard.records.len().min(from + 10);
        let at_end = to == shard.records.len();
        let slot = |landed: Landed| if self.hide_slots { None } else { landed.slot };
        let seen = |held: &Held| Landed { slot: slot(held.landed), ..held.landed };
        Page {
            landed: shard.records[from..to].iter().map(seen).collect(),
            last: (to > from).then(|| (to - 1).to_string()),
            next: (!at_end || !shard.closed).then(|| to.to_string()),
            at_tip: at_end && !shard.closed,
            arrived: (to > from).then(|| shard.records[to - 1].arrived),
            records: u32::try_from(to - from).unwrap(),
            bytes: 100,
        }
    }
}
