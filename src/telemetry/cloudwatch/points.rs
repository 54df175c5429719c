//! The metrics: their names, units and dimensions, and how they are made of what flows count. Knows no network.
//! Invariant: each request and each counted record is in exactly one of the points that were gathered.

use std::{collections::BTreeMap, sync::Arc};

use super::Source;
use crate::telemetry::calls::{CallStatistics, Statistic};

/// A metric. docs/METRICS.md describes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Metric {
    RecordSendAttempts,
    RecordsSent,
    RecordSendErrors,
    BytesSent,
    ServiceErrors,
    ConsecutiveProcessingErrors,
    BytesBehind,
    SecondsBehind,
    RecordsSkipped,
    RecordsTruncated,
    RecordsDeadLettered,
}

impl Metric {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RecordSendAttempts => "RecordSendAttempts",
            Self::RecordsSent => "RecordsSent",
            Self::RecordSendErrors => "RecordSendErrors",
            Self::BytesSent => "BytesSent",
            Self::ServiceErrors => "ServiceErrors",
            Self::ConsecutiveProcessingErrors => "ConsecutiveProcessingErrors",
            Self::BytesBehind => "BytesBehind",
            Self::SecondsBehind => "SecondsBehind",
            Self::RecordsSkipped => "RecordsSkipped",
            Self::RecordsTruncated => "RecordsTruncated",
            Self::RecordsDeadLettered => "RecordsDeadLettered",
        }
    }

    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::BytesSent | Self::BytesBehind => "Bytes",
            Self::SecondsBehind => "Seconds",
            _ => "Count",
        }
    }
}

/// What is to be sent: a statistic set for each metric and value of the dimension `Destination`.
pub(super) type Points = BTreeMap<(Arc<str>, Metric), Statistic>;

/// Adds a statistic to what is already there of its metric.
pub(super) fn merge(points: &mut Points, key: (Arc<str>, Metric), statistic: Statistic) {
    if statistic.count > 0 {
        points.entry(key).or_default().merge(statistic);
    }
}

/// Makes points of what flows count, those of one destination together.
#[derive(Debug)]
pub(super) struct Gatherer {
    groups: Vec<Group>,
}

/// The flows to one destination.
#[derive(Debug)]
struct Group {
    /// `KinesisStream:NAME`.
    destination: Arc<str>,
    /// `NAME`.
    stream: Arc<str>,
    flows: Vec<Source>,
    last: Totals,
}

/// Counters that are told by how much they grew.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    skipped: u64,
    truncated: u64,
    dead_lettered: u64,
}

impl Gatherer {
    pub(super) fn new(sources: Vec<Source>) -> Self {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for source in sources {
            let destination = format!("{}:{}", source.kind, source.stream);
            let group = groups.entry(destination).or_insert_with_key(|destination| Group {
                destination: destination.as_str().into(),
                stream: source.stream.as_str().into(),
                flows: Vec::new(),
                last: Totals::default(),
            });
            group.flows.push(source);
        }
        Self { groups: groups.into_values().collect() }
    }

    /// Adds what happened since the last call.
    pub(super) fn gather(&mut self, points: &mut Points) {
        self.groups.iter_mut().for_each(|group| group.gather(points));
    }
}

impl Group {
    fn gather(&mut self, points: &mut Points) {
        let mut calls = CallStatistics::default();
        self.flows.iter().for_each(|flow| calls.merge(flow.counters.calls.take()));
        let totals = self.totals();
        let last = std::mem::replace(&mut self.last, totals);
        let behind = self.flows.iter().map(|flow| flow.status.behind()).sum();
        let seconds = self.flows.iter().map(|flow| flow.status.age().as_secs()).max().unwrap_or(0);
        let mut put = |metric, statistic| merge(points, (Arc::clone(&self.destination), metric), statistic);
        put(Metric::RecordSendAttempts, calls.attempts);
        put(Metric::RecordsSent, calls.sent);
        put(Metric::RecordSendErrors, calls.errors);
        put(Metric::BytesSent, calls.bytes);
        put(Metric::ServiceErrors, calls.failures);
        put(Metric::BytesBehind, Statistic::of(behind));
        put(Metric::SecondsBehind, Statistic::of(seconds));
        put(Metric::RecordsSkipped, Statistic::of(totals.skipped - last.skipped));
        put(Metric::RecordsTruncated, Statistic::of(totals.truncated - last.truncated));
        put(Metric::RecordsDeadLettered, Statistic::of(totals.dead_lettered - last.dead_lettered));
        // The Kinesis Agent names this one by the stream alone.
        let failing = (Arc::clone(&self.stream), Metric::ConsecutiveProcessingErrors);
        merge(points, failing, Statistic::of(calls.failing));
    }

