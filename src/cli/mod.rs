//! The command line: one file per subcommand. Knows how people call the agent, and nothing of how it works.

mod checkpoints;
mod config;
mod migrate;
mod run;
mod validate;

use std::{ffi::OsString, path::PathBuf};

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::{
    agent::{EXIT_CONFIG, EXIT_FAILURE, EXIT_OK},
    config::{Config, DEFAULT_PATH, Problems, load},
    telemetry::log,
};

const EXAMPLES: &str = "\
Examples:
  headwater validate                      check the configuration; --online asks AWS, too
  headwater run -c web.yaml               follow files until SIGTERM or Ctrl-C
  headwater run --once -c import.yaml     deliver what is there, then exit
  headwater checkpoints                   how far each file is delivered

Exit codes: 0 clean, 78 the configuration is wrong, 1 anything else.
Manuals: headwater-run(1), headwater.yaml(5)";

/// Follows log files across rotation and delivers their lines to Amazon Kinesis, losing nothing.
#[derive(Debug, Parser)]
#[command(name = "headwater", version = env!("HEADWATER_VERSION"), max_term_width = 100, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow the configured files and deliver them.
    #[command(after_help = run::EXAMPLES)]
    Run(run::Arguments),
    /// Check a configuration: exit 0, or 78 and every problem.
    #[command(after_help = validate::EXAMPLES)]
    Validate(validate::Arguments),
    /// Show how far each file is delivered.
    #[command(after_help = checkpoints::EXAMPLES)]
    Checkpoints(checkpoints::Arguments),
    /// What may be written into a configuration.
    #[command(subcommand, arg_required_else_help = true, after_help = config::EXAMPLES)]
    Config(config::Command),
    /// Move from the Java Kinesis agent: its configuration as YAML, and its checkpoints.
    #[command(after_help = migrate::EXAMPLES)]
    Migrate(migrate::Arguments),
}

/// Which configuration.
#[derive(Clone, Debug, clap::Args)]
struct Configuration {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

impl Configuration {
    fn read(&self) -> Result<Config, Problems> {
        load(&self.config, &|name| std::env::var(name).ok())
    }

    /// Loads it, or prints every problem.
    fn load(&self) -> Result<Config, u8> {
        self.read().map_err(|problems| {
            eprint!("{}", lines(&problems.to_string()));
            EXIT_CONFIG
        })
    }
}

/// The command line's definition, for manuals and completions.
pub fn definition() -> clap::Command {
    Arguments::command()
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
        Command::Config(command) => config::run(&command),
        Command::Migrate(arguments) => migrate::run(&arguments),
    }
}

fn lines(text: &str) -> String {
    if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

/// How to log, for commands that do.
#[derive(Debug, clap::Args)]
struct Logging {
    /// Form of log lines: auto (journal or text), text or json.
    #[arg(long, value_enum, value_name = "FORM", hide_possible_values = true, default_value_t)]
    log_format: log::Format,
    /// Least severe level to log: error, warn, info or debug.
    #[arg(long, value_enum, value_name = "LEVEL", hide_possible_values = true, default_value_t)]
    log_level: log::Verbosity,
}
