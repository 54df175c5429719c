//! `headwater config`.

use std::io::Write as _;

use super::EXIT_OK;
use crate::config;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print the JSON Schema of the YAML, for editors.
    #[command(after_help = EXAMPLES)]
    Schema,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  headwater config schema > headwater.schema.json
  # yaml-language-server: $schema=/usr/share/headwater/headwater.schema.json
                                        first line of a YAML file whose editor shall know them";

pub(super) fn run(command: &Command) -> u8 {
    match command {
        // Whoever closes the pipe has seen enough.
        Command::Schema => drop(writeln!(std::io::stdout(), "{:#}", config::schema())),
    }
    EXIT_OK
}
