//! `headwater run`.

use std::sync::Arc;

use super::{Configuration, EXIT_FAILURE, Logging};
use crate::{
    agent::{self, Mode},
    telemetry::log,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  headwater run                                 the service: follow until told to stop
  headwater run -c web.yaml --log-level debug   the same, saying more
  headwater run -c import.yaml --once           deliver what is there, then exit

The first SIGTERM or SIGINT delivers what was read, within `shutdown_timeout`; a second SIGINT
ends at once. What was not delivered is read again by the next start. SIGHUP reads the configuration
anew: if it is good, flows that changed go on with it, and the others are not touched.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    configuration: Configuration,
    /// Deliver everything up to the present end of every file, then exit.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    logging: Logging,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    log::init(arguments.logging.log_format, arguments.logging.log_level);
    let config = match arguments.configuration.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let mode = if arguments.once { Mode::Once } else { Mode::Follow };
    let again = arguments.configuration.clone();
    match agent::run(config, mode, Arc::new(move || again.read())) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            EXIT_FAILURE
        }
    }
}
