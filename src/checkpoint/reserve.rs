//! How far one generation may have been sent beyond what is acked, and since when. Knows no file and no disk.
//! Invariant: a byte at or behind `limit` was never sent, and one at or behind an offset of `since` not before its time.

use super::format::Line;
use crate::model::{Doubt, Generation, Reservation, Span};

/// Times that are kept of one generation. Beyond, the newest is left out: older ones hold for its bytes, too.
const MOST_TIMES: usize = 64;

/// The reservations of one generation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reserved {
    limit: u64,
    /// Offsets rise, times do not fall.
    since: Vec<Since>,
    /// Bytes below may have been sent by an earlier run, so that a new time says nothing of them.
    floor: u64,
}

/// From which offset on bytes were not sent before which time, and under which start of the machine and configuration that
/// was said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Since {
    from: u64,
    at: i64,
    epoch: u64,
}

impl Reserved {
    /// Takes a reservation made at this time. Returns it as it holds for all runs, if it says anything new.
    pub fn add(&mut self, reservation: Reservation, at: i64, epoch: u64) -> Option<Reservation> {
        let from = reservation.from.max(self.floor);
        let limit = reservation.limit.max(self.limit);
        // A clock that was set back: what was said of later times held by a clock that was ahead.
        let back = self.since.iter().any(|since| since.at > at);
        self.since.iter_mut().for_each(|since| since.at = at.min(since.at));
        let newer = from < limit
            && self.since.len() < MOST_TIMES
            && self.since.last().is_none_or(|last| from > last.from && at > last.at);
        if newer {
            self.since.push(Since { from, at, epoch });
        } else if limit == self.limit && !back {
            return None;
        }
        self.limit = limit;
        Some(Reservation { from, limit, ..reservation })
    }

    /// The same, as read from the journal of an earlier run.
    pub(super) fn replay(&mut self, reservation: Reservation, at: i64, epoch: u64) {
        self.floor = 0;
        self.add(reservation, at, epoch);
    }

    /// Every byte before `offset` has settled. False: nothing is reserved behind it.
    pub fn acked(&mut self, offset: u64) -> bool {
        let passed = self.since.partition_point(|since| since.from <= offset);
        self.since.drain(..passed.saturating_sub(1));
        offset < self.limit
    }

    /// A new run begins: what is reserved now was reserved by an earlier one.
    pub(super) fn restarted(&mut self) {
        self.floor = self.limit;
    }

    /// What may have been sent behind `acked`, if anything, as seen under this start and configuration.
    pub fn doubt(&self, generation: Generation, acked: u64, epoch: u64) -> Option<Doubt> {
        let span = Span { start: acked, end: self.limit };
        let first = self.since.partition_point(|since| since.from <= acked).saturating_sub(1);
        // Should the first time be of later bytes, it is still the earliest that is known.
        let since = self.since.get(first)?.at;
        let changed = self.since[first..].iter().any(|since| since.epoch != epoch);
        (span.start < span.end).then_some(Doubt { generation, span, since, changed })
    }

    /// The reservations that a journal written anew begins with.
    pub(super) fn lines(&self, generation: Generation) -> impl Iterator<Item = Line> {
        let reservation = move |from| Reservation { generation, from, limit: self.limit };
        self.since.iter().map(move |Since { from, at, epoch }| Line::reserved(&reservation(*from), *at, *epoch))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reservation(from: u64, limit: u64) -> Reservation {
        Reservation { generation: Generation(1), from, limit }
    }

    fn doubt(reserved: &Reserved, acked: u64) -> Option<(u64, i64)> {
        reserved.doubt(Generation(1), acked, 1).map(|doubt| (doubt.span.end, doubt.since))
    }

    #[test]
    fn what_was_reserved_is_in_doubt_since_it_could_be_sent() {
        let mut reserved = Reserved::default();
        assert_eq!(doubt(&reserved, 0), None);
        reserved.add(reservation(0, 100), 10, 1);
        reserved.add(reservation(40, 100), 20, 1);
        reserved.add(reservation(90, 190), 30, 1);
        assert_eq!([0, 39, 40, 90, 189, 190].map(|acked| doubt(&reserved, acked)), {
            let at = |time| Some((190, time));
            [at(10), at(10), at(20), at(30), at(30), None]
        });
        assert!(reserved.acked(50));
        assert_eq!(doubt(&reserved, 50), Some((190, 20)));
        assert!(!reserved.acked(190));
    }

    #[test]
    fn a_new_run_does_not_make_the_bytes_of_an_earlier_one_younger() {
        let mut reserved = Reserved::default();
        reserved.add(reservation(0, 100), 10, 1);
        reserved.restarted();
        assert_eq!(reserved.add(reservation(0, 100), 50, 1), None);
        reserved.add(reservation(20, 150), 60, 1);
        assert_eq!((doubt(&reserved, 0), doubt(&reserved, 99)), (Some((150, 10)), Some((150, 10))));
        assert_eq!(doubt(&reserved, 100), Some((150, 60)));
    }

    #[test]
    fn what_was_sent_before_the_machine_started_anew_is_known_until_it_is_acked() {
        let mut reserved = Reserved::default();
        reserved.add(reservation(0, 100), 10, 1);
        reserved.restarted();
        reserved.add(reservation(100, 200), 20, 2);
        let changed = |acked, epoch| reserved.doubt(Generation(1), acked, epoch).expect("in doubt").changed;
        assert_eq!([changed(0, 2), changed(99, 2), changed(100, 2), changed(100, 3)], [true, true, false, true]);
    }

    proptest! {
        /// Whatever is sent, acked, written anew and restarted: no byte is taken to be sent later than it was, and none of
        /// those sent and not acked is beyond doubt.
        #[test]
        fn no_byte_that_was_sent_is_beyond_doubt(
            steps in prop::collection::vec((0..6u8, 1..40u64), 1..300)
        ) {
            let (mut reserved, mut time) = (Reserved::default(), 0);
            let (mut acked, mut next) = (0, 0);
            // When each byte was first sent, in any run.
            let mut sent: Vec<i64> = Vec::new();
            for (step, by) in steps {
                let by_clock = i64::try_from(by).unwrap();
                time += if step == 5 { -by_clock } else { by_clock };
                match step {
                    0 | 1 => {
                        let from = next;
                        next += by;
                        // A new run says what it sends first, as one whose clock was set back does.
                        if step == 0 || next > reserved.limit || reserved.since.iter().any(|since| since.at > time) {
                            reserved.add(reservation(from, next.max(reserved.limit) + by), time, 1);
                        }
                        while (sent.len() as u64) < next {
                            sent.push(time);
                        }
                    }
                    2 => {
                        acked = next.min(acked + by);
                        reserved.acked(acked);
                    }
                    3 => {
                        let mut anew = Reserved::default();
                        for line in reserved.lines(Generation(1)) {
                            let Line::Reserved(line) = line else { panic!("{line:?}") };
                            anew.replay(line.reservation().expect("a reservation"), line.at, line.epoch);
                        }
                        anew.floor = reserved.floor;
                        reserved = anew;
                    }
                    4 => {
                        next = acked;
                        reserved.restarted();
                    }
                    _ => {}
                }
                for (offset, at) in sent.iter().enumerate().skip(usize::try_from(acked).unwrap()) {
                    let (limit, since) = doubt(&reserved, acked).expect("bytes were sent and not acked");
                    prop_assert!((offset as u64) < limit && since <= *at, "{offset} sent at {at}: {reserved:?}");
                }
            }
        }
    }
}
