//! One shard that is read back: where reading stands, when the next call may be made, and for how much. Knows no other shard.
//! Invariant: no two calls to a shard are under way at once, and none comes before its budget allows it.

use std::time::{Duration, Instant};

use super::{Ask, BYTES_PER_SECOND, CALL_EVERY, Failure, From, PAGE, Page};
use crate::deliver::{backoff, errors::Class};

/// Records of the first answer: 1 MiB of joined ones. More than is read in a second keeps other readers of the shard waiting.
const FIRST: u32 = 20;
/// From one answer to the next at most this much more, for sizes differ.
const GROWTH: u32 = 10;
/// Records of one answer at most, as the service has it.
const MOST: u32 = 10_000;

#[derive(Debug)]
pub(super) struct Shard {
    place: Place,
    /// Number of the last record that was read.
    last: Option<String>,
    under_way: bool,
    asked_at: Instant,
    ready_at: Instant,
    failures: u32,
    /// Records to ask for.
    most: u32,
}

#[derive(Debug)]
enum Place {
    /// An iterator is needed: for the beginning, or because the one before has expired.
    Unknown,
    At(String),
    /// Read as far as need be.
    Read,
}

impl Shard {
    pub(super) fn new(now: Instant) -> Self {
        let place = Place::Unknown;
        Self { place, last: None, under_way: false, asked_at: now, ready_at: now, failures: 0, most: FIRST }
    }

    pub(super) fn is_read(&self) -> bool {
        matches!(self.place, Place::Read)
    }

    /// A call is under way.
    pub(super) fn is_asked(&self) -> bool {
        self.under_way
    }

    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.due().is_some_and(|at| at <= now)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        (!self.under_way && !self.is_read()).then_some(self.ready_at)
    }

    /// The call to make now.
    pub(super) fn ask(&mut self, name: &str, from: i64, now: Instant) -> Ask {
        (self.under_way, self.asked_at) = (true, now);
        let shard = name.to_owned();
        match &self.place {
            Place::At(iterator) => Ask::Records { shard, iterator: iterator.clone(), most: self.most },
            _ => Ask::Iterator { shard, from: self.last.clone().map_or(From::Time(from), From::After) },
        }
    }

    pub(super) fn begins(&mut self, iterator: String, now: Instant) {
        (self.under_way, self.ready_at, self.place) = (false, now, Place::At(iterator));
    }

    /// Some records came, the last of them `past` what matters or not. True: the shard is closed, and this was its end.
    pub(super) fn read(&mut self, page: &Page, past: bool, until: Instant, now: Instant) -> bool {
        (self.under_way, self.failures) = (false, 0);
        if let Some(size) = page.bytes.checked_div(u64::from(page.records)) {
            let fit = u32::try_from(u64::from(PAGE) / size.max(1)).unwrap_or(MOST);
            self.most = fit.clamp(1, self.most.saturating_mul(GROWTH).min(MOST));
        }
        if page.last.is_some() {
            self.last.clone_from(&page.last);
        }
        let Some(next) = &page.next else {
            self.place = Place::Read;
            return true;
        };
        if past || (page.at_tip && self.asked_at >= until) {
            self.place = Place::Read;
            return false;
        }
        self.place = Place::At(next.clone());
        let cost = Duration::from_secs(page.bytes) / BYTES_PER_SECOND;
        self.ready_at = self.asked_at + cost.max(CALL_EVERY);
        if page.at_tip {
            // Nothing more is to come but what is on its way: once more when that has arrived.
            self.ready_at = self.ready_at.max((now + 2 * CALL_EVERY).min(until));
        }
        false
    }

    pub(super) fn failed(&mut self, failure: &Failure, random: f64, now: Instant) {
        self.under_way = false;
        if failure.code == "ExpiredIteratorException" {
            self.place = Place::Unknown;
        }
        self.failures = self.failures.saturating_add(1);
        self.ready_at = now + wait(failure, self.failures, random);
        // An iterator lives for five minutes; after a long wait it is easier to get another than to be told so.
        if matches!(failure.class, Class::Hold | Class::Credentials | Class::Reject) {
            self.place = Place::Unknown;
        }
        if failure.class == Class::Reject {
            // Not a number of this stream's: another one has its name by now.
            self.last = None;
        }
    }
}

/// How long to wait after failures in a row. What a question is refused for is never the records' fault.
pub(super) fn wait(failure: &Failure, failures: u32, random: f64) -> Duration {
    let class = if failure.class == Class::Reject { Class::Hold } else { failure.class };
    backoff::delay(class, failures, random).max(CALL_EVERY)
}
