//! Metrics to `CloudWatch`: gathers what flows count and sends it once an interval. Knows counters, no flow and no file.
//! Invariant: what waits to be sent is one statistic set for each metric and destination, however long nothing can be
//! sent; and whatever `CloudWatch` does, delivery does not notice.

mod points;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{MissedTickBehavior, interval_at, timeout},
};

use super::{counters::FlowCounters, limit::RateLimit, status::FlowStatus};
use crate::aws::{
    Aws, StartError,
    query::{CallError, Query, Service},
};
use points::{Gatherer, Points};

/// The namespace unless another is named.
pub const NAMESPACE: &str = "Headwater";
/// The time between two requests unless another is given.
pub const INTERVAL: Duration = Duration::from_secs(30);
/// Most dimensions beside `Destination`, and most characters of each name and value.
pub const MAX_DIMENSIONS: usize = 9;
pub const MAX_DIMENSION_CHARS: usize = 255;

const CLOUDWATCH: Service = Service { id: "CloudWatch", host: "monitoring", version: "2010-08-01" };
/// Statistic sets of one request. The service takes 1000 and 1 MB; these stay below with the longest dimensions.
const PER_REQUEST: usize = 50;
/// One warning in this time.
const WARN_EVERY: Duration = Duration::from_mins(5);

/// What to send, where to, and how often. Built by `config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub aws: Aws,
    /// 1 to 255 characters. Default [`NAMESPACE`].
    pub namespace: String,
    /// 1 s to 1 h, default [`INTERVAL`].
    pub interval: Duration,
    /// Dimensions of every metric beside `Destination`, at most [`MAX_DIMENSIONS`], with the pieces of their values.
    pub dimensions: Vec<(String, Vec<Part>)>,
}

/// A piece of a dimension's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    /// This machine's name.
    Host,
    /// Id of the EC2 instance; this machine's name where it is none, or where the id is not known at the start.
    InstanceId,
}

impl Options {
    /// The dimensions with their values.
    #[must_use]
    pub fn dimensions(&self, host: &str, instance_id: Option<&str>) -> Vec<(String, String)> {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Host => host.to_owned(),
            Part::InstanceId => instance_id.unwrap_or(host).to_owned(),
        };
        self.dimensions.iter().map(|(name, parts)| (name.clone(), parts.iter().map(text).collect())).collect()
    }

    /// Whether a dimension holds the id of the EC2 instance.
    #[must_use]
    pub fn needs_ec2(&self) -> bool {
        self.dimensions.iter().any(|(_, parts)| parts.contains(&Part::InstanceId))
    }
}

/// What one flow counts, and the destination that it counts for.
#[derive(Clone, Debug)]
pub struct Source {
    /// `KinesisStream` or `DeliveryStream`.
    pub kind: &'static str,
    /// The stream's name.
    pub stream: String,
    pub counters: Arc<FlowCounters>,
    pub status: Arc<FlowStatus>,
}

/// The running exporter.
#[derive(Debug)]
pub struct Exporter {
    sources: mpsc::UnboundedSender<Vec<Source>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts sending on `handle`, the first time after one interval. `told`: another exporter has told already what the
    /// sources counted until now.
    #[must_use]
    pub fn start(
        handle: &Handle,
        options: Options,
        dimensions: Vec<(String, String)>,
        sources: Vec<Source>,
        told: bool,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (sources_of, renewed) = mpsc::unbounded_channel();
        let run = Run {
            gatherer: if told { Gatherer::told(sources) } else { Gatherer::new(sources) },
            options,
            dimensions,
            points: Points::new(),
            client: None,
            limit: RateLimit::new(WARN_EVERY),
            failing: false,
        };
        Self { sources: sources_of, stop, task: handle.spawn(run.run(renewed, stopped)) }
    }

    /// From now on it is these that count. What others counted until now is sent with the next metrics.
    pub fn follow(&self, sources: Vec<Source>) {
        // Fails only when the task has ended, which it does not before.
        let _ = self.sources.send(sources);
    }

    /// Sends what is left, and gives up after `within`.
    pub async fn finish(self, within: Duration) {
        // Its end of the line stays until the task has ended.
        let Self { sources: _sources, stop, mut task } = self;
        // Fails only when the task has ended, which it does not before.
        let _ = stop.send(());
        if timeout(within, &mut task).await.is_err() {
            task.abort();
            tracing::warn!("the last metrics were not sent: CloudWatch did not answer in time");
        }
    }
}

struct Run {
    options: Options,
    dimensions: Vec<(String, String)>,
    gatherer: Gatherer,
    /// Not sent yet.
    points: Points,
    /// None before the first request.
    client: Option<Query>,
    limit: RateLimit,
    failing: bool,
}

