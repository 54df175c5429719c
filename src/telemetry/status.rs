//! How one flow is doing, written by its thread and read by whoever reports. Knows no reporter.
//! Invariant: `turns` grows as long as the flow's thread is not stuck.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Numbers of one flow as of its last turn.
#[derive(Debug, Default)]
pub struct FlowStatus {
    files: AtomicU64,
    behind: AtomicU64,
    behind_ms: AtomicU64,
    outstanding: AtomicU64,
    in_flight: AtomicU64,
    turns: AtomicU64,
    looked: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl FlowStatus {
    /// The thread went round once.
    pub fn turned(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Files followed, bytes in them not yet settled, age of the oldest of these.
    pub fn set_files(&self, files: usize, behind: u64, age: Duration) {
        self.files.store(files as u64, Ordering::Relaxed);
        self.behind.store(behind, Ordering::Relaxed);
        self.behind_ms.store(u64::try_from(age.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.looked.store(true, Ordering::Release);
    }

    /// Bytes read and not yet settled.
    pub fn set_outstanding(&self, bytes: usize) {
        self.outstanding.store(bytes as u64, Ordering::Relaxed);
    }

    /// What the operator should see to, if anything.
    pub fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Batches handed over and not settled.
    pub fn set_in_flight(&self, batches: usize) {
        self.in_flight.store(batches as u64, Ordering::Relaxed);
    }

    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn behind(&self) -> u64 {
        self.behind.load(Ordering::Relaxed)
    }

    /// How old the oldest data is that is not settled, as far as that can be told; 0 when all is.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.behind_ms.load(Ordering::Relaxed))
    }

    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.outstanding.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Whether the flow knows its files.
    #[must_use]
    pub fn has_looked(&self) -> bool {
        self.looked.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
