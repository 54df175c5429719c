//! The composition root: builds the flows, owns signals, the drain deadline and the exit code. Knows no records.
//! Invariant: life ends here and nowhere else, at the latest `shutdown_timeout` after it was asked to.

mod ec2;
mod flows;
pub mod lock;
mod progress;
mod systemd;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};

use crate::{
    config::Config,
    record::{self, pipeline::Pipeline},
    telemetry::cloudwatch::{self, Exporter},
};
use flows::{Flows, Host, Running};

/// Everything was delivered, or a stop was clean.
pub const EXIT_OK: u8 = 0;
/// Anything but the configuration went wrong.
pub const EXIT_FAILURE: u8 = 1;
/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// How long the last metrics may take, within what a stop may take.
const LAST_METRICS: Duration = Duration::from_secs(2);
/// What is known of the EC2 instance is asked again after this time, unless a flow says otherwise.
const EC2_MAX_AGE: Duration = Duration::from_hours(1);

/// How long to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Until a signal.
    Follow,
    /// Until everything up to the present end of every file is delivered.
    Once,
}

/// Runs the agent to its end.
pub fn run(config: Config, mode: Mode) -> anyhow::Result<u8> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let _lock = lock::take(&config.state_dir)?;
    raise_file_limit();
    // Two threads: one can wait for a disk or a name server while the other goes on sending.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("headwater-send")
        .enable_all()
        .build()
        .context("cannot start the sending threads")?;
    let code = runtime.block_on(live(config, mode));
    // Whatever still runs holds nothing that was not counted as unsettled.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn live(mut config: Config, mode: Mode) -> anyhow::Result<u8> {
    let metrics = config.metrics.take();
    let timeout = config.shutdown_timeout;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let host = host(&config, metrics.as_ref()).await;
    let mut flows = match Box::pin(Flows::start(config, mode, &host)).await? {
        Running::Yes(flows) => flows,
        Running::Misconfigured => return Ok(EXIT_CONFIG),
    };
    let mut systemd = systemd::Notifier::new();
    let metrics = metrics.and_then(|options| export(options, &host, &flows));
    let mut progress = progress::Progress::new(mode, Instant::now());
    // Without a flow there is no end to wait for: the service stays, and says that it has nothing to do.
    let idle = mode == Mode::Follow && flows.flows.is_empty();
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    systemd::Notifier::ready();
    loop {
        tokio::select! {
            _ = tick.tick() => {
                systemd.report(&flows);
                progress.show(&flows, Instant::now());
            }
            () = flows.wait_ended(), if !idle => {
                progress.finish(&flows);
                progress.sums(&flows);
                finish(metrics, LAST_METRICS).await;
                return Ok(ended(&flows));
            }
            _ = hangup.recv() => tracing::info!("SIGHUP is received and ignored: restart to read the configuration anew"),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    progress.finish(&flows);
    systemd::Notifier::stopping();
    let left = stop(&mut flows, timeout, &mut systemd, &mut terminate, &mut interrupt).await;
    progress.sums(&flows);
    finish(metrics, LAST_METRICS.min(left)).await;
    let interrupted = mode == Mode::Once;
    Ok(if interrupted { EXIT_FAILURE } else { EXIT_OK })
}

/// This machine, and the EC2 instance that it is where somebody wants to know.
async fn host(config: &Config, metrics: Option<&cloudwatch::Options>) -> Host {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let pipelines = || config.flows.iter().map(|flow| &flow.pipeline);
    let wanted = metrics.is_some_and(cloudwatch::Options::needs_ec2) || pipelines().any(Pipeline::needs_ec2);
    if !wanted {
        return Host { name, ec2: record::ec2::Shared::default() };
    }
    let max_age = pipelines().filter_map(Pipeline::ec2_max_age).min().unwrap_or(EC2_MAX_AGE);
    let tags = pipelines().any(Pipeline::needs_ec2_tags);
    Host { name, ec2: ec2::start(ec2::Need { tags, max_age }).await }
}

/// Starts sending metrics, if a flow makes any.
fn export(options: cloudwatch::Options, host: &Host, flows: &Flows) -> Option<Exporter> {
    let sources = flows.sources();
    if sources.is_empty() {
        return None;
    }
    let dimensions = options.dimensions(&host.name, ec2::instance_id(&host.ec2).as_deref());
    Some(Exporter::start(&Handle::current(), options, dimensions, sources))
}

/// Sends the last metrics.
async fn finish(metrics: Option<Exporter>, within: Duration) {
    if let Some(exporter) = metrics {
        exporter.finish(within).await;
    }
}

/// Delivers what was read, until all is settled or the time is over. Hands back how much of it is left.
async fn stop(
    flows: &mut Flows,
    timeout: Duration,
    systemd: &mut systemd::Notifier,
    terminate: &mut tokio::signal::unix::Signal,
    interrupt: &mut tokio::signal::unix::Signal,
) -> Duration {
    tracing::info!(timeout = ?timeout, "stopping: delivering what was read");
    flows.stop();
    let deadline = Instant::now() + timeout;
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            () = flows.wait_ended() => {
                tracing::info!("stopped: everything that was read is delivered");
                return deadline.saturating_duration_since(Instant::now());
            }
            () = tokio::time::sleep_until(deadline.into()) => break,
            _ = tick.tick() => systemd.report(flows),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {
                tracing::warn!("second interrupt: not waiting any longer");
                break;
            }
        }
    }
    tracing::warn!(
        bytes = flows.outstanding(),
        "stopped before everything was delivered; the next start reads these bytes again"
    );
    Duration::ZERO
}

fn ended(flows: &Flows) -> u8 {
    if flows.broken {
        return EXIT_FAILURE;
    }
    let refused = flows.refused();
    if refused > 0 {
        tracing::error!(files = refused, "some files could not be read; see above");
        return EXIT_FAILURE;
    }
    EXIT_OK
}

/// Many files need many descriptors: takes what the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
