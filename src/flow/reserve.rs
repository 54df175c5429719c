//! What may be sent before another reservation is durable. Knows no disk. Time is an argument.
//! Invariant: a batch for which nothing is wanted holds no byte behind a limit that was granted.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::model::{Batch, Generation, Reservation, Span};

/// Bytes that are reserved ahead of what is to be sent: one fsync pays for so many.
const WINDOW: u64 = 8 << 20;
/// A file of which nothing is in flight for this long has its reservation taken back, so that a crash years later need not
/// look for what was sent today.
const IDLE: Duration = Duration::from_secs(10);
/// How often idle ones are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A reservation that is older is made anew, without an fsync, so that after a crash little of the stream must be read.
const RENEW_AFTER: Duration = Duration::from_secs(10);

/// The reservations of one run.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    granted: HashMap<Generation, Granted>,
    /// When idle ones were last looked for.
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Granted {
    limit: u64,
    at: Instant,
    /// Where what was sent ends, and when it was; `None`: by this run nothing.
    sent: u64,
    sent_at: Option<Instant>,
    acked: u64,
}

impl Reserve {
    /// What must be reserved before this batch is sent: of each generation with records in it, at most one.
    pub(super) fn wanted(&self, batch: &Batch, now: Instant) -> Vec<Reservation> {
        spans(batch).filter_map(|(generation, span)| self.wanted_of(generation, span.start, span.end, now)).collect()
    }

    /// The batch is sent.
    pub(super) fn sent(&mut self, batch: &Batch, now: Instant) {
        for (generation, span) in spans(batch) {
            let granted = self.granted.get_mut(&generation).expect("nothing is sent that is not reserved");
            (granted.sent, granted.sent_at) = (granted.sent.max(span.end), Some(now));
        }
    }

    /// Every byte before `end` has settled.
    pub(super) fn acked(&mut self, generation: Generation, end: u64) {
        if let Some(granted) = self.granted.get_mut(&generation) {
            granted.acked = granted.acked.max(end);
        }
    }

    /// An earlier run has reserved bytes of these, and by now it is known what of them was delivered: this is given back
    /// as soon as all of it is acked, for each start looks at whatever is reserved.
    pub(super) fn left(&mut self, generations: &[Generation], now: Instant) {
        for generation in generations {
            self.granted.entry(*generation).or_insert(Granted { limit: 0, at: now, sent: 0, sent_at: None, acked: 0 });
        }
    }

    /// Generations of which nothing is in flight, and was not for a while: another reservation is needed for them.
    pub(super) fn take_idle(&mut self, now: Instant) -> Option<Vec<Generation>> {
        if self.looked.is_some_and(|looked| now < looked + LOOK_EVERY) {
            return None;
        }
        self.looked = Some(now);
        let is_idle =
            |granted: &Granted| granted.acked >= granted.sent && granted.sent_at.is_none_or(|at| now >= at + IDLE);
        let idle: Vec<Generation> = self.granted.iter().filter(|(_, g)| is_idle(g)).map(|(id, _)| *id).collect();
        for generation in &idle {
            self.forget(*generation);
        }
        (!idle.is_empty()).then_some(idle)
    }

    fn wanted_of(&self, generation: Generation, from: u64, end: u64, now: Instant) -> Option<Reservation> {
        let ahead = Reservation { generation, from, limit: end + WINDOW };
        match self.granted.get(&generation) {
            Some(granted) if end > granted.limit => Some(ahead),
            Some(granted) if now >= granted.at + RENEW_AFTER => Some(Reservation { limit: granted.limit, ..ahead }),
            Some(_) => None,
            None => Some(ahead),
        }
    }

    /// They are durable.
    pub(super) fn granted(&mut self, reservations: &[Reservation], now: Instant) {
        for Reservation { generation, limit, .. } in reservations {
            let new = Granted { limit: 0, at: now, sent: 0, sent_at: Some(now), acked: 0 };
            let granted = self.granted.entry(*generation).or_insert(new);
            (granted.limit, granted.at) = (*limit, now);
        }
    }

