//! The life of the agent: waits for signals, time, reloads and ends, and decides what follows. Knows no flow's insides.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    EXIT_CONFIG, EXIT_FAILURE, EXIT_OK, Mode, ec2,
    flows::{Extent, Flows},
    limits,
    metrics::Metrics,
    progress::Progress,
    reload::{Load, Plan, Present, Refusal, Reload},
    start::{Host, Ready, Streams, Surroundings},
    systemd::Notifier,
};
use crate::{config::Config, source::tail::MostOpen};

/// Between two looks at how the flows are.
const TICK: Duration = Duration::from_millis(500);

/// A flow that could not start after a reload is tried again this often, as systemd would try the whole agent.
const RETRY: Duration = Duration::from_secs(10);

/// Most problems of a refused configuration that are logged.
const SHOWN: usize = 100;

/// What lives.
struct Life {
    flows: Flows,
    around: Surroundings,
    need: Option<ec2::Need>,
    shutdown_timeout: Duration,
    metrics: Metrics,
    systemd: Notifier,
    progress: Progress,
    limits: limits::Check,
    /// When flows that could not start were last tried again.
    retried: Instant,
    reload: Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

const LEFT: &str = "stopped before everything was delivered; the next start reads these bytes again";

/// What ended the wait for something to happen.
enum Happened {
    Tick,
    Ended,
    Hangup,
    Prepared(Result<Box<Plan>, Refusal>),
    Left,
    Stop,
}

/// Runs until the end, whichever it is; the exit code.
pub(super) async fn live(config: Config, mode: Mode, load: Load) -> anyhow::Result<u8> {
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hangup: signal(SignalKind::hangup())?,
    };
    let Some(mut life) = Box::pin(Life::start(config, mode, load)).await? else { return Ok(EXIT_CONFIG) };
    Notifier::ready();
    let mut tick = tokio::time::interval(TICK);
    loop {
        match life.happened(&mut tick, &mut signals).await {
            Happened::Tick => life.look(),
            Happened::Ended => {
                let code = life.ended();
                life.metrics.finish(Duration::MAX).await;
                return Ok(code);
            }
            Happened::Hangup => life.hung_up(),
            Happened::Prepared(prepared) => life.prepared(prepared),
            Happened::Left => life.one_left(),
            Happened::Stop => break,
        }
    }
    life.progress.finish(&life.flows);
    Notifier::stopping();
    let left = life.stop(&mut signals).await;
    life.progress.sums(&life.flows);
    life.metrics.finish(left).await;
    let interrupted = mode == Mode::Once;
    Ok(if interrupted { EXIT_FAILURE } else { EXIT_OK })
}

impl Life {
    /// Opens every journal and builds every client before anything is read, then starts all flows. `None`: the
    /// configuration is wrong, for a reason that was logged.
    async fn start(mut config: Config, mode: Mode, load: Load) -> anyhow::Result<Option<Self>> {
        let options = config.metrics.take();
        let need = ec2::Need::of(&config, options.as_ref());
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let host = Host { name, ec2: ec2::shared(need).await };
        let (streams, most_open) = (Streams::default(), MostOpen::default());
        let around = Surroundings { state_dir: config.state_dir, mode, host, streams, most_open: most_open.clone() };
        let mut ready = Vec::new();
        for options in config.flows {
            let flow = options.name.clone();
            match Box::pin(Ready::connect(options, &around)).await {
                Ok(mut flow) => {
                    flow.open()?;
                    ready.push(flow);
                }
                Err(error) => {
                    tracing::error!(flow, %error, "the flow cannot start");
                    return Ok(None);
                }
            }
        }
        let flows = Flows::start(ready, most_open)?;
        Ok(Some(Self {
            metrics: Metrics::start(options, &around.host, &flows),
            systemd: Notifier::new(),
            progress: Progress::new(mode, Instant::now()),
            limits: limits::Check::default(),
            retried: Instant::now(),
            reload: Reload::new(load),
            shutdown_timeout: config.shutdown_timeout,
            flows,
            around,
            need,
        }))
    }

    async fn happened(&mut self, tick: &mut tokio::time::Interval, signals: &mut Signals) -> Happened {
        // Without a flow there is no end to wait for: the service stays, and says that it has nothing to do.
        let may_end = self.around.mode == Mode::Once || !(self.flows.is_empty() || self.flows.is_changing());
        let Self { flows, reload, .. } = self;
        if flows.is_changing() {
            tokio::select! {
                _ = tick.tick() => Happened::Tick,
                flow = flows.one_left() => {
                    self.progress.left(&flow);
                    Happened::Left
                }
                asked = signals.next() => asked,
            }
        } else {
            tokio::select! {
                _ = tick.tick() => Happened::Tick,
                () = flows.wait_ended(), if may_end => Happened::Ended,
                prepared = reload.prepared() => Happened::Prepared(prepared.map(Box::new)),
                asked = signals.next() => asked,
            }
        }
    }

