//! What EC2 says of this instance: asked on the runtime, asked again when it is too old. Knows no record and no flow.
//! Invariant: nobody waits for it but the start, at most a second; what was read stays until something newer is read.

mod fetch;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use crate::{
    config::Config,
    record::{
        ec2::{Instance, Shared},
        pipeline::Pipeline,
    },
    telemetry::cloudwatch,
};
use fetch::{Fetch, TagsError};

/// How long the start waits for the first answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts: after the first failure, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_mins(5);

/// What the flows and the metrics want to know of the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// Its tags too, which takes more rights.
    pub(super) tags: bool,
    /// Asked again when it is older than this, though never more often than every ten seconds.
    pub(super) max_age: Duration,
}

/// What is known is asked again after this time, unless a flow says otherwise.
const MAX_AGE: Duration = Duration::from_hours(1);

impl Need {
    /// What the flows of a configuration and its metrics want to know; mostly nothing.
    pub(super) fn of(config: &Config, metrics: Option<&cloudwatch::Options>) -> Option<Self> {
        let pipelines = || config.flows.iter().map(|flow| &flow.pipeline);
        let wanted = metrics.is_some_and(cloudwatch::Options::needs_ec2) || pipelines().any(Pipeline::needs_ec2);
        let max_age = || pipelines().filter_map(Pipeline::ec2_max_age).min().unwrap_or(MAX_AGE);
        wanted.then(|| Self { tags: pipelines().any(Pipeline::needs_ec2_tags), max_age: max_age() })
    }
}

/// Starts asking, if there is a need, and waits a moment for the first answer. The answer, now or later, is in what it
/// hands back.
pub(super) async fn shared(need: Option<Need>) -> Shared {
    let shared = Shared::default();
    let Some(need) = need else { return shared };
    let (told, first) = oneshot::channel();
    let keeper = Keeper { need, shared: shared.clone(), told_absent: false, told_tags: false };
    tokio::spawn(keeper.run(Fetch::new(), told));
    // Either way the start goes on: what is missing comes later.
    let _ = tokio::time::timeout(PATIENCE, first).await;
    shared
}

/// Keeps the snapshot fresh as long as somebody has it.
struct Keeper {
    need: Need,
    shared: Shared,
    /// It was told that there is no answer.
    told_absent: bool,
    /// It was told that the tags cannot be read.
    told_tags: bool,
}

impl Keeper {
    async fn run(mut self, mut fetch: Fetch, told: oneshot::Sender<()>) {
        let mut told = Some(told);
        let mut retry = FIRST_RETRY;
        loop {
            let complete = match fetch.identity().await {
                Ok(instance) => self.renew(&mut fetch, instance).await,
                Err(error) => self.absent(&error),
            };
            // The start may have gone on without it.
            let _ = told.take().map(|told| told.send(()));
            let pause = if complete { self.need.max_age.max(FIRST_RETRY) } else { retry };
            retry = if complete { FIRST_RETRY } else { (retry * 2).min(LAST_RETRY) };
            tokio::time::sleep(pause).await;
            if self.shared.is_unread() {
                return;
            }
        }
    }

    /// True: everything that is needed is there.
    async fn renew(&mut self, fetch: &mut Fetch, mut instance: Instance) -> bool {
        let old = self.shared.get();
        let first = old.is_none();
        instance.read_at = now();
        let mut complete = true;
        if self.need.tags {
            instance.tags = old.and_then(|old| old.tags.clone());
            // Readable without the tags meanwhile.
            self.shared.set(instance.clone());
            match fetch.tags(&instance).await {
                Ok(tags) => {
                    instance.tags = Some(tags);
                    self.told_tags = false;
                }
                Err(error) => {
                    complete = false;
                    self.untagged(&error);
                }
            }
        }
        if first || self.told_absent {
            let instance_id = instance.instance_id.as_deref().unwrap_or_default();
            tracing::info!(instance_id, tags = instance.tags.is_some(), "EC2 metadata read");
        }
        self.told_absent = false;
        self.shared.set(instance);
        complete
    }

    fn absent(&mut self, error: &str) -> bool {
        if !std::mem::replace(&mut self.told_absent, true) {
            let keeps = if self.shared.get().is_some() { "what was read before stays" } else { "it stays absent" };
            tracing::info!(error, "no EC2 metadata, {keeps}; asked again now and then");
        }
        false
    }

    fn untagged(&mut self, error: &TagsError) {
        if !std::mem::replace(&mut self.told_tags, true) {
            let remedy = "allow tags in the instance's metadata, or give its role ec2:DescribeTags";
            tracing::warn!(%error, remedy, "the tags of the EC2 instance cannot be read; asked again now and then");
        }
    }
}

/// Nanoseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The instance's id, if it is known.
pub(super) fn instance_id(shared: &Shared) -> Option<String> {
    shared.get().and_then(|instance| instance.instance_id.clone())
}