    /// The generation is gone for good.
    pub(super) fn forget(&mut self, generation: Generation) {
        self.granted.remove(&generation);
    }

    /// Whether a reservation reaches beyond what was granted, so that it must survive a power cut.
    pub(super) fn is_ahead(&self, reservation: &Reservation) -> bool {
        self.granted.get(&reservation.generation).is_none_or(|granted| reservation.limit > granted.limit)
    }
}

/// What a batch holds of each generation with records in it, from the first to the last byte.
fn spans(batch: &Batch) -> impl Iterator<Item = (Generation, Span)> {
    let mut spans: Vec<Option<Span>> = vec![None; batch.files.len()];
    for record in &batch.records {
        let span = spans[record.file as usize].get_or_insert(record.span);
        *span = Span { start: span.start.min(record.span.start), end: span.end.max(record.span.end) };
    }
    batch.files.iter().zip(spans).filter_map(|(file, span)| Some((file.generation, span?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::testing::batch_of;

    fn batch(from: u64, len: usize) -> Batch {
        let line = vec![b'x'; len];
        let mut batch = batch_of(0, &[&line]);
        (batch.records[0].span.start, batch.records[0].span.end) = (from, from + len as u64);
        batch
    }

    #[test]
    fn one_reservation_lasts_for_a_window_and_is_renewed_without_reaching_further() {
        let (mut reserve, now) = (Reserve::default(), Instant::now());
        let mut extended = 0;
        let mut sent = 0;
        for n in 0..100 {
            let batch = batch(n << 20, 1 << 20);
            let wanted = reserve.wanted(&batch, now);
            extended += wanted.iter().filter(|r| reserve.is_ahead(r)).count();
            reserve.granted(&wanted, now);
            assert_eq!(reserve.wanted(&batch, now), []);
            sent = batch.records[0].span.end;
        }
        assert_eq!(extended as u64, sent / (WINDOW + (1 << 20)) + 1);
        let later = now + RENEW_AFTER;
        let renewed = reserve.wanted(&batch(sent, 10), later);
        assert!(renewed.len() == 1 && renewed[0].from == sent && !reserve.is_ahead(&renewed[0]), "{renewed:?}");
    }

    #[test]
    fn what_is_acked_and_idle_is_given_back_and_what_is_in_flight_is_not() {
        let (mut reserve, now) = (Reserve::default(), Instant::now());
        let batch = batch(0, 100);
        let generation = batch.files[0].generation;
        let wanted = reserve.wanted(&batch, now);
        reserve.granted(&wanted, now);
        reserve.sent(&batch, now);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(reserve.take_idle(after(20)), None, "in flight");
        reserve.acked(generation, 100);
        assert_eq!(reserve.take_idle(now + Duration::from_millis(20_500)), None, "looked for a moment ago");
        assert_eq!(reserve.take_idle(after(40)), Some(vec![generation]));
        assert_eq!(reserve.wanted(&batch, after(41)).len(), 1);
    }

    #[test]
    fn what_an_earlier_run_reserved_is_given_back_at_once_unless_more_is_sent_of_it() {
        let (mut reserve, now) = (Reserve::default(), Instant::now());
        let (more, done) = (batch(0, 100), Generation(77));
        let generation = more.files[0].generation;
        reserve.left(&[generation, done], now);
        let wanted = reserve.wanted(&more, now);
        assert!(wanted.len() == 1 && reserve.is_ahead(&wanted[0]), "{wanted:?}");
        reserve.granted(&wanted, now);
        reserve.sent(&more, now);
        assert_eq!(reserve.take_idle(now), Some(vec![done]));
        assert_eq!(reserve.take_idle(now + LOOK_EVERY), None);
    }

    #[test]
    fn a_batch_without_records_needs_none() {
        assert_eq!(Reserve::default().wanted(&batch_of(0, &[]), Instant::now()), []);
    }
}
