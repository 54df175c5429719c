//! `headwater validate`.

use super::{Configuration, EXIT_OK};

pub(super) const EXAMPLES: &str = "\
Examples:
  headwater validate                    what the service reads, conf.d included
  headwater validate -c web.yaml        one file alone

Asks no service: whether the stream exists and may be written shows when the agent runs.";

pub(super) fn run(configuration: &Configuration) -> u8 {
    let config = match configuration.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    let flows = config.flows.len();
    println!("{}: valid, {flows} {}", configuration.config.display(), if flows == 1 { "flow" } else { "flows" });
    EXIT_OK
}
