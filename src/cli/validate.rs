//! `headwater validate`.

use super::{Configuration, EXIT_FAILURE, EXIT_OK};
use crate::{
    config::Config,
    deliver::probe::{Finding, Outcome, probe},
    flow::driver::now,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  headwater validate                    what the service reads, conf.d included
  headwater validate -c web.yaml        one file alone
  sudo -u headwater headwater validate --online
                                        credentials, streams, rights and clock, as the service

Exit codes: 0 valid, 78 not, 1 valid but `--online` found that something could not be delivered.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    configuration: Configuration,
    /// Ask AWS, too: credentials, streams, permissions and clock. Delivers nothing.
    #[arg(long)]
    online: bool,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    let config = match arguments.configuration.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    let flows = config.flows.len();
    let file = arguments.configuration.config.display();
    println!("{file}: valid, {flows} {}", if flows == 1 { "flow" } else { "flows" });
    if !arguments.online {
        return EXIT_OK;
    }
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(try_all(&config)),
        Err(error) => {
            eprintln!("cannot start asking: {error}");
            EXIT_FAILURE
        }
    }
}

/// Tries the destination of each flow, and says what came of it.
async fn try_all(config: &Config) -> u8 {
    let mut code = EXIT_OK;
    for flow in &config.flows {
        let name = &flow.name;
        for Finding { about, outcome } in probe(&flow.destination, now()).await {
            match outcome {
                Outcome::Good(text) => println!("{name}: {about}: ok: {text}"),
                Outcome::Unknown(text) => println!("{name}: {about}: unknown: {text}"),
                Outcome::Bad(text) => {
                    code = EXIT_FAILURE;
                    println!("{name}: {about}: FAILED: {text}");
                }
            }
        }
    }
    code
}