    fn totals(&self) -> Totals {
        self.flows.iter().fold(Totals::default(), |sum, flow| Totals {
            skipped: sum.skipped + flow.counters.left_out(),
            truncated: sum.truncated + flow.counters.truncated.get(),
            dead_lettered: sum.dead_lettered + flow.counters.dead_lettered.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{calls::Answer, counters::FlowCounters, status::FlowStatus};

    fn source(stream: &str) -> Source {
        Source {
            kind: "KinesisStream",
            stream: stream.to_owned(),
            counters: Arc::new(FlowCounters::default()),
            status: Arc::new(FlowStatus::default()),
        }
    }

    fn gathered(gatherer: &mut Gatherer) -> Vec<String> {
        let mut points = Points::new();
        gatherer.gather(&mut points);
        points
            .iter()
            .map(|((destination, metric), s)| {
                format!("{} {destination} {} {}/{}/{}/{}", metric.name(), metric.unit(), s.count, s.sum, s.min, s.max)
            })
            .collect()
    }

    #[test]
    fn flows_to_one_destination_make_one_point_of_each_metric() {
        let (a, b) = (source("logs"), source("logs"));
        a.counters.calls.record(10, Answer::Taken { sent: 9, bytes: 900, errors: 1 });
        b.counters.calls.record(4, Answer::Failed);
        a.counters.dropped.add(3);
        b.counters.skipped.add(3);
        b.counters.over_limit.add(1);
        b.counters.dead_lettered.add(1);
        a.status.set_files(1, 100, Duration::from_secs(5));
        b.status.set_files(2, 10, Duration::from_secs(7));
        let mut gatherer = Gatherer::new(vec![a, b]);
        assert_eq!(
            gathered(&mut gatherer),
            [
                "RecordSendAttempts KinesisStream:logs Count 2/14/4/10",
                "RecordsSent KinesisStream:logs Count 1/9/9/9",
                "RecordSendErrors KinesisStream:logs Count 1/1/1/1",
                "BytesSent KinesisStream:logs Bytes 1/900/900/900",
                "ServiceErrors KinesisStream:logs Count 2/1/0/1",
                "BytesBehind KinesisStream:logs Bytes 1/110/110/110",
                "SecondsBehind KinesisStream:logs Seconds 1/7/7/7",
                "RecordsSkipped KinesisStream:logs Count 1/7/7/7",
                "RecordsTruncated KinesisStream:logs Count 1/0/0/0",
                "RecordsDeadLettered KinesisStream:logs Count 1/1/1/1",
                "ConsecutiveProcessingErrors logs Count 1/1/1/1",
            ]
        );
        let quiet = gathered(&mut gatherer);
        assert!(quiet.contains(&"RecordsSkipped KinesisStream:logs Count 1/0/0/0".to_owned()), "{quiet:?}");
        assert!(!quiet.iter().any(|line| line.starts_with("RecordsSent")), "no request, no point: {quiet:?}");
    }

    #[test]
    fn what_could_not_be_sent_is_merged_into_what_comes_next() {
        let source = source("logs");
        let counters = Arc::clone(&source.counters);
        let mut gatherer = Gatherer::new(vec![source]);
        let mut points = Points::new();
        for sent in [5, 3, 8] {
            counters.calls.record(10, Answer::Taken { sent, bytes: 1, errors: 0 });
            gatherer.gather(&mut points);
        }
        assert_eq!(points.len(), 11);
        let sent = points[&("KinesisStream:logs".into(), Metric::RecordsSent)];
        assert_eq!(sent, Statistic { count: 3, sum: 16, min: 3, max: 8 });
    }
}
