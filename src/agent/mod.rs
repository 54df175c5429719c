//! The composition root: builds the flows, owns signals, the drain deadline and the exit code. Knows no records.
//! Invariant: life ends here and nowhere else, at the latest `shutdown_timeout` after it was asked to.

mod ec2;
mod flows;
mod life;
mod limits;
pub mod lock;
mod metrics;
mod progress;
mod reload;
mod start;
mod systemd;

use std::time::Duration;

use anyhow::Context as _;

use crate::config::Config;
pub use reload::Load;

/// Everything was delivered, or a stop was clean.
pub const EXIT_OK: u8 = 0;
/// Anything but the configuration went wrong.
pub const EXIT_FAILURE: u8 = 1;
/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// How long to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Until a signal.
    Follow,
    /// Until everything up to the present end of every file is delivered.
    Once,
}

/// Runs the agent to its end. `load` reads the configuration anew, when a SIGHUP asks for that.
pub fn run(config: Config, mode: Mode, load: Load) -> anyhow::Result<u8> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let _lock = lock::take(&config.state_dir)?;
    limits::raise();
    // Two threads: one can wait for a disk or a name server while the other goes on sending.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("headwater-send")
        .enable_all()
        .build()
        .context("cannot start the sending threads")?;
    let code = runtime.block_on(life::live(config, mode, load));
    // Whatever still runs holds nothing that was not counted as unsettled.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}
