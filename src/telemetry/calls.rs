//! Statistics of the requests to one destination, for whoever exports them. Knows neither who counts nor who exports.
//! Invariant: each request is in exactly one of the statistics that were taken.

use std::sync::{Mutex, PoisonError};

/// Number, sum, least and greatest of some values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistic {
    /// 0: nothing else counts.
    pub count: u64,
    pub sum: u64,
    pub min: u64,
    pub max: u64,
}

impl Statistic {
    /// Of one value.
    #[must_use]
    pub fn of(value: u64) -> Self {
        Self { count: 1, sum: value, min: value, max: value }
    }

    /// Adds the values of another one.
    pub fn merge(&mut self, other: Self) {
        if self.count == 0 || other.count == 0 {
            *self = if self.count == 0 { other } else { *self };
            return;
        }
        *self = Self {
            count: self.count + other.count,
            sum: self.sum.saturating_add(other.sum),
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        };
    }
}

/// What the service said to one request as a whole.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// It took records, these bytes in all, and refused others for the moment or for good.
    Taken { sent: u64, bytes: u64, errors: u64 },
    /// It refused the request, or did not answer.
    Failed,
}

/// What was counted since it was last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallStatistics {
    /// Records in each request.
    pub attempts: Statistic,
    /// Records taken by each request that was answered.
    pub sent: Statistic,
    /// Records refused by each request that was answered.
    pub errors: Statistic,
    /// Bytes of data taken by each request that was answered.
    pub bytes: Statistic,
    /// 1 for each request that failed as a whole, 0 for the others.
    pub failures: Statistic,
    /// Requests in a row, up to now, that delivered nothing. Taking leaves it as it is.
    pub failing: u64,
}

impl CallStatistics {
    /// Adds those of another flow to the same destination.
    pub fn merge(&mut self, other: Self) {
        self.attempts.merge(other.attempts);
        self.sent.merge(other.sent);
        self.errors.merge(other.errors);
        self.bytes.merge(other.bytes);
        self.failures.merge(other.failures);
        self.failing = self.failing.max(other.failing);
    }
}

/// The statistics of one flow's requests. Locked once a request, never for longer than an addition.
#[derive(Debug, Default)]
pub struct Calls(Mutex<CallStatistics>);

impl Calls {
    /// One request with this many records.
    pub fn record(&self, records: u64, answer: Answer) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.attempts.merge(Statistic::of(records));
        all.failures.merge(Statistic::of(u64::from(matches!(answer, Answer::Failed))));
        let delivered = matches!(answer, Answer::Taken { sent, .. } if sent > 0);
        all.failing = if delivered { 0 } else { all.failing.saturating_add(1) };
        if let Answer::Taken { sent, bytes, errors } = answer {
            all.sent.merge(Statistic::of(sent));
            all.bytes.merge(Statistic::of(bytes));
            all.errors.merge(Statistic::of(errors));
        }
    }

    /// What was counted since the last call. There must be one taker.
    #[must_use]
    pub fn take(&self) -> CallStatistics {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = CallStatistics { failing: all.failing, ..CallStatistics::default() };
        std::mem::replace(&mut all, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_is_the_same_as_counting_all_values_at_once() {
        let all = |values: &[u64]| {
            let mut all = Statistic::default();
            for v in values {
                all.merge(Statistic::of(*v));
            }
            all
        };
        let mut merged = all(&[3, 9]);
        merged.merge(all(&[]));
        merged.merge(all(&[1, 4]));
        assert_eq!(merged, all(&[3, 9, 1, 4]));
        assert_eq!(merged, Statistic { count: 4, sum: 17, min: 1, max: 9 });
    }

    #[test]
    fn each_request_is_taken_once_and_the_row_of_failures_goes_on() {
        let calls = Calls::default();
        calls.record(10, Answer::Taken { sent: 8, bytes: 800, errors: 2 });
        calls.record(4, Answer::Failed);
        calls.record(4, Answer::Taken { sent: 0, bytes: 0, errors: 4 });
        let taken = calls.take();
        assert_eq!(taken.attempts, Statistic { count: 3, sum: 18, min: 4, max: 10 });
        assert_eq!(taken.sent, Statistic { count: 2, sum: 8, min: 0, max: 8 });
        assert_eq!(taken.errors, Statistic { count: 2, sum: 6, min: 2, max: 4 });
        assert_eq!(taken.bytes.sum, 800);
        assert_eq!(taken.failures, Statistic { count: 3, sum: 1, min: 0, max: 1 });
        assert_eq!(taken.failing, 2);
        calls.record(4, Answer::Failed);
        assert_eq!((calls.take().attempts.count, calls.take().failing), (1, 3));
        calls.record(4, Answer::Taken { sent: 1, bytes: 1, errors: 3 });
        assert_eq!(calls.take().failing, 0);
    }
}
