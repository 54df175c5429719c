//! What a stream holds of records that were perhaps sent: which shards to read, from when, and when enough was read.
//! Knows no network and no clock; time is an argument. Invariant: it is done only when every shard, those that came out
//! of others included, was read to its end by a call made at or after `until`, or when all that was sought is found.

mod shard;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use super::errors::{Class, Failure};
use crate::model::{Doubt, Generation, Landed, RecordId, Span};
use shard::Shard;

/// Time to read before what is sought was sent: clocks of services differ, and arrival times are approximate.
pub const MARGIN: Duration = Duration::from_secs(10);
/// The same where the service did not tell its time: what it signs for may be this far from its own.
pub const MARGIN_WITHOUT_CLOCK: Duration = Duration::from_mins(15);
/// Calls under way at once: each brings some [`PAGE`], or 10 MiB where records became that much larger.
const MOST_CALLS: usize = 4;
/// After an outage, what a host sent before goes on arriving for as long, and at most so long: TCP tries again and again.
const MOST_LATE: Duration = Duration::from_mins(2);
/// Between two calls to a shard: 2 of the 5 a second that it shares with whoever else reads it.
const CALL_EVERY: Duration = Duration::from_millis(500);
/// Bytes a second read of a shard: half of the 2 MiB that it shares.
const BYTES_PER_SECOND: u32 = 1 << 20;
/// Bytes to ask for with one call.
const PAGE: u32 = 1 << 20;

/// Something to ask the service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// The shards there are, closed ones too; `page` goes on with a list that came in part.
    Shards { page: Option<String> },
    /// Where reading of a shard begins.
    Iterator { shard: String, from: From },
    /// The next records of a shard, at most so many.
    Records { shard: String, iterator: String, most: u32 },
}

/// Where in a shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum From {
    /// Nanoseconds since 1970, by the service's clock.
    Time(i64),
    /// Behind the record with this number.
    After(String),
}

/// What the service said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    Shards { shards: Vec<String>, page: Option<String> },
    Iterator(String),
    Records(Page),
    Failed(Failure),
}

/// One answer with records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// Those that have an id of ours.
    pub landed: Vec<Landed>,
    /// Number of the last record, ours or not.
    pub last: Option<String>,
    /// Goes on; `None`: the shard is closed, and this was its end.
    pub next: Option<String>,
    /// Nothing was behind these records.
    pub at_tip: bool,
    /// When the last record arrived, by the service's clock, in nanoseconds since 1970.
    pub arrived: Option<i64>,
    /// All records, ours or not, and their size.
    pub records: u32,
    pub bytes: u64,
}

/// What is sought.
#[derive(Clone, Debug, Default)]
pub struct Sought {
    /// Whatever lies in these bytes.
    spans: HashMap<Generation, Span>,
    /// These records, by what they hold: another one may have had the id before the machine was started anew.
    ids: HashSet<(RecordId, u64)>,
    /// When the first of all was sent, by the service's clock, in nanoseconds since 1970.
    since: Option<i64>,
}

impl Sought {
    /// Also whatever lies in these bytes.
    pub fn add(&mut self, doubt: &Doubt) {
        self.spans.insert(doubt.generation, doubt.span);
        self.begin(doubt.since);
    }

    /// Also this record, which holds this, sent at this time.
    pub fn add_record(&mut self, id: RecordId, hash: u64, sent: i64) {
        self.ids.insert((id, hash));
        self.begin(sent);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.ids.is_empty()
    }

    fn begin(&mut self, since: i64) {
        self.since = Some(self.since.map_or(since, |before| before.min(since)));
    }

    fn wants(&self, Landed { id, hash, .. }: &Landed) -> bool {
        let overlaps = |span: &Span| id.span.start < span.end && span.start < id.span.end;
        self.ids.contains(&(*id, *hash)) || self.spans.get(&id.generation).is_some_and(overlaps)
    }
}

/// A list of shards in the making.
#[derive(Debug)]
struct List {
    page: Option<String>,
    /// Those on the pages so far.
    names: HashSet<String>,
    under_way: bool,
    ready_at: Instant,
    failures: u32,
}

impl List {
    fn new(ready_at: Instant) -> Self {
        Self { page: None, names: HashSet::new(), under_way: false, ready_at, failures: 0 }
    }
}

/// One search, for all that is in doubt when it begins.
#[derive(Debug)]
pub struct Search {
    sought: Sought,
    from: i64,
    margin: i64,
    /// When what is sought was last sent, or may have been.
    sent: Instant,
    /// What was sent before the search has arrived by then, or never will.
    until: Instant,
    /// The same by the service's clock, in nanoseconds since 1970.
    until_there: i64,
    /// The service has answered something.
    heard: bool,
    shards: BTreeMap<String, Shard>,
    /// Shards ended since the last list was begun: their children are to be listed.
    ended: bool,
    list: Option<List>,
    calls: usize,
    found: HashSet<Landed>,
    rng: fastrand::Rng,
}

impl Search {
    /// Reads from `margin` before the first of what is sought. The last of it was sent before `sent`, which is `there` by
    /// the service's clock, and has arrived `wait` later.
    pub fn new(
        sought: Sought,
        margin: Duration,
        sent: (Instant, i64),
        wait: Duration,
        now: Instant,
        rng: fastrand::Rng,
    ) -> Self {
        let (margin, (sent, there)) = (nanos(margin), sent);
        let from = sought.since.unwrap_or(i64::MAX).saturating_sub(margin).max(0);
        Self {
            sought,
            from,
            margin,
            sent,
            until: sent + wait,
            until_there: there.saturating_add(nanos(wait)),
            heard: false,
            shards: BTreeMap::new(),
            ended: false,
            list: Some(List::new(now)),
            calls: 0,
            found: HashSet::new(),
            rng,
        }
    }

