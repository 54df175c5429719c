//! `headwater validate`.

use super::{Configuration, EXIT_OK};

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
