//! What the log says of records that a parser did not match: a sample. Knows no parser and no clock.
//! Invariant: nothing is formatted for a record that is not shown, and every such record is counted by the next that is.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use crate::{
    model::{FileRef, Span},
    telemetry::limit::RateLimit,
};

/// A flow shows one record in this time.
const PERIOD: Duration = Duration::from_mins(1);
/// Bytes of a record that are shown.
const SHOWN: usize = 200;

/// The sample of one flow.
#[derive(Debug)]
pub(super) struct Sample {
    flow: String,
    limit: RateLimit,
}

impl Sample {
    pub(super) fn new(flow: String) -> Self {
        Self { flow, limit: RateLimit::new(PERIOD) }
    }

    /// Takes note of a record that did not match.
    pub(super) fn take(&mut self, file: &FileRef, span: Span, why: &dyn Display, record: &[u8], now: Instant) {
        let Some(suppressed) = self.limit.admit(now) else { return };
        tracing::warn!(
            flow = self.flow,
            path = %file.path.display(),
            offset = span.start,
            reason = %why,
            record = excerpt(record),
            suppressed,
            "a record does not match; others like it are counted and shown once a minute"
        );
    }
}

/// The first bytes of a record. The log escapes what it quotes.
fn excerpt(record: &[u8]) -> String {
    let line = record.trim_ascii_end();
    let shown = &line[..line.len().min(SHOWN)];
    let more = if shown.len() < line.len() { "..." } else { "" };
    format!("{}{more}", String::from_utf8_lossy(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_text() {
        assert_eq!(excerpt(b"a\xffb\r\n"), "a\u{fffd}b");
        assert_eq!(excerpt(&[b'x'; 300]), format!("{}...", "x".repeat(200)));
    }
}
