//! The command line: one file per subcommand. Knows how people call the agent, and nothing of how it works.

mod checkpoints;
mod migrate;
mod run;
mod validate;

use std::{ffi::OsString, path::PathBuf};

use clap::{Parser, Subcommand};

use crate::{
    agent::{EXIT_CONFIG, EXIT_FAILURE, EXIT_OK},
    config::{self, Config},
    telemetry::log,
};

/// Follows log files across rotation and delivers their lines to Amazon Kinesis, losing nothing.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow the configured files and deliver them.
    Run(run::Arguments),
    /// Check a configuration: exit 0, or 78 and every problem.
    Validate(Configuration),
    /// Show how far each file is delivered.
    Checkpoints(checkpoints::Arguments),
    /// Move from the Java Kinesis agent: its configuration as YAML, and its checkpoints.
    Migrate(migrate::Arguments),
}

/// Which configuration.
#[derive(Debug, clap::Args)]
struct Configuration {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

impl Configuration {
    /// Loads it, or prints every problem.
    fn load(&self) -> Result<Config, u8> {
        config::load(&self.config, &|name| std::env::var(name).ok()).map_err(|problems| {
            eprint!("{}", lines(&problems.to_string()));
            EXIT_CONFIG
        })
    }
}

/// Runs a command line, its first word included, and returns the exit code.
pub fn main_from(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { EXIT_FAILURE } else { EXIT_OK };
        }
    };
    match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Validate(configuration) => validate::run(&configuration),
        Command::Checkpoints(arguments) => checkpoints::run(&arguments),
        Command::Migrate(arguments) => migrate::run(&arguments),
    }
}

fn lines(text: &str) -> String {
    if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

/// How to log, for commands that do.
#[derive(Debug, clap::Args)]
struct Logging {
    /// How log lines look; auto: journal priorities under systemd, text otherwise.
    #[arg(long, value_enum, default_value_t)]
    log_format: log::Format,
    /// The least severe level that is logged.
    #[arg(long, value_enum, default_value_t)]
    log_level: log::Verbosity,
}
