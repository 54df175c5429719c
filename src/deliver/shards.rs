//! What is known of a stream's shards: which hashes each was seen to take, and how much those that throttle let pass.
//! Shared by the flows into one stream; locked for a moment per request, and not at all while no shard throttles.
//! Invariant: a record waits only if the shard that its hash was seen to go to is known to be busy.

mod bucket;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bucket::Bucket;

/// A shard that throttled nothing for this long is not limited any more.
const FORGET_AFTER: Duration = Duration::from_mins(1);
/// Shards that are remembered: the most that a stream has without asking for more. Beyond, all is forgotten.
const MOST_SHARDS: usize = 20_000;

/// The shards of one stream.
#[derive(Debug, Default)]
pub struct Shards {
    /// Some shard is limited: whoever sends has to ask.
    busy: AtomicBool,
    members: AtomicU64,
    known: Mutex<Known>,
}

/// Who sends: one flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Member(u64);

/// What became of one record.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Where in the hash space it belongs.
    pub hash: u128,
    /// The shard that took it, or refused to.
    pub shard: &'a str,
    pub throttled: bool,
}

/// One record that wants to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub hash: u128,
    /// Bytes, as the service counts them.
    pub size: u32,
}

#[derive(Debug, Default)]
struct Known {
    /// By the first hash that a shard was seen to take: the last one, and the shard. Apart from each other.
    ranges: BTreeMap<u128, (u128, Arc<str>)>,
    /// Those that throttle.
    buckets: HashMap<Arc<str>, Bucket>,
}

impl Shards {
    /// One more flow sends to the stream.
    pub fn join(&self) -> Member {
        Member(self.members.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes the outcome of a request in which some record was throttled.
    pub fn answered<'a>(&self, records: impl IntoIterator<Item = Seen<'a>>, now: Instant) {
        let mut known = self.known();
        let mut throttled: Vec<Arc<str>> = Vec::new();
        for Seen { hash, shard, throttled: is_throttled } in records {
            let shard = known.saw(hash, shard);
            if is_throttled && !throttled.contains(&shard) {
                throttled.push(shard);
            }
        }
        for shard in throttled {
            known.buckets.entry(shard).or_insert_with(|| Bucket::new(now)).throttled(now);
        }
        self.busy.store(!known.buckets.is_empty(), Ordering::Relaxed);
    }

    /// Whether any shard is limited.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// Which of these records may be sent now, in their order; and when to ask again for the others.
    pub fn admit(&self, who: Member, wanted: &[Wanted], now: Instant) -> (Vec<bool>, Option<Instant>) {
        let mut known = self.known();
        known.buckets.retain(|_, bucket| !bucket.is_quiet_since(now, FORGET_AFTER));
        self.busy.store(!known.buckets.is_empty(), Ordering::Relaxed);
        let Known { ranges, buckets } = &mut *known;
        let mut again: Option<Instant> = None;
        let admitted = wanted.iter().map(|Wanted { hash, size }| {
            let shard =
                ranges.range(..=hash).next_back().filter(|(_, (end, _))| hash <= end).map(|(_, (_, shard))| shard);
            let Some(bucket) = shard.and_then(|shard| buckets.get_mut(shard)) else { return true };
            let when = bucket.take(who, *size, now);
            again = when.into_iter().chain(again).min();
            when.is_none()
        });
        (admitted.collect(), again)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// A shard took this hash, or would have. What was seen of others that contradicts that is forgotten: the stream was
    /// resharded.
    fn saw(&mut self, hash: u128, shard: &str) -> Arc<str> {
        if let Some((_, (end, known))) = self.ranges.range(..=hash).next_back()
            && hash <= *end
            && **known == *shard
        {
            return Arc::clone(known);
        }
        let own = self.ranges.iter().find(|(_, (_, known))| **known == *shard);
        let own = own.map(|(start, (end, known))| (*start..=*end, Arc::clone(known)));
        let (range, name) = match own {
            Some((range, name)) => (hash.min(*range.start())..=hash.max(*range.end()), name),
            None => (hash..=hash, Arc::from(shard)),
        };
        let overlapping: Vec<u128> = self.overlapping(&range).collect();
        for start in overlapping {
            let (_, gone) = self.ranges.remove(&start).expect("just found");
            if gone != name {
                self.buckets.remove(&gone);
            }
        }
        if self.ranges.len() >= MOST_SHARDS {
            *self = Self::default();
        }
        self.ranges.insert(*range.start(), (*range.end(), Arc::clone(&name)));
        name
    }

    fn overlapping(&self, range: &RangeInclusive<u128>) -> impl Iterator<Item = u128> {
        let (start, end) = (*range.start(), *range.end());
        self.ranges.range(..=end).rev().take_while(move |(_, (last, _))| *last >= start).map(|(first, _)| *first)
    }
}
