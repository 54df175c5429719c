//! What is in flight. Knows no files or sockets. Marks are committed in the order batches were opened, per generation:
//! nothing behind an undelivered record is ever committed.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::model::{BatchId, Generation, Mark};

#[derive(Debug)]
struct Flight {
    bytes: usize,
    generations: Vec<Generation>,
    settled: bool,
    /// Sent once, and to be sent again in part.
    delayed: bool,
    /// Generations in which it is not committed yet.
    awaited: usize,
}

#[derive(Debug)]
struct Awaited {
    batch: BatchId,
    mark: Mark,
    settled: bool,
}

/// The batches on their way, and what may be committed when they settle.
#[derive(Debug, Default)]
pub struct Ledger {
    next: u64,
    flights: BTreeMap<BatchId, Flight>,
    /// Per generation, its marks in the order their batches were opened.
    awaited: HashMap<Generation, VecDeque<Awaited>>,
    outstanding: usize,
    unsettled: usize,
    /// Of those, the ones that were not tried yet.
    fresh: usize,
}

impl Ledger {
    /// A batch of `bytes` is on its way; every byte before its marks is in it or in an earlier one.
    pub fn opened(&mut self, bytes: usize, marks: &[Mark]) -> BatchId {
        let id = BatchId(self.next);
        self.next += 1;
        let mut generations = Vec::with_capacity(marks.len());
        for mark in marks {
            let queue = self.awaited.entry(mark.generation).or_default();
            match queue.back_mut() {
                Some(back) if back.batch == id => back.mark = *mark,
                back => {
                    assert!(back.is_none_or(|b| b.mark.end <= mark.end), "marks of a generation never move back");
                    queue.push_back(Awaited { batch: id, mark: *mark, settled: false });
                    generations.push(mark.generation);
                }
            }
        }
        self.outstanding += bytes;
        self.unsettled += 1;
        self.fresh += 1;
        if generations.is_empty() {
            self.outstanding -= bytes;
        }
        self.flights
            .insert(id, Flight { bytes, awaited: generations.len(), generations, settled: false, delayed: false });
        id
    }

    /// The batch has settled. Returns what may be committed now: at most one mark per generation.
    pub fn settled(&mut self, id: BatchId) -> Vec<Mark> {
        let Some(flight) = self.flights.get_mut(&id).filter(|f| !f.settled) else { return Vec::new() };
        flight.settled = true;
        self.unsettled -= 1;
        self.fresh -= usize::from(!flight.delayed);
        let generations = std::mem::take(&mut flight.generations);
        if generations.is_empty() {
            self.flights.remove(&id);
        }
        let mut marks = Vec::new();
        for generation in generations {
            let queue = self.awaited.get_mut(&generation).expect("a generation in flight has a queue");
            let own = queue.iter_mut().find(|a| a.batch == id).expect("a batch in flight is awaited");
            own.settled = true;
            let mut last = None;
            while let Some(front) = queue.pop_front_if(|front| front.settled) {
                last = Some(front.mark);
                let flight = self.flights.get_mut(&front.batch).expect("a batch is known until it is committed");
                flight.awaited -= 1;
                if flight.awaited == 0 {
                    self.outstanding -= flight.bytes;
                    self.flights.remove(&front.batch);
                }
            }
            marks.extend(last);
            if queue.is_empty() {
                self.awaited.remove(&generation);
            }
        }
        marks
    }

    /// Some of the batch has to be sent again.
    pub fn delayed(&mut self, id: BatchId) {
        if let Some(flight) = self.flights.get_mut(&id).filter(|f| !f.settled && !f.delayed) {
            flight.delayed = true;
            self.fresh -= 1;
        }
    }

    /// Bytes not committed: those in flight, and those that settled behind a batch that did not. A crash repeats them.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Batches in flight.
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// Batches in flight that were not tried yet.
    pub fn fresh(&self) -> usize {
        self.fresh
    }