/// Why metrics were not sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Run {
    async fn run(mut self, mut renewed: mpsc::UnboundedReceiver<Vec<Source>>, mut stopped: oneshot::Receiver<()>) {
        let mut tick = interval_at((Instant::now() + self.options.interval).into(), self.options.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.flush().await,
                Some(sources) = renewed.recv() => {
                    self.gatherer.gather(&mut self.points);
                    self.gatherer = self.gatherer.renewed(sources);
                }
                _ = &mut stopped => return self.flush().await,
            }
        }
    }

    async fn flush(&mut self) {
        self.gatherer.gather(&mut self.points);
        while !self.points.is_empty() {
            let batch = self.next_batch();
            if let Err(error) = self.send(&batch).await {
                for (key, statistic) in batch {
                    points::merge(&mut self.points, key, statistic);
                }
                return self.complain(&error);
            }
            if std::mem::take(&mut self.failing) {
                tracing::info!(namespace = self.options.namespace, "metrics are sent to CloudWatch again");
            }
        }
    }

    /// As much of what waits as one request holds.
    fn next_batch(&mut self) -> Points {
        let Some(next) = self.points.keys().nth(PER_REQUEST).cloned() else { return std::mem::take(&mut self.points) };
        let rest = self.points.split_off(&next);
        std::mem::replace(&mut self.points, rest)
    }

    async fn send(&mut self, batch: &Points) -> Result<(), SendError> {
        let parameters = parameters(&self.options.namespace, &self.dimensions, batch);
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Query::connect(&self.options.aws, CLOUDWATCH).await?),
        };
        client.call("PutMetricData", &parameters).await?;
        Ok(())
    }

    fn complain(&mut self, error: &SendError) {
        self.failing = true;
        let Some(suppressed) = self.limit.admit(Instant::now()) else { return };
        let remedy = match error {
            SendError::Call(e) if e.is_denied() => "allow cloudwatch:PutMetricData",
            SendError::Call(CallError::Credentials(_)) => {
                "give the host a role, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name an AWS profile"
            }
            SendError::Call(CallError::Unanswered(_)) => "check metrics.cloudwatch.endpoint_url and the way there",
            SendError::Call(CallError::Refused { .. }) | SendError::Start(_) => "",
        };
        let namespace = &self.options.namespace;
        tracing::warn!(
            namespace,
            %error,
            remedy,
            suppressed,
            "metrics were not sent to CloudWatch; they are kept and go with the next. Delivery is not affected"
        );
    }
}

/// The parameters of `PutMetricData`. Without a time stamp: the service takes the time of arrival.
fn parameters(namespace: &str, dimensions: &[(String, String)], batch: &Points) -> Vec<(String, String)> {
    let mut all = vec![("Namespace".to_owned(), namespace.to_owned())];
    for (n, ((destination, metric), statistic)) in (1..).zip(batch) {
        let mut put = |name: &str, value: String| all.push((format!("MetricData.member.{n}.{name}"), value));
        put("MetricName", metric.name().to_owned());
        put("Unit", metric.unit().to_owned());
        put("StatisticValues.SampleCount", statistic.count.to_string());
        put("StatisticValues.Sum", statistic.sum.to_string());
        put("StatisticValues.Minimum", statistic.min.to_string());
        put("StatisticValues.Maximum", statistic.max.to_string());
        let own = ("Destination", &**destination);
        let others = dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (k, (name, value)) in (1..).zip(std::iter::once(own).chain(others)) {
            put(&format!("Dimensions.member.{k}.Name"), name.to_owned());
            put(&format!("Dimensions.member.{k}.Value"), value.to_owned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{points::Metric, *};
    use crate::telemetry::calls::Statistic;

    fn options(dimensions: Vec<(String, Vec<Part>)>) -> Options {
        Options { aws: Aws::default(), namespace: NAMESPACE.to_owned(), interval: INTERVAL, dimensions }
    }

    #[test]
    fn an_instance_is_named_by_its_id_or_by_the_host() {
        let parts = vec![Part::Text("x-".to_owned()), Part::InstanceId];
        let options = options(vec![("Instance".to_owned(), parts), ("Host".to_owned(), vec![Part::Host])]);
        assert!(options.needs_ec2());
        let values = |id| options.dimensions("web-1", id).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        assert_eq!(values(Some("i-1")), ["x-i-1", "web-1"]);
        assert_eq!(values(None), ["x-web-1", "web-1"]);
    }

    #[test]
    fn a_request_holds_statistic_sets_with_all_dimensions() {
        let mut batch = Points::new();
        let statistic = Statistic { count: 2, sum: 10, min: 4, max: 6 };
        points::merge(&mut batch, ("KinesisStream:logs".into(), Metric::BytesSent), statistic);
        let all = parameters("Ns", &[("Instance".to_owned(), "web-1".to_owned())], &batch);
        let lines: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            lines,
            [
                "Namespace=Ns",
                "MetricData.member.1.MetricName=BytesSent",
                "MetricData.member.1.Unit=Bytes",
                "MetricData.member.1.StatisticValues.SampleCount=2",
                "MetricData.member.1.StatisticValues.Sum=10",
                "MetricData.member.1.StatisticValues.Minimum=4",
                "MetricData.member.1.StatisticValues.Maximum=6",
                "MetricData.member.1.Dimensions.member.1.Name=Destination",
                "MetricData.member.1.Dimensions.member.1.Value=KinesisStream:logs",
                "MetricData.member.1.Dimensions.member.2.Name=Instance",
                "MetricData.member.1.Dimensions.member.2.Value=web-1",
            ]
        );
    }

    #[test]
    fn a_full_request_stays_below_what_the_service_takes() {
        let long = || "\u{e4}".repeat(MAX_DIMENSION_CHARS / 2) + "%";
        let dimensions: Vec<_> = (0..MAX_DIMENSIONS).map(|_| (long(), long())).collect();
        let mut batch = Points::new();
        for n in 0..PER_REQUEST {
            let key = (format!("KinesisStream:{n:0128}").into(), Metric::ConsecutiveProcessingErrors);
            points::merge(&mut batch, key, Statistic::of(u64::MAX));
        }
        let encoded: usize =
            parameters(&long(), &dimensions, &batch).iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
        assert!(encoded < 1_000_000, "{encoded} bytes");
    }
}