    /// The first answer after an outage: what was sent into it may come as much later.
    fn hear(&mut self, now: Instant) {
        let silence = now.saturating_duration_since(self.until);
        if !std::mem::replace(&mut self.heard, true) && !silence.is_zero() {
            let late = now.saturating_duration_since(self.sent).min(MOST_LATE);
            self.until_there = self.until_there.saturating_add(nanos(silence + late));
            self.until = now + late;
        }
    }

    /// The destination's clock, which may be known better by now: what is sought arrived no later than it says.
    pub fn tell_time(&mut self, there: impl FnOnce(Instant) -> i64) {
        self.until_there = self.until_there.max(there(self.until));
    }

    /// The next thing to ask now, if any. To be called until it has nothing.
    pub fn next(&mut self, now: Instant) -> Option<Ask> {
        if self.calls >= MOST_CALLS || self.is_done() {
            return None;
        }
        if let Some(list) = self.list.as_mut().filter(|list| !list.under_way && list.ready_at <= now) {
            list.under_way = true;
            self.calls += 1;
            return Some(Ask::Shards { page: list.page.clone() });
        }
        let (name, shard) = self.shards.iter_mut().find(|(_, shard)| shard.is_ready(now))?;
        self.calls += 1;
        Some(shard.ask(name, self.from, now))
    }

    /// When `next` will have something although nothing is told.
    pub fn due(&self) -> Option<Instant> {
        if self.calls >= MOST_CALLS || self.is_done() {
            return None;
        }
        let list = self.list.iter().filter(|list| !list.under_way).map(|list| list.ready_at);
        list.chain(self.shards.values().filter_map(Shard::due)).min()
    }

    /// Takes what the service said to one question.
    pub fn told(&mut self, ask: &Ask, told: Told, now: Instant) {
        self.calls -= 1;
        if !matches!(told, Told::Failed(_)) {
            self.hear(now);
        }
        match (ask, told) {
            (Ask::Shards { .. }, Told::Shards { shards, page }) => self.listed(shards, page, now),
            (Ask::Shards { .. }, told) => {
                let list = self.list.as_mut().expect("a list was asked for");
                let failure = failure(told);
                list.failures = list.failures.saturating_add(1);
                let wait = shard::wait(&failure, list.failures, self.rng.f64());
                (list.under_way, list.ready_at) = (false, now + wait);
                if !matches!(failure.class, Class::Throttled | Class::Again | Class::Ambiguous) {
                    // It may be the page that is refused, for being too old: the list begins anew.
                    (list.page, list.names) = (None, HashSet::new());
                }
            }
            (Ask::Iterator { shard, .. } | Ask::Records { shard, .. }, told) => {
                let Some(state) = self.shards.get_mut(shard) else { return };
                match told {
                    Told::Iterator(iterator) => state.begins(iterator, now),
                    Told::Records(page) => {
                        let wanted = page.landed.iter().filter(|landed| self.sought.wants(landed));
                        self.found.extend(wanted.copied());
                        // What arrived later than that is nothing that is sought.
                        let past = page.arrived.is_some_and(|at| at > self.until_there.saturating_add(self.margin));
                        self.ended |= state.read(&page, past, self.until, now);
                    }
                    told => self.failed(shard, &failure(told), now),
                }
            }
        }
        self.list_children(now);
    }

    fn failed(&mut self, shard: &str, failure: &Failure, now: Instant) {
        let Some(state) = self.shards.get_mut(shard) else { return };
        state.failed(failure, self.rng.f64(), now);
        if failure.code == "ResourceNotFoundException" && self.list.is_none() {
            // The stream is gone, or another one has its name: then these shards are not its own.
            self.list = state.due().map(List::new);
        }
    }

    fn listed(&mut self, shards: Vec<String>, page: Option<String>, now: Instant) {
        let mut list = self.list.take().expect("a list was asked for");
        for name in &shards {
            self.shards.entry(name.clone()).or_insert_with(|| Shard::new(now));
        }
        list.names.extend(shards);
        if page.is_some() {
            self.list = Some(List { page, names: list.names, ..List::new(now) });
        } else {
            self.shards.retain(|name, shard| list.names.contains(name) || shard.is_asked());
        }
    }

    /// Where shards came to their ends, others took their places.
    fn list_children(&mut self, now: Instant) {
        if self.list.is_none() && self.ended && self.shards.values().all(Shard::is_read) {
            self.ended = false;
            self.list = Some(List::new(now));
        }
    }

    /// Whether nothing is left to ask.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let all = || self.sought.spans.is_empty() && self.found.len() == self.sought.ids.len();
        let read = || self.list.is_none() && !self.ended && self.shards.values().all(Shard::is_read);
        self.calls == 0 && (all() || read())
    }

    /// What was found.
    #[must_use]
    pub fn into_found(self) -> HashSet<Landed> {
        self.found
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// The failure in what was told; an answer to another question is one, too.
fn failure(told: Told) -> Failure {
    match told {
        Told::Failed(failure) => failure,
        _ => Failure::new(Class::Again, "UnreadableReply", "the answer to another question"),
    }
}
