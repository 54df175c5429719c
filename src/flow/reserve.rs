//! What may be sent before another reservation is durable. Knows no disk. Time is an argument.
//! Invariant: a batch for which nothing is wanted holds no byte behind a limit that was granted.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::model::{Batch, Generation, Reservation};

/// Bytes that are reserved ahead of what is to be sent: one fsync pays for so many.
const WINDOW: u64 = 8 << 20;
/// A reservation that is older is made anew, without an fsync, so that after a crash little of the stream must be read.
const RENEW_AFTER: Duration = Duration::from_secs(10);

/// The reservations of one run.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    granted: HashMap<Generation, Granted>,
}

#[derive(Debug)]
struct Granted {
    limit: u64,
    at: Instant,
}

impl Reserve {
    /// What must be reserved before this batch is sent: of each generation with records in it, at most one.
    pub(super) fn wanted(&self, batch: &Batch, now: Instant) -> Vec<Reservation> {
        let mut spans: Vec<Option<(u64, u64)>> = vec![None; batch.files.len()];
        for record in &batch.records {
            let span = &mut spans[record.file as usize];
            let (start, end) = span.unwrap_or((record.span.start, record.span.end));
            *span = Some((start.min(record.span.start), end.max(record.span.end)));
        }
        let spans = batch.files.iter().zip(spans).filter_map(|(file, span)| Some((file.generation, span?)));
        spans.filter_map(|(generation, (from, end))| self.wanted_of(generation, from, end, now)).collect()
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
            self.granted.insert(*generation, Granted { limit: *limit, at: now });
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
    fn a_batch_without_records_needs_none() {
        assert_eq!(Reserve::default().wanted(&batch_of(0, &[]), Instant::now()), []);
    }
}
