//! `headwater run`.

use super::{Configuration, EXIT_FAILURE, Logging};
use crate::{
    agent::{self, Mode},
    telemetry::log,
};

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
    match agent::run(config, mode) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            EXIT_FAILURE
        }
    }
}
