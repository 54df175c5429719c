//! The tools of the tests. Knows the agent only from outside: its YAML, its command line, its signals, its files.
//! Waiting is done here and nowhere else: a test says what it waits for, never for how long it hopes.

pub(crate) mod agent;
mod bucket;
pub(crate) mod cloudwatch;
pub(crate) mod consumer;
pub(crate) mod disk;
pub(crate) mod faults;
pub(crate) mod givers;
mod http;
pub(crate) mod imds;
pub(crate) mod kpl;
pub(crate) mod ledger;
pub(crate) mod moto;
pub(crate) mod notify;
pub(crate) mod proxy;
pub(crate) mod reading;
mod self_test;
pub(crate) mod shards;
pub(crate) mod site;
pub(crate) mod stand_in;
mod stream;
pub(crate) mod tally;
pub(crate) mod tls;
pub(crate) mod writer;

use std::time::{Duration, Instant};

/// How long a test waits for something that ought to happen at once. Generous: it is only spent when a test fails.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Looks every 5 ms whether `condition` holds; false when it still does not after `limit`.
#[must_use]
pub(crate) fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        pause(Duration::from_millis(5));
    }
}

/// Like `until`, with an end: the test fails and says what did not happen.
#[track_caller]
pub(crate) fn expect(what: &str, limit: Duration, condition: impl FnMut() -> bool) {
    assert!(until(limit, condition), "waited {limit:?} in vain: {what}");
}

/// For what has to last: an answer that is slow on purpose, an outage of a given length. Never for luck.
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}

/// Whether the long versions of the tests are wanted.
pub(crate) fn long() -> bool {
    std::env::var_os("HEADWATER_TEST_LONG").is_some_and(|v| v == "1")
}

/// Says on stderr, past the test harness's capture, that a test could not run here.
pub(crate) fn skipped(test: &str, reason: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {reason}");
}