    fn look(&mut self) {
        self.systemd.report(&self.flows);
        self.progress.show(&self.flows, Instant::now());
        // What is being prepared may hold the journal of a flow that does not run.
        if self.flows.is_changing() || self.reload.is_preparing() {
            return;
        }
        self.limits.look(&self.flows);
        let now = Instant::now();
        if !self.flows.failed().is_empty() && now >= self.retried + RETRY {
            self.retried = now;
            self.flows.retry();
            self.flows_changed();
        }
    }

    /// Every flow has come to its end; the exit code.
    fn ended(&mut self) -> u8 {
        self.progress.finish(&self.flows);
        self.progress.sums(&self.flows);
        if self.flows.broken {
            return EXIT_FAILURE;
        }
        let refused = self.flows.refused();
        if refused > 0 {
            tracing::error!(files = refused, "some files could not be read; see above");
            return EXIT_FAILURE;
        }
        EXIT_OK
    }

    /// SIGHUP.
    fn hung_up(&mut self) {
        if self.around.mode == Mode::Once {
            tracing::info!(
                "SIGHUP is received and ignored: `run --once` ends with the configuration that it began with"
            );
        } else if self.reload.is_preparing() || self.flows.is_changing() {
            self.reload.once_more();
        } else {
            tracing::info!("reloading the configuration");
            Notifier::reloading();
            self.begin_reload();
        }
    }

    fn begin_reload(&mut self) {
        let (revisions, around) = (self.flows.revisions(), self.around.clone());
        self.reload.begin(Present { revisions, around, need: self.need });
    }

    /// Puts a new configuration in force, or says why not.
    fn prepared(&mut self, prepared: Result<Box<Plan>, Refusal>) {
        let plan = match prepared {
            Ok(plan) => *plan,
            Err(problems) => {
                for problem in problems.iter().take(SHOWN) {
                    tracing::error!("{problem}");
                }
                tracing::error!(
                    problems = problems.len(),
                    "the new configuration is refused, and the old one goes on; mend it and reload again"
                );
                return self.reloaded(problems.first().cloned());
            }
        };
        for warning in &plan.warnings {
            tracing::warn!("{warning}");
        }
        (self.around, self.need, self.shutdown_timeout) = (plan.around, plan.need, plan.shutdown_timeout);
        let now = Instant::now();
        let changed = self.flows.change(plan.change, now, now + self.shutdown_timeout);
        self.metrics.change(plan.metrics, &self.around.host, &self.flows);
        self.limits.again();
        let Extent { kept, changed, added, removed } = changed;
        tracing::info!(kept, changed, added, removed, "the new configuration is in force");
        if !self.flows.is_changing() {
            self.reloaded(None);
        }
    }

    /// A flow made way, and what comes after it has started.
    fn one_left(&mut self) {
        self.flows_changed();
        if !self.flows.is_changing() {
            self.reloaded(None);
        }
    }

    fn flows_changed(&mut self) {
        self.metrics.follow(&self.around.host, &self.flows);
        self.limits.again();
    }

    /// The end of a reload.
    fn reloaded(&mut self, refused: Option<String>) {
        if self.reload.is_wanted_again() {
            return self.begin_reload();
        }
        self.systemd.reloaded(refused, &self.flows);
    }

    /// Delivers what was read, until all is settled or the time is over. Hands back how much of it is left.
    async fn stop(&mut self, signals: &mut Signals) -> Duration {
        let timeout = self.shutdown_timeout;
        tracing::info!(timeout = ?timeout, "stopping: delivering what was read");
        self.flows.stop();
        let deadline = Instant::now() + timeout;
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                () = self.flows.wait_ended() => {
                    let left = self.flows.left();
                    if left == 0 {
                        tracing::info!("stopped: everything that was read is delivered");
                    } else {
                        tracing::warn!(bytes = left, "{LEFT}");
                    }
                    return deadline.saturating_duration_since(Instant::now());
                }
                () = tokio::time::sleep_until(deadline.into()) => break,
                _ = tick.tick() => self.systemd.report(&self.flows),
                _ = signals.terminate.recv() => {}
                _ = signals.interrupt.recv() => {
                    tracing::warn!("second interrupt: not waiting any longer");
                    break;
                }
            }
        }
        tracing::warn!(bytes = self.flows.outstanding(), "{LEFT}");
        Duration::ZERO
    }
}

impl Signals {
    async fn next(&mut self) -> Happened {
        tokio::select! {
            _ = self.terminate.recv() => Happened::Stop,
            _ = self.interrupt.recv() => Happened::Stop,
            _ = self.hangup.recv() => Happened::Hangup,
        }
    }
}