    /// Batches not committed.
    pub fn uncommitted(&self) -> usize {
        self.flights.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Print;

    fn mark(generation: u64, end: u64) -> Mark {
        Mark { generation: Generation(generation), end, tail: Print::default() }
    }

    #[test]
    fn a_batch_that_settles_early_commits_nothing_until_those_before_it_have() {
        let mut ledger = Ledger::default();
        let first = ledger.opened(10, &[mark(1, 10)]);
        let second = ledger.opened(10, &[mark(1, 20)]);
        assert_eq!(ledger.settled(second), []);
        assert_eq!((ledger.outstanding(), ledger.uncommitted(), ledger.unsettled()), (20, 2, 1));
        assert_eq!(ledger.settled(first), [mark(1, 20)]);
        assert_eq!((ledger.outstanding(), ledger.uncommitted(), ledger.unsettled()), (0, 0, 0));
    }

    #[test]
    fn generations_do_not_wait_for_each_other() {
        let mut ledger = Ledger::default();
        let _slow = ledger.opened(10, &[mark(1, 10)]);
        let fast = ledger.opened(10, &[mark(2, 10), mark(2, 30)]);
        assert_eq!(ledger.settled(fast), [mark(2, 30)]);
    }

    #[test]
    fn a_delayed_batch_makes_room_for_another_once() {
        let mut ledger = Ledger::default();
        let id = ledger.opened(10, &[mark(1, 10)]);
        assert_eq!(ledger.fresh(), 1);
        ledger.delayed(id);
        ledger.delayed(id);
        assert_eq!((ledger.fresh(), ledger.unsettled(), ledger.outstanding()), (0, 1, 10));
        ledger.settled(id);
        ledger.delayed(id);
        assert_eq!((ledger.fresh(), ledger.unsettled(), ledger.outstanding()), (0, 0, 0));
    }

    #[test]
    fn news_of_an_unknown_batch_change_nothing() {
        assert_eq!(Ledger::default().settled(BatchId(7)), []);
    }

    proptest! {
        /// Whatever the order of settlement, a committed mark never passes an unsettled batch of its generation.
        #[test]
        fn only_contiguous_settlements_commit(
            batches in proptest::collection::vec(proptest::collection::vec((0..3u64, 1..50u64), 1..4), 1..30),
            order in any::<u64>(),
        ) {
            let mut ledger = Ledger::default();
            let mut ends = [0u64; 3];
            let mut open: Vec<(BatchId, Vec<Mark>)> = Vec::new();
            for moves in &batches {
                let marks: Vec<Mark> = moves
                    .iter()
                    .map(|(generation, by)| {
                        let end = &mut ends[usize::try_from(*generation).unwrap()];
                        *end += by;
                        mark(*generation, *end)
                    })
                    .collect();
                let id = ledger.opened(7, &marks);
                open.push((id, marks));
            }
            let mut random = fastrand::Rng::with_seed(order);
            let mut committed = [0u64; 3];
            while !open.is_empty() {
                let (id, _) = open.remove(random.usize(..open.len()));
                for m in ledger.settled(id) {
                    let g = usize::try_from(m.generation.0).unwrap();
                    prop_assert!(m.end > committed[g]);
                    committed[g] = m.end;
                    for (other, marks) in &open {
                        let first = marks.iter().filter(|o| o.generation == m.generation).map(|o| o.end).min();
                        prop_assert!(first.is_none_or(|f| f > m.end), "{m:?} passed {other:?}");
                    }
                }
                prop_assert_eq!(ledger.unsettled(), open.len());
                prop_assert!(ledger.outstanding() >= 7 * open.len());
                prop_assert_eq!(ledger.outstanding(), 7 * ledger.uncommitted());
            }
            prop_assert_eq!(committed, ends);
            prop_assert_eq!(ledger.outstanding(), 0);
        }
    }
}
