//! How many requests may be under way: additive increase, multiplicative decrease. Knows no requests and no clock.
//! Invariant: `1 <= size <= max`.

/// What was true when a request was sent: replies to requests sent before the last halving do not halve again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent(u64);

/// The concurrency window of one flow.
#[derive(Debug)]
pub struct Window {
    max: usize,
    size: usize,
    /// Successes since `size` last changed; `size` of them widen it by one.
    credit: usize,
    /// Counts the halvings.
    epoch: u64,
    /// The destination refuses for a reason that people must mend: one probe at a time.
    held: bool,
}

impl Window {
    /// Starts fully open.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let max = max.max(1);
        Self { max, size: max, credit: 0, epoch: 0, held: false }
    }

    /// Requests that may be under way now.
    #[must_use]
    pub fn size(&self) -> usize {
        if self.held { 1 } else { self.size }
    }

    /// To be kept with a request and given back with its reply.
    #[must_use]
    pub fn sent(&self) -> Sent {
        Sent(self.epoch)
    }

    /// The destination took a request. True when that ends a hold.
    pub fn succeeded(&mut self) -> bool {
        self.credit += 1;
        if self.credit >= self.size && self.size < self.max {
            self.size += 1;
            self.credit = 0;
        }
        std::mem::take(&mut self.held)
    }

    /// The destination is busy. Halves at most once per round trip.
    pub fn throttled(&mut self, sent: Sent) {
        if sent.0 == self.epoch {
            self.size = (self.size / 2).max(1);
            self.credit = 0;
            self.epoch += 1;
        }
    }

    /// The destination refuses until somebody mends something.
    pub fn held(&mut self) {
        self.held = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_throttles_of_one_round_trip_halves_once() {
        let mut window = Window::new(8);
        let sent = [window.sent(); 8];
        for sent in sent {
            window.throttled(sent);
        }
        assert_eq!(window.size(), 4);
        let sent = window.sent();
        window.throttled(sent);
        assert_eq!(window.size(), 2);
    }

    #[test]
    fn it_never_closes_and_never_exceeds_its_maximum() {
        let mut window = Window::new(3);
        for _ in 0..10 {
            let sent = window.sent();
            window.throttled(sent);
        }
        assert_eq!(window.size(), 1);
        let sizes: Vec<usize> = (0..6)
            .map(|_| {
                window.succeeded();
                window.size()
            })
            .collect();
        assert_eq!(sizes, [2, 2, 3, 3, 3, 3]);
    }

    #[test]
    fn a_hold_probes_one_at_a_time_until_a_success() {
        let mut window = Window::new(8);
        window.held();
        assert_eq!(window.size(), 1);
        assert!(window.succeeded());
        assert_eq!(window.size(), 8);
        assert!(!window.succeeded());
    }
}
