//! Whose turn it is: files with something to read, rotated ones first; timers for what waits; the cap on open files.

use std::time::Instant;

use super::{Entry, FINISHED_AFTER, Fs, Key, Table, look::HOT_LOOKS};
use crate::model::Codec;

/// Bytes that were read and are not yet a record.
#[derive(Clone, Copy, Default, Debug)]
pub struct Pending {
    /// How many, at the last look.
    pub(super) len: usize,
    /// Since when there were that many.
    pub(super) since: Option<Instant>,
    /// Some of them are complete lines (of a record of several lines).
    pub(super) lines: bool,
    /// The timer that is set.
    pub(super) timer: Option<Instant>,
    /// Given up waiting: flush with the next read.
    pub(super) flush: bool,
    /// The bytes at hand were already offered for flushing, and stayed.
    pub(super) flushed: usize,
}

impl<F: Fs> Table<F> {
    /// Puts a file in the queue of those to be read.
    pub(super) fn queue(&mut self, key: Key) {
        let orphans_only = self.orphans_only;
        let e = self.entry_mut(key);
        if e.queued || e.done || e.refused || e.parked || e.doubtful || (orphans_only && !is_orphan(e)) {
            return;
        }
        e.queued = true;
        if e.rotated {
            self.ready_rotated.push_back(key);
        } else {
            self.ready.push_back(key);
        }
        self.heat(key);
    }

    /// Marks a file as one that changes: it is looked at every time.
    pub(super) fn heat(&mut self, key: Key) {
        let until = self.looks + HOT_LOOKS;
        let e = self.entry_mut(key);
        if std::mem::replace(&mut e.hot, until) == 0 {
            self.hot.push(key);
        }
    }

    /// The next file to read a chunk of: rotated ones first, then in turn.
    pub fn next_ready(&mut self) -> Option<Key> {
        let key = self.ready_rotated.pop_front().or_else(|| self.ready.pop_front())?;
        self.entry_mut(key).queued = false;
        Some(key)
    }

    /// From now on reads only what nobody could find again: files that no name leads to and that are open here.
    pub fn only_orphans(&mut self) {
        self.orphans_only = true;
        self.ready.clear();
        self.ready_rotated.clear();
        for key in self.keys() {
            self.entry_mut(key).queued = false;
            if is_orphan(self.entry(key)) {
                self.queue(key);
            } else {
                self.set_timer(key, None);
            }
        }
    }

    /// Bytes of such files that are not settled: lost when the table goes.
    pub fn orphaned(&self) -> u64 {
        let orphans = self.keys().map(|key| self.entry(key)).filter(|e| is_orphan(e) && e.codec == Codec::Plain);
        orphans.map(|e| e.size.max(e.read).saturating_sub(e.acked)).sum()
    }

    /// Whether any file has something to read.
    pub fn is_readable(&self) -> bool {
        !self.ready.is_empty() || !self.ready_rotated.is_empty()
    }

    /// When `ring` is due.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether something was found out that only another look can explain.
    pub fn wants_look(&self) -> bool {
        self.relook
    }

    /// Queues the files whose timers are due.
    pub fn ring(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            let e = self.entry_mut(key);
            e.pending.timer = None;
            if e.refused {
                e.refused = false;
                e.verify = true;
            } else {
                e.pending.flush = true;
            }
            self.queue(key);
        }
    }

    pub(super) fn set_timer(&mut self, key: Key, at: Option<Instant>) {
        let old = std::mem::replace(&mut self.entry_mut(key).pending.timer, at);
        if let Some(old) = old {
            self.timers.remove(&(old, key));
        }
        if let Some(at) = at {
            self.timers.insert((at, key));
        }
    }

    /// Sets the timer for bytes that wait at the end of a file, according to what they wait for.
    pub(super) fn arm(&mut self, key: Key, now: Instant) {
        let framing = self.framing;
        let e = self.entry(key);
        if e.refused {
            return;
        }
        let p = &e.pending;
        if p.len == 0 || p.flushed == p.len {
            return self.set_timer(key, None);
        }
        let since = p.since.unwrap_or(now);
        let finished = (e.rotated || e.lost.is_some()).then_some(FINISHED_AFTER);
        let lines = framing.lines_timeout.filter(|_| p.lines);
        let wait = [finished, lines, framing.partial_line_timeout].into_iter().flatten().min();
        self.set_timer(key, wait.map(|w| since + w));
    }

    /// Makes room for one more open file.
    pub(super) fn opened(&mut self, key: Key) {
        self.open.push_back(key);
        let mut looked = 0;
        while self.open.len() > self.most_open.get() && looked < self.open.len() {
            let oldest = self.open.pop_front().expect("the queue is longer than its cap");
            let Some(e) = self.entries[oldest.0 as usize].as_mut() else { continue };
            if oldest == key || keep_open(e) {
                self.open.push_back(oldest);
                looked += 1;
            } else {
                e.handle = None;
            }
        }
    }

    pub(super) fn close(&mut self, key: Key) {
        self.entry_mut(key).handle = None;
        self.open.retain(|k| *k != key);
    }
}

/// A file that no name leads to, and that is open.
fn is_orphan<F>(e: &Entry<F>) -> bool {
    e.lost.is_some() && e.handle.is_some() && !e.done
}

/// A file that no name leads to for sure, and that holds unread bytes, must stay open: it cannot be found again.
fn keep_open<H>(e: &Entry<H>) -> bool {
    let unread = e.codec == Codec::Plain && e.size > e.read || e.pending.len > 0;
    (e.rotated || e.lost.is_some()) && unread
}
