//! The metrics: their names, units and dimensions, and how they are made of what flows count. Knows no network.
//! Invariant: each request and each counted record is in exactly one of the points that were gathered.

use std::{collections::BTreeMap, sync::Arc};

use super::Source;
use crate::telemetry::{
    calls::{CallStatistics, Statistic},
    counters::FlowCounters,
};

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
    /// Each with what it had counted when it was last asked.
    flows: Vec<(Source, Totals)>,
}

/// Counters that are told by how much they grew.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    skipped: u64,
    truncated: u64,
    dead_lettered: u64,
}

impl Gatherer {
    /// Nothing of what they counted was told yet.
    pub(super) fn new(sources: Vec<Source>) -> Self {
        Self { groups: Vec::new() }.renewed(sources)
    }

    /// All that they counted until now was told, but for calls, which go to whoever gathers first.
    pub(super) fn told(sources: Vec<Source>) -> Self {
        let mut gatherer = Self::new(sources);
        for group in &mut gatherer.groups {
            group.grown();
        }
        gatherer
    }

    /// One for these; of those that are known it goes on where this one is.
    pub(super) fn renewed(&self, sources: Vec<Source>) -> Self {
        let known = |source: &Source| {
            let mut flows = self.groups.iter().flat_map(|group| &group.flows);
            let found = flows.find(|(known, _)| Arc::ptr_eq(&known.counters, &source.counters));
            found.map_or_else(Totals::default, |(_, last)| *last)
        };
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for source in sources {
            let destination = format!("{}:{}", source.kind, source.stream);
            let group = groups.entry(destination).or_insert_with_key(|destination| Group {
                destination: destination.as_str().into(),
                stream: source.stream.as_str().into(),
                flows: Vec::new(),
            });
            let last = known(&source);
            group.flows.push((source, last));
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
        self.flows.iter().for_each(|(flow, _)| calls.merge(flow.counters.calls.take()));
        let grown = self.grown();
        let behind = self.flows.iter().map(|(flow, _)| flow.status.behind()).sum();
        let seconds = self.flows.iter().map(|(flow, _)| flow.status.age().as_secs()).max().unwrap_or(0);
        let mut put = |metric, statistic| merge(points, (Arc::clone(&self.destination), metric), statistic);
        put(Metric::RecordSendAttempts, calls.attempts);
        put(Metric::RecordsSent, calls.sent);
        put(Metric::RecordSendErrors, calls.errors);
        put(Metric::BytesSent, calls.bytes);
        put(Metric::ServiceErrors, calls.failures);
        put(Metric::BytesBehind, Statistic::of(behind));
        put(Metric::SecondsBehind, Statistic::of(seconds));
        put(Metric::RecordsSkipped, Statistic::of(grown.skipped));
        put(Metric::RecordsTruncated, Statistic::of(grown.truncated));
        put(Metric::RecordsDeadLettered, Statistic::of(grown.dead_lettered));
        // The Kinesis Agent names this one by the stream alone.
        let failing = (Arc::clone(&self.stream), Metric::ConsecutiveProcessingErrors);
        merge(points, failing, Statistic::of(calls.failing));
    }

    /// What was counted since the last call, over all flows.
    fn grown(&mut self) -> Totals {
        self.flows.iter_mut().fold(Totals::default(), |sum, (flow, last)| {
            let totals = Totals::of(&flow.counters);
            let before = std::mem::replace(last, totals);
            Totals {
                skipped: sum.skipped + totals.skipped - before.skipped,
                truncated: sum.truncated + totals.truncated - before.truncated,
                dead_lettered: sum.dead_lettered + totals.dead_lettered - before.dead_lettered,
            }
        })
    }
}

impl Totals {
    fn of(counters: &FlowCounters) -> Self {
        Self {
            skipped: counters.left_out(),
            truncated: counters.truncated.get(),
            dead_lettered: counters.dead_lettered.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{calls::Answer, status::FlowStatus};

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

    #[test]
    fn flows_come_and_go_and_each_number_is_told_once() {
        let (kept, gone, new) = (source("logs"), source("logs"), source("logs"));
        kept.counters.dropped.add(3);
        gone.counters.dropped.add(4);
        let mut gatherer = Gatherer::new(vec![kept.clone(), gone.clone()]);
        let skipped = |lines: &[String]| lines.iter().find(|line| line.starts_with("RecordsSkipped")).cloned();
        assert_eq!(skipped(&gathered(&mut gatherer)).unwrap(), "RecordsSkipped KinesisStream:logs Count 1/7/7/7");
        new.counters.dropped.add(1);
        kept.counters.dropped.add(1);
        let mut gatherer = gatherer.renewed(vec![kept, new]);
        assert_eq!(skipped(&gathered(&mut gatherer)).unwrap(), "RecordsSkipped KinesisStream:logs Count 1/2/2/2");
    }
}
