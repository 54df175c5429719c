//! A new configuration for a running agent: loaded, compared with what runs, and its destinations tried, all before anything
//! is touched. Knows no signals and changes nothing itself.

use std::{collections::HashMap, future, path::PathBuf, sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use super::{
    ec2,
    flows::Change,
    start::{Ready, Surroundings},
};
use crate::{
    config::{Config, Problems},
    flow::Revision,
    telemetry::cloudwatch,
};

/// How long reading the files of a configuration may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Reads the configuration anew.
pub type Load = Arc<dyn Fn() -> Result<Config, Problems> + Send + Sync>;

/// A configuration that can be put in force.
pub(super) struct Plan {
    pub(super) change: Change,
    pub(super) warnings: Vec<String>,
    pub(super) shutdown_timeout: Duration,
    pub(super) metrics: Option<cloudwatch::Options>,
    pub(super) around: Surroundings,
    pub(super) need: Option<ec2::Need>,
}

/// Why the configuration that runs goes on: one line each.
pub(super) type Refusal = Vec<String>;

/// The reload that is under way, if one is.
pub(super) struct Reload {
    load: Load,
    preparing: Option<JoinHandle<Result<Plan, Refusal>>>,
    /// It was asked for again meanwhile: the files may have changed after they were read.
    again: bool,
}

/// What runs.
pub(super) struct Present {
    pub(super) revisions: HashMap<String, Revision>,
    pub(super) around: Surroundings,
    pub(super) need: Option<ec2::Need>,
}

impl Reload {
    pub(super) fn new(load: Load) -> Self {
        Self { load, preparing: None, again: false }
    }

    /// Begins.
    pub(super) fn begin(&mut self, present: Present) {
        let load = Arc::clone(&self.load);
        self.again = false;
        self.preparing = Some(tokio::spawn(prepare(load, present)));
    }

    /// Takes note that there has to be one more after this.
    pub(super) fn once_more(&mut self) {
        self.again = true;
    }

    /// Whether there has to be one more.
    pub(super) fn is_wanted_again(&self) -> bool {
        self.again
    }

    pub(super) fn is_preparing(&self) -> bool {
        self.preparing.is_some()
    }

    /// Comes back with what is to be done. Never, if nothing was begun.
    pub(super) async fn prepared(&mut self) -> Result<Plan, Refusal> {
        let Some(preparing) = &mut self.preparing else { return future::pending().await };
        let prepared = preparing.await;
        self.preparing = None;
        prepared.unwrap_or_else(|error| Err(vec![format!("it could not be read: {error}")]))
    }
}

async fn prepare(load: Load, present: Present) -> Result<Plan, Refusal> {
    let loaded = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(move || load())).await;
    let Ok(loaded) = loaded else { return Err(vec![format!("it could not be read within {PATIENCE:?}")]) };
    let config = match loaded {
        Ok(Ok(config)) => config,
        Ok(Err(problems)) => return Err(problems.iter().map(ToString::to_string).collect()),
        Err(error) => return Err(vec![format!("it could not be read: {error}")]),
    };
    let Present { revisions, mut around, need: old_need } = present;
    unmoved(&around.state_dir, &config.state_dir)?;
    let need = ec2::Need::of(&config, config.metrics.as_ref());
    if need != old_need {
        around.host.ec2 = ec2::shared(need).await;
    }
    let order = config.flows.iter().map(|flow| flow.name.clone()).collect();
    let (mut ready, mut refused) = (Vec::new(), Refusal::new());
    for options in config.flows {
        let (name, running) = (options.name.clone(), revisions.get(&options.name));
        if running.is_some_and(|revision| *revision == options.revision()) {
            continue;
        }
        match Box::pin(prepare_flow(options, &around, running.is_none())).await {
            Ok(flow) => ready.push(flow),
            Err(error) => refused.push(format!("flow {name}: {error:#}")),
        }
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    Ok(Plan {
        change: Change { order, ready },
        warnings: config.warnings,
        shutdown_timeout: config.shutdown_timeout,
        metrics: config.metrics,
        around,
        need,
    })
}

/// A flow that can start at once if it is `new`; else, when the one before it has ended.
async fn prepare_flow(options: crate::flow::Options, around: &Surroundings, new: bool) -> anyhow::Result<Ready> {
    let mut ready = Box::pin(Ready::connect(options, around)).await?;
    if new {
        ready.open()?;
    }
    Ok(ready)
}

fn unmoved(now: &PathBuf, wanted: &PathBuf) -> Result<(), Refusal> {
    if now == wanted {
        return Ok(());
    }
    let (now, wanted) = (now.display(), wanted.display());
    Err(vec![format!(
        "state_dir: cannot change from {now} to {wanted} without a restart; the flows' checkpoints lie there"
    )])
}
