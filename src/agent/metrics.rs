//! The metrics of a running agent: which exporter sends them, and of which flows. Knows no metric.

use std::time::Duration;

use tokio::runtime::Handle;

use super::{ec2, flows::Flows, start::Host};
use crate::telemetry::cloudwatch::{Exporter, Options};

/// How long the last metrics may take.
const LAST: Duration = Duration::from_secs(2);

/// What the configuration says of metrics, and who carries it out.
#[derive(Default)]
pub(super) struct Metrics {
    options: Option<Options>,
    /// None, if nothing is to be sent or no flow makes any.
    exporter: Option<Exporter>,
}

impl Metrics {
    /// Starts sending.
    pub(super) fn start(options: Option<Options>, host: &Host, flows: &Flows) -> Self {
        let exporter = options.clone().and_then(|options| export(options, host, flows, false));
        Self { options, exporter }
    }

    /// The flows are others now, and perhaps the options.
    pub(super) fn change(&mut self, options: Option<Options>, host: &Host, flows: &Flows) {
        if options == self.options
            && let Some(exporter) = &self.exporter
        {
            return exporter.follow(flows.sources());
        }
        if self.exporter.is_none() {
            for source in flows.sources() {
                let _ = source.counters.calls.take();
            }
        }
        // An exporter that goes tells what was counted until now; and nobody asked for what was counted before there was one.
        let next = options.clone().and_then(|options| export(options, host, flows, true));
        if let Some(old) = std::mem::replace(&mut self.exporter, next) {
            tokio::spawn(old.finish(LAST));
        }
        self.options = options;
    }

    /// The flows are others now.
    pub(super) fn follow(&mut self, host: &Host, flows: &Flows) {
        match &self.exporter {
            Some(exporter) => exporter.follow(flows.sources()),
            None => self.exporter = self.options.clone().and_then(|options| export(options, host, flows, false)),
        }
    }

    /// Sends the last metrics, within this time.
    pub(super) async fn finish(self, within: Duration) {
        if let Some(exporter) = self.exporter {
            exporter.finish(LAST.min(within)).await;
        }
    }
}

fn export(options: Options, host: &Host, flows: &Flows, told: bool) -> Option<Exporter> {
    let sources = flows.sources();
    if sources.is_empty() {
        return None;
    }
    let dimensions = options.dimensions(&host.name, ec2::instance_id(&host.ec2).as_deref());
    Some(Exporter::start(&Handle::current(), options, dimensions, sources, told))
}
